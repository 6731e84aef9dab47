/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_server_seeds.c - writes the seed corpus of fuzz_server: what a puller says while memory is announced,
 * in an order that makes sense, what breaks the protocol, and each call failing on the way.
 */
#include "failing.h"
#include "fuzz_server.h"
#include "seed_talk.h"

static void end_failing(const char *name, int choice, size_t good)
{
	end_failing_calls(name, choice, good, 4);
}

static void say_keys(unsigned count)
{
	const struct wt_wire_digest_keys keys = { .count = count, .key = { { 1 }, { 2 } } };

	say(WT_MESSAGE_DIGEST_KEY, wt_wire_digest_keys_encode(&keys, payload));
}

static void say_want(unsigned server, uint32_t block, uint64_t page, enum wt_priority priority)
{
	const struct wt_extent list[] = { { .block = block, .page = page, .pages = 4 },
		{ .block = block, .page = page, .pages = 2 } };

	say(server | WT_MESSAGE_WANT, wt_wire_want_encode(priority, list, 2, payload));
}

static void say_missing(unsigned server, uint32_t pages, bool all)
{
	static const uint64_t words[2] = { 0x5555 };
	const struct wt_wire_pages missing = { .extent = { .pages = pages }, .all = all };

	say(server | WT_MESSAGE_MISSING, wt_wire_missing_encode(&missing, words, payload));
}

static void say_expected(bool replica, uint16_t port)
{
	const struct wt_wire_expected expected = { .server = 1, .port = port, .replica = replica };

	say(WT_MESSAGE_EXPECTED, wt_wire_expected_encode(&expected, payload));
}

static void say_helper(enum wt_wire_helper_state state)
{
	const struct wt_wire_helper helper = { .server = 1, .state = state, .text = "so it goes" };

	say(WT_MESSAGE_HELPER, wt_wire_helper_encode(&helper, payload));
}

static void say_number(unsigned type, uint32_t number)
{
	say(type, wt_wire_epoch_encode(number, payload));
}

static void say_asks(unsigned count)
{
	struct wt_wire_ask ask = { .extent = { .pages = 8 } };

	for (unsigned i = 0; i < count; i++) {
		ask.tag = i;
		ask.extent.block = i % BLOCKS;
		ask.extent.page = i % 2 ? 40 : 0; /* the file has nothing there */
		say(WT_MESSAGE_REPLICA_ASK, wt_wire_ask_encode(&ask, payload));
	}
}

/* Each kind of content, of each block. */
static void announce_all(unsigned server)
{
	for (uint8_t block = 0; block <= BLOCKS; block++) {
		happen(server | EVENT_CALL, CALL_ANNOUNCE, 0, block, 0, 16);
		happen(server | EVENT_CALL, CALL_ANNOUNCE_COPY, 0, block, 20, 4);
		happen(server | EVENT_CALL, CALL_ANNOUNCE_ZERO, 1, block, 40, 20);
	}
}

static void write_announced(int choice, const char *name)
{
	size_t good = talked;

	announce_all(0);
	happen(EVENT_LANDED, 2);
	happen(EVENT_CALL, CALL_ASK);
	happen(EVENT_CALL, CALL_DEFER, 1);
	happen(EVENT_CALL, CALL_ANNOUNCE, 0, 0, 0, 16);
	happen(EVENT_CALL, CALL_ANNOUNCE, 0, 0, 8, 16);
	happen(EVENT_TIME, 6);
	happen(EVENT_TIME, 1);
	happen(EVENT_CALL, CALL_ANNOUNCE, 0, 0, 0, 4);
	happen(EVENT_CALL, CALL_RATE, 1);
	happen(EVENT_CALL, CALL_SEND, 100);
	happen(EVENT_BREAK);
	happen(EVENT_TIME, 20);
	happen(EVENT_TIME, 60);
	happen(EVENT_HANG_UP);
	happen(EVENT_CALL, CALL_ANNOUNCE, 0, 0, 30, 4);
	happen(EVENT_TIME, 40);
	happen(EVENT_CONNECT, 0);
	happen(EVENT_CALL, CALL_FINAL);
	happen(EVENT_CALL, CALL_ANNOUNCE, 1, 0, 30, 4);
	happen(EVENT_LANDED, 0);
	say_want(0, 0, 0, WT_PRIORITY_FAULT);
	say_want(0, 1, 0, WT_PRIORITY_BULK);
	happen(EVENT_LANDED, 0);
	payload[0] = WT_FABRIC_TCP;
	payload[1] = 0;
	say(WT_MESSAGE_PATHS_LOST, 2);
	say(WT_MESSAGE_PATHS_LOST, 1);
	happen(EVENT_TIME, 20);
	payload[0] = 1;
	say(100, 3);
	end_failing(name, choice, good);
}

/* Digests, with and without a replica; a warm-up before. */
static void write_digested(int choice, const char *name)
{
	size_t good;

	happen(EVENT_CONNECT, 0);
	good = talked;
	say_keys(choice & EXPECTS_REPLICA ? 2 : 1);
	happen(EVENT_READY, 255, 2);
	if (choice & EXPECTS_REPLICA) {
		say_expected(true, 4711);
		say_helper(WT_WIRE_HELPER_JOINED);
		say_helper(WT_WIRE_HELPER_LOST);
	}
	happen(EVENT_CALL, CALL_WARM, 1);
	happen(EVENT_CALL, CALL_ANNOUNCE, 1, 0, 0, 16);
	happen(EVENT_CALL, CALL_WARM, 0);
	happen(EVENT_LANDED, 0);
	happen(EVENT_CALL, CALL_WARM, 0);
	announce_all(0);
	happen(EVENT_CALL, CALL_FLUSH);
	happen(EVENT_LANDED, 0);
	happen(EVENT_FULL, 1);
	happen(EVENT_CALL, CALL_ANNOUNCE, 1, 1, 16, 40);
	happen(EVENT_CALL, CALL_NO_DIGESTS);
	end_failing(name, SILENT | choice, good);
	happen(EVENT_CONNECT, 0);
	say_keys(1);
	happen(EVENT_CALL, CALL_NO_DIGESTS);
	end("no_digests", SILENT);
}

/* One puller is left for another one, which is given the base, and what was pending. */
static void write_left(int choice, const char *name, bool drains)
{
	size_t good;

	announce_all(0);
	happen(EVENT_LANDED, 3);
	happen(EVENT_CALL, CALL_DEFER, 1);
	happen(EVENT_CALL, CALL_ANNOUNCE, 0, 0, 0, 4);
	happen(EVENT_CALL, CALL_DRAIN);
	happen(EVENT_CALL, CALL_UNDRAIN);
	good = talked;
	happen(EVENT_CALL, CALL_ANNOUNCE, 0, 0, 0, 4);
	if (drains) {
		happen(EVENT_CALL, CALL_DRAIN);
		say_missing(0, 64, true);
		say_missing(0, 64, false);
		happen(EVENT_DRAINED);
		happen(EVENT_CALL, CALL_SERVE, 1);
		happen(EVENT_CALL, CALL_SERVE_END, 0);
	} else {
		happen(EVENT_CALL, CALL_LEAVE);
	}
	happen(SECOND | EVENT_CALL, CALL_BASE, 3);
	happen(SECOND | EVENT_CALL, CALL_DRAIN);
	happen(SECOND | EVENT_CALL, CALL_AHEAD, 9);
	happen(SECOND | EVENT_CALL, CALL_EXPECT, 0);
	say_number(SECOND | WT_MESSAGE_BASE_LEFT, 7);
	happen(SECOND | EVENT_TIME, 1);
	happen(SECOND | EVENT_CALL, CALL_HAND_OVER);
	happen(SECOND | EVENT_CALL, CALL_NO_HELPER, 0);
	happen(SECOND | EVENT_CALL, CALL_ANNOUNCE, 1, 0, 0, 16);
	happen(SECOND | EVENT_LANDED, 0);
	happen(EVENT_CALL, CALL_RESTART);
	happen(EVENT_TIME, 20);
	happen(EVENT_CALL, CALL_BASE, 0);
	happen(EVENT_CALL, CALL_RELEASE);
	end_failing(name, choice, good);
}

static void write_base(void)
{
	happen(EVENT_CALL, CALL_BASE, 4);
	happen(EVENT_CALL, CALL_BASE, 1);
	happen(EVENT_CALL, CALL_BASE, 1);
	happen(EVENT_TIME, 1);
	memset(payload, 0, 8);
	say(WT_MESSAGE_BASE_LEFT, 8);
	happen(EVENT_CALL, CALL_EXPECT, 0);
	say_expected(false, 4711);
	say_helper(WT_WIRE_HELPER_UNREACHABLE);
	end("base", 0);
}

/* Connections that do not begin as they should, or not at all. */
static void write_connections(void)
{
	static const uint8_t ways[] = { 0, WELCOME_REFUSED, WELCOME_VERSION, WELCOME_MAGIC, WELCOME_LOST,
		WELCOME_NOT };
	char name[32];

	for (unsigned i = 0; i < 2 * sizeof ways; i++) {
		happen(EVENT_CONNECT, ways[i / 2]);
		happen(EVENT_READY, i % 2 ? 255 : 0, 4);
		happen(EVENT_TIME, 200);
		happen(EVENT_CALL, CALL_ANNOUNCE, 1, 0, 0, 16);
		happen(EVENT_HANG_UP);
		happen(EVENT_REFUSE, i % 2);
		happen(EVENT_TIME, 40);
		happen(EVENT_CONNECT, WELCOME_LOST);
		happen(EVENT_TIME, 250);
		happen(EVENT_TIME, 250);
		snprintf(name, sizeof name, "connect%u", i);
		end(name, SILENT | (i % 2 ? EVERY_FABRIC : 0));
	}
	happen(EVENT_FULL, 1);
	announce_all(0);
	happen(EVENT_TIME, 1);
	happen(EVENT_FULL, 0);
	happen(EVENT_TIME, 40);
	happen(EVENT_CONNECT, 0);
	end("full", 0);
}

/* What is malformed, or comes at the wrong time, ends a session: one each. */
static void write_wrong(void)
{
	static const uint8_t types[] = { WT_MESSAGE_READY, WT_MESSAGE_LANDED, WT_MESSAGE_PATHS_LOST,
		WT_MESSAGE_MISSING, WT_MESSAGE_DRAINED, WT_MESSAGE_BASE_LEFT, WT_MESSAGE_EXPECTED,
		WT_MESSAGE_HELPER, WT_MESSAGE_WANT, WT_MESSAGE_DIGEST_KEY, WT_MESSAGE_REPLICA_ASK,
		WT_MESSAGE_BYE, WT_MESSAGE_KEEPALIVE, 63, 100 };
	const struct wt_seq_range early = { .first = 1, .count = 9 };
	char name[32];

	for (unsigned i = 0; i < 4 * sizeof types; i++) {
		memset(payload, 255, 9);
		say(types[i / 4], i & 1 ? 9 : 0);
		happen(EVENT_TIME, 5);
		snprintf(name, sizeof name, "wrong%u", i);
		end(name, i & 2 ? FEW_EVENTS | PASSIVE : 0);
	}
	say(WT_MESSAGE_LANDED, wt_wire_landed_encode(&early, 1, payload));
	end("landed_early", 0);
	say_want(0, 0, 63, WT_PRIORITY_BULK);
	end("want_outside", 0);
	say_want(0, 2, 0, WT_PRIORITY_BULK);
	end("want_stream", 0);
	say_expected(true, 1);
	end("expected_unasked", 0);
	say_expected(false, 0);
	end("expected_nowhere", 0);
	say_number(WT_MESSAGE_DRAINED, 1);
	end("drained_unasked", 0);
	say_missing(0, 64, true);
	end("missing_unasked", 0);
	happen(EVENT_CALL, CALL_DRAIN);
	happen(EVENT_CALL, CALL_UNDRAIN);
	say_missing(0, 64, true);
	happen(EVENT_DRAINED);
	say_want(0, 0, 0, WT_PRIORITY_DIRTY);
	say_missing(0, 65, true);
	end("crossed", 0);
	happen(EVENT_CALL, CALL_DRAIN);
	say_want(0, 0, 0, WT_PRIORITY_DIRTY);
	end("want_late", 0);
}

int main(int argc, char **argv)
{
	if (!seeds_begin(argc, argv))
		return 2;
	write_announced(0, "announced");
	write_announced(EVERY_FABRIC | RATE_LIMITED, "every_fabric");
	write_announced(EVERY_FABRIC | MAY_DISCARD, "discards");
	write_digested(0, "digested");
	write_digested(MAY_DISCARD | EXPECTS_REPLICA, "replica_told");
	write_left(0, "drained", true);
	write_left(FEW_EVENTS, "drained_quietly", true);
	write_left(0, "left", false);
	write_base();
	write_connections();
	write_wrong();
	say_asks(12);
	happen(EVENT_TIME, 1);
	say_asks(33);
	end_failing("replica", REPLICA, 0);
	happen(EVENT_CALL, CALL_ANNOUNCE, 1, 0, 0, 16);
	end("passive", PASSIVE);
	happen(SECOND | EVENT_TIME, 1);
	end_failing("second", 0, 0);
	happen(SECOND | EVENT_TIME, 1);
	end_failing("second_replica", REPLICA, 0);
	return seeds_failed ? 1 : 0;
}

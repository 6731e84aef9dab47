/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_puller_seeds.c - writes the seed corpus of fuzz_puller: what servers say and do, in an order that
 * makes sense, each way to begin wrong, and each call failing on the way.
 */
#include "failing.h"
#include "fuzz_puller.h"
#include "seed_talk.h"

static void end_failing(const char *name, int choice, size_t good)
{
	end_failing_calls(name, choice, good, 5);
}

static void say_announcements(uint64_t first, enum wt_content content, enum wt_priority priority)
{
	const struct wt_announcement list[] = {
		{ .extent = { .pages = 3, .block = 0, .page = 1 }, .content = content, .priority = priority },
		{ .extent = { .pages = 2, .block = 1, .page = 8 },
			.content = WT_CONTENT_ZERO,
			.priority = priority },
	};

	say(WT_MESSAGE_ANNOUNCE, wt_wire_announce_encode(first, list, 2, payload));
}

/* One announcement of three pages, digested. */
static void say_announced_at(uint64_t seq, uint64_t page)
{
	const struct wt_announcement one = { .extent = { .pages = 3, .page = page },
		.content = WT_CONTENT_IN_PLACE_DIGESTED,
		.priority = WT_PRIORITY_BULK };

	say(WT_MESSAGE_ANNOUNCE, wt_wire_announce_encode(seq, &one, 1, payload));
}

static void write_blocks_of(unsigned server)
{
	for (uint32_t i = 0; i < 2; i++) {
		const struct wt_wire_block block = {
			.block = i, .length = 64 * WT_PAGE_SIZE, .name = { (char)('a' + i) }
		};

		say(server | WT_MESSAGE_BLOCK, wt_wire_block_encode(&block, payload));
	}
	say(server | WT_MESSAGE_BLOCKS_END, 0);
}

static void write_blocks(void)
{
	write_blocks_of(0);
}

static void say_block_region(unsigned server)
{
	const struct wt_wire_region region = { .fabric = WT_FABRIC_TCP,
		.key = { .address = 1ull << 32, .length = 64 * WT_PAGE_SIZE, .key = 1 } };

	say(server | WT_MESSAGE_REGION, wt_wire_region_encode(&region, payload));
}

static void say_region(unsigned server)
{
	const struct wt_wire_region region = { .fabric = WT_FABRIC_TCP,
		.key = { .address = 1ull << 32, .length = 64 * WT_PAGE_SIZE, .key = 1 } };
	struct wt_wire_region ring = region;

	say(server | WT_MESSAGE_REGION, wt_wire_region_encode(&region, payload));
	ring.block = WT_WIRE_RING;
	say(server | WT_MESSAGE_REGION, wt_wire_region_encode(&ring, payload));
}

static void say_number(unsigned type, uint32_t number)
{
	say(type, wt_wire_epoch_encode(number, payload));
}

static void say_base(void)
{
	static const uint64_t words[1] = { 0x5555 };
	struct wt_wire_base base = { .kind = WT_WIRE_BASE_ZERO, .pages = { .extent = { .pages = 64 } } };
	const struct wt_wire_base_end over = { .policy = 1, .rate_limit = 50000000 };

	say(WT_MESSAGE_BASE, wt_wire_base_encode(&base, words, payload));
	base = (struct wt_wire_base){ .kind = WT_WIRE_BASE_NEED,
		.pages = { .extent = { .block = 1, .pages = 64 }, .all = true } };
	say(WT_MESSAGE_BASE, wt_wire_base_encode(&base, NULL, payload));
	base.kind = WT_WIRE_BASE_HAS;
	base.server = 1;
	say(WT_MESSAGE_BASE, wt_wire_base_encode(&base, NULL, payload));
	say(WT_MESSAGE_BASE_END, wt_wire_base_end_encode(&over, payload));
}

static void say_expect(bool replica)
{
	struct wt_wire_expect expect = { .server = 1, .label = "old", .replica = replica };

	memset(expect.session_id, 2, sizeof expect.session_id);
	say(WT_MESSAGE_EXPECT, wt_wire_expect_encode(&expect, payload));
}

static void write_plain(void)
{
	say_region(0);
	say_announcements(1, WT_CONTENT_IN_PLACE, WT_PRIORITY_BULK);
	say_announcements(3, WT_CONTENT_STAGED, WT_PRIORITY_DIRTY);
	memset(payload, 0, 8);
	say(WT_MESSAGE_AHEAD, 8);
	payload[0] = WT_FABRIC_TCP;
	say(WT_MESSAGE_REGIONS_CLEAR, 1);
	say(100, 2);
	end("plain", LISTS_BLOCKS);
}

static void write_several(void)
{
	say_expect(false);
	say_base();
	say_region(SECOND);
	say_announcements(1, WT_CONTENT_IN_PLACE, WT_PRIORITY_DIRTY);
	payload[0] = 'x';
	say(SECOND | WT_MESSAGE_BYE, 1);
	end("helper", LISTS_BLOCKS);
	say_expect(true);
	say_base();
	say_region(SECOND);
	end("replica_told", LISTS_BLOCKS);
}

static void write_drain(void)
{
	const struct wt_wire_serve serve = {
		.host = "192.0.2.1", .port = 4711, .name = "vm", .server = 1, .epoch = 2
	};
	const struct wt_wire_helper helper = {
		.server = 1, .state = WT_WIRE_HELPER_UNREACHABLE, .text = "gone"
	};

	say_base();
	say_number(WT_MESSAGE_DRAIN, 1);
	say_number(WT_MESSAGE_DRAIN, 0);
	say_number(WT_MESSAGE_DRAIN, 2);
	say(WT_MESSAGE_SERVE, wt_wire_serve_encode(&serve, payload));
	say(WT_MESSAGE_SERVE_END, wt_wire_serve_end_encode(1, payload));
	say(WT_MESSAGE_HELPER, wt_wire_helper_encode(&helper, payload));
	say_number(WT_MESSAGE_RESTART, 2);
	say_announcements(1, WT_CONTENT_IN_PLACE, WT_PRIORITY_BULK);
	say(WT_MESSAGE_RELEASE, 0);
	end("drain", LISTS_BLOCKS);
}

static void write_digests(void)
{
	static const uint8_t bytes[4 * WT_DIGEST_BYTES] = { 1, 2, 3 };
	const struct wt_wire_digests digests = { .first_seq = 1, .keys = 1, .pages = 3, .digests = bytes };
	const struct wt_wire_answer answer = {
		.tag = 1, .status = WT_WIRE_ANSWER_DIGESTS, .pages = 2, .digests = bytes
	};
	const int choices[] = { HAS_REPLICA, HAS_REPLICA | REPLICA_IN_PLACE, REPLICA_REMOTE };
	char name[16];

	for (unsigned i = 0; i < 3; i++) {
		say_announcements(1, WT_CONTENT_IN_PLACE_DIGESTED, WT_PRIORITY_BULK);
		say(WT_MESSAGE_DIGESTS, wt_wire_digests_encode(&digests, payload));
		say_announcements(3, WT_CONTENT_IN_PLACE, WT_PRIORITY_FINAL);
		say(SECOND | WT_MESSAGE_REPLICA_ANSWER, wt_wire_answer_encode(&answer, payload));
		snprintf(name, sizeof name, "digests%u", i);
		end(name, LISTS_BLOCKS | choices[i]);
	}
}

/* Data connections, good and bad, and what becomes of them. */
static void write_data(void)
{
	say_region(0);
	happen(EVENT_DATA, 0, 0);
	happen(EVENT_DATA, 0, 1);
	say_announcements(1, WT_CONTENT_IN_PLACE, WT_PRIORITY_BULK);
	happen(EVENT_COMPLETE, 1, 0, 9);
	happen(EVENT_COMPLETE, 1, 1, 0);
	happen(EVENT_ALWAYS, 9);
	say_announcements(3, WT_CONTENT_STAGED, WT_PRIORITY_FINAL);
	happen(EVENT_CALL, CALL_ASK);
	happen(EVENT_CALL, CALL_SEND, 100);
	happen(EVENT_BREAK);
	happen(EVENT_DROPPED, 2);
	happen(EVENT_DATA, 0, 0);
	end_failing("data", LISTS_BLOCKS, 0);
}

static void write_hosts(void)
{
	for (uint8_t i = 0; i < 5; i++) {
		happen(EVENT_DATA, i, 0);
		happen(EVENT_DATA, i, 1);
	}
	happen(EVENT_DROPPED, 1);
	happen(EVENT_HANG_UP);
	happen(EVENT_DATA, 1, 0);
	happen(EVENT_BREAK);
	end("hosts", LISTS_BLOCKS | SEVERAL_HOSTS);
	happen(EVENT_TIME, 1);
	end("bad_host", LISTS_BLOCKS | BAD_HOST);
	for (unsigned n = 0; n < 6; n++) {
		happen(EVENT_CONNECT, 0);
		happen(EVENT_FAIL, FAKE_FAIL_LISTENER, (uint8_t)n);
		write_blocks();
		end(n < 5 ? (const char[][8]){ "hosts0", "hosts1", "hosts2", "hosts3", "hosts4" }[n]
			  : "hosts5",
			STRANGERS | SEVERAL_HOSTS);
	}
	happen(EVENT_CONNECT, 0);
	happen(EVENT_FAIL, FAKE_FAIL_LISTENER, FAILING_LONG);
	write_blocks();
	end("no_fabric", STRANGERS);
}

/* Control connections. */
static void write_guests(void)
{
	static const uint8_t ways[] = { CONNECT_VERSION, CONNECT_NAME, CONNECT_MAGIC, CONNECT_HALF,
		CONNECT_SILENT, CONNECT_OTHER, CONNECT_CROWD | CONNECT_SILENT, CONNECT_AGAIN };
	char name[32];

	for (unsigned i = 0; i < 2 * sizeof ways; i++) {
		happen(EVENT_CONNECT, ways[i / 2]);
		happen(EVENT_REFUSED);
		happen(EVENT_TIME, 101);
		if (i % 2)
			happen(EVENT_HANG_UP);
		for (unsigned n = 0; n < 5; n++)
			happen(EVENT_TIME, 250);
		happen(EVENT_CONNECT, 0);
		write_blocks();
		snprintf(name, sizeof name, "guest%u", i);
		end(name, STRANGERS);
	}
	happen(EVENT_CONNECT, CONNECT_AGAIN);
	happen(SECOND | EVENT_CONNECT, 0);
	happen(EVENT_CONNECT, 0);
	happen(SECOND | EVENT_CONNECT, 0);
	write_blocks();
	happen(SECOND | EVENT_CONNECT, 0);
	happen(EVENT_HANG_UP);
	happen(EVENT_TIME, 30);
	happen(EVENT_CONNECT, CONNECT_AGAIN);
	happen(EVENT_FULL, 1);
	happen(EVENT_CALL, CALL_SEND, 100);
	happen(EVENT_TIME, 200);
	happen(EVENT_TIME, 200);
	end_failing("again", STRANGERS, 0);
}

/* A helper has a part of the base. */
static void write_helpers(void)
{
	size_t good;

	say_expect(false);
	say_base();
	say_region(0);
	say_region(SECOND);
	happen(EVENT_DATA, 0, 0);
	happen(SECOND | EVENT_DATA, 0, 0);
	good = talked;
	happen(SECOND | EVENT_COMPLETE, 2, 0, 9);
	happen(EVENT_COMPLETE, 2, 0, 9);
	happen(SECOND | EVENT_COMPLETE, 9, 1, 0);
	happen(EVENT_TIME, 250);
	happen(EVENT_TIME, 250);
	happen(EVENT_TIME, 250);
	happen(EVENT_TIME, 250);
	happen(SECOND | EVENT_COMPLETE, 9, 1, 0);
	happen(SECOND | EVENT_HANG_UP);
	happen(EVENT_TIME, 150);
	happen(EVENT_TIME, 150);
	end_failing("base", LISTS_BLOCKS, good);
	happen(EVENT_CALL, CALL_EXPECT, 1);
	happen(EVENT_CALL, CALL_EXPECT, 8);
	happen(EVENT_CALL, CALL_NEED, 0, 0, 0, 64);
	happen(EVENT_CALL, CALL_NEED, 1, 1, 0, 64);
	happen(EVENT_CALL, CALL_HAS, 1, 0, 0, 64);
	happen(EVENT_CALL, CALL_HAS, 2, 0, 0, 64);
	happen(EVENT_CALL, CALL_HAS, 9, 3, 0, 64);
	happen(EVENT_CALL, CALL_BASE_END, 0);
	happen(EVENT_CALL, CALL_RATE, 1, 9);
	happen(EVENT_CALL, CALL_TELL_HELPER, 1, 2);
	happen(EVENT_CALL, CALL_EXPECT, 1);
	happen(EVENT_TIME, 150);
	end("called", LISTS_BLOCKS);
	happen(EVENT_CALL, CALL_NEED, 0, 0, 0, 64);
	happen(EVENT_CALL, CALL_BASE_END, 0);
	end("too_early", 0);
}

static void say_base_of(enum wt_wire_base_kind kind, uint32_t block, uint32_t pages)
{
	static const uint64_t words[2] = { 0xf0f0, 1 };
	struct wt_wire_base base = { .kind = kind,
		.pages = { .extent = { .block = block, .pages = pages } } };

	say(WT_MESSAGE_BASE, wt_wire_base_encode(&base, words, payload));
}

/* What is malformed, or comes at the wrong time, ends a session: one each. */
static void write_wrong(void)
{
	static const uint8_t types[] = { WT_MESSAGE_BLOCK, WT_MESSAGE_BLOCKS_END, WT_MESSAGE_REGION,
		WT_MESSAGE_REGIONS_CLEAR, WT_MESSAGE_ANNOUNCE, WT_MESSAGE_DRAIN, WT_MESSAGE_RESTART,
		WT_MESSAGE_BASE, WT_MESSAGE_BASE_END, WT_MESSAGE_EXPECT, WT_MESSAGE_SERVE,
		WT_MESSAGE_SERVE_END, WT_MESSAGE_HELPER, WT_MESSAGE_RELEASE, WT_MESSAGE_AHEAD,
		WT_MESSAGE_DIGESTS, WT_MESSAGE_REPLICA_ANSWER, 63, 100, WT_MESSAGE_BYE, 0 };
	const struct wt_wire_block other = { .length = 3 * WT_PAGE_SIZE, .name = "a" };
	char name[32];

	for (unsigned i = 0; i < 4 * sizeof types; i++) {
		memset(payload, 255, 9);
		say((i & 1 ? SECOND : 0) | types[i / 4], i & 1 ? 9 : 0);
		happen(EVENT_TIME, 5);
		happen(EVENT_TIME, 5);
		snprintf(name, sizeof name, "wrong%u", i);
		end(name, (i & 2 ? FEW_EVENTS : 0) | LISTS_BLOCKS);
	}
	say_base_of(WT_WIRE_BASE_ZERO, 0, 64);
	say_base_of(WT_WIRE_BASE_NEED, 0, 65);
	end("base_outside", LISTS_BLOCKS);
	say_announcements(1, WT_CONTENT_IN_PLACE, WT_PRIORITY_BULK);
	say_base_of(WT_WIRE_BASE_ZERO, 0, 64);
	end("base_late", LISTS_BLOCKS);
	say_announcements(1, WT_CONTENT_IN_PLACE, WT_PRIORITY_BULK);
	say_base_of(WT_WIRE_BASE_HAS, 0, 64);
	end("has_late", LISTS_BLOCKS);
	say_announcements(7, WT_CONTENT_IN_PLACE, WT_PRIORITY_BULK);
	end("out_of_order", LISTS_BLOCKS);
	say_announcements(1, WT_CONTENT_IN_PLACE_DIGESTED, WT_PRIORITY_BULK);
	end("not_digested", LISTS_BLOCKS);
	say_expect(false);
	happen(SECOND | EVENT_CONNECT, 0);
	say(SECOND | WT_MESSAGE_BLOCK, wt_wire_block_encode(&other, payload));
	happen(EVENT_TIME, 5);
	end("other_guest", LISTS_BLOCKS);
	happen(EVENT_CONNECT, 0);
	write_blocks();
	say_expect(false);
	happen(SECOND | EVENT_CONNECT, 0);
	say(SECOND | WT_MESSAGE_BLOCKS_END, 0);
	happen(EVENT_TIME, 5);
	end("fewer_blocks", STRANGERS);
	say(WT_MESSAGE_BLOCK, wt_wire_block_encode(&other, payload));
	end("refused_block", 0);
}

/* This puller is left, serves another one, and comes back. */
static void write_left(int choice, const char *name)
{
	const struct wt_wire_serve serve = {
		.host = "192.0.2.1", .port = 4711, .name = "vm", .server = 1, .epoch = 1, .replica = true
	};
	size_t good;

	say_base();
	say_region(0);
	happen(EVENT_DATA, 0, 0);
	say_announcements(1, WT_CONTENT_IN_PLACE, WT_PRIORITY_BULK);
	good = talked;
	say_number(WT_MESSAGE_DRAIN, 1);
	happen(EVENT_COMPLETE, 1, 0, 9);
	happen(EVENT_TIME, 60);
	happen(EVENT_TIME, 5);
	say(WT_MESSAGE_SERVE, wt_wire_serve_encode(&serve, payload));
	say(WT_MESSAGE_SERVE_END, wt_wire_serve_end_encode(1, payload));
	happen(EVENT_DATA, 0, 0);
	say(WT_MESSAGE_RELEASE, 0);
	say_number(WT_MESSAGE_DRAIN, 0);
	say_number(WT_MESSAGE_DRAIN, 2);
	happen(EVENT_TIME, 60);
	happen(EVENT_TIME, 5);
	say_number(WT_MESSAGE_RESTART, 2);
	say_region(0);
	happen(EVENT_DATA, 0, 0);
	say_announcements(1, WT_CONTENT_IN_PLACE, WT_PRIORITY_BULK);
	end_failing(name, choice, good);
}

static void say_zero_helper(enum wt_wire_helper_state state)
{
	const struct wt_wire_helper helper = { .server = 1, .state = state, .text = "gone" };

	say(WT_MESSAGE_HELPER, wt_wire_helper_encode(&helper, payload));
}

/* An old copy here: equal, unequal, absent, unreadable pages. */
static void write_replica(int choice, const char *name)
{
	size_t good;

	say_region(0);
	happen(EVENT_DATA, 0, 0);
	good = talked;
	say_announcements(1, WT_CONTENT_IN_PLACE_DIGESTED, WT_PRIORITY_BULK); /* 0: 1..3; 2 is zero */
	happen(EVENT_DIGESTS, 1, 0, 1, 1, 0, 1);
	happen(EVENT_ALWAYS, 9);
	say_announcements(3, WT_CONTENT_IN_PLACE_DIGESTED, WT_PRIORITY_FINAL);
	say_announcements(5, WT_CONTENT_IN_PLACE_DIGESTED, WT_PRIORITY_FINAL);
	happen(EVENT_DIGESTS, 3, 0, 1, 1, 1, 1);
	happen(EVENT_DIGESTS, 5, 0, 1, 0, 0, 0);
	say_announced_at(7, 50);
	happen(EVENT_DIGESTS, 7, 0, 50, 1, 1, 1);
	say_announced_at(8, 60);
	happen(EVENT_DIGESTS, 8, 0, 60, 1, 1, 1);
	say_announced_at(9, 1);
	happen(EVENT_DIGESTS, 9, 0, 1, 1, 1, 1);
	end_failing(name, choice, good);
}

/* ... on another host. */
static void write_remote(int choice, const char *name)
{
	size_t good;

	if (choice & STRANGERS) {
		happen(EVENT_CONNECT, 0);
		say_expect(true);
		write_blocks();
		happen(SECOND | EVENT_CONNECT, 0);
		write_blocks_of(SECOND);
	}
	say_region(0);
	say_block_region(SECOND);
	happen(EVENT_DATA, 0, 0);
	happen(SECOND | EVENT_DATA, 0, 0);
	good = talked;
	say_announced_at(1, 1);
	happen(EVENT_DIGESTS, 1, 0, 1, 3, 3, 3);
	happen(SECOND | EVENT_ANSWER, 1, 0, 1, 1, 1, 1);
	happen(SECOND | EVENT_COMPLETE, 1, 1, 0);
	happen(SECOND | EVENT_COMPLETE, 9, 0, PAGE_FILL);
	say_announced_at(2, 8);
	happen(EVENT_DIGESTS, 2, 0, 8, 3, 0, 3);
	happen(SECOND | EVENT_ANSWER, 2, 0, 8, 1, 1, 1);
	happen(SECOND | EVENT_COMPLETE, 9, 0, PAGE_FILL);
	say_announced_at(3, 16);
	happen(EVENT_DIGESTS, 3, 0, 16, 3, 3, 3);
	happen(SECOND | EVENT_ANSWER, 3, 0, 16, 0, 0, 0);
	end_failing(name, choice, good);
}

/* ... and what may become of it. */
static void write_remote_lost(void)
{
	const struct wt_wire_answer unreadable = { .tag = 1, .status = WT_WIRE_ANSWER_UNREADABLE };
	char name[32];

	for (unsigned i = 0; i < 16; i++) {
		say_region(0);
		if (i)
			say_block_region(SECOND);
		happen(EVENT_DATA, 0, 0);
		if (i != 14)
			happen(SECOND | EVENT_DATA, 0, 0);
		say_announced_at(1, 1);
		happen(EVENT_DIGESTS, 1, 0, 1, 3, 3, 3);
		if (i == 1)
			say(SECOND | WT_MESSAGE_REPLICA_ANSWER, wt_wire_answer_encode(&unreadable, payload));
		if (i == 2)
			happen(SECOND | EVENT_ANSWER, 9, 0, 1, 1, 1, 1);
		if (i > 2)
			happen(SECOND | EVENT_ANSWER, 1, 0, 1, 1, 1, 1);
		if (i == 3)
			happen(SECOND | EVENT_COMPLETE, 9, 0, 99); /* it lies */
		for (unsigned n = 0; n < 12 && i == 4; n++)
			happen(SECOND | EVENT_COMPLETE, 9, 1, 0); /* it refuses */
		if (i == 5)
			happen(SECOND | EVENT_BREAK);
		if (i == 6)
			happen(SECOND | EVENT_HANG_UP);
		if (i == 7)
			say(SECOND | WT_MESSAGE_BYE, 0);
		payload[0] = WT_FABRIC_TCP;
		if (i == 8)
			say(SECOND | WT_MESSAGE_REGIONS_CLEAR, 1);
		if (i == 9)
			say_number(WT_MESSAGE_DRAIN, 1);
		if (i == 10)
			happen(EVENT_CALL, CALL_NO_REPLICA);
		if (i == 11)
			say_zero_helper(WT_WIRE_HELPER_UNREACHABLE);
		if (i == 12)
			say_expect(false); /* its place is needed */
		if (i == 13)
			say(WT_MESSAGE_BYE, 0);
		for (unsigned n = 0; n < 14; n++) {
			happen(EVENT_TIME, 51);
			if (i == 15) { /* too slow: others come meanwhile */
				say_announced_at(2 + n, 8);
				happen(EVENT_DIGESTS, (uint8_t)(2 + n), 0, 8, 3, 3, 3);
				happen(SECOND | EVENT_ANSWER, (uint8_t)(2 + n), 0, 8, 0, 0, 0);
			}
		}
		say_block_region(SECOND);
		payload[0] = WT_FABRIC_TCP;
		say(SECOND | WT_MESSAGE_REGIONS_CLEAR, 1);
		happen(SECOND | EVENT_DATA, 0, 0);
		snprintf(name, sizeof name, "replica_lost%u", i);
		end(name, LISTS_BLOCKS | REPLICA_REMOTE);
	}
}

/* An old copy is told of when the blocks are known. */
static void write_replica_opened(int choice, const char *name)
{
	size_t good;

	happen(EVENT_CONNECT, 0);
	good = talked;
	write_blocks();
	end_failing(name, STRANGERS | choice, good);
}

/* One that never comes, told by server 0 or by the caller. */
static void write_remote_absent(void)
{
	char name[32];

	for (unsigned i = 0; i < 6; i++) {
		happen(EVENT_CONNECT, 0);
		say_expect(true);
		if (i == 5)
			say_expect(true);
		write_blocks();
		say_region(0);
		say_announced_at(1, 1);
		happen(EVENT_DIGESTS, 1, 0, 1, 3, 3, 3);
		if (i == 1)
			happen(EVENT_CALL, CALL_NO_REPLICA);
		if (i == 2)
			say_zero_helper(WT_WIRE_HELPER_UNREACHABLE);
		if (i == 3)
			say_expect(false);
		if (i == 4)
			say_zero_helper(WT_WIRE_HELPER_JOINED);
		for (unsigned n = 0; n < 12; n++)
			happen(EVENT_TIME, 51);
		snprintf(name, sizeof name, "absent%u", i);
		end(name, STRANGERS);
		say_announced_at(1, 1);
		happen(EVENT_CALL, CALL_REPLICA);
		happen(EVENT_CALL, CALL_REPLICA_REMOTE);
		happen(EVENT_CALL, CALL_NO_REPLICA);
		end("told_away", LISTS_BLOCKS | REPLICA_REMOTE);
	}
	happen(EVENT_CONNECT, 0);
	say_expect(true);
	write_blocks();
	end("two_replicas", STRANGERS | HAS_REPLICA);
}

int main(int argc, char **argv)
{
	const struct wt_wire_block block = { .length = 64 * WT_PAGE_SIZE, .name = "a" };

	if (!seeds_begin(argc, argv))
		return 2;
	say(WT_MESSAGE_BLOCK, wt_wire_block_encode(&block, payload));
	say(WT_MESSAGE_BLOCKS_END, 0);
	say(WT_MESSAGE_KEEPALIVE, 0);
	end_failing("blocks", 0, 0);
	write_plain();
	write_several();
	write_drain();
	write_digests();
	write_data();
	write_hosts();
	write_guests();
	write_helpers();
	write_wrong();
	write_left(LISTS_BLOCKS, "left");
	write_left(LISTS_BLOCKS | FEW_EVENTS, "left_quietly");
	write_replica(LISTS_BLOCKS | HAS_REPLICA, "replica");
	write_replica(LISTS_BLOCKS | HAS_REPLICA | REPLICA_IN_PLACE, "in_place");
	write_remote(LISTS_BLOCKS | REPLICA_REMOTE, "remote");
	write_remote(STRANGERS, "remote_told");
	write_remote_lost();
	write_remote_absent();
	write_replica_opened(HAS_REPLICA, "opened");
	write_replica_opened(REPLICA_REMOTE, "opened_remote");
	return seeds_failed ? 1 : 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_puller_seeds.c - writes the seed corpus of fuzz_puller: what servers say, in an order that makes
 * sense.
 */
#include "seed_file.h"
#include "wire.h"

#define LISTS_BLOCKS 1
#define REPLICA 2
#define REMOTE 4
#define IN_PLACE 8
#define SECOND 0x80

static uint8_t talk[1u << 16], payload[WT_WIRE_PAYLOAD_MAX];
static size_t talked;

static void say(unsigned type, size_t length)
{
	talk[talked++] = (uint8_t)type;
	talk[talked++] = (uint8_t)length;
	talk[talked++] = (uint8_t)(length >> 8);
	memcpy(talk + talked, payload, length);
	talked += length;
}

static void end(const char *name, int choice)
{
	seed_bytes(name, choice, talk, talked);
	talked = 0;
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
	const int choices[] = { REPLICA, REPLICA | IN_PLACE, REMOTE };
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

int main(int argc, char **argv)
{
	const struct wt_wire_block block = { .length = 64 * WT_PAGE_SIZE, .name = "a" };

	if (!seeds_begin(argc, argv))
		return 2;
	say(WT_MESSAGE_BLOCK, wt_wire_block_encode(&block, payload));
	say(WT_MESSAGE_BLOCKS_END, 0);
	say(WT_MESSAGE_KEEPALIVE, 0);
	end("blocks", 0);
	write_plain();
	write_several();
	write_drain();
	write_digests();
	return seeds_failed ? 1 : 0;
}

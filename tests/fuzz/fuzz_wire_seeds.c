/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_wire_seeds.c - writes the seed corpus of fuzz_wire: `fuzz_wire_seeds DIRECTORY`.
 *
 * A seed is a zero byte, which chooses the decoders of messages, and one message of each type.
 */
#include <stdio.h>

#include "wire.h"

static const char *directory;
static uint8_t payload[WT_WIRE_PAYLOAD_MAX];
static int failed;

static void write_seed(const char *name, size_t length)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", directory, name);
	file = fopen(path, "wb");
	if (!file) {
		perror(path);
		failed = 1;
		return;
	}
	fputc(0, file);
	fwrite(payload, 1, length, file);
	failed |= fclose(file);
}

static void write_data(void)
{
	const struct wt_wire_block block = { .length = 16 * WT_PAGE_SIZE, .name = "pc.ram" };
	const struct wt_wire_ready ready = { .listeners = 1,
		.listener = { { .fabric = WT_FABRIC_TCP, .port = 4711, .host = "192.0.2.1" } } };
	const struct wt_wire_region region = { .fabric = WT_FABRIC_TCP,
		.key = { .address = 1ull << 32, .length = WT_PAGE_SIZE, .key = 1 } };
	const struct wt_announcement announcements[2] = {
		{ .extent = { .pages = 1 }, .content = WT_CONTENT_IN_PLACE, .priority = WT_PRIORITY_BULK },
		{ .extent = { .pages = 9, .page = 1 },
			.content = WT_CONTENT_ZERO,
			.priority = WT_PRIORITY_DIRTY },
	};
	const struct wt_seq_range range = { .first = 1, .count = 2 };

	write_seed("block", wt_wire_block_encode(&block, payload));
	write_seed("ready", wt_wire_ready_encode(&ready, payload));
	write_seed("region", wt_wire_region_encode(&region, payload));
	write_seed("announce", wt_wire_announce_encode(1, announcements, 2, payload));
	write_seed("landed", wt_wire_landed_encode(&range, 1, payload));
}

static void write_base(void)
{
	static const uint64_t words[2] = { 0x5555, 1 };
	struct wt_wire_base base = { .kind = WT_WIRE_BASE_NEED,
		.pages = { .extent = { .pages = 1u << 14 }, .all = true } };
	const struct wt_wire_base_end end = { .policy = 1, .rate_limit = 50000000 };

	write_seed("epoch", wt_wire_epoch_encode(1, payload));
	write_seed("base_need", wt_wire_base_encode(&base, NULL, payload));
	write_seed("missing_all", wt_wire_missing_encode(&base.pages, NULL, payload));
	base.kind = WT_WIRE_BASE_ZERO;
	write_seed("base_zero", wt_wire_base_encode(&base, NULL, payload));
	base = (struct wt_wire_base){
		.kind = WT_WIRE_BASE_HAS, .server = 1, .pages = { .extent = { .pages = 65, .page = 64 } }
	};
	write_seed("base_has", wt_wire_base_encode(&base, words, payload));
	write_seed("missing_bits", wt_wire_missing_encode(&base.pages, words, payload));
	write_seed("base_end", wt_wire_base_end_encode(&end, payload));
	write_seed("base_left", wt_wire_base_left_encode(1000, payload));
}

static void write_helpers(void)
{
	const struct wt_wire_expect expect = { .server = 1, .label = "old" };
	const struct wt_wire_expected expected = { .server = 1, .port = 4711, .replica = true };
	const struct wt_wire_serve serve = {
		.host = "192.0.2.1", .port = 4711, .name = "vm", .server = 1, .epoch = 1
	};
	const struct wt_wire_helper helper = { .server = 1, .state = WT_WIRE_HELPER_LOST, .text = "gone" };
	const struct wt_extent extents[2] = { { .pages = 1 }, { .pages = 9, .page = 1 } };

	write_seed("expect", wt_wire_expect_encode(&expect, payload));
	write_seed("expected", wt_wire_expected_encode(&expected, payload));
	write_seed("serve", wt_wire_serve_encode(&serve, payload));
	write_seed("serve_end", wt_wire_serve_end_encode(1, payload));
	write_seed("helper", wt_wire_helper_encode(&helper, payload));
	write_seed("want", wt_wire_want_encode(WT_PRIORITY_FAULT, extents, 2, payload));
}

static void write_digests(void)
{
	static const uint8_t bytes[4 * WT_DIGEST_BYTES] = { 1, 2, 3 };
	struct wt_wire_digest_keys keys = { .count = 1 };
	struct wt_wire_digests digests = { .first_seq = 1, .keys = 1, .pages = 4, .digests = bytes };
	const struct wt_wire_ask ask = { .tag = 1, .extent = { .pages = 2 } };
	struct wt_wire_answer answer = {
		.tag = 1, .status = WT_WIRE_ANSWER_DIGESTS, .pages = 2, .digests = bytes
	};

	write_seed("digest_key", wt_wire_digest_keys_encode(&keys, payload));
	write_seed("digests", wt_wire_digests_encode(&digests, payload));
	keys.count = digests.keys = 2;
	digests.pages = 2;
	write_seed("digest_keys", wt_wire_digest_keys_encode(&keys, payload));
	write_seed("digests_two", wt_wire_digests_encode(&digests, payload));
	write_seed("replica_ask", wt_wire_ask_encode(&ask, payload));
	write_seed("replica_answer", wt_wire_answer_encode(&answer, payload));
	answer = (struct wt_wire_answer){ .tag = 1, .status = WT_WIRE_ANSWER_UNREADABLE, .digests = bytes };
	write_seed("replica_unreadable", wt_wire_answer_encode(&answer, payload));
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
		return 2;
	}
	directory = argv[1];
	write_data();
	write_base();
	write_helpers();
	write_digests();
	return failed ? 1 : 0;
}

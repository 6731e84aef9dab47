/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_wire_seeds.c - writes the seed corpus of fuzz_wire: `fuzz_wire_seeds DIRECTORY`.
 *
 * A zero byte chooses the decoders of messages, and one message of each type follows; then greetings, and
 * what a peer does.
 */
#include "seed_file.h"
#include "wire.h"

static uint8_t payload[WT_WIRE_PAYLOAD_MAX];

static void write_seed(const char *name, size_t length)
{
	seed_bytes(name, 0, payload, length);
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

static void write_greetings(void)
{
	const struct wt_hello hello = {
		.version_min = WT_WIRE_VERSION, .version_max = WT_WIRE_VERSION, .name = "vm"
	};
	const struct wt_welcome welcome = { .version = WT_WIRE_VERSION }, refusal = { .text = "no" };

	wt_wire_hello_encode(&hello, payload);
	seed_bytes("hello", 1, payload, WT_WIRE_HELLO_BYTES);
	wt_wire_welcome_encode(&welcome, payload);
	seed_bytes("welcome", 1, payload, WT_WIRE_WELCOME_BYTES);
	wt_wire_welcome_encode(&refusal, payload);
	seed_bytes("refusal", 1, payload, WT_WIRE_WELCOME_BYTES);
}

/* Each verb of fuzz_wire's peer, at both ends: verb, value, length, bytes. */
static void write_talks(void)
{
	static const uint8_t talk[] = { 8, 60, 2, 'h', 'i', 3, 0, 1, 'x', 0, 1, 0, 3, 1, 2, 'y', 'z', 4, 30,
		0, 5, 1, 0, 8, 1, 200, 1, 2, 3, 0, 2, 0, 6, 0, 0 };
	static const uint8_t bye[] = { 7, 1, 3, 'b', 'y', 'e' }, future[] = { 1, 9, 0 }, gap[] = { 2, 1, 0 },
			     none[] = { 7, 0, 0 };
	char name[16];

	for (int end = 4; end < 6; end++) {
		const struct {
			const char *name;
			const uint8_t *bytes;
			size_t length;
		} talks[] = { { "talk", talk, sizeof talk }, { "bye", bye, sizeof bye },
			{ "future", future, sizeof future }, { "gap", gap, sizeof gap },
			{ "none", none, sizeof none } };

		for (unsigned i = 0; i < sizeof talks / sizeof *talks; i++) {
			snprintf(name, sizeof name, "%s%d", talks[i].name, end);
			seed_bytes(name, end, talks[i].bytes, talks[i].length);
		}
	}
}

int main(int argc, char **argv)
{
	if (!seeds_begin(argc, argv))
		return 2;
	write_data();
	write_base();
	write_helpers();
	write_digests();
	write_greetings();
	write_talks();
	return seeds_failed ? 1 : 0;
}

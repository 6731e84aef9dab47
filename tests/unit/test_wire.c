/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_wire.c - every encoder against its decoder: round trips of random values, the exact bytes of one of
 * each, every truncation, one byte too many, every limit, and random damage.
 *
 * Payloads are copied to memory of exactly their size, so that a sanitizer sees what reads too far.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "seed.h"
#include "wire.h"

#define NAME_AT (4 + 8 + WT_MEMORY_ID_BYTES + 2) /* of a block's message */

/* Any of the payloads, decoded. */
union message {
	struct wt_wire_block block;
	struct wt_wire_ready ready;
	struct wt_wire_region region;
	struct {
		uint64_t first_seq;
		unsigned count;
		struct wt_announcement list[WT_WIRE_ANNOUNCEMENTS_MAX];
	} announce;
	struct {
		unsigned count;
		struct wt_seq_range ranges[WT_WIRE_RANGES_MAX];
	} landed;
	uint32_t epoch;
	struct {
		struct wt_wire_base base; /* MISSING: its pages */
		uint64_t words[WT_WIRE_WORDS_MAX];
	} base;
	struct wt_wire_base_end base_end;
	uint64_t base_left;
	struct wt_wire_expect expect;
	struct wt_wire_expected expected;
	struct wt_wire_serve serve;
	uint8_t serve_end;
	struct wt_wire_helper helper;
	struct {
		enum wt_priority priority;
		unsigned count;
		struct wt_extent list[WT_WIRE_WANTED_MAX];
	} want;
	struct wt_wire_digest_keys digest_keys;
	struct {
		struct wt_wire_digests what;
		uint8_t bytes[WT_WIRE_DIGESTS_MAX * WT_WIRE_KEYS_MAX * WT_DIGEST_BYTES];
	} digests;
	struct wt_wire_ask ask;
	struct {
		struct wt_wire_answer what;
		uint8_t bytes[WT_WIRE_ASK_PAGES_MAX * WT_DIGEST_BYTES];
	} answer;
};

enum kind {
	BLOCK,
	READY,
	REGION,
	ANNOUNCE,
	LANDED,
	EPOCH,
	MISSING,
	BASE,
	BASE_END,
	BASE_LEFT,
	EXPECT,
	EXPECTED,
	SERVE,
	SERVE_END,
	HELPER,
	WANT,
	DIGEST_KEYS,
	DIGESTS,
	ASK,
	ANSWER,
	KINDS
};

static uint8_t buffer[WT_WIRE_PAYLOAD_MAX];
static union message message, again;

static size_t encode(enum kind kind, const union message *in)
{
	struct wt_wire_digests digests;
	struct wt_wire_answer answer;

	switch (kind) {
	case BLOCK:
		return wt_wire_block_encode(&in->block, buffer);
	case READY:
		return wt_wire_ready_encode(&in->ready, buffer);
	case REGION:
		return wt_wire_region_encode(&in->region, buffer);
	case ANNOUNCE:
		return wt_wire_announce_encode(
			in->announce.first_seq, in->announce.list, in->announce.count, buffer);
	case LANDED:
		return wt_wire_landed_encode(in->landed.ranges, in->landed.count, buffer);
	case EPOCH:
		return wt_wire_epoch_encode(in->epoch, buffer);
	case MISSING:
		return wt_wire_missing_encode(&in->base.base.pages, in->base.words, buffer);
	case BASE:
		return wt_wire_base_encode(&in->base.base, in->base.words, buffer);
	case BASE_END:
		return wt_wire_base_end_encode(&in->base_end, buffer);
	case BASE_LEFT:
		return wt_wire_base_left_encode(in->base_left, buffer);
	case EXPECT:
		return wt_wire_expect_encode(&in->expect, buffer);
	case EXPECTED:
		return wt_wire_expected_encode(&in->expected, buffer);
	case SERVE:
		return wt_wire_serve_encode(&in->serve, buffer);
	case SERVE_END:
		return wt_wire_serve_end_encode(in->serve_end, buffer);
	case HELPER:
		return wt_wire_helper_encode(&in->helper, buffer);
	case DIGEST_KEYS:
		return wt_wire_digest_keys_encode(&in->digest_keys, buffer);
	case DIGESTS:
		digests = in->digests.what;
		digests.digests = in->digests.bytes;
		return wt_wire_digests_encode(&digests, buffer);
	case ASK:
		return wt_wire_ask_encode(&in->ask, buffer);
	case ANSWER:
		answer = in->answer.what;
		answer.digests = in->answer.bytes;
		return wt_wire_answer_encode(&answer, buffer);
	default:
		return wt_wire_want_encode(in->want.priority, in->want.list, in->want.count, buffer);
	}
}

static int decode_digests(const uint8_t *bytes, size_t length, union message *out)
{
	struct wt_wire_digests *what = &out->digests.what;
	int r = wt_wire_digests_decode(bytes, length, what);

	if (!r)
		memcpy(out->digests.bytes, what->digests, (size_t)what->pages * what->keys * WT_DIGEST_BYTES);
	what->digests = NULL;
	return r;
}

static int decode_answer(const uint8_t *bytes, size_t length, union message *out)
{
	struct wt_wire_answer *what = &out->answer.what;
	int r = wt_wire_answer_decode(bytes, length, what);

	if (!r)
		memcpy(out->answer.bytes, what->digests, (size_t)what->pages * WT_DIGEST_BYTES);
	what->digests = NULL;
	return r;
}

static int decode_bytes(enum kind kind, const uint8_t *bytes, size_t length, union message *out)
{
	switch (kind) {
	case BLOCK:
		return wt_wire_block_decode(bytes, length, &out->block);
	case READY:
		return wt_wire_ready_decode(bytes, length, &out->ready);
	case REGION:
		return wt_wire_region_decode(bytes, length, &out->region);
	case ANNOUNCE:
		return wt_wire_announce_decode(
			bytes, length, &out->announce.first_seq, out->announce.list, &out->announce.count);
	case LANDED:
		return wt_wire_landed_decode(bytes, length, out->landed.ranges, &out->landed.count);
	case EPOCH:
		return wt_wire_epoch_decode(bytes, length, &out->epoch);
	case MISSING:
		return wt_wire_missing_decode(bytes, length, &out->base.base.pages, out->base.words);
	case BASE:
		return wt_wire_base_decode(bytes, length, &out->base.base, out->base.words);
	case BASE_END:
		return wt_wire_base_end_decode(bytes, length, &out->base_end);
	case BASE_LEFT:
		return wt_wire_base_left_decode(bytes, length, &out->base_left);
	case EXPECT:
		return wt_wire_expect_decode(bytes, length, &out->expect);
	case EXPECTED:
		return wt_wire_expected_decode(bytes, length, &out->expected);
	case SERVE:
		return wt_wire_serve_decode(bytes, length, &out->serve);
	case SERVE_END:
		return wt_wire_serve_end_decode(bytes, length, &out->serve_end);
	case HELPER:
		return wt_wire_helper_decode(bytes, length, &out->helper);
	case DIGEST_KEYS:
		return wt_wire_digest_keys_decode(bytes, length, &out->digest_keys);
	case DIGESTS:
		return decode_digests(bytes, length, out);
	case ASK:
		return wt_wire_ask_decode(bytes, length, &out->ask);
	case ANSWER:
		return decode_answer(bytes, length, out);
	default:
		return wt_wire_want_decode(
			bytes, length, &out->want.priority, out->want.list, &out->want.count);
	}
}

static int decode(enum kind kind, const uint8_t *bytes, size_t length, union message *out)
{
	uint8_t *exact = malloc(length ? length : 1);
	int r;

	memset(out, 0, sizeof *out);
	memcpy(exact, bytes, length);
	r = decode_bytes(kind, exact, length, out);
	free(exact);
	return r;
}

static void random_text(char *ret_text, size_t size)
{
	size_t length = seed_below(3) ? seed_below(size) : size - 1;

	for (size_t i = 0; i < length; i++)
		ret_text[i] = (char)(1 + seed_below(255));
	ret_text[length] = '\0';
}

static void random_extent(struct wt_extent *ret, uint64_t pages_max)
{
	ret->block = (uint32_t)seed_next();
	ret->pages = (uint32_t)(1 + seed_below(pages_max));
	ret->page = seed_below((1ull << 40) - ret->pages + 1);
}

static void random_pages(union message *ret, uint64_t pages_max)
{
	struct wt_wire_pages *pages = &ret->base.base.pages;

	random_extent(&pages->extent, seed_below(4) ? 200 : pages_max);
	pages->all = seed_below(2);
	if (pages->all)
		return;
	pages->extent.page -= pages->extent.page % 64;
	for (uint32_t i = 0; i < pages->extent.pages; i++)
		ret->base.words[i / 64] |= seed_below(2) << i % 64;
}

static void random_bytes(uint8_t *ret_bytes, size_t length)
{
	for (size_t i = 0; i < length; i += 8)
		memcpy(ret_bytes + i, &(uint64_t){ seed_next() }, 8);
}

static void random_digests(enum kind kind, union message *ret)
{
	unsigned keys = (unsigned)(1 + seed_below(WT_WIRE_KEYS_MAX));

	if (kind == DIGEST_KEYS) {
		ret->digest_keys.count = keys;
		random_bytes(ret->digest_keys.key[0], keys * WT_DIGEST_KEY_BYTES);
	} else if (kind == DIGESTS) {
		ret->digests.what = (struct wt_wire_digests){ .first_seq = seed_next(),
			.keys = keys,
			.pages = (unsigned)(1 + seed_below(seed_below(4) ? 4 : WT_WIRE_DIGESTS_MAX)) };
		random_bytes(ret->digests.bytes, ret->digests.what.pages * keys * WT_DIGEST_BYTES);
	} else if (kind == ASK) {
		ret->ask.tag = seed_next();
		random_extent(&ret->ask.extent, WT_WIRE_ASK_PAGES_MAX);
	} else {
		ret->answer.what.tag = seed_next();
		ret->answer.what.status = (enum wt_wire_answer_status)(1 + seed_below(3));
		if (ret->answer.what.status == WT_WIRE_ANSWER_DIGESTS)
			ret->answer.what.pages = (unsigned)(1 + seed_below(WT_WIRE_ASK_PAGES_MAX));
		random_bytes(ret->answer.bytes, ret->answer.what.pages * WT_DIGEST_BYTES);
	}
}

/* What came with several servers. */
static void random_change(enum kind kind, union message *ret)
{
	uint8_t helper = (uint8_t)(1 + seed_below(WT_WIRE_SERVERS - 1));

	switch (kind) {
	case EPOCH:
		ret->epoch = (uint32_t)seed_next();
		break;
	case MISSING:
		random_pages(ret, WT_WIRE_PAGES_MAX);
		break;
	case BASE:
		ret->base.base.kind = (enum wt_wire_base_kind)(1 + seed_below(3));
		ret->base.base.server = ret->base.base.kind == WT_WIRE_BASE_HAS ? helper : 0;
		random_pages(ret, ret->base.base.kind == WT_WIRE_BASE_ZERO ? WT_WIRE_ZERO_PAGES_MAX
									   : WT_WIRE_PAGES_MAX);
		break;
	case BASE_END:
		ret->base_end.policy = (uint8_t)(1 + seed_below(2));
		ret->base_end.rate_limit = seed_next();
		break;
	case BASE_LEFT:
		ret->base_left = seed_next();
		break;
	case EXPECT:
		ret->expect.server = helper;
		ret->expect.session_id[seed_below(WT_SESSION_ID_BYTES)] = (uint8_t)seed_next();
		ret->expect.replica = seed_below(2);
		random_text(ret->expect.label, sizeof ret->expect.label);
		break;
	case EXPECTED:
		ret->expected.server = helper;
		ret->expected.port = (uint16_t)seed_next();
		ret->expected.replica = seed_below(2);
		if (ret->expected.replica)
			random_bytes(ret->expected.key, sizeof ret->expected.key);
		break;
	case SERVE:
		random_text(ret->serve.host, sizeof ret->serve.host);
		ret->serve.port = (uint16_t)seed_next();
		random_text(ret->serve.name, sizeof ret->serve.name);
		ret->serve.session_id[seed_below(WT_SESSION_ID_BYTES)] = (uint8_t)seed_next();
		ret->serve.server = helper;
		ret->serve.epoch = (uint32_t)seed_next();
		ret->serve.replica = seed_below(2);
		if (ret->serve.replica)
			random_bytes(ret->serve.key, sizeof ret->serve.key);
		break;
	case SERVE_END:
		ret->serve_end = helper;
		break;
	case HELPER:
		ret->helper.server = helper;
		ret->helper.state = (enum wt_wire_helper_state)(1 + seed_below(3));
		random_text(ret->helper.text, sizeof ret->helper.text);
		break;
	case DIGEST_KEYS:
	case DIGESTS:
	case ASK:
	case ANSWER:
		random_digests(kind, ret);
		break;
	default:
		ret->want.priority = (enum wt_priority)(1 + seed_below(4));
		ret->want.count = (unsigned)seed_below(seed_below(4) ? 4 : WT_WIRE_WANTED_MAX + 1);
		for (unsigned i = 0; i < ret->want.count; i++)
			random_extent(&ret->want.list[i], UINT32_MAX);
	}
}

static void random_message(enum kind kind, union message *ret)
{
	memset(ret, 0, sizeof *ret);
	switch (kind) {
	case BLOCK:
		ret->block.block = (uint32_t)seed_next();
		for (unsigned i = 0; i < WT_MEMORY_ID_BYTES; i++)
			ret->block.memory[i] = (uint8_t)seed_next();
		ret->block.length = (1 + seed_below(1ull << 40)) * WT_PAGE_SIZE;
		random_text(ret->block.name, sizeof ret->block.name);
		break;
	case READY:
		for (unsigned i = 0; i < WT_PATH_TOKEN_BYTES; i++)
			ret->ready.token[i] = (uint8_t)seed_next();
		ret->ready.listeners = (unsigned)seed_below(5);
		for (unsigned i = 0; i < ret->ready.listeners; i++) {
			ret->ready.listener[i].fabric = (enum wt_fabric)seed_below(4);
			ret->ready.listener[i].port = (uint16_t)seed_next();
			random_text(ret->ready.listener[i].host, sizeof ret->ready.listener[i].host);
		}
		break;
	case REGION:
		ret->region.block = (uint32_t)seed_next();
		ret->region.offset = seed_below(1ull << 40) * WT_PAGE_SIZE;
		ret->region.fabric = (enum wt_fabric)seed_below(4);
		ret->region.key.address = seed_next();
		ret->region.key.length = (1 + seed_below((1ull << 40) - 1)) * WT_PAGE_SIZE;
		ret->region.key.key = seed_next();
		break;
	case ANNOUNCE:
		ret->announce.first_seq = seed_next();
		ret->announce.count = (unsigned)seed_below(seed_below(4) ? 4 : WT_WIRE_ANNOUNCEMENTS_MAX + 1);
		for (unsigned i = 0; i < ret->announce.count; i++) {
			ret->announce.list[i].extent.block = (uint32_t)seed_next();
			ret->announce.list[i].extent.pages = (uint32_t)seed_next();
			ret->announce.list[i].extent.page = seed_next();
			ret->announce.list[i].content = (enum wt_content)seed_below(4);
			ret->announce.list[i].priority = (enum wt_priority)seed_below(6);
			ret->announce.list[i].staged_offset = seed_next();
		}
		break;
	case LANDED:
		ret->landed.count = (unsigned)seed_below(seed_below(4) ? 4 : WT_WIRE_RANGES_MAX + 1);
		for (unsigned i = 0; i < ret->landed.count; i++) {
			ret->landed.ranges[i].first = seed_next();
			ret->landed.ranges[i].count = seed_next();
		}
		break;
	default:
		random_change(kind, ret);
	}
}

static bool same(enum kind kind)
{
	switch (kind) {
	case BLOCK: /* behind a text's end there may be anything */
		return message.block.block == again.block.block &&
		       message.block.length == again.block.length &&
		       memcmp(message.block.memory, again.block.memory, WT_MEMORY_ID_BYTES) == 0 &&
		       strcmp(message.block.name, again.block.name) == 0;
	case ANNOUNCE:
		for (unsigned i = 0; i < message.announce.count; i++) {
			const struct wt_announcement *a = &message.announce.list[i];
			const struct wt_announcement *b = &again.announce.list[i];

			if (a->extent.block != b->extent.block || a->extent.pages != b->extent.pages ||
				a->extent.page != b->extent.page || a->content != b->content ||
				a->priority != b->priority || a->staged_offset != b->staged_offset)
				return false;
		}
		return message.announce.first_seq == again.announce.first_seq &&
		       message.announce.count == again.announce.count;
	default:
		return memcmp(&message, &again, sizeof message) == 0;
	}
}

/* What a message says, whatever its bytes are. */
static void test_fields_come_back(void **state)
{
	static const uint64_t words[] = { 1, 0x8000000000000000ull, 7 };
	struct wt_wire_base base = { .kind = WT_WIRE_BASE_HAS,
		.server = 7,
		.pages = { .extent = { .block = 3, .pages = 131, .page = 64 } } };
	struct wt_wire_serve serve = { .host = "h", .port = 2, .name = "n", .server = 1, .epoch = 9 };
	size_t length = wt_wire_base_encode(&base, words, buffer);

	assert_int_equal(length, 2 + 17 + sizeof words);
	assert_int_equal(decode(BASE, buffer, length, &again), 0);
	assert_int_equal(again.base.base.kind, WT_WIRE_BASE_HAS);
	assert_int_equal(again.base.base.server, 7);
	assert_false(again.base.base.pages.all);
	assert_memory_equal(&again.base.base.pages.extent, &base.pages.extent, sizeof base.pages.extent);
	assert_memory_equal(again.base.words, words, sizeof words);

	length = wt_wire_serve_encode(&serve, buffer);
	assert_int_equal(decode(SERVE, buffer, length, &again), 0);
	assert_string_equal(again.serve.host, "h");
	assert_string_equal(again.serve.name, "n");
	assert_int_equal(again.serve.port, 2);
	assert_int_equal(again.serve.server, 1);
	assert_int_equal(again.serve.epoch, 9);
}

static void refuses(enum kind kind, size_t length)
{
	assert_int_equal(decode(kind, buffer, length, &again), -EPROTO);
}

static void accepts(enum kind kind, size_t length)
{
	assert_int_equal(decode(kind, buffer, length, &again), 0);
}

static void test_limits_of_pages(void **state)
{
	static uint64_t words[WT_WIRE_WORDS_MAX + 1];
	struct wt_wire_pages all = { .extent = { .pages = WT_WIRE_PAGES_MAX }, .all = true };
	struct wt_wire_pages bits = { .extent = { .pages = 65 } };
	struct wt_wire_base zero = { .kind = WT_WIRE_BASE_ZERO,
		.pages = { .extent = { .pages = WT_WIRE_ZERO_PAGES_MAX }, .all = true } };

	accepts(MISSING, wt_wire_missing_encode(&all, NULL, buffer));
	all.extent.pages++;
	refuses(MISSING, wt_wire_missing_encode(&all, NULL, buffer));
	all.extent.pages = 0;
	refuses(MISSING, wt_wire_missing_encode(&all, NULL, buffer));
	all.extent = (struct wt_extent){ .pages = 2, .page = (1ull << 40) - 1 };
	refuses(MISSING, wt_wire_missing_encode(&all, NULL, buffer));
	all.extent.pages = 1;
	accepts(MISSING, wt_wire_missing_encode(&all, NULL, buffer));
	all.extent = (struct wt_extent){ .pages = 2, .page = UINT64_MAX };
	refuses(MISSING, wt_wire_missing_encode(&all, NULL, buffer));

	bits.extent.pages = WT_WIRE_PAGES_MAX;
	accepts(MISSING, wt_wire_missing_encode(&bits, words, buffer));
	bits.extent.pages++;
	refuses(MISSING, wt_wire_missing_encode(&bits, words, buffer));
	bits.extent = (struct wt_extent){ .pages = 65, .page = 63 }; /* words would not line up */
	refuses(MISSING, wt_wire_missing_encode(&bits, words, buffer));
	bits.extent.page = 64;
	words[1] = 1;
	accepts(MISSING, wt_wire_missing_encode(&bits, words, buffer));
	words[1] = 2; /* behind the last page */
	refuses(MISSING, wt_wire_missing_encode(&bits, words, buffer));
	words[1] = 0;
	wt_wire_missing_encode(&bits, words, buffer);
	buffer[16] = 3; /* neither all nor bits */
	refuses(MISSING, 17 + 16);

	accepts(BASE, wt_wire_base_encode(&zero, NULL, buffer));
	zero.pages.extent.pages++;
	refuses(BASE, wt_wire_base_encode(&zero, NULL, buffer));
	zero.kind = WT_WIRE_BASE_NEED;
	accepts(BASE, wt_wire_base_encode(&zero, NULL, buffer));
	zero.server = 1; /* only HAS names one */
	refuses(BASE, wt_wire_base_encode(&zero, NULL, buffer));
	zero.kind = WT_WIRE_BASE_HAS;
	accepts(BASE, wt_wire_base_encode(&zero, NULL, buffer));
	zero.server = 0;
	refuses(BASE, wt_wire_base_encode(&zero, NULL, buffer));
	zero.server = WT_WIRE_SERVERS;
	refuses(BASE, wt_wire_base_encode(&zero, NULL, buffer));
}

static void test_limits_of_helpers(void **state)
{
	struct wt_wire_helper helper = { .server = 1, .state = WT_WIRE_HELPER_UNREACHABLE };
	const struct wt_extent extents[] = { { .pages = 1 }, { .pages = 0 } };

	accepts(HELPER, wt_wire_helper_encode(&helper, buffer));
	helper.state++;
	refuses(HELPER, wt_wire_helper_encode(&helper, buffer));
	helper.state = WT_WIRE_HELPER_INVALID;
	refuses(HELPER, wt_wire_helper_encode(&helper, buffer));
	helper = (struct wt_wire_helper){ .server = 0, .state = WT_WIRE_HELPER_LOST };
	refuses(HELPER, wt_wire_helper_encode(&helper, buffer));
	refuses(EXPECT, wt_wire_expect_encode(&(struct wt_wire_expect){ .server = 8 }, buffer));
	refuses(EXPECTED, wt_wire_expected_encode(&(struct wt_wire_expected){ .port = 1 }, buffer));
	refuses(SERVE, wt_wire_serve_encode(&(struct wt_wire_serve){ .port = 1 }, buffer));
	refuses(SERVE_END, wt_wire_serve_end_encode(0, buffer));
	refuses(BASE_END, wt_wire_base_end_encode(&(struct wt_wire_base_end){ .policy = 0 }, buffer));
	refuses(BASE_END, wt_wire_base_end_encode(&(struct wt_wire_base_end){ .policy = 3 }, buffer));

	accepts(WANT, wt_wire_want_encode(WT_PRIORITY_FAULT, extents, 1, buffer));
	refuses(WANT, wt_wire_want_encode(WT_PRIORITY_FAULT, extents, 2, buffer));
	refuses(WANT, wt_wire_want_encode(WT_PRIORITY_FAULT + 1, extents, 1, buffer));
	refuses(WANT, wt_wire_want_encode(WT_PRIORITY_INVALID, extents, 1, buffer));
	memset(buffer, 1, 5 + 1025 * 16);
	memcpy(buffer + 1, (uint8_t[4]){ 1, 4, 0, 0 }, 4); /* 1025 extents */
	refuses(WANT, 5 + 1025 * 16);
}

static void round_trip(void)
{
	enum kind kind = (enum kind)seed_below(KINDS);
	size_t length;

	random_message(kind, &message);
	length = encode(kind, &message);
	check(length <= WT_WIRE_PAYLOAD_MAX);
	check(decode(kind, buffer, length, &again) == 0);
	check(same(kind));
	check(encode(kind, &again) == length);
}

static void test_round_trips(void **state)
{
	seed_runs(400, round_trip);
}

static void test_every_truncation_and_one_byte_too_many(void **state)
{
	for (unsigned kind = 0; kind < KINDS; kind++) {
		size_t length;

		seed_start(kind);
		do
			random_message((enum kind)kind, &message);
		while (encode((enum kind)kind, &message) > 3000);
		length = encode((enum kind)kind, &message);
		buffer[length] = 0;
		assert_int_equal(decode((enum kind)kind, buffer, length, &again), 0);
		assert_int_equal(decode((enum kind)kind, buffer, length + 1, &again), -EPROTO);
		for (size_t i = 0; i < length; i++)
			assert_int_equal(decode((enum kind)kind, buffer, i, &again), -EPROTO);
	}
}

/* Whatever decodes in spite of the damage is within the limits, and encodes to the same bytes. */
static void damaged(void)
{
	static uint8_t bytes[WT_WIRE_PAYLOAD_MAX];
	enum kind kind = (enum kind)seed_below(KINDS);
	size_t length;

	random_message(kind, &message);
	length = encode(kind, &message);
	for (unsigned i = 1 + (unsigned)seed_below(4); i && length; i--)
		buffer[seed_below(seed_below(2) ? length : length < 14 ? length : 14)] = (uint8_t)seed_next();
	memcpy(bytes, buffer, length);
	if (decode(kind, bytes, length, &again))
		return;
	check(encode(kind, &again) == length);
	check(memcmp(bytes, buffer, length) == 0);
}

static void test_damage(void **state)
{
	seed_runs(3000, damaged);
}

static void test_limits(void **state)
{
	struct wt_wire_block block = { .length = WT_PAGE_SIZE, .name = "pc.ram" };
	struct wt_wire_region region = { .key.length = WT_PAGE_SIZE };
	size_t length;

	block.length = 0;
	assert_int_equal(decode(BLOCK, buffer, wt_wire_block_encode(&block, buffer), &again), -EPROTO);
	block.length = WT_PAGE_SIZE + 1;
	assert_int_equal(decode(BLOCK, buffer, wt_wire_block_encode(&block, buffer), &again), -EPROTO);
	block.length = 1ull << 52;
	assert_int_equal(decode(BLOCK, buffer, wt_wire_block_encode(&block, buffer), &again), -EPROTO);
	block.length = 0 - (uint64_t)WT_PAGE_SIZE;
	assert_int_equal(decode(BLOCK, buffer, wt_wire_block_encode(&block, buffer), &again), -EPROTO);
	block.length = WT_PAGE_SIZE;
	length = wt_wire_block_encode(&block, buffer);
	buffer[NAME_AT + 3] = 0; /* a zero byte within the name */
	assert_int_equal(decode(BLOCK, buffer, length, &again), -EPROTO);
	wt_wire_block_encode(&block, buffer);
	memset(buffer + NAME_AT, 'x', 256);
	memcpy(buffer + NAME_AT - 2, (uint8_t[2]){ 0, 1 }, 2); /* a name of 256 bytes */
	assert_int_equal(decode(BLOCK, buffer, NAME_AT + 256, &again), -EPROTO);
	memcpy(buffer + NAME_AT - 2, (uint8_t[2]){ 255, 0 }, 2);
	assert_int_equal(decode(BLOCK, buffer, NAME_AT + 255, &again), 0);
	assert_int_equal(strlen(again.block.name), 255);

	region.offset = 1;
	assert_int_equal(decode(REGION, buffer, wt_wire_region_encode(&region, buffer), &again), -EPROTO);
	region.offset = 0;
	region.key.length = 0;
	assert_int_equal(decode(REGION, buffer, wt_wire_region_encode(&region, buffer), &again), -EPROTO);
	region.key.length = 0 - (uint64_t)WT_PAGE_SIZE;
	assert_int_equal(decode(REGION, buffer, wt_wire_region_encode(&region, buffer), &again), -EPROTO);

	memset(buffer, 0, sizeof buffer);
	buffer[WT_PATH_TOKEN_BYTES] = 5; /* listeners */
	assert_int_equal(decode(READY, buffer, WT_PATH_TOKEN_BYTES + 2 + 5 * 6, &again), -EPROTO);
	buffer[WT_PATH_TOKEN_BYTES] = 4;
	assert_int_equal(decode(READY, buffer, WT_PATH_TOKEN_BYTES + 2 + 4 * 6, &again), 0);
	memset(buffer, 0, 64);
	buffer[8] = 1;
	buffer[9] = 2; /* 513 announcements */
	assert_int_equal(decode(ANNOUNCE, buffer, 12 + 513 * WT_WIRE_ANNOUNCEMENT_BYTES, &again), -EPROTO);
	buffer[8] = 0;
	assert_int_equal(decode(ANNOUNCE, buffer, 12 + 512 * WT_WIRE_ANNOUNCEMENT_BYTES, &again), 0);
	memset(buffer, 0xff, 12);
	assert_int_equal(decode(ANNOUNCE, buffer, 12, &again), -EPROTO);
	assert_int_equal(decode(LANDED, buffer, 4, &again), -EPROTO);
	memcpy(buffer, (uint8_t[4]){ 1, 4, 0, 0 }, 4); /* 1025 ranges */
	assert_int_equal(decode(LANDED, buffer, 4 + 1025 * 16, &again), -EPROTO);
}

static void test_limits_of_digests(void **state)
{
	struct wt_wire_ask ask = { .extent = { .pages = WT_WIRE_ASK_PAGES_MAX } };

	memset(buffer, 0, 13);
	refuses(DIGESTS, 13); /* of no page */
	buffer[9] = 0x40;     /* 16384 pages */
	refuses(DIGESTS, 13); /* under no key */
	buffer[12] = 1;
	accepts(DIGESTS, 13 + 16384 * WT_DIGEST_BYTES);
	buffer[12] = 2;
	refuses(DIGESTS, 13 + 16384 * WT_DIGEST_BYTES);
	accepts(DIGESTS, 13 + 2 * 16384 * WT_DIGEST_BYTES);
	buffer[12] = 3;
	refuses(DIGESTS, 13 + 3 * 16384 * WT_DIGEST_BYTES);
	buffer[12] = 1;
	buffer[8] = 1;
	refuses(DIGESTS, 13 + 16385 * WT_DIGEST_BYTES);

	buffer[0] = 0;
	refuses(DIGEST_KEYS, 1);
	buffer[0] = 2;
	refuses(DIGEST_KEYS, 1 + WT_DIGEST_KEY_BYTES);
	accepts(DIGEST_KEYS, 1 + 2 * WT_DIGEST_KEY_BYTES);
	buffer[0] = 3;
	refuses(DIGEST_KEYS, 1 + 3 * WT_DIGEST_KEY_BYTES);

	accepts(ASK, wt_wire_ask_encode(&ask, buffer));
	ask.extent.pages++;
	refuses(ASK, wt_wire_ask_encode(&ask, buffer));

	memset(buffer, 0, 13);
	refuses(ANSWER, 13); /* no status */
	buffer[8] = WT_WIRE_ANSWER_DIGESTS;
	refuses(ANSWER, 13); /* of no page */
	buffer[10] = 1;
	accepts(ANSWER, 13 + 256 * WT_DIGEST_BYTES);
	buffer[8] = WT_WIRE_ANSWER_UNREADABLE;
	refuses(ANSWER, 13 + 256 * WT_DIGEST_BYTES);
	buffer[10] = 0;
	accepts(ANSWER, 13);
	buffer[8] = WT_WIRE_ANSWER_NONE;
	accepts(ANSWER, 13);
	buffer[8] = WT_WIRE_ANSWER_NONE + 1;
	refuses(ANSWER, 13);
}

/* The format itself, so that nobody changes it without noticing. */
static void test_exact_bytes(void **state)
{
	struct wt_frame frame = {
		.length = 0x01020304 & 0xfffff, .type = 0x0506, .number = 7, .ack = 0x8000000000000009ull
	};
	static const uint8_t frame_bytes[] = { 0x04, 0x03, 0x02, 0, 0x06, 0x05, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0,
		9, 0, 0, 0, 0, 0, 0, 0x80 };
	struct wt_announcement what = { .extent = { .block = 1, .pages = 2, .page = 3 },
		.content = WT_CONTENT_STAGED,
		.priority = WT_PRIORITY_FINAL,
		.staged_offset = 0x1000 };
	static const uint8_t announce_bytes[] = { 5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0,
		3, 0, 0, 0, 0, 0, 0, 0, 3, 0, 3, 0, 0, 0x10, 0, 0, 0, 0, 0, 0 };
	struct wt_hello hello = {
		.version_min = 1, .version_max = 2, .session_id = "id", .received = 3, .name = "vm"
	};
	static const uint8_t hello_bytes[] = { 0, 'W', 'A', 'T', 'A', 'R', 'I', 1, 1, 0, 2, 0, 'i', 'd', 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 'v', 'm', 0 };

	wt_wire_frame_encode(&frame, buffer);
	assert_memory_equal(buffer, frame_bytes, WT_WIRE_FRAME_HEADER);
	assert_int_equal(wt_wire_announce_encode(5, &what, 1, buffer), sizeof announce_bytes);
	assert_memory_equal(buffer, announce_bytes, sizeof announce_bytes);
	wt_wire_hello_encode(&hello, buffer);
	assert_memory_equal(buffer, hello_bytes, sizeof hello_bytes);
}

static void test_greetings_and_frames(void **state)
{
	struct wt_hello hello = { .version_min = 1, .version_max = 1, .received = UINT64_MAX }, hello_back;
	struct wt_welcome welcome = { .version = 1, .received = 5 }, welcome_back;
	struct wt_frame frame = { .length = WT_WIRE_PAYLOAD_MAX, .type = 1, .number = 2, .ack = 3 },
			frame_back;
	uint8_t bytes[WT_WIRE_HELLO_BYTES];

	memset(hello.name, 'n', WT_SESSION_NAME_MAX);
	wt_wire_hello_encode(&hello, bytes);
	assert_int_equal(wt_wire_hello_decode(bytes, &hello_back), 0);
	assert_string_equal(hello_back.name, hello.name);
	assert_true(hello_back.received == UINT64_MAX);
	memset(bytes + 36, 0xff, 2); /* the name's length */
	assert_int_equal(wt_wire_hello_decode(bytes, &hello_back), -EPROTO);
	bytes[7] = 2; /* magic */
	assert_int_equal(wt_wire_hello_decode(bytes, &hello_back), -EPROTO);

	memset(welcome.text, 't', WT_SESSION_NAME_MAX);
	wt_wire_welcome_encode(&welcome, bytes);
	assert_int_equal(wt_wire_welcome_decode(bytes, &welcome_back), 0);
	assert_string_equal(welcome_back.text, welcome.text);

	wt_wire_frame_encode(&frame, bytes);
	assert_int_equal(wt_wire_frame_decode(bytes, &frame_back), 0);
	assert_int_equal(frame_back.length, WT_WIRE_PAYLOAD_MAX);
	bytes[0]++;
	assert_int_equal(wt_wire_frame_decode(bytes, &frame_back), -EPROTO); /* too long */
	bytes[0]--;
	bytes[6] = 1; /* reserved */
	assert_int_equal(wt_wire_frame_decode(bytes, &frame_back), -EPROTO);
	bytes[6] = bytes[4] = 0; /* type 0 */
	assert_int_equal(wt_wire_frame_decode(bytes, &frame_back), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exact_bytes),
		cmocka_unit_test(test_greetings_and_frames),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_limits_of_digests),
		cmocka_unit_test(test_limits_of_pages),
		cmocka_unit_test(test_limits_of_helpers),
		cmocka_unit_test(test_fields_come_back),
		cmocka_unit_test(test_every_truncation_and_one_byte_too_many),
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

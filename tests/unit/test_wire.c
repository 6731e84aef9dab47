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
};

enum kind { BLOCK, READY, REGION, ANNOUNCE, LANDED, KINDS };

static uint8_t buffer[WT_WIRE_PAYLOAD_MAX];
static union message message, again;

static size_t encode(enum kind kind, const union message *in)
{
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
	default:
		return wt_wire_landed_encode(in->landed.ranges, in->landed.count, buffer);
	}
}

static int decode(enum kind kind, const uint8_t *bytes, size_t length, union message *out)
{
	uint8_t *exact = malloc(length ? length : 1);
	int r;

	memset(out, 0, sizeof *out);
	memcpy(exact, bytes, length);
	switch (kind) {
	case BLOCK:
		r = wt_wire_block_decode(exact, length, &out->block);
		break;
	case READY:
		r = wt_wire_ready_decode(exact, length, &out->ready);
		break;
	case REGION:
		r = wt_wire_region_decode(exact, length, &out->region);
		break;
	case ANNOUNCE:
		r = wt_wire_announce_decode(
			exact, length, &out->announce.first_seq, out->announce.list, &out->announce.count);
		break;
	default:
		r = wt_wire_landed_decode(exact, length, out->landed.ranges, &out->landed.count);
	}
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
	default:
		ret->landed.count = (unsigned)seed_below(seed_below(4) ? 4 : WT_WIRE_RANGES_MAX + 1);
		for (unsigned i = 0; i < ret->landed.count; i++) {
			ret->landed.ranges[i].first = seed_next();
			ret->landed.ranges[i].count = seed_next();
		}
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
		cmocka_unit_test(test_every_truncation_and_one_byte_too_many),
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

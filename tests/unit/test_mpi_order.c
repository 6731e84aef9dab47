/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_mpi_order.c - the lines between coordinator and rank, and the messages between ranks: what was encoded
 * decodes to the same, and nothing else decodes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "atomic.h"
#include "frame.h"
#include "order.h"
#include "registry.h"

static void test_round_trip(void **state)
{
	char line[WT_ORDER_LINE_MAX];
	unsigned kind;

	for (kind = 1; kind < WT_ORDER_KINDS; kind++) {
		struct wt_order order = { .kind = (enum wt_order_kind)kind,
			.version = 7,
			.epoch = 4294967295u,
			.job = 3000000000u,
			.rank = 12,
			.size = 64,
			.state = WT_RANK_JOINING,
			.paths = 5,
			.part = 4294967295u,
			.port = 65535,
			.token = 0xfedcba9876543210u,
			.verbs_port = 77,
			.host = "fe80::1",
			.verbs_host = "10.0.0.1",
			.fabric = "tcp",
			.text = "it is late; go home" };
		struct wt_order found;
		char again[WT_ORDER_LINE_MAX];
		size_t length = wt_order_encode(&order, line);

		assert_int_equal(line[length - 1], '\n');
		line[length - 1] = 0;
		assert_int_equal(wt_order_decode(line, &found), 0);
		assert_int_equal(found.kind, kind);
		assert_int_equal(wt_order_encode(&found, again), length);
		again[length - 1] = 0;
		assert_string_equal(line, again);
	}
}

static void test_refused(void **state)
{
	static const char *const lines[] = { "", " ", "quiesce", "quiesce ", "quiesce 1", "quiesce x 0",
		"quiesce -1 0", "quiesce 4294967296 0", "quiesce 1 4294967296", "quiesce 1 0 2",
		"quiesce 1 0 ", " quiesce 1 0", "Quiesce 1 0", "moves 1 2", "moves 1 2 3 4", "moves 1 2 x",
		"status now", "attached 1 h 70000 0 - 0", "attached 1 h 1 xyz - 0",
		"attached 1 h 1 0 - 70000", "attached 1 h 1 0 -", "rank 1 2 3 4 asleep 5 tcp 1 0",
		"rank 1 2 3 4 running 5 tcp 1", "peer 1 2 3 h 4 5 - ", "refused 1", "refused 1 a\tb",
		"peer 1 2 3 h\n 4 0 - 0",
		"attached 1 hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh 1 0 - 0",
		"quiesce 000000000000000000001 0" };
	struct wt_order order = { .kind = WT_ORDER_STATUS };
	char longest[2 * WT_ORDER_LINE_MAX];
	unsigned i;

	for (i = 0; i < sizeof lines / sizeof lines[0]; i++)
		assert_int_equal(wt_order_decode(lines[i], &order), -EPROTO);
	memset(longest, 'x', sizeof longest);
	memcpy(longest, "refused 1 ", 10);
	longest[sizeof longest - 1] = 0;
	assert_int_equal(wt_order_decode(longest, &order), -EPROTO);
	assert_int_equal(order.kind, WT_ORDER_STATUS); /* untouched */
}

static void test_long_text(void **state)
{
	struct wt_order order = { .kind = WT_REPORT_REFUSED, .epoch = 1 };
	char line[WT_ORDER_LINE_MAX];

	memset(order.text, '\n', sizeof order.text - 1);
	assert_true(wt_order_encode(&order, line) < sizeof line);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void test_frames(void **state)
{
	struct wt_frame_word word = {
		.kind = WT_FRAME_KEY_TELL, .epoch = 9, .id = 1ull << 40, .key = { 1, 2, 3 }
	};
	struct {
		struct wt_frame_word word;
		uint8_t behind;
	} wire = { 0 };
	struct wt_frame_word found;
	uint8_t head[WT_FRAME_HEAD_BYTES + 1] = { 0 };
	unsigned kind;

	wt_frame_encode(&word, &wire.word);
	assert_int_equal(wt_frame_decode(&wire, sizeof wire.word, &found), 0);
	assert_memory_equal(&found, &word, sizeof word);
	for (kind = 0; kind < 256; kind++) {
		bool bytes = kind == WT_FRAME_WRITE || kind == WT_FRAME_BYTES;
		bool alone = kind > WT_FRAME_DATA && kind < WT_FRAME_KINDS && !bytes;

		wire.word.kind = (uint8_t)kind;
		assert_int_equal(wt_frame_decode(&wire, sizeof wire.word - 1, &found),
			kind == WT_FRAME_DATA ? 0 : -EPROTO);
		assert_int_equal(wt_frame_decode(&wire, sizeof wire.word, &found),
			alone || kind == WT_FRAME_DATA ? 0 : -EPROTO);
		assert_int_equal(wt_frame_decode(&wire, sizeof wire, &found),
			bytes || kind == WT_FRAME_DATA ? 0 : -EPROTO);
	}
	wt_frame_data_encode(200, head);
	assert_int_equal(wt_frame_decode(head, sizeof head, &found), 0);
	assert_int_equal(found.kind, WT_FRAME_DATA);
	assert_int_equal(found.tag, 200);
	assert_int_equal(wt_frame_decode(head, WT_FRAME_HEAD_BYTES - 1, &found), -EPROTO);
}

static void test_hello(void **state)
{
	struct wt_frame_hello hello = {
		.magic = WT_FRAME_MAGIC, .version = 1, .job = 2, .rank = 3, .token = 4, .epoch = 5
	};
	uint8_t bytes[WT_PATH_HELLO_BYTES];
	struct wt_frame_hello found;

	wt_frame_hello_encode(&hello, bytes);
	assert_int_equal(wt_frame_hello_decode(bytes, &found), 0);
	assert_memory_equal(&found, &hello, sizeof hello);
	bytes[0] ^= 1;
	assert_int_equal(wt_frame_hello_decode(bytes, &found), -EPROTO);
}

static void test_atomics(void **state)
{
	static const struct {
		uint8_t tag;
		uint8_t bytes;
		uint64_t before;
		uint64_t value;
		uint64_t other;
		uint64_t after;
	} cases[] = {
		{ WT_ATOMIC_ADD, 8, 5, 7, 0, 12 },
		{ WT_ATOMIC_ADD, 4, 0xffffffff, 2, 0, 1 },
		{ WT_ATOMIC_AND, 8, 12, 10, 0, 8 },
		{ WT_ATOMIC_OR, 8, 12, 10, 0, 14 },
		{ WT_ATOMIC_XOR, 4, 12, 10, 0, 6 },
		{ WT_ATOMIC_SWAP, 8, 1, 2, 0, 2 },
		{ WT_ATOMIC_MIN, 8, 1, (uint64_t)-2, 0, (uint64_t)-2 },
		{ WT_ATOMIC_MAX, 8, 1, (uint64_t)-2, 0, 1 },
		{ WT_ATOMIC_MIN, 4, 1, 0xfffffffe, 0, 0xfffffffe },
		{ WT_ATOMIC_CSWAP, 8, 1, 2, 1, 2 },
		{ WT_ATOMIC_CSWAP, 8, 1, 2, 3, 1 },
		{ 99, 8, 1, 2, 3, 1 },
	};
	unsigned i;

	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct wt_frame_word word = { .tag = cases[i].tag,
			.bytes = cases[i].bytes,
			.value = cases[i].value,
			.other = cases[i].other };
		uint64_t memory = cases[i].before;

		assert_int_equal(wt_atomic_apply(&word, &memory), cases[i].before);
		assert_int_equal(memory, cases[i].after);
	}
}

/* Ids are never used twice, and name nothing once their memory is gone. */
static void test_registry(void **state)
{
	struct wt_registry registry = { 0 };
	struct wt_registration *list[200];
	static uint8_t memory[200];
	uint64_t gone;
	unsigned i;

	for (i = 0; i < 200; i++) {
		list[i] = wt_registry_add(&registry, memory + i, 1, WT_ACCESS_SERVE, NULL);
		assert_non_null(list[i]);
		assert_int_equal(list[i]->handle.epoch, WT_REGISTRY_NO_EPOCH); /* no device */
	}
	gone = list[7]->handle.id;
	wt_registry_remove(&registry, list[7]);
	assert_null(wt_registry_find(&registry, gone));
	list[7] = wt_registry_add(&registry, memory, 100, WT_ACCESS_SERVE, NULL);
	assert_int_equal((uint32_t)list[7]->handle.id, (uint32_t)gone); /* the same slot */
	assert_int_not_equal(list[7]->handle.id, gone);
	assert_null(wt_registry_find(&registry, gone));
	gone = list[7]->handle.id;
	assert_ptr_equal(
		wt_registry_locate(&registry, gone, (uint64_t)(uintptr_t)memory + 99, 1), memory + 99);
	assert_null(wt_registry_locate(&registry, gone, (uint64_t)(uintptr_t)memory + 99, 2));
	assert_null(wt_registry_locate(&registry, gone, (uint64_t)(uintptr_t)memory - 1, 1));
	assert_null(wt_registry_locate(&registry, 1ull << 60 | 5000, 0, 1));
	wt_registry_close(&registry);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_long_text),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_hello),
		cmocka_unit_test(test_atomics),
		cmocka_unit_test(test_registry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_memory.c - blocks and history: what is refused, who has to wait, and random runs of announcements and
 * of pullers that come and go, against arrays.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "memory.h"
#include "seed.h"

#define BLOCKS 3
#define PAGES_MAX 3000

static const uint64_t block_pages[BLOCKS] = { 3000, 1, 130 };

static struct wt_memory *memory;

static struct {
	bool announced[BLOCKS][PAGES_MAX], zero[BLOCKS][PAGES_MAX];
	bool former[WT_FORMERS_MAX], valid[WT_FORMERS_MAX][BLOCKS][PAGES_MAX];
} m;

static void open_memory(void)
{
	struct wt_error err = { 0 };

	memset(&m, 0, sizeof m);
	check(wt_memory_open(&memory, &err) == 0);
	for (int i = 0; i < BLOCKS; i++)
		check(wt_memory_block_add(memory, "b", NULL, block_pages[i] * WT_PAGE_SIZE, -1, 0, &err) ==
			i);
	wt_memory_start(memory);
}

static struct wt_extent random_extent(void)
{
	struct wt_extent e = { .block = (uint32_t)seed_below(BLOCKS) };

	e.page = seed_below(block_pages[e.block]);
	e.pages = 1 + (uint32_t)seed_below(block_pages[e.block] - e.page);
	return e;
}

static void announce(void)
{
	struct wt_extent e = random_extent();
	bool zero = seed_below(3) == 0;

	wt_memory_announced_now(memory, &e, zero);
	memset(&m.announced[e.block][e.page], 1, e.pages);
	memset(&m.zero[e.block][e.page], zero, e.pages);
	for (unsigned i = 0; i < WT_FORMERS_MAX; i++)
		memset(&m.valid[i][e.block][e.page], 0, e.pages);
}

static void add_former(void)
{
	int former = wt_memory_former_add(memory);
	bool room = false;

	for (unsigned i = 0; i < WT_FORMERS_MAX; i++)
		room |= !m.former[i];
	check(room ? former >= 0 && !m.former[former] : former == -ENOSPC);
	if (!room)
		return;
	m.former[former] = true;
	for (unsigned b = 0; b < BLOCKS; b++)
		for (unsigned p = 0; p < PAGES_MAX; p++)
			m.valid[former][b][p] = m.announced[b][p] && !m.zero[b][p];
}

static void lack(int former)
{
	uint64_t words[PAGES_MAX / 64 + 1] = { 0 };
	struct wt_extent e = random_extent();
	bool bits = seed_below(2);

	if (bits) {
		e.pages += (uint32_t)(e.page % 64);
		e.page -= e.page % 64;
	}
	for (uint32_t i = 0; i < e.pages; i++) {
		if (bits && seed_below(2))
			continue;
		words[i / 64] |= 1ull << i % 64;
		m.valid[former][e.block][e.page + i] = false;
	}
	wt_memory_former_lacks(memory, former, &e, bits ? words : NULL);
}

static void step(void)
{
	int former = (int)seed_below(WT_FORMERS_MAX);

	switch (seed_below(6)) {
	case 0:
		add_former();
		break;
	case 1:
		wt_memory_former_remove(memory, former); /* also one that is not there */
		m.former[former] = false;
		memset(m.valid[former], 0, sizeof m.valid[former]);
		break;
	case 2:
		if (m.former[former])
			lack(former);
		break;
	default:
		announce();
	}
}

static void check_maps(void)
{
	for (unsigned b = 0; b < BLOCKS; b++)
		for (uint64_t p = 0; p < block_pages[b]; p++) {
			check(wt_bitmap_test(wt_memory_announced(memory, b), p) == m.announced[b][p]);
			check(wt_bitmap_test(wt_memory_zero(memory, b), p) == m.zero[b][p]);
			for (int i = 0; i < WT_FORMERS_MAX; i++)
				if (m.former[i])
					check(wt_bitmap_test(wt_memory_valid(memory, i, b), p) ==
						m.valid[i][b][p]);
		}
}

static void random_run(void)
{
	open_memory();
	for (unsigned i = 0; i < 60; i++) {
		step();
		check_maps();
	}
	wt_memory_close(memory);
}

static void test_history_against_arrays(void **state)
{
	seed_runs(30, random_run);
}

static void test_what_is_refused(void **state)
{
	static uint8_t page[WT_PAGE_SIZE];
	struct wt_extent inside = { .block = 1, .page = 0, .pages = 1 };
	struct wt_error err = { 0 };
	char name[WT_BLOCK_NAME_MAX + 2];

	assert_int_equal(wt_memory_open(&memory, &err), 0);
	assert_int_equal(wt_memory_block_add(memory, "a", page, 1, -1, 0, &err), -EINVAL);
	assert_int_equal(wt_memory_block_add(memory, "a", page, 0, -1, 0, &err), -EINVAL);
	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	assert_int_equal(wt_memory_block_add(memory, name, page, WT_PAGE_SIZE, -1, 0, &err), -EINVAL);
	for (int i = 0; i < WT_BLOCKS_MAX; i++)
		assert_int_equal(wt_memory_block_add(memory, "a", page, WT_PAGE_SIZE, -1, 0, &err), i);
	assert_int_equal(wt_memory_block_add(memory, "a", page, WT_PAGE_SIZE, -1, 0, &err), -EINVAL);
	assert_true(wt_memory_contains(memory, &inside));
	inside.pages = 2;
	assert_false(wt_memory_contains(memory, &inside));
	inside = (struct wt_extent){ .block = 1, .page = UINT64_MAX, .pages = 1 };
	assert_false(wt_memory_contains(memory, &inside));
	inside = (struct wt_extent){ .block = WT_BLOCKS_MAX, .pages = 1 };
	assert_false(wt_memory_contains(memory, &inside));
	wt_memory_close(memory);

	open_memory();
	wt_error_clear(&err);
	assert_int_equal(wt_memory_block_add(memory, "late", page, WT_PAGE_SIZE, -1, 0, &err), -EINVAL);
	assert_non_null(strstr(err.text, "before the start"));
	wt_memory_close(memory);
}

static atomic_bool closed;

static void *close_main(void *arg)
{
	wt_memory_close(memory);
	closed = true;
	return NULL;
}

/* Whoever unmaps what was served must know that nobody uses it. */
static void test_closing_waits_for_holders(void **state)
{
	pthread_t thread;

	open_memory();
	wt_memory_hold(memory);
	wt_memory_hold(memory);
	closed = false;
	pthread_create(&thread, NULL, close_main, NULL);
	wt_memory_release(memory);
	assert_false(closed);
	wt_memory_release(memory);
	pthread_join(thread, NULL);
	assert_true(closed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_closing_waits_for_holders),
		cmocka_unit_test(test_history_against_arrays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

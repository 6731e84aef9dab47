/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_bitmap.c - every range of a small bitmap, and random operations on larger ones, against an array.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "bitmap.h"
#include "seed.h"

#define SMALL 131 /* two words and three bits */
#define LARGE 1000

static void check_equal(const struct wt_bitmap *map, const bool *model, uint64_t bits)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < bits; i++) {
		check(wt_bitmap_test(map, i) == model[i]);
		count += model[i];
	}
	check(wt_bitmap_count(map) == count);
}

static uint64_t model_next(const bool *model, uint64_t from, uint64_t end, bool value)
{
	while (from < end && model[from] != value)
		from++;
	return from < end ? from : end;
}

static void test_every_range(void **state)
{
	struct wt_bitmap map;
	bool model[SMALL];

	assert_int_equal(wt_bitmap_open(&map, SMALL), 0);
	for (unsigned first = 0; first <= SMALL; first++)
		for (unsigned count = 0; count <= SMALL - first; count++) {
			memset(model, 0, sizeof model);
			memset(model + first, 1, count);
			wt_bitmap_set(&map, first, count);
			check_equal(&map, model, SMALL);
			check(wt_bitmap_next_set(&map, 0, SMALL) == (count ? first : SMALL));
			check(wt_bitmap_next_clear(&map, first, SMALL) == first + count);
			wt_bitmap_clear(&map, first, count);
			check(wt_bitmap_count(&map) == 0);
			wt_bitmap_set(&map, 0, SMALL);
			wt_bitmap_clear(&map, first, count);
			check(wt_bitmap_count(&map) == SMALL - count);
			check(wt_bitmap_next_clear(&map, 0, SMALL) == (count ? first : SMALL));
			check(wt_bitmap_next_set(&map, first, SMALL) == first + count);
			wt_bitmap_clear(&map, 0, SMALL);
		}
	wt_bitmap_close(&map);
	assert_null(map.words);
	wt_bitmap_close(&map);
}

static void random_run(void)
{
	uint64_t bits = 1 + seed_below(LARGE);
	bool model[LARGE] = { false };
	struct wt_bitmap map;

	check(wt_bitmap_open(&map, bits) == 0);
	for (unsigned step = 0; step < 200; step++) {
		uint64_t first = seed_below(bits), count = seed_below(bits - first + 1), end;
		bool value = seed_below(2);

		if (seed_below(2) && count > 3)
			count = 3;
		memset(model + first, value, count);
		(value ? wt_bitmap_set : wt_bitmap_clear)(&map, first, count);
		check_equal(&map, model, bits);
		first = seed_below(bits + 1);
		end = seed_below(bits + 1); /* also before first */
		check(wt_bitmap_next_set(&map, first, end) == model_next(model, first, end, true));
		check(wt_bitmap_next_clear(&map, first, end) == model_next(model, first, end, false));
	}
	wt_bitmap_close(&map);
}

static void test_random_operations(void **state)
{
	seed_runs(50, random_run);
}

/* A terabyte guest's map: touched where it is used only, and searched a word at a time. */
static void test_large_and_empty(void **state)
{
	struct wt_bitmap map;
	uint64_t bits = 1ull << 28;

	assert_int_equal(wt_bitmap_open(&map, 0), 0);
	assert_int_equal(wt_bitmap_next_set(&map, 0, 0), 0);
	assert_int_equal(wt_bitmap_count(&map), 0);
	wt_bitmap_set(&map, 0, 0);
	wt_bitmap_close(&map);

	assert_int_equal(wt_bitmap_open(&map, bits), 0);
	wt_bitmap_set(&map, bits - 1, 1);
	assert_int_equal(wt_bitmap_next_set(&map, 0, bits), bits - 1);
	assert_int_equal(wt_bitmap_next_set(&map, 0, bits - 1), bits - 1);
	assert_int_equal(wt_bitmap_next_clear(&map, bits - 1, bits), bits);
	wt_bitmap_close(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_range),
		cmocka_unit_test(test_random_operations),
		cmocka_unit_test(test_large_and_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

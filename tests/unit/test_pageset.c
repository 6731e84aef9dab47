/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_pageset.c - a set of pages against an array of flags, and its search where it is nearly empty.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "pageset.h"
#include "seed.h"

#define PAGES_MAX 20000
#define SETS 3

static struct {
	uint64_t pages;
	struct wt_pageset set[SETS];
	bool flag[SETS][PAGES_MAX];
} m;

static void random_range(uint64_t *ret_first, uint64_t *ret_count)
{
	*ret_first = seed_below(m.pages + 1);
	*ret_count = seed_below(m.pages - *ret_first + 1);
	if (seed_below(2) && *ret_count > 200)
		*ret_count = seed_below(200);
}

static void change(void)
{
	unsigned which = (unsigned)seed_below(SETS);
	uint64_t first, count, words[PAGES_MAX / 64 + 1], changed = 0, answer;
	unsigned how = (unsigned)seed_below(3);

	random_range(&first, &count);
	if (how == 2)
		first -= first % 64;
	for (uint64_t i = 0; i <= count / 64; i++)
		words[i] = seed_next() & seed_next() & (seed_below(3) ? 0 : ~0ull);
	for (uint64_t i = 0; i < count; i++) {
		bool *flag = &m.flag[which][first + i], was = *flag;

		*flag = how == 2 ? *flag || (words[i / 64] >> (i % 64) & 1) : how == 1;
		changed += was != *flag;
	}
	if (how == 2)
		answer = wt_pageset_add_words(&m.set[which], first, count, words);
	else
		answer = (how ? wt_pageset_add : wt_pageset_remove)(&m.set[which], first, count);
	check(answer == changed);
}

static bool wanted(const unsigned *list, unsigned ins, unsigned outs, uint64_t page)
{
	for (unsigned i = 0; i < ins + outs; i++)
		if (m.flag[list[i]][page] != (i < ins))
			return false;
	return true;
}

static void search(void)
{
	unsigned list[SETS] = { 0, 1, 2 }, ins = 1 + (unsigned)seed_below(2);
	unsigned outs = (unsigned)seed_below(SETS - ins + 1);
	struct wt_pageset_query query = { .ins = ins, .outs = outs };
	uint64_t from, count, end, first, last, run_end, max = 1 + seed_below(300);

	random_range(&from, &count);
	end = from + count;
	for (unsigned i = 0; i < ins + outs; i++)
		*(i < ins ? &query.in[i] : &query.out[i - ins]) = &m.set[list[i]];
	for (first = from; first < end && !wanted(list, ins, outs, first);)
		first++;
	for (last = first; last < end && last < first + max && wanted(list, ins, outs, last);)
		last++;
	check(wt_pageset_run(&query, from, end, max, &run_end) == first);
	check(run_end == (first < end ? last : end));
	for (first = from; first < end && !m.flag[0][first];)
		first++;
	check(wt_pageset_next(&m.set[0], from, end) == first);
	for (first = from; first < end && m.flag[0][first];)
		first++;
	check(wt_pageset_next_gap(&m.set[0], from, end) == first);
}

static void copy(void)
{
	uint64_t first, count, words[PAGES_MAX / 64 + 1];

	random_range(&first, &count);
	first -= first % 64;
	wt_pageset_words(&m.set[0], first, count, words);
	for (uint64_t i = 0; i < count; i++)
		check((words[i / 64] >> (i % 64) & 1) == m.flag[0][first + i]);
	if (count % 64)
		check(!(words[count / 64] >> (count % 64)));
}

static void random_run(void)
{
	memset(&m, 0, sizeof m);
	m.pages = 1 + seed_below(seed_below(2) ? PAGES_MAX : 300);
	for (unsigned i = 0; i < SETS; i++)
		check(wt_pageset_open(&m.set[i], m.pages) == 0);
	for (unsigned step = 0; step < 200; step++) {
		change();
		search();
		copy();
	}
	for (unsigned i = 0; i < SETS; i++) {
		check(wt_pageset_valid(&m.set[i]));
		for (uint64_t page = 0; page < m.pages; page++)
			check(wt_pageset_has(&m.set[i], page) == m.flag[i][page]);
		wt_pageset_close(&m.set[i]);
	}
}

static void test_random_against_flags(void **state)
{
	seed_runs(60, random_run);
}

/* One page in a terabyte, at its very end, a million times: would take hours if every word were looked at. */
static void test_empty_terabyte(void **state)
{
	uint64_t pages = 1ull << 28, hits = 0;
	struct wt_pageset set;

	assert_int_equal(wt_pageset_open(&set, pages), 0);
	assert_int_equal(wt_pageset_next(&set, 0, pages), pages);
	for (unsigned i = 0; i < 1000000; i++)
		hits += wt_pageset_next(&set, 0, pages) == pages;
	wt_pageset_add(&set, pages - 1, 1);
	for (unsigned i = 0; i < 2000; i++)
		hits += wt_pageset_next(&set, 0, pages) == pages - 1;
	assert_int_equal(hits, 1002000);
	assert_int_equal(wt_pageset_remove(&set, 0, pages), 1);
	wt_pageset_close(&set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_against_flags),
		cmocka_unit_test(test_empty_terabyte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

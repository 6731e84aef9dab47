/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_ahead.c - digests made ahead: whatever is written and lands while runs are under way, a digest that
 * holds is that of what is in the page.
 *
 * The content of a page is a number that grows with each write. Whoever digests a run takes the numbers at
 * any moments between its beginning and its end, page by page.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "ahead.h"
#include "seed.h"
#include <watari/digest.h>

#define BLOCKS 2
#define PAGES 600

static const uint64_t block_pages[BLOCKS] = { PAGES, 77 };

static struct {
	uint32_t content[BLOCKS][PAGES];
	bool writing[BLOCKS][PAGES];
	bool landed[BLOCKS][PAGES];
} m;

static struct run {
	struct wt_extent extent; /* pages 0: none */
	uint8_t *digests;
	bool read[WT_AHEAD_RUN_PAGES];
} runs[WT_AHEAD_RUNS];

static struct wt_ahead *ahead;

static void put(uint8_t *digest, uint32_t content)
{
	memset(digest, 0, WT_DIGEST_BYTES);
	memcpy(digest, &content, sizeof content);
}

static void read_page(struct run *run, uint32_t i)
{
	if (run->read[i])
		return;
	run->read[i] = true;
	put(run->digests + (size_t)i * WT_DIGEST_BYTES, m.content[run->extent.block][run->extent.page + i]);
}

static struct wt_extent any_extent(void)
{
	struct wt_extent e = { .block = (uint32_t)seed_below(BLOCKS) };

	e.page = seed_below(block_pages[e.block]);
	e.pages = 1 + (uint32_t)seed_below(seed_below(2) ? 4 : 400);
	if (e.pages > block_pages[e.block] - e.page)
		e.pages = (uint32_t)(block_pages[e.block] - e.page);
	return e;
}

static void write_or_land(void)
{
	struct wt_extent e = any_extent();

	if (seed_below(3) == 0)
		wt_ahead_written(ahead, &e);
	for (uint32_t i = 0; i < e.pages; i++) {
		struct wt_extent one = { .block = e.block, .page = e.page + i, .pages = 1 };

		if (m.writing[one.block][one.page]) {
			m.content[one.block][one.page]++;
			m.writing[one.block][one.page] = false;
			m.landed[one.block][one.page] = true;
			wt_ahead_landed(ahead, &one);
		} else {
			wt_ahead_written(ahead, &one);
			m.writing[one.block][one.page] = true;
			m.landed[one.block][one.page] = false;
			m.content[one.block][one.page]++;
		}
	}
}

static void begin_run(void)
{
	struct wt_extent e;
	uint8_t *digests;
	unsigned number;

	if (!wt_ahead_next(ahead, &number, &e, &digests))
		return;
	check(number < WT_AHEAD_RUNS && !runs[number].extent.pages);
	check(e.pages >= 1 && e.pages <= WT_AHEAD_RUN_PAGES && e.page + e.pages <= block_pages[e.block]);
	for (uint32_t i = 0; i < e.pages; i++)
		check(m.landed[e.block][e.page + i] && !m.writing[e.block][e.page + i]);
	runs[number] = (struct run){ .extent = e, .digests = digests };
}

static void end_run(struct run *run)
{
	if (!run->extent.pages)
		return;
	for (uint32_t i = 0; i < run->extent.pages; i++)
		read_page(run, i);
	run->extent.pages = 0;
	wt_ahead_done(ahead, (unsigned)(run - runs), seed_below(10) > 0);
}

static void look(void)
{
	struct wt_extent e = any_extent();
	const uint8_t *digests = wt_ahead_digests(ahead, &e);
	uint8_t wanted[WT_DIGEST_BYTES];

	for (uint32_t i = 0; digests && i < e.pages; i++) {
		check(!m.writing[e.block][e.page + i]);
		put(wanted, m.content[e.block][e.page + i]);
		check(memcmp(digests + (size_t)i * WT_DIGEST_BYTES, wanted, sizeof wanted) == 0);
	}
}

static void random_run(void)
{
	memset(&m, 0, sizeof m);
	memset(runs, 0, sizeof runs);
	check(wt_ahead_open(BLOCKS, block_pages, &ahead) == 0);
	for (unsigned step = 0; step < 4000; step++) {
		struct run *run = &runs[seed_below(WT_AHEAD_RUNS)];

		switch (seed_below(6)) {
		case 0:
			write_or_land();
			break;
		case 1:
			begin_run();
			break;
		case 2:
			if (run->extent.pages)
				read_page(run, (uint32_t)seed_below(run->extent.pages));
			break;
		case 3:
			end_run(run);
			break;
		default:
			look();
		}
	}
	for (unsigned i = 0; i < WT_AHEAD_RUNS; i++)
		end_run(&runs[i]);
	wt_ahead_close(ahead);
}

static void test_at_any_moment(void **state)
{
	seed_runs(60, random_run);
}

/* In the end everything that has landed is digested, once. */
static void test_all_of_it(void **state)
{
	const struct wt_extent all = { .block = 0, .page = 0, .pages = PAGES },
			       part = { .block = 1, .page = 5, .pages = 9 };
	uint64_t digested = 0;

	memset(runs, 0, sizeof runs);
	assert_int_equal(wt_ahead_open(BLOCKS, block_pages, &ahead), 0);
	assert_null(wt_ahead_digests(ahead, &part));
	wt_ahead_landed(ahead, &all);
	wt_ahead_landed(ahead, &part);
	for (unsigned turn = 0; turn < 10; turn++) {
		struct wt_extent e;
		uint8_t *digests;
		unsigned number;

		if (!wt_ahead_next(ahead, &number, &e, &digests))
			break;
		digested += e.pages;
		wt_ahead_done(ahead, number, true);
	}
	assert_int_equal(digested, PAGES + 9);
	assert_non_null(wt_ahead_digests(ahead, &all));
	assert_non_null(wt_ahead_digests(ahead, &part));
	wt_ahead_written(ahead, &(struct wt_extent){ .block = 0, .page = 599, .pages = 1 });
	assert_null(wt_ahead_digests(ahead, &all));
	wt_ahead_close(ahead);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_at_any_moment),
		cmocka_unit_test(test_all_of_it) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

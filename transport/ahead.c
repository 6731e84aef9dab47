/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ahead.c - see ahead.h. Pure, but for memory.
 *
 *   1. A page is in one of landed, busy and held at most; in none of them while it is written, and before.
 *   2. A page of a run that is under way is not taken into another one, so no two write the same digests.
 *   3. What was written while its run was under way is not busy any more when that is given back, and so it
 * is not held.
 */
#include "ahead.h"

#include <errno.h>
#include <stdlib.h>

#include <watari/digest.h>

#include "bitmap.h"

struct part {
	struct wt_bitmap landed, busy, held;
	uint8_t *digests;
	uint64_t pages;
};

struct wt_ahead {
	unsigned count;
	struct part *parts;
	unsigned block; /* where to look next */
	uint64_t page;
	uint64_t landed;                      /* pages that have, since the last look that found none */
	struct wt_extent runs[WT_AHEAD_RUNS]; /* pages 0: none */
};

static int part_open(struct part *part, uint64_t pages)
{
	part->pages = pages;
	part->digests = calloc(pages ? pages : 1, WT_DIGEST_BYTES);
	if (!part->digests || wt_bitmap_open(&part->landed, pages) || wt_bitmap_open(&part->busy, pages) ||
		wt_bitmap_open(&part->held, pages))
		return -ENOMEM;
	return 0;
}

int wt_ahead_open(unsigned blocks, const uint64_t *pages, struct wt_ahead **ret_ahead)
{
	struct wt_ahead *a = calloc(1, sizeof *a);

	if (!a)
		return -ENOMEM;
	a->parts = calloc(blocks + 1, sizeof *a->parts);
	for (; a->parts && a->count < blocks; a->count++)
		if (part_open(&a->parts[a->count], pages[a->count]))
			break;
	if (a->count < blocks || !a->parts) {
		a->count += a->parts != NULL; /* the one that failed */
		wt_ahead_close(a);
		return -ENOMEM;
	}
	*ret_ahead = a;
	return 0;
}

void wt_ahead_close(struct wt_ahead *a)
{
	if (!a)
		return;
	for (unsigned i = 0; i < a->count; i++) {
		wt_bitmap_close(&a->parts[i].landed);
		wt_bitmap_close(&a->parts[i].busy);
		wt_bitmap_close(&a->parts[i].held);
		free(a->parts[i].digests);
	}
	free(a->parts);
	free(a);
}

void wt_ahead_written(struct wt_ahead *a, const struct wt_extent *e)
{
	struct part *part = &a->parts[e->block];

	wt_bitmap_clear(&part->landed, e->page, e->pages);
	wt_bitmap_clear(&part->busy, e->page, e->pages);
	wt_bitmap_clear(&part->held, e->page, e->pages);
}

void wt_ahead_landed(struct wt_ahead *a, const struct wt_extent *e)
{
	wt_bitmap_set(&a->parts[e->block].landed, e->page, e->pages);
	a->landed += e->pages;
}

static bool under_way(const struct wt_ahead *a, const struct wt_extent *e)
{
	for (unsigned i = 0; i < WT_AHEAD_RUNS; i++) {
		const struct wt_extent *run = &a->runs[i];

		if (run->pages && run->block == e->block && e->page < run->page + run->pages &&
			run->page < e->page + e->pages)
			return true;
	}
	return false;
}

/* The next that have landed, from where the last look ended, once around at most. */
static bool find(struct wt_ahead *a, struct wt_extent *ret_extent)
{
	for (unsigned looks = 0; looks <= a->count; looks++) {
		const struct part *part = &a->parts[a->block];
		uint64_t page = wt_bitmap_next_set(&part->landed, a->page, part->pages);

		if (page < part->pages) {
			uint64_t end = page + WT_AHEAD_RUN_PAGES;

			end = wt_bitmap_next_clear(
				&part->landed, page, end < part->pages ? end : part->pages);
			*ret_extent = (struct wt_extent){
				.block = a->block, .page = page, .pages = (uint32_t)(end - page)
			};
			return true;
		}
		a->page = 0;
		a->block = (a->block + 1) % a->count;
	}
	a->landed = 0;
	return false;
}

bool wt_ahead_next(struct wt_ahead *a, unsigned *ret_run, struct wt_extent *ret_extent, uint8_t **ret_digests)
{
	struct wt_extent e;
	unsigned run = 0;

	while (run < WT_AHEAD_RUNS && a->runs[run].pages)
		run++;
	if (run == WT_AHEAD_RUNS || !a->landed || !find(a, &e) || under_way(a, &e))
		return false;
	a->page = e.page + e.pages;
	a->runs[run] = e;
	wt_bitmap_clear(&a->parts[e.block].landed, e.page, e.pages);
	wt_bitmap_set(&a->parts[e.block].busy, e.page, e.pages);
	*ret_run = run;
	*ret_extent = e;
	*ret_digests = a->parts[e.block].digests + e.page * WT_DIGEST_BYTES;
	return true;
}

void wt_ahead_done(struct wt_ahead *a, unsigned run, bool right)
{
	struct wt_extent e = a->runs[run];
	struct part *part = &a->parts[e.block];
	uint64_t end = e.page + e.pages, page = e.page, after;

	a->runs[run] = (struct wt_extent){ 0 };
	while ((page = wt_bitmap_next_set(&part->busy, page, end)) < end) {
		after = wt_bitmap_next_clear(&part->busy, page, end);
		wt_bitmap_clear(&part->busy, page, after - page);
		if (right)
			wt_bitmap_set(&part->held, page, after - page);
		page = after;
	}
}

const uint8_t *wt_ahead_digests(const struct wt_ahead *a, const struct wt_extent *e)
{
	const struct part *part = &a->parts[e->block];

	if (wt_bitmap_next_clear(&part->held, e->page, e->page + e->pages) < e->page + e->pages)
		return NULL;
	return part->digests + e->page * WT_DIGEST_BYTES;
}

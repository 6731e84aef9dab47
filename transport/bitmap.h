/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bitmap.h - one bit per page, with operations on ranges.
 *
 * Ranges are [first, first + count); callers keep them within `bits`.
 */
#ifndef WT_BITMAP_H
#define WT_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

struct wt_bitmap {
	uint64_t bits;
	uint64_t *words;
};

int wt_bitmap_open(struct wt_bitmap *map, uint64_t bits); /* all clear; -ENOMEM */
void wt_bitmap_close(struct wt_bitmap *map);
void wt_bitmap_set(struct wt_bitmap *map, uint64_t first, uint64_t count);
void wt_bitmap_clear(struct wt_bitmap *map, uint64_t first, uint64_t count);
/* map = a & ~b. All three have the same number of bits. */
void wt_bitmap_and_not(struct wt_bitmap *map, const struct wt_bitmap *a, const struct wt_bitmap *b);
bool wt_bitmap_test(const struct wt_bitmap *map, uint64_t bit);
/* The first set (clear) bit at or after `from` and before `end`; `end` where there is none. */
uint64_t wt_bitmap_next_set(const struct wt_bitmap *map, uint64_t from, uint64_t end);
uint64_t wt_bitmap_next_clear(const struct wt_bitmap *map, uint64_t from, uint64_t end);
uint64_t wt_bitmap_count(const struct wt_bitmap *map);

#endif

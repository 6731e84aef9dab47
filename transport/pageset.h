/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pageset.h - a set of pages of one block that is quick to search when it is nearly empty, or empty.
 *
 *   1. A bit per page, and one per word of 64 pages: set where the word is not 0.
 *   2. count is the number of pages in the set.
 *
 * So an empty terabyte is seen at once, and one page in it is found within 65,536 words. No operation takes
 * time per page. Ranges are [first, first + count); callers keep them within `bits`.
 */
#ifndef WT_PAGESET_H
#define WT_PAGESET_H

#include <stdbool.h>
#include <stdint.h>

#define WT_PAGESET_OTHERS 8

struct wt_pageset {
	uint64_t bits, count;
	uint64_t *words, *summary;
};

/* Pages that are in all of `in` and in none of `out`. */
struct wt_pageset_query {
	const struct wt_pageset *in[2];
	const struct wt_pageset *out[WT_PAGESET_OTHERS];
	unsigned ins, outs;
};

int wt_pageset_open(struct wt_pageset *set, uint64_t bits); /* empty; -ENOMEM */
void wt_pageset_close(struct wt_pageset *set);
/* Both answer how many pages changed. */
uint64_t wt_pageset_add(struct wt_pageset *set, uint64_t first, uint64_t count);
uint64_t wt_pageset_remove(struct wt_pageset *set, uint64_t first, uint64_t count);
/* Adds the pages whose bit is set in `words`; first is a multiple of 64. */
uint64_t wt_pageset_add_words(struct wt_pageset *set, uint64_t first, uint64_t count, const uint64_t *words);
bool wt_pageset_has(const struct wt_pageset *set, uint64_t page);
/* The page will soon be added or removed: brings its word near, where most of a terabyte is far. */
static inline void wt_pageset_prefetch(const struct wt_pageset *set, uint64_t page)
{
	__builtin_prefetch(&set->words[page / 64], 1);
}
/* The first page of the set (not of the set) at or after `from` and before `end`; `end`: there is none. */
uint64_t wt_pageset_next(const struct wt_pageset *set, uint64_t from, uint64_t end);
uint64_t wt_pageset_next_gap(const struct wt_pageset *set, uint64_t from, uint64_t end);
/* The same with a query: the first run in [from, end), cut after `max` pages. */
uint64_t wt_pageset_run(const struct wt_pageset_query *query, uint64_t from, uint64_t end, uint64_t max,
	uint64_t *ret_run_end);
/* Copies words from page `first` (a multiple of 64) on; bits behind the last page are 0. */
void wt_pageset_words(const struct wt_pageset *set, uint64_t first, uint64_t count, uint64_t *ret_words);
/* Both invariants hold. Takes time; for tests. */
bool wt_pageset_valid(const struct wt_pageset *set);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ahead.h - digests of pages that have landed, made before anybody asks for them: while memory is warmed up
 * the processors have nothing else to do, and when digests of the server come, these are there to be
 * compared.
 *
 * Knows of each page whether it has landed, is being digested, or has a digest that holds. Every write into a
 * page must be told before it begins. Owns 16 bytes and 3 bits for each page, which only pages that land
 * need. One thread; pages and digests of a run belong to whoever digests it until it is given back.
 */
#ifndef WT_AHEAD_H
#define WT_AHEAD_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/block.h>

#define WT_AHEAD_RUNS 8u        /* at once: few, as others may wait behind them */
#define WT_AHEAD_RUN_PAGES 256u /* at most */

struct wt_ahead;

/* pages: of each block. -ENOMEM. */
int wt_ahead_open(unsigned blocks, const uint64_t *pages, struct wt_ahead **ret_ahead);
/* No run is under way. NULL is allowed. */
void wt_ahead_close(struct wt_ahead *ahead);

/* From now on, until they have landed, these pages are written: nothing is known of them. */
void wt_ahead_written(struct wt_ahead *ahead, const struct wt_extent *extent);
void wt_ahead_landed(struct wt_ahead *ahead, const struct wt_extent *extent);

/* The next pages to digest, and where the digests go. false: none now. */
bool wt_ahead_next(
	struct wt_ahead *ahead, unsigned *ret_run, struct wt_extent *ret_extent, uint8_t **ret_digests);
/* Given back. right: the digests are there; they hold if nothing was written meanwhile. */
void wt_ahead_done(struct wt_ahead *ahead, unsigned run, bool right);

/* The digests of these pages, one behind the other, if all of them hold; otherwise NULL. */
const uint8_t *wt_ahead_digests(const struct wt_ahead *ahead, const struct wt_extent *extent);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * plan.h - the puller's planning: which extent is pulled next, what has landed, what to acknowledge.
 *
 *   1. Announcements are started in the order of their priority, and within one in the order of their
 * numbers. One that is near to an older one of lower priority that waits gets that lower priority: so two
 * announcements of one page are never started out of order.
 *   2. The one that is due waits, and with it all others, while it touches a busy page, until that page's
 * transfer has completed: so at most one transfer into a page is outstanding, and newer content never loses
 * against older, zero fills included.
 *   3. A page is busy from the take of an operation until that operation is done; if it failed, until its
 * repetition is done. Repetitions come first.
 *   4. A sequence number is acknowledged once, after all its pages have landed.
 *   5. landed is set for every page that holds content which was announced at some time and is complete.
 *
 * staged_offset counts from the beginning of the session; the ring's size is the server's business.
 *
 * Pure: no I/O, no clock, no threads. Two bits per page.
 */
#ifndef WT_PLAN_H
#define WT_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/block.h>

#include "announce.h"
#include "bitmap.h"

#define WT_PLAN_OPS 4096u /* operations outstanding at most */

struct wt_plan;

/* A piece of work: the whole or the rest of an announcement, or something to repeat. */
struct wt_work {
	enum wt_content content;
	struct wt_extent extent;
	uint64_t staged_offset; /* of the extent's first byte; STAGED only */
};

struct wt_seq_range {
	uint64_t first, count;
};

int wt_plan_open(unsigned blocks, const uint64_t *block_pages, struct wt_plan **ret_plan);
void wt_plan_close(struct wt_plan *plan);

/* The server announces. -EPROTO: seq is not the next one, or the extent is not in a block; -ENOBUFS: too many
 * pending. */
int wt_plan_announce(struct wt_plan *plan, uint64_t seq, const struct wt_announcement *announcement);

/* What may be started now; false: nothing (all is started, or the next one has to wait). */
bool wt_plan_peek(struct wt_plan *plan, struct wt_work *ret_work);
/* Starts the first `pages` pages of what peek showed; answers the operation's id, -EAGAIN above WT_PLAN_OPS.
 */
int wt_plan_take(struct wt_plan *plan, uint32_t pages);
/* The operation is over and will write no more. status 0: its pages have landed; otherwise they are pulled
 * again. */
void wt_plan_done(struct wt_plan *plan, unsigned id, int status);

/* Sequence numbers that landed since the last call, as ranges; answers how many were written. */
unsigned wt_plan_acks(struct wt_plan *plan, struct wt_seq_range *ret_ranges, unsigned max);
/* Every announcement so far has landed. */
bool wt_plan_idle(const struct wt_plan *plan);
unsigned wt_plan_outstanding(const struct wt_plan *plan);
uint64_t wt_plan_next_seq(const struct wt_plan *plan);
const struct wt_bitmap *wt_plan_landed(const struct wt_plan *plan, unsigned block);

#endif

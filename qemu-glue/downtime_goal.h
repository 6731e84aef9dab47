/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * downtime_goal.h - less downtime than the operator allows, while that is to be had for next to nothing.
 *
 * QEMU stops the guest as soon as what is left fits into the limit, and then uses all of it, also where a
 * moment later much less would be left. So it is told a part of the limit at first. While the guest writes at
 * most half as fast as its pages get across, each pass over them leaves at most half of the one before: the
 * part is reached, and reaching it takes no more than the time that the guest would have been stopped for.
 *   1. The goal is given up for good when the guest writes faster than that, and when what is left has fitted
 *      into the limit for PATIENCE limits: then the figures were wrong.
 *   2. What QEMU is told is never more than the limit.
 * Pure.
 */
#ifndef WATARI_QEMU_DOWNTIME_GOAL_H
#define WATARI_QEMU_DOWNTIME_GOAL_H

#include <stdbool.h>
#include <stdint.h>

#define WT_DOWNTIME_GOAL_PARTS 10
#define WT_DOWNTIME_GOAL_MIN_MS 10 /* less than what a switchover takes anyway */
#define WT_DOWNTIME_GOAL_PATIENCE 10

/* All zeros at first. */
struct wt_downtime_goal {
	bool given_up;
	uint64_t fits_since_ns; /* what is left fits into the limit since then; 0: it does not */
};

struct wt_downtime_figures {
	uint64_t limit_ms;
	uint64_t remaining_bytes, dirty_bytes_per_s; /* as QEMU says, 0 while it does not know */
	uint64_t rate_bytes_per_s;                   /* of all pages, zero or not; 0: not known yet */
};

/* What QEMU is to take for its limit. */
uint64_t wt_downtime_goal_ms(const struct wt_downtime_goal *goal, uint64_t limit_ms);
/* Answers whether it has just been given up. */
bool wt_downtime_goal_step(
	struct wt_downtime_goal *goal, const struct wt_downtime_figures *figures, uint64_t now_ns);

#endif

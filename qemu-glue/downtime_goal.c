/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * downtime_goal.c - when less than the limit is asked for. See downtime_goal.h.
 */
#include "downtime_goal.h"

#define MS_NS 1000000ull

uint64_t wt_downtime_goal_ms(const struct wt_downtime_goal *goal, uint64_t limit_ms)
{
	uint64_t part = limit_ms / WT_DOWNTIME_GOAL_PARTS;

	if (part < WT_DOWNTIME_GOAL_MIN_MS)
		part = WT_DOWNTIME_GOAL_MIN_MS;
	return goal->given_up || part > limit_ms ? limit_ms : part;
}

static bool fits(const struct wt_downtime_figures *f)
{
	return (double)f->remaining_bytes * 1000 <= (double)f->rate_bytes_per_s * (double)f->limit_ms;
}

bool wt_downtime_goal_step(
	struct wt_downtime_goal *goal, const struct wt_downtime_figures *f, uint64_t now_ns)
{
	if (goal->given_up || !f->rate_bytes_per_s)
		return false;
	if (!fits(f))
		goal->fits_since_ns = 0;
	else if (!goal->fits_since_ns)
		goal->fits_since_ns = now_ns;
	goal->given_up = f->dirty_bytes_per_s > f->rate_bytes_per_s / 2 ||
			 (goal->fits_since_ns && now_ns - goal->fits_since_ns >
							 f->limit_ms * MS_NS * WT_DOWNTIME_GOAL_PATIENCE);
	return goal->given_up;
}

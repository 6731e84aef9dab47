/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * convergence.c - when QEMU asks at each turn, and when it may stop the guest. See convergence.h.
 */
#include "convergence.h"

#define MS_NS 1000000ull
#define FOREVER_NS (1ull << 62)
#define LOOK_MIN_NS 20000000ull

void wt_convergence_init(struct wt_convergence *c, bool waits)
{
	*c = (struct wt_convergence){ .able = waits, .waits = waits };
}

/* How long so many bytes take. */
static uint64_t time_ns(uint64_t bytes, const struct wt_convergence_figures *f)
{
	uint64_t rate = f->rate_bytes_per_s ? f->rate_bytes_per_s : WT_CONVERGENCE_ASSUMED_BYTES_PER_S;
	double ns = (double)bytes / (double)rate * 1e9;

	return ns < (double)FOREVER_NS ? (uint64_t)ns : FOREVER_NS;
}

static bool fits(const struct wt_convergence_figures *f)
{
	uint64_t left = f->remaining_bytes + f->deferred_bytes;

	return left <= WT_CONVERGENCE_LITTLE_BYTES || time_ns(left, f) <= f->limit_ms * MS_NS;
}

static bool is_long(const struct wt_convergence_figures *f)
{
	return time_ns(f->remaining_bytes, f) >= WT_CONVERGENCE_LONG_NS;
}

/* Or QEMU will see to it by itself. */
static bool may_stop(const struct wt_convergence_figures *f)
{
	return fits(f) || (!f->hard && !is_long(f));
}

static bool wants_turns(
	const struct wt_convergence *c, const struct wt_convergence_figures *f, uint64_t now_ns)
{
	uint64_t since = now_ns - c->told_ns;

	if (fits(f))
		return false;
	if (f->hard)
		return true;
	if (c->turns)
		return since < WT_CONVERGENCE_ASK_NS;
	return is_long(f) && since >= time_ns(f->remaining_bytes, f) / WT_CONVERGENCE_PARTS;
}

unsigned wt_convergence_step(
	struct wt_convergence *c, const struct wt_convergence_figures *f, uint64_t now_ns)
{
	bool turns;

	if (!c->waits)
		return 0;
	if (c->telling)
		c->told_ns = now_ns;
	turns = wants_turns(c, f, now_ns);
	c->telling = turns != c->turns;
	c->turns = turns;
	if (c->telling)
		return WT_CONVERGENCE_DO_LIMIT;
	if (!may_stop(f) || now_ns - c->told_ns < WT_CONVERGENCE_TOLD_NS)
		return 0;
	c->waits = false;
	return WT_CONVERGENCE_DO_ACKNOWLEDGE;
}

uint64_t wt_convergence_defer_bytes(const struct wt_convergence *c, const struct wt_convergence_figures *f)
{
	return c->able && f->hard ? f->rate_bytes_per_s * f->limit_ms / 1000 / 2 : 0;
}

uint64_t wt_convergence_epoch_ns(const struct wt_convergence_figures *f)
{
	uint64_t rest = time_ns(f->remaining_bytes, f);

	return WT_CONVERGENCE_EPOCH_MIN_NS + rest + rest / 2;
}

uint64_t wt_convergence_wait_ns(const struct wt_convergence *c, const struct wt_convergence_figures *f)
{
	uint64_t rest = time_ns(f->remaining_bytes, f);

	if (!c->waits)
		return UINT64_MAX;
	return c->turns || rest < LOOK_MIN_NS ? LOOK_MIN_NS : rest;
}

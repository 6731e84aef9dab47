/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * plan_ops.c - operations of the plan: what a path may start now, its start, its end. See plan.h.
 *
 * peek chooses and take starts what was chosen. An operation of an announcement that failed goes to a stack
 * of repetitions, which is served first; one of the base only makes its pages wanted again.
 */
#include "plan_internal.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

/* Cuts the work to what the path can read; false: nothing of it. */
static bool in_reach(const struct path *path, struct wt_work *work)
{
	uint64_t skip, reach = path->reach ? path->reach(path->reach_arg, work, &skip) : work->extent.pages;

	if (reach < work->extent.pages)
		work->extent.pages = (uint32_t)reach;
	return reach > 0;
}

/* What this path could do next, were it not for the limits; full: only what needs no path. */
static bool choose(struct wt_plan *plan, unsigned number, bool full, uint64_t now_ns)
{
	struct path *path = number == WT_PLAN_NO_PATH ? NULL : &plan->paths[number];
	struct choice *choice = &plan->choice;

	if ((!path || !path->server) && wt_plan_find_announced(plan, choice)) {
		if (wt_work_is_local(&choice->work))
			return true;
		if (path && !full && in_reach(path, &choice->work))
			return true;
	}
	return path && !full && wt_plan_find_base(plan, number, now_ns, choice);
}

bool wt_plan_peek(struct wt_plan *plan, unsigned number, uint64_t now_ns, struct wt_work *ret_work)
{
	const struct path *path = number == WT_PLAN_NO_PATH ? NULL : &plan->paths[number];
	struct choice *choice = &plan->choice;
	bool full = path && path->flight >= wt_path_budget(path, now_ns);

	assert(plan);
	if (plan->draining || (path && path->closing) || !choose(plan, number, full, now_ns)) {
		if (path)
			plan->servers[path->server].hungry = false;
		choice->kind = CHOSE_NOTHING;
		return false;
	}
	assert(path || wt_work_is_local(&choice->work));
	if (path && !wt_work_is_local(&choice->work) && !wt_plan_may_pay(plan, path->server, now_ns)) {
		choice->kind = CHOSE_NOTHING;
		return false;
	}
	choice->path = number;
	*ret_work = choice->work;
	return true;
}

/*
 * Every outstanding operation of an announcement may fail, so only splitting a repetition adds to the load.
 * At the limit one split goes on, alone: its piece succeeds, or fails and is joined to its rest again.
 */
static bool may_take(const struct wt_plan *plan, uint32_t pages)
{
	unsigned load = plan->announced_ops + plan->retry_count;

	if (!plan->free_count)
		return false;
	if (plan->choice.kind != CHOSE_REPEAT)
		return plan->choice.kind != CHOSE_ENTRY || load <= LOAD_MAX;
	return pages == plan->retries[plan->retry_count - 1].work.extent.pages || load < LOAD_MAX ||
	       !plan->announced_ops;
}

/* Takes the first pages of the newest repetition; its pages are busy already. */
static void start_repeat(struct wt_plan *plan, uint32_t pages)
{
	struct repeat *repeat = &plan->retries[plan->retry_count - 1];

	if (pages == repeat->work.extent.pages)
		plan->retry_count--;
	else
		repeat->work = wt_plan_work_skip(&repeat->work, pages);
}

static void start_base(struct wt_plan *plan, struct op *op)
{
	const struct wt_extent *extent = &op->work.extent;
	struct block_maps *maps = &plan->maps[extent->block];

	plan->base_ops++;
	plan->base_flight += extent->pages;
	plan->wanted -= wt_pageset_remove(&maps->wanted, extent->page, extent->pages);
	wt_pageset_add(&maps->busy, extent->page, extent->pages);
}

static void start_bounce(struct wt_plan *plan, struct op *op, unsigned id)
{
	if (plan->choice.kind == CHOSE_HEDGE) {
		op->claim = plan->choice.claim;
		plan->claims[op->claim].op[1] = id;
		plan->claims[op->claim].ops++;
	} else {
		op->claim = (unsigned)wt_plan_claim_add(plan, id);
	}
}

static void start(struct wt_plan *plan, struct op *op, unsigned id)
{
	const struct choice *choice = &plan->choice;
	const struct wt_extent *extent = &op->work.extent;

	if (choice->kind == CHOSE_REPEAT || choice->kind == CHOSE_ENTRY) {
		op->kind = OP_ANNOUNCED;
		op->seq = choice->seq;
		plan->announced_ops++;
		if (choice->kind == CHOSE_REPEAT) {
			start_repeat(plan, extent->pages);
			return;
		}
		wt_pageset_add(&plan->maps[extent->block].busy, extent->page, extent->pages);
		wt_plan_entry_start(plan, op->seq, extent->pages);
		return;
	}
	op->kind = op->work.bounce ? OP_BOUNCE : OP_BASE;
	op->seq = plan->next_seq;
	if (op->work.bounce)
		start_bounce(plan, op, id);
	else
		start_base(plan, op);
}

int wt_plan_take(struct wt_plan *plan, unsigned number, uint32_t pages, uint64_t now_ns)
{
	struct choice *choice = &plan->choice;
	struct op *op;
	unsigned id;

	assert(choice->kind != CHOSE_NOTHING && choice->path == number);
	assert(pages && pages <= choice->work.extent.pages);
	/* A hedge is for the whole claim, as only then it can make it superfluous. */
	if (!may_take(plan, pages) || (choice->kind == CHOSE_HEDGE && pages < choice->work.extent.pages))
		return -EAGAIN;
	id = plan->free_ops[--plan->free_count];
	op = &plan->ops[id];
	*op = (struct op){ .path = number, .work = choice->work };
	op->work.extent.pages = pages;
	start(plan, op, id);
	if (number != WT_PLAN_NO_PATH) {
		struct path *path = &plan->paths[number];

		wt_path_started(path, op, now_ns);
		wt_plan_pay(plan, path->server, wt_work_bytes(&op->work), now_ns);
	}
	choice->kind = CHOSE_NOTHING;
	return (int)id;
}

/* To be done again: joined to the newest repetition if it lies right before it, and is done alike. */
static void repeat_later(struct wt_plan *plan, const struct op *op)
{
	struct repeat *next = plan->retry_count ? &plan->retries[plan->retry_count - 1] : NULL;
	const struct wt_extent *extent = &op->work.extent;
	struct repeat repeat = { .seq = op->seq, .work = op->work };

	if (next && next->seq == op->seq && next->work.content == op->work.content &&
		extent->page + extent->pages == next->work.extent.page) {
		repeat.work.extent.pages += next->work.extent.pages;
		*next = repeat;
		return;
	}
	assert(plan->retry_count < RETRIES_MAX);
	plan->retries[plan->retry_count++] = repeat;
}

static void clear_busy(struct wt_plan *plan, const struct wt_extent *extent)
{
	wt_pageset_remove(&plan->maps[extent->block].busy, extent->page, extent->pages);
	wt_plan_look_again(plan);
}

static void done_announced(struct wt_plan *plan, const struct op *op, int status)
{
	plan->announced_ops--;
	if (status) {
		repeat_later(plan, op);
		return;
	}
	clear_busy(plan, &op->work.extent);
	wt_plan_entry_landed(plan, op->seq, op->work.extent.pages);
}

static void done_base(struct wt_plan *plan, const struct op *op, int status)
{
	plan->base_ops--;
	plan->base_flight -= op->work.extent.pages;
	clear_busy(plan, &op->work.extent);
	if (status)
		wt_plan_base_again(plan, op);
}

/* The operation's path gets its bytes back; answers the operation, which is free from now on. */
static struct op end(struct wt_plan *plan, unsigned id, int status, uint64_t now_ns)
{
	struct op op = plan->ops[id];

	assert(id < WT_PLAN_OPS && op.kind != OP_NONE);
	plan->ops[id].kind = OP_NONE;
	plan->free_ops[plan->free_count++] = id;
	plan->choice.kind = CHOSE_NOTHING;
	if (op.path != WT_PLAN_NO_PATH)
		wt_path_ended(plan, &plan->paths[op.path], &op, status, now_ns);
	return op;
}

void wt_plan_done(struct wt_plan *plan, unsigned id, int status, uint64_t now_ns)
{
	struct op op = end(plan, id, status, now_ns);

	if (op.kind == OP_ANNOUNCED) {
		done_announced(plan, &op, status);
	} else if (op.kind == OP_BASE) {
		done_base(plan, &op, status);
	} else {
		assert(status);
		wt_plan_claim_drop(plan, op.claim, id, true);
	}
}

unsigned wt_plan_settle(struct wt_plan *plan, unsigned id, struct wt_extent *ret_copies, uint64_t now_ns)
{
	struct op op = end(plan, id, 0, now_ns);
	const struct wt_extent *extent = &op.work.extent;
	struct wt_pageset *wanted = &plan->maps[extent->block].wanted;
	struct wt_pageset_query query = { .in = { wanted }, .ins = 1 };
	uint64_t stop = extent->page + extent->pages, run_end;
	unsigned count = 0;

	assert(op.kind == OP_BOUNCE);
	for (uint64_t page = extent->page; page < stop; page = run_end) {
		page = wt_pageset_run(&query, page, stop, stop, &run_end);
		if (page == stop)
			break;
		ret_copies[count++] = (struct wt_extent){
			.block = extent->block, .page = page, .pages = (uint32_t)(run_end - page)
		};
		plan->wanted -= wt_pageset_remove(wanted, page, run_end - page);
	}
	wt_plan_claim_drop(plan, op.claim, id, false);
	return count;
}

bool wt_plan_tick(struct wt_plan *plan, uint64_t now_ns, struct wt_plan_action *ret_action)
{
	if (wt_plan_find_stalled(plan, now_ns, ret_action))
		return true;
	return !plan->draining && wt_plan_find_action(plan, ret_action);
}

void wt_plan_bounce(struct wt_plan *plan, bool on)
{
	plan->bounce = on;
}

void wt_plan_drain(struct wt_plan *plan)
{
	plan->draining = true;
}

void wt_plan_undrain(struct wt_plan *plan)
{
	plan->draining = false;
}

bool wt_plan_drained(const struct wt_plan *plan)
{
	return plan->draining && !wt_plan_outstanding(plan);
}

unsigned wt_plan_outstanding(const struct wt_plan *plan)
{
	return WT_PLAN_OPS - plan->free_count;
}

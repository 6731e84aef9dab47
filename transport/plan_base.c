/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * plan_base.c - the base: pages that were announced in an earlier session. Who has them, who pulls them. See
 * plan.h.
 *
 * Server 0 has what it serves in place (a flag per block), helpers have what their set says. Each path goes
 * round and round through the wanted pages with two cursors of its own: first for those that no other server
 * has, then for all. Paths of different servers begin at different places, and who is free takes what comes
 * next: so work is stolen without a word about it. A cursor that has gone round once without finding anything
 * rests until something is wanted again.
 *
 *   1. A page under way into place is busy and not wanted; if that fails it is wanted again, unless something
 * was announced for it meanwhile.
 *   2. A page under way into a bounce buffer stays wanted and lies in a claim, which others go around. A
 * claim is given to at most two operations.
 */
#include "plan_internal.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

/* Where the rest of the base takes less time, it goes into bounce buffers; but never more than so much. */
#define TAIL_NS 200000000ull
#define TAIL_BYTES (64ull << 20)
#define ASK_PAGES 4096u
#define ASK_STEPS 64u

/* ---- servers ---- */

int wt_plan_server_add(struct wt_plan *plan, unsigned server)
{
	if (!server || server >= WT_PLAN_SERVERS)
		return -EINVAL;
	if (plan->servers[server].added)
		return 0;
	for (unsigned i = 0; i < plan->blocks; i++) {
		int r = wt_pageset_open(&plan->maps[i].has[server], plan->maps[i].busy.bits);

		if (r) {
			while (i-- > 0)
				wt_pageset_close(&plan->maps[i].has[server]);
			return r;
		}
	}
	plan->servers[server].added = true;
	return 0;
}

void wt_plan_server_remove(struct wt_plan *plan, unsigned server)
{
	assert(server && server < WT_PLAN_SERVERS && !plan->servers[server].paths);
	if (!plan->servers[server].added)
		return;
	for (unsigned i = 0; i < plan->blocks; i++)
		wt_pageset_close(&plan->maps[i].has[server]);
	plan->servers[server] = (struct server){ .limit = plan->servers[server].limit };
	wt_plan_base_look_everywhere(plan);
}

/* ---- what the base is ---- */

/* Whether the base may speak of these pages, now. */
static int base_check(const struct wt_plan *plan, const struct wt_extent *range, const uint64_t *words)
{
	uint64_t pages;

	if (plan->policy || plan->next_seq != 1 || range->block >= plan->blocks)
		return -EPROTO;
	pages = plan->maps[range->block].busy.bits;
	if (range->page >= pages || !range->pages || range->pages > pages - range->page)
		return -EPROTO;
	return words && range->page % 64 ? -EPROTO : 0;
}

static uint64_t put(struct wt_pageset *set, const struct wt_extent *range, const uint64_t *words)
{
	if (words)
		return wt_pageset_add_words(set, range->page, range->pages, words);
	return wt_pageset_add(set, range->page, range->pages);
}

int wt_plan_need(struct wt_plan *plan, const struct wt_extent *range, const uint64_t *words)
{
	int r = base_check(plan, range, words);

	if (!r)
		plan->wanted += put(&plan->maps[range->block].wanted, range, words);
	return r;
}

int wt_plan_has(struct wt_plan *plan, unsigned server, const struct wt_extent *range, const uint64_t *words)
{
	int r = base_check(plan, range, words);

	if (!r)
		r = wt_plan_server_add(plan, server);
	if (!r)
		put(&plan->maps[range->block].has[server], range, words);
	return r == -EINVAL ? -EPROTO : r;
}

int wt_plan_base_end(struct wt_plan *plan, enum wt_plan_policy policy)
{
	if (plan->policy || (policy != WT_PLAN_FASTEST && policy != WT_PLAN_SPARE_ANNOUNCER))
		return -EPROTO;
	plan->policy = policy;
	wt_plan_base_look_everywhere(plan);
	return 0;
}

uint64_t wt_plan_base_left(const struct wt_plan *plan)
{
	return plan->wanted + plan->base_flight;
}

void wt_plan_missing(
	const struct wt_plan *plan, unsigned block, uint64_t page, uint64_t pages, uint64_t *ret_words)
{
	wt_pageset_words(&plan->maps[block].wanted, page, pages, ret_words);
}

void wt_plan_base_forget(struct wt_plan *plan, const struct wt_extent *extent)
{
	struct block_maps *maps = &plan->maps[extent->block];

	plan->wanted -= wt_pageset_remove(&maps->wanted, extent->page, extent->pages);
	for (unsigned server = 1; server < WT_PLAN_SERVERS; server++)
		if (plan->servers[server].added)
			wt_pageset_remove(&maps->has[server], extent->page, extent->pages);
}

/* What the two extents have in common; false: nothing. */
static bool common(const struct wt_extent *a, const struct wt_extent *b, struct wt_extent *ret)
{
	uint64_t from = a->page > b->page ? a->page : b->page;
	uint64_t end = a->page + a->pages < b->page + b->pages ? a->page + a->pages : b->page + b->pages;

	if (a->block != b->block || from >= end)
		return false;
	*ret = (struct wt_extent){ .block = a->block, .page = from, .pages = (uint32_t)(end - from) };
	return true;
}

/* What was announced while these pages were busy cannot have been started: it is among the entries still. */
void wt_plan_base_again(struct wt_plan *plan, const struct op *op)
{
	const struct wt_extent *extent = &op->work.extent;
	struct wt_pageset *wanted = &plan->maps[extent->block].wanted;
	struct wt_extent newer;

	plan->wanted += wt_pageset_add(wanted, extent->page, extent->pages);
	for (uint64_t seq = op->seq > plan->oldest ? op->seq : plan->oldest; seq < plan->next_seq; seq++) {
		const struct entry *entry = wt_plan_entry(plan, seq);

		if (entry->left && common(&entry->what.extent, extent, &newer))
			plan->wanted -= wt_pageset_remove(wanted, newer.page, newer.pages);
	}
	wt_plan_base_look(plan, extent);
}

/* ---- cursors ---- */

static void look_all(const struct wt_plan *plan, struct cursor *cursor)
{
	cursor->left = plan->pages;
}

static void look_at(const struct wt_plan *plan, struct cursor *cursor, const struct wt_extent *extent)
{
	if (cursor->left)
		look_all(plan, cursor);
	else
		*cursor = (struct cursor){ extent->block, extent->page, extent->pages };
}

void wt_plan_base_look(struct wt_plan *plan, const struct wt_extent *extent)
{
	look_at(plan, &plan->ask, extent);
	for (unsigned i = 0; i < WT_PLAN_PATHS; i++) {
		if (!plan->paths[i].used)
			continue;
		look_at(plan, &plan->paths[i].alone, extent);
		look_at(plan, &plan->paths[i].shared, extent);
	}
}

void wt_plan_base_look_everywhere(struct wt_plan *plan)
{
	look_all(plan, &plan->ask);
	for (unsigned i = 0; i < WT_PLAN_PATHS; i++) {
		look_all(plan, &plan->paths[i].alone);
		look_all(plan, &plan->paths[i].shared);
	}
}

void wt_plan_path_start_at(struct wt_plan *plan, struct path *path)
{
	unsigned servers = 0;
	uint64_t at;
	struct cursor cursor = { .left = plan->pages };

	for (unsigned i = 0; i < WT_PLAN_SERVERS; i++)
		servers += plan->servers[i].added;
	at = plan->pages / servers * (path->server % servers);
	while (cursor.block + 1 < plan->blocks && at >= plan->maps[cursor.block].busy.bits)
		at -= plan->maps[cursor.block++].busy.bits;
	cursor.page = at;
	path->alone = path->shared = cursor;
}

/* Moves on, at most to the end of the block. */
static void move_on(const struct wt_plan *plan, struct cursor *cursor, uint64_t page)
{
	uint64_t step = page - cursor->page;

	cursor->left -= step < cursor->left ? step : cursor->left;
	cursor->page = page;
	if (page < plan->maps[cursor->block].busy.bits)
		return;
	cursor->page = 0;
	cursor->block = cursor->block + 1 < plan->blocks ? cursor->block + 1 : 0;
}

/* ---- claims ---- */

/* The pages from the extent's first on that are in no claim; 0: *ret_skip are. */
static uint32_t unclaimed(const struct wt_plan *plan, const struct wt_extent *extent, uint64_t *ret_skip)
{
	struct wt_extent both, rest = *extent;

	for (unsigned i = 0; plan->claim_count && i < CLAIMS_MAX; i++) {
		if (!plan->claims[i].ops || !common(&plan->claims[i].extent, &rest, &both))
			continue;
		if (both.page == rest.page) {
			*ret_skip = both.pages;
			return 0;
		}
		rest.pages = (uint32_t)(both.page - rest.page);
	}
	return rest.pages;
}

int wt_plan_claim_add(struct wt_plan *plan, unsigned op)
{
	for (unsigned i = 0; i < CLAIMS_MAX; i++)
		if (!plan->claims[i].ops) {
			plan->claims[i] =
				(struct claim){ .ops = 1, .op = { op }, .extent = plan->ops[op].work.extent };
			plan->claim_count++;
			return (int)i;
		}
	return -EAGAIN;
}

void wt_plan_claim_drop(struct wt_plan *plan, unsigned number, unsigned op, bool look)
{
	struct claim *claim = &plan->claims[number];

	if (claim->op[0] == op)
		claim->op[0] = claim->op[1];
	if (--claim->ops)
		return;
	plan->claim_count--;
	if (look)
		wt_plan_base_look(plan, &claim->extent);
}

/* ---- what comes next ---- */

/* Pages that nobody but this server has (or, of helpers, no other helper), or all that it has. */
static bool query_of(
	const struct wt_plan *plan, unsigned block, unsigned server, bool alone, struct wt_pageset_query *ret)
{
	const struct block_maps *maps = &plan->maps[block];

	*ret = (struct wt_pageset_query){ .in = { &maps->wanted }, .ins = 1 };
	if (!server && !maps->announcer_reads)
		return false;
	if (server)
		ret->in[ret->ins++] = &maps->has[server];
	for (unsigned other = 1; alone && other < WT_PLAN_SERVERS; other++)
		if (other != server && plan->servers[other].added)
			ret->out[ret->outs++] = &maps->has[other];
	return true;
}

static uint64_t reach_of(const struct path *path, const struct wt_work *work, uint64_t *ret_skip)
{
	return path->reach ? path->reach(path->reach_arg, work, ret_skip) : work->extent.pages;
}

/* The next pages for this path behind the cursor. */
static bool next_pages(struct wt_plan *plan, struct path *path, bool alone, uint64_t max, struct wt_work *ret)
{
	struct cursor *cursor = alone ? &path->alone : &path->shared;

	while (cursor->left) {
		uint64_t pages = plan->maps[cursor->block].busy.bits, end = pages, run_end, skip = 0, reach;
		struct wt_work work = { .content = WT_CONTENT_IN_PLACE };
		struct wt_pageset_query query;

		if (cursor->left < end - cursor->page)
			end = cursor->page + cursor->left;
		work.extent.page = end;
		if (query_of(plan, cursor->block, path->server, alone, &query))
			work.extent.page = wt_pageset_run(&query, cursor->page, end, max, &run_end);
		work.extent.block = cursor->block;
		move_on(plan, cursor, work.extent.page);
		if (work.extent.page == end)
			continue;
		work.extent.pages = (uint32_t)(run_end - work.extent.page);
		work.extent.pages = unclaimed(plan, &work.extent, &skip);
		if (work.extent.pages) {
			reach = reach_of(path, &work, &skip);
			if (reach) {
				if (reach < work.extent.pages)
					work.extent.pages = (uint32_t)reach;
				*ret = work;
				return true;
			}
			if (!skip)
				return false; /* not known yet */
		}
		move_on(plan, cursor, skip < pages - work.extent.page ? work.extent.page + skip : pages);
	}
	return false;
}

/* The rest of the base is so little that its last pages decide when it ends. */
static bool in_tail(const struct wt_plan *plan)
{
	double tail = (double)plan->rates * TAIL_NS / 1e9;

	if (!plan->bounce || plan->path_count < 2)
		return false;
	return (double)(plan->wanted << WT_PAGE_SHIFT) < (tail < TAIL_BYTES ? tail : TAIL_BYTES);
}

/* How long from now until these bytes are here over this path. */
static double time_for(const struct path *path, uint64_t bytes)
{
	return (double)(path->flight + bytes) / (double)path->rate * 1e9;
}

/* How long an operation will take from now on: what is late already is expected to take as long again. */
static double time_left(const struct op *op, uint64_t now_ns)
{
	return op->expected_ns > now_ns ? (double)(op->expected_ns - now_ns)
					: (double)(now_ns - op->taken_ns);
}

static bool has_all(const struct wt_plan *plan, unsigned server, const struct wt_extent *extent)
{
	const struct block_maps *maps = &plan->maps[extent->block];
	uint64_t end = extent->page + extent->pages;

	if (!server)
		return maps->announcer_reads;
	return wt_pageset_next_gap(&maps->has[server], extent->page, end) == end;
}

/* The claim that is expected last, if this path would have its pages in less than half the time. */
static bool find_hedge(struct wt_plan *plan, unsigned number, uint64_t now_ns, struct choice *ret_choice)
{
	struct path *path = &plan->paths[number];
	double longest = 0;
	uint64_t skip;

	for (unsigned i = 0; path->rate && plan->claim_count && i < CLAIMS_MAX; i++) {
		const struct claim *claim = &plan->claims[i];
		const struct op *op = &plan->ops[claim->op[0]];
		uint64_t end = claim->extent.page + claim->extent.pages;
		struct wt_work work = {
			.content = WT_CONTENT_IN_PLACE, .bounce = true, .extent = claim->extent
		};

		if (claim->ops != 1 || op->path == number || time_left(op, now_ns) <= longest)
			continue;
		if (2 * time_for(path, wt_work_bytes(&work)) >= time_left(op, now_ns) ||
			!has_all(plan, path->server, &claim->extent) ||
			reach_of(path, &work, &skip) < claim->extent.pages ||
			wt_pageset_next(&plan->maps[claim->extent.block].wanted, claim->extent.page, end) ==
				end)
			continue;
		longest = time_left(op, now_ns);
		*ret_choice = (struct choice){ .kind = CHOSE_HEDGE, .claim = i, .work = work };
	}
	return longest > 0;
}

/* Server 0 will be busy with what it is still to announce when the helpers have sent the rest of the base. */
static bool announcer_is_last(const struct wt_plan *plan)
{
	uint64_t own = 0, helpers = 0;

	if (!plan->ahead)
		return false;
	for (unsigned i = 0; i < WT_PLAN_PATHS; i++) {
		const struct path *path = &plan->paths[i];

		if (path->used && !path->closing)
			*(path->server ? &helpers : &own) += path->rate;
	}
	return own && helpers && (double)plan->wanted / (double)helpers <= (double)plan->ahead / (double)own;
}

void wt_plan_ahead(struct wt_plan *plan, uint64_t pages)
{
	plan->ahead = pages;
}

bool wt_plan_find_base(struct wt_plan *plan, unsigned number, uint64_t now_ns, struct choice *ret_choice)
{
	struct path *path = &plan->paths[number];
	uint64_t max = (wt_path_budget(path, now_ns) / 2) >> WT_PAGE_SHIFT;
	bool tail = in_tail(plan), spared = false;

	if (!plan->policy || !plan->wanted)
		return false;
	if (!path->server)
		spared = plan->policy == WT_PLAN_SPARE_ANNOUNCER || announcer_is_last(plan);
	if (max > WT_PLAN_BASE_PAGES)
		max = WT_PLAN_BASE_PAGES;
	if (!tail || plan->claim_count < CLAIMS_MAX) {
		*ret_choice = (struct choice){ .kind = CHOSE_BASE };
		if (next_pages(plan, path, true, max, &ret_choice->work) ||
			(!spared && next_pages(plan, path, false, max, &ret_choice->work))) {
			ret_choice->work.bounce = tail;
			return true;
		}
	}
	return !spared && find_hedge(plan, number, now_ns, ret_choice);
}

/* ---- what nobody can read ---- */

/* How many pages some path of server 0 can read; 0: none for *ret_skip pages; *ret_skip 0: not known. */
static uint64_t announcer_reach(const struct wt_plan *plan, const struct wt_work *work, uint64_t *ret_skip)
{
	uint64_t skip = work->extent.pages, reach;
	bool any = false;

	for (unsigned i = 0; i < WT_PLAN_PATHS; i++) {
		uint64_t one = 0;

		if (!plan->paths[i].used || plan->paths[i].server)
			continue;
		any = true;
		reach = reach_of(&plan->paths[i], work, &one);
		if (reach)
			return reach;
		if (one < skip)
			skip = one;
	}
	*ret_skip = any ? skip : 0;
	return 0;
}

static struct wt_extent *free_ask(struct wt_plan *plan)
{
	for (unsigned i = 0; i < ASKS_MAX; i++) {
		struct wt_extent *ask = &plan->asks[i];
		uint64_t end = ask->page + ask->pages;

		if (!ask->pages || wt_pageset_next(&plan->maps[ask->block].wanted, ask->page, end) == end)
			return ask;
	}
	return NULL;
}

static bool asked(const struct wt_plan *plan, const struct wt_extent *extent, uint64_t *ret_skip)
{
	struct wt_extent both;

	for (unsigned i = 0; i < ASKS_MAX; i++)
		if (plan->asks[i].pages && common(&plan->asks[i], extent, &both) &&
			both.page == extent->page) {
			*ret_skip = both.pages;
			return true;
		}
	return false;
}

bool wt_plan_find_action(struct wt_plan *plan, struct wt_plan_action *ret_action)
{
	struct cursor *cursor = &plan->ask;

	if (!plan->policy || !plan->wanted || plan->orphaned)
		return false;
	for (unsigned steps = 0; cursor->left && steps < ASK_STEPS; steps++) {
		uint64_t pages = plan->maps[cursor->block].busy.bits, end = pages, run_end, skip = 0, reach;
		struct wt_work work = { .content = WT_CONTENT_IN_PLACE };
		struct wt_pageset_query query;
		struct wt_extent *ask;
		bool reads = query_of(plan, cursor->block, 0, true, &query);

		if (cursor->left < end - cursor->page)
			end = cursor->page + cursor->left;
		if (!reads) /* the query is that of what no helper has, all the same */
			for (unsigned i = 1; i < WT_PLAN_SERVERS; i++)
				if (plan->servers[i].added)
					query.out[query.outs++] = &plan->maps[cursor->block].has[i];
		work.extent = (struct wt_extent){ .block = cursor->block };
		work.extent.page = wt_pageset_run(&query, cursor->page, end, ASK_PAGES, &run_end);
		work.extent.pages = (uint32_t)(run_end - work.extent.page);
		if (work.extent.page == end) {
			move_on(plan, cursor, end);
			continue;
		}
		if (!reads) {
			plan->orphaned = true;
			*ret_action =
				(struct wt_plan_action){ .act = WT_PLAN_ORPHANED, .extent = work.extent };
			return true;
		}
		reach = announcer_reach(plan, &work, &skip);
		if (!reach && !skip)
			return false;
		if (!reach && !asked(plan, &work.extent, &reach)) {
			ask = free_ask(plan);
			if (!ask)
				return false;
			*ask = work.extent;
			if (skip < ask->pages)
				ask->pages = (uint32_t)skip;
			reach = ask->pages;
			*ret_action = (struct wt_plan_action){ .act = WT_PLAN_ASK, .extent = *ask };
		} else {
			ask = NULL;
		}
		move_on(plan, cursor, reach < pages - work.extent.page ? work.extent.page + reach : pages);
		if (ask)
			return true;
	}
	return false;
}

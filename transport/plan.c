/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * plan.c - the announcements of the plan: their order, who waits, what has landed. See plan.h.
 *
 * Entries (announcements that have not landed) sit in a ring indexed by sequence number. Those that are not
 * started in full are in the queue of their priority, or among the parked ones. `waiting` counts them by
 * queue and by granule of the memory that they touch, hashed: a collision only makes an announcement wait
 * without need. Landed numbers are gathered as ranges until they are fetched.
 *
 *   1. Of two entries that wait in queues and touch one page, the older one is due first.
 *   2. Of two that are parked and touch one page, the older one is before the other.
 *   3. Nothing that waits in a queue is older than a parked one and touches a page of it: it would have been
 * due before. So a parked entry may be started when its page is not busy and no near one is parked before it.
 */
#include "plan_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Looking further ahead than one operation can take would make long extents quadratic. */
#define PEEK_PAGES 4096u
/* How many parked ones are looked at at once, and how many before each of them. */
#define LOOK_MAX 64u

int wt_plan_open(unsigned blocks, const struct wt_plan_block *list, struct wt_plan **ret_plan)
{
	struct wt_plan *plan = calloc(1, sizeof *plan + blocks * sizeof plan->maps[0]);

	if (!plan)
		return -ENOMEM;
	plan->next_seq = plan->oldest = 1;
	plan->servers[0].added = true;
	for (unsigned i = 0; i < WT_PLAN_OPS; i++)
		plan->free_ops[plan->free_count++] = WT_PLAN_OPS - 1 - i;
	for (; plan->blocks < blocks; plan->blocks++) {
		struct block_maps *maps = &plan->maps[plan->blocks];

		maps->announcer_reads = list[plan->blocks].announcer_reads;
		if (wt_pageset_open(&maps->busy, list[plan->blocks].pages) ||
			wt_pageset_open(&maps->wanted, list[plan->blocks].pages)) {
			plan->blocks++;
			wt_plan_close(plan);
			return -ENOMEM;
		}
		plan->pages += list[plan->blocks].pages;
	}
	*ret_plan = plan;
	return 0;
}

void wt_plan_close(struct wt_plan *plan)
{
	if (!plan)
		return;
	for (uint64_t seq = plan->oldest; seq < plan->next_seq; seq++)
		free(wt_plan_entry(plan, seq)->equal);
	for (unsigned i = 0; i < plan->blocks; i++) {
		wt_pageset_close(&plan->maps[i].busy);
		wt_pageset_close(&plan->maps[i].wanted);
		for (unsigned server = 1; server < WT_PLAN_SERVERS; server++)
			wt_pageset_close(&plan->maps[i].has[server]);
	}
	free(plan);
}

/* ---- who waits ---- */

static uint32_t *waiting_at(struct wt_plan *plan, enum wt_priority priority, uint32_t block, uint64_t granule)
{
	uint64_t hash = (granule * WT_BLOCKS_MAX + block) * 0x9e3779b97f4a7c15ull;

	return &plan->waiting[priority][hash >> (64 - COUNTERS_SHIFT)];
}

static uint64_t first_granule(const struct wt_extent *extent)
{
	return extent->page >> GRANULE_SHIFT;
}

static uint64_t last_granule(const struct wt_extent *extent)
{
	return (extent->page + extent->pages - 1) >> GRANULE_SHIFT;
}

static bool near(const struct wt_extent *a, const struct wt_extent *b)
{
	return a->block == b->block && first_granule(a) <= last_granule(b) &&
	       first_granule(b) <= last_granule(a);
}

/*
 * Where an announcement waits: by the lowest priority of what waits near it, at most its own. If nothing
 * waits near it in a queue, but among the parked ones, it is parked behind them.
 */
static enum wt_priority place_of(
	struct wt_plan *plan, const struct wt_extent *extent, enum wt_priority priority)
{
	bool queued = false, parked = false;

	for (uint64_t g = first_granule(extent); g <= last_granule(extent); g++) {
		for (unsigned p = WT_PRIORITY_BULK; p < PRIORITIES; p++) {
			if (!*waiting_at(plan, (enum wt_priority)p, extent->block, g))
				continue;
			queued = true;
			if (p < priority)
				priority = (enum wt_priority)p;
		}
		parked |= plan->parked_count && *waiting_at(plan, PARKED, extent->block, g);
	}
	return parked && !queued ? PARKED : priority;
}

static void queue_add(struct wt_plan *plan, uint64_t seq)
{
	struct entry *entry = wt_plan_entry(plan, seq);
	const struct wt_extent *extent = &entry->what.extent;
	struct queue *queue = &plan->queues[entry->what.priority];

	for (uint64_t g = first_granule(extent); g <= last_granule(extent); g++)
		++*waiting_at(plan, entry->what.priority, extent->block, g);
	entry->before = queue->last;
	entry->behind = 0;
	if (queue->last)
		wt_plan_entry(plan, queue->last)->behind = seq;
	else
		queue->first = seq;
	queue->last = seq;
	plan->parked_count += entry->what.priority == PARKED;
}

static void queue_remove(struct wt_plan *plan, uint64_t seq)
{
	struct entry *entry = wt_plan_entry(plan, seq);
	const struct wt_extent *extent = &entry->what.extent;
	struct queue *queue = &plan->queues[entry->what.priority];

	for (uint64_t g = first_granule(extent); g <= last_granule(extent); g++)
		--*waiting_at(plan, entry->what.priority, extent->block, g);
	if (entry->before)
		wt_plan_entry(plan, entry->before)->behind = entry->behind;
	else
		queue->first = entry->behind;
	if (entry->behind)
		wt_plan_entry(plan, entry->behind)->before = entry->before;
	else
		queue->last = entry->before;
	plan->parked_count -= entry->what.priority == PARKED;
}

static void park(struct wt_plan *plan, uint64_t seq)
{
	queue_remove(plan, seq);
	wt_plan_entry(plan, seq)->what.priority = PARKED;
	queue_add(plan, seq);
}

/* Which announcement is due; 0: none waits in a queue. */
static uint64_t due(const struct wt_plan *plan)
{
	for (unsigned priority = PRIORITIES; priority-- > WT_PRIORITY_BULK;)
		if (plan->queues[priority].first)
			return plan->queues[priority].first;
	return 0;
}

int wt_plan_announce(struct wt_plan *plan, uint64_t seq, const struct wt_announcement *what)
{
	const struct wt_extent *extent = &what->extent;
	struct entry *entry = wt_plan_entry(plan, seq);
	uint64_t pages;

	if (seq != plan->next_seq || extent->block >= plan->blocks || !extent->pages)
		return -EPROTO;
	if (what->content < WT_CONTENT_IN_PLACE || what->content > WT_CONTENT_IN_PLACE_DIGESTED ||
		what->priority < WT_PRIORITY_BULK || what->priority > WT_PRIORITY_FAULT)
		return -EPROTO;
	if (what->content == WT_CONTENT_IN_PLACE_DIGESTED && extent->pages > WT_PLAN_DIGESTED_PAGES)
		return -EPROTO;
	pages = plan->maps[extent->block].busy.bits;
	if (extent->page >= pages || extent->pages > pages - extent->page)
		return -EPROTO;
	if (plan->next_seq - plan->oldest + plan->ack_count >= WT_LIMIT_PENDING_ENTRIES)
		return -ENOBUFS;
	*entry = (struct entry){
		.what = *what, .left = extent->pages, .awaits = what->content == WT_CONTENT_IN_PLACE_DIGESTED
	};
	entry->what.priority = place_of(plan, extent, what->priority);
	queue_add(plan, seq);
	wt_plan_base_forget(plan, extent);
	wt_pageset_prefetch(&plan->maps[extent->block].busy, extent->page);
	plan->next_seq++;
	return 0;
}

bool wt_plan_awaits(const struct wt_plan *plan, uint64_t seq, struct wt_extent *ret_extent)
{
	const struct entry *entry = &plan->entries[seq % WT_LIMIT_PENDING_ENTRIES];

	if (seq < plan->oldest || seq >= plan->next_seq || !entry->awaits)
		return false;
	*ret_extent = entry->what.extent;
	return true;
}

/* Of the granules that both touch. */
static uint64_t shared_granules(const struct wt_extent *a, const struct wt_extent *b)
{
	uint64_t first = first_granule(a) > first_granule(b) ? first_granule(a) : first_granule(b);
	uint64_t last = last_granule(a) < last_granule(b) ? last_granule(a) : last_granule(b);

	return last - first + 1;
}

/* How often announcements that wait touch the granules of this extent. */
static uint64_t waiting_near(struct wt_plan *plan, const struct wt_extent *extent)
{
	uint64_t count = 0;

	for (uint64_t g = first_granule(extent); g <= last_granule(extent); g++)
		for (unsigned p = 0; p < PRIORITIES; p++)
			count += *waiting_at(plan, (enum wt_priority)p, extent->block, g);
	return count;
}

/* Those that wait near this one have numbers near its own, as a rule; none of them may touch a page of it,
 * and all that were counted must be found. */
bool wt_plan_alone(struct wt_plan *plan, uint64_t seq)
{
	const struct wt_extent *extent = &wt_plan_entry(plan, seq)->what.extent;
	const uint64_t end = extent->page + extent->pages;
	uint64_t left = waiting_near(plan, extent) - shared_granules(extent, extent);
	uint64_t at = seq > plan->oldest + LOOK_MAX ? seq - LOOK_MAX : plan->oldest;

	for (; left && at < plan->next_seq && at <= seq + LOOK_MAX; at++) {
		const struct entry *other = wt_plan_entry(plan, at);
		const struct wt_extent *its = &other->what.extent;

		if (at == seq || other->started == its->pages || !near(its, extent))
			continue;
		if (its->page < end && extent->page < its->page + its->pages)
			return false;
		left -= shared_granules(its, extent);
	}
	return !left && wt_pageset_next(&plan->maps[extent->block].busy, extent->page, end) == end;
}

int wt_plan_digested(struct wt_plan *plan, uint64_t seq, const uint64_t equal[WT_PLAN_DIGESTED_WORDS])
{
	struct entry *entry = wt_plan_entry(plan, seq);

	assert(seq >= plan->oldest && seq < plan->next_seq && entry->awaits);
	entry->awaits = false;
	plan->choice.kind = CHOSE_NOTHING;
	wt_plan_look_again(plan);
	if (!equal)
		return 0;
	entry->equal = malloc(WT_PLAN_DIGESTED_WORDS * sizeof *equal);
	if (!entry->equal)
		return -ENOMEM;
	memcpy(entry->equal, equal, WT_PLAN_DIGESTED_WORDS * sizeof *equal);
	return 0;
}

/* ---- what comes next ---- */

struct wt_work wt_plan_work_skip(const struct wt_work *work, uint32_t pages)
{
	struct wt_work rest = *work;

	rest.extent.page += pages;
	rest.extent.pages -= pages;
	if (work->content == WT_CONTENT_STAGED)
		rest.staged_offset += (uint64_t)pages << WT_PAGE_SHIFT;
	return rest;
}

static bool is_equal(const struct entry *entry, uint32_t page)
{
	return entry->equal && entry->equal[page / 64] >> (page % 64) & 1;
}

/* Cuts the work to pages of which the caller has all, or none. */
static void cut_to_alike(const struct entry *entry, uint64_t seq, struct wt_work *work)
{
	bool equal = is_equal(entry, entry->started);
	uint32_t pages = 1;

	while (pages < work->extent.pages && is_equal(entry, entry->started + pages) == equal)
		pages++;
	work->extent.pages = pages;
	work->content = equal ? WT_CONTENT_IN_PLACE_DIGESTED : WT_CONTENT_IN_PLACE;
	work->seq = equal ? seq : 0;
}

/* The next pages of an entry, up to the first busy one: 0 pages if that is the very next, or if it awaits its
 * digests. */
static struct wt_work entry_next(struct wt_plan *plan, uint64_t seq)
{
	const struct entry *entry = wt_plan_entry(plan, seq);
	struct wt_work all = { .content = entry->what.content,
		.extent = entry->what.extent,
		.staged_offset = entry->what.staged_offset };
	struct wt_work work = wt_plan_work_skip(&all, entry->started);
	struct wt_extent *extent = &work.extent;
	uint64_t busy;

	if (entry->awaits) {
		extent->pages = 0;
		return work;
	}
	if (work.content == WT_CONTENT_IN_PLACE_DIGESTED)
		cut_to_alike(entry, seq, &work);
	if (extent->pages > PEEK_PAGES)
		extent->pages = PEEK_PAGES;
	busy = wt_pageset_next(&plan->maps[extent->block].busy, extent->page, extent->page + extent->pages);
	extent->pages = (uint32_t)(busy - extent->page);
	return work;
}

/* Cuts the extent before the first granule in which more than `known` are parked. */
static void cut_before_parked(struct wt_plan *plan, struct wt_extent *extent, unsigned known)
{
	if (plan->parked_count <= known || !extent->pages)
		return;
	for (uint64_t g = first_granule(extent); g <= last_granule(extent); g++) {
		if (*waiting_at(plan, PARKED, extent->block, g) <= known)
			continue;
		extent->pages =
			g == first_granule(extent) ? 0 : (uint32_t)((g << GRANULE_SHIFT) - extent->page);
		return;
	}
}

/* No near one is parked before this one, as far as that can be seen with little effort. */
static bool first_of_its_place(
	struct wt_plan *plan, const struct entry *entry, const struct wt_extent *extent)
{
	uint64_t before = entry->before;

	for (unsigned i = 0; before && i < LOOK_MAX; i++, before = wt_plan_entry(plan, before)->before)
		if (near(&wt_plan_entry(plan, before)->what.extent, extent))
			return false;
	return !before;
}

static bool find_parked(struct wt_plan *plan, struct choice *ret_choice)
{
	for (unsigned i = 0; plan->look_at && i < LOOK_MAX; i++) {
		struct entry *entry = wt_plan_entry(plan, plan->look_at);
		struct wt_work work = entry_next(plan, plan->look_at);
		struct wt_extent all = work.extent;

		cut_before_parked(plan, &work.extent, 1);
		if (!work.extent.pages && all.pages && first_of_its_place(plan, entry, &all))
			work.extent = all;
		if (work.extent.pages) {
			*ret_choice =
				(struct choice){ .kind = CHOSE_ENTRY, .seq = plan->look_at, .work = work };
			return true;
		}
		plan->look_at = entry->behind;
	}
	return false;
}

bool wt_plan_find_announced(struct wt_plan *plan, struct choice *ret_choice)
{
	if (plan->retry_count) {
		const struct repeat *repeat = &plan->retries[plan->retry_count - 1];

		*ret_choice =
			(struct choice){ .kind = CHOSE_REPEAT, .seq = repeat->seq, .work = repeat->work };
		return true;
	}
	if (find_parked(plan, ret_choice))
		return true;
	for (uint64_t seq = due(plan); seq; seq = due(plan)) {
		struct wt_work work = entry_next(plan, seq);

		cut_before_parked(plan, &work.extent, 0);
		if (work.extent.pages) {
			*ret_choice = (struct choice){ .kind = CHOSE_ENTRY, .seq = seq, .work = work };
			return true;
		}
		park(plan, seq);
	}
	return false;
}

void wt_plan_look_again(struct wt_plan *plan)
{
	plan->look_at = plan->queues[PARKED].first;
}

void wt_plan_entry_start(struct wt_plan *plan, uint64_t seq, uint32_t pages)
{
	struct entry *entry = wt_plan_entry(plan, seq);
	bool parked = entry->what.priority == PARKED;

	entry->started += pages;
	if (entry->started < entry->what.extent.pages)
		return;
	free(entry->equal);
	entry->equal = NULL;
	queue_remove(plan, seq);
	if (parked)
		wt_plan_look_again(plan);
}

/* ---- what has landed ---- */

static void ack(struct wt_plan *plan, uint64_t seq)
{
	struct wt_seq_range *last = plan->ack_count ? &plan->acks[plan->ack_count - 1] : NULL;

	if (last && last->first + last->count == seq)
		last->count++;
	else
		plan->acks[plan->ack_count++] = (struct wt_seq_range){ seq, 1 };
}

void wt_plan_entry_landed(struct wt_plan *plan, uint64_t seq, uint32_t pages)
{
	struct entry *entry = wt_plan_entry(plan, seq);

	entry->left -= pages;
	if (entry->left)
		return;
	ack(plan, seq);
	while (plan->oldest < plan->next_seq && !wt_plan_entry(plan, plan->oldest)->left)
		plan->oldest++;
}

unsigned wt_plan_acks(struct wt_plan *plan, struct wt_seq_range *ret_ranges, unsigned max)
{
	unsigned n = plan->ack_count < max ? plan->ack_count : max;

	for (unsigned i = 0; i < n; i++)
		ret_ranges[i] = plan->acks[plan->ack_count - n + i];
	plan->ack_count -= n;
	return n;
}

bool wt_plan_acks_left(const struct wt_plan *plan)
{
	return plan->ack_count;
}

bool wt_plan_idle(const struct wt_plan *plan)
{
	return plan->oldest == plan->next_seq && !plan->wanted && !plan->base_ops;
}

uint64_t wt_plan_next_seq(const struct wt_plan *plan)
{
	return plan->next_seq;
}

bool wt_plan_valid(const struct wt_plan *plan)
{
	uint64_t wanted = 0;

	for (unsigned i = 0; i < plan->blocks; i++) {
		const struct block_maps *maps = &plan->maps[i];
		struct wt_pageset_query both = { .in = { &maps->wanted, &maps->busy }, .ins = 2 };
		uint64_t end;

		if (!wt_pageset_valid(&maps->wanted) || !wt_pageset_valid(&maps->busy))
			return false;
		if (wt_pageset_run(&both, 0, maps->busy.bits, 1, &end) != maps->busy.bits)
			return false;
		for (unsigned server = 1; server < WT_PLAN_SERVERS; server++)
			if (plan->servers[server].added && !wt_pageset_valid(&maps->has[server]))
				return false;
		for (uint64_t seq = plan->oldest; seq < plan->next_seq; seq++) {
			const struct entry *entry = &plan->entries[seq % WT_LIMIT_PENDING_ENTRIES];
			const struct wt_extent *e = &entry->what.extent;

			/* Whatever has not landed is newer than the base. */
			if (!entry->left || e->block != i)
				continue;
			if (wt_pageset_next(&maps->wanted, e->page, e->page + e->pages) != e->page + e->pages)
				return false;
			for (unsigned server = 1; server < WT_PLAN_SERVERS; server++)
				if (plan->servers[server].added &&
					wt_pageset_next(&maps->has[server], e->page, e->page + e->pages) !=
						e->page + e->pages)
					return false;
		}
		wanted += maps->wanted.count;
	}
	return wanted == plan->wanted;
}

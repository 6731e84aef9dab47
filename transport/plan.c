/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * plan.c - the puller's plan. See plan.h for the invariants.
 *
 * Entries (announcements that have not landed) sit in a ring indexed by sequence number. Those that are not
 * started in full are in the queue of their priority. `waiting` counts them by priority and by granule of the
 * memory that they touch, hashed: a collision only makes an announcement wait its turn without need.
 * Operations refer to their entry; failed ones go to a stack of repetitions that is served first. Landed
 * numbers are gathered as ranges until they are fetched.
 */
#include "plan.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* Looking further ahead than one operation can take would make long extents quadratic. */
#define PEEK_PAGES 4096u
/* Outstanding operations and repetitions together: a repetition may be split, and the pieces may fail. */
#define LOAD_MAX (2 * WT_PLAN_OPS)
#define RETRIES_MAX (LOAD_MAX + 1)

/* Waiting is counted by granules of so many pages, in so many counters. */
#define GRANULE_SHIFT 6
#define COUNTERS_SHIFT 15
#define PRIORITIES (WT_PRIORITY_FAULT + 1)

struct entry {
	struct wt_announcement what; /* priority: that by which it waits */
	uint64_t behind;             /* sequence number of the next one in the queue, 0: none */
	uint32_t started;            /* pages */
	uint32_t left;               /* pages that have not landed */
};

/* Sequence numbers; first 0: empty. */
struct queue {
	uint64_t first, last;
};

struct op {
	uint64_t seq;
	struct wt_work work;
	bool used;
};

struct wt_plan {
	uint64_t next_seq;
	uint64_t oldest;
	struct entry entries[WT_PENDING_ENTRIES];
	struct queue queues[PRIORITIES];
	uint32_t waiting[PRIORITIES][1u << COUNTERS_SHIFT];

	struct op ops[WT_PLAN_OPS];
	unsigned free_ops[WT_PLAN_OPS];
	unsigned free_count;

	struct op retries[RETRIES_MAX]; /* pages of these stay busy */
	unsigned retry_count;

	struct wt_seq_range acks[WT_PENDING_ENTRIES];
	unsigned ack_count;

	unsigned blocks;
	struct block_maps {
		struct wt_bitmap busy, landed;
	} maps[];
};

int wt_plan_open(unsigned blocks, const uint64_t *block_pages, struct wt_plan **ret_plan)
{
	struct wt_plan *plan = calloc(1, sizeof *plan + blocks * sizeof plan->maps[0]);

	if (!plan)
		return -ENOMEM;
	plan->next_seq = plan->oldest = 1;
	for (unsigned i = 0; i < WT_PLAN_OPS; i++)
		plan->free_ops[plan->free_count++] = WT_PLAN_OPS - 1 - i;
	for (; plan->blocks < blocks; plan->blocks++) {
		struct block_maps *maps = &plan->maps[plan->blocks];

		if (wt_bitmap_open(&maps->busy, block_pages[plan->blocks]) ||
			wt_bitmap_open(&maps->landed, block_pages[plan->blocks])) {
			plan->blocks++;
			wt_plan_close(plan);
			return -ENOMEM;
		}
	}
	*ret_plan = plan;
	return 0;
}

void wt_plan_close(struct wt_plan *plan)
{
	if (!plan)
		return;
	for (unsigned i = 0; i < plan->blocks; i++) {
		wt_bitmap_close(&plan->maps[i].busy);
		wt_bitmap_close(&plan->maps[i].landed);
	}
	free(plan);
}

static struct entry *entry_of(struct wt_plan *plan, uint64_t seq)
{
	return &plan->entries[seq % WT_PENDING_ENTRIES];
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

/* The lowest priority of what waits near the extent, at most the one given. */
static enum wt_priority lowest_near(
	struct wt_plan *plan, const struct wt_extent *extent, enum wt_priority priority)
{
	for (uint64_t g = first_granule(extent); g <= last_granule(extent); g++)
		for (unsigned lower = WT_PRIORITY_BULK; lower < priority; lower++)
			if (*waiting_at(plan, (enum wt_priority)lower, extent->block, g))
				priority = (enum wt_priority)lower;
	return priority;
}

static void queue_add(struct wt_plan *plan, uint64_t seq)
{
	struct entry *entry = entry_of(plan, seq);
	const struct wt_extent *extent = &entry->what.extent;
	struct queue *queue = &plan->queues[entry->what.priority];

	for (uint64_t g = first_granule(extent); g <= last_granule(extent); g++)
		++*waiting_at(plan, entry->what.priority, extent->block, g);
	if (queue->first)
		entry_of(plan, queue->last)->behind = seq;
	else
		queue->first = seq;
	queue->last = seq;
}

/* The first one of a queue is started in full. */
static void queue_pop(struct wt_plan *plan, const struct entry *entry)
{
	const struct wt_extent *extent = &entry->what.extent;

	for (uint64_t g = first_granule(extent); g <= last_granule(extent); g++)
		--*waiting_at(plan, entry->what.priority, extent->block, g);
	plan->queues[entry->what.priority].first = entry->behind;
}

/* Which announcement is due; 0: none waits. */
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
	struct entry *entry = entry_of(plan, seq);
	uint64_t bits;

	if (seq != plan->next_seq || extent->block >= plan->blocks || !extent->pages)
		return -EPROTO;
	if (what->content < WT_CONTENT_IN_PLACE || what->content > WT_CONTENT_STAGED ||
		what->priority < WT_PRIORITY_BULK || what->priority > WT_PRIORITY_FAULT)
		return -EPROTO;
	bits = plan->maps[extent->block].busy.bits;
	if (extent->page >= bits || extent->pages > bits - extent->page)
		return -EPROTO;
	if (plan->next_seq - plan->oldest + plan->ack_count >= WT_PENDING_ENTRIES)
		return -ENOBUFS;
	*entry = (struct entry){ .what = *what, .left = extent->pages };
	entry->what.priority = lowest_near(plan, extent, what->priority);
	queue_add(plan, seq);
	plan->next_seq++;
	return 0;
}

/* The work that begins `pages` into another one. */
static struct wt_work work_skip(const struct wt_work *work, uint32_t pages)
{
	struct wt_work rest = *work;

	rest.extent.page += pages;
	rest.extent.pages -= pages;
	if (work->content == WT_CONTENT_STAGED)
		rest.staged_offset += (uint64_t)pages << WT_PAGE_SHIFT;
	return rest;
}

static struct wt_work entry_rest(const struct entry *entry)
{
	struct wt_work all = { .content = entry->what.content,
		.extent = entry->what.extent,
		.staged_offset = entry->what.staged_offset };

	return work_skip(&all, entry->started);
}

bool wt_plan_peek(struct wt_plan *plan, struct wt_work *ret_work)
{
	struct wt_work work;
	const struct wt_bitmap *busy;
	uint64_t seq = due(plan), end, blocked;

	if (plan->retry_count) {
		*ret_work = plan->retries[plan->retry_count - 1].work;
		return true;
	}
	if (!seq)
		return false;
	work = entry_rest(entry_of(plan, seq));
	if (work.extent.pages > PEEK_PAGES)
		work.extent.pages = PEEK_PAGES;
	busy = &plan->maps[work.extent.block].busy;
	end = work.extent.page + work.extent.pages;
	blocked = wt_bitmap_next_set(busy, work.extent.page, end);
	if (blocked == work.extent.page)
		return false;
	work.extent.pages = (uint32_t)(blocked - work.extent.page);
	*ret_work = work;
	return true;
}

/* Takes the first pages of the newest repetition; its pages are busy already. */
static struct op take_retry(struct wt_plan *plan, uint32_t pages)
{
	struct op *retry = &plan->retries[plan->retry_count - 1];
	struct op taken = *retry;

	assert(pages && pages <= retry->work.extent.pages);
	taken.work.extent.pages = pages;
	if (pages == retry->work.extent.pages)
		plan->retry_count--;
	else
		retry->work = work_skip(&retry->work, pages);
	return taken;
}

static struct op take_entry(struct wt_plan *plan, uint32_t pages)
{
	uint64_t seq = due(plan);
	struct entry *entry = entry_of(plan, seq);
	struct op taken = { .seq = seq, .work = entry_rest(entry) };
	struct block_maps *maps = &plan->maps[taken.work.extent.block];

	assert(pages && pages <= taken.work.extent.pages);
	taken.work.extent.pages = pages;
	wt_bitmap_set(&maps->busy, taken.work.extent.page, pages);
	wt_bitmap_clear(&maps->landed, taken.work.extent.page, pages);
	entry->started += pages;
	if (entry->started == entry->what.extent.pages)
		queue_pop(plan, entry);
	return taken;
}

/*
 * Every outstanding operation may fail, so only splitting a repetition adds to the load. At the limit one
 * split goes on, alone: its piece succeeds, or fails and is joined to its rest again.
 */
static bool may_take(const struct wt_plan *plan, uint32_t pages)
{
	unsigned outstanding = wt_plan_outstanding(plan);

	if (!plan->free_count || outstanding + plan->retry_count > LOAD_MAX)
		return false;
	if (!plan->retry_count || pages == plan->retries[plan->retry_count - 1].work.extent.pages)
		return true;
	return outstanding + plan->retry_count < LOAD_MAX || !outstanding;
}

int wt_plan_take(struct wt_plan *plan, uint32_t pages)
{
	unsigned id;

	if (!may_take(plan, pages))
		return -EAGAIN;
	id = plan->free_ops[--plan->free_count];
	plan->ops[id] = plan->retry_count ? take_retry(plan, pages) : take_entry(plan, pages);
	plan->ops[id].used = true;
	return (int)id;
}

static void ack(struct wt_plan *plan, uint64_t seq)
{
	struct wt_seq_range *last = plan->ack_count ? &plan->acks[plan->ack_count - 1] : NULL;

	if (last && last->first + last->count == seq)
		last->count++;
	else
		plan->acks[plan->ack_count++] = (struct wt_seq_range){ seq, 1 };
}

/* To be pulled again: joined to the newest repetition if it lies right before it. */
static void repeat(struct wt_plan *plan, const struct op *op)
{
	struct op *next = plan->retry_count ? &plan->retries[plan->retry_count - 1] : NULL;
	const struct wt_extent *extent = &op->work.extent;

	if (next && next->seq == op->seq && extent->page + extent->pages == next->work.extent.page) {
		uint32_t pages = extent->pages + next->work.extent.pages;

		*next = *op;
		next->work.extent.pages = pages;
		return;
	}
	assert(plan->retry_count < RETRIES_MAX);
	plan->retries[plan->retry_count++] = *op;
}

void wt_plan_done(struct wt_plan *plan, unsigned id, int status)
{
	struct op *op = &plan->ops[id];
	const struct wt_extent *extent = &op->work.extent;
	struct block_maps *maps;
	struct entry *entry;

	assert(id < WT_PLAN_OPS && op->used);
	maps = &plan->maps[extent->block];
	entry = entry_of(plan, op->seq);
	op->used = false;
	plan->free_ops[plan->free_count++] = id;
	if (status) {
		repeat(plan, op);
		return;
	}
	wt_bitmap_clear(&maps->busy, extent->page, extent->pages);
	wt_bitmap_set(&maps->landed, extent->page, extent->pages);
	entry->left -= extent->pages;
	if (!entry->left)
		ack(plan, op->seq);
	while (plan->oldest < plan->next_seq && !entry_of(plan, plan->oldest)->left)
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

bool wt_plan_idle(const struct wt_plan *plan)
{
	return plan->oldest == plan->next_seq;
}

unsigned wt_plan_outstanding(const struct wt_plan *plan)
{
	return WT_PLAN_OPS - plan->free_count;
}

uint64_t wt_plan_next_seq(const struct wt_plan *plan)
{
	return plan->next_seq;
}

const struct wt_bitmap *wt_plan_landed(const struct wt_plan *plan, unsigned block)
{
	return &plan->maps[block].landed;
}

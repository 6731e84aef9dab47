/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * plan_internal.h - what the files of the plan share: plan.c (announcements), plan_base.c (the base),
 * plan_ops.c (operations), plan_paths.c (rates, budgets, limits).
 */
#ifndef WT_PLAN_INTERNAL_H
#define WT_PLAN_INTERNAL_H

#include "pageset.h"
#include "plan.h"
#include "rate.h"

/* Outstanding operations and repetitions together: a repetition may be split, and the pieces may fail. */
#define LOAD_MAX (2 * WT_PLAN_OPS)
#define RETRIES_MAX (LOAD_MAX + 1)

/* Waiting is counted by granules of so many pages, in so many counters. */
#define GRANULE_SHIFT 6
#define COUNTERS_SHIFT 15
#define PRIORITIES (WT_PRIORITY_FAULT + 1)
/* Those that are parked are counted, and queued, in place of a priority. */
#define PARKED WT_PRIORITY_INVALID

#define CLAIMS_MAX 64u
#define ASKS_MAX 8u

struct entry {
	struct wt_announcement what; /* priority: that by which it waits */
	uint64_t behind, before;     /* sequence numbers of its neighbours in the queue, 0: none */
	uint32_t started;            /* pages */
	uint32_t left;               /* pages that have not landed */
	bool awaits;                 /* its digests */
	uint64_t *equal; /* of a digested one, while it is not started in full; NULL: no page is */
};

/* Sequence numbers; first 0: empty. */
struct queue {
	uint64_t first, last;
};

enum op_kind { OP_NONE, OP_ANNOUNCED, OP_BASE, OP_BOUNCE };

struct op {
	enum op_kind kind; /* OP_NONE: free */
	unsigned path;     /* or WT_PLAN_NO_PATH */
	uint64_t seq;      /* announced: its entry; base: what was announced from this number on is newer */
	uint64_t taken_ns, expected_ns; /* expected: when it should be done */
	unsigned claim;                 /* bounce */
	struct wt_work work;
};

struct repeat {
	uint64_t seq;
	struct wt_work work;
};

/* What the last peek has chosen. */
enum choice_kind { CHOSE_NOTHING, CHOSE_REPEAT, CHOSE_ENTRY, CHOSE_BASE, CHOSE_HEDGE };

struct choice {
	enum choice_kind kind;
	unsigned path, claim;
	uint64_t seq;
	struct wt_work work;
};

/* A search through all blocks, round and round: `left` pages are to be looked at yet. */
struct cursor {
	uint32_t block;
	uint64_t page, left;
};

/* Pages that are on the way into bounce buffers. */
struct claim {
	unsigned ops;   /* 0: free */
	unsigned op[2]; /* the second one only if there are two */
	struct wt_extent extent;
};

struct path {
	bool used, closing;
	unsigned server;
	wt_plan_reach reach;
	void *reach_arg;
	struct cursor alone, shared; /* for what only this server has; for all that it has */

	uint64_t flight;          /* bytes under way */
	uint64_t since_ns;        /* the last success, or when it began to have something under way */
	uint64_t success_ns;      /* the last one, 0: none */
	uint64_t window_start_ns; /* of measuring the rate; moved on by the time without anything under way */
	uint64_t idle_since_ns, window_bytes;
	uint64_t rate;         /* bytes per second, 0: unknown */
	uint64_t least_ns;     /* how long an operation takes at least */
	uint64_t era_start_ns; /* of measuring that anew */
	uint64_t era_least_ns;
};

struct server {
	bool added;
	unsigned paths;
	struct wt_rate limit;
	uint64_t paid; /* bytes, for equal shares of the common limit */
	bool hungry;   /* was held up by a limit */
};

struct wt_plan {
	uint64_t next_seq;
	uint64_t oldest;
	struct entry entries[WT_LIMIT_PENDING_ENTRIES];
	struct queue queues[PRIORITIES];
	uint32_t waiting[PRIORITIES][1u << COUNTERS_SHIFT];
	unsigned parked_count;
	uint64_t look_at; /* the parked one to be looked at next, 0: none can be started */

	struct op ops[WT_PLAN_OPS];
	unsigned free_ops[WT_PLAN_OPS];
	unsigned free_count;
	unsigned announced_ops, base_ops; /* outstanding */

	struct repeat retries[RETRIES_MAX]; /* pages of these stay busy */
	unsigned retry_count;

	struct wt_seq_range acks[WT_LIMIT_PENDING_ENTRIES];
	unsigned ack_count;

	bool draining, bounce, orphaned;
	enum wt_plan_policy policy; /* 0: the base is not complete */
	uint64_t wanted;            /* pages */
	uint64_t ahead;             /* pages that server 0 is expected to announce still */
	uint64_t base_flight;       /* pages that are on the way into place */
	struct claim claims[CLAIMS_MAX];
	unsigned claim_count;
	struct wt_extent asks[ASKS_MAX]; /* pages 0: free */
	struct cursor ask;

	struct path paths[WT_PLAN_PATHS];
	unsigned path_count;
	uint64_t rates; /* of all paths together */
	struct server servers[WT_PLAN_SERVERS];
	struct wt_rate limit;

	struct choice choice;

	uint64_t pages; /* of all blocks */
	unsigned blocks;
	struct block_maps {
		bool announcer_reads;
		struct wt_pageset busy, wanted, has[WT_PLAN_SERVERS]; /* has: [0] is not used */
	} maps[];
};

static inline uint64_t wt_work_bytes(const struct wt_work *work)
{
	return wt_work_is_local(work) ? 0 : (uint64_t)work->extent.pages << WT_PAGE_SHIFT;
}

static inline struct entry *wt_plan_entry(struct wt_plan *plan, uint64_t seq)
{
	return &plan->entries[seq % WT_LIMIT_PENDING_ENTRIES];
}

/* plan.c */
struct wt_work wt_plan_work_skip(const struct wt_work *work, uint32_t pages);
/* The announced work that comes next; false: none. */
bool wt_plan_find_announced(struct wt_plan *plan, struct choice *ret_choice);
/* The chosen entry's next pages are started. */
void wt_plan_entry_start(struct wt_plan *plan, uint64_t seq, uint32_t pages);
void wt_plan_entry_landed(struct wt_plan *plan, uint64_t seq, uint32_t pages);
/* Some pages are not busy any more. */
void wt_plan_look_again(struct wt_plan *plan);

/* plan_base.c */
bool wt_plan_find_base(struct wt_plan *plan, unsigned path, uint64_t now_ns, struct choice *ret_choice);
/* An announcement supersedes the base. */
void wt_plan_base_forget(struct wt_plan *plan, const struct wt_extent *extent);
/* A transfer of the base into place has failed. */
void wt_plan_base_again(struct wt_plan *plan, const struct op *op);
/* These pages may be looked for again. */
void wt_plan_base_look(struct wt_plan *plan, const struct wt_extent *extent);
void wt_plan_base_look_everywhere(struct wt_plan *plan);
void wt_plan_path_start_at(struct wt_plan *plan, struct path *path);
bool wt_plan_find_action(struct wt_plan *plan, struct wt_plan_action *ret_action);
int wt_plan_claim_add(struct wt_plan *plan, unsigned op);
void wt_plan_claim_drop(struct wt_plan *plan, unsigned claim, unsigned op, bool look);

/* plan_paths.c */
uint64_t wt_path_budget(const struct path *path, uint64_t now_ns);
void wt_path_started(struct path *path, struct op *op, uint64_t now_ns);
void wt_path_ended(struct wt_plan *plan, struct path *path, const struct op *op, int status, uint64_t now_ns);
/* When the path counts as stalled if nothing completes. */
uint64_t wt_path_patience_end_ns(const struct path *path);
bool wt_plan_find_stalled(struct wt_plan *plan, uint64_t now_ns, struct wt_plan_action *ret_action);
/* Whether the limits let this server begin something; hungry: it has something to begin. */
bool wt_plan_may_pay(struct wt_plan *plan, unsigned server, uint64_t now_ns);
void wt_plan_pay(struct wt_plan *plan, unsigned server, uint64_t bytes, uint64_t now_ns);

#endif

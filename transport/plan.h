/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * plan.h - the puller's planning: which extent is pulled next, from which server, over which path; what has
 * landed; what to acknowledge.
 *
 * Server 0 announces. Servers 1 to 7 are helpers: they hold pages of the *base*, which is what was announced
 * in an earlier session and not since. A page of the base that is missing here is *wanted*.
 *
 *   I1. No page is wanted and busy.
 *   I2. A helper has a page only where the base said so and nothing was announced since.
 *   I3. At most one transfer into a page is under way: busy from the take of an operation until it is done,
 * and if it belongs to an announcement and failed, until its repetition is done.
 *   I4. An announcement of a page takes it out of what is wanted and out of what any helper has.
 *   I5. Idle: every announcement has landed, nothing is wanted, nothing writes a page.
 *
 * Announcements are started in the order of their priority, and within one in the order of their numbers. One
 * that is near to an older one of lower priority that waits gets that lower priority: so two announcements of
 * one page are never started out of order. One that is due and touches a busy page is *parked*: others go on,
 * except what is announced near it. A sequence number is acknowledged once, after all its pages have landed.
 * Repetitions come first, then what was parked, then what is due, then the base.
 *
 * Pages of the base go to whoever asks first: each path may have as many bytes under way as its measured rate
 * carries in some 20 ms, so that all paths end together. Near the end transfers of the base go into *bounce*
 * buffers: the page stays wanted and is not busy, a path that has nothing else to do may pull the same pages
 * a second time, and wt_plan_settle says which pages are still to be copied into place.
 *
 * An announcement of IN_PLACE_DIGESTED content waits, like one that touches a busy page, until
 * wt_plan_digested has said which of its pages the caller has already. Those are then work of this content,
 * for which no path is needed and which the caller does at once; the others are work as of IN_PLACE.
 *
 * staged_offset counts from the beginning of the session; the ring's size is the server's business.
 *
 * Pure: no I/O, no clock, no threads. Two bits per page and one for each helper; no operation takes time per
 * page.
 */
#ifndef WT_PLAN_H
#define WT_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/block.h>

#include "announce.h"

#define WT_PLAN_OPS 4096u /* operations outstanding at most */
#define WT_PLAN_SERVERS 8u
#define WT_PLAN_PATHS 64u
#define WT_PLAN_NO_PATH UINT32_MAX              /* in place of a path: zeros only, for which none is needed */
#define WT_PLAN_ALL UINT32_MAX                  /* in place of a server */
#define WT_PLAN_BASE_PAGES 256u                 /* of one operation of the base at most */
#define WT_PLAN_COPIES (WT_PLAN_BASE_PAGES / 2) /* runs that one settle answers, at most */
#define WT_PLAN_DIGESTED_PAGES 256u             /* of one announcement with digests, at most */
#define WT_PLAN_DIGESTED_WORDS (WT_PLAN_DIGESTED_PAGES / 64)

struct wt_plan;

enum wt_plan_policy {
	WT_PLAN_FASTEST = 1,
	WT_PLAN_SPARE_ANNOUNCER = 2, /* server 0 serves only what no helper has */
};

struct wt_plan_block {
	uint64_t pages;
	bool announcer_reads; /* server 0 serves the whole block in place, or can announce any page of it */
};

/* A piece of work: the whole or the rest of an announcement, something to repeat, or pages of the base. */
struct wt_work {
	enum wt_content content;
	bool bounce; /* it must not go into the pages; see wt_plan_settle */
	struct wt_extent extent;
	uint64_t staged_offset; /* of the extent's first byte; STAGED only */
	uint64_t seq;           /* of its announcement; IN_PLACE_DIGESTED only */
};

/* Work that the caller does here and at once: no path is needed. */
static inline bool wt_work_is_local(const struct wt_work *work)
{
	return work->content == WT_CONTENT_ZERO || work->content == WT_CONTENT_IN_PLACE_DIGESTED;
}

struct wt_seq_range {
	uint64_t first, count;
};

enum wt_plan_act {
	WT_PLAN_CLOSE_PATH = 1, /* it has stalled: close it, then give back its operations, then remove it */
	WT_PLAN_ASK = 2,        /* no path of server 0 can read these: it shall announce them */
	WT_PLAN_ORPHANED = 3,   /* nobody has these any more */
};

struct wt_plan_action {
	enum wt_plan_act act;
	unsigned path;
	struct wt_extent extent;
};

/*
 * How many pages from the work's first on a path can read. 0: none, and so it is for *ret_skip pages; or,
 * with *ret_skip 0: it is not known yet.
 */
typedef uint64_t (*wt_plan_reach)(void *arg, const struct wt_work *work, uint64_t *ret_skip);

int wt_plan_open(unsigned blocks, const struct wt_plan_block *list, struct wt_plan **ret_plan);
void wt_plan_close(struct wt_plan *plan);

/* A helper, 1 to 7. -EINVAL: no such number; -ENOMEM. Does nothing if it is there. */
int wt_plan_server_add(struct wt_plan *plan, unsigned server);
/* It will not come (again); its paths are gone. What only it had is asked for, or orphaned. */
void wt_plan_server_remove(struct wt_plan *plan, unsigned server);

/*
 * The base: these pages are missing here; a helper has these. words NULL: all pages of the range, otherwise
 * those whose bit is set, and range->page is a multiple of 64. has adds the helper. -EPROTO: outside of a
 * block, or after base_end or the first announcement.
 */
int wt_plan_need(struct wt_plan *plan, const struct wt_extent *range, const uint64_t *words);
int wt_plan_has(struct wt_plan *plan, unsigned server, const struct wt_extent *range, const uint64_t *words);
/* The base is complete and may be pulled. -EPROTO: it was already, or the policy is unknown. */
int wt_plan_base_end(struct wt_plan *plan, enum wt_plan_policy policy);
/* Pages of the base that have not landed. */
uint64_t wt_plan_base_left(const struct wt_plan *plan);
/* Copies what is wanted of a block, from a page (a multiple of 64) on, `pages` bits. */
void wt_plan_missing(
	const struct wt_plan *plan, unsigned block, uint64_t page, uint64_t pages, uint64_t *ret_words);

/* Server 0 announces. -EPROTO: seq is not the next one, or the extent is not in a block; -ENOBUFS: too many
 * pending. */
int wt_plan_announce(struct wt_plan *plan, uint64_t seq, const struct wt_announcement *announcement);

/* Whether this announcement waits for its digests, and which pages they are. */
bool wt_plan_awaits(const struct wt_plan *plan, uint64_t seq, struct wt_extent *ret_extent);
/* Whether nothing writes the pages of this announcement, which waits for its digests, and no other one that
 * waits has any of them: then nothing will write them until wt_plan_digested. May answer false without need.
 */
bool wt_plan_alone(struct wt_plan *plan, uint64_t seq);
/* Its digests were compared: a bit for each page that the caller has (NULL: none). It does not wait any more.
 * -ENOMEM: as if the caller had none. */
int wt_plan_digested(struct wt_plan *plan, uint64_t seq, const uint64_t equal[WT_PLAN_DIGESTED_WORDS]);

/* A path to a server: answers its number; -ENOSPC. reach NULL: it reads everything that its server has. */
int wt_plan_path_add(
	struct wt_plan *plan, unsigned server, wt_plan_reach reach, void *reach_arg, uint64_t now_ns);
/* It is silent, and all its operations were given back. */
void wt_plan_path_remove(struct wt_plan *plan, unsigned path);
/* What paths can reach has changed. */
void wt_plan_reach_changed(struct wt_plan *plan);
/* Bytes under way as a part of what may be, in 1024ths; how full the path is. */
unsigned wt_plan_path_load(const struct wt_plan *plan, unsigned path, uint64_t now_ns);
/* Bytes per second from one server, or WT_PLAN_ALL; 0: no limit. Zeros are free. */
void wt_plan_limit(struct wt_plan *plan, unsigned server, uint64_t bytes_per_s, uint64_t now_ns);
/*
 * So many pages server 0 is expected to announce still; at first 0. As long as it takes longer to send these
 * than the helpers take for the rest of the base, it sends nothing of the base that a helper has.
 */
void wt_plan_ahead(struct wt_plan *plan, uint64_t pages);
/* Whether the caller has bounce buffers; without them nothing is pulled twice. At first it has not. */
void wt_plan_bounce(struct wt_plan *plan, bool on);

/* What may be started now over this path; false: nothing. */
bool wt_plan_peek(struct wt_plan *plan, unsigned path, uint64_t now_ns, struct wt_work *ret_work);
/* Starts the first `pages` pages of what the last peek showed, nothing else having been called since; answers
 * the operation's id, -EAGAIN above WT_PLAN_OPS. */
int wt_plan_take(struct wt_plan *plan, unsigned path, uint32_t pages, uint64_t now_ns);
/* The operation is over and will write no more. status 0: its pages have landed (not for bounce); otherwise
 * they are pulled again. */
void wt_plan_done(struct wt_plan *plan, unsigned id, int status, uint64_t now_ns);
/* A bounce operation has succeeded: these runs of its pages (at most WT_PLAN_COPIES) count as landed, and the
 * caller copies them into place before it does anything else. */
unsigned wt_plan_settle(struct wt_plan *plan, unsigned id, struct wt_extent *ret_copies, uint64_t now_ns);

/* What the caller has to do besides; false: nothing (more) now. */
bool wt_plan_tick(struct wt_plan *plan, uint64_t now_ns, struct wt_plan_action *ret_action);
/* When to peek and tick again if nothing happens before; UINT64_MAX: never. */
uint64_t wt_plan_wake_ns(const struct wt_plan *plan, uint64_t now_ns);

/* Nothing is started any more; what is to be repeated stays so. */
void wt_plan_drain(struct wt_plan *plan);
void wt_plan_undrain(struct wt_plan *plan);
/* Nothing is under way. */
bool wt_plan_drained(const struct wt_plan *plan);

/* Sequence numbers that landed since the last call, as ranges; answers how many were written. */
unsigned wt_plan_acks(struct wt_plan *plan, struct wt_seq_range *ret_ranges, unsigned max);
/* Whether there are any. */
bool wt_plan_acks_left(const struct wt_plan *plan);
/* I5. Bounce operations that lost the race may be under way still. */
bool wt_plan_idle(const struct wt_plan *plan);
unsigned wt_plan_outstanding(const struct wt_plan *plan);
uint64_t wt_plan_next_seq(const struct wt_plan *plan);
/* The invariants, as far as the plan itself can tell, hold. Takes time per page; for tests. */
bool wt_plan_valid(const struct wt_plan *plan);

#endif

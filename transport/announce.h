/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * announce.h - the source's record of what it announced and what is still pending.
 *
 *   1. Announcements are numbered 1, 2, 3, ... A pending one is announced and not landed.
 *   2. A pending entry leaves only when its own sequence number has landed, never by page number.
 *   3. Pending entries and pending bytes are bounded: add answers -EAGAIN above (back-pressure).
 *   4. What is announced is entered into the history of the memory, which outlives the log.
 *
 * The bound on pending bytes follows the measured rate of landing, so that what QEMU believes of the link
 * stays true, and so that little is pending when the guest stops: limit = rate x time, within WT_PENDING_MIN
 * and WT_LIMIT_PENDING_BYTES. The time is twice what an announcement took at least to land, within
 * WT_PENDING_TIME_MIN_NS and WT_PENDING_TIME_MAX_NS.
 *
 * A rate limit (rate.h) is on bytes of content; an announcement is a portion. Zero extents are free.
 *
 * Pure: no I/O, no clock, no threads.
 */
#ifndef WT_ANNOUNCE_H
#define WT_ANNOUNCE_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/block.h>
#include <watari/limits.h>

#include "memory.h"
#include "rate.h"

#define WT_PENDING_MIN (4ull << 20)
#define WT_PENDING_TIME_MIN_NS 20000000ull
#define WT_PENDING_TIME_MAX_NS 60000000ull

/* What is pulled first when several extents wait. Lower ones wait while there are higher ones. */
enum wt_priority {
	WT_PRIORITY_INVALID = 0,
	WT_PRIORITY_BULK = 1,  /* announced for the first time */
	WT_PRIORITY_DIRTY = 2, /* announced again */
	WT_PRIORITY_FINAL = 3, /* the guest has stopped: it waits for this */
	WT_PRIORITY_FAULT = 4, /* somebody waits for this very page */
};

struct wt_announcement {
	struct wt_extent extent;
	enum wt_content content;
	enum wt_priority priority;
	uint64_t staged_offset; /* in the ring; STAGED only */
};

struct wt_announce_log;

/* memory: borrowed. Nothing is pending, numbers begin at 1. */
int wt_announce_open(struct wt_memory *memory, struct wt_announce_log **ret_log);
void wt_announce_close(struct wt_announce_log *log);

/* *ret_seq is the announcement's number. -EAGAIN: no room. -EINVAL: outside the block. */
int wt_announce_add(struct wt_announce_log *log, const struct wt_announcement *announcement, uint64_t now_ns,
	uint64_t *ret_seq);
/* Room for at least one more of the largest extents, as far as the bounds on what is pending go. */
bool wt_announce_room(const struct wt_announce_log *log);
/* bytes_per_s 0: no limit. What an earlier limit left of debt is forgiven. */
void wt_announce_rate_limit(struct wt_announce_log *log, uint64_t bytes_per_s, uint64_t now_ns);
/* How long the rate limit lets content wait; 0: it may be announced now. */
uint64_t wt_announce_wait_ns(const struct wt_announce_log *log, uint64_t now_ns);
/* BULK if no page of the extent was announced yet, to whomever, otherwise DIRTY. It lies in a block. */
enum wt_priority wt_announce_priority(const struct wt_announce_log *log, const struct wt_extent *extent);
/* The puller says that these have landed. -EPROTO: one of them is not pending. */
int wt_announce_landed(struct wt_announce_log *log, uint64_t first_seq, uint64_t count, uint64_t now_ns);

/* The oldest pending sequence number; next_seq where nothing is pending. */
uint64_t wt_announce_oldest(const struct wt_announce_log *log);
uint64_t wt_announce_next_seq(const struct wt_announce_log *log);
uint64_t wt_announce_pending_bytes(const struct wt_announce_log *log);
uint64_t wt_announce_pending_limit(const struct wt_announce_log *log);
/* Where the staging ring may be written up to: the offset behind the last STAGED entry that was popped, see
 * server. */
uint64_t wt_announce_staged_free(const struct wt_announce_log *log);
/* An announcement from wt_announce_oldest to before wt_announce_next_seq; answers whether it is pending. */
bool wt_announce_entry(
	const struct wt_announce_log *log, uint64_t seq, struct wt_announcement *ret_announcement);

#endif

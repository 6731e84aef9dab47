/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * announce.c - the announce log: numbering, the pending queue, and the bound on it. See announce.h.
 *
 * The queue is a ring indexed by sequence number. Landing comes out of order and only marks; the front is
 * popped while it is marked, so `oldest` is exact and the ring never moves.
 */
#include "announce.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define WINDOW_NS 10000000ull /* how long landing is counted before the rate is updated */

struct pending {
	struct wt_announcement what;
	uint64_t announced_ns;
	bool landed;
};

struct wt_announce_log {
	uint64_t next_seq;
	uint64_t oldest; /* == next_seq: nothing pending */
	struct pending ring[WT_LIMIT_PENDING_ENTRIES];
	uint64_t pending_bytes;
	uint64_t pending_limit;
	uint64_t staged_free;

	/* Rate of landing, measured over the time in which bytes were pending. */
	uint64_t window_start_ns; /* moved on by the time without */
	uint64_t idle_since_ns;   /* while none are */
	uint64_t window_bytes;
	uint64_t rate;     /* bytes per second, 0: unknown */
	uint64_t least_ns; /* that content took to land; 0: none has */

	struct wt_rate limit;

	struct wt_memory *memory;
};

int wt_announce_open(struct wt_memory *memory, struct wt_announce_log **ret_log)
{
	struct wt_announce_log *log = calloc(1, sizeof *log);

	if (!log)
		return -ENOMEM;
	log->memory = memory;
	log->next_seq = log->oldest = 1;
	log->pending_limit = WT_PENDING_MIN;
	*ret_log = log;
	return 0;
}

void wt_announce_close(struct wt_announce_log *log)
{
	free(log);
}

static struct pending *slot(struct wt_announce_log *log, uint64_t seq)
{
	return &log->ring[seq % WT_LIMIT_PENDING_ENTRIES];
}

/* What an entry counts against the bound: zero extents only occupy a slot. */
static uint64_t entry_bytes(const struct wt_announcement *what)
{
	return what->content == WT_CONTENT_ZERO ? 0 : (uint64_t)what->extent.pages << WT_PAGE_SHIFT;
}

bool wt_announce_room(const struct wt_announce_log *log)
{
	return log->next_seq - log->oldest < WT_LIMIT_PENDING_ENTRIES &&
	       log->pending_bytes < log->pending_limit;
}

void wt_announce_rate_limit(struct wt_announce_log *log, uint64_t bytes_per_s, uint64_t now_ns)
{
	wt_rate_limit(&log->limit, bytes_per_s, now_ns);
}

uint64_t wt_announce_wait_ns(const struct wt_announce_log *log, uint64_t now_ns)
{
	return wt_rate_wait_ns(&log->limit, now_ns);
}

int wt_announce_add(
	struct wt_announce_log *log, const struct wt_announcement *what, uint64_t now_ns, uint64_t *ret_seq)
{
	if (!what->extent.pages || !wt_memory_contains(log->memory, &what->extent))
		return -EINVAL;
	if (!wt_announce_room(log) || (entry_bytes(what) && wt_announce_wait_ns(log, now_ns)))
		return -EAGAIN;

	wt_memory_announced_now(log->memory, &what->extent, what->content == WT_CONTENT_ZERO);
	if (!log->pending_bytes && entry_bytes(what))
		log->window_start_ns += now_ns - log->idle_since_ns;
	*slot(log, log->next_seq) = (struct pending){ .what = *what, .announced_ns = now_ns };
	log->pending_bytes += entry_bytes(what);
	wt_rate_pay(&log->limit, entry_bytes(what), now_ns);
	*ret_seq = log->next_seq++;
	return 0;
}

enum wt_priority wt_announce_priority(const struct wt_announce_log *log, const struct wt_extent *extent)
{
	uint64_t end = extent->page + extent->pages;
	const struct wt_bitmap *announced = wt_memory_announced(log->memory, extent->block);
	bool again = wt_bitmap_next_set(announced, extent->page, end) < end;

	return again ? WT_PRIORITY_DIRTY : WT_PRIORITY_BULK;
}

static uint64_t pending_time_ns(const struct wt_announce_log *log)
{
	uint64_t time_ns = 2 * log->least_ns;

	if (time_ns < WT_PENDING_TIME_MIN_NS)
		return WT_PENDING_TIME_MIN_NS;
	return time_ns < WT_PENDING_TIME_MAX_NS ? time_ns : WT_PENDING_TIME_MAX_NS;
}

static void rate_count(struct wt_announce_log *log, uint64_t bytes, uint64_t now_ns)
{
	uint64_t elapsed_ns = now_ns - log->window_start_ns;
	uint64_t rate, limit;

	log->window_bytes += bytes;
	if (elapsed_ns < WINDOW_NS)
		return;
	rate = (uint64_t)((double)log->window_bytes * 1e9 / (double)elapsed_ns);
	log->rate = log->rate ? (3 * log->rate + rate) / 4 : rate;
	limit = (uint64_t)((double)log->rate * (double)pending_time_ns(log) / 1e9);
	if (limit < WT_PENDING_MIN)
		limit = WT_PENDING_MIN;
	if (limit > WT_LIMIT_PENDING_BYTES)
		limit = WT_LIMIT_PENDING_BYTES;
	log->pending_limit = limit;
	log->window_start_ns = now_ns;
	log->window_bytes = 0;
}

int wt_announce_landed(struct wt_announce_log *log, uint64_t first_seq, uint64_t count, uint64_t now_ns)
{
	uint64_t bytes = 0;

	if (first_seq < log->oldest || first_seq > log->next_seq || count > log->next_seq - first_seq)
		return -EPROTO;
	for (uint64_t seq = first_seq; seq < first_seq + count; seq++) {
		struct pending *entry = slot(log, seq);

		if (entry->landed)
			return -EPROTO;
		entry->landed = true;
		bytes += entry_bytes(&entry->what);
		if (entry_bytes(&entry->what) &&
			(!log->least_ns || now_ns - entry->announced_ns < log->least_ns))
			log->least_ns = now_ns - entry->announced_ns;
	}
	log->pending_bytes -= bytes;
	while (log->oldest < log->next_seq && slot(log, log->oldest)->landed) {
		const struct wt_announcement *what = &slot(log, log->oldest)->what;

		if (what->content == WT_CONTENT_STAGED)
			log->staged_free = what->staged_offset + entry_bytes(what);
		log->oldest++;
	}
	if (bytes) {
		rate_count(log, bytes, now_ns);
		log->idle_since_ns = now_ns;
	}
	return 0;
}

uint64_t wt_announce_oldest(const struct wt_announce_log *log)
{
	return log->oldest;
}

uint64_t wt_announce_next_seq(const struct wt_announce_log *log)
{
	return log->next_seq;
}

uint64_t wt_announce_pending_bytes(const struct wt_announce_log *log)
{
	return log->pending_bytes;
}

uint64_t wt_announce_pending_limit(const struct wt_announce_log *log)
{
	return log->pending_limit;
}

uint64_t wt_announce_staged_free(const struct wt_announce_log *log)
{
	return log->staged_free;
}

bool wt_announce_entry(
	const struct wt_announce_log *log, uint64_t seq, struct wt_announcement *ret_announcement)
{
	const struct pending *entry = &log->ring[seq % WT_LIMIT_PENDING_ENTRIES];

	assert(seq >= log->oldest && seq < log->next_seq);
	*ret_announcement = entry->what;
	return !entry->landed;
}

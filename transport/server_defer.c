/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server_defer.c - pages that are written all the time are announced at the end. See wt_server_defer.
 *
 *   1. A page that waits was announced before, and what the puller has of it is old: it is announced when it
 *      was not written for an epoch, before all else, or when nothing shall wait any more.
 *   2. At most `max` wait, which are pulled when the guest is stopped.
 *   3. They are pending: nothing has all landed before, nor is drained.
 *
 * The loop's thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server_internal.h"

static int blocks_open(struct wt_server *s)
{
	unsigned count = wt_memory_block_count(s->memory);
	struct wt_server_late *late = calloc(1, sizeof *late + count * sizeof late->blocks[0]);
	int r = 0;

	if (!late)
		return -ENOMEM;
	s->late = late;
	for (unsigned i = 0; i < count && !r; i++) {
		uint64_t pages = wt_memory_pages(s->memory, i);

		r = wt_pageset_open(&late->blocks[i].waits, pages);
		for (unsigned e = 0; e < WT_SERVER_EPOCHS && !r; e++)
			r = wt_pageset_open(&late->blocks[i].epochs[e], pages);
	}
	if (r)
		wt_server_defer_close(s);
	return r;
}

void wt_server_defer_close(struct wt_server *s)
{
	if (!s->late)
		return;
	wt_loop_timer_clear(s->loop, &s->late->timer);
	for (unsigned i = 0; i < wt_memory_block_count(s->memory); i++) {
		wt_pageset_close(&s->late->blocks[i].waits);
		for (unsigned e = 0; e < WT_SERVER_EPOCHS; e++)
			wt_pageset_close(&s->late->blocks[i].epochs[e]);
	}
	free(s->late);
	s->late = NULL;
}

uint64_t wt_server_deferred(const struct wt_server *s)
{
	return s->late ? s->late->pages : 0;
}

/* The next run of pages that wait, behind the extent; cold: only those that were not announced lately. */
static bool next_run(const struct wt_server *s, struct wt_extent *extent, bool cold)
{
	uint64_t page = extent->page + extent->pages, end;

	for (; extent->block < wt_memory_block_count(s->memory); extent->block++, page = 0) {
		const struct wt_server_late_block *b = &s->late->blocks[extent->block];
		const struct wt_pageset_query query = { .in = { &b->waits },
			.ins = 1,
			.out = { &b->epochs[0], &b->epochs[1] },
			.outs = cold ? 2 : 0 };

		extent->page = b->waits.count ? wt_pageset_run(&query, page, b->waits.bits, UINT32_MAX, &end)
					      : b->waits.bits;
		if (extent->page == b->waits.bits)
			continue;
		extent->pages = (uint32_t)(end - extent->page);
		return true;
	}
	return false;
}

bool wt_server_deferred_next(const struct wt_server *s, struct wt_extent *extent)
{
	return next_run(s, extent, false);
}

static int announce_waiting(struct wt_server *s, bool cold)
{
	struct wt_extent extent = { 0 };
	int r = 0;

	while (!r && wt_server_deferred(s) && next_run(s, &extent, cold)) {
		struct wt_extent left = extent;

		r = wt_server_announce_extent(s, &left, WT_CONTENT_IN_PLACE, NULL);
	}
	wt_server_flush(s);
	return r;
}

int wt_server_defer_end(struct wt_server *s)
{
	return announce_waiting(s, false);
}

void wt_server_defer_room(struct wt_server *s)
{
	if (!s->late || s->final || (s->late->max && !s->late->cooling))
		return;
	s->late->cooling = announce_waiting(s, s->late->max) == -EAGAIN;
}

void wt_server_defer_announced(struct wt_server *s, const struct wt_extent *extent)
{
	struct wt_server_late_block *b;

	if (!s->late)
		return;
	b = &s->late->blocks[extent->block];
	s->late->pages -= wt_pageset_remove(&b->waits, extent->page, extent->pages);
	if (s->late->max)
		wt_pageset_add(&b->epochs[0], extent->page, extent->pages);
}

/* Takes time for what is in it only. */
static void empty(struct wt_pageset *set)
{
	uint64_t page = 0;

	while (set->count) {
		uint64_t first = wt_pageset_next(set, page, set->bits);

		page = wt_pageset_next_gap(set, first, set->bits);
		wt_pageset_remove(set, first, page - first);
	}
}

static void turn_sets(struct wt_server *s)
{
	for (unsigned i = 0; i < wt_memory_block_count(s->memory); i++) {
		struct wt_server_late_block *b = &s->late->blocks[i];
		struct wt_pageset oldest = b->epochs[WT_SERVER_EPOCHS - 1];

		memmove(&b->epochs[1], &b->epochs[0], (WT_SERVER_EPOCHS - 1) * sizeof oldest);
		b->epochs[0] = oldest;
		empty(&b->epochs[0]);
	}
}

void wt_server_defer_epoch(struct wt_server *s)
{
	turn_sets(s);
	s->late->cooling = true;
	wt_server_defer_room(s);
}

static void epoch_fired(void *arg, uint64_t now_ns)
{
	struct wt_server *s = arg;

	if (s->link.failed || s->final || !s->late->max)
		return;
	wt_server_defer_epoch(s);
	wt_loop_timer_set(s->loop, &s->late->timer, now_ns + s->late->epoch_ns, epoch_fired, s);
}

static bool is_hot(const struct wt_server_late_block *b, const struct wt_extent *extent)
{
	for (uint64_t page = extent->page; page < extent->page + extent->pages; page++)
		for (unsigned e = 1; e < WT_SERVER_EPOCHS; e++)
			if (!wt_pageset_has(&b->epochs[e], page))
				return false;
	return true;
}

bool wt_server_defer_extent(struct wt_server *s, struct wt_extent *extent)
{
	struct wt_server_late *l = s->late;
	struct wt_server_late_block *b = l ? &l->blocks[extent->block] : NULL;

	if (!l || !l->max || s->final || !is_hot(b, extent) || l->pages + extent->pages > l->max)
		return false;
	wt_pageset_add(&b->epochs[0], extent->page, extent->pages);
	l->pages += wt_pageset_add(&b->waits, extent->page, extent->pages);
	extent->page += extent->pages;
	extent->pages = 0;
	return true;
}

int wt_server_defer(struct wt_server *s, uint64_t pages_max, uint64_t epoch_ns)
{
	int r = pages_max && !s->late ? blocks_open(s) : 0;

	if (!s->late)
		return r;
	s->late->epoch_ns = epoch_ns;
	if (pages_max && !s->late->max)
		wt_loop_timer_set(
			s->loop, &s->late->timer, wt_loop_now_ns(s->loop) + epoch_ns, epoch_fired, s);
	s->late->max = pages_max;
	return pages_max ? 0 : wt_server_defer_end(s);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server_defer.c - pages that are written all the time are announced at the end. See wt_server_defer.
 *
 *   1. A page that waits was announced before, and what the puller has of it is old: it is announced when it
 *      was not written for an epoch, before all else, or when nothing shall wait any more.
 *   2. At most `pages_max` wait, which are pulled when the guest is stopped.
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
		for (unsigned e = 0; e <= WT_SERVER_EPOCHS_MAX && !r; e++)
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
		for (unsigned e = 0; e <= WT_SERVER_EPOCHS_MAX; e++)
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
	if (!s->late || s->final || (s->late->how.pages_max && !s->late->cooling))
		return;
	s->late->cooling = announce_waiting(s, s->late->how.pages_max) == -EAGAIN;
}

void wt_server_defer_announced(struct wt_server *s, const struct wt_extent *extent)
{
	struct wt_server_late_block *b;

	if (!s->late)
		return;
	b = &s->late->blocks[extent->block];
	s->late->pages -= wt_pageset_remove(&b->waits, extent->page, extent->pages);
	if (s->late->how.pages_max)
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
		struct wt_pageset oldest = b->epochs[WT_SERVER_EPOCHS_MAX];

		memmove(&b->epochs[1], &b->epochs[0], WT_SERVER_EPOCHS_MAX * sizeof oldest);
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

	if (s->link.failed || s->final || !s->late->how.pages_max)
		return;
	wt_server_defer_epoch(s);
	wt_loop_timer_set(s->loop, &s->late->timer, now_ns + s->late->how.epoch_ns, epoch_fired, s);
}

/* Was announced in all of the epochs that count. */
static bool is_hot(struct wt_server *s, const struct wt_extent *extent)
{
	const struct wt_server_late_block *b = &s->late->blocks[extent->block];

	for (uint64_t page = extent->page; page < extent->page + extent->pages; page++)
		for (unsigned e = 1; e <= s->late->how.epochs; e++)
			if (!wt_pageset_has(&b->epochs[e], page))
				return false;
	return wt_announce_priority(s->log, extent) == WT_PRIORITY_DIRTY;
}

bool wt_server_defer_extent(struct wt_server *s, struct wt_extent *extent)
{
	struct wt_server_late *l = s->late;

	if (!l || s->final || l->pages + extent->pages > l->how.pages_max || !is_hot(s, extent))
		return false;
	wt_pageset_add(&l->blocks[extent->block].epochs[0], extent->page, extent->pages);
	l->pages += wt_pageset_add(&l->blocks[extent->block].waits, extent->page, extent->pages);
	extent->page += extent->pages;
	extent->pages = 0;
	return true;
}

int wt_server_defer(struct wt_server *s, const struct wt_server_deferral *how)
{
	static const struct wt_server_deferral none = { 0 };
	int r = how && how->pages_max && !s->late ? blocks_open(s) : 0;
	bool begins;

	if (!s->late)
		return r;
	how = how ? how : &none;
	begins = how->pages_max && !s->late->how.pages_max;
	s->late->how = *how;
	if (begins)
		wt_loop_timer_set(
			s->loop, &s->late->timer, wt_loop_now_ns(s->loop) + how->epoch_ns, epoch_fired, s);
	return how->pages_max ? 0 : wt_server_defer_end(s);
}

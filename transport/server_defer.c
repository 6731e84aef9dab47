/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server_defer.c - pages that are announced again and again are announced now and then. See wt_server_defer.
 *
 *   1. A page in a set was announced before, and what the puller has of it is old: it is announced within
 *      LATE_NS, or as soon as there is room.
 *   2. At most LATE_PAGES_MAX wait, which are soon pulled when the guest is stopped.
 *   3. They are pending: nothing has all landed before, nor is drained.
 *
 * The loop's thread.
 */
#include <errno.h>
#include <stdlib.h>

#include "server_internal.h"

#define LATE_NS 50000000ull
#define LATE_AGAIN_NS 5000000ull
#define LATE_PAGES_MAX 2048u

static int sets_open(struct wt_server *s)
{
	unsigned count = wt_memory_block_count(s->memory);
	struct wt_server_late *late = calloc(1, sizeof *late + count * sizeof late->sets[0]);

	if (!late)
		return -ENOMEM;
	s->late = late;
	for (unsigned i = 0; i < count; i++)
		if (wt_pageset_open(&late->sets[i], wt_memory_pages(s->memory, i))) {
			wt_server_defer_close(s);
			return -ENOMEM;
		}
	return 0;
}

void wt_server_defer_close(struct wt_server *s)
{
	if (!s->late)
		return;
	wt_loop_timer_clear(s->loop, &s->late->timer);
	for (unsigned i = 0; i < wt_memory_block_count(s->memory); i++)
		wt_pageset_close(&s->late->sets[i]);
	free(s->late);
	s->late = NULL;
}

uint64_t wt_server_deferred(const struct wt_server *s)
{
	return s->late ? s->late->pages : 0;
}

bool wt_server_deferred_next(const struct wt_server *s, struct wt_extent *extent)
{
	uint64_t page = extent->page + extent->pages;

	for (; extent->block < wt_memory_block_count(s->memory); extent->block++, page = 0) {
		const struct wt_pageset *set = &s->late->sets[extent->block];

		extent->page = set->count ? wt_pageset_next(set, page, set->bits) : set->bits;
		if (extent->page == set->bits)
			continue;
		extent->pages = (uint32_t)(wt_pageset_next_gap(set, extent->page, set->bits) - extent->page);
		return true;
	}
	return false;
}

int wt_server_defer_end(struct wt_server *s)
{
	struct wt_extent extent = { 0 };
	int r = 0;

	while (!r && wt_server_deferred(s) && wt_server_deferred_next(s, &extent)) {
		struct wt_extent left = extent;

		r = wt_server_announce_extent(s, &left, WT_CONTENT_IN_PLACE, NULL);
	}
	wt_server_flush(s);
	return r;
}

void wt_server_defer_forget(struct wt_server *s, const struct wt_extent *extent)
{
	if (wt_server_deferred(s))
		s->late->pages -=
			wt_pageset_remove(&s->late->sets[extent->block], extent->page, extent->pages);
}

static void late(void *arg, uint64_t now_ns)
{
	struct wt_server *s = arg;

	if (!s->link.failed && wt_server_defer_end(s) == -EAGAIN)
		wt_loop_timer_set(s->loop, &s->late->timer, now_ns + LATE_AGAIN_NS, late, s);
}

bool wt_server_defer_extent(struct wt_server *s, struct wt_extent *extent)
{
	struct wt_server_late *l = s->late;

	if (!l || !l->on || s->final || extent->pages > LATE_PAGES_MAX ||
		wt_announce_priority(s->log, extent) != WT_PRIORITY_DIRTY)
		return false;
	if (l->pages + extent->pages > LATE_PAGES_MAX && wt_server_defer_end(s))
		return false; /* nor is there room to announce it */
	if (!l->pages)
		wt_loop_timer_set(s->loop, &l->timer, wt_loop_now_ns(s->loop) + LATE_NS, late, s);
	l->pages += wt_pageset_add(&l->sets[extent->block], extent->page, extent->pages);
	extent->page += extent->pages;
	extent->pages = 0;
	return true;
}

int wt_server_defer(struct wt_server *s, bool on)
{
	int r = on && !s->late ? sets_open(s) : 0;

	if (!s->late)
		return r;
	s->late->on = on;
	return on ? 0 : wt_server_defer_end(s);
}

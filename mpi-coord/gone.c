/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gone.c - notes of memory that the process gives back; see gone.h.
 *
 *   1. `any` is set after what it announces: who finds it unset has missed nothing that happened before.
 *   2. The lock is held for a few words of memory only, and never waited for by who notes.
 */
#include "gone.h"

#include <string.h>

static bool note(struct wt_gone *gone, uintptr_t base, size_t length)
{
	bool room;

	if (pthread_mutex_trylock(&gone->lock) != 0)
		return false;
	room = gone->count < WT_GONE_MAX;
	if (room)
		gone->ranges[gone->count++] = (struct wt_gone_range){ base, length };
	pthread_mutex_unlock(&gone->lock);
	return room;
}

void wt_gone_put(struct wt_gone *gone, const void *base, size_t length)
{
	if (!note(gone, (uintptr_t)base, length))
		atomic_store(&gone->all, true);
	atomic_store(&gone->any, true);
}

unsigned wt_gone_take(struct wt_gone *gone, struct wt_gone_range ret_ranges[WT_GONE_MAX], bool *ret_all)
{
	unsigned count;

	*ret_all = false;
	if (!atomic_load(&gone->any))
		return 0;
	pthread_mutex_lock(&gone->lock);
	atomic_store(&gone->any, false);
	*ret_all = atomic_exchange(&gone->all, false);
	count = gone->count;
	memcpy(ret_ranges, gone->ranges, count * sizeof *ret_ranges);
	gone->count = 0;
	pthread_mutex_unlock(&gone->lock);
	return count;
}

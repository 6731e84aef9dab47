/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gone.h - memory that the process gives back to the kernel, noted by who sees it, told to who has it
 * registered.
 *
 * Who sees it stands inside of munmap, perhaps inside of free, with locks that are not ours, in any thread,
 * and in a child after fork: so a note never waits, allocates or fails. Where one cannot be written, the
 * whole memory counts as gone.
 */
#ifndef WATARI_MPI_GONE_H
#define WATARI_MPI_GONE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WT_GONE_MAX 64u

struct wt_gone_range {
	uintptr_t base;
	size_t length;
};

struct wt_gone {
	pthread_mutex_t lock;
	atomic_bool any; /* there is something to take */
	atomic_bool all;
	unsigned count;
	struct wt_gone_range ranges[WT_GONE_MAX];
};

#define WT_GONE_INITIALIZER                       \
	{                                         \
		.lock = PTHREAD_MUTEX_INITIALIZER \
	}

/* Before the memory goes. */
void wt_gone_put(struct wt_gone *gone, const void *base, size_t length);
/* How many ranges there were since the last time; *ret_all: everything counts as gone. */
unsigned wt_gone_take(struct wt_gone *gone, struct wt_gone_range ret_ranges[WT_GONE_MAX], bool *ret_all);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring.c - an anonymous mapping with a count of holders. See ring.h.
 */
#include "ring.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

struct wt_ring {
	uint8_t *bytes;
	size_t length;
	atomic_uint holders;
};

int wt_ring_open(size_t bytes, struct wt_ring **ret_ring)
{
	struct wt_ring *ring = calloc(1, sizeof *ring);

	if (!ring)
		return -ENOMEM;
	ring->bytes = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ring->bytes == MAP_FAILED) {
		free(ring);
		return -ENOMEM;
	}
	madvise(ring->bytes, bytes, MADV_HUGEPAGE); /* fewer translations for the device */
	ring->length = bytes;
	ring->holders = 1;
	*ret_ring = ring;
	return 0;
}

void wt_ring_hold(struct wt_ring *ring)
{
	if (ring)
		atomic_fetch_add(&ring->holders, 1);
}

void wt_ring_release(struct wt_ring *ring)
{
	if (!ring || atomic_fetch_sub(&ring->holders, 1) > 1)
		return;
	munmap(ring->bytes, ring->length);
	free(ring);
}

uint8_t *wt_ring_bytes(const struct wt_ring *ring)
{
	return ring->bytes;
}

size_t wt_ring_length(const struct wt_ring *ring)
{
	return ring->length;
}

void wt_ring_empty(struct wt_ring *ring)
{
	if (ring)
		madvise(ring->bytes, ring->length, MADV_DONTNEED);
}

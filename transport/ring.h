/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ring.h - the bytes of staged copies, held by a server and by the threads that register them.
 *
 * Counted, because a server does not wait for such a thread. Who writes where in it is the server's business.
 */
#ifndef WT_RING_H
#define WT_RING_H

#include <stddef.h>
#include <stdint.h>

struct wt_ring;

int wt_ring_open(size_t bytes, struct wt_ring **ret_ring); /* all zero; held once; -ENOMEM */
void wt_ring_hold(struct wt_ring *ring);                   /* NULL: nothing */
void wt_ring_release(struct wt_ring *ring);                /* the last one frees it */
uint8_t *wt_ring_bytes(const struct wt_ring *ring);
size_t wt_ring_length(const struct wt_ring *ring);
/* What is in it is not needed any more: gives the memory back until it is written again. */
void wt_ring_empty(struct wt_ring *ring);

#endif

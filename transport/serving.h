/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serving.h - the memory of a page server as one fabric serves it.
 *
 * Over tcp every block is one region: the server's thread reads the mapping at the moment of the request,
 * whatever happens to the memory. Over verbs runs of existing pages are pinned, as long as nothing can
 * discard them; holes are never registered nor touched. What is not covered by a region is served as a copy
 * from the ring.
 *
 * A server without a ring cannot copy (a *passive* one). Its memory is a copy itself and will be given up, so
 * over verbs it is pinned in whole chunks around what exists, holes included, and nothing that exists is left
 * out; over tcp it is copied into the socket, never sent from its file, so that nothing that is written to it
 * afterwards reaches the peer.
 *
 *   1. A region covers existing pages only (verbs, with a ring).
 *   2. If `pin` is false no block has a region on verbs: everything goes through the ring.
 *
 * Owns endpoint and regions; holds memory and ring while they are registered. Not locked: it is opened and
 * registered by one thread and handed on.
 */
#ifndef WT_SERVING_H
#define WT_SERVING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/block.h>
#include <watari/error.h>
#include <watari/limits.h>
#include <watari/path.h>

#include "memory.h"
#include "ring.h"
#include "wire.h"

#define WT_SERVING_REGIONS_MAX 4096u         /* pinned runs; the rest is copied */
#define WT_SERVING_REGION_BYTES (1ull << 30) /* the longest single registration */
#define WT_SERVING_RUN_MIN (64ull << 10)     /* a shorter run is not worth a registration */

struct wt_served_memory {
	struct wt_memory *memory;
	bool pin;
	struct wt_ring *ring; /* NULL: none */
};

struct wt_serving;

/* Nothing can be read yet: the endpoint only. */
int wt_serving_open(const struct wt_fabric_ops *ops, const char *device, const char *peer_host,
	struct wt_serving **ret_serving, struct wt_error *err);
/* Registers ring and blocks, once. Takes long; *stop, looked at between regions, ends it with -ECANCELED. */
int wt_serving_register(struct wt_serving *serving, const struct wt_served_memory *memory,
	const atomic_bool *stop, struct wt_error *err);
/* Takes all regions away: no key of before is good any more. Also while a thread connects a path. */
void wt_serving_void(struct wt_serving *serving);
void wt_serving_close(struct wt_serving *serving);
/* The same without waiting until memory is no longer pinned. No path of its endpoint is left, so nobody can
 * read. */
void wt_serving_release(struct wt_serving *serving);

/* The regions as messages for the puller; index from 0 until -ENOENT. */
int wt_serving_region(const struct wt_serving *serving, unsigned index, struct wt_wire_region *ret_region);
/*
 * How many of the extent's first pages can be read in place; 0: the first one cannot, and *ret_copy is how
 * many pages in a row cannot.
 */
uint32_t wt_serving_in_place(
	const struct wt_serving *serving, const struct wt_extent *extent, uint32_t *ret_copy);
/* Whatever is announced in place, whenever, can be read here. */
bool wt_serving_covers_all(const struct wt_serving *serving);
struct wt_endpoint *wt_serving_endpoint(const struct wt_serving *serving);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rail.h - a page server's memory and paths over one fabric, and how they are opened.
 *
 * Opening takes long: names are resolved, connections set up, memory is pinned. So it happens in a thread,
 * while the loop goes on; `done` is called from the loop. Paths are connected first, because that tells
 * soonest and cheapest whether the fabric works, and only then memory is registered.
 *
 *   1. While an opening is under way, it alone uses the endpoint of its serving, given or new; regions may be
 *      taken away (wt_serving_void), and the paths that there are be used and closed, nothing else.
 *   2. An opening ends by `done` or by wt_opening_close, never by both.
 *   3. Nobody waits for an opening: one that is closed ends when the step that is under way does, and closes
 *      what it has opened. Until then it holds the memory (wt_memory_close waits for it) and the ring.
 */
#ifndef WT_RAIL_H
#define WT_RAIL_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/error.h>
#include <watari/loop.h>
#include <watari/path.h>

#include "serving.h"

#define WT_RAIL_PATHS_MAX 16
#define WT_RAIL_LISTENERS_MAX 4 /* of a puller, for one fabric: its addresses, of several devices perhaps */

struct wt_rail {
	const struct wt_fabric_ops *ops; /* NULL: there is none */
	struct wt_serving *serving;
	unsigned path_count;
	struct wt_path *paths[WT_RAIL_PATHS_MAX];
	unsigned listener[WT_RAIL_PATHS_MAX]; /* that each of them goes to */
};

struct wt_rail_listener {
	char host[256];
	uint16_t port;
	unsigned paths; /* that are wanted to it */
};

/* What to open. */
struct wt_rail_order {
	const struct wt_fabric_ops *ops;
	struct wt_serving *serving; /* to add paths to, borrowed; NULL: open one */
	const char *device;         /* copied; NULL: the one that routes to the first listener */
	struct wt_served_memory memory;
	uint8_t hello[WT_PATH_HELLO_BYTES];
	unsigned listeners;
	struct wt_rail_listener listener[WT_RAIL_LISTENERS_MAX]; /* of all paths one must work */
	uint64_t timeout_ns;                                     /* of each connection */
};

struct wt_opening;

/* rail: the caller's from now on, ops NULL if it failed; err says why then. The opening is closed already. */
typedef void wt_opening_fn(void *arg, struct wt_rail *rail, const struct wt_error *err);

int wt_opening_start(struct wt_loop *loop, const struct wt_rail_order *order, wt_opening_fn *done, void *arg,
	struct wt_opening **ret_opening, struct wt_error *err);
/* Does not wait. A serving that was lent to it is the opening's from now on. */
void wt_opening_close(struct wt_opening *opening);

/* Closes paths that are dead. */
void wt_rail_reap(struct wt_rail *rail);
/* Closes all paths; the memory stays registered. */
void wt_rail_hang_up(struct wt_rail *rail);
/* ... those to this listener. */
void wt_rail_hang_up_listener(struct wt_rail *rail, unsigned listener);
/* How many paths go to this listener. */
unsigned wt_rail_paths_to(const struct wt_rail *rail, unsigned listener);
/* Adds the paths of an opening for which serving was lent. */
void wt_rail_join(struct wt_rail *rail, const struct wt_rail *more);
/* Nobody can read any more; memory may stay pinned, and be held, for a while. */
void wt_rail_close(struct wt_rail *rail);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mover.h - carries out the plan: turns work into posts on paths, completions into progress, zero extents
 * into zeros.
 *
 * Knows where things lie: regions as each server told them, local blocks, one sink per fabric for all servers
 * together. So all paths of one fabric use one device. Paths are given to it and belong to it from then on; a
 * path that fails or has stalled is closed, and what it had under way is pulled again elsewhere.
 *
 * One thread. Does no waiting: the owner calls wt_mover_turn whenever a path's descriptor is readable or work
 * was announced, and wt_mover_arm before sleeping.
 */
#ifndef WT_MOVER_H
#define WT_MOVER_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/error.h>
#include <watari/loop.h>
#include <watari/path.h>
#include <watari/puller.h>

#include "ahead.h"
#include "mover_remote.h"
#include "plan.h"
#include "sink.h"
#include "wire.h"

#define WT_MOVER_PATHS_MAX 64
#define WT_MOVER_FABRICS WT_FABRIC_COUNT

struct wt_mover;

/* Paths that have failed. */
struct wt_lost {
	unsigned fabrics;                     /* WT_FABRIC_BIT()s: the last one of the fabric */
	unsigned listeners[WT_MOVER_FABRICS]; /* bits: the last one that came by this listener */
};

int wt_mover_open(struct wt_loop *loop, struct wt_mover **ret_mover);
void wt_mover_close(struct wt_mover *mover);
/* Closes all paths; no local memory is written afterwards. The plan knows what is missing. */
void wt_mover_stop(struct wt_mover *mover);

int wt_mover_block_add(struct wt_mover *mover, const struct wt_sink_block *block);
/* Stays where it is once all blocks are known. */
const struct wt_sink_block *wt_mover_block(const struct wt_mover *mover, uint32_t block);
/* All blocks are known. */
int wt_mover_start(struct wt_mover *mover);
/* The same anew, with an empty plan; all that the servers have told is void. */
int wt_mover_restart(struct wt_mover *mover);
struct wt_plan *wt_mover_plan(struct wt_mover *mover);
/* Who brings what is here already (IN_PLACE_DIGESTED work) to its place, at once; -errno with err filled. */
typedef int (*wt_mover_copy)(
	void *arg, const struct wt_work *work, const struct wt_sink_block *block, struct wt_error *err);
void wt_mover_copies(struct wt_mover *mover, wt_mover_copy copy, void *arg);
/* Whom every write into pages is told from now on, before it begins, and when they have landed; NULL: nobody.
 * Borrowed. */
void wt_mover_ahead(struct wt_mover *mover, struct wt_ahead *ahead);
/* An extent was announced for the first time, and will be pulled: its memory is made ready in the background,
 * where that helps. */
void wt_mover_expect(struct wt_mover *mover, const struct wt_extent *extent);
/* Zeros for these pages, at once. -errno with err filled. */
int wt_mover_zero(struct wt_mover *mover, const struct wt_extent *extent, struct wt_error *err);

/* A server told a region. -EPROTO: it lies outside the block. */
int wt_mover_region_add(struct wt_mover *mover, unsigned server, const struct wt_wire_region *region);
/* A server serves no more over this fabric: forgets its keys and closes its paths. */
void wt_mover_regions_clear(struct wt_mover *mover, unsigned server, enum wt_fabric fabric);
/* A helper is gone for good. */
void wt_mover_server_remove(struct wt_mover *mover, unsigned server);
/* The endpoint for paths of this fabric; opened when first asked for. */
int wt_mover_endpoint(struct wt_mover *mover, const struct wt_fabric_ops *ops, const char *device,
	const char *peer_host, struct wt_endpoint **ret_endpoint, struct wt_error *err);
/* The server was added to the plan. listener: by which one of the fabric's the path came. */
int wt_mover_path_add(struct wt_mover *mover, unsigned server, const struct wt_fabric_ops *ops,
	struct wt_path *path, unsigned listener);

/* What has failed since the last call, to this server. */
void wt_mover_lost(struct wt_mover *mover, unsigned server, struct wt_lost *ret_lost);
/* A helper that has answered nothing but refusals for long; 0: none. */
unsigned wt_mover_refuser(const struct wt_mover *mover);
/* An extent that server 0 shall announce, because no path can read it there; false: none (more). */
bool wt_mover_ask(struct wt_mover *mover, struct wt_extent *ret_extent);

/* Polls and posts; true when something happened. *err is filled when the session cannot go on. */
bool wt_mover_turn(struct wt_mover *mover, struct wt_error *err);
/* false: there is news already, take another turn. */
bool wt_mover_arm(struct wt_mover *mover);
void wt_mover_stats(const struct wt_mover *mover, struct wt_puller_stats *ret_stats);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mover.h - carries out the plan: turns work into posts on paths, completions into progress, zero extents
 * into zeros.
 *
 * Knows where things lie: remote regions as the server told them, local blocks, one sink per fabric. Paths
 * are given to it and belong to it from then on; a path that fails is closed, and what it had under way is
 * pulled again elsewhere.
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

#include "plan.h"
#include "sink.h"
#include "wire.h"

#define WT_MOVER_PATHS_MAX 64
#define WT_MOVER_REGIONS_MAX 4096 /* adding one costs time linear in their number */

struct wt_mover;

int wt_mover_open(struct wt_loop *loop, struct wt_mover **ret_mover);
void wt_mover_close(struct wt_mover *mover);
/* Closes all paths; no local memory is written afterwards. */
void wt_mover_stop(struct wt_mover *mover);

int wt_mover_block_add(struct wt_mover *mover, const struct wt_sink_block *block);
/* All blocks are known. */
int wt_mover_start(struct wt_mover *mover);
struct wt_plan *wt_mover_plan(struct wt_mover *mover);
/* The server told a region. -EPROTO: it lies outside the block. */
int wt_mover_region_add(struct wt_mover *mover, const struct wt_wire_region *region);
/* The server serves no more over this fabric: forgets its keys and closes its paths. */
void wt_mover_regions_clear(struct wt_mover *mover, enum wt_fabric fabric);
/* The endpoint for paths of this fabric; opened when first asked for. */
int wt_mover_endpoint(struct wt_mover *mover, const struct wt_fabric_ops *ops, const char *device,
	const char *peer_host, struct wt_endpoint **ret_endpoint, struct wt_error *err);
int wt_mover_path_add(struct wt_mover *mover, const struct wt_fabric_ops *ops, struct wt_path *path);

/* Fabrics of which the last path has failed since the last call, as WT_FABRIC_BIT()s. */
unsigned wt_mover_lost(struct wt_mover *mover);

/* Polls and posts; true when something happened. *err is filled when the session cannot go on. */
bool wt_mover_turn(struct wt_mover *mover, struct wt_error *err);
/* false: there is news already, take another turn. */
bool wt_mover_arm(struct wt_mover *mover);
void wt_mover_stats(const struct wt_mover *mover, struct wt_puller_stats *ret_stats);

#endif

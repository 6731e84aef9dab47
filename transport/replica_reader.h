/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica_reader.h - reads pages of a replica on another host into one buffer: its paths and regions.
 *
 * Knows nothing of the plan: what is read here is not content yet, and no page of the guest is written. Paths
 * belong to it from wt_reader_path_add on. Owns endpoints and regions; borrows the buffer.
 *
 * One thread, which calls wt_reader_next until it answers 0 whenever a path's descriptor is readable, and
 * wt_reader_arm before it sleeps.
 */
#ifndef WT_REPLICA_READER_H
#define WT_REPLICA_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/block.h>
#include <watari/error.h>
#include <watari/loop.h>
#include <watari/path.h>

#include "wire.h"

#define WT_READER_PATHS_MAX 32u
#define WT_READER_READS_MAX 256u /* under way, and done but not told by wt_reader_next */

struct wt_reader;

struct wt_reader_done {
	uint64_t tag;
	struct wt_extent extent;
	int status; /* 0 or -errno */
	enum wt_fabric fabric;
};

int wt_reader_open(struct wt_loop *loop, void *buffer, size_t length, struct wt_reader **ret_reader);
/* Nothing writes the buffer afterwards. */
void wt_reader_close(struct wt_reader *reader);

int wt_reader_region_add(struct wt_reader *reader, const struct wt_wire_region *region);
/* Forgets the keys of this fabric and closes its paths. */
void wt_reader_regions_clear(struct wt_reader *reader, enum wt_fabric fabric);
int wt_reader_endpoint(struct wt_reader *reader, const struct wt_fabric_ops *ops, const char *device,
	const char *peer_host, struct wt_endpoint **ret_endpoint, struct wt_error *err);
int wt_reader_path_add(struct wt_reader *reader, const struct wt_fabric_ops *ops, struct wt_path *path);
/* Closes all paths: nothing writes the buffer until others are added. What was under way is done, with an
 * error. */
void wt_reader_stop(struct wt_reader *reader);
/* Something can be read. */
bool wt_reader_ready(const struct wt_reader *reader);
/* Fabrics of which the last path has failed since the last call, as WT_FABRIC_BIT()s. */
unsigned wt_reader_lost(struct wt_reader *reader);

/*
 * Begins to read the first pages of an extent to a place in the buffer; answers how many pages. -EAGAIN: not
 * now, or not over any path that there is.
 */
int wt_reader_read(struct wt_reader *reader, const struct wt_extent *extent, uint8_t *to, uint64_t tag);
/* A read that is over: 1; 0: none now. Each read that was begun is told once, unless it is closed. */
int wt_reader_next(struct wt_reader *reader, struct wt_reader_done *ret_done);
/* false: there is news already. */
bool wt_reader_arm(struct wt_reader *reader);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mover_remote.h - where the memory of one server lies, as one fabric reads it: the regions that it told.
 *
 * Sorted by (block, offset). Server 0 has a ring for staged copies and tells it last: until then it is not
 * known what it has. Helpers have none.
 */
#ifndef WT_MOVER_REMOTE_H
#define WT_MOVER_REMOTE_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/path.h>

#include "plan.h"
#include "wire.h"

#define WT_MOVER_REGIONS_MAX 4096 /* adding one costs time linear in their number */

struct wt_remote_regions {
	bool ring_last;
	unsigned count, room;
	struct wt_wire_region *list;
	struct wt_key ring; /* length 0: none */
};

/* The region lies in its block. -EPROTO: too many; -ENOMEM. */
int wt_remote_add(struct wt_remote_regions *regions, const struct wt_wire_region *region);
void wt_remote_clear(struct wt_remote_regions *regions);
void wt_remote_free(struct wt_remote_regions *regions);
/* Fills the server's address and key for a piece of work; answers how many bytes from there on are readable,
 * 0: none. */
uint64_t wt_remote_locate(
	const struct wt_remote_regions *regions, const struct wt_work *work, struct wt_op *op);
/* A wt_plan_reach; arg: the regions. */
uint64_t wt_remote_reach(void *arg, const struct wt_work *work, uint64_t *ret_skip);

#endif

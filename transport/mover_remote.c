/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mover_remote.c - the regions of one server over one fabric. See mover_remote.h.
 */
#include "mover_remote.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The first region that ends behind this place. */
static unsigned region_after(const struct wt_remote_regions *regions, uint32_t block, uint64_t offset)
{
	unsigned low = 0, high = regions->count;

	while (low < high) {
		unsigned middle = (low + high) / 2;
		const struct wt_wire_region *region = &regions->list[middle];

		if (region->block < block ||
			(region->block == block && region->offset + region->key.length <= offset))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int wt_remote_add(struct wt_remote_regions *regions, const struct wt_wire_region *region)
{
	unsigned at;

	if (region->block == WT_WIRE_RING) {
		regions->ring = region->key;
		return 0;
	}
	at = region_after(regions, region->block, region->offset);
	if (regions->count == WT_MOVER_REGIONS_MAX)
		return -EPROTO;
	if (regions->count == regions->room) {
		unsigned room = regions->room ? 2 * regions->room : 64;
		struct wt_wire_region *list = realloc(regions->list, room * sizeof *list);

		if (!list)
			return -ENOMEM;
		regions->list = list;
		regions->room = room;
	}
	memmove(&regions->list[at + 1], &regions->list[at], (regions->count - at) * sizeof *regions->list);
	regions->list[at] = *region;
	regions->count++;
	return 0;
}

void wt_remote_clear(struct wt_remote_regions *regions)
{
	regions->count = 0;
	regions->ring.length = 0;
}

void wt_remote_free(struct wt_remote_regions *regions)
{
	free(regions->list);
	*regions = (struct wt_remote_regions){ .ring_last = regions->ring_last };
}

/* The region in which the work begins, or NULL; *ret_next is where the next one begins, in bytes. */
static const struct wt_wire_region *region_of(
	const struct wt_remote_regions *regions, const struct wt_extent *extent, uint64_t *ret_next)
{
	uint64_t offset = extent->page << WT_PAGE_SHIFT;
	unsigned at = region_after(regions, extent->block, offset);

	*ret_next = UINT64_MAX;
	if (at == regions->count || regions->list[at].block != extent->block)
		return NULL;
	*ret_next = regions->list[at].offset;
	return *ret_next > offset ? NULL : &regions->list[at];
}

uint64_t wt_remote_locate(
	const struct wt_remote_regions *regions, const struct wt_work *work, struct wt_op *op)
{
	uint64_t skip, next;
	const struct wt_wire_region *region;
	const struct wt_key *key;

	if (work->content == WT_CONTENT_STAGED) {
		key = &regions->ring;
		if (!key->length)
			return 0;
		skip = work->staged_offset % key->length;
	} else {
		region = region_of(regions, &work->extent, &next);
		if (!region)
			return 0;
		key = &region->key;
		skip = (work->extent.page << WT_PAGE_SHIFT) - region->offset;
	}
	op->remote_address = key->address + skip;
	op->remote_key = key->key;
	return key->length - skip;
}

uint64_t wt_remote_reach(void *arg, const struct wt_work *work, uint64_t *ret_skip)
{
	const struct wt_remote_regions *regions = arg;
	const struct wt_wire_region *region;
	uint64_t next, offset = work->extent.page << WT_PAGE_SHIFT;

	*ret_skip = 0;
	if (regions->ring_last && !regions->ring.length)
		return 0;
	*ret_skip = work->extent.pages;
	if (work->content == WT_CONTENT_STAGED)
		return regions->ring.length ? work->extent.pages : 0;
	region = region_of(regions, &work->extent, &next);
	if (region)
		return (region->offset + region->key.length - offset) >> WT_PAGE_SHIFT;
	*ret_skip = next == UINT64_MAX ? UINT64_MAX >> WT_PAGE_SHIFT : (next - offset) >> WT_PAGE_SHIFT;
	return 0;
}

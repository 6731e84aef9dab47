/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * serving.c - regions over blocks and ring. See serving.h.
 *
 * Regions are kept in the order of (block, offset), so that a page's region is found by bisection. Everything
 * is registered at once, before anything is announced for this serving; memory that appears later is served
 * from the ring.
 */
#include "serving.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct served_region {
	uint32_t block;
	uint64_t offset, length; /* bytes */
	struct wt_region *region;
};

struct wt_serving {
	const struct wt_fabric_ops *ops;
	struct wt_endpoint *endpoint;
	struct wt_region *ring;
	const atomic_bool *stop; /* while registering */
	unsigned count;
	struct served_region regions[WT_SERVING_REGIONS_MAX];
};

static int add_region(struct wt_serving *serving, const struct wt_served_block *block, uint32_t index,
	uint64_t offset, uint64_t length, struct wt_error *err)
{
	struct served_region *region = &serving->regions[serving->count];
	int r;

	if (atomic_load(serving->stop))
		return wt_error_set(err, ECANCELED, "was told to stop");
	r = serving->ops->region_add(
		serving->endpoint, block->base + offset, length, WT_ACCESS_SERVE, &region->region, err);
	if (r)
		return r;
	region->block = index;
	region->offset = offset;
	region->length = length;
	serving->count++;
	return 0;
}

/* The next run of existing pages at or after *offset; false where there is none. Without a file all pages
 * exist. */
static bool next_run(const struct wt_served_block *block, uint64_t *offset, uint64_t *ret_end)
{
	off_t data, hole;

	if (*offset >= block->length)
		return false;
	*ret_end = block->length;
	if (block->fd < 0)
		return true;
	data = lseek(block->fd, (off_t)(block->fd_offset + *offset), SEEK_DATA);
	if (data < 0)
		return errno == EINVAL; /* a file system without holes; ENXIO: nothing more */
	hole = lseek(block->fd, data, SEEK_HOLE);
	if ((uint64_t)data >= block->fd_offset + block->length)
		return false;
	*offset = (uint64_t)data - block->fd_offset;
	if (hole > 0 && (uint64_t)hole < block->fd_offset + block->length)
		*ret_end = (uint64_t)hole - block->fd_offset;
	/* File systems with small blocks have holes that begin or end within a page. */
	*offset -= *offset % WT_PAGE_SIZE;
	*ret_end += -*ret_end % WT_PAGE_SIZE;
	return true;
}

static int pin_block(
	struct wt_serving *serving, const struct wt_served_block *block, uint32_t index, struct wt_error *err)
{
	uint64_t offset = 0, end;

	while (next_run(block, &offset, &end)) {
		while (offset < end && end - offset >= WT_SERVING_RUN_MIN) {
			uint64_t length = end - offset;
			int r;

			if (serving->count == WT_SERVING_REGIONS_MAX)
				return 0;
			if (length > WT_SERVING_REGION_BYTES)
				length = WT_SERVING_REGION_BYTES;
			r = add_region(serving, block, index, offset, length, err);
			if (r)
				return r;
			offset += length;
		}
		offset = end;
	}
	return 0;
}

int wt_serving_open(const struct wt_fabric_ops *ops, const char *device, const char *peer_host,
	struct wt_serving **ret_serving, struct wt_error *err)
{
	struct wt_serving *serving = calloc(1, sizeof *serving);
	int r;

	if (!serving)
		return wt_error_set(err, ENOMEM, "no memory for a table of regions");
	serving->ops = ops;
	r = ops->endpoint_open(device, peer_host, &serving->endpoint, err);
	if (r) {
		free(serving);
		return r;
	}
	*ret_serving = serving;
	return 0;
}

bool wt_serving_covers_all(const struct wt_serving *serving)
{
	return serving->ops->fabric != WT_FABRIC_VERBS;
}

int wt_serving_register(struct wt_serving *serving, const struct wt_served_memory *memory,
	const atomic_bool *stop, struct wt_error *err)
{
	int r = serving->ops->region_add(
		serving->endpoint, memory->ring, memory->ring_bytes, WT_ACCESS_SERVE, &serving->ring, err);

	serving->stop = stop;
	for (unsigned i = 0; !r && i < memory->block_count; i++) {
		const struct wt_served_block *block = &memory->blocks[i];

		if (!block->base)
			continue;
		if (wt_serving_covers_all(serving))
			r = add_region(serving, block, i, 0, block->length, err);
		else if (memory->pin)
			r = pin_block(serving, block, i, err);
	}
	serving->stop = NULL;
	return r;
}

void wt_serving_close(struct wt_serving *serving)
{
	if (!serving)
		return;
	for (unsigned i = 0; i < serving->count; i++)
		serving->ops->region_remove(serving->regions[i].region);
	if (serving->ring)
		serving->ops->region_remove(serving->ring);
	if (serving->endpoint)
		serving->ops->endpoint_close(serving->endpoint);
	free(serving);
}

int wt_serving_region(const struct wt_serving *serving, unsigned index, struct wt_wire_region *ret_region)
{
	const struct wt_region *region = serving->ring;

	if (index > serving->count)
		return -ENOENT;
	ret_region->block = WT_WIRE_RING;
	ret_region->offset = 0;
	if (index < serving->count) {
		region = serving->regions[index].region;
		ret_region->block = serving->regions[index].block;
		ret_region->offset = serving->regions[index].offset;
	}
	ret_region->fabric = serving->ops->fabric;
	serving->ops->region_key(region, &ret_region->key);
	return 0;
}

/* The first region that ends behind this place. */
static unsigned region_after(const struct wt_serving *serving, uint32_t block, uint64_t offset)
{
	unsigned low = 0, high = serving->count;

	while (low < high) {
		unsigned middle = (low + high) / 2;
		const struct served_region *region = &serving->regions[middle];

		if (region->block < block ||
			(region->block == block && region->offset + region->length <= offset))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

uint32_t wt_serving_in_place(
	const struct wt_serving *serving, const struct wt_extent *extent, uint32_t *ret_copy)
{
	uint64_t offset = extent->page << WT_PAGE_SHIFT;
	unsigned i = region_after(serving, extent->block, offset);
	const struct served_region *region = &serving->regions[i];
	uint64_t pages;

	if (i == serving->count || region->block != extent->block) {
		*ret_copy = extent->pages;
		return 0;
	}
	if (region->offset > offset) {
		pages = (region->offset - offset) >> WT_PAGE_SHIFT;
		*ret_copy = pages < extent->pages ? (uint32_t)pages : extent->pages;
		return 0;
	}
	pages = (region->offset + region->length - offset) >> WT_PAGE_SHIFT;
	return pages < extent->pages ? (uint32_t)pages : extent->pages;
}

struct wt_endpoint *wt_serving_endpoint(const struct wt_serving *serving)
{
	return serving->endpoint;
}

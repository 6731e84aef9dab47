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
#include <string.h>
#include <unistd.h>

#include "sink.h"
#include "task.h"

struct served_region {
	uint32_t block;
	uint64_t offset, length; /* bytes */
	struct wt_region *region;
};

struct wt_serving {
	const struct wt_fabric_ops *ops;
	struct wt_endpoint *endpoint;
	struct wt_region *ring;
	struct wt_served_memory held; /* without memory: nothing was registered yet */
	const atomic_bool *stop;      /* while registering */
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
	/* What the socket has taken of a file may still change until the peer has it. A passive server's
	 * memory may be anything once it is given up. */
	if (block->fd >= 0 && serving->held.ring && serving->ops->region_file)
		serving->ops->region_file(region->region, block->fd, block->fd_offset + offset);
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

/* Pins [from, to), and makes sure before that there is memory for its holes. */
static int pin_chunks(struct wt_serving *serving, const struct wt_served_block *block, uint32_t index,
	uint64_t from, uint64_t to, struct wt_error *err)
{
	struct wt_sink_block whole = {
		.base = block->base, .length = block->length, .fd = block->fd, .fd_offset = block->fd_offset
	};
	int r = 0;

	strcpy(whole.name, block->name);
	while (!r && from < to && serving->count < WT_SERVING_REGIONS_MAX) {
		uint64_t length = to - from < WT_SERVING_REGION_BYTES ? to - from : WT_SERVING_REGION_BYTES;

		r = wt_sink_populate(&whole, from, length, err);
		if (!r)
			r = add_region(serving, block, index, from, length, err);
		from += length;
	}
	return r;
}

/* Whole chunks in which anything exists. */
static int pin_whole(
	struct wt_serving *serving, const struct wt_served_block *block, uint32_t index, struct wt_error *err)
{
	uint64_t offset = 0, end, from = 0, to = 0;
	int r;

	while (next_run(block, &offset, &end)) {
		uint64_t start = offset - offset % WT_LIMIT_PIN_CHUNK_BYTES;
		uint64_t stop = end + -end % WT_LIMIT_PIN_CHUNK_BYTES;

		if (stop > block->length)
			stop = block->length;
		if (start > to) {
			r = pin_chunks(serving, block, index, from, to, err);
			if (r)
				return r;
			from = start;
		}
		to = stop;
		offset = stop; /* what else exists in this chunk is in it already */
	}
	return pin_chunks(serving, block, index, from, to, err);
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

static int register_block(struct wt_serving *serving, const struct wt_served_memory *memory, uint32_t index,
	struct wt_error *err)
{
	const struct wt_served_block *block = wt_memory_block(memory->memory, index);

	if (!block->base)
		return 0;
	if (wt_serving_covers_all(serving))
		return add_region(serving, block, index, 0, block->length, err);
	if (!memory->pin)
		return 0;
	return memory->ring ? pin_block(serving, block, index, err) : pin_whole(serving, block, index, err);
}

int wt_serving_register(struct wt_serving *serving, const struct wt_served_memory *memory,
	const atomic_bool *stop, struct wt_error *err)
{
	unsigned count = wt_memory_block_count(memory->memory);
	int r = 0;

	wt_memory_hold(memory->memory);
	wt_ring_hold(memory->ring);
	serving->held = *memory;
	if (memory->ring)
		r = serving->ops->region_add(serving->endpoint, wt_ring_bytes(memory->ring),
			wt_ring_length(memory->ring), WT_ACCESS_SERVE, &serving->ring, err);
	serving->stop = stop;
	for (unsigned i = 0; !r && i < count; i++)
		r = register_block(serving, memory, i, err);
	serving->stop = NULL;
	return r;
}

void wt_serving_void(struct wt_serving *serving)
{
	while (serving->count)
		serving->ops->region_remove(serving->regions[--serving->count].region);
	if (serving->ring)
		serving->ops->region_remove(serving->ring);
	serving->ring = NULL;
}

void wt_serving_close(struct wt_serving *serving)
{
	if (!serving)
		return;
	wt_serving_void(serving);
	if (serving->endpoint)
		serving->ops->endpoint_close(serving->endpoint);
	wt_ring_release(serving->held.ring);
	if (serving->held.memory)
		wt_memory_release(serving->held.memory);
	free(serving);
}

static void close_left(void *arg)
{
	wt_serving_close(arg);
}

void wt_serving_release(struct wt_serving *serving)
{
	if (serving && !wt_serving_covers_all(serving))
		wt_task_leave(close_left, serving);
	else
		wt_serving_close(serving);
}

int wt_serving_region(const struct wt_serving *serving, unsigned index, struct wt_wire_region *ret_region)
{
	const struct wt_region *region = serving->ring;

	if (index >= serving->count + (region ? 1 : 0))
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

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sink.c - local memory to be written by reads. See sink.h.
 *
 * SEEK_DATA, not mincore, tells a hole from a page: a page that was swapped out has content too. Holes are
 * left alone and pages are overwritten, never punched out, because they may be registered (a NIC would go on
 * writing the old page).
 */
#include "sink.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct wt_sink {
	const struct wt_fabric_ops *ops;
	struct wt_endpoint *endpoint;
	const struct wt_sink_block *blocks;
	unsigned block_count;
	struct wt_region ***regions; /* [block][chunk] */
	uint8_t *bounces;            /* NULL: not needed yet */
	struct wt_region *bounce_region;
	unsigned bounces_used; /* bits */
};

static uint64_t chunk_count(const struct wt_sink_block *block)
{
	return (block->length + WT_SINK_CHUNK_BYTES - 1) / WT_SINK_CHUNK_BYTES;
}

int wt_sink_open(const struct wt_fabric_ops *ops, struct wt_endpoint *endpoint,
	const struct wt_sink_block *blocks, unsigned block_count, struct wt_sink **ret_sink)
{
	struct wt_sink *sink = calloc(1, sizeof *sink);

	if (!sink)
		return -ENOMEM;
	sink->ops = ops;
	sink->blocks = blocks;
	sink->regions = calloc(block_count + 1, sizeof *sink->regions);
	for (; sink->regions && sink->block_count < block_count; sink->block_count++) {
		uint64_t chunks = chunk_count(&blocks[sink->block_count]);

		sink->regions[sink->block_count] = calloc(chunks, sizeof **sink->regions);
		if (!sink->regions[sink->block_count])
			break;
	}
	if (!sink->regions || sink->block_count < block_count) {
		wt_sink_close(sink);
		return -ENOMEM;
	}
	sink->endpoint = endpoint;
	*ret_sink = sink;
	return 0;
}

void wt_sink_close(struct wt_sink *sink)
{
	if (!sink)
		return;
	for (unsigned i = 0; i < sink->block_count; i++) {
		for (uint64_t chunk = 0; chunk < chunk_count(&sink->blocks[i]); chunk++)
			if (sink->regions[i][chunk])
				sink->ops->region_remove(sink->regions[i][chunk]);
		free(sink->regions[i]);
	}
	free(sink->regions);
	if (sink->bounce_region)
		sink->ops->region_remove(sink->bounce_region);
	free(sink->bounces);
	if (sink->endpoint)
		sink->ops->endpoint_close(sink->endpoint);
	free(sink);
}

int wt_sink_region(struct wt_sink *sink, uint32_t block, uint64_t offset, struct wt_region **ret_region,
	uint64_t *ret_bytes, struct wt_error *err)
{
	const struct wt_sink_block *b = &sink->blocks[block];
	uint64_t chunk = offset / WT_SINK_CHUNK_BYTES;
	uint64_t start = chunk * WT_SINK_CHUNK_BYTES;
	uint64_t length = b->length - start < WT_SINK_CHUNK_BYTES ? b->length - start : WT_SINK_CHUNK_BYTES;
	struct wt_region **region = &sink->regions[block][chunk];

	if (!*region) {
		struct wt_error full = { 0 };
		int r = sink->ops->region_add(
			sink->endpoint, b->base + start, length, WT_ACCESS_SINK, region, err);

		if (r && wt_sink_populate(b, start, length, &full))
			*err = full;
		if (r)
			return r;
	}
	*ret_region = *region;
	*ret_bytes = start + length - offset;
	return 0;
}

struct wt_endpoint *wt_sink_endpoint(const struct wt_sink *sink)
{
	return sink->endpoint;
}

int wt_sink_bounce_take(struct wt_sink *sink, uint8_t **ret_buffer, struct wt_region **ret_region)
{
	size_t length = (size_t)WT_SINK_BOUNCES * WT_PATH_READ_MAX;
	struct wt_error err = { 0 };
	unsigned slot;
	int r;

	if (!sink->bounce_region) {
		if (!sink->bounces)
			sink->bounces = aligned_alloc(WT_PAGE_SIZE, length);
		if (!sink->bounces)
			return -ENOMEM;
		r = sink->ops->region_add(
			sink->endpoint, sink->bounces, length, WT_ACCESS_SINK, &sink->bounce_region, &err);
		if (r)
			return r;
	}
	slot = (unsigned)__builtin_ctz(~sink->bounces_used);
	if (slot >= WT_SINK_BOUNCES)
		return -EAGAIN;
	sink->bounces_used |= 1u << slot;
	*ret_buffer = sink->bounces + (size_t)slot * WT_PATH_READ_MAX;
	*ret_region = sink->bounce_region;
	return 0;
}

void wt_sink_bounce_give(struct wt_sink *sink, const uint8_t *buffer)
{
	sink->bounces_used &= ~(1u << (size_t)(buffer - sink->bounces) / WT_PATH_READ_MAX);
}

/* Before Linux 5.14 (EINVAL) it cannot be told without a signal; then there is memory until it turns out. */
static int populate(
	const struct wt_sink_block *block, uint64_t offset, uint64_t length, int advice, struct wt_error *err)
{
	int r;

	do
		r = madvise(block->base + offset, length, advice);
	while (r && (errno == EINTR || errno == EAGAIN));
	if (!r || errno == EINVAL)
		return 0;
	return wt_error_set(err, ENOSPC,
		"there is no memory of block %s from byte %llu on (%s): what holds it is full, or was cut short; "
		"make room (tmpfs: `df`; huge pages: /proc/meminfo) and start again",
		block->name, (unsigned long long)offset, strerror(errno));
}

int wt_sink_populate(
	const struct wt_sink_block *block, uint64_t offset, uint64_t length, struct wt_error *err)
{
	return populate(block, offset, length, MADV_POPULATE_WRITE, err);
}

static bool is_zero(const uint8_t *page)
{
	return !page[0] && memcmp(page, page + 1, WT_PAGE_SIZE - 1) == 0;
}

/* Pages that exist, as far as can be told. What does not after all is noticed before it is touched. */
static int zero_pages(
	const struct wt_sink_block *block, uint64_t offset, uint64_t length, struct wt_error *err)
{
	int r = populate(block, offset, length, MADV_POPULATE_READ, err);
	uint64_t end = offset + length;

	for (; !r && offset < end; offset += WT_PAGE_SIZE) {
		if (is_zero(block->base + offset))
			continue;
		r = wt_sink_populate(block, offset, WT_PAGE_SIZE, err);
		if (!r)
			memset(block->base + offset, 0, WT_PAGE_SIZE);
	}
	return r;
}

/* Where the page that holds this place begins, or the next one that exists; UINT64_MAX: none. Without a file,
 * or on a file system without holes, all do. */
static uint64_t next_page(const struct wt_sink_block *block, uint64_t offset)
{
	off_t data = block->fd < 0 ? -1 : lseek(block->fd, (off_t)(block->fd_offset + offset), SEEK_DATA);

	if (data < 0)
		return block->fd >= 0 && errno == ENXIO ? UINT64_MAX : offset;
	/* File systems with small blocks have holes that end within a page. */
	return ((uint64_t)data - block->fd_offset) & ~(uint64_t)(WT_PAGE_SIZE - 1);
}

/* Never asked is where the next hole begins: that may be far behind the end, and the kernel looks at each
 * page up to there. */
int wt_sink_zero(const struct wt_sink_block *block, uint64_t offset, uint64_t length, struct wt_error *err)
{
	uint64_t end = offset + length, from = next_page(block, offset);
	int r = 0;

	while (!r && from < end) {
		uint64_t to = from + WT_PAGE_SIZE, next = next_page(block, to);

		while (to < end && next == to) {
			to += WT_PAGE_SIZE;
			next = to < end ? next_page(block, to) : to;
		}
		r = zero_pages(block, from, to - from, err);
		from = next;
	}
	return r;
}

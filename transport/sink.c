/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sink.c - local memory to be written by reads. See sink.h.
 *
 * SEEK_DATA, not mincore, tells a hole from a page: a page that was swapped out has content too. Holes are
 * left alone and pages are overwritten, never punched out, because they may be registered (a NIC would go on
 * writing the old page).
 *
 * A chunk whose registration failed in the background is registered by the caller, who so learns why.
 */
#include "sink.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "registrar.h"

#define HUGE_BYTES (2u << 20)
#define CHUNKS_MAX (1ull << 40) /* of a block: what a cookie has room for */

/* region NULL: not registered. ordered: by the registrar, which has not said yet what came of it. */
struct chunk {
	struct wt_region *region;
	bool ordered, failed;
};

struct wt_sink {
	const struct wt_fabric_ops *ops;
	struct wt_endpoint *endpoint;
	const struct wt_sink_block *blocks;
	unsigned block_count;
	struct chunk **chunks;          /* [block][chunk] */
	struct wt_registrar *registrar; /* NULL: the caller registers */
	struct wt_loop *loop;           /* that the registrar wakes */
	uint8_t *bounces;               /* NULL: not needed yet */
	struct wt_region *bounce_region;
	unsigned bounces_used; /* bits */
};

static uint64_t chunk_count(const struct wt_sink_block *block)
{
	return (block->length + WT_LIMIT_PIN_CHUNK_BYTES - 1) / WT_LIMIT_PIN_CHUNK_BYTES;
}

int wt_sink_open(const struct wt_fabric_ops *ops, struct wt_endpoint *endpoint,
	const struct wt_sink_block *blocks, unsigned block_count, struct wt_sink **ret_sink)
{
	struct wt_sink *sink = calloc(1, sizeof *sink);

	if (!sink)
		return -ENOMEM;
	sink->ops = ops;
	sink->blocks = blocks;
	sink->chunks = calloc(block_count + 1, sizeof *sink->chunks);
	for (; sink->chunks && sink->block_count < block_count; sink->block_count++) {
		uint64_t chunks = chunk_count(&blocks[sink->block_count]);

		sink->chunks[sink->block_count] = calloc(chunks, sizeof **sink->chunks);
		if (!sink->chunks[sink->block_count])
			break;
	}
	if (!sink->chunks || sink->block_count < block_count) {
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
	if (sink->registrar)
		wt_loop_fd_clear(sink->loop, wt_registrar_fd(sink->registrar));
	wt_registrar_close(sink->registrar);
	for (unsigned i = 0; i < sink->block_count; i++) {
		for (uint64_t chunk = 0; chunk < chunk_count(&sink->blocks[i]); chunk++)
			if (sink->chunks[i][chunk].region)
				sink->ops->region_remove(sink->chunks[i][chunk].region);
		free(sink->chunks[i]);
	}
	free(sink->chunks);
	if (sink->bounce_region)
		sink->ops->region_remove(sink->bounce_region);
	free(sink->bounces);
	if (sink->endpoint)
		sink->ops->endpoint_close(sink->endpoint);
	free(sink);
}

/* ---- in the background ---- */

static void take_registered(struct wt_sink *sink)
{
	struct wt_registered registered;

	while (wt_registrar_take(sink->registrar, &registered)) {
		struct chunk *chunk =
			&sink->chunks[registered.cookie / CHUNKS_MAX][registered.cookie % CHUNKS_MAX];

		chunk->ordered = false;
		chunk->failed = !registered.region;
		chunk->region = registered.region;
	}
}

/* Waking the loop is what matters: somebody may wait for a chunk. */
static void on_registered(void *arg, uint32_t events)
{
	take_registered(arg);
}

int wt_sink_background(struct wt_sink *sink, struct wt_loop *loop)
{
	int r = wt_registrar_open(sink->ops, sink->endpoint, &sink->registrar);

	if (r)
		return r;
	sink->loop = loop;
	r = wt_loop_fd_set(loop, wt_registrar_fd(sink->registrar), EPOLLIN, on_registered, sink);
	if (r) {
		wt_registrar_close(sink->registrar);
		sink->registrar = NULL;
	}
	return r;
}

static uint64_t chunk_bytes(const struct wt_sink_block *block, uint64_t start)
{
	return block->length - start < WT_LIMIT_PIN_CHUNK_BYTES ? block->length - start
								: WT_LIMIT_PIN_CHUNK_BYTES;
}

static void order(struct wt_sink *sink, uint32_t block, uint64_t number)
{
	const struct wt_sink_block *b = &sink->blocks[block];
	struct chunk *chunk = &sink->chunks[block][number];
	uint64_t start = number * WT_LIMIT_PIN_CHUNK_BYTES;

	if (!chunk->region && !chunk->ordered && !chunk->failed)
		chunk->ordered = wt_registrar_order(sink->registrar, b->base + start, chunk_bytes(b, start),
					 block * CHUNKS_MAX + number) == 0;
}

void wt_sink_expect(struct wt_sink *sink, uint32_t block, uint64_t offset, uint64_t length)
{
	if (!sink->registrar || !length)
		return;
	for (uint64_t number = offset / WT_LIMIT_PIN_CHUNK_BYTES;
		number <= (offset + length - 1) / WT_LIMIT_PIN_CHUNK_BYTES; number++)
		order(sink, block, number);
}

/* ---- at once ---- */

static int register_chunk(struct wt_sink *sink, uint32_t block, uint64_t start, struct wt_region **ret_region,
	struct wt_error *err)
{
	const struct wt_sink_block *b = &sink->blocks[block];
	uint64_t length = chunk_bytes(b, start);
	struct wt_error full = { 0 };
	int r = sink->ops->region_add(
		sink->endpoint, b->base + start, length, WT_ACCESS_SINK, ret_region, err);

	if (r && wt_sink_populate(b, start, length, &full))
		*err = full;
	return r;
}

int wt_sink_region(struct wt_sink *sink, uint32_t block, uint64_t offset, struct wt_region **ret_region,
	uint64_t *ret_bytes, struct wt_error *err)
{
	uint64_t number = offset / WT_LIMIT_PIN_CHUNK_BYTES, start = number * WT_LIMIT_PIN_CHUNK_BYTES;
	struct chunk *chunk = &sink->chunks[block][number];

	if (!chunk->region && sink->registrar) {
		take_registered(sink);
		order(sink, block, number);
	}
	if (chunk->ordered)
		return -EAGAIN;
	if (!chunk->region) {
		int r = register_chunk(sink, block, start, &chunk->region, err);

		if (r)
			return r;
	}
	*ret_region = chunk->region;
	*ret_bytes = start + chunk_bytes(&sink->blocks[block], start) - offset;
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
			sink->bounces = aligned_alloc(HUGE_BYTES, length);
		if (!sink->bounces)
			return -ENOMEM;
		madvise(sink->bounces, length, MADV_HUGEPAGE); /* fewer translations for the device */
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

int wt_sink_map(const struct wt_sink_block *block, uint64_t offset, uint64_t length, struct wt_error *err)
{
	return populate(block, offset, length, MADV_POPULATE_READ, err);
}

/* Pages that exist, as far as can be told. What does not after all is noticed before it is touched. */
static int zero_pages(
	const struct wt_sink_block *block, uint64_t offset, uint64_t length, struct wt_error *err)
{
	int r = wt_sink_map(block, offset, length, err);
	uint64_t end = offset + length;

	for (; !r && offset < end; offset += WT_PAGE_SIZE) {
		if (wt_page_is_zero(block->base + offset))
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
	/* A character device (device DAX) takes the question and answers 0. */
	if ((uint64_t)data < block->fd_offset + offset)
		return offset;
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

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sink.h - the puller's own memory as one fabric writes it: endpoint and local regions.
 *
 * Memory is registered chunk by chunk when the first byte of a chunk is announced, or is to be pulled into
 * it, because registering populates it: an idle guest's empty memory is never touched. With
 * wt_sink_background that is done by threads, and nobody waits for it who has something else to do. Beside
 * the blocks there are a few bounce buffers. Owns endpoint, regions and bounce buffers; borrows the blocks.
 */
#ifndef WT_SINK_H
#define WT_SINK_H

#include <stddef.h>
#include <stdint.h>

#include <watari/block.h>
#include <watari/error.h>
#include <watari/limits.h>
#include <watari/loop.h>
#include <watari/path.h>

#define WT_SINK_BOUNCES 16u /* of WT_PATH_READ_MAX bytes each */

struct wt_sink_block {
	char name[WT_BLOCK_NAME_MAX + 1];
	uint8_t *base;
	uint64_t length;
	int fd; /* or -1 */
	uint64_t fd_offset;
};

struct wt_sink;

int wt_sink_open(const struct wt_fabric_ops *ops, struct wt_endpoint *endpoint,
	const struct wt_sink_block *blocks, unsigned block_count, struct wt_sink **ret_sink);
/* And its endpoint. Waits for registrations that have been begun. */
void wt_sink_close(struct wt_sink *sink);
/* From now on threads register; the loop is woken when one is through. The fabric's region_add must be
 * callable from several threads. */
int wt_sink_background(struct wt_sink *sink, struct wt_loop *loop);
/* Something will be pulled into this range: its chunks are registered in the background, if there is one. */
void wt_sink_expect(struct wt_sink *sink, uint32_t block, uint64_t offset, uint64_t length);

/*
 * The region that holds this place, and how many bytes from it on are in the same region; registers it first
 * if need be. -EAGAIN: it is being registered in the background. -errno with err filled when registering
 * failed.
 */
int wt_sink_region(struct wt_sink *sink, uint32_t block, uint64_t offset, struct wt_region **ret_region,
	uint64_t *ret_bytes, struct wt_error *err);
struct wt_endpoint *wt_sink_endpoint(const struct wt_sink *sink);
/* A bounce buffer of WT_PATH_READ_MAX bytes. -EAGAIN: all are in use; otherwise there are none at all. */
int wt_sink_bounce_take(struct wt_sink *sink, uint8_t **ret_buffer, struct wt_region **ret_region);
void wt_sink_bounce_give(struct wt_sink *sink, const uint8_t *buffer);

/* Zero content: writes zeros where the file has pages that are not zero; holes stay holes. Fails like
 * wt_sink_populate. */
int wt_sink_zero(const struct wt_sink_block *block, uint64_t offset, uint64_t length, struct wt_error *err);
/* As wt_sink_populate, of memory that is only read. Any thread's. */
int wt_sink_map(const struct wt_sink_block *block, uint64_t offset, uint64_t length, struct wt_error *err);
/*
 * Makes sure that there is memory behind this range, by which it loses its holes. -ENOSPC with err filled:
 * there is not, because what holds the block is full. To be asked before memory is touched that may not be
 * there (SIGBUS), or after something else failed to write it.
 */
int wt_sink_populate(
	const struct wt_sink_block *block, uint64_t offset, uint64_t length, struct wt_error *err);

#endif

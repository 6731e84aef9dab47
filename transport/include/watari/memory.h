/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory.h - guest memory that page servers serve, and what was ever announced of it.
 *
 * A list of blocks, and its history. Several servers may share one memory, at once and one after the other:
 * so a puller can be given what was announced to another one. Blocks are added before the first server
 * starts.
 *
 * Memory and file of a block belong to the caller, and must stay mapped and open until wt_memory_close has
 * returned. They are only read. One thread: that of the servers' loop.
 */
#ifndef WATARI_MEMORY_H
#define WATARI_MEMORY_H

#include <stdint.h>

#include <watari/block.h>
#include <watari/error.h>

struct wt_memory;

int wt_memory_open(struct wt_memory **ret_memory, struct wt_error *err);
/* After its servers. Waits for what they have left under way, seconds at most. */
void wt_memory_close(struct wt_memory *memory);
/* Whether wt_memory_close would not wait. */
bool wt_memory_idle(struct wt_memory *memory);
/*
 * Answers the block's number (0, 1, ...). fd (or -1): the file behind base, whose holes are then never
 * touched. base NULL (and fd -1): there is no memory to read, all content comes by wt_server_announce_copy or
 * is zero.
 */
int wt_memory_block_add(struct wt_memory *memory, const char *name, void *base, uint64_t length, int fd,
	uint64_t fd_offset, struct wt_error *err);

#endif

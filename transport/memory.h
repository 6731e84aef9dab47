/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory.h - the blocks that page servers share, and their history.
 *
 *   1. announced is set for every page that was announced, by whichever server, since the beginning or the
 * last wt_memory_forget; zero for those whose last announcement was zero.
 *   2. A *former* is a puller that has drained. Its valid bit of a page is set only if it holds the page's
 *      content complete and as it was announced last, and that is not zero. A new announcement clears it.
 *   3. valid & zero == 0, valid & ~announced == 0.
 *
 * Two bits per page, and one more for each former. Blocks are constant once a server has started, so that a
 * thread may read them while it holds the memory; everything else is the loop's.
 */
#ifndef WT_MEMORY_H
#define WT_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/memory.h>

#include "bitmap.h"

#define WT_FORMERS_MAX 7

struct wt_served_block {
	char name[WT_BLOCK_NAME_MAX + 1];
	uint8_t *base; /* NULL: there is no memory, all is served from the ring */
	uint64_t length;
	int fd; /* or -1 */
	uint64_t fd_offset;
};

/* A server starts: no block is added any more. */
void wt_memory_start(struct wt_memory *memory);
unsigned wt_memory_block_count(const struct wt_memory *memory);
const struct wt_served_block *wt_memory_block(const struct wt_memory *memory, unsigned block);
uint64_t wt_memory_pages(const struct wt_memory *memory, unsigned block);
/* Whether it lies in a block. */
bool wt_memory_contains(const struct wt_memory *memory, const struct wt_extent *extent);

/* A bitmap for each block, all clear; NULL: no memory. */
struct wt_bitmap *wt_memory_maps_open(const struct wt_memory *memory);
void wt_memory_maps_close(const struct wt_memory *memory, struct wt_bitmap *maps);

/* wt_memory_close waits for who holds it. From any thread. */
void wt_memory_hold(struct wt_memory *memory);
void wt_memory_release(struct wt_memory *memory);

/* The extent, which lies in a block, is announced. */
void wt_memory_announced_now(struct wt_memory *memory, const struct wt_extent *extent, bool zero);
/* As if nothing had ever been announced: no former has anything. */
void wt_memory_forget(struct wt_memory *memory);
const struct wt_bitmap *wt_memory_announced(const struct wt_memory *memory, unsigned block);
const struct wt_bitmap *wt_memory_zero(const struct wt_memory *memory, unsigned block);

/* A former that has all that was announced and is not zero; answers its index, -ENOSPC or -ENOMEM. */
int wt_memory_former_add(struct wt_memory *memory);
void wt_memory_former_remove(struct wt_memory *memory, int former);
/* It lacks these pages; with words, those whose bit is set (extent->page is a multiple of 64 then). */
void wt_memory_former_lacks(
	struct wt_memory *memory, int former, const struct wt_extent *extent, const uint64_t *words);
const struct wt_bitmap *wt_memory_valid(const struct wt_memory *memory, int former, unsigned block);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ram_walk.h - looks through guest RAM that is mapped here, from its first page to its last, and tells which
 * pages hold something.
 *
 *   1. Each page is told once, in a run of its kind; runs come in the order of blocks and pages.
 *   2. Holes of the file are asked for, not touched: reading one in a mapping would allocate it.
 *   3. At most 15 zero pages in a row may be told as if they held something.
 *   4. It knows what a page held when it was looked at: what changes meanwhile is the caller's business.
 */
#ifndef WATARI_QEMU_RAM_WALK_H
#define WATARI_QEMU_RAM_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/block.h>

#include "ram_block.h"

#define WT_RAM_WALK_WORDS 512

struct wt_ram_walk {
	const struct wt_ram_block *const *blocks; /* borrowed; NULL behind the last one; their index is an
						   * extent's block */
	unsigned block;                           /* which one is looked at */
	uint64_t offset, data_end;                /* how far; up to where there are bytes */
	bool begun, full;                         /* this block: its file was asked for holes, and has none */
	uint64_t looked;                   /* bytes that were told so far but for holes, of all blocks */
	uint64_t peek_at, peek_end;        /* of which part words were fetched, ... */
	uint64_t words[WT_RAM_WALK_WORDS]; /* ... these */
};

struct wt_ram_run {
	struct wt_extent extent; /* at most 256 pages, of a hole at most 2^18 */
	bool zero;
};

/* The next run; false: there is none. Blocks that are not mapped are passed over. */
bool wt_ram_walk_next(struct wt_ram_walk *walk, struct wt_ram_run *ret_run);
/* Leaves out the rest of the block that the last run was of. */
void wt_ram_walk_skip(struct wt_ram_walk *walk);
/* Bytes of mapped blocks that are still to be told. */
uint64_t wt_ram_walk_left(const struct wt_ram_walk *walk);

#endif

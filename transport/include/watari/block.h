/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block.h - the units of memory that everything else speaks of.
 *
 * A block is one contiguous range of guest memory with a name (QEMU: RAM block, id string). A page is QEMU's
 * target page, 4 KiB, whatever backs the block. An extent is a run of consecutive pages of one block.
 * Blocks are numbered from 0 in the order in which the source lists them; both ends use that number.
 */
#ifndef WATARI_BLOCK_H
#define WATARI_BLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define WT_PAGE_SHIFT 12
#define WT_PAGE_SIZE (1u << WT_PAGE_SHIFT)
#define WT_BLOCK_NAME_MAX 255
#define WT_BLOCKS_MAX 1024

/* Whether a page holds nothing but zeros. Most that do not show it in their first byte. */
static inline bool wt_page_is_zero(const uint8_t *page)
{
	return !page[0] && !memcmp(page, page + 1, WT_PAGE_SIZE - 1);
}

struct wt_extent {
	uint32_t block; /* block number */
	uint32_t pages; /* how many pages, at least 1 */
	uint64_t page;  /* first page within the block */
};

/* What an announcement says of an extent's content. */
enum wt_content {
	WT_CONTENT_INVALID = 0,
	WT_CONTENT_IN_PLACE = 1,          /* read it where it lies in the block */
	WT_CONTENT_ZERO = 2,              /* all bytes are zero; nothing to read */
	WT_CONTENT_STAGED = 3,            /* a copy lies in the server's ring, at a given offset */
	WT_CONTENT_IN_PLACE_DIGESTED = 4, /* in place, and digests follow: the puller may have it already */
};

#endif

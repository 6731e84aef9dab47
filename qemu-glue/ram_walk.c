/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ram_walk.c - see ram_walk.h.
 *
 * Where the next hole begins is never asked: that may be far away, and the kernel looks at each page up to
 * there. Whether there are any is asked once for each block.
 *
 * Most pages show in their first word that they hold something. What that costs is getting the word: each is
 * far from the last one, and memory that this process has not touched yet costs a fault besides, on virtual
 * machines within virtual machines a dear one. So the kernel fetches words of many pages in one call, and of
 * a group of 16 pages whose first one holds something the others are not looked at.
 */
#include "ram_walk.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "holes.h"

#define DATA_PAGES_MAX 256u
#define GROUP_BYTES (16u * WT_PAGE_SIZE)
#define ZERO_PAGES_MAX (1u << 18)

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* A file system that counts more than the file's bytes (its own tables) may hide a hole; reading that costs
 * memory then, no more. */
static bool is_full(const struct wt_ram_block *block)
{
	struct stat file;

	return fstat(block->fd, &file) == 0 && file.st_blocks * 512 >= file.st_size;
}

/* The end of the hole at offset; offset: there is none. */
static uint64_t hole_end(const struct wt_ram_block *block, uint64_t offset)
{
	uint64_t first = block->fd_offset;
	uint64_t end = wt_hole_end(block->fd, first + offset, first + block->length) - first;

	return end - end % WT_PAGE_SIZE;
}

/* There are bytes at offset: how far, as far as it matters now? */
static uint64_t data_end(const struct wt_ram_block *block, uint64_t offset)
{
	uint64_t end = least(block->length, offset + (uint64_t)DATA_PAGES_MAX * WT_PAGE_SIZE);

	for (offset += WT_PAGE_SIZE; offset < end && hole_end(block, offset) == offset;)
		offset += WT_PAGE_SIZE;
	return least(offset, end);
}

/* The hole at walk->offset, as a run; false: there are bytes. */
static bool take_hole(struct wt_ram_walk *walk, const struct wt_ram_block *block, struct wt_ram_run *run)
{
	uint64_t end = walk->full ? walk->offset : hole_end(block, walk->offset);

	if (end == walk->offset) {
		walk->data_end = walk->full ? block->length : data_end(block, walk->offset);
		return false;
	}
	end = least(end, walk->offset + (uint64_t)ZERO_PAGES_MAX * WT_PAGE_SIZE);
	run->extent.pages = (uint32_t)((end - walk->offset) >> WT_PAGE_SHIFT);
	run->zero = true;
	walk->offset = end;
	return true;
}

/* The first words of groups from `at` on, into walk->words. What cannot be had stays 0. */
static void peek(struct wt_ram_walk *walk, const struct wt_ram_block *block, uint64_t at)
{
	struct iovec there[WT_RAM_WALK_WORDS], here = { .iov_base = walk->words };
	unsigned count = 0;

	memset(walk->words, 0, sizeof walk->words);
	walk->peek_at = at;
	for (; count < WT_RAM_WALK_WORDS && at + GROUP_BYTES <= walk->data_end; at += GROUP_BYTES)
		there[count++] = (struct iovec){ (uint8_t *)block->base + at, sizeof walk->words[0] };
	here.iov_len = count * sizeof walk->words[0];
	walk->peek_end = at;
	if (process_vm_readv(getpid(), &here, 1, there, count, 0) < 0)
		memset(walk->words, 0, sizeof walk->words);
}

/* The group of 16 pages at `at` shows by its first word that its first page holds something. */
static bool shows(struct wt_ram_walk *walk, const struct wt_ram_block *block, uint64_t at)
{
	if (at + GROUP_BYTES > walk->data_end)
		return false;
	if (at < walk->peek_at || at >= walk->peek_end)
		peek(walk, block, at);
	return walk->words[(at - walk->peek_at) / GROUP_BYTES] != 0;
}

/* Does it hold nothing at `at`? Told of a page, or of a whole group. */
static bool is_zero(
	struct wt_ram_walk *walk, const struct wt_ram_block *block, uint64_t at, uint64_t *ret_bytes)
{
	bool group = at % GROUP_BYTES == 0 && shows(walk, block, at);

	*ret_bytes = group ? GROUP_BYTES : WT_PAGE_SIZE;
	return !group && wt_page_is_zero((const uint8_t *)block->base + at);
}

static void take_data(struct wt_ram_walk *walk, const struct wt_ram_block *block, struct wt_ram_run *run)
{
	uint64_t first = walk->offset, end = first + (uint64_t)DATA_PAGES_MAX * WT_PAGE_SIZE, bytes;

	end = least(walk->data_end, end - end % GROUP_BYTES);
	run->zero = is_zero(walk, block, first, &bytes);
	do
		walk->offset += bytes;
	while (walk->offset < end && is_zero(walk, block, walk->offset, &bytes) == run->zero);
	run->extent.pages = (uint32_t)((walk->offset - first) >> WT_PAGE_SHIFT);
	walk->looked += walk->offset - first;
}

void wt_ram_walk_skip(struct wt_ram_walk *walk)
{
	walk->block++;
	walk->offset = walk->data_end = 0;
	walk->begun = walk->full = false;
	walk->peek_at = walk->peek_end = 0;
}

bool wt_ram_walk_next(struct wt_ram_walk *walk, struct wt_ram_run *ret_run)
{
	const struct wt_ram_block *block;

	while ((block = walk->blocks[walk->block]) && (!block->base || walk->offset >= block->length))
		wt_ram_walk_skip(walk);
	if (!block)
		return false;
	if (!walk->begun) {
		walk->begun = true;
		walk->full = is_full(block);
	}
	*ret_run = (struct wt_ram_run){ .extent = { .block = walk->block,
						.page = walk->offset >> WT_PAGE_SHIFT } };
	if (walk->offset < walk->data_end || !take_hole(walk, block, ret_run))
		take_data(walk, block, ret_run);
	return true;
}

uint64_t wt_ram_walk_left(const struct wt_ram_walk *walk)
{
	uint64_t left = 0;

	for (unsigned i = walk->block; walk->blocks && walk->blocks[i]; i++)
		if (walk->blocks[i]->base)
			left += walk->blocks[i]->length - (i == walk->block ? walk->offset : 0);
	return left;
}

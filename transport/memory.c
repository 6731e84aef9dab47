/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory.c - blocks and history. See memory.h.
 *
 * Owns the bitmaps; borrows what is mapped. Holders are counted under a lock, because threads that a server
 * has left behind let go when they end.
 */
#include "memory.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct history {
	struct wt_bitmap announced, zero;
	struct wt_bitmap valid[WT_FORMERS_MAX]; /* without words: no such former */
};

struct wt_memory {
	unsigned count;
	bool started;
	struct wt_served_block *blocks;
	struct history *history;
	bool formers[WT_FORMERS_MAX];

	pthread_mutex_t lock;
	pthread_cond_t released;
	unsigned holders;
};

int wt_memory_open(struct wt_memory **ret_memory, struct wt_error *err)
{
	struct wt_memory *memory = calloc(1, sizeof *memory);

	if (!memory)
		return wt_error_set(err, ENOMEM, "no memory for a list of blocks");
	pthread_mutex_init(&memory->lock, NULL);
	pthread_cond_init(&memory->released, NULL);
	*ret_memory = memory;
	return 0;
}

bool wt_memory_idle(struct wt_memory *memory)
{
	bool idle;

	pthread_mutex_lock(&memory->lock);
	idle = !memory->holders;
	pthread_mutex_unlock(&memory->lock);
	return idle;
}

void wt_memory_close(struct wt_memory *memory)
{
	if (!memory)
		return;
	pthread_mutex_lock(&memory->lock);
	while (memory->holders)
		pthread_cond_wait(&memory->released, &memory->lock);
	pthread_mutex_unlock(&memory->lock);
	for (int i = 0; i < WT_FORMERS_MAX; i++)
		wt_memory_former_remove(memory, i);
	for (unsigned i = 0; i < memory->count; i++) {
		wt_bitmap_close(&memory->history[i].announced);
		wt_bitmap_close(&memory->history[i].zero);
	}
	pthread_cond_destroy(&memory->released);
	pthread_mutex_destroy(&memory->lock);
	free(memory->history);
	free(memory->blocks);
	free(memory);
}

/* Room for one block more, and its maps. */
static int grow(struct wt_memory *memory, uint64_t pages)
{
	struct wt_served_block *blocks =
		reallocarray(memory->blocks, memory->count + 1, sizeof *memory->blocks);
	struct history *history;

	if (!blocks)
		return -ENOMEM;
	memory->blocks = blocks;
	history = reallocarray(memory->history, memory->count + 1, sizeof *memory->history);
	if (!history)
		return -ENOMEM;
	memory->history = history;
	history += memory->count;
	memset(history, 0, sizeof *history);
	if (wt_bitmap_open(&history->announced, pages))
		return -ENOMEM;
	if (!wt_bitmap_open(&history->zero, pages))
		return 0;
	wt_bitmap_close(&history->announced);
	return -ENOMEM;
}

int wt_memory_block_add(struct wt_memory *memory, const char *name, void *base, uint64_t length, int fd,
	uint64_t fd_offset, struct wt_error *err)
{
	struct wt_served_block *block;

	if (memory->started)
		return wt_error_set(err, EINVAL, "block %s: blocks are added before the start", name);
	if (memory->count == WT_BLOCKS_MAX || strlen(name) > WT_BLOCK_NAME_MAX)
		return wt_error_set(err, EINVAL, "block %s: too many blocks, or its name is too long", name);
	if (!length || length % WT_PAGE_SIZE)
		return wt_error_set(
			err, EINVAL, "block %s: its length is no multiple of the page size", name);
	if (grow(memory, length >> WT_PAGE_SHIFT))
		return wt_error_set(err, ENOMEM, "no memory for block %s", name);
	block = &memory->blocks[memory->count];
	*block = (struct wt_served_block){ .base = base, .length = length, .fd = fd, .fd_offset = fd_offset };
	strcpy(block->name, name);
	return (int)memory->count++;
}

void wt_memory_start(struct wt_memory *memory)
{
	memory->started = true;
}

unsigned wt_memory_block_count(const struct wt_memory *memory)
{
	return memory->count;
}

const struct wt_served_block *wt_memory_block(const struct wt_memory *memory, unsigned block)
{
	return &memory->blocks[block];
}

uint64_t wt_memory_pages(const struct wt_memory *memory, unsigned block)
{
	return memory->blocks[block].length >> WT_PAGE_SHIFT;
}

bool wt_memory_contains(const struct wt_memory *memory, const struct wt_extent *extent)
{
	return extent->block < memory->count && extent->page <= wt_memory_pages(memory, extent->block) &&
	       extent->pages <= wt_memory_pages(memory, extent->block) - extent->page;
}

void wt_memory_maps_close(const struct wt_memory *memory, struct wt_bitmap *maps)
{
	for (unsigned i = 0; maps && i < memory->count; i++)
		wt_bitmap_close(&maps[i]);
	free(maps);
}

struct wt_bitmap *wt_memory_maps_open(const struct wt_memory *memory)
{
	struct wt_bitmap *maps = calloc(memory->count + 1, sizeof *maps);

	for (unsigned i = 0; maps && i < memory->count; i++) {
		if (wt_bitmap_open(&maps[i], wt_memory_pages(memory, i)) == 0)
			continue;
		wt_memory_maps_close(memory, maps);
		return NULL;
	}
	return maps;
}

void wt_memory_hold(struct wt_memory *memory)
{
	pthread_mutex_lock(&memory->lock);
	memory->holders++;
	pthread_mutex_unlock(&memory->lock);
}

void wt_memory_release(struct wt_memory *memory)
{
	pthread_mutex_lock(&memory->lock);
	if (!--memory->holders)
		pthread_cond_broadcast(&memory->released);
	pthread_mutex_unlock(&memory->lock);
}

/* ---- history ---- */

void wt_memory_announced_now(struct wt_memory *memory, const struct wt_extent *extent, bool zero)
{
	struct history *history = &memory->history[extent->block];

	wt_bitmap_set(&history->announced, extent->page, extent->pages);
	if (zero)
		wt_bitmap_set(&history->zero, extent->page, extent->pages);
	else
		wt_bitmap_clear(&history->zero, extent->page, extent->pages);
	for (unsigned i = 0; i < WT_FORMERS_MAX; i++)
		if (memory->formers[i])
			wt_bitmap_clear(&history->valid[i], extent->page, extent->pages);
}

void wt_memory_forget(struct wt_memory *memory)
{
	for (unsigned i = 0; i < memory->count; i++) {
		uint64_t pages = wt_memory_pages(memory, i);

		wt_bitmap_clear(&memory->history[i].announced, 0, pages);
		wt_bitmap_clear(&memory->history[i].zero, 0, pages);
		for (unsigned former = 0; former < WT_FORMERS_MAX; former++)
			if (memory->formers[former])
				wt_bitmap_clear(&memory->history[i].valid[former], 0, pages);
	}
}

const struct wt_bitmap *wt_memory_announced(const struct wt_memory *memory, unsigned block)
{
	return &memory->history[block].announced;
}

const struct wt_bitmap *wt_memory_zero(const struct wt_memory *memory, unsigned block)
{
	return &memory->history[block].zero;
}

int wt_memory_former_add(struct wt_memory *memory)
{
	int former = 0;

	while (former < WT_FORMERS_MAX && memory->formers[former])
		former++;
	if (former == WT_FORMERS_MAX)
		return -ENOSPC;
	memory->formers[former] = true;
	for (unsigned i = 0; i < memory->count; i++) {
		struct history *history = &memory->history[i];

		if (wt_bitmap_open(&history->valid[former], wt_memory_pages(memory, i))) {
			wt_memory_former_remove(memory, former);
			return -ENOMEM;
		}
		wt_bitmap_and_not(&history->valid[former], &history->announced, &history->zero);
	}
	return former;
}

void wt_memory_former_remove(struct wt_memory *memory, int former)
{
	if (former < 0 || !memory->formers[former])
		return;
	memory->formers[former] = false;
	for (unsigned i = 0; i < memory->count; i++)
		wt_bitmap_close(&memory->history[i].valid[former]);
}

void wt_memory_former_lacks(
	struct wt_memory *memory, int former, const struct wt_extent *extent, const uint64_t *words)
{
	struct wt_bitmap *valid = &memory->history[extent->block].valid[former];

	if (!words) {
		wt_bitmap_clear(valid, extent->page, extent->pages);
		return;
	}
	assert(extent->page % 64 == 0);
	for (uint32_t i = 0; i < (extent->pages + 63) / 64; i++)
		valid->words[extent->page / 64 + i] &= ~words[i];
}

const struct wt_bitmap *wt_memory_valid(const struct wt_memory *memory, int former, unsigned block)
{
	return &memory->history[block].valid[former];
}

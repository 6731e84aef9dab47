/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replay.c - see replay.h.
 *
 * Owns copies of pages, by block and page in leaves of LEAF_PAGES, and the verbatim bytes: first RAM's start
 * section and what precedes it (`head`), then whatever came between part sections.
 *   1. A page is there at most once: with its newest content, or as zero without a copy.
 *   2. kept_bytes is what leaves and copies take, and never exceeds kept_max.
 *   3. When `refusal` is set nothing is kept, and nothing will be.
 * Pure: allocates, and nothing else.
 */
#include "replay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LEAF_PAGES 512u

struct leaf {
	uint8_t *pages[LEAF_PAGES]; /* NULL: never sent; &zeros; or an owned copy */
};

struct replay_block {
	uint64_t page_count;
	struct leaf **leaves; /* NULL: no page of it has been kept */
};

struct wt_replay {
	struct replay_block blocks[WT_BLOCKS_MAX];
	uint32_t block_count;
	uint8_t *verbatim;
	size_t length, room;
	size_t head; /* 0: not complete */
	size_t kept_bytes, kept_max;
	int refusal; /* -errno: it cannot be replayed, and never will; 0: it can, or will */
};

static uint8_t zeros;

static size_t leaf_count(const struct replay_block *block)
{
	return (size_t)((block->page_count + LEAF_PAGES - 1) / LEAF_PAGES);
}

static void free_leaf(struct leaf *leaf)
{
	for (unsigned i = 0; leaf && i < LEAF_PAGES; i++)
		if (leaf->pages[i] != &zeros)
			free(leaf->pages[i]);
	free(leaf);
}

static void free_block(struct replay_block *block)
{
	for (size_t i = 0; block->leaves && i < leaf_count(block); i++)
		free_leaf(block->leaves[i]);
	free(block->leaves);
	block->leaves = NULL;
}

/* Gives up what is kept, for good. */
static void drop(struct wt_replay *r, int refusal)
{
	for (uint32_t i = 0; i < r->block_count; i++)
		free_block(&r->blocks[i]);
	free(r->verbatim);
	r->verbatim = NULL;
	r->kept_bytes = 0;
	r->refusal = refusal;
}

/* Zeroed memory within the bound; without it everything is dropped. */
static void *take(struct wt_replay *r, size_t count, size_t size)
{
	size_t left = r->kept_max - r->kept_bytes;
	void *memory = count <= left / size ? calloc(count, size) : NULL;

	if (memory)
		r->kept_bytes += count * size;
	else
		drop(r, count <= left / size ? -ENOMEM : -ENOBUFS);
	return memory;
}

static uint8_t **slot_of(struct wt_replay *r, uint32_t index, uint64_t page)
{
	struct replay_block *block = &r->blocks[index];
	struct leaf **leaf;

	if (!block->leaves)
		block->leaves = take(r, leaf_count(block), sizeof(struct leaf *));
	if (!block->leaves)
		return NULL;
	leaf = &block->leaves[page / LEAF_PAGES];
	if (!*leaf) {
		struct leaf *fresh = take(r, 1, sizeof *fresh);

		if (!fresh)
			return NULL;
		*leaf = fresh;
	}
	return &(*leaf)->pages[page % LEAF_PAGES];
}

int wt_replay_open(size_t pages_max, struct wt_replay **ret_replay)
{
	struct wt_replay *r = calloc(1, sizeof *r);

	if (!r)
		return -ENOMEM;
	r->kept_max = pages_max;
	*ret_replay = r;
	return 0;
}

void wt_replay_close(struct wt_replay *r)
{
	if (!r)
		return;
	drop(r, 0);
	free(r);
}

void wt_replay_block(struct wt_replay *r, uint32_t index, uint64_t length)
{
	if (!r)
		return;
	r->blocks[index].page_count = length >> WT_PAGE_SHIFT;
	r->block_count = index + 1;
}

void wt_replay_blocks_end(struct wt_replay *r)
{
	if (r)
		r->head = r->length;
}

void wt_replay_kept(struct wt_replay *r, uint32_t block, uint64_t page, const uint8_t *bytes)
{
	uint8_t **slot = r && !r->refusal ? slot_of(r, block, page) : NULL;

	if (!slot)
		return;
	if (!bytes && *slot != &zeros) {
		r->kept_bytes -= *slot ? WT_PAGE_SIZE : 0;
		free(*slot);
		*slot = &zeros;
	}
	if (!bytes)
		return;
	if (!*slot || *slot == &zeros) {
		uint8_t *copy = take(r, 1, WT_PAGE_SIZE);

		if (!copy)
			return;
		*slot = copy;
	}
	memcpy(*slot, bytes, WT_PAGE_SIZE);
}

void wt_replay_pass(struct wt_replay *r, const uint8_t *bytes, size_t length)
{
	if (!r || r->refusal)
		return;
	if (length > WT_REPLAY_VERBATIM_MAX - r->length) {
		drop(r, -E2BIG);
		return;
	}
	if (r->length + length > r->room) {
		size_t room = 2 * (r->length + length);
		uint8_t *grown = realloc(r->verbatim, room);

		if (!grown) {
			drop(r, -ENOMEM);
			return;
		}
		r->verbatim = grown;
		r->room = room;
	}
	memcpy(r->verbatim + r->length, bytes, length);
	r->length += length;
}

void wt_replay_ram_end(struct wt_replay *r)
{
	if (r)
		drop(r, -ESTALE);
}

int wt_replay_check(const struct wt_replay *r, struct wt_error *err)
{
	if (!r)
		return wt_error_set(
			err, EOPNOTSUPP, "QEMU's stream is not kept, so no other destination can take over");
	switch (r->refusal) {
	case 0:
		if (r->head)
			return 0;
		return wt_error_set(err, ENODATA,
			"QEMU has not listed the guest's RAM blocks yet; try again in a moment");
	case -ESTALE:
		return wt_error_set(err, ESTALE, "the guest is stopped: all of its memory has been sent");
	case -ENOMEM:
		return wt_error_set(
			err, ENOMEM, "there was no memory to keep QEMU's stream for another destination");
	case -E2BIG:
		return wt_error_set(err, E2BIG,
			"QEMU's stream has more than %u MiB beside its pages, too much to keep for another destination",
			WT_REPLAY_VERBATIM_MAX >> 20);
	default:
		return wt_error_set(err, ENOBUFS,
			"the guest has more than %zu MiB of memory that is not shared (video RAM, ROMs), too much to keep "
			"for another destination",
			r->kept_max >> 20);
	}
}

uint64_t wt_replay_position(const struct wt_replay *r)
{
	return r ? r->length : 0;
}

/* ---- writing ---- */

struct cursor {
	const struct wt_replay *replay;
	uint32_t block;
	uint64_t page;
};

/* The next page that was sent; leaves and blocks of which none was are passed over whole. */
static bool next_page(void *arg, struct wt_stream_page *ret_page)
{
	struct cursor *at = arg;

	for (; at->block < at->replay->block_count; at->block++, at->page = 0) {
		const struct replay_block *block = &at->replay->blocks[at->block];

		while (block->leaves && at->page < block->page_count) {
			const struct leaf *leaf = block->leaves[at->page / LEAF_PAGES];
			const uint8_t *copy = leaf ? leaf->pages[at->page % LEAF_PAGES] : NULL;

			if (!leaf) {
				at->page += LEAF_PAGES - at->page % LEAF_PAGES;
				continue;
			}
			at->page++;
			if (!copy)
				continue;
			*ret_page = (struct wt_stream_page){ .block = at->block,
				.page = at->page - 1,
				.bytes = copy == &zeros ? NULL : copy };
			return true;
		}
	}
	return false;
}

int wt_replay_write(const struct wt_replay *r, const struct wt_stream *stream, uint64_t from,
	int (*write)(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err), void *arg,
	struct wt_error *err)
{
	struct cursor cursor = { .replay = r };
	int rc = wt_replay_check(r, err);
	size_t rest;

	if (rc)
		return rc;
	if (from < r->head)
		rc = write(arg, r->verbatim + from, r->head - from, err);
	if (rc >= 0)
		rc = wt_stream_part_section(stream, next_page, &cursor, write, arg, err);
	rest = from < r->head ? r->head : from;
	if (rc >= 0 && rest < r->length)
		rc = write(arg, r->verbatim + rest, r->length - rest, err);
	return rc < 0 ? rc : 0;
}

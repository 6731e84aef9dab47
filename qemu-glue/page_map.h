/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * page_map.h - which content each page of a block has in a checkpoint, and where its bytes lie: the files
 * ram-*.map, as docs/CHECKPOINT.md describes them.
 */
#ifndef WATARI_QEMU_PAGE_MAP_H
#define WATARI_QEMU_PAGE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/block.h>
#include <watari/error.h>

#define WT_PAGE_MAP_MAGIC "wtpages1"
#define WT_PAGE_MAP_HEADER 64u
#define WT_PAGE_DIGEST_BYTES 16u

/* As it lies in the file, little-endian. */
struct wt_page_map_header {
	char magic[8];
	uint64_t pages;
	uint64_t generation; /* of the checkpoint */
	uint8_t zero[40];
};

/*
 * place 0: all bytes of the page are zero, and digest is 0. Otherwise the layer's id in the upper 8 bits; a
 * raw layer: nothing else, the page lies at its own offset. A packed one: the offset of the page (48 bits). A
 * layer of frames (frame.h): the page's number in its frame (8 bits), and the frame's offset in the file (48
 * bits).
 */
struct wt_page_entry {
	uint8_t digest[WT_PAGE_DIGEST_BYTES];
	uint64_t place;
};

_Static_assert(sizeof(struct wt_page_map_header) == WT_PAGE_MAP_HEADER, "goes into files");
_Static_assert(sizeof(struct wt_page_entry) == 24, "goes into files");

#define WT_PLACE_OFFSET_MAX (1ull << 48)

static inline uint64_t wt_place(unsigned layer, unsigned index, uint64_t offset)
{
	return (uint64_t)layer << 56 | (uint64_t)index << 48 | offset;
}

static inline unsigned wt_place_layer(uint64_t place)
{
	return (unsigned)(place >> 56);
}

static inline unsigned wt_place_index(uint64_t place)
{
	return (unsigned)(place >> 48) & 0xff;
}

static inline uint64_t wt_place_offset(uint64_t place)
{
	return place & (WT_PLACE_OFFSET_MAX - 1);
}

/* XXH3 (128 bits) of a page, with the checkpoint's seed; against errors, and against guests that would make
 * pages collide without knowing the seed. */
void wt_page_digest(const void *page, uint64_t seed, uint8_t ret_digest[WT_PAGE_DIGEST_BYTES]);
/* The same, without a seed, of any bytes. */
void wt_bytes_digest(const void *bytes, size_t length, uint8_t ret_digest[WT_PAGE_DIGEST_BYTES]);

struct wt_page_map {
	void *file; /* the mapping, or memory until finish */
	size_t length;
	int fd; /* the file, where its file system cannot map it to be written; else -1 */
	struct wt_page_entry *entries;
	uint64_t pages;
};

/* Makes an empty file the map of so many pages, all zero, and maps it; its room on disk is taken now. Where a
 * file system has no such mappings (9p, some of FUSE), the map is memory and goes to the file when it is
 * finished. The descriptor may be closed afterwards. */
int wt_page_map_create(
	int fd, uint64_t pages, uint64_t generation, struct wt_page_map *ret_map, struct wt_error *err);
/* Brings it to disk; answers the digest of the whole file. */
int wt_page_map_finish(
	struct wt_page_map *map, uint8_t ret_digest[WT_PAGE_DIGEST_BYTES], struct wt_error *err);
/* Maps a file to be read, and compares its digest. path: what messages call it. */
int wt_page_map_open(int fd, const char *path, uint64_t pages, uint64_t generation,
	const uint8_t digest[WT_PAGE_DIGEST_BYTES], struct wt_page_map *ret_map, struct wt_error *err);
void wt_page_map_close(struct wt_page_map *map);

#endif

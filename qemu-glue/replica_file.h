/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica_file.h - reads guest RAM in a directory: an index and images (docs/REPLICA.md), and, of a
 * checkpoint, maps that say in which layer each page lies (docs/CHECKPOINT.md).
 *
 * All files are open when wt_replica_open returns; a writer may then replace them. Blocking; any thread.
 */
#ifndef WATARI_QEMU_REPLICA_FILE_H
#define WATARI_QEMU_REPLICA_FILE_H

#include <stdint.h>

#include "page_map.h"
#include "replica_index.h"

/* A layer's file of one block. */
struct wt_replica_part {
	int fd; /* -1: there is no layer of that id */
	enum wt_replica_kind kind;
};

struct wt_replica_block {
	const char *name;
	uint64_t length; /* bytes, whole pages */
	int fd; /* read-only, of the flat image; its holes are pages of zeros: wt_hole_end; -1: not flat */
	const void *base; /* a mapping of that, to be read; NULL: not flat. A file that shrinks, or a disk
			     that fails, means SIGBUS there */
	struct wt_page_map map;        /* of a checkpoint; pages 0: none */
	struct wt_replica_part *parts; /* of a checkpoint; by id, WT_REPLICA_LAYERS_MAX + 1 */
};

struct wt_replica {
	struct wt_replica_index *index;
	struct wt_replica_block *blocks; /* index->count */
	int state_fd;                    /* of a checkpoint, else -1 */
};

/* vm NULL: of whichever VM; index->vm says which. */
int wt_replica_open(
	const char *directory, const char *vm, struct wt_replica **ret_replica, struct wt_error *err);
/* The same by whoever has opened, and locked, the directory; it is called so in messages. */
int wt_replica_open_at(
	int fd, const char *directory, const char *vm, struct wt_replica **ret_replica, struct wt_error *err);
void wt_replica_close(struct wt_replica *replica);
/* NULL: it has no block of that name and length. */
const struct wt_replica_block *wt_replica_find(
	const struct wt_replica *replica, const char *name, uint64_t length);
/* Copies pages, without danger of SIGBUS. -EINVAL: not in the block. -ENODATA: the image has shrunk.
 * -EBADMSG: a frame, or the map, is damaged. -EIO ... */
int wt_replica_read(const struct wt_replica_block *block, uint64_t page, uint32_t pages, void *ret_bytes);

/* Consecutive pages of a checkpoint's block that lie together. */
struct wt_replica_run {
	uint64_t page;
	uint32_t pages;
	const struct wt_replica_part *part; /* NULL: zeros */
	uint64_t offset;                    /* of the first page's bytes; of the frame */
	uint32_t index;                     /* of the first page in the frame */
};

/* The run that begins at a page, at most up to `end`. -EBADMSG: the map names no layer. */
int wt_replica_run_at(
	const struct wt_replica_block *block, uint64_t page, uint64_t end, struct wt_replica_run *ret_run);
/* Reads a run's frame; scratch: wt_frame_bound() bytes, pages: room for WT_FRAME_PAGES of them. *ret_bytes:
 * where the run's pages lie in there. -EBADMSG: damaged, or it has not got those pages. */
int wt_replica_frame(
	const struct wt_replica_run *run, void *scratch, uint8_t *pages, const uint8_t **ret_bytes);

#endif

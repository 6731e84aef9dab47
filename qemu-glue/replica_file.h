/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica_file.h - reads guest RAM in a directory: an index and an image per block (docs/REPLICA.md).
 *
 * All files are open when wt_replica_open returns; a writer may then replace them. Blocking; any thread.
 */
#ifndef WATARI_QEMU_REPLICA_FILE_H
#define WATARI_QEMU_REPLICA_FILE_H

#include <stdint.h>

#include "replica_index.h"

struct wt_replica_block {
	const char *name;
	uint64_t length;  /* bytes, whole pages */
	int fd;           /* read-only; its holes are pages of zeros: wt_hole_end */
	const void *base; /* a mapping, to be read. A file that shrinks, or a disk that fails, means SIGBUS
			     there */
};

struct wt_replica {
	struct wt_replica_index *index;
	struct wt_replica_block *blocks; /* index->count */
};

/* vm NULL: of whichever VM; index->vm says which. */
int wt_replica_open(
	const char *directory, const char *vm, struct wt_replica **ret_replica, struct wt_error *err);
void wt_replica_close(struct wt_replica *replica);
/* NULL: it has no block of that name and length. */
const struct wt_replica_block *wt_replica_find(
	const struct wt_replica *replica, const char *name, uint64_t length);
/* Copies pages, without danger of SIGBUS. -EINVAL: not in the block. -ENODATA: the image has shrunk. -EIO ...
 */
int wt_replica_read(const struct wt_replica_block *block, uint64_t page, uint32_t pages, void *ret_bytes);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica_index.h - the index of a directory with guest RAM in it: index.json, as docs/REPLICA.md describes
 * it. Pure.
 */
#ifndef WATARI_QEMU_REPLICA_INDEX_H
#define WATARI_QEMU_REPLICA_INDEX_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/block.h>
#include <watari/error.h>

#define WT_REPLICA_FORMAT 1
#define WT_REPLICA_VM_MAX 255           /* bytes */
#define WT_REPLICA_INDEX_MAX (4u << 20) /* bytes: 1024 blocks with the longest names fit */

struct wt_replica_image {
	char name[WT_BLOCK_NAME_MAX + 1]; /* of the block */
	char file[NAME_MAX + 1];          /* in the same directory */
	uint64_t length;                  /* bytes, whole pages */
};

struct wt_replica_index {
	char vm[WT_REPLICA_VM_MAX + 1];
	unsigned count; /* 1 .. WT_BLOCKS_MAX */
	struct wt_replica_image *images;
};

/*
 * `from` is what messages call the text. What is accepted: names are not empty, no two blocks share a name or
 * a file, a file is a plain name that cannot leave the directory, all lengths together fit into 63 bits.
 */
int wt_replica_index_parse(const char *text, size_t length, const char *from,
	struct wt_replica_index **ret_index, struct wt_error *err);
void wt_replica_index_free(struct wt_replica_index *index);
/* The text, NUL at its end, to be freed. -EINVAL: a name is no UTF-8; -ENOMEM. */
int wt_replica_index_render(const struct wt_replica_index *index, char **ret_text, struct wt_error *err);

#endif

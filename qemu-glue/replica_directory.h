/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica_directory.h - what the reader and the writer of replicas share: the directory, its lock, its index,
 * and which files are ours.
 */
#ifndef WATARI_QEMU_REPLICA_DIRECTORY_H
#define WATARI_QEMU_REPLICA_DIRECTORY_H

#include <stdbool.h>

#include "replica_index.h"

#define WT_REPLICA_INDEX "index.json"
#define WT_REPLICA_TEMPORARY ".tmp" /* behind the name of a file that is being written */

/* Opens and locks it: for one writer, or for readers. The lock goes with the descriptor. */
int wt_replica_directory_open(const char *directory, bool write, struct wt_error *err);
/* 0 and *ret_index NULL: there is none. */
int wt_replica_directory_index(
	int fd, const char *directory, struct wt_replica_index **ret_index, struct wt_error *err);

enum wt_replica_sweep {
	WT_REPLICA_SWEEP_TEMPORARY, /* what a writer that died has left */
	WT_REPLICA_SWEEP_UNUSED,    /* and images that the index does not name */
};

/*
 * Removes files that have names as writers give them. Answers how many other files there are, or -errno.
 * Nothing is said of files that cannot be removed: they only take room.
 */
int wt_replica_directory_sweep(int fd, enum wt_replica_sweep what, const struct wt_replica_index *index);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica_writer.h - writes guest RAM into a directory: an index and an image per block (docs/REPLICA.md).
 *
 * A writer replaces what the directory holds of the same VM, all at once: until wt_replica_commit the old
 * replica is there, and whatever fails leaves it as it was. It touches nothing else, and refuses a directory
 * that holds something else. When adding has failed, only wt_replica_abandon is left. Blocking; any thread, a
 * writer in one at a time.
 */
#ifndef WATARI_QEMU_REPLICA_WRITER_H
#define WATARI_QEMU_REPLICA_WRITER_H

#include <stdint.h>

#include <watari/error.h>

#include "ram_block.h"

struct wt_replica_writer;

/* Makes the directory if it is not there (mode 0700), but not those above it. */
int wt_replica_create(
	const char *directory, const char *vm, struct wt_replica_writer **ret_writer, struct wt_error *err);
/* A new image, all hole. The descriptor (read, write) belongs to the writer. */
int wt_replica_add(struct wt_replica_writer *writer, const char *name, uint64_t length, int *ret_fd,
	struct wt_error *err);
/* A new image with the content of a shared block, which must not change; pages of zeros become holes. */
int wt_replica_add_block(
	struct wt_replica_writer *writer, const struct wt_ram_block *block, struct wt_error *err);
/* All is on disk, and the directory's replica, when this returns 0. Frees the writer in any case. */
int wt_replica_commit(struct wt_replica_writer *writer, struct wt_error *err);
/* Frees the writer and removes what it has written. */
void wt_replica_abandon(struct wt_replica_writer *writer);

#endif

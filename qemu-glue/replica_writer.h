/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica_writer.h - writes guest RAM into a directory: an index and an image per block (docs/REPLICA.md); or
 * a checkpoint, with all that it has beside (docs/CHECKPOINT.md).
 *
 * A writer replaces what the directory holds of the same VM, all at once: until wt_replica_commit the old
 * replica is there, and whatever fails leaves it as it was. It touches nothing else, and refuses a directory
 * that holds something else. When adding has failed, only wt_replica_abandon is left. Blocking; any thread, a
 * writer in one at a time.
 */
#ifndef WATARI_QEMU_REPLICA_WRITER_H
#define WATARI_QEMU_REPLICA_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/error.h>

#include "ram_block.h"
#include "replica_file.h"

struct wt_replica_writer;

/* What a checkpoint begins with. */
struct wt_replica_base {
	const char *directory; /* of the checkpoint that it adds to; NULL: of none */
	bool frames;           /* the new layer is of frames; else it is packed, or raw if there is no base */
	const struct wt_ram_block *const *blocks; /* what will be added, in this order */
	unsigned count;
};

/* Makes the directory if it is not there (mode 0700), but not those above it. */
int wt_replica_create(
	const char *directory, const char *vm, struct wt_replica_writer **ret_writer, struct wt_error *err);
/* A new image, all hole. The descriptor (read, write) belongs to the writer. */
int wt_replica_add(struct wt_replica_writer *writer, const char *name, uint64_t length, int *ret_fd,
	struct wt_error *err);
/* A new image with the content of a shared block, which must not change; pages of zeros become holes. */
int wt_replica_add_block(
	struct wt_replica_writer *writer, const struct wt_ram_block *block, struct wt_error *err);
/* The directory held a checkpoint when it was opened. */
bool wt_replica_writer_had_checkpoint(const struct wt_replica_writer *writer);
/*
 * Makes it a checkpoint, before anything is added: with a new layer, and those of the base, if there is one.
 * *ret_base: that one, open, to be closed by the caller; NULL: there is none, or it is of other blocks, or
 * has as many layers as can be, or more than are worth their room: then all is written. Files of a base in
 * another directory get second names in this one (hard links).
 */
int wt_replica_checkpoint_begin(struct wt_replica_writer *writer, const struct wt_replica_base *base,
	struct wt_replica **ret_base, struct wt_error *err);
/* A file of the new checkpoint. The descriptor (read, write) belongs to the writer. */
int wt_replica_add_file(struct wt_replica_writer *writer, enum wt_replica_kind kind, unsigned number,
	int *ret_fd, struct wt_error *err);
/* What will be written as the index: for the caller to complete, before commit. */
struct wt_replica_index *wt_replica_writer_index(struct wt_replica_writer *writer);
/* All is on disk, and the directory's replica, when this returns 0. 1, with an error: it is the directory's
 * replica, but may not survive a power cut. -errno: the directory is as it was. Frees the writer in any case.
 */
int wt_replica_commit(struct wt_replica_writer *writer, struct wt_error *err);
/* Frees the writer and removes what it has written. */
void wt_replica_abandon(struct wt_replica_writer *writer);

#endif

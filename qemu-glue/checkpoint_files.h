/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * checkpoint_files.h - all files of the checkpoint that is being written: layers, maps, device state, index.
 *
 * Until wt_checkpoint_commit the directory holds what it held. The loop's thread.
 */
#ifndef WATARI_QEMU_CHECKPOINT_FILES_H
#define WATARI_QEMU_CHECKPOINT_FILES_H

#include "checkpoint.h"
#include "replica_writer.h"
#include "save.h"

struct wt_checkpoint_files;

/* Checks, and locks, the directory; starts the threads of save.h. vm: the name of the VM. */
int wt_checkpoint_files_open(const struct wt_checkpoint_options *options, const char *vm,
	const struct wt_guest_ram *ram, struct wt_checkpoint_files **ret_files, struct wt_error *err);
/* Removes what was written, unless it was committed. NULL is allowed. */
void wt_checkpoint_files_close(struct wt_checkpoint_files *files);

struct wt_save *wt_checkpoint_save(struct wt_checkpoint_files *files);
/* The directory of the base is used, and not all is written anew. */
bool wt_checkpoint_has_base(const struct wt_checkpoint_files *files);
/* The blocks in it, in order; ends with NULL. */
const struct wt_ram_block *const *wt_checkpoint_blocks(const struct wt_checkpoint_files *files);
/* Bytes of the stripped stream; what comes after `tail` is behind RAM's end. After `hold`, and `tail`, they
 * are kept in memory until commit: the caller waits for no disk. An error is kept: see state_status. */
void wt_checkpoint_pass(struct wt_checkpoint_files *files, const uint8_t *bytes, size_t length);
void wt_checkpoint_hold(struct wt_checkpoint_files *files);
void wt_checkpoint_tail(struct wt_checkpoint_files *files);
/* 0, or -errno: the device state cannot be taken, and the stream's end will not be seen. */
int wt_checkpoint_state_status(const struct wt_checkpoint_files *files, struct wt_error *err);
/* The stream's end is here. */
bool wt_checkpoint_complete(struct wt_checkpoint_files *files);
uint64_t wt_checkpoint_state_bytes(const struct wt_checkpoint_files *files);

/* For running, machine, version and disks (which are taken) of the index. */
struct wt_replica_checkpoint *wt_checkpoint_facts(struct wt_checkpoint_files *files);
/* All is on disk, and is the directory's checkpoint, when this answers 0. Everything announced is in the
 * files. */
int wt_checkpoint_commit(struct wt_checkpoint_files *files, struct wt_error *err);
/* The directory holds the new checkpoint, even if commit has failed: it may not survive a power cut. */
bool wt_checkpoint_replaced(const struct wt_checkpoint_files *files);

#endif

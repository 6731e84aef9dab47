/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * checkpoint_disks.h - writable disks of a guest that is written to a checkpoint: which there are, and how
 * they are frozen while it is stopped.
 */
#ifndef WATARI_QEMU_CHECKPOINT_DISKS_H
#define WATARI_QEMU_CHECKPOINT_DISKS_H

#include "qmp.h"
#include "replica_index.h"

struct wt_checkpoint_disks {
	unsigned count;
	struct wt_replica_disk *disks;
	char (*nodes)[64]; /* QEMU's names for what they are now */
};

/* Asks QEMU. snapshot_dir: where overlays are to be, an existing directory; NULL: any writable disk is
 * refused. generation: for names. */
int wt_checkpoint_disks_list(struct wt_qmp *qmp, const char *snapshot_dir, uint64_t generation,
	struct wt_checkpoint_disks *ret_disks, struct wt_error *err);
/* Overlays, for all or for none of them. The guest is stopped, and its disks are active. *ret_frozen: they
 * have overlays, also if something failed then; with -ETIMEDOUT they may have. */
int wt_checkpoint_disks_freeze(struct wt_qmp *qmp, const struct wt_checkpoint_disks *disks,
	uint64_t generation, bool *ret_frozen, struct wt_error *err);
void wt_checkpoint_disks_free(struct wt_checkpoint_disks *disks);

#endif

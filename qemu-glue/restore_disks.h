/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * restore_disks.h - has a QEMU that shall go on with a checkpoint the disks that belong to it?
 */
#ifndef WATARI_QEMU_RESTORE_DISKS_H
#define WATARI_QEMU_RESTORE_DISKS_H

#include "qmp.h"
#include "replica_index.h"

/* -EPERM, with the first thing that is wrong. QEMU waits for a guest; nothing is changed. */
int wt_restore_disks_check(
	struct wt_qmp *qmp, const struct wt_replica_checkpoint *checkpoint, struct wt_error *err);

#endif

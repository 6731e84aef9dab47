/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * restore.h - `watari restore`: a checkpoint (docs/CHECKPOINT.md) goes on in a QEMU that waits for it; or is
 * only looked at.
 */
#ifndef WATARI_QEMU_RESTORE_H
#define WATARI_QEMU_RESTORE_H

#include "relay.h"

struct wt_restore_options {
	struct wt_relay_options common; /* qmp_path, NULL: only look whether all is right; json */
	const char *directory;
	bool paused; /* the guest stays so, whatever it was */
};

/* Answers an exit code. */
int wt_restore_run(const struct wt_restore_options *options);

#endif

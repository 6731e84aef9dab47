/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * checkpoint.h - `watari checkpoint`: a running guest as files (docs/CHECKPOINT.md). The guest is stopped
 * only for its downtime, and goes on.
 */
#ifndef WATARI_QEMU_CHECKPOINT_H
#define WATARI_QEMU_CHECKPOINT_H

#include "relay.h"

struct wt_checkpoint_options {
	struct wt_relay_options common; /* qmp_path, json; name NULL: QEMU's own for the VM */
	const char *directory;
	const char *base;         /* the checkpoint that this one adds to; NULL: the one in the directory */
	const char *snapshot_dir; /* for overlays of writable disks; NULL: none are wanted */
	bool full;                /* adds to none */
	bool no_feed, auto_converge;
	int level;         /* of zstd; 0: not compressed */
	unsigned channels; /* of QEMU's stream */
	uint64_t max_rate; /* bytes per second; 0: any */
	uint64_t downtime_limit_ms;
	uint64_t stop_timeout_ns; /* the guest is stopped no longer */
	uint64_t give_up_ns;      /* 0: never */
};

/* Answers an exit code. */
int wt_checkpoint_run(const struct wt_checkpoint_options *options);

#endif

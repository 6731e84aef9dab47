/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * upgrade.h - `watari upgrade`: another QEMU is started like the one that runs, gets its guest, and takes its
 * place.
 */
#ifndef WATARI_QEMU_UPGRADE_H
#define WATARI_QEMU_UPGRADE_H

#include <stdbool.h>
#include <stdint.h>

#include "relay.h"

struct wt_upgrade_options {
	struct wt_relay_options common; /* qmp_path, json, and what is about devices */
	const char *binary; /* the new QEMU's program; NULL: the one that the old one was started with */
	const char *command_file; /* a shell script that starts the new QEMU; NULL: none */
	uint64_t switchover_timeout_ns, start_timeout_ns;
	bool dry_run; /* only print the new command line */
};

/* Runs it to its end; answers an exit code. */
int wt_upgrade_run(const struct wt_upgrade_options *options);

#endif

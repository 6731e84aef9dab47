/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recover_devices.h - after a crash: the guest gets what the device map has for it on the host where it goes
 * on, as far as it lacks it, and its hooks are told of every device of the map.
 */
#ifndef WATARI_QEMU_RECOVER_DEVICES_H
#define WATARI_QEMU_RECOVER_DEVICES_H

#include <stdbool.h>

#include <watari/error.h>

struct wt_recovery;

/* Reads the map; nothing is asked of QEMU yet. host, agent: as in passthrough.h. -errno with the sentence. */
int wt_recovery_open(const char *map_path, const char *host, const char *agent_path,
	struct wt_recovery **ret_recovery, struct wt_error *err);
void wt_recovery_close(struct wt_recovery *recovery);

/* The QEMU behind this QMP socket has the guest. dry: only says on standard output what would be done. Each
 * step is a line on standard output. -errno with the sentence: a device is not there, or its hooks do not
 * take it. */
int wt_recovery_run(struct wt_recovery *recovery, const char *qmp_path, bool dry, struct wt_error *err);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * upgrade_devices.h - what was plugged into a QEMU, and out of it, since it was started.
 */
#ifndef WATARI_QEMU_UPGRADE_DEVICES_H
#define WATARI_QEMU_UPGRADE_DEVICES_H

#include <stddef.h>

#include <watari/error.h>

#include "qmp.h"

struct wt_upgrade_devices {
	char **gone;  /* ids of devices that are on the command line only; NULL-terminated */
	char **extra; /* arguments (-device JSON ...) for what is not on it; NULL-terminated */
	size_t gone_count, extra_count;
};

/* Adds what was plugged in and out. leaving: ids of devices that will be taken out by then, ending with NULL.
 * -EPERM: a device is there whose backend (disk, network) was added since, too: it cannot be described. */
int wt_upgrade_devices_find(struct wt_qmp *qmp, char *const *argv, const char *const *leaving,
	struct wt_upgrade_devices *devices, struct wt_error *err);
/* Adds an option with its argument (copied). */
int wt_upgrade_devices_add(
	struct wt_upgrade_devices *devices, const char *option, const char *argument, struct wt_error *err);
void wt_upgrade_devices_close(struct wt_upgrade_devices *devices);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device_qemu.h - what a QEMU says of its devices, asked over QMP; and whether a device of the map could be
 * taken away, or plugged in. Asks only, changes nothing; waits for QEMU's answers.
 *
 * -EPERM, -ENOENT ...: refused, with the sentence; other codes are those of wt_qmp_call.
 */
#ifndef WATARI_QEMU_DEVICE_QEMU_H
#define WATARI_QEMU_DEVICE_QEMU_H

#include <jansson.h>

#include "device_map.h"
#include "qmp.h"

struct wt_qemu_device {
	char id[128];   /* or the path in QEMU's object tree, of one without an id */
	char type[64];  /* QEMU's driver, such as vfio-pci */
	char bus[128];  /* the name of the bus that it is on; "": not known */
	char slot[16];  /* on that bus: 00.0 */
	char host[64];  /* of a vfio one: the PCI address here; "": none */
	bool anonymous; /* has no id */
};

/* Every PCI device that is not part of the machine itself; *ret_devices is allocated. */
int wt_qemu_devices(
	struct wt_qmp *qmp, struct wt_qemu_device **ret_devices, unsigned *ret_count, struct wt_error *err);
/* One by its id; -ENOENT without a sentence if there is none. */
int wt_qemu_device(
	struct wt_qmp *qmp, const char *id, struct wt_qemu_device *ret_device, struct wt_error *err);

/* A hot-plug port: exists and takes devices; whether one is in it. */
int wt_qemu_port(struct wt_qmp *qmp, const char *bus, bool *ret_free, struct wt_error *err);
bool wt_qemu_is_port(const char *type);

/*
 * Source: the device is there as the map says (1), or is not plugged in at all (0).
 * Destination: what the map has could be plugged in; the port is free, and nothing has its id.
 */
int wt_qemu_can_unplug(struct wt_qmp *qmp, const struct wt_device *device,
	const struct wt_device_place *place, struct wt_error *err);
int wt_qemu_can_plug(struct wt_qmp *qmp, const struct wt_device *device, const struct wt_device_place *place,
	struct wt_error *err);

#endif

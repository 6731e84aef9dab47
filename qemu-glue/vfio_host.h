/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfio_host.h - what this host's kernel says of a PCI device that is to be passed through. Changes nothing.
 *
 * root is a directory with sys and dev in it: "" but for tests.
 */
#ifndef WATARI_QEMU_VFIO_HOST_H
#define WATARI_QEMU_VFIO_HOST_H

#include <stdbool.h>

#include <watari/error.h>

#include "device_map.h"

#define WT_VFIO_MEMBERS_MAX 64
#define WT_VFIO_DRIVER_MAX 63

struct wt_vfio_member {
	char address[WT_DEVICE_ADDRESS_MAX + 1];
	char driver[WT_VFIO_DRIVER_MAX + 1]; /* "": none */
};

struct wt_vfio_device {
	char driver[WT_VFIO_DRIVER_MAX + 1]; /* "": none */
	int group;                           /* IOMMU group; -1: there is no IOMMU for it */
	unsigned member_count;               /* of the group, itself among them */
	struct wt_vfio_member members[WT_VFIO_MEMBERS_MAX];
};

/* -ENOENT: there is no such device, with the sentence. */
int wt_vfio_look(
	const char *root, const char *address, struct wt_vfio_device *ret_device, struct wt_error *err);
/*
 * Whether a QEMU here could be given it now; otherwise -errno with the sentence: it is not bound to vfio-pci,
 * has no IOMMU group or one that it shares with a device that is in use, or somebody uses it (-EBUSY).
 */
int wt_vfio_usable(const char *root, const char *address, struct wt_error *err);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device_inventory.h - what of a guest cannot move with it, why, and what each could become elsewhere.
 */
#ifndef WATARI_QEMU_DEVICE_INVENTORY_H
#define WATARI_QEMU_DEVICE_INVENTORY_H

#include <jansson.h>

#include "device_map.h"
#include "qmp.h"

/*
 * A new object, documented in docs/DEVICES.md:
 *   {"qemu", "host", "role": "source" or "destination", "devices": [...], "ports": [...], "blocked": [...],
 *    "pinned_bytes", "locked_bytes", "map": {...} or null, "problems": [sentences]}
 * map may be NULL. host: which one of the map this is. root: as in vfio_host.h. Asks only, changes nothing.
 */
int wt_device_inventory(struct wt_qmp *qmp, const struct wt_device_map *map, const char *host,
	const char *root, json_t **ret_inventory, struct wt_error *err);

#endif

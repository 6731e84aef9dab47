/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * relay_devices.h - the devices of a relay's guest, by the relay's own options.
 */
#ifndef WATARI_QEMU_RELAY_DEVICES_H
#define WATARI_QEMU_RELAY_DEVICES_H

#include "passthrough.h"
#include "relay.h"

enum wt_relay_devices_part {
	WT_RELAY_DEVICES_ARRIVE, /* what the guest had is given to it here */
	WT_RELAY_DEVICES_LEAVE,
	WT_RELAY_DEVICES_RETURN, /* taken away here, and given back here, perhaps in another QEMU */
};

/* *ret_passthrough stays as it is where its options have no map. It is to be closed, after a failure too.
 * Asks the relay's QEMU whether it can be done; nothing is changed. -errno with the sentence. */
int wt_relay_devices_open(struct wt_relay *relay, enum wt_relay_devices_part part,
	const struct wt_passthrough_events *events, void *arg, struct wt_passthrough **ret_passthrough,
	struct wt_error *err);

#endif

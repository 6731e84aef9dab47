/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * restore_devices.h - devices that a restored guest gets on this host: prepared before its memory is touched,
 * plugged in when it runs. Without --devices there are none, and each step is over at once.
 *
 * Embedded in its owner, zeroed before it is opened; the loop's thread.
 */
#ifndef WATARI_QEMU_RESTORE_DEVICES_H
#define WATARI_QEMU_RESTORE_DEVICES_H

#include "passthrough.h"
#include "relay.h"

struct wt_restore_devices {
	struct wt_relay *relay;
	struct wt_passthrough *passthrough; /* NULL: none */
	bool ending;
	void (*prepared)(void *arg);
	void (*failed)(void *arg, const struct wt_error *err); /* before the guest runs */
	void (*given)(void *arg);
	void *arg;
};

/* The relay's options say which; QEMU is asked whether it can have them. The callbacks are set. */
int wt_restore_devices_open(struct wt_restore_devices *devices, struct wt_relay *relay, struct wt_error *err);
/* `prepared` follows, or `failed`. */
void wt_restore_devices_prepare(struct wt_restore_devices *devices);
void wt_restore_devices_qmp_event(struct wt_restore_devices *devices, const char *name, json_t *data);
/* The guest runs: `given` follows. */
void wt_restore_devices_give(struct wt_restore_devices *devices);
/* It does not run: what was prepared is given back. Means nothing when they were given. Outside of the loop's
 * callbacks. */
void wt_restore_devices_end(struct wt_restore_devices *devices);
/* What it does not have; NULL: nothing. */
const struct wt_error *wt_restore_devices_trouble(const struct wt_restore_devices *devices);
void wt_restore_devices_close(struct wt_restore_devices *devices);

#endif

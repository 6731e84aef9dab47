/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * registrar.h - threads that register memory with a device, to be written, while the loop goes on.
 *
 * Registering fresh memory makes all its pages first, which takes as long as reading several times as many
 * bytes: it is ordered as soon as it is known that the memory will be needed. Orders are begun in their order
 * and may end in any other. Used by one thread; the memory stays there until wt_registrar_close.
 */
#ifndef WT_REGISTRAR_H
#define WT_REGISTRAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/path.h>

#define WT_REGISTRAR_ORDERS_MAX 256u /* that were given, and not taken back */
#define WT_REGISTRAR_THREADS_MAX 4u

struct wt_registrar;

struct wt_registered {
	uint64_t cookie;
	struct wt_region *region; /* the taker's; NULL: it cannot be registered */
};

/* The device's region_add must be callable from several threads. */
int wt_registrar_open(
	const struct wt_fabric_ops *ops, struct wt_endpoint *endpoint, struct wt_registrar **ret_registrar);
/* Waits for what has been begun; regions that were not taken are removed. */
void wt_registrar_close(struct wt_registrar *registrar);

/* -EAGAIN: there are too many orders. */
int wt_registrar_order(struct wt_registrar *registrar, void *base, size_t length, uint64_t cookie);
/* One that has ended; false: none. */
bool wt_registrar_take(struct wt_registrar *registrar, struct wt_registered *ret_registered);
/* Readable when there is something to take, until `take` has answered false. */
int wt_registrar_fd(const struct wt_registrar *registrar);

#endif

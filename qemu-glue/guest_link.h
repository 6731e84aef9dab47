/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guest_link.h - in the guest: its network interfaces and its virtio-serial ports, found in /sys.
 */
#ifndef WATARI_QEMU_GUEST_LINK_H
#define WATARI_QEMU_GUEST_LINK_H

#include <stdbool.h>
#include <stddef.h>

/* Whether there is an interface with this address. */
bool wt_guest_link_there(const char *mac);
/* Whether the interface with this address has a carrier. One that is down is brought up. */
bool wt_guest_link_up(const char *mac);
/* The device file of the port with this name; false: there is none. */
bool wt_guest_port_find(const char *name, char *ret_path, size_t size);

#endif

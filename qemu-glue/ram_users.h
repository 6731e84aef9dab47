/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ram_users.h - does another process have the memory of this QEMU's guest?
 */
#ifndef WATARI_QEMU_RAM_USERS_H
#define WATARI_QEMU_RAM_USERS_H

#include "guest_ram.h"

/* -EBUSY: a process that is neither this QEMU nor we has a shared block mapped, writable or not. What it has
 * mapped is asked of the kernel; processes whose maps we may not read, and those of other machines, are not
 * seen. */
int wt_ram_users_check(const struct wt_guest_ram *ram, struct wt_error *err);

#endif

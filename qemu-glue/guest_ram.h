/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guest_ram.h - finds the RAM blocks of a running QEMU and maps those that are shared.
 *
 * Which file is which block: HMP `info mtree` gives every RAM region with its guest address, `gpa2hva` its
 * host address, /proc/PID/maps the mapping there ('s': shared; device and inode), /proc/PID/fd the descriptor
 * of that inode. That RAM is shared is proven by that, not believed from the command line. From 8.1 on `info
 * ramblock` prints the address itself. Reading another process's /proc needs the same user.
 */
#ifndef WATARI_QEMU_GUEST_RAM_H
#define WATARI_QEMU_GUEST_RAM_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/error.h>

#include "qmp.h"
#include "ram_block.h"

struct wt_guest_ram {
	unsigned count;
	struct wt_ram_block *blocks;
};

/* Lists every migratable RAM block of QEMU. Blocks that cannot be mapped have shared == false; that is no
 * error. So have blocks whose length may change (ACPI tables) and those that the guest does not see (their
 * address is unknown before 8.1). Mapped memory is left out of core dumps and of forked children. A QEMU that
 * truncates its file takes the pages away below us (SIGBUS); memfds are sealed against that by default.
 * Errors: -ESRCH QEMU's process is unknown; -EACCES it belongs to another user; those of wt_qmp_call. */
int wt_guest_ram_open(struct wt_qmp *qmp, struct wt_guest_ram **ret_ram, struct wt_error *err);
void wt_guest_ram_close(struct wt_guest_ram *ram);
const struct wt_ram_block *wt_guest_ram_find(const struct wt_guest_ram *ram, const char *name);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * privileges.h - a relay gives up what it has no use for.
 */
#ifndef WATARI_QEMU_PRIVILEGES_H
#define WATARI_QEMU_PRIVILEGES_H

#include <stdbool.h>

/*
 * Called before there are threads. Of root's capabilities (or of those of a file or a service) only those
 * stay by which memory and files of other users are reached, and memory is locked. runs_commands: of a device
 * map, which may need what the operator's commands need: they get it from the kernel as before. Otherwise
 * nothing that this process runs can have more than it has itself, ever. What the kernel refuses is left as
 * it is.
 */
void wt_privileges_drop(bool runs_commands);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * machine_type.h - a QEMU's machine type, with its version: "pc-q35-10.0".
 */
#ifndef WATARI_QEMU_MACHINE_TYPE_H
#define WATARI_QEMU_MACHINE_TYPE_H

#include <stddef.h>

#include "qmp.h"

/* Waits for QEMU's answer. */
int wt_machine_type(struct wt_qmp *qmp, char *ret_name, size_t size, struct wt_error *err);

#endif

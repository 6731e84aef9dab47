/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * record.h - which migration a QEMU has last taken part in, kept where it outlives the relays: in that QEMU.
 *
 * A source in `postmigrate` has let its guest go; that alone does not say to whom. Each `watari send` and
 * each handover has a number, random; both QEMUs are given it before the source begins, and `watari recover`
 * lets a destination run only if it has the source's. It is the data of an object of QEMU's (type `secret`,
 * because every QEMU has that; there is nothing secret in it) and goes with the process.
 */
#ifndef WATARI_QEMU_RECORD_H
#define WATARI_QEMU_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "qmp.h"

#define WT_RECORD_BYTES 16

struct wt_record {
	uint8_t bytes[WT_RECORD_BYTES]; /* all zero: none */
};

/* A new one, random. Errors: those of getrandom. */
int wt_record_new(struct wt_record *ret_record, struct wt_error *err);
/* Replaces what is there. Waits for QEMU; errors: those of wt_qmp_call. */
int wt_record_write(struct wt_qmp *qmp, const struct wt_record *record, struct wt_error *err);
/* None, where there is none or something else has that name. Waits for QEMU; errors: those of wt_qmp_call. */
int wt_record_read(struct wt_qmp *qmp, struct wt_record *ret_record, struct wt_error *err);
bool wt_record_equal(const struct wt_record *a, const struct wt_record *b);

#endif

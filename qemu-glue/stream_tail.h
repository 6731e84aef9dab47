/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stream_tail.h - whether all of QEMU's stream is here: what it writes behind RAM's end section.
 *
 * Sections of device state carry no length, so they are not parsed. But QEMU ends every stream with the same
 * three things: EOF (0x00), a description section (0x06, four bytes of length) and that many bytes of JSON.
 * With them the stream is complete; a stream that QEMU broke off ends elsewhere. (A QEMU that loads cannot
 * tell: it takes a cut in the description for a warning, and runs the guest.) Pure.
 */
#ifndef WATARI_QEMU_STREAM_TAIL_H
#define WATARI_QEMU_STREAM_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes, all that came behind RAM's end, end as QEMU ends a stream. Machine types that write no
 * description (pc 2.2 and older) never do. */
bool wt_stream_tail_complete(const uint8_t *bytes, size_t length);

#endif

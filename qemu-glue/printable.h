/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * printable.h - text from somebody else, made fit for a terminal, a log and JSON. Pure.
 */
#ifndef WATARI_QEMU_PRINTABLE_H
#define WATARI_QEMU_PRINTABLE_H

#include <stddef.h>

#include <watari/error.h>

#define WT_PRINTABLE_MAX 400 /* bytes of a foreign sentence that are shown */

/*
 * Copies at most size - 1 bytes, and ends with NUL. Everything but printable ASCII becomes '?': control
 * characters could drive a terminal, and what is no UTF-8 could not go into JSON. What was cut off is shown
 * by
 * "...". Answers ret_text.
 */
const char *wt_printable(const void *text, size_t length, char *ret_text, size_t size);
/* The same error, its text printable: for errors that may quote a peer. */
struct wt_error wt_printable_error(const struct wt_error *err);

#endif

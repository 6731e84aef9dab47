/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * target.h - how people name the other end: HOST:PORT/NAME, [IPV6]:PORT/NAME, :PORT/NAME or unix:PATH//NAME.
 * Pure.
 */
#ifndef WATARI_QEMU_TARGET_H
#define WATARI_QEMU_TARGET_H

#include <stdbool.h>

#include <watari/channel.h>
#include <watari/error.h>

#define WT_TARGET_TEXT_MAX 400

/* Splits it; the parts point into `text`, which is changed. -EINVAL with the sentence. */
int wt_target_parse(char *text, struct wt_address *ret_address, const char **ret_name, struct wt_error *err);
/* The address as people write it; "" in front of the port for one without a host. Answers ret_text. */
const char *wt_target_text(const struct wt_address *address, char ret_text[WT_TARGET_TEXT_MAX]);
/* Are they written alike? Names are not resolved. */
bool wt_target_equal(const struct wt_address *a, const struct wt_address *b);

#endif

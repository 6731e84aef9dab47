/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * psk.h - what a pre-shared key is inside libwatari.
 */
#ifndef WATARI_TRANSPORT_PSK_H
#define WATARI_TRANSPORT_PSK_H

#include <stddef.h>
#include <stdint.h>

#include <watari/error.h>

#define WT_PSK_IDENTITY_MAX 128 /* bytes; what every TLS library takes */
#define WT_PSK_KEY_MIN 16       /* bytes */
#define WT_PSK_KEY_MAX 64

struct wt_psk {
	char identity[WT_PSK_IDENTITY_MAX + 1];
	uint8_t key[WT_PSK_KEY_MAX];
	size_t key_length; /* bytes */
};

/*
 * Finds identity (NULL: the first entry) in the text of a key file; file is its name, for messages. Pure, so
 * that it can be fuzzed.
 */
int wt_psk_parse(const char *text, size_t length, const char *file, const char *identity,
	struct wt_psk *ret_psk, struct wt_error *err);
/* From a file that its owner alone may read. Wipe what was filled, when it is not needed any more. */
int wt_psk_load(const char *file, const char *identity, struct wt_psk *ret_psk, struct wt_error *err);

#endif

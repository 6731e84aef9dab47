/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * secret_file.h - reads a file that holds a key.
 */
#ifndef WATARI_TRANSPORT_SECRET_FILE_H
#define WATARI_TRANSPORT_SECRET_FILE_H

#include <stddef.h>
#include <sys/types.h>

#include <watari/error.h>

#define WT_SECRET_FILE_MAX (1u << 20) /* bytes */

/*
 * forbidden: bits of a mode, such as S_IRWXO, that the file must not have; 0: it is no secret. *ret_text is
 * the caller's, to be given to wt_secret_file_free; it ends with a 0 that *ret_length does not count.
 */
int wt_secret_file_read(
	const char *file, mode_t forbidden, char **ret_text, size_t *ret_length, struct wt_error *err);
/* Wipes it first. NULL is allowed. */
void wt_secret_file_free(char *text, size_t length);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * printable.c - see printable.h.
 *
 *   1. The result holds bytes from 0x20 to 0x7e only, fewer than `size` of them.
 *   2. Each byte is judged alone: no state that a peer could lead astray.
 */
#include "printable.h"

#include <string.h>

const char *wt_printable(const void *text, size_t length, char *ret_text, size_t size)
{
	static const char dots[] = "...";
	const unsigned char *from = text;
	size_t taken = length < size ? length : size - 1;

	for (size_t i = 0; i < taken; i++)
		ret_text[i] = from[i] >= 0x20 && from[i] <= 0x7e ? (char)from[i] : '?';
	ret_text[taken] = '\0';
	if (taken < length && taken >= sizeof dots)
		memcpy(ret_text + taken - (sizeof dots - 1), dots, sizeof dots);
	return ret_text;
}

struct wt_error wt_printable_error(const struct wt_error *err)
{
	struct wt_error copy = { .code = err->code };
	const char *text = wt_error_text(err);

	wt_printable(text, strlen(text), copy.text, sizeof copy.text);
	return copy;
}

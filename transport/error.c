/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * error.c - one sentence per failure; the first one wins. See error.h.
 */
#include <watari/error.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int(wt_error_set)(struct wt_error *err, int code, const char *format, ...)
{
	va_list args;

	if (err && !err->code) {
		err->code = code;
		va_start(args, format);
		vsnprintf(err->text, sizeof err->text, format, args);
		va_end(args);
	}
	return -code;
}

void wt_error_clear(struct wt_error *err)
{
	err->code = 0;
	err->text[0] = '\0';
}

const char *wt_error_text(const struct wt_error *err)
{
	return err->text[0] ? err->text : "unknown error";
}

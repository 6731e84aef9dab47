/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * psk.c - reads pre-shared keys from a file of lines `identity:hexadecimal-key`.
 *
 * The format is the one of GnuTLS's psktool and QEMU's keys.psk. Empty lines and lines that begin with `#`
 * are skipped (GnuTLS's own `#`-prefixed hexadecimal identities are therefore not supported), a carriage
 * return at a line's end is ignored.
 *
 *   1. Every line up to the one that is taken is well-formed; the first that is not is named by its number.
 *   2. No message contains key bytes.
 *   3. Every buffer that held key bytes is wiped before it is given back.
 *   4. The file is a regular one that only its owner may read or write.
 */
#include "psk.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "secret_file.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static int parse_key(const char *text, size_t length, const char *file, unsigned number,
	struct wt_psk *ret_psk, struct wt_error *err)
{
	size_t i;
	int high, low;

	if (length % 2)
		return wt_error_set(err, EINVAL,
			"%s, line %u: the key has an odd number of hexadecimal digits; is it cut short?",
			file, number);
	if (length / 2 < WT_PSK_KEY_MIN || length / 2 > WT_PSK_KEY_MAX)
		return wt_error_set(err, EINVAL,
			"%s, line %u: the key has %zu bytes, allowed are %d to %d; make one with `openssl "
			"rand -hex 32`",
			file, number, length / 2, WT_PSK_KEY_MIN, WT_PSK_KEY_MAX);
	for (i = 0; i < length / 2; i++) {
		high = hex_digit(text[2 * i]);
		low = hex_digit(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return wt_error_set(err, EINVAL,
				"%s, line %u: the key has a character that is not a hexadecimal digit", file,
				number);
		ret_psk->key[i] = (uint8_t)(high << 4 | low);
	}
	ret_psk->key_length = length / 2;
	return 0;
}

static int parse_line(const char *line, size_t length, const char *file, unsigned number,
	struct wt_psk *ret_psk, struct wt_error *err)
{
	const char *colon = memchr(line, ':', length);
	size_t i, identity_length;

	if (!colon)
		return wt_error_set(err, EINVAL,
			"%s, line %u: there is no colon; a line is `identity:hexadecimal-key`", file, number);
	identity_length = (size_t)(colon - line);
	if (identity_length == 0 || identity_length > WT_PSK_IDENTITY_MAX)
		return wt_error_set(err, EINVAL,
			"%s, line %u: the identity has %zu bytes, allowed are 1 to %d", file, number,
			identity_length, WT_PSK_IDENTITY_MAX);
	for (i = 0; i < identity_length; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			return wt_error_set(err, EINVAL, "%s, line %u: the identity has a control character",
				file, number);
	memcpy(ret_psk->identity, line, identity_length);
	ret_psk->identity[identity_length] = '\0';
	return parse_key(colon + 1, length - identity_length - 1, file, number, ret_psk, err);
}

int wt_psk_parse(const char *text, size_t length, const char *file, const char *identity,
	struct wt_psk *ret_psk, struct wt_error *err)
{
	struct wt_psk psk = { 0 };
	const char *end = text + length, *line = text, *newline;
	size_t line_length;
	unsigned number;
	int result = 0;
	bool found = false;

	for (number = 1; line < end && !found; number++) {
		newline = memchr(line, '\n', (size_t)(end - line));
		line_length = (size_t)((newline ? newline : end) - line);
		if (line_length && line[line_length - 1] == '\r')
			line_length--;
		if (line_length && line[0] != '#') {
			result = parse_line(line, line_length, file, number, &psk, err);
			if (result)
				goto wipe;
			found = !identity || !strcmp(identity, psk.identity);
		}
		if (!newline)
			break;
		line = newline + 1;
	}
	if (found)
		*ret_psk = psk;
	else if (identity)
		result = wt_error_set(err, ENOENT, "%s has no key for the identity \"%s\"", file, identity);
	else
		result = wt_error_set(
			err, ENOENT, "%s has no key; it needs a line `identity:hexadecimal-key`", file);
wipe:
	explicit_bzero(&psk, sizeof psk);
	return result;
}

int wt_psk_load(const char *file, const char *identity, struct wt_psk *ret_psk, struct wt_error *err)
{
	size_t length = 0;
	char *text = NULL;
	int result = wt_secret_file_read(file, S_IRWXG | S_IRWXO, &text, &length, err);

	if (!result)
		result = wt_psk_parse(text, length, file, identity, ret_psk, err);
	wt_secret_file_free(text, length);
	return result;
}

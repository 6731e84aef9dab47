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
 *   4. The file is a regular one that only its owner may read or write: checked on the open descriptor.
 *
 * A loaded key is constant; any thread may read it.
 */
#include "psk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* Refuses what is not a file that its owner alone may read. */
static int check_file(int fd, const char *file, size_t *ret_size, struct wt_error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return wt_error_set(err, errno, "cannot look at the key file %s: %s", file, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return wt_error_set(err, EINVAL, "the key file %s is not a regular file", file);
	if (st.st_mode & (S_IRWXG | S_IRWXO))
		return wt_error_set(err, EPERM,
			"the key file %s may be used by others (mode %04o); run `chmod 600 %s`, and make a "
			"new key if it was read",
			file, (unsigned)st.st_mode & 07777, file);
	if (st.st_size > (off_t)WT_PSK_FILE_MAX)
		return wt_error_set(err, EFBIG,
			"the key file %s has %lld bytes, at most %u are allowed; is it "
			"the right file?",
			file, (long long)st.st_size, WT_PSK_FILE_MAX);
	*ret_size = (size_t)st.st_size;
	return 0;
}

/* Reads up to size bytes; a file that shrank meanwhile gives fewer. */
static ssize_t read_all(int fd, char *text, size_t size)
{
	size_t have = 0;
	ssize_t n;

	while (have < size) {
		n = read(fd, text + have, size - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

int wt_psk_load(const char *file, const char *identity, struct wt_psk **ret_psk, struct wt_error *err)
{
	struct wt_psk *psk = NULL;
	char *text = NULL;
	size_t size = 0;
	ssize_t length;
	int fd, result;

	fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return wt_error_set(err, errno, "cannot open the key file %s: %s", file, strerror(errno));
	result = check_file(fd, file, &size, err);
	if (result)
		goto close_file;
	psk = malloc(sizeof *psk);
	text = malloc(size + 1);
	if (!psk || !text) {
		result = wt_error_set(err, ENOMEM, "out of memory while reading the key file %s", file);
		goto free_text;
	}
	length = read_all(fd, text, size);
	if (length < 0)
		result = wt_error_set(
			err, (int)-length, "cannot read the key file %s: %s", file, strerror((int)-length));
	else
		result = wt_psk_parse(text, (size_t)length, file, identity, psk, err);
	explicit_bzero(text, size);
	if (!result) {
		*ret_psk = psk;
		psk = NULL;
	}
free_text:
	free(text);
	free(psk);
close_file:
	close(fd);
	return result;
}

void wt_psk_free(struct wt_psk *psk)
{
	if (!psk)
		return;
	explicit_bzero(psk, sizeof *psk);
	free(psk);
}

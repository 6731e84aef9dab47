/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * secret_file.c - see secret_file.h.
 *
 *   1. The file is a regular one with a mode that was not forbidden: checked on the open descriptor.
 *   2. What was read is wiped before it is given back to malloc.
 */
#include "secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_file(int fd, const char *file, mode_t forbidden, size_t *ret_size, struct wt_error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return wt_error_set(err, errno, "cannot look at the key file %s: %s", file, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return wt_error_set(err, EINVAL, "the key file %s is not a regular file", file);
	if (st.st_mode & forbidden)
		return wt_error_set(err, EPERM,
			"the key file %s may be used by others (mode %04o); run `chmod 600 %s`, and make a "
			"new key if it was read",
			file, (unsigned)st.st_mode & 07777, file);
	if (st.st_size > (off_t)WT_SECRET_FILE_MAX)
		return wt_error_set(err, EFBIG,
			"the key file %s has %lld bytes, at most %u are allowed; is it "
			"the right file?",
			file, (long long)st.st_size, WT_SECRET_FILE_MAX);
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

int wt_secret_file_read(
	const char *file, mode_t forbidden, char **ret_text, size_t *ret_length, struct wt_error *err)
{
	char *text = NULL;
	size_t size = 0;
	ssize_t length;
	int fd, result;

	fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return wt_error_set(err, errno, "cannot open the key file %s: %s", file, strerror(errno));
	result = check_file(fd, file, forbidden, &size, err);
	if (result)
		goto close_file;
	text = malloc(size + 1);
	if (!text) {
		result = wt_error_set(err, ENOMEM, "out of memory while reading the key file %s", file);
		goto close_file;
	}
	length = read_all(fd, text, size);
	if (length < 0) {
		result = wt_error_set(
			err, (int)-length, "cannot read the key file %s: %s", file, strerror((int)-length));
		wt_secret_file_free(text, size);
		goto close_file;
	}
	text[length] = '\0';
	*ret_text = text;
	*ret_length = (size_t)length;
close_file:
	close(fd);
	return result;
}

void wt_secret_file_free(char *text, size_t length)
{
	if (!text)
		return;
	explicit_bzero(text, length);
	free(text);
}

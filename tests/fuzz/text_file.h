/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * text_file.h - a file with these bytes, for readers that take a path: in memory, in a directory of its own.
 */
#ifndef WT_TEST_TEXT_FILE_H
#define WT_TEST_TEXT_FILE_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char text_file_path[64], text_file_directory[32] = "/dev/shm/fuzz-XXXXXX";
static int text_file_fd = -1;

static inline void text_file_end(void)
{
	unlink(text_file_path);
	rmdir(text_file_directory);
}

/* Answers its path, the same each time; only its owner may use it. */
static inline const char *text_file(const void *bytes, size_t length)
{
	if (text_file_fd < 0) {
		if (!mkdtemp(text_file_directory))
			abort();
		snprintf(text_file_path, sizeof text_file_path, "%s/file", text_file_directory);
		text_file_fd = open(text_file_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (text_file_fd < 0 || atexit(text_file_end))
			abort();
	}
	if (ftruncate(text_file_fd, 0) || pwrite(text_file_fd, bytes, length, 0) != (ssize_t)length)
		abort();
	return text_file_path;
}

#endif

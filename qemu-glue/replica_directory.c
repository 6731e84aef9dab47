/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica_directory.c - see replica_directory.h.
 *
 *   1. Only regular files directly in the directory are opened, without following links.
 *   2. Only files whose whole name is ours are removed (wt_replica_is_file_name), and such names and the
 * index's with .tmp.
 *
 * The lock is flock's. Where a file system has none (NFS, for directories) things go on without.
 */
#include "replica_directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

int wt_replica_directory_open(const char *directory, bool write, struct wt_error *err)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return wt_error_set(err, errno, "cannot open the directory %s of a replica: %s", directory,
			strerror(errno));
	if (flock(fd, (write ? LOCK_EX : LOCK_SH) | LOCK_NB) && errno == EWOULDBLOCK) {
		close(fd);
		return wt_error_set(err, EBUSY,
			"the replica in %s is being %s by another watari; try again when that has ended",
			directory, write ? "read or written" : "written");
	}
	return fd;
}

/* All of a file of the given length; *ret_text ends with NUL. */
static int read_file(int fd, size_t length, char **ret_text)
{
	char *text = malloc(length + 1);
	size_t have = 0;
	ssize_t n = 1;

	if (!text)
		return -ENOMEM;
	while (have < length && n > 0) {
		n = pread(fd, text + have, length - have, (off_t)have);
		if (n > 0)
			have += (size_t)n;
		else if (n < 0 && errno == EINTR)
			n = 1;
	}
	if (have < length) {
		free(text);
		return n < 0 ? -errno : -ENODATA;
	}
	text[length] = '\0';
	*ret_text = text;
	return 0;
}

static int read_index(int fd, const char *from, struct wt_replica_index **ret_index, struct wt_error *err)
{
	struct stat st;
	char *text = NULL;
	int r;

	if (fstat(fd, &st))
		return wt_error_set(err, errno, "cannot read %s: %s", from, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)WT_REPLICA_INDEX_MAX)
		return wt_error_set(err, EINVAL,
			"%s is not the index of a replica: it is no file, or has more than "
			"%u bytes",
			from, WT_REPLICA_INDEX_MAX);
	r = read_file(fd, (size_t)st.st_size, &text);
	if (r)
		return wt_error_set(err, -r, "cannot read %s: %s", from, strerror(-r));
	r = wt_replica_index_parse(text, (size_t)st.st_size, from, ret_index, err);
	free(text);
	return r;
}

int wt_replica_directory_index(
	int fd, const char *directory, struct wt_replica_index **ret_index, struct wt_error *err)
{
	int file = openat(fd, WT_REPLICA_INDEX, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY), r;
	char from[PATH_MAX];

	if (file < 0 && errno == ENOENT) {
		*ret_index = NULL;
		return 0;
	}
	snprintf(from, sizeof from, "%s/" WT_REPLICA_INDEX, directory);
	if (file < 0)
		return wt_error_set(err, errno, "cannot open %s: %s", from, strerror(errno));
	r = read_index(file, from, ret_index, err);
	close(file);
	return r;
}

static bool is_temporary(const char *name, size_t *ret_length)
{
	size_t length = strlen(name), suffix = strlen(WT_REPLICA_TEMPORARY);

	*ret_length = length;
	if (length < suffix || strcmp(name + length - suffix, WT_REPLICA_TEMPORARY) != 0)
		return false;
	*ret_length -= suffix;
	return true;
}

/* Whether a file may be removed. */
static bool is_left_over(const char *name, enum wt_replica_sweep what, const struct wt_replica_index *index)
{
	size_t length;

	if (is_temporary(name, &length))
		return wt_replica_is_file_name(name, length) ||
		       (length == strlen(WT_REPLICA_INDEX) && !strncmp(name, WT_REPLICA_INDEX, length));
	return what == WT_REPLICA_SWEEP_UNUSED && wt_replica_is_file_name(name, length) &&
	       !(index && wt_replica_index_names(index, name));
}

int wt_replica_directory_sweep(int fd, enum wt_replica_sweep what, const struct wt_replica_index *index)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), others = 0;
	DIR *entries = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;

	if (!entries) {
		others = -errno;
		if (copy >= 0)
			close(copy);
		return others;
	}
	while ((entry = readdir(entries))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (!is_left_over(entry->d_name, what, index) || unlinkat(fd, entry->d_name, 0))
			others++;
	}
	closedir(entries);
	return others;
}

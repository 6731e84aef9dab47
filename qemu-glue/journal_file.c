/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * journal_file.c - see journal_file.h.
 */
#include "journal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define BYTES_MAX (1 << 20)

static int failed(const struct wt_journal_file *j, const char *what, struct wt_error *err)
{
	return wt_error_set(err, errno, "the journal %s cannot be %s: %s", j->path, what, strerror(errno));
}

static int open_and_lock(struct wt_journal_file *j, int flags, int lock, struct wt_error *err)
{
	int r;

	j->fd = open(j->path, flags | O_CLOEXEC, 0600);
	if (j->fd < 0)
		return failed(j, "opened", err);
	if (flock(j->fd, lock | LOCK_NB) == 0)
		return 0;
	r = wt_error_set(err, EBUSY, "another %s works with the journal %s", j->command, j->path);
	wt_journal_close(j);
	return r;
}

int wt_journal_open(
	struct wt_journal_file *j, const char *path, const char *command, bool create, struct wt_error *err)
{
	*j = (struct wt_journal_file){ .path = path, .command = command };
	return open_and_lock(j, O_RDWR | O_APPEND | (create ? O_CREAT : 0), LOCK_EX, err);
}

int wt_journal_peek(struct wt_journal_file *j, const char *path, const char *command, struct wt_error *err)
{
	*j = (struct wt_journal_file){ .path = path, .command = command, .looks = true };
	return open_and_lock(j, O_RDONLY, LOCK_SH, err);
}

int wt_journal_text(const struct wt_journal_file *j, char **ret_text, struct wt_error *err)
{
	char *text = malloc(BYTES_MAX + 1);
	ssize_t n = text ? pread(j->fd, text, BYTES_MAX + 1, 0) : -1;

	if (n < 0 || n > BYTES_MAX) {
		free(text);
		return n < 0 ? failed(j, "read", err)
			     : wt_error_set(err, EFBIG,
				       "the journal %s has more than %d bytes, and no journal has", j->path,
				       BYTES_MAX);
	}
	text[n] = '\0';
	*ret_text = text;
	return 0;
}

int wt_journal_read(
	struct wt_journal_file *j, const char *text, wt_journal_take *take, void *arg, struct wt_error *err)
{
	size_t at = 0;
	const char *end;
	int r = 0;

	j->lines = 0;
	while ((end = strchr(text + at, '\n'))) {
		json_t *line = json_loadb(text + at, (size_t)(end - text) - at, 0, NULL);

		r = take(arg, line, ++j->lines, err);
		json_decref(line);
		if (r < 0)
			return r;
		at = (size_t)(end - text) + 1;
	}
	return !j->looks && ftruncate(j->fd, (off_t)at) ? failed(j, "written", err) : r;
}

int wt_journal_add(struct wt_journal_file *j, json_t *line, struct wt_error *err)
{
	char *text = json_dumps(line, JSON_COMPACT);
	int r = 0;

	json_decref(line);
	if (!text)
		return wt_error_set(err, ENOMEM, "no memory for the journal");
	if (dprintf(j->fd, "%s\n", text) < 0 || fsync(j->fd))
		r = failed(j, "written", err);
	else
		j->lines++;
	free(text);
	return r;
}

/* The file's name is to survive as well. */
static int sync_directory(const struct wt_journal_file *j, struct wt_error *err)
{
	char *copy = strdup(j->path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int r = fd < 0 || fsync(fd) ? failed(j, "made", err) : 0;

	if (fd >= 0)
		close(fd);
	free(copy);
	return r;
}

int wt_journal_begin(struct wt_journal_file *j, json_t *first, struct wt_error *err)
{
	int r;

	j->lines = 0;
	if (ftruncate(j->fd, 0)) {
		json_decref(first);
		return failed(j, "made", err);
	}
	r = wt_journal_add(j, first, err);
	return r ? r : sync_directory(j, err);
}

void wt_journal_close(struct wt_journal_file *j)
{
	if (j->fd >= 0)
		close(j->fd);
	j->fd = -1;
}

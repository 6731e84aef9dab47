/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * job_place.c - see job_place.h.
 *
 *   1. Who holds the lock (flock) on the file that NAME.lock names now has the name. The kernel lets go when
 *      the holder dies, however it dies.
 *   2. NAME.sock is made and removed only under that lock: a socket that is found while it is held is stale.
 *   3. The lock file is removed under the lock. Who got the lock of a file that has been removed meanwhile
 *      holds nothing, and begins again.
 */
#include "job_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYSTEM_DIRECTORY "/run/watari"

bool wt_job_name_good(const char *name)
{
	size_t length = strlen(name);

	if (!length || length > WT_JOB_NAME_MAX || name[0] == '.' || name[0] == '-')
		return false;
	for (; *name; name++)
		if (*name < 0x20 || *name > 0x7e || *name == '/')
			return false;
	return true;
}

/* The user's own; false: there is none. It does not fit: an empty text. */
static bool user_directory(char ret_directory[WT_JOB_PATH_MAX])
{
	const char *base = getenv("XDG_RUNTIME_DIR");

	if (!base || !base[0])
		return false;
	if (base[0] != '/' ||
		snprintf(ret_directory, WT_JOB_PATH_MAX, "%s/watari", base) >= (int)WT_JOB_PATH_MAX)
		ret_directory[0] = '\0';
	return true;
}

unsigned wt_job_directories(char ret_directories[WT_JOB_DIRECTORIES][WT_JOB_PATH_MAX])
{
	unsigned count = user_directory(ret_directories[0]) && ret_directories[0][0];

	strcpy(ret_directories[count], SYSTEM_DIRECTORY);
	return count + 1;
}

bool wt_job_directory_private(const char *path)
{
	struct stat st;

	return !lstat(path, &st) && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 077);
}

static int make_directory(const char *path, struct wt_error *err)
{
	if (mkdir(path, 0700) && errno != EEXIST)
		return wt_error_set(err, errno,
			"no directory for the job's socket: %s: %s; set XDG_RUNTIME_DIR to a private directory of "
			"this user, or let root make %s with this user as its owner and mode 0700",
			path, strerror(errno), SYSTEM_DIRECTORY);
	if (!wt_job_directory_private(path))
		return wt_error_set(err, EPERM,
			"%s must be a directory of this user (%u) with mode 0700; whoever can write there could "
			"cancel migrations",
			path, (unsigned)geteuid());
	return 0;
}

static int name_place(const char *name, struct wt_job_place *place, struct wt_error *err)
{
	if (!user_directory(place->directory))
		strcpy(place->directory, SYSTEM_DIRECTORY);
	if (!place->directory[0] ||
		snprintf(place->socket, sizeof place->socket, "%s/%s.sock", place->directory, name) >=
			(int)sizeof place->socket ||
		snprintf(place->lock, sizeof place->lock, "%s/%s.lock", place->directory, name) >=
			(int)sizeof place->lock)
		return wt_error_set(err, ENAMETOOLONG,
			"the job's socket has no place: XDG_RUNTIME_DIR (%.100s) is no absolute path, or with the "
			"name %s too long for a unix socket; give a shorter --job",
			getenv("XDG_RUNTIME_DIR"), name);
	return 0;
}

/* 1: the lock is ours; 0: the file was removed meanwhile; -EEXIST: somebody has it. */
static int try_lock(struct wt_job_place *place, struct wt_error *err)
{
	int fd = open(place->lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat held, named;

	if (fd < 0)
		return wt_error_set(err, errno, "%s: %s", place->lock, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		int error = errno == EWOULDBLOCK ? EEXIST : errno;

		close(fd);
		return wt_error_set(err, error, "%s: %s", place->lock, strerror(error));
	}
	if (fstat(fd, &held) || lstat(place->lock, &named) || held.st_ino != named.st_ino ||
		held.st_dev != named.st_dev) {
		close(fd);
		return 0;
	}
	place->lock_fd = fd;
	return 1;
}

int wt_job_place_take(const char *name, struct wt_job_place *ret_place, struct wt_error *err)
{
	struct wt_job_place place = { .lock_fd = -1 };
	struct wt_error why = { 0 };
	int r;

	r = name_place(name, &place, err);
	if (!r)
		r = make_directory(place.directory, err);
	if (r)
		return r;
	do
		r = try_lock(&place, &why);
	while (!r);
	if (r == -EEXIST)
		return wt_error_set(err, EEXIST,
			"a job %s is running here already (watari status); give this one another name with --job",
			name);
	if (r < 0)
		return wt_error_set(err, why.code, "%s", why.text);
	unlink(place.socket);
	*ret_place = place;
	return 0;
}

void wt_job_place_leave(struct wt_job_place *place)
{
	if (place->lock_fd < 0)
		return;
	unlink(place->socket);
	unlink(place->lock);
	close(place->lock_fd);
	place->lock_fd = -1;
}

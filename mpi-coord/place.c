/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * place.c - where the sockets of a job's ranks are; see place.h.
 *
 * Who can open a rank's socket can stop the job, so a directory that belongs to somebody else, or that others
 * may write, is refused.
 */
#include "place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_private(const char *path, struct wt_error *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return wt_error_set(err, errno,
			"there is no job here: %s: %s; `watari-mpi run --name NAME` starts one", path,
			strerror(errno));
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 0022)
		return wt_error_set(err, EPERM,
			"%s is not a directory of yours that only you can write; remove it, or use another name",
			path);
	return 0;
}

static int make_all(char *path, struct wt_error *err)
{
	char *slash;

	for (slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
		int status;

		if (slash)
			*slash = 0;
		status = mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
		if (status < 0)
			wt_error_set(err, -status,
				"cannot make %s: %s; set XDG_RUNTIME_DIR, or btl_watari_directory, to a directory of yours",
				path, strerror(-status));
		if (slash)
			*slash = '/';
		if (status < 0 || !slash)
			return status;
	}
}

int wt_place_make(const char *directory, struct wt_error *err)
{
	char path[WT_PLACE_MAX];
	int status;

	if (strlen(directory) >= sizeof path)
		return wt_error_set(err, ENAMETOOLONG,
			"%s is too long for sockets in it; choose another directory", directory);
	strcpy(path, directory);
	status = make_all(path, err);
	return status < 0 ? status : check_private(path, err);
}

int wt_place_find(const char *name, bool make, char ret_path[WT_PLACE_MAX], struct wt_error *err)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char path[WT_PLACE_MAX];
	int length;
	int status;

	if (!name[0] || name[0] == '.' || strchr(name, '/') || strlen(name) > 32)
		return wt_error_set(
			err, EINVAL, "a job's name has 1 to 32 characters, no slash, and begins with no dot");
	length = snprintf(
		path, sizeof path, "%s/watari/mpi/%s", runtime && runtime[0] ? runtime : "/run", name);
	if (length < 0 || (size_t)length >= sizeof path)
		return wt_error_set(
			err, ENAMETOOLONG, "XDG_RUNTIME_DIR is too long for sockets below it: %s", runtime);
	status = make ? wt_place_make(path, err) : check_private(path, err);
	if (status >= 0)
		strcpy(ret_path, path);
	return status;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * reach.c - the ranks of this host; see reach.h. Owns nothing but its name: the sockets are the caller's.
 */
#include "reach.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define TAKES_S 5 /* how long a rank may take to take an order, or a connection */

static int directory_dial(struct wt_reach *reach, const char *name, uint32_t *ret_pid)
{
	const struct timeval patience = { .tv_sec = TAKES_S };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct ucred who = { 0 };
	socklen_t size = sizeof who;
	int length = snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", reach->where, name);
	int status;
	int fd;

	if (length < 0 || (size_t)length >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0 ||
		connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
		status = -errno;
		close(fd);
		return status;
	}
	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size);
	*ret_pid = (uint32_t)who.pid;
	return fd;
}

static int directory_look(struct wt_reach *reach, wt_reach_found_fn *found, void *arg, struct wt_error *err)
{
	DIR *directory = opendir(reach->where);
	struct dirent *entry;
	int status = 0;

	if (!directory)
		return wt_error_set(err, errno, "cannot read %s: %s", reach->where, strerror(errno));
	while (status >= 0 && (entry = readdir(directory))) {
		size_t length = strlen(entry->d_name);

		if (length > 5 && length < WT_REACH_NAME_MAX &&
			strcmp(entry->d_name + length - 5, ".sock") == 0)
			status = found(arg, entry->d_name, err);
	}
	closedir(directory);
	return status;
}

static bool directory_lost(struct wt_reach *reach, struct wt_error *err)
{
	return false;
}

static void directory_close(struct wt_reach *reach)
{
	free(reach);
}

static const struct wt_reach_ops directory_ops = {
	.look = directory_look,
	.dial = directory_dial,
	.lost = directory_lost,
	.close = directory_close,
};

int wt_reach_directory_open(const char *directory, struct wt_reach **ret_reach, struct wt_error *err)
{
	struct wt_reach *reach = calloc(1, sizeof *reach);

	if (!reach)
		return wt_error_set(err, ENOMEM, "out of memory for a job's directory");
	reach->ops = &directory_ops;
	snprintf(reach->where, sizeof reach->where, "%s", directory);
	*ret_reach = reach;
	return 0;
}

int wt_reach_look(struct wt_reach *reach, wt_reach_found_fn *found, void *arg, struct wt_error *err)
{
	return reach->ops->look(reach, found, arg, err);
}

int wt_reach_dial(struct wt_reach *reach, const char *name, uint32_t *ret_pid)
{
	return reach->ops->dial(reach, name, ret_pid);
}

bool wt_reach_lost(struct wt_reach *reach, struct wt_error *err)
{
	return reach->ops->lost(reach, err);
}

void wt_reach_close(struct wt_reach *reach)
{
	if (reach)
		reach->ops->close(reach);
}

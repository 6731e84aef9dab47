/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_verbs_leave.c - lets go a device that is being taken away from this host.
 *
 * librdmacm keeps a device open as long as the process lives. Some drivers (mlx5) take a device away from
 * those that have it open; others (soft-RoCE) wait until the last one has closed it, and so does whoever
 * wants to unplug it. There is no call that makes librdmacm close a device.
 *
 *   1. Noted is each device of an endpoint: its number, and the descriptors of librdmacm's context.
 *   2. Once the kernel does not list the device any more, nothing can be done with that context: its
 *      descriptors are replaced by /dev/null, upon which the kernel has what it waits for. librdmacm finds
 *      out that the device is gone when it meets another one, and then closes the context itself.
 *   3. A descriptor is replaced only if it still is what it was: librdmacm may have closed it, and its number
 *      be that of another file, or of the next device's, which may have the same device number. So the file
 *      is compared by its inode, which /dev makes anew for each device (one made by mknod stays).
 * Threads: any.
 */
#include "path_verbs.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOTED_MAX 8u

struct noted {
	bool used;
	int index; /* the kernel's number of the device, from 0 on, given once only */
	int command, events;
	struct stat file; /* of `command` */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct noted noted[NOTED_MAX];

void wt_verbs_note(const struct ibv_context *verbs)
{
	int index = ibv_get_device_index(verbs->device);
	struct noted *free_one = NULL;
	struct stat st;

	if (index < 0 || fstat(verbs->cmd_fd, &st) < 0)
		return;
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < NOTED_MAX; i++) {
		if (noted[i].command == verbs->cmd_fd) /* of this context, or of one that was closed */
			noted[i].used = false;
		if (!noted[i].used)
			free_one = &noted[i];
	}
	if (free_one)
		*free_one = (struct noted){ true, index, verbs->cmd_fd, verbs->async_fd, st };
	pthread_mutex_unlock(&lock);
}

static bool listed(struct ibv_device **devices, int index)
{
	for (; *devices; devices++)
		if (ibv_get_device_index(*devices) == index)
			return true;
	return false;
}

static bool still(const struct noted *device)
{
	char link[32], target[64] = "";
	struct stat st;

	snprintf(link, sizeof link, "/proc/self/fd/%d", device->events);
	return fstat(device->command, &st) == 0 && S_ISCHR(st.st_mode) &&
	       st.st_rdev == device->file.st_rdev && st.st_dev == device->file.st_dev &&
	       st.st_ino == device->file.st_ino && readlink(link, target, sizeof target - 1) > 0 &&
	       strstr(target, "infiniband");
}

static bool any_noted(void)
{
	bool any = false;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < NOTED_MAX; i++)
		any |= noted[i].used;
	pthread_mutex_unlock(&lock);
	return any;
}

void wt_verbs_let_go(void)
{
	struct ibv_device **devices = any_noted() ? ibv_get_device_list(NULL) : NULL;
	int nothing;

	if (!devices)
		return;
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < NOTED_MAX; i++) {
		if (!noted[i].used || listed(devices, noted[i].index))
			continue;
		nothing = still(&noted[i]) ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;
		if (nothing >= 0) {
			dup3(nothing, noted[i].command, O_CLOEXEC);
			dup3(nothing, noted[i].events, O_CLOEXEC);
			close(nothing);
		}
		noted[i].used = false;
	}
	pthread_mutex_unlock(&lock);
	ibv_free_device_list(devices);
}

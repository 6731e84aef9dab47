/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * disk_info.c - see disk_info.h.
 */
#include "disk_info.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "preflight.h"

#define UNATTACHED "/machine/unattached/" /* device[N]: of devices that QEMU plugs in by itself */

const char *wt_disk_text(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

bool wt_disk_writable(json_t *disk)
{
	json_t *inserted = json_object_get(disk, "inserted");

	return inserted && !json_is_true(json_object_get(inserted, "ro")) && !wt_preflight_is_flash(disk);
}

const char *wt_disk_label(json_t *disk)
{
	const char *name = wt_disk_text(disk, "device");

	if (!*name)
		name = wt_disk_text(json_object_get(disk, "inserted"), "node-name");
	return *name ? name : wt_disk_text(disk, "qdev");
}

const char *wt_disk_place(json_t *disk)
{
	const char *path = wt_disk_text(disk, "qdev"), *name = wt_disk_text(disk, "device");

	if (*path && (!*name || strncmp(path, UNATTACHED, strlen(UNATTACHED)) != 0))
		return path;
	return *name ? name : wt_disk_label(disk);
}

json_t *wt_disk_image(json_t *disk)
{
	return json_object_get(json_object_get(disk, "inserted"), "image");
}

bool wt_disk_name_is_whole(const char *name)
{
	size_t first = strcspn(name, "/:");

	return name[0] == '/' || name[first] == ':';
}

void wt_disk_path(pid_t pid, const char *name, char ret_path[WT_DISK_PATH_MAX])
{
	if (pid)
		snprintf(ret_path, WT_DISK_PATH_MAX, "/proc/%d/root%s", (int)pid, name);
	else
		snprintf(ret_path, WT_DISK_PATH_MAX, "%s", name);
}

int wt_disk_written(pid_t pid, const char *name, int64_t *ret_written_ns)
{
	char path[WT_DISK_PATH_MAX];
	struct stat file;

	*ret_written_ns = 0;
	if (name[0] != '/')
		return 0;
	wt_disk_path(pid, name, path);
	if (stat(path, &file))
		return -errno;
	if (S_ISREG(file.st_mode))
		*ret_written_ns = (int64_t)file.st_mtim.tv_sec * 1000000000 + file.st_mtim.tv_nsec;
	return 0;
}

bool wt_disk_same_file(pid_t pid, const char *one, const char *other)
{
	char paths[2][WT_DISK_PATH_MAX];
	struct stat files[2];

	if (!strcmp(one, other))
		return true;
	if (one[0] != '/' || other[0] != '/')
		return false;
	wt_disk_path(pid, one, paths[0]);
	wt_disk_path(pid, other, paths[1]);
	return !stat(paths[0], &files[0]) && !stat(paths[1], &files[1]) &&
	       files[0].st_dev == files[1].st_dev && files[0].st_ino == files[1].st_ino;
}

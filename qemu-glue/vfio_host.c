/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfio_host.c - see vfio_host.h. Reads /sys; opens the group in /dev/vfio and closes it at once, as only that
 * tells whether somebody has it: the kernel lets one process in at a time.
 *
 * Members of a group may have no driver, vfio-pci, pci-stub or that of a bridge: the kernel's own rule for a
 * group that can be used.
 */
#include "vfio_host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The last part of what a link points to; "": there is no link. */
static void link_name(const char *path, char *ret_name, size_t size)
{
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof target - 1);
	const char *slash;

	*ret_name = '\0';
	if (n <= 0)
		return;
	target[n] = '\0';
	slash = strrchr(target, '/');
	snprintf(ret_name, size, "%.*s", (int)size - 1, slash ? slash + 1 : target);
}

static void driver_of(const char *root, const char *address, char driver[WT_VFIO_DRIVER_MAX + 1])
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/sys/bus/pci/devices/%s/driver", root, address);
	link_name(path, driver, WT_VFIO_DRIVER_MAX + 1);
}

static void look_at_members(const char *root, const char *address, struct wt_vfio_device *device)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof path, "%s/sys/bus/pci/devices/%s/iommu_group/devices", root, address);
	dir = opendir(path);
	while (dir && (entry = readdir(dir)) && device->member_count < WT_VFIO_MEMBERS_MAX) {
		struct wt_vfio_member *member = &device->members[device->member_count];

		if (strlen(entry->d_name) != WT_DEVICE_ADDRESS_MAX)
			continue;
		strcpy(member->address, entry->d_name);
		driver_of(root, member->address, member->driver);
		device->member_count++;
	}
	if (dir)
		closedir(dir);
}

int wt_vfio_look(
	const char *root, const char *address, struct wt_vfio_device *ret_device, struct wt_error *err)
{
	struct wt_vfio_device device = { .group = -1 };
	char path[PATH_MAX], group[32];

	snprintf(path, sizeof path, "%s/sys/bus/pci/devices/%s", root, address);
	if (access(path, F_OK))
		return wt_error_set(err, ENOENT,
			"this host has no PCI device %s; correct the device map (lspci -D lists them)",
			address);
	driver_of(root, address, device.driver);
	snprintf(path, sizeof path, "%s/sys/bus/pci/devices/%s/iommu_group", root, address);
	link_name(path, group, sizeof group);
	if (group[0])
		device.group = atoi(group);
	look_at_members(root, address, &device);
	*ret_device = device;
	return 0;
}

static bool harmless(const char *driver)
{
	return !driver[0] || strcmp(driver, "vfio-pci") == 0 || strcmp(driver, "pci-stub") == 0 ||
	       strcmp(driver, "pcieport") == 0;
}

static int try_group(const char *root, const char *address, int group, struct wt_error *err)
{
	char path[PATH_MAX];
	int fd, code;

	snprintf(path, sizeof path, "%s/dev/vfio/%d", root, group);
	fd = open(path, O_RDWR | O_CLOEXEC);
	code = errno;
	if (fd >= 0) {
		close(fd);
		return 0;
	}
	if (code == EBUSY)
		return wt_error_set(err, EBUSY,
			"%s is in use: another process has its IOMMU group %d (%s); end that, or name another device",
			address, group, path);
	return wt_error_set(err, code,
		"%s cannot be used: %s cannot be opened (%s); watari and QEMU need access to it", address,
		path, strerror(code));
}

int wt_vfio_usable(const char *root, const char *address, struct wt_error *err)
{
	struct wt_vfio_device device;
	int r = wt_vfio_look(root, address, &device, err);

	if (r)
		return r;
	if (device.group < 0)
		return wt_error_set(err, ENODEV,
			"%s has no IOMMU group; switch the IOMMU on (kernel argument intel_iommu=on or amd_iommu=on)",
			address);
	if (strcmp(device.driver, "vfio-pci") != 0)
		return wt_error_set(err, EBUSY,
			"%s is not bound to vfio-pci but to %s; bind it, or have \"prepare\" of the device map do it",
			address, device.driver[0] ? device.driver : "nothing");
	for (unsigned i = 0; i < device.member_count; i++)
		if (strcmp(device.members[i].address, address) != 0 && !harmless(device.members[i].driver))
			return wt_error_set(err, EBUSY,
				"%s shares IOMMU group %d with %s, which this host uses (driver %s); pass both through, or "
				"name another device",
				address, device.group, device.members[i].address, device.members[i].driver);
	return try_group(root, address, device.group, err);
}

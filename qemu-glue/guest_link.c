/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guest_link.c - see guest_link.h. Part of watari-guest; udev's names are not needed.
 */
#include "guest_link.h"

#include <dirent.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* The first line of a file in /sys, without its newline; false: it cannot be read. */
static bool read_line(const char *folder, const char *entry, const char *name, char *ret_line, int size)
{
	char path[PATH_MAX];
	FILE *file;
	bool read;

	snprintf(path, sizeof path, "%s/%s/%s", folder, entry, name);
	file = fopen(path, "re");
	read = file && fgets(ret_line, size, file);
	if (read)
		ret_line[strcspn(ret_line, "\n")] = '\0';
	if (file)
		fclose(file);
	return read;
}

/* The entry of folder whose file `name` has this line. */
static bool find(const char *folder, const char *name, const char *wanted, char *ret_entry, size_t size)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	char line[256];
	bool found = false;

	while (dir && !found && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && read_line(folder, entry->d_name, name, line, sizeof line) &&
			strcmp(line, wanted) == 0)
			found = snprintf(ret_entry, size, "%s", entry->d_name) < (int)size;
	if (dir)
		closedir(dir);
	return found;
}

static void bring_up(const char *interface)
{
	struct ifreq request = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	snprintf(request.ifr_name, sizeof request.ifr_name, "%s", interface);
	if (!ioctl(fd, SIOCGIFFLAGS, &request) && !(request.ifr_flags & IFF_UP)) {
		request.ifr_flags |= IFF_UP;
		ioctl(fd, SIOCSIFFLAGS, &request);
	}
	close(fd);
}

bool wt_guest_link_there(const char *mac)
{
	char interface[IFNAMSIZ];

	return find("/sys/class/net", "address", mac, interface, sizeof interface);
}

bool wt_guest_link_up(const char *mac)
{
	char interface[IFNAMSIZ], line[16];

	if (!find("/sys/class/net", "address", mac, interface, sizeof interface))
		return false;
	if (read_line("/sys/class/net", interface, "carrier", line, sizeof line))
		return strcmp(line, "1") == 0;
	bring_up(interface);
	return false;
}

bool wt_guest_port_find(const char *name, char *ret_path, size_t size)
{
	char entry[64];

	if (!find("/sys/class/virtio-ports", "name", name, entry, sizeof entry))
		return false;
	return snprintf(ret_path, size, "/dev/%s", entry) < (int)size;
}

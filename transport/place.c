/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * place.c - the kernel knows which processors are next to a device, and says so in sysfs. See place.h.
 */
#include <watari/place.h>

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Adds the processors of a list such as "0-3,8". */
static void add_list(const char *list, cpu_set_t *set)
{
	char *end;

	while (*list >= '0' && *list <= '9') {
		unsigned long first = strtoul(list, &end, 10), last = first;

		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		for (unsigned long cpu = first; cpu <= last && cpu < CPU_SETSIZE; cpu++)
			CPU_SET(cpu, set);
		list = *end == ',' ? end + 1 : end;
	}
}

static void add_device(const char *root, const char *name, size_t length, cpu_set_t *set)
{
	char path[PATH_MAX], line[1024];
	FILE *file;

	snprintf(path, sizeof path, "%s/sys/class/infiniband/%.*s/device/local_cpulist", root, (int)length,
		name);
	file = fopen(path, "re");
	if (file && fgets(line, sizeof line, file))
		add_list(line, set);
	if (file)
		fclose(file);
}

int wt_place_near(const char *root, const char *devices)
{
	cpu_set_t near, mine, both;

	CPU_ZERO(&near);
	while (devices && *devices) {
		size_t length = strcspn(devices, ",");

		add_device(root, devices, length, &near);
		devices += length + (devices[length] == ',');
	}
	if (sched_getaffinity(0, sizeof mine, &mine))
		return 0;
	CPU_AND(&both, &near, &mine);
	if (!CPU_COUNT(&both) || CPU_EQUAL(&both, &mine))
		return 0;
	return sched_setaffinity(0, sizeof both, &both) == 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * locality.c - hwloc knows which processors are next to a device. See locality.h.
 *
 * The topology lives for one call: it is asked once in a process.
 */
#include "locality.h"

#include <hwloc.h>
#include <stdbool.h>
#include <string.h>

/* What hwloc can find out about GPUs takes long, and is not asked. */
static const char *const not_asked[] = { "gl", "opencl", "cuda", "nvml", "rsmi", "levelzero" };

static bool topology_open(hwloc_topology_t *ret_topology)
{
	hwloc_topology_t topology;

	if (hwloc_topology_init(&topology))
		return false;
	for (unsigned i = 0; i < sizeof not_asked / sizeof *not_asked; i++)
		hwloc_topology_set_components(
			topology, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, not_asked[i]);
	hwloc_topology_set_io_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_ALL);
	if (hwloc_topology_load(topology)) {
		hwloc_topology_destroy(topology);
		return false;
	}
	*ret_topology = topology;
	return true;
}

static void add_device(hwloc_topology_t topology, const char *name, size_t length, hwloc_bitmap_t near)
{
	hwloc_obj_t device = NULL;

	while ((device = hwloc_get_next_osdev(topology, device))) {
		hwloc_obj_t where = hwloc_get_non_io_ancestor_obj(topology, device);

		if (where && device->name && strlen(device->name) == length &&
			memcmp(device->name, name, length) == 0)
			hwloc_bitmap_or(near, near, where->cpuset);
	}
}

static int go_near(hwloc_topology_t topology, const char *devices, hwloc_bitmap_t near, hwloc_bitmap_t mine)
{
	while (*devices) {
		size_t length = strcspn(devices, ",");

		add_device(topology, devices, length, near);
		devices += length + (devices[length] == ',');
	}
	if (hwloc_get_cpubind(topology, mine, HWLOC_CPUBIND_THREAD))
		return 0;
	hwloc_bitmap_and(near, near, mine);
	if (hwloc_bitmap_iszero(near) || hwloc_bitmap_isequal(near, mine))
		return 0;
	return hwloc_set_cpubind(topology, near, HWLOC_CPUBIND_THREAD) == 0;
}

int wt_locality_near(const char *devices)
{
	hwloc_bitmap_t near, mine;
	hwloc_topology_t topology;
	int moved = 0;

	if (!devices || !topology_open(&topology))
		return 0;
	near = hwloc_bitmap_alloc();
	mine = hwloc_bitmap_alloc();
	if (near && mine)
		moved = go_near(topology, devices, near, mine);
	hwloc_bitmap_free(mine);
	hwloc_bitmap_free(near);
	hwloc_topology_destroy(topology);
	return moved;
}

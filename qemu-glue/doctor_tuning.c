/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * doctor_tuning.c - what makes RDMA slow on a host where nothing is missing: where the devices are, how they
 * are connected, and how the processor's clock and the IOMMU are set. See docs/BENCHMARKING.md.
 *
 * A host without an RDMA device has nothing to tune, and is not told to.
 */
#include "doctor_internal.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEVICES "/sys/class/infiniband"
#define MTU_WANTED 4200 /* for a path MTU of 4096 */

/* Whether one of the processors of a list such as "0-3,8" may run this process. */
static bool may_run_on(const char *list)
{
	cpu_set_t mine;
	char *end;

	if (sched_getaffinity(0, sizeof mine, &mine))
		return true;
	while (*list >= '0' && *list <= '9') {
		unsigned long first = strtoul(list, &end, 10), last = first;

		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		for (unsigned long cpu = first; cpu <= last && cpu < CPU_SETSIZE; cpu++)
			if (CPU_ISSET(cpu, &mine))
				return true;
		list = *end == ',' ? end + 1 : end;
	}
	return false;
}

/* "mlx5_0: node 1, processors 16-31" */
static void add_place(struct wt_finding *f, const char *root, const char *name)
{
	char node[128], cpus[128], text[256];

	wt_doctor_line(node, "%s" DEVICES "/%s/device/%s", root, name, "numa_node");
	wt_doctor_line(cpus, "%s" DEVICES "/%s/device/%s", root, name, "local_cpulist");
	if (!node[0] || node[0] == '-')
		snprintf(text, sizeof text, "%.40s: no node of its own", name);
	else
		snprintf(text, sizeof text, "%.40s: node %.8s, processors %.80s", name, node, cpus);
	f->good = f->good && (!cpus[0] || may_run_on(cpus));
	wt_doctor_add(f, "; ", text);
}

/* "mlx5_0: 16.0 GT/s PCIe x16", and what it could be where that is more. */
static void add_pcie(struct wt_finding *f, const char *root, const char *name)
{
	char speed[128], width[128], best_speed[128], best_width[128], text[256];

	wt_doctor_line(speed, "%s" DEVICES "/%s/device/%s", root, name, "current_link_speed");
	wt_doctor_line(width, "%s" DEVICES "/%s/device/%s", root, name, "current_link_width");
	wt_doctor_line(best_speed, "%s" DEVICES "/%s/device/%s", root, name, "max_link_speed");
	wt_doctor_line(best_width, "%s" DEVICES "/%s/device/%s", root, name, "max_link_width");
	if (!speed[0]) {
		snprintf(text, sizeof text, "%.40s: not on PCIe", name);
	} else if (!strcmp(speed, best_speed) && !strcmp(width, best_width)) {
		snprintf(text, sizeof text, "%.40s: %.24s x%.4s", name, speed, width);
	} else {
		f->good = false;
		snprintf(text, sizeof text, "%.40s: %.24s x%.4s, could be %.24s x%.4s", name, speed, width,
			best_speed, best_width);
	}
	wt_doctor_add(f, "; ", text);
}

/* "mlx5_0: eth2 9000", of RoCE; InfiniBand has no such MTU. */
static void add_mtu(struct wt_finding *f, const char *root, const char *name)
{
	char net[128], mtu[128], text[256];

	wt_doctor_line(net, "%s" DEVICES "/%s/ports/1/gid_attrs/ndevs/%s", root, name, "0");
	if (!net[0])
		return;
	wt_doctor_line(mtu, "%s/sys/class/net/%s/%s", root, net, "mtu");
	f->good = f->good && atoi(mtu) >= MTU_WANTED;
	snprintf(text, sizeof text, "%.40s: %.20s %.10s", name, net, mtu[0] ? mtu : "unknown");
	wt_doctor_add(f, "; ", text);
}

static void check_each(struct wt_finding *f, const char *root, const char *what, wt_doctor_fn *add,
	const char *otherwise, const char *advice)
{
	*f = (struct wt_finding){ .what = what, .good = true, .advice = advice };
	wt_doctor_each(root, DEVICES, add, f);
	if (!f->text[0])
		strcpy(f->text, otherwise);
}

static void check_clock(struct wt_finding *f, const char *root)
{
	char governor[128];

	*f = (struct wt_finding){ .what = "processor clock",
		.advice = "short reads wait for a slow clock: cpupower frequency-set -g performance" };
	wt_doctor_line(governor, "%s/sys/devices/system/cpu/%s/cpufreq/%s", root, "cpu0", "scaling_governor");
	f->good = !governor[0] || strcmp(governor, "performance") == 0;
	snprintf(f->text, sizeof f->text, "%.60s", governor[0] ? governor : "not set by the kernel");
}

/* Of the first group. */
static void check_iommu_mode(struct wt_finding *f, const char *root)
{
	char type[128];

	*f = (struct wt_finding){ .what = "IOMMU mode",
		.advice =
			"every access of a device is translated, which costs rate: iommu=pt on the kernel's "
			"command line" };
	wt_doctor_line(type, "%s/sys/kernel/iommu_groups/%s/%s", root, "0", "type");
	f->good = strncmp(type, "DMA", 3) != 0;
	snprintf(f->text, sizeof f->text, "%.60s", type[0] ? type : "no groups");
}

unsigned wt_doctor_tuning(const char *root, struct wt_finding *ret_findings)
{
	struct wt_finding *f = ret_findings;

	if (!wt_doctor_each(root, DEVICES, NULL, NULL))
		return 0;
	check_each(f++, root, "RDMA placement", add_place, "unknown",
		"this process may not run next to the device: start QEMU and watari with numactl -N NODE -m NODE");
	check_each(f++, root, "RDMA on PCIe", add_pcie, "unknown",
		"slower or narrower than the device can: another slot, or the firmware's settings of it");
	check_each(f++, root, "RoCE MTU", add_mtu, "no RoCE",
		"packets are small: ip link set dev NIC mtu 9000 at both ends and on the switch");
	check_clock(f++, root);
	check_iommu_mode(f++, root);
	return (unsigned)(f - ret_findings);
}

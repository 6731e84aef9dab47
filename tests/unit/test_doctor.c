/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_doctor.c - what is said of hosts that are trees of files, made here: one with everything, one with
 * nothing, one whose devices are not ready.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../qemu-glue/doctor.h"

static char root[64];

static int make_root(void **state)
{
	strcpy(root, "/tmp/test-doctor-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int remove_root(void **state)
{
	return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Makes a file and the directories on the way to it. */
static void put(const char *name, const char *text)
{
	char path[512], *slash;
	FILE *file;

	snprintf(path, sizeof path, "%s%s", root, name);
	for (slash = strchr(path + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static struct wt_finding look(const char *what)
{
	struct wt_finding findings[WT_FINDINGS_MAX];
	unsigned count = wt_doctor_look(root, findings);

	assert_true(count <= WT_FINDINGS_MAX);
	for (unsigned i = 0; i < count; i++)
		if (strcmp(findings[i].what, what) == 0)
			return findings[i];
	fail_msg("nothing is said of %s", what);
	return (struct wt_finding){ 0 };
}

static void expect_finding(const char *what, bool good, const char *text)
{
	struct wt_finding f = look(what);

	assert_string_equal(f.text, text);
	assert_int_equal(f.good, good);
	assert_non_null(f.advice);
}

static void put_device(const char *name, const char *layer, const char *state, const char *rate)
{
	const char *const files[] = { "link_layer", layer, "state", state, "rate", rate };
	char path[128];

	for (unsigned i = 0; i < 6; i += 2) {
		snprintf(path, sizeof path, "/sys/class/infiniband/%s/ports/1/%s", name, files[i]);
		put(path, files[i + 1]);
	}
}

static void test_nothing(void **state)
{
	expect_finding("RDMA devices", false, "none");
	expect_finding("RDMA access", false, "/dev/infiniband/uverbs0 missing");
	expect_finding("huge pages", false, "not in this kernel");
	expect_finding("KVM", false, "/dev/kvm missing");
	expect_finding("IOMMU", false, "no groups");
	expect_finding("VFIO", false, "/dev/vfio/vfio missing");
	assert_non_null(strstr(look("RDMA devices").advice, "rxe"));
}

static void test_everything(void **state)
{
	put_device("mlx5_0", "InfiniBand\n", "4: ACTIVE\n", "100 Gb/sec (4X EDR)\n");
	put_device("rxe0", "Ethernet\n", "1: DOWN\n", "2.5 Gb/sec (1X SDR)\n");
	put("/dev/infiniband/uverbs0", "");
	put("/dev/kvm", "");
	put("/dev/vfio/vfio", "");
	put("/sys/kernel/iommu_groups/0/x", "");
	put("/sys/kernel/iommu_groups/11/x", "");
	put("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "8\n");
	put("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "5\n");
	put("/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "0\n");
	put("/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "0\n");
	expect_finding("RDMA devices", true,
		"mlx5_0 (InfiniBand, ACTIVE, 100 Gb/sec), rxe0 (Ethernet, DOWN, 2.5 Gb/sec)");
	expect_finding("RDMA access", true, "/dev/infiniband/uverbs0 usable");
	expect_finding("huge pages", true, "2 MiB: 5 of 8 free, 1 GiB: 0 of 0 free");
	expect_finding("KVM", true, "/dev/kvm usable");
	expect_finding("IOMMU", true, "2 groups");
	expect_finding("VFIO", true, "/dev/vfio/vfio usable");
}

static void test_not_ready(void **state)
{
	put_device("rxe0", "Ethernet\n", "1: DOWN\n", "");
	put("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0\n");
	expect_finding("RDMA devices", false, "rxe0 (Ethernet, DOWN)");
	assert_non_null(strstr(look("RDMA devices").advice, "link up"));
	expect_finding("huge pages", false, "2 MiB:  of 0 free");
}

/* Where nothing is missing: what makes it slow. */
static void test_tuning(void **state)
{
	const char *const pci = "/sys/class/infiniband/mlx5_0/device/";
	const char *const files[] = { "numa_node", "1\n", "local_cpulist", "0-511\n", "current_link_speed",
		"16.0 GT/s PCIe\n", "max_link_speed", "16.0 GT/s PCIe\n", "current_link_width", "16\n",
		"max_link_width", "16\n" };
	char path[128];

	put_device("mlx5_0", "Ethernet\n", "4: ACTIVE\n", "100 Gb/sec (4X EDR)\n");
	for (unsigned i = 0; i < 12; i += 2) {
		snprintf(path, sizeof path, "%s%s", pci, files[i]);
		put(path, files[i + 1]);
	}
	put("/sys/class/infiniband/mlx5_0/ports/1/gid_attrs/ndevs/0", "eth2\n");
	put("/sys/class/net/eth2/mtu", "9000\n");
	put("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n");
	put("/sys/kernel/iommu_groups/0/type", "identity\n");
	expect_finding("RDMA placement", true, "mlx5_0: node 1, processors 0-511");
	expect_finding("RDMA on PCIe", true, "mlx5_0: 16.0 GT/s PCIe x16");
	expect_finding("RoCE MTU", true, "mlx5_0: eth2 9000");
	expect_finding("processor clock", true, "performance");
	expect_finding("IOMMU mode", true, "identity");

	put("/sys/class/infiniband/mlx5_0/device/local_cpulist", "600,700-800\n");
	put("/sys/class/infiniband/mlx5_0/device/current_link_width", "8\n");
	put("/sys/class/net/eth2/mtu", "1500\n");
	put("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n");
	put("/sys/kernel/iommu_groups/0/type", "DMA-FQ\n");
	expect_finding("RDMA placement", false, "mlx5_0: node 1, processors 600,700-800");
	expect_finding("RDMA on PCIe", false, "mlx5_0: 16.0 GT/s PCIe x8, could be 16.0 GT/s PCIe x16");
	expect_finding("RoCE MTU", false, "mlx5_0: eth2 1500");
	expect_finding("processor clock", false, "powersave");
	expect_finding("IOMMU mode", false, "DMA-FQ");
}

/* soft-RoCE: no PCIe, no node; nothing to complain of but the MTU. */
static void test_tuning_of_software(void **state)
{
	put_device("rxe0", "Ethernet\n", "4: ACTIVE\n", "2.5 Gb/sec (1X SDR)\n");
	put("/sys/class/infiniband/rxe0/ports/1/gid_attrs/ndevs/0", "fab0\n");
	expect_finding("RDMA placement", true, "rxe0: no node of its own");
	expect_finding("RDMA on PCIe", true, "rxe0: not on PCIe");
	expect_finding("RoCE MTU", false, "rxe0: fab0 unknown");
	expect_finding("processor clock", true, "not set by the kernel");
	expect_finding("IOMMU mode", true, "no groups");
}

static void test_many_devices(void **state)
{
	char name[32];

	for (unsigned i = 0; i < 40; i++) {
		snprintf(name, sizeof name, "mlx5_%u", i);
		put_device(name, "Ethernet\n", "4: ACTIVE\n", "100 Gb/sec (4X EDR)\n");
	}
	assert_int_equal(strlen(look("RDMA devices").text), sizeof((struct wt_finding){ 0 }.text) - 1);
}

/* A QEMU of that version, first in PATH. */
static void put_qemu(const char *script)
{
	char path[512];

	put("/bin/qemu-system-x86_64", script);
	snprintf(path, sizeof path, "%s/bin/qemu-system-x86_64", root);
	assert_int_equal(chmod(path, 0700), 0);
	snprintf(path, sizeof path, "%s/bin", root);
	setenv("PATH", path, 1);
}

static void test_versions(void **state)
{
	char *path = strdup(getenv("PATH"));

	put_qemu("#!/bin/sh\necho 'QEMU emulator version 9.1.2 (Debian)'\necho more\n");
	assert_string_equal(look("QEMU").text, "qemu-system-x86_64 9.1.2 (Debian)");
	assert_true(look("QEMU").good);
	put_qemu("#!/bin/sh\nexit 1\n");
	if (access("/usr/libexec/qemu-kvm", X_OK))
		expect_finding("QEMU", false, "none found");
	setenv("PATH", path, 1);
	free(path);
	assert_non_null(strstr(look("watari").text, "Linux "));
	assert_non_null(look("libibverbs").text);
}

static void test_digests(void **state)
{
	struct wt_finding f = look("page digests");
	double speed;

	assert_int_equal(sscanf(f.text, "GMAC %lf GB/s per core", &speed), 1);
	assert_true(speed > 0 && speed < 1000);
	if (speed < 0.99 || speed > 1.01) /* what is shown is rounded */
		assert_int_equal(f.good, speed > 1);
	assert_non_null(f.advice);
}

static void test_jobs(void **state)
{
	char wanted[128], path[128];

	setenv("XDG_RUNTIME_DIR", root, 1);
	snprintf(wanted, sizeof wanted, "%s/watari usable", root);
	expect_finding("job sockets", true, wanted);
	snprintf(path, sizeof path, "%s/watari", root);
	assert_int_equal(mkdir(path, 0700), 0);
	expect_finding("job sockets", true, wanted);
	assert_int_equal(chmod(path, 0755), 0);
	assert_false(look("job sockets").good);
	setenv("XDG_RUNTIME_DIR", "/nowhere/at/all", 1);
	expect_finding("job sockets", false, "/nowhere/at/all/watari not usable");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_nothing, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_everything, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_not_ready, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_tuning, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_tuning_of_software, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_many_devices, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_versions, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_digests, make_root, remove_root),
		cmocka_unit_test_setup_teardown(test_jobs, make_root, remove_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

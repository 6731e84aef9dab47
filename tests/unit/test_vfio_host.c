/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_vfio_host.c - what is said of a host's PCI devices, in a file system of the test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vfio_host.h"

static char root[64];

/* 81:00.1 is usable; 81:00.0 shares its group with a NIC that is used; 82:00.0 has no driver; 83:00.0 no
 * group; 84:00.0 no file in /dev; 85:00.0 shares with a bridge. */
static const char script[] =
	"set -e; cd %s; mkdir -p dev/vfio sys/bus/pci/devices sys/bus/pci/drivers/vfio-pci sys/bus/pci/drivers/mlx5_core "
	"sys/bus/pci/drivers/pcieport; d=$PWD/sys/bus/pci/devices; "
	"add() { mkdir -p $d/$1 sys/groups/$2/devices; ln -s $PWD/sys/groups/$2 $d/$1/iommu_group; "
	"  ln -s $d/$1 sys/groups/$2/devices/$1; test -z \"$3\" || ln -s $PWD/sys/bus/pci/drivers/$3 $d/$1/driver; }; "
	"add 0000:81:00.1 7 vfio-pci; add 0000:81:00.0 8 vfio-pci; add 0000:81:00.2 8 mlx5_core; add 0000:82:00.0 9; "
	"add 0000:84:00.0 10 vfio-pci; add 0000:85:00.0 11 vfio-pci; add 0000:00:1c.0 11 pcieport; "
	"mkdir $d/0000:83:00.0; : >dev/vfio/7; : >dev/vfio/8; : >dev/vfio/9; : >dev/vfio/11";

static int setup(void **state)
{
	char command[2048];

	strcpy(root, "/tmp/test_vfio_host.XXXXXX");
	assert_non_null(mkdtemp(root));
	snprintf(command, sizeof command, script, root);
	return system(command);
}

static int teardown(void **state)
{
	char command[128];

	snprintf(command, sizeof command, "rm -r %s", root);
	return system(command);
}

static void expect(const char *address, int code, const char *said)
{
	struct wt_error err = { 0 };

	assert_int_equal(wt_vfio_usable(root, address, &err), code);
	if (said && !strstr(err.text, said))
		fail_msg("%s: \"%s\", not \"%s\"", address, err.text, said);
}

static void test_usable(void **state)
{
	expect("0000:81:00.1", 0, NULL);
	expect("0000:85:00.0", 0, NULL);
	expect("0000:81:00.0", -EBUSY,
		"shares IOMMU group 8 with 0000:81:00.2, which this host uses (driver mlx5_core)");
	expect("0000:82:00.0", -EBUSY, "is not bound to vfio-pci but to nothing");
	expect("0000:83:00.0", -ENODEV, "has no IOMMU group");
	expect("0000:84:00.0", -ENOENT, "/dev/vfio/10 cannot be opened");
	expect("0000:99:00.0", -ENOENT, "this host has no PCI device 0000:99:00.0");
}

static void test_look(void **state)
{
	struct wt_vfio_device device;
	struct wt_error err = { 0 };

	assert_int_equal(wt_vfio_look(root, "0000:81:00.0", &device, &err), 0);
	assert_string_equal(device.driver, "vfio-pci");
	assert_int_equal(device.group, 8);
	assert_int_equal(device.member_count, 2);
	assert_int_equal(wt_vfio_look(root, "0000:83:00.0", &device, &err), 0);
	assert_int_equal(device.group, -1);
	assert_int_equal(device.member_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usable),
		cmocka_unit_test(test_look),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

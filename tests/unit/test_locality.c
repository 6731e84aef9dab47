/* SPDX-License-Identifier: BSD-3-Clause */
/* test_locality.c - a thread goes to the processors next to a device, on a machine that hwloc reads from a
 * file. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "locality.h"

static cpu_set_t all;
static int first, second; /* of the processors that there are */

/* A processor alone in its package, with an RDMA device of that name. */
static void put_package(FILE *file, unsigned index, int cpu, const char *device)
{
	char set[200] = "0x";

	for (int word = cpu / 32; word >= 0; word--)
		sprintf(set + strlen(set), "%08x%s", word == cpu / 32 ? 1u << cpu % 32 : 0, word ? "," : "");
#define SETS "cpuset=\"%1$s\" complete_cpuset=\"%1$s\" nodeset=\"0x00000001\" complete_nodeset=\"0x00000001\""
	fprintf(file, "<object type=\"Package\" os_index=\"%2$u\" " SETS " gp_index=\"%3$u\">", set, index,
		10 * index + 10);
	fprintf(file, "<object type=\"PU\" os_index=\"%2$d\" " SETS " gp_index=\"%3$u\"/>", set, cpu,
		10 * index + 11);
#undef SETS
	fprintf(file,
		"<object type=\"Bridge\" gp_index=\"%u\" bridge_type=\"0-1\" depth=\"0\" bridge_pci=\"%04x:[00-01]\">"
		"<object type=\"PCIDev\" gp_index=\"%u\" pci_busid=\"%04x:01:00.0\" "
		"pci_type=\"0207 [15b3:1013] [15b3:0008] 00\" pci_link_speed=\"0.000000\">"
		"<object type=\"OSDev\" gp_index=\"%u\" name=\"%s\" osdev_type=\"3\"/></object></object></object>\n",
		10 * index + 12, index, 10 * index + 13, index, 10 * index + 14, device);
}

static void put_machine(FILE *file)
{
	char set[2000] = "0x";
	int top = second / 32;

	for (int word = top; word >= 0; word--)
		sprintf(set + strlen(set), "%08x%s",
			(first / 32 == word ? 1u << first % 32 : 0) |
				(second / 32 == word ? 1u << second % 32 : 0),
			word ? "," : "");
	fprintf(file,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE topology SYSTEM \"hwloc2.dtd\">\n"
		"<topology version=\"2.0\">\n"
		"<object type=\"Machine\" os_index=\"0\" cpuset=\"%1$s\" complete_cpuset=\"%1$s\" "
		"allowed_cpuset=\"%1$s\" nodeset=\"0x00000001\" complete_nodeset=\"0x00000001\" "
		"allowed_nodeset=\"0x00000001\" gp_index=\"1\">\n"
		"<object type=\"NUMANode\" os_index=\"0\" cpuset=\"%1$s\" complete_cpuset=\"%1$s\" "
		"nodeset=\"0x00000001\" complete_nodeset=\"0x00000001\" gp_index=\"2\" local_memory=\"1073741824\"/>\n",
		set);
	put_package(file, 0, first, "mlx5_0");
	put_package(file, 1, second, "mlx5_1");
	fprintf(file, "</object>\n</topology>\n");
}

static int runs_on(int cpu)
{
	cpu_set_t mine;

	assert_int_equal(sched_getaffinity(0, sizeof mine, &mine), 0);
	return CPU_ISSET(cpu, &mine);
}

static int setup(void **state)
{
	return sched_setaffinity(0, sizeof all, &all);
}

static void test_near_one(void **state)
{
	assert_int_equal(wt_locality_near("mlx5_1"), 1);
	assert_true(runs_on(second) && !runs_on(first));
	assert_int_equal(wt_locality_near("mlx5_1"), 0); /* already there */
	assert_int_equal(wt_locality_near("mlx5_0"), 0); /* may not go there any more */
	assert_true(runs_on(second) && !runs_on(first));
}

static void test_near_two(void **state)
{
	wt_locality_near("mlx5_0,mlx5_1");
	assert_true(runs_on(first) && runs_on(second));
}

/* Nothing is known, or nothing can be done: all stays as it is. */
static void test_nowhere(void **state)
{
	cpu_set_t mine;

	assert_int_equal(wt_locality_near("mlx5"), 0);
	assert_int_equal(wt_locality_near("mlx5_10"), 0);
	assert_int_equal(wt_locality_near("nobody,"), 0);
	assert_int_equal(wt_locality_near(""), 0);
	assert_int_equal(wt_locality_near(NULL), 0);
	assert_int_equal(sched_getaffinity(0, sizeof mine, &mine), 0);
	assert_true(CPU_EQUAL(&mine, &all));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_near_one, setup),
		cmocka_unit_test_setup(test_near_two, setup),
		cmocka_unit_test_setup(test_nowhere, setup),
	};
	char path[] = "/tmp/test-locality-XXXXXX";
	FILE *file;
	int failed, fd;

	sched_getaffinity(0, sizeof all, &all);
	if (CPU_COUNT(&all) < 2) {
		printf("skipped: this process has one processor\n");
		return 77;
	}
	for (second = CPU_SETSIZE - 1; !CPU_ISSET(second, &all); second--)
		;
	while (!CPU_ISSET(first, &all))
		first++;
	fd = mkstemp(path);
	file = fd < 0 ? NULL : fdopen(fd, "w");
	if (!file)
		return 1;
	put_machine(file);
	fclose(file);
	setenv("HWLOC_XMLFILE", path, 1);
	setenv("HWLOC_THISSYSTEM", "1", 1);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(path);
	return failed;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* test_place.c - a thread goes to the processors next to a device, on a host that is a tree of files. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include <watari/place.h>

static char root[64];
static cpu_set_t all;
static unsigned first, second; /* of the processors that there are */

static void put(const char *device, const char *list)
{
	static const char *const steps[] = { "/sys", "/sys/class", "/sys/class/infiniband" };
	char path[256];
	FILE *file;

	for (unsigned i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "%s%s", root, steps[i]);
		mkdir(path, 0700);
	}
	snprintf(path, sizeof path, "%s%s/%s", root, steps[2], device);
	mkdir(path, 0700);
	strcat(path, "/device");
	mkdir(path, 0700);
	strcat(path, "/local_cpulist");
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(list, file);
	fclose(file);
}

static bool runs_on(unsigned cpu)
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
	char list[32];

	snprintf(list, sizeof list, "%u\n", second);
	put("near", list);
	assert_int_equal(wt_place_near(root, "near"), 1);
	assert_true(runs_on(second) && !runs_on(first));
	assert_int_equal(wt_place_near(root, "near"), 0);
	assert_true(runs_on(second) && !runs_on(first));
}

static void test_near_two(void **state)
{
	char list[32];

	snprintf(list, sizeof list, "%u\n", first);
	put("a", list);
	snprintf(list, sizeof list, "900-1000,%u\n", second);
	put("b", list);
	wt_place_near(root, "a,b");
	assert_true(runs_on(first) && runs_on(second));
}

/* Nothing is known, or nothing can be done: all stays as it is. */
static void test_nowhere(void **state)
{
	cpu_set_t mine;

	put("far", "1000-1001\n");
	put("odd", "no list\n");
	assert_int_equal(wt_place_near(root, "far"), 0);
	assert_int_equal(wt_place_near(root, "odd"), 0);
	assert_int_equal(wt_place_near(root, "nobody,"), 0);
	assert_int_equal(wt_place_near(root, NULL), 0);
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
	char command[128];
	int failed;

	sched_getaffinity(0, sizeof all, &all);
	if (CPU_COUNT(&all) < 2) {
		printf("skipped: this process has one processor\n");
		return 77;
	}
	for (second = CPU_SETSIZE - 1; !CPU_ISSET(second, &all); second--)
		;
	while (!CPU_ISSET(first, &all))
		first++;
	strcpy(root, "/tmp/test-place-XXXXXX");
	if (!mkdtemp(root))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof command, "rm -r %s", root);
	return system(command) || failed;
}

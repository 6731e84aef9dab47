/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_mpi_place.c - where a job's sockets are: made private, and nothing else is taken for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "place.h"

static char base[] = "/tmp/watari-place-XXXXXX";

static void test_made_private(void **state)
{
	struct wt_error err = { 0 };
	char path[WT_PLACE_MAX];
	char again[WT_PLACE_MAX];
	struct stat st;

	assert_int_equal(wt_place_find("weather", false, path, &err), -ENOENT);
	assert_non_null(strstr(err.text, "weather"));
	assert_int_equal(wt_place_find("weather", true, path, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	assert_int_equal(wt_place_find("weather", false, again, NULL), 0);
	assert_string_equal(path, again);
	/* Others could put sockets there. */
	assert_int_equal(chmod(path, 0777), 0);
	assert_int_equal(wt_place_find("weather", true, again, NULL), -EPERM);
	rmdir(path);
}

static void test_bad_names(void **state)
{
	static const char *const names[] = { "", ".", "..", ".hidden", "a/b", "/",
		"123456789012345678901234567890123" };
	char path[WT_PLACE_MAX] = "untouched";
	unsigned i;

	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		assert_int_equal(wt_place_find(names[i], true, path, NULL), -EINVAL);
	assert_string_equal(path, "untouched");
}

static void test_long_directory(void **state)
{
	char path[WT_PLACE_MAX];
	char runtime[120] = "/tmp/";

	memset(runtime + 5, 'x', sizeof runtime - 6);
	setenv("XDG_RUNTIME_DIR", runtime, 1);
	assert_int_equal(wt_place_find("weather", true, path, NULL), -ENAMETOOLONG);
	setenv("XDG_RUNTIME_DIR", base, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_made_private),
		cmocka_unit_test(test_bad_names),
		cmocka_unit_test(test_long_directory),
	};
	char parent[64];
	int failed;

	if (!mkdtemp(base))
		return 1;
	setenv("XDG_RUNTIME_DIR", base, 1);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(parent, sizeof parent, "%s/watari/mpi", base);
	rmdir(parent);
	snprintf(parent, sizeof parent, "%s/watari", base);
	rmdir(parent);
	rmdir(base);
	return failed;
}

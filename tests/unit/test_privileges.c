/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_privileges.c - what is left after a relay has given up the rest, as the kernel tells it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "privileges.h"

static uint64_t field(const char *name)
{
	FILE *status = fopen("/proc/self/status", "r");
	uint64_t value = UINT64_MAX;
	char line[256];

	while (status && fgets(line, sizeof line, status))
		if (!strncmp(line, name, strlen(name)))
			value = strtoull(line + strlen(name), NULL, 16);
	if (status)
		fclose(status);
	return value;
}

/* In a child, which alone changes: 0, or which of its looks was wrong. */
static int child(bool runs_commands)
{
	static const uint64_t kept = 1ull << 1 | 1ull << 2 | 1ull << 3 | 1ull << 14 | 1ull << 19 | 1ull << 24;
	uint64_t had = field("CapPrm:"), bounding = field("CapBnd:");

	wt_privileges_drop(runs_commands);
	if (field("CapEff:") & ~kept || field("CapPrm:") != (had & kept))
		return 1;
	if (field("CapBnd:") != bounding)
		return 2;
	return field("NoNewPrivs:") == !runs_commands ? 0 : 3;
}

static void check(bool runs_commands)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid)
		_exit(child(runs_commands));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_what_is_left(void **state)
{
	check(false);
}

static void test_what_is_left_for_commands(void **state)
{
	if (field("NoNewPrivs:")) /* of who runs the tests: it cannot be taken back */
		skip();
	check(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_left),
		cmocka_unit_test(test_what_is_left_for_commands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

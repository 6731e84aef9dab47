/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_mpi_job_plan.c - what a command in place of `watari gang PLAN --agents` says of a plan.
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
#include <sys/stat.h>
#include <unistd.h>

#include "job_plan.h"

static char folder[] = "/tmp/test_mpi_job_plan.XXXXXX";

static int ask(const char *lines, struct wt_job_plan *ret_plan, struct wt_error *err)
{
	static const char *const more[] = { "--journal", "j", NULL };
	char path[128];
	FILE *file;

	snprintf(path, sizeof path, "%s/watari", folder);
	file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, "#!/bin/sh\n%s\n", lines);
	fclose(file);
	assert_int_equal(chmod(path, 0755), 0);
	return wt_job_plan_ask(path, "p.json", more, ret_plan, err);
}

static void test_good(void **state)
{
	struct wt_error err = { 0 };
	struct wt_job_plan plan;

	if (ask("[ \"$*\" = \"gang p.json --agents --journal j\" ] || exit 1\n"
		"echo gang unfinished; echo watari /opt/my watari\n"
		"echo from a ssh h1 /run/a; echo to a ssh h2 /run/b; echo from b /run/c; echo to b /run/d",
		    &plan, &err) < 0)
		fail_msg("%s", wt_error_text(&err));
	assert_int_equal(plan.gang, WT_JOB_PLAN_UNFINISHED);
	assert_string_equal(plan.watari, "/opt/my watari");
	assert_int_equal(plan.count, 2);
	assert_string_equal(plan.guests[0].name, "a");
	assert_string_equal(plan.guests[0].agents[WT_JOB_PLAN_FROM], "ssh h1 /run/a");
	assert_string_equal(plan.guests[0].agents[WT_JOB_PLAN_TO], "ssh h2 /run/b");
	assert_string_equal(plan.guests[1].agents[WT_JOB_PLAN_FROM], "/run/c");
	assert_string_equal(plan.guests[1].agents[WT_JOB_PLAN_TO], "/run/d");
	wt_job_plan_clear(&plan);
	assert_int_equal(plan.count, 0);
}

/* What it says of itself is the sentence, also behind other lines. */
static void test_failed(void **state)
{
	const char *const none[] = { NULL };
	struct wt_error err = { 0 };
	struct wt_job_plan plan = { 0 };

	assert_int_equal(
		ask("echo gang idle; echo failed plan p.json: no good; exit 1", &plan, &err), -EINVAL);
	assert_string_equal(wt_error_text(&err), "plan p.json: no good");
	err = (struct wt_error){ 0 };
	assert_int_equal(wt_job_plan_ask("/nowhere/watari", "p.json", none, &plan, &err), -EINVAL);
	assert_non_null(strstr(err.text, "/nowhere/watari cannot be run"));
	assert_int_equal(plan.count, 0);
}

static void test_nonsense(void **state)
{
#define GOOD "echo gang idle; echo watari w; echo from a /a; echo to a /b"
	static const char *const bad[] = {
		"exit 0", "exit 2", "kill -9 $$", "echo", "echo gang", "echo gang lazy", GOOD "; exit 1",
		GOOD "; echo more", GOOD "; echo gang idle", GOOD "; echo watari w", GOOD "; echo to a /c",
		GOOD "; echo to b /b", GOOD "; echo from b /c",
		GOOD "; echo from b /c; echo from c /d; echo to c /e", "echo to a /b",
		"echo gang idle; echo watari w", "echo watari w; echo from a /a; echo to a /b",
		"echo gang idle; echo from a /a; echo to a /b",
		"echo gang idle; echo watari w; echo from a; echo to a",
		"echo gang idle; echo watari w; i=0; while [ $i -lt 65 ]; do echo from $i /a; echo to $i /b; i=$((i+1)); done"
	};

	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct wt_error err = { 0 };
		struct wt_job_plan plan;

		if (ask(bad[i], &plan, &err) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
		assert_non_null(strstr(err.text, "does not say where the guests' agents are"));
	}
}

static int make(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_all(void **state)
{
	char path[128];

	snprintf(path, sizeof path, "%s/watari", folder);
	unlink(path);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_failed),
		cmocka_unit_test(test_nonsense),
	};

	return cmocka_run_group_tests(tests, make, remove_all);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_guest_hook.c - hooks are run in order, fail with their reason, and are ended at the deadline.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest_hook.h"

static char folder[64], trace[96];

static void hook(const char *name, const char *script, int mode)
{
	char path[160];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fprintf(file, "#!/bin/sh\n%s\n", script);
	fclose(file);
	assert_int_equal(chmod(path, (mode_t)mode), 0);
}

static int setup(void **state)
{
	strcpy(folder, "/tmp/test_guest_hook.XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(trace, sizeof trace, "%s/.trace", folder);
	setenv("TRACE", trace, 1);
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	snprintf(command, sizeof command, "rm -r %s", folder);
	return system(command);
}

/* Runs it to its end; the caller clears it. */
static void run(struct wt_guest_run *r, enum wt_agent_verb verb, const char *name, uint32_t timeout_ms,
	const char *data)
{
	struct wt_agent_request request = { .id = 9, .verb = verb, .timeout_ms = timeout_ms };

	strcpy(request.name, name);
	if (verb == WT_AGENT_ATTACH)
		strcpy(request.what, "vfio");
	request.data = data ? strdup(data) : NULL;
	wt_guest_run_start(r, folder, &request);
	assert_null(request.data);
	while (!r->done) {
		struct pollfd wait = { .fd = r->output_fd, .events = POLLIN };

		poll(&wait, 1, 5);
		wt_guest_run_poll(r);
	}
	assert_int_equal(r->answer.id, 9);
}

static void expect_trace(const char *wanted)
{
	char text[256] = "";
	FILE *file = fopen(trace, "r");
	size_t n = file ? fread(text, 1, sizeof text - 1, file) : 0;

	text[n] = '\0';
	if (file)
		fclose(file);
	unlink(trace);
	assert_string_equal(text, wanted);
}

static void test_order(void **state)
{
	struct wt_guest_run r = { 0 };

	hook("20-two", "echo two $* >>$TRACE", 0755);
	hook("10-one", "echo one $* >>$TRACE", 0755);
	hook("30-not", "echo not >>$TRACE", 0644);
	hook(".hidden", "echo hidden >>$TRACE", 0755);
	run(&r, WT_AGENT_DETACH, "ib0", 10000, NULL);
	assert_true(r.answer.ok);
	wt_guest_run_clear(&r);
	expect_trace("one detach ib0\ntwo detach ib0\n");
	run(&r, WT_AGENT_ATTACH, "ib0", 10000, NULL);
	assert_true(r.answer.ok);
	wt_guest_run_clear(&r);
	expect_trace("two attach ib0 vfio\none attach ib0 vfio\n");
}

static void test_none(void **state)
{
	struct wt_guest_run r = { 0 };

	run(&r, WT_AGENT_DETACH, "ib0", 10000, NULL);
	assert_true(r.answer.ok);
	wt_guest_run_clear(&r);
}

static void test_failure(void **state)
{
	struct wt_guest_run r = { 0 };

	hook("10-one", "printf 'rank 3\\033 is busy\\n' >&2; exit 4", 0755);
	hook("20-two", "echo two >>$TRACE", 0755);
	run(&r, WT_AGENT_DETACH, "ib0", 10000, NULL);
	assert_false(r.answer.ok);
	assert_string_equal(r.answer.error, "hook 10-one failed with exit code 4: rank 3? is busy");
	wt_guest_run_clear(&r);
	expect_trace("");
	hook("10-one", "kill -9 $$", 0755);
	run(&r, WT_AGENT_DETACH, "ib0", 10000, NULL);
	assert_string_equal(r.answer.error, "hook 10-one was ended by signal 9");
	wt_guest_run_clear(&r);
}

/* Not gone, and not a zombie that nobody has reaped yet. */
static bool runs(int pid)
{
	char path[64], line[256] = "";
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	file = fopen(path, "r");
	if (!file)
		return false;
	if (!fgets(line, sizeof line, file))
		line[0] = '\0';
	fclose(file);
	return line[0] && !strstr(line, ") Z ");
}

/* What the hook has started goes with it. */
static void test_deadline(void **state)
{
	struct wt_guest_run r = { 0 };
	char text[32] = "";
	FILE *file;

	hook("10-hang", "sleep 600 & echo $! >$TRACE; echo hanging; wait", 0755);
	run(&r, WT_AGENT_DETACH, "ib0", 300, NULL);
	assert_false(r.answer.ok);
	assert_string_equal(r.answer.error, "hook 10-hang did not end within 300 ms: hanging");
	assert_true(r.answer.ms >= 300 && r.answer.ms < 5000);
	file = fopen(trace, "r");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof text, file));
	fclose(file);
	for (unsigned i = 0; runs(atoi(text)) && i < 1000; i++)
		poll(NULL, 0, 5);
	assert_false(runs(atoi(text)));
	wt_guest_run_clear(&r);
}

/* A hook that closes its output and goes on is waited for, and one that prints without end does not hang. */
static void test_output(void **state)
{
	struct wt_guest_run r = { 0 };

	hook("10-quiet", "exec >&- 2>&-; sleep 0.1; echo late >>$TRACE", 0755);
	hook("20-loud", "head -c 300000 /dev/zero; exit 1", 0755);
	run(&r, WT_AGENT_DETACH, "ib0", 20000, NULL);
	assert_false(r.answer.ok);
	assert_non_null(strstr(r.answer.error, "hook 20-loud failed with exit code 1: ???"));
	wt_guest_run_clear(&r);
	expect_trace("late\n");
}

static void test_message(void **state)
{
	struct wt_guest_run r = { 0 };

	hook("mpi", "echo $*; cat", 0755);
	run(&r, WT_AGENT_MESSAGE, "mpi", 10000, "status?");
	assert_true(r.answer.ok);
	assert_string_equal(r.answer.output, "message\nstatus?");
	wt_guest_run_clear(&r);
	run(&r, WT_AGENT_MESSAGE, "other", 10000, "x");
	assert_false(r.answer.ok);
	assert_string_equal(r.answer.error, "there is no such hook in the guest");
	wt_guest_run_clear(&r);
}

static void test_link(void **state)
{
	struct wt_agent_request request = { .id = 1,
		.verb = WT_AGENT_ATTACH,
		.name = "ib0",
		.what = "vfio",
		.timeout_ms = 1000,
		.link_mac = "02:00:00:00:00:99" };
	struct wt_agent_request here = request;
	struct wt_guest_run r = { 0 };

	strcpy(here.link_mac, "00:00:00:00:00:00"); /* lo's */
	hook("10-one", "echo one $* >>$TRACE", 0755);
	wt_guest_run_start(&r, folder, &here);
	assert_int_not_equal(r.child, 0);
	wt_guest_run_clear(&r);
	unlink(trace);
	wt_guest_run_start(&r, folder, &request);
	assert_int_equal(r.child, 0); /* the NIC is awaited first */
	while (!r.done) {
		poll(NULL, 0, 5);
		wt_guest_run_poll(&r);
	}
	assert_false(r.answer.ok);
	assert_string_equal(r.answer.error, "the link of 02:00:00:00:00:99 is not up within 1000 ms");
	wt_guest_run_clear(&r);
	expect_trace("one attach ib0 vfio\n");
}

#define HOOK_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		HOOK_TEST(test_order),
		HOOK_TEST(test_none),
		HOOK_TEST(test_failure),
		HOOK_TEST(test_deadline),
		HOOK_TEST(test_output),
		HOOK_TEST(test_message),
		HOOK_TEST(test_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

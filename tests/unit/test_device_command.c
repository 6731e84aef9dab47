/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_device_command.c - commands of the device map: their words, their end, their deadline.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "device_command.h"

int __real_wt_loop_fd_set(struct wt_loop *loop, int fd, uint32_t events, wt_loop_fd_fn *fn, void *arg);
int __wrap_wt_loop_fd_set(struct wt_loop *loop, int fd, uint32_t events, wt_loop_fd_fn *fn, void *arg);

static unsigned fail_watch; /* this one from now on; 0: none */

int __wrap_wt_loop_fd_set(struct wt_loop *loop, int fd, uint32_t events, wt_loop_fd_fn *fn, void *arg)
{
	if (fail_watch && !--fail_watch)
		return -ENOSPC;
	return __real_wt_loop_fd_set(loop, fd, events, fn, arg);
}

struct seen {
	struct wt_loop *loop;
	unsigned told;
	struct wt_error err;
};

static void told(void *arg, const struct wt_error *err)
{
	struct seen *seen = arg;

	seen->told++;
	seen->err = *err;
	wt_loop_stop(seen->loop, 0);
}

/* sh -c SCRIPT; answers the sentence. */
static const char *run(struct seen *seen, const char *script, uint32_t timeout_ms)
{
	struct wt_device_command command = { .count = 5,
		.words = { (char *)"/bin/sh", (char *)"-c", (char *)script, (char *)"{name}",
			(char *)"<{address}|{address}>" } };
	struct wt_device_run *handle;

	*seen = (struct seen){ 0 };
	assert_int_equal(wt_loop_open(&seen->loop), 0);
	assert_int_equal(wt_device_run_start(seen->loop, &command, "ib0", "0000:81:00.1", timeout_ms, told,
				 seen, &handle, &seen->err),
		0);
	wt_loop_run(seen->loop);
	assert_int_equal(seen->told, 1);
	wt_loop_close(seen->loop);
	return seen->err.code ? seen->err.text : "";
}

static void test_ends(void **state)
{
	struct seen seen;

	assert_string_equal(
		run(&seen, "test $0 = ib0 && test \"$1\" = '<0000:81:00.1|0000:81:00.1>'", 20000), "");
	assert_string_equal(run(&seen, "echo first; echo 'no such\tdevice' >&2; exit 3", 20000),
		"/bin/sh of the device map failed with exit code 3: first?no such?device");
	assert_string_equal(
		run(&seen, "kill -15 $$", 20000), "/bin/sh of the device map was ended by signal 15");
}

static void test_deadline(void **state)
{
	struct seen seen;

	assert_string_equal(run(&seen, "echo stuck; sleep 600", 200),
		"/bin/sh of the device map did not end within 200 ms: stuck");
}

/* More than a pipe holds, and an output that is closed early. */
static void test_output(void **state)
{
	struct seen seen;

	assert_string_equal(run(&seen, "head -c 300000 /dev/zero | tr '\\0' x", 20000), "");
	assert_string_equal(run(&seen, "exec >&- 2>&-; sleep 0.1; exit 5", 20000),
		"/bin/sh of the device map failed with exit code 5");
}

static void test_not_there(void **state)
{
	struct wt_device_command command = { .count = 1, .words = { (char *)"/no/such/program" } };
	struct wt_device_run *handle;
	struct wt_error err = { 0 };
	struct wt_loop *loop;

	assert_int_equal(wt_loop_open(&loop), 0);
	assert_true(wt_device_run_start(loop, &command, "ib0", "", 1000, told, NULL, &handle, &err) < 0);
	assert_non_null(strstr(err.text, "/no/such/program of the device map cannot be started"));
	wt_loop_close(loop);
}

static unsigned descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

/* A command that runs, but cannot be followed, is ended, and leaves nothing behind that the loop would call.
 */
static void test_not_followed(void **state)
{
	struct wt_device_command command = { .count = 2, .words = { (char *)"/bin/sleep", (char *)"600" } };
	struct wt_device_run *handle;
	struct wt_error err = { 0 };
	struct wt_loop *loop;
	unsigned before;

	assert_int_equal(wt_loop_open(&loop), 0);
	before = descriptors();
	for (unsigned i = 1; i <= 2; i++) {
		fail_watch = i;
		assert_int_equal(
			wt_device_run_start(loop, &command, "ib0", "", 1000, told, NULL, &handle, &err),
			-ENOSPC);
		assert_int_equal(fail_watch, 0);
		assert_int_equal(descriptors(), before);
	}
	wt_loop_close(loop);
}

static void test_ended(void **state)
{
	struct wt_device_command command = { .count = 2, .words = { (char *)"/bin/sleep", (char *)"600" } };
	struct seen seen = { 0 };
	struct wt_device_run *handle;

	assert_int_equal(wt_loop_open(&seen.loop), 0);
	assert_int_equal(
		wt_device_run_start(seen.loop, &command, "ib0", "", 60000, told, &seen, &handle, &seen.err),
		0);
	wt_device_run_end(handle);
	assert_int_equal(seen.told, 0);
	wt_loop_close(seen.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_output),
		cmocka_unit_test(test_not_there),
		cmocka_unit_test(test_not_followed),
		cmocka_unit_test(test_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_save.c - threads that save memory: some that cannot be started. What they save is tested by
 * test_checkpoint_files.c. A build with sanitizers sees what is left behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "save.h"

int __real_pthread_create(
	pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *), void *arg);
int __wrap_pthread_create(
	pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *), void *arg);

static unsigned fail_thread; /* this one; 0: none */

int __wrap_pthread_create(
	pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *), void *arg)
{
	if (fail_thread && !--fail_thread)
		return EAGAIN;
	return __real_pthread_create(thread, attributes, main, arg);
}

static void test_no_thread(void **state)
{
	struct wt_save_options options = { .kind = WT_REPLICA_FRAMES, .threads = 3 };
	struct wt_save *save = NULL;

	for (unsigned i = 1; i <= 3; i++) {
		struct wt_error err = { 0 };

		fail_thread = i;
		assert_int_equal(wt_save_open(&options, &save, &err), -EAGAIN);
		assert_null(save);
		assert_non_null(strstr(err.text, "cannot start threads"));
	}
	assert_int_equal(wt_save_open(&options, &save, NULL), 0);
	wt_save_close(save);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

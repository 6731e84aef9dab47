/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_feed.c - what the gate and the hold let through to QEMU, over a pipe.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "feed.h"

static void expect(int fd, const char *text)
{
	char bytes[64];
	ssize_t n = read(fd, bytes, sizeof bytes);

	assert_int_equal(n < 0 ? 0 : n, strlen(text));
	assert_memory_equal(bytes, text, strlen(text));
}

static void add(struct wt_feed *feed, const char *text)
{
	struct wt_error err = { 0 };

	assert_int_equal(wt_feed_add(feed, (const uint8_t *)text, strlen(text), &err), 0);
}

static void test_gate_and_hold(void **state)
{
	struct wt_loop *loop;
	struct wt_feed feed;
	const uint8_t *tail;
	size_t length;
	int ends[2];

	assert_int_equal(wt_loop_open(&loop), 0);
	assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
	wt_feed_init(&feed, loop);
	add(&feed, "be");
	wt_feed_connect(&feed, ends[1]);
	add(&feed, "fore");
	expect(ends[0], "before");
	wt_feed_gate(&feed);
	add(&feed, "beh");
	add(&feed, "ind");
	expect(ends[0], "");
	wt_feed_tail(&feed, &tail, &length);
	assert_int_equal(length, 6);
	assert_memory_equal(tail, "behind", 6);
	wt_feed_hold(&feed, 1);
	wt_feed_open_gate(&feed);
	assert_true(wt_feed_drained(&feed));
	expect(ends[0], "behin");
	wt_feed_hold(&feed, 0);
	assert_true(wt_feed_drained(&feed));
	expect(ends[0], "d");
	wt_feed_close(&feed);
	assert_int_equal(read(ends[0], &length, 1), 0);
	close(ends[0]);
	wt_loop_close(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gate_and_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

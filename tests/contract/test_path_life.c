/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_path_life.c - the contract of path.h: how paths come, fail, rest and go.
 */
#include "test_path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void puller_sees_server_close(void **state)
{
	struct wt_completion completions[1024];
	uint64_t deadline = test_now_ns() + TEST_DEADLINE_NS;
	bool seen[1024] = { false };
	struct wt_op list[1024];
	struct pair pair;
	unsigned before;
	unsigned posted;
	unsigned done;
	unsigned i;
	int last;
	int n;

	test_pair_open(&pair, WT_ROLE_PULL);
	test_read_ok(&pair, 0, 1);
	for (i = 0; i < 1024; i++)
		list[i] = test_op_read(&pair, i, i % 7 << 20, WT_PATH_READ_MAX);
	n = test_ops->post(pair.pulling, list, 100);
	assert_true(n > 1);
	before = posted = (unsigned)n;
	done = test_collect(pair.pulling, completions, 1, &last);
	assert_int_equal(done, 1);
	test_ops->close(pair.serving);
	pair.serving = NULL;
	/* One more while the news is perhaps still under way: it may be refused, or must fail. */
	n = test_ops->post(pair.pulling, list + posted, 1);
	posted += n > 0 ? (unsigned)n : 0;
	done += test_collect(pair.pulling, completions + done, posted - done, &last);
	assert_int_equal(done, posted);
	for (i = 0; i < done; i++) {
		assert_true(completions[i].cookie < posted);
		assert_false(seen[completions[i].cookie]);
		seen[completions[i].cookie] = true;
		assert_true(completions[i].cookie < before || completions[i].status < 0);
	}
	while ((n = test_ops->poll(pair.pulling, completions, 1)) == 0)
		test_path_sleep(pair.pulling, deadline);
	assert_true(n < 0 && n != -EAGAIN);
	assert_int_equal(test_ops->poll(pair.pulling, completions, 1), n); /* for ever */
	assert_true(test_ops->post(pair.pulling, list, 1) < 0);
	assert_false(test_ops->alive(pair.pulling));
	test_pair_close(&pair);
}

static void idle_puller_sees_server_close(void **state)
{
	struct wt_completion completion;
	struct pair pair;
	int last;

	test_pair_open(&pair, WT_ROLE_PULL);
	test_read_ok(&pair, 0, 1);
	test_ops->close(pair.serving);
	pair.serving = NULL;
	assert_int_equal(test_collect(pair.pulling, &completion, 1, &last), 0);
	assert_true(last < 0);
	test_pair_close(&pair);
}

static void server_sees_puller_close(void **state)
{
	struct wt_completion completion;
	struct pair pair;
	int last;

	test_pair_open(&pair, WT_ROLE_PULL);
	test_read_ok(&pair, 0, 1);
	assert_int_equal(test_ops->poll(pair.serving, &completion, 1), 0);
	assert_true(test_ops->alive(pair.serving));
	test_ops->close(pair.pulling);
	pair.pulling = NULL;
	assert_int_equal(test_collect(pair.serving, &completion, 1, &last), 0);
	assert_true(last < 0);
	assert_false(test_ops->alive(pair.serving));
	test_pair_close(&pair);
}

/* Closing with reads in flight: nothing may be written afterwards. */
static void close_in_flight(void **state)
{
	struct wt_op list[64];
	struct pair pair;
	unsigned i;

	test_pair_open(&pair, WT_ROLE_PULL);
	test_read_ok(&pair, 0, 1);
	for (i = 0; i < 64; i++)
		list[i] = test_op_read(&pair, i, i % 7 << 20, WT_PATH_READ_MAX);
	assert_true(test_ops->post(pair.pulling, list, 64) > 0);
	test_ops->close(pair.pulling);
	pair.pulling = NULL;
	memset(pair.sink, 0xaa, TEST_MEMORY);
	/* The server stops too, so nothing more can be under way. */
	test_ops->close(pair.serving);
	pair.serving = NULL;
	for (i = 0; i < TEST_MEMORY; i++)
		assert_int_equal(pair.sink[i], 0xaa);
	test_pair_close(&pair);
}

static void quiesce_and_resume(void **state)
{
	uint64_t deadline = test_now_ns() + TEST_DEADLINE_NS;
	struct wt_completion completion;
	struct wt_op list[16];
	struct pair pair;
	unsigned done = 0;
	unsigned i;
	int n;

	test_pair_open(&pair, WT_ROLE_PULL);
	test_read_ok(&pair, 0, 1);
	for (i = 0; i < 16; i++)
		list[i] = test_op_read(&pair, i, i * 300000, 300000);
	n = test_ops->post(pair.pulling, list, 16);
	assert_int_equal(n, 16);
	while (test_ops->quiesce(pair.pulling) == -EAGAIN) {
		assert_int_equal(test_ops->post(pair.pulling, list, 1), -ESHUTDOWN);
		n = test_ops->poll(pair.pulling, &completion, 1);
		assert_true(n >= 0);
		assert_true(n == 0 || completion.status == 0);
		done += (unsigned)n;
		if (n == 0)
			test_path_sleep(pair.pulling, deadline);
	}
	assert_int_equal(done, 16);
	test_sink_check(&pair, 0, 16 * 300000);
	assert_int_equal(test_ops->quiesce(pair.pulling), 0);
	assert_int_equal(test_ops->quiesce(pair.serving), 0);
	assert_int_equal(test_ops->resume(pair.serving), 0);
	assert_int_equal(test_ops->resume(pair.pulling), 0);
	test_read_ok(&pair, 77, 4096);
	test_pair_close(&pair);
}

static void detach_and_attach(void **state)
{
	struct wt_error err = { 0 };
	struct dial dial = { 0 };
	struct pair pair;
	int fd;

	test_pair_open(&pair, WT_ROLE_PULL);
	test_read_ok(&pair, 0, 4096);
	fd = test_ops->fd(pair.pulling);
	assert_int_equal(test_ops->detach(pair.pulling), -EBUSY); /* not quiesced */
	assert_int_equal(test_ops->quiesce(pair.pulling), 0);
	if (test_ops->detach(pair.pulling) == -EOPNOTSUPP) {
		test_pair_close(&pair);
		skip();
	}
	/* Nothing of the old endpoint is held: it can go. */
	test_ops->region_remove(pair.sink_region);
	test_ops->endpoint_close(pair.puller_endpoint);
	test_ops->close(pair.serving);
	assert_int_equal(test_ops->endpoint_open(NULL, test_host, &pair.puller_endpoint, &err), 0);
	assert_int_equal(test_ops->region_add(pair.puller_endpoint, pair.sink, TEST_MEMORY, WT_ACCESS_SINK,
				 &pair.sink_region, &err),
		0);
	assert_true(test_ops->resume(pair.pulling) < 0);
	dial.attach = pair.pulling;
	test_dial_start(&dial, pair.puller_endpoint, pair.port, WT_ROLE_PULL);
	assert_int_equal(test_ops->request_admit(test_request_next(&pair, dial.hello), pair.server_endpoint,
				 WT_ROLE_SERVE, &pair.serving, &err),
		0);
	pthread_join(dial.thread, NULL);
	assert_int_equal(dial.status, 0);
	assert_int_equal(test_ops->fd(pair.pulling), fd);
	assert_int_equal(test_ops->resume(pair.pulling), 0);
	test_read_ok(&pair, 9, 100000);
	test_pair_close(&pair);
}

static void refused_request(void **state)
{
	struct dial dial = { 0 };
	struct pair pair;

	test_pair_open(&pair, WT_ROLE_INVALID);
	test_dial_start(&dial, pair.puller_endpoint, pair.port, WT_ROLE_PULL);
	test_ops->request_refuse(test_request_next(&pair, dial.hello));
	pthread_join(dial.thread, NULL);
	assert_int_equal(dial.status, -ECONNREFUSED);
	assert_non_null(strstr(dial.err.text, "refused"));
	assert_null(dial.path);
	/* The listener goes on. */
	test_pair_path(&pair, WT_ROLE_PULL, &pair.serving, &pair.pulling);
	test_read_ok(&pair, 0, 4096);
	test_pair_close(&pair);
}

static void closed_port(void **state)
{
	struct wt_path *path = NULL;
	struct wt_error err = { 0 };
	uint8_t hello[WT_PATH_HELLO_BYTES] = { 0 };
	struct pair pair;
	uint64_t start;
	uint16_t port;

	test_pair_open(&pair, WT_ROLE_INVALID);
	port = pair.port;
	test_ops->listener_close(pair.listener);
	pair.listener = NULL;
	start = test_now_ns();
	assert_true(test_ops->connect(pair.puller_endpoint, test_host, port, hello, WT_ROLE_PULL,
			    5 * TEST_SECOND, &path, &err) < 0);
	assert_true(test_now_ns() - start < 8 * TEST_SECOND);
	assert_true(err.code && err.text[0]);
	assert_non_null(strstr(err.text, test_host));
	assert_null(path);
	test_pair_close(&pair);
}

/* Nobody admits: connect gives up in time. */
static void nobody_answers(void **state)
{
	struct dial dial = { .timeout_ns = TEST_SECOND / 2 };
	uint64_t start = test_now_ns();
	struct pair pair;

	test_pair_open(&pair, WT_ROLE_INVALID);
	test_dial_start(&dial, pair.puller_endpoint, pair.port, WT_ROLE_PULL);
	pthread_join(dial.thread, NULL);
	assert_true(dial.status < 0);
	assert_true(dial.err.text[0]);
	assert_true(test_now_ns() - start < 15 * TEST_SECOND);
	test_pair_close(&pair);
}

static void unknown_host(void **state)
{
	uint8_t hello[WT_PATH_HELLO_BYTES] = { 0 };
	struct wt_path *path = NULL;
	struct wt_error err = { 0 };
	struct pair pair;

	test_pair_open(&pair, WT_ROLE_INVALID);
	assert_true(test_ops->connect(pair.puller_endpoint, "no such host", 7, hello, WT_ROLE_PULL,
			    TEST_SECOND, &path, &err) < 0);
	assert_non_null(strstr(err.text, "no such host"));
	test_pair_close(&pair);
}

static void unknown_device(void **state)
{
	struct wt_endpoint *endpoint = NULL;
	struct wt_error err = { 0 };

	assert_int_equal(test_ops->endpoint_open("nodevice9", NULL, &endpoint, &err), -ENODEV);
	assert_non_null(strstr(err.text, "nodevice9"));
	assert_null(endpoint);
}

/* Two connections of the same endpoints, and what the end of one is to the other. */
static void two_paths_at_once(void **state)
{
	struct wt_path *serving;
	struct wt_path *pulling;
	struct wt_op list[64];
	int statuses[64];
	struct pair pair;
	unsigned i;
	unsigned k;

	test_pair_open(&pair, WT_ROLE_PULL);
	test_pair_path(&pair, WT_ROLE_SERVE, &serving, &pulling);
	test_read_ok(&pair, 0, 1);
	for (k = 0; k < 4; k++) {
		memset(pair.sink, 0, TEST_MEMORY);
		for (i = 0; i < 64; i++)
			list[i] = test_op_read(&pair, i, i * 100000, 100000);
		/* The even ones over one path stay in flight while the odd ones use the other. */
		for (i = 0; i < 32; i++)
			list[i] = test_op_read(&pair, i, 2 * i * 100000, 100000);
		assert_true(test_ops->post(pair.pulling, list, 32) == 32);
		for (i = 0; i < 32; i++)
			list[i] = test_op_read(&pair, i, (2 * i + 1) * 100000, 100000);
		assert_int_equal(test_transfer(pulling, list, 32, statuses), 32);
		struct wt_completion completions[32];
		int last;

		assert_int_equal(test_collect(pair.pulling, completions, 32, &last), 32);
		test_sink_check(&pair, 0, 64 * 100000);
	}
	test_ops->close(serving);
	test_ops->close(pulling);
	test_read_ok(&pair, 0, 4096); /* the other one does not mind */
	test_pair_close(&pair);
}

int test_path_life(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(puller_sees_server_close),
		cmocka_unit_test(idle_puller_sees_server_close),
		cmocka_unit_test(server_sees_puller_close),
		cmocka_unit_test(close_in_flight),
		cmocka_unit_test(quiesce_and_resume),
		cmocka_unit_test(detach_and_attach),
		cmocka_unit_test(refused_request),
		cmocka_unit_test(closed_port),
		cmocka_unit_test(nobody_answers),
		cmocka_unit_test(unknown_host),
		cmocka_unit_test(unknown_device),
		cmocka_unit_test(two_paths_at_once),
	};
	char name[64];

	snprintf(name, sizeof name, "path over %s: life cycle", test_ops->name);
	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

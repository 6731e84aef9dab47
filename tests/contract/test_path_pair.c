/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_path_pair.c - two connected ends in one process, and how the cases wait for them.
 *
 * Each end has an endpoint of its own; connect, which blocks, runs in a thread while the main thread admits.
 * Every wait is for an event and ends at a deadline.
 */
#include "test_path.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

const struct wt_fabric_ops *test_ops;
const char *test_host;

bool test_over_tcp(void)
{
	return test_ops->fabric == WT_FABRIC_TCP || test_ops->fabric == WT_FABRIC_TLS;
}

void test_hello(uint8_t ret_hello[WT_PATH_HELLO_BYTES])
{
	for (unsigned i = 0; i < WT_PATH_HELLO_BYTES; i++)
		ret_hello[i] = (uint8_t)(0x80 + 5 * i);
}

static bool find_hello(
	void *arg, const uint8_t id[WT_PATH_HELLO_ID_BYTES], uint8_t ret_hello[WT_PATH_HELLO_BYTES])
{
	(void)arg;
	test_hello(ret_hello);
	return memcmp(ret_hello, id, WT_PATH_HELLO_ID_BYTES) == 0;
}

void test_listener_find(struct wt_listener *listener)
{
	if (test_ops->listener_find)
		test_ops->listener_find(listener, find_hello, NULL);
}

uint64_t test_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * TEST_SECOND + (uint64_t)now.tv_nsec;
}

uint8_t test_pattern(size_t i)
{
	return (uint8_t)((i * 2654435761u) >> 13 ^ i);
}

static uint8_t *memory_new(void)
{
	uint8_t *memory = mmap(NULL, TEST_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(memory != MAP_FAILED);
	return memory;
}

static void *dial_main(void *arg)
{
	struct dial *dial = arg;

	if (dial->attach)
		dial->status = test_ops->attach(dial->attach, dial->endpoint, test_host, dial->port,
			dial->hello, dial->timeout_ns, &dial->err);
	else
		dial->status = test_ops->connect(dial->endpoint, test_host, dial->port, dial->hello,
			dial->role, dial->timeout_ns, &dial->path, &dial->err);
	return NULL;
}

void test_dial_start(struct dial *dial, struct wt_endpoint *endpoint, uint16_t port, enum wt_role role)
{
	dial->endpoint = endpoint;
	dial->port = port;
	dial->role = role;
	if (!dial->timeout_ns)
		dial->timeout_ns = TEST_DEADLINE_NS;
	test_hello(dial->hello);
	assert_int_equal(pthread_create(&dial->thread, NULL, dial_main, dial), 0);
}

struct wt_request *test_request_next(struct pair *pair, const uint8_t *expected)
{
	uint64_t deadline = test_now_ns() + TEST_DEADLINE_NS;
	uint8_t hello[WT_PATH_HELLO_BYTES];
	struct wt_request *request = NULL;
	int status;

	for (;;) {
		struct pollfd wait = { .fd = test_ops->listener_fd(pair->listener), .events = POLLIN };

		status = test_ops->listener_accept(pair->listener, &request, hello);
		if (status != -EAGAIN)
			break;
		assert_true(test_now_ns() < deadline);
		assert_true(poll(&wait, 1, 1000) >= 0);
	}
	assert_int_equal(status, 0);
	assert_memory_equal(hello, expected, WT_PATH_HELLO_BYTES);
	return request;
}

void test_pair_path(
	struct pair *pair, enum wt_role dialled, struct wt_path **ret_serving, struct wt_path **ret_pulling)
{
	enum wt_role other = dialled == WT_ROLE_PEER   ? WT_ROLE_PEER
			     : dialled == WT_ROLE_PULL ? WT_ROLE_SERVE
						       : WT_ROLE_PULL;
	bool pulls = dialled != WT_ROLE_SERVE;
	struct wt_error err = { 0 };
	struct dial dial = { 0 };
	struct wt_path *admitted = NULL;

	test_dial_start(&dial, pulls ? pair->puller_endpoint : pair->server_endpoint, pair->port, dialled);
	assert_int_equal(
		test_ops->request_admit(test_request_next(pair, dial.hello),
			pulls ? pair->server_endpoint : pair->puller_endpoint, other, &admitted, &err),
		0);
	pthread_join(dial.thread, NULL);
	if (dial.status < 0)
		fail_msg("connect: %s", wt_error_text(&dial.err));
	*ret_serving = pulls ? admitted : dial.path;
	*ret_pulling = pulls ? dial.path : admitted;
}

void test_pair_open(struct pair *pair, enum wt_role dialled)
{
	struct wt_error err = { 0 };
	size_t i;

	memset(pair, 0, sizeof *pair);
	pair->served = memory_new();
	pair->sink = memory_new();
	for (i = 0; i < TEST_MEMORY; i++)
		pair->served[i] = test_pattern(i);
	assert_int_equal(test_ops->endpoint_open(NULL, test_host, &pair->server_endpoint, &err), 0);
	assert_int_equal(test_ops->endpoint_open(NULL, test_host, &pair->puller_endpoint, &err), 0);
	/* Odd edges: neither base nor length need alignment. */
	if (test_ops->region_add(pair->server_endpoint, pair->served + 3, TEST_MEMORY - 10, WT_ACCESS_SERVE,
		    &pair->served_region, &err) < 0 ||
		test_ops->region_add(pair->puller_endpoint, pair->sink, TEST_MEMORY, WT_ACCESS_SINK,
			&pair->sink_region, &err) < 0)
		fail_msg("region_add: %s", wt_error_text(&err));
	test_ops->region_key(pair->served_region, &pair->key);
	assert_true(pair->key.length == TEST_MEMORY - 10);
	assert_int_equal(test_ops->listener_open(test_host, 0, &pair->listener, &pair->port, &err), 0);
	assert_int_not_equal(pair->port, 0);
	test_listener_find(pair->listener);
	if (dialled != WT_ROLE_INVALID)
		test_pair_path(pair, dialled, &pair->serving, &pair->pulling);
}

void test_pair_close(struct pair *pair)
{
	test_ops->close(pair->pulling);
	test_ops->close(pair->serving);
	test_ops->listener_close(pair->listener);
	test_ops->region_remove(pair->served_region);
	test_ops->region_remove(pair->sink_region);
	test_ops->endpoint_close(pair->server_endpoint);
	test_ops->endpoint_close(pair->puller_endpoint);
	munmap(pair->served, TEST_MEMORY);
	munmap(pair->sink, TEST_MEMORY);
}

struct wt_op test_op_read(const struct pair *pair, uint64_t cookie, size_t offset, uint32_t length)
{
	struct wt_op op = {
		.kind = WT_OP_READ,
		.length = length,
		.cookie = cookie,
		.local = pair->sink + offset,
		.local_region = pair->sink_region,
		.remote_address = pair->key.address + offset,
		.remote_key = pair->key.key,
	};

	return op;
}

void test_path_sleep(struct wt_path *path, uint64_t deadline)
{
	struct pollfd wait = { .fd = test_ops->fd(path), .events = POLLIN };

	assert_true(test_now_ns() < deadline);
	if (test_ops->arm(path) == 0)
		assert_true(poll(&wait, 1, 1000) >= 0);
}

unsigned test_collect(struct wt_path *path, struct wt_completion *completions, unsigned count, int *ret_last)
{
	uint64_t deadline = test_now_ns() + TEST_DEADLINE_NS;
	unsigned done = 0;
	int n = 0;

	while (done < count) {
		n = test_ops->poll(path, completions + done, count - done);
		if (n < 0)
			break;
		assert_true((unsigned)n <= count - done);
		done += (unsigned)n;
		if (n == 0)
			test_path_sleep(path, deadline);
	}
	*ret_last = n;
	return done;
}

int test_transfer(struct wt_path *path, const struct wt_op *list, unsigned count, int *ret_statuses)
{
	uint64_t deadline = test_now_ns() + TEST_DEADLINE_NS;
	bool *seen = calloc(count, sizeof *seen);
	unsigned posted = 0;
	unsigned done = 0;
	int failed = 0;
	int n;

	assert_non_null(seen);
	while (done < posted || (posted < count && !failed)) {
		struct wt_completion completions[37];
		int i;

		n = posted < count && !failed ? test_ops->post(path, list + posted, count - posted) : 0;
		if (n > 0)
			posted += (unsigned)n;
		else if (n < 0 && n != -EAGAIN)
			failed = n;
		assert_true(posted - done <= test_ops->depth(path));
		n = test_ops->poll(path, completions, 37);
		if (n < 0) {
			assert_int_equal(done, posted); /* silent only when all has been reported */
			failed = n;
			break;
		}
		for (i = 0; i < n; i++) {
			assert_true(completions[i].cookie < posted);
			assert_false(seen[completions[i].cookie]);
			seen[completions[i].cookie] = true;
			ret_statuses[completions[i].cookie] = completions[i].status;
			if (!completions[i].status)
				assert_int_equal(completions[i].length, list[completions[i].cookie].length);
		}
		done += (unsigned)n;
		if (n == 0 && (done < posted || (posted < count && !failed)))
			test_path_sleep(path, deadline);
	}
	free(seen);
	return failed ? failed : (int)posted;
}

void test_sink_check(const struct pair *pair, size_t offset, size_t length)
{
	size_t i;

	for (i = offset; i < offset + length; i++) {
		if (pair->sink[i] != test_pattern(i + 3))
			fail_msg("byte %zu is %02x, not %02x", i, pair->sink[i], test_pattern(i + 3));
	}
}

void test_read_ok(struct pair *pair, size_t offset, uint32_t length)
{
	struct wt_op op = test_op_read(pair, 0, offset, length);
	int status = 1;

	assert_int_equal(test_transfer(pair->pulling, &op, 1, &status), 1);
	assert_int_equal(status, 0);
	test_sink_check(pair, offset, length);
}

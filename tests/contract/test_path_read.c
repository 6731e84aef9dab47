/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_path_read.c - the contract of path.h: posts, completions, and what a key grants.
 *
 * Where fabrics may differ (after a read that was refused tcp goes on, and a queue pair is broken) the cases
 * accept either, but never a lost or a doubled completion.
 */
#include "test_path.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPS_MAX 2048

/* A read that must fail: the operation does, and the path either goes on or breaks, as its fabric can. */
static void read_refused(struct pair *pair, struct wt_op op)
{
	int status = 1;
	int result = test_transfer(pair->pulling, &op, 1, &status);

	assert_true(status < 0);
	assert_true(result == 1 || result < 0);
	if (test_over_tcp()) {
		assert_true(test_ops->alive(pair->pulling));
		test_read_ok(pair, 4096, 100);
	}
}

static void sizes_and_offsets(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 7, 8, 15, 16, 17, 63, 4095, 4096, 4097, 65536, 100001,
		WT_PATH_READ_MAX - 1, WT_PATH_READ_MAX };
	static const size_t offsets[] = { 0, 1, 4095, 4096, 123457 };
	struct pair pair;
	unsigned i;
	unsigned j;

	test_pair_open(&pair, WT_ROLE_PULL);
	for (i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		for (j = 0; j < sizeof offsets / sizeof offsets[0]; j++) {
			size_t offset = offsets[j];

			memset(pair.sink, 0xee, offset + sizes[i] + 1);
			test_read_ok(&pair, offset, sizes[i]);
			assert_int_equal(pair.sink[offset + sizes[i]], 0xee);
			if (offset)
				assert_int_equal(pair.sink[offset - 1], 0xee);
		}
	}
	test_read_ok(&pair, TEST_MEMORY - 10 - 4096, 4096); /* the region's last byte */
	test_pair_close(&pair);
}

/* The end that listens pulls, the end that connects serves. */
static void listener_pulls(void **state)
{
	struct pair pair;

	test_pair_open(&pair, WT_ROLE_SERVE);
	test_read_ok(&pair, 1000, 70000);
	assert_true(test_ops->alive(pair.serving));
	assert_true(test_ops->alive(pair.pulling));
	test_pair_close(&pair);
}

static void batch(struct pair *pair, unsigned count, uint32_t length)
{
	struct wt_op *list = calloc(count, sizeof *list);
	int *statuses = calloc(count, sizeof *statuses);
	unsigned i;

	assert_true(list && statuses && (size_t)count * length <= TEST_MEMORY - 10);
	memset(pair->sink, 0, TEST_MEMORY);
	for (i = 0; i < count; i++) {
		list[i] = test_op_read(pair, i, (size_t)i * length, length);
		statuses[i] = 1;
	}
	assert_int_equal(test_transfer(pair->pulling, list, count, statuses), count);
	for (i = 0; i < count; i++)
		assert_int_equal(statuses[i], 0);
	test_sink_check(pair, 0, (size_t)count * length);
	free(list);
	free(statuses);
}

static void batches_beyond_depth(void **state)
{
	struct pair pair;

	test_pair_open(&pair, WT_ROLE_PULL);
	batch(&pair, OPS_MAX, 4096 - 1);
	batch(&pair, OPS_MAX, 17);
	batch(&pair, 100, 64 << 10);
	batch(&pair, 7, 1 << 20);
	test_pair_close(&pair);
}

/* Without a poll the path takes exactly its depth, and says so. */
static void depth_is_a_limit(void **state)
{
	struct wt_completion completions[1024];
	struct wt_op list[1024];
	struct pair pair;
	unsigned depth;
	unsigned taken = 0;
	unsigned i;
	int last;
	int n;

	test_pair_open(&pair, WT_ROLE_PULL);
	depth = test_ops->depth(pair.pulling);
	assert_true(depth >= 1 && depth < 1024);
	test_read_ok(&pair, 0, 1); /* established for certain */
	for (i = 0; i < 1024; i++)
		list[i] = test_op_read(&pair, i, i * 4096, 4096);
	while ((n = test_ops->post(pair.pulling, list + taken, 1024 - taken)) > 0)
		taken += (unsigned)n;
	assert_int_equal(n, -EAGAIN);
	assert_int_equal(taken, depth);
	assert_int_equal(test_collect(pair.pulling, completions, taken, &last), taken);
	test_sink_check(&pair, 0, (size_t)taken * 4096);
	assert_int_equal(test_ops->poll(pair.pulling, completions, 1), 0);
	test_pair_close(&pair);
}

static void wrong_posts_are_refused(void **state)
{
	struct wt_region *elsewhere;
	struct wt_error err = { 0 };
	struct pair pair;
	struct wt_op good;
	struct wt_op op;

	test_pair_open(&pair, WT_ROLE_PULL);
	good = test_op_read(&pair, 0, 0, 4096);
	op = good;
	op.kind = WT_OP_SEND;
	assert_int_equal(test_ops->post(pair.pulling, &op, 1), -EOPNOTSUPP);
	op.kind = WT_OP_WRITE;
	assert_int_equal(test_ops->post(pair.pulling, &op, 1), -EOPNOTSUPP);
	op = good;
	op.length = 0;
	assert_int_equal(test_ops->post(pair.pulling, &op, 1), -EINVAL);
	op.length = WT_PATH_READ_MAX + 1;
	assert_int_equal(test_ops->post(pair.pulling, &op, 1), -EINVAL);
	op = good;
	op.local = pair.sink + TEST_MEMORY - 4095;
	assert_int_equal(test_ops->post(pair.pulling, &op, 1), -EINVAL);
	op.local = pair.sink - 1;
	assert_int_equal(test_ops->post(pair.pulling, &op, 1), -EINVAL);
	/* Into memory that may only be served. */
	assert_int_equal(test_ops->region_add(
				 pair.puller_endpoint, pair.sink, 4096, WT_ACCESS_SERVE, &elsewhere, &err),
		0);
	op = good;
	op.local_region = elsewhere;
	assert_int_equal(test_ops->post(pair.pulling, &op, 1), -EINVAL);
	test_ops->region_remove(elsewhere);
	assert_int_equal(test_ops->post(pair.serving, &good, 1), -EOPNOTSUPP);
	test_read_ok(&pair, 0, 4096);
	test_pair_close(&pair);
}

static void bad_key(void **state)
{
	struct pair pair;
	struct wt_op op;

	test_pair_open(&pair, WT_ROLE_PULL);
	op = test_op_read(&pair, 0, 0, 4096);
	op.remote_key ^= 0x5a00;
	read_refused(&pair, op);
	test_pair_close(&pair);
}

/* A key of another endpoint of the same host, and one of memory that is not served. */
static void foreign_keys(void **state)
{
	struct wt_endpoint *other;
	struct wt_region *region;
	struct wt_error err = { 0 };
	struct wt_key key;
	struct pair pair;
	struct wt_op op;

	test_pair_open(&pair, WT_ROLE_PULL);
	assert_int_equal(test_ops->endpoint_open(NULL, test_host, &other, &err), 0);
	assert_int_equal(
		test_ops->region_add(other, pair.served, TEST_MEMORY, WT_ACCESS_SERVE, &region, &err), 0);
	test_ops->region_key(region, &key);
	op = test_op_read(&pair, 0, 0, 4096);
	op.remote_address = key.address;
	op.remote_key = key.key;
	read_refused(&pair, op);
	test_ops->region_remove(region);
	test_ops->endpoint_close(other);
	test_pair_close(&pair);
}

static void sink_is_not_readable(void **state)
{
	struct wt_region *region;
	struct wt_error err = { 0 };
	struct wt_key key;
	struct pair pair;
	struct wt_op op;

	test_pair_open(&pair, WT_ROLE_PULL);
	assert_int_equal(test_ops->region_add(pair.server_endpoint, pair.served, TEST_MEMORY, WT_ACCESS_SINK,
				 &region, &err),
		0);
	test_ops->region_key(region, &key);
	op = test_op_read(&pair, 0, 0, 4096);
	op.remote_address = key.address;
	op.remote_key = key.key;
	read_refused(&pair, op);
	test_ops->region_remove(region);
	test_pair_close(&pair);
}

static void out_of_range(void **state)
{
	uint64_t beyond[4];
	struct pair pair;
	struct wt_op op;
	unsigned i;

	for (i = 0; i < 4; i++) {
		test_pair_open(&pair, WT_ROLE_PULL);
		beyond[0] = pair.key.address + pair.key.length - 4095;
		beyond[1] = pair.key.address + pair.key.length;
		beyond[2] = pair.key.address - 1;
		beyond[3] = UINT64_MAX - 100;
		op = test_op_read(&pair, 0, 0, 4096);
		op.remote_address = beyond[i];
		read_refused(&pair, op);
		test_pair_close(&pair);
	}
}

static void removed_region(void **state)
{
	struct wt_error err = { 0 };
	struct wt_region *again;
	struct wt_region *other;
	struct wt_key key;
	struct pair pair;
	struct wt_op op;

	test_pair_open(&pair, WT_ROLE_PULL);
	test_read_ok(&pair, 4096, 100);
	assert_int_equal(test_ops->region_add(pair.server_endpoint, pair.served, TEST_MEMORY, WT_ACCESS_SERVE,
				 &other, &err),
		0);
	test_ops->region_key(other, &key);
	test_ops->region_remove(other);
	/* The same memory once more: a stale key must not fit the new region. */
	assert_int_equal(test_ops->region_add(pair.server_endpoint, pair.served, TEST_MEMORY, WT_ACCESS_SERVE,
				 &again, &err),
		0);
	op = test_op_read(&pair, 0, 0, 4096);
	op.remote_address = key.address;
	op.remote_key = key.key;
	read_refused(&pair, op);
	test_ops->region_remove(again);
	test_pair_close(&pair);
}

/*
 * region_remove while reads of it are in flight: none is lost, and what is written to the memory afterwards
 * is never seen. (A fabric may be so quick that all of them are done before.)
 */
static void removed_in_flight(void **state)
{
	struct wt_completion completions[1024];
	struct wt_op list[1024];
	struct pair pair;
	unsigned i;
	int last;
	int n;

	test_pair_open(&pair, WT_ROLE_PULL);
	test_read_ok(&pair, 0, 1);
	for (i = 0; i < 1024; i++)
		list[i] = test_op_read(&pair, i, i % 7 << 20, WT_PATH_READ_MAX);
	n = test_ops->post(pair.pulling, list, 1024);
	assert_true(n > 0);
	assert_int_equal(test_collect(pair.pulling, completions, 1, &last), 1);
	test_ops->region_remove(pair.served_region);
	pair.served_region = NULL;
	for (i = 0; i < TEST_MEMORY; i++)
		pair.served[i] = (uint8_t)~test_pattern(i);
	assert_int_equal(test_collect(pair.pulling, completions + 1, (unsigned)n - 1, &last), n - 1);
	n = test_ops->post(pair.pulling, list, 1);
	if (n == 1)
		assert_int_equal(test_collect(pair.pulling, completions, 1, &last), 1);
	assert_true(n < 0 || completions[0].status < 0);
	for (i = 0; i < 7u << 20; i++)
		assert_true(pair.sink[i] == test_pattern(i + 3) || pair.sink[i] == 0);
	test_pair_close(&pair);
}

#define WORDS 4096u

static atomic_bool writer_stop;

/* Races with the server's copying on purpose. The low two bytes of each word stay what they are. */
__attribute__((no_sanitize("thread"))) static void *writer_main(void *arg)
{
	volatile uint64_t *words = arg;
	uint64_t round;
	size_t i;

	for (round = 1; !atomic_load(&writer_stop); round++) {
		for (i = 0; i < WORDS; i++)
			words[i] = round << 16 | i;
	}
	return NULL;
}

/* Sockets order it before the server's copying, which a sanitizer cannot know. */
__attribute__((no_sanitize("thread"), noinline)) static void word_store(
	volatile uint64_t *word, uint64_t value)
{
	*word = value;
	__sync_synchronize();
}

/*
 * Served memory that changes all the time: every byte is one that was there. In the last word,
 * which nobody but this thread writes, what was stored before the post is what the read brings.
 */
static void concurrent_writer(void **state)
{
	struct wt_region *region;
	struct wt_error err = { 0 };
	struct wt_key key;
	pthread_t writer;
	struct pair pair;
	struct wt_op op;
	uint64_t k;
	size_t i;

	test_pair_open(&pair, WT_ROLE_PULL);
	assert_int_equal(test_ops->region_add(pair.server_endpoint, pair.served, (WORDS + 1) * sizeof k,
				 WT_ACCESS_SERVE, &region, &err),
		0);
	test_ops->region_key(region, &key);
	op = test_op_read(&pair, 0, 0, (WORDS + 1) * sizeof k);
	op.remote_address = key.address;
	op.remote_key = key.key;
	for (i = 0; i < WORDS; i++)
		((uint64_t *)pair.served)[i] = i;
	atomic_store(&writer_stop, false);
	assert_int_equal(pthread_create(&writer, NULL, writer_main, pair.served), 0);
	for (k = 0; k < 200; k++) {
		const uint64_t *words = (const uint64_t *)pair.sink;
		int status = 1;

		word_store((uint64_t *)pair.served + WORDS, k);
		assert_int_equal(test_transfer(pair.pulling, &op, 1, &status), 1);
		assert_int_equal(status, 0);
		for (i = 0; i < WORDS; i++)
			assert_int_equal(words[i] & 0xffff, i);
		assert_true(words[WORDS] == k);
	}
	atomic_store(&writer_stop, true);
	pthread_join(writer, NULL);
	test_ops->region_remove(region);
	test_pair_close(&pair);
}

int test_path_read(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_and_offsets),
		cmocka_unit_test(listener_pulls),
		cmocka_unit_test(batches_beyond_depth),
		cmocka_unit_test(depth_is_a_limit),
		cmocka_unit_test(wrong_posts_are_refused),
		cmocka_unit_test(bad_key),
		cmocka_unit_test(foreign_keys),
		cmocka_unit_test(sink_is_not_readable),
		cmocka_unit_test(out_of_range),
		cmocka_unit_test(removed_region),
		cmocka_unit_test(removed_in_flight),
		cmocka_unit_test(concurrent_writer),
	};
	char name[64];

	snprintf(name, sizeof name, "path over %s: reading", test_ops->name);
	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_registrar.c - memory is registered by threads, ahead of need: registrar.c, and sink.c with it.
 *
 * The device is made up here: region_add waits until the test opens its gate, and can be told to fail. What
 * is registered is counted, and by whom.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "registrar.h"
#include "sink.h"

#define CHUNKS 300u /* more than there may be orders */
#define WAIT_MS 20000

struct wt_region {
	uint8_t *base;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t change;
	pthread_t loop_thread;
	bool open, refuse;              /* the gate; the device's answer to other threads */
	unsigned begun, added, removed; /* region_add was called, has succeeded; region_remove */
	unsigned by_loop;               /* of those that were begun */
} d = { .lock = PTHREAD_MUTEX_INITIALIZER, .change = PTHREAD_COND_INITIALIZER };

static int device_add(struct wt_endpoint *endpoint, void *base, size_t length, unsigned access,
	struct wt_region **ret_region, struct wt_error *err)
{
	bool mine = pthread_equal(pthread_self(), d.loop_thread), refuse;

	assert_int_equal(access, WT_ACCESS_SINK);
	pthread_mutex_lock(&d.lock);
	d.begun++;
	d.by_loop += mine;
	pthread_cond_broadcast(&d.change);
	while (!mine && !d.open)
		pthread_cond_wait(&d.change, &d.lock);
	refuse = d.refuse;
	d.added += !refuse;
	pthread_mutex_unlock(&d.lock);
	if (refuse)
		return wt_error_set(err, EFAULT, "the device does not want to");
	*ret_region = malloc(sizeof **ret_region);
	(*ret_region)->base = base;
	return 0;
}

static void device_remove(struct wt_region *region)
{
	pthread_mutex_lock(&d.lock);
	d.removed++;
	pthread_mutex_unlock(&d.lock);
	free(region);
}

static void no_endpoint(struct wt_endpoint *endpoint)
{
}

static const struct wt_fabric_ops ops = {
	.region_add = device_add, .region_remove = device_remove, .endpoint_close = no_endpoint
};

static void gate(bool open)
{
	pthread_mutex_lock(&d.lock);
	d.open = open;
	pthread_cond_broadcast(&d.change);
	pthread_mutex_unlock(&d.lock);
}

static void wait_begun(unsigned count)
{
	pthread_mutex_lock(&d.lock);
	while (d.begun < count)
		pthread_cond_wait(&d.change, &d.lock);
	pthread_mutex_unlock(&d.lock);
}

static int reset(void **state)
{
	gate(false);
	d.refuse = false;
	d.begun = d.added = d.removed = d.by_loop = 0;
	d.loop_thread = pthread_self();
	return 0;
}

/* Memory that is never touched. */
static struct wt_sink_block block = { .name = "pc.ram",
	.base = (uint8_t *)0x10000000000,
	.length = CHUNKS * WT_LIMIT_PIN_CHUNK_BYTES,
	.fd = -1 };

struct world {
	struct wt_loop *loop;
	struct wt_sink *sink;
};

static struct world open_world(void)
{
	struct world w;

	assert_int_equal(wt_loop_open(&w.loop), 0);
	assert_int_equal(wt_sink_open(&ops, NULL, &block, 1, &w.sink), 0);
	assert_int_equal(wt_sink_background(w.sink, w.loop), 0);
	return w;
}

static void close_world(struct world *w)
{
	wt_sink_close(w->sink);
	wt_loop_close(w->loop);
	assert_int_equal(d.added, d.removed);
}

static int region(struct world *w, uint64_t chunk, struct wt_region **ret_region)
{
	struct wt_error err = { 0 };
	uint64_t bytes = 0;
	int r = wt_sink_region(
		w->sink, 0, chunk * WT_LIMIT_PIN_CHUNK_BYTES + 3 * WT_PAGE_SIZE, ret_region, &bytes, &err);

	if (!r) {
		assert_int_equal(bytes, WT_LIMIT_PIN_CHUNK_BYTES - 3 * WT_PAGE_SIZE);
		assert_ptr_equal((*ret_region)->base, block.base + chunk * WT_LIMIT_PIN_CHUNK_BYTES);
	}
	assert_int_equal(!!err.code, r && r != -EAGAIN);
	return r;
}

struct wanted {
	struct world *w;
	uint64_t chunk;
	struct wt_region *region;
	struct wt_timer late;
};

static bool turn(void *arg, uint64_t now_ns)
{
	struct wanted *wanted = arg;
	int r = region(wanted->w, wanted->chunk, &wanted->region);

	if (r != -EAGAIN)
		wt_loop_stop(wanted->w->loop, r);
	return false;
}

static void late(void *arg, uint64_t now_ns)
{
	fail_msg("the loop was not woken");
}

/* The loop sleeps until the chunk is there; nothing but the registrar wakes it. */
static int region_in_time(struct world *w, uint64_t chunk)
{
	struct wanted wanted = { .w = w, .chunk = chunk };
	struct wt_busy busy = { 0 };
	int r;

	wt_loop_busy_set(w->loop, &busy, turn, &wanted);
	wt_loop_timer_set(w->loop, &wanted.late, wt_loop_now_ns(w->loop) + WAIT_MS * 1000000ull, late, NULL);
	r = wt_loop_run(w->loop);
	wt_loop_timer_clear(w->loop, &wanted.late);
	wt_loop_busy_clear(w->loop, &busy);
	return r;
}

static void test_loop_goes_on_meanwhile(void **state)
{
	struct world w = open_world();
	struct wt_region *found;

	assert_int_equal(region(&w, 7, &found), -EAGAIN);
	wait_begun(1);
	assert_int_equal(region(&w, 7, &found), -EAGAIN);
	assert_int_equal(d.begun, 1);
	gate(true);
	assert_int_equal(region_in_time(&w, 7), 0);
	assert_int_equal(d.begun, 1);
	assert_int_equal(d.by_loop, 0);
	close_world(&w);
}

/* Each chunk of what is expected once, ahead of need; no other one. */
static void test_expected_is_there(void **state)
{
	struct world w = open_world();
	struct wt_region *found;

	gate(true);
	wt_sink_expect(w.sink, 0, 2 * WT_LIMIT_PIN_CHUNK_BYTES - WT_PAGE_SIZE, 2 * WT_PAGE_SIZE);
	wt_sink_expect(w.sink, 0, 2 * WT_LIMIT_PIN_CHUNK_BYTES, WT_PAGE_SIZE);
	assert_int_equal(region_in_time(&w, 1), 0);
	assert_int_equal(region_in_time(&w, 2), 0);
	assert_int_equal(d.begun, 2);
	wt_sink_expect(w.sink, 0, WT_LIMIT_PIN_CHUNK_BYTES, WT_LIMIT_PIN_CHUNK_BYTES);
	assert_int_equal(region(&w, 1, &found), 0);
	assert_int_equal(d.begun, 2);
	assert_int_equal(d.by_loop, 0);
	close_world(&w);
}

/* Who asks then is told why, and why not by a thread. */
static void test_failure_is_told(void **state)
{
	struct world w = open_world();
	struct wt_region *found;

	gate(true);
	d.refuse = true;
	wt_sink_expect(w.sink, 0, 0, WT_PAGE_SIZE);
	assert_int_equal(region_in_time(&w, 0), -EFAULT);
	assert_int_equal(d.by_loop, 1);
	d.refuse = false;
	assert_int_equal(region(&w, 0, &found), 0);
	assert_int_equal(d.by_loop, 2);
	close_world(&w);
}

/* What finds no room among the orders is registered when it is needed. */
static void test_more_than_can_be_ordered(void **state)
{
	struct world w = open_world();

	wt_sink_expect(w.sink, 0, 0, block.length);
	gate(true);
	for (unsigned chunk = 0; chunk < CHUNKS; chunk++)
		assert_int_equal(region_in_time(&w, chunk), 0);
	assert_int_equal(d.begun, CHUNKS);
	close_world(&w);
}

static void *open_gate(void *arg)
{
	gate(true);
	return NULL;
}

/* With orders that wait, that have been begun, and that nobody took. */
static void test_close_in_the_middle(void **state)
{
	for (unsigned done = 0; done < 4; done++) {
		struct world w = open_world();
		pthread_t opener;

		reset(NULL);
		wt_sink_expect(w.sink, 0, 0, 9 * WT_LIMIT_PIN_CHUNK_BYTES);
		wait_begun(1);
		if (done) {
			gate(true);
			wait_begun(2 * done);
			gate(false);
		}
		assert_int_equal(pthread_create(&opener, NULL, open_gate, NULL), 0);
		close_world(&w);
		pthread_join(opener, NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_loop_goes_on_meanwhile, reset),
		cmocka_unit_test_setup(test_expected_is_there, reset),
		cmocka_unit_test_setup(test_failure_is_told, reset),
		cmocka_unit_test_setup(test_more_than_can_be_ordered, reset),
		cmocka_unit_test_setup(test_close_in_the_middle, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

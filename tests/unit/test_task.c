/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_task.c - tasks that end by themselves, that are abandoned while they run, and after they have ended.
 */
#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include "task.h"

#define SECOND_NS 1000000000ull

static struct wt_loop *loop;
static sem_t gate, ran, dropped;
static atomic_uint runs, drops;
static unsigned dones;

static void run(void *arg)
{
	while (sem_wait(&gate))
		;
	runs++;
	sem_post(&ran);
}

static void done(void *arg)
{
	assert_ptr_equal(arg, &gate);
	dones++;
	wt_loop_stop(loop, 0);
}

static void drop(void *arg)
{
	drops++;
	sem_post(&dropped);
}

static void late(void *arg, uint64_t now_ns)
{
	wt_loop_stop(loop, -ETIMEDOUT);
}

static int run_loop(uint64_t limit_ns)
{
	struct wt_timer timer = { 0 };
	int r;

	wt_loop_timer_set(loop, &timer, wt_loop_now_ns(loop) + limit_ns, late, NULL);
	r = wt_loop_run(loop);
	wt_loop_timer_clear(loop, &timer);
	return r;
}

static struct wt_task *start(void)
{
	struct wt_error err = { 0 };
	struct wt_task *task;

	assert_int_equal(wt_task_start(loop, "test", run, done, drop, &gate, &task, &err), 0);
	return task;
}

static void test_done(void **state)
{
	start();
	assert_int_equal(run_loop(10000000), -ETIMEDOUT); /* the loop goes on */
	assert_int_equal(dones, 0);
	sem_post(&gate);
	assert_int_equal(run_loop(20 * SECOND_NS), 0);
	assert_int_equal(dones, 1);
	assert_int_equal(runs, 1);
	assert_int_equal(drops, 0);
}

static void test_abandoned_while_it_runs(void **state)
{
	wt_task_abandon(start());
	assert_int_equal(drops, 0);
	sem_post(&gate);
	sem_wait(&dropped);
	assert_int_equal(run_loop(10000000), -ETIMEDOUT);
	assert_int_equal(dones, 0);
	assert_int_equal(drops, 1);
}

static void test_abandoned_when_it_has_run(void **state)
{
	struct wt_task *task = start();

	sem_post(&gate);
	sem_wait(&ran);
	wt_task_abandon(task); /* the thread may be anywhere behind `run` */
	sem_wait(&dropped);
	assert_int_equal(run_loop(10000000), -ETIMEDOUT);
	assert_int_equal(dones, 0);
	assert_int_equal(drops, 1);
}

static void test_many(void **state)
{
	for (unsigned i = 0; i < 200; i++) {
		struct wt_task *task = start();

		sem_post(&gate);
		if (i % 2)
			sem_wait(&ran);
		if (i % 3) {
			wt_task_abandon(task);
			sem_wait(&dropped);
		} else {
			assert_int_equal(run_loop(20 * SECOND_NS), 0);
		}
	}
	assert_int_equal(dones + drops, 200);
	assert_int_equal(runs, 200);
}

static int setup(void **state)
{
	sem_init(&gate, 0, 0);
	sem_init(&ran, 0, 0);
	sem_init(&dropped, 0, 0);
	runs = drops = dones = 0;
	return wt_loop_open(&loop);
}

static int teardown(void **state)
{
	wt_loop_close(loop);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_done, setup, teardown),
		cmocka_unit_test_setup_teardown(test_abandoned_while_it_runs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_abandoned_when_it_has_run, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_loop.c - the event loop: order of timers, removal from within callbacks, stale events, busy hooks,
 * nesting. Every run has a deadline; nothing sleeps to wait for something.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include <watari/loop.h>

#define MS 1000000ull

struct world {
	struct wt_loop *loop;
	struct wt_timer timers[4];
	struct wt_busy busies[3];
	char log[64];
	int fds[3];
	unsigned count;
};

static void note(struct world *w, char c)
{
	size_t length = strlen(w->log);

	assert_true(length + 1 < sizeof w->log);
	w->log[length] = c;
}

static void stop_timer(void *arg, uint64_t now_ns)
{
	struct world *w = arg;

	wt_loop_stop(w->loop, 7);
}

static int setup(void **state)
{
	static struct world w;
	unsigned i;

	memset(&w, 0, sizeof w);
	for (i = 0; i < 3; i++)
		w.fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	*state = &w;
	return wt_loop_open(&w.loop);
}

static int teardown(void **state)
{
	struct world *w = *state;
	unsigned i;

	for (i = 0; i < 3; i++)
		close(w->fds[i]);
	wt_loop_close(w->loop);
	return 0;
}

static void timer_a(void *arg, uint64_t now_ns)
{
	struct world *w = arg;

	assert_true(now_ns >= w->timers[0].at_ns);
	note(w, 'a');
}

static void timer_b(void *arg, uint64_t now_ns)
{
	note(arg, 'b');
}

static void timer_c(void *arg, uint64_t now_ns)
{
	note(arg, 'c');
}

static void test_timers_fire_in_order_and_never_early(void **state)
{
	struct world *w = *state;
	uint64_t now_ns = wt_loop_now_ns(w->loop);

	wt_loop_timer_set(w->loop, &w->timers[3], now_ns + 6 * MS, stop_timer, w);
	wt_loop_timer_set(w->loop, &w->timers[2], now_ns + 4 * MS, timer_c, w);
	wt_loop_timer_set(w->loop, &w->timers[0], now_ns + 2 * MS, timer_a, w);
	wt_loop_timer_set(w->loop, &w->timers[1], now_ns + 4 * MS, timer_b, w);
	wt_loop_timer_set(w->loop, &w->timers[1], now_ns + 2 * MS, timer_b, w); /* moved */
	assert_int_equal(wt_loop_run(w->loop), 7);
	assert_string_equal(w->log, "abc");
	assert_true(wt_loop_now_ns(w->loop) >= now_ns + 6 * MS);
	assert_null(w->timers[0].fn);
}

static void timer_clears_next(void *arg, uint64_t now_ns)
{
	struct world *w = arg;

	note(w, 'x');
	wt_loop_timer_clear(w->loop, &w->timers[1]); /* due in this very turn */
	wt_loop_timer_clear(w->loop, &w->timers[1]); /* twice is nothing */
	if (++w->count < 3)
		wt_loop_timer_set(w->loop, &w->timers[0], 0, timer_clears_next, w);
	else
		wt_loop_stop(w->loop, 0);
}

static void test_timer_may_clear_and_set_timers(void **state)
{
	struct world *w = *state;

	wt_loop_timer_set(w->loop, &w->timers[0], 0, timer_clears_next, w);
	wt_loop_timer_set(w->loop, &w->timers[1], 0, timer_b, w);
	wt_loop_timer_set(w->loop, &w->timers[2], 0, timer_c, w);
	assert_int_equal(wt_loop_run(w->loop), 0);
	assert_string_equal(w->log, "xcxx");
}

static void fd_swaps(void *arg, uint32_t events)
{
	struct world *w = arg;
	int other;

	/* Whichever comes first replaces the other by a new descriptor of the same number. */
	note(w, 'f');
	wt_loop_fd_clear(w->loop, w->fds[0]);
	wt_loop_fd_clear(w->loop, w->fds[1]);
	other = w->fds[1];
	close(other);
	w->fds[1] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_int_equal(w->fds[1], other);
	assert_int_equal(wt_loop_fd_set(w->loop, w->fds[1], EPOLLIN, fd_swaps, w), 0);
	wt_loop_timer_set(w->loop, &w->timers[0], wt_loop_now_ns(w->loop) + 5 * MS, stop_timer, w);
}

static void test_reused_descriptor_gets_no_stale_event(void **state)
{
	struct world *w = *state;

	assert_int_equal(eventfd_write(w->fds[0], 1), 0);
	assert_int_equal(eventfd_write(w->fds[1], 1), 0);
	assert_int_equal(wt_loop_fd_set(w->loop, w->fds[0], EPOLLIN, fd_swaps, w), 0);
	assert_int_equal(wt_loop_fd_set(w->loop, w->fds[1], EPOLLIN, fd_swaps, w), 0);
	assert_int_equal(wt_loop_run(w->loop), 7);
	assert_string_equal(w->log, "f");
}

static void fd_stops(void *arg, uint32_t events)
{
	struct world *w = arg;

	assert_true(events & EPOLLIN);
	note(w, 's');
	wt_loop_stop(w->loop, -EIO);
}

static void test_stop_ends_the_turn_and_run_goes_on_later(void **state)
{
	struct world *w = *state;
	int i;

	for (i = 0; i < 2; i++) {
		assert_int_equal(eventfd_write(w->fds[i], 1), 0);
		assert_int_equal(wt_loop_fd_set(w->loop, w->fds[i], EPOLLIN, fd_stops, w), 0);
	}
	assert_int_equal(wt_loop_run(w->loop), -EIO);
	assert_string_equal(w->log, "s");
	assert_int_equal(wt_loop_run(w->loop), -EIO);
	assert_string_equal(w->log, "ss");
	/* Nothing is watched any more, though fds[1] is still readable. */
	wt_loop_fd_clear(w->loop, w->fds[0]);
	wt_loop_fd_clear(w->loop, w->fds[0]);
	assert_int_equal(wt_loop_fd_set(w->loop, w->fds[1], 0, fd_stops, w), 0);
	wt_loop_timer_set(w->loop, &w->timers[0], 0, stop_timer, w);
	assert_int_equal(wt_loop_run(w->loop), 7);
	wt_loop_stop(w->loop, 3);
	assert_int_equal(wt_loop_run(w->loop), 3); /* a stop before the run counts */
}

static void test_bad_descriptors_are_refused(void **state)
{
	struct world *w = *state;

	assert_int_equal(wt_loop_fd_set(w->loop, -1, EPOLLIN, fd_stops, w), -EBADF);
	assert_int_equal(wt_loop_fd_set(w->loop, 1000, EPOLLIN, fd_stops, w), -EBADF);
	assert_int_equal(wt_loop_fd_set(w->loop, w->fds[0], EPOLLIN, NULL, w), -EINVAL);
	wt_loop_fd_clear(w->loop, -1);
	wt_loop_fd_clear(w->loop, 100000);
	wt_loop_close(NULL);
}

static bool busy_b(void *arg, uint64_t now_ns)
{
	note(arg, 'b');
	return false;
}

static bool busy_a(void *arg, uint64_t now_ns)
{
	struct world *w = arg;

	note(w, 'a');
	switch (++w->count) {
	case 1:
		wt_loop_busy_clear(w->loop, &w->busies[1]); /* due in this very turn */
		return true;
	case 2:
		wt_loop_busy_set(w->loop, &w->busies[1], busy_b, w);
		return true;
	case 3:
		return true;
	default:
		wt_loop_busy_clear(w->loop, &w->busies[0]);
		wt_loop_busy_clear(w->loop, &w->busies[0]);
		wt_loop_stop(w->loop, 0);
		return false;
	}
}

static void test_busy_hooks_keep_the_loop_awake(void **state)
{
	struct world *w = *state;

	/* There is neither a timer nor a descriptor: were the hook's answer ignored, the loop would sleep. */
	wt_loop_busy_set(w->loop, &w->busies[0], busy_a, w);
	wt_loop_busy_set(w->loop, &w->busies[1], busy_b, w);
	assert_int_equal(wt_loop_run(w->loop), 0);
	assert_string_equal(w->log, "aaaba");
	wt_loop_busy_clear(w->loop, &w->busies[1]);
}

static bool busy_idle(void *arg, uint64_t now_ns)
{
	((struct world *)arg)->count++;
	return false;
}

static void test_idle_hook_lets_the_loop_sleep(void **state)
{
	struct world *w = *state;

	wt_loop_busy_set(w->loop, &w->busies[0], busy_idle, w);
	wt_loop_timer_set(w->loop, &w->timers[0], wt_loop_now_ns(w->loop) + 50 * MS, stop_timer, w);
	assert_int_equal(wt_loop_run(w->loop), 7);
	assert_in_range(w->count, 1, 5);
	wt_loop_busy_clear(w->loop, &w->busies[0]);
}

static void timer_nests(void *arg, uint64_t now_ns)
{
	struct world *w = arg;

	note(w, '(');
	wt_loop_timer_set(w->loop, &w->timers[1], 0, stop_timer, w);
	assert_int_equal(wt_loop_run(w->loop), 7);
	note(w, ')');
	wt_loop_timer_set(w->loop, &w->timers[3], 0, stop_timer, w);
}

static void test_runs_may_be_nested(void **state)
{
	struct world *w = *state;

	wt_loop_timer_set(w->loop, &w->timers[0], 0, timer_nests, w);
	wt_loop_timer_set(w->loop, &w->timers[2], 0, timer_c, w);
	assert_int_equal(wt_loop_run(w->loop), 7);
	assert_string_equal(w->log, "(c)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_timers_fire_in_order_and_never_early, setup, teardown),
		cmocka_unit_test_setup_teardown(test_timer_may_clear_and_set_timers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reused_descriptor_gets_no_stale_event, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_stop_ends_the_turn_and_run_goes_on_later, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_descriptors_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_busy_hooks_keep_the_loop_awake, setup, teardown),
		cmocka_unit_test_setup_teardown(test_idle_hook_lets_the_loop_sleep, setup, teardown),
		cmocka_unit_test_setup_teardown(test_runs_may_be_nested, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

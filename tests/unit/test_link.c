/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_link.c - what a link takes for silence of its peer, over real sockets and with a clock that jumps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "fake_puller.h"

#define MS_NS 1000000ull

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now);
int __real_clock_gettime(clockid_t clock, struct timespec *ret_now);

static uint64_t later_ms; /* of the clock */

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now)
{
	int status = __real_clock_gettime(clock, ret_now);
	uint64_t ns = (uint64_t)ret_now->tv_nsec + later_ms * MS_NS;

	ret_now->tv_sec += (time_t)(ns / 1000000000);
	ret_now->tv_nsec = (long)(ns % 1000000000);
	return status;
}

static struct wt_loop *loop;
static struct fake fake; /* the accepting end */
static struct wt_link link_end;
static unsigned ups, losts;

static void on_up(void *arg, bool again)
{
	ups++;
}

static void on_lost(void *arg, const struct wt_error *err)
{
	losts++;
}

static void on_failed(void *arg, const struct wt_error *err)
{
	print_error("%s\n", wt_error_text(err));
	fail();
}

static int on_message(void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err)
{
	return 0;
}

static const struct wt_link_events events = {
	.up = on_up, .lost = on_lost, .failed = on_failed, .message = on_message
};

static void stop(void *arg, uint64_t now_ns)
{
	wt_loop_stop(loop, 0);
}

static void turn_for(uint64_t ms)
{
	struct wt_timer timer = { 0 };

	wt_loop_timer_set(loop, &timer, wt_loop_now_ns(loop) + ms * MS_NS, stop, NULL);
	check(wt_loop_run(loop) == 0);
	wt_loop_timer_clear(loop, &timer);
}

static void open_world(void)
{
	struct wt_error err = { 0 };

	ups = losts = 0;
	check(wt_loop_open(&loop) == 0);
	fake_open(&fake, loop);
	link_end = (struct wt_link){ .loop = loop,
		.events = &events,
		.peer = { .host = "127.0.0.1", .port = fake.port },
		.connect_timeout_ns = 10000 * MS_NS,
		.give_up_ns = 60000 * MS_NS };
	check(wt_link_connect(&link_end, "vm", NULL, &err) == 0);
	for (int i = 0; i < 500 && !ups; i++)
		turn_for(20);
	check(ups == 1 && losts == 0);
}

static void close_world(void)
{
	wt_link_close(&link_end);
	fake_close(&fake);
	wt_loop_close(loop);
}

/* The whole process stood still: what the peer has said, or would have said, is not missed. */
static void test_a_pause_of_its_own_is_no_silence(void **state)
{
	open_world();
	for (int i = 0; i < 5; i++) {
		later_ms += 60000;
		turn_for(300);
	}
	check(losts == 0 && ups == 1);
	close_world();
}

/* So many seconds pass, and this end turns in each. */
static void awake_for(unsigned seconds)
{
	while (seconds--) {
		later_ms += 1000;
		turn_for(150);
	}
}

/* The same clock, but this end was awake. */
static void test_a_silent_peer_is_lost(void **state)
{
	open_world();
	wt_channel_pause(link_end.channel, 1);
	awake_for(3);
	check(losts == 0);
	awake_for(3);
	check(losts == 1);
	close_world();
}

/* A pause only puts off. */
static void test_a_silent_peer_is_lost_behind_a_pause(void **state)
{
	open_world();
	wt_channel_pause(link_end.channel, 1);
	later_ms += 60000;
	turn_for(150);
	check(losts == 0);
	awake_for(6);
	check(losts == 1);
	close_world();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_pause_of_its_own_is_no_silence),
		cmocka_unit_test(test_a_silent_peer_is_lost),
		cmocka_unit_test(test_a_silent_peer_is_lost_behind_a_pause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

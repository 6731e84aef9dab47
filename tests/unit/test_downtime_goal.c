/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_downtime_goal.c - a part of the limit while the guest writes slowly; the limit when it does not, or
 * when the part is not reached.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "downtime_goal.h"

#define MS 1000000ull
#define MB 1000000ull

static void a_part_of_the_limit(void **state)
{
	struct wt_downtime_goal goal = { 0 };

	assert_int_equal(wt_downtime_goal_ms(&goal, 300), 30);
	assert_int_equal(wt_downtime_goal_ms(&goal, 50), WT_DOWNTIME_GOAL_MIN_MS);
	assert_int_equal(wt_downtime_goal_ms(&goal, 3), 3);
	goal.given_up = true;
	assert_int_equal(wt_downtime_goal_ms(&goal, 300), 300);
}

static void a_slow_guest(void **state)
{
	struct wt_downtime_goal goal = { 0 };
	struct wt_downtime_figures f = { .limit_ms = 300, .remaining_bytes = 4000 * MB };

	assert_false(wt_downtime_goal_step(&goal, &f, 1000 * MS)); /* nothing is known */
	f.rate_bytes_per_s = 1000 * MB;
	f.dirty_bytes_per_s = 500 * MB;
	for (uint64_t ms = 1000; ms < 60000; ms += 250)
		assert_false(wt_downtime_goal_step(&goal, &f, ms * MS));
	f.dirty_bytes_per_s = 501 * MB;
	assert_true(wt_downtime_goal_step(&goal, &f, 60000 * MS));
	f.dirty_bytes_per_s = 0;
	assert_false(wt_downtime_goal_step(&goal, &f, 60250 * MS));
	assert_true(goal.given_up); /* for good */
}

static void what_is_not_reached(void **state)
{
	struct wt_downtime_goal goal = { 0 };
	struct wt_downtime_figures f = {
		.limit_ms = 300, .remaining_bytes = 300 * MB, .rate_bytes_per_s = 1000 * MB
	};

	assert_false(wt_downtime_goal_step(&goal, &f, 1000 * MS));
	assert_false(wt_downtime_goal_step(&goal, &f, 3900 * MS));
	f.remaining_bytes = 301 * MB; /* a new pass */
	assert_false(wt_downtime_goal_step(&goal, &f, 3950 * MS));
	f.remaining_bytes = 100 * MB;
	assert_false(wt_downtime_goal_step(&goal, &f, 4000 * MS));
	assert_false(wt_downtime_goal_step(&goal, &f, 7000 * MS));
	assert_true(wt_downtime_goal_step(&goal, &f, 7001 * MS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_part_of_the_limit),
		cmocka_unit_test(a_slow_guest),
		cmocka_unit_test(what_is_not_reached),
	};

	return cmocka_run_group_tests_name("downtime goal", tests, NULL, NULL);
}

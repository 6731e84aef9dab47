/* SPDX-License-Identifier: BSD-3-Clause */
/* test_spin.c - polling before sleeping: it follows the waits, and never polls in vain for long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "seed.h"
#include "spin.h"

#define LOOK_NS 300ull  /* that one look takes */
#define WAKE_NS 5000ull /* ... and a sleep more than the wait */

static struct wt_spin spin;
static uint64_t now_ns, polled_ns, slept;

/* Something comes in so many ns. */
static void wait_for(uint64_t wait_ns)
{
	uint64_t start_ns = now_ns, end_ns = now_ns + wait_ns;

	while (now_ns < end_ns && wt_spin_again(&spin, now_ns))
		now_ns += LOOK_NS;
	polled_ns += now_ns - start_ns;
	if (now_ns < end_ns) {
		now_ns = end_ns + WAKE_NS;
		slept++;
	}
	wt_spin_news(&spin, now_ns);
}

static int reset(void **state)
{
	spin = (struct wt_spin){ 0 };
	now_ns = 1000000000;
	polled_ns = slept = 0;
	return 0;
}

static void test_short_waits_are_polled_through(void **state)
{
	for (unsigned i = 0; i < 1000; i++)
		wait_for(8000);
	assert_in_range(slept, 1, 8);
}

static void test_long_waits_are_slept_through(void **state)
{
	for (unsigned i = 0; i < 1000; i++)
		wait_for(400000);
	assert_int_equal(slept, 1000);
	assert_int_equal(polled_ns, 0);
}

/* When the peer becomes slow, polling ends; when it is fast again, polling is back. */
static void test_it_adapts(void **state)
{
	for (unsigned i = 0; i < 100; i++)
		wait_for(8000);
	polled_ns = slept = 0;
	for (unsigned i = 0; i < 1000; i++)
		wait_for(400000);
	assert_int_equal(slept, 1000);
	assert_in_range(polled_ns, 0, 4 * WT_SPIN_MAX_NS);
	slept = 0;
	for (unsigned i = 0; i < 100; i++)
		wait_for(8000);
	assert_in_range(slept, 1, 8);
}

/* A pause in which nothing is awaited is no wait. */
static void test_rest_is_no_wait(void **state)
{
	uint64_t budget_ns;

	for (unsigned i = 0; i < 100; i++)
		wait_for(8000);
	budget_ns = spin.budget_ns;
	for (unsigned i = 0; i < 100; i++) {
		wt_spin_again(&spin, now_ns);
		wt_spin_rest(&spin);
		now_ns += 1000000;
		wt_spin_news(&spin, now_ns);
	}
	assert_int_equal(spin.budget_ns, budget_ns);
}

static void random_run(void)
{
	reset(NULL);
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t before_ns = polled_ns, sleeps = slept;

		wait_for(seed_below(2) ? seed_below(60000) : seed_below(1000000));
		check(slept == sleeps || polled_ns - before_ns <= WT_SPIN_MAX_NS + LOOK_NS);
	}
}

/* Whatever comes when: what is polled in vain for each sleep is bounded. */
static void test_never_long_in_vain(void **state)
{
	seed_runs(100, random_run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_short_waits_are_polled_through, reset),
		cmocka_unit_test_setup(test_long_waits_are_slept_through, reset),
		cmocka_unit_test_setup(test_it_adapts, reset),
		cmocka_unit_test_setup(test_rest_is_no_wait, reset),
		cmocka_unit_test_setup(test_never_long_in_vain, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

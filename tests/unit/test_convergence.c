/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_convergence.c - when QEMU asks at each turn and when it may stop the guest: step by step, and with a
 * simulated QEMU whose guest writes at random pages, over a link that is not much faster.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "convergence.h"
#include "downtime_goal.h"

#define MS 1000000ull
#define MB 1000000ull

static unsigned step(struct wt_convergence *c, const struct wt_convergence_figures *f, uint64_t ms)
{
	return wt_convergence_step(c, f, ms * MS);
}

static void a_qemu_that_does_not_wait(void **state)
{
	struct wt_convergence_figures f = {
		.hard = true, .remaining_bytes = 1000 * MB, .rate_bytes_per_s = 10 * MB, .limit_ms = 300
	};
	struct wt_convergence c;

	wt_convergence_init(&c, false);
	for (uint64_t ms = 1000; ms < 9000; ms += 250)
		assert_int_equal(step(&c, &f, ms), 0);
	f.remaining_bytes = 0;
	assert_int_equal(step(&c, &f, 9000), 0);
	assert_int_equal(wt_convergence_defer_bytes(&c, &f), 0);
	assert_true(wt_convergence_wait_ns(&c, &f) == UINT64_MAX);
}

/* At once, and once. */
static void what_fits_at_once(void **state)
{
	struct wt_convergence_figures f = {
		.hard = true, .remaining_bytes = 301 * MB, .rate_bytes_per_s = 1000 * MB, .limit_ms = 300
	};
	struct wt_convergence c;

	wt_convergence_init(&c, true);
	assert_int_equal(wt_convergence_wait_ns(&c, &f), 301 * MS);
	f.remaining_bytes = 290 * MB;
	f.deferred_bytes = 10 * MB;
	assert_int_equal(step(&c, &f, 1040), WT_CONVERGENCE_DO_ACKNOWLEDGE);
	assert_int_equal(step(&c, &f, 1060), 0);
	f.remaining_bytes = 4000 * MB;
	assert_int_equal(step(&c, &f, 9000), 0); /* that is between QEMU and its limit */
	assert_int_equal(wt_convergence_defer_bytes(&c, &f), 150 * MB);
}

/* Nearly nothing goes across, as nothing is written. */
static void what_is_little(void **state)
{
	struct wt_convergence_figures f = { .hard = true,
		.remaining_bytes = WT_CONVERGENCE_LITTLE_BYTES,
		.rate_bytes_per_s = 1,
		.limit_ms = 300 };
	struct wt_convergence c;

	wt_convergence_init(&c, true);
	assert_int_equal(step(&c, &f, 1250), WT_CONVERGENCE_DO_ACKNOWLEDGE);
	f.remaining_bytes++;
	wt_convergence_init(&c, true);
	assert_int_equal(step(&c, &f, 1250), WT_CONVERGENCE_DO_LIMIT);
}

/* As soon as it has little to go; a rate that is not known is taken for a slow one. */
static void an_easy_guest(void **state)
{
	struct wt_convergence_figures f = { .remaining_bytes = 200 * MB, .limit_ms = 300 };
	struct wt_convergence c;

	wt_convergence_init(&c, true);
	assert_int_equal(step(&c, &f, 1000), WT_CONVERGENCE_DO_LIMIT);
	f.remaining_bytes = 199 * MB;
	wt_convergence_init(&c, true);
	assert_int_equal(step(&c, &f, 1000), WT_CONVERGENCE_DO_ACKNOWLEDGE);
	f.remaining_bytes = 19000 * MB;
	f.rate_bytes_per_s = 10000 * MB;
	wt_convergence_init(&c, true);
	assert_int_equal(step(&c, &f, 1000), WT_CONVERGENCE_DO_ACKNOWLEDGE);
}

static void a_long_pass(void **state)
{
	struct wt_convergence_figures f = {
		.remaining_bytes = 160 * MB, .rate_bytes_per_s = 10 * MB, .limit_ms = 300
	};
	struct wt_convergence c;

	wt_convergence_init(&c, true);
	assert_int_equal(step(&c, &f, 100000), WT_CONVERGENCE_DO_LIMIT);
	assert_true(c.turns);
	assert_int_equal(step(&c, &f, 100020), 0); /* told now */
	assert_int_equal(step(&c, &f, 100169), 0);
	assert_int_equal(step(&c, &f, 100170), WT_CONVERGENCE_DO_LIMIT);
	assert_false(c.turns);
	assert_int_equal(step(&c, &f, 100420), 0);
	assert_int_equal(step(&c, &f, 101419), 0);
	assert_int_equal(step(&c, &f, 101420), WT_CONVERGENCE_DO_LIMIT);
	assert_true(c.turns);
	assert_int_equal(step(&c, &f, 101440), 0);
	assert_int_equal(step(&c, &f, 101590), WT_CONVERGENCE_DO_LIMIT);
	f.remaining_bytes = 19 * MB; /* not long, and the guest is an easy one */
	assert_int_equal(step(&c, &f, 101610), 0);
	assert_int_equal(step(&c, &f, 101810), WT_CONVERGENCE_DO_ACKNOWLEDGE);
}

static void a_hard_guest(void **state)
{
	struct wt_convergence_figures f = {
		.hard = true, .remaining_bytes = 10 * MB, .rate_bytes_per_s = 10 * MB, .limit_ms = 300
	};
	struct wt_convergence c;

	wt_convergence_init(&c, true);
	assert_int_equal(step(&c, &f, 5000), WT_CONVERGENCE_DO_LIMIT);
	for (uint64_t ms = 5001; ms < 9000; ms += 50)
		assert_int_equal(step(&c, &f, ms), 0);
	assert_true(c.turns);
	f.remaining_bytes = 3 * MB;
	assert_int_equal(step(&c, &f, 9000), WT_CONVERGENCE_DO_LIMIT); /* the true one */
	assert_false(c.turns);
	assert_int_equal(
		step(&c, &f, 9500), 0); /* QEMU has just taken it, and may still go by the other one */
	assert_int_equal(step(&c, &f, 9699), 0);
	f.remaining_bytes = 3 * MB + 1;
	assert_int_equal(step(&c, &f, 9700), WT_CONVERGENCE_DO_LIMIT);
	assert_true(c.turns);
	f.remaining_bytes = 3 * MB;
	assert_int_equal(step(&c, &f, 9800), WT_CONVERGENCE_DO_LIMIT);
	assert_int_equal(step(&c, &f, 9820), 0);
	assert_int_equal(step(&c, &f, 10020), WT_CONVERGENCE_DO_ACKNOWLEDGE);
}

/* ---- a QEMU and a guest ---- */

enum { PAGES = 80000, LINK = 5800, TICK_MS = 10, LIMIT_MS = 300, ALL_S = 120 };

struct qemu {
	bool ram[PAGES], written[PAGES]; /* to be sent; and not asked for yet */
	uint64_t dirty, at, limit_ms, random;
	bool may_stop;
};

static uint64_t next_random(struct qemu *q)
{
	q->random ^= q->random << 13;
	q->random ^= q->random >> 7;
	q->random ^= q->random << 17;
	return q->random;
}

static void ask(struct qemu *q)
{
	for (unsigned i = 0; i < PAGES; i++) {
		q->dirty += q->written[i] && !q->ram[i];
		q->ram[i] |= q->written[i];
		q->written[i] = false;
	}
}

/* Answers whether it stops the guest, after a turn of 50 ms. */
static bool turn(struct qemu *q, unsigned rate)
{
	uint64_t threshold = LINK * q->limit_ms / 1000;

	if (q->dirty < threshold) {
		ask(q);
		if (q->may_stop && q->dirty < threshold)
			return true;
	}
	for (unsigned tick = 0; tick < 50 / TICK_MS; tick++) {
		for (unsigned i = 0; i < rate * TICK_MS / 1000; i++)
			q->written[next_random(q) % PAGES] = true;
		for (unsigned i = 0; i < LINK * TICK_MS / 1000 && q->dirty; q->at = (q->at + 1) % PAGES) {
			i += q->ram[q->at];
			q->dirty -= q->ram[q->at];
			q->ram[q->at] = false;
		}
	}
	return false;
}

/* Seconds until the guest is stopped; ALL_S: it never is. */
static unsigned stopped_s(unsigned rate, bool waits)
{
	static struct qemu q;
	struct wt_convergence c;

	q = (struct qemu){
		.limit_ms = LIMIT_MS, .random = 88172645463325252, .may_stop = !waits, .dirty = PAGES
	};
	for (unsigned i = 0; i < PAGES; i++)
		q.ram[i] = true;
	wt_convergence_init(&c, waits);
	for (uint64_t ms = 1000; ms < 1000 * ALL_S; ms += 50) {
		const struct wt_convergence_figures f = { .hard = ms > 10000 && rate > LINK / 2,
			.remaining_bytes = q.dirty * 4096,
			.rate_bytes_per_s = (uint64_t)LINK * 4096,
			.limit_ms = LIMIT_MS };
		unsigned todo = wt_convergence_step(&c, &f, ms * MS);

		if (todo & WT_CONVERGENCE_DO_LIMIT)
			q.limit_ms = c.turns ? WT_CONVERGENCE_NO_LIMIT_MS : LIMIT_MS;
		q.may_stop |= todo & WT_CONVERGENCE_DO_ACKNOWLEDGE;
		if (turn(&q, rate))
			return (unsigned)(ms / 1000);
		assert_true(q.limit_ms == LIMIT_MS || !q.may_stop || !waits);
	}
	return ALL_S;
}

static void it_converges(void **state)
{
	assert_in_range(stopped_s(1000, true), 15, stopped_s(1000, false) + 1);
	assert_in_range(stopped_s(4000, true), 15, stopped_s(4000, false) - 3);
	assert_in_range(stopped_s(5200, true), 15, 45);
	assert_in_range(stopped_s(5200, false), 50, ALL_S);
	assert_int_equal(stopped_s(6500, true), ALL_S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_qemu_that_does_not_wait),
		cmocka_unit_test(what_fits_at_once),
		cmocka_unit_test(what_is_little),
		cmocka_unit_test(an_easy_guest),
		cmocka_unit_test(a_long_pass),
		cmocka_unit_test(a_hard_guest),
		cmocka_unit_test(it_converges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

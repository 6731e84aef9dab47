/* SPDX-License-Identifier: BSD-3-Clause */
/* test_engine_figures.c - what the benchmarks make of times, and the pattern by which they judge a read. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "engine.h"

static void near(double value, double expected)
{
	if (value < expected - 1e-6 || value > expected + 1e-6)
		fail_msg("%f, not %f", value, expected);
}

static void test_latency(void **state)
{
	struct wt_bench_latency latency;
	uint64_t samples[1000];

	for (unsigned i = 0; i < 1000; i++)
		samples[i] = (i * 7 % 1000 + 1) * 1000; /* 1 to 1000 us, in no order */
	wt_bench_latency_of(samples, 1000, false, &latency);
	near(latency.min_us, 1);
	near(latency.max_us, 1000);
	near(latency.typical_us, 501);
	near(latency.average_us, 500.5);
	near(latency.deviation_us, 288.674990); /* sqrt((1000^2 - 1) / 12) */
	near(latency.percent_99_us, 991);
	near(latency.percent_99_9_us, 1000);
	wt_bench_latency_of(samples, 1000, true, &latency);
	near(latency.max_us, 500);
	near(latency.deviation_us, 144.337495);
}

static void test_one_sample(void **state)
{
	struct wt_bench_latency latency;
	uint64_t sample = 2500;

	wt_bench_latency_of(&sample, 1, false, &latency);
	near(latency.typical_us, 2.5);
	near(latency.percent_99_9_us, 2.5);
	near(latency.deviation_us, 0);
}

static void test_rate(void **state)
{
	near(wt_bench_rate(1 << 20, 1000000000, false), 1);
	near(wt_bench_rate(125000000, 1000000000, true), 1);
	near(wt_bench_rate(1, 0, true), 0);
}

static void test_pattern(void **state)
{
	static uint8_t memory[8192 + 5];

	wt_bench_pattern_fill(memory, sizeof memory);
	assert_true(wt_bench_pattern_compare(memory, 0, sizeof memory) == sizeof memory);
	assert_true(wt_bench_pattern_compare(memory + 4096 + 3, 4096 + 3, 77) == 77);
	assert_true(wt_bench_pattern_compare(memory, 4096, 4096) < 8); /* another page */
	memory[5000] ^= 1;
	assert_true(wt_bench_pattern_compare(memory, 0, sizeof memory) == 5000);
	assert_true(wt_bench_pattern_compare(memory + 4096, 4096, 4096) == 5000 - 4096);
}

static void test_memory(void **state)
{
	struct wt_bench_memory memory;
	struct wt_error err = { 0 };

	assert_int_equal(wt_bench_memory_open(5000, false, &memory, &err), 0);
	assert_int_equal(memory.length, 8192);
	memory.base[8191] = 1;
	wt_bench_memory_close(&memory);
	assert_null(memory.base);
}

/* More than there is, is refused. (The limit protects this machine, should it not be.) */
static void test_too_much(void **state)
{
	struct rlimit limit = { .rlim_cur = 1 << 20, .rlim_max = RLIM_INFINITY };
	struct wt_bench_memory memory;
	struct wt_error err = { 0 };

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(wt_bench_memory_open(1ull << 42, false, &memory, &err), -ENOMEM);
	assert_non_null(strstr(wt_error_text(&err), "there is no memory of 4398046511104 bytes"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_latency),
		cmocka_unit_test(test_one_sample),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_pattern),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_too_much),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

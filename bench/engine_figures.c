/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine_figures.c - what is made of measured times. Pure.
 *
 * As perftest does it: the typical latency is the median, a percentile is the sample at that part of the
 * sorted ones, the deviation is that of all samples.
 */
#include "engine.h"

#include <stdlib.h>

static int compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

/* Newton's; libm would be the only reason to link it. */
static double square_root(double value)
{
	double root = value > 1 ? value : 1;

	for (int i = 0; i < 64; i++)
		root = (root + value / root) / 2;
	return value > 0 ? root : 0;
}

static double sample(const uint64_t *samples_ns, size_t number)
{
	return (double)samples_ns[number];
}

void wt_bench_latency_of(uint64_t *samples_ns, size_t count, bool halves, struct wt_bench_latency *ret)
{
	double scale = halves ? 2000.0 : 1000.0, sum = 0, squares = 0, average;

	qsort(samples_ns, count, sizeof *samples_ns, compare);
	for (size_t i = 0; i < count; i++)
		sum += (double)samples_ns[i];
	average = sum / (double)count;
	for (size_t i = 0; i < count; i++)
		squares += ((double)samples_ns[i] - average) * ((double)samples_ns[i] - average);
	*ret = (struct wt_bench_latency){
		.min_us = (double)samples_ns[0] / scale,
		.max_us = (double)samples_ns[count - 1] / scale,
		.typical_us = sample(samples_ns, count / 2) / scale,
		.average_us = average / scale,
		.deviation_us = square_root(squares / (double)count) / scale,
		.percent_99_us = sample(samples_ns, count * 99 / 100) / scale,
		.percent_99_9_us = sample(samples_ns, count * 999 / 1000) / scale,
	};
}

double wt_bench_rate(uint64_t bytes, uint64_t ns, bool gbits)
{
	if (!ns)
		return 0;
	return gbits ? (double)bytes * 8 / (double)ns : (double)bytes / 1048576.0 / ((double)ns / 1e9);
}

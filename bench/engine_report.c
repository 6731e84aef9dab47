/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine_report.c - what a test says: perftest's tables, column for column, or JSON, an object a line.
 */
#include "engine.h"

#include <stdio.h>

#define LINE "---------------------------------------------------------------------------------------\n"

void wt_bench_waits_say(const struct wt_bench_options *options, uint16_t port)
{
	if (options->json)
		printf("{\"port\": %u}\n", port);
	else
		printf("\n************************************\n"
		       "* Waiting for client to connect... *  port %u\n"
		       "************************************\n",
			port);
	fflush(stdout);
}

void wt_bench_bandwidth_head(const struct wt_bench_options *options)
{
	const char *unit = options->report_gbits ? "Gb/sec" : "MiB/sec";

	if (!options->json)
		printf(LINE " #bytes     #iterations    BW peak[%s]    BW average[%s]   MsgRate[Mpps]\n",
			unit, unit);
}

static void common_json(const struct wt_bench_test *test, const struct wt_bench_options *options,
	uint64_t bytes, uint64_t iterations)
{
	printf("{\"test\": \"%s\", \"fabric\": \"%s\", \"bytes\": %llu, \"iterations\": %llu, \"paths\": %llu, ",
		test->name, wt_fabric_name(options->fabric), (unsigned long long)bytes,
		(unsigned long long)iterations, (unsigned long long)options->paths);
}

void wt_bench_bandwidth_say(const struct wt_bench_test *test, const struct wt_bench_options *options,
	const struct wt_bench_result *result)
{
	bool gbits = options->report_gbits && !options->json;
	double peak = wt_bench_rate(result->peak_bytes, result->peak_ns, gbits);
	double average = wt_bench_rate(result->total_bytes, result->ns, gbits);
	double messages = result->ns ? (double)result->iterations * 1e3 / (double)result->ns : 0;

	if (!options->json) {
		printf(" %-7llu    %-10llu     %-7.2f            %-7.2f\t\t     %-7.6f\n",
			(unsigned long long)result->bytes, (unsigned long long)result->iterations, peak,
			average, messages);
		return;
	}
	common_json(test, options, result->bytes, result->iterations);
	printf("\"tx_depth\": %llu, \"post_list\": %llu, \"scattered\": %s, \"bw_peak_mib_s\": %.4f, "
	       "\"bw_average_mib_s\": %.4f, \"msg_rate_mpps\": %.6f, \"seconds\": %.6f, \"cpu_seconds\": %.6f}\n",
		(unsigned long long)result->tx_depth, (unsigned long long)options->post_list,
		options->scattered ? "true" : "false", peak, average, messages, (double)result->ns / 1e9,
		(double)result->cpu_ns / 1e9);
}

void wt_bench_latency_head(const struct wt_bench_options *options)
{
	if (!options->json)
		printf(LINE
			" #bytes #iterations    t_min[usec]    t_max[usec]  t_typical[usec]    t_avg[usec]    "
			"t_stdev[usec]   99%% percentile[usec]   99.9%% percentile[usec] \n");
}

void wt_bench_latency_say(const struct wt_bench_test *test, const struct wt_bench_options *options,
	uint64_t bytes, uint64_t iterations, const struct wt_bench_latency *latency)
{
	if (!options->json) {
		printf(" %-7llu %llu          %-7.2f        %-7.2f      %-7.2f  \t       %-7.2f     \t%-7.2f\t\t%-7.2f "
		       "\t\t%-7.2f\n",
			(unsigned long long)bytes, (unsigned long long)iterations, latency->min_us,
			latency->max_us, latency->typical_us, latency->average_us, latency->deviation_us,
			latency->percent_99_us, latency->percent_99_9_us);
		return;
	}
	common_json(test, options, bytes, iterations);
	printf("\"t_min_us\": %.3f, \"t_max_us\": %.3f, \"t_typical_us\": %.3f, \"t_avg_us\": %.3f, "
	       "\"t_stdev_us\": %.3f, \"t_99_us\": %.3f, \"t_99_9_us\": %.3f}\n",
		latency->min_us, latency->max_us, latency->typical_us, latency->average_us,
		latency->deviation_us, latency->percent_99_us, latency->percent_99_9_us);
}

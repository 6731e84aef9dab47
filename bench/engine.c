/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine.c - the table of tests, and the main of each program.
 */
#include "engine.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const struct wt_bench_test tests[] = {
	{ "wt_read_bw", "how many bytes a second reads of the other end's memory bring", WT_BENCH_READ_BW,
		65536, WT_PATH_READ_MAX, wt_bench_read_wait, wt_bench_read_bw },
	{ "wt_read_lat", "how long one read of the other end's memory takes", WT_BENCH_READ_LAT, 2,
		WT_PATH_READ_MAX, wt_bench_read_wait, wt_bench_read_lat },
	{ "wt_send_lat", "how long a message takes over the control connection", WT_BENCH_SEND_LAT, 2,
		1u << 20, wt_bench_send_wait, wt_bench_send_lat },
	{ "wt_multi_bw", "how fast one memory comes from many servers; the end that waits pulls",
		WT_BENCH_MULTI_BW, 256u << 20, 1ull << 42, wt_bench_multi_pull, wt_bench_multi_serve },
	{ "wt_vm_bw", "how fast a whole guest moves that writes meanwhile; the end that waits pulls",
		WT_BENCH_VM_BW, 256u << 20, 1ull << 42, wt_bench_vm_pull, wt_bench_vm_serve },
};

uint64_t wt_bench_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * WT_BENCH_SECOND_NS + (uint64_t)t.tv_nsec;
}

uint64_t wt_bench_cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * WT_BENCH_SECOND_NS + (uint64_t)t.tv_nsec;
}

const struct wt_bench_test *wt_bench_find(const char *name)
{
	for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
		if (!strcmp(tests[i].name, name))
			return &tests[i];
	}
	return NULL;
}

int wt_bench_main(const char *name, int argc, char **argv)
{
	const struct wt_bench_test *test = wt_bench_find(name);
	struct wt_bench_options options;
	struct wt_error err = { 0 };
	int status;

	assert(test); /* names are the programs' own */
	status = wt_bench_options_parse(test, argc, argv, &options, &err);

	if (status < 0) {
		fprintf(stderr, "%s: %s\n", name, wt_error_text(&err));
		return 2;
	}
	if (options.help) {
		wt_bench_options_help(test);
		return 0;
	}
	if (options.version) {
		printf("%s %s\n", name, WATARI_VERSION);
		return 0;
	}
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	status = options.host ? test->call(test, &options, &err) : test->wait(test, &options, &err);
	if (status < 0)
		fprintf(stderr, "%s: %s\n", name, wt_error_text(&err));
	return status < 0;
}

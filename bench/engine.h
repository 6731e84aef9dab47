/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine.h - the engine of the benchmarks wt_*: one table of tests, and what they share.
 *
 * A program is a main that names a test; without a host it is the end that waits, with one the end that
 * calls. The end that calls decides what is done; the other one takes from its command line only where it
 * listens, its device, its key and how it speaks. Everything is built on transport's public headers.
 * Threads: one, but for those of the fabrics.
 */
#ifndef WATARI_BENCH_ENGINE_H
#define WATARI_BENCH_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/error.h>
#include <watari/path.h>

#define WT_BENCH_PORT 18515 /* perftest's */
#define WT_BENCH_PATHS_MAX 64u
#define WT_BENCH_DEPTH_MAX 4096u /* a fabric allows less: its paths say how much */
#define WT_BENCH_ITERATIONS_MAX 10000000u
#define WT_BENCH_SECOND_NS 1000000000ull
#define WT_BENCH_WAIT_NS (10 * WT_BENCH_SECOND_NS) /* for an answer of the other end */

enum wt_bench_kind {
	WT_BENCH_READ_BW = 1,
	WT_BENCH_READ_LAT = 2,
	WT_BENCH_SEND_LAT = 4,
	WT_BENCH_MULTI_BW = 8,
	WT_BENCH_VM_BW = 16,
};

/* Numbers are all uint64_t, so that one table of options can fill them. */
struct wt_bench_options {
	const char *host; /* NULL: this end waits */
	const char *device, *fabric_name, *psk_file;
	enum wt_fabric fabric;
	uint64_t port, size, iterations, duration_s, paths, tx_depth, post_list, memory, spin_us;
	uint64_t servers, number;
	uint64_t blocks, dirty, downtime_ms, passes;
	bool all, events, report_gbits, json, huge, scattered, check, data_plain, help, version;
};

struct wt_bench_test {
	const char *name, *what;
	enum wt_bench_kind kind;
	uint64_t size, size_max; /* bytes */
	int (*wait)(const struct wt_bench_test *test, const struct wt_bench_options *options,
		struct wt_error *err);
	int (*call)(const struct wt_bench_test *test, const struct wt_bench_options *options,
		struct wt_error *err);
};

/* engine.c: the table; main's whole work. Exit codes: 0, 1 it failed, 2 the command line was wrong. */
const struct wt_bench_test *wt_bench_find(const char *name);
int wt_bench_main(const char *name, int argc, char **argv);

/* engine_options.c: pure. Strings stay argv's. */
int wt_bench_options_parse(const struct wt_bench_test *test, int argc, char **argv,
	struct wt_bench_options *ret_options, struct wt_error *err);
void wt_bench_options_help(const struct wt_bench_test *test);
/* The sizes of -a, or the one of -s: the first, and what follows one (0: nothing). */
uint64_t wt_bench_size_first(const struct wt_bench_options *options);
uint64_t wt_bench_size_next(
	const struct wt_bench_test *test, const struct wt_bench_options *options, uint64_t size);

/* engine_figures.c: pure. */
struct wt_bench_latency {
	double min_us, max_us, typical_us, average_us, deviation_us, percent_99_us, percent_99_9_us;
};
/* Sorts the samples; count > 0. halves: a sample is a round trip, and half of it is asked for. */
void wt_bench_latency_of(uint64_t *samples_ns, size_t count, bool halves, struct wt_bench_latency *ret);
double wt_bench_rate(uint64_t bytes, uint64_t ns, bool gbits); /* MiB/s or Gbit/s */

/* engine_report.c: tables as perftest prints them, or one JSON object a line. */
struct wt_bench_result {
	uint64_t bytes, iterations, total_bytes, ns, peak_bytes, peak_ns, cpu_ns, tx_depth;
};
void wt_bench_bandwidth_head(const struct wt_bench_options *options);
void wt_bench_bandwidth_say(const struct wt_bench_test *test, const struct wt_bench_options *options,
	const struct wt_bench_result *result);
void wt_bench_latency_head(const struct wt_bench_options *options);
void wt_bench_latency_say(const struct wt_bench_test *test, const struct wt_bench_options *options,
	uint64_t bytes, uint64_t iterations, const struct wt_bench_latency *latency);
void wt_bench_waits_say(const struct wt_bench_options *options, uint16_t port);

/* engine_memory.c: memory that holds a pattern, which tells each of its words from every other. */
struct wt_bench_memory {
	uint8_t *base;
	size_t length; /* rounded up to pages, or to huge pages */
	int fd;
};
int wt_bench_memory_open(uint64_t length, bool huge, struct wt_bench_memory *ret, struct wt_error *err);
void wt_bench_memory_close(struct wt_bench_memory *memory);
void wt_bench_pattern_fill(uint8_t *base, uint64_t length);
/* Answers the first offset at which base is not the pattern's [offset, offset + length), or length. */
uint64_t wt_bench_pattern_compare(const uint8_t *base, uint64_t offset, uint64_t length);

/* engine_meet.c: the two ends tell each other what is read and where. */
struct wt_bench_order {
	uint32_t fabric, paths, huge;
	uint64_t memory;
	uint8_t hello[WT_PATH_HELLO_BYTES]; /* of the paths */
};
struct wt_bench_offer {
	uint16_t port; /* of the paths' listener */
	struct wt_key key;
};
int wt_bench_meet_listen(uint16_t port, int *ret_socket, uint16_t *ret_port, struct wt_error *err);
/* Waits for the caller; ret_host is its address. */
int wt_bench_meet_accept(int listening, int *ret_socket, char ret_host[64], struct wt_bench_order *ret_order,
	struct wt_error *err);
int wt_bench_meet_offer(int socket, const struct wt_bench_offer *offer);
int wt_bench_meet_refuse(int socket, const struct wt_error *why);
int wt_bench_meet_call(const char *host, uint16_t port, const struct wt_bench_order *order, int *ret_socket,
	struct wt_bench_offer *ret_offer, struct wt_error *err);

/* The tests. */
int wt_bench_read_wait(
	const struct wt_bench_test *test, const struct wt_bench_options *options, struct wt_error *err);
int wt_bench_read_bw(
	const struct wt_bench_test *test, const struct wt_bench_options *options, struct wt_error *err);
int wt_bench_read_lat(
	const struct wt_bench_test *test, const struct wt_bench_options *options, struct wt_error *err);
int wt_bench_send_wait(
	const struct wt_bench_test *test, const struct wt_bench_options *options, struct wt_error *err);
int wt_bench_send_lat(
	const struct wt_bench_test *test, const struct wt_bench_options *options, struct wt_error *err);
int wt_bench_multi_pull(
	const struct wt_bench_test *test, const struct wt_bench_options *options, struct wt_error *err);
int wt_bench_multi_serve(
	const struct wt_bench_test *test, const struct wt_bench_options *options, struct wt_error *err);
int wt_bench_vm_pull(
	const struct wt_bench_test *test, const struct wt_bench_options *options, struct wt_error *err);
int wt_bench_vm_serve(
	const struct wt_bench_test *test, const struct wt_bench_options *options, struct wt_error *err);

uint64_t wt_bench_now_ns(void);
uint64_t wt_bench_cpu_ns(void); /* of this process, system time included */

#endif

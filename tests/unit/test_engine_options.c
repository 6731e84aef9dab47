/* SPDX-License-Identifier: BSD-3-Clause */
/* test_engine_options.c - command lines of the benchmarks: what is taken, and the sentence for what is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine.h"

#define WORDS_MAX 20

static struct wt_bench_options options;
static struct wt_error err;

/* Parses "name word word ..."; the words stay where they are. */
static int parse(const char *line)
{
	static char text[256];
	char *argv[WORDS_MAX + 2] = { 0 };
	int argc = 0;

	wt_error_clear(&err);
	assert_true(strlen(line) < sizeof text);
	strcpy(text, line);
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) {
		assert_true(argc <= WORDS_MAX);
		argv[argc++] = word;
	}
	return wt_bench_options_parse(wt_bench_find(argv[0]), argc, argv, &options, &err);
}

static void refused(const char *line, const char *part)
{
	assert_true(parse(line) < 0);
	if (!strstr(wt_error_text(&err), part))
		fail_msg("%s: \"%s\" lacks \"%s\"", line, wt_error_text(&err), part);
	assert_null(strchr(wt_error_text(&err), '\n'));
}

static void test_defaults(void **state)
{
	assert_int_equal(parse("wt_read_bw --fabric tcp"), 0);
	assert_null(options.host);
	assert_int_equal(options.port, 18515);
	assert_int_equal(options.size, 65536);
	assert_int_equal(options.iterations, 1000);
	assert_int_equal(options.paths, 1);
	assert_int_equal(options.fabric, WT_FABRIC_TCP);
	assert_int_equal(options.memory, 2 * 65536);
	assert_true(options.spin_us == UINT64_MAX);
	assert_int_equal(parse("wt_read_lat --fabric tcp"), 0);
	assert_int_equal(options.size, 2);
	assert_int_equal(parse("wt_read_bw"), 0);
	assert_int_equal(options.fabric, wt_fabric_ops(WT_FABRIC_VERBS) ? WT_FABRIC_VERBS : WT_FABRIC_TCP);
}

static void test_perftest_line(void **state)
{
	assert_int_equal(parse("wt_read_bw -d mlx5_0 -p 7 -s 1M -n 5000 -q 4 -t 64 -Q 8 -F -R 10.0.0.1"), 0);
	assert_string_equal(options.host, "10.0.0.1");
	assert_string_equal(options.device, "mlx5_0");
	assert_int_equal(options.port, 7);
	assert_int_equal(options.size, 1 << 20);
	assert_int_equal(options.iterations, 5000);
	assert_int_equal(options.paths, 4);
	assert_int_equal(options.tx_depth, 64);
	assert_int_equal(options.post_list, 8);
	assert_int_equal(parse("wt_read_bw host --ib-dev=a --size=2K --report_gbits -D 3 -e --huge"), 0);
	assert_true(options.report_gbits && options.events && options.huge);
	assert_int_equal(options.duration_s, 3);
	assert_int_equal(options.spin_us, 0);
	assert_int_equal(parse("wt_multi_bw -s 8M --servers 3 -q 1"), 0);
	assert_int_equal(options.servers, 3);
}

static void test_memory(void **state)
{
	assert_int_equal(parse("wt_read_bw --scattered -s 4096"), 0);
	assert_int_equal(options.memory, 32 << 20);
	assert_int_equal(parse("wt_read_bw --scattered -s 1M -q 64"), 0);
	assert_true(options.memory >= 64ull << 20); /* a place for each path */
	assert_int_equal(parse("wt_read_bw -a"), 0);
	assert_true(options.memory >= WT_PATH_READ_MAX);
	assert_int_equal(parse("wt_read_bw --memory 1G"), 0);
	assert_true(options.memory == 1ull << 30);
	refused("wt_read_bw -s 64K -q 2 --memory 64K", "--memory must hold");
}

static void test_sizes(void **state)
{
	const struct wt_bench_test *test = wt_bench_find("wt_read_bw");
	unsigned count = 0;

	assert_int_equal(parse("wt_read_bw -a"), 0);
	for (uint64_t size = wt_bench_size_first(&options); size;
		size = wt_bench_size_next(test, &options, size)) {
		assert_true(size == 2ull << count);
		count++;
	}
	assert_int_equal(count, 20); /* 2 bytes to 1 MiB */
	assert_int_equal(parse("wt_read_bw -s 12345"), 0);
	assert_int_equal(wt_bench_size_first(&options), 12345);
	assert_int_equal(wt_bench_size_next(test, &options, 12345), 0);
}

static void test_refusals(void **state)
{
	refused("wt_read_bw -s", "-s takes a value");
	refused("wt_read_bw --size", "takes a value");
	refused("wt_read_bw -Z", "there is no option -Z");
	refused("wt_read_bw --zzz", "there is no option --zzz");
	refused("wt_read_bw -s ten", "-s takes a number");
	refused("wt_read_bw -s 10T", "-s takes a number");
	refused("wt_read_bw -s -5", "-s takes a number");
	refused("wt_read_bw -s 99999999999999999999", "-s takes a number");
	refused("wt_read_bw -s 99999999999999999G", "-s takes a number");
	refused("wt_read_bw -s 0", "-s takes 1 to");
	refused("wt_read_bw -s 2M", "-s takes at most 1048576");
	refused("wt_read_bw -n 1", "-n takes 5 to");
	refused("wt_read_bw -p 65536", "-p takes 0 to 65535");
	refused("wt_read_bw -p 0 host", "-p 0 means any port");
	refused("wt_read_bw -q 65", "-q takes 1 to 64");
	refused("wt_read_bw a b", "one host at most");
	refused("wt_read_bw -e --spin 5", "contradict");
	refused("wt_read_bw --fabric roce", "--fabric takes verbs or tcp");
	refused("wt_read_lat -q 2", "-q has no meaning for wt_read_lat");
	refused("wt_send_lat --huge", "--huge has no meaning for wt_send_lat");
	refused("wt_send_lat --fabric verbs", "control connection");
	refused("wt_multi_bw -n 10", "-n has no meaning for wt_multi_bw");
	refused("wt_multi_bw -s 5000", "whole pages");
	refused("wt_multi_bw --servers 9", "--servers takes 1 to 8");
}

/* What was refused leaves the options as they were. */
static void test_untouched(void **state)
{
	assert_int_equal(parse("wt_read_bw -q 3"), 0);
	refused("wt_read_bw -q 4 -s 0", "-s");
	assert_int_equal(options.paths, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_perftest_line),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_untouched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine_options.c - the command line, by one table. Pure, but for the help, which it prints.
 *
 * Letters and names are perftest's where perftest has the option. An option that a test cannot heed is
 * refused; only those that ask for what is so anyway (-F, -R) are taken and ignored.
 */
#include "engine.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READS (WT_BENCH_READ_BW | WT_BENCH_READ_LAT)
#define WHOLE (WT_BENCH_MULTI_BW | WT_BENCH_VM_BW)
#define ALL (READS | WT_BENCH_SEND_LAT | WHOLE)
#define LONG_ONLY 256 /* and up: no letter */
#define RULES_MAX 40
#define BLOCKS_MAX 16
#define SCATTERED_BYTES (32u << 20)

enum form { FLAG, NUMBER, TEXT, IGNORED };

struct rule {
	int letter;
	const char *name;
	enum form form;
	unsigned tests; /* that have it */
	size_t field;
	uint64_t min, max; /* of a NUMBER */
	const char *help;
};

#define FIELD(name) offsetof(struct wt_bench_options, name)
static const struct rule rules[] = {
	{ 'd', "ib-dev", TEXT, READS | WT_BENCH_VM_BW, FIELD(device), 0, 0,
		"use this RDMA device, or network interface of tcp" },
	{ 'p', "port", NUMBER, ALL, FIELD(port), 0, 65535, "listen on, or call, this port (default 18515)" },
	{ 's', "size", NUMBER, ALL, FIELD(size), 1, UINT64_MAX,
		"bytes of a read or message; of the memory (wt_multi_bw, wt_vm_bw)" },
	{ 'a', "all", FLAG, READS | WT_BENCH_SEND_LAT, FIELD(all), 0, 0, "all sizes, 2 bytes to 1 MiB" },
	{ 'n', "iters", NUMBER, READS | WT_BENCH_SEND_LAT, FIELD(iterations), 5, WT_BENCH_ITERATIONS_MAX,
		"how many reads on each path, or messages (default 1000)" },
	{ 'D', "duration", NUMBER, READS | WT_BENCH_SEND_LAT, FIELD(duration_s), 1, 86400,
		"run for so many seconds" },
	{ 'q', "qp", NUMBER, WT_BENCH_READ_BW | WHOLE, FIELD(paths), 1, WT_BENCH_PATHS_MAX,
		"how many paths: queue pairs, or sockets" },
	{ 't', "tx-depth", NUMBER, WT_BENCH_READ_BW, FIELD(tx_depth), 1, WT_BENCH_DEPTH_MAX,
		"reads under way on a path (default: all that it allows)" },
	{ 'l', "post_list", NUMBER, WT_BENCH_READ_BW, FIELD(post_list), 1, WT_BENCH_DEPTH_MAX,
		"post only when so many reads can be chained (default 1)" },
	{ 'Q', "cq-mod", NUMBER, WT_BENCH_READ_BW, FIELD(post_list), 1, WT_BENCH_DEPTH_MAX,
		"the same: the last read of a chain is signalled" },
	{ 'e', "events", FLAG, READS, FIELD(events), 0, 0,
		"sleep when there is nothing to do (default: poll)" },
	{ LONG_ONLY, "spin", NUMBER, READS, FIELD(spin_us), 0, 1000000,
		"poll for so many microseconds, then sleep" },
	{ LONG_ONLY + 1, "fabric", TEXT, ALL, FIELD(fabric_name), 0, 0,
		"verbs or tcp (default verbs, if it is built in)" },
	{ LONG_ONLY + 2, "report_gbits", FLAG, WT_BENCH_READ_BW | WHOLE, FIELD(report_gbits), 0, 0,
		"Gbit/s instead of MiB/s" },
	{ LONG_ONLY + 3, "json", FLAG, ALL, FIELD(json), 0, 0, "JSON, one object a line; rates in MiB/s" },
	{ LONG_ONLY + 4, "huge", FLAG, READS | WHOLE, FIELD(huge), 0, 0, "memory in huge pages of 2 MiB" },
	{ LONG_ONLY + 5, "memory", NUMBER, READS, FIELD(memory), 1, 1ull << 42,
		"walk through so much memory (default: as perftest, the same small piece)" },
	{ LONG_ONLY + 6, "scattered", FLAG, READS, FIELD(scattered), 0, 0,
		"read from random places of the memory (default 32 MiB)" },
	{ LONG_ONLY + 7, "check", FLAG, READS, FIELD(check), 0, 0,
		"compare all memory before timing, not only a read of each path" },
	{ LONG_ONLY + 8, "psk", TEXT, WT_BENCH_SEND_LAT | WHOLE, FIELD(psk_file), 0, 0,
		"file with a pre-shared key; without one only on loopback" },
	{ LONG_ONLY + 9, "servers", NUMBER, WT_BENCH_MULTI_BW, FIELD(servers), 1, 8,
		"wait for so many servers (default 1)" },
	{ LONG_ONLY + 10, "number", NUMBER, WT_BENCH_MULTI_BW, FIELD(number), 0, 7,
		"which server this is; number 0 comes first (default 0)" },
	{ LONG_ONLY + 11, "blocks", NUMBER, WT_BENCH_VM_BW, FIELD(blocks), 1, BLOCKS_MAX,
		"blocks of the memory, the same at both ends (default 3)" },
	{ LONG_ONLY + 12, "dirty", NUMBER, WT_BENCH_VM_BW, FIELD(dirty), 0, 1u << 30,
		"pages that the guest writes in a second (default 0)" },
	{ LONG_ONLY + 13, "downtime-limit", NUMBER, WT_BENCH_VM_BW, FIELD(downtime_ms), 0, 2000000,
		"milliseconds: the guest stops when the rest fits into them (default 300)" },
	{ LONG_ONLY + 14, "passes", NUMBER, WT_BENCH_VM_BW, FIELD(passes), 1, 100000,
		"the guest stops after so many passes at the latest (default 30)" },
	{ LONG_ONLY + 15, "data-plain", FLAG, WHOLE, FIELD(data_plain), 0, 0,
		"with a key: data over tcp is not encrypted; said at both ends" },
	{ 'F', "CPU-freq", IGNORED, ALL, 0, 0, 0, "ignored: nothing is said about the clock" },
	{ 'R', "rdma_cm", IGNORED, ALL, 0, 0, 0, "ignored: verbs always connect by rdma_cm" },
	{ 'h', "help", FLAG, ALL, FIELD(help), 0, 0, "this text" },
	{ 'V', "version", FLAG, ALL, FIELD(version), 0, 0, "the version" },
};
#define RULES (sizeof rules / sizeof rules[0])

static const struct rule *rule_of(int letter)
{
	for (size_t i = 0; i < RULES; i++) {
		if (rules[i].letter == letter)
			return &rules[i];
	}
	return NULL;
}

static bool takes_value(const struct rule *rule)
{
	return rule->form == NUMBER || rule->form == TEXT;
}

/* "-q" or "--json", as a person types it. */
static void spell(const struct rule *rule, char *text, size_t size)
{
	if (rule->letter < LONG_ONLY)
		snprintf(text, size, "-%c", rule->letter);
	else
		snprintf(text, size, "--%s", rule->name);
}

static int number(const struct rule *rule, const char *text, uint64_t *ret_value, struct wt_error *err)
{
	char spelt[32], *end;
	unsigned long long value;
	unsigned shift = 0;

	spell(rule, spelt, sizeof spelt);
	errno = 0;
	value = strtoull(text, &end, 10);
	if (*end == 'K' || *end == 'M' || *end == 'G')
		shift = *end == 'K' ? 10 : *end == 'M' ? 20 : 30;
	end += shift > 0;
	if (*text < '0' || *text > '9' || *end || errno || value > UINT64_MAX >> shift)
		return wt_error_set(err, EINVAL, "%s takes a number, also with K, M or G behind it, not '%s'",
			spelt, text);
	value <<= shift;
	if (value < rule->min || value > rule->max)
		return wt_error_set(err, EINVAL, "%s takes %llu to %llu, not %s", spelt,
			(unsigned long long)rule->min, (unsigned long long)rule->max, text);
	*ret_value = value;
	return 0;
}

static int take(const struct wt_bench_test *test, const struct rule *rule, const char *text,
	struct wt_bench_options *options, struct wt_error *err)
{
	void *field;
	char spelt[32];

	assert(rule); /* getopt knows no other letters */
	field = (char *)options + rule->field;
	if (!(rule->tests & test->kind)) {
		spell(rule, spelt, sizeof spelt);
		return wt_error_set(
			err, EINVAL, "%s has no meaning for %s; see %s -h", spelt, test->name, test->name);
	}
	switch (rule->form) {
	case FLAG:
		*(bool *)field = true;
		break;
	case NUMBER:
		return number(rule, text, field, err);
	case TEXT:
		*(const char **)field = text;
		break;
	case IGNORED:
		break;
	}
	return 0;
}

static int fabric_choose(
	const struct wt_bench_test *test, struct wt_bench_options *options, struct wt_error *err)
{
	static const enum wt_fabric known[] = { WT_FABRIC_VERBS, WT_FABRIC_TCP };

	if (test->kind == WT_BENCH_SEND_LAT) {
		if (options->fabric_name && strcmp(options->fabric_name, "tcp") != 0)
			return wt_error_set(err, EINVAL,
				"watari's messages travel over the control connection, which is always tcp; leave --fabric out");
		options->fabric = WT_FABRIC_TCP;
		return 0;
	}
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		if (options->fabric_name ? strcmp(options->fabric_name, wt_fabric_name(known[i])) != 0
					 : !wt_fabric_ops(known[i]))
			continue;
		if (!wt_fabric_ops(known[i]))
			return wt_error_set(err, ENOTSUP,
				"this build has no verbs; build with -DWATARI_VERBS=ON, or say --fabric tcp");
		options->fabric = known[i];
		return 0;
	}
	return wt_error_set(err, EINVAL, "--fabric takes verbs or tcp, not '%s'", options->fabric_name);
}

/* What no single option can know. */
static int settle(const struct wt_bench_test *test, struct wt_bench_options *options, struct wt_error *err)
{
	uint64_t largest = options->all ? test->size_max : options->size;

	if (options->size > test->size_max)
		return wt_error_set(err, EINVAL, "-s takes at most %llu bytes here, not %llu",
			(unsigned long long)test->size_max, (unsigned long long)options->size);
	if (test->kind & WHOLE && options->size % 4096)
		return wt_error_set(
			err, EINVAL, "-s is the memory's size here, and takes whole pages of 4096 bytes");
	if (test->kind == WT_BENCH_VM_BW && options->size < 4096 * options->blocks)
		return wt_error_set(err, EINVAL, "-s must hold a page of 4096 bytes for each of %llu blocks",
			(unsigned long long)options->blocks);
	if (options->events && options->spin_us != UINT64_MAX)
		return wt_error_set(err, EINVAL, "-e and --spin contradict each other; give one of them");
	if (options->events)
		options->spin_us = 0;
	if (options->memory && options->memory < largest * options->paths)
		return wt_error_set(err, EINVAL,
			"--memory must hold a read of %llu bytes for each of %llu paths",
			(unsigned long long)largest, (unsigned long long)options->paths);
	if (!options->memory)
		options->memory = options->scattered ? SCATTERED_BYTES : 0;
	if (options->memory < largest * options->paths)
		options->memory = 2 * largest * options->paths;
	return fabric_choose(test, options, err);
}

/* getopt's two tables. */
static void forms(char *ret_letters, struct option *ret_names)
{
	*ret_letters++ = ':';
	for (size_t i = 0; i < RULES; i++) {
		*ret_names++ = (struct option){ rules[i].name,
			takes_value(&rules[i]) ? required_argument : no_argument, NULL, rules[i].letter };
		if (rules[i].letter >= LONG_ONLY)
			continue;
		*ret_letters++ = (char)rules[i].letter;
		if (takes_value(&rules[i]))
			*ret_letters++ = ':';
	}
	*ret_letters = 0;
	*ret_names = (struct option){ 0 };
}

int wt_bench_options_parse(const struct wt_bench_test *test, int argc, char **argv,
	struct wt_bench_options *ret_options, struct wt_error *err)
{
	struct wt_bench_options options = { .port = WT_BENCH_PORT,
		.size = test->size,
		.iterations = 1000,
		.paths = test->kind & WHOLE ? 2 : 1,
		.tx_depth = WT_BENCH_DEPTH_MAX,
		.post_list = 1,
		.spin_us = UINT64_MAX,
		.servers = 1,
		.blocks = 3,
		.downtime_ms = 300,
		.passes = 30 };
	char letters[2 * RULES_MAX + 2];
	struct option names[RULES_MAX + 1];
	int letter, status = 0;

	_Static_assert(RULES <= RULES_MAX, "getopt's tables");
	forms(letters, names);
	optind = 0;
	opterr = 0;
	while (!status && (letter = getopt_long(argc, argv, letters, names, NULL)) != -1) {
		if (letter == '?')
			return wt_error_set(err, EINVAL, "there is no option %s; see %s -h", argv[optind - 1],
				test->name);
		if (letter == ':')
			return wt_error_set(
				err, EINVAL, "%s takes a value; see %s -h", argv[optind - 1], test->name);
		status = take(test, rule_of(letter), optarg, &options, err);
	}
	if (status < 0)
		return status;
	if (argc - optind > 1)
		return wt_error_set(
			err, EINVAL, "there is one host at most, and '%s' is a second one", argv[optind + 1]);
	options.host = argv[optind];
	if (options.host && !options.port)
		return wt_error_set(
			err, EINVAL, "-p 0 means any port, which only the end that waits can choose");
	status = settle(test, &options, err);
	if (status >= 0)
		*ret_options = options;
	return status;
}

void wt_bench_options_help(const struct wt_bench_test *test)
{
	printf("%s - %s\n\n  %s [options]         waits\n  %s [options] HOST    calls, and decides what is done\n\n",
		test->name, test->what, test->name, test->name);
	for (size_t i = 0; i < RULES; i++) {
		const struct rule *rule = &rules[i];
		char spelt[48];

		if (!(rule->tests & test->kind))
			continue;
		snprintf(spelt, sizeof spelt, "--%s%s", rule->name, takes_value(rule) ? "=..." : "");
		if (rule->letter < LONG_ONLY)
			printf("  -%c, %-20s %s\n", rule->letter, spelt, rule->help);
		else
			printf("      %-20s %s\n", spelt, rule->help);
	}
}

uint64_t wt_bench_size_first(const struct wt_bench_options *options)
{
	return options->all ? 2 : options->size;
}

uint64_t wt_bench_size_next(
	const struct wt_bench_test *test, const struct wt_bench_options *options, uint64_t size)
{
	return options->all && size < test->size_max ? size * 2 : 0;
}

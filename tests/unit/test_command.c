/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_command.c - command lines of `send`, `receive` and `retarget`: what they mean, and which ones are
 * refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../../qemu-glue/command.h"

#define SECOND 1000000000ull
#define WORDS_MAX 24

/* A command line in memory that getopt may reorder and the parser may cut. */
struct line {
	char text[512], *words[WORDS_MAX];
	int count;
};

static struct line *split(const char *text)
{
	static struct line line;
	char *save, *word;

	snprintf(line.text, sizeof line.text, "watari %s", text);
	line.count = 0;
	for (word = strtok_r(line.text, " ", &save); word; word = strtok_r(NULL, " ", &save))
		line.words[line.count++] = word;
	line.words[line.count] = NULL;
	optind = 0;
	return &line;
}

static int parse_send(const char *text, struct wt_source_options *ret_options)
{
	struct line *line = split(text);

	return wt_command_send_options(line->count, line->words, ret_options);
}

static int parse_receive(const char *text, struct wt_destination_options *ret_options)
{
	struct line *line = split(text);

	return wt_command_receive_options(line->count, line->words, ret_options);
}

#define BASE "--qmp /run/q --psk /k "

static void test_defaults(void **state)
{
	struct wt_source_options o;
	struct wt_destination_options d;

	assert_int_equal(parse_send(BASE "host:4711/web1", &o), WT_COMMAND_RUN);
	assert_string_equal(o.common.qmp_path, "/run/q");
	assert_string_equal(o.common.name, "web1");
	assert_string_equal(o.peer.host, "host");
	assert_int_equal(o.peer.port, 4711);
	assert_int_equal(o.downtime_limit_ms, 300);
	assert_false(o.no_feed);
	assert_int_equal(parse_send(BASE "--no-feed host:4711/web1", &o), WT_COMMAND_RUN);
	assert_true(o.no_feed);
	assert_true(o.switchover_timeout_ns == 2 * SECOND);
	assert_true(o.common.reconnect_timeout_ns == 60 * SECOND);
	assert_int_equal(o.give_up_ns, 0);
	assert_int_equal(o.max_rate, 0);
	assert_false(o.auto_converge || o.verify || o.keep_source || o.shared_storage);

	assert_int_equal(parse_receive(BASE ":4711/web1", &d), WT_COMMAND_RUN);
	assert_null(d.listen.host);
	assert_true(d.common.reconnect_timeout_ns == 60 * SECOND);
	assert_int_equal(d.wait_ns, 0);
	assert_int_equal(parse_receive("--qmp q --insecure :0/a", &d), WT_COMMAND_RUN);
	assert_string_equal(d.listen.host, "127.0.0.1");
}

static void test_who_the_other_end_is(void **state)
{
	struct wt_source_options o;
	struct wt_destination_options d;

	assert_int_equal(parse_send("--qmp q --tls-creds /pki h:1/n", &o), WT_COMMAND_RUN);
	assert_string_equal(o.common.tls_creds, "/pki");
	assert_int_equal(o.common.tls_allowed_count, 0);
	assert_int_equal(
		parse_receive("--qmp q --tls-creds /pki --tls-allow a.test --tls-allow @/list :1/n", &d),
		WT_COMMAND_RUN);
	assert_int_equal(d.common.tls_allowed_count, 2);
	assert_string_equal(d.common.tls_allowed[1], "@/list");
	assert_null(d.listen.host); /* not only on loopback */
	assert_int_equal(parse_send("--qmp q h:1/n", &o), WT_EXIT_USAGE);
	assert_int_equal(parse_send(BASE "--tls-creds /pki h:1/n", &o), WT_EXIT_USAGE);
	assert_int_equal(parse_send("--qmp q --tls-creds /pki --insecure h:1/n", &o), WT_EXIT_USAGE);
	assert_int_equal(parse_send(BASE "--insecure h:1/n", &o), WT_EXIT_USAGE);
	assert_int_equal(parse_send(BASE "--tls-allow a h:1/n", &o), WT_EXIT_USAGE);
}

static void test_converging(void **state)
{
	struct wt_source_options o;

	assert_int_equal(
		parse_send(BASE "--auto-converge --max-rate 25M --give-up-after 90s --reconnect-timeout 5 "
				"--downtime-limit 1500ms h:1/n",
			&o),
		WT_COMMAND_RUN);
	assert_true(o.auto_converge);
	assert_int_equal(o.max_rate, 25000000);
	assert_true(o.give_up_ns == 90 * SECOND);
	assert_int_equal(o.dirty_sync, WT_DIRTY_SYNC_AUTO);
	assert_true(o.common.reconnect_timeout_ns == 5 * SECOND);
	assert_int_equal(o.downtime_limit_ms, 1500);
	assert_int_equal(parse_send(BASE "--dirty-sync often h:1/n", &o), WT_COMMAND_RUN);
	assert_int_equal(o.dirty_sync, WT_DIRTY_SYNC_OFTEN);
	assert_int_equal(parse_send(BASE "--dirty-sync seldom h:1/n", &o), WT_COMMAND_RUN);
	assert_int_equal(o.dirty_sync, WT_DIRTY_SYNC_SELDOM);
	assert_int_equal(parse_send(BASE "--dirty-sync never h:1/n", &o), WT_EXIT_USAGE);
}

static void test_holds(void **state)
{
	struct wt_source_options o;
	struct wt_destination_options d;

	assert_int_equal(parse_send(BASE "h:1/n", &o), WT_COMMAND_RUN);
	assert_true(o.common.hold_ns == 0);
	assert_int_equal(parse_send(BASE "--hold h:1/n", &o), WT_COMMAND_RUN);
	assert_true(o.common.hold_ns == 60 * SECOND);
	assert_int_equal(parse_receive(BASE "--hold=5s :1/n", &d), WT_COMMAND_RUN);
	assert_true(d.common.hold_ns == 5 * SECOND);
	assert_int_equal(parse_send(BASE "--hold=0 h:1/n", &o), WT_EXIT_USAGE);
	assert_int_equal(parse_send(BASE "--hold=soon h:1/n", &o), WT_EXIT_USAGE);
}

static void test_replicas(void **state)
{
	struct wt_source_options o;
	struct wt_destination_options d;

	assert_int_equal(parse_send(BASE "--keep-replica /var/kept h:1/n", &o), WT_COMMAND_RUN);
	assert_string_equal(o.keep_replica, "/var/kept");
	assert_int_equal(parse_receive(BASE "--replica /var/kept :1/n", &d), WT_COMMAND_RUN);
	assert_string_equal(d.replica, "/var/kept");
	assert_false(d.reuse_memory);
	assert_int_equal(d.replica_peer.port, 0);
	assert_int_equal(parse_receive(BASE "--replica h3:4711/n :1/n", &d), WT_COMMAND_RUN);
	assert_null(d.replica);
	assert_string_equal(d.replica_peer.host, "h3");
	assert_int_equal(d.replica_peer.port, 4711);
	assert_int_equal(parse_receive(BASE "--replica /etc/../h3:4711/n :1/n", &d), WT_EXIT_USAGE);
	assert_int_equal(parse_receive(BASE "--replica h3:4711/other :1/n", &d), WT_EXIT_USAGE);
	assert_int_equal(parse_receive(BASE "--replica :4711/n :1/n", &d), WT_EXIT_USAGE);
	assert_int_equal(parse_receive(BASE "--replica h3:0/n :1/n", &d), WT_EXIT_USAGE);
	assert_int_equal(parse_receive(BASE "--replica h3:4711/n --reuse-memory :1/n", &d), WT_EXIT_USAGE);
	assert_int_equal(parse_receive(BASE "--reuse-memory :1/n", &d), WT_COMMAND_RUN);
	assert_true(d.reuse_memory);
	assert_int_equal(parse_send(BASE "--replica /var/kept h:1/n", &o), WT_EXIT_USAGE);
	assert_int_equal(parse_receive(BASE "--keep-replica /var/kept :1/n", &d), WT_EXIT_USAGE);
	assert_int_equal(parse_send(BASE "h:1/n", &o), WT_COMMAND_RUN);
	assert_null(o.keep_replica);
	assert_int_equal(parse_receive(BASE ":1/n", &d), WT_COMMAND_RUN);
	assert_null(d.replica);
}

static void test_rates(void **state)
{
	static const struct {
		const char *text;
		uint64_t rate; /* 0: refused */
	} rates[] = { { "1000", 1000 }, { "1K", 1000 }, { "1.5M", 1500000 }, { "2G", 2000000000 },
		{ "999", 0 }, { "0", 0 }, { "-1M", 0 }, { "", 0 }, { "M", 0 }, { "1m", 0 }, { "1MB", 0 },
		{ "1 M", 0 }, { "nan", 0 }, { "inf", 0 }, { "1e30", 0 }, { "2000G", 0 } };
	uint64_t rate;

	for (unsigned i = 0; i < sizeof rates / sizeof *rates; i++) {
		rate = 77;
		assert_int_equal(wt_command_rate("--max-rate", rates[i].text, &rate), rates[i].rate != 0);
		assert_int_equal(rate, rates[i].rate ? rates[i].rate : 77);
	}
}

static void test_bytes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes; /* 0: refused */
	} sizes[] = { { "1", 1 }, { "64K", 65536 }, { "1.5M", 1572864 }, { "16G", 16ull << 30 }, { "0", 0 },
		{ "", 0 }, { "G", 0 }, { "-1G", 0 }, { "1GB", 0 }, { "1T", 0 }, { "1e30", 0 }, { "nan", 0 } };
	uint64_t bytes;

	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		bytes = 77;
		assert_int_equal(
			wt_command_bytes("--max-memory", sizes[i].text, &bytes), sizes[i].bytes != 0);
		assert_int_equal(bytes, sizes[i].bytes ? sizes[i].bytes : 77);
	}
}

static void test_refused(void **state)
{
	static const char *const lines[] = { "", BASE, BASE "h:1/n more", BASE "h:1", BASE "h:65536/n",
		"--qmp q h:1/n", BASE "--max-rate 5 h:1/n", BASE "--give-up-after soon h:1/n",
		BASE "--downtime-limit 0 h:1/n", BASE "--downtime-limit 2001s h:1/n", BASE "--wait 5s h:1/n",
		BASE "--nonsense h:1/n", BASE "--paths 17 h:1/n", BASE "--fabric smoke h:1/n" };
	static const char *const receive_only[] = { BASE "--auto-converge :1/n",
		BASE "--give-up-after 5s :1/n", BASE "--max-rate 1M :1/n" };
	struct wt_source_options o;
	struct wt_destination_options d;

	for (unsigned i = 0; i < sizeof lines / sizeof *lines; i++)
		assert_int_equal(parse_send(lines[i], &o), WT_EXIT_USAGE);
	for (unsigned i = 0; i < sizeof receive_only / sizeof *receive_only; i++)
		assert_int_equal(parse_receive(receive_only[i], &d), WT_EXIT_USAGE);
}

static void test_job_names(void **state)
{
	struct wt_source_options o;
	struct wt_destination_options d;
	char line[512];

	assert_int_equal(parse_send(BASE "h:1/web1", &o), WT_COMMAND_RUN);
	assert_string_equal(o.common.job, "web1");
	assert_int_equal(parse_receive(BASE ":1/web1", &d), WT_COMMAND_RUN);
	assert_string_equal(d.common.job, "web1-incoming");
	assert_int_equal(parse_send(BASE "--job away h:1/a/b", &o), WT_COMMAND_RUN);
	assert_string_equal(o.common.job, "away");
	assert_string_equal(o.common.name, "a/b");
	assert_int_equal(parse_send(BASE "h:1/a/b", &o), WT_EXIT_USAGE);
	assert_int_equal(parse_send(BASE "--job ../x h:1/n", &o), WT_EXIT_USAGE);
	assert_int_equal(parse_send(BASE "--job .x h:1/n", &o), WT_EXIT_USAGE);
	snprintf(line, sizeof line, BASE "h:1/%0200d", 1);
	assert_int_equal(parse_send(line, &o), WT_EXIT_USAGE);
	snprintf(line, sizeof line, BASE "h:1/%060d", 1);
	assert_int_equal(parse_send(line, &o), WT_COMMAND_RUN);
	assert_int_equal(parse_receive(line, &d), WT_EXIT_USAGE);
}

static void test_help(void **state)
{
	struct wt_source_options o;
	struct wt_destination_options d;

	assert_int_equal(parse_send("--help", &o), WT_EXIT_OK);
	assert_int_equal(parse_receive("--help", &d), WT_EXIT_OK);
}

static int parse_retarget(const char *text, const char **ret_job, json_t **ret_request, bool *ret_wait)
{
	struct line *line = split(text);

	return wt_command_retarget_options(line->count, line->words, ret_job, ret_request, ret_wait);
}

static void test_retarget(void **state)
{
	static const char *const refused[] = { "", "web1", "--to h:1/n", "web1 --to", "web1 --to h:1",
		"web1 --to :1/n", "web1 --to h:0/n", "web1 more --to h:1/n",
		"web1 --to h:1/n --prefer source", "web1 --to h:1/n --wait", "web1 --to h\xff:1/n" };
	json_t *request = NULL;
	const char *job;
	bool wait;

	assert_int_equal(parse_retarget("web1 --to other:4711/web1", &job, &request, &wait), WT_COMMAND_RUN);
	assert_string_equal(job, "web1");
	assert_string_equal(json_string_value(json_object_get(request, "command")), "retarget");
	assert_string_equal(json_string_value(json_object_get(request, "to")), "other:4711/web1");
	assert_null(json_object_get(request, "prefer"));
	assert_true(wait);
	json_decref(request);
	assert_int_equal(parse_retarget("--no-wait --prefer old-destination --to unix:/a//b web1", &job,
				 &request, &wait),
		WT_COMMAND_RUN);
	assert_string_equal(json_string_value(json_object_get(request, "prefer")), "old-destination");
	assert_false(wait);
	json_decref(request);
	for (unsigned i = 0; i < sizeof refused / sizeof *refused; i++)
		assert_int_equal(parse_retarget(refused[i], &job, &request, &wait), WT_EXIT_USAGE);
}

static void test_devices(void **state)
{
	struct wt_destination_options d;
	struct wt_source_options o;

	assert_int_equal(parse_send(BASE "--devices /m --device-host a --agent /a --device rxe0 h:1/vm", &o),
		WT_COMMAND_RUN);
	assert_string_equal(o.common.device_map, "/m");
	assert_string_equal(o.common.device_host, "a");
	assert_string_equal(o.common.agent, "/a");
	assert_string_equal(o.common.device, "rxe0");
	assert_int_equal(parse_receive(BASE "--devices /m h:1/vm", &d), WT_COMMAND_RUN);
	assert_string_equal(d.common.device_map, "/m");
	assert_null(d.common.agent);
	assert_int_equal(parse_send(BASE "--agent /a h:1/vm", &o), WT_EXIT_USAGE);
	assert_int_equal(parse_receive(BASE "--device-host a h:1/vm", &d), WT_EXIT_USAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_devices),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_who_the_other_end_is),
		cmocka_unit_test(test_converging),
		cmocka_unit_test(test_holds),
		cmocka_unit_test(test_replicas),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_job_names),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_retarget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

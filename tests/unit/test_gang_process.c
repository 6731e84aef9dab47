/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_gang_process.c - commands that outlive who has started them, and what is read of relays' words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gang_process.h"
#include "gang_relay.h"

static char path[64];

static void start(struct wt_gang_process *p, const char *script)
{
	char *words[] = { "sh", "-c", (char *)script, NULL };
	struct wt_error err = { 0 };

	if (wt_gang_process_start(p, words, &err))
		fail_msg("%s", wt_error_text(&err));
}

/* The next line; NULL: it is over. */
static const char *wait_line(struct wt_gang_process *p)
{
	const char *line;

	for (unsigned i = 0; i < 10000; i++) {
		line = wt_gang_process_line(p);
		if (line || p->over)
			return line;
		poll(NULL, 0, 1);
	}
	fail_msg("neither a line nor an end within 10 s");
	return NULL;
}

static void forget(struct wt_gang_process *p)
{
	struct wt_error err = { 0 };

	assert_int_equal(wt_gang_process_forget(p, &err), 0);
	wt_gang_process_close(p);
}

static void test_lines(void **state)
{
	struct wt_gang_process p;
	char said[100];

	assert_int_equal(wt_gang_process_init(&p, path), 0);
	assert_false(wt_gang_process_begun(&p));
	assert_null(wt_gang_process_line(&p));
	start(&p, "echo one; echo two; echo why >&2; printf torn; exit 3");
	assert_true(wt_gang_process_begun(&p));
	assert_string_equal(wait_line(&p), "one");
	assert_string_equal(wait_line(&p), "two");
	assert_null(wait_line(&p));
	assert_int_equal(p.code, 3);
	assert_string_equal(wt_gang_process_said(&p, said, sizeof said), "why");
	start(&p, "kill -9 $$");
	assert_null(wait_line(&p));
	assert_int_equal(p.code, -1);
	assert_string_equal(wt_gang_process_said(&p, said, sizeof said), "");
	/* A line that is too long is dropped, its end with it or not; the next one is whole. */
	start(&p, "head -c 200000 /dev/zero | tr '\\0' x; echo; echo next");
	while (strcmp(wait_line(&p), "next") != 0)
		;
	assert_null(wait_line(&p));
	forget(&p);
}

static void test_not_there(void **state)
{
	char *words[] = { "/nonexistent/program", NULL };
	struct wt_gang_process p;
	struct wt_error err = { 0 };

	assert_int_equal(wt_gang_process_init(&p, path), 0);
	assert_int_equal(wt_gang_process_start(&p, words, &err), -ENOENT);
	assert_non_null(strstr(wt_error_text(&err), "/nonexistent/program cannot be started"));
	assert_false(wt_gang_process_begun(&p));
	wt_gang_process_find(&p); /* its file is there, and nobody holds it */
	assert_null(wait_line(&p));
	forget(&p);
	assert_int_equal(wt_gang_process_init(&p, path), 0);
	wt_gang_process_find(&p);
	assert_true(p.over);
	wt_gang_process_close(&p);
}

/* Whoever has started it dies; somebody else sees all that it says, and its end. */
static void test_outlives(void **state)
{
	struct wt_gang_process p;
	struct wt_error err = { 0 };
	char fifo[80], script[256];
	FILE *gate;
	pid_t pid;

	snprintf(fifo, sizeof fifo, "%s.fifo", path);
	snprintf(script, sizeof script, "echo before; mkfifo %s; echo made; read word <%s; echo $word", fifo,
		fifo);
	pid = fork();
	if (!pid) {
		wt_gang_process_init(&p, path);
		start(&p, script);
		while (strcmp(wait_line(&p), "made") != 0)
			;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(wt_gang_process_init(&p, path), 0);
	wt_gang_process_find(&p);
	assert_string_equal(wait_line(&p), "before");
	assert_string_equal(wait_line(&p), "made");
	assert_null(wt_gang_process_line(&p));
	assert_false(p.over);
	assert_int_equal(wt_gang_process_forget(&p, &err), -EBUSY);
	gate = fopen(fifo, "we");
	assert_non_null(gate);
	fputs("after\n", gate);
	fclose(gate);
	assert_string_equal(wait_line(&p), "after");
	assert_null(wait_line(&p));
	unlink(fifo);
	forget(&p);
}

/* It is ended with what it has started. */
static void test_kill(void **state)
{
	struct wt_gang_process p;

	assert_int_equal(wt_gang_process_init(&p, path), 0);
	start(&p, "echo before; sleep 1000; echo after");
	assert_string_equal(wait_line(&p), "before");
	wt_gang_process_kill(&p);
	assert_null(wait_line(&p));
	assert_int_equal(p.code, -1);
	wt_gang_process_kill(&p);              /* there is nothing to end any more */
	for (unsigned i = 0; i < 10000; i++) { /* the child's child may need a moment */
		struct wt_error err = { 0 };

		if (!wt_gang_process_forget(&p, &err))
			break;
		poll(NULL, 0, 1);
	}
	assert_int_not_equal(access(path, F_OK), 0);
	wt_gang_process_close(&p);
}

/* What it leaves in the background has its output still; it has ended all the same. */
static void test_background(void **state)
{
	struct wt_gang_process p;
	struct wt_error err = { 0 };

	assert_int_equal(wt_gang_process_init(&p, path), 0);
	start(&p, "sleep 30 & echo $!; exit 0");
	pid_t left = atoi(wait_line(&p));
	assert_null(wait_line(&p));
	assert_int_equal(p.code, 0);
	assert_int_equal(wt_gang_process_forget(&p, &err), -EBUSY);
	assert_int_equal(wt_gang_process_drop(&p, &err), 0);
	assert_int_not_equal(access(path, F_OK), 0);
	assert_int_equal(kill(left, SIGKILL), 0);
	wt_gang_process_close(&p);
}

/* ---- relays ---- */

static struct wt_gang_relay heard(const char *first, const char *second)
{
	struct wt_gang_relay relay;

	wt_gang_relay_init(&relay);
	wt_gang_relay_line(&relay, first);
	if (second)
		wt_gang_relay_line(&relay, second);
	return relay;
}

#define STATE(name) "{\"event\":\"state\",\"state\":\"" name "\"}"
#define ERROR "{\"event\":\"error\",\"text\":\"no\"}"

static void test_relay(void **state)
{
	struct wt_gang_relay relay = heard("{\"event\":\"listening\",\"port\":1}", "{\"event\":\"held\"}");

	assert_true(relay.listening && relay.held);
	assert_true(relay.downtime_ms < 0 && relay.outage_ms < 0);
	wt_gang_relay_line(&relay,
		"{\"event\":\"summary\",\"downtime_ms\":12.5,\"devices\":{\"device_outage_ms\":40,\"trouble\":\"t\"}}");
	assert_true(relay.downtime_ms == 12.5 && relay.outage_ms == 40);
	assert_string_equal(relay.trouble, "t");
	wt_gang_relay_line(&relay, "{\"event\":\"progress\",\"total_bytes\":10,\"remaining_bytes\":4}");
	assert_true(relay.total_bytes == 10 && relay.remaining_bytes == 4);
	wt_gang_relay_line(
		&relay, "{\"event\":\"state\",\"state\":\"a-state-that-is-much-too-long-to-be-one\"}");
	wt_gang_relay_line(&relay, "{\"event\":");
	wt_gang_relay_line(&relay, "[1]");
	wt_gang_relay_line(&relay, "");
	assert_string_equal(relay.state, "");
	wt_gang_relay_line(&relay, "{\"event\":\"error\",\"text\":\"a\\u001b[2Jb\"}");
	assert_true(relay.failed);
	assert_null(strchr(relay.error, 27));
	relay = heard(
		"{\"event\":\"devices\",\"devices\":[{\"name\":\"x\",\"error\":null},{\"name\":\"y\",\"error\":\"gone\"}]}",
		NULL);
	assert_string_equal(relay.trouble, "y: gone");
	assert_false(wt_gang_relay_status(&relay, "no such job"));
	assert_true(
		wt_gang_relay_status(&relay, "{\"state\":\"connecting\",\"held\":true,\"total_bytes\":7}"));
	assert_true(relay.held);
	assert_string_equal(relay.state, "connecting");
}

static void test_places(void **state)
{
	static const struct {
		const char *source, *more, *destination;
		bool committed;
		enum wt_gang_place place;
	} cases[] = {
		{ "", NULL, "", false, WT_GANG_PLACE_UNKNOWN },
		{ ERROR, NULL, "", false, WT_GANG_PLACE_SOURCE },
		{ STATE("aborted"), ERROR, "", false, WT_GANG_PLACE_SOURCE },
		{ STATE("aborted"), ERROR, STATE("failed"), false, WT_GANG_PLACE_SOURCE },
		{ STATE("aborted"), NULL, "", false, WT_GANG_PLACE_UNKNOWN },
		{ STATE("streaming"), NULL, STATE("receiving"), false, WT_GANG_PLACE_UNKNOWN },
		{ STATE("committing"), NULL, STATE("ready"), false, WT_GANG_PLACE_UNKNOWN },
		{ STATE("delivering"), NULL, STATE("ready"), true, WT_GANG_PLACE_COMMITTED },
		{ STATE("undelivered"), ERROR, STATE("orphan"), true, WT_GANG_PLACE_COMMITTED },
		{ STATE("committing"), NULL, STATE("starting"), true, WT_GANG_PLACE_UNKNOWN },
		{ STATE("undelivered"), ERROR, STATE("done"), true, WT_GANG_PLACE_DESTINATION },
		{ STATE("committing"), NULL, STATE("done"), true, WT_GANG_PLACE_DESTINATION },
		{ STATE("done"), NULL, "", true, WT_GANG_PLACE_DESTINATION },
		{ STATE("lost"), ERROR, STATE("failed"), false, WT_GANG_PLACE_UNKNOWN },
		{ STATE("undecided"), ERROR, STATE("ready"), false, WT_GANG_PLACE_UNKNOWN },
	};

	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct wt_gang_relay source = heard(cases[i].source, cases[i].more);
		struct wt_gang_relay destination = heard(cases[i].destination, NULL);

		assert_int_equal(wt_gang_committed(&source, &destination), cases[i].committed);
		assert_int_equal(wt_gang_place(&source, &destination), cases[i].place);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_not_there),
		cmocka_unit_test(test_outlives),
		cmocka_unit_test(test_kill),
		cmocka_unit_test(test_background),
		cmocka_unit_test(test_relay),
		cmocka_unit_test(test_places),
	};

	snprintf(path, sizeof path, "/tmp/test_gang_process.%d", (int)getpid());
	return cmocka_run_group_tests(tests, NULL, NULL);
}

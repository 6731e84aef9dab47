/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_agent_message.c - what host and guest say to each other: the same on both ends, or refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent_message.h"

static void test_request(void **state)
{
	struct wt_agent_request request = { .id = 1ull << 53,
		.verb = WT_AGENT_ATTACH,
		.name = "ib0",
		.what = "vfio",
		.timeout_ms = 1500,
		.link_mac = "52:54:00:0a:0b:0c" };
	struct wt_agent_request again = { 0 };
	struct wt_error err = { 0 };
	char *line = NULL;

	assert_int_equal(wt_agent_request_render(&request, &line, &err), 0);
	assert_int_equal(line[strlen(line) - 1], '\n');
	assert_int_equal(wt_agent_request_parse(line, strlen(line), &again, &err), 0);
	assert_memory_equal(&request, &again, sizeof again);
	free(line);
	request = (struct wt_agent_request){ .id = 7,
		.verb = WT_AGENT_MESSAGE,
		.name = "mpi",
		.timeout_ms = 1,
		.data = (char *)"two\nlines \"quoted\"" };
	assert_int_equal(wt_agent_request_render(&request, &line, &err), 0);
	assert_null(memchr(line, '\n', strlen(line) - 1));
	assert_int_equal(wt_agent_request_parse(line, strlen(line), &again, &err), 0);
	assert_string_equal(again.data, request.data);
	wt_agent_request_clear(&again);
	free(line);
	request.data = (char *)"no UTF-8: \xff";
	assert_int_equal(wt_agent_request_render(&request, &line, &err), -EINVAL);
}

/* Of a session with ranks. */
static void test_ranks(void **state)
{
	struct wt_agent_request request = {
		.id = 7, .verb = WT_AGENT_TELL, .name = "12.0.sock", .data = (char *)"quiesce 3"
	};
	struct wt_agent_request again = { 0 };
	struct wt_agent_answer answer = { .id = 7, .ok = true, .rank = "12.0.sock", .pid = 99 };
	struct wt_agent_answer heard = { 0 };
	struct wt_error err = { 0 };
	char *line = NULL;

	assert_int_equal(wt_agent_request_render(&request, &line, &err), 0);
	assert_int_equal(wt_agent_request_parse(line, strlen(line), &again, &err), 0);
	assert_int_equal(again.verb, WT_AGENT_TELL);
	assert_string_equal(again.name, "12.0.sock");
	assert_string_equal(again.data, "quiesce 3");
	wt_agent_request_clear(&again);
	free(line);
	request = (struct wt_agent_request){ .id = 7, .verb = WT_AGENT_LOOK };
	assert_int_equal(wt_agent_request_render(&request, &line, &err), 0);
	assert_int_equal(wt_agent_request_parse(line, strlen(line), &again, &err), 0);
	assert_int_equal(again.verb, WT_AGENT_LOOK);
	free(line);
	assert_int_equal(wt_agent_answer_render(&answer, &line, &err), 0);
	assert_int_equal(wt_agent_answer_parse(line, strlen(line), &heard, &err), 0);
	assert_string_equal(heard.rank, "12.0.sock");
	assert_int_equal(heard.pid, 99);
	free(line);
	line = (char *)"{\"id\":7,\"ok\":true,\"rank\":\"a\\nb\"}";
	assert_int_equal(wt_agent_answer_parse(line, strlen(line), &heard, &err), -EPROTO);
}

static void test_bad_requests(void **state)
{
	static const char *const bad[] = { "", "{", "7", "[]", "{\"do\":\"ping\"}",
		"{\"id\":0,\"do\":\"ping\"}", "{\"id\":-1,\"do\":\"ping\"}",
		"{\"id\":9007199254740993,\"do\":\"ping\"}", "{\"id\":1}", "{\"id\":1,\"do\":\"reboot\"}",
		"{\"id\":1,\"do\":\"detach\"}", "{\"id\":1,\"do\":\"detach\",\"name\":\"ib0\"}",
		"{\"id\":1,\"do\":\"detach\",\"name\":\"../x\",\"timeout_ms\":1}",
		"{\"id\":1,\"do\":\"detach\",\"name\":\"ib0\",\"timeout_ms\":0}",
		"{\"id\":1,\"do\":\"detach\",\"name\":\"ib0\",\"timeout_ms\":3600001}",
		"{\"id\":1,\"do\":\"attach\",\"name\":\"ib0\",\"timeout_ms\":1}",
		"{\"id\":1,\"do\":\"attach\",\"name\":\"ib0\",\"timeout_ms\":1,\"what\":\"a b\"}",
		"{\"id\":1,\"do\":\"attach\",\"name\":\"ib0\",\"timeout_ms\":1,\"what\":\"vfio\",\"link_mac\":\"x\"}",
		"{\"id\":1,\"do\":\"message\",\"name\":\"mpi\",\"timeout_ms\":1,\"data\":7}",
		"{\"id\":1,\"do\":\"ranks\"}", "{\"id\":1,\"do\":\"ranks\",\"name\":\"a/b\"}",
		"{\"id\":1,\"do\":\"tell\",\"name\":\"../1.sock\",\"data\":\"x\"}",
		"{\"id\":1,\"do\":\"tell\",\"name\":\"1.sock\",\"data\":7}" };

	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct wt_agent_request request;
		struct wt_error err = { 0 };

		if (wt_agent_request_parse(bad[i], strlen(bad[i]), &request, &err) != -EPROTO)
			fail_msg("taken: %s", bad[i]);
		assert_non_null(strstr(err.text, "malformed"));
	}
}

static void test_answer(void **state)
{
	struct wt_agent_answer answer = {
		.id = 5, .ok = true, .version = "0.1.0", .ms = 12, .output = (char *)"out"
	};
	struct wt_agent_answer again = { 0 };
	struct wt_error err = { 0 };
	char *line = NULL;

	assert_int_equal(wt_agent_answer_render(&answer, &line, &err), 0);
	assert_int_equal(wt_agent_answer_parse(line, strlen(line), &again, &err), 0);
	assert_true(again.ok && again.id == 5 && again.ms == 12 && !again.busy);
	assert_string_equal(again.version, "0.1.0");
	assert_string_equal(again.output, "out");
	wt_agent_answer_clear(&again);
	free(line);
}

/* The guest is not trusted: its texts are made printable, its figures fit. */
static void test_hostile_answer(void **state)
{
	static const char hostile[] =
		"{\"id\":5,\"ok\":false,\"error\":\"\\u001b[2J\\u00e9vil\",\"ms\":99999999999,\"new\":[1]}";
	static const char silent[] = "{\"id\":5,\"ok\":\"yes\"}";
	struct wt_agent_answer answer = { 0 };
	struct wt_error err = { 0 };

	assert_int_equal(wt_agent_answer_parse(hostile, strlen(hostile), &answer, &err), 0);
	assert_string_equal(answer.error, "?[2J??vil");
	assert_int_equal(answer.ms, 0);
	assert_int_equal(wt_agent_answer_parse(silent, strlen(silent), &answer, &err), 0);
	assert_false(answer.ok);
	assert_string_equal(answer.error, "it gives no reason");
	assert_int_equal(wt_agent_answer_parse("{\"ok\":true}", 11, &answer, &err), -EPROTO);
}

/* ---- lines ---- */

static char told[256];

static void tell(void *arg, const char *line, size_t length)
{
	size_t had = strlen(told);

	if (length > 20)
		length = 20;
	memcpy(told + had, line, length);
	strcpy(told + had + length, "|");
}

static void give(struct wt_agent_lines *lines, const char *bytes, size_t count)
{
	while (count) {
		size_t room;
		char *at = wt_agent_lines_room(lines, &room);

		room = room < count ? room : count;
		assert_true(room);
		memcpy(at, bytes, room);
		wt_agent_lines_add(lines, room, tell, NULL);
		bytes += room;
		count -= room;
	}
}

static void test_lines(void **state)
{
	struct wt_agent_lines *lines = calloc(1, sizeof *lines);
	char *long_line = malloc(2 * WT_AGENT_LINE_MAX);

	assert_true(lines && long_line);
	told[0] = '\0';
	give(lines, "\n\none\ntw", 8);
	give(lines, "o\n", 2);
	assert_string_equal(told, "one|two|");
	told[0] = '\0';
	memset(long_line, 'x', 2 * WT_AGENT_LINE_MAX);
	give(lines, long_line, 2 * WT_AGENT_LINE_MAX);
	give(lines, "\nthree\n", 7);
	assert_string_equal(told, "three|");
	told[0] = '\0';
	long_line[WT_AGENT_LINE_MAX - 1] = '\n';
	give(lines, long_line, WT_AGENT_LINE_MAX);
	assert_string_equal(told, "xxxxxxxxxxxxxxxxxxxx|");
	free(long_line);
	free(lines);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_ranks),
		cmocka_unit_test(test_bad_requests),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_hostile_answer),
		cmocka_unit_test(test_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

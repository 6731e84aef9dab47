/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_replica_request.c - the line that asks a replica to come and the one that answers: there and back, and
 * what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../qemu-glue/replica_request.h"

#define SESSION "\"session\":\"000102030405060708090a0b0c0d0e0f\","
#define KEY "\"key\":\"ff00000000000000000000000000000000000000000000000000000000000001\","
#define BLOCK "{\"name\":\"pc.ram\",\"length\":8192}"

static int parse(const char *line, struct wt_replica_request *ret_request, struct wt_error *err)
{
	wt_error_clear(err);
	return wt_replica_request_parse(line, strlen(line), ret_request, err);
}

static void test_there_and_back(void **state)
{
	struct wt_replica_wanted blocks[] = { { "pc.ram", 1 << 30 }, { "a \"b\" \xc3\xbc", 4096 } };
	struct wt_replica_request sent = { .vm = "web1", .port = 65535, .count = 2, .blocks = blocks },
				  got = { 0 };
	struct wt_error err = { 0 };
	char *line = NULL;

	memset(sent.session_id, 0xa7, sizeof sent.session_id);
	for (unsigned i = 0; i < sizeof sent.key; i++)
		sent.key[i] = (uint8_t)(7 * i);
	assert_int_equal(wt_replica_request_render(&sent, &line, &err), 0);
	assert_true(strlen(line) < WT_REPLICA_REQUEST_MAX && strchr(line, '\n') == line + strlen(line) - 1);
	assert_int_equal(wt_replica_request_parse(line, strlen(line) - 1, &got, &err), 0);
	free(line);
	assert_string_equal(got.vm, "web1");
	assert_int_equal(got.port, 65535);
	assert_memory_equal(got.session_id, sent.session_id, sizeof sent.session_id);
	assert_memory_equal(got.key, sent.key, sizeof sent.key);
	assert_int_equal(got.count, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_string_equal(got.blocks[i].name, blocks[i].name);
		assert_true(got.blocks[i].length == blocks[i].length);
	}
	wt_replica_request_free(&got);
}

/* As many blocks as there may be, with the longest names: the line still fits. */
static void test_the_longest(void **state)
{
	struct wt_replica_request sent = { .vm = "v", .port = 1, .count = WT_BLOCKS_MAX }, got = { 0 };
	struct wt_error err = { 0 };
	char *line = NULL;

	sent.blocks = calloc(WT_BLOCKS_MAX, sizeof *sent.blocks);
	assert_non_null(sent.blocks);
	for (unsigned i = 0; i < WT_BLOCKS_MAX; i++) {
		memset(sent.blocks[i].name, '"', WT_BLOCK_NAME_MAX);
		sent.blocks[i].length = INT64_MAX & ~(uint64_t)(WT_PAGE_SIZE - 1);
	}
	assert_int_equal(wt_replica_request_render(&sent, &line, &err), 0);
	assert_true(strlen(line) <= WT_REPLICA_REQUEST_MAX);
	assert_int_equal(parse(line, &got, &err), 0);
	assert_int_equal(got.count, WT_BLOCKS_MAX);
	wt_replica_request_free(&got);
	wt_replica_request_free(&sent);
	free(line);
}

static void test_malformed(void **state)
{
	static const char *const lines[] = { "", "{", "[]", "5", "{}",
		"{\"replica\":\"1\",\"vm\":\"v\",\"port\":1," SESSION KEY "\"blocks\":[" BLOCK "]}",
		"{\"replica\":1,\"port\":1," SESSION KEY "\"blocks\":[" BLOCK "]}",
		"{\"replica\":1,\"vm\":\"\",\"port\":1," SESSION KEY "\"blocks\":[" BLOCK "]}",
		"{\"replica\":1,\"vm\":\"v\",\"port\":0," SESSION KEY "\"blocks\":[" BLOCK "]}",
		"{\"replica\":1,\"vm\":\"v\",\"port\":65536," SESSION KEY "\"blocks\":[" BLOCK "]}",
		"{\"replica\":1,\"vm\":\"v\",\"port\":1," KEY "\"blocks\":[" BLOCK "]}",
		"{\"replica\":1,\"vm\":\"v\",\"port\":1," SESSION "\"blocks\":[" BLOCK "]}",
		"{\"replica\":1,\"vm\":\"v\",\"port\":1," SESSION "\"key\":\"00\",\"blocks\":[" BLOCK "]}",
		"{\"replica\":1,\"vm\":\"v\",\"port\":1,\"session\":\"0001020304050607x8090a0b0c0d0e0f\"," KEY
		"\"blocks\":[" BLOCK "]}",
		"{\"replica\":1,\"vm\":\"v\",\"port\":1," SESSION KEY "\"blocks\":[]}",
		"{\"replica\":1,\"vm\":\"v\",\"port\":1," SESSION KEY "\"blocks\":7}",
		"{\"replica\":1,\"vm\":\"v\",\"port\":1," SESSION KEY "\"blocks\":[7]}",
		"{\"replica\":1,\"vm\":\"v\",\"port\":1," SESSION KEY
		"\"blocks\":[{\"name\":\"\",\"length\":4096}]}",
		"{\"replica\":1,\"vm\":\"v\",\"port\":1," SESSION KEY
		"\"blocks\":[{\"name\":\"a\",\"length\":4097}]}",
		"{\"replica\":1,\"vm\":\"v\",\"port\":1," SESSION KEY
		"\"blocks\":[{\"name\":\"a\",\"length\":-4096}]}",
		"{\"replica\":1,\"vm\":\"v\",\"port\":1," SESSION KEY "\"blocks\":[{\"name\":\"a\"}]}" };
	struct wt_error err = { 0 };

	for (unsigned i = 0; i < sizeof lines / sizeof *lines; i++) {
		struct wt_replica_request got = { 0 };

		assert_int_equal(parse(lines[i], &got, &err), -EPROTO);
		assert_true(err.text[0] && !got.blocks);
	}
}

static void test_another_version(void **state)
{
	struct wt_replica_request got = { 0 };
	struct wt_error err = { 0 };

	assert_int_equal(parse("{\"replica\":2,\"anything\":[]}", &got, &err), -EPROTO);
	assert_non_null(strstr(err.text, "same version on both hosts"));
	assert_int_equal(parse("GET / HTTP/1.1", &got, &err), -EPROTO);
	assert_non_null(strstr(err.text, "is it a watari receive?"));
}

static int answer(const char *refusal, struct wt_error *err)
{
	char *line = wt_replica_answer_render(refusal);
	int r;

	assert_non_null(line);
	wt_error_clear(err);
	r = wt_replica_answer_parse(line, strlen(line), err);
	free(line);
	return r;
}

static void test_answers(void **state)
{
	static const char *const answers[] = { "", "{}", "{\"ok\":1}", "{\"ok\":false}", "{\"error\":1}",
		"7" };
	struct wt_error err = { 0 };

	assert_int_equal(answer(NULL, &err), 0);
	assert_int_equal(answer("it is of\nanother layout", &err), -ECONNREFUSED);
	assert_string_equal(err.text, "it is of?another layout");
	for (unsigned i = 0; i < sizeof answers / sizeof *answers; i++)
		assert_int_equal(wt_replica_answer_parse(answers[i], strlen(answers[i]), NULL), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_the_longest),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_another_version),
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

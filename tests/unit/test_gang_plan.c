/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_gang_plan.c - plans of gangs: what they mean, and which ones are refused, with the sentence.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gang_plan.h"

#define FROM "\"from\":{\"qmp\":\"/run/a\",\"insecure\":true}"
#define TO "\"to\":{\"qmp\":\"/run/b\",\"insecure\":true,\"address\":\"h2:4711\"}"
#define ONE(from, to) "{\"version\":1,\"vms\":{\"web1\":{" from "," to "}}}"

static struct wt_gang_plan *take(const char *text)
{
	struct wt_gang_plan *plan = NULL;
	struct wt_error err = { 0 };

	if (wt_gang_plan_parse(text, strlen(text), "p.json", &plan, &err))
		fail_msg("%s", wt_error_text(&err));
	return plan;
}

static void refused(const char *text, const char *said)
{
	struct wt_gang_plan *plan = NULL;
	struct wt_error err = { 0 };

	assert_int_equal(wt_gang_plan_parse(text, strlen(text), "p.json", &plan, &err), -EINVAL);
	assert_null(plan);
	if (strncmp(wt_error_text(&err), "plan p.json", 11) || !strstr(wt_error_text(&err), said))
		fail_msg("\"%s\" says \"%s\", not \"%s\"", text, wt_error_text(&err), said);
}

static void test_short(void **state)
{
	struct wt_gang_plan *plan = take(ONE(FROM, TO));

	assert_int_equal(plan->count, 1);
	assert_int_equal(plan->parallel, 1);
	assert_int_equal(plan->hold_s, 300);
	assert_string_equal(plan->watari, "watari");
	assert_string_equal(plan->vms[0].name, "web1");
	assert_string_equal(plan->vms[0].from.qmp, "/run/a");
	assert_string_equal(plan->vms[0].address, "h2:4711");
	assert_true(plan->vms[0].from.insecure && plan->vms[0].to.insecure);
	assert_int_equal(plan->vms[0].to.prefix.count, 0);
	assert_null(plan->vms[0].from.devices);
	assert_int_equal(strlen(plan->digest), 16);
	wt_gang_plan_free(plan);
}

static void test_long(void **state)
{
	struct wt_gang_plan *plan = take(
		"{\"version\":1,\"parallel\":1,\"hold_s\":90,\"watari\":\"/opt/watari\",\"vms\":{"
		"\"a\":{\"from\":{\"prefix\":[\"ssh\",\"-o\",\"User me\",\"h1\"],\"qmp\":\"/q\",\"psk\":\"/k\",\"devices\":\"/m\","
		"\"device_host\":\"alpha\",\"agent\":\"/ag\",\"options\":[\"--max-rate\",\"25M\",\"--device\",\"mlx5_0\"]},"
		"\"to\":{\"prefix\":[\"ssh\",\"h2\"],\"qmp\":\"/q\",\"psk\":\"/k\",\"devices\":\"/m\",\"address\":\"h2:4711\","
		"\"start\":[\"/usr/local/bin/start\",\"a\"]}},"
		"\"b\":{" FROM ",\"to\":{\"qmp\":\"/run/c\",\"insecure\":true,\"address\":\"h2:4712\"}}}}");
	const struct wt_gang_vm *vm = &plan->vms[0];

	assert_int_equal(plan->count, 2);
	assert_int_equal(plan->parallel, 1);
	assert_int_equal(plan->hold_s, 90);
	assert_string_equal(plan->watari, "/opt/watari");
	assert_int_equal(vm->from.prefix.count, 4);
	assert_string_equal(vm->from.prefix.words[2], "User me");
	assert_string_equal(vm->from.device_host, "alpha");
	assert_string_equal(vm->from.agent, "/ag");
	assert_int_equal(vm->from.options.count, 4);
	assert_int_equal(vm->start.count, 2);
	wt_gang_plan_free(plan);
}

static void test_digest(void **state)
{
	struct wt_gang_plan *a = take(ONE(FROM, TO)), *b = take(ONE(FROM, TO) " "), *c = take(ONE(FROM, TO));

	assert_string_equal(a->digest, c->digest);
	assert_string_not_equal(a->digest, b->digest);
	wt_gang_plan_free(a);
	wt_gang_plan_free(b);
	wt_gang_plan_free(c);
}

static void test_refused(void **state)
{
	static const char *const cases[][2] = { { "", "is no JSON" }, { "[]", "must be an object" },
		{ "{\"version\":2}", "\"version\" must be 1" }, { "{\"version\":1}", "\"vms\" must be" },
		{ "{\"version\":1,\"vms\":{}}", "\"vms\" must be" },
		{ "{\"version\":1,\"version\":1}", "is no JSON" },
		{ "{\"version\":1,\"paralel\":2}", "there is no \"paralel\" here" },
		{ "{\"version\":1,\"hold_s\":0}", "\"hold_s\" must be" },
		{ "{\"version\":1,\"hold_s\":\"9\"}", "\"hold_s\" must be" },
		{ "{\"version\":1,\"vms\":{\"-a\":{}}}", "the name of a guest" },
		{ "{\"version\":1,\"vms\":{\"a/b\":{}}}", "the name of a guest" },
		{ "{\"version\":1,\"vms\":{\"a123456789012345678901234567890123456789012345678901234567\":{}}}",
			"1 to 55 letters" },
		{ "{\"version\":1,\"vms\":{\"a\":1}}", "guest a: it must be an object" },
		{ "{\"version\":1,\"vms\":{\"a\":{\"form\":{}}}}", "guest a: there is no \"form\" here" },
		{ "{\"version\":1,\"vms\":{\"a\":{" FROM "}}}", "guest a, \"to\": it must be an object" },
		{ ONE("\"from\":{\"insecure\":true}", TO), "\"from\": \"qmp\" is missing" },
		{ ONE("\"from\":{\"qmp\":\"\",\"insecure\":true}", TO), "\"qmp\" must be text" },
		{ ONE("\"from\":{\"qmp\":\"/a\"}", TO),
			"give one of \"psk\", \"tls_creds\" and \"insecure\"" },
		{ ONE("\"from\":{\"qmp\":\"/a\",\"psk\":\"/k\",\"insecure\":true}", TO), "give one of" },
		{ ONE("\"from\":{\"qmp\":\"/a\",\"psk\":\"/k\"}", TO), "said at both ends" },
		{ ONE("\"from\":{\"qmp\":\"/a\",\"insecure\":1}", TO), "true or false" },
		{ ONE("\"from\":{\"qmp\":\"/a b\",\"insecure\":true}", TO), "may go through a shell" },
		{ ONE("\"from\":{\"qmp\":\"/a;b\",\"insecure\":true}", TO), "may go through a shell" },
		{ ONE("\"from\":{\"qmp\":\"/a\",\"insecure\":true,\"address\":\"h:1\"}", TO),
			"there is no \"address\"" },
		{ ONE("\"from\":{\"qmp\":\"/a\",\"insecure\":true,\"device_host\":\"h\"}", TO),
			"is for \"devices\"" },
		{ ONE("\"from\":{\"qmp\":\"/a\",\"insecure\":true,\"devices\":\"/m\"}", TO),
			"\"devices\" must be given" },
		{ ONE("\"from\":{\"qmp\":\"/a\",\"insecure\":true,\"prefix\":\"ssh h\"}", TO),
			"\"prefix\" must be a list" },
		{ ONE("\"from\":{\"qmp\":\"/a\",\"insecure\":true,\"prefix\":[1]}", TO),
			"\"prefix\" must be text" },
		{ ONE("\"from\":{\"qmp\":\"/a\",\"insecure\":true,\"options\":[\"--hold=1s\"]}", TO),
			"option --hold=1s" },
		{ ONE("\"from\":{\"qmp\":\"/a\",\"insecure\":true,\"options\":[\"--jo\",\"x\"]}", TO),
			"option --jo" },
		{ ONE("\"from\":{\"qmp\":\"/a\",\"insecure\":true,\"options\":[\"--\"]}", TO), "option --" },
		{ ONE(FROM, "\"to\":{\"qmp\":\"/b\",\"insecure\":true}"), "\"address\" must be HOST:PORT" },
		{ ONE(FROM, "\"to\":{\"qmp\":\"/b\",\"insecure\":true,\"address\":\"4711\"}"), "HOST:PORT" },
		{ ONE(FROM, "\"to\":{\"qmp\":\"/b\",\"insecure\":true,\"address\":\"h:0\"}"), "HOST:PORT" },
		{ ONE(FROM, "\"to\":{\"qmp\":\"/b\",\"insecure\":true,\"address\":\"h:1/n\"}"), "HOST:PORT" },
		{ ONE(FROM, "\"to\":{\"qmp\":\"/run/a\",\"insecure\":true,\"address\":\"h:1\"}"),
			"the same QEMU" },
		{ "{\"version\":1,\"vms\":{\"a\":{" FROM "," TO
		  "},\"b\":{\"from\":{\"qmp\":\"/run/c\",\"insecure\":true},"
		  "\"to\":{\"qmp\":\"/run/d\",\"insecure\":true,\"address\":\"h2:4711\"}}}}",
			"guests a and b have the same address" },
		{ "{\"version\":1,\"vms\":{\"a\":{" FROM "," TO "},\"b\":{" FROM
		  ",\"to\":{\"qmp\":\"/run/d\",\"insecure\":true,\"address\":\"h2:4712\"}}}}",
			"guests a and b have the same QMP socket" },
		{ "{\"version\":1,\"vms\":{\"a\":{" FROM "," TO
		  "},\"a-incoming\":{\"from\":{\"qmp\":\"/run/c\",\"insecure\":true},"
		  "\"to\":{\"qmp\":\"/run/d\",\"insecure\":true,\"address\":\"h2:4712\"}}}}",
			"guests a and a-incoming: NAME-incoming is the job of NAME" },
		{ "{\"version\":1,\"parallel\":0,\"vms\":{\"a\":{" FROM "," TO "}}}",
			"\"parallel\" must be" } };

	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
		refused(cases[i][0], cases[i][1]);
}

static void test_many(void **state)
{
	char *text = malloc(WT_GANG_VMS_MAX * 200 + 1000);
	size_t length = 0;

	for (unsigned count = WT_GANG_VMS_MAX; count <= WT_GANG_VMS_MAX + 1; count++) {
		length = (size_t)sprintf(text, "{\"version\":1,\"vms\":{");
		for (unsigned i = 0; i < count; i++)
			length += (size_t)sprintf(text + length,
				"%s\"vm%u\":{\"from\":{\"qmp\":\"/a%u\",\"insecure\":true},"
				"\"to\":{\"qmp\":\"/b%u\",\"insecure\":true,\"address\":\"h:%u\"}}",
				i ? "," : "", i, i, i, i + 1);
		sprintf(text + length, "}}");
		if (count > WT_GANG_VMS_MAX)
			refused(text, "1 to 64 guests");
		else
			wt_gang_plan_free(take(text));
	}
	free(text);
}

static void test_files(void **state)
{
	struct wt_gang_plan *plan = NULL;
	struct wt_error err = { 0 };

	assert_int_equal(wt_gang_plan_read("/nonexistent/plan", &plan, &err), -ENOENT);
	assert_non_null(strstr(wt_error_text(&err), "cannot be opened"));
	wt_error_clear(&err);
	assert_int_equal(wt_gang_plan_read("/dev/zero", &plan, &err), -EINVAL);
	assert_non_null(strstr(wt_error_text(&err), "more than"));
	wt_gang_plan_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_digest),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

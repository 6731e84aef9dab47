/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_rejuvenate_plan.c - plans of rejuvenations: what they mean, and which ones are refused, with the
 * sentence.
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
#include "rejuvenate_plan.h"

#define H1 "\"h1\":{\"prefix\":[\"ssh\",\"h1\"],\"by\":\"evacuation\",\"command\":[\"renew\"]}"
#define H2 "\"h2\":{\"by\":\"handover\"}"
#define H3 "\"h3\":{\"prefix\":[\"ssh\",\"h3\"],\"room\":2}"
#define HOSTS H1 "," H2 "," H3
#define END(host, qmp, address) \
	"{\"host\":\"" host "\",\"qmp\":\"" qmp "\",\"insecure\":true,\"address\":\"" address "\"}"
#define GOES(name, n) \
	"\"" name "\":{\"home\":" END("h1", "/run/" n, "h1:" n) ",\"away\":" END("h3", "/run/" n, "h3:" n) "}"
#define STAYS "\"web\":{\"home\":{\"host\":\"h2\",\"qmp\":\"/run/web\"}}"
#define PLAN(hosts, guests) "{\"version\":1,\"hosts\":{" hosts "},\"guests\":{" guests "}}"

static struct wt_rejuvenate_plan *take(const char *text)
{
	struct wt_rejuvenate_plan *plan = NULL;
	struct wt_error err = { 0 };

	if (wt_rejuvenate_plan_parse(text, strlen(text), "p.json", &plan, &err))
		fail_msg("%s", wt_error_text(&err));
	return plan;
}

static struct wt_gang_plan *gang(const char *text)
{
	struct wt_gang_plan *plan = NULL;
	struct wt_error err = { 0 };

	if (wt_gang_plan_parse(text, strlen(text), "way", &plan, &err))
		fail_msg("%s", wt_error_text(&err));
	return plan;
}

static void test_short(void **state)
{
	struct wt_rejuvenate_plan *plan = take(PLAN(HOSTS, GOES("db", "1") "," STAYS));

	assert_int_equal(plan->order.hosts, 3);
	assert_int_equal(plan->order.guests, 2);
	assert_int_equal(plan->order.parallel, 1);
	assert_string_equal(plan->watari, "watari");
	assert_string_equal(plan->hosts[0].name, "h1");
	assert_int_equal(plan->order.host[0].by, WT_REJUVENATE_BY_EVACUATION);
	assert_int_equal(plan->order.host[1].by, WT_REJUVENATE_BY_HANDOVER);
	assert_int_equal(plan->order.host[2].by, WT_REJUVENATE_BY_NOTHING);
	assert_int_equal(plan->hosts[0].command_s, 600);
	assert_int_equal(plan->hosts[0].probe_s, 600);
	assert_int_equal(plan->hosts[0].probe.count, 0);
	assert_false(plan->hosts[0].probe_differs);
	assert_string_equal(plan->guests[0].name, "db");
	assert_int_equal(plan->order.guest[0].home, 0);
	assert_int_equal(plan->order.guest[0].away, 2);
	assert_int_equal(plan->order.guest[1].home, 1);
	assert_string_equal(plan->guests[1].qmp, "/run/web");
	assert_int_equal(plan->guests[1].handover_s, 600);
	assert_null(plan->guests[1].leave);
	assert_int_equal(strlen(plan->digest), 16);
	wt_rejuvenate_plan_free(plan);
}

static void has_options(const struct wt_plan_words *words, const char *wanted)
{
	char text[256] = "";

	for (unsigned i = 0; i < words->count; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "",
			words->words[i]);
	assert_string_equal(text, wanted);
}

/* What each way's gang is told. */
static void test_ways(void **state)
{
	struct wt_rejuvenate_plan *plan = take(
		"{\"version\":1,\"parallel\":2,\"hold_s\":60,\"watari\":\"/opt/watari\",\"hosts\":{"
		"\"h1\":{\"prefix\":[\"ssh\",\"h1\"],\"by\":\"evacuation\",\"command\":[\"renew\",\"now\"],\"command_s\":9,"
		"\"probe\":[\"cat\",\"/proc/sys/kernel/random/boot_id\"],\"probe_s\":99,\"probe_differs\":true},"
		"\"h3\":{\"prefix\":[\"ssh\",\"h3\"]}},\"guests\":{\"db\":{\"home\":{\"host\":\"h1\",\"qmp\":\"/q\",\"psk\":\"/k\","
		"\"address\":\"h1:1\",\"start\":[\"start\",\"db\"],\"send\":[\"--shared-storage\"],\"receive\":[\"--device\",\"a\"]},"
		"\"away\":{\"host\":\"h3\",\"qmp\":\"/q\",\"psk\":\"/k\",\"address\":\"h3:1\",\"send\":[\"--max-rate\",\"9M\"]},"
		"\"replica\":\"/var/db\"}}}");
	struct wt_gang_plan *out = gang(plan->guests[0].leave), *back = gang(plan->guests[0].back);

	assert_int_equal(plan->order.parallel, 2);
	assert_int_equal(plan->hosts[0].command_s, 9);
	assert_int_equal(plan->hosts[0].probe_s, 99);
	assert_true(plan->hosts[0].probe_differs);
	has_options(&plan->hosts[0].command, "renew now");
	assert_string_equal(out->watari, "/opt/watari");
	assert_int_equal(out->hold_s, 60);
	assert_int_equal(out->count, 1);
	assert_string_equal(out->vms[0].name, "db");
	has_options(&out->vms[0].from.prefix, "ssh h1");
	has_options(&out->vms[0].from.options, "--shared-storage --keep-replica /var/db");
	has_options(&out->vms[0].to.prefix, "ssh h3");
	has_options(&out->vms[0].to.options, "");
	assert_string_equal(out->vms[0].address, "h3:1");
	assert_int_equal(out->vms[0].start.count, 0);
	has_options(&back->vms[0].from.prefix, "ssh h3");
	has_options(&back->vms[0].from.options, "--max-rate 9M");
	has_options(&back->vms[0].to.options, "--device a --replica /var/db");
	has_options(&back->vms[0].start, "start db");
	assert_string_equal(back->vms[0].address, "h1:1");
	wt_gang_plan_free(out);
	wt_gang_plan_free(back);
	wt_rejuvenate_plan_free(plan);
}

static void refused(const char *text, const char *said)
{
	struct wt_rejuvenate_plan *plan = NULL;
	struct wt_error err = { 0 };

	assert_int_equal(wt_rejuvenate_plan_parse(text, strlen(text), "p.json", &plan, &err), -EINVAL);
	assert_null(plan);
	if (strncmp(wt_error_text(&err), "plan p.json", 11) || !strstr(wt_error_text(&err), said))
		fail_msg("\"%s\" says \"%s\", not \"%s\"", text, wt_error_text(&err), said);
}

static void test_refused(void **state)
{
	static const char *const cases[][2] = { { "", "is no JSON" },
		{ "{\"version\":2}", "\"version\" must be 1" },
		{ "{\"version\":1,\"host\":{}}", "there is no \"host\" here; see docs/REJUVENATION.md" },
		{ "{\"version\":1}", "\"hosts\" must be" },
		{ "{\"version\":1,\"parallel\":0,\"hosts\":{}}", "\"parallel\" must be" },
		{ PLAN("\"a b\":{}", ""), "the name of a host" },
		{ PLAN("\"h1\":1", ""), "host h1: it must be an object" },
		{ PLAN("\"h1\":{\"by\":\"fire\"}", ""), "\"by\" must be" },
		{ PLAN("\"h1\":{\"by\":\"evacuation\"}", ""), "\"command\" is missing" },
		{ PLAN("\"h1\":{\"by\":\"handover\",\"command\":[\"x\"]}", ""),
			"is for a host that is renewed by evacuation" },
		{ PLAN("\"h1\":{\"by\":\"evacuation\",\"command\":[\"a;b\"]}", ""),
			"it may go through a shell" },
		{ PLAN("\"h1\":{\"by\":\"handover\",\"probe_s\":0}", ""), "\"probe_s\" must be" },
		{ PLAN(H3, ""), "no host has \"by\"" }, { PLAN(HOSTS, "\"a/b\":{}"), "the name of a guest" },
		{ PLAN(HOSTS, "\"web\":{}"), "guest web, \"home\": it must be an object" },
		{ PLAN(HOSTS, "\"web\":{\"home\":{\"qmp\":\"/q\"}}"), "\"host\" is missing" },
		{ PLAN(HOSTS, "\"web\":{\"home\":{\"host\":\"h9\",\"qmp\":\"/q\"}}"),
			"guest web, \"home\": \"hosts\" has no h9" },
		{ PLAN(HOSTS, "\"web\":{\"home\":{\"host\":\"h3\",\"qmp\":\"/q\"}}"),
			"host h3 is not renewed" },
		{ PLAN(HOSTS, "\"web\":{\"home\":{\"host\":\"h2\"}}"), "\"qmp\" is missing" },
		{ PLAN(HOSTS,
			  "\"web\":{\"home\":{\"host\":\"h2\",\"qmp\":\"/q\",\"options\":[\"--dry-run\"]}}"),
			"sets it" },
		{ PLAN(HOSTS, "\"web\":{\"home\":{\"host\":\"h2\",\"qmp\":\"/q\",\"address\":\"h:1\"}}"),
			"there is no \"address\"" },
		{ PLAN(HOSTS, "\"web\":{\"home\":{\"host\":\"h2\",\"qmp\":\"/q\"},\"replica\":\"/r\"}"),
			"it stays" },
		{ PLAN(HOSTS, "\"db\":{\"home\":" END("h1", "/q", "h1:1") "}"),
			"guest db, \"away\": it must be an object" },
		{ PLAN(HOSTS, "\"db\":{\"home\":" END("h1", "/q", "h1:1") ",\"away\":" END(
				      "h9", "/q", "h9:1") "}"),
			"\"away\": \"hosts\" has no h9" },
		{ PLAN(HOSTS, "\"db\":{\"home\":" END("h1", "/q", "h1:1") ",\"away\":" END(
				      "h1", "/p", "h1:2") "}"),
			"it is at home there" },
		{ PLAN(HOSTS,
			  "\"db\":{\"home\":" END("h1", "/q", "h1") ",\"away\":" END("h3", "/q", "h3:1") "}"),
			"(on its way back), guest db, \"to\": \"address\" must be HOST:PORT" },
		{ PLAN(HOSTS, "\"db\":{\"home\":" END("h1", "/q", "h1:1") ",\"away\":" END(
				      "h3", "/q", "h3:1") ",\"replica\":1}"),
			"\"replica\" must be a directory" },
		{ PLAN(HOSTS, GOES("a", "1") ",\"b\":{\"home\":" END("h1", "/run/1", "h1:2") ",\"away\":" END(
				      "h3", "/run/2", "h3:2") "}"),
			"guests a and b have the same QMP socket on host h1" },
		{ PLAN(HOSTS, GOES("a", "1") ",\"b\":{\"home\":" END("h1", "/run/2", "h1:2") ",\"away\":" END(
				      "h3", "/run/2", "h3:1") "}"),
			"guests a and b have the same address h3:1" },
		{ PLAN(HOSTS, GOES("a", "1") "," GOES("b", "2") "," GOES("c", "3")),
			"host h3 has room for 2 guests of others, and 3" } };

	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
		refused(cases[i][0], cases[i][1]);
}

/* How many may be there at one time depends on how many hosts are under way. */
static void test_room(void **state)
{
#define SECOND "\"h4\":{\"by\":\"evacuation\",\"command\":[\"renew\"]}"
#define OF_SECOND "\"d\":{\"home\":" END("h4", "/run/4", "h4:4") ",\"away\":" END("h3", "/run/4", "h3:4") "}"
	static const char two[] = "\"parallel\":2,\"hosts\":{" HOSTS "," SECOND
				  "},\"guests\":{" GOES("a", "1") "," GOES("b", "2") "," OF_SECOND "}}";
	char text[2048];

	snprintf(text, sizeof text, "{\"version\":1,%s", two);
	refused(text, "and 3 may be there at one time");
	snprintf(text, sizeof text, "{\"version\":1,%s", two + strlen("\"parallel\":2,"));
	wt_rejuvenate_plan_free(take(text));
}

static void test_file(void **state)
{
	struct wt_rejuvenate_plan *plan = NULL;
	struct wt_error err = { 0 };

	assert_int_equal(wt_rejuvenate_plan_read("/nowhere/p.json", &plan, &err), -ENOENT);
	assert_non_null(strstr(wt_error_text(&err), "cannot be opened"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_ways),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

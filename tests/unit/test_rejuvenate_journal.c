/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_rejuvenate_journal.c - what a rejuvenation has done, on disk: read again by whoever comes later,
 * wherever the writer died; and what cannot have been written.
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
#include <unistd.h>

#include "rejuvenate_journal.h"

#define PLAN                                                                                                           \
	"{\"version\":1,\"hosts\":{\"h1\":{\"by\":\"evacuation\",\"command\":[\"x\"]},\"h2\":{}},\"guests\":{\"db\":{" \
	"\"home\":{\"host\":\"h1\",\"qmp\":\"/a\",\"insecure\":true,\"address\":\"h1:1\"},"                            \
	"\"away\":{\"host\":\"h2\",\"qmp\":\"/b\",\"insecure\":true,\"address\":\"h2:1\"}}}}"

static char path[64];
static struct wt_rejuvenate_plan *plan, *other;
static unsigned ends;
static struct wt_rejuvenate_end last;

static const struct wt_rejuvenate_action check_h1 = { WT_REJUVENATE_CHECK, 0 },
					 leave_db = { WT_REJUVENATE_LEAVE, 0 },
					 over = { WT_REJUVENATE_OVER, 0 };

static void ended(void *arg, struct wt_rejuvenate_action action, const struct wt_rejuvenate_end *end)
{
	ends++;
	last = *end;
}

static int open_it(struct wt_rejuvenate_journal *j, const struct wt_rejuvenate_plan *of, bool resume,
	struct wt_rejuvenate_order *order, const char *said)
{
	struct wt_error err = { 0 };
	int r;

	*order = of->order;
	ends = 0;
	r = wt_rejuvenate_journal_open(j, path, of, resume, order, ended, NULL, &err);
	if (r && (!said || !strstr(wt_error_text(&err), said)))
		fail_msg("%s", wt_error_text(&err));
	return r;
}

static void begin(struct wt_rejuvenate_journal *j)
{
	struct wt_rejuvenate_order order;
	struct wt_error err = { 0 };

	unlink(path);
	assert_int_equal(open_it(j, plan, false, &order, NULL), 0);
	assert_int_equal(wt_rejuvenate_journal_begin(j, 1234, &err), 0);
}

static void step(struct wt_rejuvenate_journal *j, struct wt_rejuvenate_action action)
{
	struct wt_error err = { 0 };

	assert_int_equal(wt_rejuvenate_journal_step(j, action, &err), 0);
}

static void end(
	struct wt_rejuvenate_journal *j, struct wt_rejuvenate_action action, enum wt_rejuvenate_result result)
{
	struct wt_rejuvenate_end what = { .result = result, .downtime_ms = 2.5, .sent_bytes = 77 };
	struct wt_error err = { 0 };

	strcpy(what.text, result == WT_REJUVENATE_OK ? "" : "a reason");
	strcpy(what.answer, action.step == WT_REJUVENATE_CHECK ? "boot 1" : "");
	assert_int_equal(wt_rejuvenate_journal_end(j, action, &what, &err), 0);
}

static void append(const char *text)
{
	FILE *file = fopen(path, "ae");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void test_resume(void **state)
{
	struct wt_rejuvenate_journal j, second;
	struct wt_rejuvenate_order order;
	struct wt_error err = { 0 };

	begin(&j);
	step(&j, check_h1);
	end(&j, check_h1, WT_REJUVENATE_OK);
	step(&j, leave_db);
	assert_int_equal(j.said_in[0], 4);
	assert_int_equal(
		open_it(&second, plan, true, &order, "another watari rejuvenate works with"), -EBUSY);
	wt_rejuvenate_journal_close(&j);
	append("{\"ended\":\"lea"); /* the writer died in it */
	assert_int_equal(open_it(&j, plan, true, &order, NULL), 0);
	assert_int_equal(j.begun_ms, 1234);
	assert_int_equal(j.said_in[0], 4);
	assert_int_equal(ends, 1);
	assert_string_equal(last.answer, "boot 1");
	assert_true(last.downtime_ms == 2.5 && last.sent_bytes == 77 && last.result == WT_REJUVENATE_OK);
	assert_true(order.host[0].checked && wt_rejuvenate_order_doing(&order, leave_db));
	end(&j, leave_db, WT_REJUVENATE_LOST);
	wt_rejuvenate_journal_close(&j);
	assert_int_equal(open_it(&j, plan, true, &order, NULL), 0);
	assert_int_equal(order.guest[0].place, WT_REJUVENATE_UNKNOWN);
	assert_string_equal(last.text, "a reason");
	assert_int_equal(wt_rejuvenate_journal_found(&j, 0, WT_REJUVENATE_AWAY, &err), 0);
	wt_rejuvenate_journal_close(&j);
	assert_int_equal(open_it(&j, plan, true, &order, NULL), 0);
	assert_int_equal(order.guest[0].place, WT_REJUVENATE_AWAY);
	wt_rejuvenate_journal_close(&j);
	assert_int_equal(open_it(&j, plan, false, &order, "not finished; say --resume"), -EEXIST);
	assert_int_equal(open_it(&j, other, true, &order, "of another plan"), -EINVAL);
}

static void test_finished(void **state)
{
	struct wt_rejuvenate_journal j;
	struct wt_rejuvenate_order order;

	begin(&j);
	step(&j, over);
	wt_rejuvenate_journal_close(&j);
	assert_int_equal(open_it(&j, plan, true, &order, "there is nothing to resume"), -ENOENT);
	assert_int_equal(open_it(&j, other, false, &order, NULL), 0);
	wt_rejuvenate_journal_close(&j);
	unlink(path);
	assert_int_equal(open_it(&j, plan, true, &order, "cannot be opened"), -ENOENT);
}

/* Lines that no coordinator can have written behind a first one. */
static void test_no_journal(void **state)
{
	static const char *const lines[] = { "nonsense", "{}", "{\"step\":\"fly\",\"host\":\"h1\"}",
		"{\"step\":\"check\",\"host\":\"h9\"}", "{\"step\":\"check\",\"host\":\"h2\"}",
		"{\"step\":\"leave\",\"guest\":\"no\"}", "{\"step\":\"return\",\"guest\":\"db\"}",
		"{\"step\":\"command\",\"host\":\"h1\"}",
		"{\"ended\":\"check\",\"host\":\"h1\",\"result\":\"ok\"}",
		"{\"found\":\"home\",\"guest\":\"db\"}", "{\"found\":\"mars\",\"guest\":\"db\"}",
		"{\"rejuvenation\":1,\"digest\":\"0\"}" };
	struct wt_rejuvenate_journal j;
	struct wt_rejuvenate_order order;

	for (unsigned i = 0; i < sizeof lines / sizeof *lines; i++) {
		begin(&j);
		wt_rejuvenate_journal_close(&j);
		append(lines[i]);
		append("\n");
		assert_int_equal(
			open_it(&j, plan, true, &order, "is no journal of watari rejuvenate (line 2)"),
			-EINVAL);
	}
	unlink(path);
	append("{\"gang\":1,\"digest\":\"0\"}\n");
	assert_int_equal(
		open_it(&j, plan, true, &order, "is no journal of watari rejuvenate (line 1)"), -EINVAL);
	assert_int_equal(open_it(&j, plan, false, &order, "name another one with --journal"), -EINVAL);
	unlink(path);
	append("");
	assert_int_equal(open_it(&j, plan, true, &order, "is empty"), -ENOENT);
}

static int set_up(void **state)
{
	struct wt_error err = { 0 };

	snprintf(path, sizeof path, "/tmp/watari-rejuvenate-%d", (int)getpid());
	return wt_rejuvenate_plan_parse(PLAN, strlen(PLAN), "p", &plan, &err) ||
	       wt_rejuvenate_plan_parse(PLAN " ", strlen(PLAN " "), "p", &other, &err);
}

static int tear_down(void **state)
{
	unlink(path);
	wt_rejuvenate_plan_free(plan);
	wt_rejuvenate_plan_free(other);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resume),
		cmocka_unit_test(test_finished),
		cmocka_unit_test(test_no_journal),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

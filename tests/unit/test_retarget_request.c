/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_retarget_request.c - what `watari retarget` may ask for, every refusal that is known at once with its
 * sentence, and what is made of a job's word on how far it is. Targets, too.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "retarget_request.h"

static json_t *request(const char *to, const char *prefer)
{
	return json_pack("{s:s,s:s*,s:s*}", "command", "retarget", "to", to, "prefer", prefer);
}

/* ---- targets ---- */

static void test_targets(void **state)
{
	static const struct {
		const char *text, *address, *name; /* address NULL: refused */
	} targets[] = { { "h:1/n", "h:1", "n" }, { "[fe80::1]:4711/web 1", "[fe80::1]:4711", "web 1" },
		{ ":4711/n", ":4711", "n" }, { "unix:/run/w//n", "unix:/run/w", "n" },
		{ "10.0.0.2:65535/a/b", "10.0.0.2:65535", "a/b" }, { "h/n", NULL, NULL },
		{ "h:1", NULL, NULL }, { "h:1/", NULL, NULL }, { "h:65536/n", NULL, NULL },
		{ "h:-1/n", NULL, NULL }, { "h:/n", NULL, NULL }, { "unix:/run/w", NULL, NULL },
		{ "unix://n", NULL, NULL }, { "", NULL, NULL } };

	for (unsigned i = 0; i < sizeof targets / sizeof *targets; i++) {
		char text[64], shown[WT_TARGET_TEXT_MAX];
		struct wt_address address;
		struct wt_error err = { 0 };
		const char *name;
		int r;

		strcpy(text, targets[i].text);
		r = wt_target_parse(text, &address, &name, &err);
		assert_int_equal(r, targets[i].address ? 0 : -EINVAL);
		if (r) {
			assert_true(err.code == EINVAL && err.text[0]);
			continue;
		}
		assert_string_equal(wt_target_text(&address, shown), targets[i].address);
		assert_string_equal(name, targets[i].name);
	}
}

static void test_equal(void **state)
{
	const struct wt_address a = { .host = "Host", .port = 1 }, b = { .host = "host", .port = 1 },
				c = { .host = "host", .port = 2 }, d = { .unix_path = "/a" },
				e = { .unix_path = "/b" }, f = { .port = 1 };

	assert_true(wt_target_equal(&a, &b) && wt_target_equal(&d, &d) && wt_target_equal(&f, &f));
	assert_false(wt_target_equal(&a, &c) || wt_target_equal(&d, &e) || wt_target_equal(&a, &d) ||
		     wt_target_equal(&d, &a) || wt_target_equal(&a, &f));
}

/* ---- requests ---- */

static void test_take(void **state)
{
	struct wt_retarget_request r;
	struct wt_error err = { 0 };
	json_t *object = request("other:4711/web1", "old-destination");

	assert_int_equal(wt_retarget_request_take(object, &r, &err), 0);
	assert_string_equal(r.address.host, "other");
	assert_int_equal(r.address.port, 4711);
	assert_string_equal(r.name, "web1");
	assert_true(r.spare_source);
	json_decref(object);
	object = request("unix:/run/w//web1", NULL);
	assert_int_equal(wt_retarget_request_take(object, &r, &err), 0);
	assert_false(r.spare_source);
	json_decref(object);
}

static void test_take_refused(void **state)
{
	static const struct {
		const char *json, *says;
	} bad[] = { { "{}", "give the other destination" }, { "{\"to\": 5}", "give the other destination" },
		{ "{\"to\": \"h:1\"}", "no target" }, { "{\"to\": \":1/n\"}", "give the host" },
		{ "{\"to\": \"h:0/n\"}", "port 0" }, { "{\"to\": \"h:x/n\"}", "port x" },
		{ "{\"to\": \"h:1/n\", \"prefer\": \"source\"}", "only old-destination" },
		{ "{\"to\": \"h:1/n\", \"prefer\": 1}", "only old-destination" } };
	struct wt_retarget_request r;
	char longest[WT_TARGET_TEXT_MAX + 1];
	struct wt_error err = { 0 };
	json_t *object;

	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		wt_error_clear(&err);
		object = json_loads(bad[i].json, 0, NULL);
		assert_int_equal(wt_retarget_request_take(object, &r, &err), -EINVAL);
		if (!strstr(err.text, bad[i].says))
			fail_msg("%s: %s", bad[i].json, err.text);
		json_decref(object);
	}
	memset(longest, 'h', sizeof longest);
	longest[WT_TARGET_TEXT_MAX] = '\0';
	object = request(longest, NULL);
	assert_int_equal(wt_retarget_request_take(object, &r, NULL), -EINVAL);
	json_decref(object);
}

/* ---- may it be? ---- */

struct question {
	struct wt_source_retarget machine;
	struct wt_address addresses[WT_TARGETS_MAX];
	struct wt_retarget_facts facts;
	struct wt_error replay, err;
};

/* A job that moves web1 to "first:1", 0, and came there from "second:2", 1. */
static void ask_of(struct question *q)
{
	*q = (struct question){ .addresses = {
					{ .host = "first", .port = 1 }, { .host = "second", .port = 2 } } };
	wt_source_retarget_init(&q->machine);
	q->machine.roles[1] = WT_TARGET_RETIRED;
	q->facts = (struct wt_retarget_facts){
		.machine = &q->machine, .state = WT_SOURCE_STREAMING, .name = "web1", .replay = &q->replay
	};
	for (unsigned i = 0; i < WT_TARGETS_MAX; i++)
		q->facts.addresses[i] = &q->addresses[i];
}

static int may(struct question *q, const char *to)
{
	struct wt_retarget_request wanted;
	json_t *object = request(to, NULL);

	wt_error_clear(&q->err);
	assert_int_equal(wt_retarget_request_take(object, &wanted, &q->err), 0);
	json_decref(object);
	return wt_retarget_request_check(&wanted, &q->facts, &q->err);
}

static void test_taken(void **state)
{
	struct question q;

	ask_of(&q);
	assert_int_equal(may(&q, "third:3/web1"), 2);
	assert_int_equal(may(&q, "second:2/web1"), 1);
	assert_int_equal(may(&q, "SECOND:2/web1"), 1);
	/* Another process may wait where a lost one, or one without QEMU, was. */
	q.machine.roles[1] = WT_TARGET_DROPPED;
	assert_int_equal(may(&q, "second:2/web1"), 2);
	q.machine.roles[1] = WT_TARGET_HELPER;
	assert_int_equal(may(&q, "second:2/web1"), 2);
	q.facts.replay = NULL;
	assert_int_equal(may(&q, "third:3/web1"), 2);
}

static void expect_refused(struct question *q, const char *to, int code, const char *says)
{
	assert_int_equal(may(q, to), -code);
	if (!strstr(q->err.text, says))
		fail_msg("'%s' does not say '%s'", q->err.text, says);
}

static void test_refused(void **state)
{
	struct question q;

	ask_of(&q);
	expect_refused(&q, "first:1/web1", EALREADY, "first:1 is the destination already");
	expect_refused(&q, "third:3/web2", EINVAL, "moves the guest web1");
	wt_error_set(&q.replay, ENODATA, "QEMU has not listed");
	expect_refused(&q, "third:3/web1", ENODATA, "QEMU has not listed");

	ask_of(&q);
	assert_int_equal(may(&q, "unix:/run/w//web1"), 2);
	q.machine.staged = true; /* the old destination could not come there */
	expect_refused(&q, "unix:/run/w//web1", EINVAL, "give HOST:PORT/web1");
	assert_int_equal(may(&q, "third:3/web1"), 2);

	ask_of(&q);
	for (unsigned i = 2; i < WT_TARGETS_MAX; i++)
		q.machine.roles[i] = WT_TARGET_DROPPED;
	expect_refused(&q, "third:3/web1", ENOSPC, "has had 8 destinations");
	assert_int_equal(may(&q, "second:2/web1"), 1);
}

static void test_refused_states(void **state)
{
	static const struct {
		enum wt_source_state state;
		const char *says;
	} table[] = {
		{ WT_SOURCE_CONNECTING, "nothing moves yet" },
		{ WT_SOURCE_STOPPED, "being stopped just now" }, /* the other machine does not know yet */
		{ WT_SOURCE_COMMITTING, "the switchover was let go" },
		{ WT_SOURCE_DELIVERING, "the switchover was let go" },
		{ WT_SOURCE_ABORTING, "being cancelled" },
		{ WT_SOURCE_RESTARTING, "about to begin" },
		{ WT_SOURCE_AGAIN, "about to begin" },
		{ WT_SOURCE_DONE, "is over" },
		{ WT_SOURCE_ABORTED, "is over" },
		{ WT_SOURCE_UNDECIDED, "is over" },
		{ WT_SOURCE_UNDELIVERED, "is over" },
		{ WT_SOURCE_LOST, "is over" },
	};
	struct question q;

	ask_of(&q);
	for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
		q.facts.state = table[i].state;
		expect_refused(&q, "third:3/web1", EBUSY, table[i].says);
	}
	ask_of(&q);
	for (enum wt_retarget_state s = WT_RETARGET_PREPARING; s <= WT_RETARGET_SHARED; s++) {
		q.machine.state = s;
		expect_refused(&q, "third:3/web1", EBUSY, "being changed already");
	}
	q.machine.state = WT_RETARGET_OVER;
	expect_refused(&q, "third:3/web1", EBUSY, "is over");
	q.machine.state = WT_RETARGET_IDLE;
	q.machine.stopped = true;
	expect_refused(&q, "third:3/web1", EBUSY, "being stopped just now");
}

/* The guest is stopped: a new migration takes it elsewhere, to somebody who has no part in this one. */
static void test_restart(void **state)
{
	struct question q;

	ask_of(&q);
	q.machine.stopped = true;
	q.facts.state = WT_SOURCE_STOPPED;
	assert_int_equal(may(&q, "third:3/web1"), 2);
	for (enum wt_retarget_state s = WT_RETARGET_HANDING; s <= WT_RETARGET_SHARED; s++) {
		q.machine.state = s;
		assert_int_equal(may(&q, "third:3/web1"), 2);
	}
	expect_refused(&q, "first:1/web1", EALREADY, "start another one");
	expect_refused(&q, "second:2/web1", EALREADY, "start another one");
	expect_refused(&q, "third:3/web2", EINVAL, "moves the guest web1");
	q.machine.roles[1] = WT_TARGET_DROPPED;
	assert_int_equal(may(&q, "second:2/web1"), 2);
	/* Nothing is handed over, and no stream goes on. */
	q.machine.staged = true;
	wt_error_set(&q.replay, ENODATA, "QEMU has not listed");
	assert_int_equal(may(&q, "unix:/run/w//web1"), 2);
}

static void test_elsewhere(void **state)
{
	struct wt_error err = { 0 };

	assert_int_equal(wt_retarget_elsewhere(NULL, NULL, NULL, &err), -EOPNOTSUPP);
	assert_non_null(strstr(err.text, "watari send --qmp"));
}

/* ---- how far it is ---- */

static int outcome(const struct wt_retarget_report *report, json_int_t number, struct wt_error *err)
{
	json_t *status = json_pack("{s:o}", "retarget", wt_retarget_status(report));
	int r = wt_retarget_outcome(status, number, err);

	json_decref(status);
	return r;
}

static void test_outcome(void **state)
{
	struct wt_retarget_report report = { .number = 2, .to = "h:1" };
	struct wt_error err = { 0 };

	for (report.state = WT_RETARGET_PREPARING; report.state <= WT_RETARGET_SHARED; report.state++)
		assert_int_equal(outcome(&report, 2, &err), 2);
	report.over = report.good = true;
	assert_int_equal(outcome(&report, 2, &err), 0);
	report.good = false;
	report.text = "there is no route\n to h";
	assert_int_equal(outcome(&report, 2, &err), -EREMOTEIO);
	assert_non_null(strstr(err.text, "the migration goes on: there is no route? to h"));
	wt_error_clear(&err);
	assert_int_equal(outcome(&report, 1, &err), -ECANCELED);
	wt_error_clear(&err);
	assert_int_equal(outcome(&report, 3, &err), -EPROTO);
	report.number = 0;
	assert_int_equal(outcome(&report, 1, &err), -EPROTO);
}

static void test_outcome_of_a_restart(void **state)
{
	struct wt_retarget_report report = {
		.number = 2, .to = "h:1", .restarts = true, .state = WT_RETARGET_OVER
	};
	struct wt_error err = { 0 };

	assert_int_equal(outcome(&report, 2, &err), 2);
	report.over = report.good = true;
	assert_int_equal(outcome(&report, 2, &err), 1);
	report.good = false;
	report.text = "nobody is there";
	assert_int_equal(outcome(&report, 2, &err), -EREMOTEIO);
	assert_non_null(strstr(err.text, "no other one begins: nobody is there"));
}

static void test_outcome_garbage(void **state)
{
	static const char *const answers[] = { "{}", "{\"retarget\": 5}", "{\"retarget\": {\"number\": 1}}",
		"{\"retarget\": {\"number\": \"1\", \"state\": \"done\"}}",
		"{\"retarget\": {\"number\": 1, \"state\": 7}}" };

	for (unsigned i = 0; i < sizeof answers / sizeof *answers; i++) {
		json_t *status = json_loads(answers[i], 0, NULL);

		assert_int_equal(wt_retarget_outcome(status, 1, NULL), -EPROTO);
		json_decref(status);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_take_refused),
		cmocka_unit_test(test_taken),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_refused_states),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_elsewhere),
		cmocka_unit_test(test_outcome),
		cmocka_unit_test(test_outcome_of_a_restart),
		cmocka_unit_test(test_outcome_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

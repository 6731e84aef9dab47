/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_gang_journal.c - what a gang has done, on disk: read again by whoever comes later, wherever the writer
 * died.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gang_journal.h"

static char path[64];

static struct wt_gang_plan *make_plan(const char *more)
{
	struct wt_gang_plan *plan = NULL;
	struct wt_error err = { 0 };
	char text[1024];

	snprintf(text, sizeof text,
		"{\"version\":1,\"vms\":{"
		"\"a\":{\"from\":{\"qmp\":\"/a\",\"insecure\":true},\"to\":{\"qmp\":\"/b\",\"insecure\":true,\"address\":\"h:1\"}},"
		"\"b\":{\"from\":{\"qmp\":\"/c\",\"insecure\":true},\"to\":{\"qmp\":\"/d\",\"insecure\":true,\"address\":\"h:2\"}}"
		"}}%s",
		more);
	assert_int_equal(wt_gang_plan_parse(text, strlen(text), "p", &plan, &err), 0);
	return plan;
}

static int open_it(struct wt_gang_journal *j, const struct wt_gang_plan *plan, bool resume,
	struct wt_gang_order *order, const char *said)
{
	struct wt_error err = { 0 };
	int r;

	wt_gang_order_init(order, plan->count, 1);
	r = wt_gang_journal_open(j, path, plan, resume, order, &err);
	if (r && (!said || !strstr(wt_error_text(&err), said)))
		fail_msg("%s", wt_error_text(&err));
	return r;
}

static void begin(struct wt_gang_journal *j, const struct wt_gang_plan *plan)
{
	struct wt_gang_order order;
	struct wt_error err = { 0 };

	assert_int_equal(open_it(j, plan, false, &order, NULL), 0);
	assert_int_equal(wt_gang_journal_begin(j, &err), 0);
}

static void add(struct wt_gang_journal *j, enum wt_gang_action_kind kind, unsigned vm)
{
	struct wt_error err = { 0 };

	assert_int_equal(
		wt_gang_journal_add(j, (struct wt_gang_action){ (uint8_t)kind, (uint8_t)vm }, &err), 0);
}

static void test_resume(void **state)
{
	struct wt_gang_plan *plan = make_plan(""), *other = make_plan(" ");
	struct wt_gang_journal j, second;
	struct wt_gang_order order;

	begin(&j, plan);
	add(&j, WT_GANG_DO_RECEIVE, 0);
	add(&j, WT_GANG_DO_RECEIVE, 1);
	add(&j, WT_GANG_DO_SEND, 1);
	assert_int_equal(open_it(&second, plan, true, &order, "another watari gang works with"), -EBUSY);
	wt_gang_journal_close(&j);
	assert_int_equal(open_it(&j, plan, false, &order, "say --resume"), -EEXIST);
	assert_int_equal(open_it(&j, other, true, &order, "of another plan"), -EINVAL);
	assert_int_equal(open_it(&j, plan, true, &order, NULL), 0);
	assert_int_equal(order.vms[0].state, WT_GANG_AWAITING);
	assert_int_equal(order.vms[1].state, WT_GANG_LETTING_GO);
	assert_false(order.committed || order.undo);
	add(&j, WT_GANG_DO_FORWARD, 0);
	wt_gang_journal_close(&j);
	assert_int_equal(open_it(&j, plan, true, &order, NULL), 0);
	assert_true(order.committed && order.forward);
	add(&j, WT_GANG_DO_OVER, 0);
	wt_gang_journal_close(&j);
	assert_int_equal(open_it(&j, plan, true, &order, "is over"), -ENOENT);
	begin(&j, other); /* a finished one may be begun anew */
	wt_gang_journal_close(&j);
	assert_int_equal(open_it(&j, other, true, &order, NULL), 0);
	assert_int_equal(order.vms[0].state, WT_GANG_IDLE);
	wt_gang_journal_close(&j);
	wt_gang_plan_free(plan);
	wt_gang_plan_free(other);
	unlink(path);
}

static void write_text(const char *text, size_t length)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, length, file), length);
	assert_int_equal(fclose(file), 0);
}

/* The writer dies after every byte: what is read is what was said in full, and more can be said behind it. */
static void test_torn(void **state)
{
	struct wt_gang_plan *plan = make_plan("");
	struct wt_gang_journal j;
	struct wt_gang_order order;
	struct wt_error err = { 0 };
	char text[512];
	size_t length;
	unsigned lines;
	FILE *file;

	begin(&j, plan);
	add(&j, WT_GANG_DO_RECEIVE, 0);
	add(&j, WT_GANG_DO_SEND, 0);
	wt_gang_journal_close(&j);
	file = fopen(path, "re");
	assert_non_null(file);
	length = fread(text, 1, sizeof text, file);
	fclose(file);
	for (size_t cut = 0; cut <= length; cut++) {
		lines = 0;
		for (size_t i = 0; i < cut; i++)
			lines += text[i] == '\n';
		write_text(text, cut);
		assert_int_equal(open_it(&j, plan, true, &order, "nothing to resume"), lines ? 0 : -ENOENT);
		if (!lines) { /* it was not begun, and can be */
			assert_int_equal(open_it(&j, plan, false, &order, NULL), 0);
			assert_int_equal(wt_gang_journal_begin(&j, &err), 0);
			wt_gang_journal_close(&j);
			assert_int_equal(open_it(&j, plan, true, &order, NULL), 0);
			wt_gang_journal_close(&j);
			continue;
		}
		assert_int_equal(order.vms[0].state,
			lines == 1 ? WT_GANG_IDLE : (lines == 2 ? WT_GANG_AWAITING : WT_GANG_LETTING_GO));
		add(&j, WT_GANG_DO_UNDO, 0);
		wt_gang_journal_close(&j);
		assert_int_equal(open_it(&j, plan, true, &order, NULL), 0);
		assert_true(order.undo);
		wt_gang_journal_close(&j);
	}
	wt_gang_plan_free(plan);
	unlink(path);
}

static void test_refused(void **state)
{
	static const char other[] = "root:x:0:0\n",
			  step[] = "{\"gang\":1,\"digest\":\"%s\"}\n{\"step\":\"fly\",\"vm\":\"a\"}\n",
			  vm[] = "{\"gang\":1,\"digest\":\"%s\"}\n{\"step\":\"move\",\"vm\":\"c\"}\n";
	struct wt_gang_plan *plan = make_plan("");
	struct wt_gang_journal j;
	struct wt_gang_order order;
	char text[256];

	unlink(path);
	assert_int_equal(open_it(&j, plan, true, &order, "cannot be opened"), -ENOENT);
	write_text(other, sizeof other - 1);
	assert_int_equal(open_it(&j, plan, true, &order, "is no journal"), -EINVAL);
	assert_int_equal(open_it(&j, plan, false, &order, "is no journal"), -EINVAL);
	write_text(text, (size_t)snprintf(text, sizeof text, step, plan->digest));
	assert_int_equal(open_it(&j, plan, true, &order, "is no journal of watari gang (line 2)"), -EINVAL);
	write_text(text, (size_t)snprintf(text, sizeof text, vm, plan->digest));
	assert_int_equal(open_it(&j, plan, true, &order, "is no journal of watari gang (line 2)"), -EINVAL);
	wt_gang_plan_free(plan);
	unlink(path);
}

static int look(const struct wt_gang_plan *plan, enum wt_gang_journal_state *ret_state, const char *said)
{
	struct wt_error err = { 0 };
	int r = wt_gang_journal_look(path, plan, ret_state, &err);

	if (r && !strstr(wt_error_text(&err), said))
		fail_msg("%s", wt_error_text(&err));
	return r;
}

/* What somebody else's gang is doing, without a change. */
static void test_look(void **state)
{
	struct wt_gang_plan *plan = make_plan(""), *other = make_plan(" ");
	enum wt_gang_journal_state found = 0;
	struct wt_gang_journal j;

	unlink(path);
	assert_int_equal(look(plan, &found, ""), 0);
	assert_int_equal(found, WT_GANG_JOURNAL_IDLE);
	assert_int_not_equal(access(path, F_OK), 0);
	begin(&j, plan);
	add(&j, WT_GANG_DO_RECEIVE, 0);
	assert_int_equal(look(plan, &found, ""), 0);
	assert_int_equal(found, WT_GANG_JOURNAL_BUSY);
	wt_gang_journal_close(&j);
	assert_int_equal(look(plan, &found, ""), 0);
	assert_int_equal(found, WT_GANG_JOURNAL_UNFINISHED);
	assert_int_equal(look(other, &found, "of another plan"), -EINVAL);
	j.file.fd = open(path, O_WRONLY | O_APPEND);
	add(&j, WT_GANG_DO_OVER, 0);
	wt_gang_journal_close(&j);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(look(i ? plan : other, &found, ""), 0);
		assert_int_equal(found, WT_GANG_JOURNAL_IDLE);
	}
	write_text("", 0);
	assert_int_equal(look(plan, &found, ""), 0);
	assert_int_equal(found, WT_GANG_JOURNAL_IDLE);
	write_text("root:", 5);
	assert_int_equal(look(plan, &found, "is no journal"), -EINVAL);
	wt_gang_plan_free(plan);
	wt_gang_plan_free(other);
	unlink(path);
}

/* What is longer than any journal is not read in part, and not cut off. */
static void test_long(void **state)
{
	struct wt_gang_plan *plan = make_plan("");
	struct wt_gang_journal j;
	struct wt_gang_order order;
	size_t length = (1u << 20) + 1;
	char *text = malloc(length);
	struct stat file;

	assert_non_null(text);
	memset(text, '\n', length);
	write_text(text, length);
	assert_int_equal(open_it(&j, plan, true, &order, "has more than"), -EFBIG);
	assert_int_equal(stat(path, &file), 0);
	assert_int_equal(file.st_size, length);
	free(text);
	wt_gang_plan_free(plan);
	unlink(path);
}

/* A journal that cannot be written: nothing may be done. */
static void test_full(void **state)
{
	struct wt_gang_plan *plan = make_plan("");
	struct wt_gang_journal j = { .file = { .fd = -1, .path = "/dev/full" }, .plan = plan };
	struct wt_error err = { 0 };
	FILE *file = fopen("/dev/full", "we");

	assert_non_null(file);
	j.file.fd = fileno(file);
	assert_int_equal(
		wt_gang_journal_add(&j, (struct wt_gang_action){ WT_GANG_DO_UNDO, 0 }, &err), -ENOSPC);
	assert_non_null(strstr(wt_error_text(&err), "cannot be written"));
	fclose(file);
	wt_gang_plan_free(plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resume),
		cmocka_unit_test(test_torn),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_look),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_full),
	};

	snprintf(path, sizeof path, "/tmp/test_gang_journal.%d", (int)getpid());
	return cmocka_run_group_tests(tests, NULL, NULL);
}

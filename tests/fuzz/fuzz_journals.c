/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_journals.c - libFuzzer harness of the journals of gangs and of rejuvenations. Checked besides memory
 * safety:
 *   1. a refused journal has a sentence, and its file is as it was;
 *   2. an accepted one can be gone on with: what is said next is added to it, and it is accepted again;
 *   3. what was done so far allows what the order does next.
 * The first byte chooses the kind.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../qemu-glue/gang_journal.h"
#include "../../qemu-glue/rejuvenate_journal.h"
#include "json_mutator.h"
#include "promise.h"
#include "text_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const words[] = { "gang", "digest", "step", "vm", "a", "b", "start", "receive", "send",
	"move", "back", "cancel", "undo", "forward", "over", "rejuvenation", "begun_ms", "host", "guest",
	"h1", "h2", "h3", "db", "ended", "result", "ok", "failed", "lost", "text", "answer", "downtime_ms",
	"sent_bytes", "found", "home", "away", "check", "leave", "handover", "command", "probe", "return" };
static const unsigned word_count = sizeof words / sizeof *words;

static const char gang_text[] =
	"{\"version\":1,\"vms\":{"
	"\"a\":{\"from\":{\"qmp\":\"/a\",\"insecure\":true},\"to\":{\"qmp\":\"/b\",\"insecure\":true,\"address\":\"h:1\"}},"
	"\"b\":{\"from\":{\"qmp\":\"/c\",\"insecure\":true},\"to\":{\"qmp\":\"/d\",\"insecure\":true,\"address\":\"h:2\"}}}}";

static const char rejuvenation_text[] =
	"{\"version\":1,\"hosts\":{\"h1\":{\"by\":\"evacuation\",\"command\":[\"x\"]},\"h2\":{},\"h3\":{\"by\":\"handover\"}},"
	"\"guests\":{\"db\":{\"home\":{\"host\":\"h1\",\"qmp\":\"/a\",\"insecure\":true,\"address\":\"h1:1\"},"
	"\"away\":{\"host\":\"h2\",\"qmp\":\"/b\",\"insecure\":true,\"address\":\"h2:1\"}},"
	"\"b\":{\"home\":{\"host\":\"h3\",\"qmp\":\"/c\"}}}}";

/* The first line, which has the plan's digest, is put before the input unless that has one of its own. */
static char *whole_text(
	const char *first, const char *digest, const char *text, size_t length, size_t *ret_length)
{
	char *made = NULL;
	int n = length && text[0] == '\n' ? 0 : asprintf(&made, "%s\"digest\":\"%s\"}\n", first, digest);

	PROMISE(n >= 0);
	made = realloc(made, (size_t)n + length + 1);
	PROMISE(made);
	memcpy(made + n, text, length);
	*ret_length = (size_t)n + length;
	return made;
}

/* ---- gangs ---- */

static void say_more(struct wt_gang_journal *j, struct wt_gang_order *order)
{
	struct wt_error err = { 0 };
	struct wt_gang_action action;

	wt_gang_order_take_over(order);
	for (unsigned n = 0; n < 8 && (action = wt_gang_order_next(order)).kind; n++)
		PROMISE(!wt_gang_journal_add(j, action, &err));
}

static void try_gang(const char *text, size_t length)
{
	static struct wt_gang_plan *plan;
	enum wt_gang_journal_state state = 0;
	struct wt_gang_journal j = { .file.fd = -1 };
	struct wt_gang_order order;
	struct wt_error err = { 0 }, of_look = { 0 };
	const char *path;
	size_t whole;
	char *made;
	int look, r;

	if (!plan)
		PROMISE(!wt_gang_plan_parse(gang_text, sizeof gang_text - 1, "fuzz", &plan, &err));
	made = whole_text("{\"gang\":1,", plan->digest, text, length, &whole);
	path = text_file(made, whole);
	free(made);
	look = wt_gang_journal_look(path, plan, &state, &of_look);
	PROMISE(look ? of_look.text[0] : state);
	wt_gang_order_init(&order, plan->count, plan->parallel);
	r = wt_gang_journal_open(&j, path, plan, true, &order, &err);
	PROMISE(!r || (err.code && err.text[0] && j.file.fd < 0));
	if (!r) {
		PROMISE(!look && state == WT_GANG_JOURNAL_UNFINISHED);
		say_more(&j, &order);
		wt_gang_journal_close(&j);
		wt_gang_order_init(&order, plan->count, plan->parallel);
		r = wt_gang_journal_open(&j, path, plan, true, &order, &err);
		PROMISE(!r || r == -ENOENT); /* it is over */
		wt_gang_journal_close(&j);
	}
	wt_error_clear(&err);
	if (!wt_gang_journal_open(&j, path, plan, false, &order, &err)) {
		PROMISE(!wt_gang_journal_begin(&j, &err) && j.file.lines == 1);
		wt_gang_journal_close(&j);
	}
}

/* ---- rejuvenations ---- */

static void ended(void *arg, struct wt_rejuvenate_action action, const struct wt_rejuvenate_end *end)
{
	PROMISE(action.step && action.step < WT_REJUVENATE_STEPS && end->result);
}

/* Carries on; every second step fails. */
static void renew(struct wt_rejuvenate_journal *j, struct wt_rejuvenate_order *order, bool homeward)
{
	struct wt_rejuvenate_end end = { .downtime_ms = 1.5, .sent_bytes = 7, .text = "why", .answer = "so" };
	struct wt_error err = { 0 };
	struct wt_rejuvenate_action action;

	for (unsigned i = 0; i < order->guests; i++)
		if (wt_rejuvenate_order_found(order, i, WT_REJUVENATE_HOME))
			PROMISE(!wt_rejuvenate_journal_found(j, i, WT_REJUVENATE_HOME, &err));
	if (wt_rejuvenate_order_busy(order))
		return; /* whoever resumes waits for their ends first */
	wt_rejuvenate_order_resume(order, homeward);
	for (unsigned n = 0; n < 12 && (action = wt_rejuvenate_order_next(order)).step; n++) {
		PROMISE(!wt_rejuvenate_journal_step(j, action, &err));
		if (action.step == WT_REJUVENATE_OVER)
			return;
		end.result = n % 2 ? WT_REJUVENATE_OK : WT_REJUVENATE_FAILED;
		PROMISE(!wt_rejuvenate_journal_end(j, action, &end, &err));
		wt_rejuvenate_order_ended(order, action, end.result);
	}
}

static void try_rejuvenation(const char *text, size_t length)
{
	static struct wt_rejuvenate_plan *plan;
	struct wt_rejuvenate_journal j = { .file.fd = -1 };
	struct wt_rejuvenate_order order;
	struct wt_error err = { 0 };
	const char *path;
	size_t whole;
	char *made;
	int r;

	if (!plan)
		PROMISE(!wt_rejuvenate_plan_parse(
			rejuvenation_text, sizeof rejuvenation_text - 1, "fuzz", &plan, &err));
	made = whole_text("{\"rejuvenation\":1,\"begun_ms\":5,", plan->digest, text, length, &whole);
	path = text_file(made, whole);
	free(made);
	order = plan->order;
	r = wt_rejuvenate_journal_open(&j, path, plan, true, &order, ended, NULL, &err);
	PROMISE(!r || (err.code && err.text[0] && j.file.fd < 0));
	if (!r) {
		renew(&j, &order, length % 2);
		wt_rejuvenate_journal_close(&j);
		order = plan->order;
		r = wt_rejuvenate_journal_open(&j, path, plan, true, &order, ended, NULL, &err);
		PROMISE(!r || r == -ENOENT);
		wt_rejuvenate_journal_close(&j);
	}
	wt_error_clear(&err);
	if (!wt_rejuvenate_journal_open(&j, path, plan, false, &order, ended, NULL, &err)) {
		PROMISE(!wt_rejuvenate_journal_begin(&j, 9, &err) && j.file.lines == 1);
		wt_rejuvenate_journal_close(&j);
	}
}

static int take_any(void *arg, json_t *line, unsigned number, struct wt_error *err)
{
	return line ? (int)number : 0;
}

/* One at a time; what is not there, or cannot be written, or is too long, is refused. */
static void try_files(void)
{
	struct wt_journal_file one = { .fd = -1 }, two = { .fd = -1 };
	struct wt_error err = { 0 };
	const char *path = text_file("{}\n", 3);
	size_t length = (1u << 20) + 1;
	char *text = malloc(length);

	PROMISE(text && wt_journal_open(&one, "/nothing/x", "it", true, &err) == -ENOENT);
	PROMISE(!wt_journal_open(&one, path, "it", false, &err));
	PROMISE(wt_journal_open(&two, path, "it", false, &err) == -EBUSY && two.fd < 0);
	PROMISE(wt_journal_peek(&two, path, "it", &err) == -EBUSY);
	wt_journal_close(&one);
	PROMISE(!wt_journal_peek(&one, path, "it", &err));
	PROMISE(wt_journal_read(&one, "{}\n[", take_any, NULL, &err) == 1 && one.lines == 1);
	PROMISE(wt_journal_add(&one, json_object(), &err) < 0 &&
		wt_journal_begin(&one, json_object(), &err) < 0);
	wt_journal_close(&one);
	memset(text, '\n', length);
	PROMISE(!wt_journal_open(&one, text_file(text, length), "it", false, &err));
	free(text);
	PROMISE(wt_journal_text(&one, &text, &err) == -EFBIG && err.text[0]);
	wt_journal_close(&one);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;
	static bool first = true;

	if (first)
		try_files();
	first = false;

	if (size < 1)
		return 0;
	if (data[0] % 2)
		try_gang(text, size - 1);
	else
		try_rejuvenation(text, size - 1);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_gang_step.c - commands in step: the rule, for three guests and all that they may do in any order; and
 * the commands' words.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gang_step.h"

#define GUESTS 3u

enum truth { WORKING, HELD, OVER, TRUTHS };

static struct wt_gang_step *step;
static bool seen[WT_GANG_STEP_OVER + 1][2][TRUTHS * TRUTHS * TRUTHS];
static unsigned all_went, all_undone;

static void set(unsigned guest, enum truth truth, bool held_before)
{
	step->vms[guest].relay.held = truth == HELD || held_before;
	step->vms[guest].over = truth == OVER;
}

/* What may come from here; nobody goes on but in GOING, and nobody leaves it but to OVER. */
static void search(enum wt_gang_step_phase phase, bool cancelled, const enum truth *truths)
{
	enum wt_gang_step_phase next;
	unsigned held = 0, over = 0, key = 0;

	for (unsigned i = 0; i < GUESTS; i++) {
		set(i, truths[i], truths[i] != WORKING);
		held += truths[i] == HELD;
		over += truths[i] == OVER;
		key = TRUTHS * key + truths[i];
	}
	step->phase = phase;
	step->cancelled = cancelled;
	next = wt_gang_step_next(step);
	if (next == WT_GANG_STEP_GOING && phase != next)
		assert_true(phase == WT_GANG_STEP_GATHERING && held == GUESTS && !cancelled);
	if (next == WT_GANG_STEP_UNDOING && phase != next)
		assert_true(phase == WT_GANG_STEP_GATHERING && (over || cancelled));
	if (next == WT_GANG_STEP_OVER) {
		assert_true(over == GUESTS && phase != WT_GANG_STEP_GATHERING);
		all_went += phase == WT_GANG_STEP_GOING;
		all_undone += phase == WT_GANG_STEP_UNDOING;
	}
	if (phase == WT_GANG_STEP_OVER || seen[next][cancelled][key])
		return;
	seen[next][cancelled][key] = true;
	search(next, cancelled, truths);
	search(next, true, truths);
	for (unsigned i = 0; i < GUESTS; i++)
		for (enum truth truth = truths[i] + 1; truth < TRUTHS; truth++) {
			enum truth after[GUESTS];

			memcpy(after, truths, sizeof after);
			after[i] = truth;
			search(next, cancelled, after);
		}
}

static void test_rule(void **state)
{
	static const enum truth first[GUESTS] = { WORKING, WORKING, WORKING };

	step = calloc(1, sizeof *step);
	step->count = GUESTS;
	search(WT_GANG_STEP_GATHERING, false, first);
	assert_true(all_went && all_undone);
	free(step);
}

static void test_line(void **state)
{
	struct wt_gang_plan plan = { .watari = (char *)"/opt/watari" };
	struct wt_gang_end end = { .prefix = { .count = 2, .words = { (char *)"ssh", (char *)"h1" } },
		.qmp = (char *)"/run/q",
		.agent = (char *)"/run/a" };
	struct wt_plan_words more = { .count = 1, .words = { (char *)"--zstd" } };
	struct wt_gang_line line;

	wt_gang_line_begin(&line, &plan, &end, "checkpoint");
	wt_gang_line_make(&line, "--hold=%us", 7u);
	wt_gang_line_add_qemu(&line, &end); /* an agent without devices is not its business */
	wt_gang_line_add_all(&line, &more);
	wt_gang_line_add_option(&line, "--none", NULL);
	wt_gang_line_make(&line, "%s/%d", "dir", 1);
	static const char *const wanted[] = { "ssh", "h1", "/opt/watari", "checkpoint", "--hold=7s", "--qmp",
		"/run/q", "--zstd", "dir/1" };
	assert_int_equal(line.count, sizeof wanted / sizeof wanted[0]);
	for (unsigned i = 0; i < line.count; i++)
		assert_string_equal(line.words[i], wanted[i]);
	assert_null(line.words[line.count]);
	end.devices = (char *)"/etc/map";
	wt_gang_line_begin(&line, &plan, &end, NULL);
	wt_gang_line_add_qemu(&line, &end);
	assert_int_equal(line.count, 8);
	assert_string_equal(line.words[7], "/run/a");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rule), cmocka_unit_test(test_line) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

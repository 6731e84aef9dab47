/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_migrate.c - `watari-mpi migrate`: a job lets its devices go, its guests move, and it goes on where
 * they are.
 *
 * The guests are moved by `watari gang` (command_guests.h).
 *   1. The gang begins only when every rank is detached; ranks are told to come back only when the gang is
 * over. So a device is plugged in again before a rank looks for it.
 *   2. What is found half done is finished, not begun anew: a gang that is under way, or guests that have
 * moved.
 *
 * Points of WATARI_DIE_BEFORE: migrate.quiesce, .move, .find, .resume, .end.
 */
#include <errno.h>
#include <stdio.h>

#include "command_guests.h"
#include "sabotage.h"

static int let_go(struct wt_guests *m)
{
	wt_sabotage_before("migrate.quiesce");
	return wt_guests_let_go(m);
}

/* Until the gang is over, and every guest was found. */
static int move(struct wt_guests *m, bool resume)
{
	char text[2 * WT_ERROR_TEXT_MAX];
	struct wt_error err = { 0 };
	enum wt_guests_ends likely;

	wt_reaches_close(&m->reaches);
	wt_sabotage_before("migrate.move");
	wt_guests_tell_stage(m, "move", resume ? "its guests' move goes on" : "its guests move");
	likely = wt_guests_run_gang(m, resume ? "--resume" : NULL) == WT_EXIT_FAILED ? WT_GUESTS_FROM_FIRST
										     : WT_GUESTS_TO_FIRST;
	wt_sabotage_before("migrate.find");
	if (wt_guests_ask_plan(m, &err) < 0 || m->plan.gang != WT_JOB_PLAN_IDLE)
		snprintf(text, sizeof text,
			"the guests' move is not over%s%s, and the ranks of job %s wait; the same command again finishes both",
			err.code ? ", as far as is known: " : "", err.code ? err.text : "", m->options.name);
	else if (wt_guests_find_patiently(m, likely, &err) < 0)
		snprintf(text, sizeof text,
			"%s; the ranks of job %s wait: the same command again, when that guest answers, lets them go on",
			wt_error_text(&err), m->options.name);
	else
		return WT_GUESTS_GO_ON;
	return wt_guests_tell_end(m, "unfinished", WT_EXIT_STANDS, text);
}

/* The gang is over. */
static int come_back(struct wt_guests *m)
{
	const char *name = m->options.name;
	char text[WT_ERROR_TEXT_MAX + 256];
	struct wt_error err = { 0 };
	int status;

	wt_sabotage_before("migrate.resume");
	wt_guests_tell_stage(m, "resume",
		m->moved ? "its ranks come back where the guests are"
			 : "its ranks come back where they were");
	status = wt_command_bring(&m->reaches, WT_BARRIER_RESUME, &m->options, &err);
	wt_sabotage_before("migrate.end");
	if (status < 0) {
		snprintf(text, sizeof text,
			"%zu of %zu guests have moved, but: %s; the same command again, "
			"or watari-mpi resume, lets job %s go on",
			m->moved, m->plan.count, wt_error_text(&err), name);
		return wt_guests_tell_end(
			m, "unfinished", status == -ENOENT ? WT_EXIT_FAILED : WT_EXIT_STANDS, text);
	}
	if (m->moved == m->plan.count)
		return wt_guests_tell_end(m, "moved", WT_EXIT_OK, "runs at the destination");
	snprintf(text, sizeof text, "%zu of %zu guests have moved; job %s runs on %s", m->moved,
		m->plan.count, name, m->moved ? "where each of its guests is" : "at the source, as before");
	return wt_guests_tell_end(
		m, m->moved ? "partly" : "stayed", m->moved ? WT_EXIT_STANDS : WT_EXIT_FAILED, text);
}

/* Everybody is where he was, and nothing is under way; or one of before is to be finished. */
static int migrate(struct wt_guests *m)
{
	bool half = m->plan.gang != WT_JOB_PLAN_IDLE, resume;
	char text[WT_ERROR_TEXT_MAX + 256];
	struct wt_error err = { 0 };
	int status = 0, code = WT_GUESTS_GO_ON;

	if (m->plan.gang == WT_JOB_PLAN_BUSY)
		status = wt_guests_wait_gang(
			m, "the guests are being moved already; waiting until that is over", &err);
	resume = m->plan.gang == WT_JOB_PLAN_UNFINISHED;
	if (status >= 0 && !resume)
		status = wt_guests_find(m, WT_GUESTS_FROM_FIRST, &err);
	if (status < 0) {
		snprintf(text, sizeof text, "%s; nothing was touched", wt_error_text(&err));
		return wt_guests_tell_end(m, "refused", WT_EXIT_FAILED, text);
	}
	half = half || m->moved;
	if (!half)
		code = let_go(m);
	if (code == WT_GUESTS_GO_ON && (!half || resume))
		code = move(m, resume);
	return code == WT_GUESTS_GO_ON ? come_back(m) : code;
}

int wt_command_migrate(int argc, char **argv)
{
	static struct wt_guests m = { .event = "migrated", .others_stay = true };
	struct wt_error err = { 0 };
	char text[WT_ERROR_TEXT_MAX + 64];
	int code = wt_command_options(argc, argv, WT_COMMAND_PLAN, &m.options);

	if (code)
		return code;
	wt_command_watari(&m.options, m.watari);
	if (m.options.journal) {
		m.gang[0] = "--journal";
		m.gang[1] = m.options.journal;
	}
	if (wt_guests_ask_plan(&m, &err) < 0) {
		snprintf(text, sizeof text, "%s; nothing was touched", wt_error_text(&err));
		return wt_guests_tell_end(&m, "refused", WT_EXIT_FAILED, text);
	}
	code = migrate(&m);
	wt_guests_close(&m);
	return code;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_checkpoint.c - `watari-mpi checkpoint` and `restart`: a job lets its devices go, its guests are
 * written to files as they are at one moment, and it goes on; or its guests run again from these files, and
 * it goes on where they are.
 *
 * The guests are written, and restored, by `watari gang` (command_guests.h).
 *   1. A guest is written only when every rank of the job is detached: so whatever runs again from it may
 * come back over any fabric, at any address.
 *   2. Whatever fails, the ranks are told to go on, unless that fails as well. What the folder holds is the
 * gang's to say.
 *   3. A restart that finds all guests at work only lets the ranks go on; one that finds some is refused, for
 * the others would be of another moment.
 *
 * Points of WATARI_DIE_BEFORE: checkpoint.quiesce, .save, .find, .resume, .end; restart.restore, .find,
 * .resume, .end.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "command_guests.h"
#include "sabotage.h"

#define TEXT_MAX (3 * WT_ERROR_TEXT_MAX)

static int refuse(const struct wt_guests *g, const struct wt_error *err)
{
	char text[TEXT_MAX];

	snprintf(text, sizeof text, "%s; nothing was touched", wt_error_text(err));
	return wt_guests_tell_end(g, "refused", WT_EXIT_FAILED, text);
}

/* ---- checkpoint ---- */

/* The gang has ended with this code. Answers the exit code. */
static int come_back(struct wt_guests *g, int gang)
{
	bool saved = !gang || gang == WT_EXIT_STANDS; /* then it has said what is wrong with it */
	const char *name = g->options.name;
	struct wt_error err = { 0 };
	char text[TEXT_MAX];
	int status;

	wt_sabotage_before("checkpoint.find");
	if (gang < 0) /* it was killed, and guests may be held */
		wt_guests_run_gang(g, "--undo");
	status = wt_guests_find_patiently(g, WT_GUESTS_FROM_ONLY, &err);
	if (status >= 0) {
		wt_sabotage_before("checkpoint.resume");
		wt_guests_tell_stage(g, "resume", "its ranks come back");
		status = wt_command_bring(&g->reaches, WT_BARRIER_RESUME, &g->options, &err);
	}
	wt_sabotage_before("checkpoint.end");
	if (status < 0) {
		snprintf(text, sizeof text,
			"%s, but: %s; the ranks of job %s wait: watari-mpi resume, with --agent for each guest, lets them go on",
			saved ? "the job was saved" : "nothing was saved", wt_error_text(&err), name);
		return wt_guests_tell_end(g, saved ? "saved" : "unfinished",
			status == -ENOENT ? WT_EXIT_FAILED : WT_EXIT_STANDS, text);
	}
	if (saved)
		return wt_guests_tell_end(g, "saved", gang, "is saved, and runs");
	snprintf(text, sizeof text, "job %s was not saved, and runs as before", name);
	return wt_guests_tell_end(g, "failed", WT_EXIT_FAILED, text);
}

/* A guest that is silent may be held by what a coordinator that was killed has left. */
static int find_free(struct wt_guests *g, struct wt_error *err)
{
	int status = wt_guests_find(g, WT_GUESTS_FROM_ONLY, err);

	if (status != -EHOSTUNREACH)
		return status;
	wt_guests_run_gang(g, "--undo");
	wt_error_clear(err);
	return wt_guests_find(g, WT_GUESTS_FROM_ONLY, err);
}

static int save(struct wt_guests *g)
{
	struct wt_error err = { 0 };
	char note[128];
	int status = 0, code;

	if (g->plan.gang == WT_JOB_PLAN_BUSY)
		status = wt_guests_wait_gang(
			g, "somebody works in that folder already; waiting until that is over", &err);
	if (status >= 0)
		status = find_free(g, &err);
	if (status >= 0) {
		wt_command_describe(&g->reaches, &g->options, note, sizeof note);
		status = wt_guests_find(g, WT_GUESTS_FROM_ONLY, &err);
	}
	if (status < 0)
		return refuse(g, &err);
	g->gang[4] = "--note";
	g->gang[5] = note;
	wt_sabotage_before("checkpoint.quiesce");
	code = wt_guests_let_go(g);
	if (code != WT_GUESTS_GO_ON)
		return code;
	wt_reaches_close(&g->reaches);
	wt_sabotage_before("checkpoint.save");
	wt_guests_tell_stage(g, "save", "its guests are written");
	return come_back(g, wt_guests_run_gang(g, NULL));
}

int wt_command_checkpoint(int argc, char **argv)
{
	static struct wt_guests g = { .event = "checkpoint" };
	struct wt_error err = { 0 };
	int code = wt_command_options(argc, argv, WT_COMMAND_CHECKPOINT, &g.options);

	if (code)
		return code;
	wt_command_watari(&g.options, g.watari);
	g.gang[0] = "--checkpoint";
	g.gang[1] = g.options.folder;
	g.gang[2] = "--of";
	g.gang[3] = g.options.name;
	code = wt_guests_ask_plan(&g, &err) < 0 ? refuse(&g, &err) : save(&g);
	wt_guests_close(&g);
	return code;
}

/* ---- restart ---- */

static int go_on(struct wt_guests *g)
{
	const char *name = g->options.name;
	struct wt_error err = { 0 };
	char text[TEXT_MAX];
	int status;

	wt_sabotage_before("restart.resume");
	wt_guests_tell_stage(g, "resume", "its ranks come back where the guests are");
	status = wt_command_bring(&g->reaches, WT_BARRIER_RESUME, &g->options, &err);
	wt_sabotage_before("restart.end");
	if (status >= 0)
		return wt_guests_tell_end(g, "restarted", WT_EXIT_OK, "runs again");
	snprintf(text, sizeof text,
		"the guests run, but: %s; the same command again, or watari-mpi resume, lets job %s go on",
		wt_error_text(&err), name);
	return wt_guests_tell_end(g, "unfinished", status == -ENOENT ? WT_EXIT_FAILED : WT_EXIT_STANDS, text);
}

static int restore(struct wt_guests *g)
{
	struct wt_error err = { 0 };
	char text[TEXT_MAX];
	int gang;

	wt_reaches_close(&g->reaches);
	wt_sabotage_before("restart.restore");
	wt_guests_tell_stage(g, "restore", "its guests are restored");
	gang = wt_guests_run_gang(g, NULL);
	wt_sabotage_before("restart.find");
	if (gang == WT_EXIT_FAILED || gang == WT_EXIT_USAGE)
		return wt_guests_tell_end(g, "failed", WT_EXIT_FAILED,
			"no guest runs, and the checkpoint is as it was: the same command may be given again");
	if (gang) {
		snprintf(text, sizeof text,
			"some guests of job %s may run without the others: end their QEMUs, and give the same command again",
			g->options.name);
		return wt_guests_tell_end(g, "partly", WT_EXIT_STANDS, text);
	}
	if (wt_guests_find_patiently(g, WT_GUESTS_TO_ONLY, &err) >= 0)
		return go_on(g);
	snprintf(text, sizeof text,
		"the guests run, but %s; the same command again, when that guest answers, lets job %s go on",
		wt_error_text(&err), g->options.name);
	return wt_guests_tell_end(g, "unfinished", WT_EXIT_STANDS, text);
}

/* Do guests run already, where they shall? */
static int restart(struct wt_guests *g)
{
	struct wt_error err = { 0 };
	int status = 0;

	if (g->plan.gang == WT_JOB_PLAN_BUSY)
		status = wt_guests_wait_gang(
			g, "somebody works in that folder already; waiting until that is over", &err);
	if (status < 0)
		return refuse(g, &err);
	g->options.name = g->plan.job;
	status = wt_guests_find(g, WT_GUESTS_TO_ONLY, &err);
	if (status >= 0)
		return go_on(g);
	if (!g->moved)
		return restore(g);
	wt_error_clear(&err);
	wt_error_set(&err, EBUSY,
		"%zu of the %zu guests of job %s run where they shall run again; all must go back to one moment, so end their "
		"QEMUs first",
		g->moved, g->plan.count, g->options.name);
	return refuse(g, &err);
}

int wt_command_restart(int argc, char **argv)
{
	static struct wt_guests g = { .event = "restart" };
	struct wt_error err = { 0 };
	int code = wt_command_options(argc, argv, WT_COMMAND_RESTART, &g.options);

	if (code)
		return code;
	wt_command_watari(&g.options, g.watari);
	g.gang[0] = "--restore";
	g.gang[1] = g.options.folder;
	code = wt_guests_ask_plan(&g, &err) < 0 ? refuse(&g, &err) : restart(&g);
	wt_guests_close(&g);
	return code;
}

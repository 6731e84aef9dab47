/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rejuvenate.c - the coordinator that renews hosts: rejuvenate_order.h tied to commands and a journal. See
 * rejuvenate.h.
 *
 *   1. A step is in the journal, for good, before it is carried out, and its end before the next one is said.
 *   2. No guest is touched from here: that is done by gangs and upgrades, which outlive the coordinator.
 *   3. A coordinator that takes over reads the outputs of those that run, or have ended unseen, and goes on.
 *
 * One thread, in turns of TICK_NS.
 */
#include "rejuvenate.h"

#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rejuvenate_internal.h"
#include "relay.h"
#include "sabotage.h"

#define TICK_NS 20000000ull

static void leave(struct wt_rejuvenate *run)
{
	run->left = true;
	wt_loop_stop(run->loop, 0);
}

/* ---- steps ---- */

static const char *name_of(const struct wt_rejuvenate *run, struct wt_rejuvenate_action action)
{
	return wt_rejuvenate_step_of_guest((enum wt_rejuvenate_step)action.step)
		       ? run->plan->guests[action.which].name
		       : run->plan->hosts[action.which].name;
}

static void begin(struct wt_rejuvenate *run, struct wt_rejuvenate_action action, bool take_over)
{
	unsigned host = wt_rejuvenate_order_host(&run->order, action);
	const char *before = NULL;
	char path[PATH_MAX];

	if (action.step == WT_REJUVENATE_PROBE && run->plan->hosts[host].probe_differs &&
		!run->order.homeward)
		before = run->answers[host];
	snprintf(path, sizeof path, "%s.%u.%s.%s", run->options->journal, run->journal.said_in[host],
		wt_rejuvenate_step_name((enum wt_rejuvenate_step)action.step), name_of(run, action));
	wt_rejuvenate_step_begin(&run->steps[host], run->plan, action, path, run->program, before, take_over,
		wt_loop_now_ns(run->loop));
	run->under_way[host] = true;
}

/* What a step means for all that comes, whoever has seen its end. */
static void learn(void *arg, struct wt_rejuvenate_action action, const struct wt_rejuvenate_end *end)
{
	struct wt_rejuvenate *run = arg;
	unsigned host = wt_rejuvenate_order_host(&run->order, action);

	if (action.step == WT_REJUVENATE_CHECK && end->result == WT_REJUVENATE_OK)
		snprintf(run->answers[host], sizeof run->answers[host], "%s", end->answer);
	snprintf(run->why[host], sizeof run->why[host], "%s", end->text);
	if (end->downtime_ms > run->worst_downtime_ms)
		run->worst_downtime_ms = end->downtime_ms;
	run->sent_bytes += end->sent_bytes;
}

static void finish(struct wt_rejuvenate *run, unsigned host)
{
	struct wt_rejuvenate_run_step *step = &run->steps[host];
	struct wt_rejuvenate_action action = step->action;

	if (wt_rejuvenate_journal_end(&run->journal, action, &step->end, &run->error)) {
		leave(run);
		return;
	}
	wt_rejuvenate_order_ended(&run->order, action, step->end.result);
	learn(run, action, &step->end);
	wt_rejuvenate_tell_ended(run, action, &step->end);
	wt_rejuvenate_step_close(step);
	run->under_way[host] = false;
}

/* Answers whether there was anything to be done. */
static bool act(struct wt_rejuvenate *run)
{
	struct wt_rejuvenate_action action = wt_rejuvenate_order_next(&run->order);
	char point[160], written[sizeof point + 16];

	if (!action.step)
		return false;
	snprintf(point, sizeof point, "rejuvenate.%s.%s",
		wt_rejuvenate_step_name((enum wt_rejuvenate_step)action.step), name_of(run, action));
	snprintf(written, sizeof written, "%s.written", point);
	wt_sabotage_before(point);
	if (wt_rejuvenate_journal_step(&run->journal, action, &run->error)) {
		leave(run);
		return false;
	}
	wt_sabotage_before(written);
	if (action.step == WT_REJUVENATE_OVER)
		return false;
	wt_rejuvenate_tell_begin(run, action);
	begin(run, action, false);
	wt_sabotage_after(point);
	return true;
}

/* Nothing is under way, or nothing but questions, which may be asked again. */
static bool at_rest(const struct wt_rejuvenate *run)
{
	for (unsigned i = 0; i < run->plan->order.hosts; i++)
		if (run->under_way[i] &&
			!(run->order.stopped && run->steps[i].action.step == WT_REJUVENATE_PROBE))
			return false;
	return true;
}

static void tick(void *arg, uint64_t now_ns)
{
	struct wt_rejuvenate *run = arg;

	wt_loop_timer_set(run->loop, &run->tick, now_ns + TICK_NS, tick, run);
	for (unsigned i = 0; i < run->plan->order.hosts && !run->left; i++)
		if (run->under_way[i] && wt_rejuvenate_step_read(&run->steps[i], now_ns))
			finish(run, i);
	while (!run->left && act(run))
		;
	if (!run->left && at_rest(run))
		wt_loop_stop(run->loop, 0);
}

/* ---- signals ---- */

static void signalled(void *arg, const char *name)
{
	struct wt_rejuvenate *run = arg;
	const char *text = "stopping when what is under way has ended; once more: leaves it to --resume";

	if (run->order.stopped) {
		wt_error_set(&run->error, ECANCELED, "left by %s", name);
		leave(run);
		return;
	}
	wt_rejuvenate_order_stop(&run->order);
	wt_report_event(&run->report, "note", json_pack("{s:s}", "text", text), text);
}

/* ---- beginning ---- */

/* Removes the files of one of before, JOURNAL.NUMBER...: a line's number names its step's. */
static int forget(const char *journal, struct wt_error *err)
{
	char *copy = strdup(journal), *copy2 = strdup(journal), *name, path[PATH_MAX];
	const char *directory;
	struct dirent *entry;
	DIR *dir = NULL;
	int r = 0;

	if (copy && copy2) {
		directory = dirname(copy);
		name = basename(copy2);
		dir = opendir(directory);
		while (dir && (entry = readdir(dir))) {
			size_t length = strlen(name);
			const char *rest = entry->d_name + length;

			if (strncmp(entry->d_name, name, length) != 0 || rest[0] != '.' || rest[1] < '0' ||
				rest[1] > '9')
				continue;
			snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
			if (unlink(path) && errno != ENOENT)
				r = wt_error_set(
					err, errno, "%s cannot be removed: %s", path, strerror(errno));
		}
	}
	if (!dir)
		r = wt_error_set(err, errno, "%s cannot be read: %s", journal, strerror(errno));
	else
		closedir(dir);
	free(copy);
	free(copy2);
	return r;
}

static int take_found(struct wt_rejuvenate *run, char *word, struct wt_error *err)
{
	char *place = strchr(word, '='), name[WT_DEVICE_NAME_MAX + 1] = "";
	bool away = place && strcmp(place, "=away") == 0;
	unsigned i = 0;

	if (place && (size_t)(place - word) < sizeof name)
		memcpy(name, word, (size_t)(place - word));
	while (i < run->plan->order.guests && strcmp(run->plan->guests[i].name, name) != 0)
		i++;
	if (!away && (!place || strcmp(place, "=home") != 0))
		return wt_error_set(err, EINVAL, "--found %.80s: it must be GUEST=home or GUEST=away", word);
	if (i == run->plan->order.guests)
		return wt_error_set(err, EINVAL, "--found %.80s: the plan has no such guest", word);
	if (away && !run->plan->guests[i].leave)
		return wt_error_set(err, EINVAL, "--found %.80s: this guest never leaves its host", word);
	if (!wt_rejuvenate_order_found(&run->order, i, away ? WT_REJUVENATE_AWAY : WT_REJUVENATE_HOME))
		return wt_error_set(err, EINVAL, "--found %.80s: it is known where this guest is", word);
	return wt_rejuvenate_journal_found(
		&run->journal, i, away ? WT_REJUVENATE_AWAY : WT_REJUVENATE_HOME, err);
}

static void take_over(struct wt_rejuvenate *run)
{
	wt_rejuvenate_order_resume(&run->order, run->options->homeward);
	for (unsigned i = 0; i < run->plan->order.hosts; i++)
		if (run->order.host[i].doing.step)
			begin(run, run->order.host[i].doing, true);
}

static int open_journal(struct wt_rejuvenate *run, struct wt_error *err)
{
	const struct wt_rejuvenate_options *o = run->options;
	int r;

	run->order = run->plan->order;
	r = wt_rejuvenate_journal_open(
		&run->journal, o->journal, run->plan, o->resume, &run->order, learn, run, err);
	if (r)
		return r;
	if (!o->resume) {
		r = forget(o->journal, err);
		return r ? r : wt_rejuvenate_journal_begin(&run->journal, wt_rejuvenate_now_ms(), err);
	}
	for (unsigned i = 0; !r && i < o->found_count; i++)
		r = take_found(run, o->found[i], err);
	if (!r)
		take_over(run);
	return r;
}

static int start(struct wt_rejuvenate *run, struct wt_error *err)
{
	struct wt_rejuvenate_plan *plan = NULL;
	ssize_t length = readlink("/proc/self/exe", run->program, sizeof run->program - 1);
	int r = wt_loop_open(&run->loop);

	if (r || length < 0)
		return wt_error_set(
			err, r ? -r : errno, "no event loop, or no /proc: %s", strerror(r ? -r : errno));
	r = wt_rejuvenate_plan_read(run->options->plan, &plan, err);
	run->plan = plan;
	if (!r)
		r = open_journal(run, err);
	if (!r)
		r = wt_signals_open(&run->signals, run->loop, signalled, run, err);
	if (!r)
		wt_loop_timer_set(run->loop, &run->tick, wt_loop_now_ns(run->loop), tick, run);
	return r;
}

static void close_all(struct wt_rejuvenate *run)
{
	for (unsigned i = 0; i < WT_REJUVENATE_HOSTS_MAX; i++)
		wt_rejuvenate_step_close(&run->steps[i]);
	wt_rejuvenate_journal_close(&run->journal);
	wt_rejuvenate_plan_free((struct wt_rejuvenate_plan *)run->plan);
	wt_signals_close(&run->signals);
	if (run->loop)
		wt_loop_close(run->loop);
}

int wt_rejuvenate_run(const struct wt_rejuvenate_options *options)
{
	struct wt_rejuvenate *run = calloc(1, sizeof *run);
	struct wt_error err = { 0 };
	int code;

	if (!run)
		return wt_report_no_memory();
	run->options = options;
	run->journal.file.fd = run->signals.fd = -1;
	run->worst_downtime_ms = -1;
	wt_report_open(&run->report, options->json);
	if (start(run, &err)) {
		wt_report_error(&run->report, wt_error_text(&err));
		code = WT_EXIT_FAILED;
	} else {
		wt_loop_run(run->loop);
		code = wt_rejuvenate_tell_end(run);
	}
	close_all(run);
	free(run);
	return code;
}

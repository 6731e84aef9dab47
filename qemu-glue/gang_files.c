/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_files.c - `watari gang --checkpoint` and `--restore`: all guests of a job to and from files, in step
 * (gang_step.h). See gang.h.
 *
 *   1. No guest runs on before all are stopped, and written: whatever one of them has heard from another,
 * that other one has said before it was written. So TCP connections between them are whole in what is
 * restored.
 *   2. The folder has the new checkpoint when every guest's is on disk, by one rename; until then it has the
 * one before.
 *   3. No guest runs again before all are loaded. If one cannot be, none has run, and the QEMUs are ended.
 *
 * Points of WATARI_DIE_BEFORE, and of WATARI_STOP_BEFORE: save.begin, .going (all are held), .undoing,
 * .commit, .committed; restore.begin, .going, .undoing, .over.
 */
#include "gang.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gang_step.h"
#include "job_folder.h"
#include "relay.h"
#include "sabotage.h"
#include "signals.h"

/* Means the same to a shell, as in a plan. */
#define WORD_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-+=:,/@"

struct files {
	const struct wt_gang_options *options;
	struct wt_gang_plan *plan;
	struct wt_loop *loop;
	struct wt_report report;
	struct wt_signals signals;
	struct wt_job_folder folder;
	struct wt_gang_step step;
	struct wt_job_record record; /* checkpoint: what is being made */
	char names[PATH_MAX + 16];   /* of the processes' files */
	uint64_t start_ns;
};

static const char *verb(const struct files *f)
{
	return f->options->restore ? "restore" : "save";
}

static void sabotage(const struct files *f, const char *point)
{
	char whole[64];

	snprintf(whole, sizeof whole, "%s.%s", verb(f), point);
	wt_sabotage_before(whole);
}

/* ---- the guests' commands ---- */

static void make_path(struct wt_gang_line *line, const struct files *f, uint64_t generation, unsigned vm)
{
	wt_gang_line_make(line, "%s/%016" PRIx64 "/%s", f->folder.path, generation, f->plan->vms[vm].name);
}

static void checkpoint_line(void *arg, unsigned number, struct wt_gang_line *line)
{
	const struct files *f = arg;
	const struct wt_gang_vm *vm = &f->plan->vms[number];

	wt_gang_line_begin(line, f->plan, &vm->from, "checkpoint");
	wt_gang_line_add(line, "--json");
	wt_gang_line_make(line, "--hold=%us", f->plan->hold_s);
	wt_gang_line_make(line, "--job=%s-%s", vm->name, f->step.job);
	wt_gang_line_make(line, "--name=%s", vm->name);
	wt_gang_line_add_qemu(line, &vm->from);
	wt_gang_line_add_all(line, &vm->checkpoint);
	if (wt_job_folder_guest(&f->folder, vm->name)) {
		wt_gang_line_add(line, "--base");
		make_path(line, f, f->folder.record.generation, number);
	}
	make_path(line, f, f->record.generation, number);
}

static void restore_line(void *arg, unsigned number, struct wt_gang_line *line)
{
	const struct files *f = arg;
	const struct wt_gang_vm *vm = &f->plan->vms[number];

	wt_gang_line_begin(line, f->plan, &vm->to, "restore");
	wt_gang_line_add(line, "--json");
	wt_gang_line_make(line, "--hold=%us", f->plan->hold_s);
	wt_gang_line_make(line, "--job=%s-%s", vm->name, f->step.job);
	wt_gang_line_add_qemu(line, &vm->to);
	make_path(line, f, f->folder.record.generation, number);
}

/* ---- turns ---- */

static void turn(void *arg, enum wt_gang_step_phase phase)
{
	struct files *f = arg;
	static const char *const points[] = { "", "begin", "going", "undoing", "over" };

	if (phase == WT_GANG_STEP_GOING)
		wt_report_event(&f->report, "turn", json_pack("{s:s}", "to", "going"),
			f->options->restore ? "all guests are loaded, and run again"
					    : "all guests are stopped, and written; they go on");
	sabotage(f, points[phase]);
}

static void signalled(void *arg, const char *name)
{
	struct files *f = arg;
	const char *text = wt_gang_step_cancel(&f->step) ? "cancelled: all guests are called back"
							 : "too late to cancel: it ends in a moment";

	wt_report_event(&f->report, "note", json_pack("{s:s}", "text", text), text);
}

/* ---- beginning and end ---- */

int wt_gang_folder_check(const struct wt_gang_options *o, const struct wt_gang_plan *plan,
	char ret_job[WT_JOB_NAME_MAX + 1], struct wt_error *err)
{
	struct wt_job_folder *folder = calloc(1, sizeof *folder);
	int r = folder ? wt_job_folder_look(folder, o->restore ? o->restore : o->checkpoint, err)
		       : wt_error_set(err, ENOMEM, "no memory for a folder");

	if (!r && o->restore)
		r = wt_job_folder_check_plan(folder, plan, err);
	else if (!r)
		r = wt_job_folder_check_job(folder, o->job, err);
	if (r == -ENOENT && o->checkpoint) { /* it will be made */
		wt_error_clear(err);
		r = 0;
	}
	if (!r)
		snprintf(ret_job, WT_JOB_NAME_MAX + 1, "%s", o->restore ? folder->record.job : o->job);
	free(folder);
	return r;
}

static int check_path(const struct files *f, struct wt_error *err)
{
	for (unsigned i = 0; i < f->plan->count; i++) {
		const struct wt_gang_vm *vm = &f->plan->vms[i];

		if ((f->options->restore ? vm->to : vm->from).prefix.count &&
			f->folder.path[strspn(f->folder.path, WORD_LETTERS)])
			return wt_error_set(err, EINVAL,
				"%s has letters in it that a shell may take for something else, and guest %s is reached "
				"through one; give another directory",
				f->folder.path, vm->name);
	}
	return 0;
}

static int open_folder(struct files *f, struct wt_error *err)
{
	const struct wt_gang_options *o = f->options;
	int r = wt_job_folder_open(
		&f->folder, o->restore ? o->restore : o->checkpoint, !o->restore && !o->undo, err);

	if (!r && o->restore)
		r = wt_job_folder_check_plan(&f->folder, f->plan, err);
	else if (!r)
		r = wt_job_folder_check_job(&f->folder, o->job, err);
	return r ? r : check_path(f, err);
}

static int start(struct files *f, struct wt_error *err)
{
	const struct wt_gang_options *o = f->options;
	int r = wt_gang_plan_read(o->plan, &f->plan, err);

	if (!r)
		r = open_folder(f, err);
	if (!r && wt_loop_open(&f->loop))
		r = wt_error_set(err, ENOMEM, "no event loop");
	if (r)
		return r;
	snprintf(f->names, sizeof f->names, "%s/guest", f->folder.path);
	f->step.plan = f->plan;
	f->step.loop = f->loop;
	f->step.report = &f->report;
	f->step.files = f->names;
	f->step.job = o->restore ? "restore" : "saving";
	f->step.line = o->restore ? restore_line : checkpoint_line;
	f->step.turn = turn;
	f->step.arg = f;
	f->step.start = o->restore;
	r = wt_gang_step_open(&f->step, err);
	if (!r && !o->restore && !o->undo)
		r = wt_job_folder_begin(&f->folder, &f->record.generation, err);
	return r ? r : wt_signals_open(&f->signals, f->loop, signalled, f, err);
}

static void take_record(struct files *f)
{
	struct wt_job_record *record = &f->record;

	snprintf(record->job, sizeof record->job, "%s", f->options->job);
	snprintf(record->note, sizeof record->note, "%s", f->options->note ? f->options->note : "");
	record->count = f->step.count;
	for (unsigned i = 0; i < f->step.count; i++) {
		const struct wt_gang_relay *relay = &f->step.vms[i].relay;
		struct wt_job_folder_guest *guest = &record->guests[i];

		strcpy(guest->name, f->plan->vms[i].name);
		guest->written_bytes = relay->written_bytes;
		guest->state_bytes = relay->state_bytes;
		guest->downtime_ms = relay->downtime_ms;
	}
}

static json_t *vms_json(const struct files *f)
{
	json_t *vms = json_object();

	for (unsigned i = 0; i < f->step.count; i++) {
		const struct wt_gang_step_vm *vm = &f->step.vms[i];

		json_object_set_new(vms, vm->plan->name,
			json_pack("{s:s,s:s,s:f,s:I}", "state", vm->good ? "done" : "failed", "text", vm->why,
				"downtime_ms", vm->relay.downtime_ms, "written_bytes",
				(json_int_t)vm->relay.written_bytes));
	}
	return vms;
}

static int tell_end(struct files *f, const char *result, int code, const char *text)
{
	wt_report_event(&f->report, "summary",
		json_pack("{s:s,s:i,s:f,s:o}", "result", result, "guests", (int)f->step.count, "total_ms",
			wt_report_ms_between(f->start_ns, wt_report_now_ns()), "vms", vms_json(f)),
		code ? NULL : text);
	if (code)
		wt_report_error(&f->report, text);
	return code;
}

/* Every guest's checkpoint is on disk, or one is not. */
static int end_save(struct files *f)
{
	char why[2 * WT_ERROR_TEXT_MAX], text[PATH_MAX + 5 * WT_ERROR_TEXT_MAX];
	struct wt_error err = { 0 };
	bool all = wt_gang_step_good(&f->step) == f->step.count;

	wt_gang_step_why(&f->step, why, sizeof why);
	if (all) {
		sabotage(f, "commit");
		take_record(f);
		if (wt_job_folder_commit(&f->folder, &f->record, &err))
			snprintf(why, sizeof why, "%s", wt_error_text(&err));
		sabotage(f, "committed");
	}
	if (f->folder.there && f->folder.record.generation == f->record.generation) {
		snprintf(text, sizeof text, "%u guests of job %s are written to %s%s%s", f->step.count,
			f->record.job, f->folder.path, err.code ? "; " : "", err.code ? err.text : "");
		return tell_end(f, "saved", err.code ? WT_EXIT_UNDECIDED : WT_EXIT_OK, text);
	}
	wt_job_folder_abandon(&f->folder, f->record.generation);
	snprintf(text, sizeof text, "%s; nothing was saved: all guests go on, and %s %s", why, f->folder.path,
		f->folder.there ? "holds what it held" : "holds no checkpoint");
	return tell_end(f, "failed", WT_EXIT_FAILED, text);
}

static int end_restore(struct files *f)
{
	char why[2 * WT_ERROR_TEXT_MAX], text[PATH_MAX + 5 * WT_ERROR_TEXT_MAX];
	unsigned good = wt_gang_step_good(&f->step);

	wt_gang_step_why(&f->step, why, sizeof why);
	if (good == f->step.count) {
		snprintf(text, sizeof text, "%u guests of job %s run again, from %s%s%s", good,
			f->folder.record.job, f->folder.record.saved, f->folder.record.note[0] ? ": " : "",
			f->folder.record.note);
		return tell_end(f, "restored", WT_EXIT_OK, text);
	}
	if (good) {
		snprintf(text, sizeof text,
			"%s; %u of %u guests run again without the others: end their QEMUs, and begin anew; the checkpoint is as it was",
			why, good, f->step.count);
		return tell_end(f, "partly", WT_EXIT_UNDECIDED, text);
	}
	snprintf(text, sizeof text, "%s; no guest runs, and the checkpoint is as it was", why);
	return tell_end(f, "failed", WT_EXIT_FAILED, text);
}

static void close_all(struct files *f)
{
	if (f->loop) {
		wt_gang_step_close(&f->step);
		wt_signals_close(&f->signals);
		wt_loop_close(f->loop);
	}
	wt_job_folder_close(&f->folder);
	wt_gang_plan_free(f->plan);
}

static int run(const struct wt_gang_options *options)
{
	struct files *f = calloc(1, sizeof *f);
	char text[WT_ERROR_TEXT_MAX + 64];
	struct wt_error err = { 0 };
	int code;

	if (!f)
		return wt_report_no_memory();
	f->options = options;
	f->signals.fd = f->folder.lock_fd = -1;
	f->start_ns = wt_report_now_ns();
	wt_report_open(&f->report, options->json);
	if (start(f, &err)) {
		snprintf(text, sizeof text, "%s; nothing was begun", wt_error_text(&err));
		wt_report_error(&f->report, text);
		code = WT_EXIT_FAILED;
	} else if (options->undo) {
		code = WT_EXIT_OK;
	} else {
		sabotage(f, "begin");
		wt_gang_step_begin(&f->step);
		wt_loop_run(f->loop);
		code = options->restore ? end_restore(f) : end_save(f);
	}
	close_all(f);
	free(f);
	return code;
}

int wt_gang_save(const struct wt_gang_options *options)
{
	return run(options);
}

int wt_gang_restore(const struct wt_gang_options *options)
{
	return run(options);
}

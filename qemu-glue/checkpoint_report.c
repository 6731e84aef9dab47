/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * checkpoint_report.c - what a checkpoint says of its guest, and what people are told of it. See
 * checkpoint_internal.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "checkpoint_internal.h"
#include "machine_type.h"

#define PROGRESS_NS 250000000ull

const char *wt_checkpoint_state_name(enum wt_checkpoint_state state)
{
	static const char *const names[] = { "invalid", "streaming", "stopped", "returning" };

	return (unsigned)state < sizeof names / sizeof names[0] ? names[state] : "invalid";
}

int wt_checkpoint_describe(struct wt_checkpoint *c, struct wt_error *err)
{
	const char *name = c->options->common.name;
	json_t *answer = NULL;
	int r = wt_machine_type(c->relay.qmp, c->machine, sizeof c->machine, err);

	if (!r && !name) {
		r = wt_qmp_call(c->relay.qmp, "query-name", NULL, WT_RELAY_QMP_NS, &answer, err);
		name = json_string_value(json_object_get(answer, "name"));
	}
	snprintf(c->vm, sizeof c->vm, "%s", name && *name ? name : "vm");
	snprintf(c->version, sizeof c->version, "%s", wt_qmp_version(c->relay.qmp));
	json_decref(answer);
	return r;
}

void wt_checkpoint_take_figures(struct wt_checkpoint *c, json_t *answer)
{
	json_t *ram = json_object_get(answer, "ram");

	if (!ram)
		return;
	c->total_bytes = (uint64_t)json_integer_value(json_object_get(ram, "total"));
	c->remaining_bytes = (uint64_t)json_integer_value(json_object_get(ram, "remaining"));
}

static struct wt_progress figures(struct wt_checkpoint *c)
{
	struct wt_save_stats stats;
	struct wt_progress p = { .vm = c->vm,
		.state = wt_checkpoint_state_name(c->state),
		.total_bytes = c->total_bytes,
		.remaining_bytes = c->total_bytes ? c->remaining_bytes : WT_PROGRESS_UNKNOWN,
		.rate_bytes_per_s = c->rate.bytes_per_s,
		.expected_end_ms = WT_PROGRESS_UNKNOWN };

	wt_save_stats(wt_checkpoint_save(c->files), &stats);
	p.moved_bytes = stats.written_bytes;
	return p;
}

static void progress_fired(void *arg, uint64_t now_ns)
{
	struct wt_checkpoint *c = arg;
	struct wt_progress p = figures(c);
	char text[WT_PROGRESS_LINE_MAX];

	wt_loop_timer_set(c->relay.loop, &c->progress, now_ns + PROGRESS_NS, progress_fired, c);
	p.rate_bytes_per_s = wt_rate_update(&c->rate, p.moved_bytes, now_ns);
	wt_report_progress(&c->relay.report, wt_progress_json(&p),
		wt_progress_line(&p, wt_report_columns(&c->relay.report), text));
}

void wt_checkpoint_progress(struct wt_checkpoint *c)
{
	wt_loop_timer_set(
		c->relay.loop, &c->progress, wt_loop_now_ns(c->relay.loop) + PROGRESS_NS, progress_fired, c);
}

int wt_checkpoint_finish(struct wt_checkpoint *c, struct wt_error *err)
{
	struct wt_replica_checkpoint *facts = wt_checkpoint_facts(c->files);
	int r;

	if (c->failure.code)
		return wt_error_set(err, c->failure.code, "%s", c->failure.text);
	facts->running = c->running;
	strcpy(facts->machine, c->machine);
	strcpy(facts->version, c->version);
	facts->disks = c->disks.disks;
	facts->disk_count = c->disks.count;
	c->disks.disks = NULL;
	r = wt_checkpoint_commit(c->files, err);
	c->end_ns = wt_report_now_ns();
	return r;
}

void wt_checkpoint_summary(struct wt_checkpoint *c)
{
	double total_ms = wt_report_ms_between(c->start_ns, c->end_ns);
	double downtime_ms = c->running ? wt_report_ms_between(c->stop_ns, c->resume_ns) : 0;
	struct wt_outgoing_stats stream;
	struct wt_save_stats stats;
	char text[512], size[32];
	json_t *fields;

	wt_save_stats(wt_checkpoint_save(c->files), &stats);
	wt_outgoing_stats(c->outgoing, &stream);
	fields = json_pack("{s:s,s:s,s:b,s:f,s:f,s:f,s:I,s:I,s:I,s:I,s:I,s:b,s:i,s:o*}", "directory",
		c->options->directory, "vm", c->vm, "base", (int)wt_checkpoint_has_base(c->files), "total_ms",
		total_ms, "downtime_ms", downtime_ms, "sync_ms", wt_report_ms_between(c->saved_ns, c->end_ns),
		"written_bytes", (json_int_t)stats.written_bytes, "written_pages",
		(json_int_t)stats.written_pages, "same_pages", (json_int_t)stats.same_pages, "zero_pages",
		(json_int_t)stats.zero_pages, "state_bytes", (json_int_t)wt_checkpoint_state_bytes(c->files),
		"feed", (int)stream.feed, "disks", (int)c->disks.count, "devices",
		wt_checkpoint_devices_json(c));
	snprintf(text, sizeof text, "%s is written to %s: %s in %.0f ms, the guest was stopped for %.0f ms",
		c->vm, c->options->directory, wt_progress_size(stats.written_bytes, size), total_ms,
		downtime_ms);
	wt_report_event(&c->relay.report, "summary", fields, text);
}

/* ---- the job ---- */

static int status(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	struct wt_checkpoint *c = arg;
	struct wt_progress p = figures(c);
	json_t *object = json_pack("{s:s,s:s,s:s,s:i,s:f}", "job", c->options->common.job, "role",
		"checkpoint", "peer", c->options->directory, "pid", (int)getpid(), "elapsed_ms",
		wt_report_ms_between(c->relay.report.start_ns, wt_report_now_ns()));
	json_t *progress = wt_progress_json(&p);

	json_object_update(object, progress);
	json_object_set_new(object, "held", json_boolean(c->hold.held));
	json_decref(progress);
	*ret_result = object;
	return 0;
}

static int cancel(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	struct wt_checkpoint *c = arg;
	struct wt_error why = { 0 };

	if (c->state == WT_CHECKPOINT_RETURNING)
		return wt_error_set(
			err, EBUSY, "too late to cancel: it ends in a moment, and the guest goes on");
	wt_error_set(&why, ECANCELED, "cancelled by the operator");
	wt_checkpoint_trouble(c, &why);
	*ret_result = json_pack("{s:s}", "text", "cancelled; the guest goes on");
	return 0;
}

static int proceed(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	return wt_hold_proceed(&((struct wt_checkpoint *)arg)->hold, ret_result, err);
}

const struct wt_job_command wt_checkpoint_commands[] = {
	{ "status", status },
	{ "cancel", cancel },
	{ "proceed", proceed },
	{ NULL, NULL },
};

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uri_source_report.c - progress of a source without QMP, its summary, and what its job can be told. Changes
 * nothing of the source but the figures; `cancel` is an event like any other.
 *
 * Without QMP nobody knows how much is left, nor when exactly the guest was stopped: the switchover is
 * counted from RAM's end section, which QEMU writes after it has stopped the guest and sent the last pages.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "retarget_request.h"
#include "target.h"
#include "uri_source_internal.h"

#define PROGRESS_NS 250000000ull

static struct wt_progress figures(const struct wt_uri_source *s)
{
	struct wt_server_stats stats = { 0 };
	struct wt_progress p = { .vm = s->options->common.name,
		.state = wt_uri_source_state_name(s->machine.state),
		.total_bytes = s->ram_bytes,
		.remaining_bytes = WT_PROGRESS_UNKNOWN,
		.expected_end_ms = WT_PROGRESS_UNKNOWN,
		.rate_bytes_per_s = s->rate.bytes_per_s };
	uint64_t announced;

	if (s->server)
		wt_server_stats(s->server, &stats);
	announced = (stats.announced_pages - stats.zero_pages) << WT_PAGE_SHIFT;
	p.pending_bytes = stats.pending_bytes;
	p.moved_bytes = announced > stats.pending_bytes ? announced - stats.pending_bytes : 0;
	return p;
}

static void progress_fired(void *arg, uint64_t now_ns)
{
	struct wt_uri_source *s = arg;
	char text[WT_PROGRESS_LINE_MAX];
	struct wt_progress p;

	wt_loop_timer_set(s->relay.loop, &s->progress, now_ns + PROGRESS_NS, progress_fired, s);
	if (!s->server)
		return;
	p = figures(s);
	p.rate_bytes_per_s = wt_rate_update(&s->rate, p.moved_bytes, now_ns);
	wt_report_progress(&s->relay.report, wt_progress_json(&p),
		wt_progress_line(&p, wt_report_columns(&s->relay.report), text));
}

void wt_uri_source_progress(struct wt_uri_source *s)
{
	wt_loop_timer_set(
		s->relay.loop, &s->progress, wt_loop_now_ns(s->relay.loop) + PROGRESS_NS, progress_fired, s);
}

void wt_uri_source_summary(struct wt_uri_source *s)
{
	struct wt_server_stats stats;
	struct wt_outgoing_stats stream;
	double total_ms = (double)(s->end_ns - s->start_ns) / 1e6;
	double switchover_ms = (double)(s->end_ns - s->stop_ns) / 1e6;
	uint64_t moved;
	char text[256];
	json_t *fields;

	wt_server_stats(s->server, &stats);
	wt_outgoing_stats(s->outgoing, &stream);
	moved = (stats.announced_pages - stats.zero_pages) << WT_PAGE_SHIFT;
	fields = json_pack("{s:s,s:s,s:s,s:f,s:f,s:I,s:I,s:I,s:I,s:i,s:b,s:b}", "vm", s->options->common.name,
		"fabric", wt_fabric_name(stats.fabric), "mode", "uri", "total_ms", total_ms, "switchover_ms",
		switchover_ms, "ram_bytes", (json_int_t)s->ram_bytes, "moved_bytes", (json_int_t)moved,
		"zero_pages", (json_int_t)stats.zero_pages, "copied_pages", (json_int_t)stats.staged_pages,
		"channels", (int)stream.channels, "return_path", (int)s->machine.return_path, "verified",
		(int)s->options->verify);
	if (s->destination_facts)
		json_object_set(fields, "destination", s->destination_facts);
	snprintf(text, sizeof text,
		"%s has moved: %.0f ms in all, loaded %.0f ms after the end of RAM, %.1f MiB of %.1f MiB RAM over %s%s",
		s->options->common.name, total_ms, switchover_ms, (double)moved / 1048576,
		(double)s->ram_bytes / 1048576, wt_fabric_name(stats.fabric),
		s->options->verify ? ", RAM compared and equal" : "");
	wt_report_event(&s->relay.report, "summary", fields, text);
}

/* ---- the job ---- */

static int status(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	const struct wt_uri_source *s = arg;
	struct wt_progress p = figures(s);
	json_t *object = wt_relay_status(&s->relay, "source", &p);
	struct wt_server_stats stats = { 0 };
	char peer[WT_TARGET_TEXT_MAX];

	if (s->server)
		wt_server_stats(s->server, &stats);
	json_object_set_new(object, "peer", json_string(wt_target_text(&s->options->peer, peer)));
	json_object_set_new(
		object, "fabric", stats.paths ? json_string(wt_fabric_name(stats.fabric)) : json_null());
	json_object_set_new(object, "paths", json_integer(stats.paths));
	json_object_set_new(object, "downtime_ms", json_null());
	*ret_result = object;
	return 0;
}

static int cancel(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	struct wt_uri_source *s = arg;
	struct wt_error why = { 0 };

	if (s->machine.state != WT_URI_SOURCE_CONNECTING && s->machine.state != WT_URI_SOURCE_STREAMING)
		return wt_error_set(err, EBUSY, "it is too late: the guest was stopped to move");
	wt_error_set(&why, ECANCELED, "cancelled by the operator");
	wt_uri_source_trouble(s, &why);
	*ret_result = json_pack("{s:s}", "text", "cancelled; the guest goes on here");
	return 0;
}

const struct wt_job_command wt_uri_source_commands[] = {
	{ "status", status },
	{ "cancel", cancel },
	{ "retarget", wt_retarget_elsewhere },
	{ NULL, NULL },
};

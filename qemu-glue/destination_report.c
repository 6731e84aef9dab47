/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination_report.c - progress while a guest is received, and what is said of it when it runs here. Reads
 * the destination's state, changes none of it but the figures.
 */
#include "destination_internal.h"

#define PROGRESS_NS 250000000ull

struct wt_progress wt_destination_figures(const struct wt_destination *d)
{
	struct wt_puller_stats stats = { 0 };
	struct wt_progress p = { .vm = d->options->common.name,
		.state = wt_destination_state_name(d->machine.state),
		.remaining_bytes = WT_PROGRESS_UNKNOWN,
		.expected_end_ms = WT_PROGRESS_UNKNOWN,
		.rate_bytes_per_s = d->rate.bytes_per_s };

	if (d->puller)
		wt_puller_stats(d->puller, &stats);
	p.moved_bytes = stats.pulled_pages << WT_PAGE_SHIFT;
	for (unsigned i = 0; i < d->block_count; i++)
		p.total_bytes += d->blocks[i]->length;
	return p;
}

static void progress_fired(void *arg, uint64_t now_ns)
{
	struct wt_destination *d = arg;
	char text[WT_PROGRESS_LINE_MAX];
	struct wt_progress p;
	json_t *fields;

	wt_loop_timer_set(d->relay.loop, &d->progress, now_ns + PROGRESS_NS, progress_fired, d);
	if (d->machine.state == WT_DESTINATION_WAITING)
		return;
	p = wt_destination_figures(d);
	p.rate_bytes_per_s = wt_rate_update(&d->rate, p.moved_bytes, now_ns);
	fields = wt_progress_json(&p);
	json_object_set_new(fields, "pulled_bytes", json_integer((json_int_t)p.moved_bytes));
	wt_report_progress(
		&d->relay.report, fields, wt_progress_line(&p, wt_report_columns(&d->relay.report), text));
}

void wt_destination_progress(struct wt_destination *d)
{
	wt_loop_timer_set(
		d->relay.loop, &d->progress, wt_loop_now_ns(d->relay.loop) + PROGRESS_NS, progress_fired, d);
}

static double ms_from_to(
	const struct wt_destination *d, enum wt_destination_state from, enum wt_destination_state to)
{
	return d->entered_ns[from] && d->entered_ns[to] > d->entered_ns[from]
		       ? (double)(d->entered_ns[to] - d->entered_ns[from]) / 1e6
		       : 0;
}

json_t *wt_destination_facts(const struct wt_destination *d)
{
	struct wt_puller_stats stats;

	wt_puller_stats(d->puller, &stats);
	return json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:f}", "status",
		d->guest.flags & WT_RELAY_GUEST_RUNNING ? "running" : "paused", "qemu",
		wt_qmp_version(d->relay.qmp), "tcp_bytes",
		(json_int_t)stats.pulled_bytes[WT_FABRIC_TCP] + (json_int_t)stats.pulled_bytes[WT_FABRIC_TLS],
		"verbs_bytes", (json_int_t)stats.pulled_bytes[WT_FABRIC_VERBS], "pulled_pages",
		(json_int_t)stats.pulled_pages, "zero_pages", (json_int_t)stats.zero_pages, "repeated_pages",
		(json_int_t)stats.repeated_pages, "compared_pages", (json_int_t)d->verify.compared_pages,
		"digested_pages", (json_int_t)stats.digested_pages, "replica_pages",
		(json_int_t)stats.replica_pages, "replica_bytes", (json_int_t)stats.replica_bytes,
		"stream_bytes", (json_int_t)d->stream_bytes, "verify_ms",
		ms_from_to(d, WT_DESTINATION_VERIFYING, WT_DESTINATION_LOADING), "load_ms",
		ms_from_to(d, WT_DESTINATION_LOADING, WT_DESTINATION_READY));
}

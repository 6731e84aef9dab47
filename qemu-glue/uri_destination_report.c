/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uri_destination_report.c - progress of a destination without QMP, and what its job can be told. Changes
 * nothing of the destination but the figures; `cancel` is an event like any other.
 */
#include <errno.h>

#include "uri_destination_internal.h"
#include "relay_peer.h"
#include "retarget_request.h"

#define PROGRESS_NS 250000000ull

static struct wt_progress figures(const struct wt_uri_destination *d)
{
	struct wt_puller_stats stats = { 0 };
	struct wt_progress p = { .vm = d->options->common.name,
		.state = wt_uri_destination_state_name(d->machine.state),
		.remaining_bytes = WT_PROGRESS_UNKNOWN,
		.expected_end_ms = WT_PROGRESS_UNKNOWN,
		.rate_bytes_per_s = d->rate.bytes_per_s };

	if (d->puller)
		wt_puller_stats(d->puller, &stats);
	for (unsigned i = 0; i < d->block_count; i++)
		p.total_bytes += d->blocks[i]->length;
	p.moved_bytes = stats.pulled_pages << WT_PAGE_SHIFT;
	return p;
}

static void progress_fired(void *arg, uint64_t now_ns)
{
	struct wt_uri_destination *d = arg;
	char text[WT_PROGRESS_LINE_MAX];
	struct wt_progress p;

	wt_loop_timer_set(d->relay.loop, &d->progress, now_ns + PROGRESS_NS, progress_fired, d);
	if (d->machine.state == WT_URI_DESTINATION_WAITING)
		return;
	p = figures(d);
	p.rate_bytes_per_s = wt_rate_update(&d->rate, p.moved_bytes, now_ns);
	wt_report_progress(&d->relay.report, wt_progress_json(&p),
		wt_progress_line(&p, wt_report_columns(&d->relay.report), text));
}

void wt_uri_destination_progress(struct wt_uri_destination *d)
{
	wt_loop_timer_set(
		d->relay.loop, &d->progress, wt_loop_now_ns(d->relay.loop) + PROGRESS_NS, progress_fired, d);
}

static int status(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	struct wt_uri_destination *d = arg;
	struct wt_progress p = figures(d);

	*ret_result = wt_relay_destination_status(&d->relay, &p, d->puller, d->peer, d->port);
	return 0;
}

static int cancel(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	struct wt_uri_destination *d = arg;
	struct wt_error why = { 0 };

	if (d->machine.state >= WT_URI_DESTINATION_LOADING)
		return wt_error_set(err, EBUSY, "it is too late: the source has let go of the guest");
	wt_error_set(&why, ECANCELED, "cancelled at the destination by the operator");
	wt_uri_destination_trouble(d, &why);
	*ret_result = json_pack("{s:s}", "text",
		"cancelled; the QEMU here ends, and the guest stays at the source (if it is stopped there, type cont)");
	return 0;
}

const struct wt_job_command wt_uri_destination_commands[] = {
	{ "status", status },
	{ "cancel", cancel },
	{ "retarget", wt_retarget_elsewhere },
	{ NULL, NULL },
};

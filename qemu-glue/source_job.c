/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_job.c - what the job of a `watari send` can be told: one function per command, and their table. See
 * job.h. Another command is another row.
 */
#include <errno.h>

#include "retarget_request.h"
#include "source_internal.h"

/* How long no guest ran, so far or in the end. */
static json_t *downtime(const struct wt_source *source)
{
	enum wt_source_state state = source->machine.state;
	uint64_t end_ns = source->end_ns ? source->end_ns : wt_report_now_ns();

	if (!source->stop_ns || state == WT_SOURCE_ABORTED || state == WT_SOURCE_ABORTING ||
		state == WT_SOURCE_RESTARTING || state == WT_SOURCE_AGAIN)
		return json_null();
	return json_real((double)(end_ns - source->stop_ns) / 1e6);
}

static int status(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	struct wt_source *source = arg;
	struct wt_progress p = wt_source_figures(source);
	json_t *object = wt_relay_status(&source->relay, "source", &p);
	struct wt_server_stats stats = { 0 };
	struct wt_retarget_report change = source->change.report;
	char peer[WT_TARGET_TEXT_MAX];

	wt_source_stats(source, &stats);
	change.state = source->change.machine.state;
	json_object_set_new(
		object, "peer", json_string(wt_target_text(&wt_source_current(source)->address, peer)));
	json_object_set_new(object, "retarget", wt_retarget_status(&change));
	json_object_set_new(
		object, "fabric", stats.paths ? json_string(wt_fabric_name(stats.fabric)) : json_null());
	json_object_set_new(object, "paths", json_integer(stats.paths));
	json_object_set_new(object, "downtime_ms", downtime(source));
	json_object_set_new(object, "held", json_boolean(source->hold.held));
	*ret_result = object;
	return 0;
}

static int cancel(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	struct wt_source *source = arg;
	const char *refusal = wt_source_cancel_refusal(source->machine.state);
	struct wt_error why = { 0 };

	if (refusal)
		return wt_error_set(err, EBUSY, "%s", refusal);
	wt_error_set(&why, ECANCELED, "cancelled by the operator");
	wt_source_trouble(source, &why);
	*ret_result = json_pack("{s:s}", "text", "cancelled; the guest goes on here");
	return 0;
}

static int retarget(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	int number = wt_source_retarget(arg, request, err);

	if (number < 0)
		return number;
	*ret_result = json_pack("{s:i,s:s}", "number", number, "text", "another destination takes over");
	return 0;
}

static int proceed(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	return wt_source_proceed(arg, ret_result, err);
}

const struct wt_job_command wt_source_commands[] = {
	{ "status", status },
	{ "cancel", cancel },
	{ "retarget", retarget },
	{ "proceed", proceed },
	{ NULL, NULL },
};

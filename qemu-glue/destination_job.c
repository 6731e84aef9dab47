/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination_job.c - what the job of a `watari receive` can be told: one function per command, and their
 * table. See job.h.
 */
#include <errno.h>

#include "destination_internal.h"

static int status(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	struct wt_destination *d = arg;
	struct wt_progress p = wt_destination_figures(d);
	json_t *object = wt_relay_status(&d->relay, "destination", &p);
	struct wt_puller_stats stats = { 0 };

	if (d->puller)
		wt_puller_stats(d->puller, &stats);
	json_object_set_new(object, "peer", d->peer[0] ? json_string(d->peer) : json_null());
	json_object_set_new(object, "port", json_integer(d->port));
	json_object_set_new(
		object, "fabric", stats.paths ? json_string(wt_fabric_name(stats.fabric)) : json_null());
	json_object_set_new(object, "paths", json_integer(stats.paths));
	json_object_set_new(object, "downtime_ms", json_null());
	*ret_result = object;
	return 0;
}

static int cancel(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	struct wt_destination *d = arg;
	const char *refusal = wt_destination_cancel_refusal(d->machine.state);
	bool waiting = d->machine.state == WT_DESTINATION_WAITING;
	struct wt_error why = { 0 };

	if (refusal)
		return wt_error_set(err, EBUSY, "%s", refusal);
	wt_error_set(&why, ECANCELED, "cancelled at the destination by the operator");
	wt_destination_trouble(d, &why);
	*ret_result = json_pack("{s:s}", "text",
		waiting ? "cancelled; nothing had come"
			: "cancelled; the guest goes on at the source, and the QEMU here is told to quit");
	return 0;
}

const struct wt_job_command wt_destination_commands[] = {
	{ "status", status },
	{ "cancel", cancel },
	{ NULL, NULL },
};

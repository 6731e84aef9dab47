/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination_job.c - what the job of a `watari receive` can be told: one function per command, and their
 * table. See job.h.
 */
#include <errno.h>

#include "destination_internal.h"
#include "relay_peer.h"
#include "retarget_request.h"

static int status(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	struct wt_destination *d = arg;
	struct wt_progress p = wt_destination_figures(d);

	*ret_result = wt_relay_destination_status(&d->relay, &p, d->puller, d->peer, d->port);
	json_object_set_new(*ret_result, "held", json_boolean(d->hold.held));
	return 0;
}

static int cancel(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	struct wt_destination *d = arg;
	const char *refusal = wt_destination_cancel_refusal(d->machine.state);
	enum wt_destination_state state = d->machine.state;
	const char *then;
	struct wt_error why = { 0 };

	if (d->hold.held)
		refusal =
			"too late to cancel: the guest runs here, and waits for its devices; watari proceed";
	if (refusal)
		return wt_error_set(err, EBUSY, "%s", refusal);
	wt_error_set(&why, ECANCELED, "cancelled at the destination by the operator");
	wt_destination_trouble(d, &why);
	if (state == WT_DESTINATION_WAITING)
		then = "cancelled; nothing had come";
	else if (state == WT_DESTINATION_RETIRED)
		then = "cancelled; the guest's other destination pulls the rest from the source, and the QEMU here is "
		       "told to quit";
	else
		then = "cancelled; the guest goes on at the source, and the QEMU here is told to quit";
	*ret_result = json_pack("{s:s}", "text", then);
	return 0;
}

static int proceed(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	return wt_hold_proceed(&((struct wt_destination *)arg)->hold, ret_result, err);
}

const struct wt_job_command wt_destination_commands[] = {
	{ "status", status },
	{ "cancel", cancel },
	{ "retarget", wt_retarget_elsewhere },
	{ "proceed", proceed },
	{ NULL, NULL },
};

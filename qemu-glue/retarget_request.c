/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * retarget_request.c - see retarget_request.h.
 *
 * Either end may be hostile: lengths and types are checked; what is quoted is made printable by whoever shows
 * it (job.c, job_client.c).
 */
#include "retarget_request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "printable.h"

static int check_address(const struct wt_address *address, struct wt_error *err)
{
	if (address->unix_path)
		return 0;
	if (!address->host)
		return wt_error_set(err, EINVAL, "give the host of the other destination: HOST:PORT/NAME");
	if (!address->port)
		return wt_error_set(err, EINVAL,
			"port 0 is none to connect to; give the one that watari receive listens on");
	return 0;
}

int wt_retarget_request_take(json_t *object, struct wt_retarget_request *ret_request, struct wt_error *err)
{
	const char *to = json_string_value(json_object_get(object, "to"));
	json_t *prefer = json_object_get(object, "prefer");
	int r;

	if (!to)
		return wt_error_set(err, EINVAL, "give the other destination: \"to\": HOST:PORT/NAME");
	if (strlen(to) >= sizeof ret_request->text)
		return wt_error_set(err, EINVAL, "the other destination's address has more than %zu bytes",
			sizeof ret_request->text - 1);
	if (prefer && (!json_is_string(prefer) || strcmp(json_string_value(prefer), "old-destination") != 0))
		return wt_error_set(err, EINVAL, "only old-destination can be preferred");
	ret_request->spare_source = prefer != NULL;
	strcpy(ret_request->text, to);
	r = wt_target_parse(ret_request->text, &ret_request->address, &ret_request->name, err);
	return r ? r : check_address(&ret_request->address, err);
}

/* For a new migration, when the guest is stopped: whoever takes part in this one cannot have it. */
static int check_restart(const struct wt_retarget_request *request, const struct wt_retarget_facts *facts,
	struct wt_error *err)
{
	char text[WT_TARGET_TEXT_MAX];

	for (int i = 0; i < WT_TARGETS_MAX; i++) {
		uint8_t role = facts->machine->roles[i];

		if (role != WT_TARGET_FREE && role != WT_TARGET_DROPPED &&
			wt_target_equal(facts->addresses[i], &request->address))
			return wt_error_set(err, EALREADY,
				"the guest is stopped, so this migration would end, and with it the watari receive on %s; "
				"start another one",
				wt_target_text(&request->address, text));
	}
	return 0;
}

/* The number of a target that has this address and may become the current one; -1: none has. */
static int find_retired(const struct wt_retarget_facts *facts, const struct wt_address *address)
{
	for (int i = 0; i < WT_TARGETS_MAX; i++)
		if (facts->machine->roles[i] == WT_TARGET_RETIRED &&
			wt_target_equal(facts->addresses[i], address))
			return i;
	return -1;
}

int wt_retarget_request_check(const struct wt_retarget_request *request,
	const struct wt_retarget_facts *facts, struct wt_error *err)
{
	const struct wt_source_retarget *m = facts->machine;
	const char *refusal = wt_source_retarget_refusal(m, facts->state);
	bool restarts = wt_source_retarget_restarts(m, facts->state);
	char text[WT_TARGET_TEXT_MAX];
	int target;

	if (refusal)
		return wt_error_set(err, EBUSY, "%s", refusal);
	if (strcmp(request->name, facts->name) != 0)
		return wt_error_set(err, EINVAL,
			"this job moves the guest %.80s; give HOST:PORT/%.80s, and start watari receive there with that name",
			facts->name, facts->name);
	if (restarts && check_restart(request, facts, err))
		return -EALREADY;
	if (wt_target_equal(facts->addresses[m->current], &request->address))
		return wt_error_set(err, EALREADY, "%s is the destination already",
			wt_target_text(&request->address, text));
	if (!restarts && m->staged && request->address.unix_path)
		return wt_error_set(err, EINVAL,
			"some of the guest's memory is at the old destination only, and where a unix socket leads is not "
			"known there; give HOST:PORT/%.80s",
			facts->name);
	if (!restarts && facts->replay && facts->replay->code)
		return wt_error_set(err, facts->replay->code, "%s", facts->replay->text);
	target = restarts ? -1 : find_retired(facts, &request->address);
	if (target < 0)
		target = wt_source_retarget_free(m);
	if (target < 0)
		return wt_error_set(err, ENOSPC,
			"this migration has had %d destinations, more are not counted; let it end, and move the guest on "
			"from there",
			WT_TARGETS_MAX);
	return target;
}

static const char *state_name(const struct wt_retarget_report *report)
{
	if (report->restarts)
		return !report->over ? "restarting" : report->good ? "restarted" : "aborted";
	if (report->over)
		return report->good ? "done" : "failed";
	return wt_source_retarget_state_name(report->state);
}

json_t *wt_retarget_status(const struct wt_retarget_report *report)
{
	const char *state = state_name(report);

	if (!report->number)
		return json_null();
	return json_pack("{s:I,s:s,s:s,s:s?,s:I}", "number", (json_int_t)report->number, "state", state, "to",
		report->to, "text", report->text, "base_left_bytes", (json_int_t)report->base_left_bytes);
}

int wt_retarget_outcome(json_t *status, json_int_t number, struct wt_error *err)
{
	json_t *object = json_object_get(status, "retarget"), *given = json_object_get(object, "number");
	const char *state = json_string_value(json_object_get(object, "state"));
	const char *text = json_string_value(json_object_get(object, "text"));
	char shown[WT_PRINTABLE_MAX];

	if (!state || !json_is_integer(given) || json_integer_value(given) < number)
		return wt_error_set(err, EPROTO, "the job says nothing of the change of its destination");
	if (json_integer_value(given) > number)
		return wt_error_set(err, ECANCELED,
			"the destination has been changed again since then; watari status says how far that is");
	if (strcmp(state, "done") == 0)
		return 0;
	if (strcmp(state, "restarted") == 0)
		return 1;
	if (strcmp(state, "failed") != 0 && strcmp(state, "aborted") != 0)
		return 2;
	return wt_error_set(err, EREMOTEIO, "%s: %s",
		strcmp(state, "failed") == 0 ? "the destination was not changed, and the migration goes on"
					     : "the migration was given up, and no other one begins",
		text ? wt_printable(text, strlen(text), shown, sizeof shown) : "the job does not say why");
}

int wt_retarget_elsewhere(void *arg, json_t *request, json_t **ret_result, struct wt_error *err)
{
	return wt_error_set(err, EOPNOTSUPP,
		"this job cannot change the destination; tell it to the watari send --qmp that moves the guest");
}

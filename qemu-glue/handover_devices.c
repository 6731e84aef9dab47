/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * handover_devices.c - devices that cannot go over with the guest: they leave the old QEMU before the
 * handover begins, and come back in the new one, or in the old one if it is given up. See passthrough.h.
 *
 *   1. The old QEMU's machine hears ACCEPTED only when the last device has left: until then an abort needs
 * nothing of QEMU.
 *   2. Devices come back when the handover is over, outside of the loop's callbacks. Nobody can cancel it.
 *   3. When the guest has gone over nothing is undone any more: it runs, with or without its devices.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "handover_internal.h"
#include "preflight.h"
#include "relay_devices.h"
#include "relay_peer.h"

/* All have left: is anything else in the way? */
static void move(struct wt_handover *h)
{
	struct wt_error err = { 0 };

	if (wt_preflight_old(h->old.qmp, NULL, &h->guest_running, &err))
		wt_passthrough_done(h->devices.passthrough, WT_DEVICE_STEP_MOVE, &err);
	else
		wt_handover_old_event(h, WT_SOURCE_EV_ACCEPTED);
}

/* The only step of the owner's is MOVE. */
static void step(void *arg, enum wt_device_step_kind kind)
{
	move(arg);
}

static void failed(void *arg, const struct wt_error *err)
{
	wt_handover_trouble(arg, err);
}

static void over(void *arg)
{
	struct wt_handover *h = arg;

	h->devices.back_ns = wt_report_now_ns();
	if (h->devices.waiting)
		wt_loop_stop(h->relay.loop, 0);
}

static const struct wt_passthrough_events events = { .step = step, .failed = failed, .over = over };

int wt_handover_devices_open(struct wt_handover *h, struct wt_error *err)
{
	return wt_relay_devices_open(
		&h->relay, WT_RELAY_DEVICES_RETURN, &events, h, &h->devices.passthrough, err);
}

int wt_handover_devices_check_new(struct wt_handover *h, struct wt_error *err)
{
	return h->devices.passthrough ? wt_passthrough_check_next(h->devices.passthrough, h->new.qmp,
						h->options->new_agent, err)
				      : 0;
}

const char *const *wt_handover_devices_leaving(const struct wt_handover *h)
{
	return h->devices.passthrough ? wt_passthrough_leaving(h->devices.passthrough) : NULL;
}

void wt_handover_devices_begin(struct wt_handover *h)
{
	if (h->devices.passthrough)
		wt_passthrough_begin(h->devices.passthrough);
	else
		wt_handover_old_event(h, WT_SOURCE_EV_ACCEPTED);
}

void wt_handover_devices_qmp_event(struct wt_handover *h, const char *name, json_t *data)
{
	if (h->devices.passthrough)
		wt_passthrough_qmp_event(h->devices.passthrough, name, data);
}

const struct wt_error *wt_handover_devices_end(struct wt_handover *h)
{
	struct wt_passthrough *p = h->devices.passthrough;
	bool gone_over = h->old_machine.state == WT_SOURCE_DONE;

	if (!p || !wt_passthrough_begun(p))
		return NULL;
	if (gone_over) {
		wt_passthrough_use_next(p);
		wt_passthrough_done(p, WT_DEVICE_STEP_MOVE, NULL);
	} else {
		wt_passthrough_abort(p);
	}
	h->devices.waiting = true;
	while (!wt_passthrough_is_over(p))
		wt_loop_run(h->relay.loop);
	h->devices.waiting = false;
	if (!gone_over && !h->old_gone)
		wt_passthrough_check_back(p);
	return wt_passthrough_trouble(p);
}

void wt_handover_devices_note_away(struct wt_handover *h)
{
	char ids[WT_ERROR_TEXT_MAX], text[WT_ERROR_TEXT_MAX + 128];

	if (!h->devices.passthrough || !wt_passthrough_away(h->devices.passthrough, ids, sizeof ids)[0])
		return;
	snprintf(text, sizeof text,
		"devices were taken away from the guest: %s; plug them in again (device_add) where it goes on",
		ids);
	wt_relay_told_note(&h->relay, text);
}

/* ---- the summary ---- */

json_t *wt_handover_devices_json(const struct wt_handover *h)
{
	const struct wt_passthrough *p = h->devices.passthrough;

	if (!p)
		return NULL;
	return json_pack("{s:f,s:f,s:o,s:s*}", "device_outage_ms",
		wt_report_ms_between(wt_passthrough_quiesce_ns(p), h->devices.back_ns), "move_ms",
		wt_report_ms_between(wt_passthrough_gone_ns(p), h->end_ns), "devices",
		wt_passthrough_facts(p), "trouble",
		wt_passthrough_trouble(p) ? wt_error_text(wt_passthrough_trouble(p)) : NULL);
}

void wt_handover_devices_text(const struct wt_handover *h, char *text, size_t size)
{
	json_t *object = wt_handover_devices_json(h), *item;
	size_t i, length;

	text[0] = '\0';
	if (!object)
		return;
	snprintf(text, size, "\n  devices   away for %.0f ms, of which the handover %.0f ms",
		json_number_value(json_object_get(object, "device_outage_ms")),
		json_number_value(json_object_get(object, "move_ms")));
	json_array_foreach(json_object_get(object, "devices"), i, item)
	{
		const char *error = json_string_value(json_object_get(item, "error"));

		length = strlen(text);
		snprintf(text + length, size - length, "\n  device    %s is %s%s%s",
			json_string_value(json_object_get(item, "name")),
			json_string_value(json_object_get(item, "what")), error ? ": " : "",
			error ? error : "");
	}
	json_decref(object);
}

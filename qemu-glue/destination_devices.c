/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination_devices.c - devices that did not move with the guest, at the destination: prepared before the
 * source takes its own away, plugged in when the guest runs here. See passthrough.h.
 *
 *   1. Nothing is plugged in before the guest runs: the destination QEMU must have the devices that the
 * stream describes, and no others.
 *   2. Whatever fails then, the guest runs on; source and operator are told.
 *   3. With --hold a guest that runs waits for its devices until PROCEED, the deadline, or a signal.
 *   4. A reception that fails gives back what was prepared, before the relay ends.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "destination_internal.h"
#include "relay_devices.h"
#include "relay_peer.h"

static void send_json(struct wt_destination *d, unsigned type)
{
	json_t *object = json_pack("{s:o}", "devices", wt_passthrough_facts(d->devices.passthrough));
	char *text;

	if (type == WT_RELAY_DEVICES_READY)
		json_object_set_new(object, "replica", json_boolean(!wt_destination_replica_warms(d)));
	text = json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII);
	if (text && d->puller)
		wt_puller_send(d->puller, type, text, strlen(text));
	free(text);
	json_decref(object);
}

/* The only step of the owner's here is MOVE: all is prepared, and the source may begin. */
static void step(void *arg, enum wt_device_step_kind kind)
{
	send_json(arg, WT_RELAY_DEVICES_READY);
}

static void failed(void *arg, const struct wt_error *err)
{
	wt_destination_trouble(arg, err);
}

static void over(void *arg)
{
	struct wt_destination *d = arg;

	if (d->devices.waiting)
		wt_loop_stop(d->relay.loop, 0);
}

static const struct wt_passthrough_events events = { .step = step, .failed = failed, .over = over };

int wt_destination_devices_open(struct wt_destination *d, struct wt_error *err)
{
	return wt_relay_devices_open(
		&d->relay, WT_RELAY_DEVICES_ARRIVE, &events, d, &d->devices.passthrough, err);
}

/* The source names the devices. What is wrong with them ends this reception, not the session's protocol. */
static int expect(struct wt_destination *d, json_t *object, struct wt_error *err)
{
	struct wt_passthrough *p = d->devices.passthrough;

	if (!p)
		return wt_error_set(err, EINVAL,
			"the guest has devices that cannot move with it, and this watari receive has no --devices MAP "
			"that says what becomes of them here");
	if (wt_passthrough_begun(p) || !json_is_array(json_object_get(object, "devices")))
		return wt_error_set(err, EPROTO, "the source's word on the guest's devices makes no sense");
	return wt_passthrough_expect(p, json_object_get(object, "devices"), err);
}

void wt_destination_devices_message(struct wt_destination *d, const uint8_t *payload, size_t length)
{
	json_t *object = json_loadb((const char *)payload, length, 0, NULL);
	struct wt_error err = { 0 };

	if (expect(d, object, &err))
		wt_destination_trouble(d, &err);
	else
		wt_passthrough_begin(d->devices.passthrough);
	json_decref(object);
}

void wt_destination_devices_qmp_event(struct wt_destination *d, const char *name, json_t *data)
{
	if (d->devices.passthrough)
		wt_passthrough_qmp_event(d->devices.passthrough, name, data);
}

/* The operator decides about the guest, and so about them. */
static void note_prepared(struct wt_destination *d)
{
	char ids[WT_ERROR_TEXT_MAX], text[WT_ERROR_TEXT_MAX + 128];

	if (!wt_passthrough_away(d->devices.passthrough, ids, sizeof ids)[0])
		return;
	snprintf(text, sizeof text,
		"devices are prepared for the guest and not plugged in: %s; if it runs here, plug them in (device_add)",
		ids);
	wt_relay_told_note(&d->relay, text);
}

static void hold_ended(void *arg, bool told)
{
	wt_loop_stop(((struct wt_destination *)arg)->relay.loop, 0);
}

static void hold(struct wt_destination *d)
{
	if (d->machine.state == WT_DESTINATION_DONE && !d->qemu_gone &&
		wt_hold_begin(&d->hold, d->relay.loop, &d->relay.report, d->options->common.hold_ns,
			"the guest runs here; its devices wait for watari proceed", hold_ended, d))
		wt_loop_run(d->relay.loop);
}

void wt_destination_devices_end(struct wt_destination *d)
{
	struct wt_passthrough *p = d->devices.passthrough;

	hold(d);
	if (!p || !wt_passthrough_begun(p))
		return;
	if (d->machine.state == WT_DESTINATION_ORPHAN) {
		note_prepared(d);
		return;
	}
	/* A source that did not wait until all was prepared gets nothing. */
	if (d->machine.state != WT_DESTINATION_DONE || !wt_passthrough_done(p, WT_DEVICE_STEP_MOVE, NULL))
		wt_passthrough_abort(p);
	d->devices.waiting = !wt_passthrough_is_over(p);
	if (d->devices.waiting)
		wt_loop_run(d->relay.loop);
	d->devices.waiting = false;
	if (d->machine.state != WT_DESTINATION_DONE)
		return;
	send_json(d, WT_RELAY_DEVICES_DONE);
	wt_report_event(&d->relay.report, "devices", json_pack("{s:o}", "devices", wt_passthrough_facts(p)),
		wt_passthrough_trouble(p) ? "the guest runs on without a device that it should have"
					  : "the guest has its devices");
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_devices.c - devices that cannot move with the guest, at the source: they leave before the migration
 * begins, and come back if it is given up. See passthrough.h.
 *
 *   1. The machine of source_switch.h hears ACCEPTED only when the last device has left: until then it is
 *      CONNECTING, from where an abort needs nothing of QEMU.
 *   2. Devices come back when the migration is over and QEMU has the guest again, outside of the loop's
 *      callbacks (wt_source_devices_end), and the relay waits for that. Nobody can cancel it.
 *   3. When the guest runs at the destination, the relay waits for its word on the devices; that it does not
 *      come changes nothing any more. A destination that is held, too, has as much time more as we were.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "printable.h"
#include "relay_devices.h"
#include "relay_peer.h"
#include "source_internal.h"

/* ---- what is told ---- */

static void send_json(struct wt_source *source, unsigned type, json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII);

	if (text)
		wt_server_send(wt_source_server(source), type, text, strlen(text));
	free(text);
	json_decref(object);
}

static void late(void *arg, uint64_t now_ns)
{
	struct wt_source *source = arg;
	struct wt_error err = { 0 };

	wt_error_set(
		&err, ETIMEDOUT, "the destination did not say in time what it did about the guest's devices");
	wt_passthrough_done(source->devices.passthrough,
		source->devices.ending ? WT_DEVICE_STEP_REPORT : WT_DEVICE_STEP_ASK, &err);
}

static void patience(struct wt_source *source, uint64_t ms)
{
	wt_loop_timer_set(source->relay.loop, &source->devices.timer,
		wt_loop_now_ns(source->relay.loop) + ms * 1000000, late, source);
}

/* ---- steps ---- */

/* All have left: is anything else in the way? What QEMU has changed since the first look counts. */
bool wt_source_devices_move(struct wt_source *source)
{
	struct wt_preflight facts;
	struct wt_error err = { 0 };
	int r;

	if (!source->devices.passthrough)
		return false;
	r = wt_preflight_source(
		source->relay.qmp, source->relay.ram, source->options->shared_storage, NULL, &facts, &err);

	/* What is pinned already must not become memory that can be discarded. */
	if (!r && facts.may_discard && !source->facts.may_discard)
		r = wt_error_set(&err, EPERM,
			"a balloon was plugged into the guest after its memory was pinned; send again, then it is copied");
	if (!r && facts.gives_up && !source->facts.gives_up)
		r = wt_error_set(&err, EPERM,
			"a balloon with free-page-hint=on was plugged into the guest meanwhile; send again");
	if (r) {
		wt_passthrough_done(source->devices.passthrough, WT_DEVICE_STEP_MOVE, &err);
		return true;
	}
	source->facts.guest_running = facts.guest_running;
	wt_source_event(source, WT_SOURCE_EV_ACCEPTED);
	return true;
}

static void step(void *arg, enum wt_device_step_kind kind)
{
	struct wt_source *source = arg;
	struct wt_passthrough *p = source->devices.passthrough;

	wt_loop_timer_clear(source->relay.loop, &source->devices.timer);
	switch (kind) {
	case WT_DEVICE_STEP_ASK:
		patience(source, wt_passthrough_ask_ms(p));
		send_json(source, WT_RELAY_DEVICES, json_pack("{s:o}", "devices", wt_passthrough_names(p)));
		break;
	case WT_DEVICE_STEP_WARM:
		wt_source_warm_begin(source);
		break;
	case WT_DEVICE_STEP_MOVE:
		wt_source_move(source);
		break;
	default:
		if (source->devices.report)
			wt_passthrough_done(p, WT_DEVICE_STEP_REPORT, NULL);
		else
			patience(source,
				wt_passthrough_report_ms(p) + source->options->common.hold_ns / 1000000);
		break;
	}
}

static void failed(void *arg, const struct wt_error *err)
{
	wt_source_trouble(arg, err);
}

static void over(void *arg)
{
	struct wt_source *source = arg;

	wt_loop_timer_clear(source->relay.loop, &source->devices.timer);
	if (source->devices.waiting)
		wt_loop_stop(source->relay.loop, 0);
}

static const struct wt_passthrough_events events = { .step = step, .failed = failed, .over = over };

/* ---- from outside ---- */

int wt_source_devices_open(struct wt_source *source, struct wt_error *err)
{
	return wt_relay_devices_open(
		&source->relay, WT_RELAY_DEVICES_LEAVE, &events, source, &source->devices.passthrough, err);
}

const char *const *wt_source_devices_leaving(const struct wt_source *source)
{
	return source->devices.passthrough ? wt_passthrough_leaving(source->devices.passthrough) : NULL;
}

bool wt_source_devices_begin(struct wt_source *source)
{
	if (!source->devices.passthrough)
		return false;
	wt_passthrough_begin(source->devices.passthrough);
	return true;
}

void wt_source_devices_qmp_event(struct wt_source *source, const char *name, json_t *data)
{
	if (source->devices.passthrough)
		wt_passthrough_qmp_event(source->devices.passthrough, name, data);
}

int wt_source_devices_message(
	struct wt_source *source, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err)
{
	json_t *object = json_loadb((const char *)payload, length, 0, NULL);

	if (!source->devices.passthrough || !json_is_object(object)) {
		json_decref(object);
		return wt_error_set(
			err, EPROTO, "the destination's word on the guest's devices makes no sense");
	}
	if (type == WT_RELAY_DEVICES_DONE && !source->devices.report) {
		source->devices.report = json_incref(object);
		source->devices.report_ns = wt_report_now_ns();
	}
	if (type == WT_RELAY_DEVICES_READY)
		source->warm.replica = json_is_true(json_object_get(object, "replica"));
	json_decref(object);
	wt_passthrough_done(source->devices.passthrough,
		type == WT_RELAY_DEVICES_READY ? WT_DEVICE_STEP_ASK : WT_DEVICE_STEP_REPORT, NULL);
	return 0;
}

const struct wt_error *wt_source_devices_end(struct wt_source *source)
{
	struct wt_passthrough *p = source->devices.passthrough;

	if (!p || !wt_passthrough_begun(p))
		return NULL;
	source->devices.ending = true;
	wt_hold_clear(&source->hold);
	if (source->machine.state == WT_SOURCE_DONE)
		wt_passthrough_done(p, WT_DEVICE_STEP_MOVE, NULL);
	else
		wt_passthrough_abort(p);
	source->devices.waiting = !wt_passthrough_is_over(p);
	if (source->devices.waiting)
		wt_loop_run(source->relay.loop);
	source->devices.waiting = false;
	if (!source->qemu_gone)
		wt_passthrough_check_back(p);
	return wt_passthrough_trouble(p);
}

void wt_source_devices_peer_lost(struct wt_source *source, const struct wt_error *err)
{
	if (source->devices.ending)
		wt_passthrough_done(source->devices.passthrough, WT_DEVICE_STEP_REPORT, err);
}

void wt_source_devices_note_away(struct wt_source *source)
{
	char ids[WT_ERROR_TEXT_MAX], text[WT_ERROR_TEXT_MAX + 128];

	if (!source->devices.passthrough ||
		!wt_passthrough_away(source->devices.passthrough, ids, sizeof ids)[0])
		return;
	snprintf(text, sizeof text,
		"devices were taken away from the guest: %s; if it goes on here, plug them in again (device_add)",
		ids);
	wt_relay_told_note(&source->relay, text);
}

/* ---- the summary ---- */

/* The sum over all devices; what the destination says is believed as far as figures go. */
static double sum_ms(json_t *devices, const char *key)
{
	double sum = 0;
	json_t *item;
	size_t i;

	json_array_foreach(devices, i, item)
	{
		double value = json_number_value(json_object_get(item, key));

		sum += value > 0 ? value : 0;
	}
	return sum;
}

json_t *wt_source_devices_json(const struct wt_source *source)
{
	const struct wt_passthrough *p = source->devices.passthrough;
	json_t *there = json_object_get(source->devices.report, "devices"), *here, *object;
	struct wt_server_stats stats;

	if (!p)
		return NULL;
	wt_source_stats(source, &stats);
	here = wt_passthrough_facts(p);
	object = json_pack("{s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:I,s:O*,s:s*}", "device_outage_ms",
		wt_report_ms_between(wt_passthrough_quiesce_ns(p), source->devices.report_ns), "quiesce_ms",
		sum_ms(here, "detach_ms"), "unplug_ms", sum_ms(here, "unplug_ms"), "move_ms",
		wt_report_ms_between(wt_passthrough_gone_ns(p), source->end_ns), "plug_ms",
		sum_ms(there, "plug_ms"), "attach_ms", sum_ms(there, "attach_ms"), "warm_up_ms",
		wt_report_ms_between(source->warm.begin_ns, source->warm.end_ns), "warm_up_bytes",
		(json_int_t)stats.warm_pages * WT_PAGE_SIZE, "there", there, "trouble",
		wt_passthrough_trouble(p) ? wt_error_text(wt_passthrough_trouble(p)) : NULL);
	json_decref(here);
	return object;
}

static void warm_text(const struct wt_source *source, json_t *object, char *text, size_t size)
{
	json_int_t moved = json_integer_value(json_object_get(object, "warm_up_bytes"));
	size_t length = strlen(text);
	char bytes[32];

	if (source->warm.end_ns)
		snprintf(text + length, size - length, "\n  warm-up   %s moved before that, in %.0f ms",
			wt_progress_size((uint64_t)moved, bytes),
			json_number_value(json_object_get(object, "warm_up_ms")));
}

void wt_source_devices_text(const struct wt_source *source, char *text, size_t size)
{
	json_t *object = wt_source_devices_json(source), *item;
	size_t i, length;

	text[0] = '\0';
	if (!object)
		return;
	if (source->devices.report)
		snprintf(text, size,
			"\n  devices   away for %.0f ms: quiesce %.0f ms, unplug %.0f ms, move %.0f ms, plug %.0f ms, attach %.0f ms",
			json_number_value(json_object_get(object, "device_outage_ms")),
			json_number_value(json_object_get(object, "quiesce_ms")),
			json_number_value(json_object_get(object, "unplug_ms")),
			json_number_value(json_object_get(object, "move_ms")),
			json_number_value(json_object_get(object, "plug_ms")),
			json_number_value(json_object_get(object, "attach_ms")));
	else
		snprintf(text, size, "\n  devices   %s",
			json_string_value(json_object_get(object, "trouble"))
				? json_string_value(json_object_get(object, "trouble"))
				: "the destination did not say what it did about them");
	warm_text(source, object, text, size);
	json_array_foreach(json_object_get(object, "there"), i, item)
	{
		const char *name = json_string_value(json_object_get(item, "name"));
		const char *what = json_string_value(json_object_get(item, "what"));
		const char *error = json_string_value(json_object_get(item, "error"));
		char shown[3][WT_PRINTABLE_MAX];

		length = strlen(text);
		if (name && what)
			snprintf(text + length, size - length, "\n  device    %s is %s there%s%s",
				wt_printable(name, strlen(name), shown[0], sizeof shown[0]),
				wt_printable(what, strlen(what), shown[1], sizeof shown[1]),
				error ? ": " : "",
				error ? wt_printable(error, strlen(error), shown[2], sizeof shown[2]) : "");
	}
	json_decref(object);
}

void wt_source_devices_close(struct wt_source *source)
{
	if (source->relay.loop) {
		wt_loop_timer_clear(source->relay.loop, &source->devices.timer);
		wt_loop_timer_clear(source->relay.loop, &source->warm.timer);
	}
	wt_passthrough_close(source->devices.passthrough);
	json_decref(source->devices.report);
}

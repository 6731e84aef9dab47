/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * restore_devices.c - see restore_devices.h. The steps are those of a destination (passthrough.h), and
 * nobody names the devices: all of the map are meant.
 */
#include "restore_devices.h"

#include "relay_devices.h"

/* The only step of the owner's is MOVE: all is prepared. */
static void step(void *arg, enum wt_device_step_kind kind)
{
	struct wt_restore_devices *d = arg;

	d->prepared(d->arg);
}

static void failed(void *arg, const struct wt_error *err)
{
	struct wt_restore_devices *d = arg;

	d->failed(d->arg, err);
}

static void over(void *arg)
{
	struct wt_restore_devices *d = arg;

	if (d->ending)
		wt_loop_stop(d->relay->loop, 0);
	else
		d->given(d->arg);
}

static const struct wt_passthrough_events events = { .step = step, .failed = failed, .over = over };

int wt_restore_devices_open(struct wt_restore_devices *d, struct wt_relay *relay, struct wt_error *err)
{
	d->relay = relay;
	return wt_relay_devices_open(relay, WT_RELAY_DEVICES_ARRIVE, &events, d, &d->passthrough, err);
}

void wt_restore_devices_prepare(struct wt_restore_devices *d)
{
	if (d->passthrough)
		wt_passthrough_begin(d->passthrough);
	else
		d->prepared(d->arg);
}

void wt_restore_devices_qmp_event(struct wt_restore_devices *d, const char *name, json_t *data)
{
	if (d->passthrough)
		wt_passthrough_qmp_event(d->passthrough, name, data);
}

void wt_restore_devices_give(struct wt_restore_devices *d)
{
	if (d->passthrough)
		wt_passthrough_done(d->passthrough, WT_DEVICE_STEP_MOVE, NULL);
	else
		d->given(d->arg);
}

void wt_restore_devices_end(struct wt_restore_devices *d)
{
	struct wt_passthrough *p = d->passthrough;

	if (!p || !wt_passthrough_begun(p))
		return;
	d->ending = true;
	wt_passthrough_abort(p);
	while (!wt_passthrough_is_over(p))
		wt_loop_run(d->relay->loop);
}

const struct wt_error *wt_restore_devices_trouble(const struct wt_restore_devices *d)
{
	return d->passthrough ? wt_passthrough_trouble(d->passthrough) : NULL;
}

void wt_restore_devices_close(struct wt_restore_devices *d)
{
	wt_passthrough_close(d->passthrough);
}

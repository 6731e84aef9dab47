/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * checkpoint_devices.c - devices whose state no checkpoint can have: they leave before it begins, and come
 * back when the guest goes on, whatever has become of it. See passthrough.h, and checkpoint.c.
 *
 *   1. QEMU is told to migrate only when the last device has left. Until then giving up needs nothing of it.
 *   2. They come back outside of the loop's callbacks (wt_checkpoint_devices_end), when QEMU has its guest
 * again. Nobody can cancel that.
 */
#include "checkpoint_internal.h"

#include "relay_devices.h"

/* All have left: is anything else in the way? */
static void step(void *arg, enum wt_device_step_kind kind)
{
	struct wt_checkpoint *c = arg;
	struct wt_error err = { 0 };
	struct wt_preflight facts;
	int r = wt_preflight_source(c->relay.qmp, c->relay.ram, true, NULL, &facts, &err);

	if (!r) {
		c->facts.guest_running = facts.guest_running;
		r = wt_checkpoint_begin(c, &err);
	}
	if (r)
		wt_passthrough_done(c->passthrough, kind, &err);
}

static void failed(void *arg, const struct wt_error *err)
{
	wt_checkpoint_trouble(arg, err);
}

static void over(void *arg)
{
	struct wt_checkpoint *c = arg;

	if (c->state == WT_CHECKPOINT_RETURNING)
		wt_loop_stop(c->relay.loop, 0);
}

static const struct wt_passthrough_events events = { .step = step, .failed = failed, .over = over };

int wt_checkpoint_devices_open(struct wt_checkpoint *c, struct wt_error *err)
{
	return wt_relay_devices_open(&c->relay, WT_RELAY_DEVICES_RETURN, &events, c, &c->passthrough, err);
}

const char *const *wt_checkpoint_devices_leaving(const struct wt_checkpoint *c)
{
	return c->passthrough ? wt_passthrough_leaving(c->passthrough) : NULL;
}

bool wt_checkpoint_devices_begin(struct wt_checkpoint *c)
{
	if (!c->passthrough)
		return false;
	wt_passthrough_begin(c->passthrough);
	return true;
}

void wt_checkpoint_devices_qmp_event(struct wt_checkpoint *c, const char *name, json_t *data)
{
	if (c->passthrough)
		wt_passthrough_qmp_event(c->passthrough, name, data);
}

const struct wt_error *wt_checkpoint_devices_end(struct wt_checkpoint *c)
{
	struct wt_passthrough *p = c->passthrough;

	if (!p || !wt_passthrough_begun(p))
		return NULL;
	wt_loop_timer_clear(c->relay.loop, &c->poll);
	wt_loop_timer_clear(c->relay.loop, &c->deadline);
	wt_loop_timer_clear(c->relay.loop, &c->progress);
	wt_passthrough_abort(p);
	while (!wt_passthrough_is_over(p)) /* QEMU's last answers may stop the loop as well */
		wt_loop_run(c->relay.loop);
	if (!c->qemu_gone)
		wt_passthrough_check_back(p);
	c->devices_back_ns = wt_report_now_ns();
	return wt_passthrough_trouble(p);
}

json_t *wt_checkpoint_devices_json(const struct wt_checkpoint *c)
{
	const struct wt_passthrough *p = c->passthrough;

	if (!p || !wt_passthrough_begun(p))
		return NULL;
	return json_pack("{s:f,s:o,s:s*}", "device_outage_ms",
		wt_report_ms_between(wt_passthrough_quiesce_ns(p), c->devices_back_ns), "here",
		wt_passthrough_facts(p), "trouble",
		wt_passthrough_trouble(p) ? wt_error_text(wt_passthrough_trouble(p)) : NULL);
}

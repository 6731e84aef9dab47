/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * handover.c - both ends of a migration in one process. See handover.h.
 *
 * Everything that happens becomes an event of source_switch.h (the old QEMU) or destination_switch.h (the new
 * one), and everything that is done is one of their actions. What one end tells the other is no message here,
 * but the other machine's event, at once: one of the orders that these machines were searched for.
 *
 *   1. Before the commit record (the old QEMU completed, and is in postmigrate) the new guest is never told
 * to run. If watari dies before SHUT was sent the old QEMU fails its migration by itself, and its guest runs
 * on.
 *   2. If watari dies behind SHUT nobody runs until `watari recover`, which finds out from both QEMUs.
 *   3. Guest RAM is never written by us.
 */
#include "handover.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "handover_internal.h"
#include "preflight.h"
#include "sabotage.h"

#define LINGER_POLL_NS 5000000ull
#define LINGER_NS 10000000000ull /* for QEMUs that were told to quit */
#define DELIVERY_NS 60000000000ull

/* ---- actions ---- */

static void deadline_fired(void *arg, uint64_t now_ns)
{
	struct wt_handover *h = arg;

	if (h->old_machine.state == WT_SOURCE_STOPPED)
		wt_error_set(&h->failure, ETIMEDOUT,
			"the new QEMU did not load the guest within %" PRIu64 " ms; see --switchover-timeout",
			h->options->switchover_timeout_ns / 1000000);
	else
		wt_error_set(&h->failure, ETIMEDOUT, "the new QEMU did not run the guest");
	wt_handover_old_event(h, WT_SOURCE_EV_DEADLINE);
}

static void set_deadline(struct wt_handover *h, uint64_t delay_ns)
{
	wt_loop_timer_set(
		h->relay.loop, &h->deadline, wt_loop_now_ns(h->relay.loop) + delay_ns, deadline_fired, h);
}

static void do_cancel(struct wt_handover *h)
{
	wt_handover_relay_hang_up(h->stream);
	wt_qmp_execute(h->old.qmp, "migrate_cancel", NULL, NULL, NULL);
	wt_handover_watch(h);
}

static void carry_out_old(struct wt_handover *h, unsigned actions)
{
	if (actions & WT_SOURCE_DO_MIGRATE)
		wt_handover_migrate(h);
	if (actions & WT_SOURCE_DO_SWITCH_DEADLINE) {
		h->stop_ns = h->stop_event_ns ? h->stop_event_ns : wt_report_now_ns();
		set_deadline(h, h->options->switchover_timeout_ns);
		wt_handover_watch(h);
	}
	if (actions & WT_SOURCE_DO_SEND_SHUT) {
		wt_loop_timer_clear(h->relay.loop, &h->deadline);
		h->shut_sent = wt_handover_relay_shut(h->stream);
		wt_handover_watch(h);
	}
	if (actions & WT_SOURCE_DO_SEND_COMMIT) {
		h->commit_ns = wt_report_now_ns();
		wt_handover_new_event(h, WT_DESTINATION_EV_COMMIT);
	}
	if (actions & WT_SOURCE_DO_SEND_ABORT)
		wt_handover_new_event(h, WT_DESTINATION_EV_ABORT);
	if (actions & WT_SOURCE_DO_CANCEL)
		do_cancel(h);
	if (actions & WT_SOURCE_DO_DELIVERY_DEADLINE && h->old_machine.state == WT_SOURCE_DELIVERING)
		set_deadline(h, DELIVERY_NS);
	if (actions & WT_SOURCE_DO_QUIT_QEMU)
		wt_qmp_execute(h->old.qmp, "quit", NULL, NULL, NULL);
	if (actions & WT_SOURCE_DO_ANNOUNCE && h->guest_running)
		wt_relay_announce_self(h->old.qmp);
	if (actions & WT_SOURCE_DO_FINISH)
		wt_loop_stop(h->relay.loop, 0);
}

static void carry_out_new(struct wt_handover *h, unsigned actions)
{
	if (actions & WT_DESTINATION_DO_FEED_TAIL)
		wt_handover_relay_feed_tail(h->stream);
	if (actions & WT_DESTINATION_DO_SEND_READY) {
		h->loaded_ns = wt_report_now_ns();
		wt_handover_old_event(h, WT_SOURCE_EV_DESTINATION_READY);
	}
	if (actions & WT_DESTINATION_DO_RUN)
		wt_handover_run_new(h);
	if (actions & WT_DESTINATION_DO_SEND_RUNNING) {
		h->end_ns = wt_report_now_ns();
		if (h->guest_running)
			wt_relay_announce_self(h->new.qmp);
		wt_handover_old_event(h, WT_SOURCE_EV_DESTINATION_RUNS);
	}
	if (actions & WT_DESTINATION_DO_QUIT_QEMU) {
		h->new_quitting = true;
		wt_qmp_execute(h->new.qmp, "quit", NULL, NULL, NULL);
	}
	if (actions & WT_DESTINATION_DO_SEND_FAILED)
		wt_handover_old_event(h, WT_SOURCE_EV_DESTINATION_UNRUN);
	if (actions & WT_DESTINATION_DO_SEND_STRANDED)
		wt_handover_old_event(h, WT_SOURCE_EV_TROUBLE);
}

void wt_handover_old_event(struct wt_handover *h, enum wt_source_event event)
{
	enum wt_source_state before = h->old_machine.state;
	unsigned actions = wt_source_switch_step(&h->old_machine, event);
	const char *name = wt_source_state_name(h->old_machine.state);

	if (h->old_machine.state == before) {
		carry_out_old(h, actions);
		return;
	}
	wt_handover_tell_state(h, "old", name);
	wt_sabotage_before(name);
	carry_out_old(h, actions);
	wt_sabotage_after(name);
}

void wt_handover_new_event(struct wt_handover *h, enum wt_destination_event event)
{
	enum wt_destination_state before = h->new_machine.state;
	unsigned actions = wt_destination_switch_step(&h->new_machine, event);
	const char *name = wt_destination_state_name(h->new_machine.state);

	if (h->new_machine.state == before) {
		carry_out_new(h, actions);
		return;
	}
	wt_handover_tell_state(h, "new", name);
	wt_sabotage_before(name);
	carry_out_new(h, actions);
	wt_sabotage_after(name);
}

void wt_handover_trouble(struct wt_handover *h, const struct wt_error *err)
{
	if (!h->failure.code)
		h->failure = *err;
	wt_handover_old_event(h, WT_SOURCE_EV_TROUBLE);
}

/* ---- the stream ---- */

static int stream_block(
	void *arg, const char *name, uint64_t length, bool *ret_in_place, struct wt_error *err)
{
	struct wt_handover *h = arg;
	const struct wt_ram_block *old = wt_guest_ram_find(h->old.ram, name);
	const struct wt_ram_block *new = wt_guest_ram_find(h->new.ram, name);

	*ret_in_place = old && new &&wt_handover_same(old, new);
	if (*ret_in_place && length != old->length)
		return wt_error_set(err, EPROTO,
			"block %s has %" PRIu64 " bytes in QEMU's stream and %" PRIu64
			" in its monitor; RAM was changed, try again",
			name, length, old->length);
	return 0;
}

static void stream_guest_stopped(void *arg)
{
	struct wt_handover *h = arg;

	wt_handover_old_event(h, WT_SOURCE_EV_GUEST_STOPPED);
	wt_handover_new_event(h, WT_DESTINATION_EV_RAM_COMPLETE);
}

/* Once the handover was let go the stream means nothing any more: QEMU is closing it. */
static void stream_trouble(void *arg, const struct wt_error *err)
{
	struct wt_handover *h = arg;

	if (!h->shut_sent)
		wt_handover_trouble(h, err);
}

static const struct wt_handover_relay_events stream_events = {
	.block = stream_block, .guest_stopped = stream_guest_stopped, .trouble = stream_trouble
};

/* ---- beginning and end ---- */

static void signalled(void *arg, const char *signal_name)
{
	struct wt_error err = { 0 };

	wt_error_set(&err, ECANCELED, "cancelled by %s", signal_name);
	wt_handover_trouble(arg, &err);
}

static int check(struct wt_handover *h, struct wt_error *err)
{
	int r;

	if (wt_qmp_pid(h->old.qmp) == wt_qmp_pid(h->new.qmp))
		return wt_error_set(err, EINVAL, "%s and %s are sockets of one QEMU (process %d)",
			h->old.socket_path, h->new.socket_path, (int)wt_qmp_pid(h->old.qmp));
	r = wt_handover_keep_memory(&h->old, err);
	if (!r)
		r = wt_preflight_old(h->old.qmp, wt_handover_devices_leaving(h), &h->guest_running, err);
	if (!r && !h->guest_running)
		r = wt_handover_check_paused(&h->old, err);
	if (!r)
		r = wt_handover_check_backends(&h->old, "old", err);
	if (!r)
		r = wt_handover_check_backends(&h->new, "new", err);
	if (!r)
		r = wt_preflight_new(h->new.qmp, err);
	if (!r)
		r = wt_handover_check_machine(&h->old, &h->new, wt_handover_devices_leaving(h), err);
	if (!r)
		r = wt_handover_devices_check_new(h, err);
	return r ? r : wt_handover_check_memory(&h->old, &h->new, &h->memory, err);
}

static int start(struct wt_handover *h, struct wt_error *err)
{
	const struct wt_handover_options *o = h->options;
	int r = wt_relay_open(&h->relay, &o->common, &wt_handover_old_events, signalled, NULL, h, err);

	if (r)
		return r;
	h->old = (struct wt_handover_qemu){ h->relay.qmp, h->relay.ram, o->common.qmp_path };
	r = wt_handover_devices_open(h, err);
	if (!r)
		r = wt_handover_new_open(h, err);
	if (!r)
		r = check(h, err);
	if (!r)
		r = wt_handover_relay_open(
			h->relay.loop, &stream_events, h, &h->stream, &h->stream_path, err);
	if (!r)
		r = wt_handover_prepare_new(h, err);
	if (r)
		return r;
	wt_handover_tell_checked(h);
	wt_handover_new_event(h, WT_DESTINATION_EV_CONNECTED);
	wt_handover_devices_begin(h);
	wt_handover_watch(h);
	return 0;
}

/* QEMUs that were told to quit have, or were waited for long enough. */
static void linger_fired(void *arg, uint64_t now_ns)
{
	struct wt_handover *h = arg;
	bool old_quits = h->old_machine.state == WT_SOURCE_DONE && !h->options->keep_old && !h->old_gone;
	bool new_quits = h->new_quitting && !h->new_gone;

	if (now_ns >= h->linger_until_ns || (!old_quits && !new_quits))
		wt_loop_stop(h->relay.loop, 0);
	else
		wt_loop_timer_set(h->relay.loop, &h->deadline, now_ns + LINGER_POLL_NS, linger_fired, h);
}

static void linger(struct wt_handover *h)
{
	uint64_t now_ns = wt_loop_now_ns(h->relay.loop);

	wt_loop_timer_clear(h->relay.loop, &h->poll);
	wt_loop_timer_clear(h->relay.loop, &h->progress);
	h->linger_until_ns = now_ns + LINGER_NS;
	wt_loop_timer_set(h->relay.loop, &h->deadline, now_ns, linger_fired, h);
	wt_loop_run(h->relay.loop);
}

/* What has become of the guest after an abort. */
static void aborted_text(struct wt_handover *h, char *text, size_t size)
{
	const struct wt_error *devices = NULL;
	struct wt_error err = { 0 };
	int r = h->old_gone ? 0 : wt_handover_restore_old(h, &err);

	if (!h->old_gone)
		devices = wt_handover_devices_end(h);
	if (h->old_gone)
		snprintf(text, size, "%s; the guest had not gone over", wt_error_text(&h->failure));
	else if (r)
		snprintf(text, size,
			"%s; and the guest does not go on in the old QEMU (%s): say cont to it%s%s",
			wt_error_text(&h->failure), wt_error_text(&err), devices ? "; and " : "",
			devices ? wt_error_text(devices) : "");
	else if (devices)
		snprintf(text, size, "%s; the guest goes on in the old QEMU, but look at its devices: %s",
			wt_error_text(&h->failure), wt_error_text(devices));
	else
		snprintf(text, size, "%s; the guest goes on in the old QEMU as before",
			wt_error_text(&h->failure));
}

static int conclude(struct wt_handover *h)
{
	char text[3 * WT_ERROR_TEXT_MAX + 256];
	const struct wt_error *devices;
	int code = WT_EXIT_UNDECIDED;

	if (h->old_machine.state != WT_SOURCE_DONE && h->old_machine.state != WT_SOURCE_ABORTED)
		wt_handover_devices_note_away(h);
	switch (h->old_machine.state) {
	case WT_SOURCE_DONE:
		wt_handover_restore_new(h);
		devices = wt_handover_devices_end(h);
		wt_handover_tell_summary(h);
		if (devices)
			wt_handover_tell_devices(h, devices);
		return WT_EXIT_OK;
	case WT_SOURCE_ABORTED:
		aborted_text(h, text, sizeof text);
		code = WT_EXIT_FAILED;
		break;
	case WT_SOURCE_LOST:
		snprintf(text, sizeof text, "%s; the guest had not gone over", wt_error_text(&h->failure));
		code = WT_EXIT_FAILED;
		break;
	case WT_SOURCE_UNDECIDED:
		snprintf(text, sizeof text,
			"%s after the handover was let go; the new one is loaded and paused. If the old one is really gone, "
			"let the new one run: watari recover --destination-qmp %s --force-run",
			wt_error_text(&h->failure), h->new.socket_path);
		break;
	default:
		snprintf(text, sizeof text,
			"%s; the handover is committed, the guest in the old QEMU must not run again: watari recover --qmp %s "
			"--destination-qmp %s",
			wt_error_text(&h->failure), h->old.socket_path, h->new.socket_path);
		break;
	}
	wt_report_error(&h->relay.report, text);
	return code;
}

static void close_all(struct wt_handover *h)
{
	wt_handover_relay_close(h->stream);
	wt_passthrough_close(h->devices.passthrough);
	wt_qmp_close(h->new.qmp);
	wt_guest_ram_close(h->new.ram);
	wt_relay_close(&h->relay);
}

int wt_handover_run(const struct wt_handover_options *options)
{
	struct wt_handover h = { .options = options };
	struct wt_error err = { 0 };
	int code;

	wt_source_switch_init(&h.old_machine, options->keep_old);
	wt_destination_switch_init(&h.new_machine);
	if (start(&h, &err)) {
		wt_handover_restore_new(&h);
		wt_report_error(&h.relay.report, wt_error_text(&err));
		code = WT_EXIT_FAILED;
	} else {
		wt_loop_run(h.relay.loop);
		code = conclude(&h);
		linger(&h);
		if (code == WT_EXIT_OK && !options->keep_old && !h.old_gone)
			wt_handover_tell_stays(&h);
	}
	close_all(&h);
	return code;
}

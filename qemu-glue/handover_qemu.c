/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * handover_qemu.c - what a handover asks of its two QEMUs, and tells them.
 *
 * As in source.c and destination.c the answer counts, never the event that made us ask. While the guest is
 * stopped both are asked every POLL_NS, besides.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "handover_internal.h"

#define POLL_NS 2000000ull
#define WATCH_NS 250000000ull
#define RUN_RETRY_NS 20000000ull
#define RUN_TRIES 500              /* a disk lock that the old QEMU releases late */
#define BANDWIDTH_MAX (1ull << 40) /* bytes per second that QEMU may think it has: no limit of its own */
#define SETTLE_NS 2000000000ull
#define DOWNTIME_MS 300 /* the rest fits into that at once: it is on this host */

static const char *text_of(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

/* ---- the old one ---- */

static void old_status_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct wt_handover *h = arg;

	if (h->migrating && strcmp(text_of(result, "status"), "postmigrate") == 0)
		wt_handover_old_event(h, WT_SOURCE_EV_QEMU_COMPLETED);
}

static void old_migration_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct wt_handover *h = arg;
	const char *status = text_of(result, "status"), *why = text_of(result, "error-desc");
	json_t *ram = json_object_get(result, "ram");

	h->asking_old = false;
	if (!h->migrating)
		return;
	if (ram) {
		h->said.total_bytes = (uint64_t)json_integer_value(json_object_get(ram, "total"));
		h->said.remaining_bytes = (uint64_t)json_integer_value(json_object_get(ram, "remaining"));
	}
	if (strcmp(status, "completed") == 0) {
		wt_qmp_execute(h->old.qmp, "query-status", NULL, old_status_reply, h);
	} else if (strcmp(status, "failed") == 0 || strcmp(status, "cancelled") == 0) {
		wt_error_set(&h->failure, EIO, "the old QEMU says that the migration %s%s%s", status,
			*why ? ": " : "", why);
		wt_handover_old_event(h, WT_SOURCE_EV_QEMU_FAILED);
	}
}

static void ask_old(struct wt_handover *h)
{
	if (!h->migrating || h->asking_old)
		return;
	h->asking_old = true;
	wt_qmp_execute(h->old.qmp, "query-migrate", NULL, old_migration_reply, h);
}

/* Who stopped the guest: the migration, or somebody who wants it paused? */
static void stop_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct wt_handover *h = arg;
	const char *status = text_of(result, "status");

	if (strcmp(status, "finish-migrate") == 0 || strcmp(status, "postmigrate") == 0) {
		if (h->migrating)
			wt_handover_old_event(h, WT_SOURCE_EV_GUEST_STOPPED);
	} else if (*status && strcmp(status, "running") != 0) {
		h->guest_running = false;
	}
}

static void old_event(void *arg, const char *name, json_t *data)
{
	struct wt_handover *h = arg;

	if (strcmp(name, "STOP") == 0) {
		h->stop_event_ns = wt_report_now_ns();
		wt_qmp_execute(h->old.qmp, "query-status", NULL, stop_reply, h);
	} else if (strcmp(name, "RESUME") == 0) {
		h->guest_running = true;
	} else if (strcmp(name, "MIGRATION") == 0) {
		ask_old(h);
	} else if (h->old_machine.state != WT_SOURCE_DONE) {
		wt_handover_devices_qmp_event(h, name, data);
	}
}

static void old_closed(void *arg, const struct wt_error *err)
{
	struct wt_handover *h = arg;

	h->old_gone = true;
	wt_error_set(&h->failure, EIO, "the old QEMU is gone: %s", wt_error_text(err));
	wt_handover_old_event(h, WT_SOURCE_EV_QEMU_GONE);
}

const struct wt_qmp_events wt_handover_old_events = { .event = old_event, .closed = old_closed };

int wt_handover_prepare_old(struct wt_handover *h, struct wt_error *err)
{
	struct wt_migration_settings settings;
	int r = wt_migration_settings_read(h->old.qmp, &settings, err);

	if (r)
		return r;
	h->old_before = settings;
	h->old_before_known = true;
	settings.return_path = settings.events = settings.ignore_shared = true;
	settings.pause_before_switchover = settings.multifd = settings.switchover_ack = false;
	settings.max_bandwidth = BANDWIDTH_MAX;
	settings.downtime_limit_ms = DOWNTIME_MS;
	r = wt_record_write(h->old.qmp, &h->record, err);
	return r ? r : wt_migration_settings_write(h->old.qmp, &settings, err);
}

static void migrate_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct wt_handover *h = arg;

	h->migrating = true;
	h->migrate_taken = result != NULL;
	if (result)
		return;
	h->failure = h->failure.code ? h->failure : *err;
	wt_handover_old_event(h, WT_SOURCE_EV_QEMU_FAILED);
}

void wt_handover_migrate(struct wt_handover *h)
{
	struct wt_error err = { 0 };
	char uri[128];

	if (wt_handover_prepare_old(h, &err)) {
		h->failure = h->failure.code ? h->failure : err;
		wt_handover_old_event(h, WT_SOURCE_EV_QEMU_FAILED);
		return;
	}
	snprintf(uri, sizeof uri, "unix:%s", h->stream_path);
	h->start_ns = wt_report_now_ns();
	wt_qmp_execute(h->old.qmp, "migrate", json_pack("{s:s}", "uri", uri), migrate_reply, h);
}

/* The run state, when it is more than a moment's: behind `failed` QEMU runs the guest by itself. */
static int ask_settled(struct wt_handover *h, char ret_status[32], struct wt_error *err)
{
	uint64_t until_ns = wt_report_now_ns() + SETTLE_NS;
	int r;

	do {
		json_t *answer = NULL;

		r = wt_qmp_call(h->old.qmp, "query-status", NULL, WT_RELAY_QMP_NS, &answer, err);
		snprintf(ret_status, 32, "%s", text_of(answer, "status"));
		json_decref(answer);
	} while (!r && strcmp(ret_status, "finish-migrate") == 0 && wt_report_now_ns() < until_ns);
	return r;
}

/* What the capability x-ignore-shared would do to the next migration nobody would expect: it is not left on.
 */
int wt_handover_restore_old(struct wt_handover *h, struct wt_error *err)
{
	struct wt_error ignored = { 0 };
	char status[32];
	int r;

	if (h->old_before_known) {
		h->old_before.ignore_shared = false;
		wt_migration_settings_write(h->old.qmp, &h->old_before, &ignored);
	}
	if (!h->guest_running || !h->migrate_taken)
		return 0;
	r = ask_settled(h, status, err);
	if (r)
		return r;
	return strcmp(status, "postmigrate") != 0 && strcmp(status, "finish-migrate") != 0
		       ? 0
		       : wt_qmp_call(h->old.qmp, "cont", NULL, WT_RELAY_QMP_NS, NULL, err);
}

/* ---- the new one ---- */

static void new_failed(struct wt_handover *h, const struct wt_error *err)
{
	if (!h->failure.code)
		h->failure = *err;
	wt_handover_new_event(h, WT_DESTINATION_EV_TROUBLE);
}

static void new_status_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct wt_handover *h = arg;
	const char *status = text_of(result, "status");
	struct wt_error runs = { 0 };

	if (!*status || h->new_quitting || strcmp(status, "inmigrate") == 0)
		return;
	if (strcmp(status, "running") == 0) {
		wt_error_set(&runs, EPERM,
			"the new QEMU runs the guest by itself; start it with -incoming defer -S");
		new_failed(h, &runs);
	} else {
		wt_handover_new_event(h, WT_DESTINATION_EV_LOADED);
	}
}

static void new_migration_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct wt_handover *h = arg;
	const char *status = text_of(result, "status"), *why = text_of(result, "error-desc");
	struct wt_error failed = { 0 };

	h->asking_new = false;
	if (h->new_quitting)
		return;
	if (strcmp(status, "completed") == 0) {
		wt_qmp_execute(h->new.qmp, "query-status", NULL, new_status_reply, h);
	} else if (strcmp(status, "failed") == 0) {
		wt_error_set(&failed, EIO,
			"the new QEMU refuses the guest's state%s%s; see its standard error",
			*why ? ": " : "", why);
		new_failed(h, &failed);
	}
}

static void ask_new(struct wt_handover *h)
{
	enum wt_destination_state state = h->new_machine.state;

	if (h->asking_new || (state != WT_DESTINATION_RECEIVING && state != WT_DESTINATION_LOADING))
		return;
	h->asking_new = true;
	wt_qmp_execute(h->new.qmp, "query-migrate", NULL, new_migration_reply, h);
}

static void new_event(void *arg, const char *name, json_t *data)
{
	struct wt_handover *h = arg;

	if (strcmp(name, "MIGRATION") == 0)
		ask_new(h);
	else if (strcmp(name, "RESUME") == 0 && h->new_machine.state == WT_DESTINATION_STARTING)
		wt_handover_new_event(h, WT_DESTINATION_EV_RUNNING);
	else if (h->old_machine.state == WT_SOURCE_DONE)
		wt_handover_devices_qmp_event(h, name, data);
}

static void new_closed(void *arg, const struct wt_error *err)
{
	struct wt_handover *h = arg;

	h->new_gone = true;
	wt_error_set(&h->failure, EIO, "the new QEMU ended; see its standard error");
	wt_handover_new_event(h, WT_DESTINATION_EV_QEMU_GONE);
}

static const struct wt_qmp_events new_events = { .event = new_event, .closed = new_closed };

int wt_handover_new_open(struct wt_handover *h, struct wt_error *err)
{
	int r;

	h->new.socket_path = h->options->new_qmp_path;
	r = wt_qmp_open(h->relay.loop, h->new.socket_path, WT_RELAY_QMP_NS, &new_events, h, &h->new.qmp, err);
	if (!r)
		r = wt_handover_keep_memory(
			&h->new, err); /* it may be told to quit at any time from now on */
	return r ? r : wt_guest_ram_open(h->new.qmp, &h->new.ram, err);
}

int wt_handover_prepare_new(struct wt_handover *h, struct wt_error *err)
{
	struct wt_migration_settings settings;
	char uri[128];
	int r = wt_migration_settings_read(h->new.qmp, &settings, err);

	if (r)
		return r;
	h->new_before = settings;
	h->new_before_known = true;
	settings.events = settings.ignore_shared = true;
	settings.multifd = false;
	/* One that was told to stop while it waits stays paused, even if it was started without -S. */
	r = wt_qmp_call(h->new.qmp, "stop", NULL, WT_RELAY_QMP_NS, NULL, err);
	if (!r)
		r = wt_record_new(&h->record, err);
	if (!r)
		r = wt_record_write(h->new.qmp, &h->record, err);
	if (!r)
		r = wt_migration_settings_write(h->new.qmp, &settings, err);
	if (!r)
		r = wt_qmp_call(h->new.qmp, "migrate-set-capabilities",
			json_pack("{s:[{s:s,s:b}]}", "capabilities", "capability", "late-block-activate",
				"state", 1),
			WT_RELAY_QMP_NS, NULL, err);
	snprintf(uri, sizeof uri, "unix:%s", wt_handover_relay_incoming(h->stream));
	if (!r)
		r = wt_qmp_call(h->new.qmp, "migrate-incoming", json_pack("{s:s}", "uri", uri),
			WT_RELAY_QMP_NS, NULL, err);
	return r ? r : wt_handover_relay_connect(h->stream, err);
}

static void try_run(void *arg, uint64_t now_ns);

static void cont_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct wt_handover *h = arg;

	if (result || h->new_machine.state != WT_DESTINATION_STARTING)
		return;
	if (h->run_tries >= RUN_TRIES)
		new_failed(h, err);
	else
		wt_loop_timer_set(
			h->relay.loop, &h->run, wt_loop_now_ns(h->relay.loop) + RUN_RETRY_NS, try_run, h);
}

static void try_run(void *arg, uint64_t now_ns)
{
	struct wt_handover *h = arg;

	h->run_tries++;
	wt_qmp_execute(h->new.qmp, "cont", NULL, cont_reply, h);
}

/* A guest that stays paused gives no sign of itself: its QEMU must answer. */
static void paused_reply(void *arg, json_t *result, const struct wt_error *err)
{
	if (result)
		wt_handover_new_event(arg, WT_DESTINATION_EV_RUNNING);
}

void wt_handover_run_new(struct wt_handover *h)
{
	if (h->guest_running)
		try_run(h, 0);
	else
		wt_qmp_execute(h->new.qmp, "query-status", NULL, paused_reply, h);
}

void wt_handover_restore_new(struct wt_handover *h)
{
	struct wt_error ignored = { 0 };

	if (!h->new_before_known)
		return;
	h->new_before.ignore_shared = false;
	wt_migration_settings_write(h->new.qmp, &h->new_before, &ignored);
}

/* ---- both ---- */

static void poll_fired(void *arg, uint64_t now_ns)
{
	struct wt_handover *h = arg;
	enum wt_source_state state = h->old_machine.state;

	if (state == WT_SOURCE_COMMITTING && !h->shut_sent)
		h->shut_sent = wt_handover_relay_shut(h->stream);
	wt_loop_timer_set(h->relay.loop, &h->poll,
		now_ns + (state == WT_SOURCE_STREAMING ? WATCH_NS : POLL_NS), poll_fired, h);
	ask_old(h);
	ask_new(h);
	if (state == WT_SOURCE_STREAMING)
		wt_handover_tell_progress(h);
}

void wt_handover_watch(struct wt_handover *h)
{
	wt_loop_timer_set(h->relay.loop, &h->poll,
		wt_loop_now_ns(h->relay.loop) + (h->old_machine.state == WT_SOURCE_STREAMING ? WATCH_NS : 0),
		poll_fired, h);
}

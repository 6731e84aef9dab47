/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * checkpoint_qemu.c - what QEMU is told and asked for a checkpoint: how its migration is, when its guest is
 * stopped, and that it lets it go on. See checkpoint.c.
 *
 *   1. Once QEMU was told to migrate, only its own word that the migration is over, or the end of our
 * patience, ends the wait for its guest.
 *   2. A guest that is stopped by this migration is stopped for no longer than --stop-timeout while it is
 * written, and QEMU has as long to say that it still is; one that somebody else has stopped may be for
 * longer.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "checkpoint_internal.h"
#include "relay_peer.h"

#define WATCH_NS 250000000ull
#define POLL_NS 5000000ull
#define RETURN_NS 30000000000ull   /* QEMU has so long to let its guest go on */
#define BANDWIDTH_MAX (1ull << 40) /* bytes per second that QEMU may think it has: no limit of its own */

/* ---- the end of its migration ---- */

static void never_returned(void *arg, uint64_t now_ns)
{
	struct wt_checkpoint *c = arg;

	c->not_returned = true;
	wt_loop_stop(c->relay.loop, 0);
}

void wt_checkpoint_give_back(struct wt_checkpoint *c)
{
	wt_checkpoint_go(c, WT_CHECKPOINT_RETURNING);
	wt_loop_timer_set(
		c->relay.loop, &c->deadline, wt_loop_now_ns(c->relay.loop) + RETURN_NS, never_returned, c);
	if (c->outgoing)
		wt_outgoing_hang_up(c->outgoing);
	if (!c->told) {
		wt_loop_stop(c->relay.loop, 0);
		return;
	}
	wt_qmp_execute(c->relay.qmp, "migrate_cancel", NULL, NULL, NULL);
	wt_checkpoint_poll(c);
}

/* ---- how its migration is ---- */

static void continue_reply(void *arg, json_t *result, const struct wt_error *err)
{
	if (!result)
		wt_checkpoint_trouble(arg, err);
}

/* The guest is stopped, and QEMU waits for us. */
static void freeze(struct wt_checkpoint *c)
{
	struct wt_error err = { 0 };
	int r;

	if (c->freezing || !c->disks.count || c->state != WT_CHECKPOINT_STREAMING)
		return;
	c->freezing = true;
	r = wt_checkpoint_disks_freeze(c->relay.qmp, &c->disks, c->generation, &c->frozen, &err);
	c->frozen_unsure = r == -ETIMEDOUT;
	if (r)
		wt_checkpoint_trouble(c, &err);
	else if (c->state == WT_CHECKPOINT_STREAMING)
		wt_qmp_execute(c->relay.qmp, "migrate-continue",
			json_pack("{s:s}", "state", "pre-switchover"), continue_reply, c);
}

static void returned_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct wt_checkpoint *c = arg;
	const char *status = json_string_value(json_object_get(result, "status"));

	if (!status || c->state != WT_CHECKPOINT_RETURNING)
		return;
	/* It ran, and QEMU is only about to let it go on. */
	if (c->facts.guest_running && !strcmp(status, "finish-migrate"))
		return;
	if (c->facts.guest_running && !strcmp(status, "postmigrate") && c->completed)
		never_returned(c, 0); /* not our migration: its guest may run elsewhere */
	else if (c->facts.guest_running && !strcmp(status, "postmigrate"))
		wt_qmp_execute(c->relay.qmp, "cont", NULL, NULL, NULL);
	else
		wt_loop_stop(c->relay.loop, 0);
}

static void migrate_info_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct wt_checkpoint *c = arg;
	const char *status = json_string_value(json_object_get(result, "status"));
	const char *why = json_string_value(json_object_get(result, "error-desc"));
	struct wt_error failed = { 0 };
	bool over;

	if (!status || !c->migrating)
		return;
	c->completed = !strcmp(status, "completed");
	over = !strcmp(status, "failed") || !strcmp(status, "cancelled") || c->completed;
	wt_checkpoint_take_figures(c, result);
	if (!strcmp(status, "pre-switchover"))
		freeze(c);
	if (over && c->state == WT_CHECKPOINT_RETURNING)
		wt_qmp_execute(c->relay.qmp, "query-status", NULL, returned_reply, c);
	else if (over) {
		wt_error_set(&failed, EIO, "QEMU says that the migration %s%s%s", status, why ? ": " : "",
			why ? why : "");
		wt_checkpoint_trouble(c, &failed);
	}
}

static void poll_fired(void *arg, uint64_t now_ns)
{
	wt_checkpoint_poll(arg);
}

void wt_checkpoint_poll(struct wt_checkpoint *c)
{
	wt_loop_timer_set(c->relay.loop, &c->poll,
		wt_loop_now_ns(c->relay.loop) + (c->state == WT_CHECKPOINT_STREAMING ? WATCH_NS : POLL_NS),
		poll_fired, c);
	if (c->migrating)
		wt_qmp_execute(c->relay.qmp, "query-migrate", NULL, migrate_info_reply, c);
}

/* ---- when its guest is stopped ---- */

static void deadline_fired(void *arg, uint64_t now_ns)
{
	struct wt_error err = { 0 };

	wt_error_set(&err, ETIMEDOUT,
		"the end of the guest's memory and state was not written within %" PRIu64
		" ms of its stop; see --stop-timeout",
		((struct wt_checkpoint *)arg)->options->stop_timeout_ns / 1000000);
	wt_checkpoint_trouble(arg, &err);
}

void wt_checkpoint_hurry(struct wt_checkpoint *c)
{
	if (c->hurried)
		return;
	c->hurried = true;
	wt_save_final(wt_checkpoint_save(c->files), true);
	wt_checkpoint_hold(c->files);
	wt_loop_timer_set(c->relay.loop, &c->deadline,
		wt_loop_now_ns(c->relay.loop) + c->options->stop_timeout_ns, deadline_fired, c);
}

/* It was somebody else who stopped the guest. */
static void take_time(struct wt_checkpoint *c)
{
	if (!c->hurried || c->state != WT_CHECKPOINT_STREAMING)
		return;
	c->hurried = false;
	wt_save_final(wt_checkpoint_save(c->files), false);
	wt_loop_timer_clear(c->relay.loop, &c->deadline);
}

/* Who stopped the guest: the migration, or somebody who wants it paused? QEMU may answer this only when it
 * has written its last pass. */
static void stop_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct wt_checkpoint *c = arg;
	const char *status = json_string_value(json_object_get(result, "status"));

	if (!status || c->state != WT_CHECKPOINT_STREAMING || !strcmp(status, "finish-migrate"))
		return;
	take_time(c);
	if (strcmp(status, "running") != 0)
		c->facts.guest_running = false;
}

static void qmp_event(void *arg, const char *name, json_t *data)
{
	struct wt_checkpoint *c = arg;

	wt_checkpoint_devices_qmp_event(c, name, data);
	if (!strcmp(name, "STOP")) {
		c->stop_ns = wt_report_now_ns();
		if (c->state == WT_CHECKPOINT_STREAMING)
			wt_checkpoint_hurry(c);
		wt_qmp_execute(c->relay.qmp, "query-status", NULL, stop_reply, c);
	} else if (!strcmp(name, "RESUME")) {
		c->resume_ns = wt_report_now_ns();
		c->facts.guest_running = true;
		take_time(c);
	} else if (!strcmp(name, "MIGRATION")) {
		wt_checkpoint_poll(c);
	}
}

static void qmp_closed(void *arg, const struct wt_error *err)
{
	struct wt_checkpoint *c = arg;

	/* With all of it here the checkpoint is good, whatever became of QEMU. */
	c->qemu_gone = true;
	if (!c->good)
		wt_error_set(&c->failure, EIO, "QEMU is gone: %s", wt_error_text(err));
	if (c->outgoing)
		wt_outgoing_hang_up(c->outgoing);
	wt_loop_stop(c->relay.loop, 0);
}

const struct wt_qmp_events wt_checkpoint_qmp_events = { .event = qmp_event, .closed = qmp_closed };

int wt_checkpoint_check_stopped(struct wt_checkpoint *c, struct wt_error *err)
{
	json_t *answer = NULL;
	const char *status;
	/* As long as for the writing: a QEMU that has just written its state may be busy still. */
	uint64_t patience_ns = c->options->stop_timeout_ns;
	int r = wt_qmp_call(c->relay.qmp, "query-status", NULL, patience_ns, &answer, err);

	if (r < 0)
		return r;
	status = json_string_value(json_object_get(answer, "status"));
	r = status && !strcmp(status, "finish-migrate")
		    ? 0
		    : wt_error_set(err, ECANCELED,
			      "QEMU has let its guest go on (status '%.40s') before all of it was written",
			      status ? status : "");
	json_decref(answer);
	return r;
}

/* ---- its settings ---- */

int wt_checkpoint_prepare_qemu(struct wt_checkpoint *c, struct wt_error *err)
{
	const struct wt_checkpoint_options *o = c->options;
	struct wt_migration_settings settings;
	int r = wt_migration_settings_read(c->relay.qmp, &settings, err);

	if (r)
		return r;
	c->before = settings;
	c->before_known = true;
	settings.return_path = settings.events = true;
	settings.pause_before_switchover = c->disks.count;
	settings.ignore_shared = settings.switchover_ack = false;
	settings.auto_converge |= o->auto_converge;
	settings.max_bandwidth = o->max_rate ? o->max_rate : BANDWIDTH_MAX;
	settings.downtime_limit_ms = o->downtime_limit_ms;
	settings.multifd = o->channels > 1;
	if (settings.multifd)
		settings.multifd_channels = o->channels;
	return wt_migration_settings_write(c->relay.qmp, &settings, err);
}

void wt_checkpoint_restore_qemu(struct wt_checkpoint *c)
{
	struct wt_error ignored = { 0 };

	if (c->before_known && !c->qemu_gone)
		wt_migration_settings_write(c->relay.qmp, &c->before, &ignored);
}

static void migrate_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct wt_checkpoint *c = arg;

	c->migrating = result;
	c->told = result;
	if (!result && c->state == WT_CHECKPOINT_RETURNING)
		wt_loop_stop(c->relay.loop, 0);
	else if (!result)
		wt_checkpoint_trouble(c, err);
}

void wt_checkpoint_migrate(struct wt_checkpoint *c)
{
	char uri[128];

	snprintf(uri, sizeof uri, "unix:%s", c->place.path);
	c->told = true;
	wt_qmp_execute(c->relay.qmp, "migrate", json_pack("{s:s}", "uri", uri), migrate_reply, c);
}

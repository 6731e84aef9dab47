/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source.c - the source relay: QMP, QEMU's stream and state machine tied together. See source.h. The page
 * server and the destination's word are source_peer.c's.
 *
 * Everything that happens becomes an event of source_switch.h; everything that is done is one of its actions.
 * The order of a migration is written there, not here.
 *
 * What QEMU is doing is asked with query-migrate every WATCH_NS, every POLL_NS while a switchover or a cancel
 * waits for it, and at once on its MIGRATION event; the answer, never the event, counts.
 */
#include "source.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "messages.h"
#include "relay_peer.h"
#include "sabotage.h"
#include "source_internal.h"

#define POLL_NS 20000000ull
#define LINGER_NS 5000000000ull /* for the last words to arrive, and for QEMU to quit */
#define ACCEPT_NS 30000000000ull
#define WATCH_NS 250000000ull
#define UNLOAD_NS 10000000000ull /* for a destination that was given up to end its QEMU */
#define GATED_NS 50000000ull
#define VERIFY_NS 600000000000ull  /* what comparing all of RAM may add to the switchover */
#define BANDWIDTH_MAX (1ull << 40) /* bytes per second that QEMU may think it has: no limit of its own */

/* ---- asking QEMU ---- */

static void status_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct wt_source *source = arg;
	const char *status = json_string_value(json_object_get(result, "status"));

	if (!source->migrating || !status)
		return;
	if (strcmp(status, "postmigrate") == 0)
		wt_source_event(source, WT_SOURCE_EV_QEMU_COMPLETED);
	else if (source->machine.state == WT_SOURCE_ABORTING && !source->migrate_taken)
		wt_source_event(
			source, WT_SOURCE_EV_QEMU_FAILED); /* "completed" was said of an earlier one */
}

/* By the migration. */
static void guest_stopped(struct wt_source *source)
{
	wt_source_change_event(source, WT_RETARGET_EV_GUEST_STOPPED, wt_source_current(source));
	wt_source_event(source, WT_SOURCE_EV_GUEST_STOPPED);
}

/* Who stopped the guest: the migration, or somebody who wants it paused, also at its destination? */
static void stop_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct wt_source *source = arg;
	const char *status = json_string_value(json_object_get(result, "status"));

	if (status && (strcmp(status, "finish-migrate") == 0 || strcmp(status, "postmigrate") == 0)) {
		if (source->migrating) {
			guest_stopped(source);
			source->stop_ns = source->stop_event_ns;
		}
	} else if (status && strcmp(status, "running") != 0) {
		source->facts.guest_running = false;
	}
}

static void migrate_info_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct wt_source *source = arg;
	const char *status = json_string_value(json_object_get(result, "status"));
	const char *why = json_string_value(json_object_get(result, "error-desc"));

	source->asking = false;
	if (!source->migrating)
		return;
	if (!status) { /* it never began to */
		if (result && source->machine.state == WT_SOURCE_ABORTING)
			wt_source_event(source, WT_SOURCE_EV_QEMU_FAILED);
		return;
	}
	wt_source_take_figures(source, result);
	wt_source_gate(source);
	if (source->machine.state == WT_SOURCE_STREAMING) {
		wt_source_digests_gate(source);
		wt_source_downtime_goal(source);
		wt_source_converge(source);
	}
	if (strcmp(status, "completed") == 0) {
		wt_qmp_execute(source->relay.qmp, "query-status", NULL, status_reply, source);
	} else if (strcmp(status, "failed") == 0 || strcmp(status, "cancelled") == 0) {
		if (source->machine.state != WT_SOURCE_RESTARTING)
			wt_error_set(&source->failure, EIO, "QEMU says that the migration %s%s%s", status,
				why ? ": " : "", why ? why : "");
		wt_source_event(source, WT_SOURCE_EV_QEMU_FAILED);
	}
}

/* Asks only for the migration that is under way: what QEMU says of an earlier one is none of our business. */
static void ask_qemu(struct wt_source *source)
{
	struct wt_outgoing_stats stats = { 0 };

	if (!source->migrating || source->asking)
		return;
	if (source->outgoing)
		wt_outgoing_stats(source->outgoing, &stats);
	source->asked_pages = stats.read_pages;
	source->asking =
		!wt_qmp_execute(source->relay.qmp, "query-migrate", NULL, migrate_info_reply, source);
}

static void poll_fired(void *arg, uint64_t now_ns)
{
	struct wt_source *source = arg;
	enum wt_source_state state = source->machine.state;
	bool urgent =
		state == WT_SOURCE_COMMITTING || state == WT_SOURCE_ABORTING || state == WT_SOURCE_RESTARTING;
	bool close =
		source->change.gated || source->digest_gate.closed || source->downtime_goal.fits_since_ns;
	uint64_t wait_ns = urgent ? POLL_NS : close ? GATED_NS : WATCH_NS;
	uint64_t look_ns = state == WT_SOURCE_STREAMING ? wt_source_converge_wait_ns(source) : wait_ns;

	if (look_ns < wait_ns)
		wait_ns = look_ns;
	if (state == WT_SOURCE_COMMITTING && !source->shut_sent)
		source->shut_sent = wt_outgoing_shut(source->outgoing);

	wt_loop_timer_set(source->relay.loop, &source->poll, now_ns + wait_ns, poll_fired, source);
	ask_qemu(source);
	if (state == WT_SOURCE_STREAMING || state == WT_SOURCE_STOPPED)
		wt_source_pump(source);
}

static void qmp_event(void *arg, const char *name, json_t *data)
{
	struct wt_source *source = arg;

	if (strcmp(name, "STOP") == 0) {
		source->stop_event_ns = wt_report_now_ns() - wt_qmp_event_age_ns(source->relay.qmp);
		wt_qmp_execute(source->relay.qmp, "query-status", NULL, stop_reply, source);
	} else if (strcmp(name, "RESUME") == 0) {
		source->facts.guest_running = true;
		wt_source_rest_resumed(source);
	} else if (strcmp(name, "MIGRATION") == 0) {
		ask_qemu(source);
	} else {
		wt_source_devices_qmp_event(source, name, data);
	}
}

static void qmp_closed(void *arg, const struct wt_error *err)
{
	struct wt_source *source = arg;

	source->qemu_gone = true;
	wt_error_set(&source->failure, EIO, "the source QEMU is gone: %s", wt_error_text(err));
	wt_source_event(source, WT_SOURCE_EV_QEMU_GONE);
}

static const struct wt_qmp_events qmp_events = { .event = qmp_event, .closed = qmp_closed };

/* ---- actions ---- */

/* It may migrate all the same. */
static void migrate_unanswered(struct wt_source *source)
{
	source->migrating = true;
	wt_error_set(&source->failure, ETIMEDOUT, "QEMU did not answer QMP command 'migrate' within 30 s");
}

static void deadline_fired(void *arg, uint64_t now_ns)
{
	struct wt_source *source = arg;

	if (source->machine.state == WT_SOURCE_CONNECTING)
		wt_error_set(
			&source->failure, ETIMEDOUT, "the destination did not accept the guest within 30 s");
	else if (source->machine.state == WT_SOURCE_STREAMING)
		migrate_unanswered(source);
	else if (source->machine.state == WT_SOURCE_STOPPED)
		wt_error_set(&source->failure, ETIMEDOUT,
			"the switchover took longer than %" PRIu64 " ms; see --switchover-timeout",
			source->options->switchover_timeout_ns / 1000000);
	else if (source->machine.state == WT_SOURCE_RESTARTING)
		wt_error_set(&source->failure, ETIMEDOUT,
			"the destination that was given up did not say that its QEMU has ended; end it, then send the "
			"guest to the other host");
	else
		wt_error_set(&source->failure, ETIMEDOUT, "the destination did not confirm that it runs");
	wt_source_event(source, WT_SOURCE_EV_DEADLINE);
}

static void set_deadline(struct wt_source *source, uint64_t delay_ns)
{
	wt_loop_timer_set(source->relay.loop, &source->deadline,
		wt_loop_now_ns(source->relay.loop) + delay_ns, deadline_fired, source);
}

static void migrate_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct wt_source *source = arg;

	source->migrating = true;
	source->migrate_taken = result != NULL;
	if (source->machine.state == WT_SOURCE_STREAMING)
		wt_loop_timer_clear(source->relay.loop, &source->deadline);
	if (result)
		return;
	source->failure = source->failure.code ? source->failure : *err;
	wt_source_event(source, WT_SOURCE_EV_QEMU_FAILED);
}

/* ---- QEMU's stream ---- */

static int stream_block(void *arg, const char *name, uint64_t length, int *ret_number,
	const uint8_t **ret_base, struct wt_error *err)
{
	struct wt_source *source = arg;

	if (source->common) {
		const struct wt_ram_block *common = wt_guest_ram_find(source->relay.ram, name);

		*ret_number = common && common->shared ? WT_OUTGOING_LEFT_OUT : -1;
		return 0;
	}
	for (int i = 0; source->served[i]; i++) {
		const struct wt_ram_block *block = source->served[i];

		if (strcmp(block->name, name) != 0)
			continue;
		if (length != block->length)
			return wt_error_set(err, EPROTO,
				"block %s has %" PRIu64 " bytes in QEMU's stream and %" PRIu64
				" in its monitor; RAM was changed, try again",
				name, length, block->length);
		*ret_number = i;
		*ret_base = block->base;
	}
	return 0;
}

static void stream_guest_stopped(void *arg)
{
	struct wt_source *source = arg;

	if (!source->rest.begun)
		source->ram_end_ns = wt_report_now_ns();
	guest_stopped(source);
}

/* After the commit the stream means nothing any more: QEMU is closing it. */
static void stream_trouble(void *arg, const struct wt_error *err)
{
	struct wt_source *source = arg;

	if (source->machine.state != WT_SOURCE_DELIVERING)
		wt_source_trouble(source, err);
}

static const struct wt_outgoing_events outgoing_events = {
	.block = stream_block,
	.rest = wt_source_rest,
	.guest_stopped = stream_guest_stopped,
	.trouble = stream_trouble,
};

/* A QEMU that has our library may leave out what is read in place. */
static void offer_feed(struct wt_source *source)
{
	struct wt_skip_block *blocks = calloc(source->relay.ram->count + 1, sizeof *blocks);
	struct wt_error err = { 0 };
	unsigned count = 0;

	for (unsigned i = 0; blocks && source->served[i]; i++) {
		const struct wt_ram_block *block = source->served[i];

		if (block->base && block->host)
			blocks[count++] = (struct wt_skip_block){ block->host, block->length, block->base };
	}
	if (!blocks)
		wt_error_set(&err, ENOMEM, "no memory to tell QEMU what it may leave out");
	else
		wt_outgoing_offer(source->outgoing, blocks, count, &err);
	if (err.code)
		wt_relay_told_note(&source->relay, wt_error_text(&err));
	free(blocks);
}

static int open_outgoing(struct wt_source *source, struct wt_error *err)
{
	int r = wt_relay_socket_open(&source->place, "stream", err);

	if (!r)
		r = wt_outgoing_open(source->relay.loop, &outgoing_events, source, &source->outgoing, err);
	if (!r)
		r = wt_outgoing_listen(source->outgoing, source->place.path, err);
	if (!r)
		r = wt_outgoing_keep(source->outgoing, err);
	if (!r && (source->common || source->rest.on))
		wt_outgoing_allow_shared(source->outgoing, !source->common);
	if (!r && !source->common && !source->options->no_feed)
		offer_feed(source);
	if (!r)
		wt_outgoing_start(source->outgoing, wt_source_server(source));
	return r;
}

static int prepare_qemu(struct wt_source *source, struct wt_error *err)
{
	const struct wt_source_options *o = source->options;
	struct wt_migration_settings settings;
	int r = wt_migration_settings_read(source->relay.qmp, &settings, err);

	if (r)
		return r;
	source->before = settings;
	source->before_known = true;
	settings.return_path = settings.events = true;
	settings.pause_before_switchover = false;
	wt_source_rest_begin(source);
	settings.ignore_shared = source->common || source->rest.on;
	settings.switchover_ack =
		wt_source_may_sync_often(source) && settings.has_switchover_ack && !settings.ignore_shared;
	wt_convergence_init(&source->convergence, settings.switchover_ack);
	settings.auto_converge |= o->auto_converge;
	settings.max_bandwidth = o->max_rate ? o->max_rate : BANDWIDTH_MAX;
	wt_source_digests_begin(source);
	settings.downtime_limit_ms = wt_source_downtime_limit_ms(source);
	settings.multifd = o->channels > 1;
	if (settings.multifd)
		settings.multifd_channels = o->channels;
	r = wt_record_write(source->relay.qmp, &source->record, err);
	if (!r)
		r = wt_migration_settings_write(source->relay.qmp, &settings, err);
	return r ? r : open_outgoing(source, err);
}

/* The guest was not stopped in time: it writes faster than its memory gets across. */
static void patience_fired(void *arg, uint64_t now_ns)
{
	struct wt_source *source = arg;
	struct wt_error err = { 0 };

	if (source->machine.state != WT_SOURCE_STREAMING)
		return;
	wt_source_no_convergence(source, &err);
	wt_source_trouble(source, &err);
}

static void do_migrate(struct wt_source *source)
{
	struct wt_relay_guest guest = wt_source_guest(source);
	struct wt_error err = { 0 };
	char uri[128];

	wt_server_send(wt_source_server(source), WT_RELAY_GUEST, &guest, sizeof guest);
	if (prepare_qemu(source, &err)) {
		source->failure = source->failure.code ? source->failure : err;
		wt_source_event(source, WT_SOURCE_EV_QEMU_FAILED);
		return;
	}
	snprintf(uri, sizeof uri, "unix:%s", source->place.path);
	source->start_ns = wt_report_now_ns();
	wt_loop_timer_set(
		source->relay.loop, &source->poll, wt_loop_now_ns(source->relay.loop), poll_fired, source);
	if (source->options->give_up_ns)
		wt_loop_timer_set(source->relay.loop, &source->patience,
			wt_loop_now_ns(source->relay.loop) + source->options->give_up_ns, patience_fired,
			source);
	set_deadline(source, ACCEPT_NS);
	if (wt_qmp_execute(
		    source->relay.qmp, "migrate", json_pack("{s:s}", "uri", uri), migrate_reply, source)) {
		wt_error_set(&err, ENOMEM, "no memory to tell QEMU to migrate");
		migrate_reply(source, NULL, &err);
		return;
	}
	wt_report_event(&source->relay.report, "migrating", NULL, "the guest's memory is on its way");
}

static void do_cancel(struct wt_source *source)
{
	if (source->outgoing)
		wt_outgoing_hang_up(source->outgoing);
	wt_qmp_execute(source->relay.qmp, "migrate_cancel", NULL, NULL, NULL);
	wt_loop_timer_set(
		source->relay.loop, &source->poll, wt_loop_now_ns(source->relay.loop), poll_fired, source);
}

void wt_source_switch_deadline(struct wt_source *source)
{
	const struct wt_source_options *o = source->options;

	if (source->machine.state == WT_SOURCE_STOPPED)
		set_deadline(source, o->switchover_timeout_ns + (o->verify ? VERIFY_NS : 0));
}

static void carry_out(struct wt_source *source, unsigned actions)
{
	struct wt_relay_guest guest;

	if (actions & WT_SOURCE_DO_MIGRATE)
		do_migrate(source);
	if (actions & WT_SOURCE_DO_SWITCH_DEADLINE) {
		source->stop_ns = wt_report_now_ns();
		if (!source->rest.begun) /* all of RAM comes now, in any order */
			wt_server_final(wt_source_server(source));
		wt_source_switch_deadline(source);
	}
	if (actions & WT_SOURCE_DO_SEND_SHUT) {
		source->ready_ns = wt_report_now_ns();
		wt_loop_timer_clear(source->relay.loop, &source->deadline);
		source->shut_sent = wt_outgoing_shut(source->outgoing);
		wt_loop_timer_set(source->relay.loop, &source->poll, wt_loop_now_ns(source->relay.loop),
			poll_fired, source);
	}
	if (actions & WT_SOURCE_DO_SEND_COMMIT) {
		guest = wt_source_guest(source);
		source->commit_ns = wt_report_now_ns();
		wt_server_send(wt_source_server(source), WT_RELAY_COMMIT, &guest, sizeof guest);
	}
	if (actions & WT_SOURCE_DO_SEND_ABORT)
		wt_source_abort_all(source, wt_error_text(&source->failure));
	if (actions & WT_SOURCE_DO_SEND_KEEP) {
		set_deadline(source, UNLOAD_NS);
		wt_source_keep(source);
	}
	if (actions & WT_SOURCE_DO_CANCEL)
		do_cancel(source);
	if (actions & WT_SOURCE_DO_DELIVERY_DEADLINE)
		set_deadline(source, source->options->common.reconnect_timeout_ns);
	if (actions & WT_SOURCE_DO_QUIT_QEMU)
		wt_qmp_execute(source->relay.qmp, "quit", NULL, NULL, NULL);
	if (actions & WT_SOURCE_DO_ANNOUNCE && source->facts.guest_running)
		wt_relay_announce_self(source->relay.qmp);
	if (actions & WT_SOURCE_DO_FINISH)
		wt_loop_stop(source->relay.loop, 0);
}

void wt_source_event(struct wt_source *source, enum wt_source_event event)
{
	enum wt_source_state before = source->machine.state;
	unsigned actions = wt_source_switch_step(&source->machine, event);
	const char *name = wt_source_state_name(source->machine.state);

	if (source->machine.state == before) {
		carry_out(source, actions);
		return;
	}
	wt_report_event(&source->relay.report, "state", json_pack("{s:s}", "state", name), NULL);
	wt_sabotage_before(name);
	if (source->machine.state >= WT_SOURCE_DONE && source->machine.state < WT_SOURCE_RESTARTING)
		wt_source_change_event(source,
			source->machine.state == WT_SOURCE_DONE ? WT_RETARGET_EV_RUNS : WT_RETARGET_EV_OVER,
			wt_source_current(source));
	wt_source_restart_report(source);
	carry_out(source, actions);
	wt_sabotage_after(name);
}

void wt_source_trouble(struct wt_source *source, const struct wt_error *err)
{
	if (!source->failure.code)
		source->failure = *err;
	wt_source_event(source, WT_SOURCE_EV_TROUBLE);
}

/* ---- beginning and end ---- */

static void signalled(void *arg, const char *signal_name)
{
	struct wt_error err = { 0 };

	wt_error_set(&err, ECANCELED, "cancelled by %s", signal_name);
	wt_source_trouble(arg, &err);
}

int wt_source_begin(struct wt_source *source, struct wt_error *err)
{
	int r = wt_source_server_open(wt_source_current(source), err);

	if (r)
		return r;
	set_deadline(source, ACCEPT_NS);
	wt_loop_timer_set(source->relay.loop, &source->poll, wt_loop_now_ns(source->relay.loop) + WATCH_NS,
		poll_fired, source);
	return 0;
}

static int start(struct wt_source *source, struct wt_error *err)
{
	const struct wt_source_options *o = source->options;
	int r;

	r = wt_relay_open(
		&source->relay, &o->common, &qmp_events, signalled, wt_source_commands, source, err);
	if (!r)
		r = wt_record_new(&source->record, err);
	if (!r)
		r = wt_source_devices_open(source, err);
	if (!r)
		r = wt_preflight_source(source->relay.qmp, source->relay.ram, o->shared_storage,
			wt_source_devices_leaving(source), &source->facts, err);
	if (!r && o->verify && source->facts.gives_up)
		r = wt_error_set(err, EINVAL,
			"--verify compares all RAM, but this guest's balloon has free-page-hint=on, so QEMU leaves free "
			"pages out; leave --verify out");
	if (!r)
		r = wt_source_common_open(source, err);
	if (!r)
		r = wt_source_memory_open(source, err);
	if (!r)
		r = wt_source_replica_open(source, err);
	if (!r)
		r = wt_source_begin(source, err);
	if (!r)
		wt_source_progress(source);
	return r;
}

/* A QEMU that was told to quit, and has not ended yet. */
static bool quitting(const struct wt_source *source)
{
	struct pollfd ended = { .fd = source->quit_fd, .events = POLLIN };

	if (source->machine.state != WT_SOURCE_DONE || source->options->keep_source)
		return false;
	return source->quit_fd < 0 ? !source->qemu_gone : poll(&ended, 1, 0) == 0;
}

/* Done, or long enough waited: the last messages have been acknowledged, and QEMU has ended. */
static void linger_fired(void *arg, uint64_t now_ns)
{
	struct wt_source *source = arg;

	if (now_ns >= source->linger_until_ns || (!quitting(source) && !wt_source_unsent(source)))
		wt_loop_stop(source->relay.loop, 0);
	else
		wt_loop_timer_set(
			source->relay.loop, &source->deadline, now_ns + POLL_NS, linger_fired, source);
}

static void linger(struct wt_source *source)
{
	uint64_t now_ns = wt_loop_now_ns(source->relay.loop);

	source->quit_fd = (int)syscall(SYS_pidfd_open, wt_qmp_pid(source->relay.qmp), 0);
	source->linger_until_ns = now_ns + LINGER_NS;
	wt_loop_timer_set(source->relay.loop, &source->deadline, now_ns + POLL_NS, linger_fired, source);
	wt_loop_run(source->relay.loop);
	if (quitting(source))
		wt_report_error(&source->relay.report,
			"the guest runs at the destination; its old QEMU here was told to quit and has not ended yet: it is "
			"paused and must not be continued, end it");
	if (source->quit_fd >= 0)
		close(source->quit_fd);
}

/* What has become of the guest after an abort. */
static void aborted_text(struct wt_source *source, char *text, size_t size)
{
	struct wt_error err = { 0 };
	int r = wt_source_restore_qemu(source, &err);
	const struct wt_error *devices = wt_source_devices_end(source);

	if (r)
		snprintf(text, size, "%s; and the guest does not go on here (%s): say cont to its QEMU%s%s",
			wt_error_text(&source->failure), wt_error_text(&err), devices ? "; and " : "",
			devices ? wt_error_text(devices) : "");
	else if (devices)
		snprintf(text, size, "%s; the guest goes on here, but look at its devices: %s",
			wt_error_text(&source->failure), wt_error_text(devices));
	else
		snprintf(text, size, "%s; the guest goes on here as before", wt_error_text(&source->failure));
}

static int conclude(struct wt_source *source)
{
	char text[3 * WT_ERROR_TEXT_MAX + 256];

	if (source->machine.state != WT_SOURCE_DONE && source->machine.state != WT_SOURCE_ABORTED)
		wt_source_devices_note_away(source);
	switch (source->machine.state) {
	case WT_SOURCE_DONE:
		wt_source_devices_end(source);
		wt_source_summary(source);
		return WT_EXIT_OK;
	case WT_SOURCE_ABORTED:
		aborted_text(source, text, sizeof text);
		break;
	case WT_SOURCE_LOST:
		snprintf(text, sizeof text, "%s; the guest had not moved", wt_error_text(&source->failure));
		break;
	case WT_SOURCE_UNDECIDED:
		snprintf(text, sizeof text,
			"%s after the switchover was let go; the destination is loaded and paused. If this QEMU is really gone "
			"and the guest is sent to no other, let it run there: watari recover --destination-qmp SOCKET --force-run",
			wt_error_text(&source->failure));
		break;
	default:
		snprintf(text, sizeof text,
			"%s; the migration is committed, this guest must not run again: watari recover --qmp %s "
			"--destination-qmp SOCKET",
			wt_error_text(&source->failure), source->options->common.qmp_path);
		break;
	}
	wt_report_error(&source->relay.report, text);
	return source->machine.state == WT_SOURCE_UNDECIDED || source->machine.state == WT_SOURCE_UNDELIVERED
		       ? WT_EXIT_UNDECIDED
		       : WT_EXIT_FAILED;
}

static void close_all(struct wt_source *source)
{
	wt_source_rest_end(source);
	wt_outgoing_close(source->outgoing);
	wt_relay_socket_close(&source->place);
	wt_source_devices_close(source);
	wt_source_change_close(source);
	wt_source_replica_close(source);
	wt_memory_close(source->memory);
	wt_common_memory_close(source->common);
	wt_source_restart_close(source);
	free(source->served);
	json_decref(source->destination_facts);
	wt_relay_close(&source->relay);
}

/* Runs the migration, and as many anew as are wanted. */
static void run(struct wt_source *source)
{
	struct wt_error err = { 0 };

	wt_loop_run(source->relay.loop);
	while (source->machine.state == WT_SOURCE_AGAIN) {
		if (wt_source_restart(source, &err)) {
			wt_source_trouble(source, &err);
			return;
		}
		wt_loop_run(source->relay.loop);
	}
}

int wt_source_run(const struct wt_source_options *options)
{
	struct wt_source source = { .options = options };
	struct wt_error err = { 0 };
	int code;

	wt_source_switch_init(&source.machine, options->keep_source);
	wt_source_change_init(&source);
	if (start(&source, &err)) {
		wt_report_error(&source.relay.report, wt_error_text(&err));
		code = WT_EXIT_FAILED;
	} else {
		run(&source);
		code = conclude(&source);
		linger(&source);
		wt_source_replica_write(&source);
	}
	close_all(&source);
	return code;
}

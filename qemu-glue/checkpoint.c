/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * checkpoint.c - `watari checkpoint`: QMP, QEMU's stream and the files tied together. See checkpoint.h.
 *
 * QEMU is told to migrate, to us. What it announces is written from guest RAM (save.h); what it writes beside
 * is the device state. When all of that is here QEMU's migration is broken off, and QEMU lets its guest go
 * on, as it does whenever a migration fails.
 *
 *   1. Nobody but this QEMU ever has the guest. QEMU has a return path and never hears SHUT: whatever befalls
 * us, its migration fails, and the guest goes on. (With disks to be frozen there is a gap of a few
 * milliseconds, in which QEMU waits for us: if we die there, `migrate_cancel` lets the guest go on.)
 *   2. The guest goes on only after every page was taken out of its RAM: what is written comes from there.
 *   3. The directory has a new checkpoint only if RAM, device state and disks are of one moment, and all is
 * on disk. Otherwise it has what it had.
 *
 * The loop's thread; save.h has others.
 */
#include "checkpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "checkpoint_internal.h"
#include "relay_peer.h"
#include "sabotage.h"

#define WATCH_NS 250000000ull
#define POLL_NS 5000000ull
#define RETURN_NS 30000000000ull   /* QEMU has so long to let its guest go on */
#define ASK_NS 2000000000ull       /* ... and so long to answer while its guest is stopped */
#define BANDWIDTH_MAX (1ull << 40) /* bytes per second that QEMU may think it has: no limit of its own */

static void go(struct wt_checkpoint *c, enum wt_checkpoint_state state)
{
	c->state = state;
	wt_report_event(&c->relay.report, "state",
		json_pack("{s:s}", "state", wt_checkpoint_state_name(state)), NULL);
	wt_sabotage_before(wt_checkpoint_state_name(state));
}

static void never_returned(void *arg, uint64_t now_ns)
{
	struct wt_checkpoint *c = arg;

	c->not_returned = true;
	wt_loop_stop(c->relay.loop, 0);
}

/* QEMU's migration ends here; it is asked until it says that it has its guest again. */
static void give_back(struct wt_checkpoint *c)
{
	go(c, WT_CHECKPOINT_RETURNING);
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

void wt_checkpoint_trouble(struct wt_checkpoint *c, const struct wt_error *err)
{
	if (!c->failure.code)
		c->failure = *err;
	if (c->state == WT_CHECKPOINT_STREAMING || c->state == WT_CHECKPOINT_STOPPED)
		give_back(c);
}

/* ---- asking QEMU ---- */

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

static void deadline_fired(void *arg, uint64_t now_ns)
{
	struct wt_error err = { 0 };

	wt_error_set(&err, ETIMEDOUT,
		"the end of the guest's memory and state was not written within %" PRIu64
		" ms of its stop; see --stop-timeout",
		((struct wt_checkpoint *)arg)->options->stop_timeout_ns / 1000000);
	wt_checkpoint_trouble(arg, &err);
}

/* The guest is stopped: no longer than it may be, and nothing waits for the disk. */
static void hurry(struct wt_checkpoint *c)
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

	if (!strcmp(name, "STOP")) {
		c->stop_ns = wt_report_now_ns();
		if (c->state == WT_CHECKPOINT_STREAMING)
			hurry(c);
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

static const struct wt_qmp_events qmp_events = { .event = qmp_event, .closed = qmp_closed };

/* ---- QEMU's stream ---- */

static int stream_block(void *arg, const char *name, uint64_t length, int *ret_number,
	const uint8_t **ret_base, struct wt_error *err)
{
	struct wt_checkpoint *c = arg;
	const struct wt_ram_block *const *blocks = wt_checkpoint_blocks(c->files);

	for (int i = 0; blocks[i]; i++) {
		if (strcmp(blocks[i]->name, name) != 0)
			continue;
		if (length != blocks[i]->length)
			return wt_error_set(err, EPROTO,
				"block %s has %" PRIu64 " bytes in QEMU's stream and %" PRIu64
				" in its monitor; RAM was changed, try again",
				name, length, blocks[i]->length);
		*ret_number = i;
		*ret_base = blocks[i]->base;
		c->in_stream[i] = true;
	}
	return 0;
}

/* What the stream never names would be written as zeros. */
static int stream_blocks_end(void *arg, struct wt_error *err)
{
	const struct wt_checkpoint *c = arg;
	const struct wt_ram_block *const *blocks = wt_checkpoint_blocks(c->files);

	for (int i = 0; blocks[i]; i++)
		if (!c->in_stream[i])
			return wt_error_set(err, EPROTO,
				"block %s is in QEMU's monitor and not in its stream, so what is in it would be lost; remove the "
				"memory that no device uses, or try again",
				blocks[i]->name);
	return 0;
}

static void stream_guest_stopped(void *arg)
{
	struct wt_checkpoint *c = arg;

	if (c->state != WT_CHECKPOINT_STREAMING)
		return;
	c->running = c->facts.guest_running;
	go(c, WT_CHECKPOINT_STOPPED);
	hurry(c);
}

static void stream_trouble(void *arg, const struct wt_error *err)
{
	wt_checkpoint_trouble(arg, err);
}

static const struct wt_outgoing_events outgoing_events = { .block = stream_block,
	.blocks_end = stream_blocks_end,
	.guest_stopped = stream_guest_stopped,
	.trouble = stream_trouble };

static int take_announce(void *arg, struct wt_extent *extent, enum wt_content content)
{
	return wt_save_announce(wt_checkpoint_save(((struct wt_checkpoint *)arg)->files), extent, content);
}

/* All blocks are mapped here. */
static int take_copy(void *arg, struct wt_extent *extent, const uint8_t *bytes)
{
	return -EINVAL;
}

static void take_flush(void *arg)
{
}

static bool take_room(void *arg)
{
	return true;
}

static bool take_recent(void *arg, uint64_t now_ns)
{
	return true;
}

static bool take_pass(void *arg, const uint8_t *bytes, size_t length)
{
	wt_checkpoint_pass(((struct wt_checkpoint *)arg)->files, bytes, length);
	return true;
}

static bool take_ram_end(void *arg)
{
	struct wt_checkpoint *c = arg;

	c->ram_ended = true;
	wt_checkpoint_tail(c->files);
	return true;
}

static const struct wt_outgoing_taker taker = {
	.announce = take_announce,
	.announce_copy = take_copy,
	.flush = take_flush,
	.room = take_room,
	.recent = take_recent,
	.pass = take_pass,
	.ram_end = take_ram_end,
};

static void save_readable(void *arg, uint32_t events)
{
	struct wt_checkpoint *c = arg;
	struct wt_save *save = wt_checkpoint_save(c->files);
	struct wt_error err = { 0 };

	wt_save_news(save);
	if (wt_save_status(save, &err))
		wt_checkpoint_trouble(c, &err);
	else if (c->outgoing)
		wt_outgoing_pump(c->outgoing);
}

/*
 * All that was announced is written: is the guest still stopped, for this migration? Asked now, that proves
 * that it was while its pages were read, for QEMU comes to this state once in a migration. 0, or why not.
 */
static int check_stopped(struct wt_checkpoint *c, struct wt_error *err)
{
	json_t *answer = NULL;
	const char *status;
	int r = wt_qmp_call(c->relay.qmp, "query-status", NULL, ASK_NS, &answer, err);

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

/* In every turn: did something go wrong, is all here? */
static bool turn(void *arg, uint64_t now_ns)
{
	struct wt_checkpoint *c = arg;
	struct wt_error err = { 0 };

	if (wt_checkpoint_state_status(c->files, &err))
		wt_checkpoint_trouble(c, &err);
	if (c->state != WT_CHECKPOINT_STOPPED || !c->ram_ended || !wt_checkpoint_complete(c->files) ||
		!wt_save_idle(wt_checkpoint_save(c->files)))
		return false;
	if (wt_save_status(wt_checkpoint_save(c->files), &err) || check_stopped(c, &err)) {
		wt_checkpoint_trouble(c, &err);
	} else if (c->state == WT_CHECKPOINT_STOPPED && !c->failure.code) {
		c->good = true;
		c->saved_ns = wt_report_now_ns();
		give_back(c);
	}
	return false;
}

/* ---- beginning ---- */

/* A QEMU that has our library may leave out what is read in place. */
static void offer_feed(struct wt_checkpoint *c)
{
	const struct wt_ram_block *const *served = wt_checkpoint_blocks(c->files);
	struct wt_skip_block blocks[WT_BLOCKS_MAX];
	struct wt_error err = { 0 };
	unsigned count = 0;

	for (unsigned i = 0; served[i] && count < WT_BLOCKS_MAX; i++)
		if (served[i]->host)
			blocks[count++] =
				(struct wt_skip_block){ served[i]->host, served[i]->length, served[i]->base };
	if (wt_outgoing_offer(c->outgoing, blocks, count, &err))
		wt_relay_told_note(&c->relay, wt_error_text(&err));
}

static int open_outgoing(struct wt_checkpoint *c, struct wt_error *err)
{
	int r = wt_relay_socket_open(&c->place, "stream", err);

	if (!r)
		r = wt_outgoing_open(c->relay.loop, &outgoing_events, c, &c->outgoing, err);
	if (!r)
		r = wt_outgoing_listen(c->outgoing, c->place.path, err);
	if (!r && !c->options->no_feed)
		offer_feed(c);
	if (!r)
		wt_outgoing_start_taker(c->outgoing, &taker, c);
	return r;
}

static int prepare_qemu(struct wt_checkpoint *c, struct wt_error *err)
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
	settings.auto_converge |= o->auto_converge;
	settings.max_bandwidth = o->max_rate ? o->max_rate : BANDWIDTH_MAX;
	settings.downtime_limit_ms = o->downtime_limit_ms;
	settings.multifd = o->channels > 1;
	if (settings.multifd)
		settings.multifd_channels = o->channels;
	return wt_migration_settings_write(c->relay.qmp, &settings, err);
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

static void patience_fired(void *arg, uint64_t now_ns)
{
	struct wt_checkpoint *c = arg;
	struct wt_error err = { 0 };

	if (c->state != WT_CHECKPOINT_STREAMING)
		return;
	wt_error_set(&err, ETIMEDOUT,
		"the guest could not be stopped within %.4g s: it writes memory faster than it gets to disk; try "
		"--auto-converge, a longer --downtime-limit or --give-up-after",
		(double)c->options->give_up_ns / 1e9);
	wt_checkpoint_trouble(c, &err);
}

static int migrate(struct wt_checkpoint *c, struct wt_error *err)
{
	uint64_t now_ns = wt_loop_now_ns(c->relay.loop);
	char uri[128];
	int r = prepare_qemu(c, err);

	if (!r)
		r = open_outgoing(c, err);
	if (r)
		return r;
	wt_loop_fd_set(c->relay.loop, wt_save_fd(wt_checkpoint_save(c->files)), EPOLLIN, save_readable, c);
	wt_loop_busy_set(c->relay.loop, &c->busy, turn, c);
	if (c->options->give_up_ns)
		wt_loop_timer_set(
			c->relay.loop, &c->patience, now_ns + c->options->give_up_ns, patience_fired, c);
	snprintf(uri, sizeof uri, "unix:%s", c->place.path);
	c->start_ns = wt_report_now_ns();
	c->told = true;
	wt_qmp_execute(c->relay.qmp, "migrate", json_pack("{s:s}", "uri", uri), migrate_reply, c);
	go(c, WT_CHECKPOINT_STREAMING);
	wt_report_event(&c->relay.report, "saving",
		json_pack("{s:b}", "base", (int)wt_checkpoint_has_base(c->files)),
		wt_checkpoint_has_base(c->files)
			? "what has changed since the last checkpoint is being written"
			: "the guest's memory is being written");
	wt_checkpoint_poll(c);
	wt_checkpoint_progress(c);
	return 0;
}

static void signalled(void *arg, const char *signal_name)
{
	struct wt_error err = { 0 };

	wt_error_set(&err, ECANCELED, "cancelled by %s", signal_name);
	wt_checkpoint_trouble(arg, &err);
}

static int start(struct wt_checkpoint *c, struct wt_error *err)
{
	const struct wt_checkpoint_options *o = c->options;
	int r = wt_relay_open(&c->relay, &o->common, &qmp_events, signalled, wt_checkpoint_commands, c, err);

	if (!r)
		r = wt_preflight_source(c->relay.qmp, c->relay.ram, true, &c->facts, err);
	if (!r && c->facts.staged_blocks)
		r = wt_error_set(err, EPERM,
			"the guest's memory is private to its QEMU, so it cannot be read from here; start QEMU with -object "
			"memory-backend-memfd,id=mem0,size=SIZE,share=on -machine memory-backend=mem0");
	if (!r)
		r = wt_checkpoint_describe(c, err);
	if (!r)
		r = wt_checkpoint_files_open(o, c->vm, c->relay.ram, &c->files, err);
	if (!r) {
		c->generation = wt_checkpoint_facts(c->files)->generation;
		r = wt_checkpoint_disks_list(c->relay.qmp, o->snapshot_dir, c->generation, &c->disks, err);
	}
	return r ? r : migrate(c, err);
}

/* ---- the end ---- */

static void restore_qemu(struct wt_checkpoint *c)
{
	struct wt_error ignored = { 0 };

	if (c->before_known && !c->qemu_gone)
		wt_migration_settings_write(c->relay.qmp, &c->before, &ignored);
}

static const char not_returned[] =
	"QEMU has not said that its guest goes on (look with query-status; migrate_cancel and cont, in its monitor, let it)";

static void failed(struct wt_checkpoint *c, const struct wt_error *why)
{
	char text[3 * WT_ERROR_TEXT_MAX + 256], disks[WT_ERROR_TEXT_MAX] = "";

	if (c->frozen)
		snprintf(disks, sizeof disks,
			"; its disks %s overlays (disk-N-%016" PRIx64
			".qcow2 in the snapshot directory), and need them",
			c->frozen_unsure ? "may have" : "have", c->generation);
	snprintf(text, sizeof text, "%s; %s, and %s %s%s", wt_error_text(why),
		c->qemu_gone      ? "the guest is lost"
		: c->not_returned ? not_returned
				  : "the guest goes on",
		c->options->directory, c->replaced ? "has the new checkpoint" : "is as it was", disks);
	wt_report_error(&c->relay.report, text);
}

static int conclude(struct wt_checkpoint *c)
{
	struct wt_error err = { 0 };
	int r = c->good ? wt_checkpoint_finish(c, &err) : -(c->failure.code ? c->failure.code : EIO);

	c->replaced = c->good && wt_checkpoint_replaced(c->files);
	if (r) {
		if (!err.code && !c->failure.code)
			wt_error_set(&err, EIO, "the checkpoint was broken off");
		failed(c, err.code ? &err : &c->failure);
		return WT_EXIT_FAILED;
	}
	wt_checkpoint_summary(c);
	if (!c->not_returned)
		return WT_EXIT_OK;
	wt_error_set(&err, ETIMEDOUT, "the checkpoint is complete");
	failed(c, &err);
	return WT_EXIT_FAILED;
}

static void close_all(struct wt_checkpoint *c)
{
	if (c->files)
		wt_loop_fd_clear(c->relay.loop, wt_save_fd(wt_checkpoint_save(c->files)));
	wt_outgoing_close(c->outgoing);
	wt_relay_socket_close(&c->place);
	wt_checkpoint_files_close(c->files);
	wt_checkpoint_disks_free(&c->disks);
	wt_relay_close(&c->relay);
}

int wt_checkpoint_run(const struct wt_checkpoint_options *options)
{
	struct wt_checkpoint c = { .options = options, .state = WT_CHECKPOINT_STREAMING };
	struct wt_error err = { 0 };
	int code = WT_EXIT_FAILED;

	if (start(&c, &err)) {
		restore_qemu(&c);
		wt_report_error(&c.relay.report, wt_error_text(&err));
	} else {
		wt_loop_run(c.relay.loop);
		restore_qemu(&c);
		code = conclude(&c);
	}
	close_all(&c);
	return code;
}

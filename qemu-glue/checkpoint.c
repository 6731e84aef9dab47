/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * checkpoint.c - `watari checkpoint`: QMP (checkpoint_qemu.c), QEMU's stream (checkpoint_stream.c) and the
 * files (checkpoint_files.c) tied together: how it begins, when all is here, what is left in the end. See
 * checkpoint.h.
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
#include "sabotage.h"

void wt_checkpoint_go(struct wt_checkpoint *c, enum wt_checkpoint_state state)
{
	c->state = state;
	wt_report_event(&c->relay.report, "state",
		json_pack("{s:s}", "state", wt_checkpoint_state_name(state)), NULL);
	wt_sabotage_before(wt_checkpoint_state_name(state));
}

void wt_checkpoint_trouble(struct wt_checkpoint *c, const struct wt_error *err)
{
	if (!c->failure.code)
		c->failure = *err;
	if (c->state != WT_CHECKPOINT_STREAMING && c->state != WT_CHECKPOINT_STOPPED)
		return;
	wt_hold_clear(&c->hold);
	wt_checkpoint_give_back(c);
}

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

/* Others were waited for, or were not. Somebody else may have let the guest go on meanwhile. */
static void hold_ended(void *arg, bool told)
{
	struct wt_checkpoint *c = arg;
	struct wt_error err = { 0 };

	if (!told)
		wt_error_set(&err, ETIMEDOUT, "nobody said watari proceed within %" PRIu64 " ms; see --hold",
			c->options->common.hold_ns / 1000000);
	if (!told || wt_checkpoint_check_stopped(c, &err))
		wt_checkpoint_trouble(c, &err);
	else
		wt_checkpoint_give_back(c);
}

static void saved(struct wt_checkpoint *c)
{
	c->good = true;
	c->saved_ns = wt_report_now_ns();
	wt_loop_timer_clear(c->relay.loop, &c->deadline);
	if (!wt_hold_begin(&c->hold, c->relay.loop, &c->relay.report, c->options->common.hold_ns,
		    "the guest is stopped, and written; waits for watari proceed", hold_ended, c))
		wt_checkpoint_give_back(c);
}

/* In every turn: did something go wrong, is all here? */
static bool turn(void *arg, uint64_t now_ns)
{
	struct wt_checkpoint *c = arg;
	struct wt_error err = { 0 };

	if (wt_checkpoint_state_status(c->files, &err))
		wt_checkpoint_trouble(c, &err);
	if (c->state != WT_CHECKPOINT_STOPPED || c->good || !c->ram_ended ||
		!wt_checkpoint_complete(c->files) || !wt_save_idle(wt_checkpoint_save(c->files)))
		return false;
	if (wt_save_status(wt_checkpoint_save(c->files), &err) || wt_checkpoint_check_stopped(c, &err)) {
		wt_checkpoint_trouble(c, &err);
	} else if (c->state == WT_CHECKPOINT_STOPPED && !c->failure.code) {
		saved(c);
	}
	return false;
}

/* ---- beginning ---- */

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

int wt_checkpoint_begin(struct wt_checkpoint *c, struct wt_error *err)
{
	uint64_t now_ns = wt_loop_now_ns(c->relay.loop);
	int r = wt_checkpoint_prepare_qemu(c, err);

	if (!r)
		r = wt_checkpoint_open_stream(c, err);
	if (r)
		return r;
	wt_loop_fd_set(c->relay.loop, wt_save_fd(wt_checkpoint_save(c->files)), EPOLLIN, save_readable, c);
	wt_loop_busy_set(c->relay.loop, &c->busy, turn, c);
	if (c->options->give_up_ns)
		wt_loop_timer_set(
			c->relay.loop, &c->patience, now_ns + c->options->give_up_ns, patience_fired, c);
	c->start_ns = wt_report_now_ns();
	wt_checkpoint_migrate(c);
	wt_checkpoint_go(c, WT_CHECKPOINT_STREAMING);
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
	int r = wt_relay_open(
		&c->relay, &o->common, &wt_checkpoint_qmp_events, signalled, wt_checkpoint_commands, c, err);

	if (!r)
		r = wt_checkpoint_devices_open(c, err);
	if (!r)
		r = wt_preflight_source(
			c->relay.qmp, c->relay.ram, true, wt_checkpoint_devices_leaving(c), &c->facts, err);
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
	return r || wt_checkpoint_devices_begin(c) ? r : wt_checkpoint_begin(c, err);
}

/* ---- the end ---- */

static const char not_returned[] =
	"QEMU has not said that its guest goes on (look with query-status; migrate_cancel and cont, in its monitor, let it)";

/* missing: of its devices; NULL: none. */
static void failed(struct wt_checkpoint *c, const struct wt_error *why, const struct wt_error *missing)
{
	char text[4 * WT_ERROR_TEXT_MAX + 256], disks[WT_ERROR_TEXT_MAX] = "";

	if (c->frozen)
		snprintf(disks, sizeof disks,
			"; its disks %s overlays (disk-N-%016" PRIx64
			".qcow2 in the snapshot directory), and need them",
			c->frozen_unsure ? "may have" : "have", c->generation);
	snprintf(text, sizeof text, "%s; %s%s%s%s, and %s %s%s", wt_error_text(why),
		c->qemu_gone      ? "the guest is lost"
		: c->not_returned ? not_returned
				  : "the guest goes on",
		missing ? " without a device that it should have (" : "",
		missing ? wt_error_text(missing) : "", missing ? ")" : "", c->options->directory,
		c->replaced ? "has the new checkpoint" : "is as it was", disks);
	wt_report_error(&c->relay.report, text);
}

static int conclude(struct wt_checkpoint *c)
{
	const struct wt_error *missing = wt_checkpoint_devices_end(c);
	struct wt_error err = { 0 };
	int r = c->good ? wt_checkpoint_finish(c, &err) : -(c->failure.code ? c->failure.code : EIO);

	c->replaced = c->good && wt_checkpoint_replaced(c->files);
	if (r) {
		if (!err.code && !c->failure.code)
			wt_error_set(&err, EIO, "the checkpoint was broken off");
		failed(c, err.code ? &err : &c->failure, missing);
		return WT_EXIT_FAILED;
	}
	wt_checkpoint_summary(c);
	if (!c->not_returned && !missing)
		return WT_EXIT_OK;
	wt_error_set(&err, ETIMEDOUT, "the checkpoint is complete");
	failed(c, &err, missing);
	return WT_EXIT_FAILED;
}

static void close_all(struct wt_checkpoint *c)
{
	if (c->files)
		wt_loop_fd_clear(c->relay.loop, wt_save_fd(wt_checkpoint_save(c->files)));
	wt_passthrough_close(c->passthrough);
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
		wt_checkpoint_restore_qemu(&c);
		wt_report_error(&c.relay.report, wt_error_text(&err));
	} else {
		wt_loop_run(c.relay.loop);
		wt_checkpoint_restore_qemu(&c);
		code = conclude(&c);
	}
	close_all(&c);
	return code;
}

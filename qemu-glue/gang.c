/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang.c - the coordinator of several migrations: gang_order.h tied to relays and a journal. See gang.h.
 *
 *   1. An action is in the journal, for good, before it is carried out.
 *   2. Nothing of QEMU is touched from here: all is done by relays, which outlive the coordinator.
 *   3. A coordinator that takes over sees what the one before it would have seen, and goes on; if nobody was
 * told to move yet, all goes back.
 *
 * One thread, in turns of TICK_NS.
 */
#include "gang.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gang_internal.h"
#include "relay.h"
#include "sabotage.h"

#define TICK_NS 20000000ull
#define PROGRESS_NS 1000000000ull

/* ---- turns ---- */

static void leave(struct wt_gang *gang)
{
	gang->left = true;
	wt_loop_stop(gang->loop, 0);
}

static void carry_out(struct wt_gang *gang, struct wt_gang_action action)
{
	if (action.kind == WT_GANG_DO_UNDO || action.kind == WT_GANG_DO_FORWARD)
		wt_gang_tell_turn(gang, action.kind);
	else if (action.kind == WT_GANG_DO_OVER)
		wt_loop_stop(gang->loop, 0);
	else
		wt_gang_vm_do(gang, action.vm, action.kind);
}

/* Answers whether there was anything to be done. */
static bool act(struct wt_gang *gang)
{
	struct wt_gang_action action = wt_gang_order_next(&gang->order);
	const char *vm = gang->plan->vms[action.vm].name;
	char point[128], written[sizeof point + 16];

	if (!action.kind)
		return false;
	snprintf(point, sizeof point, "gang.%s.%s", wt_gang_action_name(action.kind), vm);
	snprintf(written, sizeof written, "%s.written", point);
	wt_sabotage_before(point);
	if (wt_gang_journal_add(&gang->journal, action, &gang->error)) {
		leave(gang);
		return false;
	}
	wt_sabotage_before(written);
	carry_out(gang, action);
	wt_sabotage_after(point);
	return true;
}

static void turn(struct wt_gang *gang)
{
	uint64_t now_ns = wt_loop_now_ns(gang->loop);

	while (act(gang))
		;
	for (unsigned i = 0; i < gang->plan->count; i++) {
		if (!gang->left)
			wt_gang_vm_ask(gang, i);
		wt_gang_tell_vm(gang, i);
	}
	if (now_ns < gang->progress_ns)
		return;
	gang->progress_ns = now_ns + PROGRESS_NS;
	wt_gang_tell_progress(gang);
}

static void read_all(struct wt_gang *gang)
{
	for (unsigned i = 0; i < gang->plan->count; i++)
		wt_gang_vm_read(gang, i);
}

static void tick(void *arg, uint64_t now_ns)
{
	struct wt_gang *gang = arg;

	wt_loop_timer_set(gang->loop, &gang->tick, now_ns + TICK_NS, tick, gang);
	read_all(gang);
	turn(gang);
}

/* ---- signals ---- */

static void signalled(void *arg, const char *name)
{
	struct wt_gang *gang = arg;
	const char *text =
		"cancelled: what has not moved stays at its source; once more: leaves it to --resume";

	if (gang->cancelled) {
		wt_error_set(&gang->error, ECANCELED, "left by %s", name);
		leave(gang);
		return;
	}
	if (gang->order.committed)
		text = "too late to cancel: a guest has moved, and the others follow; once more: leaves it to --resume";
	gang->cancelled = true;
	wt_gang_order_cancel(&gang->order);
	wt_report_event(&gang->report, "note", json_pack("{s:s}", "text", text), text);
}

/* ---- beginning and end ---- */

static int open_vms(struct wt_gang *gang, struct wt_error *err)
{
	int r = 0;

	wt_gang_order_init(&gang->order, gang->plan->count, gang->plan->parallel);
	for (unsigned i = 0; !r && i < gang->plan->count; i++) {
		gang->order.vms[i].has_start = gang->plan->vms[i].start.count;
		r = wt_gang_vm_init(gang, i);
	}
	return r ? wt_error_set(err, -r, "no memory for a gang") : 0;
}

static int open_journal(struct wt_gang *gang, struct wt_error *err)
{
	const struct wt_gang_options *o = gang->options;
	int r = wt_gang_journal_open(&gang->journal, o->journal, gang->plan, o->resume, &gang->order, err);

	for (unsigned i = 0; !r && i < gang->plan->count; i++)
		if (o->resume)
			wt_gang_vm_find(gang, i);
		else
			r = wt_gang_vm_forget(gang, i, err);
	if (!r && !o->resume)
		r = wt_gang_journal_begin(&gang->journal, err);
	if (r || !o->resume)
		return r;
	read_all(gang);
	wt_gang_order_take_over(&gang->order);
	return 0;
}

static int start(struct wt_gang *gang, struct wt_error *err)
{
	struct wt_gang_plan *plan = NULL;
	int r = wt_loop_open(&gang->loop);

	if (r)
		return wt_error_set(err, -r, "no event loop: %s", strerror(-r));
	r = wt_gang_plan_read(gang->options->plan, &plan, err);
	gang->plan = plan;
	if (!r)
		r = open_vms(gang, err);
	if (!r)
		r = open_journal(gang, err);
	if (!r)
		r = wt_signals_open(&gang->signals, gang->loop, signalled, gang, err);
	if (!r)
		wt_loop_timer_set(gang->loop, &gang->tick, wt_loop_now_ns(gang->loop), tick, gang);
	return r;
}

static void close_all(struct wt_gang *gang)
{
	for (unsigned i = 0; gang->plan && i < gang->plan->count; i++)
		wt_gang_vm_close(gang, i);
	wt_gang_journal_close(&gang->journal);
	wt_gang_plan_free((struct wt_gang_plan *)gang->plan);
	wt_signals_close(&gang->signals);
	if (gang->loop)
		wt_loop_close(gang->loop);
}

int wt_gang_run(const struct wt_gang_options *options)
{
	struct wt_gang *gang = calloc(1, sizeof *gang);
	struct wt_error err = { 0 };
	int code;

	if (!gang)
		return wt_report_no_memory();
	gang->options = options;
	gang->journal.file.fd = gang->signals.fd = -1;
	wt_report_open(&gang->report, options->json);
	if (start(gang, &err)) {
		wt_report_error(&gang->report, wt_error_text(&err));
		code = WT_EXIT_FAILED;
	} else {
		wt_loop_run(gang->loop);
		code = wt_gang_tell_end(gang);
	}
	close_all(gang);
	free(gang);
	return code;
}

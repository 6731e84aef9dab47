/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_report.c - what people are told of a gang. Changes nothing of it but what was told.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "gang_internal.h"
#include "relay.h"

static const char *words_for(enum wt_gang_state state)
{
	static const char *const words[] = { [WT_GANG_STARTING] =
						     "its QEMU at the destination is being started",
		[WT_GANG_AWAITING] = "the destination makes ready",
		[WT_GANG_LETTING_GO] = "lets go of its devices",
		[WT_GANG_HELD] = "ready to move",
		[WT_GANG_MOVING] = "moves",
		[WT_GANG_COMMITTED] = "has left its source",
		[WT_GANG_MOVED] = "runs at its destination",
		[WT_GANG_TAKING_BACK] = "gets its devices",
		[WT_GANG_CANCELLING] = "is called back",
		[WT_GANG_DONE] = "has moved",
		[WT_GANG_UNDONE] = "is at its source, as before",
		[WT_GANG_FAILED] = "has not moved",
		[WT_GANG_LOST] = "must be looked at" };

	return state < sizeof words / sizeof *words ? words[state] : NULL;
}

/* Why it has not moved, or what it lacks; "": nothing is known, or to be said. */
static const char *reason(const struct wt_gang *gang, unsigned number)
{
	const struct wt_gang_run_vm *vm = &gang->vms[number];
	enum wt_gang_state state = gang->order.vms[number].state;

	if (state == WT_GANG_DONE)
		return vm->destination.trouble[0] ? vm->destination.trouble : vm->source.trouble;
	if (state != WT_GANG_FAILED && state != WT_GANG_LOST)
		return "";
	if (vm->source.error[0])
		return vm->source.error;
	return vm->destination.error[0] ? vm->destination.error : vm->why;
}

void wt_gang_tell_vm(struct wt_gang *gang, unsigned number)
{
	struct wt_gang_run_vm *vm = &gang->vms[number];
	enum wt_gang_state state = gang->order.vms[number].state;
	const char *words = words_for(state), *why = reason(gang, number);
	char text[WT_ERROR_TEXT_MAX + 256];
	json_t *fields;

	if (state == vm->shown)
		return;
	vm->shown = (uint8_t)state;
	fields = json_pack(
		"{s:s,s:s,s:s}", "vm", vm->plan->name, "state", wt_gang_state_name(state), "text", why);
	snprintf(text, sizeof text, "%s %s%s%s", vm->plan->name, words ? words : "", why[0] ? ": " : "", why);
	wt_report_event(&gang->report, "vm", fields, words ? text : NULL);
}

void wt_gang_tell_turn(struct wt_gang *gang, enum wt_gang_action_kind kind)
{
	bool forward = kind == WT_GANG_DO_FORWARD;

	wt_report_event(&gang->report, "turn", json_pack("{s:s}", "turn", wt_gang_action_name(kind)),
		forward ? "a guest has left its source: from now on nothing is undone"
			: "no guest has moved, and none will: all stay at their sources");
}

static unsigned count_of(const struct wt_gang *gang, enum wt_gang_state first, enum wt_gang_state last)
{
	unsigned count = 0;

	for (unsigned i = 0; i < gang->plan->count; i++)
		count += gang->order.vms[i].state >= first && gang->order.vms[i].state <= last;
	return count;
}

void wt_gang_tell_progress(struct wt_gang *gang)
{
	uint64_t total = 0, remaining = 0;
	char text[256], size[2][32];
	unsigned moved = count_of(gang, WT_GANG_MOVED, WT_GANG_TAKING_BACK) +
			 count_of(gang, WT_GANG_DONE, WT_GANG_DONE);

	for (unsigned i = 0; i < gang->plan->count; i++) {
		const struct wt_gang_relay *source = &gang->vms[i].source;
		enum wt_gang_state state = gang->order.vms[i].state;
		bool there = state == WT_GANG_COMMITTED || state == WT_GANG_MOVED ||
			     state == WT_GANG_TAKING_BACK || state == WT_GANG_DONE;

		total += source->total_bytes;
		if (!there)
			remaining += source->remaining_bytes ? source->remaining_bytes : source->total_bytes;
	}
	snprintf(text, sizeof text, "%u guests: %u let go, %u ready, %u moving, %u moved; %s of %s left",
		gang->plan->count, count_of(gang, WT_GANG_IDLE, WT_GANG_LETTING_GO),
		count_of(gang, WT_GANG_HELD, WT_GANG_HELD), count_of(gang, WT_GANG_MOVING, WT_GANG_COMMITTED),
		moved, wt_progress_size(remaining, size[0]), wt_progress_size(total, size[1]));
	wt_report_progress(&gang->report,
		json_pack("{s:i,s:i,s:i,s:i,s:i,s:I,s:I}", "guests", (int)gang->plan->count, "letting_go",
			(int)count_of(gang, WT_GANG_IDLE, WT_GANG_LETTING_GO), "ready",
			(int)count_of(gang, WT_GANG_HELD, WT_GANG_HELD), "moving",
			(int)count_of(gang, WT_GANG_MOVING, WT_GANG_COMMITTED), "moved", (int)moved,
			"total_bytes", (json_int_t)total, "remaining_bytes", (json_int_t)remaining),
		text);
}

/* ---- the end ---- */

static json_t *figure(double ms)
{
	return ms < 0 ? json_null() : json_real(ms);
}

static json_t *end_json(const struct wt_gang *gang)
{
	json_t *vms = json_object();

	for (unsigned i = 0; i < gang->plan->count; i++) {
		const struct wt_gang_run_vm *vm = &gang->vms[i];

		json_object_set_new(vms, vm->plan->name,
			json_pack("{s:s,s:s,s:o,s:o,s:I}", "state",
				wt_gang_state_name(gang->order.vms[i].state), "text", reason(gang, i),
				"downtime_ms", figure(vm->source.downtime_ms), "device_outage_ms",
				figure(vm->source.outage_ms), "sent_bytes",
				(json_int_t)vm->source.sent_bytes));
	}
	return vms;
}

static void advise(struct wt_gang *gang, unsigned number)
{
	const struct wt_gang_run_vm *vm = &gang->vms[number];
	char text[2 * WT_ERROR_TEXT_MAX];

	if (gang->order.vms[number].state != WT_GANG_LOST)
		return;
	snprintf(text, sizeof text,
		"%s: nobody can tell from here where this guest may run; ask both its QEMUs with watari recover (at the source: "
		"--qmp %s, at the destination: --destination-qmp %s)",
		vm->plan->name, vm->plan->from.qmp, vm->plan->to.qmp);
	wt_report_error(&gang->report, text);
}

int wt_gang_tell_end(struct wt_gang *gang)
{
	unsigned done = count_of(gang, WT_GANG_DONE, WT_GANG_DONE),
		 lost = count_of(gang, WT_GANG_LOST, WT_GANG_LOST);
	unsigned count = gang->plan->count;
	char text[WT_ERROR_TEXT_MAX + 256];

	for (unsigned i = 0; i < count; i++)
		wt_gang_tell_vm(gang, i);
	if (gang->left) {
		snprintf(text, sizeof text,
			"%s; what was begun goes on by itself, and holds for %u s at most: watari gang %s --journal %s --resume",
			wt_error_text(&gang->error), gang->plan->hold_s, gang->options->plan,
			gang->options->journal);
		wt_report_error(&gang->report, text);
		return WT_EXIT_UNDECIDED;
	}
	for (unsigned i = 0; i < count; i++)
		advise(gang, i);
	snprintf(text, sizeof text, "%u of %u guests have moved%s", done, count,
		done == count  ? ""
		: done || lost ? ""
			       : "; all are where they were");
	wt_report_event(&gang->report, "summary",
		json_pack("{s:s,s:i,s:i,s:o}", "result",
			done == count  ? "moved"
			: done || lost ? "partly"
				       : "undone",
			"moved", (int)done, "guests", (int)count, "vms", end_json(gang)),
		text);
	return done == count ? WT_EXIT_OK : done || lost ? WT_EXIT_UNDECIDED : WT_EXIT_FAILED;
}

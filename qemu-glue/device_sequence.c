/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device_sequence.c - see device_sequence.h.
 */
#include "device_sequence.h"

#include <assert.h>
#include <stddef.h>

static void add(struct wt_device_sequence *s, enum wt_device_step_kind kind, unsigned device)
{
	assert(s->count < WT_DEVICE_STEPS_MAX);
	s->steps[s->count++] = (struct wt_device_step){ (uint8_t)kind, (uint8_t)device };
}

static void add_all(struct wt_device_sequence *s, enum wt_device_step_kind kind, unsigned devices)
{
	for (unsigned i = 0; i < devices; i++)
		add(s, kind, i);
}

void wt_device_sequence_source(struct wt_device_sequence *s, unsigned devices, bool agent)
{
	*s = (struct wt_device_sequence){ .state = WT_DEVICE_IDLE };
	if (agent)
		add(s, WT_DEVICE_STEP_AGENT, 0);
	add(s, WT_DEVICE_STEP_ASK, 0);
	if (agent)
		add_all(s, WT_DEVICE_STEP_DETACH, devices);
	add_all(s, WT_DEVICE_STEP_UNPLUG, devices);
	add(s, WT_DEVICE_STEP_MOVE, 0);
	add(s, WT_DEVICE_STEP_REPORT, 0);
	add_all(s, WT_DEVICE_STEP_RELEASE, devices);
}

void wt_device_sequence_destination(struct wt_device_sequence *s, unsigned devices, bool agent)
{
	*s = (struct wt_device_sequence){ .state = WT_DEVICE_IDLE };
	add_all(s, WT_DEVICE_STEP_PREPARE, devices);
	add(s, WT_DEVICE_STEP_MOVE, 0);
	add_all(s, WT_DEVICE_STEP_PLUG, devices);
	if (agent)
		add_all(s, WT_DEVICE_STEP_ATTACH, devices);
}

void wt_device_sequence_handover(struct wt_device_sequence *s, unsigned devices, bool agent)
{
	*s = (struct wt_device_sequence){ .state = WT_DEVICE_IDLE };
	if (agent) {
		add(s, WT_DEVICE_STEP_AGENT, 0);
		add_all(s, WT_DEVICE_STEP_DETACH, devices);
	}
	add_all(s, WT_DEVICE_STEP_UNPLUG, devices);
	add(s, WT_DEVICE_STEP_MOVE, 0);
	add_all(s, WT_DEVICE_STEP_PLUG, devices);
	if (agent)
		add_all(s, WT_DEVICE_STEP_ATTACH, devices);
}

bool wt_device_step_has_undo(enum wt_device_step_kind kind)
{
	return kind == WT_DEVICE_STEP_PREPARE || kind == WT_DEVICE_STEP_DETACH ||
	       kind == WT_DEVICE_STEP_UNPLUG;
}

static enum wt_device_action over(struct wt_device_sequence *s)
{
	s->state = WT_DEVICE_OVER;
	return WT_DEVICE_DO_OVER;
}

/* Undoes step `at`, or the last one before it that can be undone. */
static enum wt_device_action undo_from(struct wt_device_sequence *s, int at)
{
	s->state = WT_DEVICE_UNDOING;
	while (at >= 0 && !wt_device_step_has_undo(s->steps[at].kind))
		at--;
	if (at < 0)
		return over(s);
	s->at = (uint8_t)at;
	return WT_DEVICE_DO_UNDO;
}

static enum wt_device_action forward(struct wt_device_sequence *s, bool good)
{
	if (!good && !s->moved)
		return undo_from(s, s->at);
	if (!good)
		s->failures++;
	if (s->steps[s->at].kind == WT_DEVICE_STEP_MOVE)
		s->moved = true;
	if (++s->at < s->count)
		return WT_DEVICE_DO_STEP;
	return over(s);
}

enum wt_device_action wt_device_sequence_step(struct wt_device_sequence *s, enum wt_device_event event)
{
	bool result = event == WT_DEVICE_EV_OK || event == WT_DEVICE_EV_FAILED;

	switch (s->state) {
	case WT_DEVICE_IDLE:
		if (event == WT_DEVICE_EV_ABORT)
			return over(s);
		if (event != WT_DEVICE_EV_BEGIN)
			return WT_DEVICE_DO_NOTHING;
		s->state = WT_DEVICE_FORWARD;
		return WT_DEVICE_DO_STEP;
	case WT_DEVICE_FORWARD:
		if (result)
			return forward(s, event == WT_DEVICE_EV_OK);
		if (event == WT_DEVICE_EV_ABORT && !s->moved)
			return undo_from(s, s->at);
		return WT_DEVICE_DO_NOTHING;
	case WT_DEVICE_UNDOING:
		if (!result)
			return WT_DEVICE_DO_NOTHING;
		s->failures += event == WT_DEVICE_EV_FAILED;
		return undo_from(s, s->at - 1);
	default:
		return WT_DEVICE_DO_NOTHING;
	}
}

const char *wt_device_step_name(enum wt_device_step_kind kind)
{
	static const char *const names[] = { "invalid", "agent", "ask", "prepare", "detach", "unplug", "move",
		"release", "plug", "attach", "report" };

	return (unsigned)kind < sizeof names / sizeof names[0] ? names[kind] : "invalid";
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uri_source_switch.c - transitions of the source's switchover without QMP. See uri_source_switch.h.
 */
#include "uri_source_switch.h"

static unsigned go(struct wt_uri_source_switch *m, enum wt_uri_source_state state, unsigned actions)
{
	m->state = state;
	return actions;
}

/* QEMU is still writing: it finds its stream closed, fails the migration and runs on. */
static unsigned abort_early(struct wt_uri_source_switch *m)
{
	return go(m, WT_URI_SOURCE_ABORTED,
		WT_URI_SOURCE_DO_HANG_UP | WT_URI_SOURCE_DO_SEND_ABORT | WT_URI_SOURCE_DO_FINISH);
}

static unsigned give_back(struct wt_uri_source_switch *m)
{
	return go(m, WT_URI_SOURCE_RETURNED,
		WT_URI_SOURCE_DO_HANG_UP | WT_URI_SOURCE_DO_SEND_ABORT | WT_URI_SOURCE_DO_FINISH);
}

static unsigned commit(struct wt_uri_source_switch *m)
{
	return go(m, WT_URI_SOURCE_DELIVERING,
		WT_URI_SOURCE_DO_SEND_COMMIT | WT_URI_SOURCE_DO_CONFIRM_DEADLINE);
}

static unsigned before_stop(struct wt_uri_source_switch *m, enum wt_uri_source_event event)
{
	switch (event) {
	case WT_URI_SOURCE_EV_ACCEPTED:
		return m->state == WT_URI_SOURCE_CONNECTING
			       ? go(m, WT_URI_SOURCE_STREAMING, WT_URI_SOURCE_DO_START)
			       : 0;
	case WT_URI_SOURCE_EV_GUEST_STOPPED:
		return m->state == WT_URI_SOURCE_STREAMING
			       ? go(m, WT_URI_SOURCE_STOPPED, WT_URI_SOURCE_DO_SWITCH_DEADLINE)
			       : 0;
	case WT_URI_SOURCE_EV_SHUT_TAKEN:
	case WT_URI_SOURCE_EV_INVALID:
		return 0;
	default: /* READY and RUNS too: a destination that does not keep the order */
		return abort_early(m);
	}
}

static unsigned stopped(struct wt_uri_source_switch *m, enum wt_uri_source_event event)
{
	switch (event) {
	case WT_URI_SOURCE_EV_READY:
		m->ready = true;
		if (m->return_path)
			return WT_URI_SOURCE_DO_SEND_SHUT;
		return m->ended ? commit(m) : 0;
	case WT_URI_SOURCE_EV_SHUT_TAKEN:
		return m->return_path && m->ready
			       ? go(m, WT_URI_SOURCE_COMMITTING, WT_URI_SOURCE_DO_CONFIRM_DEADLINE)
			       : 0;
	case WT_URI_SOURCE_EV_ENDED:
		if (m->return_path) /* before SHUT: QEMU has given up, and runs on */
			return abort_early(m);
		m->ended = true;
		return m->ready ? commit(m) : 0;
	case WT_URI_SOURCE_EV_RUNS:
	case WT_URI_SOURCE_EV_UNRUN:
	case WT_URI_SOURCE_EV_TROUBLE:
	case WT_URI_SOURCE_EV_DEADLINE:
		/* Without a return path QEMU may be through already: its last bytes were in the pipe. */
		return m->return_path ? abort_early(m) : give_back(m);
	default:
		return 0;
	}
}

/* COMMIT was not sent, so the destination never runs; QEMU stops the guest for good, or will. */
static unsigned committing(struct wt_uri_source_switch *m, enum wt_uri_source_event event)
{
	switch (event) {
	case WT_URI_SOURCE_EV_ENDED:
		m->ended = true;
		return commit(m);
	case WT_URI_SOURCE_EV_RUNS:
	case WT_URI_SOURCE_EV_UNRUN:
	case WT_URI_SOURCE_EV_TROUBLE:
	case WT_URI_SOURCE_EV_DEADLINE:
		return give_back(m);
	default:
		return 0;
	}
}

static unsigned delivering(struct wt_uri_source_switch *m, enum wt_uri_source_event event)
{
	switch (event) {
	case WT_URI_SOURCE_EV_RUNS:
		return go(m, WT_URI_SOURCE_DONE, WT_URI_SOURCE_DO_FINISH);
	case WT_URI_SOURCE_EV_UNRUN:
		return go(m, WT_URI_SOURCE_RETURNED, WT_URI_SOURCE_DO_FINISH);
	case WT_URI_SOURCE_EV_TROUBLE:
	case WT_URI_SOURCE_EV_DEADLINE:
		return go(m, WT_URI_SOURCE_UNDELIVERED, WT_URI_SOURCE_DO_FINISH);
	default:
		return 0;
	}
}

unsigned wt_uri_source_switch_step(struct wt_uri_source_switch *m, enum wt_uri_source_event event)
{
	switch (m->state) {
	case WT_URI_SOURCE_CONNECTING:
	case WT_URI_SOURCE_STREAMING:
		return before_stop(m, event);
	case WT_URI_SOURCE_STOPPED:
		return stopped(m, event);
	case WT_URI_SOURCE_COMMITTING:
		return committing(m, event);
	case WT_URI_SOURCE_DELIVERING:
		return delivering(m, event);
	default:
		return 0;
	}
}

void wt_uri_source_switch_init(struct wt_uri_source_switch *m)
{
	*m = (struct wt_uri_source_switch){ .state = WT_URI_SOURCE_CONNECTING };
}

const char *wt_uri_source_state_name(enum wt_uri_source_state state)
{
	static const char *const names[] = { "invalid", "connecting", "streaming", "stopped", "committing",
		"delivering", "done", "aborted", "returned", "undelivered" };

	return (unsigned)state < sizeof names / sizeof names[0] ? names[state] : "invalid";
}

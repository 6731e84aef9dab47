/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_switch.c - transitions of the source's switchover, one function per state. See source_switch.h.
 *
 * Between SHUT and the commit record nothing may be undone from here: only QEMU's word (completed, failed)
 * decides.
 */
#include "source_switch.h"

#include <stddef.h>

static unsigned go(struct wt_source_switch *m, enum wt_source_state state, unsigned actions)
{
	m->state = state;
	return actions;
}

static unsigned connecting(struct wt_source_switch *m, enum wt_source_event event)
{
	switch (event) {
	case WT_SOURCE_EV_ACCEPTED:
		return go(m, WT_SOURCE_STREAMING, WT_SOURCE_DO_MIGRATE);
	case WT_SOURCE_EV_TROUBLE:
	case WT_SOURCE_EV_DESTINATION_UNRUN:
	case WT_SOURCE_EV_DEADLINE:
		return go(m, WT_SOURCE_ABORTED, WT_SOURCE_DO_SEND_ABORT | WT_SOURCE_DO_FINISH);
	case WT_SOURCE_EV_QEMU_GONE:
		return go(m, WT_SOURCE_LOST, WT_SOURCE_DO_SEND_ABORT | WT_SOURCE_DO_FINISH);
	default:
		return 0;
	}
}

static unsigned aborting(struct wt_source_switch *m)
{
	return go(m, WT_SOURCE_ABORTING, WT_SOURCE_DO_SEND_ABORT | WT_SOURCE_DO_CANCEL);
}

static unsigned aborted(struct wt_source_switch *m)
{
	return go(m, WT_SOURCE_ABORTED,
		WT_SOURCE_DO_SEND_ABORT | WT_SOURCE_DO_FINISH | (m->was_stopped ? WT_SOURCE_DO_ANNOUNCE : 0));
}

static unsigned restarting(struct wt_source_switch *m, enum wt_source_event event)
{
	switch (event) {
	case WT_SOURCE_EV_QEMU_FAILED:
	case WT_SOURCE_EV_QEMU_COMPLETED: /* as in ABORTING */
		m->returned = true;
		break;
	case WT_SOURCE_EV_DESTINATION_UNLOADED:
		m->unloaded = true;
		break;
	case WT_SOURCE_EV_TROUBLE: /* the destination is lost; or the operator cancels that, too */
	case WT_SOURCE_EV_DESTINATION_UNRUN:
	case WT_SOURCE_EV_DEADLINE:
		return m->returned ? aborted(m) : go(m, WT_SOURCE_ABORTING, WT_SOURCE_DO_SEND_ABORT);
	case WT_SOURCE_EV_QEMU_GONE:
		return go(m, WT_SOURCE_LOST, WT_SOURCE_DO_SEND_ABORT | WT_SOURCE_DO_FINISH);
	default:
		return 0;
	}
	if (!m->returned || !m->unloaded)
		return 0;
	return go(m, WT_SOURCE_AGAIN, WT_SOURCE_DO_ANNOUNCE | WT_SOURCE_DO_FINISH);
}

static unsigned before_shut(struct wt_source_switch *m, enum wt_source_event event)
{
	switch (event) {
	case WT_SOURCE_EV_GUEST_STOPPED:
		if (m->state == WT_SOURCE_STOPPED)
			return 0;
		m->was_stopped = true;
		return go(m, WT_SOURCE_STOPPED, WT_SOURCE_DO_SWITCH_DEADLINE);
	case WT_SOURCE_EV_RESTART:
		if (m->state != WT_SOURCE_STOPPED)
			return 0;
		return go(m, WT_SOURCE_RESTARTING, WT_SOURCE_DO_SEND_KEEP | WT_SOURCE_DO_CANCEL);
	case WT_SOURCE_EV_DESTINATION_READY:
		if (m->state != WT_SOURCE_STOPPED)
			return aborting(m);
		return go(m, WT_SOURCE_COMMITTING, WT_SOURCE_DO_SEND_SHUT);
	case WT_SOURCE_EV_TROUBLE:
	case WT_SOURCE_EV_DESTINATION_UNRUN:
	case WT_SOURCE_EV_DEADLINE:
	case WT_SOURCE_EV_DESTINATION_RUNS: /* without COMMIT: a peer that lies */
	case WT_SOURCE_EV_QEMU_COMPLETED:   /* without SHUT: the return path is not in effect */
		return aborting(m);
	case WT_SOURCE_EV_QEMU_FAILED:
		return aborted(m);
	case WT_SOURCE_EV_QEMU_GONE:
		return go(m, WT_SOURCE_LOST, WT_SOURCE_DO_SEND_ABORT | WT_SOURCE_DO_FINISH);
	default:
		return 0;
	}
}

static unsigned committing(struct wt_source_switch *m, enum wt_source_event event)
{
	switch (event) {
	case WT_SOURCE_EV_DESTINATION_UNRUN:
		m->unrun = true;
		return 0;
	case WT_SOURCE_EV_QEMU_COMPLETED:
		if (m->unrun)
			return aborted(m);
		return go(m, WT_SOURCE_DELIVERING, WT_SOURCE_DO_SEND_COMMIT | WT_SOURCE_DO_DELIVERY_DEADLINE);
	case WT_SOURCE_EV_QEMU_FAILED:
		return aborted(m);
	case WT_SOURCE_EV_QEMU_GONE:
		return go(m, WT_SOURCE_UNDECIDED, WT_SOURCE_DO_FINISH);
	default:
		return 0;
	}
}

static unsigned delivering(struct wt_source_switch *m, enum wt_source_event event)
{
	switch (event) {
	case WT_SOURCE_EV_DESTINATION_RUNS:
		return go(m, WT_SOURCE_DONE,
			WT_SOURCE_DO_FINISH | (m->keep_source ? 0 : WT_SOURCE_DO_QUIT_QEMU));
	case WT_SOURCE_EV_DESTINATION_UNRUN:
		return aborted(m);
	case WT_SOURCE_EV_DEADLINE:
	case WT_SOURCE_EV_TROUBLE:
		return go(m, WT_SOURCE_UNDELIVERED, WT_SOURCE_DO_FINISH);
	default:
		return 0;
	}
}

unsigned wt_source_switch_step(struct wt_source_switch *m, enum wt_source_event event)
{
	switch (m->state) {
	case WT_SOURCE_CONNECTING:
		return connecting(m, event);
	case WT_SOURCE_STREAMING:
	case WT_SOURCE_STOPPED:
		return before_shut(m, event);
	case WT_SOURCE_COMMITTING:
		return committing(m, event);
	case WT_SOURCE_DELIVERING:
		return delivering(m, event);
	case WT_SOURCE_ABORTING:
		if (event == WT_SOURCE_EV_QEMU_FAILED)
			return aborted(m);
		/* It completed although no SHUT was sent: an ordinary migration's source, stopped. It is ours
		 * to run. */
		if (event == WT_SOURCE_EV_QEMU_COMPLETED)
			return aborted(m);
		if (event == WT_SOURCE_EV_QEMU_GONE)
			return go(m, WT_SOURCE_LOST, WT_SOURCE_DO_FINISH);
		return 0;
	case WT_SOURCE_RESTARTING:
		return restarting(m, event);
	default:
		return 0;
	}
}

void wt_source_switch_init(struct wt_source_switch *m, bool keep_source)
{
	*m = (struct wt_source_switch){ .state = WT_SOURCE_CONNECTING, .keep_source = keep_source };
}

const char *wt_source_cancel_refusal(enum wt_source_state state)
{
	switch (state) {
	case WT_SOURCE_CONNECTING:
	case WT_SOURCE_STREAMING:
	case WT_SOURCE_STOPPED:
	case WT_SOURCE_RESTARTING:
		return NULL;
	case WT_SOURCE_COMMITTING:
		return "too late to cancel: the switchover was let go, and QEMU hands the guest over; it will run at the "
		       "destination, or here if QEMU fails";
	case WT_SOURCE_DELIVERING:
		return "too late to cancel: the migration is committed; the guest runs at the destination as soon as "
		       "it has heard so";
	case WT_SOURCE_ABORTING:
		return "it is being cancelled already; the guest goes on here";
	default:
		return "nothing to cancel: this job is over and ends in a moment";
	}
}

const char *wt_source_state_name(enum wt_source_state state)
{
	static const char *const names[] = { "invalid", "connecting", "streaming", "stopped", "committing",
		"delivering", "done", "aborting", "aborted", "undecided", "undelivered", "lost", "restarting",
		"again" };

	return (unsigned)state < sizeof names / sizeof names[0] ? names[state] : "invalid";
}

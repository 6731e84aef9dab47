/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination_switch.c - transitions of the destination's switchover. See destination_switch.h.
 */
#include "destination_switch.h"

#include <stddef.h>

static unsigned go(struct wt_destination_switch *m, enum wt_destination_state state, unsigned actions)
{
	m->state = state;
	return actions;
}

/* Before READY the source cannot have committed: whatever goes wrong, this copy of the guest is ended, if one
 * began. */
static unsigned give_up(struct wt_destination_switch *m)
{
	if (m->state == WT_DESTINATION_WAITING)
		return go(m, WT_DESTINATION_FAILED, WT_DESTINATION_DO_FINISH);
	return go(m, WT_DESTINATION_FAILED,
		WT_DESTINATION_DO_SEND_FAILED | WT_DESTINATION_DO_QUIT_QEMU | WT_DESTINATION_DO_FINISH);
}

/* It never runs here; the memory stays ours, and is served when the source says where. */
static unsigned keep(struct wt_destination_switch *m)
{
	return go(m, WT_DESTINATION_RETIRED, WT_DESTINATION_DO_QUIT_QEMU);
}

static unsigned before_ready(struct wt_destination_switch *m, enum wt_destination_event event)
{
	switch (event) {
	case WT_DESTINATION_EV_CONNECTED:
		return m->state == WT_DESTINATION_WAITING ? go(m, WT_DESTINATION_RECEIVING, 0) : 0;
	case WT_DESTINATION_EV_RAM_COMPLETE:
		if (m->state != WT_DESTINATION_RECEIVING)
			return 0;
		return m->verify ? go(m, WT_DESTINATION_VERIFYING, WT_DESTINATION_DO_VERIFY)
				 : go(m, WT_DESTINATION_LOADING, WT_DESTINATION_DO_FEED_TAIL);
	case WT_DESTINATION_EV_VERIFIED:
		if (m->state != WT_DESTINATION_VERIFYING)
			return 0;
		return go(m, WT_DESTINATION_LOADING, WT_DESTINATION_DO_FEED_TAIL);
	case WT_DESTINATION_EV_LOADED:
		/* Before the tail was fed QEMU cannot have loaded: not the stream that it should be. */
		if (m->state != WT_DESTINATION_LOADING)
			return give_up(m);
		return go(m, WT_DESTINATION_READY, WT_DESTINATION_DO_SEND_READY);
	case WT_DESTINATION_EV_DRAIN:
		if (m->state == WT_DESTINATION_RECEIVING)
			return go(m, WT_DESTINATION_RETIRED, 0);
		return give_up(m);
	case WT_DESTINATION_EV_KEEP:
		return m->state == WT_DESTINATION_WAITING ? give_up(m) : keep(m);
	case WT_DESTINATION_EV_COMMIT: /* before READY: a source that does not keep the order */
	case WT_DESTINATION_EV_RELEASE:
	case WT_DESTINATION_EV_RUNNING:
	case WT_DESTINATION_EV_ABORT:
	case WT_DESTINATION_EV_TROUBLE:
	case WT_DESTINATION_EV_PEER_LOST:
	case WT_DESTINATION_EV_QEMU_GONE:
		return give_up(m);
	default:
		return 0;
	}
}

static unsigned ready(struct wt_destination_switch *m, enum wt_destination_event event)
{
	switch (event) {
	case WT_DESTINATION_EV_COMMIT:
		return go(m, WT_DESTINATION_STARTING, WT_DESTINATION_DO_RUN);
	case WT_DESTINATION_EV_KEEP:
		return keep(m);
	case WT_DESTINATION_EV_ABORT:
		return go(m, WT_DESTINATION_FAILED, WT_DESTINATION_DO_QUIT_QEMU | WT_DESTINATION_DO_FINISH);
	case WT_DESTINATION_EV_PEER_LOST: /* TROUBLE is no reason: COMMIT may be on its way */
		return go(m, WT_DESTINATION_ORPHAN, WT_DESTINATION_DO_FINISH);
	case WT_DESTINATION_EV_QEMU_GONE:
		return go(m, WT_DESTINATION_FAILED, WT_DESTINATION_DO_SEND_FAILED | WT_DESTINATION_DO_FINISH);
	default:
		return 0;
	}
}

static unsigned retired(struct wt_destination_switch *m, enum wt_destination_event event)
{
	switch (event) {
	case WT_DESTINATION_EV_RESTART:
		return m->qemu_gone ? give_up(m) : go(m, WT_DESTINATION_RECEIVING, 0);
	case WT_DESTINATION_EV_RELEASE:
		return go(m, WT_DESTINATION_RELEASED, WT_DESTINATION_DO_QUIT_QEMU | WT_DESTINATION_DO_FINISH);
	case WT_DESTINATION_EV_QEMU_GONE: /* its memory is ours, too */
		if (m->qemu_gone)
			return 0;
		m->qemu_gone = true;
		return WT_DESTINATION_DO_SEND_HELPER;
	case WT_DESTINATION_EV_PEER_LOST:
		m->alone = true;
		return WT_DESTINATION_DO_WAIT_HELPER;
	case WT_DESTINATION_EV_SERVED:
		return m->alone ? give_up(m) : 0;
	case WT_DESTINATION_EV_ABORT:
	case WT_DESTINATION_EV_TROUBLE:
	case WT_DESTINATION_EV_KEEP:   /* one that has retired is not the current one */
	case WT_DESTINATION_EV_COMMIT: /* this and all that follow: not what they say they are */
	case WT_DESTINATION_EV_RAM_COMPLETE:
	case WT_DESTINATION_EV_LOADED:
	case WT_DESTINATION_EV_RUNNING:
		return give_up(m);
	default:
		return 0;
	}
}

unsigned wt_destination_switch_step(struct wt_destination_switch *m, enum wt_destination_event event)
{
	switch (m->state) {
	case WT_DESTINATION_WAITING:
	case WT_DESTINATION_RECEIVING:
	case WT_DESTINATION_VERIFYING:
	case WT_DESTINATION_LOADING:
		return before_ready(m, event);
	case WT_DESTINATION_READY:
		return ready(m, event);
	case WT_DESTINATION_RETIRED:
		return retired(m, event);
	case WT_DESTINATION_STARTING:
		if (event == WT_DESTINATION_EV_RUNNING)
			return go(m, WT_DESTINATION_DONE,
				WT_DESTINATION_DO_SEND_RUNNING | WT_DESTINATION_DO_FINISH);
		if (event == WT_DESTINATION_EV_QEMU_GONE)
			return go(m, WT_DESTINATION_FAILED,
				WT_DESTINATION_DO_SEND_STRANDED | WT_DESTINATION_DO_FINISH);
		if (event == WT_DESTINATION_EV_TROUBLE) /* it cannot be run, or the operator does not want to
							   wait */
			return go(m, WT_DESTINATION_ORPHAN,
				WT_DESTINATION_DO_SEND_STRANDED | WT_DESTINATION_DO_FINISH);
		return 0;
	default:
		return 0;
	}
}

void wt_destination_switch_init(struct wt_destination_switch *m)
{
	*m = (struct wt_destination_switch){ .state = WT_DESTINATION_WAITING };
}

bool wt_destination_switch_final(const struct wt_destination_switch *m)
{
	return m->state == WT_DESTINATION_DONE || m->state == WT_DESTINATION_FAILED ||
	       m->state == WT_DESTINATION_ORPHAN || m->state == WT_DESTINATION_RELEASED;
}

const char *wt_destination_cancel_refusal(enum wt_destination_state state)
{
	switch (state) {
	case WT_DESTINATION_WAITING:
	case WT_DESTINATION_RECEIVING:
	case WT_DESTINATION_VERIFYING:
	case WT_DESTINATION_LOADING:
	case WT_DESTINATION_RETIRED:
		return NULL;
	case WT_DESTINATION_READY:
		return "too late to cancel here: the guest is loaded, and the source may have committed; if not, cancel at "
		       "the source";
	case WT_DESTINATION_STARTING:
		return "too late to cancel: the migration is committed; this guest is the one that runs";
	default:
		return "nothing to cancel: this job is over and ends in a moment";
	}
}

const char *wt_destination_state_name(enum wt_destination_state state)
{
	static const char *const names[] = { "invalid", "waiting", "receiving", "verifying", "loading",
		"ready", "starting", "done", "failed", "orphan", "retired", "released" };

	return (unsigned)state < sizeof names / sizeof names[0] ? names[state] : "invalid";
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uri_destination_switch.c - transitions of the destination's switchover without QMP. See
 * uri_destination_switch.h.
 */
#include "uri_destination_switch.h"

static unsigned go(struct wt_uri_destination_switch *m, enum wt_uri_destination_state state, unsigned actions)
{
	m->state = state;
	return actions;
}

static unsigned before_commit(struct wt_uri_destination_switch *m, enum wt_uri_destination_event event)
{
	switch (event) {
	case WT_URI_DESTINATION_EV_CONNECTED:
		return m->state == WT_URI_DESTINATION_WAITING ? go(m, WT_URI_DESTINATION_RECEIVING, 0) : 0;
	case WT_URI_DESTINATION_EV_COMPLETE:
		if (m->state != WT_URI_DESTINATION_RECEIVING)
			return 0;
		return m->verify ? go(m, WT_URI_DESTINATION_VERIFYING, WT_URI_DESTINATION_DO_VERIFY)
				 : go(m, WT_URI_DESTINATION_READY, WT_URI_DESTINATION_DO_SEND_READY);
	case WT_URI_DESTINATION_EV_VERIFIED:
		if (m->state != WT_URI_DESTINATION_VERIFYING)
			return 0;
		return go(m, WT_URI_DESTINATION_READY, WT_URI_DESTINATION_DO_SEND_READY);
	case WT_URI_DESTINATION_EV_COMMIT:
		if (m->state == WT_URI_DESTINATION_READY)
			return go(m, WT_URI_DESTINATION_LOADING, WT_URI_DESTINATION_DO_FEED_TAIL);
		break;
	case WT_URI_DESTINATION_EV_INVALID:
		return 0;
	default:
		break;
	}
	return go(m, WT_URI_DESTINATION_FAILED,
		WT_URI_DESTINATION_DO_HANG_UP | WT_URI_DESTINATION_DO_SEND_FAILED |
			WT_URI_DESTINATION_DO_FINISH);
}

static unsigned loading(struct wt_uri_destination_switch *m, enum wt_uri_destination_event event)
{
	switch (event) {
	case WT_URI_DESTINATION_EV_LOADED:
		return go(m, WT_URI_DESTINATION_DONE,
			WT_URI_DESTINATION_DO_SEND_RUNNING | WT_URI_DESTINATION_DO_FINISH);
	case WT_URI_DESTINATION_EV_QEMU_GONE:
	case WT_URI_DESTINATION_EV_TROUBLE:
		return go(m, WT_URI_DESTINATION_STRANDED,
			WT_URI_DESTINATION_DO_HANG_UP | WT_URI_DESTINATION_DO_SEND_STRANDED |
				WT_URI_DESTINATION_DO_FINISH);
	default:
		return 0;
	}
}

unsigned wt_uri_destination_switch_step(
	struct wt_uri_destination_switch *m, enum wt_uri_destination_event event)
{
	switch (m->state) {
	case WT_URI_DESTINATION_WAITING:
	case WT_URI_DESTINATION_RECEIVING:
	case WT_URI_DESTINATION_VERIFYING:
	case WT_URI_DESTINATION_READY:
		return before_commit(m, event);
	case WT_URI_DESTINATION_LOADING:
		return loading(m, event);
	default:
		return 0;
	}
}

void wt_uri_destination_switch_init(struct wt_uri_destination_switch *m)
{
	*m = (struct wt_uri_destination_switch){ .state = WT_URI_DESTINATION_WAITING };
}

const char *wt_uri_destination_state_name(enum wt_uri_destination_state state)
{
	static const char *const names[] = { "invalid", "waiting", "receiving", "verifying", "ready",
		"loading", "done", "failed", "stranded" };

	return (unsigned)state < sizeof names / sizeof names[0] ? names[state] : "invalid";
}

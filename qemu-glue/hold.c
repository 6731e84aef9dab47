/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hold.c - see hold.h.
 */
#include "hold.h"

#include <errno.h>
#include <stddef.h>

static void end(struct wt_hold *hold, bool told)
{
	wt_hold_clear(hold);
	hold->ended(hold->arg, told);
}

static void deadline_fired(void *arg, uint64_t now_ns)
{
	end(arg, false);
}

bool wt_hold_begin(struct wt_hold *hold, struct wt_loop *loop, struct wt_report *report, uint64_t timeout_ns,
	const char *text, void (*ended)(void *arg, bool told), void *arg)
{
	if (hold->was || !timeout_ns)
		return false;
	hold->loop = loop;
	hold->ended = ended;
	hold->arg = arg;
	hold->held = hold->was = true;
	wt_loop_timer_set(loop, &hold->timer, wt_loop_now_ns(loop) + timeout_ns, deadline_fired, hold);
	wt_report_event(report, "held", json_pack("{s:f}", "timeout_ms", (double)timeout_ns / 1e6), text);
	return true;
}

int wt_hold_proceed(struct wt_hold *hold, json_t **ret_result, struct wt_error *err)
{
	if (!hold->held)
		return wt_error_set(err, EBUSY, "this job does not hold%s",
			hold->was ? " any more" : ", or not yet; see --hold");
	*ret_result = json_pack("{s:s}", "text", "it goes on");
	end(hold, true);
	return 0;
}

void wt_hold_end(struct wt_hold *hold)
{
	if (hold->held)
		end(hold, false);
}

void wt_hold_clear(struct wt_hold *hold)
{
	if (hold->held)
		wt_loop_timer_clear(hold->loop, &hold->timer);
	hold->held = false;
}

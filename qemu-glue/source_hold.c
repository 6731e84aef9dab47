/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_hold.c - the last moment before the guest moves: with --hold the source waits there. See hold.h.
 *
 *   1. Nothing was asked of QEMU's migration yet: an abort is one in CONNECTING.
 *   2. If nobody says go on by the deadline, the migration is given up: the guest must not be without its
 * devices for the sake of somebody who does not come.
 */
#include <errno.h>
#include <inttypes.h>

#include "source_internal.h"

static void go(struct wt_source *source)
{
	if (!wt_source_devices_move(source))
		wt_source_event(source, WT_SOURCE_EV_ACCEPTED);
}

static void ended(void *arg, bool told)
{
	struct wt_source *source = arg;
	struct wt_error err = { 0 };

	if (told) {
		go(source);
		return;
	}
	wt_error_set(&err, ETIMEDOUT, "nobody said watari proceed within %" PRIu64 " ms; see --hold",
		source->options->common.hold_ns / 1000000);
	wt_source_trouble(source, &err);
}

void wt_source_move(struct wt_source *source)
{
	if (!wt_hold_begin(&source->hold, source->relay.loop, &source->relay.report,
		    source->options->common.hold_ns, "ready to move; waits for watari proceed", ended,
		    source))
		go(source);
}

int wt_source_proceed(struct wt_source *source, json_t **ret_result, struct wt_error *err)
{
	if (source->machine.state != WT_SOURCE_CONNECTING)
		wt_hold_clear(&source->hold);
	return wt_hold_proceed(&source->hold, ret_result, err);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_warm.c - the warm-up: the destination pulls guest RAM while the guest still has its devices, so that
 * QEMU's first pass, when they have left, moves little more than what has changed. See wt_server_warm.
 *
 *   1. Nobody tracks what changes meanwhile, least of all the devices' own writes. So nothing that was pulled
 *      is believed: QEMU announces every page when it migrates, and the destination keeps one only if its
 *      digest is the same.
 *   2. Each page is announced once at most, and only if it is there and not zero: holes are asked for, not
 *      touched. At the destination they are filled, or not, as QEMU says later.
 *   3. It needs nothing of QEMU, and leaves nothing behind: an abort in the middle is one in CONNECTING.
 *
 * The loop's thread, in turns.
 */
#include <errno.h>
#include <string.h>

#include "relay_peer.h"
#include "source_internal.h"

#define TURN_BYTES (16ull << 20) /* looked at in one turn of the loop */

/* status: 0, or -errno of the server. */
static void end(struct wt_source *source, int status)
{
	struct wt_error err = { 0 };

	if (status)
		wt_error_set(&err, -status,
			"the guest's memory cannot be moved beforehand: %s; send with --no-warm-up",
			strerror(-status));
	source->warm.on = false;
	source->warm.end_ns = wt_report_now_ns();
	wt_loop_timer_clear(source->relay.loop, &source->warm.timer);
	wt_server_rate_limit(wt_source_server(source), 0);
	source->rate = source->pace = (struct wt_rate){ 0 };
	wt_passthrough_done(source->devices.passthrough, WT_DEVICE_STEP_WARM, status ? &err : NULL);
}

/* Announces until there is no room, or for this turn enough; 0: everything was. */
static int walk(struct wt_source *source)
{
	struct wt_source_warm *warm = &source->warm;
	uint64_t enough = warm->walk.looked + TURN_BYTES;
	int r = 0;

	while (!r) {
		if (warm->run.extent.pages && !warm->run.zero)
			r = wt_server_announce(
				wt_source_server(source), &warm->run.extent, WT_CONTENT_IN_PLACE);
		else if (warm->walk.looked >= enough)
			return -EINPROGRESS;
		else if (!wt_ram_walk_next(&warm->walk, &warm->run))
			return 0;
	}
	return r;
}

static void turn(void *arg, uint64_t now_ns)
{
	wt_source_warm_more(arg);
}

void wt_source_warm_more(struct wt_source *source)
{
	struct wt_server *server = wt_source_server(source);
	int r;

	if (!source->warm.on || source->machine.state != WT_SOURCE_CONNECTING)
		return;
	r = walk(source);
	wt_server_flush(server);
	if (!r)
		r = wt_server_warm(server, false);
	if (r == -EINPROGRESS)
		wt_loop_timer_set(source->relay.loop, &source->warm.timer, wt_loop_now_ns(source->relay.loop),
			turn, source);
	else if (r != -EAGAIN)
		end(source, r);
}

/* NULL: there is a warm-up; otherwise why not. "": it is not worth a word. */
static const char *why_not(const struct wt_source *source)
{
	struct wt_server_stats stats;

	wt_server_stats(wt_source_server(source), &stats);
	if (source->options->no_warm_up || !stats.digests)
		return "";
	if (!wt_passthrough_leaving(source->devices.passthrough)[0] && !source->options->common.agent)
		return ""; /* the guest lacks nothing while it moves */
	if (source->warm.replica)
		return "the destination has an old copy of the guest's memory; it is taken instead of a warm-up";
	if (source->facts.gives_up)
		return "no warm-up: QEMU leaves free pages of this guest out (free-page-hint=on)";
	if (source->facts.may_discard && stats.fabric == WT_FABRIC_VERBS)
		return "no warm-up: over verbs the memory of a guest with a balloon is copied, and not digested";
	return NULL;
}

void wt_source_warm_begin(struct wt_source *source)
{
	const char *why = why_not(source);

	if (!why) {
		source->warm.begin_ns = wt_report_now_ns();
		source->warm.walk = (struct wt_ram_walk){ .blocks = source->served };
		source->warm.run = (struct wt_ram_run){ 0 };
		source->warm.on = wt_server_warm(wt_source_server(source), true) == 0;
		wt_server_rate_limit(wt_source_server(source), source->options->max_rate);
		if (source->warm.on)
			wt_source_warm_more(source);
		else
			end(source, -EINVAL);
		return;
	}
	if (why[0])
		wt_relay_told_note(&source->relay, why);
	if (!source->warm.replica)
		wt_server_no_digests(wt_source_server(source));
	wt_passthrough_done(source->devices.passthrough, WT_DEVICE_STEP_WARM, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_rest.c - the RAM of a guest that is paused: QEMU leaves it out of its stream (x-ignore-shared), and
 * it is announced here, when QEMU's stream says that RAM has ended.
 *
 *   1. From then on nothing writes to it, whatever happened before: QEMU has the guest in its last step of a
 *      migration, and refuses to continue it. So nobody has to know what changed.
 *   2. Only of a guest that is paused: a running one would stand still while all of its memory moves. One
 *      that was continued in the last moment goes on here.
 *   3. A QEMU that does not leave a block out (memory without a file name, from 8.1 on) sends all of it, as
 *      ever; whether it did is seen in the stream, not believed.
 *   4. The deadline of the switchover counts from the last announcement.
 *
 * The loop's thread, in turns.
 */
#include <errno.h>
#include <string.h>

#include "sabotage.h"
#include "source_internal.h"

#define TURN_BYTES (16ull << 20) /* looked at in one turn of the loop */

void wt_source_rest_begin(struct wt_source *source)
{
	source->rest = (struct wt_source_rest){ .walk = { .blocks = source->served } };
	source->rest.on = !source->common && !source->facts.guest_running && !source->options->continuable;
}

static void turn(void *arg, uint64_t now_ns)
{
	wt_source_pump(arg);
}

/* The next run of a block that was left out. */
static bool next_run(struct wt_source *source)
{
	struct wt_source_rest *rest = &source->rest;

	while (wt_ram_walk_next(&rest->walk, &rest->run)) {
		uint64_t page = rest->run.extent.page;

		if (!wt_outgoing_left_out(source->outgoing, (int)rest->run.extent.block)) {
			wt_ram_walk_skip(&rest->walk);
		} else if (!wt_sabotage_page(&page, page)) {
			rest->bytes += (uint64_t)rest->run.extent.pages << WT_PAGE_SHIFT;
			return true;
		}
	}
	rest->run = (struct wt_ram_run){ 0 };
	return false;
}

/* Announces until there is no room, or for this turn enough. */
static int announce(struct wt_source *source, struct wt_error *err)
{
	struct wt_source_rest *rest = &source->rest;
	uint64_t enough = rest->walk.looked + TURN_BYTES;
	int r = 0;

	while (!r && (rest->run.extent.pages || next_run(source))) {
		if (rest->walk.looked >= enough) {
			wt_loop_timer_set(source->relay.loop, &rest->timer,
				wt_loop_now_ns(source->relay.loop), turn, source);
			return -EAGAIN;
		}
		r = wt_server_announce(wt_source_server(source), &rest->run.extent,
			rest->run.zero ? WT_CONTENT_ZERO : WT_CONTENT_IN_PLACE);
	}
	if (r && r != -EAGAIN)
		wt_error_set(err, -r, "the guest's memory could not be announced: %s", strerror(-r));
	return r;
}

static int continued(struct wt_error *err)
{
	return wt_error_set(
		err, EBUSY, "the guest was continued when it was about to be moved as a paused one");
}

int wt_source_rest(void *arg, struct wt_error *err)
{
	struct wt_source *source = arg;
	struct wt_source_rest *rest = &source->rest;
	uint64_t left = wt_source_rest_left(source);
	int r;

	if (!rest->on)
		return 0;
	if (!rest->begun) {
		if (!next_run(source))
			return 0;
		rest->begun = true;
		wt_server_rate_limit(wt_source_server(source), source->options->max_rate);
	}
	if (rest->resumed)
		return continued(err);
	r = announce(source, err);
	if (wt_source_rest_left(source) != left)
		wt_source_switch_deadline(source);
	if (!r) {
		source->ram_end_ns = wt_report_now_ns();
		wt_server_rate_limit(wt_source_server(source), 0);
	}
	return r;
}

void wt_source_rest_resumed(struct wt_source *source)
{
	struct wt_error err = { 0 };

	source->rest.resumed = true;
	if (!source->rest.begun || source->machine.state != WT_SOURCE_STOPPED)
		return;
	continued(&err);
	wt_source_trouble(source, &err);
}

uint64_t wt_source_rest_left(const struct wt_source *source)
{
	return source->rest.begun ? wt_ram_walk_left(&source->rest.walk) : 0;
}

void wt_source_rest_end(struct wt_source *source)
{
	wt_loop_timer_clear(source->relay.loop, &source->rest.timer);
	source->rest = (struct wt_source_rest){ 0 };
}

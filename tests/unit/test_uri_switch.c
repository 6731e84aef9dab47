/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_uri_switch.c - every reachable state of the two switchover machines without QMP, and what may run in
 * it.
 *
 * As test_switch.c: a world is both machines, both QEMUs, the messages on their way and whether each relay
 * lives; from the first one every possible next event is tried, with and without a return path. Nobody here
 * talks to QEMU: the source's runs on when its stream is closed early, and stops for good when it is through;
 * the destination's runs what it has loaded, at once. In every world:
 *
 *   1. never do both guests run;
 *   2. nothing behind RAM's end is fed before the source QEMU is through;
 * and in every world in which nothing more can happen, one guest runs, or one is left that `cont` runs (the
 * source is through, the destination did not load), or the QEMU that had it died.
 *
 * The search must find what it looks for: mutants. One of them is no bug of ours but the gap that QEMU leaves
 * (uri_source_switch.h): a migrate_cancel behind the last byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uri_destination_switch.h"
#include "uri_source_switch.h"
#include "world_search.h"

enum qemu {
	GONE,
	RUNS,    /* source: its stream is closed or never began; destination: loaded */
	STREAMS, /* source: migrating, the guest runs */
	STOPPED, /* source: RAM's end is written, device state is not */
	WRITTEN, /* source: everything is written; with a return path it waits for SHUT */
	THROUGH, /* source: completed, stopped for good, its stream is closed */
	WAITS,   /* destination: has not got the tail */
	TAKES,   /* destination: the tail is being read */
	FAILS,   /* destination: has refused the stream, or found it cut, and ends */
};

enum message { NONE, RAM_COMPLETE, COMMIT, ABORT, READY, RUNNING, FAILED, STRANDED };

#define QUEUE 4

struct world {
	uint8_t source_state, destination_state;
	uint8_t return_path, ready, ended;
	uint8_t source_lives, destination_lives; /* the relays */
	uint8_t link;
	uint8_t source_qemu, destination_qemu;
	uint8_t complete_sent, shut, fed;
	uint8_t stream_open; /* the source relay still holds QEMU's stream */
	uint8_t all_written; /* the stream is whole */
	uint8_t feed_open;
	uint8_t died; /* a QEMU died by itself */
	uint8_t to_destination[QUEUE], to_source[QUEUE];
};

enum mutant {
	SOUND,
	FEED_BEFORE_COMMIT,
	COMMIT_BEFORE_END,
	COMMIT_WITHOUT_SHUT,
	TAKE_CUT_STREAM,
	LATE_CANCEL
};

#define WORLDS_MAX (1u << 20)
#define TABLE (1u << 22)

static struct search {
	struct world_search set;
	enum mutant mutant;
	const char *broken;
	struct world broken_in;
} search;

static void broken(const struct world *w, const char *promise)
{
	if (!search.broken) {
		search.broken = promise;
		search.broken_in = *w;
	}
}

static bool source_runs(const struct world *w)
{
	return w->source_qemu == RUNS || w->source_qemu == STREAMS;
}

static void reach(const struct world *w)
{
	if (source_runs(w) && w->destination_qemu == RUNS)
		broken(w, "both guests run");
	world_search_add(&search.set, w);
}

static void put(uint8_t queue[QUEUE], enum message message)
{
	for (unsigned i = 0; i < QUEUE; i++)
		if (!queue[i]) {
			queue[i] = message;
			return;
		}
	fail_msg("more messages than the queue holds");
}

static enum message take(uint8_t queue[QUEUE])
{
	enum message message = queue[0];

	memmove(queue, queue + 1, QUEUE - 1);
	queue[QUEUE - 1] = NONE;
	return message;
}

/* The source relay's end of QEMU's stream is closed, by the relay or because it died. A QEMU that still
 * writes, or waits for SHUT, fails its migration; one that is through never notices. */
static void close_stream(struct world *w)
{
	w->stream_open = 0;
	if (w->source_qemu == STREAMS || w->source_qemu == STOPPED ||
		(w->source_qemu == WRITTEN && w->return_path && !w->shut))
		w->source_qemu = RUNS;
}

/* Half a stream loads nothing, and QEMU ends. */
static void close_feed(struct world *w)
{
	w->feed_open = 0;
	if (w->destination_qemu == WAITS)
		w->destination_qemu = FAILS;
}

static void source_dies(struct world *w)
{
	w->source_lives = 0;
	close_stream(w);
}

static void destination_dies(struct world *w)
{
	w->destination_lives = 0;
	close_feed(w);
}

/* ---- the relays ---- */

static void source_action(struct world *w, unsigned action)
{
	switch (action) {
	case WT_URI_SOURCE_DO_START:
		break;
	case WT_URI_SOURCE_DO_SEND_COMMIT:
		put(w->to_destination, COMMIT);
		break;
	case WT_URI_SOURCE_DO_HANG_UP:
		close_stream(w);
		break;
	case WT_URI_SOURCE_DO_SEND_ABORT:
		put(w->to_destination, ABORT);
		break;
	case WT_URI_SOURCE_DO_FINISH:
		source_dies(w);
		break;
	default:
		break;
	}
}

static void source_event(const struct world *before, enum wt_uri_source_event event)
{
	struct wt_uri_source_switch m = { .state = before->source_state,
		.return_path = before->return_path,
		.ready = before->ready,
		.ended = before->ended };
	struct world w = *before;
	unsigned actions;

	if (!w.source_lives)
		return;
	actions = wt_uri_source_switch_step(&m, event);
	if (search.mutant == COMMIT_BEFORE_END && event == WT_URI_SOURCE_EV_READY &&
		m.state == WT_URI_SOURCE_STOPPED && !m.return_path) {
		m.state = WT_URI_SOURCE_DELIVERING;
		actions |= WT_URI_SOURCE_DO_SEND_COMMIT;
	}
	if (search.mutant == COMMIT_WITHOUT_SHUT && event == WT_URI_SOURCE_EV_ENDED && m.return_path &&
		m.state == WT_URI_SOURCE_ABORTED && m.ready) {
		m.state = WT_URI_SOURCE_DELIVERING;
		actions = WT_URI_SOURCE_DO_SEND_COMMIT;
	}
	w.source_state = (uint8_t)m.state;
	w.ready = m.ready;
	w.ended = m.ended;
	for (unsigned bit = 1; bit <= WT_URI_SOURCE_DO_FINISH; bit <<= 1) {
		struct world killed = w;

		if (!(actions & bit))
			continue;
		source_dies(&killed);
		reach(&killed);
		source_action(&w, bit);
	}
	reach(&w);
}

static void source_message(const struct world *before)
{
	struct world w = *before;
	enum message message = take(w.to_source);

	if (!w.source_lives)
		reach(&w);
	else if (message == READY)
		source_event(&w, WT_URI_SOURCE_EV_READY);
	else if (message == RUNNING)
		source_event(&w, WT_URI_SOURCE_EV_RUNS);
	else if (message == FAILED)
		source_event(&w, WT_URI_SOURCE_EV_UNRUN);
	else
		source_event(&w, WT_URI_SOURCE_EV_TROUBLE);
}

static void destination_action(struct world *w, unsigned action)
{
	switch (action) {
	case WT_URI_DESTINATION_DO_SEND_READY:
		put(w->to_source, READY);
		break;
	case WT_URI_DESTINATION_DO_FEED_TAIL:
		if (w->source_qemu != THROUGH && w->source_qemu != GONE && search.mutant != LATE_CANCEL)
			broken(w, "the tail is fed before the source QEMU is through");
		w->fed = 1;
		if (w->destination_qemu == WAITS)
			w->destination_qemu = TAKES;
		break;
	case WT_URI_DESTINATION_DO_SEND_RUNNING:
		put(w->to_source, RUNNING);
		break;
	case WT_URI_DESTINATION_DO_HANG_UP:
		close_feed(w);
		break;
	case WT_URI_DESTINATION_DO_SEND_FAILED:
		if (w->destination_qemu == RUNS || w->destination_qemu == TAKES)
			broken(w, "FAILED was said of a guest that runs");
		put(w->to_source, FAILED);
		break;
	case WT_URI_DESTINATION_DO_SEND_STRANDED:
		put(w->to_source, STRANDED);
		break;
	case WT_URI_DESTINATION_DO_FINISH:
		destination_dies(w);
		break;
	default:
		break;
	}
}

static void destination_event(const struct world *before, enum wt_uri_destination_event event)
{
	struct wt_uri_destination_switch m = { .state = before->destination_state };
	struct world w = *before;
	unsigned actions;

	if (!w.destination_lives)
		return;
	actions = wt_uri_destination_switch_step(&m, event);
	if (search.mutant == FEED_BEFORE_COMMIT && actions & WT_URI_DESTINATION_DO_SEND_READY)
		actions |= WT_URI_DESTINATION_DO_FEED_TAIL;
	w.destination_state = (uint8_t)m.state;
	for (unsigned bit = 1; bit <= WT_URI_DESTINATION_DO_FINISH; bit <<= 1) {
		struct world killed = w;

		if (!(actions & bit))
			continue;
		destination_dies(&killed);
		reach(&killed);
		destination_action(&w, bit);
	}
	reach(&w);
}

static void destination_message(const struct world *before)
{
	struct world w = *before;
	enum message message = take(w.to_destination);

	if (!w.destination_lives)
		reach(&w);
	else if (message == RAM_COMPLETE)
		destination_event(&w, WT_URI_DESTINATION_EV_COMPLETE);
	else if (message == COMMIT)
		destination_event(&w, WT_URI_DESTINATION_EV_COMMIT);
	else
		destination_event(&w, WT_URI_DESTINATION_EV_ABORT);
}

/* ---- what else can happen ---- */

static void source_qemu_moves(const struct world *before)
{
	struct world w = *before;

	if (w.source_qemu == RUNS && w.source_state == WT_URI_SOURCE_STREAMING && w.stream_open &&
		!w.complete_sent) {
		w.source_qemu = STREAMS;
		reach(&w);
	}
	w = *before;
	if (w.source_qemu == STREAMS) {
		w.source_qemu = STOPPED;
		reach(&w);
	}
	w = *before;
	if (w.source_qemu == STOPPED) {
		w.source_qemu = WRITTEN;
		w.all_written = 1;
		reach(&w);
	}
	w = *before;
	if (w.source_qemu == WRITTEN && (w.shut || !w.return_path)) {
		w.source_qemu = THROUGH;
		reach(&w);
	}
	/* It fails, or is cancelled, while it can: it closes its stream and runs on. Once all is written
	 * (with a return path: once SHUT has reached it) that is QEMU's own gap. */
	w = *before;
	if (w.source_qemu == STREAMS || w.source_qemu == STOPPED ||
		(w.source_qemu == WRITTEN && ((w.return_path && !w.shut) || search.mutant == LATE_CANCEL))) {
		w.source_qemu = RUNS;
		w.complete_sent =
			w.complete_sent ? w.complete_sent : 2; /* no second migration in this world */
		reach(&w);
	}
	w = *before;
	if (w.source_qemu != GONE && !w.died) {
		w.source_qemu = GONE;
		w.died = 1;
		reach(&w);
	}
}

/* QEMU has closed its end: it is through, or has failed, or is gone. */
static bool source_stream_ended(const struct world *w)
{
	return w->source_qemu == THROUGH || w->source_qemu == GONE ||
	       (w->source_qemu == RUNS && w->complete_sent);
}

static void source_relay_sees(const struct world *w)
{
	bool before_stop =
		w->source_state == WT_URI_SOURCE_STREAMING || w->source_state == WT_URI_SOURCE_CONNECTING;
	struct world after = *w;

	if (w->source_state == WT_URI_SOURCE_CONNECTING)
		source_event(w, WT_URI_SOURCE_EV_ACCEPTED);
	if (w->stream_open && w->source_qemu != RUNS && w->source_qemu != STREAMS &&
		w->source_state == WT_URI_SOURCE_STREAMING && (w->source_qemu != GONE || w->all_written))
		source_event(w, WT_URI_SOURCE_EV_GUEST_STOPPED);
	if (w->all_written && !w->complete_sent && w->source_lives && w->stream_open &&
		w->source_state == WT_URI_SOURCE_STOPPED) {
		after.complete_sent = 1;
		put(after.to_destination, RAM_COMPLETE);
		reach(&after);
	}
	/* A cut stream: what the destination would take for complete if it did not look. */
	after = *w;
	if (search.mutant == TAKE_CUT_STREAM && !w->all_written && w->source_lives && w->stream_open &&
		w->source_state == WT_URI_SOURCE_STOPPED && w->complete_sent != 1) {
		after.complete_sent = 1;
		put(after.to_destination, RAM_COMPLETE);
		reach(&after);
	}
	after = *w;
	if (w->source_state == WT_URI_SOURCE_STOPPED && w->return_path && w->ready && !w->shut &&
		w->source_qemu == WRITTEN && w->source_lives) {
		after.shut = 1;
		source_event(&after, WT_URI_SOURCE_EV_SHUT_TAKEN);
	}
	if (w->stream_open && source_stream_ended(w)) {
		if (before_stop)
			source_event(w, WT_URI_SOURCE_EV_TROUBLE);
		/* What was written is read first. */
		else if (!w->all_written || w->complete_sent == 1)
			source_event(w, WT_URI_SOURCE_EV_ENDED);
	}
	source_event(w, WT_URI_SOURCE_EV_TROUBLE);
	if (w->source_state != WT_URI_SOURCE_STREAMING)
		source_event(w, WT_URI_SOURCE_EV_DEADLINE);
}

static void destination_moves(const struct world *before)
{
	struct world w = *before;

	if (w.destination_state == WT_URI_DESTINATION_WAITING && w.link)
		destination_event(&w, WT_URI_DESTINATION_EV_CONNECTED);
	if (w.destination_qemu == TAKES) {
		w.destination_qemu = RUNS;
		reach(&w);
		w.destination_qemu = FAILS;
		reach(&w);
	}
	w = *before;
	if (w.destination_qemu == FAILS || (w.destination_qemu != GONE && !w.died)) {
		w.died = w.died || w.destination_qemu != FAILS;
		w.destination_qemu = GONE;
		reach(&w);
	}
	w = *before;
	if (w.destination_qemu == RUNS && w.feed_open)
		destination_event(&w, WT_URI_DESTINATION_EV_LOADED);
	if ((w.destination_qemu == GONE || w.destination_qemu == FAILS) && w.feed_open)
		destination_event(&w, WT_URI_DESTINATION_EV_QEMU_GONE);
	destination_event(&w, WT_URI_DESTINATION_EV_TROUBLE);
	if (!w.link)
		destination_event(&w, WT_URI_DESTINATION_EV_PEER_LOST);
}

static void link_and_relays(const struct world *before)
{
	struct world w = *before;

	if (w.link) {
		w.link = 0;
		memset(w.to_source, NONE, sizeof w.to_source);
		memset(w.to_destination, NONE, sizeof w.to_destination);
		reach(&w);
	}
	w = *before;
	if (w.source_lives) {
		source_dies(&w);
		reach(&w);
	}
	w = *before;
	if (w.destination_lives) {
		destination_dies(&w);
		reach(&w);
	}
}

/* Both relays are gone and everything is still: is the guest somewhere? */
static void check_end(const struct world *w)
{
	if (w->source_lives || w->destination_lives || w->destination_qemu == TAKES ||
		w->destination_qemu == FAILS || w->source_qemu == STOPPED ||
		(w->source_qemu == WRITTEN && (w->shut || !w->return_path)))
		return;
	if (source_runs(w) || w->destination_qemu == RUNS)
		return;
	if (w->source_qemu == THROUGH) /* cont */
		return;
	if (!w->died)
		broken(w, "nobody runs, no cont helps, and no QEMU died");
}

static const char *explore(enum mutant mutant)
{
	struct world first = { .source_state = WT_URI_SOURCE_CONNECTING,
		.destination_state = WT_URI_DESTINATION_WAITING,
		.source_lives = 1,
		.destination_lives = 1,
		.link = 1,
		.stream_open = 1,
		.feed_open = 1,
		.source_qemu = RUNS,
		.destination_qemu = WAITS };
	struct world w;

	search.mutant = mutant;
	search.broken = NULL;
	world_search_clear(&search.set);
	reach(&first);
	first.return_path = 1;
	reach(&first);
	while (!search.broken && world_search_next(&search.set, &w)) {
		if (w.link && w.to_source[0])
			source_message(&w);
		if (w.link && w.to_destination[0])
			destination_message(&w);
		source_qemu_moves(&w);
		source_relay_sees(&w);
		destination_moves(&w);
		link_and_relays(&w);
		check_end(&w);
	}
	return search.broken;
}

static void tell(void)
{
	const struct world *w = &search.broken_in;

	print_error(
		"%s: source %s (relay %s, QEMU %u), destination %s (relay %s, QEMU %u), return path %u, shut %u, fed %u, link %u\n",
		search.broken, wt_uri_source_state_name(w->source_state), w->source_lives ? "lives" : "dead",
		w->source_qemu, wt_uri_destination_state_name(w->destination_state),
		w->destination_lives ? "lives" : "dead", w->destination_qemu, w->return_path, w->shut, w->fed,
		w->link);
}

static void test_every_world(void **state)
{
	bool done[2] = { false, false };
	struct world w;

	if (explore(SOUND)) {
		tell();
		fail();
	}
	search.set.done = 0;
	while (world_search_next(&search.set, &w))
		if (w.source_state == WT_URI_SOURCE_DONE)
			done[w.return_path] = true;
	print_message("%u worlds, no promise broken\n", search.set.count);
	assert_true(search.set.count > 1000);
	assert_true(done[0] && done[1]); /* the search has seen migrations that succeed, of both kinds */
}

static void test_mutants_are_found(void **state)
{
	for (enum mutant mutant = FEED_BEFORE_COMMIT; mutant <= LATE_CANCEL; mutant++) {
		const char *found = explore(mutant);

		if (!found)
			print_error("mutant %d is not found\n", mutant);
		assert_non_null(found);
		print_message("mutant %d: %s\n", mutant, found);
	}
}

static int open_search(void **state)
{
	return world_search_open(&search.set, sizeof(struct world), WORLDS_MAX, TABLE) ? 0 : -1;
}

static int close_search(void **state)
{
	world_search_close(&search.set);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_world),
		cmocka_unit_test(test_mutants_are_found),
	};

	return cmocka_run_group_tests(tests, open_search, close_search);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_switch.c - every reachable state of the two switchover machines together, and what may run in it.
 *
 * A world is: both machines, both QEMUs, the messages on their way (in order, delivered or lost for ever with
 * the link), and whether each relay lives. From the first world every possible next event is tried (breadth
 * first), also relays that are killed between two actions, QEMUs that die, a QEMU that fails by itself,
 * deadlines, an operator who cancels or wants another destination, a link that never comes back, and
 * `recover` after both relays are gone. In every world:
 *
 *   1. never do both guests run;
 *   2. the destination is never told to run before the source QEMU was in postmigrate;
 *   3. nobody ends a guest that runs, nor the source before the destination runs;
 * and in every world in which nothing more can happen, exactly one guest runs, or a machine ended in a state
 * that says that the operator must decide, or a QEMU died at a point at which nothing can be promised.
 *
 * The search must also find what it looks for: with RUN on LOADED instead of on COMMIT it finds two guests
 * (mutants).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "destination_switch.h"
#include "recover.h"
#include "source_switch.h"
#include "world_search.h"

enum qemu {
	GONE,
	RUNS,      /* source: before or without a migration; destination: after cont */
	STREAMS,   /* source: migrating, the guest runs */
	STOPPED,   /* source: finish-migrate */
	COMPLETED, /* source: postmigrate */
	WAITS,     /* destination: before everything was loaded */
	LOADED,    /* destination: complete, paused */
};

enum message { NONE, RAM_COMPLETE, COMMIT, ABORT, KEEP, READY, RUNNING, FAILED, STRANDED, UNLOADED };

#define QUEUE 4

struct world {
	uint8_t source_state, destination_state;
	uint8_t unrun, was_stopped;
	uint8_t returned, unloaded;              /* ... restarting */
	uint8_t alone, qemu_gone;                /* destination_switch, retired */
	uint8_t kept;                            /* it has heard KEEP */
	uint8_t source_lives, destination_lives; /* the relays */
	uint8_t link, told_lost;
	uint8_t source_qemu, destination_qemu;
	uint8_t stream_sent, shut, fed, cont_sent;
	uint8_t died; /* a QEMU died by itself */
	uint8_t to_destination[QUEUE], to_source[QUEUE];
};

enum mutant {
	SOUND,
	RUN_BEFORE_COMMIT,
	COMMIT_BEFORE_RECORD,
	ABORT_RUNS_SOURCE_LATE,
	FAILED_AFTER_CONT,
	RESTART_AFTER_SHUT,
	AGAIN_UNSEEN,  /* begins anew before QEMU says that it has the guest again */
	AGAIN_UNHEARD, /* ... before the destination says that its QEMU has ended */
	KEPT_LOADED,   /* a destination that is kept leaves its QEMU */
	MUTANTS,
};

#define WORLDS_MAX (1u << 20)
#define TABLE (1u << 22)

static struct search {
	struct world_search set;
	enum mutant mutant;
	const char *broken; /* the first promise that was broken */
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

/* ---- the source ---- */

/* One action; the caller may stop in between (a killed relay). */
static void source_action(struct world *w, unsigned action)
{
	switch (action) {
	case WT_SOURCE_DO_MIGRATE:
		if (w->source_qemu == RUNS)
			w->source_qemu = STREAMS;
		break;
	case WT_SOURCE_DO_SEND_SHUT:
		if (w->source_qemu == STOPPED)
			w->shut = 1;
		break;
	case WT_SOURCE_DO_SEND_COMMIT:
		if (w->source_qemu != COMPLETED && w->source_qemu != GONE)
			broken(w, "COMMIT before the commit record");
		put(w->to_destination, COMMIT);
		break;
	case WT_SOURCE_DO_SEND_ABORT:
		put(w->to_destination, ABORT);
		break;
	case WT_SOURCE_DO_SEND_KEEP:
		put(w->to_destination, KEEP);
		break;
	case WT_SOURCE_DO_CANCEL:
		if (w->shut)
			broken(w, "cancelled after SHUT");
		if (w->source_qemu == STREAMS || w->source_qemu == STOPPED)
			w->source_qemu = RUNS;
		break;
	case WT_SOURCE_DO_QUIT_QEMU:
		if (w->destination_qemu != RUNS && !(w->died && w->cont_sent))
			broken(w, "the source was ended while the destination did not run");
		w->source_qemu = GONE;
		break;
	case WT_SOURCE_DO_FINISH: /* what begins anew is test_retarget.c's */
		if (w->source_state == WT_SOURCE_AGAIN && w->source_qemu != RUNS && !w->died)
			broken(w, "a new migration begins, and QEMU has not got the guest again");
		if (w->source_state == WT_SOURCE_AGAIN && w->destination_qemu != GONE)
			broken(w, "a new migration begins, and the destination has not ended its QEMU");
		if (w->source_state == WT_SOURCE_ABORTED && w->source_qemu == COMPLETED) {
			w->source_qemu = RUNS; /* cont */
			if (w->destination_qemu == LOADED && w->cont_sent)
				broken(w, "the source runs again although the destination may run");
		}
		w->source_lives = 0;
		break;
	default:
		break;
	}
}

static void source_event(const struct world *before, enum wt_source_event event)
{
	struct wt_source_switch m = { .state = before->source_state,
		.unrun = before->unrun,
		.was_stopped = before->was_stopped,
		.returned = before->returned,
		.unloaded = before->unloaded };
	struct world w = *before;
	unsigned actions;

	if (!w.source_lives)
		return;
	actions = wt_source_switch_step(&m, event);
	if (search.mutant == COMMIT_BEFORE_RECORD && actions & WT_SOURCE_DO_SEND_SHUT)
		actions |= WT_SOURCE_DO_SEND_COMMIT;
	if (search.mutant == ABORT_RUNS_SOURCE_LATE && event == WT_SOURCE_EV_TROUBLE &&
		m.state == WT_SOURCE_UNDELIVERED)
		m.state = WT_SOURCE_ABORTED;
	if (search.mutant == RESTART_AFTER_SHUT && event == WT_SOURCE_EV_RESTART &&
		m.state == WT_SOURCE_COMMITTING) {
		m.state = WT_SOURCE_RESTARTING;
		actions = WT_SOURCE_DO_SEND_KEEP | WT_SOURCE_DO_CANCEL;
	}
	if (search.mutant == AGAIN_UNSEEN && actions & WT_SOURCE_DO_SEND_KEEP) {
		m.state = WT_SOURCE_AGAIN;
		actions = WT_SOURCE_DO_SEND_KEEP | WT_SOURCE_DO_FINISH;
	}
	if (search.mutant == AGAIN_UNHEARD && m.state == WT_SOURCE_RESTARTING && m.returned) {
		m.state = WT_SOURCE_AGAIN;
		actions |= WT_SOURCE_DO_FINISH;
	}
	w.source_state = (uint8_t)m.state;
	w.unrun = m.unrun;
	w.was_stopped = m.was_stopped;
	w.returned = m.returned;
	w.unloaded = m.unloaded;
	for (unsigned bit = 1; bit <= WT_SOURCE_DO_FINISH; bit <<= 1) {
		struct world killed = w;

		if (!(actions & bit))
			continue;
		killed.source_lives = 0;
		reach(&killed);
		source_action(&w, bit);
	}
	reach(&w);
}

static void source_message(const struct world *before)
{
	struct world w = *before;
	enum message message = take(w.to_source);

	if (!w.source_lives) {
		reach(&w);
		return;
	}
	if (message == READY)
		source_event(&w, WT_SOURCE_EV_DESTINATION_READY);
	else if (message == RUNNING)
		source_event(&w, WT_SOURCE_EV_DESTINATION_RUNS);
	else if (message == FAILED)
		source_event(&w, WT_SOURCE_EV_DESTINATION_UNRUN);
	else if (message == UNLOADED)
		source_event(&w, WT_SOURCE_EV_DESTINATION_UNLOADED);
	else
		source_event(&w, WT_SOURCE_EV_TROUBLE);
}

/* ---- the destination ---- */

static void destination_action(struct world *w, unsigned action)
{
	switch (action) {
	case WT_DESTINATION_DO_FEED_TAIL:
		w->fed = 1;
		break;
	case WT_DESTINATION_DO_SEND_READY:
		put(w->to_source, READY);
		break;
	case WT_DESTINATION_DO_RUN:
		if (w->source_qemu != COMPLETED && w->source_qemu != GONE)
			broken(w, "the destination is run before the commit record");
		w->cont_sent = 1;
		break;
	case WT_DESTINATION_DO_SEND_RUNNING:
		put(w->to_source, RUNNING);
		break;
	case WT_DESTINATION_DO_SEND_FAILED:
		put(w->to_source, FAILED);
		break;
	case WT_DESTINATION_DO_SEND_STRANDED:
		put(w->to_source, search.mutant == FAILED_AFTER_CONT ? FAILED : STRANDED);
		break;
	case WT_DESTINATION_DO_SEND_HELPER:
		put(w->to_source, UNLOADED);
		break;
	case WT_DESTINATION_DO_QUIT_QEMU:
		if (w->destination_qemu == RUNS)
			broken(w, "a running destination was ended");
		w->destination_qemu = GONE;
		break;
	case WT_DESTINATION_DO_FINISH:
		w->destination_lives = 0;
		break;
	default:
		break;
	}
}

static void destination_event(const struct world *before, enum wt_destination_event event)
{
	struct wt_destination_switch m = {
		.state = before->destination_state, .alone = before->alone, .qemu_gone = before->qemu_gone
	};
	struct world w = *before;
	unsigned actions;

	if (!w.destination_lives)
		return;
	actions = wt_destination_switch_step(&m, event);
	if (search.mutant == RUN_BEFORE_COMMIT && actions & WT_DESTINATION_DO_SEND_READY)
		actions |= WT_DESTINATION_DO_RUN;
	if (search.mutant == KEPT_LOADED && event == WT_DESTINATION_EV_KEEP)
		actions &= ~(unsigned)WT_DESTINATION_DO_QUIT_QEMU;
	w.destination_state = (uint8_t)m.state;
	w.alone = m.alone;
	w.qemu_gone = m.qemu_gone;
	w.kept |= event == WT_DESTINATION_EV_KEEP && m.state == WT_DESTINATION_RETIRED;
	for (unsigned bit = 1; bit <= WT_DESTINATION_DO_FINISH; bit <<= 1) {
		struct world killed = w;

		if (!(actions & bit))
			continue;
		killed.destination_lives = 0;
		reach(&killed);
		destination_action(&w, bit);
	}
	if (w.kept && w.destination_lives && w.destination_qemu != GONE)
		broken(&w, "a destination that is kept has left its QEMU");
	reach(&w);
}

static void destination_message(const struct world *before)
{
	struct world w = *before;
	enum message message = take(w.to_destination);

	if (!w.destination_lives)
		reach(&w);
	else if (message == RAM_COMPLETE)
		destination_event(&w, WT_DESTINATION_EV_RAM_COMPLETE);
	else if (message == COMMIT)
		destination_event(&w, WT_DESTINATION_EV_COMMIT);
	else if (message == KEEP)
		destination_event(&w, WT_DESTINATION_EV_KEEP);
	else
		destination_event(&w, WT_DESTINATION_EV_ABORT);
}

/* ---- what else can happen ---- */

static void source_qemu_moves(const struct world *before)
{
	struct world w = *before;

	if (w.source_qemu == STREAMS) {
		w.source_qemu = STOPPED;
		reach(&w);
	}
	w = *before;
	if (w.source_qemu == STOPPED && w.shut) {
		w.source_qemu = COMPLETED;
		reach(&w);
	}
	w = *before;
	/* The relay's end closes QEMU's connection: before SHUT that fails the migration. Or it fails by
	 * itself. */
	if ((w.source_qemu == STREAMS || w.source_qemu == STOPPED) && !w.shut) {
		w.source_qemu = RUNS;
		reach(&w);
	}
	w = *before;
	if (w.source_qemu != GONE && !w.died) {
		w.source_qemu = GONE;
		w.died = 1;
		reach(&w);
	}
}

static void source_relay_sees(const struct world *w)
{
	bool began = w->source_state != WT_SOURCE_CONNECTING;
	struct world sent = *w;

	if (w->source_state == WT_SOURCE_CONNECTING && w->source_qemu == RUNS)
		source_event(w, WT_SOURCE_EV_ACCEPTED);
	if (w->source_qemu == STOPPED)
		source_event(w, WT_SOURCE_EV_GUEST_STOPPED);
	if (w->source_qemu == STOPPED && !w->stream_sent && w->source_lives &&
		(w->source_state == WT_SOURCE_STREAMING || w->source_state == WT_SOURCE_STOPPED)) {
		sent.stream_sent = 1;
		put(sent.to_destination, RAM_COMPLETE);
		reach(&sent);
	}
	if (w->source_qemu == COMPLETED)
		source_event(w, WT_SOURCE_EV_QEMU_COMPLETED);
	if (w->source_qemu == RUNS && began)
		source_event(w, WT_SOURCE_EV_QEMU_FAILED);
	if (w->source_qemu == GONE)
		source_event(w, WT_SOURCE_EV_QEMU_GONE);
	if (w->source_state == WT_SOURCE_CONNECTING || w->source_state == WT_SOURCE_STOPPED ||
		w->source_state == WT_SOURCE_RESTARTING ||
		(w->source_state == WT_SOURCE_DELIVERING && !w->link))
		source_event(w, WT_SOURCE_EV_DEADLINE);
	if (w->source_state != WT_SOURCE_DELIVERING || !w->link)
		source_event(w, WT_SOURCE_EV_TROUBLE);
	source_event(w, WT_SOURCE_EV_RESTART);
}

static void destination_relay_sees(const struct world *before)
{
	struct world w = *before;

	if (w.destination_state == WT_DESTINATION_WAITING && w.link)
		destination_event(&w, WT_DESTINATION_EV_CONNECTED);
	if (w.fed && w.destination_qemu == WAITS) {
		w.destination_qemu = LOADED;
		reach(&w);
	}
	w = *before;
	if (w.destination_qemu == LOADED && !w.cont_sent)
		destination_event(&w, WT_DESTINATION_EV_LOADED);
	if (w.destination_qemu == LOADED && w.cont_sent) {
		w.destination_qemu = RUNS;
		reach(&w);
	}
	w = *before;
	if (w.destination_qemu == RUNS)
		destination_event(&w, WT_DESTINATION_EV_RUNNING);
	if (w.destination_qemu == GONE)
		destination_event(&w, WT_DESTINATION_EV_QEMU_GONE);
	if (w.destination_qemu != GONE && !w.died) {
		w.destination_qemu = GONE;
		w.died = 1;
		reach(&w);
	}
	w = *before;
	destination_event(&w, WT_DESTINATION_EV_TROUBLE);
	if (!w.link)
		destination_event(&w, WT_DESTINATION_EV_PEER_LOST);
	if (w.alone)
		destination_event(&w, WT_DESTINATION_EV_SERVED);
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
		w.source_lives = 0;
		reach(&w);
	}
	w = *before;
	if (w.destination_lives) {
		w.destination_lives = 0;
		reach(&w);
	}
}

/* What `watari recover` does with both sockets, when both relays are gone. */
static void recover_world(struct world *w)
{
	enum wt_recover_source source = w->source_qemu == GONE        ? WT_RECOVER_SOURCE_UNKNOWN
					: w->source_qemu == COMPLETED ? WT_RECOVER_SOURCE_COMMITTED
					: w->source_qemu == RUNS      ? WT_RECOVER_SOURCE_OWNS
								      : WT_RECOVER_SOURCE_BUSY;
	enum wt_recover_destination destination = w->destination_qemu == GONE ? WT_RECOVER_DESTINATION_UNKNOWN
						  : w->destination_qemu == RUNS ? WT_RECOVER_DESTINATION_RUNS
						  : w->destination_qemu == LOADED
							  ? WT_RECOVER_DESTINATION_LOADED
							  : WT_RECOVER_DESTINATION_INCOMPLETE;

	switch (wt_recover_decide(source, source_runs(w), destination, false)) {
	case WT_RECOVER_RUN_DESTINATION:
		w->destination_qemu = RUNS;
		w->source_qemu = GONE;
		break;
	case WT_RECOVER_QUIT_SOURCE:
		w->source_qemu = GONE;
		break;
	case WT_RECOVER_CANCEL_SOURCE:
		w->source_qemu = w->shut ? COMPLETED : RUNS;
		if (!w->shut)
			w->destination_qemu = GONE;
		break;
	case WT_RECOVER_SOURCE_KEEPS:
		w->destination_qemu = GONE;
		break;
	case WT_RECOVER_TWO:
		broken(w, "recover found two guests");
		break;
	default:
		break;
	}
}

/* Both relays are gone and everything is still: what recover brings about. */
static void check_end(const struct world *before)
{
	struct world w = *before;
	bool one;

	if (w.source_lives || w.destination_lives || (w.cont_sent && w.destination_qemu == LOADED) ||
		(w.shut && w.source_qemu == STOPPED))
		return;
	recover_world(&w);
	if (w.source_qemu == COMPLETED)
		recover_world(&w);
	one = source_runs(&w) != (w.destination_qemu == RUNS);
	if (source_runs(&w) && w.destination_qemu == RUNS)
		broken(before, "recover made two guests run");
	if (!one && !w.died)
		broken(before, "nobody runs although no QEMU died");
	if (!one && w.destination_qemu == GONE && w.source_qemu != COMPLETED && w.source_qemu != GONE)
		broken(before, "the source survived and does not run");
}

static const char *explore(enum mutant mutant)
{
	struct world first = { .source_state = WT_SOURCE_CONNECTING,
		.destination_state = WT_DESTINATION_WAITING,
		.source_lives = 1,
		.destination_lives = 1,
		.link = 1,
		.source_qemu = RUNS,
		.destination_qemu = WAITS };
	struct world w;

	search.mutant = mutant;
	search.broken = NULL;
	world_search_clear(&search.set);
	reach(&first);
	while (!search.broken && world_search_next(&search.set, &w)) {
		if (w.link && w.to_source[0])
			source_message(&w);
		if (w.link && w.to_destination[0])
			destination_message(&w);
		source_qemu_moves(&w);
		source_relay_sees(&w);
		destination_relay_sees(&w);
		link_and_relays(&w);
		check_end(&w);
	}
	return search.broken;
}

static void tell(void)
{
	const struct world *w = &search.broken_in;

	print_error(
		"%s: source %s (relay %s, QEMU %u), destination %s (relay %s, QEMU %u), shut %u, cont %u, link %u\n",
		search.broken, wt_source_state_name(w->source_state), w->source_lives ? "lives" : "dead",
		w->source_qemu, wt_destination_state_name(w->destination_state),
		w->destination_lives ? "lives" : "dead", w->destination_qemu, w->shut, w->cont_sent, w->link);
}

static void test_every_world(void **state)
{
	if (explore(SOUND)) {
		tell();
		fail();
	}
	print_message("%u worlds, no promise broken\n", search.set.count);
	assert_true(search.set.count > 1000);
}

/* Cancelling is refused exactly where it would not bring the guest back to where it was. */
static void test_cancel(void **state)
{
	for (enum wt_source_state s = WT_SOURCE_CONNECTING; s <= WT_SOURCE_AGAIN; s++) {
		struct wt_source_switch m = { .state = s };

		wt_source_switch_step(&m, WT_SOURCE_EV_TROUBLE);
		assert_int_equal(wt_source_cancel_refusal(s) == NULL,
			m.state != s && (m.state == WT_SOURCE_ABORTING || m.state == WT_SOURCE_ABORTED));
	}
	for (enum wt_destination_state s = WT_DESTINATION_WAITING; s < WT_DESTINATION_STATES; s++) {
		struct wt_destination_switch m = { .state = s };

		wt_destination_switch_step(&m, WT_DESTINATION_EV_TROUBLE);
		assert_int_equal(wt_destination_cancel_refusal(s) == NULL,
			s != WT_DESTINATION_FAILED && m.state == WT_DESTINATION_FAILED);
	}
}

static void test_mutants_are_found(void **state)
{
	for (enum mutant mutant = RUN_BEFORE_COMMIT; mutant < MUTANTS; mutant++) {
		const char *found = explore(mutant);

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
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_mutants_are_found),
	};

	return cmocka_run_group_tests(tests, open_search, close_search);
}

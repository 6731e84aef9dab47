/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_retarget.c - every reachable state of the source's two machines (who runs, which destination) and of
 * two destinations together.
 *
 * As in test_switch.c, but that begins where the first destination receives: here the operator changes to the
 * second one, and back, at any moment, and so after the guest was stopped, too: a
 * new migration. A world has so many *faults* left: a relay that is killed between two
 * actions, a QEMU that dies, a link that never comes back, an operator who cancels, a destination that lies
 * or does not drain. Everything else happens whenever it can. In every world:
 *
 *   1. at most one guest runs, of three QEMUs;
 *   2. only the current destination is let go: it said READY, it gets COMMIT; nobody else's word counts;
 *   3. the destination that is left has drained at the hand-over, or is dropped: lost, or told ABORT;
 *   4. a destination that has drained keeps its QEMU, and trouble is raised only if none of them could take
 * over;
 *   5. a destination ends its QEMU before it ends, and no relay waits for ever;
 *   6. QEMU is held while nobody could take what it writes, and no longer;
 *   7. without a fault the guest moves, unless the switchover takes too long.
 * And in every world in which the relays are gone, `recover` leaves exactly one guest (unless a QEMU died).
 *
 * The search must also find what it looks for (mutants).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "retarget_world.h"

#define WORLDS_MAX (12u << 20)
#define TABLE (1u << 24)
#define COMMANDS 3 /* of the operator */
#define FAULTS 2   /* WATARI_FAULTS: another number */

/* ---- what happens by itself ---- */

static void source_qemu_moves(const struct world *before)
{
	struct world w = *before;

	if (w.qemu == STREAMS && !w.held) {
		w.decided = 1;
		reach(&w);
	}
	w = *before;
	if (w.qemu == STREAMS && w.decided) {
		w.qemu = STOPPED;
		reach(&w);
	}
	w = *before;
	if (w.qemu == STOPPED && w.shut) {
		w.qemu = COMPLETED;
		reach(&w);
	}
	w = *before;
	if ((w.qemu == STREAMS || w.qemu == STOPPED) && !w.shut && !w.lives) {
		w.qemu = RUNS;
		reach(&w);
	}
}

static void guest_stopped(struct world *w)
{
	retarget_event(w, WT_RETARGET_EV_GUEST_STOPPED, 0, 0);
	source_event(w, WT_SOURCE_EV_GUEST_STOPPED);
}

/* RAM's end goes to the current destination; everything else had gone before. */
static void source_streams(const struct world *before)
{
	struct world w = *before;

	if (w.qemu != STOPPED || (w.state != WT_SOURCE_STREAMING && w.state != WT_SOURCE_STOPPED))
		return;
	if (!w.retarget.stopped) {
		guest_stopped(&w);
		reach(&w);
	}
	w = *before;
	if (w.held || w.end_sent)
		return;
	w.end_sent = 1;
	say(&w, w.retarget.current, RAM_COMPLETE);
	if (!w.retarget.stopped)
		guest_stopped(&w);
	reach(&w);
}

static void source_sees(const struct world *before, enum wt_source_event event, bool when)
{
	struct world w = *before;

	if (!when)
		return;
	w.late |= event == WT_SOURCE_EV_DEADLINE;
	source_event(&w, event);
	reach(&w);
}

static void retarget_sees(const struct world *before, enum wt_retarget_event event, int target, bool when)
{
	struct world w = *before;

	if (!when)
		return;
	retarget_event(&w, event, (unsigned)target, WT_SOURCE_EV_TROUBLE);
	reach(&w);
}

/* All that it said has been heard, and nothing more will come. */
static bool is_silent(const struct destination *d)
{
	return !d->link || (!d->lives && !d->from[0]);
}

static void source_moves(const struct world *w)
{
	const struct wt_source_retarget *m = &w->retarget;
	const struct destination *current = &w->d[m->current];

	if (!w->lives)
		return;
	source_streams(w);
	source_sees(w, WT_SOURCE_EV_QEMU_COMPLETED, w->qemu == COMPLETED);
	source_sees(w, WT_SOURCE_EV_QEMU_FAILED, w->qemu == RUNS);
	source_sees(w, WT_SOURCE_EV_QEMU_GONE, w->qemu == GONE);
	source_sees(w, WT_SOURCE_EV_DEADLINE,
		w->state == WT_SOURCE_STOPPED || w->state == WT_SOURCE_RESTARTING ||
			((w->state == WT_SOURCE_DELIVERING || w->state == WT_SOURCE_CONNECTING) &&
				is_silent(current)));
	retarget_sees(w, WT_RETARGET_EV_DEADLINE, 0, w->timer);
	retarget_sees(w, WT_RETARGET_EV_BASE_SENT, 0, m->state == WT_RETARGET_HANDING);
	retarget_sees(w, WT_RETARGET_EV_BASE_DONE, m->current, current->link && current->lives);
	for (int i = 0; i < DESTINATIONS; i++)
		retarget_sees(w, WT_RETARGET_EV_LOST, i, has_session(w, i) && is_silent(&w->d[i]));
}

static void destination_sees(
	const struct world *before, unsigned i, enum wt_destination_event event, bool when)
{
	struct world w = *before;

	if (!when)
		return;
	destination_event(&w, i, event);
	reach(&w);
}

static void destination_drains(const struct world *before, unsigned i)
{
	struct world w = *before;
	struct destination *d = &w.d[i];
	uint8_t number = d->draining;

	if (!number)
		return;
	d->draining = 0;
	destination_event(&w, i, WT_DESTINATION_EV_DRAIN);
	if (d->state == WT_DESTINATION_RETIRED)
		answer(&w, i, (uint8_t)(DRAINED | number << TYPE_BITS));
	reach(&w);
}

static void destination_moves(const struct world *before, unsigned i)
{
	struct world w = *before;
	struct destination *d = &w.d[i];

	if (d->qemu == WAITS && d->fed) {
		d->qemu = LOADED;
		reach(&w);
	}
	w = *before;
	if (d->qemu == LOADED && d->cont_sent) {
		d->qemu = RUNS;
		reach(&w);
	}
	w = *before;
	if (!d->lives)
		return;
	destination_drains(before, i);
	destination_sees(before, i, WT_DESTINATION_EV_LOADED, d->qemu == LOADED && !d->cont_sent);
	destination_sees(before, i, WT_DESTINATION_EV_RUNNING, d->qemu == RUNS);
	destination_sees(before, i, WT_DESTINATION_EV_QEMU_GONE, d->qemu == GONE);
	destination_sees(before, i, WT_DESTINATION_EV_SERVED, d->alone);
	destination_sees(before, i, WT_DESTINATION_EV_PEER_LOST,
		d->state != WT_DESTINATION_WAITING && (!d->link || (!w.lives && !d->to[0])));
}

/* ---- what somebody does ---- */

static void command(const struct world *before, int target)
{
	struct world w = *before;

	w.commands--;
	retarget_event(&w,
		wt_source_retarget_restarts(&w.retarget, w.state) ? WT_RETARGET_EV_RESTART
								  : WT_RETARGET_EV_RETARGET,
		(unsigned)target, 0);
	if (w.retarget.state == before->retarget.state)
		broken(before, "a retarget was neither refused nor taken");
	reach(&w);
}

static void commands(const struct world *w)
{
	const struct wt_source_retarget *m = &w->retarget;
	bool restarts = wt_source_retarget_restarts(m, w->state);

	if (!w->lives || !w->commands || wt_source_retarget_refusal(m, w->state))
		return;
	for (int i = 0; i < DESTINATIONS; i++)
		if (m->roles[i] == WT_TARGET_FREE || (m->roles[i] == WT_TARGET_RETIRED && !restarts))
			command(w, i);
}

static void source_faults(const struct world *before)
{
	struct world w = *before;

	source_sees(&w, WT_SOURCE_EV_TROUBLE, w.lives); /* cancel */
	if (w.lives) {
		w.lives = 0;
		reach(&w);
	}
	w = *before;
	if (w.lives && (w.qemu == STREAMS || w.qemu == STOPPED) && !w.shut) {
		w.qemu = RUNS; /* the migration fails on QEMU's side */
		reach(&w);
	}
	w = *before;
	if (w.qemu != GONE) {
		w.qemu = GONE;
		w.died = 1;
		reach(&w);
	}
}

static void destination_faults(const struct world *before, unsigned i)
{
	struct world w = *before;
	struct destination *d = &w.d[i];

	destination_sees(&w, i, WT_DESTINATION_EV_TROUBLE, d->lives);
	if (d->link) {
		cut(&w, i);
		reach(&w);
	}
	w = *before;
	if (d->lives) {
		d->lives = 0;
		reach(&w);
	}
	w = *before;
	if (d->qemu != GONE) {
		d->qemu = GONE;
		w.died = 1;
		reach(&w);
	}
	w = *before;
	if (d->draining) {
		d->draining = 0; /* it never answers */
		reach(&w);
	}
	w = *before;
	if (w.lives && d->lives && d->link && w.retarget.current != (int)i) {
		source_hears(&w, i, READY); /* it lies */
		reach(&w);
	}
}

static void faults(const struct world *before)
{
	struct world w = *before;

	if (!w.faults)
		return;
	w.faults--;
	source_faults(&w);
	for (unsigned i = 0; i < DESTINATIONS; i++)
		destination_faults(&w, i);
}

/* ---- the end ---- */

static void recover_with(struct world *w, unsigned i)
{
	struct destination *d = &w->d[i];
	enum wt_recover_source source = w->qemu == GONE        ? WT_RECOVER_SOURCE_UNKNOWN
					: w->qemu == COMPLETED ? WT_RECOVER_SOURCE_COMMITTED
					: w->qemu == RUNS      ? WT_RECOVER_SOURCE_OWNS
							       : WT_RECOVER_SOURCE_BUSY;
	enum wt_recover_destination destination = d->qemu == GONE     ? WT_RECOVER_DESTINATION_UNKNOWN
						  : d->qemu == RUNS   ? WT_RECOVER_DESTINATION_RUNS
						  : d->qemu == LOADED ? WT_RECOVER_DESTINATION_LOADED
								      : WT_RECOVER_DESTINATION_INCOMPLETE;

	switch (wt_recover_decide(source, source_runs(w), destination, false)) {
	case WT_RECOVER_RUN_DESTINATION:
		d->qemu = RUNS;
		w->qemu = GONE;
		break;
	case WT_RECOVER_QUIT_SOURCE:
		w->qemu = GONE;
		break;
	case WT_RECOVER_CANCEL_SOURCE:
		w->qemu = w->shut ? COMPLETED : RUNS;
		if (!w->shut)
			d->qemu = GONE;
		break;
	case WT_RECOVER_SOURCE_KEEPS:
		d->qemu = GONE;
		break;
	case WT_RECOVER_TWO:
		broken(w, "recover found two guests");
		break;
	default:
		break;
	}
}

/* The relays are gone and everything is still: the operator asks one destination, then the other. */
static void check_end(const struct world *before, unsigned first)
{
	struct world w = *before;
	unsigned run;

	for (unsigned i = 0; i < DESTINATIONS; i++)
		if ((w.d[i].lives && w.d[i].state != WT_DESTINATION_WAITING) ||
			(w.d[i].cont_sent && w.d[i].qemu == LOADED))
			return;
	if (w.lives || w.qemu == STREAMS || w.qemu == STOPPED)
		return;
	for (unsigned n = 0; n < 2 * DESTINATIONS; n++)
		recover_with(&w, (first + n) % DESTINATIONS);
	run = source_runs(&w) + (w.d[0].qemu == RUNS) + (w.d[1].qemu == RUNS);
	if (run > 1)
		broken(before, "recover made two guests run");
	if (!run && !w.died)
		broken(before, "nobody runs although no QEMU died");
}

/* Whoever was given up knows, or will. */
static void check_dropped(const struct world *w)
{
	for (unsigned i = 0; i < DESTINATIONS; i++)
		if (w->lives && w->retarget.roles[i] == WT_TARGET_DROPPED && !is_ending(&w->d[i]))
			broken(w, "a destination was given up and is not told");
}

/* QEMU is held while nobody could take what it writes, or shall, and no longer. */
static void check_held(const struct world *w)
{
	enum wt_retarget_state state = w->retarget.state;
	bool due = state == WT_RETARGET_DRAINING || state == WT_RETARGET_HANDING || w->retarget.orphaned;

	if (w->lives && state != WT_RETARGET_OVER && w->held != due)
		broken(w, due ? "QEMU is not held" : "QEMU is held for nothing");
}

/* Nothing happens any more by itself: does anybody wait? */
static void check_still(const struct world *w)
{
	bool waits = w->lives;

	for (unsigned i = 0; i < DESTINATIONS; i++)
		waits |= w->d[i].lives && w->d[i].state != WT_DESTINATION_WAITING;
	if (waits && !search.moved)
		broken(w, "a relay waits for ever");
}

static void try_all(const struct world *w)
{
	search.from = w;
	search.moved = search.fault = false;
	source_qemu_moves(w);
	source_moves(w);
	for (unsigned i = 0; i < DESTINATIONS; i++) {
		if (w->d[i].link && w->d[i].from[0])
			source_message(w, i);
		if (w->d[i].link && w->d[i].to[0])
			destination_message(w, i);
		destination_moves(w, i);
	}
	check_still(w);
	check_dropped(w);
	check_held(w);
	search.fault = true;
	commands(w);
	faults(w);
	for (unsigned i = 0; i < DESTINATIONS; i++)
		check_end(w, i);
}

static const char *explore(enum mutant mutant, unsigned fault_count, bool staged)
{
	static struct world first, w; /* static: no padding that differs */

	memset(&first, 0, sizeof first);
	first.state = WT_SOURCE_STREAMING;
	wt_source_retarget_init(&first.retarget);
	first.retarget.staged = staged;
	first.lives = 1;
	first.qemu = STREAMS;
	search.faults = fault_count;
	first.faults = (uint8_t)fault_count;
	first.commands = COMMANDS;
	for (unsigned i = 0; i < DESTINATIONS; i++)
		first.d[i] =
			(struct destination){ .state = i ? WT_DESTINATION_WAITING : WT_DESTINATION_RECEIVING,
				.began = i == 0,
				.lives = 1,
				.link = 1,
				.qemu = WAITS };
	world_search_clear(&search.set);
	search.mutant = mutant;
	search.broken = NULL;
	search.from = &first;
	reach(&first);
	while (!search.broken && world_search_next(&search.set, &w))
		try_all(&w);
	return search.broken;
}

static void tell(void)
{
	const struct world *w = &search.broken_in;

	print_error(
		"%s: source %s (relay %s, QEMU %u, shut %u), retarget %s (current %d, held %u, stopped %u, staged %u)\n",
		search.broken, wt_source_state_name(w->state), w->lives ? "lives" : "dead", w->qemu, w->shut,
		wt_source_retarget_state_name(w->retarget.state), w->retarget.current, w->held,
		w->retarget.stopped, w->retarget.staged);
	for (unsigned i = 0; i < DESTINATIONS; i++)
		print_error(
			"  destination %u, role %u: %s (relay %s, QEMU %u, link %u, draining %u, cont %u)\n",
			i, w->retarget.roles[i], wt_destination_state_name(w->d[i].state),
			w->d[i].lives ? "lives" : "dead", w->d[i].qemu, w->d[i].link, w->d[i].draining,
			w->d[i].cont_sent);
}

static unsigned fault_count(void)
{
	const char *text = getenv("WATARI_FAULTS");

	return text ? (unsigned)strtoul(text, NULL, 10) : FAULTS;
}

/* The search has seen guests that moved: to the first destination, to the second, and to the first again;
 * also because the second one was lost; and to the second by a new migration, when the first was kept. */
static void check_seen(bool staged)
{
	bool moved[DESTINATIONS] = { false }, returned = false, went_back = false, anew = false;
	static struct world w;

	search.set.done = 0;
	while (world_search_next(&search.set, &w)) {
		bool done = w.state == WT_SOURCE_DONE && w.d[w.retarget.current].qemu == RUNS;

		if (!done)
			continue;
		moved[w.retarget.current] = true;
		returned |= w.retarget.current == 0 && w.retarget.retired_as[0];
		went_back |= w.retarget.current == 0 && w.retarget.roles[1] == WT_TARGET_DROPPED &&
			     w.retarget.retired_as[0] && !w.retarget.retired_as[1];
		anew |= w.retarget.roles[0] == WT_TARGET_KEPT && !w.d[0].lives &&
			w.d[0].state == WT_DESTINATION_RELEASED;
	}
	assert_true(moved[0] && moved[1] && returned && anew);
	assert_true(went_back == !staged); /* copies that have landed are nowhere else */
}

static void test_every_world(void **state)
{
	for (unsigned staged = 0; staged <= 1; staged++) {
		if (explore(SOUND, fault_count(), staged)) {
			tell();
			fail();
		}
		print_message("%u worlds with %u faults, %s memory: no promise broken\n", search.set.count,
			fault_count(), staged ? "staged" : "shared");
		check_seen(staged);
	}
}

static void test_mutants_are_found(void **state)
{
	for (enum mutant mutant = NO_DRAIN; mutant < MUTANTS; mutant++) {
		const char *found = NULL;

		for (unsigned n = 0; !found && n < 4; n++)
			found = explore(mutant, n / 2, n % 2);
		if (!found)
			fail_msg("mutant %d is not found", mutant);
		print_message("mutant %d, %u worlds: %s\n", mutant, search.set.count, found);
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

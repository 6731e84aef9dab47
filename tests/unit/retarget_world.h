/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * retarget_world.h - a world of test_retarget.c: the source's two machines, two destinations, three QEMUs and
 * the messages on their way; what an event does to it, and which promises that may break.
 *
 * An event is carried out on a copy of a world, action by action; where a relay may be killed in between,
 * that world is reached, too.
 */
#ifndef WATARI_TESTS_RETARGET_WORLD_H
#define WATARI_TESTS_RETARGET_WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "destination_switch.h"
#include "recover.h"
#include "source_retarget.h"
#include "world_search.h"

#define DESTINATIONS 2
#define QUEUE 8

enum qemu {
	GONE,
	RUNS,      /* source: before or after a migration; destination: after cont */
	STREAMS,   /* source: migrating, the guest runs */
	STOPPED,   /* source: finish-migrate */
	COMPLETED, /* source: postmigrate */
	WAITS,     /* destination: before everything was loaded */
	LOADED,    /* destination: complete, paused */
};

#define TYPE_BITS 5 /* the number of a DRAIN is above */
#define TYPE_MASK ((1u << TYPE_BITS) - 1)

enum message {
	NONE,
	CONNECT,
	ACCEPTED,
	RAM_COMPLETE,
	COMMIT,
	ABORT,
	READY,
	RUNNING,
	FAILED,
	STRANDED,
	DRAIN,
	UNDRAIN,
	DRAINED,
	RESTART,
	RELEASE,
	HELPER,
	KEEP,
};

struct destination {
	uint8_t state, alone, qemu_gone;
	uint8_t lives, link, qemu, fed, cont_sent, told_lost;
	uint8_t draining; /* the number of the DRAIN, or 0 */
	uint8_t began;    /* a source has come: its QEMU is the relay's to end */
	uint8_t kept;     /* it has heard KEEP */
	uint8_t good;     /* it has drained, was not called back, and has not been told to end */
	uint8_t to[QUEUE], from[QUEUE];
};

struct world {
	uint8_t state, unrun, was_stopped, returned, unloaded; /* source_switch */
	struct wt_source_retarget retarget;
	uint8_t lives, qemu, shut, held, decided, timer, end_sent;
	uint8_t died; /* a QEMU died by itself */
	uint8_t late; /* the deadline of the switchover has passed */
	uint8_t faults, commands;
	struct destination d[DESTINATIONS];
};

enum mutant {
	SOUND,
	NO_DRAIN,             /* hands over when the next one is ready */
	ANYBODYS_READY,       /* READY of a destination that is not the current one counts */
	ANYBODYS_TROUBLE,     /* ... and so does its end */
	NO_WAY_BACK,          /* the current one is lost: trouble, whoever has retired */
	OLD_DRAINED,          /* the answer to an earlier DRAIN counts */
	NEVER_UNHELD,         /* QEMU stays held after the hand-over */
	NO_DEADLINE,          /* waits for a destination that does not drain */
	NEXT_LEFT_OPEN,       /* a next one that is given up is not told */
	UNDRAINED_NOT_TOLD,   /* one that did not drain is left without ABORT */
	RETIRED_NOT_RELEASED, /* when the guest runs elsewhere nobody tells the retired ones */
	RETIRED_QUITS,        /* a retired destination ends its QEMU */
	RESTART_IGNORED,
	ALONE_FOR_EVER,    /* a retired one that has lost the source stays */
	AGAIN_AT_ONCE,     /* a new migration begins before QEMU has ended the former one */
	AGAIN_UNHEARD,     /* ... before the former destination has said that its QEMU has ended */
	KEPT_NOT_RELEASED, /* when the guest runs elsewhere nobody tells the kept one */
	KEPT_QEMU,         /* a kept destination leaves its QEMU */
	KEPT_CURRENT,      /* begins anew to the destination that was given up */
	MUTANTS,
};

static struct search {
	struct world_search set;
	enum mutant mutant;
	unsigned faults;          /* in the first world */
	const struct world *from; /* whose successors are looked for */
	bool moved;               /* it has one that is no fault */
	bool fault;               /* what is tried is one */
	const char *broken;       /* the first promise that was broken */
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
	return w->qemu == RUNS || w->qemu == STREAMS;
}

static void reach(const struct world *w)
{
	unsigned run = source_runs(w);

	for (unsigned i = 0; i < DESTINATIONS; i++)
		run += w->d[i].qemu == RUNS;
	if (run > 1)
		broken(w, "two guests run");
	search.moved |= !search.fault && memcmp(w, search.from, sizeof *w) != 0;
	world_search_add(&search.set, w);
}

/* Behind a relay's single action it may be killed. */
static void maybe_killed(const struct world *w, bool source, unsigned i)
{
	struct world killed = *w;
	bool fault = search.fault;

	if (!killed.faults)
		return;
	killed.faults--;
	if (source)
		killed.lives = 0;
	else
		killed.d[i].lives = 0;
	search.fault = true;
	reach(&killed);
	search.fault = fault;
}

static void put(uint8_t queue[QUEUE], uint8_t message)
{
	for (unsigned i = 0; i < QUEUE; i++)
		if (!queue[i]) {
			queue[i] = message;
			return;
		}
	fail_msg("more messages than the queue holds");
}

static void say(struct world *w, int to, uint8_t message)
{
	if (w->d[to].link)
		put(w->d[to].to, message);
	if (message == ABORT || message == RELEASE || message == KEEP)
		w->d[to].good = 0;
}

static void answer(struct world *w, unsigned from, uint8_t message)
{
	if (w->d[from].link)
		put(w->d[from].from, message);
}

static uint8_t take(uint8_t queue[QUEUE])
{
	uint8_t message = queue[0];

	memmove(queue, queue + 1, QUEUE - 1);
	queue[QUEUE - 1] = NONE;
	return message;
}

static void cut(struct world *w, unsigned i)
{
	w->d[i].link = 0;
	memset(w->d[i].to, NONE, QUEUE);
	memset(w->d[i].from, NONE, QUEUE);
}

static bool final(const struct destination *d)
{
	struct wt_destination_switch m = { .state = d->state };

	return wt_destination_switch_final(&m);
}

static bool has_session(const struct world *w, int i)
{
	uint8_t role = w->retarget.roles[i];

	return role != WT_TARGET_FREE && role != WT_TARGET_DROPPED;
}

/* Is it out of the game, or told to be? */
static bool is_ending(const struct destination *d)
{
	return !d->lives || !d->link || final(d) || memchr(d->to, ABORT, QUEUE);
}

/* ---- the source: which destination ---- */

static void source_event(struct world *w, enum wt_source_event event);

static void check_hand_over(const struct world *w)
{
	const struct destination *old = &w->d[w->retarget.old];

	if (w->retarget.roles[w->retarget.old] == WT_TARGET_DROPPED) {
		if (!is_ending(old))
			broken(w, "a destination was left that pulls on");
	} else if (!is_ending(old) && old->state != WT_DESTINATION_RETIRED) {
		broken(w, "handed over before the old destination had drained");
	}
}

static void check_trouble(const struct world *w)
{
	for (unsigned i = 0; i < DESTINATIONS; i++) {
		const struct destination *d = &w->d[i];

		if (d->good && !is_ending(d) && d->state == WT_DESTINATION_RETIRED && d->qemu == WAITS &&
			!d->qemu_gone && !w->retarget.stopped && !w->retarget.staged)
			broken(w, "a way back was lost");
	}
}

static void release_all(struct world *w)
{
	for (int i = 0; i < DESTINATIONS; i++) {
		uint8_t role = w->retarget.roles[i];

		if (role == WT_TARGET_RETIRED || role == WT_TARGET_HELPER ||
			(role == WT_TARGET_KEPT && search.mutant != KEPT_NOT_RELEASED))
			say(w, i, RELEASE);
	}
}

static void retarget_action(struct world *w, unsigned action, enum wt_source_event trouble)
{
	struct wt_source_retarget *m = &w->retarget;

	switch (action) {
	case WT_RETARGET_DO_HOLD:
		w->held = 1;
		break;
	case WT_RETARGET_DO_UNHOLD:
		w->held = 0;
		break;
	case WT_RETARGET_DO_OPEN_NEXT:
		say(w, m->next, CONNECT);
		break;
	case WT_RETARGET_DO_PREPARE_DEADLINE:
	case WT_RETARGET_DO_DRAIN_DEADLINE:
		w->timer = 1;
		break;
	case WT_RETARGET_DO_SEND_DRAIN:
		say(w, m->current, (uint8_t)(DRAIN | m->drains << TYPE_BITS));
		break;
	case WT_RETARGET_DO_UNDRAIN:
		say(w, m->current, UNDRAIN);
		break;
	case WT_RETARGET_DO_CLOSE_NEXT:
		if (w->d[m->closed].good && !is_ending(&w->d[m->closed]))
			broken(w, "a way back was given up");
		say(w, m->closed, ABORT);
		break;
	case WT_RETARGET_DO_DROP_OLD:
		say(w, m->old, ABORT);
		break;
	case WT_RETARGET_DO_HAND_OVER:
		check_hand_over(w);
		w->d[m->current].good = 0;
		if (m->returned)
			say(w, m->current, RESTART);
		break;
	case WT_RETARGET_DO_RELEASE_ALL:
		release_all(w);
		break;
	case WT_RETARGET_DO_RAISE_TROUBLE:
		check_trouble(w);
		source_event(w, trouble);
		break;
	case WT_RETARGET_DO_RESTART:
		source_event(w, WT_SOURCE_EV_RESTART);
		break;
	default:
		break;
	}
}

static unsigned mutate_retarget(struct world *w, enum wt_retarget_event event, unsigned actions)
{
	struct wt_source_retarget *m = &w->retarget;

	switch (search.mutant) {
	case NO_DRAIN:
		if (actions & WT_RETARGET_DO_SEND_DRAIN)
			actions |= wt_source_retarget_step(m, WT_RETARGET_EV_OLD_DRAINED, m->current);
		return actions;
	case NO_WAY_BACK:
		if (actions & WT_RETARGET_DO_GO_BACK)
			return WT_RETARGET_DO_RAISE_TROUBLE;
		return actions;
	case NEVER_UNHELD:
		return event == WT_RETARGET_EV_BASE_SENT ? actions & ~(unsigned)WT_RETARGET_DO_UNHOLD
							 : actions;
	case NO_DEADLINE:
		return actions & ~(unsigned)WT_RETARGET_DO_DRAIN_DEADLINE;
	case NEXT_LEFT_OPEN:
		return actions & ~(unsigned)WT_RETARGET_DO_CLOSE_NEXT;
	case UNDRAINED_NOT_TOLD:
		return actions & ~(unsigned)WT_RETARGET_DO_DROP_OLD;
	case RETIRED_NOT_RELEASED:
		return actions & ~(unsigned)WT_RETARGET_DO_RELEASE_ALL;
	default:
		return actions;
	}
}

/* trouble: what it is to the switchover, if it comes to that. */
static void retarget_event(
	struct world *w, enum wt_retarget_event event, unsigned target, enum wt_source_event trouble)
{
	enum wt_retarget_state before = w->retarget.state;
	unsigned actions;

	if (search.mutant == ANYBODYS_TROUBLE && event == WT_RETARGET_EV_LOST &&
		w->retarget.roles[target] == WT_TARGET_RETIRED) {
		check_trouble(w);
		source_event(w, trouble);
	}
	actions = wt_source_retarget_step(&w->retarget, event, target);
	actions = mutate_retarget(w, event, actions);
	if (w->retarget.state != before)
		w->timer = 0;
	for (unsigned bit = 1; bit <= WT_RETARGET_DO_RESTART; bit <<= 1)
		if (actions & bit) {
			maybe_killed(w, true, 0);
			retarget_action(w, bit, trouble);
		}
}

/* ---- the source: who runs ---- */

/* The former migration was given up, and is over. */
static void begin_again(struct world *w)
{
	int given_up = w->retarget.current;

	if (w->qemu == STREAMS || w->qemu == STOPPED)
		broken(w, "a new migration begins, and QEMU has not ended the former one");
	if (w->d[given_up].qemu != GONE) /* `recover` might find it loaded when the next one has committed */
		broken(w, "a new migration begins, and the former destination has not ended its QEMU");
	if (w->qemu == COMPLETED)
		w->qemu = RUNS; /* cont */
	w->state = WT_SOURCE_CONNECTING;
	w->unrun = w->was_stopped = w->returned = w->unloaded = w->held = w->decided = w->end_sent = 0;
	retarget_event(w, WT_RETARGET_EV_AGAIN, 0, 0);
	if (search.mutant == KEPT_CURRENT)
		w->retarget.current = given_up;
	if (w->retarget.roles[w->retarget.current] != WT_TARGET_CURRENT)
		broken(w, "a new migration begins to nobody");
	say(w, w->retarget.current, CONNECT);
}

static void keep(struct world *w)
{
	for (int i = 0; i < DESTINATIONS; i++)
		if (has_session(w, i) && w->retarget.roles[i] != WT_TARGET_NEXT)
			say(w, i, w->retarget.roles[i] == WT_TARGET_KEPT ? KEEP : ABORT);
}

static void source_action(struct world *w, unsigned action)
{
	const struct destination *current = &w->d[w->retarget.current];

	switch (action) {
	case WT_SOURCE_DO_MIGRATE:
		if (w->qemu == RUNS)
			w->qemu = STREAMS;
		break;
	case WT_SOURCE_DO_SEND_KEEP:
		keep(w);
		break;
	case WT_SOURCE_DO_SEND_SHUT:
		if (current->lives && current->state != WT_DESTINATION_READY && !final(current))
			broken(w, "the source lets go, and the current destination is not ready");
		if (w->qemu == STOPPED)
			w->shut = 1;
		break;
	case WT_SOURCE_DO_SEND_COMMIT:
		if (w->qemu != COMPLETED && w->qemu != GONE)
			broken(w, "COMMIT before the commit record");
		say(w, w->retarget.current, COMMIT);
		break;
	case WT_SOURCE_DO_SEND_ABORT:
		for (int i = 0; i < DESTINATIONS; i++)
			if (has_session(w, i))
				say(w, i, ABORT);
		break;
	case WT_SOURCE_DO_CANCEL:
		if (w->shut)
			broken(w, "cancelled after SHUT");
		if (w->qemu == STREAMS || w->qemu == STOPPED)
			w->qemu = RUNS;
		break;
	case WT_SOURCE_DO_QUIT_QEMU:
		if (current->qemu != RUNS && !(w->died && current->cont_sent))
			broken(w, "the source was ended while the destination did not run");
		w->qemu = GONE;
		break;
	case WT_SOURCE_DO_FINISH:
		if (w->state == WT_SOURCE_AGAIN) {
			begin_again(w);
			break;
		}
		if (w->state == WT_SOURCE_ABORTED && w->qemu == COMPLETED)
			w->qemu = RUNS; /* cont */
		if (w->state != WT_SOURCE_DONE && w->faults == search.faults && !w->late)
			broken(w, "the guest did not move, although nothing was wrong");
		w->lives = 0;
		break;
	default:
		break;
	}
}

static void source_event(struct world *w, enum wt_source_event event)
{
	struct wt_source_switch m = { .state = w->state,
		.unrun = w->unrun,
		.was_stopped = w->was_stopped,
		.returned = w->returned,
		.unloaded = w->unloaded };
	unsigned actions = wt_source_switch_step(&m, event);

	if (search.mutant == AGAIN_AT_ONCE && actions & WT_SOURCE_DO_SEND_KEEP) {
		m.state = WT_SOURCE_AGAIN;
		actions = WT_SOURCE_DO_SEND_KEEP | WT_SOURCE_DO_FINISH;
	}
	if (search.mutant == AGAIN_UNHEARD && m.state == WT_SOURCE_RESTARTING && m.returned) {
		m.state = WT_SOURCE_AGAIN;
		actions |= WT_SOURCE_DO_FINISH;
	}
	w->state = (uint8_t)m.state;
	w->unrun = m.unrun;
	w->was_stopped = m.was_stopped;
	w->returned = m.returned;
	w->unloaded = m.unloaded;
	for (unsigned bit = 1; bit <= WT_SOURCE_DO_FINISH; bit <<= 1)
		if (actions & bit) {
			maybe_killed(w, true, 0);
			source_action(w, bit);
		}
	if (m.state >= WT_SOURCE_ABORTING && m.state < WT_SOURCE_RESTARTING)
		retarget_event(w, WT_RETARGET_EV_OVER, 0, 0);
}

static void source_hears(struct world *w, unsigned i, uint8_t message)
{
	uint8_t number = message >> TYPE_BITS, type = message & TYPE_MASK;

	if (w->retarget.roles[i] == WT_TARGET_KEPT && type == HELPER)
		source_event(w, WT_SOURCE_EV_DESTINATION_UNLOADED);
	if (w->retarget.roles[i] == WT_TARGET_KEPT && type != FAILED)
		return;
	switch (has_session(w, (int)i) ? type : NONE) {
	case ACCEPTED:
		if (w->state == WT_SOURCE_CONNECTING && w->retarget.current == (int)i)
			source_event(w, WT_SOURCE_EV_ACCEPTED);
		else
			retarget_event(w, WT_RETARGET_EV_NEXT_READY, i, 0);
		break;
	case DRAINED:
		if (number == w->retarget.drains || search.mutant == OLD_DRAINED) {
			w->d[i].good = w->retarget.state == WT_RETARGET_DRAINING;
			retarget_event(w, WT_RETARGET_EV_OLD_DRAINED, i, 0);
		}
		break;
	case HELPER:
		retarget_event(w, WT_RETARGET_EV_QEMU_ENDED, i, 0);
		break;
	case FAILED:
		retarget_event(w, WT_RETARGET_EV_LOST, i, WT_SOURCE_EV_DESTINATION_UNRUN);
		break;
	case STRANDED:
		retarget_event(w, WT_RETARGET_EV_LOST, i, WT_SOURCE_EV_TROUBLE);
		break;
	case READY:
	case RUNNING:
		if (w->retarget.current != (int)i && search.mutant != ANYBODYS_READY) {
			cut(w, i);
			retarget_event(w, WT_RETARGET_EV_LOST, i, WT_SOURCE_EV_TROUBLE);
		} else if (message == READY) {
			source_event(w, WT_SOURCE_EV_DESTINATION_READY);
		} else {
			if (w->state == WT_SOURCE_DELIVERING)
				retarget_event(w, WT_RETARGET_EV_RUNS, i, 0);
			source_event(w, WT_SOURCE_EV_DESTINATION_RUNS);
		}
		break;
	default:
		break;
	}
}

static void source_message(const struct world *before, unsigned i)
{
	struct world w = *before;
	uint8_t message = take(w.d[i].from);

	if (w.lives)
		source_hears(&w, i, message);
	reach(&w);
}

/* ---- a destination ---- */

static void destination_action(struct world *w, unsigned i, unsigned action)
{
	struct destination *d = &w->d[i];

	switch (action) {
	case WT_DESTINATION_DO_FEED_TAIL:
		d->fed = 1;
		break;
	case WT_DESTINATION_DO_SEND_READY:
		answer(w, i, READY);
		break;
	case WT_DESTINATION_DO_RUN:
		if (w->qemu != COMPLETED && w->qemu != GONE)
			broken(w, "the destination is run before the commit record");
		d->cont_sent = 1;
		break;
	case WT_DESTINATION_DO_SEND_RUNNING:
		answer(w, i, RUNNING);
		break;
	case WT_DESTINATION_DO_SEND_FAILED:
		answer(w, i, FAILED);
		break;
	case WT_DESTINATION_DO_SEND_STRANDED:
		answer(w, i, STRANDED);
		break;
	case WT_DESTINATION_DO_SEND_HELPER:
		answer(w, i, HELPER);
		break;
	case WT_DESTINATION_DO_QUIT_QEMU:
		if (d->qemu == RUNS)
			broken(w, "a running destination was ended");
		d->qemu = GONE;
		break;
	case WT_DESTINATION_DO_FINISH:
		if (d->began && d->qemu != GONE &&
			(d->state == WT_DESTINATION_FAILED || d->state == WT_DESTINATION_RELEASED))
			broken(w, "a destination has left its QEMU");
		if (d->alone && d->link && w->state == WT_SOURCE_DONE)
			broken(w, "a retired destination was not released");
		d->lives = 0;
		break;
	default:
		break;
	}
}

static unsigned mutate_destination(struct wt_destination_switch *m, enum wt_destination_event event)
{
	if (search.mutant == RESTART_IGNORED && event == WT_DESTINATION_EV_RESTART)
		return 0;
	if (search.mutant == ALONE_FOR_EVER && event == WT_DESTINATION_EV_SERVED)
		return 0;
	if (search.mutant == KEPT_QEMU && event == WT_DESTINATION_EV_KEEP)
		return wt_destination_switch_step(m, event) & ~(unsigned)WT_DESTINATION_DO_QUIT_QEMU;
	return wt_destination_switch_step(m, event) |
	       (search.mutant == RETIRED_QUITS && event == WT_DESTINATION_EV_DRAIN
			       ? WT_DESTINATION_DO_QUIT_QEMU
			       : 0);
}

static void destination_event(struct world *w, unsigned i, enum wt_destination_event event)
{
	struct destination *d = &w->d[i];
	struct wt_destination_switch m = { .state = d->state, .alone = d->alone, .qemu_gone = d->qemu_gone };
	unsigned actions = mutate_destination(&m, event);

	d->state = (uint8_t)m.state;
	d->alone = m.alone;
	d->qemu_gone = m.qemu_gone;
	for (unsigned bit = 1; bit <= WT_DESTINATION_DO_FINISH; bit <<= 1)
		if (actions & bit) {
			maybe_killed(w, false, i);
			destination_action(w, i, bit);
		}
	d->kept |= event == WT_DESTINATION_EV_KEEP && m.state == WT_DESTINATION_RETIRED;
	if (d->lives && d->state == WT_DESTINATION_RETIRED && !d->kept && d->qemu == GONE && !w->died)
		broken(w, "a retired destination has ended its QEMU");
	if (d->lives && d->kept && d->qemu != GONE)
		broken(w, "a kept destination has left its QEMU");
}

static void destination_message(const struct world *before, unsigned i)
{
	static const enum wt_destination_event events[] = { [CONNECT] = WT_DESTINATION_EV_CONNECTED,
		[RAM_COMPLETE] = WT_DESTINATION_EV_RAM_COMPLETE,
		[COMMIT] = WT_DESTINATION_EV_COMMIT,
		[ABORT] = WT_DESTINATION_EV_ABORT,
		[UNDRAIN] = WT_DESTINATION_EV_RESTART,
		[RESTART] = WT_DESTINATION_EV_RESTART,
		[RELEASE] = WT_DESTINATION_EV_RELEASE,
		[KEEP] = WT_DESTINATION_EV_KEEP };
	struct world w = *before;
	struct destination *d = &w.d[i];
	uint8_t message = take(d->to);

	if (!d->lives) {
		reach(&w);
		return;
	}
	if ((message & TYPE_MASK) == DRAIN) {
		d->draining = message >> TYPE_BITS;
	} else if (message == UNDRAIN && d->draining) {
		d->draining = 0;
	} else {
		destination_event(&w, i, events[message]);
		if (message == CONNECT && d->state == WT_DESTINATION_RECEIVING) {
			d->began = 1;
			answer(&w, i, ACCEPTED);
		}
	}
	reach(&w);
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_gang_order.c - the order in which guests move together, searched exhaustively: two and three guests,
 * every order of what relays do and when it is seen, failures, cancels, and a coordinator that is killed.
 * What is checked is the list in gang_order.h, against what the relays really do.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gang_order.h"
#include "world_search.h"

#define VMS 3

/* What a guest's relays really do. */
enum truth {
	NOTHING = 0,
	STARTING,
	STARTED,
	AWAITING,
	LISTENING,
	LETTING_GO,
	HELD,
	MOVING,
	COMMITTED,
	MOVED,
	TAKING_BACK,
	DONE,
	BACK, /* at its source, and no relay lives */
	LOST,
};

struct vm {
	uint8_t truth;
	uint8_t said;    /* the action that was said last, as in the journal */
	uint8_t pending; /* ... and not carried out yet */
	uint8_t cancel;  /* its relays are to be told to give up: until they have ended */
};

struct world {
	struct wt_gang_order order;
	struct vm vms[VMS];
	uint8_t crashes, failures, cancels; /* that may still happen */
	uint8_t hurt;                       /* something has gone wrong */
	uint8_t broken;                     /* ... besides a crash */
	uint8_t undone, forward, over;      /* said, ever */
};

struct search {
	struct world_search worlds;
	unsigned count, ends, all_moved, none_moved, some_moved;
};

static bool is_one_of(const struct world *w, enum truth first, enum truth last)
{
	for (unsigned i = 0; i < w->order.count; i++)
		if (w->vms[i].truth >= first && w->vms[i].truth <= last)
			return true;
	return false;
}

static unsigned count_of(const struct world *w, enum truth first, enum truth last)
{
	unsigned count = 0;

	for (unsigned i = 0; i < w->order.count; i++)
		count += w->vms[i].truth >= first && w->vms[i].truth <= last;
	return count;
}

/* ---- what is seen ---- */

static void see(struct world *w, unsigned i)
{
	static const uint8_t events[] = { [STARTED] = WT_GANG_EV_STARTED,
		[LISTENING] = WT_GANG_EV_LISTENING,
		[HELD] = WT_GANG_EV_HELD,
		[COMMITTED] = WT_GANG_EV_COMMITTED,
		[MOVED] = WT_GANG_EV_MOVED,
		[TAKING_BACK] = WT_GANG_EV_MOVED,
		[DONE] = WT_GANG_EV_ENDED_MOVED,
		[BACK] = WT_GANG_EV_ENDED_BACK,
		[LOST] = WT_GANG_EV_ENDED_LOST };
	struct vm *vm = &w->vms[i];

	if (vm->pending == WT_GANG_DO_SEND || vm->pending == WT_GANG_DO_RECEIVE ||
		vm->pending == WT_GANG_DO_START)
		return; /* nothing of it is there */
	if (events[vm->truth])
		wt_gang_order_event(&w->order, i, (enum wt_gang_event)events[vm->truth]);
	/* Given up before anything was begun, or between two programs: no relay lives. */
	else if (vm->cancel && vm->truth == NOTHING)
		wt_gang_order_event(&w->order, i, WT_GANG_EV_ENDED_BACK);
}

/* ---- what is said, and carried out ---- */

static void say(struct world *w, struct wt_gang_action a)
{
	struct vm *vm = &w->vms[a.vm];

	assert_false(w->over);
	switch (a.kind) {
	case WT_GANG_DO_UNDO: /* whatever is still under way cannot commit any more */
		assert_false(w->forward || w->undone || !w->hurt);
		assert_false(is_one_of(w, MOVING, DONE));
		w->undone = 1;
		break;
	case WT_GANG_DO_FORWARD:
		assert_false(w->forward || w->undone);
		assert_true(is_one_of(w, COMMITTED, DONE));
		w->forward = 1;
		break;
	case WT_GANG_DO_OVER:
		w->over = 1;
		for (unsigned i = 0; i < w->order.count; i++) {
			assert_true(w->vms[i].truth >= DONE || w->vms[i].truth == NOTHING);
			assert_true(wt_gang_state_final(w->order.vms[i].state));
		}
		break;
	case WT_GANG_DO_MOVE:
		/* Every guest has been held. */
		assert_false(is_one_of(w, NOTHING, LETTING_GO));
		assert_false(w->undone);
		assert_true(w->forward || !w->order.trouble);
		vm->said = vm->pending = a.kind;
		break;
	case WT_GANG_DO_BACK:
		assert_false(is_one_of(w, NOTHING, COMMITTED));
		vm->said = vm->pending = a.kind;
		break;
	case WT_GANG_DO_CANCEL:
		assert_true(w->hurt && !w->forward);
		vm->said = a.kind;
		vm->cancel = 1;
		break;
	default:
		assert_false(w->hurt && w->order.trouble);
		vm->said = vm->pending = a.kind;
		break;
	}
}

static void carry_out(struct vm *vm)
{
	static const uint8_t after[] = {
		[WT_GANG_DO_START] = STARTING, [WT_GANG_DO_RECEIVE] = AWAITING, [WT_GANG_DO_SEND] = LETTING_GO
	};
	uint8_t pending = vm->pending;

	vm->pending = 0;
	if (pending == WT_GANG_DO_MOVE) {
		if (vm->truth == HELD) /* otherwise it is refused */
			vm->truth = MOVING;
	} else if (pending == WT_GANG_DO_BACK) {
		if (vm->truth == MOVED)
			vm->truth = TAKING_BACK;
	} else {
		vm->truth = after[pending];
	}
}

/* ---- the search ---- */

static void check(const struct world *w)
{
	assert_true(count_of(w, MOVING, COMMITTED) <= w->order.parallel);
	if (is_one_of(w, TAKING_BACK, TAKING_BACK))
		assert_false(is_one_of(w, NOTHING, COMMITTED));
	if (w->undone)
		assert_false(is_one_of(w, MOVING, DONE));
}

static void add(struct search *s, struct world *w)
{
	struct wt_gang_action a;

	while ((a = wt_gang_order_next(&w->order)).kind)
		say(w, a);
	check(w);
	world_search_add(&s->worlds, w);
}

/* Relays do this by themselves. Answers whether they will: it does not depend on a failure. */
static bool go_on(struct search *s, const struct world *w, unsigned i)
{
	static const uint8_t next[] = { [STARTING] = STARTED,
		[AWAITING] = LISTENING,
		[LETTING_GO] = HELD,
		[MOVING] = COMMITTED,
		[COMMITTED] = MOVED,
		[TAKING_BACK] = DONE,
		[LOST] = 0 };
	struct world n = *w;
	struct vm *vm = &n.vms[i];

	if (vm->pending) {
		carry_out(vm);
		add(s, &n);
		if (vm->cancel && w->vms[i].truth == HELD) { /* this word was faster */
			n = *w;
			vm->truth = BACK;
			vm->pending = 0;
			add(s, &n);
		}
		return true;
	}
	if (vm->cancel && vm->truth > NOTHING && vm->truth < COMMITTED) {
		vm->truth = BACK; /* what moves may commit instead: below */
		add(s, &n);
		n = *w;
		if (vm->truth != MOVING)
			return true;
	}
	if (!next[vm->truth])
		return false;
	vm->truth = next[vm->truth];
	add(s, &n);
	return true;
}

static void go_wrong(struct search *s, const struct world *w, unsigned i)
{
	struct world n = *w;
	struct vm *vm = &n.vms[i];

	if (!w->failures || vm->pending || vm->truth == NOTHING || vm->truth >= DONE)
		return;
	n.failures--;
	n.hurt = n.broken = 1;
	if (vm->truth == MOVED || vm->truth == TAKING_BACK) {
		vm->truth = DONE; /* its hold has ended, or its devices are lacking */
	} else {
		vm->truth = vm->truth == COMMITTED ? LOST : BACK;
	}
	add(s, &n);
	if (w->vms[i].truth == MOVING) {
		vm->truth = LOST;
		add(s, &n);
	}
}

/* Another coordinator knows what was said, and what it sees. What was not carried out yet never is, or (late)
 * is: a word to a relay may be on its way. Words to relays are said again. */
static void crash(struct search *s, const struct world *w, bool late)
{
	struct world n = *w;

	if (!w->crashes)
		return;
	n.crashes--;
	n.hurt = 1;
	n.over = 0;
	wt_gang_order_init(&n.order, w->order.count, w->order.parallel);
	for (unsigned i = 0; i < w->order.count; i++) {
		struct vm *vm = &n.vms[i];

		n.order.vms[i].has_start = w->order.vms[i].has_start;
		wt_gang_order_restore(&n.order, i, (enum wt_gang_action_kind)vm->said);
		if (vm->pending == WT_GANG_DO_SEND || vm->pending == WT_GANG_DO_RECEIVE ||
			vm->pending == WT_GANG_DO_START || (!late && vm->pending == WT_GANG_DO_MOVE))
			vm->pending = 0;
		vm->cancel = 0;
	}
	if (w->forward || w->undone)
		wt_gang_order_restore(&n.order, 0, w->forward ? WT_GANG_DO_FORWARD : WT_GANG_DO_UNDO);
	for (unsigned i = 0; i < w->order.count; i++)
		see(&n, i);
	wt_gang_order_take_over(&n.order);
	for (unsigned i = 0; i < w->order.count; i++) {
		n.vms[i].cancel = n.order.vms[i].state == WT_GANG_CANCELLING;
		if (n.order.vms[i].state == WT_GANG_MOVING)
			n.vms[i].pending = WT_GANG_DO_MOVE;
	}
	add(s, &n);
}

static void look(struct search *s, const struct world *w)
{
	bool moves = false;
	struct world n;

	for (unsigned i = 0; i < w->order.count; i++) {
		moves |= go_on(s, w, i);
		go_wrong(s, w, i);
		n = *w;
		see(&n, i);
		moves |= memcmp(&n.order, &w->order, sizeof n.order) != 0;
		add(s, &n);
	}
	n = *w;
	if (w->cancels && !w->over) {
		n.cancels--;
		n.hurt = n.broken = 1;
		wt_gang_order_cancel(&n.order);
		add(s, &n);
	}
	if (!w->over) {
		crash(s, w, false);
		crash(s, w, true);
	}
	assert_true(moves || w->over); /* it never gets stuck */
}

static void end(struct search *s, const struct world *w)
{
	unsigned moved = count_of(w, DONE, DONE);

	s->ends++;
	s->all_moved += moved == w->order.count;
	s->none_moved += !moved;
	s->some_moved += moved && moved < w->order.count;
	if (!w->hurt)
		assert_int_equal(moved, w->order.count);
	if (w->undone)
		assert_int_equal(moved, 0);
	if (!w->broken) /* a crash alone tears nothing apart */
		assert_true(!moved || moved == w->order.count);
	for (unsigned i = 0; i < w->order.count; i++) {
		enum wt_gang_state state = w->order.vms[i].state;

		assert_int_equal(state == WT_GANG_DONE, w->vms[i].truth == DONE);
		assert_int_equal(state == WT_GANG_LOST, w->vms[i].truth == LOST);
		if (state == WT_GANG_UNDONE)
			assert_true(w->vms[i].said == WT_GANG_DO_CANCEL || w->vms[i].truth == NOTHING);
	}
}

static void explore(unsigned count, unsigned parallel, unsigned crashes, unsigned failures, unsigned cancels)
{
	struct search s = { 0 };
	struct world w;

	memset(&w, 0, sizeof w);
	wt_gang_order_init(&w.order, count, parallel);
	w.order.vms[0].has_start = true;
	w.crashes = (uint8_t)crashes;
	w.failures = (uint8_t)failures;
	w.cancels = (uint8_t)cancels;
	assert_true(world_search_open(&s.worlds, sizeof w, 1u << 21, 1u << 22));
	add(&s, &w);
	while (world_search_next(&s.worlds, &w)) {
		if (w.over)
			end(&s, &w);
		look(&s, &w);
	}
	print_message(
		"%u guests, %u at once, %u crashes, %u failures, %u cancels: %u worlds, %u ends: all moved %u, none %u, "
		"some %u\n",
		count, parallel, crashes, failures, cancels, s.worlds.count, s.ends, s.all_moved,
		s.none_moved, s.some_moved);
	assert_true(s.all_moved);
	if (crashes || cancels || failures)
		assert_true(s.none_moved);
	world_search_close(&s.worlds);
}

static void test_two(void **state)
{
	for (unsigned parallel = 1; parallel <= 2; parallel++) {
		explore(2, parallel, 0, 0, 0);
		explore(2, parallel, 2, 1, 0);
		explore(2, parallel, 1, 2, 1);
	}
}

static void test_three(void **state)
{
	for (unsigned parallel = 1; parallel <= (getenv("WATARI_FAULTS") ? 1 : 3); parallel++) {
		explore(3, parallel, 0, 1, 0);
		explore(3, parallel, 0, 0, 1);
		explore(3, parallel, 1, 0, 0);
		explore(3, parallel, 2, 2, 1);
	}
}

static void test_names(void **state)
{
	for (int i = 0; i < WT_GANG_STATES; i++)
		assert_string_not_equal(wt_gang_state_name((enum wt_gang_state)i), "invalid");
	assert_string_equal(wt_gang_state_name(WT_GANG_STATES), "invalid");
	for (int i = WT_GANG_DO_START; i <= WT_GANG_DO_OVER; i++)
		assert_string_not_equal(wt_gang_action_name((enum wt_gang_action_kind)i), "nothing");
	assert_string_equal(wt_gang_action_name((enum wt_gang_action_kind)99), "nothing");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two),
		cmocka_unit_test(test_three),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

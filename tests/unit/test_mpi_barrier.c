/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_mpi_barrier.c - a quiesce or resume in which ranks die, leave, refuse or do not answer; and what one
 * rank and one connection do with orders and events that come at the wrong time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <string.h>

#include "barrier.h"
#include "bond.h"
#include "gate.h"

#define RANKS 3

static struct wt_barrier_rank ranks[RANKS];
static struct wt_barrier barrier;

static void begin(enum wt_barrier_goal goal, enum wt_rank_state state, uint32_t epoch)
{
	unsigned i;

	memset(ranks, 0, sizeof ranks);
	memset(&barrier, 0, sizeof barrier);
	for (i = 0; i < RANKS; i++) {
		ranks[i].rank = i;
		ranks[i].state = state;
		ranks[i].epoch = epoch;
	}
	barrier.ranks = ranks;
	barrier.count = RANKS;
	wt_barrier_start(&barrier, goal);
}

static void told(unsigned rank, enum wt_order_kind order)
{
	assert_int_equal(wt_barrier_next(&barrier, rank), order);
}

static void all_told(enum wt_order_kind order)
{
	unsigned i;

	for (i = 0; i < RANKS; i++)
		told(i, order);
}

static void says(unsigned rank, enum wt_order_kind kind)
{
	struct wt_order report = { .kind = kind, .epoch = barrier.epoch, .port = 1 };

	strcpy(report.text, "it does not want to");
	wt_barrier_report(&barrier, rank, &report);
}

static void all_say(enum wt_order_kind kind)
{
	unsigned i;

	for (i = 0; i < RANKS; i++)
		says(i, kind);
}

static void is(enum wt_barrier_verdict verdict)
{
	assert_int_equal(wt_barrier_verdict(&barrier), verdict);
}

static void test_in_order(void **state)
{
	begin(WT_BARRIER_QUIESCE, WT_RANK_RUNNING, 4);
	assert_int_equal(barrier.epoch, 5);
	all_told(WT_ORDER_QUIESCE);
	all_told(WT_ORDER_INVALID);
	says(0, WT_REPORT_DRAINED);
	says(1, WT_REPORT_DRAINED);
	told(0, WT_ORDER_INVALID);
	is(WT_BARRIER_GOES_ON);
	says(2, WT_REPORT_DRAINED);
	all_told(WT_ORDER_DETACH);
	all_say(WT_REPORT_DETACHED);
	is(WT_BARRIER_DONE);
	begin(WT_BARRIER_RESUME, WT_RANK_DETACHED, 5);
	all_told(WT_ORDER_ATTACH);
	says(0, WT_REPORT_ATTACHED);
	told(0, WT_ORDER_INVALID);
	says(1, WT_REPORT_ATTACHED);
	says(2, WT_REPORT_ATTACHED);
	all_told(WT_ORDER_CONNECT);
	says(0, WT_REPORT_READY);
	told(0, WT_ORDER_INVALID);
	says(1, WT_REPORT_READY);
	says(2, WT_REPORT_READY);
	all_told(WT_ORDER_RESUME);
	is(WT_BARRIER_GOES_ON);
	all_say(WT_REPORT_RUNNING);
	is(WT_BARRIER_DONE);
}

/* Time is up, or a rank has died, before anybody detached: everybody runs again. */
static void test_given_up(void **state)
{
	begin(WT_BARRIER_QUIESCE, WT_RANK_RUNNING, 0);
	all_told(WT_ORDER_QUIESCE);
	says(0, WT_REPORT_DRAINED);
	ranks[2].gone = true;
	wt_barrier_trouble(&barrier, "rank 2 has died");
	told(0, WT_ORDER_ABORT);
	told(1, WT_ORDER_ABORT); /* it has not answered yet, and need not */
	told(2, WT_ORDER_INVALID);
	is(WT_BARRIER_GOES_ON);
	says(1, WT_REPORT_DRAINED); /* too late */
	told(1, WT_ORDER_ABORT);
	says(0, WT_REPORT_RUNNING);
	says(1, WT_REPORT_RUNNING);
	is(WT_BARRIER_ABORTED);
	assert_string_equal(barrier.why, "rank 2 has died");
}

/* Once one rank may have detached, nobody is told to run. */
static void test_too_late_to_give_up(void **state)
{
	begin(WT_BARRIER_QUIESCE, WT_RANK_RUNNING, 0);
	all_told(WT_ORDER_QUIESCE);
	all_say(WT_REPORT_DRAINED);
	told(0, WT_ORDER_DETACH);
	wt_barrier_trouble(&barrier, "time is up");
	told(1, WT_ORDER_INVALID);
	told(2, WT_ORDER_INVALID);
	is(WT_BARRIER_STUCK);
	/* The next coordinator brings them together. */
	begin(WT_BARRIER_RESUME, WT_RANK_DRAINED, 1);
	ranks[0].state = WT_RANK_DETACHED;
	wt_barrier_start(&barrier, WT_BARRIER_RESUME);
	told(0, WT_ORDER_INVALID);
	told(1, WT_ORDER_DETACH);
	told(2, WT_ORDER_DETACH);
}

static void test_refused(void **state)
{
	begin(WT_BARRIER_QUIESCE, WT_RANK_RUNNING, 0);
	all_told(WT_ORDER_QUIESCE);
	says(1, WT_REPORT_REFUSED);
	assert_non_null(strstr(barrier.why, "rank 1: it does not want to"));
	told(0, WT_ORDER_ABORT);
	told(2, WT_ORDER_ABORT);
}

/* A rank that finalizes leaves the quiesce, which goes on without it. */
static void test_leaves(void **state)
{
	begin(WT_BARRIER_QUIESCE, WT_RANK_RUNNING, 0);
	all_told(WT_ORDER_QUIESCE);
	says(0, WT_REPORT_DRAINED);
	says(1, WT_REPORT_LEAVING);
	says(2, WT_REPORT_DRAINED);
	told(1, WT_ORDER_INVALID);
	told(0, WT_ORDER_DETACH);
	told(2, WT_ORDER_DETACH);
	says(0, WT_REPORT_LEAVING);
	says(2, WT_REPORT_LEAVING);
	is(WT_BARRIER_STUCK);
	assert_non_null(strstr(barrier.why, "ended"));
	/* After a resume that is as it should be; unless one has died. */
	begin(WT_BARRIER_RESUME, WT_RANK_READY, 1);
	all_told(WT_ORDER_RESUME);
	says(0, WT_REPORT_RUNNING);
	all_say(WT_REPORT_LEAVING);
	is(WT_BARRIER_DONE);
	wt_barrier_trouble(&barrier, "rank 2 has died");
	is(WT_BARRIER_STUCK);
}

static struct wt_gate_step give(struct wt_gate *gate, enum wt_order_kind kind, uint32_t epoch, int connection)
{
	struct wt_order order = { .kind = kind, .epoch = epoch };

	return wt_gate_order(gate, &order, connection);
}

/* In every state every order is obeyed, answered again, or refused with a sentence; never anything silent. */
static void test_gate_answers(void **state)
{
	unsigned from;
	unsigned kind;

	for (from = WT_RANK_RUNNING; from < WT_RANK_STATES; from++) {
		for (kind = WT_ORDER_QUIESCE; kind <= WT_ORDER_ABORT; kind++) {
			struct wt_gate gate = { .state = (enum wt_rank_state)from, .epoch = 3 };
			struct wt_gate_step step = give(&gate, (enum wt_order_kind)kind, 3, 1);
			bool waits = gate.state == WT_RANK_QUIESCING || gate.state == WT_RANK_JOINING;

			assert_true(step.actions || waits);
			if (step.reply.kind == WT_REPORT_REFUSED) {
				assert_int_equal(gate.state, from);
				assert_true(strlen(step.reply.text) > 20);
			}
			/* Never from before the barrier to behind it, nor back. */
			if (from < WT_RANK_DRAINED)
				assert_true(gate.state < WT_RANK_DRAINED);
			if (from >= WT_RANK_DETACHED && from != WT_RANK_READY)
				assert_true(gate.state >= WT_RANK_DETACHED);
			/* Of another epoch nothing is obeyed, but a newer quiesce. */
			gate = (struct wt_gate){ .state = (enum wt_rank_state)from, .epoch = 3 };
			step = give(&gate, (enum wt_order_kind)kind, 2, 1);
			assert_int_equal(step.reply.kind, WT_REPORT_REFUSED);
			assert_int_equal(gate.state, from);
		}
	}
}

static void test_gate_owner(void **state)
{
	struct wt_gate gate = { .state = WT_RANK_RUNNING };

	assert_true(give(&gate, WT_ORDER_QUIESCE, 1, 7).actions & WT_GATE_DRAIN);
	assert_int_equal(give(&gate, WT_ORDER_ABORT, 1, 8).reply.kind, WT_REPORT_REFUSED);
	assert_int_equal(gate.state, WT_RANK_QUIESCING);
	/* Another's end is nothing; the owner's, before `drained`, lets the rank run. */
	assert_int_equal(wt_gate_connection_lost(&gate, 8).actions, WT_GATE_NOTHING);
	assert_int_equal(wt_gate_connection_lost(&gate, 7).actions, WT_GATE_GO);
	assert_int_equal(gate.state, WT_RANK_RUNNING);
	give(&gate, WT_ORDER_QUIESCE, 2, 9);
	assert_int_equal(wt_gate_drained(&gate).reply.kind, WT_REPORT_DRAINED);
	assert_int_equal(wt_gate_connection_lost(&gate, 9).actions, WT_GATE_ALONE);
	assert_int_equal(gate.state, WT_RANK_DRAINED);
	assert_true(wt_gate_closed(&gate));
	assert_int_equal(give(&gate, WT_ORDER_QUIESCE, 2, 10).reply.kind, WT_REPORT_DRAINED);
}

static void test_bond_loses_its_path(void **state)
{
	struct wt_bond bond = { .state = WT_BOND_UP };

	assert_int_equal(wt_bond_step(&bond, WT_BOND_LOST), WT_BOND_CLOSE | WT_BOND_BROKEN);
	bond = (struct wt_bond){ .state = WT_BOND_UP };
	wt_bond_step(&bond, WT_BOND_GOODBYE);
	assert_int_equal(wt_bond_step(&bond, WT_BOND_LOST), WT_BOND_CLOSE);
	bond = (struct wt_bond){ .state = WT_BOND_UP, .epoch = 2, .marker_epoch = 1 };
	assert_int_equal(wt_bond_step(&bond, WT_BOND_QUIESCE), WT_BOND_MARK);
	assert_false(wt_bond_sends(&bond));
	assert_false(wt_bond_drained(&bond, true));
	bond.marker_epoch = 2;
	assert_false(wt_bond_drained(&bond, false));
	assert_true(wt_bond_drained(&bond, true));
	assert_int_equal(wt_bond_step(&bond, WT_BOND_LOST), WT_BOND_CLOSE); /* the other end has detached */
	wt_bond_step(&bond, WT_BOND_DETACH);
	wt_bond_step(&bond, WT_BOND_JOIN);
	assert_false(wt_bond_joined(&bond));
	assert_int_equal(wt_bond_step(&bond, WT_BOND_REQUEST), WT_BOND_KEEP);
	assert_true(wt_bond_joined(&bond));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_order),
		cmocka_unit_test(test_given_up),
		cmocka_unit_test(test_too_late_to_give_up),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_leaves),
		cmocka_unit_test(test_gate_answers),
		cmocka_unit_test(test_gate_owner),
		cmocka_unit_test(test_bond_loses_its_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

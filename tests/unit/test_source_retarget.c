/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_source_retarget.c - the changes of destination one by one: what is done, in which order, and who is
 * what afterwards; when a change is refused; and what a retired destination makes of everything.
 *
 * What any order of events may lead to is test_retarget.c's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "destination_switch.h"
#include "source_retarget.h"

#define DO(action) WT_RETARGET_DO_##action
#define EV(event) WT_RETARGET_EV_##event
#define IN(state) WT_RETARGET_##state

struct step {
	enum wt_retarget_event event;
	unsigned target;
	unsigned actions;
	enum wt_retarget_state then;
};

#define DRAIN_ACTIONS (DO(HOLD) | DO(SEND_DRAIN) | DO(DRAIN_DEADLINE))

/* From the first destination (0) to another one (1), which then has all it needs. */
static const struct step first_change[] = {
	{ EV(RETARGET), 1, DO(OPEN_NEXT) | DO(PREPARE_DEADLINE), IN(PREPARING) },
	{ EV(NEXT_READY), 1, DRAIN_ACTIONS, IN(DRAINING) },
	{ EV(OLD_DRAINED), 0, DO(HAND_OVER), IN(HANDING) },
	{ EV(BASE_SENT), 0, DO(UNHOLD) | DO(SEND_EXPECT), IN(SHARED) },
	{ EV(EXPECTED), 1, DO(SEND_SERVE), IN(SHARED) },
	{ EV(BASE_DONE), 1, DO(TELL_DONE), IN(IDLE) },
};

static void walk(struct wt_source_retarget *m, const struct step *steps, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		unsigned actions = wt_source_retarget_step(m, steps[i].event, steps[i].target);

		if (actions != steps[i].actions || m->state != steps[i].then)
			fail_msg("step %u: actions 0x%x, state %s", i, actions,
				wt_source_retarget_state_name(m->state));
	}
}

#define WALK(machine, ...)                                          \
	do {                                                        \
		const struct step steps[] = { __VA_ARGS__ };        \
		walk(machine, steps, sizeof steps / sizeof *steps); \
	} while (0)

static void begin(struct wt_source_retarget *m)
{
	wt_source_retarget_init(m);
	walk(m, first_change, sizeof first_change / sizeof *first_change);
}

static void test_there_and_back(void **state)
{
	struct wt_source_retarget m;

	begin(&m);
	assert_int_equal(m.current, 1);
	assert_int_equal(m.roles[0], WT_TARGET_RETIRED);
	assert_false(m.returned);
	/* Its session is there: nothing is opened. */
	WALK(&m, { EV(RETARGET), 0, DRAIN_ACTIONS, IN(DRAINING) },
		{ EV(OLD_DRAINED), 1, DO(HAND_OVER), IN(HANDING) });
	assert_int_equal(m.current, 0);
	assert_int_equal(m.old, 1);
	assert_true(m.returned);
	assert_int_equal(m.drains, 2);
}

/* Three in a row; the last is lost, and the newest of the others that is still there takes over. */
static void test_chain(void **state)
{
	struct wt_source_retarget m;

	begin(&m);
	for (unsigned n = 2; n < 4; n++)
		WALK(&m, { EV(RETARGET), n, DO(OPEN_NEXT) | DO(PREPARE_DEADLINE), IN(PREPARING) },
			{ EV(NEXT_READY), n, DRAIN_ACTIONS, IN(DRAINING) },
			{ EV(OLD_DRAINED), n - 1, DO(HAND_OVER), IN(HANDING) },
			{ EV(BASE_SENT), 0, DO(UNHOLD) | DO(SEND_EXPECT), IN(SHARED) },
			{ EV(BASE_DONE), n, DO(TELL_DONE), IN(IDLE) });
	WALK(&m, { EV(QEMU_ENDED), 2, 0, IN(IDLE) },
		{ EV(LOST), 3, DO(HOLD) | DO(GO_BACK) | DO(HAND_OVER), IN(HANDING) });
	assert_int_equal(m.current, 1);
	assert_int_equal(m.roles[2], WT_TARGET_HELPER);
	assert_int_equal(m.roles[3], WT_TARGET_DROPPED);
	/* While that is told it is lost, too. */
	WALK(&m, { EV(LOST), 1, DO(HOLD) | DO(GO_BACK) | DO(HAND_OVER), IN(HANDING) });
	assert_int_equal(m.current, 0);
	/* 2 still serves, but is no way back. */
	WALK(&m, { EV(BASE_SENT), 0, DO(UNHOLD) | DO(SEND_EXPECT), IN(SHARED) },
		{ EV(LOST), 0, DO(RAISE_TROUBLE), IN(OVER) });
}

/* The base is small and what was pending is not: there is nothing that others would be needed for. */
static void test_base_is_done_first(void **state)
{
	struct wt_source_retarget m;

	wt_source_retarget_init(&m);
	walk(&m, first_change, 3);
	WALK(&m, { EV(BASE_DONE), 0, 0, IN(HANDING) }, { EV(BASE_DONE), 1, 0, IN(HANDING) },
		{ EV(BASE_SENT), 0, DO(UNHOLD) | DO(TELL_DONE), IN(IDLE) },
		/* That counts once. */
		{ EV(RETARGET), 0, DRAIN_ACTIONS, IN(DRAINING) },
		{ EV(OLD_DRAINED), 1, DO(HAND_OVER), IN(HANDING) },
		{ EV(BASE_SENT), 0, DO(UNHOLD) | DO(SEND_EXPECT), IN(SHARED) });
}

static void test_next_fails(void **state)
{
	struct wt_source_retarget m;
	static const struct step open = { EV(RETARGET), 1, DO(OPEN_NEXT) | DO(PREPARE_DEADLINE),
		IN(PREPARING) };
	static const enum wt_retarget_event ends[] = { EV(LOST), EV(DEADLINE), EV(GUEST_STOPPED) };

	for (unsigned i = 0; i < 3; i++) {
		wt_source_retarget_init(&m);
		walk(&m, &open, 1);
		WALK(&m, { ends[i], 1, DO(CLOSE_NEXT) | DO(TELL_FAILED), IN(IDLE) });
		assert_int_equal(m.closed, 1);
		assert_int_equal(m.current, 0);
	}
	/* While the current one drains: it goes on, unless the deadline says that it does not answer. */
	for (unsigned i = 0; i < 3; i++) {
		wt_source_retarget_init(&m);
		m.staged = true;
		walk(&m, &open, 1);
		WALK(&m, { EV(NEXT_READY), 1, DRAIN_ACTIONS, IN(DRAINING) },
			{ ends[i], 1, DO(CLOSE_NEXT) | DO(UNDRAIN) | DO(UNHOLD) | DO(TELL_FAILED),
				IN(IDLE) });
		assert_int_equal(m.roles[0], WT_TARGET_CURRENT);
	}
}

/* One that is called back and fails before it is needed stays what it was. */
static void test_return_fails(void **state)
{
	struct wt_source_retarget m;

	begin(&m);
	WALK(&m, { EV(RETARGET), 0, DRAIN_ACTIONS, IN(DRAINING) },
		{ EV(GUEST_STOPPED), 0, DO(UNDRAIN) | DO(UNHOLD) | DO(TELL_FAILED), IN(IDLE) });
	assert_int_equal(m.roles[0], WT_TARGET_RETIRED);
	begin(&m);
	WALK(&m, { EV(RETARGET), 0, DRAIN_ACTIONS, IN(DRAINING) },
		{ EV(QEMU_ENDED), 0, DO(UNDRAIN) | DO(UNHOLD) | DO(TELL_FAILED), IN(IDLE) });
	assert_int_equal(m.roles[0], WT_TARGET_HELPER);
	begin(&m);
	WALK(&m, { EV(RETARGET), 0, DRAIN_ACTIONS, IN(DRAINING) },
		{ EV(LOST), 0, DO(CLOSE_NEXT) | DO(UNDRAIN) | DO(UNHOLD) | DO(TELL_FAILED), IN(IDLE) });
	assert_int_equal(m.roles[0], WT_TARGET_DROPPED);
}

/* The current one does not drain, or is lost: all memory is at the source. */
static void test_old_is_lost(void **state)
{
	struct wt_source_retarget m;

	for (unsigned i = 0; i < 2; i++) {
		wt_source_retarget_init(&m);
		WALK(&m, first_change[0], first_change[1],
			{ i ? EV(LOST) : EV(DEADLINE), 0, DO(DROP_OLD) | DO(HAND_OVER), IN(HANDING) },
			/* Too late. */
			{ EV(OLD_DRAINED), 0, 0, IN(HANDING) }, { EV(BASE_SENT), 0, DO(UNHOLD), IN(SHARED) },
			{ EV(LOST), 1, DO(RAISE_TROUBLE), IN(OVER) });
		assert_int_equal(m.roles[0], WT_TARGET_DROPPED);
	}
	/* It is lost before the next one is ready: QEMU waits for that. */
	wt_source_retarget_init(&m);
	WALK(&m, first_change[0], { EV(LOST), 0, DO(HOLD), IN(PREPARING) },
		{ EV(NEXT_READY), 1, DO(HAND_OVER), IN(HANDING) });
	assert_int_equal(m.current, 1);
	/* The one after that is not handed over to so fast. */
	WALK(&m, { EV(BASE_SENT), 0, DO(UNHOLD), IN(SHARED) }, { EV(BASE_DONE), 1, DO(TELL_DONE), IN(IDLE) },
		{ EV(RETARGET), 2, DO(OPEN_NEXT) | DO(PREPARE_DEADLINE), IN(PREPARING) },
		{ EV(NEXT_READY), 2, DRAIN_ACTIONS, IN(DRAINING) });
	wt_source_retarget_init(&m);
	WALK(&m, first_change[0], { EV(LOST), 0, DO(HOLD), IN(PREPARING) },
		{ EV(DEADLINE), 0, DO(CLOSE_NEXT) | DO(RAISE_TROUBLE), IN(OVER) });
	/* With staged memory nobody else can have it. */
	wt_source_retarget_init(&m);
	m.staged = true;
	WALK(&m, first_change[0], { EV(LOST), 0, DO(CLOSE_NEXT) | DO(RAISE_TROUBLE), IN(OVER) });
	wt_source_retarget_init(&m);
	m.staged = true;
	WALK(&m, first_change[0], first_change[1],
		{ EV(LOST), 0, DO(CLOSE_NEXT) | DO(RAISE_TROUBLE), IN(OVER) });
}

static void test_end(void **state)
{
	struct wt_source_retarget m;

	begin(&m);
	WALK(&m, { EV(GUEST_STOPPED), 0, 0, IN(IDLE) }, { EV(LOST), 1, DO(RAISE_TROUBLE), IN(OVER) },
		/* What it says of itself may still matter to who runs. */
		{ EV(LOST), 1, DO(RAISE_TROUBLE), IN(OVER) });
	begin(&m);
	WALK(&m, { EV(GUEST_STOPPED), 0, 0, IN(IDLE) }, { EV(RETARGET), 0, 0, IN(IDLE) },
		{ EV(RUNS), 1, DO(RELEASE_ALL), IN(OVER) });
	begin(&m);
	WALK(&m, { EV(OVER), 0, 0, IN(OVER) }, { EV(RETARGET), 0, 0, IN(OVER) });
}

/* The guest is stopped: a new migration, to which only the current one's memory is carried over. */
static void test_restart(void **state)
{
	struct wt_source_retarget m;

	begin(&m);
	WALK(&m, { EV(RESTART), 2, 0, IN(IDLE) }, { EV(AGAIN), 0, 0, IN(IDLE) },
		{ EV(GUEST_STOPPED), 0, 0, IN(IDLE) }, { EV(RESTART), 0, 0, IN(IDLE) },
		{ EV(RESTART), 2, DO(RESTART), IN(OVER) }, { EV(RESTART), 3, 0, IN(OVER) });
	assert_int_equal(m.roles[1], WT_TARGET_KEPT);
	/* Whatever it says now is nobody's trouble. */
	WALK(&m, { EV(OLD_DRAINED), 1, 0, IN(OVER) }, { EV(QEMU_ENDED), 1, 0, IN(OVER) },
		{ EV(AGAIN), 0, 0, IN(IDLE) }, { EV(AGAIN), 0, 0, IN(IDLE) });
	assert_int_equal(m.current, 2);
	assert_int_equal(m.roles[0], WT_TARGET_DROPPED);
	assert_int_equal(m.roles[1], WT_TARGET_KEPT);
	assert_int_equal(wt_source_retarget_free(&m), 3);
	/* It is no way back, and no helper. */
	WALK(&m, { EV(RETARGET), 1, 0, IN(IDLE) },
		{ EV(RETARGET), 3, DO(OPEN_NEXT) | DO(PREPARE_DEADLINE), IN(PREPARING) },
		{ EV(NEXT_READY), 3, DRAIN_ACTIONS, IN(DRAINING) },
		{ EV(DEADLINE), 0, DO(DROP_OLD) | DO(HAND_OVER), IN(HANDING) },
		{ EV(BASE_SENT), 0, DO(UNHOLD), IN(SHARED) }, { EV(LOST), 1, 0, IN(SHARED) });
	assert_int_equal(m.roles[1], WT_TARGET_DROPPED);
	WALK(&m, { EV(LOST), 3, DO(RAISE_TROUBLE), IN(OVER) }, { EV(AGAIN), 0, 0, IN(OVER) });
	/* Lost before it has ended its QEMU. */
	wt_source_retarget_init(&m);
	WALK(&m, { EV(GUEST_STOPPED), 0, 0, IN(IDLE) }, { EV(RESTART), 1, DO(RESTART), IN(OVER) },
		{ EV(LOST), 0, DO(RAISE_TROUBLE), IN(OVER) }, { EV(OVER), 0, 0, IN(OVER) },
		{ EV(AGAIN), 0, 0, IN(OVER) });
}

/* Once more, before the first new migration came to an end; and one that was cancelled does not begin. */
static void test_restart_again(void **state)
{
	struct wt_source_retarget m;

	wt_source_retarget_init(&m);
	for (unsigned n = 1; n < WT_TARGETS_MAX; n++) {
		WALK(&m, { EV(GUEST_STOPPED), 0, 0, IN(IDLE) }, { EV(RESTART), n, DO(RESTART), IN(OVER) });
		assert_int_equal(m.roles[n - 1], WT_TARGET_KEPT);
		if (n > 1) /* the one of the time before is not needed any more, and may go */
			WALK(&m, { EV(LOST), n - 2, 0, IN(OVER) });
		WALK(&m, { EV(AGAIN), 0, 0, IN(IDLE) });
		assert_true(n == 1 || m.roles[n - 2] == WT_TARGET_DROPPED);
	}
	assert_int_equal(m.current, WT_TARGETS_MAX - 1);
	assert_int_equal(wt_source_retarget_free(&m), -1);
	WALK(&m, { EV(RUNS), 0, DO(RELEASE_ALL), IN(OVER) }, { EV(AGAIN), 0, 0, IN(OVER) });
}

static void test_numbers(void **state)
{
	struct wt_source_retarget m;

	wt_source_retarget_init(&m);
	for (int n = 1; n < WT_TARGETS_MAX; n++) {
		assert_int_equal(wt_source_retarget_free(&m), n);
		WALK(&m, { EV(RETARGET), (unsigned)n, DO(OPEN_NEXT) | DO(PREPARE_DEADLINE), IN(PREPARING) },
			{ EV(DEADLINE), 0, DO(CLOSE_NEXT) | DO(TELL_FAILED), IN(IDLE) });
	}
	assert_int_equal(wt_source_retarget_free(&m), -1);
}

/* Refused exactly where the machine would not take it, or where the guest does not run. */
static void test_refusal(void **state)
{
	for (enum wt_source_state s = WT_SOURCE_CONNECTING; s <= WT_SOURCE_AGAIN; s++)
		for (enum wt_retarget_state r = WT_RETARGET_IDLE; r <= WT_RETARGET_OVER; r++)
			for (unsigned stopped = 0; stopped <= 1; stopped++) {
				struct wt_source_retarget m;
				const char *refusal;
				bool taken, restarts;

				wt_source_retarget_init(&m);
				m.state = r;
				m.stopped = stopped;
				refusal = wt_source_retarget_refusal(&m, s);
				restarts = wt_source_retarget_restarts(&m, s);
				wt_source_retarget_step(&m,
					s == WT_SOURCE_STOPPED ? WT_RETARGET_EV_RESTART
							       : WT_RETARGET_EV_RETARGET,
					1);
				taken = m.roles[1] == WT_TARGET_NEXT;
				assert_int_equal(refusal == NULL,
					taken && (s == WT_SOURCE_STREAMING || s == WT_SOURCE_STOPPED));
				assert_int_equal(restarts, taken && s == WT_SOURCE_STOPPED);
				if (refusal)
					assert_true(strlen(refusal) > 20 && !strchr(refusal, '\n'));
			}
	assert_string_equal(wt_source_retarget_state_name(WT_RETARGET_OVER), "over");
	assert_string_equal(wt_source_retarget_state_name(99), "invalid");
}

/* ---- a retired destination ---- */

#define FAILS (WT_DESTINATION_DO_SEND_FAILED | WT_DESTINATION_DO_QUIT_QEMU | WT_DESTINATION_DO_FINISH)
#define RELEASES (WT_DESTINATION_DO_QUIT_QEMU | WT_DESTINATION_DO_FINISH)

static void test_retired(void **state)
{
	static const struct {
		enum wt_destination_event event;
		enum wt_destination_state then;
		unsigned actions;
	} table[] = {
		{ WT_DESTINATION_EV_CONNECTED, WT_DESTINATION_RETIRED, 0 },
		{ WT_DESTINATION_EV_VERIFIED, WT_DESTINATION_RETIRED, 0 },
		{ WT_DESTINATION_EV_DRAIN, WT_DESTINATION_RETIRED, 0 },
		{ WT_DESTINATION_EV_SERVED, WT_DESTINATION_RETIRED, 0 },
		{ WT_DESTINATION_EV_RESTART, WT_DESTINATION_RECEIVING, 0 },
		{ WT_DESTINATION_EV_RELEASE, WT_DESTINATION_RELEASED, RELEASES },
		{ WT_DESTINATION_EV_PEER_LOST, WT_DESTINATION_RETIRED, WT_DESTINATION_DO_WAIT_HELPER },
		{ WT_DESTINATION_EV_QEMU_GONE, WT_DESTINATION_RETIRED, WT_DESTINATION_DO_SEND_HELPER },
		{ WT_DESTINATION_EV_ABORT, WT_DESTINATION_FAILED, FAILS },
		{ WT_DESTINATION_EV_TROUBLE, WT_DESTINATION_FAILED, FAILS },
		{ WT_DESTINATION_EV_KEEP, WT_DESTINATION_FAILED, FAILS },
		{ WT_DESTINATION_EV_COMMIT, WT_DESTINATION_FAILED, FAILS },
		{ WT_DESTINATION_EV_RAM_COMPLETE, WT_DESTINATION_FAILED, FAILS },
		{ WT_DESTINATION_EV_LOADED, WT_DESTINATION_FAILED, FAILS },
		{ WT_DESTINATION_EV_RUNNING, WT_DESTINATION_FAILED, FAILS },
	};

	for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
		struct wt_destination_switch m = { .state = WT_DESTINATION_RECEIVING };

		assert_int_equal(wt_destination_switch_step(&m, WT_DESTINATION_EV_DRAIN), 0);
		assert_int_equal(m.state, WT_DESTINATION_RETIRED);
		assert_int_equal(wt_destination_switch_step(&m, table[i].event), table[i].actions);
		assert_int_equal(m.state, table[i].then);
		assert_int_equal(wt_destination_switch_final(&m),
			table[i].then == WT_DESTINATION_FAILED || table[i].then == WT_DESTINATION_RELEASED);
	}
}

/* Alone it serves to the end; without its QEMU it cannot be called back; and only a receiving one retires. */
static void test_retired_and_worse(void **state)
{
	struct wt_destination_switch m = { .state = WT_DESTINATION_RETIRED };

	wt_destination_switch_step(&m, WT_DESTINATION_EV_PEER_LOST);
	assert_int_equal(wt_destination_switch_step(&m, WT_DESTINATION_EV_SERVED), FAILS);
	m = (struct wt_destination_switch){ .state = WT_DESTINATION_RETIRED };
	wt_destination_switch_step(&m, WT_DESTINATION_EV_QEMU_GONE);
	assert_int_equal(wt_destination_switch_step(&m, WT_DESTINATION_EV_QEMU_GONE), 0);
	assert_int_equal(wt_destination_switch_step(&m, WT_DESTINATION_EV_RESTART), FAILS);
	for (enum wt_destination_state s = WT_DESTINATION_WAITING; s < WT_DESTINATION_STATES; s++) {
		m = (struct wt_destination_switch){ .state = s };
		wt_destination_switch_step(&m, WT_DESTINATION_EV_DRAIN);
		assert_int_equal(m.state == WT_DESTINATION_RETIRED,
			s == WT_DESTINATION_RECEIVING || s == WT_DESTINATION_RETIRED);
		if (s == WT_DESTINATION_READY || s == WT_DESTINATION_STARTING)
			assert_int_equal(m.state, s);
	}
}

/* KEEP ends QEMU as ABORT does, until COMMIT has come; the relay stays, without a QEMU to be called back to.
 */
static void test_kept(void **state)
{
	for (enum wt_destination_state s = WT_DESTINATION_RECEIVING; s <= WT_DESTINATION_READY; s++) {
		struct wt_destination_switch m = { .state = s };

		assert_int_equal(
			wt_destination_switch_step(&m, WT_DESTINATION_EV_KEEP), WT_DESTINATION_DO_QUIT_QEMU);
		assert_int_equal(m.state, WT_DESTINATION_RETIRED);
		assert_int_equal(wt_destination_switch_step(&m, WT_DESTINATION_EV_QEMU_GONE),
			WT_DESTINATION_DO_SEND_HELPER);
		assert_int_equal(wt_destination_switch_step(&m, WT_DESTINATION_EV_DRAIN), 0);
		assert_int_equal(wt_destination_switch_step(&m, WT_DESTINATION_EV_RELEASE), RELEASES);
		m = (struct wt_destination_switch){ .state = s };
		wt_destination_switch_step(&m, WT_DESTINATION_EV_KEEP);
		wt_destination_switch_step(&m, WT_DESTINATION_EV_QEMU_GONE);
		assert_int_equal(wt_destination_switch_step(&m, WT_DESTINATION_EV_RESTART), FAILS);
	}
	for (enum wt_destination_state s = WT_DESTINATION_STARTING; s <= WT_DESTINATION_ORPHAN; s++) {
		struct wt_destination_switch m = { .state = s };

		assert_int_equal(wt_destination_switch_step(&m, WT_DESTINATION_EV_KEEP), 0);
		assert_int_equal(m.state, s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_base_is_done_first),
		cmocka_unit_test(test_next_fails),
		cmocka_unit_test(test_return_fails),
		cmocka_unit_test(test_old_is_lost),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_restart_again),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_refusal),
		cmocka_unit_test(test_retired),
		cmocka_unit_test(test_retired_and_worse),
		cmocka_unit_test(test_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

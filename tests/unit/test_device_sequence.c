/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_device_sequence.c - the order in which devices leave and come back: every order of events, for up to
 * three devices, with and without an agent, at both ends. What is checked is the list in device_sequence.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "device_sequence.h"
#include "world_search.h"

/* The machine, and what was seen of it. */
struct world {
	struct wt_device_sequence machine;
	uint8_t begun[WT_DEVICE_STEPS_MAX];  /* how often each step was done */
	uint8_t undone[WT_DEVICE_STEPS_MAX]; /* ... and undone */
	uint8_t failures, over, moved, aborted;
};

static void check_step(struct world *w)
{
	const struct wt_device_sequence *m = &w->machine;

	assert_true(m->at < m->count);
	assert_int_equal(m->state, WT_DEVICE_FORWARD);
	assert_int_equal(++w->begun[m->at], 1);
	for (unsigned i = 0; i < m->at; i++)
		assert_int_equal(w->begun[i], 1);
	for (unsigned i = 0; i < m->count; i++)
		assert_int_equal(w->undone[i], 0);
}

static void check_undo(struct world *w)
{
	const struct wt_device_sequence *m = &w->machine;

	assert_int_equal(m->state, WT_DEVICE_UNDOING);
	assert_false(w->moved);
	assert_true(wt_device_step_has_undo(m->steps[m->at].kind));
	assert_int_equal(w->begun[m->at], 1);
	assert_int_equal(++w->undone[m->at], 1);
	/* Backwards: what was begun later was undone before. */
	for (unsigned i = m->at + 1u; i < m->count; i++)
		if (w->begun[i] && wt_device_step_has_undo(m->steps[i].kind))
			assert_int_equal(w->undone[i], 1);
}

static void check_over(struct world *w, bool idle)
{
	const struct wt_device_sequence *m = &w->machine;

	assert_int_equal(++w->over, 1);
	assert_int_equal(m->failures, w->failures);
	for (unsigned i = 0; i < m->count; i++) {
		if (w->moved)
			assert_true(w->begun[i] && !w->undone[i]);
		else if (wt_device_step_has_undo(m->steps[i].kind))
			assert_int_equal(w->begun[i], w->undone[i]);
		if (idle)
			assert_int_equal(w->begun[i], 0);
	}
}

static void happen(struct world *w, enum wt_device_event event)
{
	struct wt_device_sequence before = w->machine;
	enum wt_device_action action = wt_device_sequence_step(&w->machine, event);
	bool result = event == WT_DEVICE_EV_OK || event == WT_DEVICE_EV_FAILED;
	bool counts =
		before.state == WT_DEVICE_UNDOING || (before.state == WT_DEVICE_FORWARD && before.moved);

	if (before.state == WT_DEVICE_FORWARD && event == WT_DEVICE_EV_OK &&
		before.steps[before.at].kind == WT_DEVICE_STEP_MOVE)
		w->moved = 1;
	assert_int_equal(w->machine.moved, w->moved);
	w->failures += counts && event == WT_DEVICE_EV_FAILED;
	if (before.state == WT_DEVICE_OVER)
		assert_int_equal(action, WT_DEVICE_DO_NOTHING);
	if ((before.state == WT_DEVICE_FORWARD || before.state == WT_DEVICE_UNDOING) && result)
		assert_int_not_equal(action, WT_DEVICE_DO_NOTHING); /* it never gets stuck */
	if (action == WT_DEVICE_DO_STEP)
		check_step(w);
	else if (action == WT_DEVICE_DO_UNDO)
		check_undo(w);
	else if (action == WT_DEVICE_DO_OVER)
		check_over(w, before.state == WT_DEVICE_IDLE);
	else
		assert_memory_equal(&before, &w->machine, sizeof before);
}

static void explore(const struct wt_device_sequence *list, unsigned *worlds, unsigned *ends)
{
	struct world start = { .machine = *list }, w, next;
	struct world_search search;

	assert_true(world_search_open(&search, sizeof w, 20000, 1u << 16));
	world_search_add(&search, &start);
	while (world_search_next(&search, &w)) {
		*ends += w.over;
		for (int event = WT_DEVICE_EV_BEGIN; event <= WT_DEVICE_EV_ABORT; event++) {
			next = w;
			happen(&next, (enum wt_device_event)event);
			world_search_add(&search, &next);
		}
	}
	*worlds += search.count;
	world_search_close(&search);
}

static void test_every_order(void **state)
{
	struct wt_device_sequence list;
	unsigned worlds = 0, ends = 0;

	for (unsigned devices = 1; devices <= 3; devices++)
		for (unsigned agent = 0; agent < 2; agent++) {
			wt_device_sequence_source(&list, devices, agent);
			explore(&list, &worlds, &ends);
			wt_device_sequence_destination(&list, devices, agent);
			explore(&list, &worlds, &ends);
			wt_device_sequence_handover(&list, devices, agent);
			explore(&list, &worlds, &ends);
		}
	print_message("%u worlds, %u of them ends\n", worlds, ends);
	assert_true(worlds > 500 && ends > 100);
}

static unsigned kinds_of(const struct wt_device_sequence *list, uint8_t kinds[WT_DEVICE_STEPS_MAX])
{
	for (unsigned i = 0; i < list->count; i++)
		kinds[i] = list->steps[i].kind;
	return list->count;
}

static void test_lists(void **state)
{
	static const uint8_t source[] = { WT_DEVICE_STEP_AGENT, WT_DEVICE_STEP_ASK, WT_DEVICE_STEP_DETACH,
		WT_DEVICE_STEP_DETACH, WT_DEVICE_STEP_UNPLUG, WT_DEVICE_STEP_UNPLUG, WT_DEVICE_STEP_MOVE,
		WT_DEVICE_STEP_REPORT, WT_DEVICE_STEP_RELEASE, WT_DEVICE_STEP_RELEASE };
	static const uint8_t destination[] = { WT_DEVICE_STEP_PREPARE, WT_DEVICE_STEP_MOVE,
		WT_DEVICE_STEP_PLUG };
	static const uint8_t handover[] = { WT_DEVICE_STEP_AGENT, WT_DEVICE_STEP_DETACH,
		WT_DEVICE_STEP_UNPLUG, WT_DEVICE_STEP_MOVE, WT_DEVICE_STEP_PLUG, WT_DEVICE_STEP_ATTACH };
	uint8_t kinds[WT_DEVICE_STEPS_MAX];
	struct wt_device_sequence list;

	wt_device_sequence_handover(&list, 1, true);
	assert_int_equal(kinds_of(&list, kinds), sizeof handover);
	assert_memory_equal(kinds, handover, sizeof handover);
	wt_device_sequence_handover(&list, WT_DEVICES_MAX, true);
	wt_device_sequence_source(&list, 2, true);
	assert_int_equal(kinds_of(&list, kinds), sizeof source);
	assert_memory_equal(kinds, source, sizeof source);
	wt_device_sequence_destination(&list, 1, false);
	assert_int_equal(kinds_of(&list, kinds), sizeof destination);
	assert_memory_equal(kinds, destination, sizeof destination);
	wt_device_sequence_source(&list, WT_DEVICES_MAX, true);
	wt_device_sequence_destination(&list, WT_DEVICES_MAX, true);
}

/* The device that is held: everything but that one comes back, in the opposite order. */
static void test_held(void **state)
{
	struct wt_device_sequence m;

	wt_device_sequence_source(&m, 1, true);
	assert_int_equal(wt_device_sequence_step(&m, WT_DEVICE_EV_BEGIN), WT_DEVICE_DO_STEP);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(wt_device_sequence_step(&m, WT_DEVICE_EV_OK), WT_DEVICE_DO_STEP);
	assert_int_equal(m.steps[m.at].kind, WT_DEVICE_STEP_UNPLUG);
	assert_int_equal(wt_device_sequence_step(&m, WT_DEVICE_EV_FAILED), WT_DEVICE_DO_UNDO);
	assert_int_equal(m.steps[m.at].kind, WT_DEVICE_STEP_UNPLUG);
	assert_int_equal(wt_device_sequence_step(&m, WT_DEVICE_EV_FAILED), WT_DEVICE_DO_UNDO);
	assert_int_equal(m.steps[m.at].kind, WT_DEVICE_STEP_DETACH);
	assert_int_equal(wt_device_sequence_step(&m, WT_DEVICE_EV_OK), WT_DEVICE_DO_OVER);
	assert_int_equal(m.failures, 1);
}

static void test_names(void **state)
{
	for (int kind = WT_DEVICE_STEP_AGENT; kind <= WT_DEVICE_STEP_REPORT; kind++)
		assert_string_not_equal(wt_device_step_name((enum wt_device_step_kind)kind), "invalid");
	assert_string_equal(wt_device_step_name((enum wt_device_step_kind)99), "invalid");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_order),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_held),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_retarget.c - transitions of a change of the destination, one function per state. See
 * source_retarget.h.
 *
 * Memory that is *staged* can be handed over only by a destination that has it: with any of it, a destination
 * that does not drain cannot be left, and one that is lost leaves no way back.
 */
#include "source_retarget.h"

#include <stddef.h>
#include <string.h>

static unsigned go(struct wt_source_retarget *m, enum wt_retarget_state state, unsigned actions)
{
	m->state = state;
	return actions;
}

/* The newest target that has drained and still has its QEMU; -1: none. */
static int way_back(const struct wt_source_retarget *m)
{
	int best = -1;

	for (int i = 0; i < WT_TARGETS_MAX && !m->staged && !m->stopped; i++)
		if (m->roles[i] == WT_TARGET_RETIRED && (best < 0 || m->retired_as[i] > m->retired_as[best]))
			best = i;
	return best;
}

static bool anybody_serves(const struct wt_source_retarget *m)
{
	for (int i = 0; i < WT_TARGETS_MAX; i++)
		if (m->roles[i] == WT_TARGET_RETIRED || m->roles[i] == WT_TARGET_HELPER)
			return true;
	return false;
}

static void retire(struct wt_source_retarget *m, int target)
{
	m->roles[target] = WT_TARGET_RETIRED;
	m->retired_as[target] = ++m->retirements;
}

/* `target` is the current one from now on; the former one has got its role already. */
static unsigned hand_over(struct wt_source_retarget *m, int target)
{
	m->returned = m->retired_as[target] != 0;
	m->old = m->current;
	m->current = target;
	m->next = -1;
	m->orphaned = m->complete = false;
	m->roles[target] = WT_TARGET_CURRENT;
	return go(m, WT_RETARGET_HANDING, WT_RETARGET_DO_HAND_OVER);
}

/* Gives up the next target; one that had retired before stays what it was. */
static unsigned close_next(struct wt_source_retarget *m)
{
	int next = m->next;

	m->next = -1;
	if (next < 0 || m->roles[next] == WT_TARGET_HELPER)
		return 0;
	if (m->roles[next] == WT_TARGET_NEXT && m->retired_as[next]) {
		m->roles[next] = WT_TARGET_RETIRED;
		return 0;
	}
	m->roles[next] = WT_TARGET_DROPPED;
	m->closed = next;
	return WT_RETARGET_DO_CLOSE_NEXT;
}

/* The current target is lost, and the next one cannot replace it: back to an earlier one, or the end. */
static unsigned no_current(struct wt_source_retarget *m)
{
	unsigned actions = close_next(m);
	int back;

	m->roles[m->current] = WT_TARGET_DROPPED;
	back = way_back(m);
	if (back < 0)
		return go(m, WT_RETARGET_OVER, actions | WT_RETARGET_DO_RAISE_TROUBLE);
	return actions | WT_RETARGET_DO_HOLD | WT_RETARGET_DO_GO_BACK | hand_over(m, back);
}

static unsigned drain(struct wt_source_retarget *m)
{
	m->drains++;
	return go(m, WT_RETARGET_DRAINING,
		WT_RETARGET_DO_HOLD | WT_RETARGET_DO_SEND_DRAIN | WT_RETARGET_DO_DRAIN_DEADLINE);
}

static unsigned idle(struct wt_source_retarget *m, enum wt_retarget_event event, int target)
{
	if (event == WT_RETARGET_EV_LOST && target == m->current)
		return no_current(m);
	if (event != WT_RETARGET_EV_RETARGET || m->stopped)
		return 0;
	if (m->roles[target] == WT_TARGET_FREE) {
		m->roles[target] = WT_TARGET_NEXT;
		m->next = target;
		return go(
			m, WT_RETARGET_PREPARING, WT_RETARGET_DO_OPEN_NEXT | WT_RETARGET_DO_PREPARE_DEADLINE);
	}
	if (m->roles[target] != WT_TARGET_RETIRED)
		return 0;
	m->roles[target] = WT_TARGET_NEXT;
	m->next = target;
	return drain(m);
}

/* The retarget has failed; the current target, which knows nothing of it, goes on. */
static unsigned stay(struct wt_source_retarget *m, unsigned actions)
{
	return go(m, WT_RETARGET_IDLE, close_next(m) | actions | WT_RETARGET_DO_TELL_FAILED);
}

static unsigned preparing(struct wt_source_retarget *m, enum wt_retarget_event event, int target)
{
	switch (event) {
	case WT_RETARGET_EV_NEXT_READY:
		if (target != m->next)
			return 0;
		return m->orphaned ? hand_over(m, m->next) : drain(m);
	case WT_RETARGET_EV_LOST:
		if (target == m->current && !m->orphaned && !m->staged) {
			m->orphaned = true;
			m->roles[m->current] = WT_TARGET_DROPPED;
			return WT_RETARGET_DO_HOLD;
		}
		if (target == m->current && !m->orphaned)
			return no_current(m);
		return target != m->next ? 0 : m->orphaned ? no_current(m) : stay(m, 0);
	case WT_RETARGET_EV_DEADLINE:
	case WT_RETARGET_EV_GUEST_STOPPED:
		return m->orphaned ? no_current(m) : stay(m, 0);
	default:
		return 0;
	}
}

/* The current target has not drained, and nobody can wait for it. */
static unsigned leave_undrained(struct wt_source_retarget *m, bool lost)
{
	if (m->staged)
		return lost ? no_current(m) : stay(m, WT_RETARGET_DO_UNDRAIN | WT_RETARGET_DO_UNHOLD);
	m->roles[m->current] = WT_TARGET_DROPPED;
	return WT_RETARGET_DO_DROP_OLD | hand_over(m, m->next);
}

static unsigned draining(struct wt_source_retarget *m, enum wt_retarget_event event, int target)
{
	switch (event) {
	case WT_RETARGET_EV_OLD_DRAINED:
		if (target != m->current)
			return 0;
		retire(m, m->current);
		return hand_over(m, m->next);
	case WT_RETARGET_EV_DEADLINE:
		return leave_undrained(m, false);
	case WT_RETARGET_EV_LOST:
		if (target == m->current)
			return leave_undrained(m, true);
		if (target != m->next)
			return 0;
		return stay(m, WT_RETARGET_DO_UNDRAIN | WT_RETARGET_DO_UNHOLD);
	case WT_RETARGET_EV_GUEST_STOPPED: /* QEMU had decided to before it was held */
		return stay(m, WT_RETARGET_DO_UNDRAIN | WT_RETARGET_DO_UNHOLD);
	default:
		return 0;
	}
}

static unsigned handing(struct wt_source_retarget *m, enum wt_retarget_event event, int target)
{
	if (event == WT_RETARGET_EV_LOST && target == m->current)
		return no_current(m);
	if (event == WT_RETARGET_EV_BASE_DONE && target == m->current)
		m->complete = true;
	if (event != WT_RETARGET_EV_BASE_SENT)
		return 0;
	if (m->complete)
		return go(m, WT_RETARGET_IDLE, WT_RETARGET_DO_UNHOLD | WT_RETARGET_DO_TELL_DONE);
	return go(m, WT_RETARGET_SHARED,
		WT_RETARGET_DO_UNHOLD | (anybody_serves(m) ? WT_RETARGET_DO_SEND_EXPECT : 0));
}

static unsigned shared(struct wt_source_retarget *m, enum wt_retarget_event event, int target)
{
	switch (event) {
	case WT_RETARGET_EV_LOST:
		return target == m->current ? no_current(m) : 0;
	case WT_RETARGET_EV_EXPECTED:
		return target == m->current && anybody_serves(m) ? WT_RETARGET_DO_SEND_SERVE : 0;
	case WT_RETARGET_EV_BASE_DONE:
		return target == m->current ? go(m, WT_RETARGET_IDLE, WT_RETARGET_DO_TELL_DONE) : 0;
	default:
		return 0;
	}
}

static unsigned step_in_state(struct wt_source_retarget *m, enum wt_retarget_event event, int target)
{
	switch (m->state) {
	case WT_RETARGET_IDLE:
		return idle(m, event, target);
	case WT_RETARGET_PREPARING:
		return preparing(m, event, target);
	case WT_RETARGET_DRAINING:
		return draining(m, event, target);
	case WT_RETARGET_HANDING:
		return handing(m, event, target);
	case WT_RETARGET_SHARED:
		return shared(m, event, target);
	default:
		/* It may be worth knowing that the destination gave up, even now: the source may run again.
		 */
		return event == WT_RETARGET_EV_LOST && target == m->current ? WT_RETARGET_DO_RAISE_TROUBLE
									    : 0;
	}
}

/* The operator wants another destination, and QEMU has stopped the guest: this migration is given up. */
static unsigned restart(struct wt_source_retarget *m, unsigned target)
{
	if (!m->stopped || m->state == WT_RETARGET_OVER || m->roles[target] != WT_TARGET_FREE)
		return 0;
	for (int i = 0; i < WT_TARGETS_MAX; i++) /* one old copy is enough: the newest */
		if (m->roles[i] == WT_TARGET_KEPT)
			m->roles[i] = WT_TARGET_HELPER;
	m->roles[m->current] = WT_TARGET_KEPT;
	m->roles[target] = WT_TARGET_NEXT;
	m->next = (int)target;
	m->restarts = true;
	return go(m, WT_RETARGET_OVER, WT_RETARGET_DO_RESTART);
}

/* As at first, but that numbers which were used stay so. */
static unsigned again(struct wt_source_retarget *m)
{
	if (!m->restarts)
		return 0;
	for (int i = 0; i < WT_TARGETS_MAX; i++)
		if (m->roles[i] == WT_TARGET_RETIRED || m->roles[i] == WT_TARGET_HELPER)
			m->roles[i] = WT_TARGET_DROPPED;
	m->roles[m->next] = WT_TARGET_CURRENT;
	m->current = m->next;
	m->next = -1;
	m->restarts = m->stopped = m->returned = m->complete = m->orphaned = false;
	return go(m, WT_RETARGET_IDLE, 0);
}

/* What becomes of a target that is not the current one; true: that is all. */
static bool befell(struct wt_source_retarget *m, bool lost, unsigned target)
{
	uint8_t role = m->roles[target];

	if (role == WT_TARGET_KEPT) {
		m->roles[target] = lost ? WT_TARGET_DROPPED : role;
		return !lost || !m->restarts; /* until it has ended its QEMU nothing begins anew */
	}
	if ((int)target == m->current)
		return !lost; /* it says itself whether it can go on */
	if (role == WT_TARGET_NEXT || role == WT_TARGET_RETIRED || role == WT_TARGET_HELPER)
		m->roles[target] = lost || !m->retired_as[target] ? WT_TARGET_DROPPED : WT_TARGET_HELPER;
	return role != WT_TARGET_NEXT;
}

unsigned wt_source_retarget_step(struct wt_source_retarget *m, enum wt_retarget_event event, unsigned target)
{
	switch (event) {
	case WT_RETARGET_EV_QEMU_ENDED:
	case WT_RETARGET_EV_LOST:
		if (befell(m, event == WT_RETARGET_EV_LOST, target))
			return 0;
		event = WT_RETARGET_EV_LOST;
		break;
	case WT_RETARGET_EV_RUNS:
		return go(m, WT_RETARGET_OVER, WT_RETARGET_DO_RELEASE_ALL);
	case WT_RETARGET_EV_OVER:
		m->restarts = false;
		return go(m, WT_RETARGET_OVER, 0);
	case WT_RETARGET_EV_RESTART:
		return restart(m, target);
	case WT_RETARGET_EV_AGAIN:
		return again(m);
	case WT_RETARGET_EV_GUEST_STOPPED:
		m->stopped = true;
		break;
	default:
		break;
	}
	return step_in_state(m, event, (int)target);
}

void wt_source_retarget_init(struct wt_source_retarget *m)
{
	*m = (struct wt_source_retarget){
		.state = WT_RETARGET_IDLE, .roles = { WT_TARGET_CURRENT }, .next = -1, .old = -1, .closed = -1
	};
}

int wt_source_retarget_free(const struct wt_source_retarget *m)
{
	for (int i = 0; i < WT_TARGETS_MAX; i++)
		if (m->roles[i] == WT_TARGET_FREE)
			return i;
	return -1;
}

bool wt_source_retarget_restarts(const struct wt_source_retarget *m, enum wt_source_state state)
{
	return state == WT_SOURCE_STOPPED && m->stopped && m->state != WT_RETARGET_OVER;
}

const char *wt_source_retarget_refusal(const struct wt_source_retarget *m, enum wt_source_state state)
{
	switch (state) {
	case WT_SOURCE_CONNECTING:
		return "nothing moves yet: cancel this job, and send to the other host";
	case WT_SOURCE_STREAMING:
		break;
	case WT_SOURCE_STOPPED:
		return wt_source_retarget_restarts(m, state)
			       ? NULL
			       : "the guest is being stopped just now; ask again";
	case WT_SOURCE_COMMITTING:
	case WT_SOURCE_DELIVERING:
		return "too late to change the destination: the switchover was let go, and the guest runs there in a "
		       "moment; move it on from there";
	case WT_SOURCE_RESTARTING:
	case WT_SOURCE_AGAIN:
		return "a new migration to another destination is about to begin; change it when it has";
	case WT_SOURCE_ABORTING:
		return "this migration is being cancelled; when the guest goes on here, send it to the other host";
	default:
		return "nothing to change: this job is over and ends in a moment";
	}
	switch (m->state) {
	case WT_RETARGET_IDLE:
		return m->stopped ? "the guest is being stopped just now; ask again" : NULL;
	case WT_RETARGET_OVER:
		return "nothing to change: this job is over and ends in a moment";
	default:
		return "the destination is being changed already; watari status says how far that is";
	}
}

const char *wt_source_retarget_state_name(enum wt_retarget_state state)
{
	static const char *const names[] = { "invalid", "idle", "preparing", "draining", "handing", "shared",
		"over" };

	return (unsigned)state < sizeof names / sizeof names[0] ? names[state] : "invalid";
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_order.c - see gang_order.h.
 */
#include "gang_order.h"

#include <stddef.h>

void wt_gang_order_init(struct wt_gang_order *o, unsigned count, unsigned parallel)
{
	*o = (struct wt_gang_order){ .count = (uint8_t)count,
		.parallel = (uint8_t)(parallel < count ? parallel : count) };
}

bool wt_gang_state_final(enum wt_gang_state state)
{
	return state >= WT_GANG_DONE;
}

static void commit(struct wt_gang_order *o, struct wt_gang_member *vm, enum wt_gang_state state)
{
	o->committed = true;
	vm->state = (uint8_t)state;
}

static void ended_back(struct wt_gang_order *o, struct wt_gang_member *vm)
{
	if (vm->state == WT_GANG_CANCELLING) {
		vm->state = WT_GANG_UNDONE;
		return;
	}
	vm->state = WT_GANG_FAILED;
	o->trouble = true;
}

void wt_gang_order_event(struct wt_gang_order *o, unsigned number, enum wt_gang_event event)
{
	struct wt_gang_member *vm = &o->vms[number];
	enum wt_gang_state state = vm->state;

	if (wt_gang_state_final(state))
		return;
	switch (event) {
	case WT_GANG_EV_STARTED:
		if (state == WT_GANG_STARTING)
			vm->state = WT_GANG_STARTED;
		break;
	case WT_GANG_EV_LISTENING:
		if (state == WT_GANG_AWAITING)
			vm->state = WT_GANG_LISTENING;
		break;
	case WT_GANG_EV_HELD:
		if (state == WT_GANG_LETTING_GO)
			vm->state = WT_GANG_HELD;
		break;
	case WT_GANG_EV_COMMITTED:
		if (state != WT_GANG_MOVED && state != WT_GANG_TAKING_BACK)
			commit(o, vm, WT_GANG_COMMITTED);
		break;
	case WT_GANG_EV_MOVED:
		if (state != WT_GANG_TAKING_BACK)
			commit(o, vm, WT_GANG_MOVED);
		break;
	case WT_GANG_EV_ENDED_MOVED:
		commit(o, vm, WT_GANG_DONE);
		break;
	case WT_GANG_EV_ENDED_BACK:
		ended_back(o, vm);
		break;
	case WT_GANG_EV_ENDED_LOST:
		vm->state = WT_GANG_LOST;
		o->trouble = true;
		break;
	default:
		break;
	}
}

void wt_gang_order_cancel(struct wt_gang_order *o)
{
	o->trouble = true;
}

/* So many guests are in a state from first to last. */
static unsigned between(const struct wt_gang_order *o, enum wt_gang_state first, enum wt_gang_state last)
{
	unsigned count = 0;

	for (unsigned i = 0; i < o->count; i++)
		count += o->vms[i].state >= first && o->vms[i].state <= last;
	return count;
}

void wt_gang_order_take_over(struct wt_gang_order *o)
{
	bool moving =
		between(o, WT_GANG_MOVING, WT_GANG_TAKING_BACK) || between(o, WT_GANG_DONE, WT_GANG_DONE);

	if (!moving || o->undo || between(o, WT_GANG_CANCELLING, WT_GANG_CANCELLING))
		o->trouble = true;
}

void wt_gang_order_restore(struct wt_gang_order *o, unsigned number, enum wt_gang_action_kind said)
{
	static const uint8_t states[] = { [WT_GANG_DO_START] = WT_GANG_STARTING,
		[WT_GANG_DO_RECEIVE] = WT_GANG_AWAITING,
		[WT_GANG_DO_SEND] = WT_GANG_LETTING_GO,
		[WT_GANG_DO_MOVE] = WT_GANG_MOVING,
		[WT_GANG_DO_BACK] = WT_GANG_TAKING_BACK,
		[WT_GANG_DO_CANCEL] = WT_GANG_CANCELLING };
	struct wt_gang_member *vm = &o->vms[number];

	if (said == WT_GANG_DO_FORWARD || said == WT_GANG_DO_BACK)
		o->committed = o->forward = true;
	else if (said == WT_GANG_DO_UNDO)
		o->undo = true;
	if (said < sizeof states && states[said])
		vm->state = states[said];
	if (said == WT_GANG_DO_CANCEL)
		vm->moving = true; /* nobody remembers whether it did: in doubt */
}

/* ---- what is to be done ---- */

static struct wt_gang_action action(enum wt_gang_action_kind kind, unsigned vm)
{
	return (struct wt_gang_action){ (uint8_t)kind, (uint8_t)vm };
}

static struct wt_gang_action act(
	struct wt_gang_order *o, unsigned vm, enum wt_gang_action_kind kind, enum wt_gang_state state)
{
	o->vms[vm].state = (uint8_t)state;
	return action(kind, vm);
}

static bool in_doubt(const struct wt_gang_order *o)
{
	for (unsigned i = 0; i < o->count; i++)
		if (o->vms[i].state == WT_GANG_CANCELLING && o->vms[i].moving)
			return true;
	return false;
}

/* All or nothing, and it is nothing. */
static struct wt_gang_action back(struct wt_gang_order *o)
{
	for (unsigned i = 0; i < o->count; i++)
		if (o->vms[i].state == WT_GANG_MOVING) {
			o->vms[i].moving = true;
			return act(o, i, WT_GANG_DO_CANCEL, WT_GANG_CANCELLING);
		}
	if (in_doubt(o))
		return action(WT_GANG_DO_NOTHING, 0);
	if (!o->undo) {
		o->undo = true;
		return action(WT_GANG_DO_UNDO, 0);
	}
	for (unsigned i = 0; i < o->count; i++) {
		if (o->vms[i].state == WT_GANG_IDLE)
			o->vms[i].state = WT_GANG_UNDONE;
		else if (o->vms[i].state < WT_GANG_MOVING)
			return act(o, i, WT_GANG_DO_CANCEL, WT_GANG_CANCELLING);
	}
	return action(WT_GANG_DO_NOTHING, 0);
}

static struct wt_gang_action prepare(struct wt_gang_order *o, unsigned i)
{
	switch (o->vms[i].state) {
	case WT_GANG_IDLE:
		if (o->vms[i].has_start)
			return act(o, i, WT_GANG_DO_START, WT_GANG_STARTING);
		return act(o, i, WT_GANG_DO_RECEIVE, WT_GANG_AWAITING);
	case WT_GANG_STARTED:
		return act(o, i, WT_GANG_DO_RECEIVE, WT_GANG_AWAITING);
	case WT_GANG_LISTENING:
		return act(o, i, WT_GANG_DO_SEND, WT_GANG_LETTING_GO);
	default:
		return action(WT_GANG_DO_NOTHING, 0);
	}
}

static struct wt_gang_action onward(struct wt_gang_order *o)
{
	struct wt_gang_action a;
	unsigned move;

	if (o->committed && !o->forward) {
		o->forward = true;
		return action(WT_GANG_DO_FORWARD, 0);
	}
	for (unsigned i = 0; i < o->count; i++) {
		a = prepare(o, i);
		if (a.kind)
			return a;
	}
	if (between(o, WT_GANG_IDLE, WT_GANG_LETTING_GO))
		return action(WT_GANG_DO_NOTHING, 0);
	move = between(o, WT_GANG_MOVING, WT_GANG_COMMITTED) +
	       between(o, WT_GANG_CANCELLING, WT_GANG_CANCELLING);
	for (unsigned i = 0; i < o->count; i++) {
		if (o->vms[i].state == WT_GANG_HELD && move < o->parallel)
			return act(o, i, WT_GANG_DO_MOVE, WT_GANG_MOVING);
		if (o->vms[i].state == WT_GANG_MOVED && !move && !between(o, WT_GANG_HELD, WT_GANG_HELD))
			return act(o, i, WT_GANG_DO_BACK, WT_GANG_TAKING_BACK);
	}
	return action(WT_GANG_DO_NOTHING, 0);
}

struct wt_gang_action wt_gang_order_next(struct wt_gang_order *o)
{
	struct wt_gang_action a = o->trouble && !o->committed ? back(o) : onward(o);

	if (a.kind || o->over || between(o, WT_GANG_DONE, WT_GANG_LOST) < o->count)
		return a;
	o->over = true;
	return action(WT_GANG_DO_OVER, 0);
}

const char *wt_gang_state_name(enum wt_gang_state state)
{
	static const char *const names[] = { "idle", "starting", "started", "awaiting", "listening",
		"letting-go", "held", "moving", "committed", "moved", "taking-back", "cancelling", "done",
		"undone", "failed", "lost" };

	return (unsigned)state < WT_GANG_STATES ? names[state] : "invalid";
}

const char *wt_gang_action_name(enum wt_gang_action_kind kind)
{
	static const char *const names[] = { "nothing", "start", "receive", "send", "move", "back", "cancel",
		"undo", "forward", "over" };

	return (unsigned)kind < sizeof names / sizeof names[0] ? names[kind] : "nothing";
}

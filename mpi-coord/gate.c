/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gate.c - one rank's part of the quiesce; see gate.h. Pure.
 *
 *   1. RUNNING -> QUIESCING -> DRAINED -> DETACHED -> ATTACHED -> JOINING -> READY -> RUNNING; ABORT leads
 * back to RUNNING from QUIESCING and DRAINED only, DETACH back to DETACHED from everything behind it.
 *   2. An order that has been carried out already is answered again: the coordinator may have died before it
 *      heard.
 *   3. Only the owner's orders change anything; who gives an order while there is no owner becomes it.
 *   4. A new quiesce has a higher epoch than every one before.
 *   5. A part is named anew for each quiesce; what is named while one is under way is refused, and so is a
 * quiesce of another part.
 */
#include "gate.h"

#include <stdio.h>
#include <string.h>

static struct wt_gate_step answer(const struct wt_gate *gate, unsigned actions, enum wt_order_kind kind)
{
	return (struct wt_gate_step){ .actions = actions | (kind ? WT_GATE_REPLY : WT_GATE_NOTHING),
		.reply = { .kind = kind, .epoch = gate->epoch } };
}

static struct wt_gate_step refuse(const struct wt_gate *gate, const struct wt_order *order)
{
	struct wt_gate_step step = answer(gate, WT_GATE_NOTHING, WT_REPORT_REFUSED);

	snprintf(step.reply.text, sizeof step.reply.text,
		"the rank is %s in epoch %u and cannot take \"%s %u\"; see `watari-mpi status`",
		wt_rank_state_name(gate->state), gate->epoch, wt_order_name(order->kind), order->epoch);
	return step;
}

/* Carries out or answers again: from the states in `from`, to `to`. */
static struct wt_gate_step move(struct wt_gate *gate, enum wt_rank_state to, unsigned actions)
{
	gate->state = to;
	return answer(gate, actions, WT_ORDER_INVALID);
}

static struct wt_gate_step order_quiesce(struct wt_gate *gate, const struct wt_order *order)
{
	if (gate->state == WT_RANK_RUNNING && order->epoch > gate->epoch) {
		gate->epoch = order->epoch;
		gate->part = order->part;
		return move(gate, WT_RANK_QUIESCING, WT_GATE_DRAIN);
	}
	if (order->epoch != gate->epoch || order->part != gate->part)
		return refuse(gate, order);
	if (gate->state == WT_RANK_QUIESCING)
		return answer(gate, WT_GATE_NOTHING, WT_ORDER_INVALID);
	return gate->state == WT_RANK_DRAINED ? answer(gate, WT_GATE_NOTHING, WT_REPORT_DRAINED)
					      : refuse(gate, order);
}

static struct wt_gate_step order_moves(struct wt_gate *gate, const struct wt_order *order)
{
	if (gate->state != WT_RANK_RUNNING || order->epoch <= gate->epoch)
		return refuse(gate, order);
	return answer(gate, WT_GATE_PART, WT_ORDER_INVALID);
}

static struct wt_gate_step order_detach(struct wt_gate *gate, const struct wt_order *order)
{
	switch (gate->state) {
	case WT_RANK_DRAINED:
	case WT_RANK_ATTACHED:
	case WT_RANK_JOINING:
	case WT_RANK_READY:
		gate->state = WT_RANK_DETACHED;
		return answer(gate, WT_GATE_CLOSE, WT_REPORT_DETACHED);
	case WT_RANK_DETACHED:
		return answer(gate, WT_GATE_NOTHING, WT_REPORT_DETACHED);
	default:
		return refuse(gate, order);
	}
}

static struct wt_gate_step order_abort(struct wt_gate *gate, const struct wt_order *order)
{
	switch (gate->state) {
	case WT_RANK_QUIESCING:
	case WT_RANK_DRAINED:
		gate->state = WT_RANK_RUNNING;
		return answer(gate, WT_GATE_GO, WT_REPORT_RUNNING);
	case WT_RANK_RUNNING:
		return answer(gate, WT_GATE_NOTHING, WT_REPORT_RUNNING);
	default:
		return refuse(gate, order);
	}
}

static struct wt_gate_step order_connect(struct wt_gate *gate, const struct wt_order *order)
{
	if (gate->state == WT_RANK_ATTACHED)
		return move(gate, WT_RANK_JOINING, WT_GATE_JOIN);
	if (gate->state == WT_RANK_JOINING)
		return answer(gate, WT_GATE_NOTHING, WT_ORDER_INVALID);
	return gate->state == WT_RANK_READY ? answer(gate, WT_GATE_NOTHING, WT_REPORT_READY)
					    : refuse(gate, order);
}

static struct wt_gate_step order_resume(struct wt_gate *gate, const struct wt_order *order)
{
	if (gate->state == WT_RANK_RUNNING)
		return answer(gate, WT_GATE_NOTHING, WT_REPORT_RUNNING);
	if (gate->state != WT_RANK_READY)
		return refuse(gate, order);
	gate->state = WT_RANK_RUNNING;
	return answer(gate, WT_GATE_GO, WT_REPORT_RUNNING);
}

struct wt_gate_step wt_gate_order(struct wt_gate *gate, const struct wt_order *order, int connection)
{
	struct wt_gate_step step;

	if (gate->owner && gate->owner != connection) {
		step = answer(gate, WT_GATE_NOTHING, WT_REPORT_REFUSED);
		strcpy(step.reply.text,
			"another coordinator is at work on this job; wait until it has ended");
		return step;
	}
	gate->owner = connection;
	if (order->kind == WT_ORDER_QUIESCE)
		return order_quiesce(gate, order);
	if (order->kind == WT_ORDER_MOVES)
		return order_moves(gate, order);
	if (order->epoch != gate->epoch)
		return refuse(gate, order);
	switch (order->kind) {
	case WT_ORDER_DETACH:
		return order_detach(gate, order);
	case WT_ORDER_ABORT:
		return order_abort(gate, order);
	case WT_ORDER_ATTACH:
		if (gate->state != WT_RANK_DETACHED && gate->state != WT_RANK_ATTACHED)
			return refuse(gate, order);
		gate->state = WT_RANK_ATTACHED;
		return answer(gate, WT_GATE_OPEN, WT_REPORT_ATTACHED);
	case WT_ORDER_PEER:
		if (gate->state != WT_RANK_ATTACHED)
			return refuse(gate, order);
		return answer(gate, WT_GATE_LEARN, WT_ORDER_INVALID);
	case WT_ORDER_CONNECT:
		return order_connect(gate, order);
	case WT_ORDER_RESUME:
		return order_resume(gate, order);
	default:
		return refuse(gate, order);
	}
}

struct wt_gate_step wt_gate_drained(struct wt_gate *gate)
{
	if (gate->state != WT_RANK_QUIESCING)
		return answer(gate, WT_GATE_NOTHING, WT_ORDER_INVALID);
	gate->state = WT_RANK_DRAINED;
	return answer(gate, WT_GATE_NOTHING, WT_REPORT_DRAINED);
}

struct wt_gate_step wt_gate_joined(struct wt_gate *gate)
{
	if (gate->state != WT_RANK_JOINING)
		return answer(gate, WT_GATE_NOTHING, WT_ORDER_INVALID);
	gate->state = WT_RANK_READY;
	return answer(gate, WT_GATE_NOTHING, WT_REPORT_READY);
}

struct wt_gate_step wt_gate_broken(const struct wt_gate *gate, const char *text)
{
	struct wt_gate_step step = answer(gate, WT_GATE_NOTHING, WT_REPORT_REFUSED);

	snprintf(step.reply.text, sizeof step.reply.text, "%s", text);
	return step;
}

struct wt_gate_step wt_gate_open_failed(struct wt_gate *gate, const char *text)
{
	struct wt_gate_step step;

	gate->state = WT_RANK_DETACHED;
	step = answer(gate, WT_GATE_NOTHING, WT_REPORT_REFUSED);
	snprintf(step.reply.text, sizeof step.reply.text, "%s", text);
	return step;
}

struct wt_gate_step wt_gate_connection_lost(struct wt_gate *gate, int connection)
{
	if (gate->owner != connection)
		return answer(gate, WT_GATE_NOTHING, WT_ORDER_INVALID);
	gate->owner = 0;
	if (gate->state == WT_RANK_QUIESCING)
		return move(gate, WT_RANK_RUNNING, WT_GATE_GO);
	if (gate->state == WT_RANK_RUNNING || gate->state == WT_RANK_DETACHED)
		return answer(gate, WT_GATE_NOTHING, WT_ORDER_INVALID);
	return answer(gate, WT_GATE_ALONE, WT_ORDER_INVALID);
}

bool wt_gate_closed(const struct wt_gate *gate)
{
	return gate->state == WT_RANK_DRAINED || gate->state == WT_RANK_DETACHED;
}

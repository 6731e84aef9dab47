/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_mpi_quiesce.c - coordinator and ranks together: gate.c, bond.c and barrier.c in one world, in random
 * orders.
 *
 * Ranks and their bonds are the real machines; between them are queues with any delay. Who dials may give up
 * a path that the other end has admitted. The coordinator may die at any moment, and another one comes. A
 * quiesce may be of a part: some ranks stay, let go only of those that move, and go on with each other.
 * Checked at every step: nobody detaches while anything is on a wire, nobody sends after its marker, nothing
 * is lost, no rank resumes before all are ready. And after the last fault the job always comes to rest in a
 * defined state.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "gate.h"
#include "barrier.h"
#include "bond.h"
#include "seed.h"

#define RANKS 4
#define QUEUE 64

enum message { DATA = 1, MARKER, END, NONE_WAS }; /* NONE_WAS: the path that was admitted came to nothing */

enum verdict { NONE, ADMITTED, REFUSED };

struct wire {
	unsigned first;
	unsigned count;
	struct {
		enum message kind;
		uint32_t epoch;
	} queue[QUEUE];
};

struct lines {
	unsigned first;
	unsigned count;
	struct wt_order queue[QUEUE];
};

struct node {
	struct wt_gate gate;
	struct wt_bond bonds[RANKS];
	bool dialling[RANKS];
	bool request[RANKS];         /* from that one, not looked at yet */
	enum verdict verdict[RANKS]; /* on its dial, not heard of yet */
	bool open;                   /* has a device */
	bool named[RANKS];           /* moves, as far as this one was told */
	int naming;                  /* by which coordinator */
	struct wire in[RANKS];
	struct lines orders;
	struct lines reports;
	int orders_from; /* which coordinator has sent them */
	unsigned sent[RANKS];
	unsigned got[RANKS];
};

static struct node nodes[RANKS];
static struct wt_barrier job;
static struct wt_barrier_rank job_ranks[RANKS];
static int connection; /* 0: no coordinator */
static int last_connection;
static unsigned lines_left; /* of the coordinator's life */
static bool verbs;          /* paths on which nothing has passed may come to nothing */

static void put_wire(int from, int to, enum message kind, uint32_t epoch)
{
	struct wire *wire = &nodes[to].in[from];

	check(wire->count < QUEUE);
	wire->queue[(wire->first + wire->count) % QUEUE].kind = kind;
	wire->queue[(wire->first + wire->count++) % QUEUE].epoch = epoch;
}

static void put_line(struct lines *lines, const struct wt_order *order)
{
	check(lines->count < QUEUE);
	lines->queue[(lines->first + lines->count++) % QUEUE] = *order;
}

static struct wt_order take_line(struct lines *lines)
{
	struct wt_order order = lines->queue[lines->first];

	lines->first = (lines->first + 1) % QUEUE;
	lines->count--;
	return order;
}

static void bond_event(int self, int other, enum wt_bond_event event)
{
	struct node *node = &nodes[self];
	unsigned actions = wt_bond_step(&node->bonds[other], event);

	check(!(actions & WT_BOND_BROKEN));
	if (event == WT_BOND_REQUEST)
		nodes[other].verdict[self] = actions & WT_BOND_KEEP ? ADMITTED : REFUSED;
	if (event == WT_BOND_DIALLED && actions & WT_BOND_REFUSE)
		put_wire(self, other, verbs ? NONE_WAS : END, 0);
	if (actions & WT_BOND_DIAL) {
		node->dialling[other] = true;
		nodes[other].request[self] = true;
	}
	if (actions & WT_BOND_MARK)
		put_wire(self, other, MARKER, node->gate.epoch);
	if (actions & WT_BOND_CLOSE) {
		if (event != WT_BOND_UNMADE) /* what is in there is of the next path then */
			node->in[other].count = 0;
		if (event == WT_BOND_DETACH && nodes[other].bonds[self].state == WT_BOND_UP)
			put_wire(self, other, END, 0);
	}
}

static bool rests(int self, int other)
{
	return other != self && (!nodes[self].gate.part || nodes[self].named[other]);
}

static void all_bonds(int self, enum wt_bond_event event)
{
	int other;

	for (other = 0; other < RANKS; other++) {
		if (!rests(self, other))
			continue;
		nodes[self].bonds[other].epoch = nodes[self].gate.epoch;
		bond_event(self, other, event);
	}
}

static void check_detach(int self)
{
	int other;

	for (other = 0; other < RANKS; other++) {
		const struct node *node = &nodes[other];

		check(node->gate.state >= WT_RANK_DRAINED);
		if (rests(self, other) && nodes[self].gate.state == WT_RANK_DETACHED) {
			check(nodes[self].sent[other] == node->got[self]);
			check(node->sent[self] == nodes[self].got[other]);
		}
	}
}

static void carry_out(int self, struct wt_gate_step step)
{
	struct node *node = &nodes[self];
	int other;

	if (step.actions & WT_GATE_DRAIN)
		all_bonds(self, WT_BOND_QUIESCE);
	if (step.actions & WT_GATE_CLOSE) {
		check_detach(self);
		node->open = node->gate.part;
		all_bonds(self, WT_BOND_DETACH);
	}
	if (step.actions & WT_GATE_OPEN) {
		node->open = true;
		step.reply.port = 1;
	}
	for (other = 0; other < RANKS && step.actions & WT_GATE_JOIN; other++)
		check(nodes[other].open); /* or it would have no address to tell */
	if (step.actions & WT_GATE_JOIN)
		all_bonds(self, WT_BOND_JOIN);
	if (step.actions & WT_GATE_GO)
		all_bonds(self, WT_BOND_RESUME);
	if (step.actions & WT_GATE_GO && step.reply.kind == WT_REPORT_RUNNING && node->open)
		for (other = 0; other < RANKS; other++)
			check(nodes[other].gate.state != WT_RANK_DETACHED);
	if (step.actions & WT_GATE_REPLY && connection && node->gate.owner == connection)
		put_line(&node->reports, &step.reply);
	if (node->gate.state == WT_RANK_RUNNING)
		node->gate.owner = 0;
}

static void look_at_rest(int self)
{
	struct node *node = &nodes[self];
	bool drained = true;
	bool joined = true;
	int other;

	for (other = 0; other < RANKS; other++) {
		if (!rests(self, other))
			continue;
		drained &= wt_bond_drained(&node->bonds[other], true) && !node->dialling[other];
		joined &= wt_bond_joined(&node->bonds[other]);
	}
	if (drained)
		carry_out(self, wt_gate_drained(&node->gate));
	if (joined)
		carry_out(self, wt_gate_joined(&node->gate));
}

/* What was sent on a path that was none, behind the end of the one before, is sent again; here it never was.
 */
static void take_back(int self, int other)
{
	struct wire *wire = &nodes[other].in[self];

	for (; wire->count; wire->count--) {
		enum message last = wire->queue[(wire->first + wire->count - 1) % QUEUE].kind;

		if (last == END || last == NONE_WAS)
			break;
		nodes[self].sent[other] -= last == DATA;
	}
}

/* verdict_first: it hears of its own dial before it looks at the other one's. */
static void dial_turn(int self, int other, bool verdict_first)
{
	struct node *node = &nodes[self];
	enum verdict verdict = node->verdict[other];

	if (verdict && (verdict_first || !node->request[other])) {
		node->verdict[other] = NONE;
		node->dialling[other] = false;
		if (verbs && verdict == ADMITTED && node->bonds[other].state == WT_BOND_DIALLING &&
			nodes[other].bonds[self].state == WT_BOND_UP && seed_below(6) == 0) {
			put_wire(self, other, NONE_WAS, 0);
			verdict = REFUSED;
		}
		bond_event(self, other, verdict == ADMITTED ? WT_BOND_DIALLED : WT_BOND_DIAL_REFUSED);
		return;
	}
	if (!node->request[other])
		return;
	node->request[other] = false;
	if ((wt_gate_closed(&node->gate) && rests(self, other)) || !node->open)
		nodes[other].verdict[self] = REFUSED;
	else
		bond_event(self, other, WT_BOND_REQUEST);
}

/* As rank.c does it. */
static void obey(int self, const struct wt_order *order)
{
	struct node *node = &nodes[self];
	struct wt_gate_step step;
	uint32_t named = 0;
	int i;

	for (i = 0; i < RANKS; i++)
		named += node->named[i];
	if (order->kind == WT_ORDER_QUIESCE && order->part && node->gate.state == WT_RANK_RUNNING)
		check(node->naming == node->orders_from && named == order->part);
	step = wt_gate_order(&node->gate, order, node->orders_from);
	if (step.actions & WT_GATE_PART) {
		if (node->naming != node->orders_from)
			memset(node->named, 0, sizeof node->named);
		node->naming = node->orders_from;
		node->named[order->rank] = true;
	}
	carry_out(self, step);
}

static void rank_turn(int self, uint64_t chance)
{
	struct node *node = &nodes[self];
	int other = (self + 1 + (int)((chance >> 8) % (RANKS - 1))) % RANKS;
	struct wire *wire = &node->in[other];
	enum message kind;

	switch (chance % 5) {
	case 0: /* the program sends */
		if (wt_bond_sends(&node->bonds[other]) && nodes[other].in[self].count < QUEUE / 2) {
			check(!(node->bonds[other].marked));
			put_wire(self, other, DATA, 0);
			node->sent[other]++;
		} else if (node->bonds[other].state == WT_BOND_IDLE && !node->dialling[other]) {
			bond_event(self, other, WT_BOND_WANT);
		}
		break;
	case 1: /* something arrives */
		if (!wire->count || node->bonds[other].state != WT_BOND_UP)
			break;
		kind = wire->queue[wire->first].kind;
		if (kind == MARKER)
			node->bonds[other].marker_epoch = wire->queue[wire->first].epoch;
		wire->first = (wire->first + 1) % QUEUE;
		wire->count--;
		if (kind == DATA)
			node->got[other]++;
		if (kind == END)
			bond_event(self, other, WT_BOND_LOST);
		if (kind == NONE_WAS) {
			take_back(self, other);
			bond_event(self, other, WT_BOND_UNMADE);
		}
		break;
	case 2: /* somebody dials, or one hears of its own dial */
		dial_turn(self, other, chance >> 16 & 1);
		break;
	case 3: /* an order, or the end of the connection behind the orders */
		if (node->orders.count) {
			struct wt_order order = take_line(&node->orders);

			obey(self, &order);
		} else if (node->gate.owner && node->gate.owner != connection) {
			carry_out(self, wt_gate_connection_lost(&node->gate, node->gate.owner));
		}
		break;
	default:
		look_at_rest(self);
	}
}

/* It dies when it has said `lines_left` more, in the midst of telling all perhaps; or a while after its last
 * line. */
static void say_line(int to, const struct wt_order *order)
{
	if (!lines_left)
		return;
	put_line(&nodes[to].orders, order);
	lines_left--;
}

static void tell_moves(int to)
{
	int i;

	for (i = 0; i < RANKS; i++)
		if (!job_ranks[i].stays)
			say_line(to,
				&(struct wt_order){
					.kind = WT_ORDER_MOVES, .epoch = job.epoch, .rank = (uint32_t)i });
}

/* Who moves has let go of everything; who stays goes on with those who stay. */
static void check_quiesced(void)
{
	int i;
	int k;

	for (i = 0; i < RANKS; i++) {
		check(nodes[i].gate.state == WT_RANK_DETACHED);
		check(job_ranks[i].stays || !nodes[i].gate.part);
		check(nodes[i].open == (nodes[i].gate.part > 0));
		for (k = 0; k < RANKS; k++)
			check(i == k || !rests(i, k) || nodes[i].bonds[k].state == WT_BOND_IDLE);
		for (k = 0; k < RANKS; k++)
			check(rests(i, k) || i == k || nodes[i].bonds[k].mode == WT_BOND_RUNNING);
	}
}

static enum wt_barrier_verdict coordinator_turn(void)
{
	enum wt_barrier_verdict verdict;
	int i;
	int k;

	if (!lines_left && seed_below(8) == 0)
		connection = 0;
	if (!connection)
		return WT_BARRIER_GOES_ON;

	for (i = 0; i < RANKS; i++) {
		while (nodes[i].reports.count) {
			struct wt_order report = take_line(&nodes[i].reports);

			wt_barrier_report(&job, (size_t)i, &report);
		}
	}
	for (i = 0; i < RANKS; i++) {
		struct wt_order order = { .kind = wt_barrier_next(&job, (size_t)i), .epoch = job.epoch };

		for (k = 0; k < RANKS && order.kind == WT_ORDER_CONNECT; k++)
			check(job_ranks[k].port == 1); /* known, so that it can be told */
		if (order.kind == WT_ORDER_QUIESCE && job_ranks[i].stays) {
			order.part = wt_barrier_part(&job);
			tell_moves(i);
		}
		if (order.kind)
			say_line(i, &order);
	}
	verdict = wt_barrier_verdict(&job);
	if (verdict == WT_BARRIER_DONE && job.goal == WT_BARRIER_QUIESCE)
		check_quiesced();
	return verdict;
}

/* A coordinator comes only when every rank knows that the last one is gone, as connections end in order. */
static bool coordinator_comes(enum wt_barrier_goal goal)
{
	bool part = goal == WT_BARRIER_QUIESCE && seed_below(2);
	int i;

	for (i = 0; i < RANKS; i++)
		if (nodes[i].gate.owner || nodes[i].orders.count)
			return false;
	connection = ++last_connection;
	memset(&job, 0, sizeof job);
	memset(job_ranks, 0, sizeof job_ranks);
	job.ranks = job_ranks;
	job.count = RANKS;
	for (i = 0; i < RANKS; i++) {
		nodes[i].orders_from = connection;
		nodes[i].reports.count = 0;
		job_ranks[i] = (struct wt_barrier_rank){ .rank = (uint32_t)i,
			.state = nodes[i].gate.state,
			.epoch = nodes[i].gate.epoch,
			.part = nodes[i].gate.state == WT_RANK_RUNNING ? 0 : nodes[i].gate.part,
			.stays = part && seed_below(2) };
	}
	wt_barrier_start(&job, goal);
	return true;
}

static void world_new(void)
{
	int i;
	int k;

	memset(nodes, 0, sizeof nodes);
	verbs = seed_below(2);
	connection = 0;
	for (i = 0; i < RANKS; i++) {
		nodes[i].gate.state = WT_RANK_RUNNING;
		nodes[i].open = true;
		for (k = 0; k < RANKS; k++)
			nodes[i].bonds[k].lower = i < k;
	}
}

/* Lets everything turn until the coordinator has its verdict, or has died. */
static enum wt_barrier_verdict run(unsigned lines)
{
	enum wt_barrier_verdict verdict = WT_BARRIER_GOES_ON;
	unsigned step;

	lines_left = lines;
	for (step = 0; step < 20000 && connection && verdict == WT_BARRIER_GOES_ON; step++) {
		uint64_t chance = seed_next();

		if (chance % 16 == 0)
			verdict = coordinator_turn();
		else
			rank_turn((int)((chance >> 4) % RANKS), seed_next());
	}
	check(!connection || verdict != WT_BARRIER_GOES_ON); /* a hang */
	return verdict;
}

static void let_go(void)
{
	unsigned step;

	connection = 0;
	for (step = 0; step < 2000; step++)
		rank_turn((int)(seed_next() % RANKS), seed_next());
}

static void one_world(void)
{
	unsigned round;
	int i;
	int k;

	world_new();
	if (seed_below(2)) /* else the first quiesce comes while they still dial */
		let_go();
	for (round = 0; round < 8; round++) {
		enum wt_barrier_goal goal = seed_below(2) ? WT_BARRIER_RESUME : WT_BARRIER_QUIESCE;
		unsigned lines = seed_next() % 3 ? 100000 : (unsigned)seed_below(16);

		while (!coordinator_comes(goal))
			let_go();
		if (seed_next() % 7 == 0 && goal == WT_BARRIER_QUIESCE)
			wt_barrier_trouble(&job, "the operator has changed his mind");
		run(lines);
		let_go();
	}
	while (!coordinator_comes(WT_BARRIER_RESUME))
		let_go();
	check(run(100000) == WT_BARRIER_DONE);
	let_go();
	/* Everything that was sent comes. */
	for (i = 0; i < RANKS; i++) {
		check(nodes[i].gate.state == WT_RANK_RUNNING);
		for (k = 0; k < RANKS; k++) {
			unsigned waiting = 0;
			unsigned at;

			for (at = 0; at < nodes[k].in[i].count; at++)
				waiting += nodes[k].in[i].queue[(nodes[k].in[i].first + at) % QUEUE].kind ==
					   DATA;
			check(nodes[i].sent[k] == nodes[k].got[i] + waiting);
		}
	}
}

static void test_random_worlds(void **state)
{
	seed_runs(300, one_world);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_random_worlds) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_fault.c - what goes wrong, and when: at a time, when a relay comes to a state, or with a message.
 *
 * A fault at a message or a state happens right there, in the middle of what the relay does.
 */
#include <stdio.h>
#include <string.h>

#include "messages.h"
#include "sim_world.h"
#include "wire.h"

static const char *const names[] = { "", "cut", "silent cut", "network down", "a path breaks", "tcp breaks",
	"verbs breaks", "a path is slow", "cancel", "the guest is paused", "the source QEMU fails",
	"source relay crashes", "destination relay crashes", "source QEMU crashes",
	"destination QEMU crashes", "", "another destination" };

static struct sim_party *clockwork;
static struct wt_loop *loop;
static unsigned states_seen[SIM_HOSTS][2], messages_seen[128];

static void go_down(const struct sim_fault *fault)
{
	for (unsigned a = 0; a < SIM_HOSTS; a++)
		for (unsigned b = a; b < SIM_HOSTS; b++)
			if (sim_pair_is(fault->pair, a, b))
				sim_net_link(a, b)->down_until_ns = sim_now_ns + fault->length_ns;
}

static void happen(struct sim_fault *fault)
{
	fault->done = true;
	fault->streaming = states_seen[0][1] > 0 && !sim_world.begins_anew;
	fault->aside = fault->streaming && fault->host && fault->host != sim_monitor_current();
	fault->way_back =
		sim_monitor_way_back() && sim_now_ns + 100 * SIM_MS < SIM_S + sim_world.guest.busy_ns;
	sim_world.last_fault_ns = sim_now_ns;
	if (fault->kind == SIM_RETARGET)
		sim_trace("%s: host%u", names[fault->kind], fault->to);
	else
		sim_trace("FAULT: %s, host %u, between %u and %u", names[fault->kind], fault->host,
			fault->pair.a, fault->pair.b);
	switch (fault->kind) {
	case SIM_CUT:
	case SIM_CUT_SILENT:
		sim_channels_cut(fault->pair, fault->kind == SIM_CUT_SILENT);
		break;
	case SIM_DOWN:
		go_down(fault);
		break;
	case SIM_BREAK_ONE:
		sim_paths_break_one(fault->which);
		break;
	case SIM_BREAK_TCP:
		sim_paths_break(WT_FABRIC_TCP, fault->pair);
		break;
	case SIM_BREAK_VERBS:
		sim_net.no_verbs_until_ns = sim_now_ns + fault->length_ns;
		sim_paths_break(WT_FABRIC_VERBS, fault->pair);
		break;
	case SIM_SLOW:
		sim_paths_slow(
			fault->which, (unsigned)(2 + fault->which % 100), sim_now_ns + fault->length_ns);
		break;
	case SIM_CANCEL:
		sim_job_cancel(fault->host);
		break;
	case SIM_PAUSE:
		sim_qemu_pause(sim_world.qemus[0]);
		break;
	case SIM_QEMU_FAILS:
		sim_qemu_give_up(sim_world.qemus[0]);
		break;
	case SIM_CRASH_SOURCE:
	case SIM_CRASH_DESTINATION:
		sim_party_kill(sim_world.relays[fault->host]);
		break;
	case SIM_CRASH_SOURCE_QEMU:
	case SIM_CRASH_DESTINATION_QEMU:
		sim_party_kill(sim_qemu_party(sim_world.qemus[fault->host]));
		break;
	case SIM_RETARGET:
		sim_job_retarget(fault->to, fault->spare_source);
		break;
	case SIM_FAULT_KINDS:
		break;
	}
}

static void timed(void *arg, uint64_t now_ns)
{
	happen(arg);
}

void sim_fault_state(struct sim_party *party, const char *state, bool before)
{
	unsigned host = sim_party_host(party), seen = ++states_seen[host][before];

	for (unsigned i = 0; i < sim_world.fault_count; i++) {
		struct sim_fault *f = &sim_world.faults[i];

		if (!f->done && f->when == SIM_AT_STATE && f->watched == host && f->before == before &&
			f->number == seen)
			happen(f);
	}
}

void sim_fault_message(unsigned host, unsigned type)
{
	unsigned seen = type < 128 ? ++messages_seen[type] : 0;

	for (unsigned i = 0; i < sim_world.fault_count; i++) {
		struct sim_fault *f = &sim_world.faults[i];

		if (f->done || f->when != SIM_AT_MESSAGE || f->type != type || f->number != seen)
			continue;
		if (host && f->concerned)
			f->host = host;
		if (host && f->concerned && f->pair.a < SIM_HOSTS)
			f->pair = (struct sim_pair){ .a = 0, .b = host };
		happen(f);
	}
}

bool sim_fault_happened(enum sim_fault_kind kind)
{
	for (unsigned i = 0; i < sim_world.fault_count; i++)
		if (sim_world.faults[i].kind == kind && sim_world.faults[i].done)
			return true;
	return false;
}

bool sim_fault_any(void)
{
	for (unsigned i = 0; i < sim_world.fault_count; i++)
		if (sim_world.faults[i].kind != SIM_RETARGET && sim_world.faults[i].done)
			return true;
	return false;
}

/* All hosts, or two of them. */
static struct sim_pair draw_pair(void)
{
	struct sim_pair pair = { .a = SIM_HOSTS, .b = SIM_HOSTS };
	unsigned shift;

	if (sim_one_in(3))
		return pair;
	pair.a = (unsigned)sim_below(sim_world.destinations + 1);
	shift = (unsigned)sim_between(1, sim_world.destinations);
	pair.b = (pair.a + shift) % (sim_world.destinations + 1);
	return pair;
}

static const unsigned change_types[] = { WT_MESSAGE_BLOCKS_END, WT_MESSAGE_READY, WT_MESSAGE_DRAIN,
	WT_MESSAGE_MISSING, WT_MESSAGE_DRAINED, WT_MESSAGE_RESTART, WT_MESSAGE_BASE, WT_MESSAGE_BASE_END,
	WT_MESSAGE_BASE_LEFT, WT_MESSAGE_EXPECT, WT_MESSAGE_EXPECTED, WT_MESSAGE_SERVE, WT_MESSAGE_SERVE_END,
	WT_MESSAGE_HELPER, WT_MESSAGE_RELEASE, WT_RELAY_GUEST, SIM_CONNECTS };

static unsigned any_host(enum sim_fault_kind kind)
{
	if (kind == SIM_CRASH_SOURCE || kind == SIM_CRASH_SOURCE_QEMU)
		return 0;
	if (kind == SIM_CANCEL)
		return (unsigned)sim_below(sim_world.destinations + 1);
	return (unsigned)sim_between(1, sim_world.destinations);
}

/* In some runs the first connection of a helper is cut instead. */
static void maybe_cut_first_connection(struct sim_fault *fault)
{
	if (!sim_world.retargets || !sim_one_in(10))
		return;
	fault->kind = SIM_CUT;
	fault->when = SIM_AT_MESSAGE;
	fault->type = SIM_CONNECTS;
	fault->number = 3;
	fault->pair = (struct sim_pair){ .a = SIM_HOSTS, .b = SIM_HOSTS };
}

/* A wish for another destination: at any time of the migration, or with a message. */
static void draw_retarget(struct sim_fault *fault, unsigned to, uint64_t from_ns)
{
	static const unsigned types[] = { WT_MESSAGE_ANNOUNCE, WT_MESSAGE_LANDED, WT_RELAY_STREAM };
	bool in_change = sim_one_in(2);

	*fault = (struct sim_fault){ .kind = SIM_RETARGET,
		.when = sim_one_in(3) ? SIM_AT_MESSAGE : SIM_AT_TIME,
		.to = to,
		.spare_source = sim_one_in(3),
		.at_ns = from_ns,
		.number = (unsigned)sim_between(1, in_change ? 4 : 30) };
	fault->type = in_change ? change_types[sim_below(sizeof change_types / sizeof change_types[0])]
				: types[sim_below(sizeof types / sizeof types[0])];
	if (sim_one_in(12)) {
		fault->when = SIM_AT_STATE;
		fault->number = (unsigned)sim_between(1, 3);
	}
	maybe_cut_first_connection(fault);
}

static void draw(struct sim_fault *fault)
{
	static const unsigned types[] = { SIM_CONNECTS, WT_MESSAGE_BLOCKS_END, WT_MESSAGE_READY,
		WT_MESSAGE_REGION, WT_MESSAGE_ANNOUNCE, WT_MESSAGE_LANDED, WT_RELAY_GUEST, WT_RELAY_STREAM,
		WT_RELAY_RAM_END, WT_RELAY_READY, WT_RELAY_COMMIT, WT_RELAY_RUNNING };

	*fault = (struct sim_fault){ .kind = (enum sim_fault_kind)sim_between(1, SIM_FAULT_KINDS - 1),
		.when = (enum sim_fault_when)sim_between(1, 3),
		.which = sim_random(),
		.pair = draw_pair(),
		.before = sim_one_in(2),
		.length_ns = sim_below(sim_one_in(4) ? 5 * SIM_S : 300 * SIM_MS) };
	if (sim_world.retargets && sim_one_in(5))
		fault->kind = sim_one_in(2) ? SIM_CRASH_DESTINATION : SIM_CRASH_DESTINATION_QEMU;
	fault->host = any_host(fault->kind);
	fault->concerned = sim_one_in(2) && fault->host;
	fault->at_ns = sim_now_ns + sim_below(sim_one_in(4) ? 2 * SIM_S : 250 * SIM_MS) +
		       sim_below(sim_world.guest.busy_ns + 1);
	if (fault->when == SIM_AT_STATE && sim_one_in(2))
		fault->watched = 0;
	else if (fault->when == SIM_AT_STATE)
		fault->watched = (unsigned)sim_between(1, sim_world.destinations);
	fault->number = (unsigned)sim_between(1, 6);
	fault->type = types[sim_below(sizeof types / sizeof types[0])];
	if (fault->type == WT_MESSAGE_ANNOUNCE || fault->type == WT_MESSAGE_LANDED)
		fault->number = (unsigned)sim_between(1, 30);
	else if (fault->type != WT_RELAY_STREAM && fault->when == SIM_AT_MESSAGE)
		fault->number = 1;
	if (sim_world.retargets && sim_one_in(2)) {
		fault->type = change_types[sim_below(sizeof change_types / sizeof change_types[0])];
		fault->number = (unsigned)sim_between(1, 3);
	}
	maybe_cut_first_connection(fault);
}

void sim_faults_draw(void)
{
	uint64_t at_ns = sim_now_ns + sim_world.start_ns[0] + sim_below((2 * SIM_CONNECT_NS));
	unsigned to = 1;

	memset(states_seen, 0, sizeof states_seen);
	memset(messages_seen, 0, sizeof messages_seen);
	sim_world.fault_count = sim_one_in(3) ? 0 : (unsigned)sim_between(1, sim_one_in(2) ? 1 : 4);
	for (unsigned i = 0; i < sim_world.fault_count; i++)
		draw(&sim_world.faults[i]);
	for (unsigned i = 0; i < sim_world.retargets; i++) {
		if (!sim_one_in(8))
			to = 1 + (to - 1 + (unsigned)sim_between(1, sim_world.destinations - 1)) %
					 sim_world.destinations;
		at_ns += sim_below(sim_world.guest.busy_ns / sim_world.retargets);
		draw_retarget(&sim_world.faults[sim_world.fault_count++], to, at_ns);
	}
}

void sim_faults_start(void)
{
	clockwork = sim_party_new("faults", 0, NULL, NULL);
	loop = sim_loop_new(clockwork);
	for (unsigned i = 0; i < sim_world.fault_count; i++)
		if (sim_world.faults[i].when == SIM_AT_TIME)
			wt_loop_timer_set(loop, &sim_world.faults[i].timer, sim_world.faults[i].at_ns, timed,
				&sim_world.faults[i]);
}

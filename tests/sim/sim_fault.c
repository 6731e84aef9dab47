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
	"destination QEMU crashes" };

static struct sim_party *clockwork;
static struct wt_loop *loop;
static unsigned states_seen[SIM_HOSTS][2], messages_seen[128];

static void happen(struct sim_fault *fault)
{
	fault->done = true;
	fault->streaming = states_seen[0][1] > 0;
	sim_world.last_fault_ns = sim_now_ns;
	sim_trace("FAULT: %s", names[fault->kind]);
	switch (fault->kind) {
	case SIM_CUT:
	case SIM_CUT_SILENT:
		sim_channels_cut(fault->kind == SIM_CUT_SILENT);
		break;
	case SIM_DOWN:
		sim_net.down_until_ns = sim_now_ns + fault->length_ns;
		break;
	case SIM_BREAK_ONE:
		sim_paths_break_one(fault->which);
		break;
	case SIM_BREAK_TCP:
		sim_paths_break(WT_FABRIC_TCP);
		break;
	case SIM_BREAK_VERBS:
		sim_net.no_verbs_until_ns = sim_now_ns + fault->length_ns;
		sim_paths_break(WT_FABRIC_VERBS);
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
		sim_party_kill(sim_world.relays[fault->kind - SIM_CRASH_SOURCE]);
		break;
	case SIM_CRASH_SOURCE_QEMU:
	case SIM_CRASH_DESTINATION_QEMU:
		sim_party_kill(sim_qemu_party(sim_world.qemus[fault->kind - SIM_CRASH_SOURCE_QEMU]));
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

		if (!f->done && f->when == SIM_AT_STATE && f->host == host && f->before == before &&
			f->number == seen)
			happen(f);
	}
}

void sim_fault_message(struct sim_party *party, unsigned type)
{
	unsigned seen = type < 128 ? ++messages_seen[type] : 0;

	for (unsigned i = 0; i < sim_world.fault_count; i++) {
		struct sim_fault *f = &sim_world.faults[i];

		if (!f->done && f->when == SIM_AT_MESSAGE && f->type == type && f->number == seen)
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
		if (sim_world.faults[i].done)
			return true;
	return false;
}

static void draw(struct sim_fault *fault)
{
	static const unsigned types[] = { SIM_CONNECTS, WT_MESSAGE_BLOCKS_END, WT_MESSAGE_READY,
		WT_MESSAGE_REGION, WT_MESSAGE_ANNOUNCE, WT_MESSAGE_LANDED, WT_RELAY_GUEST, WT_RELAY_STREAM,
		WT_RELAY_RAM_END, WT_RELAY_READY, WT_RELAY_COMMIT, WT_RELAY_RUNNING };

	*fault = (struct sim_fault){ .kind = (enum sim_fault_kind)sim_between(1, SIM_FAULT_KINDS - 1),
		.when = (enum sim_fault_when)sim_between(1, 3),
		.which = sim_random(),
		.host = (unsigned)sim_below(SIM_HOSTS),
		.before = sim_one_in(2),
		.length_ns = sim_below(sim_one_in(4) ? 5 * SIM_S : 300 * SIM_MS) };
	fault->at_ns = sim_now_ns + sim_below(sim_one_in(4) ? 2 * SIM_S : 250 * SIM_MS);
	fault->number = (unsigned)sim_between(1, 6);
	fault->type = types[sim_below(sizeof types / sizeof types[0])];
	if (fault->type == WT_MESSAGE_ANNOUNCE || fault->type == WT_MESSAGE_LANDED)
		fault->number = (unsigned)sim_between(1, 30);
	else if (fault->type != WT_RELAY_STREAM && fault->when == SIM_AT_MESSAGE)
		fault->number = 1;
}

void sim_faults_draw(void)
{
	memset(states_seen, 0, sizeof states_seen);
	memset(messages_seen, 0, sizeof messages_seen);
	sim_world.fault_count = sim_one_in(3) ? 0 : (unsigned)sim_between(1, SIM_FAULTS_MAX);
	for (unsigned i = 0; i < sim_world.fault_count; i++)
		draw(&sim_world.faults[i]);
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

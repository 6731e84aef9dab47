/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transitions.c - holds the models' machines to the code: reads lines of transitions.pml, and makes each step
 * with the code's own machine.
 *
 *   transitions --names    prints the names of states and actions as the code says them
 *   transitions < LINES    exit code 1 at the first step that differs; prints how many there were of each
 * machine
 *
 * A line has the machine's name, its state and flags, the event, and the state and flags and actions behind
 * it. Names of the model are the code's with a prefix, and `_` for `-`.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "destination_switch.h"
#include "gang_order.h"
#include "recover.h"
#include "source_retarget.h"
#include "source_switch.h"

#define TARGETS 3
#define NOBODY 255
#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static const char *const source_events[] = { "", "se_accepted", "se_guest_stopped", "se_destination_ready",
	"se_qemu_completed", "se_qemu_failed", "se_destination_runs", "se_deadline", "se_trouble",
	"se_destination_unrun", "se_qemu_gone", "se_restart", "se_destination_unloaded" };
static const char *const destination_events[] = { "", "de_connected", "de_ram_complete", "de_verified",
	"de_loaded", "de_commit", "de_running", "de_abort", "de_keep", "de_trouble", "de_peer_lost",
	"de_qemu_gone", "de_drain", "de_restart", "de_release", "de_served" };
static const char *const retarget_events[] = { "", "re_retarget", "re_next_ready", "re_old_drained",
	"re_lost", "re_qemu_ended", "re_deadline", "re_base_sent", "re_expected", "re_base_done",
	"re_guest_stopped", "re_runs", "re_over", "re_restart", "re_again" };
static const char *const gang_events[] = { "", "ge_started", "ge_listening", "ge_held", "ge_committed",
	"ge_moved", "ge_ended_moved", "ge_ended_back", "ge_ended_lost" };
static const char *const roles[] = { "target_free", "target_next", "target_current", "target_retired",
	"target_helper", "target_dropped", "target_kept" };
static const char *const recover_sources[] = { "recover_source_unknown", "recover_source_committed",
	"recover_source_busy", "recover_source_owns" };
static const char *const recover_destinations[] = { "recover_destination_unknown",
	"recover_destination_loaded", "recover_destination_incomplete", "recover_destination_runs",
	"recover_destination_none", "recover_destination_foreign" };
static const char *const verdicts[] = { "", "verdict_run_destination", "verdict_quit_source",
	"verdict_cancel_source", "verdict_source_keeps", "verdict_committed_no_destination", "verdict_ask",
	"verdict_two", "verdict_not_a_destination", "verdict_committed_elsewhere" };

static char *rest; /* of the line */
static char whole[1024];

static void fail(const char *why)
{
	printf("transitions: %s: %s\n", why, whole);
	exit(1);
}

static const char *word(void)
{
	const char *text = strtok_r(NULL, " \n", &rest);

	if (!text)
		fail("the line ends too soon");
	return text;
}

static unsigned number(void)
{
	return (unsigned)strtoul(word(), NULL, 10);
}

static void expect(unsigned ours, const char *what)
{
	if (number() != ours)
		fail(what);
}

static int named(const char *const *names, int count)
{
	const char *text = word();

	for (int i = 0; i < count; i++)
		if (strcmp(names[i], text) == 0)
			return i;
	fail("a name that the code does not have");
	return -1;
}

/* ---- names ---- */

static const char *source_name(int i)
{
	return wt_source_state_name((enum wt_source_state)i);
}

static const char *destination_name(int i)
{
	return wt_destination_state_name((enum wt_destination_state)i);
}

static const char *retarget_name(int i)
{
	return wt_source_retarget_state_name((enum wt_retarget_state)i);
}

static const char *gang_name(int i)
{
	return wt_gang_state_name((enum wt_gang_state)i);
}

static const char *do_name(int i)
{
	return wt_gang_action_name((enum wt_gang_action_kind)i);
}

struct table {
	const char *prefix;
	const char *(*name)(int i);
	int first, count;
};

enum { SOURCE, DESTINATION, RETARGET, GANG, DO };

static const struct table tables[] = {
	{ "source_", source_name, WT_SOURCE_CONNECTING, WT_SOURCE_AGAIN + 1 },
	{ "destination_", destination_name, WT_DESTINATION_WAITING, WT_DESTINATION_STATES },
	{ "retarget_", retarget_name, WT_RETARGET_IDLE, WT_RETARGET_OVER + 1 },
	{ "gang_", gang_name, WT_GANG_IDLE, WT_GANG_STATES },
	{ "do_", do_name, WT_GANG_DO_NOTHING, WT_GANG_DO_OVER + 1 },
};

static void model_name(const struct table *table, int i, char *ret_text, size_t size)
{
	snprintf(ret_text, size, "%s%s", table->prefix, table->name(i));
	for (char *c = ret_text; *c; c++)
		if (*c == '-')
			*c = '_';
}

static int print_names(void)
{
	char text[64];

	for (int t = 0; t < COUNT(tables); t++) {
		if (t < DO && strcmp(tables[t].name(tables[t].count), "invalid")) {
			printf("transitions: the code has more names with %s than are known here\n",
				tables[t].prefix);
			return 1;
		}
		for (int i = tables[t].first; i < tables[t].count; i++) {
			model_name(&tables[t], i, text, sizeof text);
			printf("%s\n", text);
		}
	}
	return 0;
}

static int state(int table)
{
	const char *said = word();
	char text[64];

	for (int i = tables[table].first; i < tables[table].count; i++) {
		model_name(&tables[table], i, text, sizeof text);
		if (strcmp(text, said) == 0)
			return i;
	}
	fail("a state that the code does not have");
	return -1;
}

static void expect_state(int table, int ours)
{
	if (state(table) != ours)
		fail("the code goes to another state");
}

/* ---- one line of each kind ---- */

static void source_line(void)
{
	struct wt_source_switch m = { .state = (enum wt_source_state)state(SOURCE) };
	unsigned actions;

	m.unrun = number();
	m.was_stopped = number();
	m.returned = number();
	m.unloaded = number();
	m.keep_source = number();
	actions = wt_source_switch_step(&m, (enum wt_source_event)named(source_events, COUNT(source_events)));
	expect_state(SOURCE, (int)m.state);
	expect(m.unrun, "unrun differs");
	expect(m.was_stopped, "was_stopped differs");
	expect(m.returned, "returned differs");
	expect(m.unloaded, "unloaded differs");
	expect(m.keep_source, "keep_source differs");
	expect(actions, "the code's actions differ");
}

static void destination_line(void)
{
	struct wt_destination_switch m = { .state = (enum wt_destination_state)state(DESTINATION) };
	unsigned actions;

	m.verify = number();
	m.alone = number();
	m.qemu_gone = number();
	actions = wt_destination_switch_step(
		&m, (enum wt_destination_event)named(destination_events, COUNT(destination_events)));
	expect_state(DESTINATION, (int)m.state);
	expect(m.verify, "verify differs");
	expect(m.alone, "alone differs");
	expect(m.qemu_gone, "qemu_gone differs");
	expect(actions, "the code's actions differ");
}

static void recover_line(void)
{
	int source = named(recover_sources, COUNT(recover_sources));
	bool runs = number(), force;
	int destination = named(recover_destinations, COUNT(recover_destinations));

	force = number();
	if (named(verdicts, COUNT(verdicts)) != (int)wt_recover_decide((enum wt_recover_source)source, runs,
							(enum wt_recover_destination)destination, force))
		fail("the code decides otherwise");
}

static int target(void)
{
	unsigned said = number();

	return said == NOBODY ? -1 : (int)said;
}

static void take_retarget(struct wt_source_retarget *m)
{
	memset(m, 0, sizeof *m);
	m->state = (enum wt_retarget_state)state(RETARGET);
	for (int i = 0; i < TARGETS; i++) {
		m->roles[i] = (uint8_t)named(roles, COUNT(roles));
		m->retired_as[i] = (uint8_t)number();
	}
	m->retirements = (uint8_t)number();
	m->current = target();
	m->next = target();
	m->old = target();
	m->closed = target();
	m->drains = number();
	m->staged = number();
	m->returned = number();
	m->complete = number();
	m->orphaned = number();
	m->stopped = number();
	m->restarts = number();
}

static void retarget_line(void)
{
	struct wt_source_retarget m, behind;
	int event;
	unsigned actions;

	take_retarget(&m);
	event = named(retarget_events, COUNT(retarget_events));
	actions = wt_source_retarget_step(&m, (enum wt_retarget_event)event, number());
	take_retarget(&behind);
	if (memcmp(m.roles, behind.roles, sizeof m.roles))
		fail("the code's roles differ");
	if (m.state != behind.state || memcmp(m.retired_as, behind.retired_as, sizeof m.retired_as) ||
		m.retirements != behind.retirements || m.current != behind.current || m.next != behind.next ||
		m.old != behind.old || m.closed != behind.closed || m.drains != behind.drains)
		fail("the code goes to another state");
	if (m.staged != behind.staged || m.returned != behind.returned || m.complete != behind.complete ||
		m.orphaned != behind.orphaned || m.stopped != behind.stopped || m.restarts != behind.restarts)
		fail("the code's flags differ");
	expect(actions, "the code's actions differ");
}

static void take_gang(struct wt_gang_order *o)
{
	memset(o, 0, sizeof *o);
	o->count = TARGETS;
	for (int i = 0; i < TARGETS; i++) {
		o->vms[i].state = (uint8_t)state(GANG);
		o->vms[i].has_start = number();
		o->vms[i].moving = number();
	}
	o->parallel = (uint8_t)number();
	o->trouble = number();
	o->forward = number();
	o->undo = number();
	o->over = number();
	o->committed = number();
}

static void expect_gang(const struct wt_gang_order *o)
{
	struct wt_gang_order behind;

	take_gang(&behind);
	if (memcmp(o, &behind, sizeof behind))
		fail("the code's order of a gang differs");
}

static void gang_line(const char *kind)
{
	struct wt_gang_action action = { 0 };
	struct wt_gang_order o;
	int what;

	take_gang(&o);
	if (strcmp(kind, "gang_event") == 0) {
		what = named(gang_events, COUNT(gang_events));
		wt_gang_order_event(&o, number(), (enum wt_gang_event)what);
	} else if (strcmp(kind, "gang_restore") == 0) {
		what = state(DO);
		wt_gang_order_restore(&o, number(), (enum wt_gang_action_kind)what);
	} else if (strcmp(kind, "gang_take_over") == 0) {
		wt_gang_order_take_over(&o);
	} else {
		action = wt_gang_order_next(&o);
	}
	expect_gang(&o);
	if (strcmp(kind, "gang_next") == 0) {
		if (state(DO) != action.kind)
			fail("the code says another action");
		expect(action.vm, "the code's action is of another guest");
	}
}

static void step_line(const char *kind)
{
	if (strcmp(kind, "source") == 0)
		source_line();
	else if (strcmp(kind, "destination") == 0)
		destination_line();
	else if (strcmp(kind, "recover") == 0)
		recover_line();
	else if (strcmp(kind, "retarget") == 0)
		retarget_line();
	else
		gang_line(kind);
}

int main(int argc, char **argv)
{
	static const char *const kinds[] = { "source", "destination", "recover", "retarget", "gang_event",
		"gang_next", "gang_restore", "gang_take_over" };
	unsigned counts[COUNT(kinds)] = { 0 };
	char line[sizeof whole];

	if (argc == 2 && strcmp(argv[1], "--names") == 0)
		return print_names();
	while (fgets(line, sizeof line, stdin)) {
		char *kind;
		int i = 0;

		memcpy(whole, line, sizeof whole);
		kind = strtok_r(line, " \n", &rest);
		while (i < COUNT(kinds) && (!kind || strcmp(kinds[i], kind)))
			i++;
		if (i == COUNT(kinds))
			fail("not a line of transitions.pml");
		counts[i]++;
		step_line(kind);
	}
	for (int i = 0; i < COUNT(kinds); i++)
		printf("%s: %u steps alike\n", kinds[i], counts[i]);
	for (int i = 0; i < COUNT(kinds); i++)
		if (!counts[i])
			return 1;
	return 0;
}

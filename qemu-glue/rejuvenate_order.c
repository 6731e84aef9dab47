/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rejuvenate_order.c - see rejuvenate_order.h.
 */
#include "rejuvenate_order.h"

#include <stddef.h>
#include <string.h>

void wt_rejuvenate_order_init(
	struct wt_rejuvenate_order *o, unsigned hosts, unsigned guests, unsigned parallel)
{
	memset(o, 0, sizeof *o);
	o->hosts = (uint16_t)hosts;
	o->guests = (uint16_t)guests;
	o->parallel = (uint16_t)parallel;
}

bool wt_rejuvenate_step_of_guest(enum wt_rejuvenate_step step)
{
	return step == WT_REJUVENATE_HANDOVER || step == WT_REJUVENATE_LEAVE || step == WT_REJUVENATE_RETURN;
}

unsigned wt_rejuvenate_order_host(const struct wt_rejuvenate_order *o, struct wt_rejuvenate_action a)
{
	return wt_rejuvenate_step_of_guest((enum wt_rejuvenate_step)a.step) ? o->guest[a.which].home
									    : a.which;
}

/* ---- where guests are ---- */

/* The first guest of a host that is at a place; -1: none. */
static int find_guest(const struct wt_rejuvenate_order *o, unsigned host, enum wt_rejuvenate_place place)
{
	for (unsigned i = 0; i < o->guests; i++)
		if (o->guest[i].home == host && o->guest[i].place == place)
			return (int)i;
	return -1;
}

/* ... whose QEMU was not replaced yet. */
static int find_stale(const struct wt_rejuvenate_order *o, unsigned host)
{
	for (unsigned i = 0; i < o->guests; i++)
		if (o->guest[i].home == host && !o->guest[i].fresh)
			return (int)i;
	return -1;
}

static bool all_at(const struct wt_rejuvenate_order *o, unsigned host, enum wt_rejuvenate_place place)
{
	for (unsigned i = 0; i < o->guests; i++)
		if (o->guest[i].home == host && o->guest[i].place != place)
			return false;
	return true;
}

/* Guests of one of them go to the other one. */
static bool entangled(const struct wt_rejuvenate_order *o, unsigned a, unsigned b)
{
	for (unsigned i = 0; i < o->guests; i++) {
		const struct wt_rejuvenate_guest *guest = &o->guest[i];

		if (o->host[guest->home].by != WT_REJUVENATE_BY_EVACUATION)
			continue;
		if ((guest->home == a && guest->away == b) || (guest->home == b && guest->away == a))
			return true;
	}
	return false;
}

/* ---- hosts ---- */

static void settle(struct wt_rejuvenate_order *o, unsigned number)
{
	struct wt_rejuvenate_host *host = &o->host[number];

	if (host->by == WT_REJUVENATE_BY_HANDOVER)
		host->done = host->checked && find_stale(o, number) < 0;
	else if (host->by == WT_REJUVENATE_BY_EVACUATION)
		host->done = host->ran && host->answers && all_at(o, number, WT_REJUVENATE_HOME);
}

static bool may_begin(const struct wt_rejuvenate_order *o, unsigned number)
{
	unsigned active = 0;

	for (unsigned i = 0; i < o->hosts; i++) {
		const struct wt_rejuvenate_host *other = &o->host[i];

		if (other->failed)
			return false;
		if (!other->begun || other->done)
			continue;
		active++;
		if (entangled(o, i, number))
			return false;
	}
	return active < o->parallel;
}

static struct wt_rejuvenate_action action(enum wt_rejuvenate_step step, unsigned which)
{
	return (struct wt_rejuvenate_action){ (uint8_t)step, (uint16_t)which };
}

static struct wt_rejuvenate_action come_home(const struct wt_rejuvenate_order *o, unsigned number)
{
	int guest = find_guest(o, number, WT_REJUVENATE_AWAY);

	if (guest < 0)
		return action(WT_REJUVENATE_NO_STEP, 0);
	if (!o->host[number].answers)
		return action(WT_REJUVENATE_PROBE, number);
	return action(WT_REJUVENATE_RETURN, (unsigned)guest);
}

static struct wt_rejuvenate_action renew(const struct wt_rejuvenate_order *o, unsigned number)
{
	const struct wt_rejuvenate_host *host = &o->host[number];
	int guest;

	if (!host->begun && !may_begin(o, number))
		return action(WT_REJUVENATE_NO_STEP, 0);
	if (!host->checked)
		return action(WT_REJUVENATE_CHECK, number);
	if (host->by == WT_REJUVENATE_BY_HANDOVER)
		return action(WT_REJUVENATE_HANDOVER, (unsigned)find_stale(o, number));
	guest = find_guest(o, number, WT_REJUVENATE_HOME);
	if (!host->ran && guest >= 0)
		return action(WT_REJUVENATE_LEAVE, (unsigned)guest);
	if (!host->ran)
		return action(WT_REJUVENATE_COMMAND, number);
	return host->answers ? come_home(o, number) : action(WT_REJUVENATE_PROBE, number);
}

/* ---- said, and ended ---- */

static void say(struct wt_rejuvenate_order *o, struct wt_rejuvenate_action a)
{
	struct wt_rejuvenate_host *host = &o->host[wt_rejuvenate_order_host(o, a)];

	if (a.step == WT_REJUVENATE_OVER) {
		o->over = true;
		return;
	}
	host->begun = true;
	host->doing = a;
	if (a.step == WT_REJUVENATE_LEAVE || a.step == WT_REJUVENATE_COMMAND)
		host->ran = host->answers = false;
}

static bool all_done(const struct wt_rejuvenate_order *o)
{
	for (unsigned i = 0; i < o->hosts; i++) {
		const struct wt_rejuvenate_host *host = &o->host[i];

		if (host->failed || host->doing.step)
			return false;
		if (o->homeward ? !all_at(o, i, WT_REJUVENATE_HOME) : host->by && !host->done)
			return false;
	}
	return true;
}

struct wt_rejuvenate_action wt_rejuvenate_order_next(struct wt_rejuvenate_order *o)
{
	struct wt_rejuvenate_action a = action(WT_REJUVENATE_NO_STEP, 0);

	if (o->stopped || o->over)
		return a;
	for (unsigned i = 0; i < o->hosts && !a.step; i++) {
		const struct wt_rejuvenate_host *host = &o->host[i];

		if (host->by && !host->done && !host->failed && !host->doing.step)
			a = o->homeward ? come_home(o, i) : renew(o, i);
	}
	if (!a.step && all_done(o))
		a.step = WT_REJUVENATE_OVER;
	if (a.step)
		say(o, a);
	return a;
}

static void take_guest(
	struct wt_rejuvenate_order *o, struct wt_rejuvenate_action a, enum wt_rejuvenate_result result)
{
	struct wt_rejuvenate_guest *guest = &o->guest[a.which];

	if (result == WT_REJUVENATE_LOST)
		guest->place = WT_REJUVENATE_UNKNOWN;
	else if (result == WT_REJUVENATE_OK && a.step == WT_REJUVENATE_LEAVE)
		guest->place = WT_REJUVENATE_AWAY;
	else if (result == WT_REJUVENATE_OK && a.step == WT_REJUVENATE_RETURN)
		guest->place = WT_REJUVENATE_HOME;
	else if (result == WT_REJUVENATE_OK)
		guest->fresh = true;
}

void wt_rejuvenate_order_ended(
	struct wt_rejuvenate_order *o, struct wt_rejuvenate_action a, enum wt_rejuvenate_result result)
{
	unsigned number = wt_rejuvenate_order_host(o, a);
	struct wt_rejuvenate_host *host = &o->host[number];
	bool good = result == WT_REJUVENATE_OK;

	if (!wt_rejuvenate_order_doing(o, a))
		return;
	host->doing = action(WT_REJUVENATE_NO_STEP, 0);
	host->failed = !good;
	if (wt_rejuvenate_step_of_guest((enum wt_rejuvenate_step)a.step))
		take_guest(o, a, result);
	else if (a.step == WT_REJUVENATE_CHECK)
		host->checked = good;
	else if (a.step == WT_REJUVENATE_COMMAND)
		host->ran = good;
	else if (a.step == WT_REJUVENATE_PROBE)
		host->answers = good;
	settle(o, number);
}

void wt_rejuvenate_order_stop(struct wt_rejuvenate_order *o)
{
	o->stopped = true;
}

/* ---- what one of before has done ---- */

bool wt_rejuvenate_order_doing(const struct wt_rejuvenate_order *o, struct wt_rejuvenate_action a)
{
	const struct wt_rejuvenate_action *doing = &o->host[wt_rejuvenate_order_host(o, a)].doing;

	return a.step && doing->step == a.step && doing->which == a.which;
}

static bool possible(const struct wt_rejuvenate_order *o, struct wt_rejuvenate_action a)
{
	unsigned number = wt_rejuvenate_order_host(o, a);
	const struct wt_rejuvenate_host *host = &o->host[number];
	bool evacuation = host->by == WT_REJUVENATE_BY_EVACUATION;

	if (a.step == WT_REJUVENATE_OVER)
		return !wt_rejuvenate_order_busy(o);
	if (host->doing.step || host->done)
		return false;
	switch (a.step) {
	case WT_REJUVENATE_CHECK:
		return host->by;
	case WT_REJUVENATE_HANDOVER:
		return host->by == WT_REJUVENATE_BY_HANDOVER && !o->guest[a.which].fresh;
	case WT_REJUVENATE_LEAVE:
		return evacuation && o->guest[a.which].place == WT_REJUVENATE_HOME;
	case WT_REJUVENATE_COMMAND:
		return evacuation && all_at(o, number, WT_REJUVENATE_AWAY);
	case WT_REJUVENATE_PROBE:
		return evacuation;
	case WT_REJUVENATE_RETURN:
		return evacuation && host->answers && o->guest[a.which].place == WT_REJUVENATE_AWAY;
	default:
		return false;
	}
}

bool wt_rejuvenate_order_restore(struct wt_rejuvenate_order *o, struct wt_rejuvenate_action a)
{
	if (!possible(o, a))
		return false;
	say(o, a);
	return true;
}

bool wt_rejuvenate_order_found(struct wt_rejuvenate_order *o, unsigned guest, enum wt_rejuvenate_place place)
{
	if (o->guest[guest].place != WT_REJUVENATE_UNKNOWN)
		return false;
	o->guest[guest].place = (uint8_t)place;
	settle(o, o->guest[guest].home);
	return true;
}

void wt_rejuvenate_order_resume(struct wt_rejuvenate_order *o, bool homeward)
{
	o->homeward = homeward;
	for (unsigned i = 0; i < o->hosts; i++) {
		struct wt_rejuvenate_host *host = &o->host[i];

		host->failed = find_guest(o, i, WT_REJUVENATE_UNKNOWN) >= 0;
		if (homeward && host->doing.step != WT_REJUVENATE_RETURN)
			host->answers = false;
	}
}

unsigned wt_rejuvenate_order_busy(const struct wt_rejuvenate_order *o)
{
	unsigned count = 0;

	for (unsigned i = 0; i < o->hosts; i++)
		count += o->host[i].doing.step != WT_REJUVENATE_NO_STEP;
	return count;
}

const char *wt_rejuvenate_step_name(enum wt_rejuvenate_step step)
{
	static const char *const names[] = { "nothing", "check", "handover", "leave", "command", "probe",
		"return", "over" };

	return (unsigned)step < WT_REJUVENATE_STEPS ? names[step] : "nothing";
}

const char *wt_rejuvenate_result_name(enum wt_rejuvenate_result result)
{
	static const char *const names[] = { "nothing", "ok", "failed", "lost" };

	return (unsigned)result < WT_REJUVENATE_RESULTS ? names[result] : "nothing";
}

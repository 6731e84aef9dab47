/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_rejuvenate_order.c - the order in which hosts are renewed: by hand, and whole rejuvenations from a
 * seed, with steps that fail or are lost, a coordinator that is killed at any moment, stops, and all brought
 * home. What is checked is the list in rejuvenate_order.h, against where guests really are.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "rejuvenate_order.h"
#include "seed.h"

#define HOSTS 5
#define GUESTS 7
#define LINES_MAX 4096

struct line {
	struct wt_rejuvenate_action action;
	uint8_t result; /* NO_RESULT: it was said */
};

/* What a host really does now. */
struct process {
	struct wt_rejuvenate_action action;
	bool begun;
	uint8_t result; /* it has ended */
};

static struct world {
	struct wt_rejuvenate_order plan, order;
	struct line lines[LINES_MAX];
	unsigned count;
	struct process at[HOSTS];
	uint8_t place[GUESTS];
	bool fresh[GUESTS], renewed[HOSTS], answered[HOSTS];
	bool unasked[HOSTS]; /* all come home, and this one has not answered since that was said */
	unsigned trouble;    /* failures and crashes that may still come */
	unsigned homeward, stops, crashes, lost;
	bool was_homeward;
} w;

static struct wt_rejuvenate_action act(enum wt_rejuvenate_step step, unsigned which)
{
	return (struct wt_rejuvenate_action){ (uint8_t)step, (uint16_t)which };
}

/* ---- by hand ---- */

static struct wt_rejuvenate_order pair_of_hosts(unsigned parallel)
{
	struct wt_rejuvenate_order o;

	wt_rejuvenate_order_init(&o, 3, 3, parallel);
	o.host[0].by = WT_REJUVENATE_BY_EVACUATION;
	o.host[1].by = WT_REJUVENATE_BY_HANDOVER;
	o.guest[0] = (struct wt_rejuvenate_guest){ .home = 0, .away = 2 };
	o.guest[1] = (struct wt_rejuvenate_guest){ .home = 0, .away = 2 };
	o.guest[2] = (struct wt_rejuvenate_guest){ .home = 1 };
	return o;
}

static void says(struct wt_rejuvenate_order *o, enum wt_rejuvenate_step step, unsigned which)
{
	struct wt_rejuvenate_action a = wt_rejuvenate_order_next(o);

	assert_string_equal(
		wt_rejuvenate_step_name((enum wt_rejuvenate_step)a.step), wt_rejuvenate_step_name(step));
	assert_int_equal(a.which, which);
}

static void does(struct wt_rejuvenate_order *o, enum wt_rejuvenate_step step, unsigned which,
	enum wt_rejuvenate_result result)
{
	says(o, step, which);
	says(o, WT_REJUVENATE_NO_STEP, 0);
	wt_rejuvenate_order_ended(o, act(step, which), result);
}

static void test_all(void **state)
{
	struct wt_rejuvenate_order o = pair_of_hosts(1);

	does(&o, WT_REJUVENATE_CHECK, 0, WT_REJUVENATE_OK);
	does(&o, WT_REJUVENATE_LEAVE, 0, WT_REJUVENATE_OK);
	does(&o, WT_REJUVENATE_LEAVE, 1, WT_REJUVENATE_OK);
	does(&o, WT_REJUVENATE_COMMAND, 0, WT_REJUVENATE_OK);
	does(&o, WT_REJUVENATE_PROBE, 0, WT_REJUVENATE_OK);
	does(&o, WT_REJUVENATE_RETURN, 0, WT_REJUVENATE_OK);
	does(&o, WT_REJUVENATE_RETURN, 1, WT_REJUVENATE_OK);
	does(&o, WT_REJUVENATE_CHECK, 1, WT_REJUVENATE_OK);
	does(&o, WT_REJUVENATE_HANDOVER, 2, WT_REJUVENATE_OK);
	says(&o, WT_REJUVENATE_OVER, 0);
	says(&o, WT_REJUVENATE_NO_STEP, 0);
}

/* Two hosts at once; one fails, the other one goes on to its end. */
static void test_two_at_once(void **state)
{
	struct wt_rejuvenate_order o = pair_of_hosts(2);

	says(&o, WT_REJUVENATE_CHECK, 0);
	says(&o, WT_REJUVENATE_CHECK, 1);
	wt_rejuvenate_order_ended(&o, act(WT_REJUVENATE_CHECK, 0), WT_REJUVENATE_FAILED);
	says(&o, WT_REJUVENATE_NO_STEP, 0);
	wt_rejuvenate_order_ended(&o, act(WT_REJUVENATE_CHECK, 1), WT_REJUVENATE_OK);
	does(&o, WT_REJUVENATE_HANDOVER, 2, WT_REJUVENATE_OK);
	says(&o, WT_REJUVENATE_NO_STEP, 0);
	assert_true(o.host[0].failed && o.host[1].done);
}

/* After a failure: once more; or all home. */
static void test_failures(void **state)
{
	struct wt_rejuvenate_order o = pair_of_hosts(1), home;

	does(&o, WT_REJUVENATE_CHECK, 0, WT_REJUVENATE_OK);
	does(&o, WT_REJUVENATE_LEAVE, 0, WT_REJUVENATE_OK);
	does(&o, WT_REJUVENATE_LEAVE, 1, WT_REJUVENATE_FAILED);
	says(&o, WT_REJUVENATE_NO_STEP, 0);
	home = o;
	wt_rejuvenate_order_resume(&home, true);
	does(&home, WT_REJUVENATE_PROBE, 0, WT_REJUVENATE_OK);
	does(&home, WT_REJUVENATE_RETURN, 0, WT_REJUVENATE_OK);
	says(&home, WT_REJUVENATE_OVER, 0);
	wt_rejuvenate_order_resume(&o, false);
	does(&o, WT_REJUVENATE_LEAVE, 1, WT_REJUVENATE_OK);
	does(&o, WT_REJUVENATE_COMMAND, 0, WT_REJUVENATE_FAILED);
	wt_rejuvenate_order_resume(&o, false);
	does(&o, WT_REJUVENATE_COMMAND, 0, WT_REJUVENATE_OK);
	does(&o, WT_REJUVENATE_PROBE, 0, WT_REJUVENATE_FAILED);
	wt_rejuvenate_order_resume(&o, false);
	does(&o, WT_REJUVENATE_PROBE, 0, WT_REJUVENATE_OK);
	does(&o, WT_REJUVENATE_RETURN, 0, WT_REJUVENATE_LOST);
	wt_rejuvenate_order_resume(&o, false);
	says(&o, WT_REJUVENATE_NO_STEP, 0);
	assert_true(wt_rejuvenate_order_found(&o, 0, WT_REJUVENATE_AWAY));
	assert_false(wt_rejuvenate_order_found(&o, 1, WT_REJUVENATE_HOME));
	wt_rejuvenate_order_resume(&o, false);
	does(&o, WT_REJUVENATE_RETURN, 0, WT_REJUVENATE_OK);
	says(&o, WT_REJUVENATE_RETURN, 1);
	wt_rejuvenate_order_stop(&o);
	wt_rejuvenate_order_ended(&o, act(WT_REJUVENATE_RETURN, 1), WT_REJUVENATE_OK);
	says(&o, WT_REJUVENATE_NO_STEP, 0);
}

/* What no coordinator can have written. */
static void test_not_possible(void **state)
{
	struct wt_rejuvenate_order o = pair_of_hosts(1);

	assert_false(wt_rejuvenate_order_restore(&o, act(WT_REJUVENATE_COMMAND, 0)));
	assert_false(wt_rejuvenate_order_restore(&o, act(WT_REJUVENATE_RETURN, 0)));
	assert_false(wt_rejuvenate_order_restore(&o, act(WT_REJUVENATE_HANDOVER, 0)));
	assert_false(wt_rejuvenate_order_restore(&o, act(WT_REJUVENATE_LEAVE, 2)));
	assert_false(wt_rejuvenate_order_restore(&o, act(WT_REJUVENATE_CHECK, 2)));
	assert_true(wt_rejuvenate_order_restore(&o, act(WT_REJUVENATE_CHECK, 0)));
	assert_false(wt_rejuvenate_order_restore(&o, act(WT_REJUVENATE_LEAVE, 0)));
	assert_false(wt_rejuvenate_order_restore(&o, act(WT_REJUVENATE_OVER, 0)));
	assert_false(wt_rejuvenate_order_doing(&o, act(WT_REJUVENATE_CHECK, 1)));
}

/* ---- from a seed ---- */

static bool chance(unsigned of_100)
{
	return seed_below(100) < of_100;
}

static void write_line(struct wt_rejuvenate_action a, enum wt_rejuvenate_result result)
{
	check(w.count < LINES_MAX);
	w.lines[w.count++] = (struct line){ a, (uint8_t)result };
}

/* Whether a host is anybody's to be sent to. */
static bool is_down(unsigned host)
{
	const struct process *p = &w.at[host];

	return p->begun && p->action.step == WT_REJUVENATE_COMMAND && !p->result;
}

static void begin(struct process *p, unsigned host)
{
	unsigned which = p->action.which;

	p->begun = true;
	switch (p->action.step) {
	case WT_REJUVENATE_COMMAND:
		for (unsigned i = 0; i < GUESTS; i++) {
			check(w.order.guest[i].home != host || w.place[i] == WT_REJUVENATE_AWAY);
			check(w.place[i] != WT_REJUVENATE_AWAY || w.order.guest[i].away != host);
		}
		w.answered[host] = false;
		break;
	case WT_REJUVENATE_LEAVE:
		check(w.place[which] == WT_REJUVENATE_HOME && !is_down(w.order.guest[which].away));
		break;
	case WT_REJUVENATE_RETURN:
		check(w.place[which] == WT_REJUVENATE_AWAY && w.answered[host] && !w.unasked[host]);
		break;
	case WT_REJUVENATE_HANDOVER:
		check(!w.fresh[which]);
		break;
	default:
		break;
	}
}

/* The process ends; whether it has done its work is only told by its result. */
static void end(struct process *p, unsigned host)
{
	unsigned which = p->action.which;
	bool of_guest = wt_rejuvenate_step_of_guest((enum wt_rejuvenate_step)p->action.step), worked;

	p->result = WT_REJUVENATE_OK;
	if (w.trouble && chance(30)) {
		w.trouble--;
		p->result = of_guest && chance(30) ? WT_REJUVENATE_LOST : WT_REJUVENATE_FAILED;
	}
	worked = p->result == WT_REJUVENATE_OK || (p->result == WT_REJUVENATE_LOST && chance(50));
	w.lost += p->result == WT_REJUVENATE_LOST;
	if (!worked)
		return;
	if (p->action.step == WT_REJUVENATE_LEAVE)
		w.place[which] = WT_REJUVENATE_AWAY;
	else if (p->action.step == WT_REJUVENATE_RETURN)
		w.place[which] = WT_REJUVENATE_HOME;
	else if (p->action.step == WT_REJUVENATE_HANDOVER && p->result == WT_REJUVENATE_OK)
		w.fresh[which] = true;
	else if (p->action.step == WT_REJUVENATE_COMMAND)
		w.renewed[host] = true;
	else if (p->action.step == WT_REJUVENATE_PROBE)
		w.answered[host] = true;
	if (p->action.step == WT_REJUVENATE_PROBE)
		w.unasked[host] = false;
}

static void resume(bool homeward)
{
	w.order = w.plan;
	for (unsigned i = 0; i < w.count; i++) {
		struct line *line = &w.lines[i];

		if (!line->result) {
			check(wt_rejuvenate_order_restore(&w.order, line->action));
		} else if (line->action.step == WT_REJUVENATE_NO_STEP) {
			check(wt_rejuvenate_order_found(
				&w.order, line->action.which, (enum wt_rejuvenate_place)(line->result - 1)));
		} else {
			check(wt_rejuvenate_order_doing(&w.order, line->action));
			wt_rejuvenate_order_ended(
				&w.order, line->action, (enum wt_rejuvenate_result)line->result);
		}
	}
	wt_rejuvenate_order_resume(&w.order, homeward);
	w.was_homeward = homeward;
	w.homeward += homeward;
	for (unsigned i = 0; i < HOSTS; i++) { /* what was said and not begun is begun now */
		check(!w.order.host[i].doing.step == !w.at[i].action.step);
		w.unasked[i] = homeward && w.at[i].action.step != WT_REJUVENATE_RETURN;
	}
}

static void check_order(void)
{
	unsigned active = 0;

	for (unsigned i = 0; i < HOSTS; i++)
		active += w.order.host[i].begun && !w.order.host[i].done;
	check(active <= w.order.parallel);
	for (unsigned i = 0; i < GUESTS; i++) {
		enum wt_rejuvenate_place place = (enum wt_rejuvenate_place)w.order.guest[i].place;
		struct wt_rejuvenate_action doing = w.order.host[w.order.guest[i].home].doing;

		if (doing.step == WT_REJUVENATE_LEAVE || doing.step == WT_REJUVENATE_RETURN)
			continue; /* not read yet */
		check(place == WT_REJUVENATE_UNKNOWN || place == w.place[i]);
	}
}

/* Says what can be said; a coordinator may die behind each word. */
static bool speak(void)
{
	struct wt_rejuvenate_order before = w.order;
	bool failed = false;
	struct wt_rejuvenate_action a = wt_rejuvenate_order_next(&w.order);
	unsigned host = wt_rejuvenate_order_host(&w.order, a);

	if (!a.step)
		return false;
	for (unsigned i = 0; i < HOSTS; i++)
		failed |= before.host[i].failed;
	check(!failed || (before.host[host].begun && a.step != WT_REJUVENATE_OVER));
	if (w.trouble && chance(3)) { /* ... or before it has written */
		w.trouble--;
		w.crashes++;
		resume(w.was_homeward);
		return true;
	}
	write_line(a, WT_REJUVENATE_NO_RESULT);
	if (a.step == WT_REJUVENATE_OVER)
		return true;
	check(!w.at[host].action.step);
	w.at[host] = (struct process){ .action = a };
	check_order();
	if (w.trouble && chance(5)) {
		w.trouble--;
		w.crashes++;
		resume(chance(20));
	}
	return true;
}

static void work(unsigned host)
{
	struct process *p = &w.at[host];

	if (!p->action.step)
		return;
	if (!p->begun) {
		begin(p, host);
	} else if (!p->result) {
		end(p, host);
	} else {
		write_line(p->action, (enum wt_rejuvenate_result)p->result);
		wt_rejuvenate_order_ended(&w.order, p->action, (enum wt_rejuvenate_result)p->result);
		*p = (struct process){ 0 };
		check_order();
	}
}

/* The operator says where guests are, and goes on, or has all come home. */
static void operate(void)
{
	for (unsigned i = 0; i < GUESTS; i++)
		if (w.order.guest[i].place == WT_REJUVENATE_UNKNOWN)
			write_line(
				act(WT_REJUVENATE_NO_STEP, i), (enum wt_rejuvenate_result)(w.place[i] + 1));
	resume(w.trouble && chance(25));
}

static void make_world(void)
{
	memset(&w, 0, sizeof w);
	wt_rejuvenate_order_init(&w.plan, HOSTS, GUESTS, (unsigned)seed_below(3) + 1);
	for (unsigned i = 0; i < HOSTS; i++)
		w.plan.host[i].by = (uint8_t)seed_below(3);
	for (unsigned i = 0; i < GUESTS; i++) {
		uint8_t home = (uint8_t)seed_below(HOSTS);

		w.plan.guest[i] = (struct wt_rejuvenate_guest){ .home = home,
			.away = (uint8_t)((home + 1 + seed_below(HOSTS - 1)) % HOSTS) };
	}
	w.order = w.plan;
	w.trouble = (unsigned)seed_below(20);
}

static void one_run(void)
{
	make_world();
	for (unsigned turn = 0; !w.order.over; turn++) {
		check(turn < 20000);
		if (chance(60) && speak())
			continue;
		if (w.trouble && chance(2)) {
			w.trouble--;
			w.stops++;
			wt_rejuvenate_order_stop(&w.order);
		}
		work((unsigned)seed_below(HOSTS));
		if (!wt_rejuvenate_order_busy(&w.order) && !speak() && !w.order.over)
			operate();
	}
	for (unsigned i = 0; i < GUESTS; i++)
		check(w.place[i] == WT_REJUVENATE_HOME);
	for (unsigned i = 0; i < HOSTS && !w.was_homeward; i++)
		check(w.order.host[i].by != WT_REJUVENATE_BY_EVACUATION || (w.renewed[i] && w.answered[i]));
	for (unsigned i = 0; i < GUESTS && !w.was_homeward; i++)
		check(w.order.host[w.order.guest[i].home].by != WT_REJUVENATE_BY_HANDOVER || w.fresh[i]);
}

static struct {
	unsigned homeward, stops, crashes, lost;
} seen;

static void counted_run(void)
{
	one_run();
	seen.homeward += w.homeward;
	seen.stops += w.stops;
	seen.crashes += w.crashes;
	seen.lost += w.lost;
}

static void test_random(void **state)
{
	seed_runs(3000, counted_run);
	print_message("%u times brought home, %u stops, %u crashes, %u guests lost\n", seen.homeward,
		seen.stops, seen.crashes, seen.lost);
	if (!getenv("WATARI_SEED"))
		assert_true(seen.homeward && seen.stops && seen.crashes && seen.lost);
}

static void test_names(void **state)
{
	for (int i = WT_REJUVENATE_CHECK; i < WT_REJUVENATE_STEPS; i++)
		assert_string_not_equal(wt_rejuvenate_step_name((enum wt_rejuvenate_step)i), "nothing");
	assert_string_equal(wt_rejuvenate_step_name(WT_REJUVENATE_STEPS), "nothing");
	assert_string_equal(wt_rejuvenate_result_name(WT_REJUVENATE_LOST), "lost");
	assert_string_equal(wt_rejuvenate_result_name(WT_REJUVENATE_RESULTS), "nothing");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_two_at_once),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_not_possible),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

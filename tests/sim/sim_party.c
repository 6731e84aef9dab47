/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_party.c - the clock, randomness, and whose turn it is. See sim.h.
 *
 * A coroutine runs on a stack of its own. It gives control back in wt_loop_run and in sim_wait, and nowhere
 * else; so between two of these nothing else happens, as in a thread that is not interrupted.
 */
#include "sim_party.h"

#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIM_ASAN 1
#endif
#endif
#ifdef SIM_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#define STACK_BYTES (512u << 10)
#define PARTIES_MAX 16
#define TURNS_MAX 4000000u
#define TURN_NS 2000 /* how long a turn takes, on average */

uint64_t sim_now_ns;
struct sim_party *sim_current;

static uint64_t random_state, turns;
static struct sim_party *parties[PARTIES_MAX];
static unsigned party_count;
static ucontext_t scheduler;
static void *stacks[PARTIES_MAX]; /* kept from one run to the next */

/* ---- randomness: splitmix64 ---- */

uint64_t sim_random(void)
{
	uint64_t x = random_state += 0x9e3779b97f4a7c15ull;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

uint64_t sim_below(uint64_t limit)
{
	return sim_random() % limit;
}

uint64_t sim_between(uint64_t from, uint64_t to)
{
	return from + sim_below(to - from + 1);
}

bool sim_one_in(uint64_t times)
{
	return sim_below(times) == 0;
}

/* ---- coroutines ---- */

#ifdef SIM_ASAN
static const void *scheduler_stack;
static size_t scheduler_stack_bytes;
#endif

static void enter_party(struct sim_party *party)
{
	sim_current = party;
#ifdef SIM_ASAN
	void *fake = NULL;

	__sanitizer_start_switch_fiber(&fake, party->stack, STACK_BYTES);
#endif
	swapcontext(&scheduler, &party->context);
#ifdef SIM_ASAN
	__sanitizer_finish_switch_fiber(fake, NULL, NULL);
#endif
	sim_current = NULL;
}

void sim_party_leave(struct sim_party *party)
{
#ifdef SIM_ASAN
	void *fake = NULL;

	__sanitizer_start_switch_fiber(party->ended ? NULL : &fake, scheduler_stack, scheduler_stack_bytes);
#endif
	swapcontext(&party->context, &scheduler);
#ifdef SIM_ASAN
	__sanitizer_finish_switch_fiber(fake, &scheduler_stack, &scheduler_stack_bytes);
#endif
}

static void party_main(void)
{
	struct sim_party *party = sim_current;

#ifdef SIM_ASAN
	__sanitizer_finish_switch_fiber(NULL, &scheduler_stack, &scheduler_stack_bytes);
#endif
	party->main(party->arg);
	party->ended = true;
	sim_party_leave(party);
}

struct sim_party *sim_party_new(const char *name, unsigned host, void (*main)(void *arg), void *arg)
{
	struct sim_party *party = calloc(1, sizeof *party);

	if (!party || party_count == PARTIES_MAX)
		abort();
	*party = (struct sim_party){ .name = name, .host = host, .main = main, .arg = arg };
	parties[party_count++] = party;
	return party;
}

void sim_party_start(struct sim_party *party)
{
	unsigned i = 0;

	while (parties[i] != party)
		i++;
	if (!stacks[i])
		stacks[i] = malloc(STACK_BYTES);
	if (!stacks[i])
		abort();
	party->stack = stacks[i];
	getcontext(&party->context);
	party->context.uc_stack.ss_sp = party->stack;
	party->context.uc_stack.ss_size = STACK_BYTES;
	party->context.uc_link = NULL;
	makecontext(&party->context, party_main, 0);
	party->started = true;
}

void sim_party_on_death(struct sim_party *party, void (*died)(void *arg), void *arg)
{
	party->died = died;
	party->died_arg = arg;
}

void sim_party_kill(struct sim_party *party)
{
	if (party->dead || party->ended)
		return;
	sim_trace("%s is killed", party->name);
	party->dead = true;
	if (party->died)
		party->died(party->died_arg);
}

bool sim_party_dead(const struct sim_party *party)
{
	return party->dead;
}

bool sim_party_ended(const struct sim_party *party)
{
	return party->ended;
}

unsigned sim_party_host(const struct sim_party *party)
{
	return party->host;
}

const char *sim_party_name(const struct sim_party *party)
{
	return party->name;
}

struct sim_party *sim_loop_party(const struct wt_loop *loop)
{
	return loop->party;
}

void sim_wait(bool (*done)(void *arg), void *arg, uint64_t deadline_ns)
{
	struct sim_party *party = sim_current;

	while (!done(arg) && sim_now_ns < deadline_ns && !party->dead) {
		party->waits = done;
		party->waits_arg = arg;
		party->waits_until_ns = deadline_ns;
		sim_party_leave(party);
	}
	party->waits = NULL;
}

/* ---- the scheduler ---- */

static bool coroutine_can_go_on(const struct sim_party *party)
{
	if (!party->started || party->ended)
		return false;
	if (party->waits)
		return party->dead || party->waits(party->waits_arg) || sim_now_ns >= party->waits_until_ns;
	return !party->running || sim_loop_gone(party->running) || sim_loop_wants_turn(party->running);
}

/* Answers whether it did something. */
static bool party_turn(struct sim_party *party)
{
	bool any = false;

	if (party->main) {
		if (!coroutine_can_go_on(party))
			return false;
		enter_party(party);
		return true;
	}
	sim_current = party;
	for (struct wt_loop *loop = sim_loops; loop; loop = loop->next)
		if (loop->party == party && !sim_loop_gone(loop) && sim_loop_wants_turn(loop)) {
			sim_loop_turn(loop);
			any = true;
		}
	sim_current = NULL;
	return any;
}

static uint64_t next_moment(void)
{
	uint64_t next = SIM_NEVER;

	for (unsigned i = 0; i < party_count; i++)
		if (parties[i]->waits && !parties[i]->ended && parties[i]->waits_until_ns < next)
			next = parties[i]->waits_until_ns;
	for (const struct wt_loop *loop = sim_loops; loop; loop = loop->next) {
		const struct sim_party *party = loop->party;

		if (party->main && (party->waits || party->running != loop))
			continue; /* nobody runs it now */
		if (!sim_loop_gone(loop) && loop->timers && loop->timers->at_ns < next)
			next = loop->timers->at_ns;
	}
	return next;
}

bool sim_run(bool (*stop)(void *arg), void *arg, uint64_t until_ns)
{
	while (!stop(arg)) {
		unsigned first = (unsigned)sim_below(party_count);
		uint64_t next;
		bool any = false;

		sim_loops_look();
		for (unsigned i = 0; i < party_count; i++)
			if (party_turn(parties[(first + i) % party_count])) {
				any = true;
				sim_now_ns += sim_below(2 * TURN_NS);
				turns++;
			}
		sim_check(turns < TURNS_MAX, "%u turns, and still not over: somebody is busy for nothing",
			TURNS_MAX);
		if (any)
			continue;
		next = next_moment();
		if (next > until_ns)
			return false;
		if (next > sim_now_ns)
			sim_now_ns = next;
	}
	return true;
}

uint64_t sim_turns(void)
{
	return turns;
}

void sim_start(uint64_t seed)
{
	random_state = seed;
	random_state = sim_random(); /* neighbours have nothing in common */
	sim_now_ns = SIM_S;          /* 0 means `never` in many places */
	turns = 0;
}

void sim_end(void)
{
	while (sim_loops)
		wt_loop_close(sim_loops);
	while (party_count)
		free(parties[--party_count]);
}

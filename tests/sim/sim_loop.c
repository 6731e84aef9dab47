/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_loop.c - virtual clock, parties, and loop.h over them. Replaces transport's loop.c.
 *
 * A turn is what loop.c says: descriptors, timers, busy hooks; before a loop may rest there was a turn in
 * which no hook wanted another one. Descriptors of the kernel (QEMU's sockets) are asked with poll(2) and
 * timeout 0, those of sim_fd_new are flags.
 *
 * A coroutine runs on a stack of its own. It gives control back in wt_loop_run and in sim_wait, and nowhere
 * else; so between two of these nothing else happens, as in a thread that is not interrupted.
 */
#include "sim.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <ucontext.h>

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
#define PARTIES_MAX 8
#define FD_BASE (1 << 20)
#define FDS_MAX 256
#define TURNS_MAX 4000000u
#define TURN_NS 2000 /* how long a turn takes, on average */

struct watch {
	int fd;
	uint32_t events, ready;
	wt_loop_fd_fn *fn;
	void *arg;
};

struct wt_loop {
	struct sim_party *party;
	struct wt_loop *next;
	unsigned watch_count, watch_room;
	struct watch *watches;
	struct wt_timer *timers, *timers_due;
	struct wt_busy *busy, *busy_due;
	bool awake, stopping;
	int stop_code;
};

struct sim_party {
	const char *name;
	unsigned host;
	void (*main)(void *arg);
	void *arg;
	bool started, ended, dead;
	void (*died)(void *arg);
	void *died_arg;
	ucontext_t context;
	void *stack;
	struct wt_loop *running;  /* it is in wt_loop_run of this one */
	bool (*waits)(void *arg); /* it is in sim_wait */
	void *waits_arg;
	uint64_t waits_until_ns;
};

uint64_t sim_now_ns;
struct sim_party *sim_current;

static uint64_t random_state, turns;
static struct sim_party *parties[PARTIES_MAX];
static unsigned party_count;
static struct wt_loop *loops;
static ucontext_t scheduler;
static void *stacks[PARTIES_MAX]; /* kept from one run to the next */
static bool fd_used[FDS_MAX], fd_flag[FDS_MAX];

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

static void leave_party(struct sim_party *party)
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
	leave_party(party);
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
		leave_party(party);
	}
	party->waits = NULL;
}

/* ---- descriptors ---- */

int sim_fd_new(void)
{
	for (int i = 0; i < FDS_MAX; i++)
		if (!fd_used[i]) {
			fd_used[i] = true;
			fd_flag[i] = false;
			return FD_BASE + i;
		}
	abort();
}

void sim_fd_free(int fd)
{
	fd_used[fd - FD_BASE] = false;
}

void sim_fd_ready(int fd, bool ready)
{
	fd_flag[fd - FD_BASE] = ready;
}

bool sim_fd_is(int fd)
{
	return fd >= FD_BASE && fd < FD_BASE + FDS_MAX;
}

/* ---- loop.h ---- */

struct wt_loop *sim_loop_new(struct sim_party *party)
{
	struct wt_loop *loop = calloc(1, sizeof *loop);

	if (!loop)
		abort();
	loop->party = party;
	loop->next = loops;
	loop->awake = true;
	loops = loop;
	return loop;
}

int wt_loop_open(struct wt_loop **ret_loop)
{
	*ret_loop = sim_loop_new(sim_current);
	return 0;
}

void wt_loop_close(struct wt_loop *loop)
{
	struct wt_loop **at = &loops;

	if (!loop)
		return;
	while (*at != loop)
		at = &(*at)->next;
	*at = loop->next;
	free(loop->watches);
	free(loop);
}

uint64_t wt_loop_now_ns(const struct wt_loop *loop)
{
	return sim_now_ns;
}

int wt_loop_fd_set(struct wt_loop *loop, int fd, uint32_t events, wt_loop_fd_fn *fn, void *arg)
{
	struct watch *watch = NULL;

	if (fd < 0)
		return -EBADF;
	for (unsigned i = 0; i < loop->watch_count; i++)
		if (loop->watches[i].fd == fd)
			watch = &loop->watches[i];
	if (!watch) {
		if (loop->watch_count == loop->watch_room) {
			loop->watch_room = loop->watch_room ? 2 * loop->watch_room : 16;
			loop->watches = realloc(loop->watches, loop->watch_room * sizeof *watch);
		}
		watch = &loop->watches[loop->watch_count++];
	}
	*watch = (struct watch){ .fd = fd, .events = events, .fn = fn, .arg = arg };
	return 0;
}

void wt_loop_fd_clear(struct wt_loop *loop, int fd)
{
	for (unsigned i = 0; i < loop->watch_count; i++)
		if (loop->watches[i].fd == fd) {
			loop->watches[i] = loop->watches[--loop->watch_count];
			return;
		}
}

static void timer_unlink(struct wt_timer **list, const struct wt_timer *timer)
{
	for (; *list; list = &(*list)->next)
		if (*list == timer) {
			*list = timer->next;
			return;
		}
}

void wt_loop_timer_clear(struct wt_loop *loop, struct wt_timer *timer)
{
	if (!timer->fn)
		return;
	timer_unlink(&loop->timers, timer);
	timer_unlink(&loop->timers_due, timer);
	timer->fn = NULL;
	timer->next = NULL;
}

void wt_loop_timer_set(
	struct wt_loop *loop, struct wt_timer *timer, uint64_t at_ns, wt_loop_timer_fn *fn, void *arg)
{
	struct wt_timer **at = &loop->timers;

	wt_loop_timer_clear(loop, timer);
	while (*at && (*at)->at_ns <= at_ns)
		at = &(*at)->next;
	*timer = (struct wt_timer){ .at_ns = at_ns, .fn = fn, .arg = arg, .next = *at };
	*at = timer;
}

static void busy_unlink(struct wt_busy **list, const struct wt_busy *busy)
{
	for (; *list; list = &(*list)->next)
		if (*list == busy) {
			*list = busy->next;
			return;
		}
}

static void busy_append(struct wt_busy **list, struct wt_busy *busy)
{
	while (*list)
		list = &(*list)->next;
	*list = busy;
}

void wt_loop_busy_clear(struct wt_loop *loop, struct wt_busy *busy)
{
	if (!busy->fn)
		return;
	busy_unlink(&loop->busy, busy);
	busy_unlink(&loop->busy_due, busy);
	busy->fn = NULL;
	busy->next = NULL;
}

void wt_loop_busy_set(struct wt_loop *loop, struct wt_busy *busy, wt_loop_busy_fn *fn, void *arg)
{
	if (!busy->fn) {
		busy->next = NULL;
		busy_append(&loop->busy, busy);
	}
	busy->fn = fn;
	busy->arg = arg;
}

/* ---- a turn ---- */

static bool gone(const struct wt_loop *loop)
{
	return loop->stopping || (loop->party && loop->party->dead);
}

static void turn_watches(struct wt_loop *loop)
{
	struct watch ready[64];
	unsigned count = 0;

	for (unsigned i = 0; i < loop->watch_count && count < 64; i++)
		if (loop->watches[i].ready)
			ready[count++] = loop->watches[i];
	for (unsigned i = 0; i < loop->watch_count; i++)
		loop->watches[i].ready = 0;
	for (unsigned i = 0; i < count && !gone(loop); i++)
		for (unsigned k = 0; k < loop->watch_count; k++)
			if (loop->watches[k].fd == ready[i].fd && loop->watches[k].fn == ready[i].fn &&
				loop->watches[k].arg == ready[i].arg) {
				ready[i].fn(ready[i].arg, ready[i].ready);
				break;
			}
}

static void turn_timers(struct wt_loop *loop)
{
	struct wt_timer **tail = &loop->timers_due, *timer;

	while (*tail)
		tail = &(*tail)->next;
	while (loop->timers && loop->timers->at_ns <= sim_now_ns) {
		*tail = loop->timers;
		loop->timers = loop->timers->next;
		tail = &(*tail)->next;
	}
	*tail = NULL;
	while ((timer = loop->timers_due) && !gone(loop)) {
		wt_loop_timer_fn *fn = timer->fn;

		loop->timers_due = timer->next;
		timer->next = NULL;
		timer->fn = NULL;
		fn(timer->arg, sim_now_ns);
	}
}

static bool turn_busy(struct wt_loop *loop)
{
	struct wt_busy *busy;
	bool again = false;

	busy_append(&loop->busy_due, loop->busy);
	loop->busy = NULL;
	while ((busy = loop->busy_due) && !gone(loop)) {
		loop->busy_due = busy->next;
		busy->next = NULL;
		busy_append(&loop->busy, busy);
		again |= busy->fn(busy->arg, sim_now_ns);
	}
	return again;
}

static void turn(struct wt_loop *loop)
{
	loop->awake = false;
	turn_watches(loop);
	if (!gone(loop))
		turn_timers(loop);
	if (!gone(loop) && turn_busy(loop))
		loop->awake = true;
}

static bool wants_turn(const struct wt_loop *loop)
{
	if (loop->awake || loop->timers_due || (loop->timers && loop->timers->at_ns <= sim_now_ns))
		return true;
	for (unsigned i = 0; i < loop->watch_count; i++)
		if (loop->watches[i].ready)
			return true;
	return false;
}

int wt_loop_run(struct wt_loop *loop)
{
	struct sim_party *party = sim_current;
	struct wt_loop *outer = party->running;

	while (!gone(loop)) {
		if (wants_turn(loop))
			turn(loop);
		if (gone(loop))
			break;
		party->running = loop;
		leave_party(party);
	}
	party->running = outer;
	loop->stopping = false;
	return loop->stop_code;
}

void wt_loop_stop(struct wt_loop *loop, int code)
{
	loop->stopping = true;
	loop->stop_code = code;
}

/* ---- the scheduler ---- */

static void look_at_descriptors(void)
{
	struct pollfd polls[64];
	struct watch *watches[64];
	unsigned count = 0;

	for (struct wt_loop *loop = loops; loop; loop = loop->next)
		for (unsigned i = 0; i < loop->watch_count; i++) {
			struct watch *watch = &loop->watches[i];

			if (watch->fd >= FD_BASE) {
				watch->ready = fd_flag[watch->fd - FD_BASE] ? EPOLLIN : 0;
			} else if (count < 64) {
				polls[count] =
					(struct pollfd){ .fd = watch->fd, .events = (short)watch->events };
				watches[count++] = watch;
			}
		}
	if (!count || poll(polls, count, 0) < 0)
		return;
	for (unsigned i = 0; i < count; i++)
		watches[i]->ready = (uint32_t)polls[i].revents;
}

static bool coroutine_can_go_on(const struct sim_party *party)
{
	if (!party->started || party->ended)
		return false;
	if (party->waits)
		return party->dead || party->waits(party->waits_arg) || sim_now_ns >= party->waits_until_ns;
	return !party->running || gone(party->running) || wants_turn(party->running);
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
	for (struct wt_loop *loop = loops; loop; loop = loop->next)
		if (loop->party == party && !gone(loop) && wants_turn(loop)) {
			turn(loop);
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
	for (const struct wt_loop *loop = loops; loop; loop = loop->next) {
		const struct sim_party *party = loop->party;

		if (party->main && (party->waits || party->running != loop))
			continue; /* nobody runs it now */
		if (!gone(loop) && loop->timers && loop->timers->at_ns < next)
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

		look_at_descriptors();
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
	random_state = seed * 0x9e3779b97f4a7c15ull + 1;
	sim_now_ns = SIM_S; /* 0 means `never` in many places */
	turns = 0;
}

void sim_end(void)
{
	while (loops)
		wt_loop_close(loops);
	while (party_count)
		free(parties[--party_count]);
}

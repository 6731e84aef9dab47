/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_loop.c - loop.h over the virtual clock. Replaces transport's loop.c.
 *
 * A turn is what loop.c says: descriptors, timers, busy hooks; before a loop may rest there was a turn in
 * which no hook wanted another one. Descriptors of the kernel (QEMU's sockets) are asked with poll(2) and
 * timeout 0, those of sim_fd_new are flags.
 */
#include "sim_party.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define FD_BASE (1 << 20)
#define FDS_MAX 1024
#define POLLS_MAX 128

struct wt_loop *sim_loops;

static bool fd_used[FDS_MAX], fd_flag[FDS_MAX];

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
	loop->next = sim_loops;
	loop->awake = true;
	sim_loops = loop;
	return loop;
}

int wt_loop_open(struct wt_loop **ret_loop)
{
	*ret_loop = sim_loop_new(sim_current);
	return 0;
}

void wt_loop_close(struct wt_loop *loop)
{
	struct wt_loop **at = &sim_loops;

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

bool sim_loop_gone(const struct wt_loop *loop)
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
	for (unsigned i = 0; i < count && !sim_loop_gone(loop); i++)
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
	while ((timer = loop->timers_due) && !sim_loop_gone(loop)) {
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
	while ((busy = loop->busy_due) && !sim_loop_gone(loop)) {
		loop->busy_due = busy->next;
		busy->next = NULL;
		busy_append(&loop->busy, busy);
		again |= busy->fn(busy->arg, sim_now_ns);
	}
	return again;
}

void sim_loop_turn(struct wt_loop *loop)
{
	loop->awake = false;
	turn_watches(loop);
	if (!sim_loop_gone(loop))
		turn_timers(loop);
	if (!sim_loop_gone(loop) && turn_busy(loop))
		loop->awake = true;
}

bool sim_loop_wants_turn(const struct wt_loop *loop)
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

	while (!sim_loop_gone(loop)) {
		if (sim_loop_wants_turn(loop))
			sim_loop_turn(loop);
		if (sim_loop_gone(loop))
			break;
		party->running = loop;
		sim_party_leave(party);
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

void sim_loops_look(void)
{
	struct pollfd polls[POLLS_MAX];
	struct watch *watches[POLLS_MAX];
	unsigned count = 0;

	for (struct wt_loop *loop = sim_loops; loop; loop = loop->next)
		for (unsigned i = 0; i < loop->watch_count; i++) {
			struct watch *watch = &loop->watches[i];

			if (watch->fd >= FD_BASE) {
				watch->ready = fd_flag[watch->fd - FD_BASE] ? EPOLLIN : 0;
			} else if (count < POLLS_MAX) {
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

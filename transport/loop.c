/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * loop.c - one thread's event loop over epoll.
 *
 * Owns the epoll descriptor and a table of watched descriptors, indexed by descriptor. Timers and busy hooks
 * belong to their callers and are only linked here.
 *
 *   1. A turn is: due timers, busy hooks, sleep, descriptors. A callback that stops the loop is the last one
 *      of its turn; descriptors that were not reached are reported again, epoll is level-triggered.
 *   2. An event is delivered only to the registration it was meant for: each has a generation, so a
 *      descriptor that was cleared, closed and opened anew within one turn gets nothing of its predecessor.
 *   3. Timers and hooks that are due in a turn move to a list of their own and are taken from its head, so
 *      callbacks may set and clear any of them, and one that sets itself again runs in the next turn.
 *   4. `timers` is sorted by time; equal times fire in the order in which they were set.
 *
 * Used by one thread; no locks. Runs may be nested: no list position is kept across a callback. Setting a
 * timer costs time linear in the number of timers, which is a few per connection. Sleeping has a resolution
 * of 1 ms, rounded up: a timer never fires early.
 */
#include <watari/loop.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_PER_TURN 64
#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull

struct watch {
	wt_loop_fd_fn *fn; /* NULL: not watched */
	void *arg;
	uint32_t generation;
};

struct wt_loop {
	int epoll_fd;
	struct watch *watches; /* indexed by descriptor */
	size_t watches_size;
	uint32_t generation; /* of the newest registration */
	struct wt_timer *timers;
	struct wt_timer *timers_due;
	struct wt_busy *busy;
	struct wt_busy *busy_due;
	bool stopping;
	int stop_code;
};

int wt_loop_open(struct wt_loop **ret_loop)
{
	struct wt_loop *loop = calloc(1, sizeof *loop);
	int error;

	if (!loop)
		return -ENOMEM;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		error = errno;
		free(loop);
		return -error;
	}
	*ret_loop = loop;
	return 0;
}

void wt_loop_close(struct wt_loop *loop)
{
	if (!loop)
		return;
	close(loop->epoll_fd);
	free(loop->watches);
	free(loop);
}

uint64_t wt_loop_now_ns(const struct wt_loop *loop)
{
	struct timespec now;

	(void)loop;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static int watches_grow(struct wt_loop *loop, int fd)
{
	size_t size = loop->watches_size ? loop->watches_size : 64;
	struct watch *watches;

	if ((size_t)fd < loop->watches_size)
		return 0;
	while (size <= (size_t)fd)
		size *= 2;
	watches = reallocarray(loop->watches, size, sizeof *watches);
	if (!watches)
		return -ENOMEM;
	memset(watches + loop->watches_size, 0, (size - loop->watches_size) * sizeof *watches);
	loop->watches = watches;
	loop->watches_size = size;
	return 0;
}

int wt_loop_fd_set(struct wt_loop *loop, int fd, uint32_t events, wt_loop_fd_fn *fn, void *arg)
{
	struct epoll_event event = { .events = events };
	struct watch *watch;
	uint32_t generation;
	int error;

	if (fd < 0)
		return -EBADF;
	if (!fn)
		return -EINVAL;
	error = watches_grow(loop, fd);
	if (error)
		return error;
	watch = &loop->watches[fd];
	generation = watch->fn ? watch->generation : ++loop->generation;
	event.data.u64 = (uint64_t)generation << 32 | (uint32_t)fd;
	if (epoll_ctl(loop->epoll_fd, watch->fn ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	watch->fn = fn;
	watch->arg = arg;
	watch->generation = generation;
	return 0;
}

void wt_loop_fd_clear(struct wt_loop *loop, int fd)
{
	if (fd < 0 || (size_t)fd >= loop->watches_size || !loop->watches[fd].fn)
		return;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	memset(&loop->watches[fd], 0, sizeof loop->watches[fd]);
}

static bool timer_unlink(struct wt_timer **list, const struct wt_timer *timer)
{
	for (; *list; list = &(*list)->next)
		if (*list == timer) {
			*list = timer->next;
			return true;
		}
	return false;
}

void wt_loop_timer_clear(struct wt_loop *loop, struct wt_timer *timer)
{
	if (!timer->fn)
		return;
	if (!timer_unlink(&loop->timers, timer))
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
	timer->at_ns = at_ns;
	timer->fn = fn;
	timer->arg = arg;
	timer->next = *at;
	*at = timer;
}

static void fire_timers(struct wt_loop *loop)
{
	uint64_t now_ns = wt_loop_now_ns(loop);
	struct wt_timer **tail = &loop->timers_due;
	struct wt_timer *timer;
	wt_loop_timer_fn *fn;

	while (*tail)
		tail = &(*tail)->next;
	while (loop->timers && loop->timers->at_ns <= now_ns) {
		*tail = loop->timers;
		loop->timers = loop->timers->next;
		tail = &(*tail)->next;
	}
	*tail = NULL;
	while ((timer = loop->timers_due) && !loop->stopping) {
		loop->timers_due = timer->next;
		timer->next = NULL;
		fn = timer->fn;
		timer->fn = NULL;
		fn(timer->arg, now_ns);
	}
}

static bool busy_unlink(struct wt_busy **list, const struct wt_busy *busy)
{
	for (; *list; list = &(*list)->next)
		if (*list == busy) {
			*list = busy->next;
			return true;
		}
	return false;
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
	if (!busy_unlink(&loop->busy, busy))
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

/* Answers whether a hook wants another turn before sleeping. */
static bool run_busy(struct wt_loop *loop)
{
	struct wt_busy *busy;
	bool again = false;

	busy_append(&loop->busy_due, loop->busy);
	loop->busy = NULL;
	while ((busy = loop->busy_due) && !loop->stopping) {
		loop->busy_due = busy->next;
		busy->next = NULL;
		busy_append(&loop->busy, busy);
		if (busy->fn(busy->arg, wt_loop_now_ns(loop)))
			again = true;
	}
	return again;
}

/* Milliseconds until the next timer, rounded up; -1: none. */
static int sleep_ms(const struct wt_loop *loop)
{
	uint64_t now_ns, left_ms;

	if (loop->timers_due)
		return 0;
	if (!loop->timers)
		return -1;
	now_ns = wt_loop_now_ns(loop);
	if (loop->timers->at_ns <= now_ns)
		return 0;
	left_ms = (loop->timers->at_ns - now_ns - 1) / NS_PER_MS + 1;
	return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

static void dispatch(struct wt_loop *loop, const struct epoll_event *event)
{
	uint32_t fd = (uint32_t)event->data.u64;
	const struct watch *watch;

	if (fd >= loop->watches_size)
		return;
	watch = &loop->watches[fd];
	if (watch->fn && watch->generation == event->data.u64 >> 32)
		watch->fn(watch->arg, event->events);
}

int wt_loop_run(struct wt_loop *loop)
{
	struct epoll_event events[EVENTS_PER_TURN];
	bool again;
	int count, i;

	while (!loop->stopping) {
		fire_timers(loop);
		again = !loop->stopping && run_busy(loop);
		if (loop->stopping)
			break;
		count = epoll_wait(loop->epoll_fd, events, EVENTS_PER_TURN, again ? 0 : sleep_ms(loop));
		if (count < 0 && errno != EINTR)
			return -errno;
		for (i = 0; i < count && !loop->stopping; i++)
			dispatch(loop, &events[i]);
	}
	loop->stopping = false;
	return loop->stop_code;
}

void wt_loop_stop(struct wt_loop *loop, int code)
{
	loop->stopping = true;
	loop->stop_code = code;
}

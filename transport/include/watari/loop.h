/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * loop.h - one thread's event loop: descriptors, timers, and work to do before sleeping.
 *
 * A loop belongs to one thread; no function may be called from another one. Callbacks may call everything,
 * also remove themselves or each other. epoll(7) below, level-triggered.
 */
#ifndef WATARI_LOOP_H
#define WATARI_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct wt_loop;

typedef void wt_loop_fd_fn(void *arg, uint32_t events); /* events: EPOLLIN ... of epoll(7) */
typedef void wt_loop_timer_fn(void *arg, uint64_t now_ns);
/* Answers true when it did something and wants another turn before the loop sleeps. */
typedef bool wt_loop_busy_fn(void *arg, uint64_t now_ns);

/* Owned by the caller, zeroed before first use, must outlive its being set. */
struct wt_timer {
	uint64_t at_ns;
	wt_loop_timer_fn *fn; /* NULL: not set */
	void *arg;
	struct wt_timer *next;
};

/* Owned by the caller, like a timer. */
struct wt_busy {
	wt_loop_busy_fn *fn; /* NULL: not set */
	void *arg;
	struct wt_busy *next;
};

int wt_loop_open(struct wt_loop **ret_loop);
void wt_loop_close(struct wt_loop *loop);

/* Adds fd, or changes what is watched. The loop never closes fd. Remove it before closing it. */
int wt_loop_fd_set(struct wt_loop *loop, int fd, uint32_t events, wt_loop_fd_fn *fn, void *arg);
void wt_loop_fd_clear(struct wt_loop *loop, int fd);

/* CLOCK_MONOTONIC, read anew. */
uint64_t wt_loop_now_ns(const struct wt_loop *loop);
/* Sets or moves a timer; it fires once, never early, never out of this call; a past time: next turn. */
void wt_loop_timer_set(
	struct wt_loop *loop, struct wt_timer *timer, uint64_t at_ns, wt_loop_timer_fn *fn, void *arg);
void wt_loop_timer_clear(struct wt_loop *loop, struct wt_timer *timer);

/* Calls fn in every turn before the loop sleeps. */
void wt_loop_busy_set(struct wt_loop *loop, struct wt_busy *busy, wt_loop_busy_fn *fn, void *arg);
void wt_loop_busy_clear(struct wt_loop *loop, struct wt_busy *busy);

/*
 * Runs until wt_loop_stop; answers its code, or -errno. May be called again afterwards, and from a callback:
 * wt_loop_stop then ends the innermost run. A stop before the run ends it at once.
 */
int wt_loop_run(struct wt_loop *loop);
void wt_loop_stop(struct wt_loop *loop, int code);

#endif

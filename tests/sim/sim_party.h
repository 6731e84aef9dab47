/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_party.h - what sim_party.c (whose turn it is) and sim_loop.c (what a turn is) share; nobody else
 * includes it.
 */
#ifndef WT_SIM_PARTY_H
#define WT_SIM_PARTY_H

#include "sim.h"

#include <ucontext.h>

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

extern struct wt_loop *sim_loops;

/* It was stopped, or its party is dead. */
bool sim_loop_gone(const struct wt_loop *loop);
bool sim_loop_wants_turn(const struct wt_loop *loop);
void sim_loop_turn(struct wt_loop *loop);
/* Finds out which descriptors are ready. */
void sim_loops_look(void);
/* The coroutine lets others have their turn. */
void sim_party_leave(struct sim_party *party);

#endif

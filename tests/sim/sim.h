/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim.h - one process that is several hosts, their QEMUs, relays and network, under a virtual clock.
 *
 * A *party* is what can crash by itself: a relay (the real code, a coroutine with a stack of its own), a QEMU
 * (a model), or the network cards (which never crash). Each runs loops of loop.h, which sim_loop.c implements
 * over the virtual clock. Everything that is random comes from the seed, so a seed repeats its run.
 *
 *   1. Time passes only when no party can go on, and by a moment with each turn.
 *   2. A dead party does nothing that others could see: whatever it calls of the outside world fails or is
 *      ignored, its loops return at once, and it runs to its end like that, so that nothing leaks.
 *
 * A check that fails says the seed and the virtual time, and ends the process.
 */
#ifndef WT_SIM_H
#define WT_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/error.h>
#include <watari/loop.h>

#define SIM_MS 1000000ull
#define SIM_S 1000000000ull
#define SIM_NEVER UINT64_MAX

/* ---- sim_loop.c: clock, randomness, parties ---- */

struct sim_party;

extern uint64_t sim_now_ns;
extern struct sim_party *sim_current; /* whose code runs; NULL: the simulator's own */

void sim_start(uint64_t seed);
void sim_end(void);
uint64_t sim_random(void);
uint64_t sim_below(uint64_t limit);
/* In [from, to]. */
uint64_t sim_between(uint64_t from, uint64_t to);
/* True once in so many times. */
bool sim_one_in(uint64_t times);

/* main NULL: no coroutine; the party has loops whose callbacks are all of it. */
struct sim_party *sim_party_new(const char *name, unsigned host, void (*main)(void *arg), void *arg);
/* The coroutine begins from here on. */
void sim_party_start(struct sim_party *party);
/* It does nothing visible any more; `died` (or NULL) is called once, before the coroutine runs to its end. */
void sim_party_kill(struct sim_party *party);
void sim_party_on_death(struct sim_party *party, void (*died)(void *arg), void *arg);
bool sim_party_dead(const struct sim_party *party);
bool sim_party_ended(const struct sim_party *party);
unsigned sim_party_host(const struct sim_party *party);
const char *sim_party_name(const struct sim_party *party);
struct sim_party *sim_loop_party(const struct wt_loop *loop);
/* A loop for a party without coroutine. */
struct wt_loop *sim_loop_new(struct sim_party *party);

/* Called by a coroutine: sleeps until done(arg), or until deadline_ns, or until it is killed. */
void sim_wait(bool (*done)(void *arg), void *arg, uint64_t deadline_ns);
/* Runs all parties until stop(arg), or until this time. False: it was the time. */
bool sim_run(bool (*stop)(void *arg), void *arg, uint64_t until_ns);
uint64_t sim_turns(void);

/* Descriptors that no kernel knows; a loop can watch them. */
int sim_fd_new(void);
void sim_fd_free(int fd);
void sim_fd_ready(int fd, bool ready);
bool sim_fd_is(int fd);

/* ---- sim.c: what must hold ---- */

void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void sim_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern bool sim_tracing;

#define sim_check(holds, ...)                  \
	do {                                   \
		if (!(holds))                  \
			sim_fail(__VA_ARGS__); \
	} while (0)

/* ---- the network: how the hosts reach each other ---- */

/* Host 0 has the source, the others a destination each; they are called host0 to host4. */
enum { SIM_HOSTS = 5 };

struct sim_link {
	uint64_t delay_min_ns, delay_max_ns; /* of a message, one way */
	uint64_t bytes_per_s;                /* of one data path */
	uint64_t flight_ns;                  /* between reading a piece and writing it, at most */
	uint64_t down_until_ns;              /* until then nothing gets across; what was sent waits */
};

struct sim_net {
	struct sim_link links[SIM_HOSTS][SIM_HOSTS]; /* the lower number first */
	bool has_verbs;
	bool split; /* control connections deliver in small pieces */
	uint64_t no_verbs_until_ns;
};
extern struct sim_net sim_net;

/* Two hosts; a and b SIM_HOSTS: any. */
struct sim_pair {
	unsigned a, b;
};

struct sim_link *sim_net_link(unsigned a, unsigned b);
uint64_t sim_net_delay(unsigned a, unsigned b);
bool sim_pair_is(struct sim_pair pair, unsigned a, unsigned b);

/* sim_channel.c */
void sim_channels_cut(struct sim_pair pair, bool silent);
/* The party died: the other ends notice. */
void sim_channels_crash(struct sim_party *party);
unsigned sim_channels_open(void);

/* sim_path.c */
struct sim_dial;
void sim_paths_open(void);
void sim_paths_close(void);
/* Breaks one path of those that are connected (which: any number), or all of this fabric's. */
void sim_paths_break_one(uint64_t which);
void sim_paths_break(unsigned fabric, struct sim_pair pair);
void sim_paths_slow(uint64_t which, unsigned factor, uint64_t until_ns);
void sim_paths_crash(struct sim_party *party);
/* What has not been closed, in words; NULL: nothing. */
const char *sim_paths_left(void);
/* The local CPU writes this memory: no read may be under way into it. */
void sim_paths_local_write(const void *base, size_t length);
/* No read is under way into memory of this host, which nobody writes from now on. */
bool sim_paths_silent(unsigned host);

struct wt_endpoint;
struct wt_path;
struct wt_fabric_ops;
/* Asks for a connection; `done` is called from the loop with a path, or NULL and err. */
struct sim_dial *sim_path_dial(struct wt_loop *loop, const struct wt_fabric_ops *ops,
	struct wt_endpoint *endpoint, const char *host, uint16_t port, const uint8_t *hello,
	uint64_t timeout_ns, void (*done)(void *arg, struct wt_path *path, const struct wt_error *err),
	void *arg);
void sim_dial_cancel(struct sim_dial *dial);

/* ---- sim_monitor.c: what the protocol promises, seen from outside ---- */

void sim_monitor_reset(void);
/* Which host is the current destination, as the source sees it. */
unsigned sim_monitor_current(void);
/* A new migration is on its way to this host. */
void sim_monitor_now(unsigned host);
/* This destination has drained, and was not begun anew. */
bool sim_monitor_drained(unsigned host);
/* A destination that has drained lives, which can be returned to. */
bool sim_monitor_way_back(void);
/* Pages of a destination's block have got content. */
void sim_monitor_written(const void *base, size_t length);

/* ---- sim_fault.c ---- */

/* A relay came to a state, or sends a message of this type: a moment for a fault. */
void sim_fault_state(struct sim_party *party, const char *state, bool before);
/* host: of the destination whose session it is; 0: not known. */
void sim_fault_message(unsigned host, unsigned type);
#define SIM_CONNECTS 0 /* in place of a type: a control connection begins */

#endif

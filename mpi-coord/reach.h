/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * reach.h - how the coordinator comes to ranks: those of this host, which listen in the job's directory, or
 * those of a guest, through its agent. Either way a rank is a socket that speaks the lines of order.h.
 */
#ifndef WATARI_MPI_REACH_H
#define WATARI_MPI_REACH_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/error.h>

#define WT_REACH_NAME_MAX 64
#define WT_REACH_AGENT_RANKS_MAX 256

/* A rank is there; its name is that of its socket. Told again and again. 0, or a failure that ends the look.
 */
typedef int wt_reach_found_fn(void *arg, const char *name, struct wt_error *err);

struct wt_reach {
	const struct wt_reach_ops *ops;
	bool guest;      /* an agent's */
	bool stays;      /* of a move: its ranks let go only of those that do not stay */
	char where[256]; /* for sentences */
};

struct wt_reach_ops {
	int (*look)(struct wt_reach *reach, wt_reach_found_fn *found, void *arg, struct wt_error *err);
	int (*dial)(struct wt_reach *reach, const char *name, uint32_t *ret_pid);
	bool (*lost)(struct wt_reach *reach, struct wt_error *err);
	void (*close)(struct wt_reach *reach);
};

int wt_reach_directory_open(const char *directory, struct wt_reach **ret_reach, struct wt_error *err);
/*
 * agent: words between spaces: a command that runs another one on the guest's host (none: here), and the path
 * of the socket of the guest's agent there. watari: that program there. Waits until the agent has answered.
 */
int wt_reach_agent_open(const char *agent, const char *watari, const char *job, struct wt_reach **ret_reach,
	struct wt_error *err);

/* Says which ranks are there and have not been dialled, or are to be dialled again. */
int wt_reach_look(struct wt_reach *reach, wt_reach_found_fn *found, void *arg, struct wt_error *err);
/* A socket of the caller's; -errno: -ECONNREFUSED and -ENOENT: the rank is not there any more. */
int wt_reach_dial(struct wt_reach *reach, const char *name, uint32_t *ret_pid);
/* Whether its ranks cannot be reached any more, whatever they do; the sentence then. */
bool wt_reach_lost(struct wt_reach *reach, struct wt_error *err);
/* NULL is allowed. */
void wt_reach_close(struct wt_reach *reach);

#endif

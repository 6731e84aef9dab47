/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * barrier.h - the coordinator's part of the quiesce: which order goes to which rank next.
 *
 * Keeps nothing but what the ranks say of themselves, so that a coordinator can die at any moment and the
 * next one goes on from where the ranks are. The barriers: nobody detaches before all have drained, nobody
 * resumes before all are ready.
 */
#ifndef WATARI_MPI_BARRIER_H
#define WATARI_MPI_BARRIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "order.h"

enum wt_barrier_goal {
	WT_BARRIER_QUIESCE = 1, /* all detached */
	WT_BARRIER_RESUME,      /* all running */
};

enum wt_barrier_verdict {
	WT_BARRIER_GOES_ON = 0,
	WT_BARRIER_DONE,
	WT_BARRIER_ABORTED, /* the quiesce was given up: every rank that is left runs */
	WT_BARRIER_STUCK,   /* the ranks' states do not fit together: `why` says what */
};

struct wt_barrier_rank {
	uint32_t job;
	uint32_t rank;
	enum wt_rank_state state;
	uint32_t epoch;
	uint32_t part;            /* as it says: of how many others it has let go; 0: of all */
	bool stays;               /* this quiesce: lets go only of those that do not */
	bool gone;                /* it has left, or died */
	enum wt_order_kind asked; /* the last order that it has not answered, or INVALID */
	char host[WT_ORDER_HOST_MAX];
	uint16_t port;
	char verbs_host[WT_ORDER_HOST_MAX];
	uint16_t verbs_port;
	uint64_t token;
};

struct wt_barrier {
	enum wt_barrier_goal goal;
	struct wt_barrier_rank *ranks;
	size_t count;
	uint32_t epoch; /* of what is under way */
	bool aborting;
	bool finishing; /* some run already, or still: a quiesce lets the others run first */
	bool settling;  /* a coordinator died in the midst of a resume: all back to DETACHED first */
	char why[WT_ORDER_TEXT_MAX]; /* the quiesce is given up, or stuck */
};

/* After the first report of every rank. Chooses the epoch. If none stays, or all do, the quiesce is of the
 * whole job. */
void wt_barrier_start(struct wt_barrier *barrier, enum wt_barrier_goal goal);
/* A rank said something. */
void wt_barrier_report(struct wt_barrier *barrier, size_t rank, const struct wt_order *report);
/* A rank is gone without a word, time is up, or the operator has changed his mind: why is a sentence. */
void wt_barrier_trouble(struct wt_barrier *barrier, const char *why);
/* The next order for this rank; INVALID: none now. What is answered counts as sent. */
enum wt_order_kind wt_barrier_next(struct wt_barrier *barrier, size_t rank);
/* How many ranks do not stay, as a rank that stays is told. */
uint32_t wt_barrier_part(const struct wt_barrier *barrier);
enum wt_barrier_verdict wt_barrier_verdict(struct wt_barrier *barrier);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command_guests.h - what `watari-mpi migrate`, `checkpoint` and `restart` share: the guests of a job by the
 * plan of a gang, where their agents answer, and `watari gang` as a child.
 */
#ifndef WATARI_MPI_COMMAND_GUESTS_H
#define WATARI_MPI_COMMAND_GUESTS_H

#include "command.h"

#define WT_GUESTS_GO_ON (-1) /* in place of an exit code: the next stage begins */

struct wt_guests {
	struct wt_command_options options;
	const char *event;                /* the last one's, with --json */
	const char *gang[8];              /* what `watari gang PLAN` is told besides, ends with NULL */
	char watari[WT_COMMAND_PATH_MAX]; /* of this host */
	struct wt_job_plan plan;
	struct wt_reaches reaches;
	bool others_stay;    /* those that are named by --agent alone, in a quiesce */
	size_t moved;        /* guests that were found at their destinations */
	uint64_t stopped_ns; /* when the quiesce began; 0: by somebody else */
};

void wt_guests_close(struct wt_guests *guests);

/* ---- what people are told ---- */

void wt_guests_tell_stage(const struct wt_guests *guests, const char *stage, const char *text);
/* The last word. code: of this command, which is answered. */
int wt_guests_tell_end(const struct wt_guests *guests, const char *result, int code, const char *text);

/* ---- where they are ---- */

/* Ends at which a guest is looked for. */
enum wt_guests_ends { WT_GUESTS_FROM_FIRST = 1, WT_GUESTS_TO_FIRST, WT_GUESTS_FROM_ONLY, WT_GUESTS_TO_ONLY };

/* Opens what leads to the ranks. -EHOSTUNREACH: a guest is at none of these ends, or its agent is silent. */
int wt_guests_find(struct wt_guests *guests, enum wt_guests_ends ends, struct wt_error *err);
/* The same for as long as --timeout: one that has just arrived may be slow to answer. */
int wt_guests_find_patiently(struct wt_guests *guests, enum wt_guests_ends ends, struct wt_error *err);

/* ---- the gang ---- */

int wt_guests_ask_plan(struct wt_guests *guests, struct wt_error *err);
/* Somebody else's coordinator is not disturbed; it ends, whatever happens. text: for people. */
int wt_guests_wait_gang(struct wt_guests *guests, const char *text, struct wt_error *err);
/* Runs it to its end, and hands on what would end us: it knows what may still be called back. more: a word
 * for it, or NULL. Answers its exit code; negative: it was killed, or never run. */
int wt_guests_run_gang(const struct wt_guests *guests, const char *more);

/* ---- the ranks ---- */

/* Exit code, or WT_GUESTS_GO_ON: all ranks are detached. */
int wt_guests_let_go(struct wt_guests *guests);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gate.h - one rank's part of the quiesce: which orders it takes in which state, and what it answers.
 *
 * The coordinator may die at any moment, and another one may come. Until a rank has said `drained`, no rank
 * can have been told to detach, so a rank that loses its coordinator before that goes on by itself. After
 * that it cannot know, and waits for a coordinator.
 */
#ifndef WATARI_MPI_GATE_H
#define WATARI_MPI_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "order.h"

enum wt_gate_action {
	WT_GATE_NOTHING = 0,
	WT_GATE_DRAIN = 1,   /* quiesce all bonds */
	WT_GATE_CLOSE = 2,   /* give up paths, listener and device */
	WT_GATE_OPEN = 4,    /* open a device and listen; then say `attached` */
	WT_GATE_LEARN = 8,   /* the order holds another rank's new address */
	WT_GATE_JOIN = 16,   /* connect anew */
	WT_GATE_GO = 32,     /* run again, on the paths there are */
	WT_GATE_REPLY = 64,  /* tell the owner `reply` */
	WT_GATE_ALONE = 128, /* tell people that this rank waits for a coordinator */
	WT_GATE_PART = 256   /* the order names a rank that moves in the quiesce to come */
};

/* Zeroed at first, except state: RUNNING. */
struct wt_gate {
	enum wt_rank_state state;
	uint32_t epoch; /* of the last quiesce */
	uint32_t part;  /* with how many others its connections come to rest; 0: with all */
	int owner;      /* which connection gives the orders; 0: none */
};

struct wt_gate_step {
	unsigned actions; /* of enum wt_gate_action, carried out in the order of their values */
	struct wt_order reply;
};

/* connection: > 0, tells connections apart. */
struct wt_gate_step wt_gate_order(struct wt_gate *gate, const struct wt_order *order, int connection);
/* Every bond is drained; every bond has its path again. Heeded in the state that waits for it. */
struct wt_gate_step wt_gate_drained(struct wt_gate *gate);
struct wt_gate_step wt_gate_joined(struct wt_gate *gate);
/* Messages may be lost: the quiesce must not go on. */
struct wt_gate_step wt_gate_broken(const struct wt_gate *gate, const char *text);
/* Opening failed: the rank stays detached. */
struct wt_gate_step wt_gate_open_failed(struct wt_gate *gate, const char *text);
struct wt_gate_step wt_gate_connection_lost(struct wt_gate *gate, int connection);
/* New paths are not admitted. */
bool wt_gate_closed(const struct wt_gate *gate);

#endif

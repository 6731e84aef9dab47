/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bond.h - the connection to one other rank: who dials, what a quiesce waits for, when it is lost.
 *
 * Either end may dial. When both do at once, the path that the lower name dialled is kept. While quiesced an
 * end sends a marker on the path and nothing after it; a bond is drained when both markers have passed and
 * nothing of ours is outstanding. A rank that leaves says goodbye first; a path that ends without is an
 * error.
 */
#ifndef WATARI_MPI_BOND_H
#define WATARI_MPI_BOND_H

#include <stdbool.h>
#include <stdint.h>

enum wt_bond_event {
	WT_BOND_WANT = 1,     /* there is something to send */
	WT_BOND_DIALLED,      /* our dial gave a path */
	WT_BOND_DIAL_REFUSED, /* the other end was not in the mood; it may be later */
	WT_BOND_DIAL_FAILED,
	WT_BOND_REQUEST, /* the other end dials */
	WT_BOND_LOST,    /* the path ended */
	WT_BOND_UNMADE,  /* the path ended, and nothing had passed on it: it was none */
	WT_BOND_GOODBYE,
	WT_BOND_QUIESCE,
	WT_BOND_ABORT,  /* of the quiesce: go on with the path there is */
	WT_BOND_DETACH, /* after everybody has drained */
	WT_BOND_JOIN,   /* everybody has a new address */
	WT_BOND_RESUME,
};

enum wt_bond_action {
	WT_BOND_NOTHING = 0,
	WT_BOND_DIAL = 1,   /* begin to dial; or again, after a pause */
	WT_BOND_KEEP = 2,   /* the path that came is ours now: admitted, or dialled */
	WT_BOND_REFUSE = 4, /* the request, or the path that was dialled, is not wanted: close it */
	WT_BOND_MARK = 8,   /* send a marker */
	WT_BOND_CLOSE = 16, /* close the path */
	WT_BOND_BROKEN = 32 /* messages may be lost: the job cannot go on */
};

enum wt_bond_state {
	WT_BOND_IDLE = 0,
	WT_BOND_DIALLING,
	WT_BOND_UP,
};

enum wt_bond_mode {
	WT_BOND_RUNNING = 0,
	WT_BOND_QUIESCED, /* from QUIESCE to DETACH */
	WT_BOND_AWAY,     /* from DETACH to JOIN */
	WT_BOND_JOINING,  /* from JOIN to RESUME */
};

/* Zeroed at first, except `lower`. */
struct wt_bond {
	enum wt_bond_state state;
	enum wt_bond_mode mode;
	bool lower;            /* our name is the lower one */
	bool marked;           /* our marker is sent, or not needed */
	bool had_path;         /* before the detach: there must be one again before the resume */
	bool gone;             /* it has said goodbye */
	uint32_t epoch;        /* of the present quiesce; the caller sets it with QUIESCE */
	uint32_t marker_epoch; /* of the last marker that came */
};

/* Answers a set of enum wt_bond_action. */
unsigned wt_bond_step(struct wt_bond *bond, enum wt_bond_event event);
/* Whether items may be sent now. */
bool wt_bond_sends(const struct wt_bond *bond);
/* Nothing of this bond stands in the way of the barrier; path_idle: see quiesce in path.h. */
bool wt_bond_drained(const struct wt_bond *bond, bool path_idle);
bool wt_bond_joined(const struct wt_bond *bond);

#endif

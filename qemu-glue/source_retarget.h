/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_retarget.h - which destination the source sends to, and how it changes while the guest runs.
 *
 * A pure state machine beside source_switch.h, which goes on to decide who runs. A *target* is a destination
 * that the source has, or had, a session with; it is known by its number, and has a role. The owner opens and
 * closes sessions, and tells of each target what happens to it.
 *
 *   1. Exactly one target is current. Only what the current one says may become an event of source_switch.h.
 *   2. HAND_OVER comes only after the destination that is left has drained (nothing writes its memory any
 *      more), or after it was dropped: it is told ABORT, and nothing of it counts any more.
 *   3. Up to HAND_OVER nothing was taken from the destination that is left: it can go on (UNDRAIN).
 *   4. A target that has drained stays a way back, with its QEMU, until the guest runs elsewhere or the
 *      migration is over. RAISE_TROUBLE comes only when there is none, or the guest is stopped.
 *   5. QEMU is held exactly from the moment in which nobody could take what it writes, or shall, until
 *      somebody can.
 *   6. Every state but IDLE and OVER has a deadline or an event that ends it.
 *   7. Once the guest is stopped the destination changes by an abort (RESTART) and a new migration (AGAIN),
 *      for which only what was asked for is carried over: the next target, and the memory of the current one
 *      as an old copy. It is trouble to lose that one before AGAIN, not after.
 */
#ifndef WATARI_SOURCE_RETARGET_H
#define WATARI_SOURCE_RETARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "source_switch.h"

#define WT_TARGETS_MAX 8

enum wt_target_role {
	WT_TARGET_FREE = 0, /* no session has had this number */
	WT_TARGET_NEXT,     /* is to become the current one */
	WT_TARGET_CURRENT,
	WT_TARGET_RETIRED, /* drained: serves its memory to others, and is a way back */
	WT_TARGET_HELPER,  /* drained, its QEMU has ended: serves, but is no way back */
	WT_TARGET_DROPPED, /* lost, or told ABORT: nothing of it counts */
	WT_TARGET_KEPT,    /* of a migration that was given up: its memory is an old copy for the next one */
};

enum wt_retarget_state {
	WT_RETARGET_INVALID = 0,
	WT_RETARGET_IDLE,      /* the current destination has, or will have from the source, all it needs */
	WT_RETARGET_PREPARING, /* a session with the next destination is being opened */
	WT_RETARGET_DRAINING,  /* the next one is ready; the current one stops pulling */
	WT_RETARGET_HANDING,   /* the next one is the current one now, and is told what it needs */
	WT_RETARGET_SHARED,    /* it pulls what the former ones have from them and the source */
	WT_RETARGET_OVER,      /* the migration is */
};

enum wt_retarget_event {
	WT_RETARGET_EV_INVALID = 0,
	WT_RETARGET_EV_RETARGET,    /* the operator: to this target, which is free or retired */
	WT_RETARGET_EV_NEXT_READY,  /* this target has accepted the blocks, and can pull */
	WT_RETARGET_EV_OLD_DRAINED, /* this target has answered the last DRAIN (by its number, see `drains`)
				     */
	WT_RETARGET_EV_LOST, /* this target's session has failed for good, or it has said that it gave up */
	WT_RETARGET_EV_QEMU_ENDED, /* this target's QEMU has; its memory is still served */
	WT_RETARGET_EV_DEADLINE,
	WT_RETARGET_EV_BASE_SENT, /* all that HAND_OVER means is on its way */
	WT_RETARGET_EV_EXPECTED,  /* the current target awaits the former ones */
	WT_RETARGET_EV_BASE_DONE, /* ... and needs nothing more of them */
	WT_RETARGET_EV_GUEST_STOPPED,
	WT_RETARGET_EV_RUNS,    /* the guest runs at the current target */
	WT_RETARGET_EV_OVER,    /* the migration was aborted, or nobody knows */
	WT_RETARGET_EV_RESTART, /* the operator: to this target, which is free; the guest is stopped */
	WT_RETARGET_EV_AGAIN,   /* the migration to it begins */
};

/* Actions, a set of bits, to be carried out in this order. `current`, `next`, `old`, `closed` are the
 * machine's. */
enum wt_retarget_action {
	WT_RETARGET_DO_HOLD = 1 << 0,      /* read no more from QEMU */
	WT_RETARGET_DO_OPEN_NEXT = 1 << 1, /* a session with `next` */
	WT_RETARGET_DO_PREPARE_DEADLINE = 1 << 2,
	WT_RETARGET_DO_SEND_DRAIN = 1 << 3, /* to `current` */
	WT_RETARGET_DO_DRAIN_DEADLINE = 1 << 4,
	WT_RETARGET_DO_UNDRAIN = 1 << 5,    /* take that back */
	WT_RETARGET_DO_CLOSE_NEXT = 1 << 6, /* ABORT to `closed`, which was to become the next one */
	WT_RETARGET_DO_DROP_OLD = 1 << 7,   /* ABORT to `old`, as soon as it can be heard */
	WT_RETARGET_DO_GO_BACK = 1 << 8, /* tell: the current one was lost, it goes back to an earlier one */
	/* From `old` to `current`. Says RESTART first if that one is back (`returned`); then what it needs,
	 * the stream so far, what is pending. */
	WT_RETARGET_DO_HAND_OVER = 1 << 9,
	WT_RETARGET_DO_UNHOLD = 1 << 10,
	WT_RETARGET_DO_SEND_EXPECT = 1 << 11, /* to `current`: the retired ones will serve */
	WT_RETARGET_DO_SEND_SERVE = 1 << 12,  /* to each retired one and helper: serve `current` */
	WT_RETARGET_DO_TELL_FAILED = 1 << 13, /* the retarget has; the migration goes on */
	WT_RETARGET_DO_TELL_DONE = 1 << 14,
	WT_RETARGET_DO_RAISE_TROUBLE =
		1 << 15, /* what befell the current target is an event of source_switch.h */
	WT_RETARGET_DO_RELEASE_ALL =
		1 << 16, /* to each retired one, helper and kept one: it is not needed any more */
	WT_RETARGET_DO_RESTART = 1 << 17, /* RESTART is an event of source_switch.h */
};

struct wt_source_retarget {
	enum wt_retarget_state state;
	uint8_t roles[WT_TARGETS_MAX];      /* enum wt_target_role */
	uint8_t retired_as[WT_TARGETS_MAX]; /* the newest way back has the highest; 0: never retired */
	uint8_t retirements;
	int current, next; /* -1: none */
	int old, closed;   /* the last one that was left; that was given up */
	uint32_t drains;   /* DRAINs sent: the number of the last one */
	bool staged;   /* set by the owner: some memory is read from copies, which nobody has once they landed
			*/
	bool returned; /* the current one had retired before */
	bool complete; /* BASE_DONE has come before BASE_SENT: what was pending takes longer than the base */
	bool orphaned; /* the current one is lost while the next one is being prepared */
	bool stopped;  /* the guest */
	bool restarts; /* RESTART was taken: `next` is for the new migration */
};

/* The first destination, target 0, is current from the start. */
void wt_source_retarget_init(struct wt_source_retarget *machine);
/* Answers the actions. target: whom the event is about; of no meaning for events about none. An event that
 * means nothing in a state, or of that target, answers none. */
unsigned wt_source_retarget_step(
	struct wt_source_retarget *machine, enum wt_retarget_event event, unsigned target);
/* A number for another destination; -1: there have been too many. */
int wt_source_retarget_free(const struct wt_source_retarget *machine);
/* NULL: RETARGET (to a free or retired target) or RESTART (to a free one) is taken, whichever
 * wt_source_retarget_restarts says. Otherwise why not, and what to do. */
const char *wt_source_retarget_refusal(const struct wt_source_retarget *machine, enum wt_source_state state);
bool wt_source_retarget_restarts(const struct wt_source_retarget *machine, enum wt_source_state state);
const char *wt_source_retarget_state_name(enum wt_retarget_state state);

#endif

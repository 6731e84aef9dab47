/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_order.h - the order in which several guests move together: who may do what, and when.
 *
 * A pure state machine; who owns it carries out actions, one after the other, and reports what was seen. An
 * action is said (wt_gang_order_next) before it is carried out, so that it can be written down first.
 *
 *   1. Nobody moves before every guest is held: its devices have left, and its destination is ready.
 *   2. At most `parallel` move at once.
 *   3. Nobody takes its devices back before every guest has moved, or has failed.
 *   4. Until the first commit it is all or nothing. At a failure, or at CANCEL, nobody begins to move; those
 * that move are cancelled first, and only when each of them is known not to have committed, the others are
 * (UNDO).
 *   5. From the first commit on (FORWARD) nothing is undone: the others move, too, and who fails stays at its
 * source.
 *   6. OVER comes once, last, when every guest's relays have ended.
 */
#ifndef WATARI_QEMU_GANG_ORDER_H
#define WATARI_QEMU_GANG_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#define WT_GANG_VMS_MAX 64

enum wt_gang_state {
	WT_GANG_IDLE = 0,
	WT_GANG_STARTING,    /* the destination's QEMU is being started */
	WT_GANG_STARTED,     /* it waits */
	WT_GANG_AWAITING,    /* `watari receive` was started */
	WT_GANG_LISTENING,   /* it listens */
	WT_GANG_LETTING_GO,  /* `watari send` was started: warm-up, and devices leave */
	WT_GANG_HELD,        /* ready to move */
	WT_GANG_MOVING,      /* told to move */
	WT_GANG_COMMITTED,   /* the source has let go of the guest for good */
	WT_GANG_MOVED,       /* the guest runs at the destination, which holds */
	WT_GANG_TAKING_BACK, /* told to give it its devices */
	WT_GANG_CANCELLING,  /* told to give up */
	/* Final. */
	WT_GANG_DONE,   /* it has moved */
	WT_GANG_UNDONE, /* given up because of others: it is at its source, as before */
	WT_GANG_FAILED, /* could not move: it is at its source, as before */
	WT_GANG_LOST,   /* the operator has to look */
	WT_GANG_STATES,
};

/* What was seen of a guest's relays. May be said again: what is known already means nothing. */
enum wt_gang_event {
	WT_GANG_EV_INVALID = 0,
	WT_GANG_EV_STARTED,
	WT_GANG_EV_LISTENING,
	WT_GANG_EV_HELD,
	WT_GANG_EV_COMMITTED,
	WT_GANG_EV_MOVED,
	WT_GANG_EV_ENDED_MOVED, /* all its relays have ended; it runs at the destination */
	WT_GANG_EV_ENDED_BACK,  /* ... it is at its source */
	WT_GANG_EV_ENDED_LOST,  /* ... nobody can tell, or the operator has to decide */
};

enum wt_gang_action_kind {
	WT_GANG_DO_NOTHING = 0,
	WT_GANG_DO_START,   /* the destination's QEMU */
	WT_GANG_DO_RECEIVE, /* start `watari receive` */
	WT_GANG_DO_SEND,    /* start `watari send` */
	WT_GANG_DO_MOVE,    /* tell the source to proceed */
	WT_GANG_DO_BACK,    /* tell the destination to proceed */
	WT_GANG_DO_CANCEL,
	WT_GANG_DO_UNDO,    /* of the gang: nobody has committed, nobody will */
	WT_GANG_DO_FORWARD, /* of the gang: somebody has committed */
	WT_GANG_DO_OVER,    /* of the gang */
};

struct wt_gang_action {
	uint8_t kind; /* enum wt_gang_action_kind */
	uint8_t vm;   /* 0 where it means nothing */
};

struct wt_gang_member {
	uint8_t state;  /* enum wt_gang_state */
	bool has_start; /* the destination's QEMU is ours to start */
	bool moving;    /* CANCELLING: it moved, and may have committed */
};

struct wt_gang_order {
	uint8_t count, parallel;
	bool trouble;             /* somebody has failed, or the operator cancels */
	bool forward, undo, over; /* said */
	bool committed;           /* somebody has */
	struct wt_gang_member vms[WT_GANG_VMS_MAX];
};

/* count: 1 to WT_GANG_VMS_MAX; parallel: at least 1. */
void wt_gang_order_init(struct wt_gang_order *order, unsigned count, unsigned parallel);
void wt_gang_order_event(struct wt_gang_order *order, unsigned vm, enum wt_gang_event event);
/* The operator's wish: means nothing once somebody has committed. */
void wt_gang_order_cancel(struct wt_gang_order *order);
/*
 * After a crash: an action that was said, the last one of a guest last; for a gang that has done nothing yet.
 * Then what is seen now; and TAKE_OVER: if nobody was told to move, all goes back. Otherwise it goes on: who
 * was told to move may commit any moment, and to call the others back now would tear the gang apart.
 */
void wt_gang_order_restore(struct wt_gang_order *order, unsigned vm, enum wt_gang_action_kind said);
void wt_gang_order_take_over(struct wt_gang_order *order);
/* What is to be done now; kind NOTHING: wait for an event. */
struct wt_gang_action wt_gang_order_next(struct wt_gang_order *order);

bool wt_gang_state_final(enum wt_gang_state state);
const char *wt_gang_state_name(enum wt_gang_state state);
const char *wt_gang_action_name(enum wt_gang_action_kind kind);

#endif

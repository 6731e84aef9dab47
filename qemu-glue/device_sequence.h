/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device_sequence.h - the order in which devices are taken away from a guest and given back: a list of steps,
 * done one after the other, and undone backwards if one fails before the guest has moved.
 *
 * A pure state machine, for both ends; who owns it carries out actions and reports what came of them. A step
 * that overruns its deadline has FAILED: deadlines are the owner's.
 *
 *   1. At most one action is under way, and each is told once.
 *   2. Before the guest has moved, a failure (or ABORT) undoes every step that was begun, the last one first,
 *      each once; the one that failed, too, as it may have been done in part. A failure to undo is counted,
 *      and the others are undone all the same.
 *   3. When the guest has moved nothing is undone any more; a step that fails is counted, and the next one
 *      begins: a guest without its device runs.
 *   4. OVER comes once, last.
 *
 * The steps of the source:       AGENT, ASK, DETACH ..., UNPLUG ..., MOVE, REPORT, RELEASE ...
 * The steps of the destination:  PREPARE ..., MOVE, PLUG ..., ATTACH ...
 * The steps of a handover:       AGENT, DETACH ..., UNPLUG ..., MOVE, PLUG ..., ATTACH ...
 */
#ifndef WATARI_QEMU_DEVICE_SEQUENCE_H
#define WATARI_QEMU_DEVICE_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "device_map.h"

enum wt_device_step_kind {
	WT_DEVICE_STEP_INVALID = 0,
	WT_DEVICE_STEP_AGENT,   /* the guest's agent answers */
	WT_DEVICE_STEP_ASK,     /* the destination has prepared its devices */
	WT_DEVICE_STEP_PREPARE, /* a device is reserved, bound, checked. Undo: released */
	WT_DEVICE_STEP_DETACH,  /* the guest's hooks let go. Undo: they get it back */
	WT_DEVICE_STEP_UNPLUG,  /* device_del, DEVICE_DELETED. Undo: device_add */
	WT_DEVICE_STEP_MOVE,    /* the migration, until its commit */
	WT_DEVICE_STEP_RELEASE, /* what the guest has left is given back to the host */
	WT_DEVICE_STEP_PLUG,    /* device_add */
	WT_DEVICE_STEP_ATTACH,  /* the guest's hooks, and the link */
	WT_DEVICE_STEP_REPORT,  /* the destination says what has become of the devices */
};

/* The longest list: each device has four steps of its own at most. */
#define WT_DEVICE_STEPS_MAX (4 * WT_DEVICES_MAX + 4)

struct wt_device_step {
	uint8_t kind;   /* enum wt_device_step_kind */
	uint8_t device; /* number in the map; 0 where it means nothing */
};

enum wt_device_event {
	WT_DEVICE_EV_INVALID = 0,
	WT_DEVICE_EV_BEGIN,
	WT_DEVICE_EV_OK,     /* what was under way is done, or undone */
	WT_DEVICE_EV_FAILED, /* it could not be, or took too long */
	WT_DEVICE_EV_ABORT,  /* the migration is given up */
};

enum wt_device_action {
	WT_DEVICE_DO_NOTHING = 0,
	WT_DEVICE_DO_STEP, /* step `at` */
	WT_DEVICE_DO_UNDO, /* step `at`, which may be under way: end that first */
	WT_DEVICE_DO_OVER,
};

enum wt_device_state {
	WT_DEVICE_IDLE = 0,
	WT_DEVICE_FORWARD,
	WT_DEVICE_UNDOING,
	WT_DEVICE_OVER,
};

struct wt_device_sequence {
	uint8_t state; /* enum wt_device_state */
	uint8_t count, at;
	bool moved;
	uint8_t failures; /* after the move, or while undoing */
	struct wt_device_step steps[WT_DEVICE_STEPS_MAX];
};

/* The lists. agent: there is one to be asked. */
void wt_device_sequence_source(struct wt_device_sequence *sequence, unsigned devices, bool agent);
void wt_device_sequence_destination(struct wt_device_sequence *sequence, unsigned devices, bool agent);
void wt_device_sequence_handover(struct wt_device_sequence *sequence, unsigned devices, bool agent);

/* Answers what is to be done now. An event that means nothing in a state answers NOTHING. */
enum wt_device_action wt_device_sequence_step(
	struct wt_device_sequence *sequence, enum wt_device_event event);
/* Whether undoing it means anything. */
bool wt_device_step_has_undo(enum wt_device_step_kind kind);
const char *wt_device_step_name(enum wt_device_step_kind kind);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uri_source_switch.h - the source's half of the switchover without QMP: QEMU was told to migrate to a URI,
 * and all that is known of it is its stream.
 *
 * A pure state machine, like source_switch.h. It promises *at most one*: what cannot be known here is never
 * guessed, and where nobody runs the operator types `cont`.
 *
 *   1. SEND_COMMIT comes only after the destination holds everything (READY) and QEMU has closed its stream
 * behind it (ENDED): from then on QEMU keeps the guest stopped by itself. With a return path only after SHUT
 * was taken, too: without SHUT, a QEMU that closes has given up the migration and runs on.
 *   2. SEND_ABORT never comes after SEND_COMMIT.
 *   3. Every state but the final ones has a deadline or an event that ends it.
 *
 * One gap is QEMU's own: a migrate_cancel that comes between QEMU's last byte (with a return path: between
 * SHUT) and its `completed` runs the source although the stream is complete. It lasts an instant; only QMP
 * can tell (driven mode).
 */
#ifndef WATARI_URI_SOURCE_SWITCH_H
#define WATARI_URI_SOURCE_SWITCH_H

#include <stdbool.h>

enum wt_uri_source_state {
	WT_URI_SOURCE_INVALID = 0,
	WT_URI_SOURCE_CONNECTING,  /* awaiting QEMU's list of blocks, then the destination's consent */
	WT_URI_SOURCE_STREAMING,   /* the guest runs */
	WT_URI_SOURCE_STOPPED,     /* RAM's end was read: the guest is stopped */
	WT_URI_SOURCE_COMMITTING,  /* SHUT was taken; waiting until QEMU closes its stream */
	WT_URI_SOURCE_DELIVERING,  /* COMMIT was sent; waiting for the destination's word */
	WT_URI_SOURCE_DONE,        /* the destination's QEMU has loaded the guest */
	WT_URI_SOURCE_ABORTED,     /* QEMU fails its migration, or did so by itself: the guest runs on here */
	WT_URI_SOURCE_RETURNED,    /* nothing runs at the destination, and QEMU may have stopped the guest for
				      good: `cont` */
	WT_URI_SOURCE_UNDELIVERED, /* COMMIT was sent and the destination has not confirmed */
};

enum wt_uri_source_event {
	WT_URI_SOURCE_EV_INVALID = 0,
	WT_URI_SOURCE_EV_ACCEPTED,      /* the destination has accepted the blocks */
	WT_URI_SOURCE_EV_GUEST_STOPPED, /* RAM's end section was read */
	WT_URI_SOURCE_EV_READY,         /* the destination holds everything and has loaded nothing */
	WT_URI_SOURCE_EV_SHUT_TAKEN,    /* SHUT is in QEMU's return path */
	WT_URI_SOURCE_EV_ENDED,         /* QEMU has closed its stream */
	WT_URI_SOURCE_EV_RUNS,          /* the destination's QEMU has loaded the guest */
	WT_URI_SOURCE_EV_UNRUN,         /* the destination gave up: its guest never ran and never will */
	WT_URI_SOURCE_EV_TROUBLE,
	WT_URI_SOURCE_EV_DEADLINE,
};

/* Actions, a set of bits, to be carried out in this order. */
enum wt_uri_source_action {
	WT_URI_SOURCE_DO_START = 1 << 0, /* read QEMU's pages */
	WT_URI_SOURCE_DO_SWITCH_DEADLINE = 1 << 1,
	WT_URI_SOURCE_DO_SEND_SHUT = 1 << 2,
	WT_URI_SOURCE_DO_SEND_COMMIT = 1 << 3,
	WT_URI_SOURCE_DO_HANG_UP = 1 << 4, /* close QEMU's stream */
	WT_URI_SOURCE_DO_SEND_ABORT = 1 << 5,
	WT_URI_SOURCE_DO_CONFIRM_DEADLINE = 1 << 6,
	WT_URI_SOURCE_DO_FINISH = 1 << 7,
};

struct wt_uri_source_switch {
	enum wt_uri_source_state state;
	bool return_path; /* QEMU waits for SHUT; set with GUEST_STOPPED at the latest */
	bool ready;       /* READY has come */
	bool ended;       /* ENDED has come */
};

void wt_uri_source_switch_init(struct wt_uri_source_switch *machine);
unsigned wt_uri_source_switch_step(struct wt_uri_source_switch *machine, enum wt_uri_source_event event);
const char *wt_uri_source_state_name(enum wt_uri_source_state state);

#endif

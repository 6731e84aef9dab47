/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uri_destination_switch.h - the destination's half of the switchover without QMP: QEMU loads what it is fed,
 * and runs it if it likes.
 *
 * A pure state machine, like destination_switch.h. QEMU cannot be told to wait, so what it needs to load the
 * guest is withheld:
 *
 *   1. FEED_TAIL (everything behind RAM's end section) comes only after COMMIT. Before, closing the feed ends
 * QEMU's attempt: it has half a stream and loads nothing.
 *   2. SEND_FAILED (it never ran here and never will) comes only while FEED_TAIL has not come, behind
 * HANG_UP.
 *   3. Nothing happens on a timeout but giving up.
 */
#ifndef WATARI_URI_DESTINATION_SWITCH_H
#define WATARI_URI_DESTINATION_SWITCH_H

#include <stdbool.h>

enum wt_uri_destination_state {
	WT_URI_DESTINATION_INVALID = 0,
	WT_URI_DESTINATION_WAITING,   /* for a source */
	WT_URI_DESTINATION_RECEIVING, /* pulling, feeding what is before RAM's end */
	WT_URI_DESTINATION_VERIFYING, /* everything is here; RAM is compared with the source's, if wanted */
	WT_URI_DESTINATION_READY,     /* said so; the tail is withheld */
	WT_URI_DESTINATION_LOADING,   /* COMMIT received: the tail is fed */
	WT_URI_DESTINATION_DONE,      /* QEMU has loaded the guest */
	WT_URI_DESTINATION_FAILED,    /* given up before COMMIT */
	WT_URI_DESTINATION_STRANDED,  /* committed, and QEMU ended, or did not take the stream */
};

enum wt_uri_destination_event {
	WT_URI_DESTINATION_EV_INVALID = 0,
	WT_URI_DESTINATION_EV_CONNECTED, /* blocks were accepted */
	WT_URI_DESTINATION_EV_COMPLETE,  /* RAM has landed, and the whole tail is here */
	WT_URI_DESTINATION_EV_VERIFIED,
	WT_URI_DESTINATION_EV_COMMIT,
	WT_URI_DESTINATION_EV_LOADED,    /* QEMU has read everything, closed its end, and lives */
	WT_URI_DESTINATION_EV_ABORT,     /* from the source */
	WT_URI_DESTINATION_EV_TROUBLE,   /* pulling failed, the operator cancels, QEMU takes too long */
	WT_URI_DESTINATION_EV_PEER_LOST, /* the source is gone for good */
	WT_URI_DESTINATION_EV_QEMU_GONE, /* it has ended, or has closed its end without having read everything
					  */
};

/* Actions, a set of bits, to be carried out in this order. */
enum wt_uri_destination_action {
	WT_URI_DESTINATION_DO_VERIFY = 1 << 0,
	WT_URI_DESTINATION_DO_SEND_READY = 1 << 1,
	WT_URI_DESTINATION_DO_FEED_TAIL = 1 << 2,
	WT_URI_DESTINATION_DO_SEND_RUNNING = 1 << 3,
	WT_URI_DESTINATION_DO_HANG_UP = 1 << 4, /* close the feed */
	WT_URI_DESTINATION_DO_SEND_FAILED = 1 << 5,
	WT_URI_DESTINATION_DO_SEND_STRANDED = 1 << 6,
	WT_URI_DESTINATION_DO_FINISH = 1 << 7,
};

struct wt_uri_destination_switch {
	enum wt_uri_destination_state state;
	bool verify;
};

void wt_uri_destination_switch_init(struct wt_uri_destination_switch *machine);
unsigned wt_uri_destination_switch_step(
	struct wt_uri_destination_switch *machine, enum wt_uri_destination_event event);
const char *wt_uri_destination_state_name(enum wt_uri_destination_state state);

#endif

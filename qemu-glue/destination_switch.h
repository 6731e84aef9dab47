/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination_switch.h - the destination's half of the switchover.
 *
 * A pure state machine, like source_switch.h.
 *
 *   1. FEED_TAIL (everything behind RAM's end section) comes only after RAM's end was announced and every
 * announcement has landed.
 *   2. RUN comes only after COMMIT from the source, or by the operator's word; never on a timeout.
 *   3. SEND_FAILED (it never ran here and never will) comes only while RUN has not come, and with the end of
 * QEMU.
 *   4. Once READY was said, QUIT_QEMU comes only after ABORT or KEEP from the source: it may have committed.
 *   5. When the source has changed the destination this one is *retired*: nothing is fed to QEMU, and what is
 *      complete here is served to the next one. It may be called back (RESTART). Its QEMU is ended, and its
 *      memory goes, only when the source has no use for it any more, or is lost and nobody is being served.
 *   6. KEEP is an abort, as good as ABORT: QEMU is ended, and when it has, the source is told
 *      (SEND_HELPER). But the relay keeps the memory, retired.
 */
#ifndef WATARI_DESTINATION_SWITCH_H
#define WATARI_DESTINATION_SWITCH_H

#include <stdbool.h>

enum wt_destination_state {
	WT_DESTINATION_INVALID = 0,
	WT_DESTINATION_WAITING,   /* for a source */
	WT_DESTINATION_RECEIVING, /* pulling, feeding what is before RAM's end */
	WT_DESTINATION_VERIFYING, /* all landed; RAM is compared with the source's, if wanted */
	WT_DESTINATION_LOADING,   /* device state is fed */
	WT_DESTINATION_READY,     /* loaded, paused, said so */
	WT_DESTINATION_STARTING,  /* COMMIT received; telling QEMU to run */
	WT_DESTINATION_DONE,
	WT_DESTINATION_FAILED,   /* ended before READY, or aborted by the source; QEMU is gone */
	WT_DESTINATION_ORPHAN,   /* READY and the source is lost, or committed and QEMU does not run: the
				    operator's turn */
	WT_DESTINATION_RETIRED,  /* another destination takes over; serves it */
	WT_DESTINATION_RELEASED, /* the guest runs elsewhere; QEMU is gone */
	WT_DESTINATION_STATES,   /* how many there are */
};

enum wt_destination_event {
	WT_DESTINATION_EV_INVALID = 0,
	WT_DESTINATION_EV_CONNECTED,    /* blocks were accepted */
	WT_DESTINATION_EV_RAM_COMPLETE, /* RAM's end was announced and everything has landed */
	WT_DESTINATION_EV_VERIFIED,
	WT_DESTINATION_EV_LOADED, /* QEMU: migration completed, paused */
	WT_DESTINATION_EV_COMMIT,
	WT_DESTINATION_EV_RUNNING,   /* QEMU runs the guest, or keeps it paused as it was at the source */
	WT_DESTINATION_EV_ABORT,     /* from the source */
	WT_DESTINATION_EV_KEEP,      /* from the source: ABORT, but the memory is of use as an old copy */
	WT_DESTINATION_EV_TROUBLE,   /* QEMU refuses the stream, pulling failed, the operator cancels */
	WT_DESTINATION_EV_PEER_LOST, /* the source is gone for good */
	WT_DESTINATION_EV_QEMU_GONE,
	WT_DESTINATION_EV_DRAIN,   /* the source had it stop pulling, and it has: nothing writes memory now */
	WT_DESTINATION_EV_RESTART, /* the source lets it go on */
	WT_DESTINATION_EV_RELEASE, /* the source: the guest runs elsewhere */
	WT_DESTINATION_EV_SERVED,  /* nobody is served any more */
};

enum wt_destination_action {
	WT_DESTINATION_DO_VERIFY = 1 << 0,
	WT_DESTINATION_DO_FEED_TAIL = 1 << 1,
	WT_DESTINATION_DO_SEND_READY = 1 << 2,
	WT_DESTINATION_DO_RUN = 1 << 3,
	WT_DESTINATION_DO_SEND_RUNNING = 1 << 4,
	WT_DESTINATION_DO_SEND_FAILED = 1 << 5,
	WT_DESTINATION_DO_SEND_STRANDED = 1 << 6,
	WT_DESTINATION_DO_SEND_HELPER = 1 << 7, /* QEMU has ended: serves, but is no way back */
	WT_DESTINATION_DO_WAIT_HELPER = 1 << 8, /* SERVED follows: now, if nobody is served */
	WT_DESTINATION_DO_QUIT_QEMU = 1 << 9,
	WT_DESTINATION_DO_FINISH = 1 << 10,
};

struct wt_destination_switch {
	enum wt_destination_state state;
	bool verify;
	bool alone;     /* retired, and the source is lost */
	bool qemu_gone; /* retired, and it has ended */
};

void wt_destination_switch_init(struct wt_destination_switch *machine);
unsigned wt_destination_switch_step(struct wt_destination_switch *machine, enum wt_destination_event event);
bool wt_destination_switch_final(const struct wt_destination_switch *machine);
/* NULL: TROUBLE (the operator cancels) ends the reception. Otherwise why it is too late, and what happens. */
const char *wt_destination_cancel_refusal(enum wt_destination_state state);
const char *wt_destination_state_name(enum wt_destination_state state);

#endif

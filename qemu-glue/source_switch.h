/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_switch.h - the source's half of the switchover: who runs, decided step by step.
 *
 * A pure state machine: events in, actions out. The relay carries out actions and reports what came of them.
 *
 *   1. SEND_COMMIT comes only after the source QEMU was seen in `completed` and `postmigrate`: the commit
 * record.
 *   2. After SEND_SHUT, CANCEL never comes unless QEMU itself said that the migration failed.
 *   3. QUIT_QEMU comes only after the destination said that it runs (or was paused, as it had been).
 *   4. After the commit record the source runs again only if the destination said that its guest never ran
 * and never will.
 *   5. Every state but the final ones has a deadline or an event that ends it.
 *   6. A stopped guest gets another destination (RESTART) only before SHUT, and by an abort: AGAIN comes when
 * the source QEMU has the guest again, and the destination has ended its own: whoever commits the next
 * migration must not find it loaded (recover.h).
 */
#ifndef WATARI_SOURCE_SWITCH_H
#define WATARI_SOURCE_SWITCH_H

#include <stdbool.h>
#include <stdint.h>

enum wt_source_state {
	WT_SOURCE_INVALID = 0,
	WT_SOURCE_CONNECTING, /* to the destination; nothing was changed */
	WT_SOURCE_STREAMING,  /* QEMU migrates, the guest runs */
	WT_SOURCE_STOPPED,    /* the guest is stopped; the last pages land, the destination loads */
	WT_SOURCE_COMMITTING, /* SHUT was sent; waiting for the commit record */
	WT_SOURCE_DELIVERING, /* committed; waiting until the destination runs */
	WT_SOURCE_DONE,       /* the destination runs */
	WT_SOURCE_ABORTING,   /* cancelled; waiting until the source QEMU says so */
	WT_SOURCE_ABORTED,    /* the source is as it was before */
	WT_SOURCE_UNDECIDED,  /* the source QEMU is lost after SHUT: nobody can tell here whether it committed
			       */
	WT_SOURCE_UNDELIVERED, /* committed, but the destination did not confirm */
	WT_SOURCE_LOST,        /* the source QEMU ended before SHUT: the guest died with it */
	WT_SOURCE_RESTARTING,  /* cancelled, as in ABORTING, and waiting for the destination; a new migration
				  begins then */
	WT_SOURCE_AGAIN,       /* the source is as it was before: it begins now, with a machine of its own */
};

enum wt_source_event {
	WT_SOURCE_EV_INVALID = 0,
	WT_SOURCE_EV_ACCEPTED,          /* the destination has accepted the blocks */
	WT_SOURCE_EV_GUEST_STOPPED,     /* STOP event, or RAM's end section */
	WT_SOURCE_EV_DESTINATION_READY, /* loaded and paused */
	WT_SOURCE_EV_QEMU_COMPLETED,    /* migration completed and run state postmigrate */
	WT_SOURCE_EV_QEMU_FAILED,       /* migration failed or cancelled, the guest is QEMU's again */
	WT_SOURCE_EV_DESTINATION_RUNS,
	WT_SOURCE_EV_DEADLINE,
	WT_SOURCE_EV_TROUBLE, /* cancel, an error in the stream, the peer lost for good, the destination
				 failed */
	WT_SOURCE_EV_DESTINATION_UNRUN, /* the destination gave up; its guest never ran and never will */
	WT_SOURCE_EV_QEMU_GONE,
	WT_SOURCE_EV_RESTART, /* the operator: to another destination, and the guest is stopped already */
	WT_SOURCE_EV_DESTINATION_UNLOADED, /* after KEEP: its QEMU has ended */
};

/* Actions, a set of bits, to be carried out in this order. */
enum wt_source_action {
	WT_SOURCE_DO_MIGRATE = 1 << 0,         /* tell QEMU to migrate */
	WT_SOURCE_DO_SWITCH_DEADLINE = 1 << 1, /* set the deadline of the switchover */
	WT_SOURCE_DO_SEND_SHUT = 1 << 2,
	WT_SOURCE_DO_SEND_COMMIT = 1 << 3,
	WT_SOURCE_DO_SEND_ABORT = 1 << 4, /* to the destination, which never had COMMIT */
	WT_SOURCE_DO_SEND_KEEP = 1 << 5,  /* the same, but it keeps its memory; sets the deadline for that */
	WT_SOURCE_DO_CANCEL = 1 << 6,     /* close the return path, migrate_cancel */
	WT_SOURCE_DO_DELIVERY_DEADLINE = 1 << 7,
	WT_SOURCE_DO_QUIT_QEMU = 1 << 8,
	WT_SOURCE_DO_ANNOUNCE = 1 << 9, /* the source guest announces itself on its networks again */
	WT_SOURCE_DO_FINISH = 1 << 10,
};

struct wt_source_switch {
	enum wt_source_state state;
	bool keep_source; /* do not quit the source QEMU */
	bool unrun;       /* the destination has given up after SHUT: the source shall run again */
	bool was_stopped; /* the guest was stopped by this migration before it was aborted */
	bool returned;    /* RESTARTING: the source QEMU has its guest again */
	bool unloaded;    /* ... and the destination has ended its QEMU */
};

void wt_source_switch_init(struct wt_source_switch *machine, bool keep_source);
/* Answers the actions. An event that means nothing in a state answers none. */
unsigned wt_source_switch_step(struct wt_source_switch *machine, enum wt_source_event event);
/* NULL: TROUBLE (the operator cancels) keeps the guest here. Otherwise why it is too late, and what happens.
 */
const char *wt_source_cancel_refusal(enum wt_source_state state);
const char *wt_source_state_name(enum wt_source_state state);

#endif

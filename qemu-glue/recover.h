/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recover.h - after a crash: who may run?
 *
 * The commit record is the source QEMU's own state: `postmigrate` with a completed migration means committed,
 * and record.h says to whom. Pure.
 */
#ifndef WATARI_QEMU_RECOVER_H
#define WATARI_QEMU_RECOVER_H

#include <stdbool.h>

enum wt_recover_source {
	WT_RECOVER_SOURCE_UNKNOWN = 0, /* not asked, or no answer */
	WT_RECOVER_SOURCE_COMMITTED,
	WT_RECOVER_SOURCE_BUSY, /* a migration is under way, the relay may be gone */
	WT_RECOVER_SOURCE_OWNS, /* it runs, or is stopped for another reason */
};

enum wt_recover_destination {
	WT_RECOVER_DESTINATION_UNKNOWN = 0,
	WT_RECOVER_DESTINATION_LOADED, /* complete and paused */
	WT_RECOVER_DESTINATION_INCOMPLETE,
	WT_RECOVER_DESTINATION_RUNS,
	WT_RECOVER_DESTINATION_NONE,    /* a QEMU that nobody migrated to */
	WT_RECOVER_DESTINATION_FOREIGN, /* has a guest, but of another migration than the source's last */
};

enum wt_recover_verdict {
	WT_RECOVER_INVALID = 0,
	WT_RECOVER_RUN_DESTINATION, /* then quit the source, if it is there */
	WT_RECOVER_QUIT_SOURCE,     /* the destination runs already */
	WT_RECOVER_CANCEL_SOURCE,   /* quit the destination if it is there, cancel; the source runs on */
	WT_RECOVER_SOURCE_KEEPS,    /* quit the destination if it is there; nothing else to do. One that is
				       FOREIGN is left alone, here and above */
	WT_RECOVER_COMMITTED_NO_DESTINATION, /* committed, but nobody has the guest's state any more but the
						source */
	WT_RECOVER_ASK,                      /* nobody can tell: the operator must */
	WT_RECOVER_TWO,                      /* both run: say so loudly */
	WT_RECOVER_NOT_A_DESTINATION,
	WT_RECOVER_COMMITTED_ELSEWHERE, /* the source's guest went to another QEMU than this destination */
};

/* force: the operator's word that the source will never run again, and that the guest was sent nowhere else.
 */
enum wt_recover_verdict wt_recover_decide(
	enum wt_recover_source source, bool source_runs, enum wt_recover_destination destination, bool force);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * recover.c - the table of what may run after a crash. See recover.h.
 *
 *   1. The destination runs only if the source has committed, or by the operator's word when the source is
 * unknown.
 *   2. Nothing is ended that may be the only copy of the guest.
 *   3. Who was a destination of another migration is neither run nor ended.
 */
#include "recover.h"

static enum wt_recover_verdict committed(enum wt_recover_destination destination)
{
	switch (destination) {
	case WT_RECOVER_DESTINATION_LOADED:
		return WT_RECOVER_RUN_DESTINATION;
	case WT_RECOVER_DESTINATION_RUNS:
		return WT_RECOVER_QUIT_SOURCE;
	case WT_RECOVER_DESTINATION_FOREIGN:
		return WT_RECOVER_COMMITTED_ELSEWHERE;
	case WT_RECOVER_DESTINATION_INCOMPLETE: /* a fresh QEMU: the one that was loaded is gone, it may have
						   run */
	default:
		return WT_RECOVER_COMMITTED_NO_DESTINATION;
	}
}

enum wt_recover_verdict wt_recover_decide(
	enum wt_recover_source source, bool source_runs, enum wt_recover_destination destination, bool force)
{
	if (destination == WT_RECOVER_DESTINATION_NONE)
		return WT_RECOVER_NOT_A_DESTINATION;
	switch (source) {
	case WT_RECOVER_SOURCE_COMMITTED:
		return committed(destination);
	case WT_RECOVER_SOURCE_BUSY:
		return destination == WT_RECOVER_DESTINATION_RUNS ? WT_RECOVER_ASK : WT_RECOVER_CANCEL_SOURCE;
	case WT_RECOVER_SOURCE_OWNS:
		if (destination == WT_RECOVER_DESTINATION_RUNS)
			return source_runs ? WT_RECOVER_TWO : WT_RECOVER_ASK;
		return WT_RECOVER_SOURCE_KEEPS;
	default:
		if (destination == WT_RECOVER_DESTINATION_RUNS) /* it does so only after the commit */
			return WT_RECOVER_QUIT_SOURCE;
		if (destination == WT_RECOVER_DESTINATION_LOADED && force)
			return WT_RECOVER_RUN_DESTINATION;
		return WT_RECOVER_ASK;
	}
}

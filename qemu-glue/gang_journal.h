/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_journal.h - what a gang has done so far, in a file as in journal_file.h:
 *
 *   {"gang":1,"digest":DIGEST}          the first line; of the plan's text
 *   {"step":STEP,"vm":NAME}             gang_order.h's actions; without "vm" those of the gang
 *
 * A gang is finished when it has the step "over".
 */
#ifndef WATARI_QEMU_GANG_JOURNAL_H
#define WATARI_QEMU_GANG_JOURNAL_H

#include <stdbool.h>

#include <watari/error.h>

#include "gang_order.h"
#include "gang_plan.h"
#include "journal_file.h"

struct wt_gang_journal {
	struct wt_journal_file file;
	const struct wt_gang_plan *plan;
};

/*
 * Takes a journal that can be begun; or, with resume, one to go on with, and restores the order, which has
 * done nothing yet. An unfinished one is not begun anew, and only an unfinished one of the same plan is
 * resumed: -EEXIST, -ENOENT, -EINVAL with the sentence. path and plan are borrowed.
 */
int wt_gang_journal_open(struct wt_gang_journal *journal, const char *path, const struct wt_gang_plan *plan,
	bool resume, struct wt_gang_order *order, struct wt_error *err);
/* What a gang that is not ours has done so far. */
enum wt_gang_journal_state {
	WT_GANG_JOURNAL_IDLE = 1,   /* there is none, or it is over */
	WT_GANG_JOURNAL_UNFINISHED, /* its coordinator has ended in the middle */
	WT_GANG_JOURNAL_BUSY,       /* its coordinator is at work */
};
/* Changes nothing. -EINVAL: no journal, or an unfinished one of another plan. */
int wt_gang_journal_look(const char *path, const struct wt_gang_plan *plan,
	enum wt_gang_journal_state *ret_state, struct wt_error *err);
/* Without resume, before anything is added. */
int wt_gang_journal_begin(struct wt_gang_journal *journal, struct wt_error *err);
/* When it answers 0, what it says may be done. */
int wt_gang_journal_add(struct wt_gang_journal *journal, struct wt_gang_action action, struct wt_error *err);
void wt_gang_journal_close(struct wt_gang_journal *journal);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rejuvenate_journal.h - what a rejuvenation has done so far, in a file as in journal_file.h:
 *
 *   {"rejuvenation":1,"digest":DIGEST,"begun_ms":TIME}   the first line; of the plan's text, and of the clock
 *   {"step":STEP,"host":NAME,"guest":NAME}               rejuvenate_order.h's steps, before they are carried
 * out
 *   {"ended":STEP,...,"result":RESULT,"text":WHY}        the same when they have ended; with figures of
 * theirs
 *   {"found":PLACE,"guest":NAME}                         the operator's word on a guest that was lost
 *
 * It is finished when it has the step "over".
 */
#ifndef WATARI_QEMU_REJUVENATE_JOURNAL_H
#define WATARI_QEMU_REJUVENATE_JOURNAL_H

#include <stdint.h>

#include "journal_file.h"
#include "rejuvenate_plan.h"

#define WT_REJUVENATE_ANSWER_MAX 256

/* What came of a step. */
struct wt_rejuvenate_end {
	enum wt_rejuvenate_result result;
	char text[WT_ERROR_TEXT_MAX];          /* why it is not OK; "": it is */
	char answer[WT_REJUVENATE_ANSWER_MAX]; /* of CHECK: the first line that the probe has printed */
	double downtime_ms;                    /* of a guest; negative: not known */
	uint64_t sent_bytes;
};

struct wt_rejuvenate_journal {
	struct wt_journal_file file;
	const struct wt_rejuvenate_plan *plan;
	uint64_t begun_ms;
	unsigned said_in[WT_REJUVENATE_HOSTS_MAX]; /* the line in which a host's step was said last */
};

/* Told of each end that is read. */
typedef void wt_rejuvenate_journal_ended(
	void *arg, struct wt_rejuvenate_action action, const struct wt_rejuvenate_end *end);

/*
 * Takes a journal that can be begun; or, with resume, one to go on with, and restores the order, which is the
 * plan's. An unfinished one is not begun anew, and only an unfinished one of the same plan is resumed:
 * -EEXIST, -ENOENT, -EINVAL with the sentence. path and plan are borrowed.
 */
int wt_rejuvenate_journal_open(struct wt_rejuvenate_journal *journal, const char *path,
	const struct wt_rejuvenate_plan *plan, bool resume, struct wt_rejuvenate_order *order,
	wt_rejuvenate_journal_ended *ended, void *arg, struct wt_error *err);
/* Without resume, before anything is added. now_ms: of the clock. */
int wt_rejuvenate_journal_begin(struct wt_rejuvenate_journal *journal, uint64_t now_ms, struct wt_error *err);
/* When it answers 0, what it says may be done. */
int wt_rejuvenate_journal_step(
	struct wt_rejuvenate_journal *journal, struct wt_rejuvenate_action action, struct wt_error *err);
int wt_rejuvenate_journal_end(struct wt_rejuvenate_journal *journal, struct wt_rejuvenate_action action,
	const struct wt_rejuvenate_end *end, struct wt_error *err);
int wt_rejuvenate_journal_found(struct wt_rejuvenate_journal *journal, unsigned guest,
	enum wt_rejuvenate_place place, struct wt_error *err);
void wt_rejuvenate_journal_close(struct wt_rejuvenate_journal *journal);

#endif

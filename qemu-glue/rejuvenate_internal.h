/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rejuvenate_internal.h - the coordinator's state, shared by rejuvenate.c (the order, the journal, steps) and
 * rejuvenate_report.c (what people are told).
 */
#ifndef WATARI_QEMU_REJUVENATE_INTERNAL_H
#define WATARI_QEMU_REJUVENATE_INTERNAL_H

#include <limits.h>
#include <watari/loop.h>

#include "rejuvenate.h"
#include "rejuvenate_step.h"
#include "report.h"
#include "signals.h"

struct wt_rejuvenate {
	const struct wt_rejuvenate_options *options;
	const struct wt_rejuvenate_plan *plan;
	struct wt_rejuvenate_order order;
	struct wt_rejuvenate_journal journal;
	struct wt_loop *loop;
	struct wt_report report;
	struct wt_timer tick;
	char program[PATH_MAX]; /* this one */
	struct wt_rejuvenate_run_step steps[WT_REJUVENATE_HOSTS_MAX];
	bool under_way[WT_REJUVENATE_HOSTS_MAX];
	char answers[WT_REJUVENATE_HOSTS_MAX][WT_REJUVENATE_ANSWER_MAX]; /* of CHECK */
	char why[WT_REJUVENATE_HOSTS_MAX][WT_ERROR_TEXT_MAX]; /* its last step has failed; "": it has not */
	struct wt_signals signals;
	bool left;             /* by a second signal, or since the journal cannot be written */
	struct wt_error error; /* ... then why */
	/* Of all that has ended, whoever saw it. */
	double worst_downtime_ms; /* negative: not known of any guest */
	uint64_t sent_bytes;
};

/* rejuvenate_report.c: a step begins; it has ended; the end of all, answers the exit code. */
void wt_rejuvenate_tell_begin(struct wt_rejuvenate *run, struct wt_rejuvenate_action action);
void wt_rejuvenate_tell_ended(
	struct wt_rejuvenate *run, struct wt_rejuvenate_action action, const struct wt_rejuvenate_end *end);
int wt_rejuvenate_tell_end(struct wt_rejuvenate *run);
/* Of the clock. */
uint64_t wt_rejuvenate_now_ms(void);

#endif

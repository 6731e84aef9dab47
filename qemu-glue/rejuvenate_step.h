/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rejuvenate_step.h - one step of a rejuvenation while it is carried out: a command that outlives the
 * coordinator, and what came of it.
 *
 *   1. What came of it is read from the command's output alone, its exit code included: a local shell writes
 * that behind it. So whoever comes later reads the same.
 *   2. A command is begun again only if it can tell itself what it has done before (a gang), or if it may be
 * repeated (a check, a probe).
 *   3. Whatever may take without end has a deadline; a gang has its own.
 *   4. Of a guest it is FAILED only when the guest is where it was. Where that is not known it is LOST.
 */
#ifndef WATARI_QEMU_REJUVENATE_STEP_H
#define WATARI_QEMU_REJUVENATE_STEP_H

#include "gang_process.h"
#include "rejuvenate_journal.h"

struct wt_rejuvenate_run_step {
	const struct wt_rejuvenate_plan *plan;
	struct wt_rejuvenate_action action;
	unsigned host;
	char *path;          /* of the output; with ".plan" behind it a gang's plan */
	const char *program; /* this one */
	const char *before;  /* PROBE: what the host must not answer any more; NULL: anything is good */
	struct wt_gang_process process;
	bool resumed; /* a gang that was gone on with */
	unsigned restarts;
	uint64_t until_ns; /* of all; 0: none */
	uint64_t once_ns;  /* of this attempt */
	uint64_t again_ns; /* when the next one begins; 0: one is under way */
	/* What this command has printed so far. */
	int code;                      /* -1: not yet */
	char result[16];               /* of a gang's summary; "": none */
	char error[WT_ERROR_TEXT_MAX]; /* the last one that was said */
	struct wt_rejuvenate_end end;
};

/* Carries it out: begins its command. take_over: unless that was done before. path is copied; plan, program
 * and before are borrowed. Whatever cannot be begun is an end, too. */
void wt_rejuvenate_step_begin(struct wt_rejuvenate_run_step *step, const struct wt_rejuvenate_plan *plan,
	struct wt_rejuvenate_action action, const char *path, const char *program, const char *before,
	bool take_over, uint64_t now_ns);
/* Reads on. True: it has ended, and step->end says how. */
bool wt_rejuvenate_step_read(struct wt_rejuvenate_run_step *step, uint64_t now_ns);
/* Ends nothing but an attempt to reach a host. */
void wt_rejuvenate_step_close(struct wt_rejuvenate_run_step *step);

#endif

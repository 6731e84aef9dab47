/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_step.h - one command for each guest, in step: each holds (hold.h) when it has done its part, and when
 * all hold all are told to go on. If one fails before, all others are called back.
 *
 *   1. Nobody is told to go on before all hold.
 *   2. Once somebody may have been told, everybody is, and nobody is called back.
 *   3. It is over when every command is over. One of which nothing is heard for hold_s and a minute is given
 * up: its host is gone, or hangs; what holds there ends by itself.
 *
 * The commands outlive their coordinator (gang_process.h). One thread: the loop's.
 */
#ifndef WATARI_QEMU_GANG_STEP_H
#define WATARI_QEMU_GANG_STEP_H

#include <watari/loop.h>

#include "gang_line.h"
#include "gang_process.h"
#include "gang_relay.h"
#include "report.h"

enum wt_gang_step_phase {
	WT_GANG_STEP_GATHERING = 1,
	WT_GANG_STEP_GOING,   /* all have held */
	WT_GANG_STEP_UNDOING, /* one has failed before */
	WT_GANG_STEP_OVER,
};

struct wt_gang_step_vm {
	const struct wt_gang_vm *plan;
	const struct wt_gang_end *end;
	struct wt_gang_process start, command, ask;
	struct wt_gang_relay relay;
	bool asking, told; /* watari proceed, or cancel, is under way; was taken */
	bool over, good;   /* good: it has said its summary */
	uint64_t ask_again_ns, ask_until_ns, heard_ns;
	const char *state; /* that was told last */
	char why[WT_ERROR_TEXT_MAX];
};

struct wt_gang_step {
	const struct wt_gang_plan *plan;
	struct wt_loop *loop;
	struct wt_report *report;
	const char *files; /* what processes print is in FILES.GUEST.WHAT; borrowed, as all above */
	const char *job;   /* the relays' jobs are GUEST-JOB */
	/* The guest's command; it ends with a summary if all was well, and holds once. */
	void (*line)(void *arg, unsigned vm, struct wt_gang_line *line);
	/* The phase is about to change: for those who count on it. */
	void (*turn)(void *arg, enum wt_gang_step_phase phase);
	void *arg;
	bool start; /* the plan's command that starts the destination's QEMU comes first */

	enum wt_gang_step_phase phase;
	bool cancelled;
	const struct wt_gang_step_vm *culprit; /* the first that failed before all held; NULL: none */
	struct wt_timer tick;
	unsigned count;
	struct wt_gang_step_vm vms[WT_GANG_VMS_MAX];
};

/* plan ... start are set. Waits until nothing of before runs any more, which is called back: it may have been
 * left by a coordinator that died. */
int wt_gang_step_open(struct wt_gang_step *step, struct wt_error *err);
/* Begins; the loop is stopped when it is over. */
void wt_gang_step_begin(struct wt_gang_step *step);
/* Calls all back, if nobody was told to go on. Answers whether it does. */
bool wt_gang_step_cancel(struct wt_gang_step *step);
/* Of all guests. */
unsigned wt_gang_step_good(const struct wt_gang_step *step);
/* The first failure, with the guest's name; "": none. */
const char *wt_gang_step_why(const struct wt_gang_step *step, char *ret_text, size_t size);
/* Removes the files of what is over. */
void wt_gang_step_close(struct wt_gang_step *step);

/* The rule, for all guests: what is next. Pure. */
enum wt_gang_step_phase wt_gang_step_next(const struct wt_gang_step *step);

#endif

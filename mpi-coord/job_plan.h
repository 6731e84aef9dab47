/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * job_plan.h - what the plan of a gang (docs/GANG.md) says of an MPI job's guests: where the agent of each
 * is, before and after. The plan is read by `watari gang`; only its answer is read here.
 */
#ifndef WATARI_MPI_JOB_PLAN_H
#define WATARI_MPI_JOB_PLAN_H

#include <stddef.h>
#include <stdio.h>

#include <watari/error.h>

#define WT_JOB_PLAN_GUESTS_MAX 64

enum wt_job_plan_gang {
	WT_JOB_PLAN_IDLE = 1,   /* nothing of it is under way */
	WT_JOB_PLAN_UNFINISHED, /* it was begun, and its coordinator has ended */
	WT_JOB_PLAN_BUSY,       /* its coordinator is at work */
};

enum wt_job_plan_end { WT_JOB_PLAN_FROM, WT_JOB_PLAN_TO };

struct wt_job_plan_guest {
	char *name;
	char *agents[2]; /* by enum wt_job_plan_end; as --agent */
};

struct wt_job_plan {
	enum wt_job_plan_gang gang;
	char *watari; /* the program, on the guests' hosts */
	char *job;    /* whose checkpoint it is; NULL: that was not asked */
	size_t count;
	struct wt_job_plan_guest guests[WT_JOB_PLAN_GUESTS_MAX];
};

/*
 * Asks the program `watari`, of this host. more: words for it that end with NULL. -EINVAL with the sentence:
 * the plan cannot be used. *ret_plan is to be cleared after success, and before it is asked again.
 */
int wt_job_plan_ask(const char *watari, const char *path, const char *const *more,
	struct wt_job_plan *ret_plan, struct wt_error *err);
/* What the command says, to its end; *plan is empty before, and to be cleared afterwards. -EINVAL: it has
 * said why not; -EPROTO: it makes no sense. */
int wt_job_plan_read(FILE *said, struct wt_job_plan *plan, struct wt_error *err);
void wt_job_plan_clear(struct wt_job_plan *plan);

#endif

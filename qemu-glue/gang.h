/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang.h - `watari gang`: several guests move together, or are written, or go on from what was written.
 */
#ifndef WATARI_QEMU_GANG_H
#define WATARI_QEMU_GANG_H

#include <stdbool.h>

#include "gang_plan.h"
#include "job_place.h"

struct wt_gang_options {
	const char *plan, *journal;       /* paths */
	const char *checkpoint, *restore; /* a job's folder (job_folder.h); NULL: they move */
	const char *job, *note;           /* checkpoint: whose it is, and more of that for people, or NULL */
	bool undo; /* only call back what a coordinator of before has left, with checkpoint or restore */
	bool resume, json;
};

/* Runs, or goes on with, a gang to its end; answers an exit code (relay.h). */
int wt_gang_run(const struct wt_gang_options *options);
/* All guests are written to a job's folder, as they were at one moment; or run again from it. */
int wt_gang_save(const struct wt_gang_options *options);
int wt_gang_restore(const struct wt_gang_options *options);
/* That could be begun: the folder and the plan fit. -EBUSY: somebody works in the folder. *ret_job: whose
 * checkpoint it is, or will be. */
int wt_gang_folder_check(const struct wt_gang_options *options, const struct wt_gang_plan *plan,
	char ret_job[WT_JOB_NAME_MAX + 1], struct wt_error *err);

#endif

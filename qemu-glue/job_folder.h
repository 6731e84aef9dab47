/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * job_folder.h - checkpoints of all guests of a job, in one directory (docs/CHECKPOINT.md):
 *
 *   job.json          which generation is the job's checkpoint, and what is in it
 *   lock              held by the coordinator that is at work here
 *   GENERATION/GUEST  the checkpoint of a guest; 16 hexadecimal digits
 *
 *   1. job.json is replaced by one rename, when all that it names is on disk. So the directory has the old
 * checkpoint of the whole job or the new one, and never a part of one.
 *   2. A generation that job.json does not name is rubbish.
 */
#ifndef WATARI_QEMU_JOB_FOLDER_H
#define WATARI_QEMU_JOB_FOLDER_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "gang_plan.h"
#include "job_place.h"

struct wt_job_folder_guest {
	char name[WT_GANG_NAME_MAX + 1];
	uint64_t written_bytes, state_bytes;
	double downtime_ms; /* negative: not known */
};

/* What job.json says. */
struct wt_job_record {
	char job[WT_JOB_NAME_MAX + 1];
	char note[128]; /* for people */
	char saved[32]; /* when, in UTC */
	uint64_t generation;
	unsigned count;
	struct wt_job_folder_guest guests[WT_GANG_VMS_MAX];
};

struct wt_job_folder {
	char path[PATH_MAX]; /* as a whole */
	int lock_fd;         /* -1: not ours */
	bool there;          /* it has a checkpoint */
	struct wt_job_record record;
};

/* Reads it, and changes nothing. -ENOENT: there is no such directory; -EBUSY: a coordinator is at work in it.
 */
int wt_job_folder_look(struct wt_job_folder *folder, const char *path, struct wt_error *err);
/* Locks it; make: it is made if need be. */
int wt_job_folder_open(struct wt_job_folder *folder, const char *path, bool make, struct wt_error *err);
void wt_job_folder_close(struct wt_job_folder *folder);

/* May this job's checkpoint go there? Its guests may be others than before, but not another job. */
int wt_job_folder_check_job(const struct wt_job_folder *folder, const char *job, struct wt_error *err);
/* Can the plan put every guest of the checkpoint somewhere, and none besides? */
int wt_job_folder_check_plan(
	const struct wt_job_folder *folder, const struct wt_gang_plan *plan, struct wt_error *err);
/* A guest of the checkpoint; NULL: it has none of that name. */
const struct wt_job_folder_guest *wt_job_folder_guest(const struct wt_job_folder *folder, const char *name);

/* Removes rubbish, and makes the directory of a new generation, which was chosen by chance. */
int wt_job_folder_begin(struct wt_job_folder *folder, uint64_t *ret_generation, struct wt_error *err);
/* What was begun and is not wanted. */
void wt_job_folder_abandon(struct wt_job_folder *folder, uint64_t generation);
/* The record, dated now, becomes the folder's; then the generation before is removed. Its files are on disk.
 */
int wt_job_folder_commit(
	struct wt_job_folder *folder, const struct wt_job_record *record, struct wt_error *err);

#endif

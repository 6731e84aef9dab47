/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * coordinator.h - the connections to the ranks of a job, and what is done with them.
 */
#ifndef WATARI_MPI_COORDINATOR_H
#define WATARI_MPI_COORDINATOR_H

#include <stdint.h>

#include <watari/error.h>

#include "barrier.h"
#include "reach.h"

struct wt_coordinator;

/* What is known of each rank. */
struct wt_coordinator_rank {
	struct wt_order report; /* kind RANK */
	uint32_t pid;           /* of the process, as the kernel of its host says */
	bool stays;             /* in a quiesce */
};

/* How long the steps took, in ns. */
struct wt_coordinator_times {
	uint64_t drain_ns;  /* until all had drained */
	uint64_t detach_ns; /* from there until all were detached */
	uint64_t attach_ns; /* until all had new addresses */
	uint64_t join_ns;   /* from there until all were connected */
	uint64_t all_ns;
};

/*
 * Connects to every rank of the job that can be reached, and waits until each has reported. For a quiesce
 * also until as many are there as the job has, or timeout_ns is over. For a resume, or to look only (goal 0),
 * those that are there are the job: a rank may have left since. The reaches are borrowed.
 */
int wt_coordinator_open(struct wt_reach *const *reaches, size_t reach_count, enum wt_barrier_goal goal,
	uint64_t timeout_ns, struct wt_coordinator **ret_coordinator, struct wt_error *err);
void wt_coordinator_close(struct wt_coordinator *coordinator);
size_t wt_coordinator_count(const struct wt_coordinator *coordinator);
const struct wt_coordinator_rank *wt_coordinator_rank(const struct wt_coordinator *coordinator, size_t index);

/* A quiesce: only these ranks move, and the others let go of them alone. -ENOENT: there is no such rank. */
int wt_coordinator_part(
	struct wt_coordinator *coordinator, const uint32_t *ranks, size_t count, struct wt_error *err);

/*
 * Brings the job to its goal. 0; -ENOENT: there is no rank; -ECANCELED: given up, the job runs on; -EBUSY:
 * the ranks stand where *err says, or some cannot be reached any more.
 */
int wt_coordinator_run(struct wt_coordinator *coordinator, enum wt_barrier_goal goal, uint64_t timeout_ns,
	struct wt_coordinator_times *ret_times, struct wt_error *err);

#endif

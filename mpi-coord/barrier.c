/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * barrier.c - the coordinator's part of the quiesce; see barrier.h. Pure.
 *
 *   1. What a rank is told follows from the goal and from the states of all ranks, from nothing else.
 *   2. A rank has at most one unanswered order.
 *   3. DETACH goes out only when every rank is DRAINED or behind that; ABORT only while none is behind it.
 *   4. RESUME goes out only when every rank is READY, or READY and RUNNING with the same epoch (a coordinator
 *      died while it told them); a quiesce that finds some running lets
 *      all run first.
 *   5. A rank that shall let go of everything and has let go of a part only is trouble: a quiesce is never
 * taken for more than it is.
 * Ranks that are gone do not count.
 */
#include "barrier.h"

#include <stdio.h>
#include <string.h>

/* How many ranks are in each state, of those that are there. */
struct census {
	size_t in[WT_RANK_STATES];
	size_t all;
};

static struct census count(const struct wt_barrier *barrier)
{
	struct census census = { 0 };
	size_t i;

	for (i = 0; i < barrier->count; i++) {
		if (barrier->ranks[i].gone)
			continue;
		/* It may have detached before its answer comes. */
		census.in[barrier->ranks[i].asked == WT_ORDER_DETACH ? WT_RANK_DETACHED
								     : barrier->ranks[i].state]++;
		census.all++;
	}
	return census;
}

/* Ranks that have detached, whatever they did since. */
static size_t behind(const struct census *census)
{
	return census->in[WT_RANK_DETACHED] + census->in[WT_RANK_ATTACHED] + census->in[WT_RANK_JOINING] +
	       census->in[WT_RANK_READY];
}

uint32_t wt_barrier_part(const struct wt_barrier *barrier)
{
	uint32_t part = 0;
	size_t i;

	for (i = 0; i < barrier->count; i++)
		part += !barrier->ranks[i].gone && !barrier->ranks[i].stays;
	return part;
}

/* Of a coordinator that died, or of another quiesce that nobody has resumed. */
static void check_parts(struct wt_barrier *barrier)
{
	char why[WT_ORDER_TEXT_MAX];
	size_t i;

	for (i = 0; i < barrier->count; i++) {
		const struct wt_barrier_rank *rank = &barrier->ranks[i];

		if (rank->stays || !rank->part || rank->state == WT_RANK_RUNNING)
			continue;
		snprintf(why, sizeof why,
			"rank %u has let go of %u ranks only, in a quiesce of a part; type `watari-mpi resume` first",
			rank->rank, rank->part);
		wt_barrier_trouble(barrier, why);
		return;
	}
}

void wt_barrier_start(struct wt_barrier *barrier, enum wt_barrier_goal goal)
{
	struct census census = count(barrier);
	bool all_run = true;
	uint32_t highest = 0;
	size_t i;

	barrier->goal = goal;
	for (i = 0; i < barrier->count && !wt_barrier_part(barrier); i++)
		barrier->ranks[i].stays = false;
	for (i = 0; i < barrier->count; i++) {
		const struct wt_barrier_rank *rank = &barrier->ranks[i];

		if (rank->epoch > highest)
			highest = rank->epoch;
		all_run &= rank->state == WT_RANK_RUNNING;
	}
	barrier->epoch = highest + (goal == WT_BARRIER_QUIESCE && all_run);
	barrier->finishing = census.in[WT_RANK_RUNNING] && census.in[WT_RANK_RUNNING] != census.all &&
			     behind(&census) == census.in[WT_RANK_READY];
	barrier->settling = behind(&census) && census.in[WT_RANK_DETACHED] != census.all &&
			    census.in[WT_RANK_READY] + census.in[WT_RANK_RUNNING] != census.all;
	if (goal == WT_BARRIER_QUIESCE && !barrier->finishing)
		check_parts(barrier);
}

static enum wt_rank_state state_after(enum wt_order_kind report)
{
	switch (report) {
	case WT_REPORT_DRAINED:
		return WT_RANK_DRAINED;
	case WT_REPORT_DETACHED:
		return WT_RANK_DETACHED;
	case WT_REPORT_ATTACHED:
		return WT_RANK_ATTACHED;
	case WT_REPORT_READY:
		return WT_RANK_READY;
	case WT_REPORT_RUNNING:
		return WT_RANK_RUNNING;
	default:
		return WT_RANK_INVALID;
	}
}

void wt_barrier_report(struct wt_barrier *barrier, size_t index, const struct wt_order *report)
{
	struct wt_barrier_rank *rank = &barrier->ranks[index];
	char why[WT_ORDER_TEXT_MAX];

	if (report->kind == WT_REPORT_LEAVING) {
		rank->gone = true;
		return;
	}
	if (report->kind == WT_REPORT_REFUSED) {
		snprintf(why, sizeof why, "rank %u: %.200s", rank->rank, report->text);
		rank->asked = WT_ORDER_INVALID;
		wt_barrier_trouble(barrier, why);
		return;
	}
	if (report->epoch != barrier->epoch || state_after(report->kind) == WT_RANK_INVALID)
		return;
	rank->asked = WT_ORDER_INVALID;
	rank->state = state_after(report->kind);
	rank->epoch = report->epoch;
	if (report->kind == WT_REPORT_ATTACHED) {
		memcpy(rank->host, report->host, sizeof rank->host);
		rank->port = report->port;
		memcpy(rank->verbs_host, report->verbs_host, sizeof rank->verbs_host);
		rank->verbs_port = report->verbs_port;
		rank->token = report->token;
	}
}

void wt_barrier_trouble(struct wt_barrier *barrier, const char *why)
{
	if (!barrier->why[0])
		snprintf(barrier->why, sizeof barrier->why, "%s", why);
	barrier->aborting = true;
}

static enum wt_order_kind next_abort(const struct wt_barrier_rank *rank)
{
	return rank->state == WT_RANK_QUIESCING || rank->state == WT_RANK_DRAINED ? WT_ORDER_ABORT
										  : WT_ORDER_INVALID;
}

static enum wt_order_kind next_quiesce(const struct wt_barrier *barrier, const struct wt_barrier_rank *rank)
{
	struct census census = count(barrier);

	if (barrier->finishing)
		return rank->state == WT_RANK_READY ? WT_ORDER_RESUME : next_abort(rank);
	switch (rank->state) {
	case WT_RANK_RUNNING:
		return behind(&census) ? WT_ORDER_INVALID : WT_ORDER_QUIESCE;
	case WT_RANK_QUIESCING:
		return WT_ORDER_QUIESCE; /* of a coordinator that died: it says `drained` again */
	case WT_RANK_DRAINED:
		return census.in[WT_RANK_DRAINED] + behind(&census) == census.all ? WT_ORDER_DETACH
										  : WT_ORDER_INVALID;
	case WT_RANK_DETACHED:
		return WT_ORDER_INVALID;
	default:
		return WT_ORDER_DETACH;
	}
}

static enum wt_order_kind next_resume(const struct wt_barrier *barrier, const struct wt_barrier_rank *rank)
{
	struct census census = count(barrier);
	size_t late = census.in[WT_RANK_ATTACHED] + census.in[WT_RANK_JOINING] + census.in[WT_RANK_READY];

	if (!behind(&census))
		return next_abort(rank);
	if (barrier->settling || rank->state == WT_RANK_DRAINED)
		return rank->state == WT_RANK_DETACHED || rank->state == WT_RANK_RUNNING ? WT_ORDER_INVALID
											 : WT_ORDER_DETACH;
	if (rank->state == WT_RANK_DETACHED)
		return census.in[WT_RANK_DRAINED] ? WT_ORDER_INVALID : WT_ORDER_ATTACH;
	if (rank->state == WT_RANK_ATTACHED)
		return late == census.all ? WT_ORDER_CONNECT : WT_ORDER_INVALID;
	if (rank->state == WT_RANK_READY &&
		census.in[WT_RANK_READY] + census.in[WT_RANK_RUNNING] == census.all)
		return WT_ORDER_RESUME;
	return WT_ORDER_INVALID;
}

enum wt_order_kind wt_barrier_next(struct wt_barrier *barrier, size_t index)
{
	struct wt_barrier_rank *rank = &barrier->ranks[index];
	struct census census = count(barrier);
	enum wt_order_kind order;

	if (barrier->finishing && census.in[WT_RANK_RUNNING] == census.all) {
		barrier->finishing = false;
		barrier->epoch += barrier->goal == WT_BARRIER_QUIESCE;
	}
	barrier->settling &= census.in[WT_RANK_DETACHED] != census.all;
	/* An abort does not wait for an answer that may never come. */
	if (rank->gone || rank->asked == WT_ORDER_ABORT || (rank->asked && !barrier->aborting))
		return WT_ORDER_INVALID;
	if (barrier->aborting && rank->asked == WT_ORDER_QUIESCE && !behind(&census))
		order = WT_ORDER_ABORT;
	else if (rank->asked || (barrier->aborting && behind(&census)))
		return WT_ORDER_INVALID;
	else if (barrier->aborting)
		order = next_abort(rank);
	else
		order = barrier->goal == WT_BARRIER_QUIESCE ? next_quiesce(barrier, rank)
							    : next_resume(barrier, rank);
	if (order)
		rank->asked = order;
	if (order == WT_ORDER_CONNECT)
		rank->state = WT_RANK_JOINING;
	if (order == WT_ORDER_QUIESCE)
		rank->state = WT_RANK_QUIESCING;
	return order;
}

enum wt_barrier_verdict wt_barrier_verdict(struct wt_barrier *barrier)
{
	struct census census = count(barrier);
	size_t asked = 0;
	size_t i;

	for (i = 0; i < barrier->count; i++)
		asked += !barrier->ranks[i].gone && barrier->ranks[i].asked;
	if (!census.all) {
		if (barrier->goal == WT_BARRIER_RESUME && !barrier->aborting)
			return WT_BARRIER_DONE; /* they went on, to their end */
		if (!barrier->why[0])
			strcpy(barrier->why, "every rank has left; the job has ended");
		return WT_BARRIER_STUCK;
	}
	if (barrier->aborting) {
		if (census.in[WT_RANK_RUNNING] == census.all && !asked)
			return WT_BARRIER_ABORTED;
		return behind(&census) ? WT_BARRIER_STUCK : WT_BARRIER_GOES_ON;
	}
	if (barrier->goal == WT_BARRIER_QUIESCE && census.in[WT_RANK_DETACHED] == census.all && !asked)
		return WT_BARRIER_DONE;
	if (barrier->goal == WT_BARRIER_RESUME && census.in[WT_RANK_RUNNING] == census.all && !asked)
		return WT_BARRIER_DONE;
	/* What no order can mend. */
	if (census.in[WT_RANK_RUNNING] && behind(&census) &&
		census.in[WT_RANK_READY] + census.in[WT_RANK_RUNNING] != census.all) {
		snprintf(barrier->why, sizeof barrier->why,
			"%zu ranks run and %zu are detached; this job cannot be put together again",
			census.in[WT_RANK_RUNNING], behind(&census));
		return WT_BARRIER_STUCK;
	}
	return WT_BARRIER_GOES_ON;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * plan_paths.c - what paths are worth: measured rates, how much may be under way, who has stalled, limits.
 * See plan.h.
 *
 *   1. The rate of a path is measured over the time in which it has something under way.
 *   2. Its budget is what it carries in BUDGET_NS, or in twice the time that an operation takes at least,
 * whichever is more. That time is the least one seen lately; once in a while the budget is halved for a
 * moment, so that it is not the queue in front of the path that is measured, for ever.
 *   3. A path has stalled when nothing completed for long, and it is closed only where that helps: its server
 * has got something through over another one just now, or it is a helper's and another server can be read.
 *   4. Under the common limit servers that wait get equal shares: the one that had the least goes first.
 */
#include "plan_internal.h"

#include <assert.h>
#include <errno.h>

#define WINDOW_NS 10000000ull
#define ERA_NS 1000000000ull
#define BUDGET_NS 20000000ull
#define BUDGET_MIN (256ull << 10)
#define BUDGET_MAX (16ull << 20)
#define BUDGET_UNKNOWN (4ull << 20)
#define STALL_NS 1000000000ull
#define STALL_UNKNOWN_NS 8000000000ull
#define STALL_TIMES 8

int wt_plan_path_add(
	struct wt_plan *plan, unsigned server, wt_plan_reach reach, void *reach_arg, uint64_t now_ns)
{
	assert(server < WT_PLAN_SERVERS && plan->servers[server].added);
	for (unsigned i = 0; i < WT_PLAN_PATHS; i++) {
		struct path *path = &plan->paths[i];

		if (path->used)
			continue;
		*path = (struct path){ .used = true,
			.server = server,
			.reach = reach,
			.reach_arg = reach_arg,
			.window_start_ns = now_ns,
			.idle_since_ns = now_ns,
			.era_start_ns = now_ns };
		wt_plan_path_start_at(plan, path);
		plan->servers[server].paths++;
		plan->path_count++;
		return (int)i;
	}
	return -ENOSPC;
}

void wt_plan_path_remove(struct wt_plan *plan, unsigned number)
{
	struct path *path = &plan->paths[number];

	assert(path->used && !path->flight);
	plan->rates -= path->rate;
	plan->servers[path->server].paths--;
	plan->servers[path->server].hungry = false;
	plan->path_count--;
	path->used = false;
	if (!path->server) /* what it reached has to be asked for, perhaps */
		plan->ask.left = plan->pages;
}

void wt_plan_reach_changed(struct wt_plan *plan)
{
	wt_plan_base_look_everywhere(plan);
}

uint64_t wt_path_budget(const struct path *path, uint64_t now_ns)
{
	uint64_t time_ns = 2 * path->least_ns > BUDGET_NS ? 2 * path->least_ns : BUDGET_NS;
	double budget = (double)path->rate * (double)time_ns / 1e9;

	if (!path->rate)
		return BUDGET_UNKNOWN;
	if (now_ns - path->era_start_ns < ERA_NS / 32)
		budget /= 2;
	if (budget < BUDGET_MIN)
		return BUDGET_MIN;
	return budget > BUDGET_MAX ? BUDGET_MAX : (uint64_t)budget;
}

unsigned wt_plan_path_load(const struct wt_plan *plan, unsigned number, uint64_t now_ns)
{
	const struct path *path = &plan->paths[number];

	return (unsigned)(path->flight * 1024 / wt_path_budget(path, now_ns));
}

void wt_path_started(struct path *path, struct op *op, uint64_t now_ns)
{
	uint64_t bytes = wt_work_bytes(&op->work);

	op->taken_ns = op->expected_ns = now_ns;
	if (!bytes)
		return;
	if (!path->flight) {
		path->window_start_ns += now_ns - path->idle_since_ns;
		path->since_ns = now_ns;
	}
	path->flight += bytes;
	if (path->rate)
		op->expected_ns += (uint64_t)((double)path->flight / (double)path->rate * 1e9);
}

static void measure_rate(struct wt_plan *plan, struct path *path, uint64_t bytes, uint64_t now_ns)
{
	uint64_t elapsed_ns = now_ns - path->window_start_ns, rate;

	path->window_bytes += bytes;
	if (elapsed_ns < WINDOW_NS)
		return;
	rate = (uint64_t)((double)path->window_bytes * 1e9 / (double)elapsed_ns);
	plan->rates -= path->rate;
	path->rate = path->rate ? (3 * path->rate + rate) / 4 : rate;
	plan->rates += path->rate;
	path->window_start_ns = now_ns;
	path->window_bytes = 0;
}

static void measure_least(struct path *path, uint64_t time_ns, uint64_t now_ns)
{
	if (!path->era_least_ns || time_ns < path->era_least_ns)
		path->era_least_ns = time_ns;
	if (!path->least_ns || time_ns < path->least_ns)
		path->least_ns = time_ns;
	if (now_ns - path->era_start_ns < ERA_NS)
		return;
	path->least_ns += (path->era_least_ns - path->least_ns) / 4;
	path->era_least_ns = 0;
	path->era_start_ns = now_ns;
}

void wt_path_ended(struct wt_plan *plan, struct path *path, const struct op *op, int status, uint64_t now_ns)
{
	uint64_t bytes = wt_work_bytes(&op->work);

	if (!bytes)
		return;
	path->flight -= bytes;
	if (!status) {
		path->since_ns = path->success_ns = now_ns;
		measure_rate(plan, path, bytes, now_ns);
		measure_least(path, now_ns - op->taken_ns, now_ns);
	}
	if (!path->flight)
		path->idle_since_ns = now_ns;
}

uint64_t wt_path_patience_end_ns(const struct path *path)
{
	double expected =
		path->rate ? (double)path->flight / (double)path->rate * 1e9 * STALL_TIMES : STALL_UNKNOWN_NS;

	return path->since_ns + (expected > STALL_NS ? (uint64_t)expected : STALL_NS);
}

static bool patient(const struct path *path, uint64_t now_ns)
{
	return !path->flight || now_ns < wt_path_patience_end_ns(path);
}

/* Somebody else could do this one's work, and nothing says that the network is to blame. */
static bool replaceable(const struct wt_plan *plan, const struct path *path, uint64_t now_ns)
{
	for (unsigned i = 0; i < WT_PLAN_PATHS; i++) {
		const struct path *other = &plan->paths[i];

		if (!other->used || other->closing || other == path)
			continue;
		if (other->server == path->server
				? other->success_ns && now_ns - other->success_ns < STALL_NS / 2
				: path->server && patient(other, now_ns))
			return true;
	}
	return false;
}

bool wt_plan_find_stalled(struct wt_plan *plan, uint64_t now_ns, struct wt_plan_action *ret_action)
{
	for (unsigned i = 0; i < WT_PLAN_PATHS; i++) {
		struct path *path = &plan->paths[i];

		if (!path->used || path->closing || patient(path, now_ns) || !replaceable(plan, path, now_ns))
			continue;
		path->closing = true;
		*ret_action = (struct wt_plan_action){ .act = WT_PLAN_CLOSE_PATH, .path = i };
		return true;
	}
	return false;
}

/* ---- limits ---- */

void wt_plan_limit(struct wt_plan *plan, unsigned server, uint64_t bytes_per_s, uint64_t now_ns)
{
	assert(server == WT_PLAN_ALL || server < WT_PLAN_SERVERS);
	wt_rate_limit(
		server == WT_PLAN_ALL ? &plan->limit : &plan->servers[server].limit, bytes_per_s, now_ns);
}

/* One that begins to wait has no claim on what others had while it did not. */
static void get_hungry(struct wt_plan *plan, struct server *server)
{
	uint64_t least = UINT64_MAX;

	if (server->hungry)
		return;
	for (unsigned i = 0; i < WT_PLAN_SERVERS; i++)
		if (plan->servers[i].hungry && plan->servers[i].paid < least)
			least = plan->servers[i].paid;
	if (least != UINT64_MAX && server->paid < least)
		server->paid = least;
	server->hungry = true;
}

bool wt_plan_may_pay(struct wt_plan *plan, unsigned number, uint64_t now_ns)
{
	struct server *server = &plan->servers[number];

	if (!plan->limit.bytes_per_s && !server->limit.bytes_per_s)
		return true;
	get_hungry(plan, server);
	if (wt_rate_wait_ns(&server->limit, now_ns) || wt_rate_wait_ns(&plan->limit, now_ns))
		return false;
	for (unsigned i = 0; plan->limit.bytes_per_s && i < WT_PLAN_SERVERS; i++)
		if (plan->servers[i].hungry && plan->servers[i].paid < server->paid &&
			!wt_rate_wait_ns(&plan->servers[i].limit, now_ns))
			return false;
	return true;
}

void wt_plan_pay(struct wt_plan *plan, unsigned number, uint64_t bytes, uint64_t now_ns)
{
	struct server *server = &plan->servers[number];

	if (!plan->limit.bytes_per_s && !server->limit.bytes_per_s)
		return;
	wt_rate_pay(&plan->limit, bytes, now_ns);
	wt_rate_pay(&server->limit, bytes, now_ns);
	server->paid += bytes;
	server->hungry = false;
}

uint64_t wt_plan_wake_ns(const struct wt_plan *plan, uint64_t now_ns)
{
	uint64_t wake_ns = UINT64_MAX;

	for (unsigned i = 0; i < WT_PLAN_SERVERS; i++) {
		const struct server *server = &plan->servers[i];
		uint64_t own_ns = wt_rate_wait_ns(&server->limit, now_ns);
		uint64_t all_ns = wt_rate_wait_ns(&plan->limit, now_ns);

		own_ns = now_ns + (own_ns > all_ns ? own_ns : all_ns);
		if (server->hungry && own_ns < wake_ns)
			wake_ns = own_ns;
	}
	for (unsigned i = 0; plan->path_count > 1 && i < WT_PLAN_PATHS; i++) {
		const struct path *path = &plan->paths[i];

		if (path->used && !path->closing && path->flight && wt_path_patience_end_ns(path) > now_ns &&
			wt_path_patience_end_ns(path) < wake_ns)
			wake_ns = wt_path_patience_end_ns(path);
	}
	return wake_ns;
}

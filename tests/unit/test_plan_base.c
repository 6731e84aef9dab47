/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_plan_base.c - several servers: who pulls what of the base, bounce and hedging, stalled paths, limits.
 * Small cases with a clock of their own; test_plan.c has the random ones.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "plan.h"

#define MS 1000000ull
#define PAGES 100000u

static const struct wt_plan_block blocks[2] = { { PAGES, true }, { 64, false } };
static const struct wt_extent all = { .block = 0, .page = 0, .pages = PAGES };

static struct wt_plan *plan_new(void)
{
	struct wt_plan *plan;

	assert_int_equal(wt_plan_open(2, blocks, &plan), 0);
	return plan;
}

/* Everything is needed; helper 1 has it too. */
static struct wt_plan *plan_with_helper(enum wt_plan_policy policy)
{
	struct wt_plan *plan = plan_new();

	assert_int_equal(wt_plan_need(plan, &all, NULL), 0);
	assert_int_equal(wt_plan_has(plan, 1, &all, NULL), 0);
	assert_int_equal(wt_plan_base_end(plan, policy), 0);
	return plan;
}

static unsigned path_add(struct wt_plan *plan, unsigned server)
{
	int path = wt_plan_path_add(plan, server, NULL, NULL, 0);

	assert_true(path >= 0);
	return (unsigned)path;
}

static void test_hostile_base(void **state)
{
	static const struct wt_extent bad[] = { { .block = 2, .pages = 1 },
		{ .block = UINT32_MAX, .pages = 1 }, { .pages = 0 }, { .page = PAGES, .pages = 1 },
		{ .page = PAGES - 1, .pages = 2 }, { .page = UINT64_MAX, .pages = 2 },
		{ .page = 1, .pages = UINT32_MAX } };
	struct wt_extent odd = { .page = 3, .pages = 8 }, good = { .pages = 8 };
	struct wt_announcement what = {
		.extent = good, .content = WT_CONTENT_ZERO, .priority = WT_PRIORITY_BULK
	};
	struct wt_plan *plan = plan_new();
	uint64_t word = 1;

	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(wt_plan_need(plan, &bad[i], NULL), -EPROTO);
		assert_int_equal(wt_plan_has(plan, 1, &bad[i], NULL), -EPROTO);
	}
	assert_int_equal(wt_plan_need(plan, &odd, &word), -EPROTO);
	assert_int_equal(wt_plan_has(plan, 0, &good, NULL), -EPROTO);
	assert_int_equal(wt_plan_has(plan, WT_PLAN_SERVERS, &good, NULL), -EPROTO);
	assert_int_equal(wt_plan_server_add(plan, WT_PLAN_SERVERS), -EINVAL);
	assert_int_equal(wt_plan_base_end(plan, (enum wt_plan_policy)0), -EPROTO);
	assert_int_equal(wt_plan_base_end(plan, (enum wt_plan_policy)3), -EPROTO);
	assert_true(wt_plan_idle(plan));
	assert_int_equal(wt_plan_announce(plan, 1, &what), 0);
	assert_int_equal(wt_plan_need(plan, &good, NULL), -EPROTO);
	wt_plan_close(plan);

	plan = plan_with_helper(WT_PLAN_FASTEST);
	assert_int_equal(wt_plan_need(plan, &good, NULL), -EPROTO);
	assert_int_equal(wt_plan_has(plan, 1, &good, NULL), -EPROTO);
	assert_int_equal(wt_plan_base_end(plan, WT_PLAN_FASTEST), -EPROTO);
	wt_plan_close(plan);
}

static void test_nothing_before_the_base_is_complete(void **state)
{
	struct wt_plan *plan = plan_new();
	struct wt_work work;
	unsigned path = path_add(plan, 0);

	assert_int_equal(wt_plan_need(plan, &all, NULL), 0);
	assert_false(wt_plan_peek(plan, path, 0, &work));
	assert_false(wt_plan_idle(plan));
	assert_int_equal(wt_plan_base_left(plan), PAGES);
	assert_int_equal(wt_plan_base_end(plan, WT_PLAN_FASTEST), 0);
	assert_true(wt_plan_peek(plan, path, 0, &work));
	assert_int_equal(work.content, WT_CONTENT_IN_PLACE);
	wt_plan_drain(plan);
	assert_false(wt_plan_peek(plan, path, 0, &work));
	assert_true(wt_plan_drained(plan));
	wt_plan_undrain(plan);
	assert_true(wt_plan_peek(plan, path, 0, &work));
	wt_plan_close(plan);
}

/* The last page of the base is not there before it is. */
static void test_not_idle_while_the_last_page_is_under_way(void **state)
{
	struct wt_extent one = { .page = 77, .pages = 1 };
	struct wt_plan *plan = plan_new();
	unsigned path = path_add(plan, 0);
	struct wt_work work;
	int id;

	assert_int_equal(wt_plan_need(plan, &one, NULL), 0);
	assert_int_equal(wt_plan_base_end(plan, WT_PLAN_FASTEST), 0);
	assert_true(wt_plan_peek(plan, path, 0, &work));
	id = wt_plan_take(plan, path, 1, 0);
	assert_false(wt_plan_idle(plan));
	assert_int_equal(wt_plan_base_left(plan), 1);
	wt_plan_done(plan, (unsigned)id, 0, 0);
	assert_true(wt_plan_idle(plan));
	assert_int_equal(wt_plan_base_left(plan), 0);
	wt_plan_close(plan);
}

/* One page that the helper has, one that it has not: each goes first to the one whom the other cannot help.
 */
static void test_who_pulls_what(void **state)
{
	struct wt_extent only = { .page = 500, .pages = 1 }, both = { .page = 100, .pages = 1 };
	struct wt_plan *plan = plan_new();
	unsigned source, helper;
	struct wt_work work;

	assert_int_equal(wt_plan_need(plan, &only, NULL), 0);
	assert_int_equal(wt_plan_need(plan, &both, NULL), 0);
	assert_int_equal(wt_plan_has(plan, 1, &both, NULL), 0);
	assert_int_equal(wt_plan_base_end(plan, WT_PLAN_FASTEST), 0);
	source = path_add(plan, 0);
	helper = path_add(plan, 1);
	assert_true(wt_plan_peek(plan, helper, 0, &work));
	assert_int_equal(work.extent.page, 100);
	assert_true(wt_plan_peek(plan, source, 0, &work));
	assert_int_equal(work.extent.page, 500);
	assert_true(wt_plan_take(plan, source, 1, 0) >= 0);
	assert_true(wt_plan_peek(plan, source, 0, &work)); /* steals */
	assert_int_equal(work.extent.page, 100);
	wt_plan_close(plan);
}

static void test_sparing_the_announcer(void **state)
{
	struct wt_plan *plan = plan_with_helper(WT_PLAN_SPARE_ANNOUNCER);
	unsigned source = path_add(plan, 0), helper = path_add(plan, 1);
	struct wt_announcement what = { .extent = { .page = 7, .pages = 1 },
		.content = WT_CONTENT_IN_PLACE,
		.priority = WT_PRIORITY_BULK };
	struct wt_work work;

	assert_false(wt_plan_peek(plan, source, 0, &work));
	assert_true(wt_plan_peek(plan, helper, 0, &work));
	assert_int_equal(wt_plan_announce(plan, 1, &what), 0);
	assert_true(wt_plan_peek(plan, source, 0, &work));
	assert_int_equal(work.extent.page, 7);
	assert_int_equal(wt_plan_base_left(plan), PAGES - 1);
	wt_plan_done(plan, (unsigned)wt_plan_take(plan, source, 1, 0), 0, 0);
	assert_false(wt_plan_peek(plan, source, 0, &work));
	wt_plan_path_remove(plan, helper);
	wt_plan_server_remove(plan, 1);
	assert_true(wt_plan_peek(plan, source, 0, &work));
	wt_plan_close(plan);
}

/* Server 0 leaves the base to the helper as long as what it is still to announce takes longer; not before it
 * is known how fast both are, and what nobody else has it sends at any time. */
static void test_what_is_ahead(void **state)
{
	struct wt_extent rest = { .page = 1000, .pages = 90000 };
	struct wt_plan *plan = plan_new();
	unsigned paths[2];
	struct wt_work work;
	uint64_t alone = 0;
	int id;

	assert_int_equal(wt_plan_need(plan, &all, NULL), 0);
	assert_int_equal(wt_plan_has(plan, 1, &rest, NULL), 0);
	assert_int_equal(wt_plan_base_end(plan, WT_PLAN_FASTEST), 0);
	wt_plan_ahead(plan, PAGES);
	for (unsigned i = 0; i < 2; i++) {
		paths[i] = path_add(plan, i);
		assert_true(wt_plan_peek(plan, paths[i], 0, &work));
		id = wt_plan_take(plan, paths[i], work.extent.pages, 0);
		assert_true(id >= 0);
		wt_plan_done(plan, (unsigned)id, 0, 20 * MS);
	}
	while (wt_plan_peek(plan, paths[0], 20 * MS, &work)) { /* what only server 0 has */
		assert_true(work.extent.page < rest.page || work.extent.page >= rest.page + rest.pages);
		id = wt_plan_take(plan, paths[0], work.extent.pages, 20 * MS);
		assert_true(id >= 0);
		wt_plan_done(plan, (unsigned)id, 0, 20 * MS);
		alone += work.extent.pages;
	}
	assert_true(alone > 9000);
	wt_plan_ahead(plan, 100);
	assert_true(wt_plan_peek(plan, paths[0], 20 * MS, &work));
	wt_plan_close(plan);
}

/* What a helper sent is wanted again when it fails, but not where something newer was announced meanwhile. */
static void test_failed_base_is_wanted_again(void **state)
{
	struct wt_plan *plan = plan_with_helper(WT_PLAN_FASTEST);
	unsigned helper = path_add(plan, 1);
	struct wt_announcement what = { .content = WT_CONTENT_ZERO, .priority = WT_PRIORITY_BULK };
	struct wt_work work;
	uint64_t words[4];
	int id;

	assert_true(wt_plan_peek(plan, helper, 0, &work));
	id = wt_plan_take(plan, helper, 64, 0);
	assert_int_equal(wt_plan_base_left(plan), PAGES);
	what.extent = (struct wt_extent){ .page = work.extent.page + 5, .pages = 3 };
	assert_int_equal(wt_plan_announce(plan, 1, &what), 0);
	assert_false(wt_plan_peek(plan, WT_PLAN_NO_PATH, 0, &work)); /* no zero fill under the transfer */
	wt_plan_done(plan, (unsigned)id, -EIO, 0);
	assert_int_equal(wt_plan_base_left(plan), PAGES - 3);
	wt_plan_missing(plan, 0, 50000 - 50000 % 64, 256, words);
	assert_int_equal(__builtin_popcountll(words[0]) + __builtin_popcountll(words[1]) +
				 __builtin_popcountll(words[2]) + __builtin_popcountll(words[3]),
		253);
	assert_true(wt_plan_peek(plan, WT_PLAN_NO_PATH, 0, &work));
	assert_int_equal(work.extent.page, what.extent.page);
	assert_true(wt_plan_valid(plan));
	wt_plan_close(plan);
}

/* ---- rates ---- */

struct link {
	unsigned path;
	double rate; /* bytes per ns */
	uint64_t free_ns;
	struct {
		unsigned id;
		uint64_t end_ns;
		bool bounce;
	} ops[WT_PLAN_OPS];
	unsigned first, count;
	uint64_t bytes, last_ns;
};

/* Pulls with these links until the plan is idle; answers how long that took. */
static uint64_t simulate(struct wt_plan *plan, struct link *links, unsigned count, uint64_t latency_ns)
{
	struct wt_extent copies[WT_PLAN_COPIES];
	uint64_t now_ns = 0;
	struct wt_work work;

	while (!wt_plan_idle(plan) && now_ns < 1000000 * MS) {
		for (unsigned i = 0; i < count; i++) {
			struct link *l = &links[i];

			while (wt_plan_peek(plan, l->path, now_ns, &work)) {
				unsigned at = (l->first + l->count++) % WT_PLAN_OPS;
				uint64_t bytes = (uint64_t)work.extent.pages << WT_PAGE_SHIFT;

				if (l->free_ns < now_ns)
					l->free_ns = now_ns;
				l->free_ns += (uint64_t)((double)bytes / l->rate);
				l->ops[at].end_ns = l->free_ns + latency_ns;
				l->ops[at].bounce = work.bounce;
				l->ops[at].id =
					(unsigned)wt_plan_take(plan, l->path, work.extent.pages, now_ns);
				l->bytes += bytes;
			}
		}
		now_ns += MS / 4;
		for (unsigned i = 0; i < count; i++) {
			struct link *l = &links[i];

			for (; l->count && l->ops[l->first].end_ns <= now_ns;
				l->count--, l->first = (l->first + 1) % WT_PLAN_OPS) {
				if (l->ops[l->first].bounce)
					wt_plan_settle(plan, l->ops[l->first].id, copies, now_ns);
				else
					wt_plan_done(plan, l->ops[l->first].id, 0, now_ns);
				l->last_ns = now_ns;
			}
		}
	}
	assert_true(wt_plan_idle(plan));
	return now_ns;
}

/* Three servers with links 1 : 2 : 4 take as long as one link of their sum, whatever the latency. */
static void test_links_end_together(void **state)
{
	static const uint64_t latencies[] = { MS / 10, 5 * MS, 60 * MS };
	static struct link links[3];

	for (unsigned n = 0; n < 3; n++) {
		struct wt_plan *plan = plan_new();
		double best = (double)PAGES * WT_PAGE_SIZE / (0.05 * 7);
		uint64_t took;

		memset(links, 0, sizeof links);
		assert_int_equal(wt_plan_need(plan, &all, NULL), 0);
		assert_int_equal(wt_plan_has(plan, 1, &all, NULL), 0);
		assert_int_equal(wt_plan_has(plan, 2, &all, NULL), 0);
		assert_int_equal(wt_plan_base_end(plan, WT_PLAN_FASTEST), 0);
		wt_plan_bounce(plan, true);
		for (unsigned i = 0; i < 3; i++) {
			links[i].path = path_add(plan, i);
			links[i].rate = 0.05 * (1 << i);
		}
		took = simulate(plan, links, 3, latencies[n]);
		if ((double)took > 1.05 * best + 3 * (double)latencies[n])
			fail_msg("latency %llu ns: took %.0f ms, %.0f would be best",
				(unsigned long long)latencies[n], (double)took / 1e6, best / 1e6);
		wt_plan_close(plan);
	}
}

/* A path that becomes slow right before the end does not decide when it ends. */
static void test_the_slow_one_is_hedged(void **state)
{
	struct wt_extent part = { .pages = 2048 }, copies[WT_PLAN_COPIES];
	static struct link links[2];
	struct wt_plan *plan = plan_new();
	struct wt_work work, again;
	unsigned fast, slow;
	int late, early;

	memset(links, 0, sizeof links);
	assert_int_equal(wt_plan_need(plan, &part, NULL), 0);
	assert_int_equal(wt_plan_has(plan, 1, &part, NULL), 0);
	assert_int_equal(wt_plan_base_end(plan, WT_PLAN_FASTEST), 0);
	fast = path_add(plan, 0);
	slow = path_add(plan, 1);
	for (unsigned i = 0; i < 3; i++) { /* both are measured */
		assert_true(wt_plan_peek(plan, fast, i * 10 * MS, &work));
		assert_false(work.bounce);
		late = wt_plan_take(plan, fast, work.extent.pages, i * 10 * MS);
		assert_true(wt_plan_peek(plan, slow, i * 10 * MS, &work));
		early = wt_plan_take(plan, slow, 16, i * 10 * MS);
		wt_plan_done(plan, (unsigned)late, 0, (i + 1) * 10 * MS);
		wt_plan_done(plan, (unsigned)early, 0, (i + 1) * 10 * MS);
	}
	wt_plan_bounce(plan, true);
	assert_true(wt_plan_peek(plan, slow, 30 * MS, &work));
	assert_true(work.bounce);
	late = wt_plan_take(plan, slow, work.extent.pages, 30 * MS);
	while (wt_plan_peek(plan, fast, 40 * MS, &again) &&
		(again.extent.block != work.extent.block || again.extent.page != work.extent.page)) {
		assert_true(again.bounce);
		assert_true(again.extent.page + again.extent.pages <= work.extent.page ||
			    again.extent.page >= work.extent.page + work.extent.pages);
		early = wt_plan_take(plan, fast, again.extent.pages, 40 * MS);
		assert_true(wt_plan_settle(plan, (unsigned)early, copies, 41 * MS) > 0);
	}
	/* Nothing else is left: now the fast one fetches the slow one's pages, and wins. */
	assert_true(wt_plan_peek(plan, fast, 400 * MS, &again));
	assert_true(again.bounce && again.extent.page == work.extent.page &&
		    again.extent.pages == work.extent.pages);
	assert_false(wt_plan_idle(plan));
	early = wt_plan_take(plan, fast, again.extent.pages, 400 * MS);
	assert_false(wt_plan_peek(plan, fast, 400 * MS, &again)); /* not a third time */
	assert_int_equal(wt_plan_settle(plan, (unsigned)early, copies, 401 * MS), 1);
	assert_true(copies[0].page == work.extent.page && copies[0].pages == work.extent.pages);
	assert_true(wt_plan_idle(plan));
	assert_int_equal(wt_plan_outstanding(plan), 1);
	assert_int_equal(wt_plan_settle(plan, (unsigned)late, copies, 900 * MS), 0);
	assert_true(wt_plan_valid(plan));
	wt_plan_close(plan);
}

/* What was announced since is not copied out of the bounce buffer. */
static void test_bounce_loses_against_an_announcement(void **state)
{
	struct wt_extent part = { .pages = 512 }, copies[WT_PLAN_COPIES];
	struct wt_announcement what = { .extent = { .page = 10, .pages = 2 },
		.content = WT_CONTENT_IN_PLACE,
		.priority = WT_PRIORITY_BULK };
	struct wt_plan *plan = plan_new();
	unsigned source, helper, count;
	struct wt_work work;
	int id, entry;

	assert_int_equal(wt_plan_need(plan, &part, NULL), 0);
	assert_int_equal(wt_plan_base_end(plan, WT_PLAN_FASTEST), 0);
	source = path_add(plan, 0);
	helper = path_add(plan, 0);
	assert_true(wt_plan_peek(plan, source, 0, &work));
	id = wt_plan_take(plan, source, work.extent.pages, 0);
	wt_plan_done(plan, (unsigned)id, 0, 20 * MS);
	wt_plan_bounce(plan, true);
	assert_true(wt_plan_peek(plan, helper, 20 * MS, &work));
	assert_true(work.bounce && work.extent.page == 256 && work.extent.pages == 256);
	id = wt_plan_take(plan, helper, 256, 20 * MS);
	what.extent.page += 256;
	assert_int_equal(wt_plan_announce(plan, 1, &what), 0);
	assert_true(wt_plan_peek(plan, source, 20 * MS, &work)); /* does not wait for the bounce buffer */
	assert_false(work.bounce);
	assert_int_equal(work.extent.page, 266);
	entry = wt_plan_take(plan, source, 2, 20 * MS);
	count = wt_plan_settle(plan, (unsigned)id, copies, 30 * MS);
	assert_int_equal(count, 2);
	assert_true(copies[0].page == 256 && copies[0].pages == 10);
	assert_true(copies[1].page == 268 && copies[1].pages == 244);
	assert_false(wt_plan_idle(plan));
	wt_plan_done(plan, (unsigned)entry, 0, 31 * MS);
	assert_true(wt_plan_idle(plan));
	wt_plan_close(plan);
}

/* ---- stalls ---- */

static void test_a_stalled_helper_is_closed(void **state)
{
	struct wt_plan *plan = plan_with_helper(WT_PLAN_FASTEST);
	unsigned helper = path_add(plan, 1), source;
	struct wt_plan_action action;
	struct wt_work work;
	int id;

	assert_true(wt_plan_peek(plan, helper, 0, &work));
	id = wt_plan_take(plan, helper, work.extent.pages, 0);
	wt_plan_done(plan, (unsigned)id, 0, 10 * MS);
	assert_true(wt_plan_peek(plan, helper, 10 * MS, &work));
	id = wt_plan_take(plan, helper, work.extent.pages, 10 * MS);
	assert_false(wt_plan_tick(plan, 9000 * MS, &action)); /* nobody else could */
	source = path_add(plan, 0);
	assert_false(wt_plan_tick(plan, 500 * MS, &action));
	assert_int_equal(wt_plan_wake_ns(plan, 500 * MS), 1010 * MS);
	assert_true(wt_plan_tick(plan, 1010 * MS, &action));
	assert_int_equal(action.act, WT_PLAN_CLOSE_PATH);
	assert_int_equal(action.path, helper);
	assert_false(wt_plan_tick(plan, 1010 * MS, &action)); /* said once */
	assert_false(wt_plan_peek(plan, helper, 1010 * MS, &work));
	wt_plan_done(plan, (unsigned)id, -ECONNABORTED, 1011 * MS);
	wt_plan_path_remove(plan, helper);
	assert_int_equal(wt_plan_base_left(plan), PAGES - 256);
	assert_true(wt_plan_peek(plan, source, 1011 * MS, &work));
	wt_plan_close(plan);
}

/* A source whose paths are all silent is left alone: the network may be away for a while. */
static void test_a_silent_network_closes_nothing(void **state)
{
	struct wt_plan *plan = plan_with_helper(WT_PLAN_FASTEST);
	unsigned paths[2] = { path_add(plan, 0), path_add(plan, 0) };
	struct wt_plan_action action;
	struct wt_work work;
	int ids[2];

	for (unsigned i = 0; i < 2; i++) {
		assert_true(wt_plan_peek(plan, paths[i], 0, &work));
		ids[i] = wt_plan_take(plan, paths[i], work.extent.pages, 0);
		assert_true(wt_plan_peek(plan, paths[i], 0, &work));
		wt_plan_take(plan, paths[i], work.extent.pages, 0);
	}
	wt_plan_done(plan, (unsigned)ids[0], 0, 20 * MS);
	wt_plan_done(plan, (unsigned)ids[1], 0, 30 * MS);
	assert_false(wt_plan_tick(plan, 20000 * MS, &action));
	assert_true(wt_plan_peek(plan, paths[0], 20000 * MS, &work)); /* one of them is alive after all */
	ids[0] = wt_plan_take(plan, paths[0], work.extent.pages, 20000 * MS);
	wt_plan_done(plan, (unsigned)ids[0], 0, 20001 * MS);
	assert_true(wt_plan_tick(plan, 20001 * MS, &action));
	assert_int_equal(action.path, paths[1]);
	wt_plan_close(plan);
}

/* ---- limits ---- */

static void test_limits(void **state)
{
	static struct link links[3];
	struct wt_plan *plan = plan_with_helper(WT_PLAN_FASTEST);
	uint64_t took;

	memset(links, 0, sizeof links);
	links[0] = (struct link){ .path = path_add(plan, 0), .rate = 1.0 };
	links[1] = (struct link){ .path = path_add(plan, 1), .rate = 1.0 };
	links[2] = (struct link){ .path = path_add(plan, 1), .rate = 1.0 };
	wt_plan_limit(plan, WT_PLAN_ALL, 200u << 20, 0);
	took = simulate(plan, links, 3, MS);
	/* 390 MiB at 200 MiB a second, and what the bucket held. */
	assert_in_range(took, 1850 * MS, 1990 * MS);
	/* Equal shares for servers, not for paths. */
	assert_in_range(
		links[0].bytes, (uint64_t)PAGES * 2048 * 95 / 100, (uint64_t)PAGES * 2048 * 105 / 100);
	wt_plan_close(plan);

	plan = plan_with_helper(WT_PLAN_FASTEST);
	memset(links, 0, sizeof links);
	links[0] = (struct link){ .path = path_add(plan, 0), .rate = 0.5 };
	links[1] = (struct link){ .path = path_add(plan, 1), .rate = 0.5 };
	wt_plan_limit(plan, 0, 20u << 20, 0);
	took = simulate(plan, links, 2, MS);
	assert_true(links[0].bytes < (20u << 20) * (took / 1e9 + 0.05) + (1u << 20));
	assert_true(took < 800 * MS + 30 * MS); /* the other one does the rest */
	wt_plan_close(plan);
}

/* ---- what nobody can read ---- */

static uint64_t reach_first_half(void *arg, const struct wt_work *work, uint64_t *ret_skip)
{
	const bool *known = arg;

	*ret_skip = *known ? PAGES - work->extent.page : 0;
	return *known && work->extent.page < PAGES / 2 ? PAGES / 2 - work->extent.page : 0;
}

static void test_what_the_announcer_cannot_reach_is_asked_for(void **state)
{
	struct wt_extent part = { .page = PAGES / 2 - 100, .pages = 200 };
	struct wt_announcement what = { .extent = { .page = PAGES / 2, .pages = 100 },
		.content = WT_CONTENT_STAGED,
		.priority = WT_PRIORITY_BULK };
	struct wt_plan *plan = plan_new();
	struct wt_plan_action action;
	struct wt_work work;
	bool known = false;
	int path;

	assert_int_equal(wt_plan_need(plan, &part, NULL), 0);
	assert_int_equal(wt_plan_base_end(plan, WT_PLAN_FASTEST), 0);
	assert_false(wt_plan_tick(plan, 0, &action)); /* no path yet */
	path = wt_plan_path_add(plan, 0, reach_first_half, &known, 0);
	assert_false(wt_plan_tick(plan, 0, &action));
	assert_false(wt_plan_peek(plan, (unsigned)path, 0, &work));
	known = true;
	wt_plan_reach_changed(plan);
	assert_true(wt_plan_tick(plan, 0, &action));
	assert_int_equal(action.act, WT_PLAN_ASK);
	assert_true(action.extent.page == PAGES / 2 && action.extent.pages == 100);
	assert_false(wt_plan_tick(plan, 0, &action)); /* asked for once */
	assert_true(wt_plan_peek(plan, (unsigned)path, 0, &work));
	assert_true(work.extent.page == PAGES / 2 - 100 && work.extent.pages == 100);
	wt_plan_done(plan, (unsigned)wt_plan_take(plan, (unsigned)path, 100, 0), 0, 0);
	assert_false(wt_plan_peek(plan, (unsigned)path, 0, &work));
	assert_int_equal(wt_plan_announce(plan, 1, &what), 0);
	assert_int_equal(wt_plan_base_left(plan), 0);
	wt_plan_close(plan);
}

static void test_orphans(void **state)
{
	struct wt_extent staged = { .block = 1, .page = 8, .pages = 4 };
	struct wt_plan *plan = plan_new();
	struct wt_plan_action action;
	struct wt_work work;
	unsigned source = path_add(plan, 0), helper;

	assert_int_equal(wt_plan_need(plan, &staged, NULL), 0);
	assert_int_equal(wt_plan_has(plan, 1, &staged, NULL), 0);
	assert_int_equal(wt_plan_base_end(plan, WT_PLAN_FASTEST), 0);
	helper = path_add(plan, 1);
	assert_false(wt_plan_peek(plan, source, 0, &work));
	assert_true(wt_plan_peek(plan, helper, 0, &work));
	assert_false(wt_plan_tick(plan, 0, &action));
	wt_plan_path_remove(plan, helper);
	wt_plan_server_remove(plan, 1);
	assert_true(wt_plan_tick(plan, 0, &action));
	assert_int_equal(action.act, WT_PLAN_ORPHANED);
	assert_true(action.extent.block == 1 && action.extent.page == 8 && action.extent.pages == 4);
	assert_false(wt_plan_tick(plan, 0, &action));
	wt_plan_close(plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile_base),
		cmocka_unit_test(test_nothing_before_the_base_is_complete),
		cmocka_unit_test(test_not_idle_while_the_last_page_is_under_way),
		cmocka_unit_test(test_who_pulls_what),
		cmocka_unit_test(test_sparing_the_announcer),
		cmocka_unit_test(test_what_is_ahead),
		cmocka_unit_test(test_failed_base_is_wanted_again),
		cmocka_unit_test(test_links_end_together),
		cmocka_unit_test(test_the_slow_one_is_hedged),
		cmocka_unit_test(test_bounce_loses_against_an_announcement),
		cmocka_unit_test(test_a_stalled_helper_is_closed),
		cmocka_unit_test(test_a_silent_network_closes_nothing),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_what_the_announcer_cannot_reach_is_asked_for),
		cmocka_unit_test(test_orphans),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

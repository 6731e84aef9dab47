/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wt_planner.c - the puller's plan alone, without any memory to be moved: what it costs to plan a whole
 * guest.
 *
 *   wt_planner GIBIBYTES      prints one JSON object; bench_planner.py makes figures of it
 *
 * Two servers with two paths each. Half of the guest is base, which both servers have; the other half is
 * announced, 1 MiB at a time, every eighth of these zero, and for each of them a few pages somewhere in it
 * once more. Operations complete in the order in which they were started, 32 later on each path. A first run
 * warms up, so that the kernel's zeroing of fresh memory is not measured. Seconds are of this processor's
 * time.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../transport/plan.h"

#define PATHS 4u
#define DEPTH 32u
#define PENDING 1024u
#define EXTENT 256u
#define COPIES WT_PLAN_COPIES
#define OPERATION_NS 50000ull /* of pretended time */

struct lane {
	unsigned path, first, count;
	unsigned ids[DEPTH];
	bool bounce[DEPTH];
};

struct run {
	struct wt_plan *plan;
	uint64_t pages, now_ns, random;
	uint64_t seq, landed, announced_page;
	uint64_t operations, pages_done;
	struct lane lanes[PATHS];
};

static void need(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "wt_planner: %s\n", what);
	exit(1);
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t allocated(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static uint64_t random_below(struct run *r, uint64_t limit)
{
	r->random = r->random * 6364136223846793005ull + 1442695040888963407ull;
	return (r->random >> 20) % limit;
}

static void give_base(struct run *r)
{
	for (uint64_t page = 0; page < r->pages / 2; page += 1u << 20) {
		struct wt_extent range = { .page = page, .pages = 1u << 20 };

		if (r->pages / 2 - page < range.pages)
			range.pages = (uint32_t)(r->pages / 2 - page);
		need(!wt_plan_need(r->plan, &range, NULL) && !wt_plan_has(r->plan, 1, &range, NULL),
			"the base was refused");
	}
	need(!wt_plan_base_end(r->plan, WT_PLAN_FASTEST), "the base was refused");
}

static void announce(struct run *r, uint64_t page, uint32_t pages, enum wt_content content)
{
	struct wt_announcement what = { .extent = { .page = page, .pages = pages },
		.content = content,
		.priority = pages < EXTENT ? WT_PRIORITY_DIRTY : WT_PRIORITY_BULK };

	need(!wt_plan_announce(r->plan, ++r->seq, &what), "an announcement was refused");
}

static void announce_some(struct run *r)
{
	struct wt_seq_range ranges[64];
	unsigned count;

	while ((count = wt_plan_acks(r->plan, ranges, 64)) > 0)
		for (unsigned i = 0; i < count; i++)
			r->landed += ranges[i].count;
	while (r->announced_page < r->pages && r->seq - r->landed < PENDING) {
		bool zero = r->announced_page / EXTENT % 8 == 0;
		uint64_t again = r->pages / 2 + random_below(r, r->announced_page + EXTENT - r->pages / 2);
		uint32_t pages = 1 + (uint32_t)random_below(r, 8);

		announce(r, r->announced_page, EXTENT, zero ? WT_CONTENT_ZERO : WT_CONTENT_IN_PLACE);
		r->announced_page += EXTENT;
		announce(r, again < r->pages - pages ? again : r->pages - pages, pages, WT_CONTENT_IN_PLACE);
	}
}

static void complete(struct run *r, struct lane *lane)
{
	struct wt_extent copies[COPIES];
	unsigned at = lane->first;

	lane->first = (lane->first + 1) % DEPTH;
	lane->count--;
	r->now_ns += OPERATION_NS;
	if (lane->bounce[at])
		wt_plan_settle(r->plan, lane->ids[at], copies, r->now_ns);
	else
		wt_plan_done(r->plan, lane->ids[at], 0, r->now_ns);
}

static void fill(struct run *r, struct lane *lane)
{
	struct wt_work work;

	while (lane->count < DEPTH && wt_plan_peek(r->plan, lane->path, r->now_ns, &work)) {
		uint32_t pages = work.extent.pages < EXTENT ? work.extent.pages : EXTENT;
		int id = wt_plan_take(r->plan, lane->path, pages, r->now_ns);
		unsigned at = (lane->first + lane->count) % DEPTH;

		need(id >= 0, "an operation was refused");
		r->operations++;
		r->pages_done += pages;
		lane->ids[at] = (unsigned)id;
		lane->bounce[at] = work.bounce;
		lane->count++;
	}
}

static void run(struct run *r, uint64_t pages)
{
	struct wt_plan_block block = { .pages = pages, .announcer_reads = true };

	*r = (struct run){ .pages = pages, .random = 1, .now_ns = 1, .announced_page = pages / 2 };
	need(!wt_plan_open(1, &block, &r->plan), "no memory for a plan");
	give_base(r);
	wt_plan_bounce(r->plan, true);
	for (unsigned i = 0; i < PATHS; i++)
		r->lanes[i].path = (unsigned)wt_plan_path_add(r->plan, i % 2, NULL, NULL, r->now_ns);
	while (r->announced_page < pages || !wt_plan_idle(r->plan)) {
		announce_some(r);
		for (unsigned i = 0; i < PATHS; i++)
			fill(r, &r->lanes[i]);
		for (unsigned i = 0; i < PATHS; i++)
			if (r->lanes[i].count)
				complete(r, &r->lanes[i]);
	}
}

int main(int argc, char **argv)
{
	uint64_t gib = argc == 2 ? strtoull(argv[1], NULL, 0) : 0, begin_ns, bytes, runs, before;
	static struct run r;
	double seconds;

	need(gib > 0 && gib <= 4096, "say how many GiB the guest has: 1 to 4096");
	/* What one plan has given back the next one gets. */
	need(mallopt(M_MMAP_MAX, 0) && mallopt(M_TRIM_THRESHOLD, INT32_MAX),
		"malloc does not do as it is told");
	before = allocated();
	run(&r, gib << 18);
	bytes = allocated() - before;
	wt_plan_close(r.plan);
	begin_ns = cpu_ns();
	for (runs = 0; runs * gib < 1024; runs++) {
		run(&r, gib << 18);
		wt_plan_close(r.plan);
	}
	seconds = (double)(cpu_ns() - begin_ns) / 1e9 / (double)runs;
	printf("{\"pages\": %llu, \"bytes\": %llu, \"operations\": %llu, \"pages_done\": %llu, \"seconds\": %.6f}\n",
		(unsigned long long)r.pages, (unsigned long long)bytes, (unsigned long long)r.operations,
		(unsigned long long)r.pages_done, seconds);
	return 0;
}

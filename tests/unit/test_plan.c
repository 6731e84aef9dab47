/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_plan.c - announcements: the invariants of plan.h against a model of memories (plan_model.h), and small
 * cases. The base has test_plan_base.c.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "plan_model.h"

static void collect_acks(void)
{
	struct wt_seq_range ranges[4];
	unsigned max = 1 + (unsigned)seed_below(4), count;

	while ((count = wt_plan_acks(m.plan, ranges, max)) > 0) {
		check(count <= max);
		for (unsigned i = 0; i < count; i++)
			for (uint64_t seq = ranges[i].first; seq < ranges[i].first + ranges[i].count; seq++) {
				struct model_seq *s = &m.seqs[seq];
				const struct wt_extent *e = &s->what.extent;

				check(seq >= 1 && seq < m.next_seq && !s->acked && !s->left);
				s->acked = true;
				for (uint32_t k = 0; k < e->pages; k++)
					if (m.must[e->block][e->page + k] < s->versions[k])
						m.must[e->block][e->page + k] = s->versions[k];
			}
	}
	for (; m.popped < m.next_seq && m.seqs[m.popped].acked; m.popped++) {
		const struct model_seq *s = &m.seqs[m.popped];

		if (s->what.content != WT_CONTENT_STAGED)
			continue;
		m.ring_free = s->what.staged_offset / WT_PAGE_SIZE + s->what.extent.pages;
		for (uint32_t i = 0; i < s->what.extent.pages; i++) /* may be written over from now on */
			m.ring[(s->what.staged_offset / WT_PAGE_SIZE + i) % RING_PAGES] = RUBBISH;
	}
}

/* What was acknowledged is there, at this version or a newer one, unless something is on its way again. */
static void check_pages(void)
{
	uint64_t left = 0, flight = 0, entries = 0, words[PAGES_MAX / 64 + 1];
	bool idle;

	for (unsigned b = 0; b < BLOCKS; b++) {
		wt_plan_missing(m.plan, b, 0, block_pages[b], words);
		for (uint64_t p = 0; p < block_pages[b]; p++) {
			check((words[p / 64] >> (p % 64) & 1) == m.wanted[b][p]);
			left += m.wanted[b][p];
			if (m.owner[b][p] == NONE && !m.failed_seq[b][p] && m.must[b][p])
				check(m.mine[b][p] != RUBBISH && m.mine[b][p] >= m.must[b][p]);
		}
	}
	for (unsigned i = 0; i < m.used_count; i++)
		if (m.ops[m.used[i]].kind == KIND_BASE)
			flight += m.ops[m.used[i]].work.extent.pages;
	for (uint64_t seq = m.popped; seq < m.next_seq; seq++)
		entries += m.seqs[seq].left;
	idle = !left && !flight && !entries;
	check(wt_plan_base_left(m.plan) == left + flight);
	check(wt_plan_idle(m.plan) == idle);
	check(wt_plan_outstanding(m.plan) == m.used_count);
	check(wt_plan_next_seq(m.plan) == m.next_seq);
	check(wt_plan_valid(m.plan));
}

static void obey(void)
{
	struct wt_plan_action action;

	while (wt_plan_tick(m.plan, m.now_ns, &action)) {
		check(action.act == WT_PLAN_CLOSE_PATH || action.act == WT_PLAN_ASK);
		if (action.act == WT_PLAN_ASK) {
			struct wt_extent part = action.extent;

			check(m.reads[part.block]);
			seen.asks++;
			for (uint32_t i = 0; i < action.extent.pages; i += part.pages) {
				part.page = action.extent.page + i;
				part.pages = action.extent.pages - i < 64 ? action.extent.pages - i : 64;
				announce((struct wt_announcement){
					.extent = part, .content = WT_CONTENT_IN_PLACE });
			}
			continue;
		}
		for (unsigned i = 0; i < PATHS; i++)
			if (m.paths[i].alive && m.paths[i].number == action.path)
				path_dies(&m.paths[i]);
	}
}

static void path_step(void)
{
	unsigned at = (unsigned)seed_below(PATHS), k = 1 + (unsigned)seed_below(HELPERS - 1);
	struct model_path *path = &m.paths[at];

	if (seed_below(20) == 0 && !m.gone[k] && m.may_lose[k])
		helper_dies(k);
	else if (path->alive)
		path_dies(path);
	else if (!m.gone[at % HELPERS])
		path_add(at, at % HELPERS);
}

static void transfer_step(unsigned fail_percent)
{
	struct model_op *op;

	m.now_ns += seed_below(2000000);
	switch (seed_below(7)) {
	case 0:
	case 1:
		take_step(&m.paths[seed_below(PATHS)]);
		break;
	case 2:
		if (m.used_count) {
			op = &m.ops[m.used[seed_below(m.used_count)]];
			land(op, (uint32_t)seed_below(op->work.extent.pages));
		}
		break;
	case 3:
		if (m.used_count)
			done((unsigned)seed_below(m.used_count), seed_below(100) < fail_percent);
		break;
	case 4:
		digest_step();
		break;
	case 5:
		if (seed_below(40) == 0)
			path_step();
		obey();
		break;
	default:
		collect_acks();
	}
}

static bool all_take(void)
{
	bool any = false;

	for (unsigned i = 0; i < PATHS; i++)
		while (take_step(&m.paths[i]))
			any = true;
	return any;
}

/* As servers do that are there. */
static void paths_come_back(void)
{
	for (unsigned i = 0; i < PATHS; i++)
		if (!m.paths[i].alive && !m.gone[i % HELPERS])
			path_add(i, i % HELPERS);
}

static void finish(void)
{
	wt_plan_undrain(m.plan);
	paths_come_back();
	for (unsigned b = 0; b < BLOCKS; b++)
		for (uint32_t p = 0; p < block_pages[b]; p++) {
			struct wt_extent one = { .block = b, .page = p, .pages = 1 };

			while (m.dirty[b][p] && !announce_extent(&one, m.zero[b][p])) {
				m.now_ns += 5000000;
				digest_all();
				all_take();
				while (m.used_count)
					done(0, false);
				collect_acks();
			}
		}
	for (unsigned guard = 0; !wt_plan_idle(m.plan); guard++) {
		check(guard < 100000);
		m.now_ns += 5000000;
		obey();
		paths_come_back();
		digest_step();
		all_take();
		if (m.used_count)
			done((unsigned)seed_below(m.used_count), seed_below(10) == 0);
	}
	while (m.used_count) /* what lost its race */
		done(0, false);
	collect_acks();
	check_pages();
	for (uint64_t seq = 1; seq < m.next_seq; seq++)
		check(m.seqs[seq].acked);
	check(memcmp(m.mine, m.source, sizeof m.mine) == 0);
}

static void random_run(void)
{
	unsigned fail_percent = (unsigned)seed_below(40), writes = 2 + (unsigned)seed_below(10);

	open_model();
	for (unsigned step = 0; step < 1500; step++) {
		if (seed_below(writes) == 0)
			source_step();
		else
			transfer_step(fail_percent);
		if (seed_below(200) == 0)
			(seed_below(3) ? wt_plan_undrain : wt_plan_drain)(m.plan);
		if (step % 16 == 0)
			check_pages();
	}
	finish();
	close_model();
}

static void test_memories_are_equal_in_the_end(void **state)
{
	memset(&seen, 0, sizeof seen);
	seed_runs(200, random_run);
	print_message(
		"operations: %llu of the base, %llu into bounce buffers (%llu lost the race), %llu of the base "
		"overtaken by announcements; asked %llu times, copied %llu times\n",
		(unsigned long long)seen.base_ops, (unsigned long long)seen.bounce_ops,
		(unsigned long long)seen.lost_races, (unsigned long long)seen.overtaken,
		(unsigned long long)seen.asks, (unsigned long long)seen.copied);
	if (!getenv("WATARI_SEED"))
		assert_true(seen.base_ops && seen.bounce_ops && seen.lost_races && seen.overtaken &&
			    seen.asks && seen.copied);
}

/* ---- small cases ---- */

static const struct wt_plan_block one_block[1] = { { .pages = 10000, .announcer_reads = true } };

/* With one path, number 0. */
static struct wt_plan *plan_with(uint32_t extents, uint32_t pages, enum wt_content content)
{
	struct wt_plan *plan;

	assert_int_equal(wt_plan_open(1, one_block, &plan), 0);
	for (uint32_t i = 0; i < extents; i++) {
		struct wt_announcement what = { .extent = { .page = i * pages, .pages = pages },
			.content = content,
			.priority = WT_PRIORITY_BULK };

		assert_int_equal(wt_plan_announce(plan, i + 1, &what), 0);
	}
	assert_int_equal(wt_plan_path_add(plan, 0, NULL, NULL, 0), 0);
	return plan;
}

static void test_hostile_announcements(void **state)
{
	static const struct {
		uint64_t seq, page;
		uint32_t block, pages;
		int content, priority;
	} bad[] = {
		{ 1, 0, 0, 1, WT_CONTENT_ZERO, -1 },
		{ 1, 0, 0, 1, WT_CONTENT_ZERO, 4 },
		{ 1, 0, 0, 1, WT_CONTENT_ZERO, UINT16_MAX },
		{ 0, 0, 0, 1, WT_CONTENT_ZERO },
		{ 2, 0, 0, 1, WT_CONTENT_ZERO },
		{ UINT64_MAX, 0, 0, 1, WT_CONTENT_ZERO },
		{ 1, 0, 1, 1, WT_CONTENT_ZERO },
		{ 1, 0, UINT32_MAX, 1, WT_CONTENT_ZERO },
		{ 1, 0, 0, 0, WT_CONTENT_ZERO },
		{ 1, 10000, 0, 1, WT_CONTENT_ZERO },
		{ 1, 9999, 0, 2, WT_CONTENT_ZERO },
		{ 1, 1, 0, UINT32_MAX, WT_CONTENT_ZERO },
		{ 1, UINT64_MAX, 0, 1, WT_CONTENT_ZERO },
		{ 1, UINT64_MAX, 0, UINT32_MAX, WT_CONTENT_ZERO },
		{ 1, 0, 0, 1, 0 },
		{ 1, 0, 0, 1, 5 },
		{ 1, 0, 0, WT_PLAN_DIGESTED_PAGES + 1, WT_CONTENT_IN_PLACE_DIGESTED },
		{ 1, 0, 0, 1, -1 },
	};
	struct wt_plan *plan = plan_with(0, 0, WT_CONTENT_ZERO);
	struct wt_work work;

	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct wt_announcement what = {
			.extent = { .block = bad[i].block, .page = bad[i].page, .pages = bad[i].pages },
			.content = (enum wt_content)bad[i].content,
			.priority = (enum wt_priority)(WT_PRIORITY_BULK + bad[i].priority)
		};

		assert_int_equal(wt_plan_announce(plan, bad[i].seq, &what), -EPROTO);
	}
	assert_false(wt_plan_peek(plan, 0, 0, &work));
	assert_true(wt_plan_idle(plan));
	wt_plan_close(plan);
}

/* Ten of 100 pages each; the second one waits for its digests, and only what touches it waits behind it. */
static void test_digests_are_awaited(void **state)
{
	struct wt_plan *plan = plan_with(0, 0, WT_CONTENT_ZERO);
	struct wt_announcement what = { .priority = WT_PRIORITY_BULK };
	const uint64_t equal[WT_PLAN_DIGESTED_WORDS] = { 0x7, 1ull << 35 };
	static const struct {
		uint32_t page, pages;
		bool here;
	} runs[] = { { 128, 3, true }, { 131, 61, false }, { 192, 35, false }, { 227, 1, true } };
	struct wt_extent extent;
	struct wt_seq_range acked;
	struct wt_work work;

	for (uint64_t seq = 1; seq <= 10; seq++) {
		what.extent = (struct wt_extent){ .page = seq == 10 ? 200 : (seq - 1) * 128, .pages = 100 };
		what.content = seq == 2 ? WT_CONTENT_IN_PLACE_DIGESTED : WT_CONTENT_IN_PLACE;
		assert_int_equal(wt_plan_announce(plan, seq, &what), 0);
	}
	assert_false(wt_plan_awaits(plan, 1, &extent) || wt_plan_awaits(plan, 11, &extent));
	assert_true(wt_plan_awaits(plan, 2, &extent) && extent.page == 128 && extent.pages == 100);
	for (unsigned n = 0; n < 8; n++) {
		assert_true(wt_plan_peek(plan, 0, 0, &work));
		assert_true(work.content == WT_CONTENT_IN_PLACE && work.extent.page % 128 == 0 &&
			    work.extent.page != 128);
		wt_plan_done(plan, (unsigned)wt_plan_take(plan, 0, 100, 0), 0, 0);
	}
	assert_false(wt_plan_peek(plan, 0, 0, &work));
	assert_false(wt_plan_idle(plan));
	assert_int_equal(wt_plan_digested(plan, 2, equal), 0);
	assert_false(wt_plan_awaits(plan, 2, &extent));
	for (unsigned n = 0; n < 4; n++) { /* cut where the last one, which waits, comes near */
		assert_true(wt_plan_peek(plan, runs[n].here ? WT_PLAN_NO_PATH : 0, 0, &work));
		assert_true(work.extent.page == runs[n].page && work.extent.pages == runs[n].pages);
		assert_int_equal(
			work.content, runs[n].here ? WT_CONTENT_IN_PLACE_DIGESTED : WT_CONTENT_IN_PLACE);
		assert_int_equal(work.seq, runs[n].here ? 2 : 0);
		wt_plan_done(plan,
			(unsigned)wt_plan_take(
				plan, runs[n].here ? WT_PLAN_NO_PATH : 0, work.extent.pages, 0),
			0, 0);
	}
	while (wt_plan_acks(plan, &acked, 1))
		assert_true(acked.first + acked.count <= 10);
	assert_true(wt_plan_peek(plan, 0, 0, &work) && work.extent.page == 200);
	wt_plan_done(plan, (unsigned)wt_plan_take(plan, 0, 100, 0), 0, 0);
	assert_true(wt_plan_idle(plan));
	wt_plan_close(plan);
}

/* Who reads pages in place must know that they hold still: a transfer that runs, one that failed and one that
 * will begin are each in its way. */
static void test_alone(void **state)
{
	struct wt_plan *plan = plan_with(0, 0, WT_CONTENT_ZERO);
	struct wt_announcement what = {
		.extent = { .pages = 8 }, .content = WT_CONTENT_IN_PLACE, .priority = WT_PRIORITY_BULK
	};
	struct wt_work work;

	assert_int_equal(wt_plan_announce(plan, 1, &what), 0);
	what.content = WT_CONTENT_IN_PLACE_DIGESTED;
	assert_int_equal(wt_plan_announce(plan, 2, &what), 0);
	assert_false(wt_plan_alone(plan, 2)); /* it will begin */
	for (int status = -EIO; status <= 0; status += EIO) {
		int id;

		assert_true(wt_plan_peek(plan, 0, 0, &work) && work.extent.pages == 8);
		id = wt_plan_take(plan, 0, 8, 0);
		assert_false(wt_plan_alone(plan, 2));
		wt_plan_done(plan, (unsigned)id, status, 0);
		assert_true(wt_plan_alone(plan, 2) == !status);
	}
	what.extent.page = 8;
	assert_int_equal(wt_plan_announce(plan, 3, &what), 0); /* a neighbour */
	assert_true(wt_plan_alone(plan, 2) && wt_plan_alone(plan, 3));
	what.extent.page = 7;
	what.content = WT_CONTENT_IN_PLACE;
	what.priority = WT_PRIORITY_FAULT;
	assert_int_equal(wt_plan_announce(plan, 4, &what), 0);
	assert_false(wt_plan_alone(plan, 2));
	assert_false(wt_plan_peek(plan, 0, 0, &work)); /* it waits for 2, whatever is urgent */
	wt_plan_close(plan);
}

/* A copy and a pull of neighbours fail: neither is done in the other's way. */
static void test_repetitions_stay_what_they_are(void **state)
{
	struct wt_plan *plan = plan_with(0, 0, WT_CONTENT_ZERO);
	const struct wt_announcement what = { .extent = { .pages = 8 },
		.content = WT_CONTENT_IN_PLACE_DIGESTED,
		.priority = WT_PRIORITY_BULK };
	const uint64_t equal[WT_PLAN_DIGESTED_WORDS] = { 0xf };
	struct wt_work work;
	int copy, pull;

	assert_int_equal(wt_plan_announce(plan, 1, &what), 0);
	assert_int_equal(wt_plan_digested(plan, 1, equal), 0);
	assert_true(wt_plan_peek(plan, WT_PLAN_NO_PATH, 0, &work) && work.extent.pages == 4);
	copy = wt_plan_take(plan, WT_PLAN_NO_PATH, 4, 0);
	assert_true(wt_plan_peek(plan, 0, 0, &work) && work.extent.pages == 4);
	pull = wt_plan_take(plan, 0, 4, 0);
	wt_plan_done(plan, (unsigned)pull, -EIO, 0);
	wt_plan_done(plan, (unsigned)copy, -EIO, 0);
	assert_true(wt_plan_peek(plan, WT_PLAN_NO_PATH, 0, &work));
	assert_true(work.content == WT_CONTENT_IN_PLACE_DIGESTED && work.extent.page == 0 &&
		    work.extent.pages == 4);
	wt_plan_done(plan, (unsigned)wt_plan_take(plan, WT_PLAN_NO_PATH, 4, 0), 0, 0);
	assert_true(wt_plan_peek(plan, 0, 0, &work));
	assert_true(work.content == WT_CONTENT_IN_PLACE && work.extent.page == 4 && work.extent.pages == 4);
	wt_plan_done(plan, (unsigned)wt_plan_take(plan, 0, 4, 0), 0, 0);
	assert_true(wt_plan_idle(plan));
	wt_plan_close(plan);
}

static void test_pending_is_bounded(void **state)
{
	struct wt_announcement what = {
		.extent = { .page = 1, .pages = 1 }, .content = WT_CONTENT_ZERO, .priority = WT_PRIORITY_BULK
	};
	struct wt_plan *plan = plan_with(0, 0, WT_CONTENT_ZERO);
	struct wt_seq_range range;
	struct wt_work work;
	uint64_t seq = 1;

	for (; seq <= WT_LIMIT_PENDING_ENTRIES; seq++)
		assert_int_equal(wt_plan_announce(plan, seq, &what), 0);
	assert_int_equal(wt_plan_announce(plan, seq, &what), -ENOBUFS);
	assert_true(wt_plan_peek(plan, 0, 0, &work));
	wt_plan_done(plan, (unsigned)wt_plan_take(plan, 0, 1, 0), 0, 0);
	assert_int_equal(wt_plan_announce(plan, seq, &what), -ENOBUFS); /* not acknowledged yet */
	assert_int_equal(wt_plan_acks(plan, &range, 1), 1);
	assert_int_equal(wt_plan_announce(plan, seq, &what), 0);
	wt_plan_close(plan);
}

/* Every other announcement lands: as many separate ranges as there can be, and none is lost. */
static void test_scattered_acknowledgements(void **state)
{
	static struct wt_seq_range ranges[WT_LIMIT_PENDING_ENTRIES];
	struct wt_plan *plan = plan_with(5000, 1, WT_CONTENT_ZERO);
	int ids[WT_PLAN_OPS];
	unsigned taken = 0, count;
	struct wt_work work;

	while (wt_plan_peek(plan, 0, 0, &work) && (ids[taken] = wt_plan_take(plan, 0, 1, 0)) >= 0)
		if (++taken == WT_PLAN_OPS)
			break;
	assert_int_equal(taken, WT_PLAN_OPS);
	assert_true(wt_plan_peek(plan, 0, 0, &work));
	assert_int_equal(wt_plan_take(plan, 0, 1, 0), -EAGAIN);
	for (unsigned i = 1; i < taken; i += 2)
		wt_plan_done(plan, (unsigned)ids[i], 0, 0);
	count = wt_plan_acks(plan, ranges, WT_LIMIT_PENDING_ENTRIES);
	assert_int_equal(count, WT_PLAN_OPS / 2);
	for (unsigned i = 0; i < count; i++)
		assert_true(ranges[i].count == 1 && ranges[i].first % 2 == 0);
	wt_plan_close(plan);
}

/* Takes all that may be taken, `pages` at a time at most; lets all fail, or succeed. */
static unsigned round_of(struct wt_plan *plan, uint32_t pages, int status)
{
	static unsigned ids[WT_PLAN_OPS];
	unsigned count = 0;
	struct wt_work work;
	int id;

	while (wt_plan_peek(plan, 0, 0, &work)) {
		id = wt_plan_take(plan, 0, work.extent.pages < pages ? work.extent.pages : pages, 0);
		if (id < 0)
			break;
		ids[count++] = (unsigned)id;
	}
	for (unsigned i = 0; i < count; i++) {
		unsigned other = i + (unsigned)seed_below(count - i), chosen = ids[other];

		ids[other] = ids[i];
		wt_plan_done(plan, chosen, status, 0);
	}
	return count;
}

/*
 * As many operations as there can be fail; the last one is long and is repeated page by page, which fails
 * too: now nothing is under way and as much as possible is to be repeated. The plan must not get stuck.
 */
static void test_repetitions_in_pieces_never_get_stuck(void **state)
{
	struct wt_plan *plan = plan_with(WT_PLAN_OPS - 1, 1, WT_CONTENT_ZERO);
	struct wt_announcement rest = { .extent = { .page = WT_PLAN_OPS - 1,
						.pages = 10000 - WT_PLAN_OPS + 1 },
		.content = WT_CONTENT_ZERO,
		.priority = WT_PRIORITY_BULK };
	struct wt_seq_range range;
	uint64_t acked = 0;
	struct wt_work work;
	int last;

	seed_start(1);
	assert_int_equal(wt_plan_announce(plan, WT_PLAN_OPS, &rest), 0);
	for (unsigned i = 0; i < WT_PLAN_OPS; i++) {
		assert_true(wt_plan_peek(plan, 0, 0, &work));
		last = wt_plan_take(plan, 0, work.extent.pages, 0);
		assert_int_equal(last, i);
	}
	for (unsigned i = 0; i < WT_PLAN_OPS; i++)
		wt_plan_done(plan, i, -EIO, 0);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(round_of(plan, 1, -EIO), WT_PLAN_OPS);
	for (unsigned i = 0; !wt_plan_idle(plan); i++)
		assert_true(i < 10000 && round_of(plan, 1, i % 2 ? -EIO : 0) > 0);
	while (wt_plan_acks(plan, &range, 1))
		acked += range.count;
	assert_int_equal(acked, WT_PLAN_OPS);
	wt_plan_close(plan);
}

/* A newer announcement of a page waits for the older transfer, zeros too; others do not. */
static void test_one_writer_per_page(void **state)
{
	static const enum wt_content contents[] = { WT_CONTENT_IN_PLACE, WT_CONTENT_ZERO, WT_CONTENT_STAGED };

	for (unsigned i = 0; i < 3; i++) {
		struct wt_announcement again = { .extent = { .page = 3, .pages = 2 },
			.content = contents[i],
			.priority = WT_PRIORITY_FAULT };
		struct wt_announcement other = { .extent = { .page = 64, .pages = 1 },
			.content = WT_CONTENT_IN_PLACE,
			.priority = WT_PRIORITY_BULK };
		struct wt_plan *plan = plan_with(1, 4, WT_CONTENT_IN_PLACE);
		struct wt_seq_range range;
		struct wt_work work;
		int id;

		assert_true(wt_plan_peek(plan, 0, 0, &work));
		id = wt_plan_take(plan, 0, 4, 0);
		assert_int_equal(wt_plan_announce(plan, 2, &again), 0);
		assert_int_equal(wt_plan_announce(plan, 3, &other), 0);
		assert_true(wt_plan_peek(plan, 0, 0, &work));
		assert_int_equal(work.extent.page, 64);
		wt_plan_done(plan, (unsigned)wt_plan_take(plan, 0, 1, 0), 0, 0);
		assert_false(wt_plan_peek(plan, 0, 0, &work));
		wt_plan_done(plan, (unsigned)id, -EIO, 0); /* page 3 is busy until it is repeated */
		assert_true(wt_plan_peek(plan, 0, 0, &work));
		assert_true(work.extent.page == 0 && work.extent.pages == 4);
		id = wt_plan_take(plan, 0, 4, 0);
		assert_false(wt_plan_peek(plan, 0, 0, &work));
		assert_int_equal(wt_plan_acks(plan, &range, 1), 1);
		assert_true(range.first == 3 && range.count == 1);
		wt_plan_done(plan, (unsigned)id, 0, 0);
		assert_true(wt_plan_peek(plan, 0, 0, &work));
		assert_true(work.content == contents[i] && work.extent.page == 3 && work.extent.pages == 2);
		assert_int_equal(wt_plan_acks(plan, &range, 1), 1);
		assert_true(range.first == 1 && range.count == 1);
		assert_true(wt_plan_valid(plan));
		wt_plan_close(plan);
	}
}

/* What is announced near a parked one is parked behind it, whatever its priority, and they come in their
 * order. */
static void test_parked_ones_keep_their_order(void **state)
{
	static const struct {
		uint64_t page;
		enum wt_priority priority;
	} list[] = { { 0, WT_PRIORITY_DIRTY }, { 2, WT_PRIORITY_FAULT }, { 3, WT_PRIORITY_FAULT },
		{ 2, WT_PRIORITY_FINAL }, { 200, WT_PRIORITY_BULK } };
	static const uint64_t order[] = { 0, 2, 3, 2 };
	struct wt_plan *plan = plan_with(1, 3, WT_CONTENT_IN_PLACE);
	struct wt_work work;
	int id;

	assert_true(wt_plan_peek(plan, 0, 0, &work));
	id = wt_plan_take(plan, 0, 3, 0);
	for (unsigned i = 0; i < sizeof list / sizeof list[0]; i++) {
		struct wt_announcement what = { .extent = { .page = list[i].page, .pages = 1 },
			.content = WT_CONTENT_IN_PLACE,
			.priority = list[i].priority };

		assert_int_equal(wt_plan_announce(plan, i + 2, &what), 0);
		assert_int_equal(wt_plan_peek(plan, 0, 0, &work), i == 4);
	}
	assert_int_equal(work.extent.page, 200);
	wt_plan_done(plan, (unsigned)wt_plan_take(plan, 0, 1, 0), 0, 0);
	wt_plan_done(plan, (unsigned)id, 0, 0);
	for (unsigned i = 0; i < sizeof order / sizeof order[0]; i++) {
		assert_true(wt_plan_peek(plan, 0, 0, &work));
		assert_int_equal(work.extent.page, order[i]);
		wt_plan_done(plan, (unsigned)wt_plan_take(plan, 0, 1, 0), 0, 0);
	}
	assert_true(wt_plan_idle(plan));
	wt_plan_close(plan);
}

/* Higher ones first, equal ones in their order, and none before an older one of its page, or near it. */
static void test_priorities(void **state)
{
	static const struct {
		uint64_t page;
		enum wt_priority priority;
	} list[] = { { 0, WT_PRIORITY_BULK }, { 1000, WT_PRIORITY_DIRTY }, { 2000, WT_PRIORITY_FINAL },
		{ 3000, WT_PRIORITY_FAULT }, { 3001, WT_PRIORITY_FAULT }, { 1000, WT_PRIORITY_FAULT },
		{ 0, WT_PRIORITY_FINAL }, { 4000, WT_PRIORITY_DIRTY }, { 63, WT_PRIORITY_FAULT },
		{ 64, WT_PRIORITY_FAULT } };
	static const uint64_t order[] = { 3000, 3001, 64, 2000, 1000, 1000, 4000, 0, 0, 63 };
	struct wt_plan *plan = plan_with(0, 0, WT_CONTENT_ZERO);
	struct wt_work work;

	for (unsigned i = 0; i < sizeof list / sizeof list[0]; i++) {
		struct wt_announcement what = { .extent = { .page = list[i].page, .pages = 1 },
			.content = WT_CONTENT_IN_PLACE,
			.priority = list[i].priority };

		assert_int_equal(wt_plan_announce(plan, i + 1, &what), 0);
	}
	for (unsigned i = 0; i < sizeof order / sizeof order[0]; i++) {
		assert_true(wt_plan_peek(plan, 0, 0, &work));
		assert_int_equal(work.extent.page, order[i]);
		wt_plan_done(plan, (unsigned)wt_plan_take(plan, 0, 1, 0), 0, 0);
	}
	assert_true(wt_plan_idle(plan));
	wt_plan_close(plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile_announcements),
		cmocka_unit_test(test_digests_are_awaited),
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_repetitions_stay_what_they_are),
		cmocka_unit_test(test_pending_is_bounded),
		cmocka_unit_test(test_scattered_acknowledgements),
		cmocka_unit_test(test_one_writer_per_page),
		cmocka_unit_test(test_parked_ones_keep_their_order),
		cmocka_unit_test(test_priorities),
		cmocka_unit_test(test_repetitions_in_pieces_never_get_stuck),
		cmocka_unit_test(test_memories_are_equal_in_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_plan.c - the four invariants of plan.h, against a model of two memories.
 *
 * The source's pages have versions; the guest writes (a new version), then announces. An operation's pages
 * land one by one, in any order, at any time between take and done; a failed one leaves rubbish. The model
 * knows for every page who transfers it, and for every announcement how much of it has landed.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "plan.h"
#include "seed.h"

#define BLOCKS 3
#define SEQS_MAX 40000
#define RING_PAGES 512
#define RUBBISH UINT64_MAX
#define NONE UINT32_MAX

static const uint64_t block_pages[BLOCKS] = { 64, 7, 300 };

struct model_op {
	bool used;
	uint64_t seq;
	struct wt_work work;
	uint64_t landed[300 / 64 + 1]; /* bits */
};

struct model_seq {
	struct wt_announcement what;
	uint64_t version; /* of its newest page */
	uint64_t *versions;
	uint32_t left, started;
	enum wt_priority waits_as;
	bool acked;
};

static struct {
	struct wt_plan *plan;
	uint64_t clock;
	uint64_t source[BLOCKS][300], mine[BLOCKS][300];
	uint64_t must[BLOCKS][300];  /* the newest version that was acknowledged */
	uint32_t owner[BLOCKS][300]; /* operation */
	uint64_t failed_seq[BLOCKS][300];
	bool landed[BLOCKS][300];
	bool zero[BLOCKS][300]; /* of the source */
	bool dirty[BLOCKS][300];
	uint64_t ring[RING_PAGES];
	uint64_t ring_next, ring_free; /* pages from the beginning */
	struct model_op ops[WT_PLAN_OPS];
	unsigned used[WT_PLAN_OPS], used_count, failed_pages;
	struct model_seq seqs[SEQS_MAX];
	uint64_t next_seq, popped;
} m;

static void open_model(void)
{
	memset(&m, 0, sizeof m);
	memset(m.owner, 0xff, sizeof m.owner);
	m.next_seq = m.popped = 1;
	assert_int_equal(wt_plan_open(BLOCKS, block_pages, &m.plan), 0);
}

static void close_model(void)
{
	wt_plan_close(m.plan);
	for (uint64_t seq = 1; seq < m.next_seq; seq++)
		free(m.seqs[seq].versions);
}

/* ---- who is due ---- */

static bool waits(uint64_t seq)
{
	return m.seqs[seq].started < m.seqs[seq].what.extent.pages;
}

/* Extents that touch the same 64 pages, somewhere. */
static bool near(const struct wt_extent *a, const struct wt_extent *b)
{
	return a->block == b->block && a->page / 64 <= (b->page + b->pages - 1) / 64 &&
	       b->page / 64 <= (a->page + a->pages - 1) / 64;
}

static enum wt_priority lowest_near(const struct wt_announcement *what)
{
	enum wt_priority lowest = what->priority;

	for (uint64_t seq = m.popped; seq < m.next_seq; seq++)
		if (waits(seq) && near(&m.seqs[seq].what.extent, &what->extent) &&
			m.seqs[seq].waits_as < lowest)
			lowest = m.seqs[seq].waits_as;
	return lowest;
}

/* The oldest of the highest priority; next_seq: none waits. */
static uint64_t due(void)
{
	uint64_t best = m.next_seq;

	for (uint64_t seq = m.popped; seq < m.next_seq; seq++)
		if (waits(seq) && (best == m.next_seq || m.seqs[seq].waits_as > m.seqs[best].waits_as))
			best = seq;
	return best;
}

/* Whatever the rule: no older announcement of these pages waits. */
static void check_order(const struct wt_extent *e, uint64_t of)
{
	for (uint64_t seq = m.popped; seq < of; seq++) {
		const struct wt_extent *older = &m.seqs[seq].what.extent;
		uint64_t from = older->page + m.seqs[seq].started;

		check(!waits(seq) || older->block != e->block || from >= e->page + e->pages ||
			e->page >= older->page + older->pages);
	}
}

/* ---- the source ---- */

static void announce(struct wt_announcement what)
{
	const struct wt_extent *e = &what.extent;
	struct model_seq *s = &m.seqs[m.next_seq];

	what.priority = (enum wt_priority)(WT_PRIORITY_BULK + seed_below(WT_PRIORITY_FAULT));
	s->what = what;
	s->waits_as = lowest_near(&what);
	s->left = e->pages;
	s->versions = calloc(e->pages, sizeof *s->versions);
	for (uint32_t i = 0; i < e->pages; i++) {
		s->versions[i] = m.source[e->block][e->page + i];
		if (what.content == WT_CONTENT_STAGED)
			m.ring[(what.staged_offset / WT_PAGE_SIZE + i) % RING_PAGES] = s->versions[i];
		m.dirty[e->block][e->page + i] = false;
	}
	check(wt_plan_announce(m.plan, m.next_seq, &what) == 0);
	m.next_seq++;
}

static void guest_writes(const struct wt_extent *e, bool zero)
{
	for (uint32_t i = 0; i < e->pages; i++) {
		m.source[e->block][e->page + i] = ++m.clock;
		m.zero[e->block][e->page + i] = zero;
		m.dirty[e->block][e->page + i] = true;
	}
}

/* Announces what the guest did to an extent; false while the ring is full. */
static bool announce_extent(const struct wt_extent *e, bool zero)
{
	struct wt_announcement what = { .extent = *e, .content = WT_CONTENT_IN_PLACE };

	if (zero) {
		what.content = WT_CONTENT_ZERO;
	} else if (seed_below(3) == 0 && e->pages <= RING_PAGES / 4) {
		if (m.ring_next + e->pages > m.ring_free + RING_PAGES)
			return false;
		what.content = WT_CONTENT_STAGED;
		what.staged_offset = m.ring_next * WT_PAGE_SIZE;
		m.ring_next += e->pages;
	}
	announce(what);
	return true;
}

static void random_extent(struct wt_extent *ret)
{
	ret->block = (uint32_t)seed_below(BLOCKS);
	ret->page = seed_below(block_pages[ret->block]);
	ret->pages = 1 + (uint32_t)seed_below(block_pages[ret->block] - ret->page);
	if (seed_below(2) && ret->pages > 4)
		ret->pages = 1 + (uint32_t)seed_below(4);
}

static void source_step(void)
{
	struct wt_extent extent;
	bool zero = seed_below(4) == 0;

	if (m.next_seq >= SEQS_MAX || m.next_seq - m.popped > 60)
		return;
	random_extent(&extent);
	guest_writes(&extent, zero);
	if (seed_below(4) == 0 && !zero)
		return; /* written, to be announced later */
	announce_extent(&extent, zero);
}

/* ---- transfers ---- */

static uint64_t content_now(const struct model_op *op, uint32_t i)
{
	const struct wt_work *w = &op->work;

	if (w->content == WT_CONTENT_STAGED)
		return m.ring[(w->staged_offset / WT_PAGE_SIZE + i) % RING_PAGES];
	if (w->content == WT_CONTENT_ZERO) {
		/* Zeros are right unless something newer is announced behind. */
		const struct model_seq *s = &m.seqs[op->seq];

		return s->versions[w->extent.page - s->what.extent.page + i];
	}
	return m.source[w->extent.block][w->extent.page + i];
}

static void land(struct model_op *op, uint32_t i, bool rubbish)
{
	const struct wt_extent *e = &op->work.extent;

	if (op->landed[i / 64] >> (i % 64) & 1)
		return;
	op->landed[i / 64] |= 1ull << (i % 64);
	m.mine[e->block][e->page + i] = rubbish ? RUBBISH : content_now(op, i);
}

/* Which announcement a piece of work belongs to; checks that it is the one that is due. */
static uint64_t seq_of(const struct wt_work *w)
{
	const struct wt_extent *e = &w->extent;
	uint64_t failed = m.failed_seq[e->block][e->page];
	const struct model_seq *s;
	uint64_t skip;

	check(e->block < BLOCKS && e->pages && e->page + e->pages <= block_pages[e->block]);
	check(m.failed_pages ? failed : !failed);
	s = &m.seqs[failed ? failed : due()];
	check(failed || due() < m.next_seq);
	skip = e->page - s->what.extent.page;
	check(w->content == s->what.content && e->block == s->what.extent.block);
	check(failed || skip == s->started);
	check(skip + e->pages <= s->what.extent.pages);
	if (w->content == WT_CONTENT_STAGED)
		check(w->staged_offset == s->what.staged_offset + skip * WT_PAGE_SIZE);
	for (uint32_t i = 0; i < e->pages; i++) {
		check(m.owner[e->block][e->page + i] == NONE);
		check(m.failed_seq[e->block][e->page + i] == failed);
	}
	if (!failed)
		check_order(e, due());
	return failed ? failed : due();
}

static void take(uint32_t pages, const struct wt_work *work, uint64_t seq)
{
	int id = wt_plan_take(m.plan, pages);
	const struct wt_extent *e = &work->extent;
	struct model_op *op;
	bool retry = m.failed_seq[e->block][e->page] != 0;

	check(id >= 0 && (unsigned)id < WT_PLAN_OPS);
	op = &m.ops[id];
	check(!op->used);
	*op = (struct model_op){ .used = true, .seq = seq, .work = *work };
	op->work.extent.pages = pages;
	for (uint32_t i = 0; i < pages; i++) {
		m.owner[e->block][e->page + i] = (uint32_t)id;
		m.failed_seq[e->block][e->page + i] = 0;
		m.landed[e->block][e->page + i] = false;
	}
	m.used[m.used_count++] = (unsigned)id;
	if (retry) {
		m.failed_pages -= pages;
		return;
	}
	m.seqs[seq].started += pages;
}

static bool take_step(void)
{
	struct wt_work work;
	uint32_t pages;
	uint64_t seq;

	if (!wt_plan_peek(m.plan, &work)) {
		/* Right only if nothing failed and the next page is busy, or there is none. */
		check(!m.failed_pages);
		if (due() < m.next_seq) {
			const struct model_seq *s = &m.seqs[due()];
			const struct wt_extent *e = &s->what.extent;

			check(m.owner[e->block][e->page + s->started] != NONE);
		}
		return false;
	}
	seq = seq_of(&work);
	pages = seed_below(2) ? work.extent.pages : 1 + (uint32_t)seed_below(work.extent.pages);
	take(pages, &work, seq);
	return true;
}

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

static void done(unsigned at, bool fails)
{
	unsigned id = m.used[at];
	struct model_op *op = &m.ops[id];
	const struct wt_extent *e = &op->work.extent;

	for (uint32_t i = 0; i < e->pages; i++) {
		if (fails && seed_below(2))
			m.mine[e->block][e->page + i] = RUBBISH;
		else if (!fails)
			land(op, i, false);
		m.owner[e->block][e->page + i] = NONE;
		m.failed_seq[e->block][e->page + i] = fails ? op->seq : 0;
		m.landed[e->block][e->page + i] = !fails;
	}
	if (fails)
		m.failed_pages += e->pages;
	else
		m.seqs[op->seq].left -= e->pages;
	op->used = false;
	m.used[at] = m.used[--m.used_count];
	wt_plan_done(m.plan, id, fails ? -EIO : 0);
}

/* What was acknowledged is there, at this version or a newer one, unless something is on its way again. */
static void check_pages(void)
{
	bool idle = due() == m.next_seq && !m.used_count && !m.failed_pages;

	check(wt_plan_idle(m.plan) == idle);
	check(wt_plan_outstanding(m.plan) == m.used_count);
	check(wt_plan_next_seq(m.plan) == m.next_seq);
	for (unsigned b = 0; b < BLOCKS; b++)
		for (uint64_t p = 0; p < block_pages[b]; p++) {
			check(wt_bitmap_test(wt_plan_landed(m.plan, b), p) == m.landed[b][p]);
			if (m.owner[b][p] == NONE && !m.failed_seq[b][p])
				check(m.mine[b][p] != RUBBISH && m.mine[b][p] >= m.must[b][p]);
		}
}

static void transfer_step(unsigned fail_percent)
{
	struct model_op *op;

	switch (seed_below(4)) {
	case 0:
		take_step();
		break;
	case 1:
		if (m.used_count) {
			op = &m.ops[m.used[seed_below(m.used_count)]];
			land(op, (uint32_t)seed_below(op->work.extent.pages), false);
		}
		break;
	case 2:
		if (m.used_count)
			done((unsigned)seed_below(m.used_count), seed_below(100) < fail_percent);
		break;
	default:
		collect_acks();
	}
}

static void finish(void)
{
	for (unsigned b = 0; b < BLOCKS; b++)
		for (uint32_t p = 0; p < block_pages[b]; p++) {
			struct wt_extent one = { .block = b, .page = p, .pages = 1 };

			while (m.dirty[b][p] && !announce_extent(&one, m.zero[b][p])) {
				while (take_step())
					;
				while (m.used_count)
					done(0, false);
				collect_acks();
			}
		}
	for (unsigned guard = 0; !wt_plan_idle(m.plan); guard++) {
		check(guard < 100000);
		while (take_step())
			;
		check(m.used_count);
		done((unsigned)seed_below(m.used_count), seed_below(10) == 0);
	}
	collect_acks();
	check_pages();
	for (uint64_t seq = 1; seq < m.next_seq; seq++)
		check(m.seqs[seq].acked);
	check(memcmp(m.mine, m.source, sizeof m.mine) == 0);
}

static void random_run(void)
{
	unsigned fail_percent = (unsigned)seed_below(40);

	open_model();
	for (unsigned step = 0; step < 1500; step++) {
		if (seed_below(3) == 0)
			source_step();
		else
			transfer_step(fail_percent);
		if (step % 16 == 0)
			check_pages();
	}
	finish();
	close_model();
}

static void test_memories_are_equal_in_the_end(void **state)
{
	seed_runs(300, random_run);
}

/* ---- small cases ---- */

static const uint64_t one_block[1] = { 10000 };

static struct wt_plan *plan_with(uint32_t extents, uint32_t pages)
{
	struct wt_plan *plan;

	assert_int_equal(wt_plan_open(1, one_block, &plan), 0);
	for (uint32_t i = 0; i < extents; i++) {
		struct wt_announcement what = { .extent = { .page = i * pages, .pages = pages },
			.content = WT_CONTENT_IN_PLACE,
			.priority = WT_PRIORITY_BULK };

		assert_int_equal(wt_plan_announce(plan, i + 1, &what), 0);
	}
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
		{ 1, 0, 0, 1, 4 },
		{ 1, 0, 0, 1, -1 },
	};
	struct wt_plan *plan = plan_with(0, 0);
	struct wt_work work;

	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct wt_announcement what = {
			.extent = { .block = bad[i].block, .page = bad[i].page, .pages = bad[i].pages },
			.content = (enum wt_content)bad[i].content,
			.priority = (enum wt_priority)(WT_PRIORITY_BULK + bad[i].priority)
		};

		assert_int_equal(wt_plan_announce(plan, bad[i].seq, &what), -EPROTO);
	}
	assert_false(wt_plan_peek(plan, &work));
	assert_true(wt_plan_idle(plan));
	wt_plan_close(plan);
}

static void test_pending_is_bounded(void **state)
{
	struct wt_announcement what = {
		.extent = { .page = 1, .pages = 1 }, .content = WT_CONTENT_ZERO, .priority = WT_PRIORITY_BULK
	};
	struct wt_plan *plan = plan_with(0, 0);
	struct wt_seq_range range;
	uint64_t seq = 1;

	for (; seq <= WT_PENDING_ENTRIES; seq++)
		assert_int_equal(wt_plan_announce(plan, seq, &what), 0);
	assert_int_equal(wt_plan_announce(plan, seq, &what), -ENOBUFS);
	wt_plan_done(plan, (unsigned)wt_plan_take(plan, 1), 0);
	assert_int_equal(wt_plan_announce(plan, seq, &what), -ENOBUFS); /* not acknowledged yet */
	assert_int_equal(wt_plan_acks(plan, &range, 1), 1);
	assert_int_equal(wt_plan_announce(plan, seq, &what), 0);
	wt_plan_close(plan);
}

/* Every other announcement lands: as many separate ranges as there can be, and none is lost. */
static void test_scattered_acknowledgements(void **state)
{
	static struct wt_seq_range ranges[WT_PENDING_ENTRIES];
	struct wt_plan *plan = plan_with(5000, 1);
	int ids[WT_PLAN_OPS];
	unsigned taken = 0, count;
	struct wt_work work;

	while (wt_plan_peek(plan, &work) && (ids[taken] = wt_plan_take(plan, 1)) >= 0)
		if (++taken == WT_PLAN_OPS)
			break;
	assert_int_equal(taken, WT_PLAN_OPS);
	assert_int_equal(wt_plan_take(plan, 1), -EAGAIN);
	for (unsigned i = 1; i < taken; i += 2)
		wt_plan_done(plan, (unsigned)ids[i], 0);
	count = wt_plan_acks(plan, ranges, WT_PENDING_ENTRIES);
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

	while (wt_plan_peek(plan, &work)) {
		id = wt_plan_take(plan, work.extent.pages < pages ? work.extent.pages : pages);
		if (id < 0)
			break;
		ids[count++] = (unsigned)id;
	}
	for (unsigned i = 0; i < count; i++) {
		unsigned other = i + (unsigned)seed_below(count - i), chosen = ids[other];

		ids[other] = ids[i];
		wt_plan_done(plan, chosen, status);
	}
	return count;
}

/*
 * As many operations as there can be fail; the last one is long and is repeated page by page, which fails
 * too: now nothing is under way and as much as possible is to be repeated. The plan must not get stuck.
 */
static void test_repetitions_in_pieces_never_get_stuck(void **state)
{
	struct wt_plan *plan = plan_with(WT_PLAN_OPS - 1, 1);
	struct wt_announcement rest = { .extent = { .page = WT_PLAN_OPS - 1,
						.pages = 10000 - WT_PLAN_OPS + 1 },
		.content = WT_CONTENT_IN_PLACE,
		.priority = WT_PRIORITY_BULK };
	struct wt_seq_range range;
	uint64_t acked = 0;
	struct wt_work work;
	int last;

	seed_start(1);
	assert_int_equal(wt_plan_announce(plan, WT_PLAN_OPS, &rest), 0);
	for (unsigned i = 0; i < WT_PLAN_OPS; i++) {
		assert_true(wt_plan_peek(plan, &work));
		last = wt_plan_take(plan, work.extent.pages);
		assert_int_equal(last, i);
	}
	for (unsigned i = 0; i < WT_PLAN_OPS; i++)
		wt_plan_done(plan, i, -EIO);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(round_of(plan, 1, -EIO), WT_PLAN_OPS);
	for (unsigned i = 0; !wt_plan_idle(plan); i++)
		assert_true(i < 10000 && round_of(plan, 1, i % 2 ? -EIO : 0) > 0);
	while (wt_plan_acks(plan, &range, 1))
		acked += range.count;
	assert_int_equal(acked, WT_PLAN_OPS);
	wt_plan_close(plan);
}

/* A newer announcement of a page waits for the older transfer, zeros too, and so do all behind it. */
static void test_one_writer_per_page(void **state)
{
	static const enum wt_content contents[] = { WT_CONTENT_IN_PLACE, WT_CONTENT_ZERO, WT_CONTENT_STAGED };

	for (unsigned i = 0; i < 3; i++) {
		struct wt_announcement again = { .extent = { .page = 3, .pages = 2 },
			.content = contents[i],
			.priority = WT_PRIORITY_BULK };
		struct wt_announcement other = { .extent = { .page = 50, .pages = 1 },
			.content = WT_CONTENT_IN_PLACE,
			.priority = WT_PRIORITY_BULK };
		struct wt_plan *plan = plan_with(1, 4);
		struct wt_seq_range range;
		struct wt_work work;
		int id = wt_plan_take(plan, 4);

		assert_int_equal(wt_plan_announce(plan, 2, &again), 0);
		assert_int_equal(wt_plan_announce(plan, 3, &other), 0);
		assert_false(wt_plan_peek(plan, &work));
		wt_plan_done(plan, (unsigned)id, -EIO); /* page 3 is busy until it is repeated */
		assert_true(wt_plan_peek(plan, &work));
		assert_true(work.extent.page == 0 && work.extent.pages == 4);
		id = wt_plan_take(plan, 4);
		assert_false(wt_plan_peek(plan, &work));
		assert_int_equal(wt_plan_acks(plan, &range, 1), 0);
		wt_plan_done(plan, (unsigned)id, 0);
		assert_true(wt_plan_peek(plan, &work));
		assert_true(work.content == contents[i] && work.extent.page == 3 && work.extent.pages == 2);
		assert_int_equal(wt_plan_acks(plan, &range, 1), 1);
		assert_true(range.first == 1 && range.count == 1);
		wt_plan_close(plan);
	}
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
	struct wt_plan *plan = plan_with(0, 0);
	struct wt_work work;

	for (unsigned i = 0; i < sizeof list / sizeof list[0]; i++) {
		struct wt_announcement what = { .extent = { .page = list[i].page, .pages = 1 },
			.content = WT_CONTENT_IN_PLACE,
			.priority = list[i].priority };

		assert_int_equal(wt_plan_announce(plan, i + 1, &what), 0);
	}
	for (unsigned i = 0; i < sizeof order / sizeof order[0]; i++) {
		assert_true(wt_plan_peek(plan, &work));
		assert_int_equal(work.extent.page, order[i]);
		wt_plan_done(plan, (unsigned)wt_plan_take(plan, 1), 0);
	}
	assert_true(wt_plan_idle(plan));
	wt_plan_close(plan);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile_announcements),
		cmocka_unit_test(test_pending_is_bounded),
		cmocka_unit_test(test_scattered_acknowledgements),
		cmocka_unit_test(test_one_writer_per_page),
		cmocka_unit_test(test_priorities),
		cmocka_unit_test(test_repetitions_in_pieces_never_get_stuck),
		cmocka_unit_test(test_memories_are_equal_in_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

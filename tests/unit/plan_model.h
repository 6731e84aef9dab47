/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * plan_model.h - a model of memories around one plan, page by page: the source's, the helpers', ours.
 *
 * Pages have versions; the guest writes (a new version), then announces. An operation's pages land one by
 * one, in any order, at any time between take and done; a failed one leaves rubbish. The model keeps, for
 * every page, who transfers it, whether it is wanted and who has it, and for every announcement how much of
 * it has landed; each answer of the plan is compared with that. Include it behind cmocka.h.
 */
#ifndef WT_TEST_PLAN_MODEL_H
#define WT_TEST_PLAN_MODEL_H

#include <errno.h>
#include <string.h>

#include "plan.h"
#include "seed.h"

#define BLOCKS 3
#define PAGES_MAX 700
#define SEQS_MAX 40000
#define RING_PAGES 512
#define RUBBISH UINT64_MAX
#define NONE UINT32_MAX
#define HELPERS 3 /* numbers 1 and 2 */
#define PATHS 6

static const uint64_t block_pages[BLOCKS] = { 64, 7, 700 };

enum model_kind { KIND_ANNOUNCED, KIND_BASE, KIND_BOUNCE };

struct model_op {
	bool used;
	enum model_kind kind;
	unsigned path;
	uint64_t seq; /* its announcement; of the base: the first one that is newer */
	struct wt_work work;
	bool landed[PAGES_MAX];
	uint64_t got[PAGES_MAX]; /* bounce */
};

struct model_seq {
	struct wt_announcement what;
	uint64_t *versions;
	uint32_t left, started;
	bool acked, awaits;
	uint64_t *copies; /* of a digested one: the versions that are here already, 0: it is not */
};

struct model_path {
	bool alive, partial; /* partial: reads every other 32 pages of the base only */
	unsigned number, server;
};

static struct {
	struct wt_plan *plan;
	uint64_t clock, now_ns;
	bool reads[BLOCKS]; /* the announcer */
	uint64_t source[BLOCKS][PAGES_MAX], mine[BLOCKS][PAGES_MAX];
	uint64_t helper[HELPERS][BLOCKS][PAGES_MAX];
	bool wanted[BLOCKS][PAGES_MAX], has[HELPERS][BLOCKS][PAGES_MAX];
	uint64_t must[BLOCKS][PAGES_MAX];  /* the newest version that was acknowledged */
	uint32_t owner[BLOCKS][PAGES_MAX]; /* operation that writes it */
	uint64_t failed_seq[BLOCKS][PAGES_MAX], newest_seq[BLOCKS][PAGES_MAX];
	bool zero[BLOCKS][PAGES_MAX]; /* of the source */
	bool dirty[BLOCKS][PAGES_MAX];
	uint64_t ring[RING_PAGES];
	uint64_t ring_next, ring_free; /* pages from the beginning */
	struct model_op ops[WT_PLAN_OPS];
	unsigned used[WT_PLAN_OPS], used_count, failed_pages;
	struct model_seq seqs[SEQS_MAX];
	uint64_t next_seq, popped;
	struct model_path paths[PATHS];
	bool gone[HELPERS], may_lose[HELPERS], spare;
} m;

/* How often, so that a test knows that it happened. */
static struct {
	uint64_t base_ops, bounce_ops, lost_races, asks, overtaken, copied;
} seen;

/* ---- the source ---- */

static bool waits(uint64_t seq)
{
	return m.seqs[seq].started < m.seqs[seq].what.extent.pages;
}

static void announce(struct wt_announcement what)
{
	const struct wt_extent *e = &what.extent;
	struct model_seq *s = &m.seqs[m.next_seq];

	what.priority = (enum wt_priority)(WT_PRIORITY_BULK + seed_below(WT_PRIORITY_FAULT));
	s->what = what;
	s->left = e->pages;
	s->awaits = what.content == WT_CONTENT_IN_PLACE_DIGESTED;
	s->versions = calloc(e->pages, sizeof *s->versions);
	for (uint32_t i = 0; i < e->pages; i++) {
		s->versions[i] = m.source[e->block][e->page + i];
		if (what.content == WT_CONTENT_STAGED)
			m.ring[(what.staged_offset / WT_PAGE_SIZE + i) % RING_PAGES] = s->versions[i];
		m.dirty[e->block][e->page + i] = false;
		m.wanted[e->block][e->page + i] = false;
		m.newest_seq[e->block][e->page + i] = m.next_seq;
		for (unsigned k = 1; k < HELPERS; k++)
			m.has[k][e->block][e->page + i] = false;
	}
	check(wt_plan_announce(m.plan, m.next_seq, &what) == 0);
	m.next_seq++;
}

/* The digests of an announcement have come: some of its pages are here already, as the source has them now.
 */
static void digest(uint64_t seq)
{
	struct model_seq *s = &m.seqs[seq];
	const struct wt_extent *e = &s->what.extent;
	uint64_t equal[WT_PLAN_DIGESTED_WORDS] = { 0 };
	unsigned percent = (unsigned)seed_below(4) * 33;

	s->awaits = false;
	s->copies = calloc(e->pages, sizeof *s->copies);
	for (uint32_t i = 0; i < e->pages; i++)
		if (seed_below(100) < percent) {
			s->copies[i] = m.source[e->block][e->page + i];
			equal[i / 64] |= 1ull << (i % 64);
		}
	check(wt_plan_digested(m.plan, seq, percent ? equal : NULL) == 0);
}

static void digest_all(void)
{
	for (uint64_t seq = m.popped; seq < m.next_seq; seq++)
		if (m.seqs[seq].awaits)
			digest(seq);
}

static void digest_step(void)
{
	for (uint64_t seq = m.popped; seq < m.next_seq; seq++)
		if (m.seqs[seq].awaits && seed_below(3)) {
			digest(seq);
			return;
		}
}

static void guest_writes(const struct wt_extent *e, bool zero)
{
	for (uint32_t i = 0; i < e->pages; i++) {
		m.source[e->block][e->page + i] = ++m.clock;
		m.zero[e->block][e->page + i] = zero;
		m.dirty[e->block][e->page + i] = true;
	}
}

/* Announces an extent; false while the ring is full. */
static bool announce_extent(const struct wt_extent *e, bool zero)
{
	struct wt_announcement what = { .extent = *e, .content = WT_CONTENT_IN_PLACE };
	bool staged = !m.reads[e->block] || seed_below(3) == 0;

	if (zero) {
		what.content = WT_CONTENT_ZERO;
	} else if (staged && e->pages <= RING_PAGES / 4) {
		if (m.ring_next + e->pages > m.ring_free + RING_PAGES)
			return false;
		what.content = WT_CONTENT_STAGED;
		what.staged_offset = m.ring_next * WT_PAGE_SIZE;
		m.ring_next += e->pages;
	} else if (m.reads[e->block] && e->pages <= WT_PLAN_DIGESTED_PAGES && seed_below(2)) {
		what.content = WT_CONTENT_IN_PLACE_DIGESTED;
	}
	announce(what);
	return true;
}

static void random_extent(struct wt_extent *ret)
{
	ret->block = (uint32_t)seed_below(BLOCKS);
	ret->page = seed_below(block_pages[ret->block]);
	ret->pages = 1 + (uint32_t)seed_below(block_pages[ret->block] - ret->page);
	if (seed_below(3) && ret->pages > 4)
		ret->pages = 1 + (uint32_t)seed_below(4);
	if (ret->pages > RING_PAGES / 4)
		ret->pages = RING_PAGES / 4;
}

static void source_step(void)
{
	struct wt_extent extent;
	bool zero = seed_below(4) == 0;

	if (m.next_seq >= SEQS_MAX - 2000 || m.next_seq - m.popped > 60)
		return;
	random_extent(&extent);
	guest_writes(&extent, zero);
	if (seed_below(4) == 0 && !zero)
		return; /* written, to be announced later */
	announce_extent(&extent, zero);
}

/* ---- the base ---- */

static uint64_t model_reach(void *arg, const struct wt_work *work, uint64_t *ret_skip)
{
	const struct model_path *path = arg;
	uint64_t page = work->extent.page;

	if (!path->partial || !m.wanted[work->extent.block][page])
		return work->extent.pages;
	*ret_skip = 32 - page % 32;
	return page / 32 % 2 ? 0 : *ret_skip;
}

/* Pages that were announced in an earlier session: here already, or wanted, and who has them. */
static void random_base(void)
{
	unsigned have = (unsigned)seed_below(100);

	for (unsigned b = 0; b < BLOCKS; b++) {
		for (uint32_t p = 0; p < block_pages[b]; p++) {
			struct wt_extent one = { .block = b, .page = p, .pages = 1 };

			m.source[b][p] = m.mine[b][p] = ++m.clock;
			if (seed_below(100) < 20)
				continue;
			m.mine[b][p] = RUBBISH;
			m.wanted[b][p] = true;
			for (unsigned k = 1; k < HELPERS; k++) {
				m.helper[k][b][p] = RUBBISH;
				if (m.gone[k] || (seed_below(100) >= have && (m.reads[b] || k != 1)))
					continue;
				m.has[k][b][p] = true;
				m.helper[k][b][p] = m.source[b][p];
				check(wt_plan_has(m.plan, k, &one, NULL) == 0);
			}
		}
		/* Bits and ranges come to the same. */
		for (uint64_t p = 0; p < block_pages[b]; p += 64) {
			uint64_t word = 0, pages = block_pages[b] - p < 64 ? block_pages[b] - p : 64;
			struct wt_extent range = { .block = b, .page = p, .pages = (uint32_t)pages };

			for (uint64_t i = 0; i < pages; i++)
				word |= (uint64_t)m.wanted[b][p + i] << i;
			check(wt_plan_need(m.plan, &range, &word) == 0);
		}
		/* The guest may have written already, without having announced it yet. */
		for (uint32_t p = 0; p < block_pages[b]; p++)
			if (m.reads[b] && seed_below(30) == 0)
				guest_writes(&(struct wt_extent){ .block = b, .page = p, .pages = 1 }, false);
	}
	check(wt_plan_base_end(m.plan, m.spare ? WT_PLAN_SPARE_ANNOUNCER : WT_PLAN_FASTEST) == 0);
}

static void path_add(unsigned at, unsigned server)
{
	struct model_path *path = &m.paths[at];
	int number;

	*path = (struct model_path){
		.alive = true, .server = server, .partial = !server && seed_below(3) == 0
	};
	number = wt_plan_path_add(m.plan, server, model_reach, path, m.now_ns);
	check(number >= 0);
	path->number = (unsigned)number;
}

static void open_model(void)
{
	struct wt_plan_block list[BLOCKS];

	memset(&m, 0, sizeof m);
	memset(m.owner, 0xff, sizeof m.owner);
	m.next_seq = m.popped = 1;
	m.now_ns = 1000000000;
	m.spare = seed_below(3) == 0;
	for (unsigned b = 0; b < BLOCKS; b++) {
		m.reads[b] = b != 1 || seed_below(2);
		list[b] = (struct wt_plan_block){ block_pages[b], m.reads[b] };
	}
	for (unsigned k = 1; k < HELPERS; k++)
		m.gone[k] = (k > 1 || m.reads[1]) && seed_below(4) == 0;
	m.may_lose[1] = m.reads[1];
	m.may_lose[2] = true;
	check(wt_plan_open(BLOCKS, list, &m.plan) == 0);
	wt_plan_bounce(m.plan, seed_below(2));
	if (seed_below(4))
		random_base();
	else
		m.gone[1] = m.gone[2] = true;
	for (unsigned i = 0; i < PATHS; i++)
		if (i % HELPERS == 0 || !m.gone[i % HELPERS]) {
			check(i % HELPERS == 0 || wt_plan_server_add(m.plan, i % HELPERS) == 0);
			path_add(i, i % HELPERS);
		}
	if (seed_below(4) == 0)
		wt_plan_limit(m.plan, (unsigned)seed_below(2) ? WT_PLAN_ALL : 0, 200u << 20, m.now_ns);
}

static void close_model(void)
{
	wt_plan_close(m.plan);
	for (uint64_t seq = 1; seq < m.next_seq; seq++) {
		free(m.seqs[seq].versions);
		free(m.seqs[seq].copies);
	}
}

/* ---- transfers ---- */

static uint64_t content_now(const struct model_op *op, uint32_t i)
{
	const struct wt_work *w = &op->work;
	const struct model_seq *s = &m.seqs[op->seq];
	uint64_t page = w->extent.page + i;

	if (w->content == WT_CONTENT_STAGED)
		return m.ring[(w->staged_offset / WT_PAGE_SIZE + i) % RING_PAGES];
	if (w->content == WT_CONTENT_ZERO) /* right unless something newer is announced behind */
		return s->versions[page - s->what.extent.page];
	if (w->content == WT_CONTENT_IN_PLACE_DIGESTED)
		return s->copies[page - s->what.extent.page];
	if (op->kind != KIND_ANNOUNCED && m.paths[op->path].server)
		return m.helper[m.paths[op->path].server][w->extent.block][page];
	return m.source[w->extent.block][page];
}

static void land(struct model_op *op, uint32_t i)
{
	const struct wt_extent *e = &op->work.extent;

	if (op->landed[i])
		return;
	op->landed[i] = true;
	if (op->kind == KIND_BOUNCE) {
		op->got[i] = content_now(op, i);
		return;
	}
	check(m.owner[e->block][e->page + i] == (uint32_t)(op - m.ops));
	m.mine[e->block][e->page + i] = content_now(op, i);
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

/* All pages of the work are here already, or none, as its content says. */
static bool fits_copies(const struct wt_work *w, const struct model_seq *s, uint64_t skip)
{
	if (s->awaits || (w->content != WT_CONTENT_IN_PLACE && w->content != s->what.content))
		return false;
	for (uint32_t i = 0; i < w->extent.pages && skip + i < s->what.extent.pages; i++)
		if ((s->copies[skip + i] != 0) != (w->content == s->what.content))
			return false;
	return true;
}

/* The announcement whose next pages these are. */
static uint64_t seq_of(const struct wt_work *w)
{
	for (uint64_t seq = m.popped; seq < m.next_seq; seq++) {
		const struct model_seq *s = &m.seqs[seq];
		uint64_t skip = w->extent.page - s->what.extent.page;

		if (!waits(seq) || s->what.extent.block != w->extent.block || skip != s->started ||
			!(s->what.content == WT_CONTENT_IN_PLACE_DIGESTED ? fits_copies(w, s, skip)
									  : w->content == s->what.content) ||
			(w->content == WT_CONTENT_STAGED &&
				w->staged_offset != s->what.staged_offset + skip * WT_PAGE_SIZE))
			continue;
		check(skip + w->extent.pages <= s->what.extent.pages);
		check(w->content != WT_CONTENT_IN_PLACE_DIGESTED || w->seq == seq);
		return seq;
	}
	check(!"no announcement fits");
	return 0;
}

/* What kind of work this is; checks that it may be started over this path. */
static struct model_op classify(const struct wt_work *w, const struct model_path *path)
{
	const struct wt_extent *e = &w->extent;
	struct model_op op = { .used = true, .work = *w, .path = (unsigned)(path - m.paths) };
	uint64_t failed;

	check(e->block < BLOCKS && e->pages && e->page + e->pages <= block_pages[e->block]);
	failed = m.failed_seq[e->block][e->page];
	for (uint32_t i = 0; i < e->pages; i++) {
		if (w->bounce)
			break; /* does not write the pages */
		check(m.owner[e->block][e->page + i] == NONE);
		check(m.failed_seq[e->block][e->page + i] == failed);
	}
	if (failed && !w->bounce) {
		check(!path->server);
		op.seq = failed;
	} else if (w->bounce || m.wanted[e->block][e->page]) {
		op.kind = w->bounce ? KIND_BOUNCE : KIND_BASE;
		op.seq = m.next_seq;
		check(path->server || m.reads[e->block]);
		for (uint32_t i = 0; i < e->pages; i++) {
			uint64_t p = e->page + i;

			check(w->bounce || m.wanted[e->block][p]);
			check(!path->server || m.has[path->server][e->block][p]);
			check(path->server || !m.spare || (!m.has[1][e->block][p] && !m.has[2][e->block][p]));
		}
	} else {
		check(!path->server);
		op.seq = seq_of(w);
		check_order(e, op.seq);
	}
	return op;
}

static bool take_step(struct model_path *path)
{
	struct wt_work work;
	struct model_op op;
	uint32_t pages;
	int id;

	if (!path->alive || !wt_plan_peek(m.plan, path->number, m.now_ns, &work))
		return false;
	op = classify(&work, path);
	pages = seed_below(2) ? work.extent.pages : 1 + (uint32_t)seed_below(work.extent.pages);
	id = wt_plan_take(m.plan, path->number, pages, m.now_ns);
	if (id < 0) {
		check(id == -EAGAIN && op.kind == KIND_BOUNCE && pages < work.extent.pages);
		return false;
	}
	check((unsigned)id < WT_PLAN_OPS && !m.ops[id].used);
	op.work.extent.pages = pages;
	m.ops[id] = op;
	m.used[m.used_count++] = (unsigned)id;
	seen.copied += work.content == WT_CONTENT_IN_PLACE_DIGESTED;
	seen.base_ops += op.kind == KIND_BASE;
	seen.bounce_ops += op.kind == KIND_BOUNCE;
	if (op.kind == KIND_BOUNCE)
		return true;
	for (uint32_t i = 0; i < pages; i++) {
		uint64_t p = work.extent.page + i;

		m.owner[work.extent.block][p] = (uint32_t)id;
		m.wanted[work.extent.block][p] = false;
		m.failed_pages -= m.failed_seq[work.extent.block][p] != 0;
		if (op.kind == KIND_ANNOUNCED && !m.failed_seq[work.extent.block][p])
			m.seqs[op.seq].started++;
		m.failed_seq[work.extent.block][p] = 0;
	}
	return true;
}

static void settle(struct model_op *op, unsigned id)
{
	struct wt_extent copies[WT_PLAN_COPIES];
	const struct wt_extent *e = &op->work.extent;
	unsigned count = wt_plan_settle(m.plan, id, copies, m.now_ns);
	uint32_t copied = 0;

	check(count <= WT_PLAN_COPIES);
	for (unsigned c = 0; c < count; c++)
		for (uint32_t i = 0; i < copies[c].pages; i++) {
			uint64_t p = copies[c].page + i;

			check(copies[c].block == e->block && p >= e->page && p < e->page + e->pages);
			check(m.wanted[e->block][p] && m.owner[e->block][p] == NONE);
			m.wanted[e->block][p] = false;
			m.mine[e->block][p] = op->got[p - e->page];
			copied++;
		}
	for (uint32_t i = 0; i < e->pages; i++)
		check(!m.wanted[e->block][e->page + i]);
	seen.lost_races += copied == 0;
}

static void done(unsigned at, bool fails)
{
	unsigned id = m.used[at];
	struct model_op *op = &m.ops[id];
	const struct wt_extent *e = &op->work.extent;

	m.used[at] = m.used[--m.used_count];
	op->used = false;
	for (uint32_t i = 0; i < e->pages && !fails; i++)
		land(op, i);
	if (op->kind == KIND_BOUNCE) {
		if (fails)
			wt_plan_done(m.plan, id, -EIO, m.now_ns);
		else
			settle(op, id);
		return;
	}
	for (uint32_t i = 0; i < e->pages; i++) {
		uint64_t p = e->page + i;

		if (fails && seed_below(2))
			m.mine[e->block][p] = RUBBISH;
		m.owner[e->block][p] = NONE;
		if (op->kind == KIND_BASE && fails) {
			m.wanted[e->block][p] = m.newest_seq[e->block][p] < op->seq;
			seen.overtaken += !m.wanted[e->block][p];
		} else if (fails) {
			m.failed_seq[e->block][p] = op->seq;
			m.failed_pages++;
		}
	}
	if (op->kind == KIND_ANNOUNCED && !fails)
		m.seqs[op->seq].left -= e->pages;
	wt_plan_done(m.plan, id, fails ? -EIO : 0, m.now_ns);
}

static void path_dies(struct model_path *path)
{
	for (unsigned i = m.used_count; i-- > 0;)
		if (&m.paths[m.ops[m.used[i]].path] == path)
			done(i, true);
	wt_plan_path_remove(m.plan, path->number);
	path->alive = false;
}

static void helper_dies(unsigned k)
{
	for (unsigned i = 0; i < PATHS; i++)
		if (m.paths[i].alive && m.paths[i].server == k)
			path_dies(&m.paths[i]);
	wt_plan_server_remove(m.plan, k);
	m.gone[k] = true;
	memset(m.has[k], 0, sizeof m.has[k]);
}

#endif

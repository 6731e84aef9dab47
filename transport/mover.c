/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mover.c - from plan to posts and back. See mover.h.
 *
 *   1. A post's cookie is the plan's operation id; every id that was taken is given back to the plan once.
 *   2. Work goes to the path that is least full; how much a path may have under way the plan says. A path
 * that can do nothing now (full, or of a fabric on which its server has no regions any more) does not keep
 * the others from working.
 *   3. A turn is bounded: zeros and copies are made LOCAL_BYTES at a time, so that the session stays alive
 * meanwhile.
 *   4. Reads that a living path answers with a refusal are repeated, but not for ever.
 *   5. Memory that is not there is never touched by ourselves (sink.h); whoever else touches it says EFAULT,
 * and the session ends.
 *   6. What was pulled into a bounce buffer is copied in the very call in which the plan has said which
 * pages.
 *   7. Nothing is written into a page before `ahead` was told: not a zero, not a copy, and a read before it
 * is posted.
 */
#include "mover.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "populate.h"
#include "spin.h"

#define BATCH 32
#define LOCAL_BYTES (64ull << 20)
#define ASKS_MAX 16
/* How long refusals are put up with: the keys may just be changing while the control connection is away. */
#define REFUSED_NS 8000000000ull

struct lane {
	const struct wt_fabric_ops *ops;
	struct wt_path *path;
	unsigned server, plan_path;
	unsigned listener; /* by which it came */
	unsigned posts;    /* under way */
};

/* A post; the index is the plan's operation id. */
struct post {
	struct wt_path *path; /* NULL: not under way */
	struct wt_extent extent;
	uint8_t *bounce; /* NULL: straight into the pages */
	struct wt_sink *sink;
};

struct wt_mover {
	struct wt_loop *loop;
	unsigned block_count;
	struct wt_sink_block *blocks;
	struct wt_plan *plan;
	struct wt_remote_regions remote[WT_PLAN_SERVERS][WT_MOVER_FABRICS];
	struct wt_sink *sinks[WT_MOVER_FABRICS];
	struct wt_populate *populate; /* NULL: not needed yet, or there is none */
	unsigned lane_count, next_lane;
	struct lane lanes[WT_MOVER_PATHS_MAX];
	struct post posts[WT_PLAN_OPS];
	struct wt_lost lost[WT_PLAN_SERVERS]; /* for wt_mover_lost */
	struct wt_extent asks[ASKS_MAX];
	unsigned ask_count;
	wt_mover_copy copy;
	void *copy_arg;
	struct wt_ahead *ahead; /* NULL: nobody wants to know what is written */
	struct wt_timer wake;
	struct wt_spin spin;
	uint64_t local_bytes; /* zeros and copies in this turn */
	/* Reads are answered with refusals since then, 0: they are not; by server. */
	uint64_t refused_since_ns[WT_PLAN_SERVERS];
	struct wt_puller_stats stats;
};

static void writes(struct wt_mover *m, const struct wt_extent *extent)
{
	if (m->ahead)
		wt_ahead_written(m->ahead, extent);
}

static void has_landed(struct wt_mover *m, const struct wt_extent *extent)
{
	if (m->ahead)
		wt_ahead_landed(m->ahead, extent);
}

static uint64_t extent_bytes(const struct wt_extent *extent)
{
	return (uint64_t)extent->pages << WT_PAGE_SHIFT;
}

int wt_mover_open(struct wt_loop *loop, struct wt_mover **ret_mover)
{
	struct wt_mover *m = calloc(1, sizeof *m);

	if (!m)
		return -ENOMEM;
	m->loop = loop;
	for (unsigned fabric = 0; fabric < WT_MOVER_FABRICS; fabric++)
		m->remote[0][fabric].ring_last = true;
	*ret_mover = m;
	return 0;
}

static void lane_close(struct wt_mover *m, struct lane *lane)
{
	wt_loop_fd_clear(m->loop, lane->ops->fd(lane->path));
	lane->ops->close(lane->path);
	*lane = m->lanes[--m->lane_count];
}

static bool has_lane(const struct wt_mover *m, int server, enum wt_fabric fabric)
{
	for (unsigned i = 0; i < m->lane_count; i++)
		if (m->lanes[i].ops->fabric == fabric &&
			(server < 0 || m->lanes[i].server == (unsigned)server))
			return true;
	return false;
}

static bool has_lane_by(const struct wt_mover *m, unsigned server, enum wt_fabric fabric, unsigned listener)
{
	for (unsigned i = 0; i < m->lane_count; i++)
		if (m->lanes[i].ops->fabric == fabric && m->lanes[i].server == server &&
			m->lanes[i].listener == listener)
			return true;
	return false;
}

/* The post is over; answers its bounce buffer's end. */
static void post_end(struct post *post)
{
	if (post->bounce)
		wt_sink_bounce_give(post->sink, post->bounce);
	*post = (struct post){ 0 };
}

/* Closes a path that may have work under way: closed is silent, so that work can be given back. */
static void lane_abandon(struct wt_mover *m, struct lane *lane)
{
	struct lane was = *lane;

	lane_close(m, lane);
	for (unsigned id = 0; id < WT_PLAN_OPS; id++) {
		if (m->posts[id].path != was.path)
			continue;
		m->stats.repeated_pages += m->posts[id].extent.pages;
		post_end(&m->posts[id]);
		wt_plan_done(m->plan, id, -ECONNABORTED, wt_loop_now_ns(m->loop));
	}
	wt_plan_path_remove(m->plan, was.plan_path);
}

/* It has failed, or stalled; its server may not see that by itself. */
static void lane_lost(struct wt_mover *m, struct lane *lane)
{
	enum wt_fabric fabric = lane->ops->fabric;
	unsigned server = lane->server, listener = lane->listener;

	lane_abandon(m, lane);
	if (!has_lane(m, (int)server, fabric))
		m->lost[server].fabrics |= WT_FABRIC_BIT(fabric);
	else if (!has_lane_by(m, server, fabric, listener))
		m->lost[server].listeners[fabric] |= 1u << listener;
}

void wt_mover_stop(struct wt_mover *m)
{
	while (m->lane_count)
		lane_lost(m, &m->lanes[m->lane_count - 1]);
}

/* Paths that come later open it anew, perhaps on another device; until then nothing stays pinned. */
static void close_unused_sinks(struct wt_mover *m)
{
	for (unsigned fabric = 0; fabric < WT_MOVER_FABRICS; fabric++)
		if (!has_lane(m, -1, (enum wt_fabric)fabric)) {
			wt_sink_close(m->sinks[fabric]);
			m->sinks[fabric] = NULL;
		}
}

void wt_mover_close(struct wt_mover *m)
{
	if (!m)
		return;
	wt_mover_stop(m);
	wt_populate_close(m->populate);
	close_unused_sinks(m);
	wt_loop_timer_clear(m->loop, &m->wake);
	for (unsigned server = 0; server < WT_PLAN_SERVERS; server++)
		for (unsigned fabric = 0; fabric < WT_MOVER_FABRICS; fabric++)
			wt_remote_free(&m->remote[server][fabric]);
	wt_plan_close(m->plan);
	free(m->blocks);
	free(m);
}

int wt_mover_block_add(struct wt_mover *m, const struct wt_sink_block *block)
{
	struct wt_sink_block *blocks = realloc(m->blocks, (m->block_count + 1) * sizeof *blocks);

	if (!blocks)
		return -ENOMEM;
	m->blocks = blocks;
	m->blocks[m->block_count++] = *block;
	return 0;
}

int wt_mover_start(struct wt_mover *m)
{
	struct wt_plan_block *list = calloc(m->block_count + 1, sizeof *list);
	int r;

	if (!list)
		return -ENOMEM;
	for (unsigned i = 0; i < m->block_count; i++)
		list[i] = (struct wt_plan_block){ m->blocks[i].length >> WT_PAGE_SHIFT, true };
	r = wt_plan_open(m->block_count, list, &m->plan);
	free(list);
	if (!r)
		wt_plan_bounce(m->plan, true);
	return r;
}

int wt_mover_restart(struct wt_mover *m)
{
	wt_mover_stop(m);
	close_unused_sinks(m);
	for (unsigned server = 0; server < WT_PLAN_SERVERS; server++) {
		m->lost[server] = (struct wt_lost){ 0 };
		m->refused_since_ns[server] = 0;
		for (unsigned fabric = 0; fabric < WT_MOVER_FABRICS; fabric++)
			wt_remote_clear(&m->remote[server][fabric]);
	}
	m->ask_count = 0;
	wt_plan_close(m->plan);
	m->plan = NULL;
	return wt_mover_start(m);
}

/* Over verbs registering memory populates it. Memory that is no file is not shared. */
void wt_mover_expect(struct wt_mover *m, const struct wt_extent *extent)
{
	const struct wt_sink_block *block = &m->blocks[extent->block];

	if (m->sinks[WT_FABRIC_VERBS]) {
		wt_sink_expect(m->sinks[WT_FABRIC_VERBS], extent->block, extent->page << WT_PAGE_SHIFT,
			extent_bytes(extent));
		return;
	}
	if ((!m->sinks[WT_FABRIC_TCP] && !m->sinks[WT_FABRIC_TLS]) || block->fd < 0)
		return;
	if (!m->populate && wt_populate_open(&m->populate))
		return;
	wt_populate_add(m->populate, block->base + (extent->page << WT_PAGE_SHIFT), extent_bytes(extent));
}

struct wt_plan *wt_mover_plan(struct wt_mover *m)
{
	return m->plan;
}

/* ---- where things lie ---- */

int wt_mover_region_add(struct wt_mover *m, unsigned server, const struct wt_wire_region *region)
{
	const struct wt_sink_block *block;
	int r;

	if (region->fabric < WT_FABRIC_TCP || region->fabric >= WT_MOVER_FABRICS)
		return -EPROTO;
	if (region->block != WT_WIRE_RING) {
		if (region->block >= m->block_count)
			return -EPROTO;
		block = &m->blocks[region->block];
		if (region->offset > block->length || region->key.length > block->length - region->offset)
			return -EPROTO;
	}
	r = wt_remote_add(&m->remote[server][region->fabric], region);
	wt_plan_reach_changed(m->plan);
	return r;
}

void wt_mover_regions_clear(struct wt_mover *m, unsigned server, enum wt_fabric fabric)
{
	for (unsigned i = m->lane_count; i-- > 0;)
		if (m->lanes[i].ops->fabric == fabric && m->lanes[i].server == server)
			lane_abandon(m, &m->lanes[i]);
	m->refused_since_ns[server] = 0;
	wt_remote_clear(&m->remote[server][fabric]);
	close_unused_sinks(m);
}

void wt_mover_server_remove(struct wt_mover *m, unsigned server)
{
	for (unsigned fabric = WT_FABRIC_TCP; fabric < WT_MOVER_FABRICS; fabric++)
		wt_mover_regions_clear(m, server, (enum wt_fabric)fabric);
	m->lost[server] = (struct wt_lost){ 0 };
	wt_plan_server_remove(m->plan, server);
}

/* ---- paths ---- */

int wt_mover_endpoint(struct wt_mover *m, const struct wt_fabric_ops *ops, const char *device,
	const char *peer_host, struct wt_endpoint **ret_endpoint, struct wt_error *err)
{
	struct wt_endpoint *endpoint;
	int r;

	if (!m->sinks[ops->fabric]) {
		r = ops->endpoint_open(device, peer_host, &endpoint, err);
		if (r)
			return r;
		r = wt_sink_open(ops, endpoint, m->blocks, m->block_count, &m->sinks[ops->fabric]);
		if (r) {
			ops->endpoint_close(endpoint);
			return wt_error_set(err, -r, "no memory for a table of regions");
		}
		/* Without it memory is registered when it is needed. Over tcp there is nothing to register.
		 */
		if (ops->fabric == WT_FABRIC_VERBS)
			wt_sink_background(m->sinks[ops->fabric], m->loop);
	}
	*ret_endpoint = wt_sink_endpoint(m->sinks[ops->fabric]);
	return 0;
}

/* Waking the loop is all that is needed: the owner's busy hook takes the turn. */
static void path_readable(void *arg, uint32_t events)
{
}

int wt_mover_path_add(struct wt_mover *m, unsigned server, const struct wt_fabric_ops *ops,
	struct wt_path *path, unsigned listener)
{
	int r, plan_path;

	if (m->lane_count == WT_MOVER_PATHS_MAX)
		return -ENOSPC;
	r = wt_loop_fd_set(m->loop, ops->fd(path), EPOLLIN, path_readable, m);
	if (r)
		return r;
	plan_path = wt_plan_path_add(
		m->plan, server, wt_remote_reach, &m->remote[server][ops->fabric], wt_loop_now_ns(m->loop));
	m->lanes[m->lane_count++] = (struct lane){ .ops = ops,
		.path = path,
		.server = server,
		.plan_path = (unsigned)plan_path,
		.listener = listener };
	m->stats.fabric = ops->fabric;
	return 0;
}

/* The path lives, but not what it was asked for. */
static bool refusal(int status)
{
	return status == -EACCES || status == -ERANGE || status == -EFAULT;
}

/* Who says EFAULT may be either end: it is ours if there is no memory to be read into. */
static void look_for_memory(struct wt_mover *m, const struct wt_extent *extent, struct wt_error *err)
{
	wt_sink_populate(&m->blocks[extent->block], extent->page << WT_PAGE_SHIFT, extent_bytes(extent), err);
}

/* Into the pages what has come into a bounce buffer, as far as they are wanted still. */
static void settle(struct wt_mover *m, unsigned id, const struct post *post, struct wt_error *err)
{
	struct wt_extent copies[WT_PLAN_COPIES];
	const struct wt_sink_block *block = &m->blocks[post->extent.block];
	unsigned count = wt_plan_settle(m->plan, id, copies, wt_loop_now_ns(m->loop));

	for (unsigned i = 0; i < count && !err->code; i++) {
		uint64_t offset = copies[i].page << WT_PAGE_SHIFT;
		uint64_t skip = offset - (post->extent.page << WT_PAGE_SHIFT);

		writes(m, &copies[i]);
		if (wt_sink_populate(block, offset, extent_bytes(&copies[i]), err) == 0) {
			memcpy(block->base + offset, post->bounce + skip, extent_bytes(&copies[i]));
			has_landed(m, &copies[i]);
		}
	}
}

static void completed(
	struct wt_mover *m, struct lane *lane, const struct wt_completion *completion, struct wt_error *err)
{
	unsigned id = (unsigned)completion->cookie;
	struct post post = m->posts[id];

	lane->posts--;
	if (!completion->status)
		m->refused_since_ns[lane->server] = 0;
	else if (refusal(completion->status) && !m->refused_since_ns[lane->server])
		m->refused_since_ns[lane->server] = wt_loop_now_ns(m->loop);
	if (completion->status == -EFAULT)
		look_for_memory(m, &post.extent, err);
	if (completion->status) {
		m->stats.repeated_pages += post.extent.pages;
	} else {
		m->stats.pulled_bytes[lane->ops->fabric] += extent_bytes(&post.extent);
		m->stats.server_bytes[lane->server] += extent_bytes(&post.extent);
		m->stats.pulled_pages += post.extent.pages;
	}
	if (!post.bounce && !completion->status)
		has_landed(m, &post.extent);
	if (post.bounce && !completion->status)
		settle(m, id, &post, err);
	else
		wt_plan_done(m->plan, id, completion->status, wt_loop_now_ns(m->loop));
	post_end(&m->posts[id]);
}

/* Answers whether something completed; *ret_dead: the path has failed and is silent. */
static bool poll_lane(struct wt_mover *m, struct lane *lane, bool *ret_dead, struct wt_error *err)
{
	struct wt_completion completions[BATCH];
	bool any = false;
	int n;

	while ((n = lane->ops->poll(lane->path, completions, BATCH)) > 0) {
		any = true;
		for (int i = 0; i < n; i++)
			completed(m, lane, &completions[i], err);
	}
	*ret_dead = n < 0;
	assert(n >= 0 || !lane->posts);
	if (any)
		wt_spin_news(&m->spin, wt_loop_now_ns(m->loop));
	return any;
}

/* ---- work ---- */

int wt_mover_zero(struct wt_mover *m, const struct wt_extent *extent, struct wt_error *err)
{
	m->stats.zero_pages += extent->pages;
	writes(m, extent);
	return wt_sink_zero(
		&m->blocks[extent->block], extent->page << WT_PAGE_SHIFT, extent_bytes(extent), err);
}

const struct wt_sink_block *wt_mover_block(const struct wt_mover *m, uint32_t block)
{
	return &m->blocks[block];
}

void wt_mover_copies(struct wt_mover *m, wt_mover_copy copy, void *arg)
{
	m->copy = copy;
	m->copy_arg = arg;
}

void wt_mover_ahead(struct wt_mover *m, struct wt_ahead *ahead)
{
	m->ahead = ahead;
}

/* What is here already. */
static int fill_copy(struct wt_mover *m, const struct wt_work *work, struct wt_error *err)
{
	m->stats.replica_pages += work->extent.pages;
	return m->copy(m->copy_arg, work, &m->blocks[work->extent.block], err);
}

/* Work that needs no path. 1: done; 0: another turn will; -errno with err filled: it cannot be done. */
static int fill_local(
	struct wt_mover *m, unsigned plan_path, const struct wt_work *work, struct wt_error *err)
{
	uint64_t now_ns = wt_loop_now_ns(m->loop);
	int id = -EAGAIN, r;

	if (m->local_bytes < LOCAL_BYTES)
		id = wt_plan_take(m->plan, plan_path, work->extent.pages, now_ns);

	if (id < 0)
		return 0;
	r = work->content == WT_CONTENT_ZERO ? wt_mover_zero(m, &work->extent, err) : fill_copy(m, work, err);
	if (r) {
		wt_plan_done(m->plan, (unsigned)id, r, now_ns);
		return r;
	}
	m->local_bytes += extent_bytes(&work->extent);
	wt_plan_done(m->plan, (unsigned)id, 0, now_ns);
	return 1;
}

/* Where the work's bytes shall go: *ret_bytes of them at most. -EAGAIN: not now. */
static int place(struct wt_mover *m, struct lane *lane, const struct wt_work *work, struct wt_op *op,
	uint64_t *ret_bytes, struct wt_error *err)
{
	struct wt_sink *sink = m->sinks[lane->ops->fabric];
	uint64_t offset = work->extent.page << WT_PAGE_SHIFT;
	uint8_t *buffer;
	int r;

	if (!work->bounce) {
		op->local = m->blocks[work->extent.block].base + offset;
		return wt_sink_region(sink, work->extent.block, offset, &op->local_region, ret_bytes, err);
	}
	r = wt_sink_bounce_take(sink, &buffer, &op->local_region);
	if (r && r != -EAGAIN)
		wt_plan_bounce(m->plan, false); /* it goes without */
	op->local = buffer;
	*ret_bytes = WT_PATH_READ_MAX;
	return r ? -EAGAIN : 0;
}

/* The next work for this lane that needs a path; other work is done. 1: *work; otherwise like next_op. */
static int next_work(struct wt_mover *m, struct lane *lane, struct wt_work *work, struct wt_error *err)
{
	while (wt_plan_peek(m->plan, lane->plan_path, wt_loop_now_ns(m->loop), work)) {
		int r;

		if (!wt_work_is_local(work))
			return 1;
		r = fill_local(m, lane->plan_path, work, err);
		if (r <= 0)
			return r;
	}
	return 0;
}

/*
 * Takes the next work for this lane as one post. 1: *op is filled; 0: nothing for now; -errno with err
 * filled: the session cannot go on.
 */
static int next_op(struct wt_mover *m, struct lane *lane, struct wt_op *op, struct wt_error *err)
{
	uint64_t bytes, local_bytes;
	struct wt_work work;
	int id, r = next_work(m, lane, &work, err);

	if (r <= 0)
		return r;
	bytes = wt_remote_locate(&m->remote[lane->server][lane->ops->fabric], &work, op);
	if (!bytes)
		return 0;
	r = place(m, lane, &work, op, &local_bytes, err);
	if (r)
		return r == -EAGAIN ? 0 : r;
	if (bytes > extent_bytes(&work.extent))
		bytes = extent_bytes(&work.extent);
	if (bytes > local_bytes)
		bytes = local_bytes;
	if (bytes > WT_PATH_READ_MAX)
		bytes = WT_PATH_READ_MAX;
	bytes -= bytes % WT_PAGE_SIZE;
	if (!bytes)
		return wt_error_set(err, EPROTO, "the server announced memory that its ring cannot hold");
	work.extent.pages = (uint32_t)(bytes >> WT_PAGE_SHIFT);
	id = wt_plan_take(m->plan, lane->plan_path, work.extent.pages, wt_loop_now_ns(m->loop));
	if (id < 0) {
		if (work.bounce)
			wt_sink_bounce_give(m->sinks[lane->ops->fabric], op->local);
		return 0;
	}
	if (!work.bounce)
		writes(m, &work.extent);
	op->kind = WT_OP_READ;
	op->length = (uint32_t)bytes;
	op->cookie = (unsigned)id;
	m->posts[id] = (struct post){ .extent = work.extent,
		.bounce = work.bounce ? op->local : NULL,
		.sink = m->sinks[lane->ops->fabric] };
	return 1;
}

/* Posts up to BATCH reads on one lane; answers how many, or -errno with err filled. */
static int fill_lane(struct wt_mover *m, struct lane *lane, struct wt_error *err)
{
	struct wt_op ops[BATCH];
	unsigned room = lane->ops->depth(lane->path) - lane->posts, count = 0;
	int taken, r = 0;

	while (count < BATCH && count < room) {
		ops[count] = (struct wt_op){ 0 };
		r = next_op(m, lane, &ops[count], err);
		if (r <= 0)
			break;
		count++;
	}
	if (!count)
		return r;
	taken = lane->ops->post(lane->path, ops, count);
	for (unsigned i = taken < 0 ? 0 : (unsigned)taken; i < count; i++) {
		post_end(&m->posts[ops[i].cookie]);
		wt_plan_done(m->plan, (unsigned)ops[i].cookie, -EAGAIN, wt_loop_now_ns(m->loop));
	}
	for (int i = 0; i < taken; i++) {
		lane->posts++;
		m->posts[ops[i].cookie].path = lane->path;
	}
	return r < 0 ? r : taken > 0 ? taken : 0;
}

/* One batch for the lane that is least full, of several such for each in turn; if it can do nothing now, for
 * the next one. */
static bool fill_one(struct wt_mover *m, struct wt_error *err)
{
	unsigned load[WT_MOVER_PATHS_MAX];
	uint64_t tried = 0;

	_Static_assert(WT_MOVER_PATHS_MAX <= 64, "one bit per lane");
	for (unsigned i = 0; i < m->lane_count; i++)
		load[i] = wt_plan_path_load(m->plan, m->lanes[i].plan_path, wt_loop_now_ns(m->loop));
	for (unsigned round = 0; round < m->lane_count && !err->code; round++) {
		unsigned best = m->lane_count;

		for (unsigned n = 0; n < m->lane_count; n++) {
			unsigned i = (m->next_lane + n) % m->lane_count;

			if (!(tried >> i & 1) && (best == m->lane_count || load[i] < load[best]))
				best = i;
		}
		if (fill_lane(m, &m->lanes[best], err) > 0) {
			m->next_lane = best + 1;
			return true;
		}
		tried |= 1ull << best;
	}
	return false;
}

void wt_mover_lost(struct wt_mover *m, unsigned server, struct wt_lost *ret_lost)
{
	*ret_lost = m->lost[server];
	m->lost[server] = (struct wt_lost){ 0 };
}

bool wt_mover_ask(struct wt_mover *m, struct wt_extent *ret_extent)
{
	if (!m->ask_count)
		return false;
	*ret_extent = m->asks[--m->ask_count];
	return true;
}

/* What the plan wants done besides. */
static void obey(struct wt_mover *m, struct wt_error *err)
{
	struct wt_plan_action action;

	while (m->ask_count < ASKS_MAX && wt_plan_tick(m->plan, wt_loop_now_ns(m->loop), &action)) {
		if (action.act == WT_PLAN_ASK)
			m->asks[m->ask_count++] = action.extent;
		else if (action.act == WT_PLAN_ORPHANED)
			wt_error_set(err, ENODATA,
				"pages that only a server had which is gone are lost: block %s from page %llu on",
				m->blocks[action.extent.block].name, (unsigned long long)action.extent.page);
		for (unsigned i = m->lane_count; action.act == WT_PLAN_CLOSE_PATH && i-- > 0;)
			if (m->lanes[i].plan_path == action.path)
				lane_lost(m, &m->lanes[i]);
	}
}

static bool refuses(const struct wt_mover *m, unsigned server)
{
	uint64_t since_ns = m->refused_since_ns[server];

	return since_ns && wt_loop_now_ns(m->loop) - since_ns > REFUSED_NS;
}

unsigned wt_mover_refuser(const struct wt_mover *m)
{
	for (unsigned server = 1; server < WT_PLAN_SERVERS; server++)
		if (refuses(m, server))
			return server;
	return 0;
}

bool wt_mover_turn(struct wt_mover *m, struct wt_error *err)
{
	bool any = false, dead;
	struct wt_work work;

	if (!m->plan)
		return false;
	for (unsigned i = m->lane_count; i-- > 0;) {
		any |= poll_lane(m, &m->lanes[i], &dead, err);
		if (dead)
			lane_lost(m, &m->lanes[i]);
	}
	if (refuses(m, 0)) {
		wt_error_set(err, EACCES, "the server refuses to let memory be read that it has announced");
		return false;
	}
	m->local_bytes = 0;
	obey(m, err);
	while (!err->code && wt_plan_peek(m->plan, WT_PLAN_NO_PATH, wt_loop_now_ns(m->loop), &work))
		if (fill_local(m, WT_PLAN_NO_PATH, &work, err) <= 0)
			break;
	while (!err->code && fill_one(m, err))
		any = true;
	return any || m->local_bytes;
}

/* As with a path's descriptor. */
static void woken(void *arg, uint64_t now_ns)
{
}

/* Something is under way of which one hears by looking at memory: over tcp each look is a system call. */
static bool awaits(const struct wt_mover *m)
{
	for (unsigned i = 0; i < m->lane_count; i++)
		if (m->lanes[i].posts && m->lanes[i].ops->fabric == WT_FABRIC_VERBS)
			return true;
	return false;
}

bool wt_mover_arm(struct wt_mover *m)
{
	uint64_t now_ns = wt_loop_now_ns(m->loop), wake_ns = wt_plan_wake_ns(m->plan, now_ns);
	bool quiet = true;

	if (!awaits(m))
		wt_spin_rest(&m->spin);
	else if (wt_spin_again(&m->spin, now_ns))
		return false;
	wt_loop_timer_clear(m->loop, &m->wake);
	if (wake_ns != UINT64_MAX)
		wt_loop_timer_set(m->loop, &m->wake, wake_ns, woken, m);
	for (unsigned i = 0; i < m->lane_count; i++)
		if (m->lanes[i].ops->arm(m->lanes[i].path))
			quiet = false;
	return quiet;
}

void wt_mover_stats(const struct wt_mover *m, struct wt_puller_stats *ret_stats)
{
	*ret_stats = m->stats;
	ret_stats->paths = m->lane_count;
}

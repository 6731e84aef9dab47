/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mover.c - from plan to posts and back. See mover.h.
 *
 *   1. A post's cookie is the plan's operation id; every id that was taken is given back by wt_plan_done
 * once.
 *   2. Work goes to the path that is least full; how much a path may have under way the plan says, so that
 * the last extents are spread over all paths. A path that can do nothing now (full, or of a fabric on which
 * the server has no regions any more) does not keep the others from working.
 *   3. A turn is bounded: zeros are filled ZERO_BYTES at a time, so that the session stays alive meanwhile.
 *   4. Reads that a living path answers with a refusal are repeated, but not for ever.
 *   5. Memory that is not there is never touched by ourselves (sink.h); whoever else touches it says EFAULT,
 * and the session ends.
 *
 * Remote regions are kept per fabric, sorted by (block, offset).
 */
#include "mover.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define BATCH 32
#define ZERO_BYTES (64ull << 20)
/* How long refusals are put up with: the keys may just be changing while the control connection is away. */
#define REFUSED_NS 8000000000ull

struct remote_regions {
	unsigned count, room;
	struct wt_wire_region *list;
	struct wt_key ring; /* length 0: none */
};

struct lane {
	const struct wt_fabric_ops *ops;
	struct wt_path *path;
	unsigned plan_path;
	unsigned posts; /* under way */
};

struct wt_mover {
	struct wt_loop *loop;
	unsigned block_count;
	struct wt_sink_block *blocks;
	struct wt_plan *plan;
	struct remote_regions remote[4]; /* by enum wt_fabric */
	struct wt_sink *sinks[4];
	unsigned lane_count;
	struct lane lanes[WT_MOVER_PATHS_MAX];
	struct wt_extent op_extent[WT_PLAN_OPS];
	struct wt_path *op_path[WT_PLAN_OPS]; /* NULL: not under way */
	unsigned lost;                        /* for wt_mover_lost */
	uint64_t zero_bytes;                  /* filled in this turn */
	uint64_t refused_since_ns; /* reads are answered with refusals since then, 0: they are not */
	struct wt_puller_stats stats;
};

int wt_mover_open(struct wt_loop *loop, struct wt_mover **ret_mover)
{
	struct wt_mover *m = calloc(1, sizeof *m);

	if (!m)
		return -ENOMEM;
	m->loop = loop;
	*ret_mover = m;
	return 0;
}

static void lane_close(struct wt_mover *m, struct lane *lane)
{
	wt_loop_fd_clear(m->loop, lane->ops->fd(lane->path));
	lane->ops->close(lane->path);
	*lane = m->lanes[--m->lane_count];
}

/* Closes a path that has work under way: closed is silent, so that work can be given back. */
static void lane_abandon(struct wt_mover *m, struct lane *lane)
{
	struct wt_path *path = lane->path;
	unsigned plan_path = lane->plan_path;

	lane_close(m, lane);
	for (unsigned id = 0; id < WT_PLAN_OPS; id++) {
		if (m->op_path[id] != path)
			continue;
		m->op_path[id] = NULL;
		m->stats.repeated_pages += m->op_extent[id].pages;
		wt_plan_done(m->plan, id, -ECONNABORTED, wt_loop_now_ns(m->loop));
	}
	wt_plan_path_remove(m->plan, plan_path);
}

void wt_mover_stop(struct wt_mover *m)
{
	while (m->lane_count)
		lane_abandon(m, &m->lanes[0]);
}

void wt_mover_close(struct wt_mover *m)
{
	if (!m)
		return;
	wt_mover_stop(m);
	for (unsigned i = 0; i < 4; i++) {
		wt_sink_close(m->sinks[i]);
		free(m->remote[i].list);
	}
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
		list[i].pages = m->blocks[i].length >> WT_PAGE_SHIFT;
	r = wt_plan_open(m->block_count, list, &m->plan);
	free(list);
	return r;
}

struct wt_plan *wt_mover_plan(struct wt_mover *m)
{
	return m->plan;
}

/* ---- where things lie ---- */

/* The first region that ends behind this place. */
static unsigned region_after(const struct remote_regions *regions, uint32_t block, uint64_t offset)
{
	unsigned low = 0, high = regions->count;

	while (low < high) {
		unsigned middle = (low + high) / 2;
		const struct wt_wire_region *region = &regions->list[middle];

		if (region->block < block ||
			(region->block == block && region->offset + region->key.length <= offset))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int wt_mover_region_add(struct wt_mover *m, const struct wt_wire_region *region)
{
	struct remote_regions *regions;
	unsigned at;

	if (region->fabric < WT_FABRIC_TCP || region->fabric > WT_FABRIC_SIM)
		return -EPROTO;
	regions = &m->remote[region->fabric];
	if (region->block == WT_WIRE_RING) {
		regions->ring = region->key;
		return 0;
	}
	if (region->block >= m->block_count || region->offset > m->blocks[region->block].length ||
		region->key.length > m->blocks[region->block].length - region->offset)
		return -EPROTO;
	at = region_after(regions, region->block, region->offset);
	if (regions->count == WT_MOVER_REGIONS_MAX)
		return -EPROTO;
	if (regions->count == regions->room) {
		unsigned room = regions->room ? 2 * regions->room : 64;
		struct wt_wire_region *list = realloc(regions->list, room * sizeof *list);

		if (!list)
			return -ENOMEM;
		regions->list = list;
		regions->room = room;
	}
	memmove(&regions->list[at + 1], &regions->list[at], (regions->count - at) * sizeof *regions->list);
	regions->list[at] = *region;
	regions->count++;
	return 0;
}

void wt_mover_regions_clear(struct wt_mover *m, enum wt_fabric fabric)
{
	for (unsigned i = m->lane_count; i-- > 0;)
		if (m->lanes[i].ops->fabric == fabric)
			lane_abandon(m, &m->lanes[i]);
	m->refused_since_ns = 0;
	m->remote[fabric].count = 0;
	m->remote[fabric].ring.length = 0;
	/* Paths that come later open it anew, perhaps on another device; until then nothing stays pinned. */
	wt_sink_close(m->sinks[fabric]);
	m->sinks[fabric] = NULL;
}

/* Remote address and key of a piece of work, and how many bytes from there on are readable. False: not there.
 */
static bool locate(const struct remote_regions *regions, const struct wt_work *work, struct wt_op *op,
	uint64_t *ret_bytes)
{
	uint64_t offset = work->extent.page << WT_PAGE_SHIFT, skip;
	const struct wt_key *key;
	unsigned at;

	if (work->content == WT_CONTENT_STAGED) {
		key = &regions->ring;
		if (!key->length)
			return false;
		skip = work->staged_offset % key->length;
	} else {
		at = region_after(regions, work->extent.block, offset);
		if (at == regions->count || regions->list[at].block != work->extent.block ||
			regions->list[at].offset > offset)
			return false;
		key = &regions->list[at].key;
		skip = offset - regions->list[at].offset;
	}
	op->remote_address = key->address + skip;
	op->remote_key = key->key;
	*ret_bytes = key->length - skip;
	return true;
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
	}
	*ret_endpoint = wt_sink_endpoint(m->sinks[ops->fabric]);
	return 0;
}

/* Waking the loop is all that is needed: the owner's busy hook takes the turn. */
static void path_readable(void *arg, uint32_t events)
{
}

int wt_mover_path_add(struct wt_mover *m, const struct wt_fabric_ops *ops, struct wt_path *path)
{
	int r, plan_path;

	if (m->lane_count == WT_MOVER_PATHS_MAX)
		return -ENOSPC;
	r = wt_loop_fd_set(m->loop, ops->fd(path), EPOLLIN, path_readable, m);
	if (r)
		return r;
	plan_path = wt_plan_path_add(m->plan, 0, NULL, NULL, wt_loop_now_ns(m->loop));
	m->lanes[m->lane_count++] =
		(struct lane){ .ops = ops, .path = path, .plan_path = (unsigned)plan_path };
	m->stats.fabric = ops->fabric;
	return 0;
}

/* The path lives, but not what it was asked for. */
static bool refusal(int status)
{
	return status == -EACCES || status == -ERANGE || status == -EFAULT;
}

static uint64_t extent_bytes(const struct wt_extent *extent)
{
	return (uint64_t)extent->pages << WT_PAGE_SHIFT;
}

/* Who says EFAULT may be either end: it is ours if there is no memory to be read into. */
static void look_for_memory(struct wt_mover *m, const struct wt_extent *extent, struct wt_error *err)
{
	wt_sink_populate(&m->blocks[extent->block], extent->page << WT_PAGE_SHIFT, extent_bytes(extent), err);
}

static void completed(
	struct wt_mover *m, struct lane *lane, const struct wt_completion *completion, struct wt_error *err)
{
	unsigned id = (unsigned)completion->cookie;
	const struct wt_extent *extent = &m->op_extent[id];

	lane->posts--;
	m->op_path[id] = NULL;
	if (!completion->status)
		m->refused_since_ns = 0;
	else if (refusal(completion->status) && !m->refused_since_ns)
		m->refused_since_ns = wt_loop_now_ns(m->loop);
	if (completion->status == -EFAULT)
		look_for_memory(m, extent, err);
	if (completion->status) {
		m->stats.repeated_pages += extent->pages;
	} else {
		m->stats.pulled_bytes[lane->ops->fabric] += extent_bytes(extent);
		m->stats.pulled_pages += extent->pages;
	}
	wt_plan_done(m->plan, id, completion->status, wt_loop_now_ns(m->loop));
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
	return any;
}

/* ---- work ---- */

/* 1: done; 0: another turn will; -errno with err filled: it cannot be done. */
static int fill_zero(struct wt_mover *m, unsigned plan_path, const struct wt_work *work, struct wt_error *err)
{
	uint64_t now_ns = wt_loop_now_ns(m->loop);
	int id = -EAGAIN, r;

	if (m->zero_bytes < ZERO_BYTES)
		id = wt_plan_take(m->plan, plan_path, work->extent.pages, now_ns);

	if (id < 0)
		return 0;
	r = wt_sink_zero(&m->blocks[work->extent.block], work->extent.page << WT_PAGE_SHIFT,
		extent_bytes(&work->extent), err);
	if (r) {
		wt_plan_done(m->plan, (unsigned)id, r, now_ns);
		return r;
	}
	m->stats.zero_pages += work->extent.pages;
	m->zero_bytes += extent_bytes(&work->extent);
	wt_plan_done(m->plan, (unsigned)id, 0, now_ns);
	return 1;
}

/*
 * Takes the next work for this lane as one post. 1: *op is filled; 0: nothing for now; -errno with err
 * filled: the session cannot go on.
 */
static int next_op(struct wt_mover *m, struct lane *lane, struct wt_op *op, struct wt_error *err)
{
	const struct wt_sink_block *block;
	struct wt_work work;
	uint64_t now_ns = wt_loop_now_ns(m->loop), remote_bytes, local_bytes, offset, bytes;
	int id, r;

	for (;;) {
		if (!wt_plan_peek(m->plan, lane->plan_path, now_ns, &work))
			return 0;
		if (work.content != WT_CONTENT_ZERO)
			break;
		r = fill_zero(m, lane->plan_path, &work, err);
		if (r <= 0)
			return r;
	}
	if (!locate(&m->remote[lane->ops->fabric], &work, op, &remote_bytes))
		return 0;
	block = &m->blocks[work.extent.block];
	offset = work.extent.page << WT_PAGE_SHIFT;
	r = wt_sink_region(
		m->sinks[lane->ops->fabric], work.extent.block, offset, &op->local_region, &local_bytes, err);
	if (r)
		return r;
	bytes = extent_bytes(&work.extent);
	if (bytes > remote_bytes)
		bytes = remote_bytes;
	if (bytes > local_bytes)
		bytes = local_bytes;
	if (bytes > WT_PATH_READ_MAX)
		bytes = WT_PATH_READ_MAX;
	bytes -= bytes % WT_PAGE_SIZE;
	if (!bytes)
		return wt_error_set(err, EPROTO, "the server announced memory that its ring cannot hold");
	id = wt_plan_take(m->plan, lane->plan_path, (uint32_t)(bytes >> WT_PAGE_SHIFT), now_ns);
	if (id < 0)
		return 0;
	op->kind = WT_OP_READ;
	op->length = (uint32_t)bytes;
	op->cookie = (unsigned)id;
	op->local = block->base + offset;
	m->op_extent[id] = work.extent;
	m->op_extent[id].pages = op->length >> WT_PAGE_SHIFT;
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
	for (unsigned i = taken < 0 ? 0 : (unsigned)taken; i < count; i++)
		wt_plan_done(m->plan, (unsigned)ops[i].cookie, -EAGAIN, wt_loop_now_ns(m->loop));
	for (int i = 0; i < taken; i++) {
		lane->posts++;
		m->op_path[ops[i].cookie] = lane->path;
	}
	return r < 0 ? r : taken > 0 ? taken : 0;
}

/* One batch for the lane that is least full; if it can do nothing now, for the next one. */
static bool fill_one(struct wt_mover *m, struct wt_error *err)
{
	unsigned load[WT_MOVER_PATHS_MAX];
	uint64_t tried = 0;

	_Static_assert(WT_MOVER_PATHS_MAX <= 64, "one bit per lane");
	for (unsigned i = 0; i < m->lane_count; i++)
		load[i] = wt_plan_path_load(m->plan, m->lanes[i].plan_path, wt_loop_now_ns(m->loop));
	for (unsigned round = 0; round < m->lane_count && !err->code; round++) {
		unsigned best = m->lane_count;

		for (unsigned i = 0; i < m->lane_count; i++)
			if (!(tried >> i & 1) && (best == m->lane_count || load[i] < load[best]))
				best = i;
		if (fill_lane(m, &m->lanes[best], err) > 0)
			return true;
		tried |= 1ull << best;
	}
	return false;
}

static bool has_lane(const struct wt_mover *m, enum wt_fabric fabric)
{
	for (unsigned i = 0; i < m->lane_count; i++)
		if (m->lanes[i].ops->fabric == fabric)
			return true;
	return false;
}

static void lane_died(struct wt_mover *m, struct lane *lane)
{
	enum wt_fabric fabric = lane->ops->fabric;
	unsigned plan_path = lane->plan_path;

	lane_close(m, lane);
	wt_plan_path_remove(m->plan, plan_path);
	if (!has_lane(m, fabric))
		m->lost |= WT_FABRIC_BIT(fabric);
}

unsigned wt_mover_lost(struct wt_mover *m)
{
	unsigned lost = m->lost;

	m->lost = 0;
	return lost;
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
			lane_died(m, &m->lanes[i]);
	}
	if (m->refused_since_ns && wt_loop_now_ns(m->loop) - m->refused_since_ns > REFUSED_NS) {
		wt_error_set(err, EACCES, "the server refuses to let memory be read that it has announced");
		return false;
	}
	m->zero_bytes = 0;
	while (!m->lane_count && wt_plan_peek(m->plan, WT_PLAN_NO_PATH, wt_loop_now_ns(m->loop), &work))
		if (fill_zero(m, WT_PLAN_NO_PATH, &work, err) <= 0)
			break;
	while (!err->code && fill_one(m, err))
		any = true;
	return any || m->zero_bytes;
}

bool wt_mover_arm(struct wt_mover *m)
{
	bool quiet = true;

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

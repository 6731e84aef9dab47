/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica_reader.c - see replica_reader.h.
 *
 *   1. A read is free, under way on one path, or done; a path's completion carries its index. A path that
 *      fails is closed first, then what it had under way is done, with an error.
 *   2. The buffer is registered once for each fabric, as a whole, with an endpoint of its own.
 */
#include "replica_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "mover_remote.h"

#define FABRICS WT_FABRIC_COUNT
#define BATCH 32

struct read {
	struct wt_path *path; /* NULL: free, or done */
	bool used;
	struct wt_reader_done done;
};

struct lane {
	const struct wt_fabric_ops *ops;
	struct wt_path *path;
	unsigned posts; /* under way */
};

struct fabric {
	const struct wt_fabric_ops *ops;
	struct wt_endpoint *endpoint; /* NULL: not needed yet */
	struct wt_region *region;
	struct wt_remote_regions remote;
};

struct wt_reader {
	struct wt_loop *loop;
	void *buffer;
	size_t length;
	struct fabric fabrics[FABRICS];
	unsigned lost;
	unsigned lane_count;
	struct lane lanes[WT_READER_PATHS_MAX];
	struct read reads[WT_READER_READS_MAX];
	/* Indices of reads that are done, from `told` on. */
	unsigned done[WT_READER_READS_MAX], told, done_count;
};

int wt_reader_open(struct wt_loop *loop, void *buffer, size_t length, struct wt_reader **ret_reader)
{
	struct wt_reader *r = calloc(1, sizeof *r);

	if (!r)
		return -ENOMEM;
	r->loop = loop;
	r->buffer = buffer;
	r->length = length;
	*ret_reader = r;
	return 0;
}

static void read_done(struct wt_reader *r, unsigned index, int status)
{
	r->reads[index].path = NULL;
	r->reads[index].done.status = status;
	r->done[(r->told + r->done_count++) % WT_READER_READS_MAX] = index;
}

/* Closed is silent: then what it had under way is over. */
static void lane_close(struct wt_reader *r, struct lane *lane)
{
	struct lane was = *lane;

	wt_loop_fd_clear(r->loop, was.ops->fd(was.path));
	was.ops->close(was.path);
	*lane = r->lanes[--r->lane_count];
	for (unsigned i = 0; i < WT_READER_READS_MAX; i++)
		if (r->reads[i].path == was.path)
			read_done(r, i, -ECONNABORTED);
}

static bool has_lane(const struct wt_reader *r, enum wt_fabric fabric)
{
	for (unsigned i = 0; i < r->lane_count; i++)
		if (r->lanes[i].ops->fabric == fabric)
			return true;
	return false;
}

/* It has failed, or is given up: its server may not see that by itself. */
static void lane_lost(struct wt_reader *r, struct lane *lane)
{
	enum wt_fabric fabric = lane->ops->fabric;

	lane_close(r, lane);
	if (!has_lane(r, fabric))
		r->lost |= WT_FABRIC_BIT(fabric);
}

void wt_reader_stop(struct wt_reader *r)
{
	while (r->lane_count)
		lane_lost(r, &r->lanes[r->lane_count - 1]);
}

/* Paths that come later open it anew, perhaps on another device. */
static void endpoint_close(struct fabric *fabric)
{
	if (fabric->region)
		fabric->ops->region_remove(fabric->region);
	if (fabric->endpoint)
		fabric->ops->endpoint_close(fabric->endpoint);
	fabric->region = NULL;
	fabric->endpoint = NULL;
}

void wt_reader_close(struct wt_reader *r)
{
	if (!r)
		return;
	for (unsigned fabric = WT_FABRIC_TCP; fabric < FABRICS; fabric++) {
		wt_reader_regions_clear(r, (enum wt_fabric)fabric);
		wt_remote_free(&r->fabrics[fabric].remote);
	}
	free(r);
}

/* ---- where things lie ---- */

int wt_reader_region_add(struct wt_reader *r, const struct wt_wire_region *region)
{
	if (region->fabric < WT_FABRIC_TCP || region->fabric >= FABRICS || region->block == WT_WIRE_RING)
		return -EPROTO;
	return wt_remote_add(&r->fabrics[region->fabric].remote, region);
}

void wt_reader_regions_clear(struct wt_reader *r, enum wt_fabric fabric)
{
	for (unsigned i = r->lane_count; i-- > 0;)
		if (r->lanes[i].ops->fabric == fabric)
			lane_close(r, &r->lanes[i]);
	wt_remote_clear(&r->fabrics[fabric].remote);
	endpoint_close(&r->fabrics[fabric]);
}

bool wt_reader_ready(const struct wt_reader *r)
{
	for (unsigned i = 0; i < r->lane_count; i++)
		if (r->fabrics[r->lanes[i].ops->fabric].remote.count)
			return true;
	return false;
}

/* ---- paths ---- */

int wt_reader_endpoint(struct wt_reader *r, const struct wt_fabric_ops *ops, const char *device,
	const char *peer_host, struct wt_endpoint **ret_endpoint, struct wt_error *err)
{
	struct fabric *fabric = &r->fabrics[ops->fabric];
	int e = 0;

	fabric->ops = ops;
	if (!fabric->endpoint) {
		e = ops->endpoint_open(device, peer_host, &fabric->endpoint, err);
		if (!e)
			e = ops->region_add(
				fabric->endpoint, r->buffer, r->length, WT_ACCESS_SINK, &fabric->region, err);
		if (e)
			endpoint_close(fabric);
	}
	if (!e)
		*ret_endpoint = fabric->endpoint;
	return e;
}

/* Waking the loop is all that is needed. */
static void path_readable(void *arg, uint32_t events)
{
}

int wt_reader_path_add(struct wt_reader *r, const struct wt_fabric_ops *ops, struct wt_path *path)
{
	int e;

	if (r->lane_count == WT_READER_PATHS_MAX)
		return -ENOSPC;
	e = wt_loop_fd_set(r->loop, ops->fd(path), EPOLLIN, path_readable, r);
	if (!e)
		r->lanes[r->lane_count++] = (struct lane){ .ops = ops, .path = path };
	return e;
}

unsigned wt_reader_lost(struct wt_reader *r)
{
	unsigned lost = r->lost;

	r->lost = 0;
	return lost;
}

/* ---- reading ---- */

static struct read *free_read(struct wt_reader *r)
{
	for (unsigned i = 0; i < WT_READER_READS_MAX; i++)
		if (!r->reads[i].used)
			return &r->reads[i];
	return NULL;
}

/* The lane with the least under way that reads the work's first page; *ret_bytes from there on. */
static struct lane *lane_for(
	struct wt_reader *r, const struct wt_work *work, struct wt_op *ret_op, uint64_t *ret_bytes)
{
	struct lane *best = NULL;

	for (unsigned i = 0; i < r->lane_count; i++) {
		struct lane *lane = &r->lanes[i];
		struct fabric *fabric = &r->fabrics[lane->ops->fabric];
		struct wt_op op = { .kind = WT_OP_READ, .local_region = fabric->region };
		uint64_t bytes;

		if (lane->posts >= lane->ops->depth(lane->path) || (best && best->posts <= lane->posts))
			continue;
		bytes = wt_remote_locate(&fabric->remote, work, &op);
		if (bytes < WT_PAGE_SIZE)
			continue;
		best = lane;
		*ret_op = op;
		*ret_bytes = bytes;
	}
	return best;
}

int wt_reader_read(struct wt_reader *r, const struct wt_extent *extent, uint8_t *to, uint64_t tag)
{
	struct wt_work work = { .content = WT_CONTENT_IN_PLACE, .extent = *extent };
	struct read *read = free_read(r);
	uint64_t bytes, wanted = (uint64_t)extent->pages << WT_PAGE_SHIFT;
	struct lane *lane;
	struct wt_op op;

	lane = read ? lane_for(r, &work, &op, &bytes) : NULL;
	if (!lane)
		return -EAGAIN;
	if (bytes > wanted)
		bytes = wanted;
	if (bytes > WT_PATH_READ_MAX)
		bytes = WT_PATH_READ_MAX;
	work.extent.pages = (uint32_t)(bytes >> WT_PAGE_SHIFT);
	op.length = work.extent.pages << WT_PAGE_SHIFT;
	op.local = to;
	op.cookie = (uint64_t)(read - r->reads);
	if (lane->ops->post(lane->path, &op, 1) != 1)
		return -EAGAIN; /* if it has failed, poll says so */
	lane->posts++;
	*read = (struct read){ .path = lane->path,
		.used = true,
		.done = { .tag = tag, .extent = work.extent, .fabric = lane->ops->fabric } };
	return (int)work.extent.pages;
}

static void poll_lane(struct wt_reader *r, struct lane *lane)
{
	struct wt_completion completions[BATCH];
	int n;

	while ((n = lane->ops->poll(lane->path, completions, BATCH)) > 0) {
		lane->posts -= (unsigned)n;
		for (int i = 0; i < n; i++)
			read_done(r, (unsigned)completions[i].cookie, completions[i].status);
	}
	if (n < 0)
		lane_lost(r, lane);
}

int wt_reader_next(struct wt_reader *r, struct wt_reader_done *ret_done)
{
	unsigned index;

	for (unsigned i = r->done_count ? 0 : r->lane_count; i-- > 0;)
		poll_lane(r, &r->lanes[i]);
	if (!r->done_count)
		return 0;
	index = r->done[r->told];
	r->told = (r->told + 1) % WT_READER_READS_MAX;
	r->done_count--;
	r->reads[index].used = false;
	*ret_done = r->reads[index].done;
	return 1;
}

bool wt_reader_arm(struct wt_reader *r)
{
	bool quiet = !r->done_count;

	for (unsigned i = 0; i < r->lane_count; i++)
		if (r->lanes[i].ops->arm(r->lanes[i].path))
			quiet = false;
	return quiet;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine_read.c - the end of a read test that reads: wt_read_bw and wt_read_lat.
 *
 *   1. What is read lands at the same offset from which it came. Where the nth read of a lane comes from is a
 *      function of n alone, so that what was not taken is simply asked for again.
 *   2. Nothing is timed before a read of each lane was compared with the pattern; --check compares all.
 *   3. A lane polls; after spin_us without news it sleeps on the descriptors of all lanes.
 */
#include "engine.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define BATCH 128u
#define WINDOWS 10u /* of a run; the peak is the best of them */
#define SLEEP_MS 1000

struct lane {
	struct wt_path *path;
	unsigned depth, under_way;
	uint64_t posted;
	uint64_t first; /* offset of its part of the memory */
};

struct reading {
	const struct wt_fabric_ops *ops;
	const struct wt_bench_options *options;
	int socket; /* to the other end; -1: none */
	struct wt_bench_memory memory;
	struct wt_endpoint *endpoint;
	struct wt_region *region;
	struct wt_bench_offer offer;
	unsigned lane_count;
	struct lane lanes[WT_BENCH_PATHS_MAX];
	uint64_t size, slots; /* of a read; how many places a lane has */
	uint64_t news_ns;     /* when something last came */
};

/* ---- set up ---- */

static int lanes_connect(struct reading *reading, const uint8_t *hello, struct wt_error *err)
{
	const struct wt_bench_options *options = reading->options;

	while (reading->lane_count < options->paths) {
		struct lane *lane = &reading->lanes[reading->lane_count];
		int status = reading->ops->connect(reading->endpoint, options->host, reading->offer.port,
			hello, WT_ROLE_PULL, WT_BENCH_WAIT_NS, &lane->path, err);

		if (status < 0)
			return status;
		lane->depth = reading->ops->depth(lane->path);
		if (lane->depth > options->tx_depth)
			lane->depth = (unsigned)options->tx_depth;
		reading->lane_count++;
	}
	return 0;
}

static int open_all(struct reading *reading, struct wt_error *err)
{
	const struct wt_bench_options *options = reading->options;
	struct wt_bench_order order = { .fabric = options->fabric,
		.paths = (uint32_t)options->paths,
		.huge = options->huge,
		.memory = options->memory };
	int status;

	if (getrandom(order.hello, sizeof order.hello, 0) != (ssize_t)sizeof order.hello)
		return wt_error_set(err, EIO, "the kernel gave no random bytes");
	status = reading->ops->endpoint_open(options->device, options->host, &reading->endpoint, err);
	if (status >= 0)
		status = wt_bench_memory_open(options->memory, options->huge, &reading->memory, err);
	if (status >= 0)
		status = reading->ops->region_add(reading->endpoint, reading->memory.base,
			reading->memory.length, WT_ACCESS_SINK, &reading->region, err);
	if (status >= 0)
		status = wt_bench_meet_call(options->host, (uint16_t)options->port, &order, &reading->socket,
			&reading->offer, err);
	return status < 0 ? status : lanes_connect(reading, order.hello, err);
}

static void close_all(struct reading *reading)
{
	for (unsigned i = 0; i < reading->lane_count; i++)
		reading->ops->close(reading->lanes[i].path);
	if (reading->socket >= 0)
		close(reading->socket);
	if (reading->region)
		reading->ops->region_remove(reading->region);
	if (reading->endpoint)
		reading->ops->endpoint_close(reading->endpoint);
	wt_bench_memory_close(&reading->memory);
}

static void size_set(struct reading *reading, uint64_t size)
{
	const struct wt_bench_options *options = reading->options;
	uint64_t part = options->memory / (options->scattered ? 1 : options->paths);

	reading->size = size;
	reading->slots = part / size;
	for (unsigned i = 0; i < reading->lane_count; i++) {
		reading->lanes[i].first = options->scattered ? 0 : i * part;
		reading->lanes[i].posted = 0;
	}
}

/* ---- reads ---- */

static uint64_t mix(uint64_t n)
{
	n = (n + 1) * 0x9e3779b97f4a7c15ull;
	n ^= n >> 29;
	n *= 0xbf58476d1ce4e5b9ull;
	return n ^ n >> 32;
}

static struct wt_op op_at(const struct reading *reading, const struct lane *lane, uint64_t n)
{
	unsigned number = (unsigned)(lane - reading->lanes);
	uint64_t slot = (reading->options->scattered ? mix(n << 8 | number) : n) % reading->slots;
	uint64_t offset = lane->first + slot * reading->size;

	return (struct wt_op){ .kind = WT_OP_READ,
		.length = (uint32_t)reading->size,
		.cookie = number,
		.local = reading->memory.base + offset,
		.local_region = reading->region,
		.remote_address = reading->offer.key.address + offset,
		.remote_key = reading->offer.key.key };
}

static int failure(int status, struct wt_error *err)
{
	return wt_error_set(err, -status, "a read of the other end's memory failed: %s", strerror(-status));
}

/* Posts what there is room for, at most `left` reads. */
static int lane_fill(struct reading *reading, struct lane *lane, uint64_t left, struct wt_error *err)
{
	struct wt_op ops[BATCH];
	uint64_t room = lane->depth - lane->under_way, chain = reading->options->post_list;
	unsigned n = 0;
	int taken;

	if (chain > lane->depth)
		chain = lane->depth;
	if (room > left)
		room = left;
	if (!room || (room < chain && room < left))
		return 0;
	for (; n < room && n < BATCH; n++)
		ops[n] = op_at(reading, lane, lane->posted + n);
	taken = reading->ops->post(lane->path, ops, n);
	if (taken < 0)
		return taken == -EAGAIN ? 0 : failure(taken, err);
	lane->posted += (unsigned)taken;
	lane->under_way += (unsigned)taken;
	return taken;
}

/* Answers how many reads have completed. */
static int lane_reap(struct reading *reading, struct lane *lane, struct wt_error *err)
{
	struct wt_completion done[BATCH];
	int n = lane->under_way ? reading->ops->poll(lane->path, done, BATCH) : 0;

	if (n < 0)
		return failure(n, err);
	for (int i = 0; i < n; i++) {
		if (done[i].status)
			return failure(done[i].status, err);
	}
	lane->under_way -= (unsigned)n;
	return n;
}

/* Nothing has come: goes on polling, or sleeps until something may have come. */
static void rest(struct reading *reading)
{
	struct pollfd waits[WT_BENCH_PATHS_MAX];
	int busy = 0;

	if (reading->options->spin_us == UINT64_MAX ||
		wt_bench_now_ns() - reading->news_ns < reading->options->spin_us * 1000)
		return;
	for (unsigned i = 0; i < reading->lane_count; i++) {
		waits[i] =
			(struct pollfd){ .fd = reading->ops->fd(reading->lanes[i].path), .events = POLLIN };
		busy |= reading->ops->arm(reading->lanes[i].path);
	}
	if (!busy)
		poll(waits, reading->lane_count, SLEEP_MS);
}

/* One read, and waits for it. */
static int read_one(struct reading *reading, struct lane *lane, struct wt_error *err)
{
	int n;

	reading->news_ns = reading->options->spin_us == UINT64_MAX ? 0 : wt_bench_now_ns();
	while ((n = lane_fill(reading, lane, 1, err)) == 0)
		rest(reading);
	if (n < 0)
		return n;
	while ((n = lane_reap(reading, lane, err)) == 0)
		rest(reading);
	return n < 0 ? n : 0;
}

static int wrong_at(uint64_t offset, struct wt_error *err)
{
	return wt_error_set(err, EIO,
		"what was read is wrong at offset %llu: it is not what the other end has there",
		(unsigned long long)offset);
}

/* Reads n places, of each lane, and compares. */
static int verify(struct reading *reading, uint64_t size, uint64_t places, struct wt_error *err)
{
	size_set(reading, size);
	for (unsigned i = 0; i < reading->lane_count; i++) {
		struct lane *lane = &reading->lanes[i];

		for (uint64_t n = 0; n < places; n++) {
			struct wt_op op = op_at(reading, lane, lane->posted);
			uint64_t offset = (uint64_t)((uint8_t *)op.local - reading->memory.base), same;
			int status;

			memset(op.local, 0, size);
			status = read_one(reading, lane, err);
			if (status < 0)
				return status;
			same = wt_bench_pattern_compare(op.local, offset, size);
			if (same < size)
				return wrong_at(offset + same, err);
		}
	}
	return 0;
}

/* All memory, also when only random places of it are timed. */
static int verify_all(struct reading *reading, struct wt_error *err)
{
	struct wt_bench_options inorder = *reading->options;
	const struct wt_bench_options *before = reading->options;
	uint64_t size = wt_bench_size_first(before);
	int status;

	while (size * 2 <= WT_PATH_READ_MAX && size * 2 * before->paths <= before->memory)
		size *= 2;
	inorder.scattered = false;
	reading->options = &inorder;
	status = verify(reading, size, before->memory / before->paths / size, err);
	reading->options = before;
	return status;
}

/* ---- wt_read_bw ---- */

struct windows {
	uint64_t start_ns, bytes, per_bytes, per_ns; /* the open one, and when it is full */
	uint64_t peak_bytes, peak_ns;
};

static void windows_add(struct windows *windows, uint64_t bytes, uint64_t now_ns)
{
	uint64_t ns = now_ns - windows->start_ns;

	windows->bytes += bytes;
	if (windows->bytes < windows->per_bytes || ns < windows->per_ns || !ns)
		return;
	if (!windows->peak_ns || wt_bench_rate(windows->bytes, ns, true) >
					 wt_bench_rate(windows->peak_bytes, windows->peak_ns, true)) {
		windows->peak_bytes = windows->bytes;
		windows->peak_ns = ns;
	}
	windows->start_ns = now_ns;
	windows->bytes = 0;
}

/* One look at every lane; answers how many reads have completed, *ret_left is what still must. */
static int pump_once(struct reading *reading, uint64_t each, uint64_t *ret_left, struct wt_error *err)
{
	int done = 0;

	*ret_left = 0;
	for (unsigned i = 0; i < reading->lane_count; i++) {
		struct lane *lane = &reading->lanes[i];
		int n = lane_reap(reading, lane, err);
		int posted = n < 0 || lane->posted >= each
				     ? n
				     : lane_fill(reading, lane, each - lane->posted, err);

		if (posted < 0)
			return posted;
		done += n;
		*ret_left += lane->under_way + (lane->posted < each ? each - lane->posted : 0);
	}
	return done;
}

/* Fills and empties the lanes until the iterations of each are done, or the time is over. */
static int pump(struct reading *reading, uint64_t until_ns, struct windows *windows, struct wt_error *err)
{
	uint64_t each = until_ns ? UINT64_MAX / WT_BENCH_PATHS_MAX : reading->options->iterations, left;

	reading->news_ns = windows->start_ns;
	do {
		int done = pump_once(reading, each, &left, err);

		if (done < 0)
			return done;
		if (!done) {
			rest(reading);
			continue;
		}
		reading->news_ns = wt_bench_now_ns();
		windows_add(windows, (uint64_t)done * reading->size, reading->news_ns);
		if (until_ns && reading->news_ns >= until_ns)
			each = 0; /* what is under way still comes */
	} while (left);
	return 0;
}

static int measure(const struct wt_bench_test *test, struct reading *reading, struct wt_error *err)
{
	const struct wt_bench_options *options = reading->options;
	uint64_t start_ns = wt_bench_now_ns(), cpu_ns = wt_bench_cpu_ns();
	uint64_t duration_ns = options->duration_s * WT_BENCH_SECOND_NS;
	struct windows windows = { .start_ns = start_ns,
		.per_bytes = duration_ns ? 0 : options->iterations * options->paths * reading->size / WINDOWS,
		.per_ns = duration_ns / WINDOWS };
	struct wt_bench_result result = { .bytes = reading->size, .tx_depth = reading->lanes[0].depth };
	int status = pump(reading, duration_ns ? start_ns + duration_ns : 0, &windows, err);

	if (status < 0)
		return status;
	result.ns = wt_bench_now_ns() - start_ns;
	result.cpu_ns = wt_bench_cpu_ns() - cpu_ns;
	for (unsigned i = 0; i < reading->lane_count; i++)
		result.iterations += reading->lanes[i].posted;
	result.total_bytes = result.iterations * reading->size;
	result.peak_bytes = windows.peak_bytes;
	result.peak_ns = windows.peak_ns;
	wt_bench_bandwidth_say(test, options, &result);
	return 0;
}

/* ---- wt_read_lat ---- */

static int measure_latency(const struct wt_bench_test *test, struct reading *reading, struct wt_error *err)
{
	const struct wt_bench_options *options = reading->options;
	uint64_t max = options->duration_s ? WT_BENCH_ITERATIONS_MAX : options->iterations, count = 0, now_ns;
	uint64_t *samples = malloc(max * sizeof *samples), start_ns = wt_bench_now_ns();
	uint64_t until_ns =
		options->duration_s ? start_ns + options->duration_s * WT_BENCH_SECOND_NS : UINT64_MAX;
	struct wt_bench_latency latency;
	int status = samples ? 0 : wt_error_set(err, ENOMEM, "no memory for the times");

	for (; count < max && start_ns < until_ns && status >= 0; start_ns = now_ns) {
		status = read_one(reading, &reading->lanes[0], err);
		now_ns = wt_bench_now_ns();
		samples[count++] = now_ns - start_ns;
	}
	if (status >= 0) {
		wt_bench_latency_of(samples, count, false, &latency);
		wt_bench_latency_say(test, options, reading->size, count, &latency);
	}
	free(samples);
	return status;
}

/* ---- both ---- */

static int call(const struct wt_bench_test *test, const struct wt_bench_options *options,
	void (*head)(const struct wt_bench_options *),
	int (*one)(const struct wt_bench_test *, struct reading *, struct wt_error *), struct wt_error *err)
{
	struct reading *reading = calloc(1, sizeof *reading);
	int status = 0;

	if (!reading)
		return wt_error_set(err, ENOMEM, "out of memory");
	reading->ops = wt_fabric_ops(options->fabric);
	reading->options = options;
	reading->socket = -1;
	status = open_all(reading, err);
	if (status >= 0 && options->check)
		status = verify_all(reading, err);
	if (status >= 0)
		head(options);
	for (uint64_t size = wt_bench_size_first(options); status >= 0 && size;
		size = wt_bench_size_next(test, options, size)) {
		status = verify(reading, size, 1, err);
		size_set(reading, size);
		if (status >= 0)
			status = one(test, reading, err);
	}
	close_all(reading);
	free(reading);
	return status;
}

int wt_bench_read_bw(
	const struct wt_bench_test *test, const struct wt_bench_options *options, struct wt_error *err)
{
	return call(test, options, wt_bench_bandwidth_head, measure, err);
}

int wt_bench_read_lat(
	const struct wt_bench_test *test, const struct wt_bench_options *options, struct wt_error *err)
{
	return call(test, options, wt_bench_latency_head, measure_latency, err);
}

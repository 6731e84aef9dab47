/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_path.c - two fabrics, "verbs" and "tcp", of simulated network cards. Replaces transport's path*.c.
 *
 * A card is weaker than any real one: between a post and its completion it reads the served memory piece by
 * piece, in any order, at several moments, keeps each piece for a while and writes it at another moment. What
 * it reads is what the memory holds then. Completions come in any order, also among the reads of one path. A
 * read that fails has written any part of what it should.
 *
 *   1. A read writes nothing after it has completed, nor after its path was closed (path.h, rules 2 and 3).
 *   2. At most one read may be under way into a byte of local memory, and nobody else may write it meanwhile:
 *      that is checked at each post, and by sim_paths_local_write.
 *   3. Over verbs a read with a key that is void breaks its path, and the serving end need not see that a
 *      path is broken; over tcp such a read fails alone.
 *
 * The cards are a party of their own, which never dies: reads go on whatever the relays do.
 */
#include "sim_path_internal.h"

#include <errno.h>
#include <string.h>

#define PIECE_MIN 64
#define PIECES_MAX 64
#define LATE_NS (40 * SIM_MS) /* how long a broken path may go on writing */

struct wt_region {
	struct wt_region *next;
	struct wt_endpoint *endpoint;
	uint8_t *base;
	size_t length;
	unsigned access;
	uint64_t key;
};

enum piece_state { PIECE_NEW, PIECE_READ, PIECE_WRITTEN };

struct flight {
	struct flight *next;
	struct wt_path *path;
	struct wt_op op;
	struct wt_timer step;
	uint64_t end_ns;
	unsigned pieces;
	uint32_t piece_bytes;
	int status;
	uint8_t state[PIECES_MAX];
	uint8_t bytes[];
};

struct wt_loop *sim_card_loop;

static struct wt_region *regions;
static struct wt_path *paths;
static struct flight *flights;
static unsigned endpoints;
static uint64_t next_key;

/* ---- flights ---- */

static bool overlaps(const struct flight *flight, const void *base, size_t length)
{
	const uint8_t *first = flight->op.local;

	return first < (const uint8_t *)base + length && (const uint8_t *)base < first + flight->op.length;
}

void sim_paths_local_write(const void *base, size_t length)
{
	for (const struct flight *f = flights; f; f = f->next)
		sim_check(!overlaps(f, base, length), "memory is written while a read is under way into it");
}

void sim_path_update(struct wt_path *path)
{
	if (path->pulls)
		sim_fd_ready(path->fd, path->completion_count || (path->broken && !path->under_way));
}

static void flight_unlink(struct flight *flight)
{
	struct flight **at = &flights;

	while (*at != flight)
		at = &(*at)->next;
	*at = flight->next;
	wt_loop_timer_clear(sim_card_loop, &flight->step);
	flight->path->under_way--;
}

static void flight_end(struct flight *flight)
{
	struct wt_path *path = flight->path;
	unsigned at;

	flight_unlink(flight);
	if (!flight->status)
		sim_monitor_written(flight->op.local, flight->op.length);
	at = (unsigned)sim_below(path->completion_count + 1);
	path->completions[path->completion_count++] = path->completions[at];
	path->completions[at] = (struct wt_completion){ .cookie = flight->op.cookie,
		.status = flight->status,
		.length = flight->status ? 0 : flight->op.length };
	sim_path_update(path);
	free(flight);
}

static void path_break(struct wt_path *path);

static const struct wt_region *served(const struct flight *flight)
{
	const struct wt_op *op = &flight->op;
	const struct wt_path *there = flight->path->peer;

	for (const struct wt_region *r = regions; r && there; r = r->next)
		if (r->key == op->remote_key && r->endpoint == there->endpoint &&
			r->access & WT_ACCESS_SERVE && op->remote_address >= (uintptr_t)r->base &&
			op->remote_address + op->length <= (uintptr_t)r->base + r->length)
			return r;
	return NULL;
}

static void piece_step(struct flight *flight, unsigned i)
{
	size_t at = (size_t)i * flight->piece_bytes, n = flight->op.length - at;

	if (n > flight->piece_bytes)
		n = flight->piece_bytes;
	if (flight->state[i] == PIECE_NEW)
		memcpy(flight->bytes + at, (const uint8_t *)(uintptr_t)flight->op.remote_address + at, n);
	else if (flight->state[i] == PIECE_READ)
		memcpy((uint8_t *)flight->op.local + at, flight->bytes + at, n);
	if (flight->state[i] != PIECE_WRITTEN)
		flight->state[i]++;
}

/* Some pieces go on; all of them, to their end, in the last step. */
static void pieces_step(struct flight *flight, bool last)
{
	unsigned first = (unsigned)sim_below(flight->pieces);

	for (unsigned k = 0; k < flight->pieces; k++) {
		unsigned i = (first + k) % flight->pieces;

		if (last)
			piece_step(flight, i);
		if (last || sim_one_in(2))
			piece_step(flight, i);
	}
}

static void flight_step(void *arg, uint64_t now_ns)
{
	struct flight *flight = arg;
	struct wt_path *path = flight->path;
	bool last = now_ns >= flight->end_ns;

	if (now_ns < path->link->down_until_ns && !path->broken) {
		flight->end_ns = path->link->down_until_ns + sim_below(10 * SIM_MS);
		wt_loop_timer_set(
			sim_card_loop, &flight->step, path->link->down_until_ns, flight_step, flight);
		return;
	}
	if (!path->broken && !served(flight)) {
		flight->status = -EACCES;
		if (path->endpoint->fabric == WT_FABRIC_VERBS)
			path_break(path);
		flight_end(flight);
		return;
	}
	if (path->broken) {
		flight->status = flight->status ? flight->status : -EIO;
		if (path->peer && served(flight) && sim_one_in(2))
			pieces_step(flight, false);
		if (last)
			flight_end(flight);
	} else {
		pieces_step(flight, last);
		if (last)
			flight_end(flight);
	}
	if (!last)
		wt_loop_timer_set(sim_card_loop, &flight->step,
			sim_one_in(3) ? flight->end_ns : sim_between(now_ns, flight->end_ns), flight_step,
			flight);
}

static void flight_start(struct wt_path *path, const struct wt_op *op)
{
	struct flight *flight = sim_fresh(sizeof *flight + op->length);
	uint64_t rate = path->link->bytes_per_s, start_ns = path->busy_until_ns, took_ns;

	sim_paths_local_write(op->local, op->length);
	sim_check((uint8_t *)op->local >= op->local_region->base &&
			  (uint8_t *)op->local + op->length <=
				  op->local_region->base + op->local_region->length,
		"a read into memory that is not of its region");
	if (path->slow && sim_now_ns < path->slow_until_ns)
		rate = rate / path->slow + 1;
	if (start_ns < sim_now_ns)
		start_ns = sim_now_ns;
	took_ns = (uint64_t)((double)op->length * 1e9 / (double)rate);
	path->busy_until_ns = start_ns + took_ns;
	flight->path = path;
	flight->op = *op;
	flight->end_ns = path->busy_until_ns + sim_between(1000, 1000 + path->link->flight_ns);
	flight->piece_bytes = op->length / PIECES_MAX > PIECE_MIN ? op->length / PIECES_MAX : PIECE_MIN;
	if (flight->piece_bytes < 4096 && !sim_one_in(4))
		flight->piece_bytes = 4096;
	flight->pieces = (op->length + flight->piece_bytes - 1) / flight->piece_bytes;
	flight->next = flights;
	flights = flight;
	path->under_way++;
	wt_loop_timer_set(
		sim_card_loop, &flight->step, sim_between(sim_now_ns, flight->end_ns), flight_step, flight);
}

/* ---- paths ---- */

struct wt_path *sim_path_new(struct wt_endpoint *endpoint, bool pulls)
{
	struct wt_path *path = sim_fresh(sizeof *path);

	path->endpoint = endpoint;
	path->pulls = pulls;
	path->fd = sim_fd_new();
	path->depth = (unsigned)sim_between(1, DEPTH_MAX);
	path->next = paths;
	paths = path;
	endpoint->uses++;
	return path;
}

/* Nothing more is read or written over it, but for what is late. */
static void path_break(struct wt_path *path)
{
	struct wt_path *pulling = path->pulls ? path : path->peer;
	struct wt_path *serving = path->pulls ? path->peer : path;
	bool blind = path->endpoint->fabric == WT_FABRIC_VERBS && sim_one_in(2);

	if (serving && !blind)
		serving->seen_dead = true;
	if (!pulling || pulling->broken)
		return;
	pulling->broken = true;
	for (struct flight *f = flights; f; f = f->next)
		if (f->path == pulling) {
			f->end_ns = sim_now_ns + sim_below(LATE_NS);
			wt_loop_timer_set(
				sim_card_loop, &f->step, sim_between(sim_now_ns, f->end_ns), flight_step, f);
		}
	sim_path_update(pulling);
}

void sim_path_close(struct wt_path *path)
{
	struct wt_path **at = &paths;
	struct flight *flight = flights, *next;

	for (; flight; flight = next) {
		next = flight->next;
		if (flight->path != path)
			continue;
		flight_unlink(flight);
		free(flight);
	}
	if (path->peer) {
		struct wt_path *peer = path->peer;

		path_break(peer);
		peer->seen_dead = true;
		peer->peer = NULL;
	}
	while (*at != path)
		at = &(*at)->next;
	*at = path->next;
	path->endpoint->uses--;
	sim_fd_free(path->fd);
	free(path);
}

static int path_post(struct wt_path *path, const struct wt_op *ops, unsigned count)
{
	unsigned room = path->depth - path->under_way - path->completion_count;

	if (path->broken)
		return -EIO;
	if (count > room)
		count = room;
	if (!count || sim_one_in(50))
		return -EAGAIN;
	if (count > 1 && sim_one_in(10))
		count = (unsigned)sim_between(1, count);
	for (unsigned i = 0; i < count; i++)
		flight_start(path, &ops[i]);
	return (int)count;
}

static int path_poll(struct wt_path *path, struct wt_completion *ret_completions, unsigned max)
{
	unsigned n = path->completion_count < max ? path->completion_count : max;

	if (!path->completion_count && path->broken && !path->under_way)
		return -EIO;
	for (unsigned i = 0; i < n; i++)
		ret_completions[i] = path->completions[--path->completion_count];
	sim_path_update(path);
	return (int)n;
}

static int path_arm(struct wt_path *path)
{
	return path->completion_count || (path->broken && !path->under_way);
}

static int path_fd(const struct wt_path *path)
{
	return path->fd;
}

static unsigned path_depth(const struct wt_path *path)
{
	return path->depth;
}

static bool path_alive(struct wt_path *path)
{
	return !path->seen_dead;
}

static int no_life(struct wt_path *path)
{
	return -EOPNOTSUPP;
}

static int no_attach(struct wt_path *path, struct wt_endpoint *endpoint, const char *host, uint16_t port,
	const uint8_t hello[WT_PATH_HELLO_BYTES], uint64_t timeout_ns, struct wt_error *err)
{
	return wt_error_set(err, EOPNOTSUPP, "not simulated");
}

/* ---- endpoints and regions ---- */

static int endpoint_open(enum wt_fabric fabric, struct wt_endpoint **ret_endpoint)
{
	*ret_endpoint = sim_fresh(sizeof **ret_endpoint);
	**ret_endpoint = (struct wt_endpoint){ .party = sim_current, .fabric = fabric };
	endpoints++;
	return 0;
}

static int verbs_open(
	const char *device, const char *peer_host, struct wt_endpoint **ret_endpoint, struct wt_error *err)
{
	if (!sim_net.has_verbs)
		return wt_error_set(err, ENODEV, "there is no simulated device");
	return endpoint_open(WT_FABRIC_VERBS, ret_endpoint);
}

static int tcp_open(
	const char *device, const char *peer_host, struct wt_endpoint **ret_endpoint, struct wt_error *err)
{
	return endpoint_open(WT_FABRIC_TCP, ret_endpoint);
}

static void endpoint_close(struct wt_endpoint *endpoint)
{
	sim_check(!endpoint->uses, "an endpoint is closed before its paths and regions");
	endpoints--;
	free(endpoint);
}

static int region_add(struct wt_endpoint *endpoint, void *base, size_t length, unsigned access,
	struct wt_region **ret_region, struct wt_error *err)
{
	struct wt_region *region = sim_fresh(sizeof *region);

	*region = (struct wt_region){ .next = regions,
		.endpoint = endpoint,
		.base = base,
		.length = length,
		.access = access,
		.key = ++next_key };
	regions = region;
	endpoint->uses++;
	*ret_region = region;
	return 0;
}

static void region_key(const struct wt_region *region, struct wt_key *ret_key)
{
	*ret_key = (struct wt_key){
		.address = (uintptr_t)region->base, .length = region->length, .key = region->key
	};
}

static void region_remove(struct wt_region *region)
{
	struct wt_region **at = &regions;

	for (const struct flight *f = flights; f; f = f->next)
		sim_check(f->op.local_region != region,
			"a region is removed while reads are under way into it");
	while (*at != region)
		at = &(*at)->next;
	*at = region->next;
	region->endpoint->uses--;
	free(region);
}

/* ---- the fabrics ---- */

#define FABRIC(label, number, open, listen)                                                               \
	{                                                                                                 \
		.name = label, .fabric = number, .endpoint_open = open, .endpoint_close = endpoint_close, \
		.region_add = region_add, .region_key = region_key, .region_remove = region_remove,       \
		.listener_open = listen, .listener_close = sim_listener_close,                            \
		.listener_fd = sim_listener_fd, .listener_accept = sim_listener_accept,                   \
		.request_admit = sim_request_admit, .request_refuse = sim_request_refuse,                 \
		.connect = sim_no_connect, .quiesce = no_life, .resume = no_life, .detach = no_life,      \
		.attach = no_attach, .close = sim_path_close, .post = path_post, .poll = path_poll,       \
		.arm = path_arm, .fd = path_fd, .depth = path_depth, .alive = path_alive                  \
	}

static const struct wt_fabric_ops verbs = FABRIC("verbs", WT_FABRIC_VERBS, verbs_open, sim_verbs_listen);
static const struct wt_fabric_ops tcp = FABRIC("tcp", WT_FABRIC_TCP, tcp_open, sim_tcp_listen);

const struct wt_fabric_ops *wt_fabric_ops(enum wt_fabric fabric)
{
	return fabric == WT_FABRIC_VERBS ? &verbs : fabric == WT_FABRIC_TCP ? &tcp : NULL;
}

const char *wt_fabric_name(enum wt_fabric fabric)
{
	return fabric == WT_FABRIC_VERBS ? "verbs" : fabric == WT_FABRIC_TCP ? "tcp" : "invalid";
}

/* ---- faults ---- */

static unsigned host_of(const struct wt_path *path)
{
	return sim_party_host(path->endpoint->party);
}

void sim_paths_break(unsigned fabric, struct sim_pair pair)
{
	for (struct wt_path *p = paths; p; p = p->next)
		if (p->pulls && p->endpoint->fabric == fabric && p->peer &&
			sim_pair_is(pair, host_of(p), host_of(p->peer)))
			path_break(p);
}

bool sim_paths_silent(unsigned host)
{
	for (const struct flight *f = flights; f; f = f->next)
		if (host_of(f->path) == host)
			return false;
	return true;
}

static struct wt_path *any_path(uint64_t which)
{
	unsigned count = 0;

	for (struct wt_path *p = paths; p; p = p->next)
		count += p->pulls && !p->broken;
	if (!count)
		return NULL;
	which %= count;
	for (struct wt_path *p = paths; p; p = p->next)
		if (p->pulls && !p->broken && !which--)
			return p;
	return NULL;
}

void sim_paths_break_one(uint64_t which)
{
	struct wt_path *path = any_path(which);

	if (path)
		path_break(path);
}

void sim_paths_slow(uint64_t which, unsigned factor, uint64_t until_ns)
{
	struct wt_path *path = any_path(which);

	if (!path)
		return;
	path->slow = factor;
	path->slow_until_ns = until_ns;
}

void sim_paths_crash(struct sim_party *party)
{
	for (struct wt_path *p = paths; p; p = p->next)
		if (p->endpoint->party == party) {
			path_break(p);
			if (p->peer)
				p->peer->seen_dead = true;
		}
	sim_dials_crash(party);
}

const char *sim_paths_left(void)
{
	return paths       ? "a path"
	       : flights   ? "a read"
	       : regions   ? "a region"
	       : endpoints ? "an endpoint"
			   : sim_dials_left();
}

void sim_paths_open(void)
{
	sim_card_loop = sim_loop_new(sim_party_new("network cards", 0, NULL, NULL));
	next_key = sim_random();
	sim_dials_open();
}

void sim_paths_close(void)
{
	sim_card_loop = NULL;
}

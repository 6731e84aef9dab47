/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_rail.c - opens rails over the simulated network, one step after the other, on the loop. Replaces
 * transport's rail.c, which does the same in a thread. There is one listener for each fabric here.
 */
#include "sim.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rail.h"

#define REGISTER_NS (20 * SIM_MS) /* how long registering memory takes, at most */

struct wt_opening {
	struct wt_loop *loop;
	struct wt_rail_order order;
	wt_opening_fn *done;
	void *arg;
	struct sim_dial *dial;
	struct wt_timer step;
	atomic_bool stop;
	struct wt_rail rail;
	struct wt_error err;
};

static void close_path(struct wt_rail *rail, unsigned i)
{
	rail->ops->close(rail->paths[i]);
	rail->paths[i] = rail->paths[--rail->path_count];
	rail->listener[i] = rail->listener[rail->path_count];
}

void wt_rail_reap(struct wt_rail *rail)
{
	for (unsigned i = rail->path_count; i-- > 0;)
		if (!rail->ops->alive(rail->paths[i]))
			close_path(rail, i);
}

void wt_rail_hang_up(struct wt_rail *rail)
{
	while (rail->path_count)
		close_path(rail, rail->path_count - 1);
}

void wt_rail_hang_up_listener(struct wt_rail *rail, unsigned listener)
{
	for (unsigned i = rail->path_count; i-- > 0;)
		if (rail->listener[i] == listener)
			close_path(rail, i);
}

unsigned wt_rail_paths_to(const struct wt_rail *rail, unsigned listener)
{
	unsigned count = 0;

	for (unsigned i = 0; i < rail->path_count; i++)
		count += rail->listener[i] == listener;
	return count;
}

void wt_rail_join(struct wt_rail *rail, const struct wt_rail *more)
{
	assert(rail->path_count + more->path_count <= WT_RAIL_PATHS_MAX);
	for (unsigned i = 0; i < more->path_count; i++) {
		rail->paths[rail->path_count] = more->paths[i];
		rail->listener[rail->path_count++] = more->listener[i];
	}
}

void wt_rail_close(struct wt_rail *rail)
{
	wt_rail_hang_up(rail);
	wt_serving_close(rail->serving);
	*rail = (struct wt_rail){ .ops = NULL };
}

static void abandon(struct wt_opening *o)
{
	wt_rail_hang_up(&o->rail);
	if (o->rail.serving != o->order.serving)
		wt_serving_close(o->rail.serving);
	o->rail = (struct wt_rail){ .ops = NULL };
}

static void finish(struct wt_opening *o)
{
	struct wt_opening kept = *o;

	free(o);
	kept.done(kept.arg, &kept.rail, &kept.err);
}

static void registered(void *arg, uint64_t now_ns)
{
	struct wt_opening *o = arg;

	wt_error_clear(&o->err);
	if (!o->order.serving && wt_serving_register(o->rail.serving, &o->order.memory, &o->stop, &o->err))
		abandon(o);
	finish(o);
}

static void dial(void *arg, uint64_t now_ns);

static void dialled(void *arg, struct wt_path *path, const struct wt_error *err)
{
	struct wt_opening *o = arg;

	o->dial = NULL;
	if (path)
		o->rail.paths[o->rail.path_count++] = path;
	if (path && o->rail.path_count < o->order.listener[0].paths) {
		dial(o, sim_now_ns);
	} else if (o->rail.path_count) {
		wt_loop_timer_set(o->loop, &o->step,
			sim_now_ns + (o->order.serving ? 0 : sim_below(REGISTER_NS)), registered, o);
	} else {
		o->err = *err;
		abandon(o);
		finish(o);
	}
}

static void dial(void *arg, uint64_t now_ns)
{
	struct wt_opening *o = arg;
	const struct wt_rail_order *order = &o->order;

	o->rail.ops = order->ops;
	if (!o->rail.serving)
		o->rail.serving = order->serving;
	if (!o->rail.serving && wt_serving_open(order->ops, order->device, order->listener[0].host,
					&o->rail.serving, &o->err)) {
		abandon(o);
		finish(o);
		return;
	}
	o->dial = sim_path_dial(o->loop, order->ops, wt_serving_endpoint(o->rail.serving),
		order->listener[0].host, order->listener[0].port, order->hello, order->timeout_ns, dialled,
		o);
}

int wt_opening_start(struct wt_loop *loop, const struct wt_rail_order *order, wt_opening_fn *done, void *arg,
	struct wt_opening **ret_opening, struct wt_error *err)
{
	struct wt_opening *o = calloc(1, sizeof *o);

	if (!o)
		abort();
	*o = (struct wt_opening){ .loop = loop, .order = *order, .done = done, .arg = arg };
	wt_loop_timer_set(loop, &o->step, sim_now_ns, dial, o);
	*ret_opening = o;
	return 0;
}

void wt_opening_close(struct wt_opening *o)
{
	if (!o)
		return;
	if (o->dial)
		sim_dial_cancel(o->dial);
	wt_loop_timer_clear(o->loop, &o->step);
	abandon(o);
	wt_serving_close(o->order.serving); /* what was lent to it is its own now */
	free(o);
}

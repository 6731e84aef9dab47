/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rail.c - opens and closes rails. See rail.h.
 *
 * Owns an opening until `done`, or until its thread has ended, whichever an abandoned one needs. The thread
 * writes rail and err and nothing else; the loop reads them in `done`. While it runs it holds memory and
 * ring.
 */
#include "rail.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "task.h"

struct wt_opening {
	struct wt_task *task;
	struct wt_rail_order order;
	char device[160];
	wt_opening_fn *done;
	void *arg;
	atomic_bool stop; /* nobody waits for it any more */
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
	wt_serving_release(rail->serving);
	*rail = (struct wt_rail){ .ops = NULL };
}

/* As many paths as are wanted to this listener, or as work. The first error of all is kept. */
static int connect_to(struct wt_opening *o, unsigned index)
{
	const struct wt_rail_order *order = &o->order;
	const struct wt_rail_listener *listener = &order->listener[index];
	struct wt_rail *rail = &o->rail;
	int r = 0;

	for (unsigned i = 0; !r && i < listener->paths && !atomic_load(&o->stop); i++) {
		r = order->ops->connect(wt_serving_endpoint(rail->serving), listener->host, listener->port,
			order->hello, WT_ROLE_SERVE, order->timeout_ns, &rail->paths[rail->path_count],
			&o->err);
		if (r)
			break;
		rail->listener[rail->path_count++] = index;
	}
	return r;
}

/* Paths to all listeners; and the memory, if it is not served yet. */
static int open_rail(struct wt_opening *o)
{
	const struct wt_rail_order *order = &o->order;
	struct wt_rail *rail = &o->rail;
	int r = 0;

	rail->ops = order->ops;
	rail->serving = order->serving;
	if (!rail->serving)
		r = wt_serving_open(
			order->ops, order->device, order->listener[0].host, &rail->serving, &o->err);
	for (unsigned i = 0; rail->serving && i < order->listeners; i++) {
		int status = connect_to(o, i);

		r = r ? r : status;
	}
	if (!rail->path_count)
		return r ? r : wt_error_set(&o->err, ECANCELED, "was told to stop");
	wt_error_clear(&o->err);
	if (order->serving)
		return 0;
	return wt_serving_register(rail->serving, &order->memory, &o->stop, &o->err);
}

/* Gives up what was opened; a serving that was borrowed stays. */
static void abandon(struct wt_opening *o)
{
	wt_rail_hang_up(&o->rail);
	if (o->rail.serving != o->order.serving)
		wt_serving_close(o->rail.serving);
	o->rail = (struct wt_rail){ .ops = NULL };
}

static void opening_run(void *arg)
{
	struct wt_opening *o = arg;

	if (open_rail(o) || atomic_load(&o->stop))
		abandon(o);
}

static void opening_free(struct wt_opening *o)
{
	wt_ring_release(o->order.memory.ring);
	wt_memory_release(o->order.memory.memory);
	free(o);
}

static void opening_done(void *arg)
{
	struct wt_opening *o = arg;
	wt_opening_fn *done = o->done;
	struct wt_rail rail = o->rail;
	struct wt_error err = o->err;
	void *done_arg = o->arg;

	opening_free(o);
	done(done_arg, &rail, &err);
}

/* Abandoned: what was lent to it is its own now. */
static void opening_drop(void *arg)
{
	struct wt_opening *o = arg;

	abandon(o);
	wt_serving_close(o->order.serving);
	opening_free(o);
}

int wt_opening_start(struct wt_loop *loop, const struct wt_rail_order *order, wt_opening_fn *done, void *arg,
	struct wt_opening **ret_opening, struct wt_error *err)
{
	struct wt_opening *o = calloc(1, sizeof *o);
	int r;

	if (!o)
		return wt_error_set(err, ENOMEM, "no memory to open data connections");
	*o = (struct wt_opening){ .order = *order, .done = done, .arg = arg };
	if (order->device) {
		snprintf(o->device, sizeof o->device, "%s", order->device);
		o->order.device = o->device;
	}
	wt_memory_hold(order->memory.memory);
	wt_ring_hold(order->memory.ring);
	r = wt_task_start(
		loop, "open data connections", opening_run, opening_done, opening_drop, o, &o->task, err);
	if (r)
		opening_free(o);
	else
		*ret_opening = o;
	return r;
}

void wt_opening_close(struct wt_opening *o)
{
	if (!o)
		return;
	atomic_store(&o->stop, true);
	wt_task_abandon(o->task);
}

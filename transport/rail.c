/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rail.c - opens and closes rails. See rail.h.
 *
 * Owns an opening's thread and the eventfd by which that ends. The thread writes rail, err and nothing else;
 * the loop reads them after it has joined the thread.
 */
#include "rail.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct wt_opening {
	struct wt_loop *loop;
	struct wt_rail_order order;
	wt_opening_fn *done;
	void *arg;
	pthread_t thread;
	int ended;
	atomic_bool stop;
	struct wt_rail rail;
	struct wt_error err;
};

void wt_rail_reap(struct wt_rail *rail)
{
	for (unsigned i = rail->path_count; i-- > 0;) {
		if (rail->ops->alive(rail->paths[i]))
			continue;
		rail->ops->close(rail->paths[i]);
		rail->paths[i] = rail->paths[--rail->path_count];
	}
}

void wt_rail_hang_up(struct wt_rail *rail)
{
	while (rail->path_count)
		rail->ops->close(rail->paths[--rail->path_count]);
}

void wt_rail_close(struct wt_rail *rail)
{
	wt_rail_hang_up(rail);
	wt_serving_close(rail->serving);
	*rail = (struct wt_rail){ .ops = NULL };
}

/* As many paths as are wanted, or as work; and the memory, if it is not served yet. */
static int open_rail(struct wt_opening *o)
{
	const struct wt_rail_order *order = &o->order;
	struct wt_rail *rail = &o->rail;
	int r = 0;

	rail->ops = order->ops;
	rail->serving = order->serving;
	if (!rail->serving)
		r = wt_serving_open(order->ops, order->device, order->host, &rail->serving, &o->err);
	while (!r && rail->path_count < order->paths && !atomic_load(&o->stop)) {
		r = order->ops->connect(wt_serving_endpoint(rail->serving), order->host, order->port,
			order->hello, WT_ROLE_SERVE, order->timeout_ns, &rail->paths[rail->path_count],
			&o->err);
		if (!r)
			rail->path_count++;
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

static void *opening_main(void *arg)
{
	struct wt_opening *o = arg;
	uint64_t one = 1;

	if (open_rail(o))
		abandon(o);
	if (write(o->ended, &one, sizeof one) < 0)
		return NULL; /* cannot happen: the counter was 0 */
	return NULL;
}

static void opening_free(struct wt_opening *o)
{
	if (o->ended >= 0) {
		wt_loop_fd_clear(o->loop, o->ended);
		close(o->ended);
	}
	free(o);
}

static void on_ended(void *arg, uint32_t events)
{
	struct wt_opening *o = arg;
	wt_opening_fn *done = o->done;
	struct wt_rail rail;
	struct wt_error err;
	void *done_arg = o->arg;

	pthread_join(o->thread, NULL);
	rail = o->rail;
	err = o->err;
	opening_free(o);
	done(done_arg, &rail, &err);
}

static int thread_start(struct wt_opening *o)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&o->thread, NULL, opening_main, o);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

int wt_opening_start(struct wt_loop *loop, const struct wt_rail_order *order, wt_opening_fn *done, void *arg,
	struct wt_opening **ret_opening, struct wt_error *err)
{
	struct wt_opening *o = calloc(1, sizeof *o);
	int r = -ENOMEM;

	if (!o)
		return wt_error_set(err, ENOMEM, "no memory to open data connections");
	*o = (struct wt_opening){ .loop = loop, .order = *order, .done = done, .arg = arg };
	o->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = o->ended < 0 ? -errno : wt_loop_fd_set(loop, o->ended, EPOLLIN, on_ended, o);
	if (!r)
		r = thread_start(o);
	if (r) {
		opening_free(o);
		return wt_error_set(
			err, -r, "cannot start a thread to open data connections: %s", strerror(-r));
	}
	*ret_opening = o;
	return 0;
}

void wt_opening_close(struct wt_opening *o)
{
	if (!o)
		return;
	atomic_store(&o->stop, true);
	pthread_join(o->thread, NULL);
	abandon(o);
	opening_free(o);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * registrar.c - a ring of orders, and threads that carry them out. See registrar.h.
 *
 *   1. begun <= ordered; order n lies in slot n % ORDERS_MAX from when it is given until a thread begins it.
 *   2. What has ended lies in done[0 .. done_count) until it is taken.
 *   3. open == orders that are given and not taken; so neither ring nor list is ever too short.
 *   4. done_count > 0 => the descriptor is readable; only a take that finds nothing empties it.
 *
 * The lock guards all of this. The threads get no signals.
 */
#include "registrar.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct order {
	void *base;
	size_t length;
	uint64_t cookie;
};

struct wt_registrar {
	const struct wt_fabric_ops *ops;
	struct wt_endpoint *endpoint;
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct order orders[WT_REGISTRAR_ORDERS_MAX];
	struct wt_registered done[WT_REGISTRAR_ORDERS_MAX];
	uint64_t ordered, begun;
	unsigned done_count, open;
	bool stop;
	int fd;
	unsigned threads;
	pthread_t thread[WT_REGISTRAR_THREADS_MAX];
};

static void *registrar_main(void *arg)
{
	struct wt_registrar *r = arg;

	pthread_mutex_lock(&r->lock);
	while (!r->stop) {
		struct wt_registered registered = { 0 };
		struct wt_error err = { 0 }; /* who asks again is told */
		struct order order;

		if (r->begun == r->ordered) {
			pthread_cond_wait(&r->work, &r->lock);
			continue;
		}
		order = r->orders[r->begun++ % WT_REGISTRAR_ORDERS_MAX];
		pthread_mutex_unlock(&r->lock);
		registered.cookie = order.cookie;
		if (r->ops->region_add(
			    r->endpoint, order.base, order.length, WT_ACCESS_SINK, &registered.region, &err))
			registered.region = NULL;
		pthread_mutex_lock(&r->lock);
		r->done[r->done_count++] = registered;
		eventfd_write(r->fd, 1);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

static unsigned threads_wanted(void)
{
	cpu_set_t cores;
	unsigned half = sched_getaffinity(0, sizeof cores, &cores) ? 1 : (unsigned)CPU_COUNT(&cores) / 2;

	if (half > WT_REGISTRAR_THREADS_MAX)
		return WT_REGISTRAR_THREADS_MAX;
	return half ? half : 1;
}

static int start_threads(struct wt_registrar *r)
{
	unsigned wanted = threads_wanted();
	sigset_t all, before;
	int status = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (!status && r->threads < wanted) {
		status = pthread_create(&r->thread[r->threads], NULL, registrar_main, r);
		r->threads += !status;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r->threads ? 0 : -status;
}

int wt_registrar_open(
	const struct wt_fabric_ops *ops, struct wt_endpoint *endpoint, struct wt_registrar **ret_registrar)
{
	struct wt_registrar *r = calloc(1, sizeof *r);
	int status;

	if (!r)
		return -ENOMEM;
	r->ops = ops;
	r->endpoint = endpoint;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->work, NULL);
	r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	status = r->fd < 0 ? -errno : start_threads(r);
	if (status) {
		wt_registrar_close(r);
		return status;
	}
	*ret_registrar = r;
	return 0;
}

void wt_registrar_close(struct wt_registrar *r)
{
	if (!r)
		return;
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_cond_broadcast(&r->work);
	pthread_mutex_unlock(&r->lock);
	while (r->threads)
		pthread_join(r->thread[--r->threads], NULL);
	while (r->done_count--)
		if (r->done[r->done_count].region)
			r->ops->region_remove(r->done[r->done_count].region);
	if (r->fd >= 0)
		close(r->fd);
	pthread_cond_destroy(&r->work);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

int wt_registrar_order(struct wt_registrar *r, void *base, size_t length, uint64_t cookie)
{
	int status = -EAGAIN;

	pthread_mutex_lock(&r->lock);
	if (r->open < WT_REGISTRAR_ORDERS_MAX) {
		r->orders[r->ordered++ % WT_REGISTRAR_ORDERS_MAX] = (struct order){ base, length, cookie };
		r->open++;
		pthread_cond_signal(&r->work);
		status = 0;
	}
	pthread_mutex_unlock(&r->lock);
	return status;
}

bool wt_registrar_take(struct wt_registrar *r, struct wt_registered *ret_registered)
{
	eventfd_t news;
	bool any;

	pthread_mutex_lock(&r->lock);
	any = r->done_count > 0;
	if (any) {
		*ret_registered = r->done[--r->done_count];
		r->open--;
	} else {
		eventfd_read(r->fd, &news);
	}
	pthread_mutex_unlock(&r->lock);
	return any;
}

int wt_registrar_fd(const struct wt_registrar *r)
{
	return r->fd;
}

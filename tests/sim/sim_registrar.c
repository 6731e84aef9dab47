/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_registrar.c - memory is registered by the loop, some turns after it was ordered, in any order. Replaces
 * transport's registrar.c, which does it in threads.
 */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>

#include "registrar.h"

#define TURNS 4 /* that an order takes, about */

struct order {
	void *base;
	size_t length;
	uint64_t cookie;
};

struct wt_registrar {
	const struct wt_fabric_ops *ops;
	struct wt_endpoint *endpoint;
	int fd;
	unsigned open;
	struct order orders[WT_REGISTRAR_ORDERS_MAX];
};

int wt_registrar_open(
	const struct wt_fabric_ops *ops, struct wt_endpoint *endpoint, struct wt_registrar **ret_registrar)
{
	struct wt_registrar *r = calloc(1, sizeof *r);

	r->ops = ops;
	r->endpoint = endpoint;
	r->fd = sim_fd_new();
	*ret_registrar = r;
	return 0;
}

void wt_registrar_close(struct wt_registrar *r)
{
	if (!r)
		return;
	sim_fd_free(r->fd);
	free(r);
}

int wt_registrar_order(struct wt_registrar *r, void *base, size_t length, uint64_t cookie)
{
	if (r->open == WT_REGISTRAR_ORDERS_MAX || sim_one_in(16))
		return -EAGAIN;
	r->orders[r->open++] = (struct order){ base, length, cookie };
	sim_fd_ready(r->fd, true);
	return 0;
}

bool wt_registrar_take(struct wt_registrar *r, struct wt_registered *ret_registered)
{
	struct wt_error err = { 0 };
	struct order *order;

	if (!r->open) {
		sim_fd_ready(r->fd, false);
		return false;
	}
	if (!sim_one_in(TURNS))
		return false;
	order = &r->orders[sim_one_in(2) ? 0 : r->open - 1];
	*ret_registered = (struct wt_registered){ .cookie = order->cookie };
	if (sim_one_in(8) || r->ops->region_add(r->endpoint, order->base, order->length, WT_ACCESS_SINK,
				     &ret_registered->region, &err))
		ret_registered->region = NULL;
	*order = r->orders[--r->open];
	return true;
}

int wt_registrar_fd(const struct wt_registrar *r)
{
	return r->fd;
}

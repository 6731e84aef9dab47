/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine_read_wait.c - the end of a read test that is read from.
 *
 * Serves one caller, as it orders, and ends when the caller's connection does.
 */
#include "engine.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct serving {
	const struct wt_fabric_ops *ops;
	struct wt_bench_order order;
	int socket; /* to the caller; -1: none */
	struct wt_bench_memory memory;
	struct wt_endpoint *endpoint;
	struct wt_region *region;
	struct wt_listener *listener;
	unsigned path_count;
	struct wt_path *paths[WT_BENCH_PATHS_MAX];
};

static int offer_make(struct serving *serving, const struct wt_bench_options *options, const char *host,
	struct wt_bench_offer *ret_offer, struct wt_error *err)
{
	int status;

	serving->ops = wt_fabric_ops((enum wt_fabric)serving->order.fabric);
	if (!serving->ops)
		return wt_error_set(err, ENOTSUP, "this build has no such fabric; say --fabric tcp there");
	status = wt_bench_memory_open(serving->order.memory, serving->order.huge, &serving->memory, err);
	if (status < 0)
		return status;
	wt_bench_pattern_fill(serving->memory.base, serving->memory.length);
	status = serving->ops->endpoint_open(options->device, host, &serving->endpoint, err);
	if (status >= 0)
		status = serving->ops->region_add(serving->endpoint, serving->memory.base,
			serving->memory.length, WT_ACCESS_SERVE, &serving->region, err);
	if (status >= 0 && serving->ops->region_file)
		serving->ops->region_file(serving->region, serving->memory.fd, 0);
	if (status >= 0)
		status = serving->ops->listener_open(NULL, 0, &serving->listener, &ret_offer->port, err);
	if (status >= 0)
		serving->ops->region_key(serving->region, &ret_offer->key);
	return status;
}

/* True once the caller's connection has ended, or something came on it, which means the same. */
static bool caller_left(const struct serving *serving, int wait_ms)
{
	struct pollfd wait = { .fd = serving->socket, .events = POLLIN };

	return poll(&wait, 1, wait_ms) == 1;
}

static int path_admit(struct serving *serving, struct wt_error *err)
{
	uint8_t hello[WT_PATH_HELLO_BYTES];
	struct wt_request *request;
	int status = serving->ops->listener_accept(serving->listener, &request, hello);

	if (status == -EAGAIN)
		return 0;
	if (status < 0)
		return wt_error_set(err, -status, "no path can be accepted: %s", strerror(-status));
	if (memcmp(hello, serving->order.hello, sizeof hello) != 0 ||
		serving->path_count == serving->order.paths) {
		serving->ops->request_refuse(request);
		return 0;
	}
	status = serving->ops->request_admit(
		request, serving->endpoint, WT_ROLE_SERVE, &serving->paths[serving->path_count], err);
	if (status >= 0)
		serving->path_count++;
	return status;
}

/* Until the caller has all its paths, or has left. */
static int paths_admit(struct serving *serving, struct wt_error *err)
{
	int status = 0;

	while (status >= 0 && serving->path_count < serving->order.paths) {
		struct pollfd wait[] = { { .fd = serving->socket, .events = POLLIN },
			{ .fd = serving->ops->listener_fd(serving->listener), .events = POLLIN } };

		if (poll(wait, 2, -1) < 0 && errno != EINTR)
			return wt_error_set(err, errno, "cannot wait for paths: %s", strerror(errno));
		if (wait[0].revents)
			return 0;
		status = path_admit(serving, err);
	}
	return status;
}

static void end(struct serving *serving)
{
	for (unsigned i = 0; i < serving->path_count; i++)
		serving->ops->close(serving->paths[i]);
	if (serving->listener)
		serving->ops->listener_close(serving->listener);
	if (serving->region)
		serving->ops->region_remove(serving->region);
	if (serving->endpoint)
		serving->ops->endpoint_close(serving->endpoint);
	wt_bench_memory_close(&serving->memory);
	if (serving->socket >= 0)
		close(serving->socket);
}

int wt_bench_read_wait(
	const struct wt_bench_test *test, const struct wt_bench_options *options, struct wt_error *err)
{
	struct serving serving = { .socket = -1 };
	struct wt_bench_offer offer = { 0 };
	char host[64];
	uint16_t port;
	int listening, status = wt_bench_meet_listen((uint16_t)options->port, &listening, &port, err);

	if (status < 0)
		return status;
	wt_bench_waits_say(options, port);
	status = wt_bench_meet_accept(listening, &serving.socket, host, &serving.order, err);
	close(listening);
	if (status >= 0) {
		status = offer_make(&serving, options, host, &offer, err);
		if (status < 0)
			wt_bench_meet_refuse(serving.socket, err);
		else if (wt_bench_meet_offer(serving.socket, &offer) < 0)
			status = wt_error_set(err, ECONNRESET, "the caller at %s has left", host);
	}
	if (status >= 0)
		status = paths_admit(&serving, err);
	while (status >= 0 && !caller_left(&serving, -1))
		;
	end(&serving);
	return status;
}

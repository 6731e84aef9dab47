/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * channel_connect.c - from an address to a connected socket.
 *
 * Owns the list of addresses while they are tried, one after the other; each gets an equal share of the time
 * that is left. What is wrong with the request itself (path too long, in the clear to the address of another
 * host) is answered by wt_channel_connect; what the network and the name service say comes by `closed`.
 *
 *   1. channel->connect is not NULL exactly while the state is CONNECTING.
 *   2. In the clear nothing is sent to an address that is not loopback: all addresses are checked before the
 *      first is tried.
 *
 *   3. A name is looked up by a thread, which may outlive the channel: it owns all that it uses.
 *
 * Nothing here blocks. The loop's thread only, but for look_up_name and lookup_free.
 */
#include "channel_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define UNIX_RETRY_NS 10000000ull /* a unix listener's queue is full: nothing will tell when it is not */

static void try_next(struct wt_channel *channel);

void wt_channel_connect_free(struct wt_channel *channel)
{
	if (!channel->connect)
		return;
	wt_task_abandon(channel->connect->lookup);
	if (channel->connect->list)
		freeaddrinfo(channel->connect->list);
	free(channel->connect);
	channel->connect = NULL;
}

static void connected(struct wt_channel *channel)
{
	wt_channel_deadline_set(channel, channel->connect->deadline_ns);
	wt_channel_connect_free(channel);
	wt_channel_begin(channel, channel->fd);
}

static void drop_socket(struct wt_channel *channel)
{
	if (channel->fd < 0)
		return;
	wt_loop_fd_clear(channel->loop, channel->fd);
	close(channel->fd);
	channel->fd = -1;
}

/* No address is left. */
static void give_up(struct wt_channel *channel)
{
	const char *name = channel->connect->name;
	int error = channel->connect->last_error;
	struct wt_error *err = &channel->error;

	switch (error) {
	case ECONNREFUSED:
		wt_error_set(err, error,
			"cannot connect to %s: connection refused; nothing listens there: start the other side "
			"first, or check the address",
			name);
		break;
	case ETIMEDOUT:
		wt_error_set(err, error,
			"cannot connect to %s: no answer within %.1f s; check the address, the network and "
			"firewalls",
			name, (double)channel->timeout_ns / WT_CHANNEL_NS_PER_S);
		break;
	case ENOENT:
		wt_error_set(err, error,
			"cannot connect to %s: there is no such socket; start the other side first, or check the "
			"path",
			name);
		break;
	default:
		wt_error_set(err, error, "cannot connect to %s: %s", name, strerror(error));
	}
	wt_channel_fail_soon(channel);
}

/* Begins with one address. 0: connected; -EINPROGRESS: the socket is watched; another -errno: no. */
static int try_address(struct wt_channel *channel, const struct sockaddr *address, socklen_t length)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int result;

	if (fd < 0)
		return -errno;
	channel->fd = fd;
	if (address->sa_family != AF_UNIX)
		wt_socket_tune(fd);
	if (connect(fd, address, length) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	result = wt_loop_fd_set(channel->loop, fd, EPOLLOUT, wt_channel_on_socket, channel);
	return result ? result : -EINPROGRESS;
}

static void try_unix(struct wt_channel *channel)
{
	const struct wt_connect *connect = channel->connect;
	uint64_t now_ns = wt_loop_now_ns(channel->loop);
	int result = try_address(channel, (const struct sockaddr *)&connect->un, sizeof connect->un);

	if (!result) {
		connected(channel);
		return;
	}
	drop_socket(channel);
	if (result == -EAGAIN && now_ns < connect->deadline_ns) {
		wt_channel_deadline_set(channel, now_ns + UNIX_RETRY_NS);
		return;
	}
	channel->connect->last_error = result == -EAGAIN ? ETIMEDOUT : -result;
	give_up(channel);
}

static void try_next(struct wt_channel *channel)
{
	struct wt_connect *connect = channel->connect;
	const struct addrinfo *address, *other;
	uint64_t now_ns = wt_loop_now_ns(channel->loop), left_ns;
	unsigned count = 0;
	int result;

	while ((address = connect->next)) {
		connect->next = address->ai_next;
		wt_socket_name(address->ai_addr, address->ai_addrlen, channel->peer, channel->peer_host,
			sizeof channel->peer);
		result = try_address(channel, address->ai_addr, address->ai_addrlen);
		if (!result) {
			connected(channel);
			return;
		}
		if (result == -EINPROGRESS) {
			for (other = address; other; other = other->ai_next)
				count++;
			left_ns = connect->deadline_ns > now_ns ? connect->deadline_ns - now_ns : 0;
			wt_channel_deadline_set(channel, now_ns + left_ns / count);
			return;
		}
		drop_socket(channel);
		connect->last_error = -result;
	}
	give_up(channel);
}

void wt_channel_connect_ready(struct wt_channel *channel)
{
	int error = 0;
	socklen_t length = sizeof error;

	if (getsockopt(channel->fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		error = errno;
	if (!error) {
		connected(channel);
		return;
	}
	drop_socket(channel);
	channel->connect->last_error = error;
	try_next(channel);
}

static void lookup_too_slow(struct wt_channel *channel)
{
	wt_error_set(&channel->error, ETIMEDOUT,
		"the host of %s could not be looked up within %.1f s; check the name service, or give an address",
		channel->connect->name, (double)channel->timeout_ns / WT_CHANNEL_NS_PER_S);
	wt_task_abandon(channel->connect->lookup);
	channel->connect->lookup = NULL;
	wt_channel_fail_soon(channel);
}

void wt_channel_connect_timeout(struct wt_channel *channel)
{
	if (channel->connect->lookup) {
		lookup_too_slow(channel);
		return;
	}
	if (channel->connect->un.sun_family == AF_UNIX) {
		try_unix(channel);
		return;
	}
	drop_socket(channel);
	channel->connect->last_error = ETIMEDOUT;
	try_next(channel);
}

/* ---- names ---- */

static void look_up_name(void *arg)
{
	struct wt_lookup *lookup = arg;
	struct wt_address address = { .host = lookup->host, .port = lookup->port };

	lookup->result = wt_address_resolve(&address, false, &lookup->list, &lookup->error);
}

static void lookup_free(void *arg)
{
	struct wt_lookup *lookup = arg;

	if (lookup->list)
		freeaddrinfo(lookup->list);
	free(lookup);
}

static void looked_up(void *arg)
{
	struct wt_lookup *lookup = arg;
	struct wt_channel *channel = lookup->channel;
	struct wt_connect *connect = channel->connect;
	struct wt_error err = lookup->error;
	int result = lookup->result;

	connect->lookup = NULL;
	connect->list = connect->next = lookup->list;
	lookup->list = NULL;
	lookup_free(lookup);
	if (!result && !channel->tls)
		result = wt_address_check_clear(connect->name, connect->list, &err);
	wt_channel_enter(channel);
	if (result)
		wt_channel_fail(channel, &err);
	else
		try_next(channel);
	wt_channel_leave(channel);
}

static int look_up_later(struct wt_channel *channel, const struct wt_address *address, struct wt_error *err)
{
	struct wt_connect *connect = channel->connect;
	struct wt_lookup *lookup;
	int result;

	if (strlen(address->host) >= sizeof lookup->host)
		return wt_error_set(err, EHOSTUNREACH,
			"the host \"%.64s...\" is unknown: its name is too long", address->host);
	lookup = calloc(1, sizeof *lookup);
	if (!lookup)
		return wt_error_set(err, ENOMEM, "out of memory for a connection");
	lookup->channel = channel;
	lookup->port = address->port;
	strcpy(lookup->host, address->host);
	result = wt_task_start(channel->loop, "look up a host", look_up_name, looked_up, lookup_free, lookup,
		&connect->lookup, err);
	if (result)
		lookup_free(lookup);
	else
		wt_channel_deadline_set(channel, connect->deadline_ns);
	return result;
}

/* ---- connecting ---- */

/* Fills channel->connect. */
static int look_up(
	struct wt_channel *channel, const struct wt_address *address, bool clear, struct wt_error *err)
{
	struct wt_connect *connect = calloc(1, sizeof *connect);
	uint64_t now_ns = wt_loop_now_ns(channel->loop);
	int result;

	if (!connect)
		return wt_error_set(err, ENOMEM, "out of memory for a connection");
	channel->connect = connect;
	connect->deadline_ns =
		channel->timeout_ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + channel->timeout_ns;
	wt_address_name(address, connect->name, sizeof connect->name);
	memcpy(channel->peer, connect->name, sizeof channel->peer);
	if (address->unix_path)
		return wt_address_unix(address->unix_path, &connect->un, err);
	if (!address->host || !address->host[0] || !address->port)
		return wt_error_set(
			err, EINVAL, "cannot connect to %s: a host and a port are needed", connect->name);
	if (!wt_address_numeric(address))
		return look_up_later(channel, address, err);
	result = wt_address_resolve(address, false, &connect->list, err);
	connect->next = connect->list;
	return !result && clear ? wt_address_check_clear(connect->name, connect->list, err) : result;
}

int wt_channel_connect(struct wt_loop *loop, const struct wt_address *address,
	const struct wt_credentials *credentials, uint64_t timeout_ns, const struct wt_channel_events *events,
	void *arg, struct wt_channel **ret_channel, struct wt_error *err)
{
	struct wt_tls_context *context = NULL;
	struct wt_channel *channel;
	int result;

	result = wt_channel_new(loop, events, arg, &channel, err);
	if (result)
		return result;
	channel->timeout_ns = timeout_ns;
	result = look_up(channel, address, !credentials, err);
	if (!result && credentials) {
		result = wt_tls_context_open(false, credentials, &context, err);
		if (!result)
			result = wt_tls_open(context, channel->peer, address->host, &channel->tls, err);
		wt_tls_context_close(context);
	}
	if (result) {
		wt_channel_close(channel);
		return result;
	}
	if (address->unix_path)
		try_unix(channel);
	else if (!channel->connect->lookup)
		try_next(channel);
	*ret_channel = channel;
	return 0;
}

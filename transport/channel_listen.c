/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * channel_listen.c - takes connections, and hands over those whose handshake succeeded.
 *
 * Owns the listening socket, the file of a unix socket, and the channels whose handshake is under way
 * (`pending`, oldest first).
 *
 *   1. pending_count <= PENDING_MAX. When one more comes, the oldest is dropped: an honest handshake takes
 *      milliseconds, so peers that connect and say nothing cannot keep others out.
 *   2. Every connection ends in exactly one of: `accepted`, `refused`, or the listener's close.
 *   3. A unix socket's file has mode 0600 from its first moment, and is removed only while it is still ours.
 *   4. The memory is freed only when no function of ours is on the stack, so callbacks may close the
 *      listener.
 *
 * The loop's thread only. A name that has several addresses is listened on at the first one that works. Two
 * processes that find the same stale unix socket in the same moment may both replace it; the later one wins.
 */
#include "channel_internal.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG 128
#define PENDING_MAX 64
#define HANDSHAKE_NS (10 * WT_CHANNEL_NS_PER_S)
#define ACCEPTS_PER_TURN 16
#define REST_NS 100000000ull /* after accept failed for want of descriptors or memory */

struct pending {
	struct wt_channel_listener *listener;
	struct wt_channel *channel;
	struct pending *previous, *next;
};

struct wt_channel_listener {
	struct wt_loop *loop;
	struct wt_channel_listener_events events;
	void *arg;
	int fd;
	struct wt_tls_context *context; /* NULL: in the clear */
	struct pending *oldest, *newest;
	unsigned pending_count;
	struct wt_timer rest;
	unsigned entered;
	bool closed;
	char name[WT_CHANNEL_NAME_MAX];
	char *unix_path; /* or NULL */
	dev_t unix_device;
	ino_t unix_inode;
};

static void on_readable(void *arg, uint32_t events);

static void leave(struct wt_channel_listener *listener)
{
	if (--listener->entered || !listener->closed)
		return;
	wt_tls_context_close(listener->context);
	free(listener->unix_path);
	free(listener);
}

static void pending_remove(struct wt_channel_listener *listener, struct pending *pending)
{
	assert(!pending->previous == (pending == listener->oldest));
	*(pending->previous ? &pending->previous->next : &listener->oldest) = pending->next;
	*(pending->next ? &pending->next->previous : &listener->newest) = pending->previous;
	listener->pending_count--;
	free(pending);
}

static void pending_add(struct pending *pending)
{
	struct wt_channel_listener *listener = pending->listener;

	pending->previous = listener->newest;
	pending->next = NULL;
	*(listener->newest ? &listener->newest->next : &listener->oldest) = pending;
	listener->newest = pending;
	listener->pending_count++;
}

static void refuse(struct wt_channel_listener *listener, const struct wt_error *err)
{
	if (!listener->closed && listener->events.refused)
		listener->events.refused(listener->arg, err);
}

static void on_handshake_done(void *arg)
{
	struct pending *pending = arg;
	struct wt_channel_listener *listener = pending->listener;
	struct wt_channel *channel = pending->channel;

	listener->entered++;
	pending_remove(listener, pending);
	wt_channel_set_events(channel, NULL, NULL);
	listener->events.accepted(listener->arg, channel);
	leave(listener);
}

static void on_handshake_failed(void *arg, const struct wt_error *err)
{
	struct pending *pending = arg;
	struct wt_channel_listener *listener = pending->listener;
	struct wt_channel *channel = pending->channel;

	listener->entered++;
	pending_remove(listener, pending);
	wt_channel_close(channel);
	refuse(listener, err);
	leave(listener);
}

static void drop_oldest(struct wt_channel_listener *listener)
{
	struct wt_channel *channel = listener->oldest->channel;
	struct wt_error err = { 0 };

	wt_error_set(&err, EBUSY,
		"%s was dropped: more than %d peers connected to %s and did not finish the "
		"TLS handshake",
		channel->peer, PENDING_MAX, listener->name);
	pending_remove(listener, listener->oldest);
	wt_channel_close(channel);
	refuse(listener, &err);
}

static void name_peer(const struct wt_channel_listener *listener, struct wt_channel *channel,
	const struct sockaddr_storage *address, socklen_t length)
{
	if (listener->unix_path) {
		memcpy(channel->peer, listener->name, sizeof channel->peer);
		return;
	}
	wt_socket_name((const struct sockaddr *)address, length, channel->peer, channel->peer_host,
		sizeof channel->peer);
}

/* Takes fd, also when it fails. */
static int take(struct wt_channel_listener *listener, int fd, const struct sockaddr_storage *address,
	socklen_t length, struct wt_error *err)
{
	static const struct wt_channel_events events = {
		.open = on_handshake_done,
		.closed = on_handshake_failed,
	};
	struct pending *pending = calloc(1, sizeof *pending);
	struct wt_channel *channel = NULL;
	int result;

	if (!pending) {
		result = wt_error_set(err, ENOMEM, "out of memory for a connection to %s", listener->name);
		goto close_fd;
	}
	result = wt_channel_new(listener->loop, &events, pending, &channel, err);
	if (result)
		goto free_pending;
	name_peer(listener, channel, address, length);
	if (listener->context) {
		result = wt_tls_open(listener->context, channel->peer, NULL, &channel->tls, err);
		if (result)
			goto close_channel;
	}
	if (!listener->unix_path)
		wt_socket_tune(fd);
	channel->timeout_ns = HANDSHAKE_NS;
	wt_channel_deadline_set(channel, wt_loop_now_ns(listener->loop) + HANDSHAKE_NS);
	pending->listener = listener;
	pending->channel = channel;
	pending_add(pending);
	wt_channel_begin(channel, fd);
	return 0;
close_channel:
	wt_channel_close(channel);
free_pending:
	free(pending);
close_fd:
	close(fd);
	return result;
}

static void on_rested(void *arg, uint64_t now_ns)
{
	struct wt_channel_listener *listener = arg;

	(void)now_ns;
	if (wt_loop_fd_set(listener->loop, listener->fd, EPOLLIN, on_readable, listener))
		wt_loop_timer_set(listener->loop, &listener->rest, wt_loop_now_ns(listener->loop) + REST_NS,
			on_rested, listener);
}

/* The connection stays in the kernel's queue; looking again at once would fail again at once. */
static void rest(struct wt_channel_listener *listener, int error)
{
	struct wt_error err = { 0 };

	wt_loop_fd_clear(listener->loop, listener->fd);
	wt_loop_timer_set(listener->loop, &listener->rest, wt_loop_now_ns(listener->loop) + REST_NS,
		on_rested, listener);
	wt_error_set(&err, error, "cannot take a connection to %s at the moment: %s", listener->name,
		strerror(error));
	refuse(listener, &err);
}

static void on_readable(void *arg, uint32_t events)
{
	struct wt_channel_listener *listener = arg;
	struct sockaddr_storage address;
	struct wt_error err;
	socklen_t length;
	unsigned i;
	int fd;

	(void)events;
	listener->entered++;
	for (i = 0; i < ACCEPTS_PER_TURN && !listener->closed; i++) {
		length = sizeof address;
		memset(&address, 0, sizeof address);
		fd = accept4(
			listener->fd, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && errno == EAGAIN)
			break;
		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
			rest(listener, errno);
			break;
		}
		if (fd < 0)
			continue; /* that connection has failed, accept(2) says; the next may be well */
		wt_error_clear(&err);
		if (take(listener, fd, &address, length, &err) < 0)
			refuse(listener, &err);
		else if (listener->pending_count > PENDING_MAX)
			drop_oldest(listener);
	}
	leave(listener);
}

static int bind_address(
	struct wt_channel_listener *listener, const struct sockaddr *address, socklen_t length)
{
	int one = 1, zero = 0, error;
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (address->sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
	if (bind(fd, address, length) == 0 && listen(fd, BACKLOG) == 0) {
		listener->fd = fd;
		return 0;
	}
	error = errno;
	close(fd);
	return -error;
}

/* Everywhere: one IPv6 socket that takes IPv4 as well; where there is no IPv6, IPv4 alone. */
static int bind_everywhere(struct wt_channel_listener *listener, uint16_t port)
{
	struct sockaddr_in6 in6 = {
		.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = in6addr_any
	};
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
	int result = bind_address(listener, (const struct sockaddr *)&in6, sizeof in6);

	if (result == -EAFNOSUPPORT || result == -EADDRNOTAVAIL)
		result = bind_address(listener, (const struct sockaddr *)&in, sizeof in);
	return result;
}

static int listen_tcp(struct wt_channel_listener *listener, const struct wt_address *address,
	uint16_t *ret_port, struct wt_error *err)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} bound = { 0 };
	struct addrinfo *list = NULL, *item;
	socklen_t length = sizeof bound;
	int result;

	if (!address->host && !listener->context)
		return wt_error_set(err, EPERM,
			"%s would listen on every address, and without credentials nothing is encrypted; give --tls-creds or --psk, "
			"or use a loopback address or a unix socket",
			listener->name);
	if (!address->host) {
		result = bind_everywhere(listener, address->port);
	} else {
		result = wt_address_resolve(address, true, &list, err);
		if (!result && !listener->context)
			result = wt_address_check_clear(listener->name, list, err);
		if (result)
			goto free_list;
		result = -EADDRNOTAVAIL;
		for (item = list; item && result; item = item->ai_next)
			result = bind_address(listener, item->ai_addr, item->ai_addrlen);
	}
	if (result == -EADDRINUSE)
		wt_error_set(err, EADDRINUSE,
			"cannot listen on %s: another process does already; stop it or take another port",
			listener->name);
	else if (result == -EADDRNOTAVAIL)
		wt_error_set(err, EADDRNOTAVAIL, "cannot listen on %s: that is not an address of this host",
			listener->name);
	else if (result)
		wt_error_set(err, -result, "cannot listen on %s: %s", listener->name, strerror(-result));
	if (!result && ret_port && getsockname(listener->fd, &bound.any, &length))
		result = wt_error_set(err, errno, "the port of %s cannot be found out: %s", listener->name,
			strerror(errno));
	else if (!result && ret_port)
		*ret_port = ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
free_list:
	if (list)
		freeaddrinfo(list);
	return result;
}

/*
 * Removes a socket's file on which nobody listens. 0: the path is free. Asks with a datagram socket: a living
 * stream socket answers EPROTOTYPE and notices nothing, a stale file answers ECONNREFUSED (unix(7)).
 */
static int remove_stale(const char *path, const struct sockaddr_un *address, struct wt_error *err)
{
	struct stat st;
	int fd, error;

	if (lstat(path, &st) < 0)
		return errno == ENOENT
			       ? 0
			       : wt_error_set(err, errno, "cannot look at %s: %s", path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return wt_error_set(err, EEXIST,
			"cannot listen on %s: there is a file that is not a socket; remove it or take another path",
			path);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return wt_error_set(err, errno, "cannot make a socket: %s", strerror(errno));
	error = connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 ? errno : 0;
	close(fd);
	if (error == 0 || error == EPROTOTYPE)
		return wt_error_set(err, EADDRINUSE,
			"cannot listen on %s: another process does already; stop it or take another path",
			path);
	if (error != ECONNREFUSED && error != ENOENT)
		return wt_error_set(err, error, "cannot listen on %s: it exists and cannot be tried (%s)",
			path, strerror(error));
	if (unlink(path) < 0 && errno != ENOENT)
		return wt_error_set(
			err, errno, "cannot remove the stale socket %s: %s", path, strerror(errno));
	return 0;
}

static int listen_unix(struct wt_channel_listener *listener, const char *path, struct wt_error *err)
{
	struct sockaddr_un address;
	struct stat st;
	int result = wt_address_unix(path, &address, err);

	if (!result)
		result = remove_stale(path, &address, err);
	if (result)
		return result;
	listener->unix_path = strdup(path);
	if (!listener->unix_path)
		return wt_error_set(err, ENOMEM, "out of memory while listening on %s", path);
	listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	/* The file takes its mode from the socket: no moment with a wider one, no change of the umask. */
	if (listener->fd < 0 || fchmod(listener->fd, 0600) < 0 ||
		bind(listener->fd, (const struct sockaddr *)&address, sizeof address) < 0)
		return wt_error_set(err, errno, "cannot listen on %s: %s", path, strerror(errno));
	if (lstat(path, &st) < 0 || listen(listener->fd, BACKLOG) < 0) {
		result = wt_error_set(err, errno, "cannot listen on %s: %s", path, strerror(errno));
		unlink(path);
		return result;
	}
	listener->unix_device = st.st_dev;
	listener->unix_inode = st.st_ino;
	return 0;
}

int wt_channel_listen(struct wt_loop *loop, const struct wt_address *address,
	const struct wt_credentials *credentials, const struct wt_channel_listener_events *events, void *arg,
	struct wt_channel_listener **ret_listener, uint16_t *ret_port, struct wt_error *err)
{
	struct wt_channel_listener *listener = calloc(1, sizeof *listener);
	uint16_t port = 0;
	int result = 0;

	if (!listener)
		return wt_error_set(err, ENOMEM, "out of memory for a listener");
	listener->loop = loop;
	listener->events = *events;
	listener->arg = arg;
	listener->fd = -1;
	wt_address_name(address, listener->name, sizeof listener->name);
	if (credentials)
		result = wt_tls_context_open(true, credentials, &listener->context, err);
	if (!result)
		result = address->unix_path ? listen_unix(listener, address->unix_path, err)
					    : listen_tcp(listener, address, &port, err);
	if (!result) {
		result = wt_loop_fd_set(loop, listener->fd, EPOLLIN, on_readable, listener);
		if (result)
			wt_error_set(err, -result, "cannot watch %s: %s", listener->name, strerror(-result));
	}
	if (result) {
		wt_channel_listener_close(listener);
		return result;
	}
	*ret_listener = listener;
	if (ret_port)
		*ret_port = port;
	return 0;
}

void wt_channel_listener_close(struct wt_channel_listener *listener)
{
	struct wt_channel *channel;
	struct stat st;

	if (!listener || listener->closed)
		return;
	listener->entered++;
	listener->closed = true;
	while (listener->oldest) {
		channel = listener->oldest->channel;
		pending_remove(listener, listener->oldest);
		wt_channel_close(channel);
	}
	wt_loop_timer_clear(listener->loop, &listener->rest);
	if (listener->fd >= 0) {
		wt_loop_fd_clear(listener->loop, listener->fd);
		close(listener->fd);
	}
	if (listener->unix_inode && lstat(listener->unix_path, &st) == 0 &&
		st.st_dev == listener->unix_device && st.st_ino == listener->unix_inode)
		unlink(listener->unix_path);
	leave(listener);
}

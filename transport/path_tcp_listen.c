/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_tcp_listen.c - the listener of the tcp fabric, and the greetings of those who have just connected.
 *
 * Owns the listening socket, the connections that have not greeted yet (half-open), and an epoll descriptor
 * that becomes readable when accept has something to do.
 *   1. Half-open connections are ordered by age, oldest first, and at most WT_TCP_HALF_OPEN_MAX; a new one
 *      beyond that pushes the oldest out: an honest greeting comes right behind the connection.
 *   2. None is older than WT_TCP_GREETING_AGE_MAX_NS after an accept; the timer fires when one becomes so.
 *   3. Out of descriptors, listening pauses for a moment instead of spinning.
 *   4. With TLS the handshake comes before the greeting, and within the same time.
 * Nothing is logged; who says nothing, or anything else than a greeting, is closed and counted. Threads: the
 * owner's.
 */
#include "path_tcp.h"

#include <endian.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define ACCEPTS_PER_CALL 64
#define ROUNDS_PER_CALL 4
#define PAUSE_NS 100000000ull

struct half_open {
	int socket;
	struct wt_tcp_tls *tls; /* NULL: in the clear */
	bool shaken;            /* TLS is agreed on */
	uint64_t until_ns;
	size_t got;
	struct wt_tcp_greeting greeting;
	char peer[64];
};

struct wt_listener {
	int socket;
	int epoll;
	int timer;
	struct wt_tcp_tls_context *accepting; /* NULL: in the clear */
	unsigned dropped;
	uint64_t paused_until_ns; /* 0: listening */
	unsigned count;
	struct half_open halves[WT_TCP_HALF_OPEN_MAX];
};

static int bind_one(const struct addrinfo *address, int *ret_socket)
{
	int one = 1;
	int zero = 0;
	int status;
	int fd;

	fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (address->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
	if (bind(fd, address->ai_addr, address->ai_addrlen) < 0 || listen(fd, 128) < 0) {
		status = -errno;
		close(fd);
		return status;
	}
	*ret_socket = fd;
	return 0;
}

static int bind_any(const char *host, uint16_t port, int *ret_socket, struct wt_error *err)
{
	struct addrinfo hints = {
		.ai_family = host ? AF_UNSPEC : AF_INET6,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | AI_PASSIVE,
	};
	struct addrinfo *addresses;
	struct addrinfo *address;
	char service[8];
	int status;

	snprintf(service, sizeof service, "%u", (unsigned)port);
	for (;;) {
		status = getaddrinfo(host, service, &hints, &addresses);
		if (status)
			return wt_error_set(err, EADDRNOTAVAIL, "cannot resolve %s to listen on it: %s",
				host ? host : "any address", gai_strerror(status));
		status = -EADDRNOTAVAIL;
		for (address = addresses; address && status < 0; address = address->ai_next)
			status = bind_one(address, ret_socket);
		freeaddrinfo(addresses);
		if (status >= 0 || host || hints.ai_family == AF_INET || status == -EADDRINUSE)
			break;
		hints.ai_family = AF_INET; /* a host without IPv6 */
	}
	if (status < 0)
		return wt_error_set(err, -status, "cannot listen on %s port %u: %s",
			host ? host : "any address", (unsigned)port, strerror(-status));
	return 0;
}

static int port_of(int socket, uint16_t *ret_port)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} name = { 0 };
	socklen_t length = sizeof name;

	if (getsockname(socket, &name.any, &length) < 0)
		return -errno;
	*ret_port = ntohs(name.any.sa_family == AF_INET6 ? name.v6.sin6_port : name.v4.sin_port);
	return 0;
}

static int watch(struct wt_listener *listener, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(listener->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void wt_tcp_listener_close(struct wt_listener *listener)
{
	unsigned i;

	if (!listener)
		return;
	for (i = 0; i < listener->count; i++) {
		wt_tcp_tls_close(listener->halves[i].tls);
		close(listener->halves[i].socket);
	}
	wt_tcp_tls_context_close(listener->accepting);
	if (listener->timer >= 0)
		close(listener->timer);
	if (listener->epoll >= 0)
		close(listener->epoll);
	if (listener->socket >= 0)
		close(listener->socket);
	free(listener);
}

int wt_tcp_listener_open(struct wt_tcp_tls_context *accepting, const char *host, uint16_t port,
	struct wt_listener **ret_listener, uint16_t *ret_port, struct wt_error *err)
{
	struct wt_listener *listener = calloc(1, sizeof *listener);
	uint16_t bound = 0;
	int status;

	if (!listener) {
		wt_tcp_tls_context_close(accepting);
		return wt_error_set(err, ENOMEM, "out of memory for a tcp listener");
	}
	listener->accepting = accepting;
	listener->socket = -1;
	listener->epoll = epoll_create1(EPOLL_CLOEXEC);
	listener->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	status = listener->epoll < 0 || listener->timer < 0 ? -EMFILE : 0;
	if (status >= 0)
		status = bind_any(host, port, &listener->socket, err);
	if (status >= 0)
		status = port_of(listener->socket, &bound);
	if (status >= 0)
		status = watch(listener, listener->socket);
	if (status >= 0)
		status = watch(listener, listener->timer);
	if (status < 0) {
		wt_error_set(err, -status, "cannot set up a tcp listener: %s", strerror(-status));
		wt_tcp_listener_close(listener);
		return status;
	}
	*ret_port = bound;
	*ret_listener = listener;
	return 0;
}

int wt_tcp_listener_fd(const struct wt_listener *listener)
{
	return listener->epoll;
}

void wt_tcp_listener_find(struct wt_listener *listener, wt_path_find_fn *find, void *arg)
{
	wt_tcp_tls_context_find(listener->accepting, find, arg);
}

unsigned wt_tcp_listener_dropped(struct wt_listener *listener)
{
	unsigned dropped = listener->dropped;

	listener->dropped = 0;
	return dropped;
}

/* Takes one out of the list; its socket stays open. */
static void half_take(struct wt_listener *listener, unsigned at)
{
	epoll_ctl(listener->epoll, EPOLL_CTL_DEL, listener->halves[at].socket, NULL);
	listener->count--;
	memmove(&listener->halves[at], &listener->halves[at + 1],
		(listener->count - at) * sizeof listener->halves[0]);
}

static void half_drop(struct wt_listener *listener, unsigned at)
{
	int socket = listener->halves[at].socket;

	wt_tcp_tls_close(listener->halves[at].tls);
	half_take(listener, at);
	close(socket);
	listener->dropped++;
}

static void half_add(struct wt_listener *listener, int socket, const struct sockaddr *name, socklen_t length)
{
	struct wt_tcp_tls *tls = NULL;
	struct half_open *half;

	if (listener->count == WT_TCP_HALF_OPEN_MAX)
		half_drop(listener, 0);
	if (listener->accepting) {
		tls = wt_tcp_tls_open(listener->accepting, socket, NULL);
		if (!tls) {
			close(socket);
			return;
		}
	}
	if (watch(listener, socket) < 0) {
		wt_tcp_tls_close(tls);
		close(socket);
		return;
	}
	half = &listener->halves[listener->count++];
	half->socket = socket;
	half->tls = tls;
	half->shaken = false;
	half->until_ns = wt_tcp_now_ns() + WT_TCP_GREETING_AGE_MAX_NS;
	half->got = 0;
	if (getnameinfo(name, length, half->peer, sizeof half->peer, NULL, 0, NI_NUMERICHOST))
		strcpy(half->peer, "a peer");
}

static void pause_listening(struct wt_listener *listener)
{
	if (epoll_ctl(listener->epoll, EPOLL_CTL_DEL, listener->socket, NULL) == 0)
		listener->paused_until_ns = wt_tcp_now_ns() + PAUSE_NS;
}

static void take_connections(struct wt_listener *listener)
{
	unsigned i;

	for (i = 0; i < ACCEPTS_PER_CALL; i++) {
		struct sockaddr_storage name;
		socklen_t length = sizeof name;
		int socket = accept4(listener->socket, (struct sockaddr *)&name, &length, SOCK_CLOEXEC);

		if (socket >= 0) {
			half_add(listener, socket, (struct sockaddr *)&name, length);
			continue;
		}
		if (errno == EAGAIN)
			return;
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			pause_listening(listener);
			return;
		}
		/* Everything else concerns the one connection that accept would have taken. */
	}
}

static ssize_t half_receive(struct half_open *half)
{
	uint8_t *at = (uint8_t *)&half->greeting + half->got;
	struct iovec part = { .iov_base = at, .iov_len = sizeof half->greeting - half->got };
	ssize_t got;

	if (half->tls)
		return wt_tcp_tls_receive(half->tls, &part, 1);
	got = recv(half->socket, at, part.iov_len, MSG_DONTWAIT);
	return got < 0 ? -errno : got;
}

/* Answers 1 when the greeting is complete, 0 when not yet, negative when the connection is to be dropped. */
static int half_read(struct half_open *half)
{
	ssize_t got;
	int status;

	if (half->tls && !half->shaken) {
		status = wt_tcp_tls_handshake(half->tls);
		if (status < 0)
			return status == -EAGAIN ? 0 : status;
		half->shaken = true;
	}
	got = half_receive(half);
	if (got == -EAGAIN || got == -EINTR)
		return 0;
	if (got <= 0)
		return -ECONNRESET;
	half->got += (size_t)got;
	if (half->got >= sizeof half->greeting.magic &&
		le32toh(half->greeting.magic) != WT_TCP_MAGIC_GREETING)
		return -EPROTO;
	if (half->got < sizeof half->greeting)
		return 0;
	return le32toh(half->greeting.version) == WT_TCP_VERSION ? 1 : -EPROTO;
}

/* Drops who is too old, ends a pause, and sets the timer for what comes next. */
static void keep_time(struct wt_listener *listener)
{
	struct itimerspec at = { 0 };
	uint64_t now = wt_tcp_now_ns();
	uint64_t next = 0;

	while (listener->count && listener->halves[0].until_ns <= now)
		half_drop(listener, 0);
	if (listener->paused_until_ns && listener->paused_until_ns <= now) {
		listener->paused_until_ns = watch(listener, listener->socket) < 0 ? now + PAUSE_NS : 0;
	}
	if (listener->count)
		next = listener->halves[0].until_ns;
	if (listener->paused_until_ns && (!next || listener->paused_until_ns < next))
		next = listener->paused_until_ns;
	at.it_value.tv_sec = (time_t)(next / 1000000000u);
	at.it_value.tv_nsec = (long)(next % 1000000000u);
	timerfd_settime(listener->timer, TFD_TIMER_ABSTIME, &at, NULL);
}

static int request_make(
	struct wt_listener *listener, unsigned at, struct wt_request **ret_request, uint8_t *ret_hello)
{
	struct half_open *half = &listener->halves[at];
	struct wt_request *request = calloc(1, sizeof *request);

	if (!request) {
		half_drop(listener, at);
		return -ENOMEM;
	}
	request->socket = half->socket;
	request->tls = half->tls;
	memcpy(request->peer, half->peer, sizeof request->peer);
	memcpy(ret_hello, half->greeting.hello, WT_PATH_HELLO_BYTES);
	half_take(listener, at);
	*ret_request = request;
	return 0;
}

static int half_event(
	struct wt_listener *listener, int socket, struct wt_request **ret_request, uint8_t *ret_hello)
{
	unsigned at;
	int status;

	for (at = 0; at < listener->count && listener->halves[at].socket != socket; at++)
		;
	if (at == listener->count)
		return -EAGAIN; /* dropped a moment ago */
	status = half_read(&listener->halves[at]);
	if (status > 0)
		return request_make(listener, at, ret_request, ret_hello);
	if (status < 0)
		half_drop(listener, at);
	return -EAGAIN;
}

int wt_tcp_listener_accept(
	struct wt_listener *listener, struct wt_request **ret_request, uint8_t ret_hello[WT_PATH_HELLO_BYTES])
{
	unsigned round;
	int status = -EAGAIN;

	for (round = 0; round < ROUNDS_PER_CALL && status == -EAGAIN; round++) {
		struct epoll_event events[16];
		uint64_t expired;
		int n = epoll_wait(listener->epoll, events, 16, 0);
		int i;

		if (n <= 0)
			break;
		for (i = 0; i < n && status == -EAGAIN; i++) {
			if (events[i].data.fd == listener->socket)
				take_connections(listener);
			else if (events[i].data.fd != listener->timer)
				status = half_event(listener, events[i].data.fd, ret_request, ret_hello);
			else if (read(listener->timer, &expired, sizeof expired) < 0)
				continue; /* set anew meanwhile */
		}
	}
	keep_time(listener);
	return status;
}

int wt_tcp_verdict_send(const struct wt_request *request, enum wt_tcp_admission admission)
{
	struct wt_tcp_verdict verdict = {
		.magic = htole32(WT_TCP_MAGIC_VERDICT),
		.admission = htole32(admission),
	};
	ssize_t sent;

	if (request->tls)
		sent = wt_tcp_tls_send(request->tls, &verdict, sizeof verdict);
	else if ((sent = send(request->socket, &verdict, sizeof verdict, MSG_DONTWAIT | MSG_NOSIGNAL)) < 0)
		sent = -errno;
	if (sent < 0)
		return (int)sent;
	return sent == sizeof verdict ? 0 : -EIO;
}

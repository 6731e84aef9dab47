/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_tcp_connect.c - a connection to a tcp listener: resolve, connect, greet, hear the verdict.
 *
 * Owns nothing between calls. Blocks, but everything except the name's resolution ends at one deadline.
 *   1. A socket that is handed out was admitted, is blocking, and nothing behind the verdict was read.
 *   2. Every address of the host is tried in turn; the error tells of the last one.
 * Threads: callable from any.
 */
#include "path_tcp.h"

#include <endian.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

uint64_t wt_tcp_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int wt_tcp_tune(int socket, enum wt_role role)
{
	static const struct {
		int level;
		int name;
		int value;
	} options[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, 2 },
		{ IPPROTO_TCP, TCP_KEEPINTVL, 1 },
		{ IPPROTO_TCP, TCP_KEEPCNT, WT_TCP_PEER_TIMEOUT_MS / 1000 - 2 },
	};
	int timeout = role == WT_ROLE_PULL ? WT_TCP_PEER_TIMEOUT_MS : WT_TCP_STALL_TIMEOUT_MS;
	unsigned i;

	/* A peer may compute for minutes without reading; whether its host lives, others find out. */
	if (role == WT_ROLE_PEER)
		return setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &options[0].value, sizeof(int)) < 0
			       ? -errno
			       : 0;
	/* No SO_SNDBUF nor SO_RCVBUF: setting them ends the kernel's own tuning, which goes further. */
	for (i = 0; i < sizeof options / sizeof options[0]; i++) {
		if (setsockopt(socket, options[i].level, options[i].name, &options[i].value, sizeof(int)) < 0)
			return -errno;
	}
	if (setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout) < 0)
		return -errno;
	return 0;
}

/* Waits for events on a socket until the deadline. */
static int wait_for(int socket, short events, uint64_t deadline_ns)
{
	for (;;) {
		struct pollfd wait = { .fd = socket, .events = events };
		uint64_t now = wt_tcp_now_ns();
		uint64_t left_ms = now < deadline_ns ? (deadline_ns - now + 999999) / 1000000 : 0;
		int n;

		if (!left_ms)
			return -ETIMEDOUT;
		n = poll(&wait, 1, left_ms > 60000 ? 60000 : (int)left_ms);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

static int connect_one(const struct wt_endpoint *endpoint, const struct addrinfo *address,
	uint64_t deadline_ns, int *ret_socket)
{
	socklen_t length = sizeof(int);
	int status = 0;
	int fd;

	fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (endpoint->device[0] && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, endpoint->device,
					   strlen(endpoint->device) + 1) < 0) {
		status = -errno;
	} else if (connect(fd, address->ai_addr, address->ai_addrlen) < 0) {
		status = -errno;
		if (status == -EINPROGRESS)
			status = wait_for(fd, POLLOUT, deadline_ns);
		if (status == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &status, &length) == 0)
			status = -status;
	}
	if (status < 0) {
		close(fd);
		return status;
	}
	*ret_socket = fd;
	return 0;
}

static int connect_any(const struct wt_endpoint *endpoint, const char *host, uint16_t port,
	uint64_t deadline_ns, int *ret_socket, struct wt_error *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *addresses;
	struct addrinfo *address;
	char service[8];
	int status;

	snprintf(service, sizeof service, "%u", (unsigned)port);
	status = getaddrinfo(host, service, &hints, &addresses);
	if (status)
		return wt_error_set(err, EHOSTUNREACH, "cannot resolve %s: %s", host ? host : "(no host)",
			gai_strerror(status));
	status = -EHOSTUNREACH;
	for (address = addresses; address; address = address->ai_next) {
		status = connect_one(endpoint, address, deadline_ns, ret_socket);
		if (status >= 0)
			break;
	}
	freeaddrinfo(addresses);
	if (status < 0)
		return wt_error_set(err, -status,
			"cannot connect to %s port %u: %s; does watari listen there?", host, (unsigned)port,
			strerror(-status));
	return 0;
}

static ssize_t send_some(int socket, struct wt_tcp_tls *tls, const void *data, size_t length)
{
	ssize_t n = tls ? wt_tcp_tls_send(tls, data, length) : send(socket, data, length, MSG_NOSIGNAL);

	return n < 0 && !tls ? -errno : n;
}

static ssize_t receive_some(int socket, struct wt_tcp_tls *tls, void *data, size_t length)
{
	struct iovec part = { .iov_base = data, .iov_len = length };
	ssize_t n = tls ? wt_tcp_tls_receive(tls, &part, 1) : recv(socket, data, length, 0);

	return n < 0 && !tls ? -errno : n;
}

/* All of it or an error; the socket is non-blocking. */
static int send_all(int socket, struct wt_tcp_tls *tls, const void *data, size_t length, uint64_t deadline_ns)
{
	const uint8_t *at = data;
	ssize_t n;
	int status;

	while (length) {
		n = send_some(socket, tls, at, length);
		if (n > 0) {
			at += n;
			length -= (size_t)n;
			continue;
		}
		if (n == -EINTR)
			continue;
		status = n == -EAGAIN ? wait_for(socket, POLLOUT, deadline_ns) : (int)n;
		if (status < 0)
			return status;
	}
	return 0;
}

static int receive_all(int socket, struct wt_tcp_tls *tls, void *data, size_t length, uint64_t deadline_ns)
{
	uint8_t *at = data;
	ssize_t n;
	int status;

	while (length) {
		n = receive_some(socket, tls, at, length);
		if (n > 0) {
			at += n;
			length -= (size_t)n;
			continue;
		}
		if (n == 0)
			return -ECONNRESET;
		if (n == -EINTR)
			continue;
		status = n == -EAGAIN ? wait_for(socket, POLLIN, deadline_ns) : (int)n;
		if (status < 0)
			return status;
	}
	return 0;
}

/* Both ends show that they have the hello's token. */
static int shake_hands(int socket, struct wt_tcp_tls *tls, const char *host, uint16_t port,
	uint64_t deadline_ns, struct wt_error *err)
{
	int status;

	while ((status = wt_tcp_tls_handshake(tls)) == -EAGAIN) {
		status = wait_for(socket, POLLIN, deadline_ns);
		if (status < 0)
			break;
	}
	if (status == -EACCES)
		return wt_error_set(err, ECONNREFUSED,
			"%s port %u refused the encrypted path; the session is unknown there or has ended",
			host, (unsigned)port);
	if (status < 0)
		return wt_error_set(err, -status, "%s port %u took the connection but did not finish TLS: %s",
			host, (unsigned)port, strerror(-status));
	return 0;
}

static int greet(int socket, struct wt_tcp_tls *tls, const char *host, uint16_t port,
	const uint8_t hello[WT_PATH_HELLO_BYTES], uint64_t deadline_ns, struct wt_error *err)
{
	struct wt_tcp_greeting greeting = {
		.magic = htole32(WT_TCP_MAGIC_GREETING),
		.version = htole32(WT_TCP_VERSION),
	};
	struct wt_tcp_verdict verdict;
	int status;

	memcpy(greeting.hello, hello, WT_PATH_HELLO_BYTES);
	status = send_all(socket, tls, &greeting, sizeof greeting, deadline_ns);
	if (status >= 0)
		status = receive_all(socket, tls, &verdict, sizeof verdict, deadline_ns);
	if (status < 0)
		return wt_error_set(err, -status,
			"%s port %u took the connection but did not answer the greeting: %s", host,
			(unsigned)port, strerror(-status));
	if (le32toh(verdict.magic) != WT_TCP_MAGIC_VERDICT)
		return wt_error_set(err, EPROTO,
			"%s port %u does not speak watari's tcp fabric; check the port and both versions",
			host, (unsigned)port);
	if (le32toh(verdict.admission) != WT_TCP_ADMITTED)
		return wt_error_set(err, ECONNREFUSED,
			"%s port %u refused the path; the session is unknown there or has ended", host,
			(unsigned)port);
	return 0;
}

int wt_tcp_dial(const struct wt_endpoint *endpoint, const char *host, uint16_t port,
	const uint8_t hello[WT_PATH_HELLO_BYTES], uint64_t timeout_ns, int *ret_socket,
	struct wt_tcp_tls **ret_tls, struct wt_error *err)
{
	struct wt_tcp_tls *tls = NULL;
	uint64_t now = wt_tcp_now_ns();
	uint64_t deadline_ns = timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX;
	int socket = -1;
	int status;

	status = connect_any(endpoint, host, port, deadline_ns, &socket, err);
	if (status < 0)
		return status;
	if (endpoint->dialling) {
		tls = wt_tcp_tls_open(endpoint->dialling, socket, hello);
		status = tls ? shake_hands(socket, tls, host, port, deadline_ns, err)
			     : wt_error_set(err, ENOMEM, "out of memory for a tcp path");
	}
	if (status >= 0)
		status = greet(socket, tls, host, port, hello, deadline_ns, err);
	if (status < 0) {
		wt_tcp_tls_close(tls);
		close(socket);
		return status;
	}
	*ret_socket = socket;
	*ret_tls = tls;
	return 0;
}

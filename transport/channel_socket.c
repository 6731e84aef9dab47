/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * channel_socket.c - addresses and socket options for channels: names, resolving, what is loopback, and
 * how a vanished peer is noticed.
 *
 * Owns nothing. An idle peer that vanished is noticed by TCP keepalive. A peer that vanished while bytes were
 * under way is noticed by looking at TCP_INFO once a second, not by TCP_USER_TIMEOUT: Linux applies that to
 * zero-window probes too, also when they are answered, and would so end a connection whose peer is alive and
 * merely pauses (the comment in tcp_probe_timer of net/ipv4/tcp_timer.c says so; tried on 6.18).
 *
 * wt_address_resolve may block, unless the host is numeric; nothing else here does.
 */
#include "channel_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEEPALIVE_IDLE_S 2
#define KEEPALIVE_INTERVAL_S 1
#define KEEPALIVE_PROBES 3

void wt_address_name(const struct wt_address *address, char *ret_name, size_t size)
{
	if (address->unix_path)
		snprintf(ret_name, size, "unix:%s", address->unix_path);
	else if (address->host && strchr(address->host, ':'))
		snprintf(ret_name, size, "[%s]:%u", address->host, address->port);
	else
		snprintf(ret_name, size, "%s:%u", address->host ? address->host : "*", address->port);
}

bool wt_address_numeric(const struct wt_address *address)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_flags = AI_NUMERICHOST };
	struct addrinfo *list;

	if (!address->host || getaddrinfo(address->host, NULL, &hints, &list))
		return false;
	freeaddrinfo(list);
	return true;
}

int wt_address_resolve(
	const struct wt_address *address, bool passive, struct addrinfo **ret_list, struct wt_error *err)
{
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0),
	};
	struct addrinfo *list;
	char port[8];
	int result;

	snprintf(port, sizeof port, "%u", address->port);
	result = getaddrinfo(address->host, port, &hints, &list);
	if (result == EAI_MEMORY)
		return wt_error_set(err, ENOMEM, "out of memory while looking up the host %s", address->host);
	if (result)
		return wt_error_set(err, EHOSTUNREACH,
			"the host \"%s\" is unknown (%s); check its spelling and the name service",
			address->host ? address->host : "*",
			result == EAI_SYSTEM ? strerror(errno) : gai_strerror(result));
	*ret_list = list;
	return 0;
}

int wt_address_unix(const char *path, struct sockaddr_un *ret_address, struct wt_error *err)
{
	size_t length = strlen(path);

	if (length == 0)
		return wt_error_set(err, EINVAL, "the path of the unix socket is empty");
	if (length >= sizeof ret_address->sun_path)
		return wt_error_set(err, ENAMETOOLONG,
			"the path of a unix socket has at most %zu bytes, %s has %zu; use a shorter one",
			sizeof ret_address->sun_path - 1, path, length);
	memset(ret_address, 0, sizeof *ret_address);
	ret_address->sun_family = AF_UNIX;
	memcpy(ret_address->sun_path, path, length);
	return 0;
}

static bool is_loopback(const struct sockaddr *address)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

	if (address->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
	if (address->sa_family != AF_INET6)
		return false;
	if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		return in6->sin6_addr.s6_addr[12] == 127;
	return IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

int wt_address_check_clear(const char *name, const struct addrinfo *list, struct wt_error *err)
{
	char peer[WT_CHANNEL_NAME_MAX], host[WT_CHANNEL_NAME_MAX];

	for (; list; list = list->ai_next) {
		if (is_loopback(list->ai_addr))
			continue;
		wt_socket_name(list->ai_addr, list->ai_addrlen, peer, host, sizeof host);
		return wt_error_set(err, EPERM,
			"%s is not only on this host (its address is %s), and without credentials nothing is encrypted; "
			"give --tls-creds or --psk, or use a loopback address or a unix socket",
			name, host);
	}
	return 0;
}

void wt_socket_name(
	const struct sockaddr *address, socklen_t length, char *ret_peer, char *ret_host, size_t size)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;
	struct sockaddr_in in = { .sin_family = AF_INET };
	char host[NI_MAXHOST], port[8];

	if (address->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		memcpy(&in.sin_addr, in6->sin6_addr.s6_addr + 12, sizeof in.sin_addr);
		in.sin_port = in6->sin6_port;
		address = (const struct sockaddr *)&in;
		length = sizeof in;
	}
	if (getnameinfo(
		    address, length, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV)) {
		strcpy(host, "?");
		strcpy(port, "0");
	}
	snprintf(ret_host, size, "%s", host);
	snprintf(ret_peer, size, address->sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

void wt_socket_tune(int fd)
{
	int one = 1, idle_s = KEEPALIVE_IDLE_S, interval_s = KEEPALIVE_INTERVAL_S, probes = KEEPALIVE_PROBES;

	/* All of them make a connection better, none is needed for a right one. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

bool wt_socket_unanswered(int fd, unsigned ms)
{
	struct tcp_info info = { 0 };
	socklen_t length = sizeof info;

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
		return false;
	return (info.tcpi_unacked || info.tcpi_probes) && info.tcpi_last_ack_recv >= ms;
}

int wt_socket_error(const char *peer, int error, struct wt_error *err)
{
	switch (error) {
	case ECONNRESET:
	case EPIPE:
		return wt_error_set(err, ECONNRESET,
			"%s reset the connection; its process may have died, see its messages", peer);
	case ETIMEDOUT:
		return wt_error_set(err, ETIMEDOUT,
			"%s does not answer any more; the host or the network to it is down", peer);
	default:
		return wt_error_set(err, error, "the connection to %s failed: %s", peer, strerror(error));
	}
}

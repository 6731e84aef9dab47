/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine_meet.c - how the two ends of a read test find each other: a TCP connection that lives as long as the
 * test.
 *
 * The end that calls sends an order, the other one answers with an offer, or with the sentence why not. Both
 * are of fixed size, in the byte order of x86. What comes is checked; nothing here is secret or safe: it is
 * for a network that one trusts.
 */
#include "engine.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAGIC 0x31425457u /* "WTB1" */

struct wire_order {
	uint32_t magic, fabric, paths, huge;
	uint64_t memory;
	uint8_t hello[WT_PATH_HELLO_BYTES];
};
_Static_assert(sizeof(struct wire_order) == 72, "wire format");

struct wire_offer {
	uint32_t magic, code, port, zero; /* code: 0, or the errno of a refusal */
	uint64_t address, length, key;
	char text[WT_ERROR_TEXT_MAX];
};
_Static_assert(sizeof(struct wire_offer) == 40 + WT_ERROR_TEXT_MAX, "wire format");

static void patience(int socket)
{
	struct timeval limit = { .tv_sec = (time_t)(WT_BENCH_WAIT_NS / WT_BENCH_SECOND_NS) };

	setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

static int receive(int socket, void *data, size_t length)
{
	ssize_t n = recv(socket, data, length, MSG_WAITALL);

	if (n == (ssize_t)length)
		return 0;
	return n < 0 ? -errno : -ECONNRESET;
}

int wt_bench_meet_listen(uint16_t port, int *ret_socket, uint16_t *ret_port, struct wt_error *err)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	socklen_t length = sizeof address;
	int listening = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1, off = 0, code;

	if (listening < 0)
		return wt_error_set(err, errno, "cannot listen: %s", strerror(errno));
	setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	setsockopt(listening, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
	if (bind(listening, (struct sockaddr *)&address, sizeof address) || listen(listening, 1) ||
		getsockname(listening, (struct sockaddr *)&address, &length)) {
		code = errno;
		close(listening);
		return wt_error_set(err, code, "cannot listen on port %u: %s; choose another one with -p",
			port, strerror(code));
	}
	*ret_socket = listening;
	*ret_port = ntohs(address.sin6_port);
	return 0;
}

/* An IPv4 peer as IPv4 address, so that it is routed as one. */
static int peer_name(const struct sockaddr_in6 *address, char ret_host[64])
{
	socklen_t length = sizeof *address;
	char *host = ret_host;

	if (getnameinfo((const struct sockaddr *)address, length, ret_host, 64, NULL, 0, NI_NUMERICHOST))
		return -EINVAL;
	if (!strncmp(host, "::ffff:", 7) && strchr(host, '.'))
		memmove(host, host + 7, strlen(host + 7) + 1);
	return 0;
}

int wt_bench_meet_accept(int listening, int *ret_socket, char ret_host[64], struct wt_bench_order *ret_order,
	struct wt_error *err)
{
	struct sockaddr_in6 address;
	socklen_t length = sizeof address;
	struct wire_order order;
	int socket = accept4(listening, (struct sockaddr *)&address, &length, SOCK_CLOEXEC);
	int status;

	if (socket < 0)
		return wt_error_set(err, errno, "nobody can be accepted: %s", strerror(errno));
	patience(socket);
	status = receive(socket, &order, sizeof order);
	if (!status)
		status = peer_name(&address, ret_host);
	if (!status &&
		(order.magic != MAGIC || !order.paths || order.paths > WT_BENCH_PATHS_MAX || !order.memory))
		status = -EPROTO;
	if (status) {
		close(socket);
		return wt_error_set(
			err, -status, "who called is not the other end of this test, or of another version");
	}
	*ret_order = (struct wt_bench_order){
		.fabric = order.fabric, .paths = order.paths, .huge = order.huge, .memory = order.memory
	};
	memcpy(ret_order->hello, order.hello, sizeof order.hello);
	*ret_socket = socket;
	return 0;
}

static int offer_send(int socket, const struct wire_offer *offer)
{
	return send(socket, offer, sizeof *offer, MSG_NOSIGNAL) == (ssize_t)sizeof *offer ? 0 : -ECONNRESET;
}

int wt_bench_meet_offer(int socket, const struct wt_bench_offer *offer)
{
	struct wire_offer wire = { .magic = MAGIC,
		.port = offer->port,
		.address = offer->key.address,
		.length = offer->key.length,
		.key = offer->key.key };

	return offer_send(socket, &wire);
}

int wt_bench_meet_refuse(int socket, const struct wt_error *why)
{
	struct wire_offer wire = { .magic = MAGIC, .code = (uint32_t)(why->code ? why->code : EIO) };

	snprintf(wire.text, sizeof wire.text, "%s", wt_error_text(why));
	return offer_send(socket, &wire);
}

static int dial(const char *host, uint16_t port, int *ret_socket, struct wt_error *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *addresses, *address;
	char service[8];
	int code = 0, found = -1;

	snprintf(service, sizeof service, "%u", port);
	code = getaddrinfo(host, service, &hints, &addresses);
	if (code)
		return wt_error_set(err, EHOSTUNREACH, "cannot resolve %s: %s", host, gai_strerror(code));
	for (address = addresses; address && found < 0; address = address->ai_next) {
		found = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (found >= 0)
			patience(found);
		if (found >= 0 && connect(found, address->ai_addr, address->ai_addrlen)) {
			code = errno;
			close(found);
			found = -1;
		}
	}
	freeaddrinfo(addresses);
	if (found < 0)
		return wt_error_set(err, code ? code : EHOSTUNREACH,
			"nobody answers at %s port %u: %s; start the same program there without a host", host,
			port, strerror(code ? code : EHOSTUNREACH));
	*ret_socket = found;
	return 0;
}

int wt_bench_meet_call(const char *host, uint16_t port, const struct wt_bench_order *order, int *ret_socket,
	struct wt_bench_offer *ret_offer, struct wt_error *err)
{
	struct wire_order wire = { .magic = MAGIC,
		.fabric = order->fabric,
		.paths = order->paths,
		.huge = order->huge,
		.memory = order->memory };
	struct wire_offer offer = { 0 };
	int socket = -1;
	int status = dial(host, port, &socket, err);

	if (status < 0)
		return status;
	memcpy(wire.hello, order->hello, sizeof wire.hello);
	if (send(socket, &wire, sizeof wire, MSG_NOSIGNAL) == (ssize_t)sizeof wire)
		status = receive(socket, &offer, sizeof offer);
	else
		status = -ECONNRESET;
	if (!status && (offer.magic != MAGIC || offer.port > UINT16_MAX ||
			       (!offer.code && offer.length < order->memory)))
		status = -EPROTO;
	if (status) {
		status = wt_error_set(err, -status,
			"%s port %u is not the other end of this test, or of another version", host, port);
	} else if (offer.code) {
		offer.text[sizeof offer.text - 1] = 0;
		status = wt_error_set(err, (int)(offer.code & 0xfff), "%s refuses: %s", host, offer.text);
	}
	if (status < 0) {
		close(socket);
		return status;
	}
	*ret_offer = (struct wt_bench_offer){ .port = (uint16_t)offer.port,
		.key = { .address = offer.address, .length = offer.length, .key = offer.key } };
	*ret_socket = socket;
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * handover_relay.c - see handover_relay.h.
 *
 *   1. What the new QEMU is fed is the stripped stream (stream.h): all but pages of the memory that both
 * have. The old QEMU leaves out most of those itself (capability x-ignore-shared); what it writes is dropped.
 *   2. Nothing behind RAM's end goes to the new QEMU before feed_tail.
 *   3. The old QEMU's return path is answered here; SHUT goes only when the owner says so.
 *
 * Each QEMU has a socket of its own: the old one connects to ours, and we connect to the new one's. Bytes for
 * the new QEMU are bounded by WT_FEED_MAX.
 */
#include "handover_relay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "feed.h"
#include "relay.h"
#include "stream.h"

#define READS_PER_TURN 16 /* then QMP has its turn */

struct wt_handover_relay {
	struct wt_loop *loop;
	const struct wt_handover_relay_events *events;
	void *arg;
	struct wt_relay_socket outgoing, incoming;
	int listen_fd, fd; /* fd: from the old QEMU */
	struct wt_stream *reader;
	struct wt_feed feed; /* into the new QEMU */
	struct wt_handover_relay_stats stats;
	bool over; /* the stream has ended, or cannot go on */
};

/* ---- what the reader tells ---- */

static int on_block(void *arg, uint32_t index, const char *name, uint64_t length, bool *ret_in_place,
	struct wt_error *err)
{
	struct wt_handover_relay *relay = arg;

	return relay->events->block(relay->arg, name, length, ret_in_place, err);
}

static int on_page(void *arg, uint32_t block, uint64_t page, const uint8_t *bytes, struct wt_error *err)
{
	((struct wt_handover_relay *)arg)->stats.dropped_pages++;
	return 0;
}

static int on_zero(void *arg, uint32_t block, uint64_t page, struct wt_error *err)
{
	return on_page(arg, block, page, NULL, err);
}

static int on_nothing(void *arg, struct wt_error *err)
{
	return 0;
}

static int on_ram_end(void *arg, struct wt_error *err)
{
	struct wt_handover_relay *relay = arg;

	wt_feed_gate(&relay->feed);
	relay->events->guest_stopped(relay->arg);
	return 0;
}

static bool answer(struct wt_handover_relay *relay, const uint8_t *bytes, size_t length)
{
	return relay->fd >= 0 && send(relay->fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length;
}

static int on_ping(void *arg, uint32_t value, struct wt_error *err)
{
	uint8_t bytes[8];

	if (answer(arg, bytes, wt_return_path_pong(bytes, value)))
		return 0;
	return wt_error_set(err, EPIPE, "the old QEMU does not read its return path");
}

static int on_kept(void *arg, uint32_t block, uint64_t page, const uint8_t *bytes, struct wt_error *err)
{
	((struct wt_handover_relay *)arg)->stats.copied_pages++;
	return 0;
}

static int on_pass(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err)
{
	struct wt_handover_relay *relay = arg;

	relay->stats.stream_bytes += length;
	return wt_feed_add(&relay->feed, bytes, length, err);
}

static const struct wt_stream_events reader_events = { .block = on_block,
	.blocks_end = on_nothing,
	.page = on_page,
	.zero = on_zero,
	.ram_part = on_nothing,
	.ram_end = on_ram_end,
	.open_return_path = on_nothing,
	.ping = on_ping,
	.kept = on_kept,
	.part = on_pass,
	.pass = on_pass };

/* ---- the old QEMU's connection ---- */

static void stop_reading(struct wt_handover_relay *relay)
{
	relay->over = true;
	wt_loop_fd_clear(relay->loop, relay->fd);
}

/* false: there is nothing more to read now. */
static bool read_some(struct wt_handover_relay *relay, struct wt_error *err)
{
	uint8_t *buffer;
	size_t room;
	ssize_t n;

	wt_stream_buffer(relay->reader, &buffer, &room);
	n = read(relay->fd, buffer, room);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n < 0)
		wt_error_set(err, errno, "the old QEMU's stream cannot be read: %s", strerror(errno));
	else if (n == 0)
		wt_stream_finish(relay->reader, err);
	else
		wt_stream_advance(relay->reader, (size_t)n, err);
	if (n <= 0 || err->code)
		stop_reading(relay);
	return n > 0;
}

static void source_readable(void *arg, uint32_t events)
{
	struct wt_handover_relay *relay = arg;
	struct wt_error err = { 0 };

	for (unsigned i = 0; i < READS_PER_TURN && !relay->over && read_some(relay, &err); i++)
		;
	if (err.code)
		relay->events->trouble(relay->arg, &err);
}

static void listen_readable(void *arg, uint32_t events)
{
	struct wt_handover_relay *relay = arg;
	struct wt_error err = { 0 };
	int r;

	relay->fd = accept4(relay->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (relay->fd < 0)
		return;
	wt_loop_fd_clear(relay->loop, relay->listen_fd);
	close(relay->listen_fd);
	relay->listen_fd = -1;
	r = wt_loop_fd_set(relay->loop, relay->fd, EPOLLIN, source_readable, relay);
	if (r) {
		wt_error_set(&err, -r, "the old QEMU's stream cannot be watched: %s", strerror(-r));
		relay->events->trouble(relay->arg, &err);
	}
}

static int listen_for_old(struct wt_handover_relay *relay, struct wt_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int r;

	strcpy(address.sun_path, relay->outgoing.path);
	relay->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (relay->listen_fd < 0 || bind(relay->listen_fd, (struct sockaddr *)&address, sizeof address) ||
		listen(relay->listen_fd, 1))
		return wt_error_set(err, errno, "no socket for the old QEMU's stream at %s: %s",
			relay->outgoing.path, strerror(errno));
	r = wt_loop_fd_set(relay->loop, relay->listen_fd, EPOLLIN, listen_readable, relay);
	return r ? wt_error_set(err, -r, "the socket cannot be watched: %s", strerror(-r)) : 0;
}

/* ---- for the owner ---- */

int wt_handover_relay_open(struct wt_loop *loop, const struct wt_handover_relay_events *events, void *arg,
	struct wt_handover_relay **ret_relay, const char **ret_path, struct wt_error *err)
{
	struct wt_handover_relay *relay = calloc(1, sizeof *relay);
	int r;

	if (!relay)
		return wt_error_set(err, ENOMEM, "no memory for the stream");
	relay->loop = loop;
	relay->events = events;
	relay->arg = arg;
	relay->listen_fd = relay->fd = -1;
	wt_feed_init(&relay->feed, loop);
	r = wt_relay_socket_open(&relay->outgoing, "outgoing", err);
	if (!r)
		r = wt_relay_socket_open(&relay->incoming, "incoming", err);
	if (!r && wt_stream_open(&reader_events, relay, &relay->reader))
		r = wt_error_set(err, ENOMEM, "no memory to read QEMU's stream");
	if (!r)
		r = listen_for_old(relay, err);
	if (r) {
		wt_handover_relay_close(relay);
		return r;
	}
	wt_stream_allow_shared(relay->reader, false);
	*ret_relay = relay;
	*ret_path = relay->outgoing.path;
	return 0;
}

void wt_handover_relay_close(struct wt_handover_relay *relay)
{
	if (!relay)
		return;
	wt_handover_relay_hang_up(relay);
	if (relay->listen_fd >= 0) {
		wt_loop_fd_clear(relay->loop, relay->listen_fd);
		close(relay->listen_fd);
	}
	wt_feed_close(&relay->feed);
	if (relay->reader)
		wt_stream_close(relay->reader);
	wt_relay_socket_close(&relay->outgoing);
	wt_relay_socket_close(&relay->incoming);
	free(relay);
}

const char *wt_handover_relay_incoming(const struct wt_handover_relay *relay)
{
	return relay->incoming.path;
}

int wt_handover_relay_connect(struct wt_handover_relay *relay, struct wt_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strcpy(address.sun_path, relay->incoming.path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address)) {
		wt_error_set(err, errno, "the new QEMU does not listen on %s: %s", relay->incoming.path,
			strerror(errno));
		if (fd >= 0)
			close(fd);
		return -err->code;
	}
	wt_feed_connect(&relay->feed, fd);
	return 0;
}

void wt_handover_relay_feed_tail(struct wt_handover_relay *relay)
{
	wt_feed_open_gate(&relay->feed);
}

bool wt_handover_relay_shut(struct wt_handover_relay *relay)
{
	uint8_t bytes[8];

	return answer(relay, bytes, wt_return_path_shut(bytes, 0));
}

void wt_handover_relay_hang_up(struct wt_handover_relay *relay)
{
	if (relay->fd < 0)
		return;
	stop_reading(relay);
	close(relay->fd);
	relay->fd = -1;
}

struct wt_handover_relay_stats wt_handover_relay_stats(const struct wt_handover_relay *relay)
{
	return relay->stats;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination_feed.c - the stripped stream into the destination QEMU.
 *
 *   1. Bytes go in the order in which they came.
 *   2. Nothing behind the gate (RAM's end) goes before the gate was opened.
 *
 * QEMU listens on a unix socket in a directory of ours (migrate-incoming); the relay connects to it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "destination_internal.h"

static void push(struct wt_destination *d);

static void writable(void *arg, uint32_t events)
{
	push(arg);
}

static void watch(struct wt_destination *d, bool on)
{
	struct wt_feed *feed = &d->feed;

	if (feed->watching == on)
		return;
	if (on)
		wt_loop_fd_set(d->relay.loop, feed->fd, EPOLLOUT, writable, d);
	else
		wt_loop_fd_clear(d->relay.loop, feed->fd);
	feed->watching = on;
}

static void hang_up(struct wt_destination *d)
{
	if (d->feed.fd < 0)
		return;
	watch(d, false);
	close(d->feed.fd);
	d->feed.fd = -1;
}

/* Writes what may go. A refused write is not the failure itself: QEMU's own words follow through
 * query-migrate. */
static void push(struct wt_destination *d)
{
	struct wt_feed *feed = &d->feed;
	size_t limit = feed->gated && !feed->open ? feed->gate : feed->length;

	while (feed->fd >= 0 && feed->sent < limit) {
		ssize_t n = send(
			feed->fd, feed->bytes + feed->sent, limit - feed->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN) {
			watch(d, true);
			return;
		}
		if (n < 0) {
			hang_up(d);
			return;
		}
		feed->sent += (size_t)n;
	}
	if (feed->fd >= 0)
		watch(d, false);
	if (feed->sent == feed->length) {
		if (feed->gated)
			feed->gate -= feed->gate < feed->sent ? feed->gate : feed->sent;
		feed->sent = feed->length = 0;
	}
}

int wt_feed_open(struct wt_destination *d, struct wt_error *err)
{
	struct wt_feed *feed = &d->feed;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char uri[128];
	int r;

	r = wt_relay_socket_open(&feed->place, "incoming", err);
	if (r)
		return r;
	snprintf(uri, sizeof uri, "unix:%s", feed->place.path);
	r = wt_qmp_call(
		d->relay.qmp, "migrate-incoming", json_pack("{s:s}", "uri", uri), WT_RELAY_QMP_NS, NULL, err);
	if (r)
		return r;
	strcpy(address.sun_path, feed->place.path);
	feed->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (feed->fd < 0 || connect(feed->fd, (struct sockaddr *)&address, sizeof address))
		return wt_error_set(err, errno, "the destination QEMU does not listen on %s: %s",
			feed->place.path, strerror(errno));
	push(d);
	return 0;
}

void wt_feed_close(struct wt_destination *d)
{
	struct wt_feed *feed = &d->feed;

	hang_up(d);
	wt_relay_socket_close(&feed->place);
	free(feed->bytes);
}

int wt_feed_add(struct wt_destination *d, const uint8_t *bytes, size_t length, struct wt_error *err)
{
	struct wt_feed *feed = &d->feed;

	if (feed->length + length > WT_FEED_MAX)
		return wt_error_set(
			err, ENOBUFS, "more than %u MiB of device state wait for QEMU", WT_FEED_MAX >> 20);
	if (feed->length + length > feed->room) {
		size_t room = 2 * (feed->length + length);
		uint8_t *grown = realloc(feed->bytes, room);

		if (!grown)
			return wt_error_set(err, ENOMEM, "no memory for the stripped stream");
		feed->bytes = grown;
		feed->room = room;
	}
	memcpy(feed->bytes + feed->length, bytes, length);
	feed->length += length;
	push(d);
	return 0;
}

void wt_feed_gate(struct wt_destination *d)
{
	d->feed.gated = true;
	d->feed.gate = d->feed.length;
}

void wt_feed_open_gate(struct wt_destination *d)
{
	d->feed.open = true;
	push(d);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * feed.c - see feed.h.
 *
 *   1. Bytes go in the order in which they came.
 *   2. Nothing behind the gate (RAM's end) goes before the gate was opened.
 *
 * A refused write is not the failure itself: what became of QEMU is for the owner to find out.
 */
#include "feed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static void push(struct wt_feed *feed);

static void writable(void *arg, uint32_t events)
{
	push(arg);
}

static void watch(struct wt_feed *feed, bool on)
{
	if (feed->watching == on)
		return;
	if (on)
		wt_loop_fd_set(feed->loop, feed->fd, EPOLLOUT, writable, feed);
	else
		wt_loop_fd_clear(feed->loop, feed->fd);
	feed->watching = on;
}

void wt_feed_hang_up(struct wt_feed *feed)
{
	if (feed->fd < 0)
		return;
	watch(feed, false);
	close(feed->fd);
	feed->fd = -1;
}

/* Bytes before this offset may go. */
static size_t limit_of(const struct wt_feed *feed)
{
	size_t limit = feed->length - (feed->hold < feed->length ? feed->hold : feed->length);

	return feed->gated && !feed->open && feed->gate < limit ? feed->gate : limit;
}

static void push(struct wt_feed *feed)
{
	size_t limit = limit_of(feed);

	while (feed->fd >= 0 && feed->sent < limit) {
		ssize_t n = write(feed->fd, feed->bytes + feed->sent, limit - feed->sent);

		if (n < 0 && errno == EAGAIN) {
			watch(feed, true);
			return;
		}
		if (n < 0) {
			wt_feed_hang_up(feed);
			return;
		}
		feed->sent += (size_t)n;
		feed->any_sent = true;
	}
	if (feed->fd >= 0)
		watch(feed, false);
	if (feed->sent == feed->length) {
		if (feed->gated)
			feed->gate -= feed->gate < feed->sent ? feed->gate : feed->sent;
		feed->sent = feed->length = 0;
	}
}

void wt_feed_init(struct wt_feed *feed, struct wt_loop *loop)
{
	*feed = (struct wt_feed){ .loop = loop, .fd = -1 };
}

void wt_feed_connect(struct wt_feed *feed, int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	feed->fd = fd;
	push(feed);
}

int wt_feed_add(struct wt_feed *feed, const uint8_t *bytes, size_t length, struct wt_error *err)
{
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
	push(feed);
	return 0;
}

void wt_feed_gate(struct wt_feed *feed)
{
	feed->gated = true;
	feed->gate = feed->length;
}

void wt_feed_open_gate(struct wt_feed *feed)
{
	feed->open = true;
	push(feed);
}

void wt_feed_tail(const struct wt_feed *feed, const uint8_t **ret_bytes, size_t *ret_length)
{
	*ret_bytes = feed->bytes + feed->gate;
	*ret_length = feed->gated ? feed->length - feed->gate : 0;
}

void wt_feed_hold(struct wt_feed *feed, size_t bytes)
{
	feed->hold = bytes;
	push(feed);
}

bool wt_feed_drained(const struct wt_feed *feed)
{
	return feed->fd >= 0 && feed->sent == limit_of(feed);
}

void wt_feed_close(struct wt_feed *feed)
{
	wt_feed_hang_up(feed);
	free(feed->bytes);
	feed->bytes = NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * outgoing_feeds.c - QEMU's connections: accepting, telling main channel and multifd apart, reading.
 *
 *   1. There is at most one main channel; it is the one whose peer wt_outgoing_pid tells.
 *   2. QEMU connects its multifd channels, and writes to each, before it writes the end of RAM's start
 * section. So whatever waits to be accepted when bytes of that section were read, and before they are parsed,
 * is all that will come. Who comes later is turned away.
 *   3. A connection that begins with libwatari-feed.so's hello leaves guest RAM out; what follows the hello
 * says which channel it is, as ever. Of what it left out, credit is given back as the reader accounts for it.
 *   4. A feed is watched while the owner reads and its channel waits for input, or while it is unknown.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "outgoing_internal.h"

#define READ_TURN (4u << 20) /* bytes read from one connection before the loop gets its turn */

static void feed_readable(void *arg, uint32_t events);

static struct outgoing_feed *main_feed(const struct wt_outgoing *o)
{
	for (unsigned i = 0; i < o->feed_count; i++)
		if (o->feeds[i]->is_main)
			return o->feeds[i];
	return NULL;
}

int wt_outgoing_main_fd(const struct wt_outgoing *o)
{
	const struct outgoing_feed *feed = main_feed(o);

	return feed && feed->socket ? feed->fd : -1;
}

bool wt_outgoing_main_ended(const struct wt_outgoing *o)
{
	const struct outgoing_feed *feed = main_feed(o);

	return feed && feed->fd < 0;
}

static enum wt_stream_wait waits(const struct outgoing_feed *feed)
{
	if (feed->channel)
		return wt_multifd_waits(feed->channel);
	return feed->is_main ? wt_stream_waits(feed->outgoing->reader) : WT_STREAM_WAIT_INPUT;
}

static void watch(struct outgoing_feed *feed, bool on)
{
	if (feed->fd < 0 || feed->watched == on)
		return;
	if (on)
		wt_loop_fd_set(feed->outgoing->loop, feed->fd, EPOLLIN, feed_readable, feed);
	else
		wt_loop_fd_clear(feed->outgoing->loop, feed->fd);
	feed->watched = on;
}

void wt_outgoing_watch(struct wt_outgoing *o, bool reading)
{
	o->reading = reading && !o->failed;
	for (unsigned i = 0; i < o->feed_count; i++) {
		struct outgoing_feed *feed = o->feeds[i];
		bool unknown = !feed->is_main && !feed->channel;

		watch(feed, !o->failed && (unknown || o->reading) && waits(feed) == WT_STREAM_WAIT_INPUT);
	}
}

static void feed_end(struct outgoing_feed *feed)
{
	watch(feed, false);
	if (feed->fd >= 0)
		close(feed->fd);
	if (feed->fd >= 0 && feed->skips)
		wt_skip_offer_ended(feed->outgoing->offer, feed->skip_channel);
	feed->fd = -1;
}

/* Adds a connection; it is closed on failure. */
static struct outgoing_feed *feed_add(struct wt_outgoing *o, int fd, bool socket)
{
	struct outgoing_feed **feeds =
		realloc(o->feeds, (o->feed_count + 1) * sizeof(struct outgoing_feed *));
	struct outgoing_feed *feed = feeds ? calloc(1, sizeof *feed) : NULL;

	if (feeds)
		o->feeds = feeds;
	if (!feed) {
		close(fd);
		return NULL;
	}
	*feed = (struct outgoing_feed){ .outgoing = o, .fd = fd, .socket = socket };
	o->feeds[o->feed_count++] = feed;
	return feed;
}

/* ---- who is it? ---- */

/* Looks at the first bytes without taking them: true if so many are there. */
static bool peek(struct outgoing_feed *feed, void *ret_bytes, size_t length)
{
	ssize_t n = recv(feed->fd, ret_bytes, length, MSG_PEEK | MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		feed_end(feed);
	return n == (ssize_t)length;
}

static int take_hello(struct outgoing_feed *feed, struct wt_error *err)
{
	struct wt_outgoing *o = feed->outgoing;
	struct skip_hello hello;
	int r;

	if (!peek(feed, &hello, sizeof hello))
		return 0;
	r = wt_skip_offer_hello(o->offer, &hello, &feed->skip_channel, err);
	if (!r && recv(feed->fd, &hello, sizeof hello, MSG_DONTWAIT) != (ssize_t)sizeof hello)
		r = wt_error_set(err, EIO, "QEMU's stream cannot be read: %s", strerror(errno));
	feed->skips = !r;
	return r;
}

/* Who has said nothing yet stays unknown. */
static int identify(struct outgoing_feed *feed, struct wt_error *err)
{
	struct wt_outgoing *o = feed->outgoing;
	uint8_t magic[4];
	int r = 0;

	if (!peek(feed, magic, sizeof magic))
		return 0;
	if (!feed->skips && !memcmp(magic, skip_magic, sizeof magic)) {
		r = take_hello(feed, err);
		if (r || !feed->skips || !peek(feed, magic, sizeof magic))
			return r;
	}
	if (wt_multifd_magic(magic)) {
		r = wt_multifd_open(o->reader, &feed->channel, err);
		if (!r && feed->skips)
			wt_multifd_absent(feed->channel);
		return r;
	}
	if (main_feed(o))
		return wt_error_set(err, EPROTO,
			"a second connection has come that is no channel of multifd; one migration at a time");
	feed->is_main = true;
	if (feed->skips)
		wt_stream_absent(o->reader);
	return 0;
}

/* Accepts all that have connected so far; who had said nothing when he was accepted is listened to again. */
static int accept_all(struct wt_outgoing *o, struct wt_error *err)
{
	int fd, r = 0;

	for (unsigned i = 0; !r && !o->failed && i < o->feed_count; i++) {
		struct outgoing_feed *feed = o->feeds[i];

		if (feed->fd >= 0 && !feed->is_main && !feed->channel)
			r = identify(feed, err);
	}
	while (!r && (fd = accept4(o->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		struct outgoing_feed *feed;

		if (o->failed || o->blocks) {
			close(fd); /* too late: the migration has begun, or is over */
			continue;
		}
		feed = feed_add(o, fd, true);
		r = feed ? identify(feed, err) : wt_error_set(err, ENOMEM, "no memory for a connection");
	}
	if (!r && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) /* it would be tried for ever */
		r = wt_error_set(err, errno, "cannot accept QEMU's connection: %s", strerror(errno));
	return r;
}

static void listen_readable(void *arg, uint32_t events)
{
	struct wt_outgoing *o = arg;
	struct wt_error err = { 0 };

	if (accept_all(o, &err))
		wt_outgoing_fail(o, &err);
	else
		wt_outgoing_pump(o);
}

/* ---- reading ---- */

uint64_t wt_outgoing_absent_bytes(const struct outgoing_feed *feed)
{
	if (!feed->skips)
		return 0;
	return feed->channel   ? wt_multifd_absent_bytes(feed->channel)
	       : feed->is_main ? wt_stream_absent_bytes(feed->outgoing->reader)
			       : 0;
}

/* The reader has gone on: QEMU may, too. Looks at the page that QEMU gives as a sample. */
static int account(struct outgoing_feed *feed, struct wt_error *err)
{
	struct wt_outgoing *o = feed->outgoing;
	const uint8_t *base, *bytes;
	bool proven = false;
	uint64_t page;
	int r;

	wt_skip_offer_taken(o->offer, feed->skip_channel, wt_outgoing_absent_bytes(feed));
	if (!wt_skip_offer_sample(o->offer, &base, &page, &bytes))
		return 0;
	r = wt_outgoing_compare(o, base, page, bytes, &proven, err);
	if (!proven)
		wt_skip_offer_sample_next(o->offer);
	return r;
}

int wt_outgoing_check_skipped(const struct wt_outgoing *o, struct wt_error *err)
{
	for (unsigned i = 0; i < o->feed_count; i++) {
		const struct outgoing_feed *feed = o->feeds[i];
		uint64_t here = wt_outgoing_absent_bytes(feed), there;

		if (!feed->skips)
			continue;
		there = wt_skip_offer_skipped(o->offer, feed->skip_channel);
		if (here != there)
			return wt_error_set(err, EPROTO,
				"QEMU has left out %" PRIu64 " bytes of guest RAM where %" PRIu64
				" are missing; say --no-feed, and report it",
				there, here);
	}
	return 0;
}

static int advance(struct outgoing_feed *feed, size_t length, struct wt_error *err)
{
	int r = feed->channel ? wt_multifd_advance(feed->channel, length, err)
			      : wt_stream_advance(feed->outgoing->reader, length, err);

	return r || !feed->skips ? r : account(feed, err);
}

static int finish(struct outgoing_feed *feed, struct wt_error *err)
{
	feed_end(feed);
	return feed->channel ? wt_multifd_finish(feed->channel, err)
			     : wt_stream_finish(feed->outgoing->reader, err);
}

/* Reads once: > 0 bytes were parsed, 0 nothing more for now, -errno with err filled. */
static ssize_t read_once(struct outgoing_feed *feed, struct wt_error *err)
{
	struct wt_outgoing *o = feed->outgoing;
	uint8_t *buffer;
	size_t room;
	ssize_t n;
	int r;

	if (feed->channel)
		wt_multifd_buffer(feed->channel, &buffer, &room);
	else
		wt_stream_buffer(o->reader, &buffer, &room);
	n = read(feed->fd, buffer, room);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < 0)
		return wt_error_set(err, errno, "QEMU's stream cannot be read: %s", strerror(errno));
	if (n == 0)
		return finish(feed, err);
	/* Channels of multifd that are to be part of it have connected by now. */
	if (feed->is_main && !o->blocks && o->listen_fd >= 0) {
		r = accept_all(o, err);
		if (r)
			return r;
	}
	r = advance(feed, (size_t)n, err);
	return r ? r : n;
}

static void feed_readable(void *arg, uint32_t events)
{
	struct outgoing_feed *feed = arg;
	struct wt_outgoing *o = feed->outgoing;
	struct wt_error err = { 0 };
	size_t total = 0;
	ssize_t n = 1;

	if (!feed->is_main && !feed->channel && identify(feed, &err)) {
		wt_outgoing_fail(o, &err);
		return;
	}
	if (feed->is_main || feed->channel)
		while (n > 0 && feed->fd >= 0 && total < READ_TURN && waits(feed) == WT_STREAM_WAIT_INPUT) {
			n = read_once(feed, &err);
			total += n > 0 ? (size_t)n : 0;
		}
	if (n < 0)
		wt_outgoing_fail(o, &err);
	else
		wt_outgoing_pump(o);
}

static uint64_t offset(const struct outgoing_feed *feed)
{
	return feed->channel ? wt_multifd_offset(feed->channel) : wt_stream_offset(feed->outgoing->reader);
}

/*
 * A channel that waited for the others, or for the owner, is asked again until nothing moves any more. Absent
 * pages are no bytes: they move nothing but read_pages, or what is waited for. What was waited for never
 * comes back without pages or bytes, so this ends.
 */
bool wt_outgoing_resume(struct wt_outgoing *o, struct wt_error *err)
{
	bool any = false, moved;

	do {
		moved = false;
		for (unsigned i = 0; i < o->feed_count; i++) {
			struct outgoing_feed *feed = o->feeds[i];
			enum wt_stream_wait waited = waits(feed);
			uint64_t before = offset(feed), pages = o->read_pages;

			if (waited == WT_STREAM_WAIT_INPUT)
				continue;
			if (advance(feed, 0, err))
				return any;
			moved |= offset(feed) != before || o->read_pages != pages || waits(feed) != waited;
		}
		any |= moved;
	} while (moved);
	return any;
}

/* ---- where they come from ---- */

int wt_outgoing_listen(struct wt_outgoing *o, const char *path, struct wt_error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	mode_t mask;
	int r;

	if (strlen(path) >= sizeof address.sun_path)
		return wt_error_set(err, ENAMETOOLONG, "socket %s: its path is longer than %zu bytes", path,
			sizeof address.sun_path - 1);
	strcpy(address.sun_path, path);
	o->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mask = umask(0177);
	r = o->listen_fd < 0 || bind(o->listen_fd, (struct sockaddr *)&address, sizeof address) ||
	    listen(o->listen_fd, 256);
	umask(mask);
	if (r)
		return wt_error_set(
			err, errno, "no socket for QEMU's stream at %s: %s", path, strerror(errno));
	strcpy(o->path, path);
	return wt_loop_fd_set(o->loop, o->listen_fd, EPOLLIN, listen_readable, o);
}

int wt_outgoing_take(struct wt_outgoing *o, int fd, struct wt_error *err)
{
	struct outgoing_feed *feed;
	struct stat kind;

	if (fstat(fd, &kind) || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK)) {
		int code = errno;

		close(fd);
		return wt_error_set(err, code, "QEMU's stream cannot be read: %s", strerror(code));
	}
	feed = feed_add(o, fd, S_ISSOCK(kind.st_mode));
	if (!feed)
		return wt_error_set(err, ENOMEM, "no memory for QEMU's connection");
	feed->is_main = true;
	wt_outgoing_pump(o);
	return 0;
}

pid_t wt_outgoing_pid(const struct wt_outgoing *o)
{
	int fd = wt_outgoing_main_fd(o);
	struct ucred peer;
	socklen_t length = sizeof peer;

	return fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) ? 0 : peer.pid;
}

void wt_outgoing_hang_up(struct wt_outgoing *o)
{
	o->failed = true;
	for (unsigned i = 0; i < o->feed_count; i++)
		feed_end(o->feeds[i]);
}

void wt_outgoing_feeds_close(struct wt_outgoing *o)
{
	for (unsigned i = 0; i < o->feed_count; i++) {
		wt_multifd_close(o->feeds[i]->channel);
		free(o->feeds[i]);
	}
	free(o->feeds);
	if (o->listen_fd >= 0) {
		wt_loop_fd_clear(o->loop, o->listen_fd);
		close(o->listen_fd);
		unlink(o->path);
	}
}

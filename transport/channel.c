/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * channel.c - a channel's life: handshake, reading, pausing, closing, and every callback to its owner.
 *
 * Owns the socket from wt_channel_begin on, the TLS object, the queue and three timers.
 *
 *   1. state only grows: CONNECTING, HANDSHAKE, OPEN, CLOSED.
 *   2. `open` is called at most once, before any other callback but `closed`; `closed` at most once, and
 *      nothing after it; nothing after wt_channel_close.
 *   3. Callbacks come from the loop, never out of a call of the owner's: send, pause and connect only set a
 *      timer (kick) for the loop's next turn.
 *   4. Memory is freed only when no function of ours is on the stack (entered == 0), so every callback may
 *      close the channel; after a callback the state is looked at again.
 *   5. When sending fails, what the peer sent before is still delivered (it may say why it hung up), unless
 *      the channel is paused: then waiting for the owner could last for ever, and it is told at once.
 *
 * Used by the loop's thread only. Reading and writing are bounded per turn. Does not reconnect.
 */
#include "channel_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define READS_PER_TURN 4
#define PULSE_MS 1000u
#define UNANSWERED_S_MAX 5
#define DISCARD_READS 16
#define NOT_WATCHED UINT32_MAX

static void turn(struct wt_channel *channel, bool readable);

void wt_channel_enter(struct wt_channel *channel)
{
	channel->entered++;
}

void wt_channel_leave(struct wt_channel *channel)
{
	if (--channel->entered || !channel->abandoned)
		return;
	wt_tls_close(channel->tls);
	explicit_bzero(channel->plain, sizeof channel->plain);
	free(channel);
}

/* Gives up everything but the memory. */
static void shut(struct wt_channel *channel)
{
	channel->state = WT_CHANNEL_CLOSED;
	wt_loop_timer_clear(channel->loop, &channel->deadline);
	wt_loop_timer_clear(channel->loop, &channel->kick);
	wt_loop_timer_clear(channel->loop, &channel->pulse);
	if (channel->fd >= 0) {
		wt_loop_fd_clear(channel->loop, channel->fd);
		close(channel->fd);
		channel->fd = -1;
	}
	wt_channel_connect_free(channel);
	wt_chunks_drop(&channel->chunks);
	channel->wire_start = channel->wire_end = 0;
}

void wt_channel_fail(struct wt_channel *channel, const struct wt_error *err)
{
	if (channel->state == WT_CHANNEL_CLOSED)
		return;
	shut(channel);
	if (channel->events.closed)
		channel->events.closed(channel->arg, err);
}

static void fail_errno(struct wt_channel *channel, int error)
{
	struct wt_error err = { 0 };

	wt_socket_error(channel->peer, error, &err);
	wt_channel_fail(channel, &err);
}

static void on_kick(void *arg, uint64_t now_ns)
{
	struct wt_channel *channel = arg;
	struct wt_error err = channel->error;

	(void)now_ns;
	wt_channel_enter(channel);
	if (err.code)
		wt_channel_fail(channel, &err);
	else
		turn(channel, false);
	wt_channel_leave(channel);
}

static void kick(struct wt_channel *channel)
{
	if (!channel->kick.fn && channel->state != WT_CHANNEL_CLOSED)
		wt_loop_timer_set(channel->loop, &channel->kick, 0, on_kick, channel);
}

void wt_channel_fail_soon(struct wt_channel *channel)
{
	kick(channel);
}

static void on_pulse(void *arg, uint64_t now_ns);

static void pulse_later(struct wt_channel *channel, uint64_t now_ns)
{
	wt_loop_timer_set(channel->loop, &channel->pulse, now_ns + PULSE_MS * 1000000ull, on_pulse, channel);
}

/* Ends a connection whose bytes were not answered for some seconds. See channel_socket.c. */
static void on_pulse(void *arg, uint64_t now_ns)
{
	struct wt_channel *channel = arg;

	if (wt_socket_unanswered(channel->fd, PULSE_MS))
		channel->unanswered_s++;
	else
		channel->unanswered_s = 0;
	if (channel->unanswered_s < UNANSWERED_S_MAX) {
		pulse_later(channel, now_ns);
		return;
	}
	wt_channel_enter(channel);
	fail_errno(channel, ETIMEDOUT);
	wt_channel_leave(channel);
}

static void on_deadline(void *arg, uint64_t now_ns)
{
	struct wt_channel *channel = arg;
	struct wt_error err = { 0 };

	(void)now_ns;
	wt_channel_enter(channel);
	if (channel->state == WT_CHANNEL_CONNECTING) {
		wt_channel_connect_timeout(channel);
	} else {
		wt_error_set(&err, ETIMEDOUT,
			"%s connected but did not finish the TLS handshake within %.1f s; is it watari, and started "
			"with credentials?",
			channel->peer, (double)channel->timeout_ns / WT_CHANNEL_NS_PER_S);
		wt_channel_fail(channel, &err);
	}
	wt_channel_leave(channel);
}

void wt_channel_on_socket(void *arg, uint32_t events)
{
	struct wt_channel *channel = arg;
	int error = 0;
	socklen_t length = sizeof error;

	wt_channel_enter(channel);
	if (channel->state == WT_CHANNEL_CONNECTING) {
		wt_channel_connect_ready(channel);
	} else if (channel->paused && channel->state == WT_CHANNEL_OPEN && events & EPOLLERR) {
		getsockopt(channel->fd, SOL_SOCKET, SO_ERROR, &error, &length);
		fail_errno(channel, error ? error : ECONNRESET);
	} else if (channel->paused && channel->state == WT_CHANNEL_OPEN && events & EPOLLHUP &&
		   !channel->chunks.bytes) {
		wt_loop_fd_clear(channel->loop, channel->fd);
		channel->hung = true;
	} else {
		turn(channel, events & (EPOLLIN | EPOLLHUP | EPOLLERR));
	}
	wt_channel_leave(channel);
}

void wt_channel_deadline_set(struct wt_channel *channel, uint64_t at_ns)
{
	wt_loop_timer_set(channel->loop, &channel->deadline, at_ns, on_deadline, channel);
}

static void watch(struct wt_channel *channel)
{
	uint32_t events = 0;
	int result;

	if (channel->hung)
		return;
	if (!channel->paused || channel->state != WT_CHANNEL_OPEN)
		events |= EPOLLIN;
	if (channel->wire_start < channel->wire_end ||
		(channel->state == WT_CHANNEL_OPEN && channel->chunks.bytes))
		events |= EPOLLOUT;
	if (events == channel->watched)
		return;
	result = wt_loop_fd_set(channel->loop, channel->fd, events, wt_channel_on_socket, channel);
	if (result) {
		wt_socket_error(channel->peer, -result, &channel->error);
		wt_channel_fail_soon(channel);
		return;
	}
	channel->watched = events;
}

/* Closing with unread bytes would reset the connection and so lose what we sent last. */
static void hang_up(struct wt_channel *channel)
{
	shutdown(channel->fd, SHUT_WR);
	for (unsigned reads = 0; reads < DISCARD_READS; reads++)
		if (recv(channel->fd, channel->in, sizeof channel->in, MSG_DONTWAIT) <= 0)
			break;
}

/* Answers whether the handshake is done; otherwise it goes on, or the channel is closed. */
static bool handshake(struct wt_channel *channel, bool readable)
{
	struct wt_error err = { 0 }, ignored = { 0 };
	ssize_t length = 0;
	int result;

	if (!channel->tls)
		return true;
	if (readable) {
		length = recv(channel->fd, channel->in, sizeof channel->in, MSG_DONTWAIT);
		if (length < 0 && errno != EAGAIN && errno != EINTR) {
			wt_error_set(&err, ECONNRESET,
				"%s ended the connection during the TLS handshake (%s); is it watari, and started with "
				"credentials?",
				channel->peer, strerror(errno));
		} else if (length == 0) {
			wt_error_set(&err, ECONNRESET,
				"%s closed the connection during the TLS handshake; is it watari, and started with "
				"credentials?",
				channel->peer);
		} else if (length > 0) {
			wt_tls_feed(channel->tls, channel->in, (size_t)length, &err);
		}
	}
	result = err.code ? -err.code : wt_tls_handshake(channel->tls, &err);
	/* Also when it failed: the alert tells the peer why. When this fails, reading will say so. */
	wt_channel_flush(channel, true, &ignored);
	if (err.code) {
		hang_up(channel);
		wt_channel_fail(channel, &err);
	}
	return result == 0 && channel->state == WT_CHANNEL_HANDSHAKE;
}

static void deliver(struct wt_channel *channel, const uint8_t *data, size_t length)
{
	if (channel->events.bytes)
		channel->events.bytes(channel->arg, data, length);
}

/* Delivers what TLS has; answers whether reading may go on. */
static bool deliver_plain(struct wt_channel *channel)
{
	struct wt_error err = { 0 };
	ssize_t length;

	while (channel->state == WT_CHANNEL_OPEN && !channel->paused) {
		length = wt_tls_read(channel->tls, channel->plain, sizeof channel->plain, &err);
		if (length == -EAGAIN)
			return true;
		if (length < 0)
			wt_channel_fail(channel, &err);
		else
			deliver(channel, channel->plain, (size_t)length);
	}
	return false;
}

static void end_of_stream(struct wt_channel *channel)
{
	struct wt_error err = { 0 };

	if (channel->write_broken)
		wt_socket_error(channel->peer, ECONNRESET, &err);
	else if (channel->tls)
		wt_error_set(&err, ECONNRESET,
			"the connection to %s ended without a goodbye; its process may have died, see its messages",
			channel->peer);
	else
		wt_error_set(&err, ESHUTDOWN, "%s closed the connection", channel->peer);
	wt_channel_fail(channel, &err);
}

static void receive(struct wt_channel *channel, bool readable)
{
	struct wt_error err = { 0 };
	unsigned reads;
	ssize_t length;

	if (channel->tls && !deliver_plain(channel))
		return;
	for (reads = 0; readable && reads < READS_PER_TURN; reads++) {
		if (channel->state != WT_CHANNEL_OPEN || channel->paused)
			return;
		length = recv(channel->fd, channel->in, sizeof channel->in, MSG_DONTWAIT);
		if (length < 0) {
			if (errno != EAGAIN && errno != EINTR)
				fail_errno(channel, errno);
			return;
		}
		if (length == 0) {
			end_of_stream(channel);
			return;
		}
		readable = (size_t)length == sizeof channel->in;
		if (!channel->tls)
			deliver(channel, channel->in, (size_t)length);
		else if (wt_tls_feed(channel->tls, channel->in, (size_t)length, &err))
			wt_channel_fail(channel, &err);
		else if (!deliver_plain(channel))
			return;
	}
}

/* Sends what waits, and says when nothing is left. */
static void transmit(struct wt_channel *channel)
{
	struct wt_error err = { 0 };
	size_t before = wt_channel_queued(channel);
	int result = channel->write_broken ? 0 : wt_channel_flush(channel, false, &err);

	if (result == -EPIPE && !err.code) {
		if (channel->paused) {
			fail_errno(channel, ECONNRESET);
			return;
		}
		channel->write_broken = true;
		wt_chunks_drop(&channel->chunks);
		channel->wire_start = channel->wire_end = 0;
	} else if (result) {
		wt_channel_fail(channel, &err);
	} else if (before && !wt_channel_queued(channel) && channel->events.drained) {
		channel->events.drained(channel->arg);
	}
}

#if defined WATARI_ANALYSIS && !defined __clang__
/* gcc does not count: who calls this is inside (wt_channel_enter), so nothing frees the channel here. */
#pragma GCC diagnostic ignored "-Wanalyzer-use-after-free"
#endif
static void turn(struct wt_channel *channel, bool readable)
{
	if (channel->state == WT_CHANNEL_HANDSHAKE && handshake(channel, readable)) {
		channel->state = WT_CHANNEL_OPEN;
		wt_loop_timer_clear(channel->loop, &channel->deadline);
		if (channel->peer_host[0])
			pulse_later(channel, wt_loop_now_ns(channel->loop));
		if (channel->events.open)
			channel->events.open(channel->arg);
	}
	if (channel->state == WT_CHANNEL_OPEN)
		transmit(channel);
	if (channel->state == WT_CHANNEL_OPEN)
		receive(channel, readable || channel->write_broken);
	if (channel->state == WT_CHANNEL_HANDSHAKE || channel->state == WT_CHANNEL_OPEN)
		watch(channel);
}

int wt_channel_new(struct wt_loop *loop, const struct wt_channel_events *events, void *arg,
	struct wt_channel **ret_channel, struct wt_error *err)
{
	struct wt_channel *channel = malloc(sizeof *channel);

	if (!channel)
		return wt_error_set(err, ENOMEM, "out of memory for a connection");
	memset(channel, 0, offsetof(struct wt_channel, in)); /* the buffers need no clearing */
	channel->loop = loop;
	channel->state = WT_CHANNEL_CONNECTING;
	channel->fd = -1;
	wt_channel_set_events(channel, events, arg);
	*ret_channel = channel;
	return 0;
}

void wt_channel_begin(struct wt_channel *channel, int fd)
{
	channel->state = WT_CHANNEL_HANDSHAKE;
	channel->fd = fd;
	channel->watched = 0;
	if (channel->tls)
		wt_loop_timer_set(
			channel->loop, &channel->deadline, channel->deadline.at_ns, on_deadline, channel);
	kick(channel);
}

void wt_channel_close(struct wt_channel *channel)
{
	struct wt_error ignored = { 0 };

	if (!channel || channel->abandoned)
		return;
	wt_channel_enter(channel);
	if (channel->state == WT_CHANNEL_OPEN) {
		/* A goodbye after dropped bytes would be a lie: it says that the stream is whole. */
		if (channel->tls && !channel->chunks.bytes && !channel->write_broken) {
			wt_tls_goodbye(channel->tls);
			wt_channel_flush(channel, true, &ignored);
		}
		hang_up(channel);
	}
	shut(channel);
	channel->abandoned = true;
	wt_channel_leave(channel);
}

int wt_channel_send(struct wt_channel *channel, const void *data, size_t length)
{
	int result;

	if (channel->state == WT_CHANNEL_CLOSED || channel->write_broken)
		return -EPIPE;
	if (!length)
		return 0;
	result = wt_chunks_append(&channel->chunks, data, length);
	if (!result && channel->state == WT_CHANNEL_OPEN)
		kick(channel);
	return result;
}

size_t wt_channel_queued(const struct wt_channel *channel)
{
	return channel->chunks.bytes + (channel->wire_end - channel->wire_start);
}

void wt_channel_pause(struct wt_channel *channel, int paused)
{
	if (channel->paused == !!paused)
		return;
	channel->paused = !!paused;
	if (!paused && channel->hung) {
		channel->hung = false;
		channel->watched = NOT_WATCHED;
	}
	/* The next turn changes what is watched, and delivers what TLS still holds. */
	if (channel->state == WT_CHANNEL_OPEN)
		kick(channel);
}

const char *wt_channel_peer(const struct wt_channel *channel)
{
	return channel->peer;
}

const char *wt_channel_peer_host(const struct wt_channel *channel)
{
	return channel->peer_host;
}

void wt_channel_set_events(struct wt_channel *channel, const struct wt_channel_events *events, void *arg)
{
	static const struct wt_channel_events none;

	channel->events = events ? *events : none;
	channel->arg = arg;
}

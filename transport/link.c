/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * link.c - keeps a session connected. See link.h.
 *
 * One timer does everything that depends on time: keepalive and silence while connected, trying again and
 * giving up while not. Failures found inside callbacks are kept in `failure` and reported by that timer, so
 * that nobody is called back from within its own call; the channel stays until then, for the last words.
 *
 * What a channel reports is a lost connection, to be renewed. What the session reports is the peer's: it
 * broke the protocol or gave up, and renewing would only repeat it.
 */
#include "link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void timer_fired(void *arg, uint64_t now_ns);

static void timer_in(struct wt_link *link, uint64_t delay_ns)
{
	wt_loop_timer_set(link->loop, &link->timer, wt_loop_now_ns(link->loop) + delay_ns, timer_fired, link);
}

static void drop_channel(struct wt_link *link)
{
	if (link->channel)
		wt_channel_close(link->channel);
	link->channel = NULL;
	link->gap = false;
	if (link->session)
		wt_session_disconnect(link->session);
}

void wt_link_fail(struct wt_link *link, const struct wt_error *err)
{
	if (link->failed)
		return;
	link->failure = *err;
	link->failed = true;
	if (link->channel)
		wt_session_bye(link->session, wt_error_text(err));
	timer_in(link, link->channel ? WT_LINK_BYE_NS : 0);
}

/* The connection is gone; the session goes on if it can. */
static void connection_lost(struct wt_link *link, const struct wt_error *err)
{
	uint64_t now_ns = wt_loop_now_ns(link->loop);
	bool first = !link->lost_since_ns;

	if (link->failed)
		return; /* the timer drops the channel, when the last words have left */
	drop_channel(link);
	if (!link->was_up && link->connector && !link->awaited) {
		wt_link_fail(link, err);
		return;
	}
	if (first)
		link->lost_since_ns = now_ns;
	if (now_ns - link->lost_since_ns >= link->give_up_ns) {
		wt_link_fail(link, err);
		return;
	}
	link->last_error = *err;
	timer_in(link, WT_LINK_RETRY_NS);
	if (first)
		link->events->lost(link->arg, err);
}

static void session_output(void *arg, const void *bytes, size_t length)
{
	struct wt_link *link = arg;

	if (!link->channel || link->gap)
		return;
	link->bytes += length;
	if (wt_channel_send(link->channel, bytes, length) == -ENOMEM) {
		link->gap = true; /* the stream is broken: only a new connection mends it */
		timer_in(link, 0);
	}
}

static int session_message(
	void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_link *link = arg;
	int r;

	if (link->failed)
		return 0;
	r = link->events->message(link->arg, type, payload, length, err);
	if (r < 0) {
		wt_error_set(err, -r, "message of type %u from the peer does not fit", type);
		wt_link_fail(link, err);
	}
	return r;
}

static void session_up(void *arg)
{
	struct wt_link *link = arg;
	bool again = link->was_up;

	link->was_up = true;
	link->lost_since_ns = 0;
	link->events->up(link->arg, again);
}

static const struct wt_session_events session_events = {
	.output = session_output, .message = session_message, .up = session_up
};

static void channel_open(void *arg)
{
	struct wt_link *link = arg;

	wt_session_connect(link->session, wt_loop_now_ns(link->loop));
	timer_in(link, WT_SESSION_KEEPALIVE_NS / 2);
}

static void channel_bytes(void *arg, const uint8_t *data, size_t length)
{
	struct wt_link *link = arg;
	struct wt_error err = { 0 };

	link->bytes += length;
	if (link->failed || !wt_session_input(link->session, data, length, wt_loop_now_ns(link->loop), &err))
		return;
	if (err.code == ECONNABORTED && !link->failed)
		drop_channel(link); /* the peer is not listening any more */
	wt_link_fail(link, &err);
}

static void channel_closed(void *arg, const struct wt_error *err)
{
	connection_lost(arg, err);
}

static const struct wt_channel_events channel_events = {
	.open = channel_open, .bytes = channel_bytes, .closed = channel_closed
};

static int try_connect(struct wt_link *link, struct wt_error *err)
{
	return wt_channel_connect(link->loop, &link->peer, link->credentials, link->connect_timeout_ns,
		&channel_events, link, &link->channel, err);
}

/* For how long nothing has come though this process could have heard it: after a pause of its own (a process
 * that was stopped, a host without time for it) the peer's words may still wait to be read. */
static uint64_t silent_ns(struct wt_link *link, uint64_t now_ns)
{
	uint64_t since_ns = wt_session_heard_ns(link->session);

	if (now_ns - link->ticked_ns > WT_LINK_PAUSE_NS)
		link->awake_ns = now_ns;
	link->ticked_ns = now_ns;
	if (since_ns < link->awake_ns)
		since_ns = link->awake_ns;
	return now_ns - since_ns;
}

static void timer_fired(void *arg, uint64_t now_ns)
{
	struct wt_link *link = arg;
	struct wt_error err = { 0 };

	if (link->failed) {
		drop_channel(link);
		link->events->failed(link->arg, &link->failure);
		return;
	}
	if (link->gap) {
		wt_error_set(&err, ENOMEM, "no memory for bytes to the peer; the connection is renewed");
		connection_lost(link, &err);
		return;
	}
	if (link->channel) {
		timer_in(link, WT_SESSION_KEEPALIVE_NS / 2);
		wt_session_tick(link->session, now_ns);
		if (!wt_session_is_down(link->session) && silent_ns(link, now_ns) > WT_LINK_SILENCE_NS) {
			wt_error_set(&err, ETIMEDOUT, "nothing was heard from the peer for %llu s",
				WT_LINK_SILENCE_NS / 1000000000);
			connection_lost(link, &err);
		}
		return;
	}
	if (now_ns - link->lost_since_ns >= link->give_up_ns) {
		wt_link_fail(link, &link->last_error);
		return;
	}
	timer_in(link, WT_LINK_RETRY_NS);
	if (link->connector && try_connect(link, &err))
		connection_lost(link, &err);
}

int wt_link_connect(struct wt_link *link, const char *name, const uint8_t *id, struct wt_error *err)
{
	uint8_t random[WT_SESSION_ID_BYTES];
	int r;

	link->connector = true;
	link->awaited = id != NULL;
	if (!id && getrandom(random, sizeof random, 0) != sizeof random)
		return wt_error_set(err, EIO, "no random numbers from the kernel");
	r = wt_session_open(true, id ? id : random, name, &session_events, link, &link->session);
	if (r)
		return wt_error_set(err, -r, "no memory for a session");
	return try_connect(link, err);
}

int wt_link_accept(struct wt_link *link, struct wt_channel *channel, const struct wt_hello *hello,
	const uint8_t *rest, size_t rest_length, struct wt_error *err)
{
	uint64_t now_ns = wt_loop_now_ns(link->loop);
	int r;

	if (!link->session) {
		r = wt_session_open(
			false, hello->session_id, hello->name, &session_events, link, &link->session);
		if (r) {
			wt_channel_close(channel);
			return wt_error_set(err, -r, "no memory for a session");
		}
	}
	drop_channel(link);
	link->channel = channel;
	wt_channel_set_events(channel, &channel_events, link);
	r = wt_session_accept(link->session, hello, now_ns, err);
	if (r) {
		wt_link_fail(link, err);
		return r;
	}
	timer_in(link, WT_SESSION_KEEPALIVE_NS / 2);
	if (rest_length)
		channel_bytes(link, rest, rest_length);
	return 0;
}

void wt_link_close(struct wt_link *link)
{
	if (link->loop)
		wt_loop_timer_clear(link->loop, &link->timer);
	drop_channel(link);
	wt_session_close(link->session);
	link->session = NULL;
}

int wt_link_send(struct wt_link *link, unsigned type, const void *payload, size_t length)
{
	return wt_session_send(link->session, type, payload, length, wt_loop_now_ns(link->loop));
}

void wt_link_must_send(struct wt_link *link, unsigned type, const void *payload, size_t length)
{
	struct wt_error err = { 0 };
	int r = wt_link_send(link, type, payload, length);

	if (!r)
		return;
	wt_error_set(&err, -r, "a message to the peer could not be queued: %s", strerror(-r));
	wt_link_fail(link, &err);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake_channel.c - see fake_channel.h.
 */
#include "fake_channel.h"

#include <errno.h>
#include <string.h>

#include "promise.h"

struct wt_channel {
	unsigned number; /* 0: there is none */
	bool opening, ended;
	struct wt_channel_events events;
	void *arg;
};

static struct wt_channel channels[FAKE_CHANNELS];

static struct {
	bool open;
	struct wt_channel_listener_events events;
	void *arg;
} listener;

static fake_channel_sent *watcher;
static bool refuses;

static unsigned last_number;

static struct wt_channel *find(unsigned number)
{
	for (unsigned i = 0; i < FAKE_CHANNELS; i++)
		if (channels[i].number == number)
			return &channels[i];
	return NULL;
}

static struct wt_channel *take(void)
{
	struct wt_channel *channel = find(0);

	if (channel)
		*channel = (struct wt_channel){ .number = ++last_number };
	return channel;
}

/* ---- for the product ---- */

int wt_channel_listen(struct wt_loop *loop, const struct wt_address *address,
	const struct wt_credentials *credentials, const struct wt_channel_listener_events *events, void *arg,
	struct wt_channel_listener **ret_listener, uint16_t *ret_port, struct wt_error *err)
{
	listener.open = true;
	listener.events = *events;
	listener.arg = arg;
	*ret_listener = (struct wt_channel_listener *)&listener;
	*ret_port = 1;
	return 0;
}

void wt_channel_listener_close(struct wt_channel_listener *closed)
{
	listener.open = false;
}

int wt_channel_connect(struct wt_loop *loop, const struct wt_address *address,
	const struct wt_credentials *credentials, uint64_t timeout_ns, const struct wt_channel_events *events,
	void *arg, struct wt_channel **ret_channel, struct wt_error *err)
{
	struct wt_channel *channel = refuses ? NULL : take();

	if (!channel)
		return wt_error_set(err, ECONNREFUSED, "nobody is there");
	channel->opening = true;
	channel->events = *events;
	channel->arg = arg;
	*ret_channel = channel;
	return 0;
}

void wt_channel_close(struct wt_channel *channel)
{
	PROMISE(channel->number);
	*channel = (struct wt_channel){ 0 };
}

int wt_channel_send(struct wt_channel *channel, const void *data, size_t length)
{
	PROMISE(channel->number && length);
	if (channel->ended)
		return -EPIPE;
	return watcher ? watcher(channel->number, data, length) : 0;
}

const char *wt_channel_peer(const struct wt_channel *channel)
{
	return "peer";
}

const char *wt_channel_peer_host(const struct wt_channel *channel)
{
	return "127.0.0.1";
}

size_t wt_channel_queued(const struct wt_channel *channel)
{
	return 0;
}

void wt_channel_set_events(struct wt_channel *channel, const struct wt_channel_events *events, void *arg)
{
	PROMISE(channel->number);
	channel->events = *events;
	channel->arg = arg;
}

/* ---- for the harness ---- */

void fake_channel_watch(fake_channel_sent *sent)
{
	watcher = sent;
}

void fake_channel_refuse_connects(bool refuse)
{
	refuses = refuse;
}

unsigned fake_channel_accept(void)
{
	struct wt_channel *channel = listener.open ? take() : NULL;
	unsigned number = last_number;

	if (!channel)
		return 0;
	listener.events.accepted(listener.arg, channel);
	return number;
}

unsigned fake_channel_open(void)
{
	for (unsigned i = 0; i < FAKE_CHANNELS; i++)
		if (channels[i].number && channels[i].opening) {
			unsigned number = channels[i].number;

			channels[i].opening = false;
			channels[i].events.open(channels[i].arg);
			return number;
		}
	return 0;
}

bool fake_channel_bytes(unsigned number, const void *data, size_t length)
{
	struct wt_channel *channel = number ? find(number) : NULL;

	if (!channel || channel->ended || channel->opening)
		return false;
	if (length)
		channel->events.bytes(channel->arg, data, length);
	return true;
}

void fake_channel_end(unsigned number, int code)
{
	struct wt_channel *channel = number ? find(number) : NULL;
	struct wt_error err = { 0 };

	if (!channel || channel->ended)
		return;
	channel->ended = true;
	wt_error_set(&err, code, "the peer is gone");
	channel->events.closed(channel->arg, &err);
}

void fake_channel_refused(void)
{
	struct wt_error err = { 0 };

	wt_error_set(&err, EACCES, "somebody without a key");
	if (listener.open && listener.events.refused)
		listener.events.refused(listener.arg, &err);
}

unsigned fake_channel_count(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < FAKE_CHANNELS; i++)
		count += channels[i].number != 0;
	return count;
}

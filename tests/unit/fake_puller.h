/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake_puller.h - a puller without a will of its own: it takes the session and the paths of one page server,
 * keeps every message that comes, and says what the test tells it to say. In the test's own loop.
 */
#ifndef WT_TEST_FAKE_PULLER_H
#define WT_TEST_FAKE_PULLER_H

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <watari/channel.h>
#include <watari/path.h>

#include "link.h"
#include "seed.h"

#define FAKE_MESSAGES_MAX 20000
#define FAKE_PATHS_MAX 32
#define FAKE_REGIONS_MAX 64

struct fake_message {
	unsigned type;
	size_t length;
	uint8_t *payload;
};

struct fake {
	struct wt_loop *loop;
	struct wt_channel_listener *listener;
	uint16_t port;
	struct wt_link link;
	struct wt_channel *guest; /* its hello is not complete */
	uint8_t hello[WT_WIRE_HELLO_BYTES];
	size_t gathered;
	unsigned failed;
	struct wt_error why;

	struct wt_listener *data;
	struct wt_endpoint *endpoint;
	uint16_t data_port;
	struct wt_path *paths[FAKE_PATHS_MAX];
	unsigned path_count;

	struct fake_message messages[FAKE_MESSAGES_MAX];
	unsigned count, seen; /* seen: what the test has looked at */
};

static inline int fake_take(
	void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct fake *f = arg;
	struct fake_message *message = &f->messages[f->count++];

	check(f->count < FAKE_MESSAGES_MAX);
	*message = (struct fake_message){ .type = type, .length = length, .payload = malloc(length + 1) };
	memcpy(message->payload, payload, length);
	return 0;
}

static inline void fake_up(void *arg, bool again)
{
}

static inline void fake_lost(void *arg, const struct wt_error *err)
{
}

static inline void fake_failed(void *arg, const struct wt_error *err)
{
	struct fake *f = arg;

	f->failed++;
	f->why = *err;
}

static const struct wt_link_events fake_link_events = {
	.up = fake_up, .lost = fake_lost, .failed = fake_failed, .message = fake_take
};

static inline void fake_guest_bytes(void *arg, const uint8_t *data, size_t length)
{
	struct fake *f = arg;
	size_t n = sizeof f->hello - f->gathered < length ? sizeof f->hello - f->gathered : length;
	struct wt_channel *channel = f->guest;
	struct wt_error err = { 0 };
	struct wt_hello hello;

	memcpy(f->hello + f->gathered, data, n);
	f->gathered += n;
	if (f->gathered < sizeof f->hello)
		return;
	check(wt_wire_hello_decode(f->hello, &hello) == 0);
	f->guest = NULL;
	check(wt_link_accept(&f->link, channel, &hello, data + n, length - n, &err) == 0);
}

static inline void fake_guest_closed(void *arg, const struct wt_error *err)
{
	struct fake *f = arg;

	wt_channel_close(f->guest);
	f->guest = NULL;
}

static const struct wt_channel_events fake_guest_events = { .bytes = fake_guest_bytes,
	.closed = fake_guest_closed };

static inline void fake_accepted(void *arg, struct wt_channel *channel)
{
	struct fake *f = arg;

	f->guest = channel;
	f->gathered = 0;
	wt_channel_set_events(channel, &fake_guest_events, f);
}

static const struct wt_channel_listener_events fake_listener_events = { .accepted = fake_accepted };

static inline void fake_data(void *arg, uint32_t events)
{
	const struct wt_fabric_ops *ops = wt_fabric_ops(WT_FABRIC_TCP);
	struct fake *f = arg;
	uint8_t hello[WT_PATH_HELLO_BYTES];
	struct wt_request *request;
	struct wt_error err = { 0 };

	while (ops->listener_accept(f->data, &request, hello) == 0) {
		check(f->path_count < FAKE_PATHS_MAX);
		if (ops->request_admit(request, f->endpoint, WT_ROLE_PULL, &f->paths[f->path_count], &err) ==
			0)
			f->path_count++;
	}
}

static inline void fake_open(struct fake *f, struct wt_loop *loop)
{
	const struct wt_fabric_ops *ops = wt_fabric_ops(WT_FABRIC_TCP);
	struct wt_address address = { .host = "127.0.0.1" };
	struct wt_error err = { 0 };

	memset(f, 0, sizeof *f);
	f->loop = loop;
	f->link = (struct wt_link){
		.loop = loop, .events = &fake_link_events, .arg = f, .give_up_ns = 20000000000ull
	};
	check(wt_channel_listen(
		      loop, &address, NULL, &fake_listener_events, f, &f->listener, &f->port, &err) == 0);
	check(ops->endpoint_open(NULL, NULL, &f->endpoint, &err) == 0);
	check(ops->listener_open("127.0.0.1", 0, &f->data, &f->data_port, &err) == 0);
	check(wt_loop_fd_set(loop, ops->listener_fd(f->data), EPOLLIN, fake_data, f) == 0);
}

/* The paths, as a puller that drains does. */
static inline void fake_hang_up(struct fake *f)
{
	while (f->path_count)
		wt_fabric_ops(WT_FABRIC_TCP)->close(f->paths[--f->path_count]);
}

static inline void fake_close(struct fake *f)
{
	const struct wt_fabric_ops *ops = wt_fabric_ops(WT_FABRIC_TCP);

	fake_hang_up(f);
	wt_loop_fd_clear(f->loop, ops->listener_fd(f->data));
	ops->listener_close(f->data);
	ops->endpoint_close(f->endpoint);
	wt_channel_close(f->guest);
	wt_link_close(&f->link);
	wt_channel_listener_close(f->listener);
	while (f->count)
		free(f->messages[--f->count].payload);
}

static inline void fake_say(struct fake *f, unsigned type, const void *payload, size_t length)
{
	check(wt_link_send(&f->link, type, payload, length) == 0);
}

static inline void fake_ready(struct fake *f)
{
	struct wt_wire_ready ready = { .token = "token",
		.listeners = 1,
		.listener = { { .fabric = WT_FABRIC_TCP, .port = f->data_port } } };
	uint8_t bytes[512];

	fake_say(f, WT_MESSAGE_READY, bytes, wt_wire_ready_encode(&ready, bytes));
}

static inline void fake_landed(struct fake *f, uint64_t first, uint64_t count)
{
	struct wt_seq_range range = { .first = first, .count = count };
	uint8_t bytes[64];

	fake_say(f, WT_MESSAGE_LANDED, bytes, wt_wire_landed_encode(&range, 1, bytes));
}

static inline void fake_epoch(struct fake *f, unsigned type, uint32_t epoch)
{
	uint8_t bytes[8];

	fake_say(f, type, bytes, wt_wire_epoch_encode(epoch, bytes));
}

/* The next message of this type from `from` on; NULL: none has come. */
static inline const struct fake_message *fake_find(const struct fake *f, unsigned type, unsigned from)
{
	for (unsigned i = from; i < f->count; i++)
		if (f->messages[i].type == type)
			return &f->messages[i];
	return NULL;
}

static inline unsigned fake_heard(const struct fake *f, unsigned type)
{
	unsigned n = 0;

	for (unsigned i = 0; i < f->count; i++)
		n += f->messages[i].type == type;
	return n;
}

#endif

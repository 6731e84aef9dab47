/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * puller.c - the puller: listens, admits one server, and lets the mover pull what that announces. See
 * puller.h.
 *
 * A new control connection waits in `guest` until its hello is complete; the hello says whether it opens the
 * session, renews it, or is turned away. Data connections are admitted only with the session's id and token.
 */
#include <watari/puller.h>

#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>

#include "link.h"
#include "mover.h"
#include "wire.h"

#define GUESTS_MAX 16
#define GUEST_PATIENCE_NS 10000000000ull

static const enum wt_fabric fabrics[] = { WT_FABRIC_VERBS, WT_FABRIC_TCP };
#define FABRICS (sizeof fabrics / sizeof fabrics[0])

/* A connection that has not said its whole hello. */
struct guest {
	struct wt_puller *puller;
	struct wt_channel *channel; /* NULL: free */
	uint64_t since_ns;
	size_t gathered;
	uint8_t hello[WT_WIRE_HELLO_BYTES];
};

struct wt_puller {
	struct wt_loop *loop;
	struct wt_puller_config config;
	const struct wt_puller_events *events;
	void *arg;

	struct wt_channel_listener *listener;
	struct guest guests[GUESTS_MAX];
	struct wt_link link; /* session NULL: no server yet */
	uint8_t token[WT_PATH_TOKEN_BYTES];
	struct wt_listener *data_listeners[FABRICS];
	struct wt_timer dismiss; /* to close guests outside of their callbacks */

	unsigned blocks;
	bool started, was_idle, failed;
	struct wt_mover *mover;
	struct wt_busy busy;
	struct wt_seq_range acks[WT_WIRE_RANGES_MAX]; /* taken from the plan and not sent yet */
	unsigned ack_count;
	uint8_t payload[WT_WIRE_PAYLOAD_MAX];
};

static void fail(struct wt_puller *p, const struct wt_error *err)
{
	wt_link_fail(&p->link, err);
}

/* Somebody was turned away. */
static void refused(void *arg, const struct wt_error *err)
{
	struct wt_puller *p = arg;

	if (p->events->refused)
		p->events->refused(p->arg, err);
}

/* ---- data connections ---- */

static void admit(struct wt_puller *p, const struct wt_fabric_ops *ops, struct wt_request *request,
	const uint8_t hello[WT_PATH_HELLO_BYTES])
{
	uint8_t expected[WT_PATH_HELLO_BYTES];
	struct wt_endpoint *endpoint;
	struct wt_error err = { 0 };
	struct wt_path *path;
	bool open = p->started && !p->link.failed;

	if (open)
		wt_wire_path_hello_encode(wt_session_id(p->link.session), p->token, expected);
	if (!open || CRYPTO_memcmp(hello, expected, sizeof expected)) {
		ops->request_refuse(request);
		wt_error_set(&err, EACCES, "a data connection without the session's token was refused");
		refused(p, &err);
		return;
	}
	if (wt_mover_endpoint(p->mover, ops, ops->fabric == WT_FABRIC_VERBS ? p->config.device : NULL,
		    p->link.channel ? wt_channel_peer_host(p->link.channel) : NULL, &endpoint, &err)) {
		ops->request_refuse(request);
		refused(p, &err);
		return;
	}
	if (ops->request_admit(request, endpoint, WT_ROLE_PULL, &path, &err)) {
		refused(p, &err);
		return;
	}
	if (wt_mover_path_add(p->mover, ops, path))
		ops->close(path);
}

static void data_requests(struct wt_puller *p, unsigned index)
{
	const struct wt_fabric_ops *ops = wt_fabric_ops(fabrics[index]);
	uint8_t hello[WT_PATH_HELLO_BYTES];
	struct wt_request *request;

	while (ops->listener_accept(p->data_listeners[index], &request, hello) == 0)
		admit(p, ops, request, hello);
}

static void data_readable(void *arg, uint32_t events)
{
	struct wt_puller *p = arg;

	for (unsigned i = 0; i < FABRICS; i++)
		if (p->data_listeners[i])
			data_requests(p, i);
}

/* Where data connections are awaited: as told, or where the control connection is; never wider than that. */
static const char *data_host(const struct wt_puller *p)
{
	if (p->config.data_host)
		return p->config.data_host;
	return p->config.listen.unix_path ? "127.0.0.1" : p->config.listen.host;
}

/* Opens a listener for every fabric that is offered; a missing device only shortens the list. */
static int open_data_listeners(struct wt_puller *p, struct wt_wire_ready *ready, struct wt_error *err)
{
	struct wt_error why = { 0 };

	for (unsigned i = 0; i < FABRICS; i++) {
		const struct wt_fabric_ops *ops = wt_fabric_ops(fabrics[i]);
		struct wt_wire_listener *listener = &ready->listener[ready->listeners];

		if (!ops || !(p->config.fabrics & WT_FABRIC_BIT(fabrics[i])))
			continue;
		wt_error_clear(&why);
		if (ops->listener_open(data_host(p), 0, &p->data_listeners[i], &listener->port, &why))
			continue;
		if (wt_loop_fd_set(
			    p->loop, ops->listener_fd(p->data_listeners[i]), EPOLLIN, data_readable, p)) {
			ops->listener_close(p->data_listeners[i]);
			p->data_listeners[i] = NULL;
			continue;
		}
		listener->fabric = fabrics[i];
		if (p->config.data_host)
			strncpy(listener->host, p->config.data_host, sizeof listener->host - 1);
		ready->listeners++;
	}
	if (!ready->listeners)
		return wt_error_set(err, ENOTSUP, "no fabric can be offered: %s", wt_error_text(&why));
	return 0;
}

/* ---- messages ---- */

static int take_block(struct wt_puller *p, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_wire_block block;
	struct wt_puller_block here = { .fd = -1 };
	struct wt_sink_block sink;
	uint8_t id[WT_MEMORY_ID_BYTES];
	int r;

	if (p->started || wt_wire_block_decode(payload, length, &block) || block.block != p->blocks ||
		p->blocks == WT_BLOCKS_MAX)
		return wt_error_set(err, EPROTO, "the server's list of blocks is malformed");
	r = p->events->block(p->arg, block.name, block.length, &here, err);
	if (r)
		return r;
	wt_memory_id(here.fd, here.fd_offset, id);
	if (wt_memory_id_same(id, block.memory))
		return wt_error_set(err, EINVAL,
			"block %s is the same memory at the source; give the destination memory of its own",
			block.name);
	sink = (struct wt_sink_block){
		.base = here.base, .length = block.length, .fd = here.fd, .fd_offset = here.fd_offset
	};
	strcpy(sink.name, block.name);
	p->blocks++;
	r = wt_mover_block_add(p->mover, &sink);
	return r ? wt_error_set(err, -r, "no memory for block %s", block.name) : 0;
}

static int take_blocks_end(struct wt_puller *p, struct wt_error *err)
{
	struct wt_wire_ready ready = { .listeners = 0 };
	int r;

	if (p->started)
		return wt_error_set(err, EPROTO, "the server listed its blocks twice");
	r = p->events->blocks_end ? p->events->blocks_end(p->arg, err) : 0;
	if (r)
		return r;
	r = wt_mover_start(p->mover);
	if (r)
		return wt_error_set(err, -r, "no memory for page maps");
	p->started = p->was_idle = true;
	r = open_data_listeners(p, &ready, err);
	if (r)
		return r;
	memcpy(ready.token, p->token, sizeof ready.token);
	return wt_link_send(&p->link, WT_MESSAGE_READY, p->payload, wt_wire_ready_encode(&ready, p->payload));
}

static int take_announce(struct wt_puller *p, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_announcement list[WT_WIRE_ANNOUNCEMENTS_MAX];
	uint64_t seq;
	unsigned count;

	if (!p->started || wt_wire_announce_decode(payload, length, &seq, list, &count))
		return wt_error_set(err, EPROTO, "the server's announcement is malformed");
	for (unsigned i = 0; i < count; i++)
		if (wt_plan_announce(wt_mover_plan(p->mover), seq + i, &list[i]))
			return wt_error_set(err, EPROTO,
				"the server announced what is not in any block, or out of order");
	p->was_idle = false;
	return 0;
}

static int link_message(void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_puller *p = arg;
	struct wt_wire_region region;

	switch (type) {
	case WT_MESSAGE_BLOCK:
		return take_block(p, payload, length, err);
	case WT_MESSAGE_BLOCKS_END:
		return take_blocks_end(p, err);
	case WT_MESSAGE_REGIONS_CLEAR:
		if (length != 1 || payload[0] > WT_FABRIC_SIM)
			return wt_error_set(err, EPROTO, "the server's message on regions is malformed");
		wt_mover_regions_clear(p->mover, (enum wt_fabric)payload[0]);
		return 0;
	case WT_MESSAGE_REGION:
		if (!p->started || wt_wire_region_decode(payload, length, &region) ||
			wt_mover_region_add(p->mover, &region))
			return wt_error_set(err, EPROTO, "the server's region lies in no block");
		return 0;
	case WT_MESSAGE_ANNOUNCE:
		return take_announce(p, payload, length, err);
	default:
		if (type < WT_MESSAGE_APPLICATION || !p->events->message)
			return wt_error_set(
				err, EPROTO, "the server sent a message of unknown type %u", type);
		return p->events->message(p->arg, type, payload, length, err);
	}
}

static void link_up(void *arg, bool again)
{
	struct wt_puller *p = arg;

	if (again && p->events->back)
		p->events->back(p->arg);
	else if (!again && p->events->connected)
		p->events->connected(p->arg, p->link.channel ? wt_channel_peer(p->link.channel) : "");
}

static void link_lost(void *arg, const struct wt_error *err)
{
	struct wt_puller *p = arg;

	if (p->events->lost)
		p->events->lost(p->arg, err);
}

static void link_failed(void *arg, const struct wt_error *err)
{
	struct wt_puller *p = arg;

	p->failed = true;
	wt_mover_stop(p->mover);
	p->events->failed(p->arg, err);
}

static const struct wt_link_events link_events = {
	.up = link_up, .lost = link_lost, .failed = link_failed, .message = link_message
};

/* ---- who may come in ---- */

static void dismiss(void *arg, uint64_t now_ns)
{
	struct wt_puller *p = arg;
	bool any = false;

	for (unsigned i = 0; i < GUESTS_MAX; i++) {
		struct guest *guest = &p->guests[i];

		if (guest->channel && now_ns - guest->since_ns >= GUEST_PATIENCE_NS) {
			wt_channel_close(guest->channel);
			guest->channel = NULL;
		}
		any |= guest->channel != NULL;
	}
	if (any)
		wt_loop_timer_set(p->loop, &p->dismiss, now_ns + GUEST_PATIENCE_NS / 10, dismiss, p);
}

/* Says no. The channel is closed a moment later, when the refusal is on its way. */
static void turn_away(struct guest *guest, const char *text)
{
	struct wt_puller *p = guest->puller;
	uint8_t bytes[WT_WIRE_WELCOME_BYTES];
	struct wt_error err = { 0 };

	wt_session_refusal(text, bytes);
	wt_channel_send(guest->channel, bytes, sizeof bytes);
	guest->since_ns = wt_loop_now_ns(p->loop) - GUEST_PATIENCE_NS + GUEST_PATIENCE_NS / 10;
	guest->gathered = WT_WIRE_HELLO_BYTES;
	wt_error_set(&err, ECONNREFUSED, "%s was refused: %s", wt_channel_peer(guest->channel), text);
	refused(p, &err);
}

static void let_in(struct guest *guest, const struct wt_hello *hello, const uint8_t *rest, size_t rest_length)
{
	struct wt_puller *p = guest->puller;
	struct wt_channel *channel = guest->channel;
	struct wt_error err = { 0 };

	guest->channel = NULL;
	wt_link_accept(&p->link, channel, hello, rest, rest_length, &err);
}

static void take_hello(struct guest *guest, const uint8_t *rest, size_t rest_length)
{
	struct wt_puller *p = guest->puller;
	struct wt_hello hello;
	char text[WT_SESSION_NAME_MAX + 1];

	if (wt_wire_hello_decode(guest->hello, &hello)) {
		turn_away(guest, "this is watari, and that was not its protocol");
		return;
	}
	if (hello.version_min > WT_WIRE_VERSION || hello.version_max < WT_WIRE_VERSION) {
		snprintf(text, sizeof text,
			"version %u of the protocol is spoken here, not %u; install the same watari",
			WT_WIRE_VERSION, hello.version_max);
		turn_away(guest, text);
	} else if (p->config.name && strcmp(hello.name, p->config.name)) {
		snprintf(text, sizeof text,
			"the VM that is awaited here is \"%.80s\", not \"%.80s\"; check the name",
			p->config.name, hello.name);
		turn_away(guest, text);
	} else if (p->link.session &&
		   memcmp(wt_session_id(p->link.session), hello.session_id, WT_SESSION_ID_BYTES)) {
		turn_away(guest, "this VM is being received from another source already");
	} else if (!p->link.session && hello.received) {
		turn_away(guest, "that session is not known here any more; start again");
	} else if (p->link.failed) {
		snprintf(
			text, sizeof text, "the session has ended here: %s", wt_error_text(&p->link.failure));
		turn_away(guest, text);
	} else {
		let_in(guest, &hello, rest, rest_length);
	}
}

static void guest_bytes(void *arg, const uint8_t *data, size_t length)
{
	struct guest *guest = arg;
	size_t n = WT_WIRE_HELLO_BYTES - guest->gathered;

	if (!n)
		return; /* was turned away */
	if (n > length)
		n = length;
	memcpy(guest->hello + guest->gathered, data, n);
	guest->gathered += n;
	if (guest->gathered == WT_WIRE_HELLO_BYTES)
		take_hello(guest, data + n, length - n);
	else if (memcmp(guest->hello, (const uint8_t[]){ 0, 'W', 'A', 'T', 'A', 'R', 'I', 1 },
			 guest->gathered < 8 ? guest->gathered : 8))
		turn_away(guest, "this is watari, and that was not its protocol");
}

static void guest_closed(void *arg, const struct wt_error *err)
{
	struct guest *guest = arg;

	wt_channel_close(guest->channel);
	guest->channel = NULL;
}

static const struct wt_channel_events guest_events = { .bytes = guest_bytes, .closed = guest_closed };

/* A new connection; where there is no place it takes that of the oldest one, which should have spoken by now.
 */
static void accepted(void *arg, struct wt_channel *channel)
{
	struct wt_puller *p = arg;
	uint64_t now_ns = wt_loop_now_ns(p->loop);
	struct guest *guest = &p->guests[0];

	for (unsigned i = 1; i < GUESTS_MAX && guest->channel; i++)
		if (!p->guests[i].channel || now_ns - p->guests[i].since_ns > now_ns - guest->since_ns)
			guest = &p->guests[i];
	if (guest->channel)
		wt_channel_close(guest->channel);
	*guest = (struct guest){ .puller = p, .channel = channel, .since_ns = now_ns };
	wt_channel_set_events(channel, &guest_events, guest);
	wt_loop_timer_set(p->loop, &p->dismiss, now_ns + GUEST_PATIENCE_NS / 10, dismiss, p);
}

static const struct wt_channel_listener_events listener_events = { .accepted = accepted, .refused = refused };

/* ---- the puller ---- */

/* While messages of the application fill the session, acknowledgements wait: what makes room wakes the loop.
 */
static int send_acks(struct wt_puller *p)
{
	int r;

	for (;;) {
		if (!p->ack_count)
			p->ack_count = wt_plan_acks(wt_mover_plan(p->mover), p->acks, WT_WIRE_RANGES_MAX);
		if (!p->ack_count)
			return 0;
		r = wt_link_send(&p->link, WT_MESSAGE_LANDED, p->payload,
			wt_wire_landed_encode(p->acks, p->ack_count, p->payload));
		if (r)
			return r == -EAGAIN ? 0 : r;
		p->ack_count = 0;
	}
}

/* The serving end of a path that broke may never see it: nothing of its own is on the way. */
static void tell_lost(struct wt_puller *p)
{
	unsigned lost = wt_mover_lost(p->mover);

	for (unsigned i = 0; i < FABRICS; i++) {
		uint8_t fabric = (uint8_t)fabrics[i];

		if (lost & WT_FABRIC_BIT(fabric))
			wt_link_must_send(&p->link, WT_MESSAGE_PATHS_LOST, &fabric, 1);
	}
}

static bool turn(void *arg, uint64_t now_ns)
{
	struct wt_puller *p = arg;
	struct wt_error err = { 0 };
	bool any;

	if (!p->started || p->link.failed)
		return false;
	any = wt_mover_turn(p->mover, &err);
	tell_lost(p);
	if (!err.code && send_acks(p))
		wt_error_set(&err, ENOMEM, "no memory for a message to the server");
	if (err.code) {
		fail(p, &err);
		return false;
	}
	if (!p->was_idle && wt_plan_idle(wt_mover_plan(p->mover))) {
		p->was_idle = true;
		if (p->events->landed)
			p->events->landed(p->arg);
	}
	return any || !wt_mover_arm(p->mover);
}

int wt_puller_open(struct wt_loop *loop, const struct wt_puller_config *config,
	const struct wt_puller_events *events, void *arg, struct wt_puller **ret_puller, uint16_t *ret_port,
	struct wt_error *err)
{
	struct wt_puller *p = calloc(1, sizeof *p);
	int r;

	if (!p || wt_mover_open(loop, &p->mover)) {
		free(p);
		return wt_error_set(err, ENOMEM, "no memory for a puller");
	}
	p->loop = loop;
	p->config = *config;
	if (!p->config.fabrics)
		p->config.fabrics = WT_FABRIC_BIT(WT_FABRIC_TCP) | WT_FABRIC_BIT(WT_FABRIC_VERBS);
	p->events = events;
	p->arg = arg;
	p->link = (struct wt_link){
		.loop = loop, .events = &link_events, .arg = p, .give_up_ns = config->give_up_ns
	};
	if (getrandom(p->token, sizeof p->token, 0) != sizeof p->token)
		r = wt_error_set(err, EIO, "no random numbers from the kernel");
	else
		r = wt_channel_listen(
			loop, &config->listen, config->psk, &listener_events, p, &p->listener, ret_port, err);
	if (r) {
		wt_mover_close(p->mover);
		free(p);
		return r;
	}
	wt_loop_busy_set(loop, &p->busy, turn, p);
	*ret_puller = p;
	return 0;
}

void wt_puller_close(struct wt_puller *p)
{
	if (!p)
		return;
	wt_loop_busy_clear(p->loop, &p->busy);
	wt_loop_timer_clear(p->loop, &p->dismiss);
	wt_channel_listener_close(p->listener);
	for (unsigned i = 0; i < GUESTS_MAX; i++)
		if (p->guests[i].channel)
			wt_channel_close(p->guests[i].channel);
	for (unsigned i = 0; i < FABRICS; i++) {
		const struct wt_fabric_ops *ops = wt_fabric_ops(fabrics[i]);

		if (!p->data_listeners[i])
			continue;
		wt_loop_fd_clear(p->loop, ops->listener_fd(p->data_listeners[i]));
		ops->listener_close(p->data_listeners[i]);
	}
	wt_mover_close(p->mover);
	wt_link_close(&p->link);
	free(p);
}

size_t wt_puller_unsent(const struct wt_puller *p)
{
	return p->link.session && !p->failed ? wt_session_retained(p->link.session) : 0;
}

uint64_t wt_puller_next_seq(const struct wt_puller *p)
{
	return p->started ? wt_plan_next_seq(wt_mover_plan(p->mover)) : 0;
}

bool wt_puller_all_landed(const struct wt_puller *p)
{
	return p->started && wt_plan_idle(wt_mover_plan(p->mover));
}

int wt_puller_send(struct wt_puller *p, unsigned type, const void *payload, size_t length)
{
	if (type < WT_MESSAGE_APPLICATION || type > UINT16_MAX || length > WT_WIRE_PAYLOAD_MAX ||
		!p->link.session)
		return -EINVAL;
	return wt_link_send(&p->link, type, payload, length);
}

uint64_t wt_puller_heard_ns(const struct wt_puller *p)
{
	return p->link.session ? wt_session_heard_ns(p->link.session) : 0;
}

void wt_puller_stats(const struct wt_puller *p, struct wt_puller_stats *ret_stats)
{
	wt_mover_stats(p->mover, ret_stats);
}

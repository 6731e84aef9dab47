/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * puller_listen.c - who may come in to the puller: control connections and data connections. See puller.h.
 *
 * A new control connection waits as a guest until its hello is complete; the hello says whether it opens a
 * session, renews it, or is turned away. The first session is that of server 0; others come with the id of a
 * helper that is expected. Data connections are admitted only with a session's id and token. While the puller
 * drains and is drained they wait: one that comes just after RESTART may get here before it.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "puller_internal.h"

#define GUEST_PATIENCE_NS 10000000000ull

/* ---- data connections ---- */

/* The server whose session and token these are; NULL: nobody's. */
static struct puller_server *server_of(struct wt_puller *p, const uint8_t hello[WT_PATH_HELLO_BYTES])
{
	struct puller_server *found = NULL;

	for (unsigned i = 0; i < WT_PLAN_SERVERS; i++) {
		struct puller_server *s = &p->servers[i];
		uint8_t expected[WT_PATH_HELLO_BYTES];

		if (!s->ready || s->link.failed)
			continue;
		wt_wire_path_hello_encode(wt_session_id(s->link.session), s->token, expected);
		if (!CRYPTO_memcmp(hello, expected, sizeof expected))
			found = s;
	}
	return found;
}

static void admit(struct wt_puller *p, const struct puller_listener *by, struct wt_request *request,
	const uint8_t hello[WT_PATH_HELLO_BYTES])
{
	const struct wt_fabric_ops *ops = by->ops;
	struct puller_server *s = p->failed || p->phase != PULLER_PULLING ? NULL : server_of(p, hello);
	struct wt_endpoint *endpoint;
	struct wt_error err = { 0 };
	struct wt_path *path;
	const char *host;
	bool replica;

	if (!s) {
		ops->request_refuse(request);
		wt_error_set(&err, EACCES, "a data connection without the session's token was refused");
		wt_puller_refused(p, &err);
		return;
	}
	replica = wt_puller_is_replica(s);
	host = s->link.channel ? wt_channel_peer_host(s->link.channel) : NULL;
	if (replica ? wt_puller_replica_endpoint(p, ops, host, &endpoint, &err)
		    : wt_mover_endpoint(p->mover, ops,
			      ops->fabric == WT_FABRIC_VERBS ? p->config.device : NULL, host, &endpoint,
			      &err)) {
		ops->request_refuse(request);
		wt_puller_refused(p, &err);
		return;
	}
	if (ops->request_admit(request, endpoint, WT_ROLE_PULL, &path, &err)) {
		wt_puller_refused(p, &err);
		return;
	}
	if (replica ? wt_puller_replica_path_add(p, ops, path)
		    : wt_mover_path_add(p->mover, s->number, ops, path, by->number))
		ops->close(path);
}

/* An encrypting fabric asks with which token somebody has to come who says that he belongs to a session. */
static bool find_hello(
	void *arg, const uint8_t id[WT_PATH_HELLO_ID_BYTES], uint8_t ret_hello[WT_PATH_HELLO_BYTES])
{
	struct wt_puller *p = arg;

	for (unsigned i = 0; i < WT_PLAN_SERVERS; i++) {
		const struct puller_server *s = &p->servers[i];

		if (!s->ready || s->link.failed ||
			memcmp(wt_session_id(s->link.session), id, WT_SESSION_ID_BYTES) != 0)
			continue;
		wt_wire_path_hello_encode(wt_session_id(s->link.session), s->token, ret_hello);
		return true;
	}
	return false;
}

static void data_requests(struct wt_puller *p, const struct puller_listener *by)
{
	uint8_t hello[WT_PATH_HELLO_BYTES];
	struct wt_error err = { 0 };
	struct wt_request *request;
	unsigned dropped;

	while (by->ops->listener_accept(by->listener, &request, hello) == 0)
		admit(p, by, request, hello);
	dropped = by->ops->listener_dropped ? by->ops->listener_dropped(by->listener) : 0;
	if (!dropped)
		return;
	wt_error_set(&err, EACCES, "%u data connection%s over %s without the session's token %s dropped",
		dropped, dropped == 1 ? "" : "s", by->ops->name, dropped == 1 ? "was" : "were");
	wt_puller_refused(p, &err);
}

static void data_readable(void *arg, uint32_t events)
{
	struct wt_puller *p = arg;

	for (unsigned i = 0; i < p->data.listeners; i++)
		data_requests(p, &p->data_listeners[i]);
}

static int watch_data(struct wt_puller *p, const struct puller_listener *by)
{
	return wt_loop_fd_set(p->loop, by->ops->listener_fd(by->listener), EPOLLIN, data_readable, p);
}

int wt_puller_admit_data(struct wt_puller *p, bool admit)
{
	int r = 0;

	for (unsigned i = 0; i < p->data.listeners && !r; i++) {
		const struct puller_listener *by = &p->data_listeners[i];

		if (admit)
			r = watch_data(p, by);
		else
			wt_loop_fd_clear(p->loop, by->ops->listener_fd(by->listener));
	}
	return r;
}

/* Where data connections are awaited: as told, or where the control connection is; never wider than that. */
static const char *data_host(const struct wt_puller *p)
{
	if (p->config.data_host)
		return p->config.data_host;
	return p->config.listen.unix_path ? "127.0.0.1" : p->config.listen.host;
}

/* One of the addresses of data_host, which have commas between them; false: there are not so many. */
static bool address_at(const struct wt_puller *p, unsigned number, char ret_host[WT_WIRE_HOST_MAX + 1])
{
	const char *at = p->config.data_host;
	size_t length;

	for (; number && at; number--) {
		at = strchr(at, ',');
		at = at ? at + 1 : NULL;
	}
	length = at ? strcspn(at, ",") : 0;
	if (!length || length > WT_WIRE_HOST_MAX)
		return false;
	memcpy(ret_host, at, length);
	ret_host[length] = 0;
	return true;
}

/* The next listener of this fabric, at this address; NULL: that of the control connection. */
static int listen_at(struct wt_puller *p, const struct wt_fabric_ops *ops, unsigned number, const char *host,
	struct wt_error *err)
{
	struct wt_wire_listener *told = &p->data.listener[p->data.listeners];
	struct puller_listener *by = &p->data_listeners[p->data.listeners];
	int r;

	if (p->data.listeners == WT_WIRE_LISTENERS_MAX)
		return wt_error_set(err, E2BIG, "data connections cannot be awaited at so many addresses");
	r = ops->listener_open(host ? host : data_host(p), 0, &by->listener, &told->port, err);
	if (r)
		return r;
	by->ops = ops;
	by->number = number;
	if (ops->listener_find)
		ops->listener_find(by->listener, find_hello, p);
	r = watch_data(p, by);
	if (r) {
		ops->listener_close(by->listener);
		return wt_error_set(err, -r, "a data listener cannot be watched");
	}
	told->fabric = ops->fabric;
	if (host)
		strcpy(told->host, host);
	p->data.listeners++;
	return 0;
}

/* Opens listeners for every fabric that is offered: over verbs at each address, which may be those of several
 * devices; over tcp at the first one. A missing device only shortens the list. */
int wt_puller_listen_data(struct wt_puller *p, struct wt_error *err)
{
	struct wt_error why = { 0 };

	for (unsigned i = 0; i < FABRIC_COUNT; i++) {
		const struct wt_fabric_ops *ops = wt_fabric_ops(wt_puller_fabrics[i]);
		unsigned addresses = ops && ops->fabric == WT_FABRIC_VERBS ? WT_WIRE_LISTENERS_MAX - 1 : 1;
		char host[WT_WIRE_HOST_MAX + 1];
		unsigned number = 0;

		if (!ops || !(p->config.fabrics & WT_FABRIC_BIT(wt_puller_fabrics[i])))
			continue;
		wt_error_clear(&why);
		if (!p->config.data_host) {
			listen_at(p, ops, 0, NULL, &why);
			continue;
		}
		if (!address_at(p, 0, host))
			wt_error_set(&why, EINVAL, "the address for data, '%.80s', is empty or too long",
				p->config.data_host);
		for (unsigned at = 0; at < addresses && address_at(p, at, host); at++) {
			wt_error_clear(&why);
			if (!listen_at(p, ops, number, host, &why))
				number++;
			else if (addresses > 1 && strchr(p->config.data_host, ','))
				wt_puller_refused(
					p, &why); /* the others are used, and somebody should know */
		}
	}
	if (!p->data.listeners)
		return wt_error_set(err, ENOTSUP, "no fabric can be offered: %s", wt_error_text(&why));
	return 0;
}

/* ---- who may come in ---- */

static void dismiss(void *arg, uint64_t now_ns)
{
	struct wt_puller *p = arg;
	bool any = false;

	for (unsigned i = 0; i < GUESTS_MAX; i++) {
		struct puller_guest *guest = &p->guests[i];

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
static void turn_away(struct puller_guest *guest, const char *text)
{
	struct wt_puller *p = guest->puller;
	uint8_t bytes[WT_WIRE_WELCOME_BYTES];
	struct wt_error err = { 0 };

	wt_session_refusal(text, bytes);
	wt_channel_send(guest->channel, bytes, sizeof bytes);
	guest->since_ns = wt_loop_now_ns(p->loop) - GUEST_PATIENCE_NS + GUEST_PATIENCE_NS / 10;
	guest->gathered = WT_WIRE_HELLO_BYTES;
	wt_error_set(&err, ECONNREFUSED, "%s was refused: %s", wt_channel_peer(guest->channel), text);
	wt_puller_refused(p, &err);
}

/* Whose session this is, in *ret_server; or why it is turned away. */
static const char *judge(struct wt_puller *p, const struct wt_hello *hello, char *text, size_t room,
	struct puller_server **ret_server)
{
	struct puller_server *announcer = &p->servers[0], *s = announcer;

	if (hello->version_min > WT_WIRE_VERSION || hello->version_max < WT_WIRE_VERSION) {
		snprintf(text, room,
			"version %d of the protocol is spoken here, not %u; install the same watari",
			WT_WIRE_VERSION, hello->version_max);
		return text;
	}
	if (p->config.name && strcmp(hello->name, p->config.name) != 0) {
		snprintf(text, room,
			"the VM that is awaited here is \"%.80s\", not \"%.80s\"; check the name",
			p->config.name, hello->name);
		return text;
	}
	for (unsigned i = 1; i < WT_PLAN_SERVERS; i++)
		if (p->servers[i].expected &&
			!memcmp(p->servers[i].id, hello->session_id, WT_SESSION_ID_BYTES))
			s = &p->servers[i];
	if (s->link.session &&
		memcmp(wt_session_id(s->link.session), hello->session_id, WT_SESSION_ID_BYTES) != 0)
		return "this VM is being received from another source already";
	if (!s->link.session && hello->received)
		return "that session is not known here any more; start again";
	if (s->number && (!announcer->ready || announcer->link.failed))
		return "the source is not here yet, and others are heard only behind it; try again";
	if (s->link.failed) {
		snprintf(text, room, "the session has ended here: %s", wt_error_text(&s->link.failure));
		return text;
	}
	*ret_server = s;
	return NULL;
}

static void take_hello(struct puller_guest *guest, const uint8_t *rest, size_t rest_length)
{
	struct wt_channel *channel = guest->channel;
	char text[WT_SESSION_NAME_MAX + 1];
	struct puller_server *s;
	struct wt_hello hello;
	const char *why;

	if (wt_wire_hello_decode(guest->hello, &hello))
		why = "this is watari, and that was not its protocol";
	else
		why = judge(guest->puller, &hello, text, sizeof text, &s);
	if (why) {
		turn_away(guest, why);
		return;
	}
	guest->channel = NULL;
	wt_puller_server_accept(s, channel, &hello, rest, rest_length);
}

static void guest_bytes(void *arg, const uint8_t *data, size_t length)
{
	struct puller_guest *guest = arg;
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
			 guest->gathered < 8 ? guest->gathered : 8) != 0)
		turn_away(guest, "this is watari, and that was not its protocol");
}

static void guest_closed(void *arg, const struct wt_error *err)
{
	struct puller_guest *guest = arg;

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
	struct puller_guest *guest = &p->guests[0];

	for (unsigned i = 1; i < GUESTS_MAX && guest->channel; i++)
		if (!p->guests[i].channel || now_ns - p->guests[i].since_ns > now_ns - guest->since_ns)
			guest = &p->guests[i];
	if (guest->channel)
		wt_channel_close(guest->channel);
	*guest = (struct puller_guest){ .puller = p, .channel = channel, .since_ns = now_ns };
	wt_channel_set_events(channel, &guest_events, guest);
	wt_loop_timer_set(p->loop, &p->dismiss, now_ns + GUEST_PATIENCE_NS / 10, dismiss, p);
}

static const struct wt_channel_listener_events listener_events = { .accepted = accepted,
	.refused = wt_puller_refused };

int wt_puller_listen(struct wt_puller *p, uint16_t *ret_port, struct wt_error *err)
{
	int r = wt_channel_listen(p->loop, &p->config.listen, p->config.credentials, &listener_events, p,
		&p->listener, &p->port, err);

	if (!r && ret_port)
		*ret_port = p->port;
	return r;
}

void wt_puller_listen_end(struct wt_puller *p)
{
	wt_loop_timer_clear(p->loop, &p->dismiss);
	wt_channel_listener_close(p->listener);
	for (unsigned i = 0; i < GUESTS_MAX; i++)
		if (p->guests[i].channel)
			wt_channel_close(p->guests[i].channel);
	while (p->data.listeners) {
		const struct puller_listener *by = &p->data_listeners[--p->data.listeners];

		wt_loop_fd_clear(p->loop, by->ops->listener_fd(by->listener));
		by->ops->listener_close(by->listener);
	}
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_channel.c - control connections over the simulated network. Replaces transport's channel*.c.
 *
 * Bytes arrive in order after a delay, in pieces that have nothing to do with how they were sent. A
 * connection can be cut (both ends notice, soon or late; what was on its way is lost from some byte on) and
 * the network can be down for a while (everything waits). No TLS, no names.
 *
 * What is on its way to an end is a list there; a timer of that end's own loop delivers it.
 */
#include "sim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <watari/channel.h>

enum piece_kind { PIECE_BYTES = 1, PIECE_OPEN, PIECE_ACCEPT, PIECE_CLOSED };

struct piece {
	struct piece *next;
	enum piece_kind kind;
	uint64_t at_ns;
	int code; /* of CLOSED */
	size_t length;
	uint8_t bytes[];
};

struct wt_channel {
	struct wt_channel *next; /* of all */
	struct wt_channel *peer; /* NULL: gone */
	struct wt_loop *loop;
	struct sim_party *party;
	struct wt_channel_events events;
	void *arg;
	struct wt_channel_listener *listener; /* until it was accepted */
	struct piece *pieces;
	char peer_name[16];
	uint64_t last_ns;
	struct wt_timer timer;
	unsigned entered;
	bool told_closed, abandoned, cut;
};

struct wt_channel_listener {
	struct wt_channel_listener *next;
	struct wt_loop *loop;
	struct sim_party *party;
	struct wt_channel_listener_events events;
	void *arg;
	uint16_t port;
};

struct sim_net sim_net;

static struct wt_channel *channels;
static struct wt_channel_listener *listeners;
static uint16_t next_port = 7000;

struct sim_link *sim_net_link(unsigned a, unsigned b)
{
	return a < b ? &sim_net.links[a][b] : &sim_net.links[b][a];
}

uint64_t sim_net_delay(unsigned a, unsigned b)
{
	const struct sim_link *link = sim_net_link(a, b);
	uint64_t delay_ns = sim_between(link->delay_min_ns, link->delay_max_ns);

	return link->down_until_ns > sim_now_ns ? link->down_until_ns - sim_now_ns + delay_ns : delay_ns;
}

bool sim_pair_is(struct sim_pair pair, unsigned a, unsigned b)
{
	return pair.a == SIM_HOSTS || (pair.a == a && pair.b == b) || (pair.a == b && pair.b == a);
}

static unsigned host_of(const struct wt_channel *c);

/* One way to the other end, which is there. */
static uint64_t delay_to_peer(const struct wt_channel *c)
{
	return sim_net_delay(host_of(c), host_of(c->peer));
}

unsigned sim_channels_open(void)
{
	unsigned count = 0;

	for (const struct wt_channel *c = channels; c; c = c->next)
		count++;
	for (const struct wt_channel_listener *l = listeners; l; l = l->next)
		count++;
	return count;
}

static void arrive(void *arg, uint64_t now_ns);

/* To the end `c`, behind everything that is on its way there already. */
static void put(struct wt_channel *c, enum piece_kind kind, uint64_t at_ns, int code, const void *bytes,
	size_t length)
{
	struct piece *piece = malloc(sizeof *piece + length), **at = &c->pieces;

	if (!piece)
		abort();
	*piece = (struct piece){ .kind = kind, .at_ns = at_ns, .code = code, .length = length };
	if (length)
		memcpy(piece->bytes, bytes, length);
	if (at_ns < c->last_ns)
		piece->at_ns = c->last_ns;
	c->last_ns = piece->at_ns;
	while (*at)
		at = &(*at)->next;
	*at = piece;
	if (c->pieces == piece)
		wt_loop_timer_set(c->loop, &c->timer, piece->at_ns, arrive, c);
}

static void channel_free(struct wt_channel *c)
{
	struct wt_channel **at = &channels;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	wt_loop_timer_clear(c->loop, &c->timer);
	while (c->pieces) {
		struct piece *piece = c->pieces;

		c->pieces = piece->next;
		free(piece);
	}
	free(c);
}

static void deliver_bytes(struct wt_channel *c, const struct piece *piece)
{
	size_t at = 0;

	while (at < piece->length && !c->abandoned) {
		size_t n = piece->length - at;

		if (sim_net.split && n > 1 && sim_one_in(2))
			n = sim_between(1, n);
		c->events.bytes(c->arg, piece->bytes + at, n);
		at += n;
	}
}

static void deliver_end(struct wt_channel *c, int code)
{
	struct wt_error err = { 0 };

	c->told_closed = true;
	wt_error_set(&err, code, "simulated connection: %s", strerror(code));
	if (c->listener)
		c->abandoned = true; /* never accepted: nobody owns it */
	else if (c->events.closed)
		c->events.closed(c->arg, &err);
}

static void deliver(struct wt_channel *c, const struct piece *piece)
{
	struct wt_channel_listener *listener = c->listener;

	switch (piece->kind) {
	case PIECE_BYTES:
		deliver_bytes(c, piece);
		break;
	case PIECE_OPEN:
		if (c->events.open)
			c->events.open(c->arg);
		break;
	case PIECE_ACCEPT:
		c->listener = NULL;
		listener->events.accepted(listener->arg, c);
		break;
	case PIECE_CLOSED:
		deliver_end(c, piece->code);
		break;
	}
}

static void arrive(void *arg, uint64_t now_ns)
{
	struct wt_channel *c = arg;

	c->entered++;
	while (c->pieces && c->pieces->at_ns <= now_ns && !c->abandoned && !c->told_closed) {
		struct piece *piece = c->pieces;

		c->pieces = piece->next;
		deliver(c, piece);
		free(piece);
	}
	c->entered--;
	if (c->abandoned)
		channel_free(c);
	else if (c->pieces && !c->told_closed)
		wt_loop_timer_set(c->loop, &c->timer, c->pieces->at_ns, arrive, c);
}

/* ---- channel.h ---- */

static unsigned host_of(const struct wt_channel *c)
{
	return sim_party_host(c->party);
}

static unsigned host_named(const char *name)
{
	unsigned host = SIM_HOSTS;

	sim_check(sscanf(name, "host%u", &host) == 1 && host < SIM_HOSTS, "there is no host %s", name);
	return host;
}

static struct wt_channel *channel_new(struct wt_loop *loop, struct sim_party *party)
{
	struct wt_channel *c = calloc(1, sizeof *c);

	if (!c)
		abort();
	c->loop = loop;
	c->party = party;
	c->next = channels;
	channels = c;
	return c;
}

int wt_channel_connect(struct wt_loop *loop, const struct wt_address *address,
	const struct wt_credentials *credentials, uint64_t timeout_ns, const struct wt_channel_events *events,
	void *arg, struct wt_channel **ret_channel, struct wt_error *err)
{
	struct wt_channel *c = channel_new(loop, sim_current), *peer;
	struct wt_channel_listener *listener = listeners;
	unsigned here = sim_party_host(sim_current), there = host_named(address->host);
	uint64_t delay_ns = sim_net_delay(here, there), there_ns = sim_now_ns + delay_ns;

	c->events = *events;
	c->arg = arg;
	*ret_channel = c;
	snprintf(c->peer_name, sizeof c->peer_name, "%s", address->host);
	while (listener && (listener->port != address->port || sim_party_host(listener->party) != there))
		listener = listener->next;
	if (sim_party_dead(c->party))
		return 0;
	if (delay_ns > timeout_ns) {
		put(c, PIECE_CLOSED, sim_now_ns + timeout_ns, ETIMEDOUT, NULL, 0);
		return 0;
	}
	if (!listener) {
		put(c, PIECE_CLOSED, there_ns + sim_net_delay(here, there), ECONNREFUSED, NULL, 0);
		return 0;
	}
	peer = channel_new(listener->loop, listener->party);
	peer->listener = listener;
	peer->peer = c;
	c->peer = peer;
	snprintf(peer->peer_name, sizeof peer->peer_name, "host%u", here);
	put(peer, PIECE_ACCEPT, there_ns, 0, NULL, 0);
	put(c, PIECE_OPEN, there_ns + sim_net_delay(here, there), 0, NULL, 0);
	sim_fault_message(there, SIM_CONNECTS);
	return 0;
}

void wt_channel_close(struct wt_channel *c)
{
	if (c->peer) {
		put(c->peer, PIECE_CLOSED, sim_now_ns + delay_to_peer(c),
			sim_party_dead(c->party) ? ECONNRESET : ESHUTDOWN, NULL, 0);
		c->peer->peer = NULL;
		c->peer = NULL;
	}
	c->abandoned = true;
	if (!c->entered)
		channel_free(c);
}

int wt_channel_send(struct wt_channel *c, const void *data, size_t length)
{
	if (c->told_closed)
		return -EPIPE;
	if (c->peer && !sim_party_dead(c->party) && length)
		put(c->peer, PIECE_BYTES, sim_now_ns + delay_to_peer(c), 0, data, length);
	return 0;
}

const char *wt_channel_peer(const struct wt_channel *c)
{
	return c->peer_name;
}

const char *wt_channel_peer_host(const struct wt_channel *c)
{
	return c->peer_name;
}

void wt_channel_set_events(struct wt_channel *c, const struct wt_channel_events *events, void *arg)
{
	c->events = *events;
	c->arg = arg;
}

int wt_channel_listen(struct wt_loop *loop, const struct wt_address *address,
	const struct wt_credentials *credentials, const struct wt_channel_listener_events *events, void *arg,
	struct wt_channel_listener **ret_listener, uint16_t *ret_port, struct wt_error *err)
{
	struct wt_channel_listener *listener = calloc(1, sizeof *listener);

	if (!listener)
		abort();
	*listener = (struct wt_channel_listener){ .next = listeners,
		.loop = loop,
		.party = sim_current,
		.events = *events,
		.arg = arg,
		.port = address->port ? address->port : next_port++ };
	listeners = listener;
	*ret_listener = listener;
	*ret_port = listener->port;
	return 0;
}

/* Who was not accepted yet is turned away. */
void wt_channel_listener_close(struct wt_channel_listener *listener)
{
	struct wt_channel_listener **at = &listeners;
	struct wt_channel *c = channels;

	while (*at != listener)
		at = &(*at)->next;
	*at = listener->next;
	while (c) {
		struct wt_channel *next = c->next;

		if (c->listener == listener)
			wt_channel_close(c);
		c = next;
	}
	free(listener);
}

/* ---- faults ---- */

/* Of what is on its way to this end only the first pieces arrive, and of the last of them perhaps a part. */
static void truncate_pieces(struct wt_channel *c)
{
	unsigned count = 0, keep;
	struct piece **at = &c->pieces;

	for (const struct piece *p = c->pieces; p; p = p->next)
		count++;
	keep = (unsigned)sim_below(count + 1);
	while (*at && keep--) {
		if (!keep && (*at)->length)
			(*at)->length = sim_between(1, (*at)->length);
		at = &(*at)->next;
	}
	while (*at) {
		struct piece *piece = *at;

		*at = piece->next;
		free(piece);
	}
	c->last_ns = sim_now_ns;
	for (const struct piece *p = c->pieces; p; p = p->next)
		c->last_ns = p->at_ns;
	if (!c->pieces)
		wt_loop_timer_clear(c->loop, &c->timer);
}

static void cut(struct wt_channel *c, bool silent)
{
	uint64_t delay_ns = silent ? sim_between(1, 5 * SIM_S) : delay_to_peer(c);

	truncate_pieces(c);
	put(c, PIECE_CLOSED, sim_now_ns + delay_ns, silent ? ETIMEDOUT : ECONNRESET, NULL, 0);
}

void sim_channels_cut(struct sim_pair pair, bool silent)
{
	for (struct wt_channel *c = channels; c; c = c->next)
		if (c->peer && sim_pair_is(pair, host_of(c), host_of(c->peer))) {
			struct wt_channel *peer = c->peer;

			cut(peer, silent);
			cut(c, silent);
			c->peer = peer->peer = NULL;
		}
}

void sim_channels_crash(struct sim_party *party)
{
	for (struct wt_channel *c = channels; c; c = c->next)
		if (c->party == party && c->peer) {
			struct wt_channel *peer = c->peer;

			truncate_pieces(peer);
			put(peer, PIECE_CLOSED, sim_now_ns + delay_to_peer(c), ECONNRESET, NULL, 0);
			c->peer = peer->peer = NULL;
		}
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_path_connect.c - listeners, requests, and the connections that are being made. See sim_path.c.
 *
 * Who dials waits for what the other end decides, as connect of path.h does; but it is told on its loop.
 */
#include "sim_path_internal.h"

#include <errno.h>
#include <string.h>

struct wt_listener {
	struct wt_listener *next;
	struct sim_party *party;
	enum wt_fabric fabric;
	uint16_t port;
	int fd;
};

/* A connection that is being made: a request at the listener from when it has arrived there. */
struct sim_dial {
	struct sim_dial *next;
	enum wt_fabric fabric;
	struct wt_loop *loop;
	struct wt_endpoint *endpoint;
	uint16_t port;
	uint8_t hello[WT_PATH_HELLO_BYTES];
	void (*done)(void *arg, struct wt_path *path, const struct wt_error *err);
	void *arg;
	struct wt_timer arrives; /* the card's: at the listener */
	struct wt_timer ends;    /* the dialler's */
	bool waits, taken, cancelled;
	int code;
	struct wt_path *path;
};

struct wt_request {
	struct sim_dial *dial; /* its `next` is unused */
};

static struct wt_listener *listeners;
static struct sim_dial *dials;
static uint16_t next_port;

static int listener_open(enum wt_fabric fabric, struct wt_listener **ret_listener, uint16_t *ret_port)
{
	struct wt_listener *listener = sim_fresh(sizeof *listener);

	*listener = (struct wt_listener){ .next = listeners,
		.party = sim_current,
		.fabric = fabric,
		.port = ++next_port,
		.fd = sim_fd_new() };
	listeners = listener;
	*ret_listener = listener;
	*ret_port = listener->port;
	return 0;
}

int sim_verbs_listen(const char *host, uint16_t port, struct wt_listener **ret_listener, uint16_t *ret_port,
	struct wt_error *err)
{
	if (!sim_net.has_verbs)
		return wt_error_set(err, ENODEV, "there is no simulated device");
	return listener_open(WT_FABRIC_VERBS, ret_listener, ret_port);
}

int sim_tcp_listen(const char *host, uint16_t port, struct wt_listener **ret_listener, uint16_t *ret_port,
	struct wt_error *err)
{
	return listener_open(WT_FABRIC_TCP, ret_listener, ret_port);
}

static struct wt_listener *listener_find(const struct sim_dial *dial)
{
	struct wt_listener *l = listeners;

	while (l && (l->port != dial->port || l->fabric != dial->fabric || sim_party_dead(l->party)))
		l = l->next;
	return l;
}

/* One way to the listener; nobody knows where a port is to which nobody listens. */
static uint64_t delay(const struct sim_dial *dial)
{
	unsigned from = sim_party_host(dial->endpoint->party), to = !from;

	for (const struct wt_listener *l = listeners; l; l = l->next)
		if (l->port == dial->port && l->fabric == dial->fabric)
			to = sim_party_host(l->party);
	return sim_net_delay(from, to);
}

static void dial_ended(void *arg, uint64_t now_ns);

static void dial_end(struct sim_dial *dial, int code, uint64_t in_ns)
{
	dial->waits = false;
	dial->code = code;
	if (!dial->cancelled)
		wt_loop_timer_set(dial->loop, &dial->ends, sim_now_ns + in_ns, dial_ended, dial);
}

static void listener_update(const struct wt_listener *listener)
{
	bool any = false;

	for (const struct sim_dial *d = dials; d; d = d->next)
		any |= d->waits && d->port == listener->port && d->fabric == listener->fabric;
	sim_fd_ready(listener->fd, any);
}

void sim_listener_close(struct wt_listener *listener)
{
	struct wt_listener **at = &listeners;

	for (struct sim_dial *d = dials; d; d = d->next)
		if (d->waits && d->port == listener->port && d->fabric == listener->fabric)
			dial_end(d, ECONNREFUSED, delay(d));
	while (*at != listener)
		at = &(*at)->next;
	*at = listener->next;
	sim_fd_free(listener->fd);
	free(listener);
}

int sim_listener_fd(const struct wt_listener *listener)
{
	return listener->fd;
}

int sim_listener_accept(
	struct wt_listener *listener, struct wt_request **ret_request, uint8_t ret_hello[WT_PATH_HELLO_BYTES])
{
	for (struct sim_dial *d = dials; d; d = d->next) {
		if (!d->waits || d->port != listener->port || d->fabric != listener->fabric)
			continue;
		d->waits = false;
		d->taken = true;
		memcpy(ret_hello, d->hello, WT_PATH_HELLO_BYTES);
		*ret_request = sim_fresh(sizeof **ret_request);
		(*ret_request)->dial = d;
		listener_update(listener);
		return 0;
	}
	return -EAGAIN;
}

static void dial_free(struct sim_dial *dial)
{
	struct sim_dial **at = &dials;

	while (*at != dial)
		at = &(*at)->next;
	*at = dial->next;
	wt_loop_timer_clear(sim_card_loop, &dial->arrives);
	free(dial);
}

int sim_request_admit(struct wt_request *request, struct wt_endpoint *endpoint, enum wt_role role,
	struct wt_path **ret_path, struct wt_error *err)
{
	struct sim_dial *dial = request->dial;
	struct wt_path *path = sim_path_new(endpoint, role == WT_ROLE_PULL);

	free(request);
	*ret_path = path;
	dial->taken = false;
	if (dial->cancelled) {
		path->broken = true;
		sim_path_update(path);
		dial_free(dial);
		return 0;
	}
	dial->path = sim_path_new(dial->endpoint, !path->pulls);
	dial->path->peer = path;
	dial->path->link = path->link =
		sim_net_link(sim_party_host(dial->endpoint->party), sim_party_host(endpoint->party));
	path->peer = dial->path;
	dial_end(dial, 0, delay(dial));
	return 0;
}

void sim_request_refuse(struct wt_request *request)
{
	struct sim_dial *dial = request->dial;

	free(request);
	dial->taken = false;
	if (dial->cancelled)
		dial_free(dial);
	else
		dial_end(dial, ECONNREFUSED, delay(dial));
}

static void dial_arrived(void *arg, uint64_t now_ns)
{
	struct sim_dial *dial = arg;
	struct wt_listener *listener = listener_find(dial);

	if (!listener || (dial->fabric == WT_FABRIC_VERBS && now_ns < sim_net.no_verbs_until_ns)) {
		dial_end(dial, listener ? EHOSTUNREACH : ECONNREFUSED, delay(dial));
		return;
	}
	dial->waits = true;
	listener_update(listener);
}

static void dial_ended(void *arg, uint64_t now_ns)
{
	struct sim_dial *dial = arg;
	struct wt_error err = { 0 };
	struct wt_path *path = dial->path;
	void (*done)(void *, struct wt_path *, const struct wt_error *) = dial->done;
	void *done_arg = dial->arg;

	if (!path)
		wt_error_set(&err, dial->code, "simulated data connection: %s", strerror(dial->code));
	dial->path = NULL;
	sim_dial_cancel(dial);
	done(done_arg, path, &err);
}

struct sim_dial *sim_path_dial(struct wt_loop *loop, const struct wt_fabric_ops *ops,
	struct wt_endpoint *endpoint, const char *host, uint16_t port, const uint8_t *hello,
	uint64_t timeout_ns, void (*done)(void *arg, struct wt_path *path, const struct wt_error *err),
	void *arg)
{
	struct sim_dial *dial = sim_fresh(sizeof *dial), **at = &dials;

	*dial = (struct sim_dial){ .fabric = ops->fabric,
		.loop = loop,
		.endpoint = endpoint,
		.port = port,
		.done = done,
		.arg = arg };
	memcpy(dial->hello, hello, sizeof dial->hello);
	while (*at)
		at = &(*at)->next;
	*at = dial;
	wt_loop_timer_set(sim_card_loop, &dial->arrives, sim_now_ns + delay(dial), dial_arrived, dial);
	dial_end(dial, ETIMEDOUT, timeout_ns);
	return dial;
}

void sim_dial_cancel(struct sim_dial *dial)
{
	wt_loop_timer_clear(dial->loop, &dial->ends);
	dial->cancelled = true;
	dial->waits = false;
	if (dial->path)
		sim_path_close(dial->path);
	dial->path = NULL;
	for (const struct wt_listener *l = listeners; l; l = l->next)
		listener_update(l);
	if (!dial->taken)
		dial_free(dial);
}

/* Diallers are rails, which sim_rail.c opens. */
int sim_no_connect(struct wt_endpoint *endpoint, const char *host, uint16_t port,
	const uint8_t hello[WT_PATH_HELLO_BYTES], enum wt_role role, uint64_t timeout_ns,
	struct wt_path **ret_path, struct wt_error *err)
{
	return wt_error_set(err, EOPNOTSUPP, "not simulated");
}

void sim_dials_crash(struct sim_party *party)
{
	for (struct sim_dial *d = dials; d; d = d->next)
		if (d->endpoint->party == party)
			d->waits = false;
}

const char *sim_dials_left(void)
{
	return listeners ? "a listener" : dials ? "a connection that is being made" : NULL;
}

void sim_dials_open(void)
{
	next_port = 9000;
}

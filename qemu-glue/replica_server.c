/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica_server.c - serves a replica in a directory to whoever asks for it. See replica_server.h.
 *
 *   1. A destination connects, says what it wants (replica_request.h), and is answered. If that was yes, a
 *      passive page server goes to the address from which it asked, and to the port that it named.
 *   2. The directory is opened for each of them: what is served is the newest replica that was complete then.
 *   3. Each has a page server and a memory of its own, and ends alone. CUSTOMERS at most at once.
 *   4. What is served need not be right: the destination compares, and judges what it has read under a key
 * that is not known here. So nothing is digested in advance.
 *   5. A customer is emptied by its timer only, never inside a callback of what it owns.
 *
 * The loop's thread.
 */
#include "replica_server.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <watari/memory.h>
#include <watari/server.h>

#include "printable.h"
#include "relay_peer.h"
#include "replica_file.h"
#include "replica_request.h"

#define CUSTOMERS 8u
#define HELD_NS 50000000ull   /* until it is looked again whether its memory is held */
#define ASK_NS 10000000000ull /* for the request to arrive, and the answer to be taken */

struct replica_server;

/* One destination, from its connection on. */
struct customer {
	struct replica_server *owner; /* NULL: free */
	struct wt_channel *channel;   /* NULL: it has closed it */
	char *line;                   /* what has come of the request */
	size_t length;
	char host[256], peer[96];
	bool answered, joined;
	struct wt_replica_request request;
	struct wt_replica *files;
	struct wt_memory *memory;
	struct wt_server *server;
	struct wt_timer timer; /* empties it */
};

struct replica_server {
	struct wt_relay relay;
	const struct wt_replica_server_options *options;
	struct wt_channel_listener *listener;
	struct customer customers[CUSTOMERS];
};

static void told(struct customer *c, const char *event, const char *what)
{
	struct wt_relay *relay = &c->owner->relay;
	char text[sizeof c->peer + WT_ERROR_TEXT_MAX + 32];

	snprintf(text, sizeof text, "%s: %s", c->peer, what);
	wt_report_event(&relay->report, event, json_pack("{s:s,s:s}", "peer", c->peer, "text", what), text);
}

/* ---- the end of one ---- */

/* Nothing is served to it any more; threads may still hold its memory. */
static void hang_up(struct customer *c)
{
	wt_loop_timer_clear(c->owner->relay.loop, &c->timer);
	if (c->channel)
		wt_channel_close(c->channel);
	c->channel = NULL;
	wt_server_close(c->server);
	c->server = NULL;
}

static void empty(struct customer *c)
{
	hang_up(c);
	wt_memory_close(c->memory);
	wt_replica_close(c->files);
	wt_replica_request_free(&c->request);
	OPENSSL_cleanse(c->request.key, sizeof c->request.key);
	free(c->line);
	*c = (struct customer){ 0 };
}

static void empty_fired(void *arg, uint64_t now_ns);

static void empty_in(struct customer *c, uint64_t delay_ns)
{
	struct wt_loop *loop = c->owner->relay.loop;

	wt_loop_timer_set(loop, &c->timer, wt_loop_now_ns(loop) + delay_ns, empty_fired, c);
}

/* The others are served meanwhile. */
static void empty_fired(void *arg, uint64_t now_ns)
{
	struct customer *c = arg;

	hang_up(c);
	if (c->memory && !wt_memory_idle(c->memory))
		empty_in(c, HELD_NS);
	else
		empty(c);
}

/* ---- its page server ---- */

static void on_ready(void *arg)
{
	struct customer *c = arg;

	c->joined = true;
	told(c, "serving", "reads what is still right");
}

static void on_failed(void *arg, const struct wt_error *err)
{
	struct customer *c = arg;
	struct wt_error said = wt_printable_error(err);

	told(c, c->joined ? "served" : "unreachable", wt_error_text(&said));
	empty_in(c, 0);
}

static void on_note(void *arg, const char *note)
{
	wt_relay_told_note(&((struct customer *)arg)->owner->relay, note);
}

static const struct wt_server_events server_events = {
	.ready = on_ready, .failed = on_failed, .note = on_note
};

/* The blocks as they were asked for; of some there may be no image. */
static int open_memory(struct customer *c, struct wt_error *err)
{
	unsigned found = 0;
	int r = wt_memory_open(&c->memory, err);

	for (unsigned i = 0; i < c->request.count && r >= 0; i++) {
		const struct wt_replica_wanted *wanted = &c->request.blocks[i];
		const struct wt_replica_block *image =
			wt_replica_find(c->files, wanted->name, wanted->length);

		found += image != NULL;
		r = wt_memory_block_add(c->memory, wanted->name, image ? (void *)image->base : NULL,
			wanted->length, image ? image->fd : -1, 0, err);
	}
	if (r >= 0 && !found)
		r = wt_error_set(err, EINVAL,
			"it has no block of the name and length of the guest's; it is of another layout");
	return r < 0 ? r : 0;
}

/* Served is what lies in memory as the guest's does: images as they are. */
static int open_files(
	const struct wt_replica_server_options *o, struct wt_replica **ret_files, struct wt_error *err)
{
	int r = wt_replica_open(o->directory, o->common.name, ret_files, err);

	if (r || wt_replica_index_flat((*ret_files)->index))
		return r;
	return wt_error_set(err, ENOTSUP,
		"%s holds a checkpoint that is compressed, or one on top of another, and cannot be served from here; make a "
		"whole one (watari checkpoint --full), or receive the guest on this host (receive --replica)",
		o->directory);
}

static int open_server(struct customer *c, struct wt_error *err)
{
	const struct wt_replica_server_options *o = c->owner->options;
	struct wt_address peer = { .host = c->host, .port = c->request.port };
	struct wt_server_config config = wt_relay_server_config(&c->owner->relay, &o->common, &peer);
	int r;

	if (!c->host[0])
		return wt_error_set(
			err, EINVAL, "it was asked for over a unix socket, and cannot tell where to come");
	if (strcmp(c->request.vm, o->common.name) != 0)
		return wt_error_set(
			err, EINVAL, "it is one of %.80s, not of the guest that comes there", o->common.name);
	r = open_files(o, &c->files, err);
	if (!r)
		r = open_memory(c, err);
	if (r)
		return r;
	config.paths = o->paths;
	config.memory = c->memory;
	config.passive = true;
	config.session_id = c->request.session_id;
	config.digest_key = c->request.key;
	r = wt_server_open(c->owner->relay.loop, &config, &server_events, c, &c->server, err);
	return r ? r : wt_server_start(c->server, err);
}

/* ---- the request ---- */

/* refusal NULL: it comes. */
static void answer(struct customer *c, const char *refusal)
{
	char *line = wt_replica_answer_render(refusal);

	c->answered = true;
	if (line)
		wt_channel_send(c->channel, line, strlen(line));
	free(line);
	if (refusal)
		told(c, "refused", refusal);
}

static void take_request(struct customer *c, size_t length)
{
	struct wt_error err = { 0 };

	if (wt_replica_request_parse(c->line, length, &c->request, &err) || open_server(c, &err)) {
		struct wt_error said = wt_printable_error(&err);

		answer(c, wt_error_text(&said));
		return;
	}
	wt_loop_timer_clear(c->owner->relay.loop, &c->timer);
	answer(c, NULL);
}

static void on_bytes(void *arg, const uint8_t *data, size_t length)
{
	struct customer *c = arg;
	const char *end = memchr(data, '\n', length);
	char *line;

	if (c->answered)
		return;
	length = end ? (size_t)(end - (const char *)data) : length;
	line = c->length + length <= WT_REPLICA_REQUEST_MAX ? realloc(c->line, c->length + length + 1) : NULL;
	if (!line) {
		answer(c, "the request is too long");
		return;
	}
	c->line = line;
	memcpy(line + c->length, data, length);
	c->length += length;
	if (end)
		take_request(c, c->length);
}

static void on_closed(void *arg, const struct wt_error *err)
{
	struct customer *c = arg;

	wt_channel_close(c->channel);
	c->channel = NULL;
	if (!c->server)
		empty_in(c, 0);
}

static const struct wt_channel_events channel_events = { .bytes = on_bytes, .closed = on_closed };

static void accepted(void *arg, struct wt_channel *channel)
{
	struct replica_server *s = arg;
	struct customer *c = s->customers;

	while (c < s->customers + CUSTOMERS && c->owner)
		c++;
	if (c == s->customers + CUSTOMERS) {
		wt_channel_close(channel);
		return;
	}
	*c = (struct customer){ .owner = s, .channel = channel };
	snprintf(c->host, sizeof c->host, "%s", wt_channel_peer_host(channel));
	snprintf(c->peer, sizeof c->peer, "%s", wt_channel_peer(channel));
	wt_channel_set_events(channel, &channel_events, c);
	empty_in(c, ASK_NS);
}

static void refused(void *arg, const struct wt_error *err)
{
	wt_relay_told_refused(&((struct replica_server *)arg)->relay, err);
}

static const struct wt_channel_listener_events listener_events = { .accepted = accepted, .refused = refused };

/* ---- beginning and end ---- */

static void signalled(void *arg, const char *signal_name)
{
	wt_loop_stop(((struct replica_server *)arg)->relay.loop, 0);
}

/* What is wrong with it is better known now than when somebody needs it. */
static int check_replica(const struct wt_replica_server_options *o, struct wt_error *err)
{
	struct wt_replica *files = NULL;
	int r = open_files(o, &files, err);

	wt_replica_close(files);
	return r;
}

static int start(struct replica_server *s, struct wt_error *err)
{
	const struct wt_replica_server_options *o = s->options;
	char text[WT_ERROR_TEXT_MAX];
	uint16_t port;
	int r = wt_relay_open(&s->relay, &o->common, NULL, signalled, NULL, s, err);

	if (!r)
		r = check_replica(o, err);
	if (!r)
		r = wt_channel_listen(s->relay.loop, &o->listen, s->relay.credentials, &listener_events, s,
			&s->listener, &port, err);
	if (r)
		return r;
	snprintf(text, sizeof text, "the replica of %.80s in %s is served on port %u", o->common.name,
		o->directory, port);
	wt_report_event(&s->relay.report, "listening", json_pack("{s:i}", "port", (int)port), text);
	return 0;
}

int wt_replica_server_run(const struct wt_replica_server_options *options)
{
	struct replica_server s = { .options = options };
	struct wt_error err = { 0 };
	int code = WT_EXIT_OK;

	if (start(&s, &err)) {
		wt_report_error(&s.relay.report, wt_error_text(&err));
		code = WT_EXIT_FAILED;
	} else {
		wt_loop_run(s.relay.loop);
	}
	for (unsigned i = 0; i < CUSTOMERS; i++)
		if (s.customers[i].owner)
			empty(&s.customers[i]);
	wt_channel_listener_close(s.listener);
	wt_relay_close(&s.relay);
	return code;
}

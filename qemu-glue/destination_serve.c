/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination_serve.c - a retired destination serves what it has to the one that has taken its place: what is
 * known to be right there, or, of a migration that was given up, an old copy (a replica).
 *
 * At most one page server at a time, which announces nothing. Its memory is that of the relay's own mappings:
 * it stays when QEMU ends. A server that has failed is closed by a timer, as its callbacks must not do that.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "destination_internal.h"
#include "relay_peer.h"

static void end(struct wt_destination *d)
{
	wt_loop_timer_clear(d->relay.loop, &d->serve.bury);
	wt_server_close(d->serve.server);
	d->serve.server = NULL;
}

static void bury_fired(void *arg, uint64_t now_ns)
{
	struct wt_destination *d = arg;

	end(d);
	wt_destination_event(d, WT_DESTINATION_EV_SERVED);
}

static void on_ready(void *arg)
{
	struct wt_destination *d = arg;

	d->serve.joined = true;
	wt_relay_told_paths(&d->relay, d->serve.server);
}

static void on_failed(void *arg, const struct wt_error *err)
{
	struct wt_destination *d = arg;

	wt_puller_tell_helper(d->puller, d->serve.order.number,
		d->serve.joined ? WT_HELPER_LOST : WT_HELPER_UNREACHABLE, wt_error_text(err));
	wt_loop_timer_set(d->relay.loop, &d->serve.bury, wt_loop_now_ns(d->relay.loop), bury_fired, d);
}

static void on_note(void *arg, const char *note)
{
	wt_relay_told_note(&((struct wt_destination *)arg)->relay, note);
}

static const struct wt_server_events server_events = {
	.ready = on_ready, .failed = on_failed, .note = on_note
};

/* The blocks as the source has listed them, once. */
static int open_memory(struct wt_destination *d, struct wt_error *err)
{
	int r = d->serve.memory ? 0 : wt_memory_open(&d->serve.memory, err);

	for (unsigned i = d->serve.blocks; !r && i < d->block_count; i++) {
		const struct wt_ram_block *block = d->blocks[i];
		int number = wt_memory_block_add(d->serve.memory, block->name, block->base, block->length,
			block->fd, block->fd_offset, err);

		r = number < 0 ? number : 0;
		d->serve.blocks += !r;
	}
	return r;
}

static int begin(struct wt_destination *d, struct wt_error *err)
{
	struct wt_destination_serve *s = &d->serve;
	struct wt_address peer = { .host = s->host, .port = s->order.port };
	struct wt_server_config config;
	int r = open_memory(d, err);

	if (r)
		return r;
	config = wt_relay_server_config(&d->relay, &d->options->common, &peer);
	config.name = s->name;
	config.memory = s->memory;
	config.passive = true;
	config.session_id = s->order.session_id;
	config.digest_key = s->order.digest_key;
	s->joined = false;
	r = wt_server_open(d->relay.loop, &config, &server_events, d, &s->server, err);
	return r ? r : wt_server_start(s->server, err);
}

void wt_destination_serve(struct wt_destination *d, const struct wt_server_order *order)
{
	struct wt_destination_serve *s = &d->serve;
	struct wt_error err = { 0 };

	end(d);
	s->order = *order;
	snprintf(s->host, sizeof s->host, "%s", order->host);
	snprintf(s->name, sizeof s->name, "%s", order->name);
	if (order->digest_key) {
		memcpy(s->key, order->digest_key, sizeof s->key);
		s->order.digest_key = s->key;
	}
	if (!begin(d, &err))
		return;
	wt_puller_tell_helper(d->puller, order->number, WT_HELPER_UNREACHABLE, wt_error_text(&err));
	end(d);
}

void wt_destination_serve_end(struct wt_destination *d, unsigned number)
{
	if (d->serve.server && d->serve.order.number == number)
		end(d);
}

bool wt_destination_serves(const struct wt_destination *d)
{
	return d->serve.server != NULL;
}

void wt_destination_serve_close(struct wt_destination *d)
{
	end(d);
	wt_memory_close(d->serve.memory);
}

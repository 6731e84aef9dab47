/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uri_destination.c - a destination relay without QMP: puller, feed and state machine tied together. See
 * uri_destination.h.
 *
 * Like destination.c: events in, actions out; the order is that of uri_destination_switch.h. QEMU waits for
 * an exec child to end before it goes on, with the guest it has just loaded, too: so after LOADED the relay
 * lingers no longer than LINGER_NS.
 */
#include "uri_destination.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "printable.h"
#include "relay_peer.h"
#include "sabotage.h"
#include "stream_tail.h"
#include "uri_destination_internal.h"

#define POLL_NS 5000000ull
#define LINGER_NS 1000000000ull

/* ---- actions ---- */

void wt_uri_destination_trouble(struct wt_uri_destination *d, const struct wt_error *err)
{
	if (!d->failure.code)
		d->failure = *err;
	wt_uri_destination_event(d, WT_URI_DESTINATION_EV_TROUBLE);
}

static void send_text(struct wt_uri_destination *d, unsigned type, const char *text)
{
	if (d->puller)
		wt_puller_send(d->puller, type, text, strlen(text));
}

static void verified(void *arg)
{
	wt_uri_destination_event(arg, WT_URI_DESTINATION_EV_VERIFIED);
}

static void differs(void *arg, const struct wt_error *err)
{
	wt_uri_destination_trouble(arg, err);
}

static const struct wt_verify_events verify_events = { .equal = verified, .differs = differs };

static void load_too_long(void *arg, uint64_t now_ns)
{
	struct wt_error err = { 0 };

	wt_error_set(&err, ETIMEDOUT, "the destination QEMU does not take the end of the stream");
	wt_uri_destination_trouble(arg, &err);
}

static void send_running(struct wt_uri_destination *d)
{
	struct wt_puller_stats stats;
	json_t *facts;
	char *text;

	wt_puller_stats(d->puller, &stats);
	facts = json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:I}", "status", "loaded", "tcp_bytes",
		(json_int_t)stats.pulled_bytes[WT_FABRIC_TCP] + (json_int_t)stats.pulled_bytes[WT_FABRIC_TLS],
		"verbs_bytes", (json_int_t)stats.pulled_bytes[WT_FABRIC_VERBS], "pulled_pages",
		(json_int_t)stats.pulled_pages, "zero_pages", (json_int_t)stats.zero_pages, "repeated_pages",
		(json_int_t)stats.repeated_pages, "compared_pages", (json_int_t)d->verify.compared_pages);
	text = json_dumps(facts, JSON_COMPACT);
	send_text(d, WT_RELAY_RUNNING, text ? text : "{}");
	free(text);
	wt_report_event(&d->relay.report, "running", facts, "QEMU has loaded the guest here");
}

static void carry_out(struct wt_uri_destination *d, unsigned actions)
{
	if (actions & WT_URI_DESTINATION_DO_VERIFY)
		wt_verify_job_start(&d->verify, d->puller, d->blocks, d->block_count, &verify_events, d);
	if (actions & WT_URI_DESTINATION_DO_SEND_READY)
		wt_puller_send(d->puller, WT_RELAY_READY, NULL, 0);
	if (actions & WT_URI_DESTINATION_DO_FEED_TAIL) {
		wt_loop_timer_set(d->relay.loop, &d->deadline,
			wt_loop_now_ns(d->relay.loop) + d->options->load_timeout_ns, load_too_long, d);
		wt_uri_feed_tail(d);
	}
	if (actions & WT_URI_DESTINATION_DO_SEND_RUNNING)
		send_running(d);
	if (actions & WT_URI_DESTINATION_DO_HANG_UP)
		wt_uri_feed_hang_up(d);
	if (actions & WT_URI_DESTINATION_DO_SEND_FAILED)
		send_text(d, WT_RELAY_FAILED, wt_error_text(&d->failure));
	if (actions & WT_URI_DESTINATION_DO_SEND_STRANDED)
		send_text(d, WT_RELAY_STRANDED, wt_error_text(&d->failure));
	if (actions & WT_URI_DESTINATION_DO_FINISH)
		wt_loop_stop(d->relay.loop, 0);
}

void wt_uri_destination_event(struct wt_uri_destination *d, enum wt_uri_destination_event event)
{
	enum wt_uri_destination_state before = d->machine.state;
	unsigned actions = wt_uri_destination_switch_step(&d->machine, event);
	const char *name = wt_uri_destination_state_name(d->machine.state);

	if (d->machine.state == before) {
		carry_out(d, actions);
		return;
	}
	wt_report_event(&d->relay.report, "state", json_pack("{s:s}", "state", name), NULL);
	wt_sabotage_before(name);
	carry_out(d, actions);
	wt_sabotage_after(name);
}

/* ---- the source's word ---- */

static int on_block(
	void *arg, const char *name, uint64_t length, struct wt_puller_block *ret_block, struct wt_error *err)
{
	struct wt_uri_destination *d = arg;
	const struct wt_ram_block **blocks;
	struct wt_ram_block *block = NULL;
	int r = wt_uri_feed_open(d, err);

	if (!r)
		r = wt_ram_search_block(&d->search, name, length, &block, err);
	if (r)
		return r;
	blocks = reallocarray(d->blocks, d->block_count + 1, sizeof *blocks);
	if (!blocks)
		return wt_error_set(err, ENOMEM, "no memory for block %s", name);
	d->blocks = blocks;
	blocks[d->block_count++] = block;
	*ret_block = (struct wt_puller_block){
		.base = block->base, .fd = block->fd, .fd_offset = block->fd_offset
	};
	return 0;
}

static int on_blocks_end(void *arg, struct wt_error *err)
{
	struct wt_uri_destination *d = arg;
	int r = wt_uri_feed_open(d, err);

	if (!r)
		wt_uri_destination_event(d, WT_URI_DESTINATION_EV_CONNECTED);
	return r;
}

static bool tail_complete(const struct wt_uri_destination *d)
{
	const uint8_t *bytes;
	size_t length;

	wt_feed_tail(&d->feed, &bytes, &length);
	return wt_stream_tail_complete(bytes, length);
}

static void check_complete(struct wt_uri_destination *d)
{
	if (d->machine.state == WT_URI_DESTINATION_RECEIVING && d->feed.gated &&
		wt_puller_all_landed(d->puller) && tail_complete(d))
		wt_uri_destination_event(d, WT_URI_DESTINATION_EV_COMPLETE);
}

static void on_landed(void *arg)
{
	check_complete(arg);
}

static int take_guest(
	struct wt_uri_destination *d, const uint8_t *payload, size_t length, struct wt_error *err)
{
	if (length != sizeof d->guest || d->guest_known)
		return wt_error_set(err, EPROTO, "the source's message on its guest is malformed");
	memcpy(&d->guest, payload, length);
	if (!(d->guest.flags & WT_RELAY_GUEST_URI))
		return wt_error_set(err, EPROTO,
			"the source was started with --qmp, and this watari receive was not; give --qmp to both watari send "
			"and watari receive, or to neither");
	d->guest_known = true;
	d->machine.verify = d->guest.flags & WT_RELAY_GUEST_VERIFY;
	return 0;
}

static int take_stream(
	struct wt_uri_destination *d, const uint8_t *payload, size_t length, struct wt_error *err)
{
	int r;

	if (!d->guest_known)
		return wt_error_set(err, EPROTO, "the source's stream came before its guest");
	if (d->feed.open)
		return wt_error_set(err, EPROTO, "the source's stream goes on behind its commit");
	r = wt_feed_add(&d->feed, payload, length, err);
	if (!r)
		check_complete(d);
	return r;
}

/* The numbers must meet: a lost announcement would leave old content in place without anybody noticing. */
static int take_ram_end(
	struct wt_uri_destination *d, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_relay_ram_end end;

	if (length != sizeof end || d->feed.gated)
		return wt_error_set(err, EPROTO, "the source's end of RAM is malformed");
	memcpy(&end, payload, length);
	if (end.next_seq != wt_puller_next_seq(d->puller))
		return wt_error_set(err, EPROTO,
			"the source made %" PRIu64 " announcements, %" PRIu64 " arrived", end.next_seq - 1,
			wt_puller_next_seq(d->puller) - 1);
	wt_feed_gate(&d->feed);
	check_complete(d);
	return 0;
}

/* What looked complete when READY was said must be all of it. */
static int take_commit(
	struct wt_uri_destination *d, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_error cut = { 0 };

	if (length != sizeof d->guest)
		return wt_error_set(err, EPROTO, "the source's commit is malformed");
	if (!tail_complete(d)) {
		wt_error_set(&cut, EPROTO, "QEMU's stream ends in the middle");
		wt_uri_destination_trouble(d, &cut);
		return 0;
	}
	wt_uri_destination_event(d, WT_URI_DESTINATION_EV_COMMIT);
	return 0;
}

static int on_message(void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_uri_destination *d = arg;
	char text[WT_PRINTABLE_MAX];

	switch (type) {
	case WT_RELAY_GUEST:
		return take_guest(d, payload, length, err);
	case WT_RELAY_STREAM:
		return take_stream(d, payload, length, err);
	case WT_RELAY_RAM_END:
		return take_ram_end(d, payload, length, err);
	case WT_RELAY_DIGEST_ANSWER:
		return wt_verify_job_answer(&d->verify, payload, length, err);
	case WT_RELAY_COMMIT:
		return take_commit(d, payload, length, err);
	case WT_RELAY_ABORT:
		wt_error_set(&d->failure, ECANCELED, "the source aborted: %s",
			wt_printable(payload, length, text, sizeof text));
		wt_uri_destination_event(d, WT_URI_DESTINATION_EV_ABORT);
		return 0;
	default:
		return wt_error_set(err, EPROTO, "the source sent a message of unknown type %u", type);
	}
}

static void on_connected(void *arg, const char *peer)
{
	struct wt_uri_destination *d = arg;

	snprintf(d->peer, sizeof d->peer, "%s", peer);
	wt_loop_timer_clear(d->relay.loop, &d->deadline);
	wt_relay_told_source(&d->relay, peer);
}

static void on_lost(void *arg, const struct wt_error *err)
{
	struct wt_uri_destination *d = arg;

	if (d->machine.state < WT_URI_DESTINATION_DONE)
		wt_relay_told_lost(&d->relay, err);
}

static void on_back(void *arg)
{
	wt_relay_told_back(&((struct wt_uri_destination *)arg)->relay);
}

static void on_refused(void *arg, const struct wt_error *err)
{
	wt_relay_told_refused(&((struct wt_uri_destination *)arg)->relay, err);
}

static void listen_again(void *arg, uint64_t now_ns);

static void on_failed(void *arg, const struct wt_error *err)
{
	struct wt_uri_destination *d = arg;
	struct wt_error said;

	if (d->machine.state == WT_URI_DESTINATION_WAITING) {
		on_refused(d, err);
		wt_loop_timer_set(
			d->relay.loop, &d->deadline, wt_loop_now_ns(d->relay.loop), listen_again, d);
		return;
	}
	said = wt_printable_error(err);
	wt_error_set(&d->failure, said.code, "%s", said.text);
	wt_uri_destination_event(d, WT_URI_DESTINATION_EV_PEER_LOST);
}

static const struct wt_puller_events puller_events = {
	.connected = on_connected,
	.block = on_block,
	.blocks_end = on_blocks_end,
	.landed = on_landed,
	.message = on_message,
	.lost = on_lost,
	.back = on_back,
	.failed = on_failed,
	.refused = on_refused,
};

/* ---- beginning and end ---- */

static void signalled(void *arg, const char *signal_name)
{
	struct wt_error err = { 0 };

	wt_error_set(&err, ECANCELED, "cancelled at the destination by %s", signal_name);
	wt_uri_destination_trouble(arg, &err);
}

static void wait_over(void *arg, uint64_t now_ns)
{
	struct wt_uri_destination *d = arg;
	struct wt_error err = { 0 };

	wt_error_set(
		&err, ETIMEDOUT, "no source came within %" PRIu64 " s", d->options->wait_ns / 1000000000);
	wt_uri_destination_trouble(d, &err);
}

static int listen_here(struct wt_uri_destination *d, uint16_t port, struct wt_error *err)
{
	const struct wt_uri_destination_options *o = d->options;
	struct wt_puller_config config = wt_relay_puller_config(&d->relay, &o->common, &o->listen);

	config.listen.port = port;
	config.data_host = o->data_host;
	if (o->wait_ns)
		wt_loop_timer_set(d->relay.loop, &d->deadline, wt_loop_now_ns(d->relay.loop) + o->wait_ns,
			wait_over, d);
	return wt_puller_open(d->relay.loop, &config, &puller_events, d, &d->puller, &d->port, err);
}

/* A source was turned away after it had come in: wait for a better one. Nothing was fed yet. */
static void listen_again(void *arg, uint64_t now_ns)
{
	struct wt_uri_destination *d = arg;
	struct wt_error err = { 0 };

	wt_puller_close(d->puller);
	d->puller = NULL;
	d->block_count = 0;
	wt_ram_search_close(&d->search);
	if (listen_here(d, d->port, &err))
		wt_uri_destination_trouble(d, &err);
}

static int start(struct wt_uri_destination *d, struct wt_error *err)
{
	const struct wt_uri_destination_options *o = d->options;
	int r;

	d->watch_fd = -1;
	d->search = (struct wt_ram_search){ .pid = o->pid, .hints = o->hints, .hint_count = o->hint_count };
	r = wt_relay_open(&d->relay, &o->common, NULL, signalled, wt_uri_destination_commands, d, err);
	wt_feed_init(&d->feed, d->relay.loop);
	if (!r && !o->incoming_path)
		r = wt_uri_feed_open(d, err);
	if (!r)
		r = listen_here(d, o->listen.port, err);
	if (r)
		return r;
	wt_report_listening(&d->relay.report, o->common.name, d->port);
	wt_uri_destination_progress(d);
	return 0;
}

static void linger_fired(void *arg, uint64_t now_ns)
{
	struct wt_uri_destination *d = arg;

	if (now_ns >= d->linger_until_ns || !d->puller || !wt_puller_unsent(d->puller))
		wt_loop_stop(d->relay.loop, 0);
	else
		wt_loop_timer_set(d->relay.loop, &d->deadline, now_ns + POLL_NS, linger_fired, d);
}

static void linger(struct wt_uri_destination *d)
{
	uint64_t now_ns = wt_loop_now_ns(d->relay.loop);

	d->linger_until_ns = now_ns + LINGER_NS;
	wt_loop_timer_set(d->relay.loop, &d->deadline, now_ns, linger_fired, d);
	wt_loop_run(d->relay.loop);
}

static int conclude(struct wt_uri_destination *d)
{
	char text[WT_ERROR_TEXT_MAX + 256];

	switch (d->machine.state) {
	case WT_URI_DESTINATION_DONE:
		return WT_EXIT_OK;
	case WT_URI_DESTINATION_STRANDED:
		snprintf(text, sizeof text,
			"%s; the source has let go of the guest: if it does not run here, end this QEMU and type cont at the "
			"source",
			wt_error_text(&d->failure));
		wt_report_error(&d->relay.report, text);
		return WT_EXIT_UNDECIDED;
	default:
		wt_report_error(&d->relay.report, wt_error_text(&d->failure));
		return WT_EXIT_FAILED;
	}
}

static void close_all(struct wt_uri_destination *d)
{
	wt_uri_feed_hang_up(d);
	wt_feed_close(&d->feed);
	wt_puller_close(d->puller);
	free(d->blocks);
	wt_ram_search_close(&d->search);
	wt_relay_close(&d->relay);
}

int wt_uri_destination_run(const struct wt_uri_destination_options *options)
{
	struct wt_uri_destination d = { .options = options };
	struct wt_error err = { 0 };
	int code;

	wt_uri_destination_switch_init(&d.machine);
	if (start(&d, &err)) {
		wt_report_error(&d.relay.report, wt_error_text(&err));
		code = WT_EXIT_FAILED;
	} else {
		wt_loop_run(d.relay.loop);
		code = conclude(&d);
		linger(&d);
	}
	close_all(&d);
	return code;
}

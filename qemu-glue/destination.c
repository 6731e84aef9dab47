/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination.c - the destination relay: QMP, puller, feed and state machine tied together. See
 * destination.h.
 *
 * Like source.c: events in, actions out; the order is that of destination_switch.h. QEMU is asked, not
 * believed: READY is said after query-migrate answered `completed` and query-status neither `inmigrate` nor
 * `running`.
 */
#include "destination.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "destination_feed.h"
#include "destination_internal.h"
#include "preflight.h"
#include "printable.h"
#include "relay_peer.h"
#include "sabotage.h"

#define POLL_NS 5000000ull
#define WATCH_NS 250000000ull
#define RUN_RETRY_NS 50000000ull
#define RUN_TRIES 200 /* a disk lock that the source releases late */
#define RUN_ANSWER_NS 10000000000ull
#define RUN_UNANSWERED 3
#define LINGER_NS 1000000000ull
#define QUIT_NS 10000000000ull

/* ---- asking QEMU ---- */

static void loaded_status_reply(void *arg, json_t *result, const struct wt_error *err)
{
	const struct wt_destination *d = arg;
	const char *status = json_string_value(json_object_get(result, "status"));
	struct wt_error runs = { 0 };

	if (!status || d->quitting || strcmp(status, "inmigrate") == 0)
		return;
	if (strcmp(status, "running") == 0) {
		wt_error_set(&runs, EPERM,
			"the destination QEMU runs the guest by itself; start it with -incoming defer -S");
		wt_destination_trouble(arg, &runs);
	} else {
		wt_destination_event(arg, WT_DESTINATION_EV_LOADED);
	}
}

static void migrate_info_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct wt_destination *d = arg;
	const char *status = json_string_value(json_object_get(result, "status"));
	const char *why = json_string_value(json_object_get(result, "error-desc"));
	struct wt_error failed = { 0 };
	char quoted[WT_PRINTABLE_MAX]; /* it may quote the stream, which is the source's */

	if (!status || d->quitting)
		return;
	if (strcmp(status, "completed") == 0) {
		wt_qmp_execute(d->relay.qmp, "query-status", NULL, loaded_status_reply, d);
	} else if (strcmp(status, "failed") == 0) {
		wt_error_set(&failed, EIO,
			"the destination QEMU refuses the guest's state%s%s; see its standard error",
			why ? ": " : "", why ? wt_printable(why, strlen(why), quoted, sizeof quoted) : "");
		wt_destination_trouble(d, &failed);
	}
}

static void poll_fired(void *arg, uint64_t now_ns)
{
	struct wt_destination *d = arg;
	enum wt_destination_state state = d->machine.state;
	bool urgent = state == WT_DESTINATION_LOADING;

	wt_loop_timer_set(d->relay.loop, &d->poll, now_ns + (urgent ? POLL_NS : WATCH_NS), poll_fired, d);
	if (state == WT_DESTINATION_RECEIVING || state == WT_DESTINATION_LOADING)
		wt_qmp_execute(d->relay.qmp, "query-migrate", NULL, migrate_info_reply, d);
}

static void qmp_event(void *arg, const char *name, json_t *data)
{
	struct wt_destination *d = arg;

	if (strcmp(name, "MIGRATION") == 0 && d->machine.state == WT_DESTINATION_LOADING)
		wt_qmp_execute(d->relay.qmp, "query-migrate", NULL, migrate_info_reply, d);
	else if (strcmp(name, "RESUME") == 0 && d->machine.state == WT_DESTINATION_STARTING)
		wt_destination_event(d, WT_DESTINATION_EV_RUNNING);
	else
		wt_destination_devices_qmp_event(d, name, data);
}

static void qmp_closed(void *arg, const struct wt_error *err)
{
	struct wt_destination *d = arg;

	d->qemu_gone = true;
	wt_error_set(&d->failure, EIO, "the destination QEMU ended; see its standard error");
	wt_hold_end(&d->hold);
	wt_destination_event(d, WT_DESTINATION_EV_QEMU_GONE);
}

static const struct wt_qmp_events qmp_events = { .event = qmp_event, .closed = qmp_closed };

/* ---- actions ---- */

static void send_text(struct wt_destination *d, unsigned type, const char *text)
{
	if (d->puller)
		wt_puller_send(d->puller, type, text, strlen(text));
}

static void run_again(void *arg, uint64_t now_ns);

static void run_at(struct wt_destination *d, uint64_t delay_ns)
{
	wt_loop_timer_set(
		d->relay.loop, &d->deadline, wt_loop_now_ns(d->relay.loop) + delay_ns, run_again, d);
}

static void cont_reply(void *arg, json_t *result, const struct wt_error *err)
{
	struct wt_destination *d = arg;

	if (result || d->machine.state != WT_DESTINATION_STARTING)
		return;
	if (d->run_tries >= RUN_TRIES) {
		wt_destination_trouble(d, err);
		return;
	}
	d->unanswered = 0;
	run_at(d, RUN_RETRY_NS);
}

/* A guest that stays paused gives no sign of itself: its QEMU must answer. */
static void paused_reply(void *arg, json_t *result, const struct wt_error *err)
{
	if (result)
		wt_destination_event(arg, WT_DESTINATION_EV_RUNNING);
}

static void try_run(struct wt_destination *d)
{
	bool runs = d->guest.flags & WT_RELAY_GUEST_RUNNING;

	d->run_tries += runs;
	run_at(d, RUN_ANSWER_NS);
	if (!wt_qmp_execute(
		    d->relay.qmp, runs ? "cont" : "query-status", NULL, runs ? cont_reply : paused_reply, d))
		d->unanswered++;
	else
		run_at(d, RUN_RETRY_NS);
}

static void run_again(void *arg, uint64_t now_ns)
{
	struct wt_destination *d = arg;
	struct wt_error err = { 0 };

	if (d->machine.state != WT_DESTINATION_STARTING)
		return;
	if (d->unanswered < RUN_UNANSWERED) {
		try_run(d);
		return;
	}
	wt_error_set(&err, ETIMEDOUT, "QEMU did not answer for 30 s when it was to run the guest");
	wt_destination_trouble(d, &err);
}

static void send_running(struct wt_destination *d)
{
	json_t *facts = wt_destination_facts(d);
	char *text;

	text = json_dumps(facts, JSON_COMPACT);
	send_text(d, WT_RELAY_RUNNING, text ? text : "{}");
	free(text);
	wt_report_event(&d->relay.report, "running", facts, "the guest runs here now");
	if (d->guest.flags & WT_RELAY_GUEST_RUNNING)
		wt_relay_announce_self(d->relay.qmp);
}

static void verified(void *arg)
{
	wt_destination_event(arg, WT_DESTINATION_EV_VERIFIED);
}

static void differs(void *arg, const struct wt_error *err)
{
	wt_destination_trouble(arg, err);
}

static const struct wt_verify_events verify_events = { .equal = verified, .differs = differs };

static void served_fired(void *arg, uint64_t now_ns)
{
	wt_destination_event(arg, WT_DESTINATION_EV_SERVED);
}

static void served_no_more(struct wt_destination *d)
{
	wt_loop_timer_set(d->relay.loop, &d->deadline, wt_loop_now_ns(d->relay.loop), served_fired, d);
}

static void carry_out(struct wt_destination *d, unsigned actions)
{
	if (actions & WT_DESTINATION_DO_VERIFY)
		wt_verify_job_start(&d->verify, d->puller, d->blocks, d->block_count, &verify_events, d);
	if (actions & WT_DESTINATION_DO_FEED_TAIL) {
		wt_feed_open_gate(&d->feed);
		wt_loop_timer_set(
			d->relay.loop, &d->poll, wt_loop_now_ns(d->relay.loop) + POLL_NS, poll_fired, d);
	}
	if (actions & WT_DESTINATION_DO_SEND_READY)
		wt_puller_send(d->puller, WT_RELAY_READY, NULL, 0);
	if (actions & WT_DESTINATION_DO_RUN)
		try_run(d);
	if (actions & WT_DESTINATION_DO_SEND_RUNNING)
		send_running(d);
	if (actions & WT_DESTINATION_DO_SEND_FAILED)
		send_text(d, WT_RELAY_FAILED, wt_error_text(&d->failure));
	if (actions & WT_DESTINATION_DO_SEND_STRANDED)
		send_text(d, WT_RELAY_STRANDED, wt_error_text(&d->failure));
	if (actions & WT_DESTINATION_DO_SEND_HELPER)
		send_text(d, WT_RELAY_UNLOADED, "");
	if (actions & WT_DESTINATION_DO_WAIT_HELPER && !wt_destination_serves(d))
		served_no_more(d);
	if (actions & WT_DESTINATION_DO_QUIT_QEMU) {
		d->quitting = true;
		wt_qmp_execute(d->relay.qmp, "quit", NULL, NULL, NULL);
	}
	if (actions & WT_DESTINATION_DO_FINISH)
		wt_loop_stop(d->relay.loop, 0);
}

void wt_destination_event(struct wt_destination *d, enum wt_destination_event event)
{
	enum wt_destination_state before = d->machine.state;
	unsigned actions = wt_destination_switch_step(&d->machine, event);
	const char *name = wt_destination_state_name(d->machine.state);

	if (d->machine.state == before) {
		carry_out(d, actions);
		return;
	}
	d->entered_ns[d->machine.state] = wt_report_now_ns();
	wt_report_event(&d->relay.report, "state", json_pack("{s:s}", "state", name), NULL);
	wt_sabotage_before(name);
	carry_out(d, actions);
	wt_sabotage_after(name);
}

void wt_destination_trouble(struct wt_destination *d, const struct wt_error *err)
{
	if (!d->failure.code)
		d->failure = *err;
	wt_destination_event(d, WT_DESTINATION_EV_TROUBLE);
}

/* ---- the source's word ---- */

static int on_block(
	void *arg, const char *name, uint64_t length, struct wt_puller_block *ret_block, struct wt_error *err)
{
	struct wt_destination *d = arg;
	const struct wt_ram_block *block = wt_guest_ram_find(d->relay.ram, name);
	const struct wt_ram_block **blocks;

	if (wt_destination_switch_final(&d->machine))
		return wt_error_set(
			err, ECANCELED, "the destination had given up: %s", wt_error_text(&d->failure));
	if (d->common)
		return wt_error_set(err, EINVAL,
			"this watari receive was started with --common-memory, and the source without; give it to both, or to "
			"neither");
	if (!block)
		return wt_error_set(err, ENOENT,
			"this QEMU has no RAM block %s; start it with the source's machine and devices",
			name);
	if (block->length != length)
		return wt_error_set(err, EINVAL,
			"RAM block %s has %" PRIu64 " bytes at the source and %" PRIu64
			" here; start both alike",
			name, length, block->length);
	if (!block->shared)
		return wt_error_set(err, EINVAL,
			"RAM block %s is not shared here; start this QEMU with a memory backend and share=on",
			name);
	blocks = realloc(d->blocks, (d->block_count + 1) * sizeof *blocks);
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
	struct wt_destination *d = arg;
	int r = wt_feed_prepare(d->relay.qmp, err);

	if (!r)
		r = wt_destination_common_prepare(d, err);
	if (!r)
		r = wt_destination_feed_open(d, err);
	if (r)
		return r;
	wt_destination_replica_offer(d);
	wt_destination_event(d, WT_DESTINATION_EV_CONNECTED);
	return 0;
}

/* After KEEP it still lands what was under way: that completes nothing. */
static void check_complete(struct wt_destination *d)
{
	if (d->machine.state != WT_DESTINATION_RETIRED && d->feed.gated && wt_puller_all_landed(d->puller))
		wt_destination_event(d, WT_DESTINATION_EV_RAM_COMPLETE);
}

static void on_landed(void *arg)
{
	check_complete(arg);
}

static int take_guest(struct wt_destination *d, const uint8_t *payload, size_t length, struct wt_error *err)
{
	if (length != sizeof d->guest || d->guest_known)
		return wt_error_set(err, EPROTO, "the source's message on its guest is malformed");
	memcpy(&d->guest, payload, length);
	if (d->guest.flags & WT_RELAY_GUEST_URI)
		return wt_error_set(err, EPROTO,
			"the source was started by QEMU's migrate to a URI, and this watari receive has --qmp; give --qmp to "
			"both watari send and watari receive, or to neither");
	d->guest_known = true;
	d->machine.verify = d->guest.flags & WT_RELAY_GUEST_VERIFY;
	return wt_record_write(d->relay.qmp, &d->guest.record, err);
}

/* The numbers must meet: a lost announcement would leave old content in place without anybody noticing. */
static int take_ram_end(struct wt_destination *d, const uint8_t *payload, size_t length, struct wt_error *err)
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

static void take_keep(struct wt_destination *d, const uint8_t *payload, size_t length)
{
	char text[WT_PRINTABLE_MAX], note[WT_PRINTABLE_MAX + 64];

	wt_printable(payload, length, text, sizeof text);
	wt_error_set(&d->failure, ECANCELED, "the source aborted: %s", text);
	snprintf(note, sizeof note, "the source aborted: %s; what has come is kept for that", text);
	wt_relay_told_note(&d->relay, note);
	wt_destination_event(d, WT_DESTINATION_EV_KEEP);
}

static int on_message(void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_destination *d = arg;
	char text[WT_PRINTABLE_MAX];

	switch (type) {
	case WT_RELAY_GUEST:
		return take_guest(d, payload, length, err);
	case WT_RELAY_STREAM:
		if (d->machine.state == WT_DESTINATION_RETIRED)
			return 0; /* sent before it was known that QEMU is ended */
		d->stream_bytes += length;
		return d->guest_known
			       ? wt_feed_add(&d->feed, payload, length, err)
			       : wt_error_set(err, EPROTO, "the source's stream came before its guest");
	case WT_RELAY_RAM_END:
		return take_ram_end(d, payload, length, err);
	case WT_RELAY_DIGEST_ANSWER:
		return wt_verify_job_answer(&d->verify, payload, length, err);
	case WT_RELAY_DEVICES:
		if (d->machine.state == WT_DESTINATION_RECEIVING)
			wt_destination_devices_message(d, payload, length);
		return 0;
	case WT_RELAY_COMMON:
		wt_destination_common_message(d);
		return 0;
	case WT_RELAY_COMMIT:
		if (length != sizeof d->guest)
			return wt_error_set(err, EPROTO, "the source's commit is malformed");
		memcpy(&d->guest, payload, length);
		wt_destination_event(d, WT_DESTINATION_EV_COMMIT);
		return 0;
	case WT_RELAY_KEEP:
		take_keep(d, payload, length);
		return 0;
	case WT_RELAY_ABORT:
		wt_error_set(&d->failure, ECANCELED, "the source aborted: %s",
			wt_printable(payload, length, text, sizeof text));
		wt_destination_event(d, WT_DESTINATION_EV_ABORT);
		return 0;
	default:
		return wt_error_set(err, EPROTO, "the source sent a message of unknown type %u", type);
	}
}

static void on_connected(void *arg, const char *peer)
{
	struct wt_destination *d = arg;

	/* It is over, and the timer is that of linger: on_block turns away whoever comes now. */
	if (wt_destination_switch_final(&d->machine))
		return;
	snprintf(d->peer, sizeof d->peer, "%s", peer);
	wt_loop_timer_clear(d->relay.loop, &d->deadline);
	wt_relay_told_source(&d->relay, peer);
}

static void on_lost(void *arg, const struct wt_error *err)
{
	struct wt_destination *d = arg;

	if (!wt_destination_switch_final(&d->machine))
		wt_relay_told_lost(&d->relay, err);
}

static void on_back(void *arg)
{
	wt_relay_told_back(&((struct wt_destination *)arg)->relay);
}

static void on_refused(void *arg, const struct wt_error *err)
{
	wt_relay_told_refused(&((struct wt_destination *)arg)->relay, err);
}

static void listen_again(void *arg, uint64_t now_ns);

static void on_failed(void *arg, const struct wt_error *err)
{
	struct wt_destination *d = arg;
	struct wt_error said;

	if (d->machine.state == WT_DESTINATION_WAITING) {
		on_refused(d, err);
		wt_loop_timer_set(
			d->relay.loop, &d->deadline, wt_loop_now_ns(d->relay.loop), listen_again, d);
		return;
	}
	said = wt_printable_error(err);
	wt_error_set(&d->failure, said.code, "%s", said.text);
	wt_destination_event(d, WT_DESTINATION_EV_PEER_LOST);
}

/* ---- another destination ---- */

static void on_drained(void *arg)
{
	wt_destination_event(arg, WT_DESTINATION_EV_DRAIN);
}

static void on_goes_on(void *arg)
{
	wt_destination_event(arg, WT_DESTINATION_EV_RESTART);
}

static void on_serve(void *arg, const struct wt_server_order *order)
{
	wt_destination_serve(arg, order);
}

static void on_serve_end(void *arg, unsigned number)
{
	wt_destination_serve_end(arg, number);
}

static void on_release(void *arg)
{
	wt_destination_event(arg, WT_DESTINATION_EV_RELEASE);
}

static void on_helper_joined(void *arg, unsigned number, const char *label)
{
	struct wt_destination *d = arg;
	char text[WT_PRINTABLE_MAX], note[WT_PRINTABLE_MAX + 64];

	snprintf(note, sizeof note, "%s serves its part, too",
		wt_printable((const uint8_t *)label, strlen(label), text, sizeof text));
	wt_relay_told_note(&d->relay, note);
}

static void on_helper_lost(void *arg, unsigned number, const char *label, const struct wt_error *err)
{
	struct wt_destination *d = arg;
	struct wt_error said = wt_printable_error(err);
	char text[WT_PRINTABLE_MAX], note[WT_PRINTABLE_MAX + WT_ERROR_TEXT_MAX + 32];

	snprintf(note, sizeof note, "%s serves no more: %s",
		wt_printable((const uint8_t *)label, strlen(label), text, sizeof text), wt_error_text(&said));
	wt_relay_told_note(&d->relay, note);
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
	.helper_joined = on_helper_joined,
	.helper_lost = on_helper_lost,
	.drained = on_drained,
	.undrained = on_goes_on,
	.restarted = on_goes_on,
	.serve = on_serve,
	.serve_end = on_serve_end,
	.release = on_release,
	.replica_joined = wt_destination_replica_joined,
	.replica_lost = wt_destination_replica_lost,
};

/* ---- beginning and end ---- */

static void signalled(void *arg, const char *signal_name)
{
	struct wt_destination *d = arg;
	struct wt_error err = { 0 };

	wt_hold_end(&d->hold);
	wt_error_set(&err, ECANCELED, "cancelled at the destination by %s", signal_name);
	wt_destination_trouble(d, &err);
}

static void wait_over(void *arg, uint64_t now_ns)
{
	struct wt_destination *d = arg;
	struct wt_error err = { 0 };

	wt_error_set(
		&err, ETIMEDOUT, "no source came within %" PRIu64 " s", d->options->wait_ns / 1000000000);
	wt_destination_trouble(d, &err);
}

static int listen_here(struct wt_destination *d, uint16_t port, struct wt_error *err)
{
	const struct wt_destination_options *o = d->options;
	struct wt_puller_config config = wt_relay_puller_config(&d->relay, &o->common, &o->listen);

	config.listen.port = port;
	config.data_host = o->data_host;
	if (o->wait_ns)
		wt_loop_timer_set(d->relay.loop, &d->deadline, wt_loop_now_ns(d->relay.loop) + o->wait_ns,
			wait_over, d);
	return wt_puller_open(d->relay.loop, &config, &puller_events, d, &d->puller, &d->port, err);
}

/* A source was turned away after it had come in: wait for a better one. */
static void listen_again(void *arg, uint64_t now_ns)
{
	struct wt_destination *d = arg;
	struct wt_error err = { 0 };

	wt_destination_replica_unask(d);
	wt_puller_close(d->puller);
	wt_destination_feed_close(d);
	wt_feed_init(&d->feed, d->relay.loop);
	d->puller = NULL;
	d->block_count = 0;
	d->peer[0] = '\0';
	if (listen_here(d, d->port, &err))
		wt_destination_trouble(d, &err);
}

static int start(struct wt_destination *d, struct wt_error *err)
{
	const struct wt_destination_options *o = d->options;
	int r;

	r = wt_relay_open(&d->relay, &o->common, &qmp_events, signalled, wt_destination_commands, d, err);
	wt_feed_init(&d->feed, d->relay.loop);
	if (!r)
		r = wt_preflight_destination(d->relay.qmp, d->relay.ram, err);
	if (!r)
		r = wt_destination_common_open(d, err);
	if (!r)
		r = wt_destination_devices_open(d, err);
	if (!r)
		r = listen_here(d, o->listen.port, err);
	if (r)
		return r;
	wt_destination_replica_open(d);
	wt_report_listening(&d->relay.report, o->common.name, d->port);
	wt_loop_timer_set(d->relay.loop, &d->poll, wt_loop_now_ns(d->relay.loop) + WATCH_NS, poll_fired, d);
	wt_destination_progress(d);
	return 0;
}

/*
 * Done, or long enough waited. The word that the guest runs here must arrive: the source waits for it as long
 * as for a lost connection. Other last words are worth a second. A QEMU that was told to quit is waited for:
 * it forgets what it has not done yet when its monitor's connection is closed.
 */
static void linger_fired(void *arg, uint64_t now_ns)
{
	struct wt_destination *d = arg;

	bool unsent = d->puller && wt_puller_unsent(d->puller), quitting = d->quitting && !d->qemu_gone;

	if (now_ns >= d->linger_until_ns || (!unsent && !quitting))
		wt_loop_stop(d->relay.loop, 0);
	else
		wt_loop_timer_set(d->relay.loop, &d->deadline, now_ns + POLL_NS, linger_fired, d);
}

static void linger(struct wt_destination *d)
{
	uint64_t now_ns = wt_loop_now_ns(d->relay.loop);

	d->linger_until_ns = now_ns + (d->quitting ? QUIT_NS : LINGER_NS);
	if (d->machine.state == WT_DESTINATION_DONE)
		d->linger_until_ns = now_ns + d->options->common.reconnect_timeout_ns;
	wt_loop_timer_set(d->relay.loop, &d->deadline, now_ns + POLL_NS, linger_fired, d);
	wt_loop_run(d->relay.loop);
}

static int conclude(struct wt_destination *d)
{
	char text[WT_ERROR_TEXT_MAX + 256];

	switch (d->machine.state) {
	case WT_DESTINATION_DONE:
	case WT_DESTINATION_RELEASED:
		return WT_EXIT_OK;
	case WT_DESTINATION_ORPHAN:
		if (d->run_tries) {
			snprintf(text, sizeof text,
				"%s; the migration is committed and this guest is the one that must run: remove the cause, then "
				"watari recover --destination-qmp %s --force-run",
				wt_error_text(&d->failure), d->options->common.qmp_path);
			wt_report_error(&d->relay.report, text);
			return WT_EXIT_UNDECIDED;
		}
		snprintf(text, sizeof text,
			"%s; the guest is loaded here and paused, and the source may have committed. If the source QEMU says "
			"postmigrate, or is gone for ever, and the guest was not sent elsewhere since: watari recover "
			"--destination-qmp %s",
			wt_error_text(&d->failure), d->options->common.qmp_path);
		wt_report_error(&d->relay.report, text);
		return WT_EXIT_UNDECIDED;
	default:
		wt_report_error(&d->relay.report, wt_error_text(&d->failure));
		return WT_EXIT_FAILED;
	}
}

static void close_all(struct wt_destination *d)
{
	wt_destination_serve_close(d);
	wt_destination_feed_close(d);
	wt_puller_close(d->puller);
	wt_destination_replica_close(d);
	wt_common_memory_close(d->common);
	wt_passthrough_close(d->devices.passthrough);
	free(d->blocks);
	wt_relay_close(&d->relay);
}

int wt_destination_run(const struct wt_destination_options *options)
{
	struct wt_destination d = { .options = options, .feed.fd = -1 };
	struct wt_error err = { 0 };
	int code;

	wt_destination_switch_init(&d.machine);
	if (start(&d, &err)) {
		wt_report_error(&d.relay.report, wt_error_text(&err));
		code = WT_EXIT_FAILED;
	} else {
		wt_loop_run(d.relay.loop);
		wt_destination_devices_end(&d);
		code = conclude(&d);
		linger(&d);
		wt_destination_common_end(&d);
	}
	close_all(&d);
	return code;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source_change.c - carries out a change of the destination. See source_change.h; what happens in which order
 * is source_retarget.h's.
 *
 * Hand-over to the current target, from the one that was left: what had been announced is listed (the base),
 * what was pending is announced anew, the stripped stream is repeated, and QEMU is read on. In this order,
 * each step ended by an event of the page server.
 * Meanwhile, and until the new destination lacks little, QEMU is kept from stopping the guest
 * (source_gate.c).
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <openssl/rand.h>

#include "printable.h"
#include "relay_peer.h"
#include "source_internal.h"

#define PREPARE_NS 30000000000ull
#define DRAIN_NS 2000000000ull
#define AGAIN_NS 5000000ull

static struct wt_source_target *target_of(struct wt_source *source, int number)
{
	return number < 0 ? NULL : &source->change.targets[number];
}

static unsigned number_of(const struct wt_source_target *target)
{
	return (unsigned)(target - target->source->change.targets);
}

unsigned wt_source_helper_number(const struct wt_source *source, unsigned target)
{
	return (target + WT_TARGETS_MAX - (unsigned)source->change.machine.current) % WT_TARGETS_MAX;
}

static bool serves(const struct wt_source *source, unsigned target)
{
	uint8_t role = source->change.machine.roles[target];

	return role == WT_TARGET_RETIRED || role == WT_TARGET_HELPER;
}

static uint64_t content_pages(const struct wt_source *source)
{
	struct wt_server_stats stats;

	wt_source_stats(source, &stats);
	return stats.announced_pages - stats.zero_pages;
}

/* ---- telling ---- */

static void told(struct wt_source *source, const char *event, const char *text)
{
	struct wt_source_change *c = &source->change;

	wt_report_event(&source->relay.report, event,
		json_pack("{s:i,s:s}", "number", (int)c->report.number, "to", c->report.to), text);
}

static void tell_failed(struct wt_source *source)
{
	struct wt_source_change *c = &source->change;
	char text[WT_ERROR_TEXT_MAX + 128];

	if (!c->why.code)
		wt_error_set(
			&c->why, EBUSY, "the guest was stopped first; it moves to where it was on its way");
	c->report.over = true;
	c->report.good = false;
	c->report.text = c->why.text;
	snprintf(text, sizeof text, "the destination stays as it was: %s", wt_error_text(&c->why));
	told(source, "retarget_failed", text);
}

static void tell_done(struct wt_source *source)
{
	struct wt_source_change *c = &source->change;

	if (c->report.over) /* it went back to an earlier one, and nobody asked for that */
		return;
	c->report.over = c->report.good = true;
	c->last.end_ns = wt_report_now_ns();
	told(source, "retarget_done", "the new destination has all it needs of the old one");
}

/* A change that is not over has failed by that. */
static void tell_back(struct wt_source *source)
{
	struct wt_source_change *c = &source->change;
	char text[WT_ERROR_TEXT_MAX + 128];

	snprintf(text, sizeof text, "%s; back to an earlier destination", wt_error_text(&source->failure));
	wt_report_event(&source->relay.report, "going_back", NULL, text);
	if (c->report.over)
		return;
	c->why = source->failure;
	c->report.over = true;
	c->report.good = false;
	c->report.text = c->why.text;
}

/* ---- leaving a destination ---- */

static void deadline_fired(void *arg, uint64_t now_ns)
{
	struct wt_source *source = arg;
	struct wt_source_change *c = &source->change;

	if (c->machine.state == WT_RETARGET_PREPARING)
		wt_error_set(&c->why, ETIMEDOUT, "%s did not accept the guest within 30 s", c->report.to);
	else if (c->machine.staged)
		wt_error_set(&c->why, ETIMEDOUT,
			"it did not stop pulling in time, and some memory is nowhere else any more");
	wt_source_change_event(source, WT_RETARGET_EV_DEADLINE, wt_source_current(source));
}

static void set_deadline(struct wt_source *source, uint64_t delay_ns)
{
	wt_loop_timer_set(source->relay.loop, &source->change.deadline,
		wt_loop_now_ns(source->relay.loop) + delay_ns, deadline_fired, source);
}

/* DRAIN goes when all that was read from QEMU has been announced and sent: so its stream can be continued. */
static void try_drain(void *arg, uint64_t now_ns)
{
	struct wt_source *source = arg;
	struct wt_source_target *target = wt_source_current(source);

	if (!source->change.drain_waits)
		return;
	if (wt_outgoing_settled(source->outgoing) && wt_server_drain(target->server) >= 0) {
		target->position = wt_outgoing_position(source->outgoing);
		source->change.drain_waits = false;
		return;
	}
	wt_loop_timer_set(source->relay.loop, &source->change.drain,
		wt_loop_now_ns(source->relay.loop) + AGAIN_NS, try_drain, source);
	wt_outgoing_pump(source->outgoing);
}

static void send_drain(struct wt_source *source)
{
	source->change.drain_waits = true;
	try_drain(source, 0);
}

static void undrain(struct wt_source *source)
{
	source->change.drain_waits = false;
	wt_server_undrain(wt_source_server(source));
}

static void send_abort(struct wt_source_target *target, const char *why)
{
	if (target && target->server)
		wt_server_send(target->server, WT_RELAY_ABORT, why, strlen(why));
}

void wt_source_abort_all(struct wt_source *source, const char *why)
{
	for (unsigned i = 0; i < WT_TARGETS_MAX; i++)
		if (source->change.machine.roles[i] != WT_TARGET_DROPPED)
			send_abort(&source->change.targets[i], why);
}

/* ---- hand-over ---- */

static void hand_over_failed(struct wt_source *source, const struct wt_error *err)
{
	wt_source_target_lost(wt_source_current(source), WT_SOURCE_EV_TROUBLE, err);
}

static void send_base(struct wt_source *source)
{
	struct wt_source_change *c = &source->change;
	struct wt_server_base base = { .before = c->targets[c->machine.old].server,
		.policy = c->targets[c->machine.current].request.spare_source ? WT_BASE_SPARE_SOURCE
									      : WT_BASE_FASTEST,
		.rate_limit = source->options->max_rate };
	struct wt_error err = { 0 };

	for (unsigned i = 0; i < WT_TARGETS_MAX; i++) {
		if (!serves(source, i))
			continue;
		base.helper[base.helpers].number = wt_source_helper_number(source, i);
		base.helper[base.helpers++].server = c->targets[i].server;
	}
	if (wt_server_base(wt_source_server(source), &base, &err))
		hand_over_failed(source, &err);
}

static void hand_over(struct wt_source *source)
{
	struct wt_source_change *c = &source->change;
	struct wt_source_target *now = wt_source_current(source);
	struct wt_error err = { 0 };

	c->drain_waits = c->handing = false;
	wt_error_clear(&source->failure); /* that of a destination that does not matter any more */
	c->base_left_pages = UINT64_MAX;
	wt_source_gate_close(source);
	if (c->machine.roles[c->machine.old] == WT_TARGET_DROPPED &&
		wt_server_leave(c->targets[c->machine.old].server) == -ENOMEM) {
		wt_error_set(&err, ENOMEM, "no memory for the pages that were on their way");
		hand_over_failed(source, &err);
		return;
	}
	if (!c->machine.returned) {
		send_base(source);
		return;
	}
	if (now->serves)
		wt_server_serve_end(now->server, now->serves);
	now->serves = 0;
	if (wt_server_restart(now->server, &err)) /* `ready` follows */
		hand_over_failed(source, &err);
}

void wt_source_target_ready(struct wt_source_target *target)
{
	struct wt_source *source = target->source;
	struct wt_relay_guest guest = wt_source_guest(source);

	if (target == wt_source_current(source)) {
		if (source->change.machine.state == WT_RETARGET_HANDING)
			send_base(source);
		return;
	}
	wt_server_send(target->server, WT_RELAY_GUEST, &guest, sizeof guest);
	wt_source_change_event(source, WT_RETARGET_EV_NEXT_READY, target);
}

/* What was pending at the former destination, then the stream; then QEMU is read on. */
static void hand_pending(struct wt_source *source)
{
	struct wt_source_change *c = &source->change;
	struct wt_source_target *now = wt_source_current(source);
	struct wt_error err = { 0 };
	int r = wt_server_hand_over(now->server, c->targets[c->machine.old].server);

	wt_server_flush(now->server);
	if (r == -EAGAIN)
		return; /* again at `room` */
	c->handing = false;
	if (r)
		wt_error_set(&err, -r, "what was on its way could not be announced: %s", strerror(-r));
	else
		r = wt_outgoing_retarget(
			source->outgoing, now->server, c->machine.returned ? now->position : 0, &err);
	if (r) {
		hand_over_failed(source, &err);
		return;
	}
	wt_source_gate(source);
	wt_source_change_event(source, WT_RETARGET_EV_BASE_SENT, now);
}

bool wt_source_target_room(struct wt_source_target *target)
{
	struct wt_source *source = target->source;

	if (!source->change.handing || target != wt_source_current(source))
		return source->change.machine.state == WT_RETARGET_HANDING;
	hand_pending(source);
	return true;
}

/* The current target shall not wait for what this one has. */
static void no_helper(struct wt_source *source, unsigned target)
{
	wt_server_no_helper(
		wt_source_server(source), wt_source_helper_number(source, target), "the source has lost it");
}

void wt_source_target_base_sent(void *arg)
{
	struct wt_source_target *target = arg;
	struct wt_source_change *c = &target->source->change;
	struct wt_server_stats stats;

	if (target != wt_source_current(target->source) || c->machine.state != WT_RETARGET_HANDING)
		return;
	wt_server_stats(target->server, &stats);
	c->last.need_pages = stats.base_pages;
	c->last.helper_pages = stats.helper_pages;
	c->last.announced_before = content_pages(target->source);
	for (unsigned i = 0; i < WT_TARGETS_MAX; i++)
		if (c->machine.roles[i] == WT_TARGET_DROPPED) /* perhaps while the base was under way */
			no_helper(target->source, i);
	c->handing = true;
	hand_pending(target->source);
}

void wt_source_target_drained(void *arg)
{
	struct wt_source_target *target = arg;

	if (target->source->change.machine.roles[number_of(target)] == WT_TARGET_KEPT)
		wt_source_kept_drained(target);
	else
		wt_source_change_event(target->source, WT_RETARGET_EV_OLD_DRAINED, target);
}

void wt_source_target_base_left(void *arg, uint64_t pages)
{
	struct wt_source_target *target = arg;
	struct wt_source *source = target->source;

	if (target != wt_source_current(source))
		return;
	if (source->change.base_left_pages == UINT64_MAX) {
		source->change.base_pages = pages;
		source->change.base_since_ns = wt_report_now_ns();
	}
	source->change.base_left_pages = pages;
	source->change.report.base_left_bytes = pages << WT_PAGE_SHIFT;
	wt_source_gate(source);
	if (!pages)
		wt_source_change_event(source, WT_RETARGET_EV_BASE_DONE, target);
}

/* ---- helpers ---- */

static void send_expect(struct wt_source *source)
{
	struct wt_source_change *c = &source->change;
	char label[WT_TARGET_TEXT_MAX];

	for (unsigned i = 0; i < WT_TARGETS_MAX; i++) {
		struct wt_source_target *target = &c->targets[i];

		if (!serves(source, i))
			continue;
		/* Where a unix socket leads is known on one host only. */
		if (wt_source_current(source)->address.unix_path ||
			RAND_bytes(target->session_id, sizeof target->session_id) != 1) {
			wt_server_no_helper(wt_source_server(source), wt_source_helper_number(source, i),
				"it cannot be told where to come");
			continue;
		}
		wt_server_expect(wt_source_server(source), wt_source_helper_number(source, i),
			target->session_id, wt_target_text(&target->address, label));
	}
}

/* The helper that the current target awaits at this port is told so. */
static void send_serve(struct wt_source_target *target, uint16_t port)
{
	struct wt_source *source = target->source;
	struct wt_server_order order = { .host = wt_source_current(source)->address.host,
		.port = port,
		.name = source->options->common.name,
		.number = wt_source_helper_number(source, number_of(target)) };

	memcpy(order.session_id, target->session_id, sizeof order.session_id);
	if (target->serves)
		wt_server_serve_end(target->server, target->serves);
	target->serves = order.number;
	wt_server_serve(target->server, &order);
}

void wt_source_target_expected(void *arg, unsigned number, uint16_t port)
{
	struct wt_source_target *target = arg;
	struct wt_source *source = target->source;
	unsigned actions =
		wt_source_retarget_step(&source->change.machine, WT_RETARGET_EV_EXPECTED, number_of(target));

	for (unsigned i = 0; actions & WT_RETARGET_DO_SEND_SERVE && i < WT_TARGETS_MAX; i++)
		if (serves(source, i) && wt_source_helper_number(source, i) == number)
			send_serve(&source->change.targets[i], port);
}

void wt_source_target_helper(void *arg, unsigned number, enum wt_helper_state state, const char *text)
{
	struct wt_source_target *target = arg;
	struct wt_source *source = target->source;
	char said[WT_PRINTABLE_MAX], note[WT_PRINTABLE_MAX + 96];

	if (state == WT_HELPER_JOINED)
		return;
	snprintf(note, sizeof note, "an earlier destination serves no more: %s",
		wt_printable((const uint8_t *)text, strlen(text), said, sizeof said));
	wt_relay_told_note(&source->relay, note);
	if (target != wt_source_current(source) && target->serves == number &&
		number ==
			wt_source_helper_number(source, number_of(target))) /* it speaks of the current one */
		wt_server_no_helper(wt_source_server(source), number, said);
}

/* ---- the machine ---- */

static void open_next(struct wt_source *source)
{
	struct wt_source_target *next = target_of(source, source->change.machine.next);
	struct wt_error err = { 0 };

	assert(next);
	if (wt_source_server_open(next, &err))
		wt_source_target_lost(next, WT_SOURCE_EV_TROUBLE, &err);
}

static void release_all(struct wt_source *source)
{
	for (unsigned i = 0; i < WT_TARGETS_MAX; i++) {
		struct wt_source_target *target = &source->change.targets[i];
		bool kept = source->change.machine.roles[i] == WT_TARGET_KEPT;

		if (serves(source, i) || (kept && target->drained))
			wt_server_release(target->server);
		else if (kept) /* only who has drained can be released */
			send_abort(target, "the guest runs elsewhere");
	}
}

static void carry_out(struct wt_source *source, unsigned actions)
{
	struct wt_source_change *c = &source->change;

	if (actions & WT_RETARGET_DO_HOLD)
		wt_outgoing_hold(source->outgoing, true);
	if (actions & WT_RETARGET_DO_OPEN_NEXT) {
		wt_source_gate_close(source);
		open_next(source);
	}
	if (actions & WT_RETARGET_DO_PREPARE_DEADLINE)
		set_deadline(source, PREPARE_NS);
	if (actions & WT_RETARGET_DO_SEND_DRAIN)
		send_drain(source);
	if (actions & WT_RETARGET_DO_DRAIN_DEADLINE)
		set_deadline(source, DRAIN_NS);
	if (actions & WT_RETARGET_DO_UNDRAIN)
		undrain(source);
	if (actions & WT_RETARGET_DO_CLOSE_NEXT)
		send_abort(target_of(source, c->machine.closed), "the guest does not come here after all");
	if (actions & WT_RETARGET_DO_DROP_OLD)
		send_abort(target_of(source, c->machine.old), "the guest goes elsewhere");
	if (actions & WT_RETARGET_DO_GO_BACK)
		tell_back(source);
	if (actions & WT_RETARGET_DO_HAND_OVER)
		hand_over(source);
	if (actions & WT_RETARGET_DO_UNHOLD)
		wt_outgoing_hold(source->outgoing, false);
	if (actions & WT_RETARGET_DO_SEND_EXPECT)
		send_expect(source);
	if (actions & WT_RETARGET_DO_TELL_FAILED)
		tell_failed(source);
	if (actions & WT_RETARGET_DO_TELL_DONE)
		tell_done(source);
	if (actions & WT_RETARGET_DO_RELEASE_ALL)
		release_all(source);
	if (actions & WT_RETARGET_DO_RAISE_TROUBLE)
		wt_source_event(source, c->befell);
	if (actions & WT_RETARGET_DO_RESTART)
		wt_source_event(source, WT_SOURCE_EV_RESTART);
}

void wt_source_change_event(
	struct wt_source *source, enum wt_retarget_event event, const struct wt_source_target *target)
{
	struct wt_source_change *c = &source->change;
	enum wt_retarget_state before = c->machine.state;
	unsigned actions = wt_source_retarget_step(&c->machine, event, number_of(target));

	if (c->machine.state != before)
		wt_loop_timer_clear(source->relay.loop, &c->deadline);
	if (c->machine.stopped)
		wt_source_gate_open(source);
	if (c->machine.state == WT_RETARGET_OVER)
		c->drain_waits = c->handing = false;
	carry_out(source, actions);
}

void wt_source_target_lost(
	struct wt_source_target *target, enum wt_source_event event, const struct wt_error *err)
{
	struct wt_source *source = target->source;
	struct wt_source_change *c = &source->change;

	if (c->machine.roles[number_of(target)] == WT_TARGET_KEPT) {
		if (c->machine.restarts && !source->failure.code)
			source->failure = *err;
		if (target->expected)
			no_helper(source, number_of(target));
	} else if (target == wt_source_current(source)) {
		c->befell = event;
		if (!source->failure.code)
			source->failure = *err;
	} else if (c->machine.roles[number_of(target)] == WT_TARGET_NEXT) {
		c->why = *err;
	} else if (serves(source, number_of(target))) {
		no_helper(source, number_of(target));
	}
	wt_source_change_event(source, WT_RETARGET_EV_LOST, target);
}

/* ---- beginning and end ---- */

void wt_source_change_init(struct wt_source *source)
{
	struct wt_source_change *c = &source->change;

	wt_source_retarget_init(&c->machine);
	c->befell = WT_SOURCE_EV_TROUBLE;
	c->targets[0].address = source->options->peer;
	for (unsigned i = 0; i < WT_TARGETS_MAX; i++)
		c->targets[i].source = source;
}

int wt_source_retarget(struct wt_source *source, json_t *json, struct wt_error *err)
{
	struct wt_source_change *c = &source->change;
	struct wt_error replay = { 0 };
	struct wt_retarget_request request;
	struct wt_retarget_facts facts = { .machine = &c->machine,
		.state = source->machine.state,
		.name = source->options->common.name,
		.replay = &replay };
	struct wt_source_target *target;
	int r = wt_retarget_request_take(json, &request, err);
	bool restarts = wt_source_retarget_restarts(&c->machine, source->machine.state);

	if (source->devices.passthrough)
		return wt_error_set(err, EOPNOTSUPP,
			"the guest's devices were prepared at its destination (--devices), so that it cannot go to another "
			"one; cancel, and send it there");
	if (source->common)
		return wt_error_set(err, EOPNOTSUPP,
			"the guest's memory stays where it is (--common-memory), and nothing of it is on its way; cancel, and "
			"send the guest to the other host");
	if (source->outgoing)
		wt_outgoing_check(source->outgoing, &replay);
	for (unsigned i = 0; i < WT_TARGETS_MAX; i++)
		facts.addresses[i] = &c->targets[i].address;
	if (!r)
		r = wt_retarget_request_check(&request, &facts, err);
	if (r < 0)
		return r;
	target = &c->targets[r];
	if (!target->server) {
		wt_retarget_request_take(
			json, &target->request, err); /* its own text, as that is pointed into */
		target->address = target->request.address;
	}
	target->request.spare_source = request.spare_source;
	wt_error_clear(&c->why);
	c->last = (struct wt_source_change_figures){ .start_ns = wt_report_now_ns() };
	c->report = (struct wt_retarget_report){ .number = c->report.number + 1, .restarts = restarts };
	wt_target_text(&target->address, c->to);
	c->report.to = c->to;
	told(source, "retarget",
		restarts
			? "the guest is stopped already: it goes on here, and a new migration to another destination begins"
			: "another destination takes over");
	wt_source_change_event(source, restarts ? WT_RETARGET_EV_RESTART : WT_RETARGET_EV_RETARGET, target);
	return (int)c->report.number;
}

size_t wt_source_unsent(const struct wt_source *source)
{
	size_t unsent = 0;

	for (unsigned i = 0; i < WT_TARGETS_MAX; i++)
		if (source->change.targets[i].server && source->change.machine.roles[i] != WT_TARGET_DROPPED)
			unsent += wt_server_unsent(source->change.targets[i].server);
	return unsent;
}

void wt_source_change_close(struct wt_source *source)
{
	wt_loop_timer_clear(source->relay.loop, &source->change.deadline);
	wt_loop_timer_clear(source->relay.loop, &source->change.drain);
	for (unsigned i = 0; i < WT_TARGETS_MAX; i++)
		wt_server_close(source->change.targets[i].server);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * puller_retarget.c - the puller's half of a change of the puller: base and helpers here, and how it is left
 * itself. See puller.h; docs/PROTOCOL.md has the order of messages.
 *
 *   1. The base is complete before anything is announced; zeros of it are filled when they are told, when
 * nothing can be under way.
 *   2. A drained puller writes no page: nothing is started, every path is closed, none is admitted. Only then
 * it says what is missing, and only behind that DRAINED.
 *   3. A helper that is lost, or has not come in time, takes what only it had from the list of what can be
 * read, and nothing else.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "puller_internal.h"

#define DRAIN_NS 500000000ull
#define LEFT_NS 50000000ull
#define ASKS_AT_ONCE 16u

static int malformed(struct wt_error *err, const char *what)
{
	return wt_error_set(
		err, EPROTO, "the server's message on %s is malformed, or comes at the wrong time", what);
}

/* ---- base ---- */

static int fill_zeros(
	struct wt_puller *p, const struct wt_extent *range, const uint64_t *words, struct wt_error *err)
{
	uint32_t page = 0;
	int r = 0;

	while (!r && page < range->pages) {
		struct wt_extent run = { .block = range->block, .page = range->page + page };
		uint64_t bits = words ? words[page / 64] >> (page % 64) : ~0ull;
		uint32_t room = words ? 64 - page % 64 : range->pages;

		if (!bits) {
			page += room;
			continue;
		}
		if (words) {
			page += (uint32_t)__builtin_ctzll(bits);
			bits = ~(words[page / 64] >> (page % 64));
			run.page = range->page + page;
			room = 64 - page % 64;
			if (bits && (uint32_t)__builtin_ctzll(bits) < room)
				room = (uint32_t)__builtin_ctzll(bits);
		}
		run.pages = range->pages - page < room ? range->pages - page : room;
		page += run.pages;
		r = wt_mover_zero(p->mover, &run, err);
	}
	return r;
}

static bool in_block(const struct wt_puller *p, const struct wt_extent *e)
{
	uint64_t pages = e->block < p->blocks ? p->list[e->block].length >> WT_PAGE_SHIFT : 0;

	return e->page < pages && e->pages && e->pages <= pages - e->page;
}

static int take_base(struct wt_puller *p, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_wire_base base;
	const uint64_t *words = p->words;

	if (wt_wire_base_decode(payload, length, &base, p->words) || p->base ||
		!in_block(p, &base.pages.extent))
		return malformed(err, "its base");
	if (base.pages.all)
		words = NULL;
	if (base.kind == WT_WIRE_BASE_ZERO)
		return wt_puller_next_seq(p) == 1 ? fill_zeros(p, &base.pages.extent, words, err)
						  : malformed(err, "its base");
	if (base.kind == WT_WIRE_BASE_NEED ? wt_puller_need(p, &base.pages.extent, words)
					   : wt_puller_has(p, base.server, &base.pages.extent, words))
		return malformed(err, "its base");
	return 0;
}

static int take_base_end(struct wt_puller *p, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_wire_base_end end;

	if (wt_wire_base_end_decode(payload, length, &end) ||
		wt_puller_base_end(p, (enum wt_base_policy)end.policy))
		return malformed(err, "the end of its base");
	wt_puller_rate_limit(p, 0, end.rate_limit);
	return 0;
}

int wt_puller_need(struct wt_puller *p, const struct wt_extent *range, const uint64_t *words)
{
	if (!p->started)
		return -EPROTO;
	p->was_idle = false;
	return wt_plan_need(wt_mover_plan(p->mover), range, words);
}

int wt_puller_has(struct wt_puller *p, unsigned number, const struct wt_extent *range, const uint64_t *words)
{
	return p->started ? wt_plan_has(wt_mover_plan(p->mover), number, range, words) : -EPROTO;
}

/* Nobody waits for a helper longer than for a lost connection: what it has may be pulled from elsewhere. */
static void helpers_due(void *arg, uint64_t now_ns)
{
	struct wt_puller *p = arg;
	struct wt_error err = { 0 };

	wt_error_set(&err, ETIMEDOUT, "it did not come");
	for (unsigned number = 1; !p->failed && number < WT_PLAN_SERVERS; number++) {
		struct puller_server *s = &p->servers[number];

		if (s->link.session)
			continue;
		if (s->expected)
			wt_puller_helper_lost(s, &err);
		else
			wt_mover_server_remove(p->mover, number);
	}
}

int wt_puller_base_end(struct wt_puller *p, enum wt_base_policy policy)
{
	int r = p->started ? wt_plan_base_end(wt_mover_plan(p->mover), (enum wt_plan_policy)policy) : -EPROTO;

	if (!r) {
		p->base = true;
		p->left_told = UINT64_MAX;
		wt_loop_timer_set(
			p->loop, &p->helpers, wt_loop_now_ns(p->loop) + p->config.give_up_ns, helpers_due, p);
	}
	return r;
}

uint64_t wt_puller_base_left(const struct wt_puller *p)
{
	return p->started ? wt_plan_base_left(wt_mover_plan(p->mover)) : 0;
}

void wt_puller_rate_limit(struct wt_puller *p, unsigned number, uint64_t bytes_per_s)
{
	if (p->started)
		wt_plan_limit(wt_mover_plan(p->mover), number, bytes_per_s, wt_loop_now_ns(p->loop));
}

static int take_ahead(struct wt_puller *p, const uint8_t *payload, size_t length, struct wt_error *err)
{
	uint64_t pages;

	if (wt_wire_base_left_decode(payload, length, &pages) || !p->started)
		return malformed(err, "what it will announce");
	wt_plan_ahead(wt_mover_plan(p->mover), pages);
	return 0;
}

/* ---- helpers ---- */

void wt_puller_tell_helper(struct wt_puller *p, unsigned number, enum wt_helper_state state, const char *text)
{
	struct wt_wire_helper helper = { .server = (uint8_t)number,
		.state = (enum wt_wire_helper_state)state };

	if (!p->servers[0].link.session || p->servers[0].link.failed)
		return;
	snprintf(helper.text, sizeof helper.text, "%s", text);
	wt_link_must_send(&p->servers[0].link, WT_MESSAGE_HELPER, p->payload,
		wt_wire_helper_encode(&helper, p->payload));
}

int wt_puller_expect(struct wt_puller *p, unsigned number,
	const uint8_t session_id[WT_SERVER_SESSION_ID_BYTES], const char *label)
{
	struct puller_server *s;

	if (!number || number >= WT_PLAN_SERVERS)
		return -EINVAL;
	s = &p->servers[number];
	if (s->link.session || wt_puller_is_replica(s))
		return -EEXIST;
	s->expected = true;
	memcpy(s->id, session_id, sizeof s->id);
	snprintf(s->label, sizeof s->label, "%s", label);
	return 0;
}

/* A helper has what is right, and its number is the server's choice. */
static void give_way(struct wt_puller *p, unsigned number)
{
	struct wt_error why = { 0 };

	if (number >= WT_PLAN_SERVERS || !wt_puller_is_replica(&p->servers[number]))
		return;
	wt_error_set(&why, EEXIST, "its place is needed for a destination that was left");
	wt_puller_replica_gone(&p->servers[number], &why);
}

static int take_expect(struct wt_puller *p, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_wire_expected expected = { .port = p->port };
	struct wt_wire_expect expect;

	if (wt_wire_expect_decode(payload, length, &expect))
		return malformed(err, "a helper");
	if (expect.replica && !p->started && !p->replica_expect.server) {
		p->replica_expect = expect; /* its time is BLOCKS_END */
		return 0;
	}
	if (p->started && !expect.replica)
		give_way(p, expect.server);
	if (expect.replica || !p->started ||
		wt_puller_expect(p, expect.server, expect.session_id, expect.label))
		return malformed(err, "a helper");
	expected.server = expect.server;
	wt_link_must_send(&p->servers[0].link, WT_MESSAGE_EXPECTED, p->payload,
		wt_wire_expected_encode(&expected, p->payload));
	return 0;
}

void wt_puller_helper_joined(struct puller_server *s)
{
	struct wt_puller *p = s->puller;

	wt_puller_tell_helper(p, s->number, WT_HELPER_JOINED, s->label);
	if (p->events->helper_joined)
		p->events->helper_joined(p->arg, s->number, s->label);
}

/* It is of no use any more; its number is free. */
static void lose(struct puller_server *s, const struct wt_error *err)
{
	struct wt_puller *p = s->puller;
	unsigned number = s->number;
	char label[sizeof s->label];

	snprintf(label, sizeof label, "%s", s->label[0] ? s->label : "a helper");
	wt_mover_server_remove(p->mover, number);
	wt_link_close(&s->link);
	wt_puller_server_init(p, number);
	if (p->events->helper_lost)
		p->events->helper_lost(p->arg, number, label, err);
}

void wt_puller_helper_lost(struct puller_server *s, const struct wt_error *err)
{
	struct wt_error why = *err; /* it may lie in the server, which is emptied */

	if (wt_puller_is_replica(s)) {
		wt_puller_replica_gone(s, &why);
		return;
	}
	wt_puller_tell_helper(s->puller, s->number, WT_HELPER_LOST, wt_error_text(&why));
	lose(s, &why);
}

/* One that was said to have pages, and does not come. */
static int take_no_helper(struct wt_puller *p, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_wire_helper helper;
	struct wt_error why = { 0 };

	if (wt_wire_helper_decode(payload, length, &helper) || helper.state == WT_WIRE_HELPER_JOINED ||
		!p->started)
		return malformed(err, "a helper that does not come");
	if (p->servers[helper.server].link.session)
		return 0; /* its own session says what becomes of it */
	wt_error_set(&why, EHOSTUNREACH, "%s", helper.text);
	if (wt_puller_is_replica(&p->servers[helper.server]))
		wt_puller_replica_gone(&p->servers[helper.server], &why);
	else
		lose(&p->servers[helper.server], &why);
	return 0;
}

/* ---- we are left ---- */

static void drain_due(void *arg, uint64_t now_ns)
{
}

static int take_drain(struct wt_puller *p, const uint8_t *payload, size_t length, struct wt_error *err)
{
	uint32_t epoch;

	if (wt_wire_epoch_decode(payload, length, &epoch) || !p->started ||
		(epoch && (p->phase != PULLER_PULLING || epoch != p->epoch + 1)) ||
		(!epoch && p->phase == PULLER_PULLING))
		return malformed(err, "leaving this puller");
	if (epoch) {
		p->epoch = epoch;
		p->phase = PULLER_DRAINING;
		p->drain_until_ns = wt_loop_now_ns(p->loop) + DRAIN_NS;
		wt_loop_timer_set(p->loop, &p->drain, p->drain_until_ns, drain_due, p);
		wt_plan_drain(wt_mover_plan(p->mover));
		return wt_puller_admit_data(p, false);
	}
	p->phase = PULLER_PULLING;
	wt_plan_undrain(wt_mover_plan(p->mover));
	if (wt_puller_admit_data(p, true))
		return wt_error_set(err, ENOMEM, "no memory to take in data connections");
	if (p->events->undrained)
		p->events->undrained(p->arg);
	return 0;
}

/* Those of before: they serve others now, and may come again under other numbers. */
static void forget_helpers(struct wt_puller *p)
{
	for (unsigned number = 1; number < WT_PLAN_SERVERS; number++) {
		wt_link_close(&p->servers[number].link);
		wt_puller_server_init(p, number);
	}
}

static int take_restart(struct wt_puller *p, const uint8_t *payload, size_t length, struct wt_error *err)
{
	uint32_t epoch;

	if (wt_wire_epoch_decode(payload, length, &epoch) || p->phase != PULLER_DRAINED || epoch != p->epoch)
		return malformed(err, "beginning anew");
	wt_puller_replica_end(p); /* the server does not digest any more */
	if (wt_mover_restart(p->mover))
		return wt_error_set(err, ENOMEM, "no memory for page maps");
	wt_loop_timer_clear(p->loop, &p->helpers);
	forget_helpers(p);
	if (wt_puller_admit_data(p, true))
		return wt_error_set(err, ENOMEM, "no memory to take in data connections");
	p->phase = PULLER_PULLING;
	p->ack_count = 0;
	p->base = false;
	p->was_idle = true;
	if (p->events->restarted)
		p->events->restarted(p->arg);
	return 0;
}

/* The next piece of what is missing; 0, or -EAGAIN: the session is full. */
static int tell_missing(struct wt_puller *p)
{
	uint64_t left = (p->list[p->missing_block].length >> WT_PAGE_SHIFT) - p->missing_page, any = 0;
	struct wt_wire_pages pages = { .extent = { .block = p->missing_block, .page = p->missing_page } };
	int r = 0;

	pages.extent.pages = left < WT_WIRE_PAGES_MAX ? (uint32_t)left : WT_WIRE_PAGES_MAX;
	wt_plan_missing(
		wt_mover_plan(p->mover), p->missing_block, p->missing_page, pages.extent.pages, p->words);
	for (uint32_t i = 0; i < (pages.extent.pages + 63) / 64; i++)
		any |= p->words[i];
	if (any)
		r = wt_link_send(&p->servers[0].link, WT_MESSAGE_MISSING, p->payload,
			wt_wire_missing_encode(&pages, p->words, p->payload));
	if (r)
		return r;
	p->missing_page += pages.extent.pages;
	if (p->missing_page == p->list[p->missing_block].length >> WT_PAGE_SHIFT) {
		p->missing_block++;
		p->missing_page = 0;
	}
	return 0;
}

static void drain_turn(struct wt_puller *p, uint64_t now_ns)
{
	struct wt_plan *plan = wt_mover_plan(p->mover);

	if (p->phase == PULLER_DRAINING && (wt_plan_drained(plan) || now_ns >= p->drain_until_ns)) {
		wt_mover_stop(p->mover);
		wt_puller_replica_pause(p);
		p->missing_block = 0;
		p->missing_page = 0;
		p->phase = PULLER_TELLING;
	}
	if (p->phase != PULLER_TELLING || p->ack_count || wt_plan_acks_left(plan))
		return; /* what has landed goes first */
	while (p->missing_block < p->blocks)
		if (tell_missing(p))
			return;
	if (wt_link_send(&p->servers[0].link, WT_MESSAGE_DRAINED, p->payload,
		    wt_wire_epoch_encode(p->epoch, p->payload)))
		return;
	p->phase = PULLER_DRAINED;
	if (p->events->drained)
		p->events->drained(p->arg);
}

/* ---- orders to a drained puller ---- */

static int take_serve(struct wt_puller *p, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_wire_serve serve;
	struct wt_server_order order;

	if (wt_wire_serve_decode(payload, length, &serve) || p->phase != PULLER_DRAINED ||
		serve.epoch != p->epoch)
		return malformed(err, "serving another destination");
	order = (struct wt_server_order){
		.host = serve.host, .port = serve.port, .name = serve.name, .number = serve.server
	};
	memcpy(order.session_id, serve.session_id, sizeof order.session_id);
	if (serve.replica)
		order.digest_key = serve.key;
	if (p->events->serve)
		p->events->serve(p->arg, &order);
	else
		wt_puller_tell_helper(p, serve.server, WT_HELPER_UNREACHABLE, "this puller cannot serve");
	return 0;
}

static int take_serve_end(struct wt_puller *p, const uint8_t *payload, size_t length, struct wt_error *err)
{
	uint8_t number;

	if (wt_wire_serve_end_decode(payload, length, &number) || p->phase != PULLER_DRAINED)
		return malformed(err, "the end of serving");
	if (p->events->serve_end)
		p->events->serve_end(p->arg, number);
	return 0;
}

static int take_release(struct wt_puller *p, size_t length, struct wt_error *err)
{
	if (length || p->phase != PULLER_DRAINED)
		return malformed(err, "releasing this puller");
	if (p->events->release)
		p->events->release(p->arg);
	return 0;
}

int wt_puller_retarget_message(
	struct wt_puller *p, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err)
{
	switch (type) {
	case WT_MESSAGE_BASE:
		return take_base(p, payload, length, err);
	case WT_MESSAGE_BASE_END:
		return take_base_end(p, payload, length, err);
	case WT_MESSAGE_AHEAD:
		return take_ahead(p, payload, length, err);
	case WT_MESSAGE_EXPECT:
		return take_expect(p, payload, length, err);
	case WT_MESSAGE_HELPER:
		return take_no_helper(p, payload, length, err);
	case WT_MESSAGE_DRAIN:
		return take_drain(p, payload, length, err);
	case WT_MESSAGE_RESTART:
		return take_restart(p, payload, length, err);
	case WT_MESSAGE_SERVE:
		return take_serve(p, payload, length, err);
	case WT_MESSAGE_SERVE_END:
		return take_serve_end(p, payload, length, err);
	case WT_MESSAGE_RELEASE:
		return take_release(p, length, err);
	default:
		return wt_error_set(err, EPROTO, "the server sent a message of unknown type %u", type);
	}
}

/* ---- in each turn ---- */

static void tell_left(struct wt_puller *p, uint64_t now_ns)
{
	uint64_t left = wt_puller_base_left(p);

	if (!p->base || p->phase != PULLER_PULLING || left == p->left_told ||
		(left && now_ns - p->left_told_ns < LEFT_NS))
		return;
	if (wt_link_send(&p->servers[0].link, WT_MESSAGE_BASE_LEFT, p->payload,
		    wt_wire_base_left_encode(left, p->payload)))
		return;
	p->left_told = left;
	p->left_told_ns = now_ns;
}

/* What no path can read at server 0 it shall announce. */
static void ask(struct wt_puller *p)
{
	struct wt_extent list[ASKS_AT_ONCE];
	unsigned count = 0;

	while (count < ASKS_AT_ONCE && wt_mover_ask(p->mover, &list[count]))
		count++;
	if (count)
		wt_link_must_send(&p->servers[0].link, WT_MESSAGE_WANT, p->payload,
			wt_wire_want_encode(WT_PRIORITY_BULK, list, count, p->payload));
}

void wt_puller_retarget_turn(struct wt_puller *p, uint64_t now_ns)
{
	drain_turn(p, now_ns);
	tell_left(p, now_ns);
	ask(p);
}

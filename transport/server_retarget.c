/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server_retarget.c - the server's half of a change of the puller: drain, what is pending then,
 * helpers, and what a puller asks for. See server.h; docs/PROTOCOL.md has the order of messages. Base is in
 * server_base.c.
 *
 *   1. From wt_server_drain on nothing is announced to this puller, until it begins anew.
 *   2. `runs` are the pages whose last announcement was pending when the puller was left, each page once:
 *      they are neither what the puller has nor base, and are announced again to the next one. What a later
 *      announcement of the same page said counts, landed or not.
 *   3. A drained puller has what was announced and is not zero, without `runs` and without what it lacks by
 *      its own word.
 *
 * The loop's thread.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server_internal.h"

_Static_assert(WT_SERVERS_MAX == WT_WIRE_SERVERS && WT_FORMERS_MAX == WT_SERVERS_MAX - 1, "helpers");
_Static_assert(WT_SERVER_SESSION_ID_BYTES == WT_SESSION_ID_BYTES, "session id");
_Static_assert((int)WT_HELPER_JOINED == WT_WIRE_HELPER_JOINED && (int)WT_HELPER_LOST == WT_WIRE_HELPER_LOST &&
		       (int)WT_HELPER_UNREACHABLE == WT_WIRE_HELPER_UNREACHABLE,
	"states of a helper");

/* ---- what was pending ---- */

static int add_run(struct wt_server *s, const struct wt_announcement *what, uint64_t from, uint64_t to)
{
	struct wt_pending_run *run;

	if (s->run_count == s->run_room) {
		unsigned room = s->run_room ? 2 * s->run_room : 64;
		struct wt_pending_run *runs = reallocarray(s->runs, room, sizeof *runs);

		if (!runs)
			return -ENOMEM;
		s->runs = runs;
		s->run_room = room;
	}
	run = &s->runs[s->run_count++];
	*run = (struct wt_pending_run){
		.extent = { .block = what->extent.block, .page = from, .pages = (uint32_t)(to - from) },
		.content = what->content,
		.staged_offset = what->staged_offset + ((from - what->extent.page) << WT_PAGE_SHIFT),
	};
	return 0;
}

/* The pages of one announcement of which none behind it speaks. */
static int add_unseen(struct wt_server *s, const struct wt_announcement *what, struct wt_bitmap *seen)
{
	uint64_t page = what->extent.page, end = page + what->extent.pages;
	int r = 0;

	while (!r && page < end) {
		uint64_t from = wt_bitmap_next_clear(seen, page, end);

		page = wt_bitmap_next_set(seen, from, end);
		if (from < end)
			r = add_run(s, what, from, page);
	}
	return r;
}

static void runs_free(struct wt_server *s)
{
	free(s->runs);
	s->runs = NULL;
	s->run_count = s->run_room = 0;
}

/* What waits to be announced again. */
static int collect_deferred(struct wt_server *s, struct wt_bitmap *seen)
{
	struct wt_announcement what = { .content = WT_CONTENT_IN_PLACE };
	int r = 0;

	while (!r && wt_server_deferred(s) && wt_server_deferred_next(s, &what.extent)) {
		r = add_run(s, &what, what.extent.page, what.extent.page + what.extent.pages);
		wt_bitmap_set(&seen[what.extent.block], what.extent.page, what.extent.pages);
	}
	return r;
}

/* From the newest announcement to the oldest that is pending; what is older has landed. */
static int collect_runs(struct wt_server *s)
{
	struct wt_bitmap *seen = wt_memory_maps_open(s->memory);
	uint64_t oldest = wt_announce_oldest(s->log), seq = wt_announce_next_seq(s->log);
	int r = seen ? 0 : -ENOMEM;

	runs_free(s);
	if (!r)
		r = collect_deferred(s, seen);
	while (!r && seq-- > oldest) {
		struct wt_announcement what;
		bool pending = wt_announce_entry(s->log, seq, &what);
		struct wt_bitmap *map = &seen[what.extent.block];

		if (pending)
			r = add_unseen(s, &what, map);
		wt_bitmap_set(map, what.extent.page, what.extent.pages);
	}
	wt_memory_maps_close(s->memory, seen);
	return r;
}

/* ---- drain ---- */

static void forget_wants(struct wt_server *s)
{
	wt_memory_maps_close(s->memory, s->wanted);
	s->wanted = NULL;
	s->wanted_pages = 0;
}

static void stop_serving(struct wt_server *s)
{
	wt_rails_close(s->rails);
	s->rails = NULL;
	wt_server_digest_stop(s);
	s->batch_count = 0; /* what was not sent is pending like what was */
	forget_wants(s);
}

int wt_server_drain(struct wt_server *s)
{
	size_t length;
	int r;

	if (s->config.passive || s->phase != WT_SERVER_SERVING || !s->peer_known)
		return -EINVAL;
	if (s->base)
		return -EAGAIN;
	r = wt_server_defer_end(s);
	if (!r)
		r = wt_server_batch_flush(s);
	if (r)
		return r;
	r = wt_memory_former_add(s->memory);
	if (r < 0)
		return r;
	wt_memory_former_remove(s->memory, s->former);
	s->former = r;
	s->phase = WT_SERVER_DRAINING;
	forget_wants(s);
	wt_rails_pause(s->rails, true);
	length = wt_wire_epoch_encode(++s->epoch, s->payload);
	wt_link_must_send(&s->link, WT_MESSAGE_DRAIN, s->payload, length);
	return 0;
}

void wt_server_undrain(struct wt_server *s)
{
	if (s->phase != WT_SERVER_DRAINING)
		return;
	wt_memory_former_remove(s->memory, s->former);
	s->former = -1;
	s->phase = WT_SERVER_SERVING;
	wt_rails_pause(s->rails, false);
	wt_link_must_send(&s->link, WT_MESSAGE_DRAIN, s->payload, wt_wire_epoch_encode(0, s->payload));
}

int wt_server_leave(struct wt_server *s)
{
	int r = 0;

	if (s->config.passive || !s->log)
		return -EINVAL;
	if (s->phase != WT_SERVER_DRAINED)
		r = collect_runs(s);
	if (r)
		return r;
	wt_server_defer_close(s);
	wt_server_base_stop(s);
	stop_serving(s);
	wt_memory_former_remove(s->memory, s->former);
	s->former = -1;
	s->phase = WT_SERVER_LEFT;
	return 0;
}

static int take_missing(struct wt_server *s, const uint8_t *payload, size_t length, struct wt_error *err)
{
	uint64_t *words = malloc(WT_WIRE_WORDS_MAX * sizeof *words);
	struct wt_wire_pages pages;
	int r = -EPROTO;

	if (!words)
		return wt_error_set(err, ENOMEM, "no memory for what the puller lacks");
	if (s->epoch && wt_wire_missing_decode(payload, length, &pages, words) == 0 &&
		wt_memory_contains(s->memory, &pages.extent))
		r = 0;
	if (!r && s->phase == WT_SERVER_DRAINING) /* otherwise it crossed our change of mind */
		wt_memory_former_lacks(s->memory, s->former, &pages.extent, pages.all ? NULL : words);
	free(words);
	return r ? wt_error_set(err, EPROTO, "the puller's message on missing pages is malformed") : 0;
}

static int take_drained(struct wt_server *s, const uint8_t *payload, size_t length, struct wt_error *err)
{
	uint32_t epoch;

	if (wt_wire_epoch_decode(payload, length, &epoch) || !epoch || epoch > s->epoch)
		return wt_error_set(err, EPROTO, "the puller has drained, and nobody told it to");
	if (epoch != s->epoch || s->phase != WT_SERVER_DRAINING)
		return 0;
	if (collect_runs(s))
		return wt_error_set(err, ENOMEM, "no memory for what is pending");
	for (unsigned i = 0; i < s->run_count; i++)
		wt_memory_former_lacks(s->memory, s->former, &s->runs[i].extent, NULL);
	stop_serving(s);
	s->phase = WT_SERVER_DRAINED;
	if (s->events->drained)
		s->events->drained(s->arg);
	return 0;
}

int wt_server_restart(struct wt_server *s, struct wt_error *err)
{
	struct wt_announce_log *log;
	int r;

	if (s->phase != WT_SERVER_DRAINED || s->link.failed)
		return wt_error_set(
			err, EINVAL, "only a puller that has drained, and is there, can begin anew");
	r = wt_announce_open(s->memory, &log);
	if (r)
		return wt_error_set(err, -r, "no memory for the announce log");
	wt_announce_close(s->log);
	s->log = log;
	wt_announce_rate_limit(log, s->config.rate_limit, wt_loop_now_ns(s->loop));
	runs_free(s);
	s->staged_next = 0;
	s->final = false;
	s->phase = WT_SERVER_SERVING;
	wt_link_must_send(
		&s->link, WT_MESSAGE_RESTART, s->payload, wt_wire_epoch_encode(s->epoch, s->payload));
	return wt_server_rails_open(s, err);
}

/* Newest first, and each page once: their order does not matter. */
int wt_server_hand_over(struct wt_server *s, struct wt_server *from)
{
	while (from->run_count) {
		struct wt_pending_run *run = &from->runs[from->run_count - 1];
		uint32_t before = run->extent.pages;
		int r;

		if (run->content == WT_CONTENT_ZERO)
			r = wt_server_announce(s, &run->extent, WT_CONTENT_ZERO);
		else if (wt_memory_block(s->memory, run->extent.block)->base)
			r = wt_server_announce(s, &run->extent, WT_CONTENT_IN_PLACE);
		else
			r = wt_server_announce_copy(s, &run->extent,
				wt_ring_bytes(from->ring) + run->staged_offset % wt_ring_length(from->ring));
		run->staged_offset += (uint64_t)(before - run->extent.pages) << WT_PAGE_SHIFT;
		if (r)
			return r;
		from->run_count--;
	}
	runs_free(from);
	wt_ring_empty(from->ring);
	return 0;
}

/* ---- helpers ---- */

static void fill_expect(
	struct wt_wire_expect *ret_expect, unsigned number, const uint8_t *session_id, const char *label)
{
	*ret_expect = (struct wt_wire_expect){ .server = (uint8_t)number };
	memcpy(ret_expect->session_id, session_id, sizeof ret_expect->session_id);
	snprintf(ret_expect->label, sizeof ret_expect->label, "%s", label);
}

void wt_server_expect(struct wt_server *s, unsigned number,
	const uint8_t session_id[WT_SERVER_SESSION_ID_BYTES], const char *label)
{
	struct wt_wire_expect expect;

	fill_expect(&expect, number, session_id, label);
	wt_link_must_send(
		&s->link, WT_MESSAGE_EXPECT, s->payload, wt_wire_expect_encode(&expect, s->payload));
}

int wt_server_expect_replica(struct wt_server *s, unsigned number,
	const uint8_t session_id[WT_SERVER_SESSION_ID_BYTES], const char *label)
{
	if (s->link.session || !number || number >= WT_SERVERS_MAX)
		return -EINVAL;
	fill_expect(&s->replica, number, session_id, label);
	s->replica.replica = true;
	return 0;
}

void wt_server_no_helper(struct wt_server *s, unsigned number, const char *why)
{
	struct wt_wire_helper helper = { .server = (uint8_t)number, .state = WT_WIRE_HELPER_LOST };

	snprintf(helper.text, sizeof helper.text, "%s", why);
	wt_link_must_send(
		&s->link, WT_MESSAGE_HELPER, s->payload, wt_wire_helper_encode(&helper, s->payload));
}

void wt_server_serve(struct wt_server *s, const struct wt_server_order *order)
{
	struct wt_wire_serve serve = {
		.port = order->port, .server = (uint8_t)order->number, .epoch = s->epoch
	};

	memcpy(serve.session_id, order->session_id, sizeof serve.session_id);
	snprintf(serve.host, sizeof serve.host, "%s", order->host);
	snprintf(serve.name, sizeof serve.name, "%s", order->name);
	serve.replica = order->digest_key != NULL;
	if (serve.replica)
		memcpy(serve.key, order->digest_key, sizeof serve.key);
	wt_link_must_send(&s->link, WT_MESSAGE_SERVE, s->payload, wt_wire_serve_encode(&serve, s->payload));
}

void wt_server_serve_end(struct wt_server *s, unsigned number)
{
	wt_link_must_send(&s->link, WT_MESSAGE_SERVE_END, s->payload,
		wt_wire_serve_end_encode((uint8_t)number, s->payload));
}

void wt_server_ahead(struct wt_server *s, uint64_t pages)
{
	if (s->phase == WT_SERVER_SERVING && s->link.session && !s->link.failed)
		wt_link_send(&s->link, WT_MESSAGE_AHEAD, s->payload,
			wt_wire_base_left_encode(pages, s->payload)); /* lost is no harm */
}

void wt_server_release(struct wt_server *s)
{
	wt_link_must_send(&s->link, WT_MESSAGE_RELEASE, NULL, 0);
}

static int take_base_left(struct wt_server *s, const uint8_t *payload, size_t length, struct wt_error *err)
{
	uint64_t pages;

	if (wt_wire_base_left_decode(payload, length, &pages))
		return wt_error_set(err, EPROTO, "the puller's message on its base is malformed");
	if (s->events->base_left)
		s->events->base_left(s->arg, pages);
	return 0;
}

static int take_expected(struct wt_server *s, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_wire_expected expected;

	if (wt_wire_expected_decode(payload, length, &expected) || !expected.port)
		return wt_error_set(err, EPROTO, "the puller's message on an expected helper is malformed");
	if (expected.replica != (expected.server == s->replica.server))
		return wt_error_set(err, EPROTO, "the puller expects what nobody told it to");
	if (expected.replica && s->events->expected_replica)
		s->events->expected_replica(s->arg, expected.server, expected.port, expected.key);
	else if (!expected.replica && s->events->expected)
		s->events->expected(s->arg, expected.server, expected.port);
	return 0;
}

static int take_helper(struct wt_server *s, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_wire_helper helper;

	if (wt_wire_helper_decode(payload, length, &helper))
		return wt_error_set(err, EPROTO, "the puller's message on a helper is malformed");
	if (s->events->helper)
		s->events->helper(s->arg, helper.server, (enum wt_helper_state)helper.state, helper.text);
	return 0;
}

/* ---- what the puller asks for ---- */

/* Adds pages to what is to be announced again; counts each once. */
static void want(struct wt_server *s, const struct wt_extent *extent)
{
	struct wt_bitmap *map = &s->wanted[extent->block];
	uint64_t page = extent->page, end = page + extent->pages;

	while (page < end) {
		uint64_t from = wt_bitmap_next_clear(map, page, end);

		page = wt_bitmap_next_set(map, from, end);
		wt_bitmap_set(map, from, page - from);
		s->wanted_pages += page - from;
	}
}

static int take_want(struct wt_server *s, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_extent list[WT_WIRE_WANTED_MAX];
	enum wt_priority priority;
	unsigned count;

	if (s->config.passive || !s->peer_known ||
		wt_wire_want_decode(payload, length, &priority, list, &count))
		return wt_error_set(err, EPROTO, "the puller's message on what it wants is malformed");
	if (s->phase != WT_SERVER_SERVING)
		return 0;
	if (!s->wanted && !(s->wanted = wt_memory_maps_open(s->memory)))
		return wt_error_set(err, ENOMEM, "no memory for what the puller wants");
	for (unsigned i = 0; i < count; i++) {
		if (!wt_memory_contains(s->memory, &list[i]))
			return wt_error_set(err, EPROTO, "the puller wants pages that no block has");
		if (!wt_memory_block(s->memory, list[i].block)->base)
			return wt_error_set(err, ENODATA,
				"page %llu of block %s is asked for, and was read from QEMU's stream only: it is not here "
				"any more",
				(unsigned long long)list[i].page,
				wt_memory_block(s->memory, list[i].block)->name);
		want(s, &list[i]);
	}
	if (priority > s->wanted_priority)
		s->wanted_priority = priority;
	wt_server_answer_wants(s);
	wt_server_flush(s);
	return 0;
}

/* One run of one block; answers whether there is room for more. */
static bool answer_run(struct wt_server *s, unsigned block, uint64_t *page)
{
	uint64_t end = wt_memory_pages(s->memory, block);
	uint64_t from = wt_bitmap_next_set(&s->wanted[block], *page, end), taken;
	uint64_t to = wt_bitmap_next_clear(&s->wanted[block], from, end);
	struct wt_extent extent = { .block = block, .page = from };
	int r;

	extent.pages = to - from < UINT32_MAX ? (uint32_t)(to - from) : UINT32_MAX;
	*page = end;
	if (!extent.pages)
		return true;
	r = wt_server_announce_extent(s, &extent, WT_CONTENT_IN_PLACE, NULL);
	taken = extent.page - from;
	wt_bitmap_clear(&s->wanted[block], from, taken);
	s->wanted_pages -= taken;
	*page = extent.page;
	return r == 0;
}

void wt_server_answer_wants(struct wt_server *s)
{
	if (!s->wanted_pages || s->phase != WT_SERVER_SERVING)
		return;
	s->priority_min = s->wanted_priority;
	for (unsigned block = 0; s->wanted_pages && block < wt_memory_block_count(s->memory); block++) {
		uint64_t page = 0;

		while (page < wt_memory_pages(s->memory, block))
			if (!answer_run(s, block, &page)) {
				s->priority_min = WT_PRIORITY_INVALID;
				return;
			}
	}
	s->priority_min = s->wanted_priority = WT_PRIORITY_INVALID;
}

int wt_server_retarget_message(
	struct wt_server *s, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err)
{
	switch (type) {
	case WT_MESSAGE_MISSING:
		return take_missing(s, payload, length, err);
	case WT_MESSAGE_DRAINED:
		return take_drained(s, payload, length, err);
	case WT_MESSAGE_BASE_LEFT:
		return take_base_left(s, payload, length, err);
	case WT_MESSAGE_EXPECTED:
		return take_expected(s, payload, length, err);
	case WT_MESSAGE_HELPER:
		return take_helper(s, payload, length, err);
	case WT_MESSAGE_WANT:
		return take_want(s, payload, length, err);
	default:
		return wt_error_set(err, EPROTO, "the puller sent a message of unknown type %u", type);
	}
}

void wt_server_retarget_stop(struct wt_server *s)
{
	wt_server_base_stop(s);
	forget_wants(s);
}

void wt_server_retarget_close(struct wt_server *s)
{
	wt_server_retarget_stop(s);
	runs_free(s);
}

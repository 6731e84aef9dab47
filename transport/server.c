/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server.c - the page server: link, announce log and rails put together. See server.h. What belongs to a
 * change of the puller is in server_retarget.c and server_base.c.
 *
 * An extent is announced IN_PLACE only if a region of the fabric in use covers it; otherwise it is
 * copied into the ring, and its place there is not written again before the announcement has landed. The
 * ring is served over every fabric, so a copy can be read whichever fabric comes next.
 *
 * Announcements are gathered in `batch` and get their numbers at once, so the order is that of the calls; a
 * batch that the session has no room for stays, and is tried again. Long extents are announced in pieces, so
 * that the bound on what is pending means something.
 */
#include <watari/server.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "path_choice.h"
#include "server_internal.h"
#include "serving.h"

#define PATHS_DEFAULT 2
#define EXTENT_PAGES_MAX 256u     /* of one announcement with content */
#define ZERO_PAGES_MAX (1u << 20) /* of one announcement of zeros */

static void link_up(void *arg, bool again);
static void link_lost(void *arg, const struct wt_error *err);
static void link_failed(void *arg, const struct wt_error *err);
static int link_message(
	void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err);

static const struct wt_link_events link_events = {
	.up = link_up, .lost = link_lost, .failed = link_failed, .message = link_message
};

int wt_server_open(struct wt_loop *loop, const struct wt_server_config *config,
	const struct wt_server_events *events, void *arg, struct wt_server **ret_server, struct wt_error *err)
{
	struct wt_server *s = calloc(1, sizeof *s);

	if (!s)
		return wt_error_set(err, ENOMEM, "no memory for a page server");
	if (strlen(config->name) > WT_SESSION_NAME_MAX) {
		free(s);
		return wt_error_set(
			err, EINVAL, "the VM's name is longer than %u bytes", WT_SESSION_NAME_MAX);
	}
	if (config->digest_key && !config->passive) {
		free(s);
		return wt_error_set(err, EINVAL, "a replica announces nothing: it is passive");
	}
	if (!config->passive && wt_ring_open(WT_LIMIT_RING_BYTES, &s->ring)) {
		free(s);
		return wt_error_set(err, ENOMEM, "no memory for a ring of %u MiB", WT_LIMIT_RING_BYTES >> 20);
	}
	s->loop = loop;
	s->config = *config;
	s->memory = config->memory;
	s->phase = WT_SERVER_SERVING;
	s->former = -1;
	s->config.fabrics = wt_path_choice(config->fabrics, config->credentials && !config->data_plain);
	if (config->passive && config->may_discard) /* over verbs nothing would be left to read */
		s->config.fabrics &= ~WT_FABRIC_BIT(WT_FABRIC_VERBS);
	if (!s->config.paths)
		s->config.paths = PATHS_DEFAULT;
	if (s->config.paths > WT_RAIL_PATHS_MAX)
		s->config.paths = WT_RAIL_PATHS_MAX;
	s->events = events;
	s->arg = arg;
	s->link = (struct wt_link){ .loop = loop,
		.events = &link_events,
		.arg = s,
		.peer = config->peer,
		.credentials = config->credentials,
		.connect_timeout_ns = config->connect_timeout_ns,
		.give_up_ns = config->give_up_ns };
	*ret_server = s;
	return 0;
}

void wt_server_close(struct wt_server *s)
{
	if (!s)
		return;
	wt_loop_timer_clear(s->loop, &s->rate);
	wt_server_digest_stop(s);
	wt_server_replica_stop(s);
	wt_server_retarget_close(s);
	wt_server_defer_close(s);
	wt_rails_close(s->rails);
	wt_link_close(&s->link);
	wt_announce_close(s->log);
	wt_ring_release(s->ring);
	wt_memory_former_remove(s->memory, s->former);
	free(s);
}

int wt_server_start(struct wt_server *s, struct wt_error *err)
{
	int r = wt_announce_open(s->memory, &s->log);

	if (r)
		return wt_error_set(err, -r, "no memory for the announce log");
	r = s->config.digest_key ? wt_server_replica_start(s, err) : 0;
	if (r)
		return r;
	wt_memory_start(s->memory);
	wt_announce_rate_limit(s->log, s->config.rate_limit, wt_loop_now_ns(s->loop));
	return wt_link_connect(&s->link, s->config.name, s->config.session_id, err);
}

/* ---- the connection ---- */

static void send_blocks(struct wt_server *s)
{
	for (unsigned i = 0; i < wt_memory_block_count(s->memory); i++) {
		const struct wt_served_block *served = wt_memory_block(s->memory, i);
		struct wt_wire_block block = { .block = i, .length = served->length };

		strcpy(block.name, served->name);
		wt_memory_id(served->fd, served->fd_offset, block.memory);
		wt_link_must_send(
			&s->link, WT_MESSAGE_BLOCK, s->payload, wt_wire_block_encode(&block, s->payload));
	}
	if (s->replica.server)
		wt_link_must_send(&s->link, WT_MESSAGE_EXPECT, s->payload,
			wt_wire_expect_encode(&s->replica, s->payload));
	wt_link_must_send(&s->link, WT_MESSAGE_BLOCKS_END, NULL, 0);
}

static void link_up(void *arg, bool again)
{
	struct wt_server *s = arg;

	if (!again)
		send_blocks(s);
	else if (s->events->back)
		s->events->back(s->arg);
}

static void link_lost(void *arg, const struct wt_error *err)
{
	struct wt_server *s = arg;

	if (s->events->lost)
		s->events->lost(s->arg, err);
}

static void link_failed(void *arg, const struct wt_error *err)
{
	struct wt_server *s = arg;

	wt_rails_stop(s->rails);
	wt_loop_timer_clear(s->loop, &s->rate);
	wt_server_retarget_stop(s);
	s->events->failed(s->arg, err);
}

static void rails_ready(void *arg)
{
	struct wt_server *s = arg;

	s->events->ready(s->arg);
}

static void rails_failed(void *arg, const struct wt_error *err)
{
	struct wt_server *s = arg;

	wt_link_fail(&s->link, err);
}

static void rails_note(void *arg, const char *text)
{
	struct wt_server *s = arg;

	if (s->events->note)
		s->events->note(s->arg, text);
}

static void rails_tick(void *arg)
{
	wt_server_answer_wants(arg);
	wt_server_flush(arg);
}

static const struct wt_rails_events rails_events = {
	.ready = rails_ready, .failed = rails_failed, .note = rails_note, .tick = rails_tick
};

int wt_server_rails_open(struct wt_server *s, struct wt_error *err)
{
	struct wt_rails_config config = { .loop = s->loop,
		.link = &s->link,
		.log = s->log,
		.memory = { .memory = s->memory, .pin = !s->config.may_discard, .ring = s->ring },
		.fabrics = s->config.fabrics,
		.paths = s->config.paths,
		.device = s->config.device,
		.peer_host = s->config.peer.host,
		.give_up_ns = s->config.give_up_ns };

	return wt_rails_open(&config, &s->peer, &rails_events, s, &s->rails, err);
}

static int peer_ready(struct wt_server *s, const uint8_t *payload, size_t length, struct wt_error *err)
{
	if (s->peer_known || wt_wire_ready_decode(payload, length, &s->peer))
		return wt_error_set(err, EPROTO, "the puller's ready message is malformed");
	s->peer_known = true;
	return s->phase == WT_SERVER_SERVING ? wt_server_rails_open(s, err) : 0;
}

static void room(struct wt_server *s)
{
	wt_server_answer_wants(s);
	wt_server_defer_room(s);
	if (s->events->room)
		s->events->room(s->arg);
}

static int landed(struct wt_server *s, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_seq_range ranges[WT_WIRE_RANGES_MAX];
	uint64_t now_ns = wt_loop_now_ns(s->loop);
	unsigned count;

	if (wt_wire_landed_decode(payload, length, ranges, &count))
		return wt_error_set(err, EPROTO, "the puller's landed message is malformed");
	for (unsigned i = 0; i < count; i++)
		if (wt_announce_landed(s->log, ranges[i].first, ranges[i].count, now_ns))
			return wt_error_set(
				err, EPROTO, "the puller acknowledges announcements that are not pending");
	room(s);
	return 0;
}

static int paths_lost(struct wt_server *s, const uint8_t *payload, size_t length, struct wt_error *err)
{
	if (!s->peer_known || length < 1 || length > 2 || payload[0] >= WT_FABRIC_COUNT)
		return wt_error_set(err, EPROTO, "the puller's message on lost paths is malformed");
	if (s->rails)
		wt_rails_lost(s->rails, (enum wt_fabric)payload[0], length == 2 ? payload[1] : WT_RAILS_ALL);
	return 0;
}

static int link_message(void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_server *s = arg;

	if (type == WT_MESSAGE_READY)
		return peer_ready(s, payload, length, err);
	if (type == WT_MESSAGE_DIGEST_KEY)
		return wt_server_digest_key(s, payload, length, err);
	if (type == WT_MESSAGE_REPLICA_ASK)
		return wt_server_replica_ask(s, payload, length, err);
	if (type == WT_MESSAGE_PATHS_LOST)
		return paths_lost(s, payload, length, err);
	if (type == WT_MESSAGE_LANDED)
		return landed(s, payload, length, err);
	if (type >= WT_MESSAGE_APPLICATION && s->events->message)
		return s->events->message(s->arg, type, payload, length, err);
	return wt_server_retarget_message(s, type, payload, length, err);
}

/* ---- announcing ---- */

int wt_server_batch_flush(struct wt_server *s)
{
	size_t length;
	int r;

	if (!s->batch_count)
		return 0;
	length = wt_wire_announce_encode(s->batch_first_seq, s->batch, s->batch_count, s->payload);
	r = wt_link_send(&s->link, WT_MESSAGE_ANNOUNCE, s->payload, length);
	if (r)
		return r;
	s->batch_count = 0;
	return 0;
}

/* A batch that the session does not take now is tried again by whatever comes next, at the latest the rails'
 * tick.
 */
void wt_server_flush(struct wt_server *s)
{
	wt_server_batch_flush(s);
	wt_server_digest_more(s);
}

static void rate_allows(void *arg, uint64_t now_ns)
{
	room(arg);
}

void wt_server_final(struct wt_server *s)
{
	s->final = true;
}

void wt_server_rate_limit(struct wt_server *s, uint64_t bytes_per_s)
{
	uint64_t now_ns = wt_loop_now_ns(s->loop);

	s->config.rate_limit = bytes_per_s;
	if (!s->log || s->link.failed)
		return;
	wt_announce_rate_limit(s->log, bytes_per_s, now_ns);
	wt_loop_timer_set(s->loop, &s->rate, now_ns, rate_allows, s);
}

/* Numbers one announcement and puts it into the batch. Its priority, and whether it is digested, are settled
 * here. */
static int announce_one(struct wt_server *s, struct wt_announcement *what)
{
	uint64_t now_ns = wt_loop_now_ns(s->loop), wait_ns, seq;
	int r;

	if (s->batch_count == WT_WIRE_ANNOUNCEMENTS_MAX && wt_server_batch_flush(s))
		return -EAGAIN;
	what->priority = wt_announce_priority(s->log, &what->extent);
	if (s->digests && !s->final && !s->warm && what->content == WT_CONTENT_IN_PLACE &&
		what->priority == WT_PRIORITY_BULK)
		what->content = WT_CONTENT_IN_PLACE_DIGESTED;
	if (s->final)
		what->priority = WT_PRIORITY_FINAL;
	if (what->priority < s->priority_min)
		what->priority = s->priority_min;
	r = wt_announce_add(s->log, what, now_ns, &seq);
	if (r)
		return r;
	wait_ns = wt_announce_wait_ns(s->log, now_ns);
	if (wait_ns)
		wt_loop_timer_set(s->loop, &s->rate, now_ns + wait_ns, rate_allows, s);
	if (!s->batch_count)
		s->batch_first_seq = seq;
	s->batch[s->batch_count++] = *what;
	if (s->batch_count == WT_WIRE_ANNOUNCEMENTS_MAX)
		wt_server_flush(s);
	return 0;
}

/* Where so many bytes may be written in the ring, counted from the session's beginning; false: no room. */
static bool ring_room(const struct wt_server *s, uint64_t bytes, uint64_t *ret_offset)
{
	uint64_t offset = s->staged_next;

	if (offset % WT_LIMIT_RING_BYTES + bytes > WT_LIMIT_RING_BYTES)
		offset += WT_LIMIT_RING_BYTES - offset % WT_LIMIT_RING_BYTES;
	*ret_offset = offset;
	return offset + bytes <= wt_announce_staged_free(s->log) + WT_LIMIT_RING_BYTES;
}

/* Whether announcements are taken at all now. */
static bool is_announcing(const struct wt_server *s)
{
	return s->phase == WT_SERVER_SERVING && !s->base && !s->config.passive;
}

static bool may_announce(const struct wt_server *s)
{
	return is_announcing(s) && wt_announce_room(s->log) &&
	       !wt_announce_wait_ns(s->log, wt_loop_now_ns(s->loop));
}

/* Copies content of the extent into the ring and announces the copy; -EAGAIN while there is no room for it.
 */
static int announce_copy(struct wt_server *s, const struct wt_extent *extent, const uint8_t *bytes)
{
	struct wt_announcement what = { .extent = *extent, .content = WT_CONTENT_STAGED };
	uint64_t length = (uint64_t)extent->pages << WT_PAGE_SHIFT;
	int r;

	if (!may_announce(s) || !ring_room(s, length, &what.staged_offset))
		return -EAGAIN;
	memcpy(wt_ring_bytes(s->ring) + what.staged_offset % WT_LIMIT_RING_BYTES, bytes, length);
	r = announce_one(s, &what);
	if (r)
		return r;
	s->staged_next = what.staged_offset + length;
	s->staged_pages += extent->pages;
	return 0;
}

/*
 * Announces the extent's first pages as one announcement; answers how many pages, or -errno. bytes: where
 * STAGED content lies.
 */
static int announce_some(
	struct wt_server *s, const struct wt_extent *extent, enum wt_content content, const uint8_t *bytes)
{
	uint32_t max = content == WT_CONTENT_ZERO ? ZERO_PAGES_MAX : EXTENT_PAGES_MAX;
	struct wt_extent part = *extent;
	const struct wt_serving *serving = wt_rails_serving(s->rails);
	uint32_t copy = 0;
	int r;

	if (!serving || !is_announcing(s))
		return -EAGAIN;
	if (part.pages > max)
		part.pages = max;
	if (content == WT_CONTENT_IN_PLACE) {
		part.pages = wt_serving_in_place(serving, &part, &copy);
		if (!part.pages) {
			part.pages = copy;
			content = WT_CONTENT_STAGED;
			bytes = wt_memory_block(s->memory, part.block)->base + (part.page << WT_PAGE_SHIFT);
		}
	}
	r = content == WT_CONTENT_STAGED
		    ? announce_copy(s, &part, bytes)
		    : announce_one(s, &(struct wt_announcement){ .extent = part, .content = content });
	if (r)
		return r;
	wt_server_defer_announced(s, &part);
	return (int)part.pages;
}

int wt_server_announce_extent(
	struct wt_server *s, struct wt_extent *extent, enum wt_content content, const uint8_t *bytes)
{
	if (s->config.passive || !wt_memory_contains(s->memory, extent))
		return -EINVAL;
	while (extent->pages) {
		int n = announce_some(s, extent, content, bytes);

		if (n == -EAGAIN)
			wt_server_flush(s); /* what is gathered must land before there is room again */
		if (n < 0)
			return n;
		s->announced_pages += (unsigned)n;
		if (content == WT_CONTENT_ZERO)
			s->zero_pages += (unsigned)n;
		if (content == WT_CONTENT_STAGED)
			bytes += (uint64_t)n << WT_PAGE_SHIFT;
		extent->page += (unsigned)n;
		extent->pages -= (unsigned)n;
	}
	return 0;
}

int wt_server_announce(struct wt_server *s, struct wt_extent *extent, enum wt_content content)
{
	if (content != WT_CONTENT_IN_PLACE && content != WT_CONTENT_ZERO)
		return -EINVAL;
	if (content == WT_CONTENT_IN_PLACE && extent->block < wt_memory_block_count(s->memory) &&
		!wt_memory_block(s->memory, extent->block)->base)
		return -EINVAL;
	if (content == WT_CONTENT_IN_PLACE && is_announcing(s) && wt_memory_contains(s->memory, extent) &&
		wt_server_defer_extent(s, extent))
		return 0;
	return wt_server_announce_extent(s, extent, content, NULL);
}

int wt_server_announce_copy(struct wt_server *s, struct wt_extent *extent, const uint8_t *bytes)
{
	return wt_server_announce_extent(s, extent, WT_CONTENT_STAGED, bytes);
}

bool wt_server_room(const struct wt_server *s)
{
	uint64_t offset;

	return wt_rails_serving(s->rails) && s->batch_count < WT_WIRE_ANNOUNCEMENTS_MAX && may_announce(s) &&
	       ring_room(s, (uint64_t)EXTENT_PAGES_MAX << WT_PAGE_SHIFT, &offset);
}

bool wt_server_all_landed(const struct wt_server *s)
{
	return s->log && wt_announce_oldest(s->log) == wt_announce_next_seq(s->log) && !wt_server_deferred(s);
}

int wt_server_send(struct wt_server *s, unsigned type, const void *payload, size_t length)
{
	int r;

	if (type < WT_MESSAGE_APPLICATION || type > UINT16_MAX || length > WT_WIRE_PAYLOAD_MAX ||
		!s->link.session)
		return -EINVAL;
	r = wt_server_batch_flush(s);
	return r ? r : wt_link_send(&s->link, type, payload, length);
}

size_t wt_server_unsent(const struct wt_server *s)
{
	return s->link.session ? wt_session_retained(s->link.session) : 0;
}

uint64_t wt_server_heard_ns(const struct wt_server *s)
{
	return s->link.session ? wt_session_heard_ns(s->link.session) : 0;
}

void wt_server_stats(const struct wt_server *s, struct wt_server_stats *ret_stats)
{
	*ret_stats = (struct wt_server_stats){
		.fabric = wt_rails_fabric(s->rails),
		.used = wt_rails_used(s->rails),
		.paths = wt_rails_paths(s->rails),
		.announced_pages = s->announced_pages,
		.zero_pages = s->zero_pages,
		.staged_pages = s->staged_pages,
		.base_pages = s->base_pages,
		.helper_pages = s->helper_pages,
		.wanted_pages = s->wanted_pages,
		.digests = s->digests != NULL,
		.digested_pages = s->digested_pages,
		.warm_pages = s->warm_pages,
		.deferred_pages = wt_server_deferred(s),
		.control_bytes = s->link.bytes,
	};
	if (!s->log)
		return;
	ret_stats->pending_bytes = wt_announce_pending_bytes(s->log);
	ret_stats->pending_limit = wt_announce_pending_limit(s->log);
	ret_stats->landed_seq = wt_announce_oldest(s->log) - 1;
	ret_stats->next_seq = wt_announce_next_seq(s->log);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * puller_server.c - one server as the puller sees it: its session, its blocks, its regions, its
 * announcements. See puller.h.
 *
 *   1. Only server 0 announces, and only its application is heard.
 *   2. A helper's blocks are those of server 0, number for number.
 *   3. What a helper does wrong ends its session alone; what server 0 does wrong ends everything.
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "puller_internal.h"

static int add_block(struct wt_puller *p, const struct wt_wire_block *block, struct wt_error *err)
{
	struct wt_puller_block here = { .fd = -1 };
	struct wt_sink_block sink;
	uint8_t id[WT_MEMORY_ID_BYTES];
	int r = p->events->block(p->arg, block->name, block->length, &here, err);

	if (r)
		return r;
	wt_memory_id(here.fd, here.fd_offset, id);
	if (wt_memory_id_same(id, block->memory))
		return wt_error_set(err, EINVAL,
			"block %s is the same memory at the source; give the destination memory of its own",
			block->name);
	sink = (struct wt_sink_block){
		.base = here.base, .length = block->length, .fd = here.fd, .fd_offset = here.fd_offset
	};
	strcpy(sink.name, block->name);
	p->list[p->blocks].length = block->length;
	strcpy(p->list[p->blocks].name, block->name);
	p->blocks++;
	r = wt_mover_block_add(p->mover, &sink);
	return r ? wt_error_set(err, -r, "no memory for block %s", block->name) : 0;
}

static int take_block(struct puller_server *s, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_puller *p = s->puller;
	struct wt_wire_block block;

	if (s->ready || wt_wire_block_decode(payload, length, &block) || block.block != s->blocks ||
		s->blocks == WT_BLOCKS_MAX)
		return wt_error_set(err, EPROTO, "the server's list of blocks is malformed");
	s->blocks++;
	if (!s->number)
		return add_block(p, &block, err);
	if (block.block >= p->blocks || block.length != p->list[block.block].length ||
		strcmp(block.name, p->list[block.block].name) != 0)
		return wt_error_set(err, EINVAL,
			"its block %s of %llu bytes is not block %u of the source; it has another guest's memory",
			block.name, (unsigned long long)block.length, block.block);
	return 0;
}

static int take_blocks_end(struct puller_server *s, struct wt_error *err)
{
	struct wt_puller *p = s->puller;
	struct wt_wire_ready ready;
	int r = 0;

	if (s->ready)
		return wt_error_set(err, EPROTO, "the server listed its blocks twice");
	if (s->blocks != p->blocks)
		return wt_error_set(err, EINVAL,
			"it has %u blocks and the source has %u; it has another guest's memory", s->blocks,
			p->blocks);
	if (!s->number) {
		r = wt_mover_start(p->mover);
		if (r)
			return wt_error_set(err, -r, "no memory for page maps");
		p->started = p->was_idle = true;
		r = p->events->blocks_end ? p->events->blocks_end(p->arg, err) : 0;
		if (!r)
			wt_puller_replica_expected(p);
		if (!r)
			r = wt_puller_listen_data(p, err);
	} else if (!wt_puller_is_replica(s) && wt_plan_server_add(wt_mover_plan(p->mover), s->number)) {
		r = wt_error_set(err, ENOMEM, "no memory for page maps");
	}
	if (r)
		return r;
	s->ready = true;
	ready = p->data;
	memcpy(ready.token, s->token, sizeof ready.token);
	r = wt_link_send(&s->link, WT_MESSAGE_READY, p->payload, wt_wire_ready_encode(&ready, p->payload));
	if (!r && wt_puller_is_replica(s))
		wt_puller_replica_joined(s);
	else if (!r && s->number)
		wt_puller_helper_joined(s);
	return r;
}

static int take_announce(struct wt_puller *p, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_announcement list[WT_WIRE_ANNOUNCEMENTS_MAX];
	uint64_t seq;
	unsigned count;

	if (!p->started || wt_wire_announce_decode(payload, length, &seq, list, &count))
		return wt_error_set(err, EPROTO, "the server's announcement is malformed");
	for (unsigned i = 0; i < count; i++) {
		if ((list[i].content == WT_CONTENT_IN_PLACE_DIGESTED && !p->replica) ||
			wt_plan_announce(wt_mover_plan(p->mover), seq + i, &list[i]))
			return wt_error_set(err, EPROTO,
				"the server announced what is not in any block, or out of order");
		if (list[i].content != WT_CONTENT_ZERO && list[i].priority == WT_PRIORITY_BULK &&
			!(list[i].content == WT_CONTENT_IN_PLACE_DIGESTED && wt_puller_in_place(p)))
			wt_mover_expect(p->mover, &list[i].extent);
	}
	p->was_idle = false;
	return 0;
}

/* The reader of a replica that was given up is gone: what it says until its session ends means nothing. */
static int take_regions_clear(
	struct puller_server *s, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_puller *p = s->puller;

	if (length != 1 || payload[0] >= WT_FABRIC_COUNT || !p->started)
		return wt_error_set(err, EPROTO, "the server's message on regions is malformed");
	if (!wt_puller_is_replica(s))
		wt_mover_regions_clear(p->mover, s->number, (enum wt_fabric)payload[0]);
	else
		wt_puller_replica_regions_clear(p, (enum wt_fabric)payload[0]);
	return 0;
}

static int take_region(struct puller_server *s, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_puller *p = s->puller;
	struct wt_wire_region region;

	if (!s->ready || wt_wire_region_decode(payload, length, &region) ||
		(wt_puller_is_replica(s) ? wt_puller_replica_region_add(p, &region)
					 : wt_mover_region_add(p->mover, s->number, &region)))
		return wt_error_set(err, EPROTO, "the server's region lies in no block");
	return 0;
}

static int message(void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct puller_server *s = arg;
	struct wt_puller *p = s->puller;

	switch (type) {
	case WT_MESSAGE_BLOCK:
		return take_block(s, payload, length, err);
	case WT_MESSAGE_BLOCKS_END:
		return take_blocks_end(s, err);
	case WT_MESSAGE_REGIONS_CLEAR:
		return take_regions_clear(s, payload, length, err);
	case WT_MESSAGE_REGION:
		return take_region(s, payload, length, err);
	default:
		break;
	}
	if (type == WT_MESSAGE_REPLICA_ANSWER && wt_puller_is_replica(s))
		return wt_puller_replica_answer(s, payload, length, err);
	if (s->number)
		return wt_error_set(
			err, EPROTO, "a helper sent a message of type %u, which is not its business", type);
	if (type == WT_MESSAGE_ANNOUNCE)
		return take_announce(p, payload, length, err);
	if (type == WT_MESSAGE_DIGESTS)
		return wt_puller_digests(p, payload, length, err);
	if (type < WT_MESSAGE_APPLICATION)
		return wt_puller_retarget_message(p, type, payload, length, err);
	if (!p->events->message)
		return wt_error_set(err, EPROTO, "the server sent a message of unknown type %u", type);
	return p->events->message(p->arg, type, payload, length, err);
}

static void up(void *arg, bool again)
{
	struct puller_server *s = arg;
	struct wt_puller *p = s->puller;

	if (s->number)
		return;
	if (again && p->events->back)
		p->events->back(p->arg);
	else if (!again && p->events->connected)
		p->events->connected(p->arg, s->link.channel ? wt_channel_peer(s->link.channel) : "");
}

static void lost(void *arg, const struct wt_error *err)
{
	struct puller_server *s = arg;

	if (!s->number && s->puller->events->lost)
		s->puller->events->lost(s->puller->arg, err);
}

static void failed(void *arg, const struct wt_error *err)
{
	struct puller_server *s = arg;
	struct wt_puller *p = s->puller;

	if (s->number) {
		wt_puller_helper_lost(s, err);
		return;
	}
	p->failed = true;
	wt_mover_stop(p->mover);
	for (unsigned i = 1; i < WT_PLAN_SERVERS; i++)
		if (p->servers[i].link.session)
			wt_link_fail(&p->servers[i].link, err);
	p->events->failed(p->arg, err);
}

static const struct wt_link_events link_events = {
	.up = up, .lost = lost, .failed = failed, .message = message
};

void wt_puller_server_init(struct wt_puller *p, unsigned number)
{
	struct puller_server *s = &p->servers[number];

	*s = (struct puller_server){ .puller = p, .number = number };
	s->link = (struct wt_link){
		.loop = p->loop, .events = &link_events, .arg = s, .give_up_ns = p->config.give_up_ns
	};
}

void wt_puller_server_accept(struct puller_server *s, struct wt_channel *channel,
	const struct wt_hello *hello, const uint8_t *rest, size_t rest_length)
{
	struct wt_error err = { 0 };

	if (!s->link.session && getrandom(s->token, sizeof s->token, 0) != sizeof s->token) {
		wt_error_set(&err, EIO, "no random numbers from the kernel");
		wt_channel_close(channel);
		wt_puller_refused(s->puller, &err);
		return;
	}
	wt_link_accept(&s->link, channel, hello, rest, rest_length, &err);
}

/* The serving end of a path that broke may never see it: nothing of its own is on the way. */
void wt_puller_tell_lost(struct wt_puller *p)
{
	for (unsigned server = 0; server < WT_PLAN_SERVERS; server++) {
		struct puller_server *s = &p->servers[server];
		struct wt_lost lost = { 0 };

		if (wt_puller_is_replica(s))
			lost.fabrics = wt_puller_replica_lost_fabrics(p);
		else
			wt_mover_lost(p->mover, server, &lost);
		for (unsigned i = 0; s->ready && i < FABRIC_COUNT; i++) {
			uint8_t payload[2] = { (uint8_t)wt_puller_fabrics[i] };

			if (lost.fabrics & WT_FABRIC_BIT(payload[0])) {
				wt_link_must_send(&s->link, WT_MESSAGE_PATHS_LOST, payload, 1);
				continue;
			}
			for (; payload[1] < WT_WIRE_LISTENERS_MAX; payload[1]++)
				if (lost.listeners[payload[0]] >> payload[1] & 1)
					wt_link_must_send(&s->link, WT_MESSAGE_PATHS_LOST, payload, 2);
		}
	}
}

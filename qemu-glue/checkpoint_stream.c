/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * checkpoint_stream.c - QEMU's stream on its way into a checkpoint: what it announces is written from guest
 * RAM, and what is beside it is device state. See checkpoint.c.
 *
 *   1. All blocks are mapped here: nothing is staged.
 *   2. Every block that is written was named by the stream.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "checkpoint_internal.h"
#include "relay_peer.h"

static int stream_block(void *arg, const char *name, uint64_t length, int *ret_number,
	const uint8_t **ret_base, struct wt_error *err)
{
	struct wt_checkpoint *c = arg;
	const struct wt_ram_block *const *blocks = wt_checkpoint_blocks(c->files);

	for (int i = 0; blocks[i]; i++) {
		if (strcmp(blocks[i]->name, name) != 0)
			continue;
		if (length != blocks[i]->length)
			return wt_error_set(err, EPROTO,
				"block %s has %" PRIu64 " bytes in QEMU's stream and %" PRIu64
				" in its monitor; RAM was changed, try again",
				name, length, blocks[i]->length);
		*ret_number = i;
		*ret_base = blocks[i]->base;
		c->in_stream[i] = true;
	}
	return 0;
}

/* What the stream never names would be written as zeros. */
static int stream_blocks_end(void *arg, struct wt_error *err)
{
	const struct wt_checkpoint *c = arg;
	const struct wt_ram_block *const *blocks = wt_checkpoint_blocks(c->files);

	for (int i = 0; blocks[i]; i++)
		if (!c->in_stream[i])
			return wt_error_set(err, EPROTO,
				"block %s is in QEMU's monitor and not in its stream, so what is in it would be lost; remove the "
				"memory that no device uses, or try again",
				blocks[i]->name);
	return 0;
}

static void stream_guest_stopped(void *arg)
{
	struct wt_checkpoint *c = arg;

	if (c->state != WT_CHECKPOINT_STREAMING)
		return;
	c->running = c->facts.guest_running;
	wt_checkpoint_go(c, WT_CHECKPOINT_STOPPED);
	wt_checkpoint_hurry(c);
}

static void stream_trouble(void *arg, const struct wt_error *err)
{
	wt_checkpoint_trouble(arg, err);
}

static const struct wt_outgoing_events outgoing_events = { .block = stream_block,
	.blocks_end = stream_blocks_end,
	.guest_stopped = stream_guest_stopped,
	.trouble = stream_trouble };

static int take_announce(void *arg, struct wt_extent *extent, enum wt_content content)
{
	return wt_save_announce(wt_checkpoint_save(((struct wt_checkpoint *)arg)->files), extent, content);
}

/* All blocks are mapped here. */
static int take_copy(void *arg, struct wt_extent *extent, const uint8_t *bytes)
{
	return -EINVAL;
}

static void take_flush(void *arg)
{
}

static bool take_room(void *arg)
{
	return true;
}

static bool take_recent(void *arg, uint64_t now_ns)
{
	return true;
}

static bool take_pass(void *arg, const uint8_t *bytes, size_t length)
{
	wt_checkpoint_pass(((struct wt_checkpoint *)arg)->files, bytes, length);
	return true;
}

static bool take_ram_end(void *arg)
{
	struct wt_checkpoint *c = arg;

	c->ram_ended = true;
	wt_checkpoint_tail(c->files);
	return true;
}

static const struct wt_outgoing_taker taker = {
	.announce = take_announce,
	.announce_copy = take_copy,
	.flush = take_flush,
	.room = take_room,
	.recent = take_recent,
	.pass = take_pass,
	.ram_end = take_ram_end,
};

/* A QEMU that has our library may leave out what is read in place. */
static void offer_feed(struct wt_checkpoint *c)
{
	const struct wt_ram_block *const *served = wt_checkpoint_blocks(c->files);
	struct wt_skip_block blocks[WT_BLOCKS_MAX];
	struct wt_error err = { 0 };
	unsigned count = 0;

	for (unsigned i = 0; served[i] && count < WT_BLOCKS_MAX; i++)
		if (served[i]->host)
			blocks[count++] =
				(struct wt_skip_block){ served[i]->host, served[i]->length, served[i]->base };
	if (wt_outgoing_offer(c->outgoing, blocks, count, &err))
		wt_relay_told_note(&c->relay, wt_error_text(&err));
}

int wt_checkpoint_open_stream(struct wt_checkpoint *c, struct wt_error *err)
{
	int r = wt_relay_socket_open(&c->place, "stream", err);

	if (!r)
		r = wt_outgoing_open(c->relay.loop, &outgoing_events, c, &c->outgoing, err);
	if (!r)
		r = wt_outgoing_listen(c->outgoing, c->place.path, err);
	if (!r && !c->options->no_feed)
		offer_feed(c);
	if (!r)
		wt_outgoing_start_taker(c->outgoing, &taker, c);
	return r;
}

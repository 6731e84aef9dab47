/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * outgoing_server.c - the page server as the taker of what QEMU's stream announces (outgoing.h).
 *
 *   1. Of the stripped stream at most UNSENT_MAX bytes wait for the destination's acknowledgement.
 *   2. RAM_END carries the number of announcements, so that the destination can tell that it has all of them.
 */
#include "messages.h"
#include "outgoing_internal.h"

#define UNSENT_MAX (8u << 20)  /* stripped bytes that may be on their way */
#define HEARD_NS 1000000000ull /* how lately the peer must have been heard */

static int announce(void *arg, struct wt_extent *extent, enum wt_content content)
{
	return wt_server_announce(arg, extent, content);
}

static int announce_copy(void *arg, struct wt_extent *extent, const uint8_t *bytes)
{
	return wt_server_announce_copy(arg, extent, bytes);
}

static void flush(void *arg)
{
	wt_server_flush(arg);
}

static bool room(void *arg)
{
	return wt_server_room(arg);
}

static bool recent(void *arg, uint64_t now_ns)
{
	return now_ns - wt_server_heard_ns(arg) < HEARD_NS;
}

static bool pass(void *arg, const uint8_t *bytes, size_t length)
{
	return wt_server_unsent(arg) < UNSENT_MAX && !wt_server_send(arg, WT_RELAY_STREAM, bytes, length);
}

static bool ram_end(void *arg)
{
	struct wt_relay_ram_end end;
	struct wt_server_stats stats;

	if (wt_server_defer(arg, NULL))
		return false;
	wt_server_stats(arg, &stats);
	end.next_seq = stats.next_seq;
	return !wt_server_send(arg, WT_RELAY_RAM_END, &end, sizeof end);
}

const struct wt_outgoing_taker wt_outgoing_server = {
	.announce = announce,
	.announce_copy = announce_copy,
	.flush = flush,
	.room = room,
	.recent = recent,
	.pass = pass,
	.ram_end = ram_end,
};

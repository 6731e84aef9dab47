/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination_internal.h - the destination relay's state, shared by destination.c (who runs) and
 * destination_feed.c (QEMU's end of the feed).
 */
#ifndef WATARI_QEMU_DESTINATION_INTERNAL_H
#define WATARI_QEMU_DESTINATION_INTERNAL_H

#include <watari/puller.h>

#include "destination.h"
#include "destination_switch.h"
#include "feed.h"
#include "messages.h"
#include "relay.h"
#include "verify_job.h"

struct wt_destination {
	struct wt_relay relay;
	const struct wt_destination_options *options;
	struct wt_puller *puller;
	struct wt_destination_switch machine;
	struct wt_relay_socket place; /* of the socket that QEMU listens on */
	struct wt_feed feed;
	struct wt_verify_job verify;
	struct wt_relay_guest guest;
	bool guest_known;
	unsigned block_count;
	const struct wt_ram_block **blocks; /* by the server's number */
	struct wt_timer poll, progress, deadline;
	struct wt_error failure;
	uint64_t run_tries, linger_until_ns;
	uint16_t port;
};

void wt_destination_event(struct wt_destination *destination, enum wt_destination_event event);
void wt_destination_trouble(struct wt_destination *destination, const struct wt_error *err);

/* destination_feed.c: opens QEMU's incoming side and connects the feed to it. */
int wt_destination_feed_open(struct wt_destination *destination, struct wt_error *err);
void wt_destination_feed_close(struct wt_destination *destination);

#endif

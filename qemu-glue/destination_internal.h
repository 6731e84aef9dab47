/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination_internal.h - the destination relay's state, shared by destination.c (who runs),
 * destination_feed.c (QEMU's end of the feed) and destination_verify.c (comparing RAM).
 */
#ifndef WATARI_QEMU_DESTINATION_INTERNAL_H
#define WATARI_QEMU_DESTINATION_INTERNAL_H

#include <watari/puller.h>

#include "destination.h"
#include "destination_switch.h"
#include "feed.h"
#include "messages.h"
#include "relay.h"

struct wt_verify_job {
	bool running;
	uint32_t block; /* next to be asked for */
	uint64_t page;
	unsigned outstanding;
	uint64_t compared_pages;
};

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

/* destination_verify.c: asks for digests of all RAM and compares; raises VERIFIED, or TROUBLE at the first
 * difference. */
void wt_destination_verify(struct wt_destination *destination);
int wt_destination_verify_answer(
	struct wt_destination *destination, const uint8_t *payload, size_t length, struct wt_error *err);

#endif

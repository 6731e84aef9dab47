/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uri_destination_internal.h - the state of a destination without QMP, shared by uri_destination.c (who
 * runs), uri_feed.c (QEMU at the other end of the feed) and uri_destination_report.c (what is told of it).
 */
#ifndef WATARI_QEMU_URI_DESTINATION_INTERNAL_H
#define WATARI_QEMU_URI_DESTINATION_INTERNAL_H

#include <watari/puller.h>

#include "feed.h"
#include "messages.h"
#include "progress.h"
#include "ram_search.h"
#include "uri_destination.h"
#include "uri_destination_switch.h"
#include "verify_job.h"

struct wt_uri_destination {
	struct wt_relay relay;
	const struct wt_uri_destination_options *options;
	struct wt_puller *puller;
	struct wt_uri_destination_switch machine;
	struct wt_ram_search search;
	struct wt_feed feed;
	int watch_fd; /* QEMU's end is watched here: the feed's connection once more; -1: not connected */
	bool is_socket;
	bool all_fed; /* the last byte was let go */
	struct wt_verify_job verify;
	struct wt_relay_guest guest;
	bool guest_known;
	unsigned block_count;
	const struct wt_ram_block **blocks; /* by the server's number */
	struct wt_timer poll, progress, deadline;
	struct wt_error failure;
	uint64_t linger_until_ns;
	struct wt_rate rate;
	uint16_t port;
	char peer[96]; /* the source, "": none has come */
};

void wt_uri_destination_event(struct wt_uri_destination *destination, enum wt_uri_destination_event event);
/* Remembers why (the first one wins) and raises TROUBLE. */
void wt_uri_destination_trouble(struct wt_uri_destination *destination, const struct wt_error *err);

/* uri_destination_report.c: reports progress from now on; what the job can be told. */
void wt_uri_destination_progress(struct wt_uri_destination *destination);
extern const struct wt_job_command wt_uri_destination_commands[];

/* uri_feed.c: finds QEMU and its end of the feed, unless that was done. */
int wt_uri_feed_open(struct wt_uri_destination *destination, struct wt_error *err);
/* Feeds everything behind RAM's end; LOADED or QEMU_GONE follows. */
void wt_uri_feed_tail(struct wt_uri_destination *destination);
void wt_uri_feed_hang_up(struct wt_uri_destination *destination);

#endif

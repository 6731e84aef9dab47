/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination_feed.h - a QEMU that waits for a guest is made to take the stripped stream from us: for whoever
 * feeds it, a destination relay or a restore. All wait for QEMU's answers.
 */
#ifndef WATARI_QEMU_DESTINATION_FEED_H
#define WATARI_QEMU_DESTINATION_FEED_H

#include "feed.h"
#include "relay.h"

/* Before the feed is opened: what QEMU must know. */
int wt_feed_prepare(struct wt_qmp *qmp, struct wt_error *err);
/* QEMU listens on a socket at a place that is made here, and the feed, which was initialised, is connected.
 */
int wt_feed_open(
	struct wt_qmp *qmp, struct wt_relay_socket *place, struct wt_feed *feed, struct wt_error *err);
void wt_feed_end(struct wt_relay_socket *place, struct wt_feed *feed);

#endif

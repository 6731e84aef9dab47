/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * feed.h - the stripped stream on its way into the destination QEMU, over a socket or a pipe.
 *
 * Embedded in its owner. One thread: the loop's.
 */
#ifndef WATARI_QEMU_FEED_H
#define WATARI_QEMU_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/error.h>
#include <watari/loop.h>

#define WT_FEED_MAX (512u << 20) /* bytes of the stripped stream that may wait for QEMU */

struct wt_feed {
	struct wt_loop *loop;
	int fd; /* to QEMU, owned; -1: not connected, or ended */
	uint8_t *bytes;
	size_t length, room, sent;
	size_t gate;   /* bytes behind this offset wait for RAM to be complete; valid with gated */
	bool gated;    /* RAM's end was announced */
	bool open;     /* the gate is open */
	size_t hold;   /* so many of the last bytes wait, whatever the gate says */
	bool any_sent; /* a byte has gone to QEMU */
	bool watching;
};

void wt_feed_init(struct wt_feed *feed, struct wt_loop *loop);
/* QEMU is at the other end of fd, which is owned from now on and made non-blocking. */
void wt_feed_connect(struct wt_feed *feed, int fd);
int wt_feed_add(struct wt_feed *feed, const uint8_t *bytes, size_t length, struct wt_error *err);
/* What follows is behind RAM's end. */
void wt_feed_gate(struct wt_feed *feed);
void wt_feed_open_gate(struct wt_feed *feed);
/* The last bytes wait until they are let go (0). */
void wt_feed_hold(struct wt_feed *feed, size_t bytes);
/* What is behind the gate, while it is closed. */
void wt_feed_tail(const struct wt_feed *feed, const uint8_t **ret_bytes, size_t *ret_length);
/* All that may go was written, and the connection is still there. */
bool wt_feed_drained(const struct wt_feed *feed);
void wt_feed_hang_up(struct wt_feed *feed);
void wt_feed_close(struct wt_feed *feed);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * handover_relay.h - the old QEMU's stream on its way into the new one, on one host, without the RAM that
 * both have.
 *
 * Knows no QMP and decides nothing about who runs. One thread: the loop's. No callback may close it.
 */
#ifndef WATARI_QEMU_HANDOVER_RELAY_H
#define WATARI_QEMU_HANDOVER_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/error.h>
#include <watari/loop.h>

struct wt_handover_relay;

struct wt_handover_relay_events {
	/* A RAM block of the stream: is it the same memory in both QEMUs? 0, or -errno with err filled. */
	int (*block)(void *arg, const char *name, uint64_t length, bool *ret_in_place, struct wt_error *err);
	void (*guest_stopped)(void *arg); /* RAM's end was read */
	void (*trouble)(void *arg, const struct wt_error *err);
};

struct wt_handover_relay_stats {
	uint64_t stream_bytes;  /* that the new QEMU was fed */
	uint64_t copied_pages;  /* of memory that each QEMU has for itself; part of those bytes */
	uint64_t dropped_pages; /* of the same memory, which the old QEMU wrote all the same */
};

/* Makes a socket for the old QEMU's stream; *ret_path lives as long as the relay. */
int wt_handover_relay_open(struct wt_loop *loop, const struct wt_handover_relay_events *events, void *arg,
	struct wt_handover_relay **ret_relay, const char **ret_path, struct wt_error *err);
void wt_handover_relay_close(struct wt_handover_relay *relay);
/* Where the new QEMU is to listen for its stream; and then: connects to it. */
const char *wt_handover_relay_incoming(const struct wt_handover_relay *relay);
int wt_handover_relay_connect(struct wt_handover_relay *relay, struct wt_error *err);
/* What is behind RAM's end may go. */
void wt_handover_relay_feed_tail(struct wt_handover_relay *relay);
/* SHUT on the old QEMU's return path; false: it is gone, or busy (try again later). */
bool wt_handover_relay_shut(struct wt_handover_relay *relay);
/* Closes the old QEMU's connection: its migration fails, unless it has completed. */
void wt_handover_relay_hang_up(struct wt_handover_relay *relay);
struct wt_handover_relay_stats wt_handover_relay_stats(const struct wt_handover_relay *relay);

#endif

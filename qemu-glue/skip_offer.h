/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * skip_offer.h - the source relay's half of libwatari-feed.so: offers QEMU to leave guest RAM out of its
 * stream, and gives it credit for what was left out. docs/FEED.md tells the whole, skip_page.h is the
 * agreement.
 *
 * A QEMU without the library never looks at the offer. One thread.
 */
#ifndef WATARI_QEMU_SKIP_OFFER_H
#define WATARI_QEMU_SKIP_OFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/error.h>

#include "skip_page.h"

struct wt_skip_offer;

/* Memory that may be left out: a whole RAM block. */
struct wt_skip_block {
	uint64_t address; /* in QEMU */
	uint64_t length;
	const uint8_t *base; /* here */
};

/* Lays the offer beside the unix socket at `path`. At most SKIP_RANGES_MAX blocks, which are copied, are in
 * it (the longest ones). */
int wt_skip_offer_open(const char *path, const struct wt_skip_block *blocks, unsigned count,
	struct wt_skip_offer **ret_offer, struct wt_error *err);
void wt_skip_offer_close(struct wt_skip_offer *offer);
/* Is the block that lies here at base left out, whole, on every channel that has said hello? NULL: no. */
bool wt_skip_offer_has(const struct wt_skip_offer *offer, const uint8_t *base);

/* A connection began with these bytes: which channel is it? Each comes once. */
int wt_skip_offer_hello(struct wt_skip_offer *offer, const struct skip_hello *hello, unsigned *ret_channel,
	struct wt_error *err);
/* So many bytes of the channel, left out by QEMU, have been accounted for: QEMU may leave out as many again,
 * and SKIP_AHEAD_BYTES more. */
void wt_skip_offer_taken(struct wt_skip_offer *offer, unsigned channel, uint64_t bytes);
/* The channel is closed: QEMU waits for nothing on it. */
void wt_skip_offer_ended(struct wt_skip_offer *offer, unsigned channel);
/* What QEMU says that it has left out. */
uint64_t wt_skip_offer_skipped(const struct wt_skip_offer *offer, unsigned channel);

/* A page that QEMU has left out, and what it held then. *ret_bytes is valid until wt_skip_offer_sample_next,
 * which asks for another one. */
bool wt_skip_offer_sample(const struct wt_skip_offer *offer, const uint8_t **ret_base, uint64_t *ret_page,
	const uint8_t **ret_bytes);
void wt_skip_offer_sample_next(struct wt_skip_offer *offer);

/* How far QEMU may be ahead of the relay on one channel: about what a socket's buffers hold of a stream that
 * is whole, and a third of a millisecond at 100 Gb/s, so that it seldom waits for the relay to be woken
 * (source_gate.c counts on it). */
#define SKIP_AHEAD_BYTES (4u << 20)

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_relay.h - what is known of one relay of a gang: from the events that it prints, and from its job's
 * status. Pure.
 *
 * Nothing is believed of what it says but these few words; what is too long, or makes no sense, is not known.
 */
#ifndef WATARI_QEMU_GANG_RELAY_H
#define WATARI_QEMU_GANG_RELAY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <watari/error.h>

struct wt_gang_relay {
	char state[24]; /* of the switchover; "": none said */
	bool listening; /* destination */
	bool held;      /* it has come to where it holds */
	bool failed;    /* it has said why */
	bool summary;   /* it has said what came of it */
	char error[WT_ERROR_TEXT_MAX],
		trouble[WT_ERROR_TEXT_MAX];    /* printable; trouble: about devices, "": none */
	uint64_t total_bytes, remaining_bytes; /* of the guest's RAM; 0: not known */
	double downtime_ms, outage_ms;         /* source, in the end; negative: not known */
	uint64_t sent_bytes;                   /* the same: over the network, control included */
	uint64_t written_bytes, state_bytes;   /* of a checkpoint, in the end */
};

/* Where a guest is, as far as its relays know. */
enum wt_gang_place {
	WT_GANG_PLACE_SOURCE = 1, /* as before */
	WT_GANG_PLACE_COMMITTED,  /* the source has let go; the destination's relay knows the rest */
	WT_GANG_PLACE_DESTINATION,
	WT_GANG_PLACE_UNKNOWN, /* the source's relay has ended without a word, or does not know itself */
};

void wt_gang_relay_init(struct wt_gang_relay *relay);
/* A line of its output. */
void wt_gang_relay_line(struct wt_gang_relay *relay, const char *line);
/* An answer of `watari status --json`; false: it is none. */
bool wt_gang_relay_status(struct wt_gang_relay *relay, const char *line);

/* The source has committed, or the destination knows that it has. */
bool wt_gang_committed(const struct wt_gang_relay *source, const struct wt_gang_relay *destination);
/* When the source's relay has ended. */
enum wt_gang_place wt_gang_place(const struct wt_gang_relay *source, const struct wt_gang_relay *destination);

#endif

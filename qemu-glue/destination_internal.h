/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination_internal.h - the destination relay's state, shared by destination.c (who runs),
 * destination_feed.c (the stripped stream into QEMU) and destination_verify.c (comparing RAM).
 */
#ifndef WATARI_QEMU_DESTINATION_INTERNAL_H
#define WATARI_QEMU_DESTINATION_INTERNAL_H

#include <watari/puller.h>

#include "destination.h"
#include "destination_switch.h"
#include "messages.h"
#include "progress.h"
#include "relay.h"

#define WT_FEED_MAX (512u << 20) /* bytes of the stripped stream that may wait for QEMU */

/* The stripped stream on its way into QEMU. */
struct wt_feed {
	struct wt_relay_socket place;
	int fd; /* to QEMU; -1: not connected, or ended */
	uint8_t *bytes;
	size_t length, room, sent;
	size_t gate; /* bytes behind this offset wait for RAM to be complete; valid with gated */
	bool gated;  /* RAM's end was announced */
	bool open;   /* the gate is open */
	bool watching;
};

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
	struct wt_feed feed;
	struct wt_verify_job verify;
	struct wt_relay_guest guest;
	bool guest_known;
	unsigned block_count;
	const struct wt_ram_block **blocks; /* by the server's number */
	struct wt_timer poll, progress, deadline;
	struct wt_error failure;
	uint64_t run_tries, linger_until_ns;
	uint64_t entered_ns[WT_DESTINATION_STATES]; /* when each state began; 0: never */
	uint64_t stream_bytes;                      /* of the stripped stream */
	struct wt_rate rate;
	uint16_t port;
	char peer[96]; /* the source, "": none has come */
};

void wt_destination_event(struct wt_destination *destination, enum wt_destination_event event);
void wt_destination_trouble(struct wt_destination *destination, const struct wt_error *err);

/* destination_report.c: reports progress from now on; how far it is now; what is said when the guest runs. */
void wt_destination_progress(struct wt_destination *destination);
struct wt_progress wt_destination_figures(const struct wt_destination *destination);
json_t *wt_destination_facts(const struct wt_destination *destination);

/* destination_job.c: what the job can be told. */
extern const struct wt_job_command wt_destination_commands[];

/* destination_feed.c: opens QEMU's incoming side and connects to it. */
int wt_feed_open(struct wt_destination *destination, struct wt_error *err);
void wt_feed_close(struct wt_destination *destination);
int wt_feed_add(
	struct wt_destination *destination, const uint8_t *bytes, size_t length, struct wt_error *err);
/* What follows is behind RAM's end. */
void wt_feed_gate(struct wt_destination *destination);
void wt_feed_open_gate(struct wt_destination *destination);

/* destination_verify.c: asks for digests of all RAM and compares; raises VERIFIED, or TROUBLE at the first
 * difference. */
void wt_destination_verify(struct wt_destination *destination);
int wt_destination_verify_answer(
	struct wt_destination *destination, const uint8_t *payload, size_t length, struct wt_error *err);

#endif

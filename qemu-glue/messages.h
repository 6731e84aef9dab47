/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * messages.h - what the two relays say to each other on top of transport's session.
 *
 * Structures go as they are in memory (little-endian hosts only). Texts fill the rest of their message. Order
 * and meaning: docs/PROTOCOL.md.
 */
#ifndef WATARI_QEMU_MESSAGES_H
#define WATARI_QEMU_MESSAGES_H

#include <stdint.h>
#include <string.h>

#include "record.h"

#define WT_STREAM_CHUNK_MAX (256u << 10)

enum wt_relay_message {
	WT_RELAY_GUEST = 64,         /* source -> destination: struct wt_relay_guest, before the stream */
	WT_RELAY_STREAM = 65,        /* bytes of the stripped stream */
	WT_RELAY_RAM_END = 66,       /* struct wt_relay_ram_end; what follows is device state */
	WT_RELAY_DIGEST_ASK = 68,    /* destination -> source: struct wt_relay_digest, digest empty */
	WT_RELAY_DIGEST_ANSWER = 69, /* source -> destination */
	WT_RELAY_READY = 70,         /* destination -> source: loaded and paused; URI: all here, withheld */
	WT_RELAY_COMMIT = 71,        /* struct wt_relay_guest, as it was when it stopped */
	WT_RELAY_RUNNING = 72,       /* destination -> source: a JSON object with what it did */
	WT_RELAY_ABORT = 73,         /* source -> destination: text says why */
	WT_RELAY_FAILED = 74,   /* destination -> source: it never ran there and never will; text says why */
	WT_RELAY_STRANDED = 75, /* destination -> source: told to run, and it does not; text says why */
	WT_RELAY_UNLOADED = 76, /* retired destination -> source: its QEMU ended, its memory is served on */
	WT_RELAY_KEEP = 77,     /* source -> destination: ABORT, but it keeps the memory; text says why */
	WT_RELAY_DEVICES = 84,  /* source -> destination: JSON, prepare what the guest will need */
	WT_RELAY_DEVICES_READY = 85, /* destination -> source: JSON, done; nothing was plugged in yet */
	WT_RELAY_DEVICES_DONE = 86,  /* destination -> source: JSON, what has become of them; after RUNNING */
	WT_RELAY_COMMON = 87,        /* source -> destination: what shared memory is there? */
	WT_RELAY_COMMON_ANSWER = 88, /* destination -> source: JSON, that of common_memory.h */
};

enum {
	WT_RELAY_GUEST_RUNNING = 1 << 0, /* it runs at the source: run it after the commit */
	WT_RELAY_GUEST_VERIFY = 1 << 1,  /* compare RAM while both guests are stopped */
	WT_RELAY_GUEST_URI = 1 << 2,     /* the source knows its QEMU by the stream alone: withhold the tail
					    until COMMIT */
};

struct wt_relay_guest {
	uint32_t flags;
	struct wt_record record; /* of this migration; none: URI mode, which cannot ask its QEMUs */
};

struct wt_relay_ram_end {
	uint64_t next_seq; /* announcements have the numbers below it */
};

#define WT_RELAY_DIGEST_BYTES 16

struct wt_relay_digest {
	uint32_t block;
	uint32_t pages;
	uint64_t page;
	uint8_t digest[WT_RELAY_DIGEST_BYTES]; /* XXH3, 128 bits, of the pages' bytes, holes as zeros */
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "structures go on the wire");
_Static_assert(sizeof(struct wt_relay_ram_end) == 8, "goes on the wire");
_Static_assert(sizeof(struct wt_relay_guest) == 20, "goes on the wire");
_Static_assert(sizeof(struct wt_relay_digest) == 32, "goes on the wire");

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * skip_page.h - what a source relay and libwatari-feed.so in its QEMU share: one file, mapped by both, and
 * how a connection begins. docs/FEED.md tells the whole.
 *
 * The relay makes the file (skip_offer.h), named like its socket with SKIP_SUFFIX behind it, before QEMU
 * connects. The library maps it when QEMU has connected to that socket, takes a channel, and writes a hello
 * as the connection's first bytes. From then on whatever QEMU writes there and lies within a range is left
 * out.
 *
 *   1. Ranges are sorted, apart from each other, whole pages, and never change.
 *   2. skipped: bytes left out on that channel so far, added before the bytes around them are written. Only
 *      the library writes it. It never exceeds granted.
 *   3. granted: only the relay writes it; it only grows.
 *   4. Who waits for credit sets waiting, looks at granted once more, and sleeps while bell is what it was.
 *      Who grants changes bell and wakes, if waiting was set.
 *   5. sample: the relay empties it, the library fills it with one page that it has left out.
 *
 * Both ends are of one user on one host, and of one byte order. Each believes of the other's figures only
 * what cannot harm it: nothing here is an index or a pointer that is followed.
 */
#ifndef WATARI_QEMU_SKIP_PAGE_H
#define WATARI_QEMU_SKIP_PAGE_H

#include <stdatomic.h>
#include <stdint.h>

#define SKIP_SUFFIX ".feed"
#define SKIP_VERSION 1u
#define SKIP_RANGES_MAX 64u
#define SKIP_CHANNELS_MAX 256u /* QEMU's main channel, and 255 of multifd */
#define SKIP_PAGE_BYTES 4096u  /* QEMU's target page */

/* The first bytes of the file, and of a connection that leaves out pages. */
static const char skip_magic[8] = { 'W', 'T', 'F', 'E', 'E', 'D', '\0', '\1' };

struct skip_range {
	uint64_t address; /* in QEMU */
	uint64_t length;
};

struct skip_channel {
	_Atomic uint64_t skipped, granted; /* bytes */
	_Atomic uint32_t bell, waiting;
	uint8_t unused[40]; /* a cache line each */
};

enum skip_sample_state {
	SKIP_SAMPLE_EMPTY = 0,
	SKIP_SAMPLE_FILLING = 1, /* by the library */
	SKIP_SAMPLE_FULL = 2,    /* the relay's, until it is empty */
};

struct skip_page {
	char magic[8]; /* written last */
	uint32_t version;
	uint32_t range_count;
	struct skip_range ranges[SKIP_RANGES_MAX];
	_Atomic uint32_t taken; /* channels that were given out; may exceed SKIP_CHANNELS_MAX */
	_Atomic uint32_t sample_state;
	uint64_t sample_address; /* in QEMU */
	uint8_t sample[SKIP_PAGE_BYTES];
	_Alignas(64) struct skip_channel channels[SKIP_CHANNELS_MAX];
};

struct skip_hello {
	char magic[8];
	uint32_t version;
	uint32_t channel;
};

_Static_assert(sizeof(struct skip_channel) == 64, "a cache line");
_Static_assert(sizeof(struct skip_hello) == 16, "no padding");
_Static_assert(sizeof(struct skip_range) == 16, "no padding");

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stream_multifd.c - the channels of QEMU's multifd, and where they meet the main one.
 *
 * A channel is 64 bytes of introduction and then packets: a header of 320 bytes, one offset for each page
 * that a packet may have, and then the pages' bytes. Integers are big-endian. A packet may end with a sync.
 *   1. A channel has passed `syncs` syncs or waits at the last of them: syncs <= stream->syncs + 1.
 *   2. The main channel passes sync n only when every channel has read its n-th.
 *   3. So all pages before a sync are reported before any page after it, whatever their channels; within two
 *      syncs QEMU sends a page once.
 *   4. Pages that stay in the stream are kept until the next sync and written then, never within RAM's start
 *      section: kept.bytes <= STREAM_KEPT_BYTES_MAX.
 * Does not do: compressed packets, device state in packets (10.1); each is refused by name. Pure, like
 * stream.c; allocates in wt_multifd_open, and for kept pages.
 */
#include "stream_internal.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MULTIFD_VERSION 1u
#define INTRODUCTION_BYTES 64u
#define HEADER_BYTES 320u
#define BLOCK_NAME_BYTES 256u

enum {
	MULTIFD_FLAG_SYNC = 1 << 0,
	MULTIFD_FLAG_COMPRESSION = 0x1f << 1,
	MULTIFD_FLAG_DEVICE_STATE = 1 << 6,
};

/* Where things lie in a packet's header. */
enum {
	AT_MAGIC = 0,
	AT_VERSION = 4,
	AT_FLAGS = 8,
	AT_PAGES_ALLOC = 12, /* 0 in a packet without pages (10.0) */
	AT_NORMAL_PAGES = 16,
	AT_NEXT_PACKET_SIZE = 20,
	AT_ZERO_PAGES = 32, /* zeros before 9.0 */
	AT_BLOCK = 64,
};

enum multifd_state {
	MULTIFD_INTRODUCTION,
	MULTIFD_PACKET,
	MULTIFD_PAGES, /* of the packet whose header was read, from `next` on */
	MULTIFD_SYNC,  /* the packet's end; the main channel has not come to it yet */
};

struct wt_multifd {
	struct wt_stream *stream;
	struct stream_input in;
	enum multifd_state state;
	enum wt_stream_wait wait;
	unsigned id; /* as QEMU numbers it; STREAM_CHANNELS_MAX: not known yet */
	uint8_t uuid[16];
	bool ended;
	uint64_t syncs;

	bool sync; /* the packet that is read ends with one */
	uint32_t block;
	uint32_t normal, total, next; /* pages: with content, all, the next to be reported */
	uint64_t pages[STREAM_PACKET_PAGES];
};

#define PACKET_BYTES (HEADER_BYTES + 8 * STREAM_PACKET_PAGES)

_Static_assert(PACKET_BYTES <= STREAM_UNIT_MAX, "a packet's header is one unit");

__attribute__((format(printf, 3, 4))) static int refuse(
	struct wt_multifd *c, int code, const char *format, ...)
{
	char text[WT_ERROR_TEXT_MAX], which[16];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	which[0] = '\0';
	if (c->id < STREAM_CHANNELS_MAX)
		snprintf(which, sizeof which, " %u", c->id);
	return wt_error_set(&c->stream->failure, code, "multifd channel%s, at byte %" PRIu64 ": %s", which,
		c->in.offset, text);
}

bool wt_multifd_magic(const uint8_t bytes[4])
{
	return stream_be32(bytes) == WT_MULTIFD_MAGIC;
}

static bool in_start_section(const struct wt_stream *stream)
{
	return stream->state == STREAM_RAM_TOTAL || stream->state == STREAM_RAM_LIST ||
	       stream->state == STREAM_RAM_LIST_TAIL;
}

int wt_multifd_open(struct wt_stream *stream, struct wt_multifd **ret_channel, struct wt_error *err)
{
	struct wt_multifd *c;

	if (stream->syncs || (stream->ram_seen && !in_start_section(stream)))
		return wt_error_set(err, EPROTO,
			"a channel of multifd comes after the migration has begun; it is refused");
	if (stream->channel_count == STREAM_CHANNELS_MAX)
		return wt_error_set(
			err, EPROTO, "more than %u channels of multifd come", STREAM_CHANNELS_MAX);
	c = calloc(1, sizeof *c);
	if (!c || wt_stream_input_open(&c->in)) {
		free(c);
		return wt_error_set(err, ENOMEM, "no memory for a channel of multifd");
	}
	c->stream = stream;
	c->id = STREAM_CHANNELS_MAX;
	stream->channels[stream->channel_count++] = c;
	*ret_channel = c;
	return 0;
}

void wt_multifd_close(struct wt_multifd *c)
{
	struct wt_stream *stream;
	unsigned i;

	if (!c)
		return;
	stream = c->stream;
	for (i = 0; stream->channels[i] != c; i++)
		;
	stream->channels[i] = stream->channels[--stream->channel_count];
	free(c->in.buffer);
	free(c);
}

/* ---- the introduction ---- */

static int introduction_step(struct wt_multifd *c)
{
	const uint8_t *p = input_at(&c->in);

	if (input_available(&c->in) < INTRODUCTION_BYTES)
		return STREAM_MORE;
	if (stream_be32(p) != WT_MULTIFD_MAGIC)
		return refuse(
			c, EPROTO, "0x%08" PRIx32 " is not how a channel of multifd begins", stream_be32(p));
	if (stream_be32(p + 4) != MULTIFD_VERSION)
		return refuse(c, EPROTO, "the channel has version %" PRIu32 ", %u is understood",
			stream_be32(p + 4), MULTIFD_VERSION);
	memcpy(c->uuid, p + 8, sizeof c->uuid);
	for (unsigned i = 0; i < c->stream->channel_count; i++) {
		const struct wt_multifd *other = c->stream->channels[i];

		if (other == c || other->id == STREAM_CHANNELS_MAX)
			continue;
		if (other->id == p[24])
			return refuse(c, EPROTO, "there are two channels %u", p[24]);
		if (memcmp(other->uuid, c->uuid, sizeof c->uuid) != 0)
			return refuse(c, EPROTO, "channels %u and %u are of two machines", other->id, p[24]);
	}
	c->id = p[24];
	c->state = MULTIFD_PACKET;
	input_take(&c->in, INTRODUCTION_BYTES);
	return STREAM_PROGRESS;
}

/* ---- packets ---- */

static int check_flags(struct wt_multifd *c, uint32_t flags)
{
	if (flags & MULTIFD_FLAG_DEVICE_STATE)
		return refuse(c, EOPNOTSUPP,
			"a packet holds device state; unplug the device (vfio) that migrates that way");
	if (flags & MULTIFD_FLAG_COMPRESSION)
		return refuse(c, EOPNOTSUPP,
			"a packet is compressed; set multifd-compression to none at the source");
	if (flags & ~(uint32_t)MULTIFD_FLAG_SYNC)
		return refuse(c, EPROTO, "a packet has flags 0x%" PRIx32 "; this QEMU is too new", flags);
	return 0;
}

static int find_block(struct wt_multifd *c, const uint8_t *name)
{
	char text[BLOCK_NAME_BYTES + 1];
	size_t length = strnlen((const char *)name, BLOCK_NAME_BYTES);

	c->block = length < BLOCK_NAME_BYTES ? wt_stream_find_block(c->stream, name, (uint32_t)length)
					     : STREAM_NO_BLOCK;
	if (c->block != STREAM_NO_BLOCK)
		return 0;
	wt_stream_printable(name, length, text);
	return refuse(c, EPROTO, "a packet is of RAM block '%s', which was not listed", text);
}

/* The numbers of a packet's pages: first those with content, then the zero ones. */
static int take_offsets(struct wt_multifd *c, const uint8_t *offsets)
{
	const struct stream_block *block = &c->stream->blocks[c->block];

	for (uint32_t i = 0; i < c->total; i++) {
		uint64_t offset = stream_be64(offsets + 8 * (size_t)i);

		if (offset % WT_PAGE_SIZE || offset >> WT_PAGE_SHIFT >= block->pages)
			return refuse(c, EPROTO,
				"offset 0x%" PRIx64 " is no page of RAM block '%s', which has %" PRIu64
				" pages",
				offset, block->name, block->pages);
		c->pages[i] = offset >> WT_PAGE_SHIFT;
	}
	return 0;
}

static int packet_step(struct wt_multifd *c)
{
	const uint8_t *p = input_at(&c->in);
	uint32_t alloc, zeros;
	int rc;

	if (input_available(&c->in) < PACKET_BYTES)
		return STREAM_MORE;
	if (stream_be32(p + AT_MAGIC) != WT_MULTIFD_MAGIC || stream_be32(p + AT_VERSION) != MULTIFD_VERSION)
		return refuse(c, EPROTO, "0x%08" PRIx32 " 0x%08" PRIx32 " begins no packet of version %u",
			stream_be32(p + AT_MAGIC), stream_be32(p + AT_VERSION), MULTIFD_VERSION);
	rc = check_flags(c, stream_be32(p + AT_FLAGS));
	if (rc)
		return rc;
	alloc = stream_be32(p + AT_PAGES_ALLOC);
	c->normal = stream_be32(p + AT_NORMAL_PAGES);
	zeros = stream_be32(p + AT_ZERO_PAGES);
	if ((alloc && alloc != STREAM_PACKET_PAGES) || c->normal > alloc || zeros > alloc - c->normal)
		return refuse(c, EPROTO,
			"a packet has room for %" PRIu32 " pages, %" PRIu32 " with content and %" PRIu32
			" of zeros; %u are understood",
			alloc, c->normal, zeros, STREAM_PACKET_PAGES);
	/* Without pages the size is left over from the packet before (7.2). */
	if (c->normal && stream_be32(p + AT_NEXT_PACKET_SIZE) != c->normal * WT_PAGE_SIZE)
		return refuse(c, EPROTO, "%" PRIu32 " pages are said to have %" PRIu32 " bytes", c->normal,
			stream_be32(p + AT_NEXT_PACKET_SIZE));
	c->total = c->normal + zeros;
	c->next = 0;
	c->sync = stream_be32(p + AT_FLAGS) & MULTIFD_FLAG_SYNC;
	if (c->total && (c->stream->syncs == 0 || c->stream->ram_ended))
		return refuse(c, EPROTO, "pages come %s",
			c->stream->ram_ended ? "after RAM's end section"
					     : "before RAM's start section has ended");
	if (c->total)
		rc = find_block(c, p + AT_BLOCK);
	if (!rc && c->total)
		rc = take_offsets(c, p + HEADER_BYTES);
	if (rc)
		return rc;
	input_take(&c->in, PACKET_BYTES);
	c->state = MULTIFD_PAGES;
	return STREAM_PROGRESS;
}

static int pages_step(struct wt_multifd *c)
{
	const bool in_place = c->total && c->stream->blocks[c->block].in_place;
	const bool absent = c->in.absent && in_place && c->stream->blocks[c->block].absent;
	int rc = STREAM_PROGRESS;

	while (c->next < c->total) {
		const bool zero = c->next >= c->normal;
		const size_t body = zero || absent ? 0 : WT_PAGE_SIZE;
		const uint8_t *bytes = zero ? NULL : input_at(&c->in);
		const uint64_t page = c->pages[c->next];

		if (input_available(&c->in) < body)
			return STREAM_MORE;
		rc = !in_place         ? wt_stream_keep_for_sync(c->stream, c->block, page, bytes)
		     : absent && !zero ? wt_stream_report_absent(c->stream, &c->in, c->block, page)
				       : wt_stream_report(c->stream, c->block, page, bytes);
		if (rc != STREAM_PROGRESS)
			return rc;
		input_take(&c->in, body);
		c->next++;
	}
	if (c->sync)
		c->syncs++;
	c->state = c->sync ? MULTIFD_SYNC : MULTIFD_PACKET;
	return STREAM_PROGRESS;
}

static int channel_step(struct wt_multifd *c)
{
	switch (c->state) {
	case MULTIFD_INTRODUCTION:
		return introduction_step(c);
	case MULTIFD_PACKET:
		return packet_step(c);
	case MULTIFD_PAGES:
		return pages_step(c);
	case MULTIFD_SYNC:
	default:
		if (c->syncs > c->stream->syncs)
			return STREAM_SYNC;
		c->state = MULTIFD_PACKET;
		return STREAM_PROGRESS;
	}
}

/* ---- input ---- */

void wt_multifd_buffer(struct wt_multifd *c, uint8_t **ret_buffer, size_t *ret_room)
{
	if (c->stream->status)
		c->in.pos = c->in.fill;
	assert(c->wait == WT_STREAM_WAIT_INPUT);
	wt_stream_input_room(&c->in, ret_buffer, ret_room);
}

int wt_multifd_advance(struct wt_multifd *c, size_t length, struct wt_error *err)
{
	int rc;

	assert(length <= WT_LIMIT_STREAM_BYTES - c->in.fill);
	assert(!length || c->wait == WT_STREAM_WAIT_INPUT);
	c->wait = WT_STREAM_WAIT_INPUT;
	if (c->stream->status)
		return wt_stream_stop(c->stream, c->stream->status, err);
	c->in.fill += length;
	do
		rc = channel_step(c);
	while (rc == STREAM_PROGRESS);
	if (rc < 0)
		return wt_stream_stop(c->stream, rc, err);
	c->wait = stream_wait_of(rc);
	return 0;
}

enum wt_stream_wait wt_multifd_waits(const struct wt_multifd *c)
{
	return c->wait;
}

int wt_multifd_finish(struct wt_multifd *c, struct wt_error *err)
{
	if (c->stream->status)
		return wt_stream_stop(c->stream, c->stream->status, err);
	c->ended = true;
	if (c->state == MULTIFD_PACKET && !input_available(&c->in))
		return 0;
	return wt_stream_stop(c->stream,
		refuse(c, EPROTO,
			"the channel ended within a packet: the source's QEMU gave up, was cancelled or died"),
		err);
}

uint64_t wt_multifd_offset(const struct wt_multifd *c)
{
	return c->in.offset;
}

void wt_multifd_absent(struct wt_multifd *c)
{
	assert(!c->in.offset);
	c->in.absent = true;
}

uint64_t wt_multifd_absent_bytes(const struct wt_multifd *c)
{
	return c->in.absent_bytes;
}

/* ---- where all channels meet ---- */

int wt_stream_keep_for_sync(struct wt_stream *stream, uint32_t block, uint64_t page, const uint8_t *bytes)
{
	struct stream_kept *kept;

	if (stream->kept.bytes + WT_PAGE_SIZE > STREAM_KEPT_BYTES_MAX)
		return wt_stream_refuse(stream, ENOBUFS,
			"more than %u MiB of pages that are not shared came between two synchronisations of multifd",
			STREAM_KEPT_BYTES_MAX >> 20);
	if (stream->kept.count == stream->kept.room) {
		size_t room = stream->kept.room ? 2 * stream->kept.room : 256;
		struct stream_kept *list = realloc(stream->kept.list, room * sizeof *list);

		if (!list)
			return wt_stream_refuse(stream, ENOMEM, "no memory for pages of multifd");
		stream->kept.list = list;
		stream->kept.room = room;
	}
	kept = &stream->kept.list[stream->kept.count];
	*kept = (struct stream_kept){ .block = block, .page = page };
	if (bytes) {
		kept->bytes = malloc(WT_PAGE_SIZE);
		if (!kept->bytes)
			return wt_stream_refuse(stream, ENOMEM, "no memory for pages of multifd");
		memcpy(kept->bytes, bytes, WT_PAGE_SIZE);
	}
	stream->kept.count++;
	stream->kept.bytes += WT_PAGE_SIZE; /* a zero page counts as much: bounded is what matters */
	return STREAM_PROGRESS;
}

/* Writes the kept pages. */
static int write_kept(struct wt_stream *stream)
{
	if (stream->kept.count && stream->section_type == QEMU_VM_SECTION_START)
		return wt_stream_refuse(
			stream, EPROTO, "multifd has brought pages before RAM's start section has ended");
	for (size_t i = 0; i < stream->kept.count; i++) {
		struct stream_kept *kept = &stream->kept.list[i];
		int rc = wt_stream_keep_page(stream, kept->block, kept->page, kept->bytes);

		if (rc < 0)
			return rc;
		free(kept->bytes);
		kept->bytes = NULL;
	}
	stream->kept.count = 0;
	stream->kept.bytes = 0;
	return 0;
}

int wt_stream_sync(struct wt_stream *stream)
{
	int rc;

	for (unsigned i = 0; i < stream->channel_count; i++) {
		const struct wt_multifd *c = stream->channels[i];

		if (c->syncs > stream->syncs)
			continue;
		if (!c->ended)
			return STREAM_SYNC;
		return wt_stream_refuse(stream, EPROTO,
			"multifd channel %u has ended before RAM's end section: the source's QEMU gave up, was cancelled or died",
			c->id);
	}
	rc = write_kept(stream);
	if (rc < 0)
		return rc;
	stream->syncs++;
	return STREAM_PROGRESS;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stream_internal.h - what stream.c (framing) and stream_ram.c (RAM sections) share, and every limit.
 *
 * A step function looks at the bytes in [pos, fill) and answers STREAM_PROGRESS (it took some, or changed the
 * state), STREAM_MORE (it needs more bytes and took nothing) or -errno. A step never needs more than
 * STREAM_UNIT_MAX bytes at once, so what is left over in the buffer is always shorter than that.
 */
#ifndef WATARI_QEMU_STREAM_INTERNAL_H
#define WATARI_QEMU_STREAM_INTERNAL_H

#include <endian.h>

#include "stream.h"

/* Limits. */
#define STREAM_BUFFER_BYTES (1u << 20)
#define STREAM_ROOM_MIN (1u << 17)            /* less room than this: the left-over moves to the front */
#define STREAM_UNIT_MAX (8u + 1 + 255 + 4096) /* the longest: a page word, a block name, a page */
#define STREAM_RAM_BYTES_MAX (1ull << 52)     /* of all blocks together */
#define STREAM_MACHINE_NAME_MAX 255u
#define STREAM_CAPABILITIES_MAX 64u

_Static_assert(STREAM_ROOM_MIN >= WT_PAGE_SIZE, "the room offered is at least one page");
_Static_assert(STREAM_BUFFER_BYTES >= STREAM_ROOM_MIN + STREAM_UNIT_MAX, "a left-over and its rest fit");

enum stream_step_result {
	STREAM_MORE = 0,
	STREAM_PROGRESS = 1,
};

enum stream_state {
	STREAM_HEADER,
	STREAM_TOP,           /* between sections */
	STREAM_CONFIG_SUB,    /* after the machine type name: a subsection, or anything else */
	STREAM_CONFIG_CAPS,   /* in configuration/capabilities, caps_left to come */
	STREAM_RAM_TOTAL,     /* start section: the MEM_SIZE word */
	STREAM_RAM_LIST,      /* start section: the next block */
	STREAM_RAM_LIST_TAIL, /* start section: words up to EOS */
	STREAM_RAM_PAGES,     /* part or end section */
	STREAM_FOOTER,
	STREAM_PASS, /* after RAM's end */
};

enum {
	QEMU_VM_EOF = 0x00,
	QEMU_VM_SECTION_START = 0x01,
	QEMU_VM_SECTION_PART = 0x02,
	QEMU_VM_SECTION_END = 0x03,
	QEMU_VM_SECTION_FULL = 0x04,
	QEMU_VM_SUBSECTION = 0x05,
	QEMU_VM_VMDESCRIPTION = 0x06,
	QEMU_VM_CONFIGURATION = 0x07,
	QEMU_VM_COMMAND = 0x08,
	QEMU_VM_SECTION_FOOTER = 0x7e,
};

struct stream_block {
	char name[WT_BLOCK_NAME_MAX + 1];
	uint32_t name_length;
	bool in_place;
	uint64_t pages;
};

#define STREAM_NO_BLOCK UINT32_MAX

struct wt_stream {
	struct wt_stream_events events;
	void *arg;
	struct wt_error failure; /* set: the reader has stopped for good */
	int status;              /* 0, or the -errno that goes with failure */
	enum stream_state state;

	uint8_t *buffer;
	size_t pos;      /* first byte not parsed */
	size_t fill;     /* end of the bytes that arrived */
	uint64_t offset; /* of buffer[pos] in the stream */

	bool config_seen;
	uint32_t caps_left;

	uint8_t section_type; /* of the RAM section that we are in */
	bool ram_seen;
	bool ram_ended;
	uint32_t ram_section; /* RAM's section id */

	uint64_t total_bytes;  /* of all blocks, as announced */
	uint64_t listed_bytes; /* of the blocks listed so far */
	struct stream_block *blocks;
	uint32_t block_count;
	uint32_t block;         /* that CONTINUE refers to; kept from section to section */
	uint32_t block_written; /* the last one named in the section that we write, or STREAM_NO_BLOCK */
	bool section_written;   /* the header of the section that we write is out */
};

static inline uint32_t stream_be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t stream_be32(const uint8_t *p)
{
	uint32_t value;

	__builtin_memcpy(&value, p, sizeof value);
	return be32toh(value);
}

static inline uint64_t stream_be64(const uint8_t *p)
{
	uint64_t value;

	__builtin_memcpy(&value, p, sizeof value);
	return be64toh(value);
}

static inline size_t stream_available(const struct wt_stream *stream)
{
	return stream->fill - stream->pos;
}

static inline const uint8_t *stream_at(const struct wt_stream *stream)
{
	return stream->buffer + stream->pos;
}

static inline void stream_take(struct wt_stream *stream, size_t length)
{
	stream->pos += length;
	stream->offset += length;
}

/* Fills the failure, prefixed by the offset of what is being looked at; answers -code. */
int wt_stream_refuse(struct wt_stream *stream, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Takes length bytes, passing them on. */
int wt_stream_take_pass(struct wt_stream *stream, size_t length);
/* A copy of bytes that is fit to be printed. ret_text has room for length + 1. */
void wt_stream_printable(const uint8_t *bytes, size_t length, char *ret_text);

/* One step in any of the STREAM_RAM states. */
int wt_stream_ram_step(struct wt_stream *stream);
/* Writes the header of the part or end section that we are in, unless it is out. */
int wt_stream_ram_begin(struct wt_stream *stream);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stream_internal.h - what stream.c (framing), stream_ram.c (RAM sections), stream_part.c (sections that we
 * write) and stream_multifd.c (channels of multifd) share, and every limit.
 *
 * A step function looks at the bytes in [pos, fill) of its input and answers STREAM_PROGRESS (it took some,
 * or changed the state), STREAM_MORE (it needs more bytes and took nothing), STREAM_OWNER or STREAM_SYNC (it
 * took nothing and must be called again, see stream.h), or -errno. A step never needs more than
 * STREAM_UNIT_MAX bytes at once, so what is left over in a buffer after STREAM_MORE is shorter than that.
 */
#ifndef WATARI_QEMU_STREAM_INTERNAL_H
#define WATARI_QEMU_STREAM_INTERNAL_H

#include <endian.h>

#include <watari/limits.h>

#include "stream.h"

/* Limits. */
#define STREAM_ROOM_MIN (1u << 17)            /* less room than this: the left-over moves to the front */
#define STREAM_UNIT_MAX (8u + 1 + 255 + 4096) /* the longest: a page word, a block name, a page */
#define STREAM_RAM_BYTES_MAX (1ull << 52)     /* of all blocks together */
#define STREAM_MACHINE_NAME_MAX 255u
#define STREAM_CAPABILITIES_MAX 64u
#define STREAM_CHANNELS_MAX 256u           /* of multifd: their numbers are bytes */
#define STREAM_PACKET_PAGES 128u           /* of one packet: 512 KiB in every version */
#define STREAM_KEPT_BYTES_MAX (512u << 20) /* pages of multifd that stay in the stream, between two syncs */

_Static_assert(STREAM_ROOM_MIN >= WT_PAGE_SIZE, "the room offered is at least one page");
_Static_assert(WT_LIMIT_STREAM_BYTES >= STREAM_ROOM_MIN + STREAM_UNIT_MAX, "a left-over and its rest fit");

enum stream_step_result {
	STREAM_MORE = 0,
	STREAM_PROGRESS = 1,
	STREAM_OWNER = 2,
	STREAM_SYNC = 3,
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

/* Flags of a word in a RAM section. */
enum {
	RAM_SAVE_FLAG_FULL = 0x01,
	RAM_SAVE_FLAG_ZERO = 0x02,
	RAM_SAVE_FLAG_MEM_SIZE = 0x04,
	RAM_SAVE_FLAG_PAGE = 0x08,
	RAM_SAVE_FLAG_EOS = 0x10,
	RAM_SAVE_FLAG_CONTINUE = 0x20,
	RAM_SAVE_FLAG_XBZRLE = 0x40,
	RAM_SAVE_FLAG_HOOK = 0x80,
	RAM_SAVE_FLAG_COMPRESS_PAGE = 0x100,
	RAM_SAVE_FLAG_MULTIFD_FLUSH = 0x200,
	RAM_SAVE_FLAGS = WT_PAGE_SIZE - 1,
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
	bool absent; /* in place, and its pages have no bytes on channels where they are absent */
	uint64_t pages;
};

#define STREAM_NO_BLOCK UINT32_MAX

/* Bytes that arrived on one connection. */
struct stream_input {
	uint8_t *buffer; /* WT_LIMIT_STREAM_BYTES */
	size_t pos;      /* first byte not parsed */
	size_t fill;     /* end of the bytes that arrived */
	uint64_t offset; /* of buffer[pos] since the connection's beginning */
	bool absent;     /* bytes of some blocks' pages are */
	uint64_t absent_bytes;
};

/* A part section of the stripped stream. */
struct stream_part {
	bool open;      /* its header is out, its end is not */
	uint32_t block; /* the last one named in it; valid while open */
};

/* A page of multifd that stays in the stream. */
struct stream_kept {
	uint32_t block;
	uint64_t page;
	uint8_t *bytes; /* owned; NULL: zero */
};

struct wt_stream {
	struct wt_stream_events events;
	void *arg;
	struct wt_error failure; /* set: the reader has stopped for good */
	int status;              /* 0, or the -errno that goes with failure */
	enum stream_state state;

	enum wt_stream_wait wait;

	struct stream_input in;

	bool config_seen;
	uint32_t caps_left;
	bool shared_allowed; /* the capability x-ignore-shared may be on ... */
	bool addresses;      /* ... and is: an address follows each block's length in the list */
	bool shared_strip;   /* nobody hears of that */

	uint8_t section_type; /* of the RAM section that we are in */
	bool ram_seen;
	bool ram_ended;
	uint32_t ram_section; /* RAM's section id */

	uint64_t total_bytes;  /* of all blocks, as announced */
	uint64_t listed_bytes; /* of the blocks listed so far */
	struct stream_block *blocks;
	uint32_t block_count;
	uint32_t block;          /* that CONTINUE refers to; kept from section to section */
	struct stream_part part; /* being written */

	struct wt_multifd *channels[STREAM_CHANNELS_MAX];
	unsigned channel_count;
	uint64_t syncs;     /* passed by the main channel */
	bool sync_at_flush; /* the words MULTIFD_FLUSH are where all channels meet; otherwise the sections'
			       ends */
	struct {
		struct stream_kept *list; /* in the order of arrival */
		size_t count, room;
		uint64_t bytes;
	} kept;
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

static inline enum wt_stream_wait stream_wait_of(int step)
{
	return step == STREAM_OWNER  ? WT_STREAM_WAIT_OWNER
	       : step == STREAM_SYNC ? WT_STREAM_WAIT_SYNC
				     : WT_STREAM_WAIT_INPUT;
}

static inline size_t input_available(const struct stream_input *in)
{
	return in->fill - in->pos;
}

static inline const uint8_t *input_at(const struct stream_input *in)
{
	return in->buffer + in->pos;
}

static inline void input_take(struct stream_input *in, size_t length)
{
	in->pos += length;
	in->offset += length;
}

static inline size_t stream_available(const struct wt_stream *stream)
{
	return input_available(&stream->in);
}

static inline const uint8_t *stream_at(const struct wt_stream *stream)
{
	return input_at(&stream->in);
}

static inline void stream_take(struct wt_stream *stream, size_t length)
{
	input_take(&stream->in, length);
}

/* -ENOMEM, or 0. */
int wt_stream_input_open(struct stream_input *in);
/* Makes room behind what is left over. */
void wt_stream_input_room(struct stream_input *in, uint8_t **ret_buffer, size_t *ret_room);

/* Fills the failure, prefixed by the offset of what is being looked at; answers -code. */
int wt_stream_refuse(struct wt_stream *stream, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Remembers the failure that rc stands for, tells it, and answers it. */
int wt_stream_stop(struct wt_stream *stream, int rc, struct wt_error *err);
/* Tells the owner of a page, bytes NULL: of zeros; STREAM_OWNER if it takes none now. */
int wt_stream_report(struct wt_stream *stream, uint32_t block, uint64_t page, const uint8_t *bytes);
/* The same for a page whose bytes are absent in that input. */
int wt_stream_report_absent(struct wt_stream *stream, struct stream_input *in, uint32_t block, uint64_t page);
/* Takes length bytes, passing them on. */
int wt_stream_take_pass(struct wt_stream *stream, size_t length);
/* Of what x-ignore-shared adds: passed on, or stripped. */
int wt_stream_take_shared(struct wt_stream *stream, size_t length);
/* A copy of bytes that is fit to be printed. ret_text has room for length + 1. */
void wt_stream_printable(const uint8_t *bytes, size_t length, char *ret_text);

/* One step in any of the STREAM_RAM states. */
int wt_stream_ram_step(struct wt_stream *stream);
/* Tells of a page that stays in the stream and writes it into a part section; bytes NULL: of zeros. */
int wt_stream_keep_page(struct wt_stream *stream, uint32_t block, uint64_t page, const uint8_t *bytes);
/* Ends the part section that is being written, if one is. */
int wt_stream_part_end(struct wt_stream *stream);
/* Passes on what ends RAM's start section, or its end section but for the footer. */
int wt_stream_pass_end(struct wt_stream *stream);
/* The block's number, or STREAM_NO_BLOCK. */
uint32_t wt_stream_find_block(const struct wt_stream *stream, const uint8_t *name, uint32_t length);
/* The first bytes of a multifd channel. */
#define WT_MULTIFD_MAGIC 0x11223344u

/*
 * The main channel has come to a place where all channels meet: STREAM_PROGRESS when all have, STREAM_SYNC
 * while one has not. Pages that stay in the stream are then written.
 */
int wt_stream_sync(struct wt_stream *stream);
/* Keeps a page of a channel until the next sync. */
int wt_stream_keep_for_sync(struct wt_stream *stream, uint32_t block, uint64_t page, const uint8_t *bytes);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stream.h - reads QEMU's migration stream and strips guest RAM out of it.
 *
 * The reader takes the bytes that a source QEMU writes and turns them into events. What it passes on through
 * `pass` and `part` is the *stripped stream*: the same sections without the pages of blocks that are in place
 * (moved some other way); RAM part sections that became empty are dropped altogether. Pages of other blocks
 * (video RAM, ROMs) stay in it, in part sections also if they came in RAM's end section.
 *
 *   1. The stripped stream loads into the same QEMU as the whole one, given that RAM is in place. It has one
 *      channel, however many the input has.
 *   2. Every page of an in-place block that the stream holds is reported once, as page or zero. Of two
 *      contents of one page the newer one is reported later.
 *   3. After ram_end every byte of the main channel is passed unparsed.
 *   4. OPEN_RETURN_PATH and PING commands before ram_end (precopy sends none later) are reported and never
 * passed on.
 *   5. Up to ram_end all bytes of `pass`, and a part section with the newest content of every page that was
 * reported by `kept`, load as the stripped stream does: the stream can be *replayed* (replay.h).
 *
 * multifd: beside the main channel there are channels of packets with pages. Nothing is ordered between two
 * channels but by syncs: each channel, and the main one, comes to a sync and goes on when all have come there
 * (as a destination QEMU does). That is what keeps the second half of 2.
 *
 * Absent pages: a QEMU with libwatari-feed.so leaves the bytes of some blocks' pages out, on channels that
 * have said so (docs/FEED.md). Their words, names and packets stand as ever.
 *
 * Pure: no I/O, no clock; bounded memory. Input is hostile: every failure is one sentence that names the
 * offset in the stream. Formats: QEMU migration/ram.c, migration/savevm.c of versions 7.2 to 10.0, target
 * page 4 KiB.
 */
#ifndef WATARI_QEMU_STREAM_H
#define WATARI_QEMU_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/block.h>
#include <watari/error.h>

struct wt_stream;

/* Every callback answers 0, or -errno having filled err: the reader then stops for good with that error.
 * `page` and `zero` may also answer -EAGAIN: the page was not taken and is offered again by the next advance.
 */
struct wt_stream_events {
	/* One per RAM block of RAM's start section, in order; index counts from 0. Set *ret_in_place to have
	 * its pages reported and stripped; otherwise they stay in the stream. */
	int (*block)(void *arg, uint32_t index, const char *name, uint64_t length, bool *ret_in_place,
		struct wt_error *err);
	/* All blocks were listed; RAM's start section has been passed on whole. (In the input its footer is
	 * still to come: QEMU writes it late, perhaps only after multifd has taken pages.) */
	int (*blocks_end)(void *arg, struct wt_error *err);
	/* A page of an in-place block with its bytes (WT_PAGE_SIZE, valid during the call; NULL: they are
	 * absent), or announced as zero. */
	int (*page)(void *arg, uint32_t block, uint64_t page, const uint8_t *bytes, struct wt_error *err);
	int (*zero)(void *arg, uint32_t block, uint64_t page, struct wt_error *err);
	/* The end of a RAM part section: a moment to flush what was gathered. */
	int (*ram_part)(void *arg, struct wt_error *err);
	/* RAM's end section is complete (its end has been passed on): the guest is stopped, RAM is final. */
	int (*ram_end)(void *arg, struct wt_error *err);
	/* The source wants its return path, or an answer (PONG) to a ping with this value. */
	int (*open_return_path)(void *arg, struct wt_error *err);
	int (*ping)(void *arg, uint32_t value, struct wt_error *err);
	/* A page that stays in the stream, bytes NULL: of zeros. Its bytes follow by `part`. */
	int (*kept)(void *arg, uint32_t block, uint64_t page, const uint8_t *bytes, struct wt_error *err);
	/* Bytes of the stripped stream, in one order: of RAM's part sections, and all others. */
	int (*part)(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err);
	int (*pass)(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err);
};

/* A page that stays in the stream. */
struct wt_stream_page {
	uint32_t block;
	uint64_t page;
	const uint8_t *bytes; /* NULL: zeros */
};

/* What a channel waits for before it can go on. */
enum wt_stream_wait {
	WT_STREAM_WAIT_INPUT, /* more bytes */
	WT_STREAM_WAIT_OWNER, /* -EAGAIN was answered: advance with length 0 when there is room again */
	WT_STREAM_WAIT_SYNC,  /* the other channels: advance with length 0 when one of them went on */
};

int wt_stream_open(const struct wt_stream_events *events, void *arg, struct wt_stream **ret_stream);
/* After its multifd channels were closed. */
void wt_stream_close(struct wt_stream *stream);

/* From now on a stream with the capability x-ignore-shared is understood: it lacks pages of shared blocks. Of
 * no use to whom it does not have their content in some other way. strip: the stripped stream is that of a
 * QEMU without the capability; otherwise it loads where that is on. Before the first advance. */
void wt_stream_allow_shared(struct wt_stream *stream, bool strip);

/*
 * Where the caller puts input: *ret_buffer has *ret_room bytes (at least one page) until the next call into
 * the reader. wt_stream_advance then parses `length` bytes of it. Answers 0, or -errno with err filled. Only
 * a channel that waits for input may be given any.
 */
void wt_stream_buffer(struct wt_stream *stream, uint8_t **ret_buffer, size_t *ret_room);
int wt_stream_advance(struct wt_stream *stream, size_t length, struct wt_error *err);
enum wt_stream_wait wt_stream_waits(const struct wt_stream *stream);
/* The input has ended. Answers 0 where a stream may end (after ram_end), -EPROTO with err filled elsewhere.
 */
int wt_stream_finish(struct wt_stream *stream, struct wt_error *err);
/* Bytes parsed so far. */
uint64_t wt_stream_offset(const struct wt_stream *stream);
/* Called by the callback `block`, for an in-place block of that index: its pages' bytes are absent on
 * channels of which that was said. For the main channel: before it is advanced first; and how many bytes
 * were. */
void wt_stream_block_absent(struct wt_stream *stream, uint32_t index);
void wt_stream_absent(struct wt_stream *stream);
uint64_t wt_stream_absent_bytes(const struct wt_stream *stream);
bool wt_stream_ram_ended(const struct wt_stream *stream);
/* How many blocks were told so far. */
uint32_t wt_stream_block_count(const struct wt_stream *stream);

/*
 * Ends the part section of the stripped stream that is being written, if one is: what has been passed on is
 * then a stream of whole sections, and whatever follows begins with a new one. Between two advances only.
 */
int wt_stream_break(struct wt_stream *stream, struct wt_error *err);
/* Writes one part section with all pages that `next` has (false: no more); nothing if it has none. After
 * blocks_end only. Answers what `write` answers. */
int wt_stream_part_section(const struct wt_stream *stream,
	bool (*next)(void *arg, struct wt_stream_page *ret_page), void *next_arg,
	int (*write)(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err), void *write_arg,
	struct wt_error *err);

/*
 * A channel of multifd: a connection that begins with the bytes of wt_multifd_magic. All must be opened
 * before the main channel is advanced past RAM's start section (QEMU has connected them and written to them
 * before it writes the end of that): -EPROTO afterwards. A failure of one is the failure of the whole stream.
 * Formats: QEMU migration/multifd.c of 7.2 to 10.0, without compression.
 */
struct wt_multifd;

bool wt_multifd_magic(const uint8_t bytes[4]);
int wt_multifd_open(struct wt_stream *stream, struct wt_multifd **ret_channel, struct wt_error *err);
void wt_multifd_close(struct wt_multifd *channel);
/* As for the main channel. */
void wt_multifd_buffer(struct wt_multifd *channel, uint8_t **ret_buffer, size_t *ret_room);
int wt_multifd_advance(struct wt_multifd *channel, size_t length, struct wt_error *err);
enum wt_stream_wait wt_multifd_waits(const struct wt_multifd *channel);
/* The input has ended. -EPROTO within a packet, or when the main channel still waits for it. */
int wt_multifd_finish(struct wt_multifd *channel, struct wt_error *err);
uint64_t wt_multifd_offset(const struct wt_multifd *channel);
void wt_multifd_absent(struct wt_multifd *channel);
uint64_t wt_multifd_absent_bytes(const struct wt_multifd *channel);

/* The return path's messages, source-bound (big-endian, see migration.c). Answer the bytes written; room: 8
 * at least. */
size_t wt_return_path_pong(uint8_t *ret_bytes, uint32_t value);
size_t wt_return_path_shut(uint8_t *ret_bytes, uint32_t value);
size_t wt_return_path_switchover_ack(uint8_t *ret_bytes);

#endif

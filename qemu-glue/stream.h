/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stream.h - reads QEMU's migration stream and strips guest RAM out of it.
 *
 * The reader takes the bytes that a source QEMU writes and turns them into events. What it passes on through
 * `pass` is the *stripped stream*: the same sections without the pages of blocks that are in place (moved
 * some other way); RAM part sections that became empty are dropped altogether. Pages of other blocks (video
 * RAM, ROMs) stay in it.
 *
 *   1. The stripped stream loads into the same QEMU as the whole one, given that RAM is in place.
 *   2. Every page of an in-place block that the stream holds is reported once, in the stream's order, as page
 * or zero.
 *   3. After ram_end every byte is passed unparsed.
 *   4. OPEN_RETURN_PATH and PING commands before ram_end (precopy sends none later) are reported and never
 * passed on.
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

/* Every callback answers 0, or -errno having filled err: the reader then stops for good with that error. */
struct wt_stream_events {
	/* One per RAM block of RAM's start section, in order; index counts from 0. Set *ret_in_place to have
	 * its pages reported and stripped; otherwise they stay in the stream. */
	int (*block)(void *arg, uint32_t index, const char *name, uint64_t length, bool *ret_in_place,
		struct wt_error *err);
	/* All blocks were listed; the start section has been passed on. */
	int (*blocks_end)(void *arg, struct wt_error *err);
	/* A page of an in-place block with its bytes (WT_PAGE_SIZE, valid during the call), or announced as
	 * zero. */
	int (*page)(void *arg, uint32_t block, uint64_t page, const uint8_t *bytes, struct wt_error *err);
	int (*zero)(void *arg, uint32_t block, uint64_t page, struct wt_error *err);
	/* The end of a RAM part section: a moment to flush what was gathered. */
	int (*ram_part)(void *arg, struct wt_error *err);
	/* RAM's end section is complete (its end has been passed on): the guest is stopped, RAM is final. */
	int (*ram_end)(void *arg, struct wt_error *err);
	/* The source wants its return path, or an answer (PONG) to a ping with this value. */
	int (*open_return_path)(void *arg, struct wt_error *err);
	int (*ping)(void *arg, uint32_t value, struct wt_error *err);
	/* Bytes of the stripped stream, in order. */
	int (*pass)(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err);
};

int wt_stream_open(const struct wt_stream_events *events, void *arg, struct wt_stream **ret_stream);
void wt_stream_close(struct wt_stream *stream);

/*
 * Where the caller puts input: *ret_buffer has *ret_room bytes (at least one page) until the next call into
 * the reader. wt_stream_advance then parses `length` bytes of it. Answers 0, or -errno with err filled.
 */
void wt_stream_buffer(struct wt_stream *stream, uint8_t **ret_buffer, size_t *ret_room);
int wt_stream_advance(struct wt_stream *stream, size_t length, struct wt_error *err);
/* The input has ended. Answers 0 where a stream may end (after ram_end), -EPROTO with err filled elsewhere.
 */
int wt_stream_finish(struct wt_stream *stream, struct wt_error *err);
/* Bytes parsed so far. */
uint64_t wt_stream_offset(const struct wt_stream *stream);
bool wt_stream_ram_ended(const struct wt_stream *stream);

/* The return path's messages, source-bound (big-endian, see migration.c). Answer the bytes written; room: 8
 * at least. */
size_t wt_return_path_pong(uint8_t *ret_bytes, uint32_t value);
size_t wt_return_path_shut(uint8_t *ret_bytes, uint32_t value);

#endif

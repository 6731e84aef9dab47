/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * stream_recorder.h - runs the stream reader over bytes and records what it reports, for tests and fuzzers.
 *
 * The log has one line per event, with the number of stripped bytes so far: two runs are equal if their logs
 * and their stripped bytes are. The promises of stream.h that hold for any input are checked on the way,
 * with abort().
 */
#ifndef WATARI_TESTS_STREAM_RECORDER_H
#define WATARI_TESTS_STREAM_RECORDER_H

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "stream.h"
#include "stream_writer.h"

#define SR_PROMISE(condition)                                                                           \
	do {                                                                                            \
		if (!(condition)) {                                                                     \
			fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                                        \
		}                                                                                       \
	} while (0)

struct stream_recorder {
	const char *in_place; /* every block whose name begins so is in place; NULL: none */
	bool absent;          /* pages of those blocks have no bytes */
	bool shared, strip;   /* x-ignore-shared is understood, and stripped */
	int fail_at;          /* the nth event fails, counted from 1; 0: none */
	unsigned again;       /* every nth offer of a page is answered with -EAGAIN; 0, 1: none */
	unsigned offers;
	int events;
	int pages;  /* events `page` and `zero` */
	int status; /* of the first call that failed, or of finish */
	struct wt_error err;
	uint64_t offset, absent_bytes;
	struct wt_stream *stream; /* during the run */
	struct stream_writer log; /* text */
	struct stream_writer stripped;
	uint32_t blocks;
	bool block_in_place[WT_BLOCKS_MAX];
	uint64_t block_pages[WT_BLOCKS_MAX];
	bool blocks_ended, ram_ended;
};

static inline void sr_free(struct stream_recorder *r)
{
	sw_free(&r->log);
	sw_free(&r->stripped);
}

__attribute__((format(printf, 3, 4))) static inline int sr_log(
	struct stream_recorder *r, struct wt_error *err, const char *format, ...)
{
	char line[WT_BLOCK_NAME_MAX + 128];
	va_list args;
	int length;

	SR_PROMISE(!r->status && !r->ram_ended);
	length = snprintf(line, sizeof line, "%zu ", r->stripped.length);
	sw_bytes(&r->log, line, (size_t)length);
	va_start(args, format);
	length = vsnprintf(line, sizeof line, format, args);
	va_end(args);
	sw_bytes(&r->log, line, (size_t)length);
	sw_bytes(&r->log, "\n", 1);
	if (++r->events != r->fail_at)
		return 0;
	r->status = -ENOSPC;
	return wt_error_set(err, ENOSPC, "event %d was told to fail", r->events);
}

static inline int sr_block(void *arg, uint32_t index, const char *name, uint64_t length, bool *ret_in_place,
	struct wt_error *err)
{
	struct stream_recorder *r = arg;

	SR_PROMISE(!r->blocks_ended && index == r->blocks && index < WT_BLOCKS_MAX);
	SR_PROMISE(length > 0 && length % WT_PAGE_SIZE == 0 && name[0] && strlen(name) <= WT_BLOCK_NAME_MAX);
	r->blocks++;
	r->block_pages[index] = length / WT_PAGE_SIZE;
	r->block_in_place[index] = r->in_place && !strncmp(name, r->in_place, strlen(r->in_place));
	*ret_in_place = r->block_in_place[index];
	if (r->absent && *ret_in_place)
		wt_stream_block_absent(r->stream, index);
	return sr_log(r, err, "block %u %s %" PRIu64, index, name, length);
}

static inline int sr_blocks_end(void *arg, struct wt_error *err)
{
	struct stream_recorder *r = arg;

	SR_PROMISE(!r->blocks_ended && r->blocks > 0);
	r->blocks_ended = true;
	return sr_log(r, err, "blocks_end");
}

/* Is this offer turned down, to come again? */
static inline bool sr_later(struct stream_recorder *r)
{
	return r->again > 1 && ++r->offers % r->again == 0;
}

static inline void sr_check_page(struct stream_recorder *r, uint32_t block, uint64_t page)
{
	r->pages++;
	SR_PROMISE(r->blocks_ended && block < r->blocks && r->block_in_place[block]);
	SR_PROMISE(page < r->block_pages[block]);
}

static inline int sr_page(
	void *arg, uint32_t block, uint64_t page, const uint8_t *bytes, struct wt_error *err)
{
	struct stream_recorder *r = arg;
	uint64_t digest = 0xcbf29ce484222325u;
	unsigned i;

	if (sr_later(r))
		return -EAGAIN;
	sr_check_page(r, block, page);
	SR_PROMISE(r->absent == !bytes);
	if (!bytes)
		return sr_log(r, err, "page %u %" PRIu64 " absent", block, page);
	for (i = 0; i < WT_PAGE_SIZE; i++)
		digest = (digest ^ bytes[i]) * 0x100000001b3u;
	return sr_log(r, err, "page %u %" PRIu64 " %02x %016" PRIx64, block, page, bytes[0], digest);
}

static inline int sr_zero(void *arg, uint32_t block, uint64_t page, struct wt_error *err)
{
	if (sr_later(arg))
		return -EAGAIN;
	sr_check_page(arg, block, page);
	return sr_log(arg, err, "zero %u %" PRIu64, block, page);
}

static inline int sr_ram_part(void *arg, struct wt_error *err)
{
	return sr_log(arg, err, "ram_part");
}

static inline int sr_ram_end(void *arg, struct wt_error *err)
{
	struct stream_recorder *r = arg;
	int rc = sr_log(r, err, "ram_end");

	r->ram_ended = true;
	return rc;
}

static inline int sr_open_return_path(void *arg, struct wt_error *err)
{
	return sr_log(arg, err, "open_return_path");
}

static inline int sr_ping(void *arg, uint32_t value, struct wt_error *err)
{
	return sr_log(arg, err, "ping %" PRIu32, value);
}

static inline int sr_kept(
	void *arg, uint32_t block, uint64_t page, const uint8_t *bytes, struct wt_error *err)
{
	struct stream_recorder *r = arg;

	SR_PROMISE(!r->status && r->blocks_ended && !r->ram_ended);
	SR_PROMISE(block < r->blocks && !r->block_in_place[block] && page < r->block_pages[block]);
	return 0;
}

static inline int sr_pass(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err)
{
	struct stream_recorder *r = arg;

	SR_PROMISE(!r->status && length > 0);
	sw_bytes(&r->stripped, bytes, length);
	return 0;
}

/*
 * Feeds all bytes in pieces of 1 .. piece_max bytes, chosen by *seed (piece_max 0: as large as there is
 * room), then ends the input.
 */
static inline void sr_run(
	struct stream_recorder *r, const uint8_t *bytes, size_t length, size_t piece_max, uint32_t seed)
{
	static const struct wt_stream_events events = { sr_block, sr_blocks_end, sr_page, sr_zero,
		sr_ram_part, sr_ram_end, sr_open_return_path, sr_ping, sr_kept, sr_pass, sr_pass };
	struct wt_stream *stream = NULL;
	size_t fed = 0, room, piece;
	uint8_t *buffer;
	int rc;

	if (wt_stream_open(&events, r, &stream) < 0)
		abort();
	r->stream = stream;
	if (r->absent)
		wt_stream_absent(stream);
	if (r->shared)
		wt_stream_allow_shared(stream, r->strip);
	for (rc = 0; fed < length && rc == 0; fed += piece) {
		wt_stream_buffer(stream, &buffer, &room);
		SR_PROMISE(room >= WT_PAGE_SIZE);
		seed = seed * 1664525u + 1013904223u;
		piece = piece_max ? 1 + (seed >> 8) % piece_max : room;
		if (piece > room)
			piece = room;
		if (piece > length - fed)
			piece = length - fed;
		memcpy(buffer, bytes + fed, piece);
		rc = wt_stream_advance(stream, piece, &r->err);
		while (rc == 0 && wt_stream_waits(stream) == WT_STREAM_WAIT_OWNER)
			rc = wt_stream_advance(stream, 0, &r->err);
		SR_PROMISE(rc <= 0 && wt_stream_offset(stream) <= fed + piece);
		SR_PROMISE(rc == 0 || r->err.code == -rc);
		SR_PROMISE(rc < 0 || fed + piece - wt_stream_offset(stream) < 2 * WT_PAGE_SIZE);
	}
	if (rc == 0)
		rc = wt_stream_finish(stream, &r->err);
	r->status = rc;
	r->offset = wt_stream_offset(stream);
	r->absent_bytes = wt_stream_absent_bytes(stream);
	SR_PROMISE(wt_stream_ram_ended(stream) == r->ram_ended);
	SR_PROMISE(rc == 0 ? r->ram_ended && r->offset == length : r->err.code == -rc && r->err.text[0]);
	/* What failed once fails again, and reports nothing (sr_log and sr_pass check status). */
	if (rc < 0) {
		wt_stream_buffer(stream, &buffer, &room);
		memset(buffer, 0, WT_PAGE_SIZE);
		SR_PROMISE(wt_stream_advance(stream, WT_PAGE_SIZE, NULL) == rc);
		SR_PROMISE(wt_stream_finish(stream, NULL) == rc);
	}
	wt_stream_close(stream);
}

static inline bool sr_equal(const struct stream_recorder *a, const struct stream_recorder *b)
{
	return a->status == b->status && a->offset == b->offset && !strcmp(a->err.text, b->err.text) &&
	       a->log.length == b->log.length && a->stripped.length == b->stripped.length &&
	       (!a->log.length || !memcmp(a->log.data, b->log.data, a->log.length)) &&
	       (!a->stripped.length || !memcmp(a->stripped.data, b->stripped.data, a->stripped.length));
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replay.h - what another destination needs of the stripped stream when it takes over in the middle of it.
 *
 * Fed with what the reader reports (stream.h), it keeps the bytes that are no page, and the newest content of
 * every page that stays in the stream. Writing that down gives a stream that stands where the reader stands:
 * what the reader passes on afterwards continues it. A destination that comes back has had the beginning, and
 * is given only what came since it left (a *position*), and the pages.
 *
 * Feeding never fails: when there is no memory, or more to keep than allowed, the stream cannot be replayed
 * any more, and the migration goes on. Behind RAM's end nothing is kept. Pure. NULL is allowed for all but
 * open: nothing is kept.
 */
#ifndef WATARI_QEMU_REPLAY_H
#define WATARI_QEMU_REPLAY_H

#include "stream.h"

#define WT_REPLAY_PAGES_MAX (256u << 20)  /* bytes of pages, their tables included: video RAM and ROMs */
#define WT_REPLAY_VERBATIM_MAX (1u << 20) /* bytes that are no page */

struct wt_replay;

/* pages_max: of bytes of pages. */
int wt_replay_open(size_t pages_max, struct wt_replay **ret_replay);
void wt_replay_close(struct wt_replay *replay);

void wt_replay_block(struct wt_replay *replay, uint32_t index, uint64_t length);
void wt_replay_blocks_end(struct wt_replay *replay);
void wt_replay_kept(struct wt_replay *replay, uint32_t block, uint64_t page, const uint8_t *bytes);
void wt_replay_pass(struct wt_replay *replay, const uint8_t *bytes, size_t length);
void wt_replay_ram_end(struct wt_replay *replay);

/* Can the stream be replayed now? 0, or the reason: -ENODATA before the list of blocks, -ENOBUFS or
 * -E2BIG there was too much to keep, -ENOMEM, -ESTALE behind RAM's end, -EOPNOTSUPP nothing is kept. */
int wt_replay_check(const struct wt_replay *replay, struct wt_error *err);
/* Where the stream stands; never 0 once it can be replayed. */
uint64_t wt_replay_position(const struct wt_replay *replay);
/* Writes what a destination lacks that left at position `from` (0: it has had nothing), up to here. The
 * reader must stand between sections (wt_stream_break). */
int wt_replay_write(const struct wt_replay *replay, const struct wt_stream *stream, uint64_t from,
	int (*write)(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err), void *arg,
	struct wt_error *err);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * frame.h - a run of pages, compressed: what the files ram-*.zst consist of (docs/CHECKPOINT.md).
 */
#ifndef WATARI_QEMU_FRAME_H
#define WATARI_QEMU_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include <watari/block.h>

#define WT_FRAME_PAGES 32u /* of one frame, at most */
#define WT_FRAME_HEADER 24u

/* As it lies in the file, little-endian; the compressed bytes follow. */
struct wt_frame_header {
	uint32_t length; /* of the compressed bytes */
	uint32_t pages;
	uint64_t first;    /* page */
	uint64_t checksum; /* XXH3, 64 bits, of the header with 0 here and of the compressed bytes */
};

_Static_assert(sizeof(struct wt_frame_header) == WT_FRAME_HEADER, "goes into files");

/* Of a frame with this header and these compressed bytes; its own checksum is left out. */
uint64_t wt_frame_checksum(struct wt_frame_header header, const void *bytes);
/* Bytes that a frame has at most, its header included. */
size_t wt_frame_bound(void);
/* Compresses pages, which must not change meanwhile. Answers the frame's length, or -errno. */
int wt_frame_write(
	uint64_t first, uint32_t pages, const void *bytes, int level, void *ret_frame, size_t room);
/*
 * Reads the frame at an offset of a file; the pages go to ret_pages, which has room for WT_FRAME_PAGES.
 * scratch has wt_frame_bound() bytes. -EBADMSG: it is damaged, or none; -ENODATA: the file ends before; or
 * what pread says.
 */
int wt_frame_read(
	int fd, uint64_t offset, void *scratch, uint64_t *ret_first, uint32_t *ret_count, void *ret_pages);

#endif

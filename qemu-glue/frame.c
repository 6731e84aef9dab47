/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * frame.c - see frame.h.
 *
 *   1. What is read is hostile: lengths are checked before they are used, the checksum before anything is
 * decompressed, and no more is written than the pages that the header names.
 *
 * Keeps nothing; any thread.
 */
#include "frame.h"

#include <errno.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <xxhash.h>
#include <zstd.h>

#include "read_pages.h"

size_t wt_frame_bound(void)
{
	return WT_FRAME_HEADER + ZSTD_compressBound((size_t)WT_FRAME_PAGES * WT_PAGE_SIZE);
}

uint64_t wt_frame_checksum(struct wt_frame_header header, const void *bytes)
{
	uint64_t first;

	header.checksum = 0;
	first = XXH3_64bits(&header, sizeof header);
	return XXH3_64bits_withSeed(bytes, header.length, first);
}

int wt_frame_write(uint64_t first, uint32_t pages, const void *bytes, int level, void *ret_frame, size_t room)
{
	struct wt_frame_header header = { .pages = pages, .first = first };
	uint8_t *frame = ret_frame;
	size_t n;

	if (!pages || pages > WT_FRAME_PAGES || room < WT_FRAME_HEADER)
		return -EINVAL;
	n = ZSTD_compress(
		frame + WT_FRAME_HEADER, room - WT_FRAME_HEADER, bytes, (size_t)pages * WT_PAGE_SIZE, level);
	if (ZSTD_isError(n))
		return -ENOBUFS;
	header.length = (uint32_t)n;
	header.checksum = wt_frame_checksum(header, frame + WT_FRAME_HEADER);
	memcpy(frame, &header, sizeof header);
	return (int)(WT_FRAME_HEADER + n);
}

int wt_frame_read(
	int fd, uint64_t offset, void *scratch, uint64_t *ret_first, uint32_t *ret_count, void *ret_pages)
{
	struct wt_frame_header header;
	int r = wt_read_at(fd, &header, sizeof header, offset);
	size_t bytes;

	if (r)
		return r;
	if (!header.pages || header.pages > WT_FRAME_PAGES ||
		header.length > wt_frame_bound() - WT_FRAME_HEADER)
		return -EBADMSG;
	r = wt_read_at(fd, scratch, header.length, offset + WT_FRAME_HEADER);
	if (r)
		return r;
	bytes = (size_t)header.pages * WT_PAGE_SIZE;
	if (wt_frame_checksum(header, scratch) != header.checksum ||
		ZSTD_decompress(ret_pages, bytes, scratch, header.length) != bytes)
		return -EBADMSG;
	*ret_first = header.first;
	*ret_count = header.pages;
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * read_pages.c - see read_pages.h. Leaves the descriptor's position alone.
 */
#include "read_pages.h"

#include <errno.h>
#include <sys/types.h>
#include <unistd.h>

#include <watari/block.h>

int wt_read_at(int fd, void *ret_bytes, uint64_t length, uint64_t offset)
{
	uint8_t *to = ret_bytes;

	while (length) {
		ssize_t n = pread(fd, to, length, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ENODATA;
		to += n;
		offset += (uint64_t)n;
		length -= (uint64_t)n;
	}
	return 0;
}

int wt_read_pages(int fd, uint64_t fd_offset, uint64_t length, uint64_t page, uint32_t pages, void *ret_bytes)
{
	uint64_t all = length >> WT_PAGE_SHIFT;

	if (page > all || pages > all - page)
		return -EINVAL;
	return wt_read_at(
		fd, ret_bytes, (uint64_t)pages << WT_PAGE_SHIFT, fd_offset + (page << WT_PAGE_SHIFT));
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * read_pages.c - see read_pages.h. Leaves the descriptor's position alone.
 */
#include "read_pages.h"

#include <errno.h>
#include <sys/types.h>
#include <unistd.h>

#include <watari/block.h>

int wt_read_pages(int fd, uint64_t fd_offset, uint64_t length, uint64_t page, uint32_t pages, void *ret_bytes)
{
	uint64_t all = length >> WT_PAGE_SHIFT, offset = page << WT_PAGE_SHIFT, end;
	uint8_t *bytes = ret_bytes;
	ssize_t n;

	if (page > all || pages > all - page)
		return -EINVAL;
	for (end = offset + ((uint64_t)pages << WT_PAGE_SHIFT); offset < end; offset += (uint64_t)n) {
		n = pread(fd, bytes, end - offset, (off_t)(fd_offset + offset));
		if (n < 0 && errno == EINTR)
			n = 0;
		else if (n <= 0)
			return n ? -errno : -ENODATA;
		bytes += n;
	}
	return 0;
}

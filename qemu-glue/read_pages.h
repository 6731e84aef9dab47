/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * read_pages.h - bytes of a file, and pages of a block in one: where a mapping would answer an error with a
 * signal. Any thread.
 */
#ifndef WATARI_QEMU_READ_PAGES_H
#define WATARI_QEMU_READ_PAGES_H

#include <stdint.h>

/* All of them. -ENODATA: the file is too short; or what pread says. */
int wt_read_at(int fd, void *ret_bytes, uint64_t length, uint64_t offset);
/* Pages of a block of `length` bytes that lies at fd_offset in the file. -EINVAL: they are not in the block;
 * or what wt_read_at says. */
int wt_read_pages(
	int fd, uint64_t fd_offset, uint64_t length, uint64_t page, uint32_t pages, void *ret_bytes);

#endif

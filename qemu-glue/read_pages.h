/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * read_pages.h - pages of a block, read from its file: where a mapping would answer an error with a signal.
 */
#ifndef WATARI_QEMU_READ_PAGES_H
#define WATARI_QEMU_READ_PAGES_H

#include <stdint.h>

/*
 * Reads pages of a block of `length` bytes that lies at fd_offset in the file. -EINVAL: they are not in the
 * block; -ENODATA: the file is too short; or what pread says. Any thread.
 */
int wt_read_pages(
	int fd, uint64_t fd_offset, uint64_t length, uint64_t page, uint32_t pages, void *ret_bytes);

#endif

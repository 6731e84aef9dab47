/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * holes.h - where a file has bytes, and where it has holes, which read as zeros.
 *
 * Holes are asked for (SEEK_DATA), never touched: reading one in a mapping would allocate it. A file that
 * does not know holes has data everywhere. Offsets are bytes in the file; end is where the question ends.
 */
#ifndef WATARI_QEMU_HOLES_H
#define WATARI_QEMU_HOLES_H

#include <stdint.h>

/* The end of the hole that begins at offset; offset itself where there are bytes. */
uint64_t wt_hole_end(int fd, uint64_t offset, uint64_t end);
/* The end of the bytes that begin at offset. */
uint64_t wt_data_end(int fd, uint64_t offset, uint64_t end);

#endif

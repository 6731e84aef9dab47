/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory_id.h - tells whether two ends speak of one and the same memory.
 *
 * The identity of a file on a running host: the kernel's boot id, the file's device and inode, and where in
 * it the block begins. Pulling a block into itself would destroy it under the running guest, and no
 * comparison would notice.
 */
#ifndef WT_MEMORY_ID_H
#define WT_MEMORY_ID_H

#include <stdbool.h>
#include <stdint.h>

#define WT_MEMORY_ID_BYTES 60

/* All zeros where there is no file (fd < 0) or nothing can be found out. */
void wt_memory_id(int fd, uint64_t fd_offset, uint8_t ret_id[WT_MEMORY_ID_BYTES]);
/* Both known, and the same. */
bool wt_memory_id_same(const uint8_t a[WT_MEMORY_ID_BYTES], const uint8_t b[WT_MEMORY_ID_BYTES]);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ram_block.h - one RAM block of QEMU, and our mapping of it if it is shared.
 *
 * That RAM is shared is proven by the kernel's tables (/proc/PID/maps: 's', device, inode, offset), not
 * believed from a command line. Reading another process's /proc needs the same user.
 */
#ifndef WATARI_QEMU_RAM_BLOCK_H
#define WATARI_QEMU_RAM_BLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <watari/block.h>

#include "proc_maps.h"

struct wt_ram_block {
	char name[WT_BLOCK_NAME_MAX + 1]; /* id string, as in the migration stream */
	uint64_t length;                  /* used length, bytes */
	bool shared;                      /* mapped here, and the same memory that QEMU uses */
	void *base;                       /* our mapping, readable and writable; NULL unless shared */
	int fd;                           /* of the file below; -1 unless shared; owned */
	uint64_t fd_offset;               /* of the block's first byte in that file */
	uint64_t backing_page_size;       /* bytes: 4096, 2 MiB, 1 GiB */
	bool staged;   /* main memory that is not shared: it is copied out of the migration stream */
	pid_t pid;     /* of QEMU */
	uint64_t host; /* its address in QEMU; 0: not known */
};

/*
 * Maps the block, which lies at address `host` of process pid, whose maps were read, if they are shared;
 * otherwise leaves the block as it is. Mapped memory is left out of core dumps and of forked children.
 */
void wt_ram_block_map(pid_t pid, const struct wt_proc_maps *maps, uint64_t host, struct wt_ram_block *block);
void wt_ram_block_unmap(struct wt_ram_block *block);
/*
 * Copies pages of a shared block through its file, so that holes stay holes and there is no SIGBUS. They may
 * change meanwhile. Any thread. -EINVAL: not in the block; -ENODATA: the file has shrunk; -EIO ...
 */
int wt_ram_block_read(const struct wt_ram_block *block, uint64_t page, uint32_t pages, void *ret_bytes);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * memory_id.c - boot id (36 characters), device, inode, offset. See memory_id.h.
 */
#include "memory_id.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BOOT_ID_BYTES 36

_Static_assert(BOOT_ID_BYTES + 3 * sizeof(uint64_t) == WT_MEMORY_ID_BYTES, "boot id, device, inode, offset");

void wt_memory_id(int fd, uint64_t fd_offset, uint8_t ret_id[WT_MEMORY_ID_BYTES])
{
	uint8_t id[WT_MEMORY_ID_BYTES];
	uint64_t numbers[3];
	struct stat file;
	ssize_t n = -1;
	int boot;

	memset(ret_id, 0, WT_MEMORY_ID_BYTES);
	if (fd < 0 || fstat(fd, &file))
		return;
	boot = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	if (boot < 0)
		return;
	n = read(boot, id, BOOT_ID_BYTES);
	close(boot);
	if (n != BOOT_ID_BYTES)
		return;
	numbers[0] = file.st_dev;
	numbers[1] = file.st_ino;
	numbers[2] = fd_offset;
	memcpy(id + BOOT_ID_BYTES, numbers, sizeof numbers);
	memcpy(ret_id, id, sizeof id);
}

bool wt_memory_id_same(const uint8_t a[WT_MEMORY_ID_BYTES], const uint8_t b[WT_MEMORY_ID_BYTES])
{
	static const uint8_t unknown[WT_MEMORY_ID_BYTES];

	return memcmp(a, b, WT_MEMORY_ID_BYTES) == 0 && memcmp(a, unknown, WT_MEMORY_ID_BYTES) != 0;
}

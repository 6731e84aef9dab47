/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ram_block.c - our mapping of memory that another process has mapped.
 *
 *   1. shared == (base != NULL) == (fd >= 0).
 *   2. A shared block lies in one file without a gap, mapped MAP_SHARED and writable by QEMU, and our mapping
 *      shows the same device, inode and offset in /proc/self/maps: the kernel says so, not QEMU.
 *   3. The file was long enough for the block when it was mapped.
 *
 * Descriptors of QEMU are looked at with stat before they are opened, so that no device or FIFO is opened by
 * accident. Any thread.
 */
#include "ram_block.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "read_pages.h"

static uint64_t mapping_length(const struct wt_ram_block *block)
{
	return (block->length + block->backing_page_size - 1) / block->backing_page_size *
	       block->backing_page_size;
}

static bool is_backing(const struct stat *file, const struct wt_proc_span *span)
{
	return (S_ISREG(file->st_mode) || S_ISCHR(file->st_mode)) && file->st_ino == span->inode &&
	       major(file->st_dev) == span->dev_major && minor(file->st_dev) == span->dev_minor;
}

/* Opens one of QEMU's descriptors of the file. -ENOENT: none can be opened. */
static int open_descriptor(pid_t pid, const struct wt_proc_span *span)
{
	char path[64 + NAME_MAX];
	struct dirent *entry;
	struct stat file;
	DIR *descriptors;
	int fd = -ENOENT;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	descriptors = opendir(path);
	if (!descriptors)
		return -errno;
	while (fd < 0 && (entry = readdir(descriptors))) {
		if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
			continue;
		snprintf(path, sizeof path, "/proc/%d/fd/%s", (int)pid, entry->d_name);
		if (stat(path, &file) || !is_backing(&file, span))
			continue;
		fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
		if (fd >= 0 && (fstat(fd, &file) || !is_backing(&file, span))) {
			close(fd);
			fd = -ENOENT;
		}
		if (fd < 0)
			fd = -ENOENT;
	}
	closedir(descriptors);
	return fd;
}

/* Where QEMU keeps no descriptor (memory-backend-ram,share=on): the mapping itself, which needs privileges.
 */
static int open_mapping(pid_t pid, const struct wt_proc_span *span)
{
	char path[96];
	struct stat file;
	int fd;

	snprintf(path, sizeof path, "/proc/%d/map_files/%llx-%llx", (int)pid,
		(unsigned long long)span->map_start, (unsigned long long)span->map_end);
	if (stat(path, &file) || !S_ISREG(file.st_mode))
		return -ENOENT;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static bool long_enough(int fd, uint64_t offset, uint64_t length)
{
	struct stat file;

	if (fstat(fd, &file))
		return false;
	return !S_ISREG(file.st_mode) ||
	       ((uint64_t)file.st_size >= offset && (uint64_t)file.st_size - offset >= length);
}

/* Our mapping is of the file, and at the place in it, that QEMU's is. */
static bool same_memory(const void *base, uint64_t length, const struct wt_proc_span *span)
{
	struct wt_proc_maps *maps = NULL;
	struct wt_proc_span ours;
	bool same;

	if (wt_proc_maps_read(getpid(), &maps, NULL) < 0)
		return false;
	same = !wt_proc_maps_span(maps, (uint64_t)(uintptr_t)base, length, &ours) &&
	       ours.inode == span->inode && ours.dev_major == span->dev_major &&
	       ours.dev_minor == span->dev_minor && ours.offset == span->offset;
	wt_proc_maps_free(maps);
	return same;
}

static uint64_t page_size(int fd, uint64_t said_by_qemu)
{
	struct statfs fs;

	if (!fstatfs(fd, &fs) && (unsigned long)fs.f_type == HUGETLBFS_MAGIC && fs.f_bsize >= WT_PAGE_SIZE)
		return (uint64_t)fs.f_bsize;
	return said_by_qemu;
}

void wt_ram_block_map(pid_t pid, const struct wt_proc_maps *maps, uint64_t host, struct wt_ram_block *block)
{
	struct wt_proc_span span;
	uint64_t length;
	void *base;
	int fd;

	if (wt_proc_maps_span(maps, host, block->length, &span) < 0)
		return;
	fd = open_descriptor(pid, &span);
	if (fd < 0)
		fd = open_mapping(pid, &span);
	if (fd < 0)
		return;
	block->backing_page_size = page_size(fd, block->backing_page_size);
	length = mapping_length(block);
	if (span.offset > INT64_MAX || !long_enough(fd, span.offset, block->length))
		goto fail_close;
	base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)span.offset);
	if (base == MAP_FAILED)
		goto fail_close;
	if (!same_memory(base, block->length, &span))
		goto fail_unmap;
	madvise(base, length, MADV_DONTDUMP);
	madvise(base, length, MADV_DONTFORK);
	block->base = base;
	block->fd = fd;
	block->fd_offset = span.offset;
	block->shared = true;
	return;

fail_unmap:
	munmap(base, length);
fail_close:
	close(fd);
}

void wt_ram_block_unmap(struct wt_ram_block *block)
{
	if (!block->shared)
		return;
	munmap(block->base, mapping_length(block));
	close(block->fd);
	block->shared = false;
	block->base = NULL;
	block->fd = -1;
}

int wt_ram_block_read(const struct wt_ram_block *block, uint64_t page, uint32_t pages, void *ret_bytes)
{
	return wt_read_pages(block->fd, block->fd_offset, block->length, page, pages, ret_bytes);
}

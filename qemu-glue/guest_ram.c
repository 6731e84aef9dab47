/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guest_ram.c - which file holds which RAM block of QEMU, and our mapping of it.
 *
 * Owns the mappings and descriptors of the blocks that are shared.
 *   1. shared == (base != NULL) == (fd >= 0).
 *   2. A shared block lies in one file without a gap, mapped MAP_SHARED and writable by QEMU, and our mapping
 *      shows the same device, inode and offset in /proc/self/maps: the kernel says so, not QEMU.
 *   3. Whatever is ambiguous (two regions of one name at different addresses, lengths that can change) is not
 *      shared.
 *   4. The file was long enough for the block when it was mapped.
 *
 * Descriptors of QEMU are looked at with stat before they are opened, so that no device or FIFO is opened by
 * accident. Called by the thread of qmp's loop; waits for QEMU's answers. It does not watch for changes:
 * blocks that come or go later are not seen.
 */
#include "guest_ram.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "hmp_text.h"
#include "proc_maps.h"

#define MONITOR_TIMEOUT_NS 10000000000ull
#define HOST_AMBIGUOUS 1ull /* no address of RAM: not page-aligned */

static uint64_t mapping_length(const struct wt_ram_block *block)
{
	return (block->length + block->backing_page_size - 1) / block->backing_page_size *
	       block->backing_page_size;
}

/* ---- Addresses in QEMU ---- */

/* The block of a memory region: the one with its name, else the only one with a device path before it. */
static struct wt_hmp_block *find_block(struct wt_hmp_block *blocks, unsigned count, const char *region)
{
	struct wt_hmp_block *found = NULL;
	size_t length = strlen(region);
	unsigned i;

	if (!length)
		return NULL;
	for (i = 0; i < count; i++)
		if (!strcmp(blocks[i].name, region))
			return &blocks[i];
	for (i = 0; i < count; i++) {
		size_t whole = strlen(blocks[i].name);

		if (whole <= length || blocks[i].name[whole - length - 1] != '/' ||
			strcmp(blocks[i].name + whole - length, region))
			continue;
		if (found)
			return NULL;
		found = &blocks[i];
	}
	return found;
}

static int locate_range(struct wt_qmp *qmp, const struct wt_hmp_range *range, struct wt_hmp_block *blocks,
	unsigned count, struct wt_error *err)
{
	char command[64], region[WT_BLOCK_NAME_MAX + 1], *text = NULL;
	struct wt_hmp_block *block;
	uint64_t host;
	int r;

	snprintf(command, sizeof command, "gpa2hva 0x%llx", (unsigned long long)range->address);
	r = wt_qmp_human(qmp, command, MONITOR_TIMEOUT_NS, &text, err);
	if (r < 0)
		return r;
	r = wt_hmp_parse_gpa2hva(text, strlen(text), region, &host);
	free(text);
	if (r < 0)
		return 0;
	block = find_block(blocks, count, region);
	if (!block)
		return 0;
	if (host < range->region_offset || range->region_offset >= block->used_length)
		block->host = HOST_AMBIGUOUS;
	else if (!block->host)
		block->host = host - range->region_offset;
	else if (block->host != host - range->region_offset)
		block->host = HOST_AMBIGUOUS;
	return 0;
}

/* Before QEMU 8.1: asks for the address of every range of guest RAM. */
static int locate_blocks(
	struct wt_qmp *qmp, struct wt_hmp_block *blocks, unsigned count, struct wt_error *err)
{
	struct wt_hmp_range *ranges = NULL;
	unsigned range_count = 0, i;
	char *text = NULL;
	int r;

	for (i = 0; i < count && blocks[i].host; i++)
		;
	if (i == count)
		return 0;
	for (i = 0; i < count; i++)
		blocks[i].host = 0;
	r = wt_qmp_human(qmp, "info mtree -f", MONITOR_TIMEOUT_NS, &text, err);
	if (r < 0)
		return r;
	r = wt_hmp_parse_mtree(text, strlen(text), &ranges, &range_count, err);
	free(text);
	for (i = 0; r >= 0 && i < range_count; i++)
		r = locate_range(qmp, &ranges[i], blocks, count, err);
	free(ranges);
	return r;
}

static int list_blocks(
	struct wt_qmp *qmp, struct wt_hmp_block **ret_blocks, unsigned *ret_count, struct wt_error *err)
{
	struct wt_hmp_block *blocks = NULL;
	unsigned count = 0;
	char *text = NULL;
	int r;

	r = wt_qmp_human(qmp, "info ramblock", MONITOR_TIMEOUT_NS, &text, err);
	if (r < 0)
		return r;
	r = wt_hmp_parse_ramblock(text, strlen(text), &blocks, &count, err);
	free(text);
	if (r < 0)
		return r;
	r = locate_blocks(qmp, blocks, count, err);
	if (r < 0) {
		free(blocks);
		return r;
	}
	*ret_blocks = blocks;
	*ret_count = count;
	return 0;
}

/* ---- Files ---- */

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

/* Maps a block if it is shared; otherwise leaves it as it is. */
static void map_block(pid_t pid, const struct wt_proc_maps *maps, uint64_t host, struct wt_ram_block *block)
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

int wt_guest_ram_open(struct wt_qmp *qmp, struct wt_guest_ram **ret_ram, struct wt_error *err)
{
	struct wt_hmp_block *found = NULL;
	struct wt_proc_maps *maps = NULL;
	struct wt_guest_ram *ram = NULL;
	pid_t pid = wt_qmp_pid(qmp);
	unsigned count = 0, i;
	int r;

	if (pid <= 0)
		return wt_error_set(err, ESRCH,
			"the process behind the QMP socket is unknown; run watari in the same PID namespace as QEMU");
	r = list_blocks(qmp, &found, &count, err);
	if (r < 0)
		return r;
	r = wt_proc_maps_read(pid, &maps, err);
	if (r < 0)
		goto out;
	ram = calloc(1, sizeof *ram);
	if (ram)
		ram->blocks = calloc(count ? count : 1, sizeof *ram->blocks);
	if (!ram || !ram->blocks) {
		free(ram);
		r = wt_error_set(err, ENOMEM, "no memory for a list of %u RAM blocks", count);
		goto out;
	}
	ram->count = count;
	for (i = 0; i < count; i++) {
		struct wt_ram_block *block = &ram->blocks[i];

		strcpy(block->name, found[i].name);
		block->length = found[i].used_length;
		block->backing_page_size = found[i].page_size;
		block->fd = -1;
		block->pid = pid;
		if (found[i].host != HOST_AMBIGUOUS)
			block->host = found[i].host;
		if (found[i].used_length == found[i].max_length && block->host)
			map_block(pid, maps, block->host, block);
	}
	*ret_ram = ram;
	r = 0;
out:
	wt_proc_maps_free(maps);
	free(found);
	return r;
}

void wt_guest_ram_close(struct wt_guest_ram *ram)
{
	unsigned i;

	if (!ram)
		return;
	for (i = 0; i < ram->count; i++) {
		if (!ram->blocks[i].shared)
			continue;
		munmap(ram->blocks[i].base, mapping_length(&ram->blocks[i]));
		close(ram->blocks[i].fd);
	}
	free(ram->blocks);
	free(ram);
}

const struct wt_ram_block *wt_guest_ram_find(const struct wt_guest_ram *ram, const char *name)
{
	unsigned i;

	for (i = 0; i < ram->count; i++)
		if (!strcmp(ram->blocks[i].name, name))
			return &ram->blocks[i];
	return NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * guest_ram.c - where QEMU's RAM blocks lie, asked over QMP, and our mapping of those that are shared.
 *
 * Owns the list of blocks; ram_block.c maps them.
 *   1. Whatever is ambiguous (two regions of one name at different addresses, lengths that can change) is not
 *      shared.
 *
 * Called by the thread of qmp's loop; waits for QEMU's answers. It does not watch for changes: blocks that
 * come or go later are not seen.
 */
#include "guest_ram.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hmp_text.h"
#include "proc_maps.h"

#define MONITOR_TIMEOUT_NS 10000000000ull
#define HOST_AMBIGUOUS 1ull /* no address of RAM: not page-aligned */

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
			strcmp(blocks[i].name + whole - length, region) != 0)
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
	if (strcmp(region, range->region) != 0) /* which lies above it there */
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

/*
 * Before QEMU 8.1: asks for the address of every range of guest RAM. `info mtree -f` would say more, but each
 * time it is asked QEMU forgets to let go of some of its views of memory, and with them of all devices that
 * are in them: one that is unplugged later is never really gone, nor told to be (DEVICE_DELETED).
 */
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
	r = wt_qmp_human(qmp, "info mtree", MONITOR_TIMEOUT_NS, &text, err);
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
			wt_ram_block_map(pid, maps, block->host, block);
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
	for (i = 0; i < ram->count; i++)
		wt_ram_block_unmap(&ram->blocks[i]);
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

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hmp_text.c - takes apart what QEMU's human monitor prints about RAM.
 *
 *   1. Lines are taken apart from the end where a name stands first: names may hold spaces.
 *   2. No two blocks have one name; every length is a multiple of the page and not zero.
 *
 * Formats: ram_block_format in softmmu/physmem.c (system/physmem.c), mtree_print_flatview in softmmu/memory.c
 * and hmp_gpa2hva in monitor/misc.c of QEMU 7.2 to 10.0. Pure; any thread.
 * It does not decide which file a block is in (guest_ram.c).
 */
#include "hmp_text.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "scan.h"

#define HMP_RANGES_MAX 4096

/* Room for one more, doubling. */
static int grow(void **array, unsigned count, size_t size)
{
	void *grown;

	if (count & (count - 1) || (count && count < 16))
		return 0;
	grown = reallocarray(*array, count ? (size_t)count * 2 : 16, size);
	if (!grown)
		return -ENOMEM;
	*array = grown;
	return 0;
}

static int bad_line(struct wt_error *err, const char *command, unsigned number)
{
	return wt_error_set(err, EPROTO,
		"line %u of QEMU's answer to '%s' is not understood; this QEMU is newer than watari knows",
		number, command);
}

static bool copy_name(struct wt_scan text, char ret_name[WT_BLOCK_NAME_MAX + 1])
{
	size_t length = (size_t)(text.end - text.begin);

	if (length > WT_BLOCK_NAME_MAX || memchr(text.begin, '\0', length))
		return false;
	memcpy(ret_name, text.begin, length);
	ret_name[length] = '\0';
	return true;
}

/* "4" and "KiB". */
static bool parse_size(struct wt_scan number, struct wt_scan unit, uint64_t *ret_bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	uint64_t value;
	unsigned i;

	if (!wt_scan_number(&number, 10, &value) || number.begin != number.end || value > 1023)
		return false;
	for (i = 0; i < sizeof units / sizeof *units; i++) {
		if (wt_scan_equals(unit, units[i])) {
			*ret_bytes = value << (10 * i);
			return true;
		}
	}
	return false;
}

/* "   mem0    4 KiB  0xOFFSET 0xUSED 0xTOTAL", from 8.1 on with " 0xHOST  rw". */
static bool parse_block(struct wt_scan line, struct wt_hmp_block *ret_block)
{
	struct wt_hmp_block block = { .host = 0 };
	struct wt_scan word, unit, number;
	uint64_t offset;

	if (!wt_scan_last_word(&line, &word))
		return false;
	if (wt_scan_equals(word, "rw") || wt_scan_equals(word, "ro")) {
		if (!wt_scan_last_word(&line, &word) || !wt_scan_is_hex(word, &block.host) ||
			!wt_scan_last_word(&line, &word))
			return false;
	}
	if (!wt_scan_is_hex(word, &block.max_length) || !wt_scan_last_word(&line, &word) ||
		!wt_scan_is_hex(word, &block.used_length) || !wt_scan_last_word(&line, &word) ||
		!wt_scan_is_hex(word, &offset))
		return false;
	if (!wt_scan_last_word(&line, &unit) || !wt_scan_last_word(&line, &number) ||
		!parse_size(number, unit, &block.page_size))
		return false;
	wt_scan_spaces(&line);
	if (!copy_name(line, block.name))
		return false;
	*ret_block = block;
	return true;
}

static int check_block(const struct wt_hmp_block *block, const struct wt_hmp_block *others, unsigned count,
	struct wt_error *err)
{
	unsigned i;

	if (!block->used_length || block->used_length % WT_PAGE_SIZE ||
		block->used_length > block->max_length || block->max_length > INT64_MAX ||
		block->page_size < WT_PAGE_SIZE || block->page_size > 1ull << 40 ||
		block->page_size & (block->page_size - 1))
		return wt_error_set(err, EPROTO,
			"QEMU says that RAM block '%s' has %llu of %llu bytes in pages of %llu, which cannot be",
			block->name, (unsigned long long)block->used_length,
			(unsigned long long)block->max_length, (unsigned long long)block->page_size);
	for (i = 0; i < count; i++)
		if (!strcmp(block->name, others[i].name))
			return wt_error_set(
				err, EPROTO, "QEMU lists two RAM blocks with the name '%s'", block->name);
	if (count == WT_BLOCKS_MAX)
		return wt_error_set(
			err, E2BIG, "this guest has more than %u RAM blocks, too many", WT_BLOCKS_MAX);
	return 0;
}

int wt_hmp_parse_ramblock(const char *text, size_t length, struct wt_hmp_block **ret_blocks,
	unsigned *ret_count, struct wt_error *err)
{
	struct wt_scan rest = { text, text + length }, line;
	struct wt_hmp_block *blocks = NULL, block;
	unsigned count = 0, number = 1;
	int r;

	if (!wt_scan_line(&rest, &line))
		return bad_line(err, "info ramblock", number);
	wt_scan_spaces(&line);
	if (!wt_scan_literal(&line, "Block Name"))
		return bad_line(err, "info ramblock", number);
	while (wt_scan_line(&rest, &line)) {
		number++;
		wt_scan_spaces(&line);
		if (line.begin == line.end)
			continue;
		if (!parse_block(line, &block)) {
			r = bad_line(err, "info ramblock", number);
			goto fail_free;
		}
		if (!block.name[0])
			continue;
		r = check_block(&block, blocks, count, err);
		if (r < 0)
			goto fail_free;
		r = grow((void **)&blocks, count, sizeof *blocks);
		if (r < 0) {
			wt_error_set(err, ENOMEM, "no memory for a list of RAM blocks");
			goto fail_free;
		}
		blocks[count++] = block;
	}
	*ret_blocks = blocks;
	*ret_count = count;
	return 0;

fail_free:
	free(blocks);
	return r;
}

/* "mem0 @0000000000100000 KVM" and "mem0": the last " @" that is followed by sixteen digits. */
static uint64_t parse_region_offset(struct wt_scan text)
{
	const char *at;

	for (at = text.end; at > text.begin; at--) {
		struct wt_scan tail = { at - 1, text.end };
		uint64_t offset;

		if (wt_scan_literal(&tail, " @") && tail.end - tail.begin >= 16) {
			struct wt_scan digits = { tail.begin, tail.begin + 16 };

			if (wt_scan_number(&digits, 16, &offset) && digits.begin == digits.end &&
				(digits.end == text.end || *digits.end == ' '))
				return offset;
		}
	}
	return 0;
}

/*
 * "  0000000000100000-0000000007ffffff (prio 0, ram): mem0 @0000000000100000". *ret_is_ram is false for
 * devices and for ROM, which nobody asks about.
 */
static bool parse_range(struct wt_scan line, struct wt_hmp_range *ret_range, bool *ret_is_ram)
{
	struct wt_hmp_range range = { 0 };
	uint64_t last, priority;
	bool ram;

	if (!wt_scan_number(&line, 16, &range.address) || !wt_scan_literal(&line, "-") ||
		!wt_scan_number(&line, 16, &last) || !wt_scan_literal(&line, " (prio "))
		return false;
	wt_scan_literal(&line, "-");
	if (!wt_scan_number(&line, 10, &priority) || !wt_scan_literal(&line, ", "))
		return false;
	ram = wt_scan_literal(&line, "ram): ") || wt_scan_literal(&line, "nv-ram): ");
	if (last < range.address || last - range.address == UINT64_MAX)
		return false;
	range.length = last - range.address + 1;
	range.region_offset = ram ? parse_region_offset(line) : 0;
	*ret_range = range;
	*ret_is_ram = ram;
	return true;
}

int wt_hmp_parse_mtree(const char *text, size_t length, struct wt_hmp_range **ret_ranges, unsigned *ret_count,
	struct wt_error *err)
{
	struct wt_scan rest = { text, text + length }, line;
	struct wt_hmp_range *ranges = NULL, range;
	unsigned count = 0, number = 0;
	bool in_memory = false, seen = false, is_ram;
	int r;

	while (wt_scan_line(&rest, &line)) {
		number++;
		if (wt_scan_literal(&line, "FlatView #"))
			in_memory = false;
		else if (wt_scan_literal(&line, " AS \"memory\", "))
			in_memory = seen = true;
		if (!in_memory || !wt_scan_literal(&line, "  ") ||
			wt_scan_equals(line, "No rendered FlatView"))
			continue;
		if (!parse_range(line, &range, &is_ram)) {
			r = bad_line(err, "info mtree -f", number);
			goto fail_free;
		}
		if (!is_ram)
			continue;
		r = count == HMP_RANGES_MAX ? -E2BIG : grow((void **)&ranges, count, sizeof *ranges);
		if (r < 0) {
			wt_error_set(err, -r, "'info mtree -f' lists %u ranges of RAM, too many", count);
			goto fail_free;
		}
		ranges[count++] = range;
	}
	if (!seen) {
		r = wt_error_set(err, EPROTO,
			"QEMU's answer to 'info mtree -f' has no address space \"memory\"; this QEMU is not "
			"one that watari knows");
		goto fail_free;
	}
	*ret_ranges = ranges;
	*ret_count = count;
	return 0;

fail_free:
	free(ranges);
	return r;
}

int wt_hmp_parse_gpa2hva(
	const char *text, size_t length, char ret_name[WT_BLOCK_NAME_MAX + 1], uint64_t *ret_host)
{
	struct wt_scan rest = { text, text + length }, line, word;
	char name[WT_BLOCK_NAME_MAX + 1];
	uint64_t address, host;

	if (!wt_scan_line(&rest, &line) || !wt_scan_literal(&line, "Host virtual address for 0x") ||
		!wt_scan_number(&line, 16, &address) || !wt_scan_literal(&line, " ("))
		return -ENOENT;
	if (!wt_scan_last_word(&line, &word) || !wt_scan_is_hex(word, &host) || !host ||
		!wt_scan_last_word(&line, &word) || !wt_scan_equals(word, "is"))
		return -ENOENT;
	if (line.end == line.begin || line.end[-1] != ')')
		return -ENOENT;
	line.end--;
	if (!copy_name(line, name))
		return -ENOENT;
	memcpy(ret_name, name, strlen(name) + 1);
	*ret_host = host;
	return 0;
}

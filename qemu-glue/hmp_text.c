/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hmp_text.c - takes apart what QEMU's human monitor prints about RAM.
 *
 *   1. Lines are taken apart from the end where a name stands first: names may hold spaces.
 *   2. No two blocks have one name; every length is a multiple of the page and not zero.
 *
 * Formats: ram_block_format in softmmu/physmem.c (system/physmem.c), mtree_print_mr in softmmu/memory.c
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

/* ---- info mtree ---- */

/* "    0000000000100000-0000000007ffffff (prio 0, ram): mem0" or, of another region,
 * "... (prio 0, i/o): alias ram-below-4g @pc.ram 0000000000000000-00000000bfffffff" */
struct tree_line {
	unsigned indent;
	uint64_t first, last;
	bool ram;   /* this region itself is */
	bool alias; /* then name is what it shows, from first to last of that: */
	uint64_t shows_first, shows_last;
	bool overflow; /* QEMU says so: its addresses mean nothing */
	struct wt_scan name;
};

/* RAM in one of the regions that QEMU lists on their own, as aliases show them. */
struct tree_ram {
	char of[WT_BLOCK_NAME_MAX + 1]; /* that region */
	char name[WT_BLOCK_NAME_MAX + 1];
	uint64_t offset, length; /* in that region */
};

struct tree {
	struct wt_hmp_range *ranges;
	struct tree_ram *rams;
	unsigned range_count, ram_count;
	bool seen; /* the address space "memory" */
};

static bool parse_ends(struct wt_scan *line, uint64_t *ret_first, uint64_t *ret_last)
{
	return wt_scan_number(line, 16, ret_first) && wt_scan_literal(line, "-") &&
	       wt_scan_number(line, 16, ret_last);
}

/* "ram-below-4g @pc.ram 0000000000000000-00000000bfffffff" */
static bool parse_alias(struct wt_scan text, struct tree_line *line)
{
	struct wt_scan ends;
	const char *at;

	if (!wt_scan_last_word(&text, &ends) || !parse_ends(&ends, &line->shows_first, &line->shows_last) ||
		ends.begin != ends.end || line->shows_last < line->shows_first)
		return false;
	for (at = text.end; at > text.begin; at--) {
		struct wt_scan tail = { at - 1, text.end };

		if (wt_scan_literal(&tail, " @")) {
			line->name = tail;
			return true;
		}
	}
	return false;
}

static bool parse_tree_line(struct wt_scan text, struct tree_line *ret_line)
{
	struct tree_line line = { 0 };
	const char *begin;
	uint64_t priority;

	while (wt_scan_literal(&text, "[DETECTED OVERFLOW!] "))
		line.overflow = true;
	begin = text.begin;
	wt_scan_spaces(&text);
	line.indent = (unsigned)(text.begin - begin);
	if (!parse_ends(&text, &line.first, &line.last) || !wt_scan_literal(&text, " (prio "))
		return false;
	wt_scan_literal(&text, "-");
	if (!wt_scan_number(&text, 10, &priority) || !wt_scan_literal(&text, ", "))
		return false;
	line.ram = wt_scan_literal(&text, "ram): ") || wt_scan_literal(&text, "nv-ram): ");
	while (!line.ram && !wt_scan_literal(&text, "): "))
		if (text.begin++ == text.end)
			return false;
	line.name = text;
	line.alias = wt_scan_literal(&text, "alias ");
	line.ram &= !line.alias;
	if (!line.overflow && (line.last < line.first || (line.ram && line.last - line.first == UINT64_MAX)))
		return false;
	if (line.alias && !parse_alias(text, &line))
		return false;
	*ret_line = line;
	return true;
}

static int add_range(
	struct tree *tree, uint64_t address, uint64_t length, uint64_t region_offset, struct wt_scan region)
{
	struct wt_hmp_range range = { .address = address, .length = length, .region_offset = region_offset };
	int r = tree->range_count == HMP_RANGES_MAX
			? -E2BIG
			: grow((void **)&tree->ranges, tree->range_count, sizeof range);

	if (!copy_name(region, range.region))
		return 0; /* of no block */
	if (r)
		return r;
	tree->ranges[tree->range_count++] = range;
	return 0;
}

/* What is RAM of the region that is shown. */
static int add_shown(struct tree *tree, const struct tree_line *line)
{
	int r = 0;

	for (unsigned i = 0; i < tree->ram_count && !r; i++) {
		const struct tree_ram *ram = &tree->rams[i];
		uint64_t from = ram->offset > line->shows_first ? ram->offset : line->shows_first;
		uint64_t last = ram->offset + (ram->length - 1);

		if (!wt_scan_equals(line->name, ram->of) || from > line->shows_last || from > last)
			continue;
		if (last > line->shows_last)
			last = line->shows_last;
		if (last - line->shows_first > line->last - line->first)
			last = line->shows_first + (line->last - line->first);
		if (from <= last)
			r = add_range(tree, line->first + (from - line->shows_first), last - from + 1,
				from - ram->offset,
				(struct wt_scan){ ram->name, ram->name + strlen(ram->name) });
	}
	return r;
}

static int add_ram(struct tree *tree, struct wt_scan of, uint64_t base, const struct tree_line *line)
{
	struct tree_ram ram = { .offset = line->first - base, .length = line->last - line->first + 1 };
	int r = tree->ram_count == HMP_RANGES_MAX ? -E2BIG
						  : grow((void **)&tree->rams, tree->ram_count, sizeof ram);

	if (line->first < base || !copy_name(of, ram.of) || !copy_name(line->name, ram.name))
		return 0;
	if (r)
		return r;
	tree->rams[tree->ram_count++] = ram;
	return 0;
}

/*
 * Goes through the whole text: once for the regions that are listed on their own (memory false), then for the
 * address space "memory". Answers 0, -errno, or the number of a line that is not understood.
 */
static int walk_tree(struct tree *tree, const char *text, size_t length, bool memory)
{
	struct wt_scan rest = { text, text + length }, line, name, of = { 0 };
	bool in_memory = false, in_heads = false, based = false;
	struct tree_line found;
	uint64_t base = 0;
	int r = 0;

	for (int number = 1; !r && wt_scan_line(&rest, &line); number++) {
		name = line;
		if (wt_scan_literal(&name, "address-space: ")) {
			in_memory = (in_memory && in_heads) || wt_scan_equals(name, "memory");
			in_heads = true;
			of = (struct wt_scan){ 0 };
			continue;
		}
		in_heads = false;
		if (line.begin == line.end || wt_scan_literal(&name, "memory-region: ")) {
			in_memory = based = false;
			of = line.begin == line.end ? (struct wt_scan){ 0 } : name;
			continue;
		}
		if (!in_memory && !of.begin)
			continue;
		tree->seen |= in_memory;
		if (!parse_tree_line(line, &found))
			return number;
		if (of.begin && found.indent == 2) {
			based = !found.overflow;
			base = found.first;
		}
		if (found.overflow)
			continue;
		if (memory && in_memory && found.ram)
			r = add_range(tree, found.first, found.last - found.first + 1, 0, found.name);
		else if (memory && in_memory && found.alias)
			r = add_shown(tree, &found);
		else if (!memory && of.begin && based && found.ram)
			r = add_ram(tree, of, base, &found);
	}
	return r;
}

int wt_hmp_parse_mtree(const char *text, size_t length, struct wt_hmp_range **ret_ranges, unsigned *ret_count,
	struct wt_error *err)
{
	struct tree tree = { 0 };
	int r = walk_tree(&tree, text, length, false);

	if (!r)
		r = walk_tree(&tree, text, length, true);
	free(tree.rams);
	if (r > 0)
		r = bad_line(err, "info mtree", (unsigned)r);
	else if (r)
		wt_error_set(err, -r, "'info mtree' lists too many ranges of RAM, %u", tree.range_count);
	else if (!tree.seen)
		r = wt_error_set(err, EPROTO,
			"QEMU's answer to 'info mtree' has no address space \"memory\"; this QEMU is not one that "
			"watari knows");
	if (r) {
		free(tree.ranges);
		return r;
	}
	*ret_ranges = tree.ranges;
	*ret_count = tree.range_count;
	return 0;
}

/* ---- gpa2hva ---- */

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

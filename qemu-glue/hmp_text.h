/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hmp_text.h - reads what QEMU's human monitor prints about RAM. Pure; the formats of QEMU 7.2 to 10.0.
 *
 * The text is not trusted: what cannot be understood is refused (-EPROTO, with the number of the line).
 */
#ifndef WATARI_QEMU_HMP_TEXT_H
#define WATARI_QEMU_HMP_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include <watari/block.h>
#include <watari/error.h>

/* A RAM block, from `info ramblock`. Bytes. */
struct wt_hmp_block {
	char name[WT_BLOCK_NAME_MAX + 1]; /* id string, as in the migration stream */
	uint64_t page_size;
	uint64_t used_length;
	uint64_t max_length; /* above used_length: the block may be resized */
	uint64_t host;       /* address in QEMU; 0: not printed (before 8.1) */
};

/*
 * A range of guest physical addresses where RAM is, from `info mtree`: the tree of regions, not what is seen
 * of them, so that something else may lie above it. Bytes.
 */
struct wt_hmp_range {
	uint64_t address;
	uint64_t length;
	uint64_t region_offset; /* of the range's first byte within its memory region */
	char region[WT_BLOCK_NAME_MAX + 1];
};

/* *ret_blocks is allocated. Blocks without a name are left out: QEMU does not migrate them. */
int wt_hmp_parse_ramblock(const char *text, size_t length, struct wt_hmp_block **ret_blocks,
	unsigned *ret_count, struct wt_error *err);
/* *ret_ranges is allocated; only the address space that the CPUs see, only writable RAM. */
int wt_hmp_parse_mtree(const char *text, size_t length, struct wt_hmp_range **ret_ranges, unsigned *ret_count,
	struct wt_error *err);
/* The answer to `gpa2hva`: name of the memory region, and address in QEMU. -ENOENT: QEMU has no RAM there. */
int wt_hmp_parse_gpa2hva(
	const char *text, size_t length, char ret_name[WT_BLOCK_NAME_MAX + 1], uint64_t *ret_host);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ram_search.h - guest RAM found without QMP: by the name and length of a block, in the memory of a process.
 *
 * A block is found if QEMU has exactly one shared, writable mapping of a file with the block's length, or if
 * the operator has named the file. Length alone is no proof of identity: the source compares pages of the
 * stream with the mapping (outgoing.h).
 */
#ifndef WATARI_QEMU_RAM_SEARCH_H
#define WATARI_QEMU_RAM_SEARCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <watari/error.h>

#include "ram_block.h"

#define WT_RAM_HINTS_MAX 64u
#define WT_RAM_MAIN_MIN (1u << 20) /* bytes; a smaller block is no main memory */

/* --ram ID=PATH: block ID lies in the file at PATH (also /proc/PID/fd/N). */
struct wt_ram_hint {
	const char *name, *path;
};

struct wt_ram_search {
	pid_t pid; /* QEMU; 0: unknown, nothing is found */
	const struct wt_ram_hint *hints;
	unsigned hint_count;
	struct wt_ram_block **blocks; /* found so far, owned */
	unsigned count;
};

/* Whether a block is the guest's main memory, by its id: video RAM, ROMs and flash are not, nor what belongs
 * to a device. Pure; also for a block that the operator did not name. */
bool wt_ram_is_main(const char *name, uint64_t length);

/* The nearest ancestor of this process that is a QEMU: its program has qemu in its name, or it has shared
 * memory of WT_RAM_MAIN_MIN. 0: none. */
pid_t wt_ram_search_ancestor(void);

/*
 * Finds and maps a block; it is the search's own. -ENOENT: there is no such mapping; -ENOTUNIQ: several fit;
 * -EINVAL: the file that the operator named is not this block's; -ESRCH: QEMU is unknown. err says what to
 * do.
 */
int wt_ram_search_block(struct wt_ram_search *search, const char *name, uint64_t length,
	struct wt_ram_block **ret_block, struct wt_error *err);
void wt_ram_search_close(struct wt_ram_search *search);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * load.h - a checkpoint's pages on their way into guest RAM, or only looked at: threads that read, and
 * compare each page with its digest.
 *
 * One thread: the loop's, but for the files' side.
 */
#ifndef WATARI_QEMU_LOAD_H
#define WATARI_QEMU_LOAD_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/error.h>

#include "replica_file.h"

struct wt_load;

struct wt_load_block {
	const struct wt_replica_block *from;
	uint8_t *to;        /* guest RAM, mapped here; NULL: only looked at */
	int fd;             /* of the file below, -1 if `to` is NULL; its holes are not touched */
	uint64_t fd_offset; /* of the block in it */
};

struct wt_load_stats {
	uint64_t read_pages, zero_pages;
};

/* blocks are borrowed. threads 0: as many as are good. */
int wt_load_open(const struct wt_load_block *blocks, unsigned count, uint64_t seed, unsigned threads,
	struct wt_load **ret_load, struct wt_error *err);
/* Ends the threads early, if they are not through. NULL is allowed. */
void wt_load_close(struct wt_load *load);
/* Readable when all is done, or something is wrong. */
int wt_load_fd(const struct wt_load *load);
/* 0: all pages are right, and in place; -EAGAIN: not yet; else -errno with the first thing that is wrong:
 * which block, which page. */
int wt_load_status(struct wt_load *load, struct wt_error *err);
void wt_load_stats(struct wt_load *load, struct wt_load_stats *ret_stats);

#endif

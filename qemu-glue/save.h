/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * save.h - guest RAM on its way into a checkpoint: threads that take announced extents from where they lie to
 * files.
 *
 * Opened with the blocks; told extents as they are announced; idle when all of them are in the files (not on
 * disk). One thread: the loop's, but for the files' side.
 */
#ifndef WATARI_QEMU_SAVE_H
#define WATARI_QEMU_SAVE_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/block.h>
#include <watari/error.h>

#include "page_map.h"
#include "replica_index.h"

struct wt_save;

struct wt_save_block {
	const char *name;
	const uint8_t *base; /* guest RAM, mapped here */
	int fd;              /* the new layer's file */
	struct wt_page_entry *map;
	const struct wt_page_entry *old; /* the base's, as long; NULL: none */
};

struct wt_save_options {
	const struct wt_save_block *blocks; /* by number; borrowed */
	unsigned count;
	unsigned layer; /* its id */
	uint64_t seed;
	enum wt_replica_kind kind; /* of the layer; a raw one has no base */
	int level;                 /* of zstd */
	unsigned threads;          /* 0: as many as are good */
};

struct wt_save_stats {
	uint64_t written_pages, written_bytes; /* of content; bytes as they are in the file */
	uint64_t same_pages;                   /* that the base had */
	uint64_t zero_pages;
};

int wt_save_open(const struct wt_save_options *options, struct wt_save **ret_save, struct wt_error *err);
/* Waits for its threads; what was not taken yet is dropped. NULL is allowed. */
void wt_save_close(struct wt_save *save);

/* Readable when there may be room again, all is done, or something failed; wt_save_news makes it unreadable.
 */
int wt_save_fd(const struct wt_save *save);
void wt_save_news(struct wt_save *save);

/* As wt_server_announce: *extent keeps what was not taken; -EAGAIN: that is something. content: in place, or
 * zero. */
int wt_save_announce(struct wt_save *save, struct wt_extent *extent, enum wt_content content);
/* The guest is stopped (or is not after all): what comes now shall be quick, not go past the page cache. */
void wt_save_final(struct wt_save *save, bool stopped);
/* All that was announced is in the files. */
bool wt_save_idle(struct wt_save *save);
/* 0, or -errno with the first thing that went wrong. */
int wt_save_status(struct wt_save *save, struct wt_error *err);
void wt_save_stats(struct wt_save *save, struct wt_save_stats *ret_stats);

#endif

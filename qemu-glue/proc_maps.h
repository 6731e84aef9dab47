/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * proc_maps.h - reads /proc/PID/maps, and tells which file lies below a range of addresses.
 */
#ifndef WATARI_QEMU_PROC_MAPS_H
#define WATARI_QEMU_PROC_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <watari/error.h>

/* One line. Addresses and offset in bytes; [start, end). */
struct wt_proc_map {
	uint64_t start;
	uint64_t end;
	uint64_t offset;
	uint64_t inode; /* 0: no file */
	uint32_t dev_major;
	uint32_t dev_minor;
	bool readable;
	bool writable;
	bool shared; /* MAP_SHARED */
};

struct wt_proc_maps {
	size_t count;
	struct wt_proc_map *maps; /* ascending, not overlapping */
};

/* The part of one file that backs a range. */
struct wt_proc_span {
	uint64_t inode;
	uint32_t dev_major;
	uint32_t dev_minor;
	uint64_t offset;    /* in the file, of the range's first byte */
	uint64_t map_start; /* the first mapping that holds the range: its name in /proc/PID/map_files */
	uint64_t map_end;
};

/* A range of addresses that one file backs without a gap, mapped shared, readable and writable. */
struct wt_proc_run {
	uint64_t address;
	uint64_t length;
};

/* Pure: the text is not trusted and needs no NUL. -EPROTO names the line; -E2BIG; -ENOMEM. */
int wt_proc_maps_parse(const char *text, size_t length, struct wt_proc_maps **ret_maps, struct wt_error *err);
/* Reads and parses the maps of a process. -EACCES: it belongs to another user. */
int wt_proc_maps_read(pid_t pid, struct wt_proc_maps **ret_maps, struct wt_error *err);
void wt_proc_maps_free(struct wt_proc_maps *maps);

/*
 * What backs [address, address + length): -ENOENT unless every byte of it is mapped shared, readable and
 * writable, from one file without a gap (a block may consist of several mappings, e.g. one per memory
 * policy).
 */
int wt_proc_maps_span(
	const struct wt_proc_maps *maps, uint64_t address, uint64_t length, struct wt_proc_span *ret_span);
/*
 * The next run, as long as it can be, from mapping *index on (begin with 0); *index moves behind it. false:
 * there is none.
 */
bool wt_proc_maps_run(const struct wt_proc_maps *maps, size_t *index, struct wt_proc_run *ret_run);

#endif

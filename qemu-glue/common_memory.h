/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * common_memory.h - guest RAM that two hosts have in common: host VMs of one machine, which map one file.
 *
 * That both have the same memory is proven, not believed: the source writes a random *mark* where nobody's
 * RAM is, in the last page of the file (or device) that each block lies in, and the destination says what it
 * finds there. So that page is ours: a file belongs to one guest, and is longer than its RAM.
 */
#ifndef WATARI_QEMU_COMMON_MEMORY_H
#define WATARI_QEMU_COMMON_MEMORY_H

#include <jansson.h>

#include "guest_ram.h"

struct wt_common_memory;

/* Before that, of QEMU's memory at one of the ends (socket_path: for messages): all of it is shared, QEMU
 * leaves it out of its stream, does not throw it away when it ends, and has not written to it when it
 * started. -EPERM with the sentence, or the codes of wt_qmp_call. */
int wt_common_memory_check(struct wt_qmp *qmp, struct wt_guest_ram *ram, const char *socket_path,
	bool is_source, struct wt_error *err);

/* Maps the last page of each shared block's file. -EPERM with the sentence: there is no room behind RAM,
 * somebody else's memory is there, or no memory is shared at all. */
int wt_common_memory_open(
	const struct wt_guest_ram *ram, struct wt_common_memory **ret_memory, struct wt_error *err);
void wt_common_memory_close(struct wt_common_memory *memory);
/* Writes new marks. */
int wt_common_memory_mark(struct wt_common_memory *memory, struct wt_error *err);
/* All that is known of each block here, with the mark that is found: {"blocks": [{"name", "bytes", "offset",
 * "file_bytes", "mark"}]}. A new object. */
json_t *wt_common_memory_json(const struct wt_common_memory *memory);
/* Is it, as the other end has described it, the memory that is marked here? -EPERM with the sentence. What
 * the other end says is hostile. */
int wt_common_memory_compare(const struct wt_common_memory *memory, json_t *theirs, struct wt_error *err);
/* Of all blocks. */
uint64_t wt_common_memory_bytes(const struct wt_common_memory *memory);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * disk_info.h - what `query-block` says of a disk, and of the files that its content is in.
 */
#ifndef WATARI_QEMU_DISK_INFO_H
#define WATARI_QEMU_DISK_INFO_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define WT_DISK_PATH_MAX (PATH_MAX + 64)

/* "" if there is no such text. */
__attribute__((returns_nonnull)) const char *wt_disk_text(json_t *object, const char *key);
/* It has a medium that the guest may write, and is no firmware flash. */
bool wt_disk_writable(json_t *disk);
/* Its name, for people. */
__attribute__((returns_nonnull)) const char *wt_disk_label(json_t *disk);
/* Which disk it is to the guest, the same in another QEMU with the same devices: QEMU's path of the device
 * that it is in; or the name of the drive, where that path holds a number that each version gives anew. */
__attribute__((returns_nonnull)) const char *wt_disk_place(json_t *disk);
/* The top one of the images that its content is in; those below are each the "backing-image" of the one
 * above. NULL: it has none. */
json_t *wt_disk_image(json_t *disk);

/* The name of a file means the same in every process: it begins at the root, or with a protocol (nbd:). */
bool wt_disk_name_is_whole(const char *name);
/* What we call a file that QEMU calls `name`, which begins at the root: its root may be another one. pid of
 * QEMU, 0: not known. */
void wt_disk_path(pid_t pid, const char *name, char ret_path[WT_DISK_PATH_MAX]);
/* When it was written last, in ns since 1970; 0: it is no regular file. Or -errno. */
int wt_disk_written(pid_t pid, const char *name, int64_t *ret_written_ns);
/* The same name, or the same file. */
bool wt_disk_same_file(pid_t pid, const char *one, const char *other);

#endif

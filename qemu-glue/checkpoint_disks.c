/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * checkpoint_disks.c - see checkpoint_disks.h.
 *
 *   1. A disk is frozen by giving it an overlay (blockdev-snapshot-sync, all in one transaction): the file
 * that it had stays as it was when the guest stopped, and nobody writes it any more.
 *   2. The index says of that file, and of all that are below it, when it was written last: whoever restores
 * sees whether it still holds what it held.
 *   3. Freezing is done between the stop and the last of the migration (pre-switchover): later QEMU has given
 * its disks away, and earlier the guest runs.
 *
 * The loop's thread; waits for QEMU's answers.
 */
#include "checkpoint_disks.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk_info.h"

#define QMP_NS 10000000000ull

static int refuse_name(json_t *disk, const char *file, struct wt_error *err)
{
	return wt_error_set(err, EPERM,
		"disk '%s' is in %.200s, a name that is relative to QEMU's directory, so nobody could find the file later; "
		"start QEMU with its whole path",
		wt_disk_label(disk), file);
}

/* The image, and all that are below it. */
static int take_files(json_t *disk, pid_t pid, struct wt_replica_disk *d, struct wt_error *err)
{
	json_t *image = wt_disk_image(disk);

	d->files = calloc(WT_REPLICA_DISK_FILES_MAX, sizeof *d->files);
	if (!d->files)
		return wt_error_set(err, ENOMEM, "no memory for a list of disks");
	for (; image; image = json_object_get(image, "backing-image")) {
		struct wt_replica_disk_file *file = &d->files[d->file_count];
		const char *name = wt_disk_text(image, "filename"), *format = wt_disk_text(image, "format");
		int r;

		if (d->file_count == WT_REPLICA_DISK_FILES_MAX)
			return wt_error_set(err, E2BIG,
				"disk '%s' has more than %d images, one on top of the other; make the chain shorter "
				"(block-commit)",
				wt_disk_label(disk), WT_REPLICA_DISK_FILES_MAX);
		if (!*name || strlen(name) >= sizeof file->name || strlen(format) >= sizeof file->format)
			return wt_error_set(err, ENAMETOOLONG,
				"disk '%s' (%.200s): it has no file, or a name that is too long, so it cannot be frozen",
				wt_disk_label(disk), name);
		if (!wt_disk_name_is_whole(name))
			return refuse_name(disk, name, err);
		r = wt_disk_written(pid, name, &file->written_ns);
		if (r)
			return wt_error_set(err, -r,
				"disk '%s' is in %.200s, which cannot be looked at from here: %s",
				wt_disk_label(disk), name, strerror(-r));
		strcpy(file->name, name);
		strcpy(file->format, format);
		d->file_count++;
	}
	return d->file_count ? 0
			     : wt_error_set(err, EPERM, "disk '%s' has no image, so it cannot be frozen",
				       wt_disk_label(disk));
}

static int take_disk(json_t *disk, pid_t pid, const char *snapshot_dir, uint64_t generation,
	struct wt_checkpoint_disks *disks, struct wt_error *err)
{
	const char *node = wt_disk_text(json_object_get(disk, "inserted"), "node-name");
	struct wt_replica_disk *d = &disks->disks[disks->count];
	int n;

	if (!snapshot_dir)
		return wt_error_set(err, EPERM,
			"disk '%s' (%s) is writable, and what is on it belongs to the checkpoint; give --snapshot-dir DIR: the "
			"file then stays as it is when the guest stops, and the guest goes on in an overlay in DIR",
			wt_disk_label(disk), wt_disk_text(wt_disk_image(disk), "filename"));
	n = snprintf(d->overlay, sizeof d->overlay, "%s/disk-%u-%016" PRIx64 ".qcow2", snapshot_dir,
		disks->count, generation);
	if (n >= (int)sizeof d->overlay || strlen(wt_disk_label(disk)) >= sizeof d->device ||
		strlen(wt_disk_place(disk)) >= sizeof d->place || strlen(node) >= sizeof disks->nodes[0])
		return wt_error_set(err, ENAMETOOLONG,
			"disk '%.60s' has a name that is too long, or the snapshot directory has, so it cannot be frozen",
			wt_disk_label(disk));
	strcpy(d->device, wt_disk_label(disk));
	strcpy(d->place, wt_disk_place(disk));
	strcpy(disks->nodes[disks->count++], node);
	return take_files(disk, pid, d, err);
}

int wt_checkpoint_disks_list(struct wt_qmp *qmp, const char *snapshot_dir, uint64_t generation,
	struct wt_checkpoint_disks *ret_disks, struct wt_error *err)
{
	struct wt_checkpoint_disks disks = { 0 };
	json_t *list = NULL, *disk;
	char whole[PATH_MAX];
	size_t i;
	int r;

	if (snapshot_dir && !realpath(snapshot_dir, whole))
		return wt_error_set(err, errno, "the snapshot directory %s cannot be used: %s", snapshot_dir,
			strerror(errno));
	r = wt_qmp_call(qmp, "query-block", NULL, QMP_NS, &list, err);
	disks.disks = calloc(json_array_size(list) + 1, sizeof *disks.disks);
	disks.nodes = calloc(json_array_size(list) + 1, sizeof *disks.nodes);
	if (!r && (!disks.disks || !disks.nodes))
		r = wt_error_set(err, ENOMEM, "no memory for a list of disks");
	json_array_foreach(list, i, disk)
	{
		if (!r && wt_disk_writable(disk))
			r = disks.count < WT_REPLICA_DISKS_MAX
				    ? take_disk(disk, wt_qmp_pid(qmp), snapshot_dir ? whole : NULL,
					      generation, &disks, err)
				    : wt_error_set(err, E2BIG, "a checkpoint has at most %d writable disks",
					      WT_REPLICA_DISKS_MAX);
	}
	json_decref(list);
	if (r)
		wt_checkpoint_disks_free(&disks);
	else
		*ret_disks = disks;
	return r;
}

/* What was written until now belongs to the checkpoint; nothing more is written to these files. */
static int date_files(struct wt_qmp *qmp, const struct wt_replica_disk *disk, struct wt_error *err)
{
	for (unsigned i = 0; i < disk->file_count; i++) {
		struct wt_replica_disk_file *file = &disk->files[i];
		int r = wt_disk_written(wt_qmp_pid(qmp), file->name, &file->written_ns);

		if (r)
			return wt_error_set(err, -r,
				"%.200s, the image of disk '%s', cannot be looked at: %s", file->name,
				disk->device, strerror(-r));
	}
	return 0;
}

int wt_checkpoint_disks_freeze(struct wt_qmp *qmp, const struct wt_checkpoint_disks *disks,
	uint64_t generation, bool *ret_frozen, struct wt_error *err)
{
	json_t *actions = json_array();
	char name[32];
	int r;

	for (unsigned i = 0; i < disks->count; i++) {
		snprintf(name, sizeof name, "wt%016" PRIx64 "-%u", generation, i);
		json_array_append_new(actions,
			json_pack("{s:s,s:{s:s,s:s,s:s,s:s}}", "type", "blockdev-snapshot-sync", "data",
				"node-name", disks->nodes[i], "snapshot-file", disks->disks[i].overlay,
				"snapshot-node-name", name, "format", "qcow2"));
	}
	r = wt_qmp_call(qmp, "transaction", json_pack("{s:o}", "actions", actions), QMP_NS, NULL, err);
	*ret_frozen = !r || r == -ETIMEDOUT;
	for (unsigned i = 0; i < disks->count && !r; i++)
		r = date_files(qmp, &disks->disks[i], err);
	return r;
}

void wt_checkpoint_disks_free(struct wt_checkpoint_disks *disks)
{
	wt_replica_disks_free(disks->disks, disks->count);
	free(disks->nodes);
	*disks = (struct wt_checkpoint_disks){ 0 };
}

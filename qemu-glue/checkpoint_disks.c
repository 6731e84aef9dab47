/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * checkpoint_disks.c - see checkpoint_disks.h.
 *
 *   1. A disk is frozen by giving it an overlay (blockdev-snapshot-sync, all in one transaction): the file
 * that it had stays as it was when the guest stopped, and nobody writes it any more.
 *   2. That is done between the stop and the last of the migration (pre-switchover): later QEMU has given its
 * disks away, and earlier the guest runs.
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
#include <sys/stat.h>

#include "preflight.h"

#define QMP_NS 10000000000ull

static const char *text_of(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static bool writable(json_t *disk)
{
	json_t *inserted = json_object_get(disk, "inserted");

	return inserted && !json_is_true(json_object_get(inserted, "ro")) && !wt_preflight_is_flash(disk);
}

static const char *label(json_t *disk)
{
	const char *name = text_of(disk, "device");

	if (!*name)
		name = text_of(json_object_get(disk, "inserted"), "node-name");
	return *name ? name : text_of(disk, "qdev");
}

/* A name that means the same in every process: from the root on, or of a protocol (nbd://...). */
static bool is_absolute(const char *file)
{
	size_t first = strcspn(file, "/:");

	return file[0] == '/' || file[first] == ':';
}

static int take_disk(json_t *disk, const char *snapshot_dir, uint64_t generation,
	struct wt_checkpoint_disks *disks, struct wt_error *err)
{
	json_t *inserted = json_object_get(disk, "inserted");
	const char *file = text_of(json_object_get(inserted, "image"), "filename");
	struct wt_replica_disk *d = &disks->disks[disks->count];
	int n;

	if (!snapshot_dir)
		return wt_error_set(err, EPERM,
			"disk '%s' (%s) is writable, and what is on it belongs to the checkpoint; give --snapshot-dir DIR: the "
			"file then stays as it is when the guest stops, and the guest goes on in an overlay in DIR",
			label(disk), file);
	n = snprintf(d->overlay, sizeof d->overlay, "%s/disk-%u-%016" PRIx64 ".qcow2", snapshot_dir,
		disks->count, generation);
	if (n >= (int)sizeof d->overlay || strlen(file) >= sizeof d->file ||
		strlen(label(disk)) >= sizeof d->device ||
		strlen(text_of(inserted, "node-name")) >= sizeof disks->nodes[0] || !*file)
		return wt_error_set(err, ENAMETOOLONG,
			"disk '%s' (%s): it has no file, or a name that is too long, so it cannot be frozen",
			label(disk), file);
	if (!is_absolute(file))
		return wt_error_set(err, EPERM,
			"disk '%s' is in %.200s, a name that is relative to QEMU's directory, so nobody could find the file later; "
			"start QEMU with its whole path",
			label(disk), file);
	strcpy(d->file, file);
	strcpy(d->device, label(disk));
	strcpy(disks->nodes[disks->count++], text_of(inserted, "node-name"));
	return 0;
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
		if (!r && writable(disk))
			r = disks.count < WT_REPLICA_DISKS_MAX
				    ? take_disk(disk, snapshot_dir ? whole : NULL, generation, &disks, err)
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

int wt_checkpoint_disks_freeze(struct wt_qmp *qmp, const struct wt_checkpoint_disks *disks,
	uint64_t generation, struct wt_error *err)
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
	return r < 0 ? r : 0;
}

void wt_checkpoint_disks_free(struct wt_checkpoint_disks *disks)
{
	free(disks->disks);
	free(disks->nodes);
	*disks = (struct wt_checkpoint_disks){ 0 };
}

/* ---- a QEMU that shall go on ---- */

static bool same_file(const char *a, const char *b)
{
	struct stat here, there;

	if (!is_absolute(a) || !is_absolute(b))
		return false;
	if (!strcmp(a, b))
		return true;
	return !stat(a, &here) && !stat(b, &there) && here.st_dev == there.st_dev &&
	       here.st_ino == there.st_ino;
}

/* Whether a file is the image, or behind it. */
static bool chain_has(json_t *image, const char *file)
{
	for (; image; image = json_object_get(image, "backing-image"))
		if (same_file(text_of(image, "filename"), file))
			return true;
	return false;
}

static bool any_has(json_t *list, const char *file)
{
	json_t *disk;
	size_t i;

	json_array_foreach(list, i, disk)
	{
		if (chain_has(json_object_get(json_object_get(disk, "inserted"), "image"), file))
			return true;
	}
	return false;
}

int wt_checkpoint_disks_check(struct wt_qmp *qmp, const struct wt_replica_checkpoint *c, struct wt_error *err)
{
	json_t *list = NULL;
	int r = c->disk_count ? wt_qmp_call(qmp, "query-block", NULL, QMP_NS, &list, err) : 0;

	for (unsigned i = 0; i < c->disk_count && !r; i++) {
		const struct wt_replica_disk *d = &c->disks[i];

		if (any_has(list, d->overlay))
			r = wt_error_set(err, EPERM,
				"this QEMU has disk '%.60s' in %.150s, where the guest went on after the checkpoint; give it an overlay on "
				"%.150s instead",
				d->device, d->overlay, d->file);
		else if (!any_has(list, d->file))
			r = wt_error_set(err, EPERM,
				"the checkpoint's disk '%.60s' is in %.200s, and no disk of this QEMU has that file behind it; give it an "
				"overlay: qemu-img create -f qcow2 -b FILE -F FORMAT OVERLAY",
				d->device, d->file);
	}
	json_decref(list);
	return r;
}

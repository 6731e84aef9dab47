/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * restore_disks.c - see restore_disks.h.
 *
 *   1. Every disk of the checkpoint is where the guest had it, and no other disk is writable.
 *   2. It is a new overlay, with nothing of its own, on the file that was frozen. So the guest finds what it
 * had on its disk, and the checkpoint can be used again.
 *   3. That file, and all that are below it, are those of the checkpoint, and were not written since.
 *
 * The loop's thread; waits for QEMU's answers. Nothing but `query-block` is sent, and files are only read.
 */
#include "restore_disks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "disk_info.h"
#include "overlay.h"
#include "printable.h"

#define QMP_NS 10000000000ull
#define SHOWN 120 /* bytes of a name in a message */

static const char *shown(const char *name, char text[SHOWN])
{
	return wt_printable(name, strlen(name), text, SHOWN);
}

/* As `touch -d` takes it. */
static const char *time_text(int64_t ns, char text[64])
{
	time_t seconds = (time_t)(ns / 1000000000);
	struct tm parts;
	size_t n = gmtime_r(&seconds, &parts) ? strftime(text, 40, "%Y-%m-%d %H:%M:%S", &parts) : 0;

	snprintf(text + n, 64 - n, ".%09d UTC", (int)(ns % 1000000000));
	return text;
}

/* One image, as it was? */
static int check_file(pid_t pid, const struct wt_replica_disk *d, const struct wt_replica_disk_file *file,
	json_t *image, struct wt_error *err)
{
	char name[SHOWN], other[SHOWN], times[2][64];
	int64_t written_ns;
	int r;

	if (!wt_disk_same_file(pid, wt_disk_text(image, "filename"), file->name) ||
		strcmp(wt_disk_text(image, "format"), file->format) != 0)
		return wt_error_set(err, EPERM,
			"below the overlay of disk '%.60s' this QEMU has %s (%.16s) where the checkpoint has %s (%s); was the chain "
			"of images changed?",
			d->device, shown(wt_disk_text(image, "filename"), other),
			image ? wt_disk_text(image, "format") : "nothing", shown(file->name, name),
			file->format);
	r = wt_disk_written(pid, file->name, &written_ns);
	if (r)
		return wt_error_set(err, EPERM, "%s, of disk '%.60s', cannot be looked at: %s",
			shown(file->name, name), d->device, strerror(-r));
	if (written_ns == file->written_ns)
		return 0;
	return wt_error_set(err, EPERM,
		"%s, of disk '%.60s', was written at %s, and the checkpoint knows it as of %s, so disk and memory do not belong "
		"together; put a copy from then in its place (cp -p and rsync -a keep the time)",
		shown(file->name, name), d->device, time_text(written_ns, times[0]),
		time_text(file->written_ns, times[1]));
}

static int check_overlay(pid_t pid, const struct wt_replica_disk *d, const char *name, struct wt_error *err)
{
	char path[WT_DISK_PATH_MAX], text[SHOWN];
	int r = -EINVAL;

	if (name[0] == '/') {
		wt_disk_path(pid, name, path);
		r = wt_overlay_is_new(path);
	}
	if (r > 0)
		return 0;
	if (!r)
		return wt_error_set(err, EPERM,
			"something was written to %s, the overlay of disk '%.60s', so it does not hold what the guest had on its disk; "
			"make a new overlay for each restore",
			shown(name, text), d->device);
	return wt_error_set(err, EPERM,
		"%s, the overlay of disk '%.60s', cannot be read from here (%s); it must be a qcow2 image on this host, named "
		"by its whole path",
		shown(name, text), d->device, r == -EINVAL ? "it is no such image" : strerror(-r));
}

static int check_disk(pid_t pid, const struct wt_replica_disk *d, json_t *image, struct wt_error *err)
{
	json_t *below = json_object_get(image, "backing-image"), *each = below;
	const char *name = wt_disk_text(image, "filename");
	char text[SHOWN], base[SHOWN];
	int r = 0;

	if (wt_disk_same_file(pid, name, d->overlay))
		return wt_error_set(err, EPERM,
			"disk '%.60s' of this QEMU is %s, where the guest went on after the checkpoint; give it a new overlay on %s "
			"instead",
			d->device, shown(name, text), shown(d->files[0].name, base));
	if (!wt_disk_same_file(pid, wt_disk_text(below, "filename"), d->files[0].name))
		return wt_error_set(err, EPERM,
			"disk '%.60s' of this QEMU is %s, which is no overlay of %s, where the guest had it (were two disks "
			"exchanged?); give it one: qemu-img create -f qcow2 -b FILE -F %s OVERLAY",
			d->device, shown(name, text), shown(d->files[0].name, base), d->files[0].format);
	if (json_integer_value(json_object_get(image, "virtual-size")) !=
		json_integer_value(json_object_get(below, "virtual-size")))
		return wt_error_set(err, EPERM,
			"%s, the overlay of disk '%.60s', has another size than %s below it; make it without a size",
			shown(name, text), d->device, shown(d->files[0].name, base));
	for (unsigned i = 0; i < d->file_count && !r; i++) {
		r = check_file(pid, d, &d->files[i], each, err);
		each = json_object_get(each, "backing-image");
	}
	return r ? r : check_overlay(pid, d, name, err);
}

/* The disk of this QEMU that is in a place. */
static json_t *disk_at(json_t *list, const char *place)
{
	json_t *disk;
	size_t i;

	json_array_foreach(list, i, disk)
	{
		if (wt_disk_writable(disk) && !strcmp(wt_disk_place(disk), place))
			return disk;
	}
	return NULL;
}

/* Nor has this QEMU disks that the checkpoint knows nothing of. */
static int check_more(json_t *list, const struct wt_replica_checkpoint *c, struct wt_error *err)
{
	char name[SHOWN];
	json_t *disk;
	size_t i;

	json_array_foreach(list, i, disk)
	{
		bool known = !wt_disk_writable(disk);

		for (unsigned k = 0; k < c->disk_count && !known; k++)
			known = !strcmp(c->disks[k].place, wt_disk_place(disk));
		if (!known)
			return wt_error_set(err, EPERM,
				"disk '%.60s' (%s) of this QEMU is writable, and the guest had none there; start it with the disks of "
				"the QEMU that was saved",
				wt_disk_label(disk),
				shown(wt_disk_text(wt_disk_image(disk), "filename"), name));
	}
	return 0;
}

int wt_restore_disks_check(struct wt_qmp *qmp, const struct wt_replica_checkpoint *c, struct wt_error *err)
{
	json_t *list = NULL, *disk;
	char place[SHOWN], name[SHOWN];
	int r = wt_qmp_call(qmp, "query-block", NULL, QMP_NS, &list, err);

	for (unsigned i = 0; i < c->disk_count && !r; i++) {
		const struct wt_replica_disk *d = &c->disks[i];

		disk = disk_at(list, d->place);
		r = disk ? check_disk(wt_qmp_pid(qmp), d, wt_disk_image(disk), err)
			 : wt_error_set(err, EPERM,
				   "the checkpoint has disk '%.60s' (%s) in %s, and this QEMU has no writable disk there; start it with the "
				   "devices of the QEMU that was saved",
				   d->device, shown(d->files[0].name, name), shown(d->place, place));
	}
	if (!r)
		r = check_more(list, c, err);
	json_decref(list);
	return r;
}

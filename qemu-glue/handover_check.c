/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * handover_check.c - are two QEMUs the same machine? See handover_check.h; memory is handover_memory.c's.
 *
 *   1. Nothing is changed: only query-*, qom-list and qom-get are sent.
 *   2. The machine is compared as far as QEMU would not notice by itself: a device that is missing, or too
 * many, or another image, loads without a word. What a processor model means in each QEMU (-cpu host) is not
 * compared.
 *   3. Images are compared as files that both processes have open, not by name.
 *   4. The first difference is told, as one sentence.
 */
#include "handover_check.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "preflight.h"

#define QUERY_NS 10000000000ull

static const char *text_of(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static int ask(const struct wt_handover_qemu *qemu, const char *command, json_t *arguments,
	json_t **ret_result, struct wt_error *err)
{
	return wt_qmp_call(qemu->qmp, command, arguments, QUERY_NS, ret_result, err);
}

/* ---- the machine ---- */

/* What an item of qom-list is, without "child<" and ">"; "": no child. Answers ret_type. */
static const char *item_type(json_t *item, char *ret_type, size_t size)
{
	const char *type = text_of(item, "type");

	ret_type[0] = '\0';
	if (strncmp(type, "child<", 6) == 0)
		snprintf(ret_type, size, "%.*s", (int)strcspn(type + 6, ">"), type + 6);
	return ret_type;
}

/* The type of a child of an object; "" if there is none. */
int wt_handover_child_type(const struct wt_handover_qemu *qemu, const char *path, const char *name,
	char *ret_type, size_t size, struct wt_error *err)
{
	json_t *list = NULL, *item;
	size_t i;
	int r = ask(qemu, "qom-list", json_pack("{s:s}", "path", path), &list, err);

	ret_type[0] = '\0';
	json_array_foreach(list, i, item)
	{
		if (strcmp(text_of(item, "name"), name) == 0)
			item_type(item, ret_type, size);
	}
	json_decref(list);
	return r;
}

int wt_handover_machine_type(
	const struct wt_handover_qemu *qemu, char *ret_type, size_t size, struct wt_error *err)
{
	static const char suffix[] = "-machine";
	size_t length;
	int r = wt_handover_child_type(qemu, "/", "machine", ret_type, size, err);

	length = strlen(ret_type);
	if (length > strlen(suffix) && !strcmp(ret_type + length - strlen(suffix), suffix))
		ret_type[length - strlen(suffix)] = '\0';
	return r;
}

static int check_type(
	const struct wt_handover_qemu *old, const struct wt_handover_qemu *new, struct wt_error *err)
{
	char types[2][128];
	int r = wt_handover_machine_type(old, types[0], sizeof types[0], err);

	if (!r)
		r = wt_handover_machine_type(new, types[1], sizeof types[1], err);
	if (r || !strcmp(types[0], types[1]))
		return r;
	return wt_error_set(err, EPERM,
		"the old QEMU's machine type is %s, and the new one's is %s; start the new one with -machine %s",
		types[0], types[1], types[0]);
}

/* Processors at the same places; that they are as many is known. */
static bool same_places(json_t *one, json_t *other)
{
	static const char *const keys[] = { "node-id", "socket-id", "core-id", "thread-id" };

	for (size_t i = 0; i < json_array_size(one); i++) {
		json_t *places[2] = { json_object_get(json_array_get(one, i), "props"),
			json_object_get(json_array_get(other, i), "props") };

		for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++)
			if (json_integer_value(json_object_get(places[0], keys[k])) !=
				json_integer_value(json_object_get(places[1], keys[k])))
				return false;
	}
	return true;
}

/* The model of the first processor; "" if it is not told. */
static int processor_type(
	const struct wt_handover_qemu *qemu, json_t *list, char *ret_type, size_t size, struct wt_error *err)
{
	json_t *type = NULL;
	int r = ask(qemu, "qom-get",
		json_pack("{s:s,s:s}", "path", text_of(json_array_get(list, 0), "qom-path"), "property",
			"type"),
		&type, err);

	snprintf(ret_type, size, "%s", json_is_string(type) ? json_string_value(type) : "");
	json_decref(type);
	return r;
}

static int compare_processors(const struct wt_handover_qemu *old, const struct wt_handover_qemu *new,
	json_t *lists[2], struct wt_error *err)
{
	char types[2][128];
	int r;

	if (json_array_size(lists[0]) != json_array_size(lists[1]))
		return wt_error_set(err, EPERM,
			"the old QEMU has %zu processors, and the new one has %zu; start the new one with as many",
			json_array_size(lists[0]), json_array_size(lists[1]));
	if (!same_places(lists[0], lists[1]))
		return wt_error_set(err, EPERM,
			"the processors are in other sockets, cores or nodes in the new QEMU; start it with the old one's -smp and "
			"-numa");
	r = processor_type(old, lists[0], types[0], sizeof types[0], err);
	if (!r)
		r = processor_type(new, lists[1], types[1], sizeof types[1], err);
	if (r || !strcmp(types[0], types[1]))
		return r;
	return wt_error_set(err, EPERM,
		"the old QEMU's processors are %s, and the new one's are %s; start the new one with the same -cpu",
		types[0], types[1]);
}

static int check_processors(
	const struct wt_handover_qemu *old, const struct wt_handover_qemu *new, struct wt_error *err)
{
	json_t *lists[2] = { NULL, NULL }, *kvm[2] = { NULL, NULL };
	int r = ask(old, "query-cpus-fast", NULL, &lists[0], err);

	if (!r)
		r = ask(new, "query-cpus-fast", NULL, &lists[1], err);
	if (!r)
		r = ask(old, "query-kvm", NULL, &kvm[0], err);
	if (!r)
		r = ask(new, "query-kvm", NULL, &kvm[1], err);
	if (!r && json_is_true(json_object_get(kvm[0], "enabled")) !=
			  json_is_true(json_object_get(kvm[1], "enabled")))
		r = wt_error_set(err, EPERM,
			"one of the QEMUs uses KVM and the other does not; start the new one with "
			"the old one's accelerator");
	if (!r)
		r = compare_processors(old, new, lists, err);
	for (unsigned i = 0; i < 2; i++) {
		json_decref(lists[i]);
		json_decref(kvm[i]);
	}
	return r;
}

/* ---- devices ---- */

/* The first child of `one` that `other` lacks, or has with another type; those that leave do not count. */
static json_t *missing(json_t *one, json_t *other, const char *const *leaving)
{
	json_t *item, *candidate;
	size_t i, j;

	json_array_foreach(one, i, item)
	{
		bool found = strncmp(text_of(item, "type"), "child<", 6) != 0 ||
			     wt_preflight_leaves(leaving, text_of(item, "name"));

		json_array_foreach(other, j, candidate)
		{
			found |= !strcmp(text_of(candidate, "name"), text_of(item, "name")) &&
				 !strcmp(text_of(candidate, "type"), text_of(item, "type"));
		}
		if (!found)
			return item;
	}
	return NULL;
}

static int check_devices(const struct wt_handover_qemu *old, const struct wt_handover_qemu *new,
	const char *path, const char *const *leaving, struct wt_error *err)
{
	json_t *lists[2] = { NULL, NULL }, *odd;
	char type[128];
	int r = ask(old, "qom-list", json_pack("{s:s}", "path", path), &lists[0], err);

	if (!r)
		r = ask(new, "qom-list", json_pack("{s:s}", "path", path), &lists[1], err);
	if (!r && (odd = missing(lists[0], lists[1], leaving)) != NULL)
		r = wt_error_set(err, EPERM,
			"device '%s' (%s) of the old QEMU is missing in the new one; start the new one with it, or device_del it "
			"first",
			text_of(odd, "name"), item_type(odd, type, sizeof type));
	if (!r && (odd = missing(lists[1], lists[0], leaving)) != NULL)
		r = wt_error_set(err, EPERM,
			"the new QEMU has a device '%s' (%s) that the old one lacks; start the new one without it",
			text_of(odd, "name"), item_type(odd, type, sizeof type));
	json_decref(lists[0]);
	json_decref(lists[1]);
	return r;
}

/* ---- disks ---- */

/* The same device, by the path of what it is plugged into, or else by its own name. */
static bool same_disk(json_t *one, json_t *other)
{
	const char *qdev = text_of(one, "qdev");

	if (*qdev)
		return !strcmp(qdev, text_of(other, "qdev"));
	return !strcmp(text_of(one, "device"), text_of(other, "device"));
}

static json_t *inserted(json_t *disk)
{
	return json_object_get(disk, "inserted");
}

/* Does the process have that file open? */
static bool has_open(pid_t pid, const struct stat *wanted)
{
	char path[64 + NAME_MAX];
	struct dirent *entry;
	struct stat file;
	bool found = false;
	DIR *descriptors;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	descriptors = opendir(path);
	while (descriptors && !found && (entry = readdir(descriptors)) != NULL) {
		snprintf(path, sizeof path, "/proc/%d/fd/%s", (int)pid, entry->d_name);
		found = entry->d_name[0] != '.' && !stat(path, &file) && file.st_ino == wanted->st_ino &&
			file.st_dev == wanted->st_dev;
	}
	if (descriptors)
		closedir(descriptors);
	return found;
}

/* The file that a name is to a process, and that it has open; false: it is no such name. */
static bool file_of(pid_t pid, const char *name, struct stat *ret_file, bool *ret_open)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "/proc/%d/%s%s", (int)pid, name[0] == '/' ? "root" : "cwd/", name);
	if (!name[0] || stat(path, ret_file) || S_ISDIR(ret_file->st_mode))
		return false;
	*ret_open = has_open(pid, ret_file);
	return true;
}

/* One image: a file that both have open, read in the same way; or the same words, if it is no file. */
static bool same_medium(const struct wt_handover_qemu *qemus[2], json_t *media[2])
{
	const char *names[2] = { text_of(media[0], "file"), text_of(media[1], "file") };
	bool are_files[2], open[2] = { false, false };
	struct stat files[2];

	if (strcmp(text_of(media[0], "drv"), text_of(media[1], "drv")) != 0)
		return false;
	for (unsigned i = 0; i < 2; i++)
		are_files[i] = file_of(wt_qmp_pid(qemus[i]->qmp), names[i], &files[i], &open[i]);
	if (!are_files[0] && !are_files[1])
		return !strcmp(names[0], names[1]);
	return are_files[0] && are_files[1] && open[0] && open[1] && files[0].st_ino == files[1].st_ino &&
	       files[0].st_dev == files[1].st_dev;
}

static int check_disk(
	const struct wt_handover_qemu *qemus[2], json_t *disk, json_t *others, struct wt_error *err)
{
	const char *name = *text_of(disk, "qdev") ? text_of(disk, "qdev") : text_of(disk, "device");
	json_t *media[2] = { inserted(disk), NULL }, *other;
	size_t i;

	if (!json_is_object(media[0]))
		return 0;
	json_array_foreach(others, i, other)
	{
		if (!same_disk(disk, other))
			continue;
		media[1] = inserted(other);
		if (json_is_object(media[1]) && same_medium(qemus, media))
			return 0;
		return wt_error_set(err, EPERM,
			"disk '%s' of the old QEMU is %s (%s), and the new one's is %s (%s): not the same image; start the new one "
			"with the old one's",
			name, text_of(media[0], "file"), text_of(media[0], "drv"),
			media[1] ? text_of(media[1], "file") : "empty", text_of(media[1], "drv"));
	}
	return wt_error_set(err, EPERM,
		"disk '%s' (%s) of the old QEMU is missing in the new one; start the new one with it", name,
		text_of(media[0], "file"));
}

/* A medium that only the new one has. */
static int check_more(json_t *disk, json_t *olds, struct wt_error *err)
{
	json_t *other;
	size_t i;

	if (!json_is_object(inserted(disk)))
		return 0;
	json_array_foreach(olds, i, other)
	{
		if (same_disk(disk, other) && json_is_object(inserted(other)))
			return 0;
	}
	return wt_error_set(err, EPERM,
		"the new QEMU has %s in '%s', and the old one has not (it was unplugged, or ejected); start the new one without "
		"it",
		text_of(inserted(disk), "file"),
		*text_of(disk, "qdev") ? text_of(disk, "qdev") : text_of(disk, "device"));
}

/* An image that only the new one has open for writing: it would take it away from whoever has it now. */
static int check_nodes(const struct wt_handover_qemu *qemus[2], struct wt_error *err)
{
	json_t *lists[2] = { NULL, NULL }, *node, *other;
	size_t i, j;
	int r = ask(qemus[0], "query-named-block-nodes", NULL, &lists[0], err);

	if (!r)
		r = ask(qemus[1], "query-named-block-nodes", NULL, &lists[1], err);
	json_array_foreach(lists[1], i, node)
	{
		bool found = json_is_true(json_object_get(node, "ro"));

		json_array_foreach(lists[0], j, other)
		{
			json_t *media[2] = { other, node };

			found = found || same_medium(qemus, media);
		}
		if (!r && !found)
			r = wt_error_set(err, EPERM,
				"the new QEMU has %s open, and the old one has not; start the new one without it",
				text_of(node, "file"));
	}
	json_decref(lists[0]);
	json_decref(lists[1]);
	return r;
}

static int check_disks(
	const struct wt_handover_qemu *old, const struct wt_handover_qemu *new, struct wt_error *err)
{
	const struct wt_handover_qemu *qemus[2] = { old, new };
	json_t *lists[2] = { NULL, NULL }, *disk;
	size_t i;
	int r = ask(old, "query-block", NULL, &lists[0], err);

	if (!r)
		r = ask(new, "query-block", NULL, &lists[1], err);
	json_array_foreach(lists[0], i, disk)
	{
		if (!r)
			r = check_disk(qemus, disk, lists[1], err);
	}
	json_array_foreach(lists[1], i, disk)
	{
		if (!r)
			r = check_more(disk, lists[0], err);
	}
	json_decref(lists[0]);
	json_decref(lists[1]);
	return r ? r : check_nodes(qemus, err);
}

int wt_handover_check_paused(const struct wt_handover_qemu *old, struct wt_error *err)
{
	json_t *migration = NULL, *list = NULL, *disk;
	bool came, writable = false;
	size_t i;
	int r;

	if (wt_qmp_version_number(old->qmp) >= 100000)
		return 0;
	r = ask(old, "query-migrate", NULL, &migration, err);
	if (!r)
		r = ask(old, "query-block", NULL, &list, err);
	came = !strcmp(text_of(migration, "status"), "completed");
	json_array_foreach(list, i, disk)
	{
		writable |= json_is_false(json_object_get(inserted(disk), "ro"));
	}
	json_decref(migration);
	json_decref(list);
	if (r || !came || !writable)
		return r;
	return wt_error_set(err, EPERM,
		"this paused guest came by a migration, and its QEMU (%s) may abort when it gives its disks away before it has "
		"run: say cont, and stop, in its monitor first",
		wt_qmp_version(old->qmp));
}

int wt_handover_check_machine(const struct wt_handover_qemu *old, const struct wt_handover_qemu *new,
	const char *const *leaving, struct wt_error *err)
{
	int r = check_type(old, new, err);

	if (!r)
		r = check_processors(old, new, err);
	if (!r)
		r = check_devices(old, new, "/machine/peripheral", leaving, err);
	if (!r)
		r = check_devices(old, new, "/machine/peripheral-anon", NULL, err);
	return r ? r : check_disks(old, new, err);
}

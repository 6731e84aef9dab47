/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * handover_check.c - see handover_check.h.
 *
 *   1. Nothing is changed, but for discard-data of memory backends, which would throw the guest's memory
 * away.
 *   2. That memory is the same is proven by the kernel's tables (ram_block.h), not believed from names.
 *   3. The machine is compared as far as QEMU would not notice by itself: a device that is missing, or too
 * many, loads without a word.
 *   4. The first difference is told, as one sentence.
 */
#include "handover_check.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "ram_search.h"

#define QUERY_NS 10000000000ull
#define NAMED_FILES_ONLY 80100 /* QEMU 8.1 */

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
static int child_type(const struct wt_handover_qemu *qemu, const char *path, const char *name, char *ret_type,
	size_t size, struct wt_error *err)
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
	int r = child_type(qemu, "/", "machine", ret_type, size, err);

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

/* The first child of `one` that `other` lacks, or has with another type. */
static json_t *missing(json_t *one, json_t *other)
{
	json_t *item, *candidate;
	size_t i, j;

	json_array_foreach(one, i, item)
	{
		bool found = strncmp(text_of(item, "type"), "child<", 6) != 0;

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
	const char *path, struct wt_error *err)
{
	json_t *lists[2] = { NULL, NULL }, *odd;
	char type[128];
	int r = ask(old, "qom-list", json_pack("{s:s}", "path", path), &lists[0], err);

	if (!r)
		r = ask(new, "qom-list", json_pack("{s:s}", "path", path), &lists[1], err);
	if (!r && (odd = missing(lists[0], lists[1])) != NULL)
		r = wt_error_set(err, EPERM,
			"device '%s' (%s) of the old QEMU is missing in the new one; start the new one with it, or device_del it "
			"first",
			text_of(odd, "name"), item_type(odd, type, sizeof type));
	if (!r && (odd = missing(lists[1], lists[0])) != NULL)
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
	if (stat(path, ret_file))
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

int wt_handover_check_machine(
	const struct wt_handover_qemu *old, const struct wt_handover_qemu *new, struct wt_error *err)
{
	int r = check_type(old, new, err);

	if (!r)
		r = check_processors(old, new, err);
	if (!r)
		r = check_devices(old, new, "/machine/peripheral", err);
	if (!r)
		r = check_devices(old, new, "/machine/peripheral-anon", err);
	return r ? r : check_disks(old, new, err);
}

/* ---- memory ---- */

bool wt_handover_same(const struct wt_ram_block *old, const struct wt_ram_block *new)
{
	struct stat files[2];

	if (!old->shared || !new->shared || old->length != new->length || old->fd_offset != new->fd_offset)
		return false;
	return !fstat(old->fd, &files[0]) && !fstat(new->fd, &files[1]) &&
	       files[0].st_ino == files[1].st_ino && files[0].st_dev == files[1].st_dev;
}

/* "anonymous", or the file that backs a block, for people. */
static const char *file_text(const struct wt_ram_block *block, char text[64])
{
	struct stat file;

	if (!block->shared || fstat(block->fd, &file))
		return "private memory";
	snprintf(text, 64, "file %u:%u inode %llu at %llu", major(file.st_dev), minor(file.st_dev),
		(unsigned long long)file.st_ino, (unsigned long long)block->fd_offset);
	return text;
}

static int check_block(const struct wt_handover_qemu *old, const struct wt_handover_qemu *new,
	const struct wt_ram_block *block, struct wt_error *err)
{
	const struct wt_ram_block *other = wt_guest_ram_find(new->ram, block->name);
	char texts[2][64];

	if (!other)
		return wt_error_set(err, EPERM,
			"the new QEMU has no RAM block %s; start it with the old one's command line",
			block->name);
	if (other->length != block->length)
		return wt_error_set(err, EPERM,
			"RAM block %s has %llu bytes in the old QEMU and %llu in the new one; start both with the same "
			"memory",
			block->name, (unsigned long long)block->length, (unsigned long long)other->length);
	return wt_error_set(err, EPERM,
		"RAM block %s is not the same memory in both QEMUs (%s, and %s): start the new one with the file that "
		"the old one has, mem-path=/proc/%d/fd/N for a memfd, and share=on; for QEMUs on two hosts there is "
		"watari send",
		block->name, file_text(block, texts[0]), file_text(other, texts[1]),
		(int)wt_qmp_pid(old->qmp));
}

/* Who listens behind a socket where the memory of the QEMU that answers was not found. */
static void process_name(pid_t pid, char ret_name[32])
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
	file = fopen(path, "re");
	if (!file || !fgets(ret_name, 32, file))
		strcpy(ret_name, "?\n");
	ret_name[strcspn(ret_name, "\n")] = '\0';
	if (file)
		fclose(file);
}

static int refuse_private(const struct wt_handover_qemu *qemu, const char *which, const char *id, bool share,
	struct wt_error *err)
{
	char name[32];

	if (!share)
		return wt_error_set(err, EPERM,
			"guest memory '%s' is private to the %s QEMU, and only shared memory can be handed over; use watari "
			"send, and start QEMU with -object memory-backend-file,id=mem0,size=SIZE,mem-path=PATH,share=on",
			id, which);
	process_name(wt_qmp_pid(qemu->qmp), name);
	return wt_error_set(err, EPERM,
		"guest memory '%s' is share=on, but it is not in the process that listens on %s (%d, %s): both QEMUs "
		"must run on this host, as the user that runs watari; between two hosts there is watari send",
		id, qemu->socket_path, (int)wt_qmp_pid(qemu->qmp), name);
}

/* The block of a memory backend: its id, as it is, as a path, or behind a device's path; NULL: not in use. */
static const struct wt_ram_block *backend_block(const struct wt_guest_ram *ram, const char *id)
{
	size_t length = strlen(id), whole;

	for (unsigned i = 0; length && i < ram->count; i++) {
		whole = strlen(ram->blocks[i].name);
		if (whole >= length && !strcmp(ram->blocks[i].name + whole - length, id) &&
			(whole == length || ram->blocks[i].name[whole - length - 1] == '/'))
			return &ram->blocks[i];
	}
	return NULL;
}

static bool is_backend(json_t *backends, const struct wt_guest_ram *ram, const struct wt_ram_block *block)
{
	json_t *backend;
	size_t i;

	json_array_foreach(backends, i, backend)
	{
		if (backend_block(ram, text_of(backend, "id")) == block)
			return true;
	}
	return false;
}

/* Every backend that is in use is mapped here, and does not go away with the QEMU that ends. */
int wt_handover_check_backends(const struct wt_handover_qemu *qemu, const char *which, struct wt_error *err)
{
	json_t *list = NULL, *backend;
	unsigned found = 0;
	size_t i;
	int r = ask(qemu, "query-memdev", NULL, &list, err);

	json_array_foreach(list, i, backend)
	{
		const char *id = text_of(backend, "id");
		const struct wt_ram_block *block = backend_block(qemu->ram, id);

		found += block && block->shared;
		if (!r && block && !block->shared)
			r = refuse_private(
				qemu, which, id, json_is_true(json_object_get(backend, "share")), err);
		if (!r && !strcmp(which, "new") && json_is_true(json_object_get(backend, "prealloc")))
			r = wt_error_set(err, EPERM,
				"guest memory '%s' of the new QEMU has prealloc=on, which writes to memory that the old one still "
				"uses; start it without",
				id);
	}
	json_decref(list);
	if (!r && !found)
		r = refuse_private(qemu, which, "pc.ram", false, err);
	return r;
}

/* A file that QEMU punches out when it ends (discard-data) is no memory for anybody else: that is switched
 * off. */
int wt_handover_keep_memory(const struct wt_handover_qemu *qemu, struct wt_error *err)
{
	json_t *list = NULL, *backend;
	size_t i;
	int r = ask(qemu, "query-memdev", NULL, &list, err);

	json_array_foreach(list, i, backend)
	{
		struct wt_error why = { 0 };
		json_t *value = NULL;
		char path[320];
		int got;

		snprintf(path, sizeof path, "/objects/%.256s", text_of(backend, "id"));
		if (r)
			continue;
		got = ask(qemu, "qom-get", json_pack("{s:s,s:s}", "path", path, "property", "discard-data"),
			&value, &why);
		if (got && got != -EREMOTEIO && got != -ENOSYS && got != -ENODEV)
			r = wt_error_set(err, -got, "%s", why.text);
		if (json_is_true(value))
			r = ask(qemu, "qom-set",
				json_pack("{s:s,s:s,s:b}", "path", path, "property", "discard-data", "value",
					0),
				NULL, err);
		json_decref(value);
	}
	json_decref(list);
	return r;
}

static bool is_named_file(const struct wt_handover_qemu *qemu, const char *id)
{
	struct wt_error ignored = { 0 };
	char type[64];

	return !child_type(qemu, "/objects", id, type, sizeof type, &ignored) &&
	       !strcmp(type, "memory-backend-file");
}

int wt_handover_check_memory(const struct wt_handover_qemu *old, const struct wt_handover_qemu *new,
	struct wt_handover_memory *ret_memory, struct wt_error *err)
{
	struct wt_handover_memory memory = { 0 };
	bool all_left_out = wt_qmp_version_number(old->qmp) < NAMED_FILES_ONLY;
	json_t *backends = NULL;
	int r = ask(old, "query-memdev", NULL, &backends, err);

	for (unsigned i = 0; !r && i < old->ram->count; i++) {
		const struct wt_ram_block *block = &old->ram->blocks[i];
		const struct wt_ram_block *other = wt_guest_ram_find(new->ram, block->name);

		if (other && wt_handover_same(block, other)) {
			memory.shared_bytes += block->length;
			if (!all_left_out && !is_named_file(old, block->name))
				memory.walked_bytes += block->length;
		} else if (wt_ram_is_main(block->name, block->length) || (block->shared && all_left_out) ||
			   is_backend(backends, old->ram, block)) {
			r = check_block(old, new, block, err);
		}
	}
	json_decref(backends);
	if (!r)
		*ret_memory = memory;
	return r;
}

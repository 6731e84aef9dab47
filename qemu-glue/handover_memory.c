/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * handover_memory.c - have two QEMUs the same memory? See handover_check.h.
 *
 *   1. That memory is the same is proven by the kernel's tables (ram_block.h), not believed from names.
 *   2. Every block that QEMU may leave out of its stream is compared: main memory, and every backend's.
 *   3. Nothing is changed, but for discard-data, which would throw the guest's memory away.
 */
#include "handover_check.h"

#include <errno.h>
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

	return !wt_handover_child_type(qemu, "/objects", id, type, sizeof type, &ignored) &&
	       !strcmp(type, "memory-backend-file");
}

bool wt_handover_left_out(const struct wt_handover_qemu *qemu, const char *block)
{
	return wt_qmp_version_number(qemu->qmp) < NAMED_FILES_ONLY || is_named_file(qemu, block);
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
			if (!wt_handover_left_out(old, block->name))
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

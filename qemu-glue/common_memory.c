/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * common_memory.c - see common_memory.h.
 *
 *   1. Guest RAM is neither read nor written here: the page lies behind the block in its file.
 *   2. A page that holds anything but zeros or one of our marks is not ours, and is left alone.
 *   3. A mark is new each time, and never sent by who has written it.
 *
 * A device (devdax) has no length of its own, and is mapped in large pages: sysfs tells both.
 */
#include "common_memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "printable.h"

#define MARK_BYTES 16
#define DEVICE_STEP ((uint64_t)2 << 20) /* how devices are mapped, where sysfs does not say it */

static const uint8_t magic[MARK_BYTES] = "watari's mark: ";

struct page {
	uint8_t magic[MARK_BYTES];
	uint8_t mark[MARK_BYTES];
	uint8_t rest[WT_PAGE_SIZE - 2 * MARK_BYTES];
};

_Static_assert(sizeof(struct page) == WT_PAGE_SIZE, "the last page of a file");

struct spare {
	const struct wt_ram_block *block;
	uint64_t file_bytes;
	void *base; /* mapped, length bytes: the end of the file */
	size_t length;
	struct page *page; /* the last one in it */
};

struct wt_common_memory {
	unsigned count;
	struct spare spares[];
};

/* ---- the place ---- */

/* A number of a device's in sysfs; otherwise as it was. */
static void device_number(const struct stat *file, const char *name, uint64_t *ret_value)
{
	char path[96];
	FILE *text;

	snprintf(path, sizeof path, "/sys/dev/char/%u:%u/%s", major(file->st_rdev), minor(file->st_rdev),
		name);
	text = fopen(path, "re");
	if (!text)
		return;
	if (fscanf(text, "%" SCNu64, ret_value) != 1)
		*ret_value = 0;
	fclose(text);
}

/* How long the file is, and in what steps it can be mapped. */
static int measure(
	const struct wt_ram_block *block, uint64_t *ret_bytes, uint64_t *ret_step, struct wt_error *err)
{
	uint64_t bytes, step = block->backing_page_size;
	struct stat file;

	if (fstat(block->fd, &file))
		return wt_error_set(
			err, errno, "cannot look at the file of block %s: %s", block->name, strerror(errno));
	bytes = (uint64_t)file.st_size;
	if (S_ISCHR(file.st_mode)) {
		bytes = 0;
		step = DEVICE_STEP;
		device_number(&file, "size", &bytes);
		device_number(&file, "align", &step);
	}
	if (step < WT_PAGE_SIZE || step & (step - 1))
		step = DEVICE_STEP;
	*ret_bytes = bytes;
	*ret_step = step;
	return 0;
}

/* Ours, or nobody's yet. */
static bool is_free(const struct page *page)
{
	static const struct page zeros;

	return !memcmp(page->magic, magic, sizeof magic) || !memcmp(page, &zeros, sizeof zeros);
}

static int open_spare(const struct wt_ram_block *block, struct spare *spare, struct wt_error *err)
{
	uint64_t bytes = 0, step = WT_PAGE_SIZE;
	void *base;
	int r = measure(block, &bytes, &step, err);

	if (r)
		return r;
	if (bytes % step || bytes < step || bytes - step < block->fd_offset + block->length)
		return wt_error_set(err, EPERM,
			"the file of block %s has %" PRIu64 " bytes, and its last %" PRIu64
			" must be behind the guest's RAM, which ends at %" PRIu64
			": there both hosts prove that it is the same memory; make it that much longer",
			block->name, bytes, step, block->fd_offset + block->length);
	base = mmap(NULL, step, PROT_READ | PROT_WRITE, MAP_SHARED, block->fd, (off_t)(bytes - step));
	if (base == MAP_FAILED)
		return wt_error_set(err, errno, "the end of the file of block %s cannot be mapped: %s",
			block->name, strerror(errno));
	*spare = (struct spare){ .block = block, .file_bytes = bytes, .base = base, .length = step };
	spare->page = (struct page *)((uint8_t *)base + step - sizeof *spare->page);
	return 0;
}

int wt_common_memory_open(
	const struct wt_guest_ram *ram, struct wt_common_memory **ret_memory, struct wt_error *err)
{
	struct wt_common_memory *memory =
		calloc(1, sizeof *memory + (ram->count + 1) * sizeof memory->spares[0]);
	int r = memory ? 0 : wt_error_set(err, ENOMEM, "no memory for %u blocks", ram->count);

	for (unsigned i = 0; !r && i < ram->count; i++) {
		struct spare *spare = &memory->spares[memory->count];

		if (!ram->blocks[i].shared)
			continue;
		r = open_spare(&ram->blocks[i], spare, err);
		memory->count += !r;
		if (!r && !is_free(spare->page))
			r = wt_error_set(err, EPERM,
				"the last page of the file of block %s is in use: a file belongs to one guest, and that page to "
				"watari",
				ram->blocks[i].name);
	}
	if (!r && !memory->count)
		r = wt_error_set(err, EPERM,
			"this guest's memory is private to its QEMU, and no other host can have it in common; start QEMU with "
			"-object memory-backend-file,id=mem0,size=SIZE,mem-path=PATH,share=on -machine memory-backend=mem0");
	if (r) {
		wt_common_memory_close(memory);
		return r;
	}
	*ret_memory = memory;
	return 0;
}

void wt_common_memory_close(struct wt_common_memory *memory)
{
	for (unsigned i = 0; memory && i < memory->count; i++)
		munmap(memory->spares[i].base, memory->spares[i].length);
	free(memory);
}

/* ---- marks ---- */

int wt_common_memory_mark(struct wt_common_memory *memory, struct wt_error *err)
{
	for (unsigned i = 0; i < memory->count; i++) {
		struct page *page = memory->spares[i].page;

		memcpy(page->magic, magic, sizeof magic);
		if (getrandom(page->mark, sizeof page->mark, 0) != sizeof page->mark)
			return wt_error_set(err, errno, "no random numbers: %s", strerror(errno));
	}
	return 0;
}

static void mark_text(const struct page *page, char ret_text[2 * MARK_BYTES + 1])
{
	uint8_t mark[MARK_BYTES];

	memcpy(mark, page->mark, sizeof mark);
	for (size_t i = 0; i < MARK_BYTES; i++)
		snprintf(ret_text + 2 * i, 3, "%02x", mark[i]);
}

json_t *wt_common_memory_json(const struct wt_common_memory *memory)
{
	json_t *blocks = json_array();

	for (unsigned i = 0; i < memory->count; i++) {
		const struct spare *spare = &memory->spares[i];
		char mark[2 * MARK_BYTES + 1];

		mark_text(spare->page, mark);
		json_array_append_new(blocks, json_pack("{s:s,s:I,s:I,s:I,s:s}", "name", spare->block->name,
						      "bytes", (json_int_t)spare->block->length, "offset",
						      (json_int_t)spare->block->fd_offset, "file_bytes",
						      (json_int_t)spare->file_bytes, "mark", mark));
	}
	return json_pack("{s:o}", "blocks", blocks);
}

static json_t *find(json_t *blocks, const char *name)
{
	json_t *block;
	size_t i;

	json_array_foreach(blocks, i, block)
	{
		const char *is = json_string_value(json_object_get(block, "name"));

		if (is && !strcmp(is, name))
			return block;
	}
	return NULL;
}

static uint64_t number(json_t *block, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(block, key));

	return value > 0 ? (uint64_t)value : 0;
}

static int compare(const struct spare *spare, json_t *theirs, struct wt_error *err)
{
	const char *name = spare->block->name, *found = json_string_value(json_object_get(theirs, "mark"));
	char mark[2 * MARK_BYTES + 1];

	if (!theirs)
		return wt_error_set(err, EPERM,
			"the destination has no shared memory %s; start its QEMU with the same -object",
			name);
	if (number(theirs, "bytes") != spare->block->length)
		return wt_error_set(err, EPERM,
			"RAM block %s has %" PRIu64 " bytes here and %" PRIu64
			" at the destination; start both QEMUs with the same memory",
			name, spare->block->length, number(theirs, "bytes"));
	if (number(theirs, "offset") != spare->block->fd_offset ||
		number(theirs, "file_bytes") != spare->file_bytes)
		return wt_error_set(err, EPERM,
			"RAM block %s begins at %" PRIu64 " of %" PRIu64
			" bytes of its file here, and at %" PRIu64 " of %" PRIu64
			" at the destination: not the same memory",
			name, spare->block->fd_offset, spare->file_bytes, number(theirs, "offset"),
			number(theirs, "file_bytes"));
	mark_text(spare->page, mark);
	if (!found || strcmp(found, mark) != 0)
		return wt_error_set(err, EPERM,
			"RAM block %s is not the same memory at the destination: what was written behind its end here is not "
			"found there. It is memory that these hosts do not share, or another guest's; without "
			"--common-memory, at both ends, it is copied",
			name);
	return 0;
}

int wt_common_memory_compare(const struct wt_common_memory *memory, json_t *theirs, struct wt_error *err)
{
	json_t *blocks = json_object_get(theirs, "blocks");
	const char *refusal = json_string_value(json_object_get(theirs, "error"));
	char text[WT_PRINTABLE_MAX];

	if (refusal)
		return wt_error_set(err, EPERM, "the destination refuses: %s",
			wt_printable((const uint8_t *)refusal, strlen(refusal), text, sizeof text));
	if (json_array_size(blocks) != memory->count)
		return wt_error_set(err, EPERM,
			"%u blocks of this guest's memory are shared, and %zu at the destination; start both QEMUs with the "
			"same memory",
			memory->count, json_array_size(blocks));
	for (unsigned i = 0; i < memory->count; i++) {
		int r = compare(&memory->spares[i], find(blocks, memory->spares[i].block->name), err);

		if (r)
			return r;
	}
	return 0;
}

uint64_t wt_common_memory_bytes(const struct wt_common_memory *memory)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < memory->count; i++)
		bytes += memory->spares[i].block->length;
	return bytes;
}

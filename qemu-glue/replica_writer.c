/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica_writer.c - new images under new names, then one rename of the index. See replica_writer.h.
 *
 *   1. Until the index is renamed, it names the old images, and these are not touched.
 *   2. Images and index are on disk before the rename, the rename is before commit returns 0.
 *   3. Names carry a random number, so they never meet those of an earlier writer; while they are written
 * they end in .tmp, and the next writer removes what one that died has left.
 *   4. The directory's lock is held from create to the end: one writer, no reader that is just opening.
 *
 * Owns the directory's descriptor and those of the images.
 */
#include "replica_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "holes.h"
#include "printable.h"
#include "replica_directory.h"

#define COPY_BYTES (1u << 20) /* of one write */

struct new_file {
	int fd;                         /* -1: another name of a base's file, which is on disk */
	char name[WT_REPLICA_FILE_MAX]; /* the final one */
};

struct wt_replica_writer {
	char *directory;
	int fd;
	bool made;           /* the directory is ours */
	bool had_checkpoint; /* it held one */
	uint64_t generation;
	struct wt_replica_index index;
	unsigned count, room;
	struct new_file *files;
	unsigned renamed; /* so many have their final names */
};

static void temporary_name(const char *file, char name[NAME_MAX + 1])
{
	snprintf(name, NAME_MAX + 1, "%.200s" WT_REPLICA_TEMPORARY, file); /* ours are much shorter */
}

/* Frees; files stay as they are. */
static void writer_free(struct wt_replica_writer *writer)
{
	for (unsigned i = 0; i < writer->count; i++)
		if (writer->files[i].fd >= 0)
			close(writer->files[i].fd);
	if (writer->fd >= 0)
		close(writer->fd);
	free(writer->files);
	free(writer->index.images);
	if (writer->index.checkpoint)
		wt_replica_disks_free(writer->index.checkpoint->disks, writer->index.checkpoint->disk_count);
	free(writer->index.checkpoint);
	free(writer->directory);
	free(writer);
}

void wt_replica_abandon(struct wt_replica_writer *writer)
{
	char name[NAME_MAX + 1];

	if (!writer)
		return;
	for (unsigned i = 0; i < writer->count; i++) {
		temporary_name(writer->files[i].name, name);
		unlinkat(writer->fd, i < writer->renamed ? writer->files[i].name : name, 0);
	}
	unlinkat(writer->fd, WT_REPLICA_INDEX WT_REPLICA_TEMPORARY, 0);
	if (writer->made)
		rmdir(writer->directory);
	writer_free(writer);
}

/* Refuses what is not empty and no replica of this VM. */
static int check_directory(struct wt_replica_writer *writer, struct wt_error *err)
{
	struct wt_replica_index *old = NULL;
	bool replica;
	char theirs[80];
	int r = wt_replica_directory_index(writer->fd, writer->directory, &old, err), others;

	if (r)
		return r;
	replica = old;
	writer->had_checkpoint = old && old->checkpoint;
	if (old && strcmp(old->vm, writer->index.vm) != 0)
		r = wt_error_set(err, EEXIST,
			"%s holds a replica of \"%s\", and would lose it; choose another directory for \"%s\"",
			writer->directory, wt_printable(old->vm, strlen(old->vm), theirs, sizeof theirs),
			writer->index.vm);
	wt_replica_index_free(old);
	if (r)
		return r;
	others = wt_replica_directory_sweep(writer->fd, WT_REPLICA_SWEEP_TEMPORARY, NULL);
	if (others < 0)
		return wt_error_set(err, -others, "cannot list the directory %s: %s", writer->directory,
			strerror(-others));
	if (!replica && others)
		return wt_error_set(err, ENOTEMPTY,
			"%s has files in it and no " WT_REPLICA_INDEX
			", so it is no replica; choose an empty directory, or a new one",
			writer->directory);
	return 0;
}

static int open_directory(struct wt_replica_writer *writer, struct wt_error *err)
{
	writer->made = !mkdir(writer->directory, 0700);
	if (!writer->made && errno != EEXIST)
		return wt_error_set(err, errno, "cannot make the directory %s for a replica: %s",
			writer->directory, strerror(errno));
	writer->fd = wt_replica_directory_open(writer->directory, true, err);
	return writer->fd < 0 ? writer->fd : check_directory(writer, err);
}

int wt_replica_create(
	const char *directory, const char *vm, struct wt_replica_writer **ret_writer, struct wt_error *err)
{
	struct wt_replica_writer *writer;
	int r;

	if (!vm[0] || strlen(vm) > WT_REPLICA_VM_MAX)
		return wt_error_set(
			err, EINVAL, "the name of a VM has 1 to %d bytes in a replica", WT_REPLICA_VM_MAX);
	writer = calloc(1, sizeof *writer);
	if (!writer)
		return wt_error_set(err, ENOMEM, "no memory to write a replica");
	writer->fd = -1;
	strcpy(writer->index.vm, vm);
	writer->directory = strdup(directory);
	writer->index.images = calloc(WT_BLOCKS_MAX, sizeof *writer->index.images);
	if (!writer->directory || !writer->index.images)
		r = wt_error_set(err, ENOMEM, "no memory to write a replica");
	else if (getrandom(&writer->generation, sizeof writer->generation, 0) != sizeof writer->generation)
		r = wt_error_set(err, errno, "no random numbers: %s", strerror(errno));
	else
		r = open_directory(writer, err);
	if (!r) {
		*ret_writer = writer;
		return 0;
	}
	if (writer->directory && writer->made)
		rmdir(writer->directory);
	writer_free(writer);
	return r;
}

static int check_addition(
	const struct wt_replica_writer *writer, const char *name, uint64_t length, struct wt_error *err)
{
	char text[80];

	if (writer->index.count == WT_BLOCKS_MAX)
		return wt_error_set(err, E2BIG, "a replica has at most %d blocks", WT_BLOCKS_MAX);
	if (!name[0] || strlen(name) > WT_BLOCK_NAME_MAX || !length || length % WT_PAGE_SIZE ||
		length > INT64_MAX)
		return wt_error_set(err, EINVAL,
			"block \"%s\" of %" PRIu64
			" bytes cannot be written to a replica: its name must have 1 to %d bytes and it must have "
			"whole pages",
			wt_printable(name, strlen(name), text, sizeof text), length, WT_BLOCK_NAME_MAX);
	for (unsigned i = 0; i < writer->index.count; i++)
		if (!strcmp(writer->index.images[i].name, name))
			return wt_error_set(err, EEXIST, "block \"%s\" is in the replica already",
				wt_printable(name, strlen(name), text, sizeof text));
	return 0;
}

static int make_room(struct wt_replica_writer *writer, struct wt_error *err)
{
	unsigned room = writer->room ? 2 * writer->room : 16;
	struct new_file *files;

	if (writer->count < writer->room)
		return 0;
	files = realloc(writer->files, room * sizeof *files);
	if (!files)
		return wt_error_set(err, ENOMEM, "no memory to write %s", writer->directory);
	writer->files = files;
	writer->room = room;
	return 0;
}

int wt_replica_add_file(struct wt_replica_writer *writer, enum wt_replica_kind kind, unsigned number,
	int *ret_fd, struct wt_error *err)
{
	char temporary[NAME_MAX + 1];
	struct new_file *file;
	int r = make_room(writer, err);

	if (r)
		return r;
	file = &writer->files[writer->count];
	wt_replica_file_name(kind, number, writer->generation, file->name);
	temporary_name(file->name, temporary);
	file->fd = openat(writer->fd, temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (file->fd < 0)
		return wt_error_set(
			err, errno, "cannot write %s/%s: %s", writer->directory, temporary, strerror(errno));
	writer->count++;
	*ret_fd = file->fd;
	return 0;
}

int wt_replica_add(struct wt_replica_writer *writer, const char *name, uint64_t length, int *ret_fd,
	struct wt_error *err)
{
	const struct wt_replica_checkpoint *c = writer->index.checkpoint;
	struct wt_replica_image *image = &writer->index.images[writer->index.count];
	enum wt_replica_kind kind = c ? c->layers[c->layer_count - 1].kind : WT_REPLICA_RAW;
	int fd, r = check_addition(writer, name, length, err);

	if (!r)
		r = wt_replica_add_file(writer, kind, writer->index.count, &fd, err);
	if (r)
		return r;
	strcpy(image->name, name);
	image->length = length;
	wt_replica_file_name(kind, writer->index.count++, writer->generation, image->file);
	if (kind == WT_REPLICA_RAW && ftruncate(fd, (off_t)length))
		return wt_error_set(err, errno, "cannot make %s/%s %" PRIu64 " bytes long: %s",
			writer->directory, image->file, length, strerror(errno));
	*ret_fd = fd;
	return 0;
}

bool wt_replica_writer_had_checkpoint(const struct wt_replica_writer *writer)
{
	return writer->had_checkpoint;
}

struct wt_replica_index *wt_replica_writer_index(struct wt_replica_writer *writer)
{
	return &writer->index;
}

/* ---- on top of another checkpoint ---- */

static unsigned free_id(const struct wt_replica_checkpoint *c)
{
	unsigned id = 1;

	while (wt_replica_layer(c, id))
		id++;
	return id;
}

/* A second name in this directory, of the new files; nothing to do where it has the first one. */
static int link_file(struct wt_replica_writer *writer, int from, const char *directory, const char *name,
	struct wt_error *err)
{
	char temporary[NAME_MAX + 1];
	struct new_file *file;
	int r = make_room(writer, err);

	if (r || !faccessat(writer->fd, name, F_OK, AT_SYMLINK_NOFOLLOW))
		return r;
	temporary_name(name, temporary);
	if (linkat(from, name, writer->fd, temporary, 0))
		return wt_error_set(err, errno,
			"%s/%s cannot be linked into %s: %s; a base must lie on the same file system",
			directory, name, writer->directory, strerror(errno));
	file = &writer->files[writer->count++];
	file->fd = -1;
	snprintf(file->name, sizeof file->name, "%s", name);
	return 0;
}

static int link_layers(struct wt_replica_writer *writer, int from, const char *directory,
	const struct wt_replica_index *base, struct wt_error *err)
{
	const struct wt_replica_checkpoint *c = base->checkpoint;
	char name[WT_REPLICA_FILE_MAX];
	int r = 0;

	for (unsigned l = 0; l < c->layer_count && !r; l++)
		for (unsigned i = 0; i < base->count && !r; i++) {
			wt_replica_file_name(c->layers[l].kind, i, c->layers[l].generation, name);
			r = link_file(writer, from, directory, name, err);
		}
	return r;
}

/* Whether two paths are one directory. */
static bool is_here(const struct wt_replica_writer *writer, const char *directory)
{
	struct stat here, there;

	return !fstat(writer->fd, &here) && !stat(directory, &there) && here.st_dev == there.st_dev &&
	       here.st_ino == there.st_ino;
}

/* Bytes that a layer takes on disk. */
static uint64_t layer_bytes(const struct wt_replica *base, unsigned id)
{
	uint64_t bytes = 0;
	struct stat st;

	for (unsigned i = 0; i < base->index->count; i++)
		if (!fstat(base->blocks[i].parts[id].fd, &st))
			bytes += (uint64_t)st.st_blocks * 512;
	return bytes;
}

/* Layers together take more than twice what the largest does: much of that belongs to nothing any more. */
static bool bloated(const struct wt_replica *base)
{
	const struct wt_replica_checkpoint *c = base->index->checkpoint;
	uint64_t all = 0, most = 0;

	for (unsigned i = 0; i < c->layer_count; i++) {
		uint64_t bytes = layer_bytes(base, c->layers[i].id);

		all += bytes;
		most = bytes > most ? bytes : most;
	}
	return all > 2 * most;
}

/* Its layers can be used: there is room for one more, they are worth it, and their files are of the same
 * blocks.
 */
static bool fits(const struct wt_replica_base *base, const struct wt_replica *replica)
{
	const struct wt_replica_index *index = replica->index;

	if (!index->checkpoint || index->checkpoint->layer_count == WT_REPLICA_LAYERS_MAX ||
		index->count != base->count)
		return false;
	for (unsigned i = 0; i < base->count; i++)
		if (index->images[i].length != base->blocks[i]->length ||
			strcmp(index->images[i].name, base->blocks[i]->name) != 0)
			return false;
	return !bloated(replica);
}

/* *ret_base NULL: there is none. from: the directory, locked. */
static int open_base_at(struct wt_replica_writer *writer, const struct wt_replica_base *what, int from,
	struct wt_replica **ret_base, struct wt_error *err)
{
	struct wt_replica *base = NULL;
	int r = wt_replica_open_at(from, what->directory, writer->index.vm, &base, err);

	if (!r && fits(what, base)) {
		if (from != writer->fd)
			r = link_layers(writer, from, what->directory, base->index, err);
		if (!r) {
			*ret_base = base;
			return 0;
		}
	}
	wt_replica_close(base);
	return r;
}

static int open_base(struct wt_replica_writer *writer, const struct wt_replica_base *what,
	struct wt_replica **ret_base, struct wt_error *err)
{
	int from, r;

	if (is_here(writer, what->directory))
		return open_base_at(writer, what, writer->fd, ret_base, err);
	from = wt_replica_directory_open(what->directory, false, err);
	if (from < 0)
		return from;
	r = open_base_at(writer, what, from, ret_base, err);
	close(from);
	return r;
}

int wt_replica_checkpoint_begin(struct wt_replica_writer *writer, const struct wt_replica_base *base,
	struct wt_replica **ret_base, struct wt_error *err)
{
	struct wt_replica_checkpoint *c = calloc(1, sizeof *c);
	struct wt_replica_layer *layer;
	struct wt_replica *found = NULL;
	int r;

	writer->index.checkpoint = c;
	if (!c)
		return wt_error_set(err, ENOMEM, "no memory to write a checkpoint");
	if (getrandom(&c->seed, sizeof c->seed, 0) != sizeof c->seed)
		return wt_error_set(err, errno, "no random numbers: %s", strerror(errno));
	r = base->directory ? open_base(writer, base, &found, err) : 0;
	if (r)
		return r;
	c->generation = writer->generation;
	if (found) {
		c->seed = found->index->checkpoint->seed;
		c->layer_count = found->index->checkpoint->layer_count;
		memcpy(c->layers, found->index->checkpoint->layers, sizeof c->layers);
	}
	layer = &c->layers[c->layer_count];
	*layer = (struct wt_replica_layer){ .id = free_id(c),
		.kind = base->frames ? WT_REPLICA_FRAMES
			: found      ? WT_REPLICA_PACKED
				     : WT_REPLICA_RAW,
		.generation = c->generation };
	c->layer_count++;
	*ret_base = found;
	return 0;
}

static int write_all(int fd, const uint8_t *bytes, uint64_t length, uint64_t offset)
{
	ssize_t n;

	while (length) {
		n = pwrite(fd, bytes, length < COPY_BYTES ? length : COPY_BYTES, (off_t)offset);
		if (n < 0 && errno != EINTR)
			return -errno;
		n = n < 0 ? 0 : n;
		bytes += n;
		offset += (uint64_t)n;
		length -= (uint64_t)n;
	}
	return 0;
}

/* The pages of [offset, end) that are not zero. */
static int write_pages(int fd, const uint8_t *base, uint64_t offset, uint64_t end)
{
	uint64_t begin;
	int r = 0;

	while (offset < end && !r) {
		for (; offset < end && wt_page_is_zero(base + offset); offset += WT_PAGE_SIZE)
			;
		for (begin = offset; offset < end && !wt_page_is_zero(base + offset); offset += WT_PAGE_SIZE)
			;
		r = write_all(fd, base + begin, offset - begin, begin);
	}
	return r;
}

int wt_replica_add_block(
	struct wt_replica_writer *writer, const struct wt_ram_block *block, struct wt_error *err)
{
	uint64_t first = block->fd_offset, offset = 0, end;
	int fd, r;

	if (!block->base)
		return wt_error_set(err, EINVAL,
			"block \"%s\" is not shared memory, so no replica of it can be written", block->name);
	r = wt_replica_add(writer, block->name, block->length, &fd, err);
	if (r)
		return r;
	while (offset < block->length && !r) {
		offset = wt_hole_end(block->fd, first + offset, first + block->length) - first;
		end = wt_data_end(block->fd, first + offset, first + block->length) - first;
		offset -= offset % WT_PAGE_SIZE;
		end += -end % WT_PAGE_SIZE;
		r = write_pages(fd, block->base, offset, end);
		offset = end;
	}
	if (r)
		wt_error_set(err, -r, "cannot write the image of block \"%s\" in %s: %s", block->name,
			writer->directory, strerror(-r));
	return r;
}

/* All files and the new index are on disk, under temporary names. */
static int write_index(struct wt_replica_writer *writer, const char *text, struct wt_error *err)
{
	int fd = openat(writer->fd, WT_REPLICA_INDEX WT_REPLICA_TEMPORARY,
		O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : write_all(fd, (const uint8_t *)text, strlen(text), 0);

	for (unsigned i = 0; i < writer->count && !r; i++)
		if (writer->files[i].fd >= 0 && fsync(writer->files[i].fd))
			r = -errno;
	if (!r && fsync(fd))
		r = -errno;
	if (fd >= 0)
		close(fd);
	return r ? wt_error_set(err, -r, "cannot write the replica in %s to disk: %s", writer->directory,
			   strerror(-r))
		 : 0;
}

/* Images first; what names them last. */
static int rename_all(struct wt_replica_writer *writer, struct wt_error *err)
{
	char name[NAME_MAX + 1];
	int r = 0;

	for (; writer->renamed < writer->count && !r; writer->renamed += !r) {
		const char *file = writer->files[writer->renamed].name;

		temporary_name(file, name);
		if (renameat(writer->fd, name, writer->fd, file))
			r = -errno;
	}
	if (!r && (fsync(writer->fd) || renameat(writer->fd, WT_REPLICA_INDEX WT_REPLICA_TEMPORARY,
						writer->fd, WT_REPLICA_INDEX)))
		r = -errno;
	return r ? wt_error_set(err, -r, "cannot put the new replica in %s into place: %s", writer->directory,
			   strerror(-r))
		 : 0;
}

int wt_replica_commit(struct wt_replica_writer *writer, struct wt_error *err)
{
	char *text = NULL;
	int r = 0;

	if (!writer->index.count)
		r = wt_error_set(err, EINVAL, "a replica without blocks is none");
	if (!r)
		r = wt_replica_index_render(&writer->index, &text, err);
	if (!r)
		r = write_index(writer, text, err);
	free(text);
	if (!r)
		r = rename_all(writer, err);
	if (r) {
		wt_replica_abandon(writer);
		return r;
	}
	if (fsync(writer->fd)) {
		wt_error_set(err, errno, "the new replica in %s may not survive a power cut: %s",
			writer->directory, strerror(errno));
		r = 1;
	} else {
		wt_replica_directory_sweep(writer->fd, WT_REPLICA_SWEEP_UNUSED, &writer->index);
	}
	writer_free(writer);
	return r;
}

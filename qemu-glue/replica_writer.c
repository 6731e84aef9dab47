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

struct wt_replica_writer {
	char *directory;
	int fd;
	bool made; /* the directory is ours */
	uint64_t generation;
	struct wt_replica_index index;
	int *fds;         /* of the images */
	unsigned renamed; /* so many images have their final names */
};

static void temporary_name(const char *file, char name[NAME_MAX + 1])
{
	snprintf(name, NAME_MAX + 1, "%.200s" WT_REPLICA_TEMPORARY, file); /* ours are much shorter */
}

/* Frees; files stay as they are. */
static void writer_free(struct wt_replica_writer *writer)
{
	for (unsigned i = 0; i < writer->index.count; i++)
		close(writer->fds[i]);
	if (writer->fd >= 0)
		close(writer->fd);
	free(writer->fds);
	free(writer->index.images);
	free(writer->directory);
	free(writer);
}

void wt_replica_abandon(struct wt_replica_writer *writer)
{
	char name[NAME_MAX + 1];

	if (!writer)
		return;
	for (unsigned i = 0; i < writer->index.count; i++) {
		temporary_name(writer->index.images[i].file, name);
		unlinkat(writer->fd, i < writer->renamed ? writer->index.images[i].file : name, 0);
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
	writer->fds = calloc(WT_BLOCKS_MAX, sizeof *writer->fds);
	writer->index.images = calloc(WT_BLOCKS_MAX, sizeof *writer->index.images);
	if (!writer->directory || !writer->fds || !writer->index.images)
		r = wt_error_set(err, ENOMEM, "no memory to write a replica");
	else if (getrandom(&writer->generation, sizeof writer->generation, 0) != sizeof writer->generation)
		r = wt_error_set(err, errno, "no random numbers: %s", strerror(errno));
	else
		r = open_directory(writer, err);
	if (!r) {
		*ret_writer = writer;
		return 0;
	}
	if (writer->made)
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

int wt_replica_add(struct wt_replica_writer *writer, const char *name, uint64_t length, int *ret_fd,
	struct wt_error *err)
{
	struct wt_replica_image *image = &writer->index.images[writer->index.count];
	char file[NAME_MAX + 1];
	int fd, r = check_addition(writer, name, length, err);

	if (r)
		return r;
	strcpy(image->name, name);
	image->length = length;
	snprintf(image->file, sizeof image->file, "ram-%u-%016" PRIx64 ".raw", writer->index.count,
		writer->generation);
	temporary_name(image->file, file);
	fd = openat(writer->fd, file, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return wt_error_set(
			err, errno, "cannot write %s/%s: %s", writer->directory, file, strerror(errno));
	writer->fds[writer->index.count++] = fd;
	if (ftruncate(fd, (off_t)length))
		return wt_error_set(err, errno, "cannot make %s/%s %" PRIu64 " bytes long: %s",
			writer->directory, file, length, strerror(errno));
	*ret_fd = fd;
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

static bool is_zero(const uint8_t *page)
{
	static const uint8_t zero[WT_PAGE_SIZE];

	return !memcmp(page, zero, sizeof zero);
}

/* The pages of [offset, end) that are not zero. */
static int write_pages(int fd, const uint8_t *base, uint64_t offset, uint64_t end)
{
	uint64_t begin;
	int r = 0;

	while (offset < end && !r) {
		for (; offset < end && is_zero(base + offset); offset += WT_PAGE_SIZE)
			;
		for (begin = offset; offset < end && !is_zero(base + offset); offset += WT_PAGE_SIZE)
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

/* Images and the new index are on disk, under temporary names. */
static int write_index(struct wt_replica_writer *writer, const char *text, struct wt_error *err)
{
	int fd = openat(writer->fd, WT_REPLICA_INDEX WT_REPLICA_TEMPORARY,
		O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : write_all(fd, (const uint8_t *)text, strlen(text), 0);

	for (unsigned i = 0; i < writer->index.count && !r; i++)
		if (fsync(writer->fds[i]))
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

	for (; writer->renamed < writer->index.count && !r; writer->renamed += !r) {
		const char *file = writer->index.images[writer->renamed].file;

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
	if (fsync(writer->fd))
		r = wt_error_set(err, errno, "the new replica in %s may not survive a power cut: %s",
			writer->directory, strerror(errno));
	else
		wt_replica_directory_sweep(writer->fd, WT_REPLICA_SWEEP_UNUSED, &writer->index);
	writer_free(writer);
	return r;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica_file.c - opens the images that an index names. See replica_file.h.
 *
 *   1. An image is a regular file directly in the directory, no link, and exactly as long as the index says.
 *   2. blocks[i] belongs to index->images[i]; what is not open has fd -1 and base NULL.
 */
#include "replica_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "printable.h"
#include "read_pages.h"
#include "replica_directory.h"

static int check_image(
	int fd, const char *directory, const struct wt_replica_image *image, struct wt_error *err)
{
	struct stat st;

	if (fstat(fd, &st))
		return wt_error_set(
			err, errno, "cannot look at %s/%s: %s", directory, image->file, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return wt_error_set(err, EINVAL, "%s/%s is not a file, so it is no image of a block",
			directory, image->file);
	if ((uint64_t)st.st_size != image->length)
		return wt_error_set(err, EINVAL,
			"%s/%s has %" PRIu64 " bytes, and the index says %" PRIu64
			"; the image is cut short, or was changed",
			directory, image->file, (uint64_t)st.st_size, image->length);
	return 0;
}

static int open_image(int directory_fd, const char *directory, const struct wt_replica_image *image,
	struct wt_replica_block *block, struct wt_error *err)
{
	void *base;
	int r;

	block->name = image->name;
	block->length = image->length;
	block->fd =
		openat(directory_fd, image->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (block->fd < 0)
		return wt_error_set(err, errno, "cannot open the image %s/%s of a replica: %s", directory,
			image->file, errno == ELOOP ? "it is a link" : strerror(errno));
	r = check_image(block->fd, directory, image, err);
	if (r)
		return r;
	base = mmap(NULL, block->length, PROT_READ, MAP_SHARED | MAP_NORESERVE, block->fd, 0);
	if (base == MAP_FAILED)
		return wt_error_set(err, errno, "cannot map the image %s/%s: %s", directory, image->file,
			strerror(errno));
	madvise(base, block->length, MADV_DONTDUMP);
	block->base = base;
	return 0;
}

static int check_vm(
	const struct wt_replica_index *index, const char *directory, const char *vm, struct wt_error *err)
{
	char theirs[80];

	if (!vm || !strcmp(vm, index->vm))
		return 0;
	return wt_error_set(err, EINVAL, "%s holds a replica of \"%s\", not of \"%s\"", directory,
		wt_printable(index->vm, strlen(index->vm), theirs, sizeof theirs), vm);
}

static int open_images(
	int fd, const char *directory, const char *vm, struct wt_replica *replica, struct wt_error *err)
{
	int r = wt_replica_directory_index(fd, directory, &replica->index, err);

	if (!r && !replica->index)
		r = wt_error_set(
			err, ENOENT, "%s has no " WT_REPLICA_INDEX ", so it is no replica", directory);
	if (!r)
		r = check_vm(replica->index, directory, vm, err);
	if (r)
		return r;
	replica->blocks = calloc(replica->index->count, sizeof *replica->blocks);
	if (!replica->blocks)
		return wt_error_set(err, ENOMEM, "no memory for the replica in %s", directory);
	for (unsigned i = 0; i < replica->index->count; i++)
		replica->blocks[i].fd = -1;
	for (unsigned i = 0; i < replica->index->count && !r; i++)
		r = open_image(fd, directory, &replica->index->images[i], &replica->blocks[i], err);
	return r;
}

int wt_replica_open(
	const char *directory, const char *vm, struct wt_replica **ret_replica, struct wt_error *err)
{
	struct wt_replica *replica = calloc(1, sizeof *replica);
	int fd, r;

	if (!replica)
		return wt_error_set(err, ENOMEM, "no memory for the replica in %s", directory);
	fd = r = wt_replica_directory_open(directory, false, err);
	if (fd >= 0) {
		r = open_images(fd, directory, vm, replica, err);
		close(fd);
	}
	if (r) {
		wt_replica_close(replica);
		return r;
	}
	*ret_replica = replica;
	return 0;
}

void wt_replica_close(struct wt_replica *replica)
{
	if (!replica)
		return;
	for (unsigned i = 0; replica->blocks && i < replica->index->count; i++) {
		if (replica->blocks[i].base)
			munmap((void *)replica->blocks[i].base, replica->blocks[i].length);
		if (replica->blocks[i].fd >= 0)
			close(replica->blocks[i].fd);
	}
	free(replica->blocks);
	wt_replica_index_free(replica->index);
	free(replica);
}

const struct wt_replica_block *wt_replica_find(
	const struct wt_replica *replica, const char *name, uint64_t length)
{
	for (unsigned i = 0; i < replica->index->count; i++)
		if (replica->blocks[i].length == length && !strcmp(replica->blocks[i].name, name))
			return &replica->blocks[i];
	return NULL;
}

int wt_replica_read(const struct wt_replica_block *block, uint64_t page, uint32_t pages, void *ret_bytes)
{
	return wt_read_pages(block->fd, 0, block->length, page, pages, ret_bytes);
}

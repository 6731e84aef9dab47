/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica_file.c - opens the images that an index names. See replica_file.h.
 *
 *   1. An image is a regular file directly in the directory, no link, and exactly as long as the index says.
 *   2. blocks[i] belongs to index->images[i]; what is not open has fd -1 and base NULL.
 *   3. Places in a map are checked when they are used: a layer that is there, and a frame that has the page.
 */
#include "replica_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frame.h"
#include "printable.h"
#include "read_pages.h"
#include "replica_directory.h"

/* Opens a file of the directory; length UINT64_MAX: of any length. */
static int open_file(
	int directory_fd, const char *directory, const char *file, uint64_t length, struct wt_error *err)
{
	int fd = openat(directory_fd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY), r = 0;
	struct stat st;

	if (fd < 0)
		return wt_error_set(err, errno, "cannot open the image %s/%s of a replica: %s", directory,
			file, errno == ELOOP ? "it is a link" : strerror(errno));
	if (fstat(fd, &st))
		r = wt_error_set(err, errno, "cannot look at %s/%s: %s", directory, file, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		r = wt_error_set(
			err, EINVAL, "%s/%s is not a file, so it is no image of a block", directory, file);
	else if (length != UINT64_MAX && (uint64_t)st.st_size != length)
		r = wt_error_set(err, EINVAL,
			"%s/%s has %" PRIu64 " bytes, and the index says %" PRIu64
			"; the image is cut short, or was changed",
			directory, file, (uint64_t)st.st_size, length);
	if (r)
		close(fd);
	return r ? r : fd;
}

/* One image that is as long as its block. */
static int open_flat(int directory_fd, const char *directory, const struct wt_replica_image *image,
	struct wt_replica_block *block, struct wt_error *err)
{
	void *base;

	block->fd = open_file(directory_fd, directory, image->file, image->length, err);
	if (block->fd < 0)
		return block->fd;
	base = mmap(NULL, block->length, PROT_READ, MAP_SHARED | MAP_NORESERVE, block->fd, 0);
	if (base == MAP_FAILED)
		return wt_error_set(err, errno, "cannot map the image %s/%s: %s", directory, image->file,
			strerror(errno));
	madvise(base, block->length, MADV_DONTDUMP);
	block->base = base;
	return 0;
}

static int open_map(int directory_fd, const char *directory, const struct wt_replica_index *index,
	unsigned number, struct wt_page_map *ret_map, struct wt_error *err)
{
	const struct wt_replica_image *image = &index->images[number];
	char file[WT_REPLICA_FILE_MAX], path[PATH_MAX];
	int fd, r;

	wt_replica_file_name(WT_REPLICA_MAP, number, index->checkpoint->generation, file);
	fd = open_file(directory_fd, directory, file, UINT64_MAX, err);
	if (fd < 0)
		return fd;
	snprintf(path, sizeof path, "%s/%s", directory, file);
	r = wt_page_map_open(fd, path, image->length >> WT_PAGE_SHIFT, index->checkpoint->generation,
		image->map_digest, ret_map, err);
	close(fd);
	return r;
}

/* The map, and all layers, of a checkpoint's block. */
static int open_layers(int directory_fd, const char *directory, const struct wt_replica_index *index,
	unsigned number, struct wt_replica_block *block, struct wt_error *err)
{
	const struct wt_replica_checkpoint *c = index->checkpoint;
	char file[WT_REPLICA_FILE_MAX];
	int r;

	block->parts = calloc(WT_REPLICA_LAYERS_MAX + 1, sizeof *block->parts);
	if (!block->parts)
		return wt_error_set(err, ENOMEM, "no memory for the checkpoint in %s", directory);
	for (unsigned i = 0; i <= WT_REPLICA_LAYERS_MAX; i++)
		block->parts[i].fd = -1;
	for (unsigned i = 0; i < c->layer_count; i++) {
		const struct wt_replica_layer *layer = &c->layers[i];
		struct wt_replica_part *part = &block->parts[layer->id];

		wt_replica_file_name(layer->kind, number, layer->generation, file);
		part->kind = layer->kind;
		part->fd = open_file(directory_fd, directory, file,
			layer->kind == WT_REPLICA_RAW ? block->length : UINT64_MAX, err);
		if (part->fd < 0)
			return part->fd;
	}
	r = open_map(directory_fd, directory, index, number, &block->map, err);
	return r;
}

static int open_image(int directory_fd, const char *directory, const struct wt_replica_index *index,
	unsigned number, struct wt_replica_block *block, struct wt_error *err)
{
	const struct wt_replica_image *image = &index->images[number];
	int r = 0;

	block->name = image->name;
	block->length = image->length;
	if (wt_replica_index_flat(index))
		r = open_flat(directory_fd, directory, image, block, err);
	if (!r && index->checkpoint)
		r = open_layers(directory_fd, directory, index, number, block, err);
	return r;
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
		r = open_image(fd, directory, replica->index, i, &replica->blocks[i], err);
	if (!r && replica->index->checkpoint) {
		char file[WT_REPLICA_FILE_MAX];

		wt_replica_file_name(WT_REPLICA_STATE, 0, replica->index->checkpoint->generation, file);
		r = replica->state_fd =
			open_file(fd, directory, file, replica->index->checkpoint->state_length, err);
	}
	return r < 0 ? r : 0;
}

int wt_replica_open_at(
	int fd, const char *directory, const char *vm, struct wt_replica **ret_replica, struct wt_error *err)
{
	struct wt_replica *replica = calloc(1, sizeof *replica);
	int r;

	if (!replica)
		return wt_error_set(err, ENOMEM, "no memory for the replica in %s", directory);
	replica->state_fd = -1;
	r = open_images(fd, directory, vm, replica, err);
	if (r) {
		wt_replica_close(replica);
		return r;
	}
	*ret_replica = replica;
	return 0;
}

int wt_replica_open(
	const char *directory, const char *vm, struct wt_replica **ret_replica, struct wt_error *err)
{
	int fd = wt_replica_directory_open(directory, false, err), r = fd;

	if (fd >= 0) {
		r = wt_replica_open_at(fd, directory, vm, ret_replica, err);
		close(fd);
	}
	return r;
}

static void close_block(struct wt_replica_block *block)
{
	if (block->base)
		munmap((void *)block->base, block->length);
	if (block->fd >= 0)
		close(block->fd);
	for (unsigned i = 0; block->parts && i <= WT_REPLICA_LAYERS_MAX; i++)
		if (block->parts[i].fd >= 0)
			close(block->parts[i].fd);
	free(block->parts);
	wt_page_map_close(&block->map);
}

void wt_replica_close(struct wt_replica *replica)
{
	if (!replica)
		return;
	for (unsigned i = 0; replica->blocks && i < replica->index->count; i++)
		close_block(&replica->blocks[i]);
	if (replica->state_fd >= 0)
		close(replica->state_fd);
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

/* ---- pages ---- */

static bool continues(uint64_t place, const struct wt_replica_run *run, uint64_t first)
{
	if (!run->part)
		return !place;
	if (wt_place_layer(place) != wt_place_layer(first))
		return false;
	if (run->part->kind == WT_REPLICA_RAW)
		return true;
	if (run->part->kind == WT_REPLICA_PACKED)
		return wt_place_offset(place) == run->offset + ((uint64_t)run->pages << WT_PAGE_SHIFT);
	return wt_place_offset(place) == run->offset && wt_place_index(place) == run->index + run->pages;
}

int wt_replica_run_at(
	const struct wt_replica_block *block, uint64_t page, uint64_t end, struct wt_replica_run *ret_run)
{
	uint64_t first = block->map.entries[page].place;
	struct wt_replica_run run = { .page = page, .pages = 1 };

	if (first) {
		unsigned id = wt_place_layer(first);

		if (!id || id > WT_REPLICA_LAYERS_MAX || block->parts[id].fd < 0)
			return -EBADMSG;
		run.part = &block->parts[id];
		run.offset =
			run.part->kind == WT_REPLICA_RAW ? page << WT_PAGE_SHIFT : wt_place_offset(first);
		run.index = run.part->kind == WT_REPLICA_FRAMES ? wt_place_index(first) : 0;
	}
	while (page + run.pages < end && run.pages < UINT32_MAX &&
		continues(block->map.entries[page + run.pages].place, &run, first))
		run.pages++;
	*ret_run = run;
	return 0;
}

int wt_replica_frame(
	const struct wt_replica_run *run, void *scratch, uint8_t *pages, const uint8_t **ret_bytes)
{
	uint64_t first;
	uint32_t count;
	int r = wt_frame_read(run->part->fd, run->offset, scratch, &first, &count, pages);

	if (r)
		return r;
	if (first + run->index != run->page || run->index + run->pages > count)
		return -EBADMSG;
	*ret_bytes = pages + ((size_t)run->index << WT_PAGE_SHIFT);
	return 0;
}

static int read_run(const struct wt_replica_run *run, uint8_t *ret_bytes)
{
	size_t length = (size_t)run->pages << WT_PAGE_SHIFT;
	const uint8_t *bytes;
	uint8_t *room;
	int r;

	if (!run->part) {
		memset(ret_bytes, 0, length);
		return 0;
	}
	if (run->part->kind != WT_REPLICA_FRAMES)
		return wt_read_pages(run->part->fd, run->offset, length, 0, run->pages, ret_bytes);
	room = malloc(wt_frame_bound() + (size_t)WT_FRAME_PAGES * WT_PAGE_SIZE);
	if (!room)
		return -ENOMEM;
	r = wt_replica_frame(run, room + (size_t)WT_FRAME_PAGES * WT_PAGE_SIZE, room, &bytes);
	if (!r)
		memcpy(ret_bytes, bytes, length);
	free(room);
	return r;
}

int wt_replica_read(const struct wt_replica_block *block, uint64_t page, uint32_t pages, void *ret_bytes)
{
	uint64_t all = block->length >> WT_PAGE_SHIFT, end = page + pages;
	struct wt_replica_run run;
	uint8_t *to = ret_bytes;
	int r = 0;

	if (!block->map.pages)
		return wt_read_pages(block->fd, 0, block->length, page, pages, ret_bytes);
	if (page > all || pages > all - page)
		return -EINVAL;
	while (page < end && !r) {
		r = wt_replica_run_at(block, page, end, &run);
		if (r)
			return r;
		r = read_run(&run, to);
		page += run.pages;
		to += (size_t)run.pages << WT_PAGE_SHIFT;
	}
	return r;
}

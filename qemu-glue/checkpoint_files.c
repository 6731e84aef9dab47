/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * checkpoint_files.c - see checkpoint_files.h.
 *
 *   1. The device state is on disk as it was passed, with a digest over all of it.
 *   2. Layers of which no page is used any more are not named by the index, so they go when it is in place.
 */
#include "checkpoint_files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "feed.h"
#include "stream_tail.h"

struct wt_checkpoint_files {
	const struct wt_checkpoint_options *options;
	struct wt_replica_writer *writer; /* NULL: committed, or never opened */
	struct wt_replica *base;          /* NULL: none */
	unsigned count;
	const struct wt_ram_block **blocks;
	struct wt_page_map *maps;
	struct wt_save_block *saved;
	struct wt_save *save;

	int state_fd;
	uint64_t state_length;
	XXH3_state_t *state_digest;
	uint8_t *held; /* the last of the device state, not in the file yet; from tail_at on behind RAM's end
			*/
	size_t held_length, held_room, tail_at;
	bool holding, in_tail, tail_changed, complete;
	bool replaced;
	struct wt_error failure; /* of the device state */
};

static int list_blocks(struct wt_checkpoint_files *f, const struct wt_guest_ram *ram, struct wt_error *err)
{
	f->blocks = calloc(ram->count + 1, sizeof *f->blocks);
	f->maps = calloc(ram->count + 1, sizeof *f->maps);
	f->saved = calloc(ram->count + 1, sizeof *f->saved);
	if (!f->blocks || !f->maps || !f->saved)
		return wt_error_set(err, ENOMEM, "no memory for a list of RAM blocks");
	for (unsigned i = 0; i < ram->count; i++)
		if (ram->blocks[i].base)
			f->blocks[f->count++] = &ram->blocks[i];
	return 0;
}

static int add_block(struct wt_checkpoint_files *f, unsigned number, struct wt_error *err)
{
	const struct wt_ram_block *block = f->blocks[number];
	uint64_t generation = wt_replica_writer_index(f->writer)->checkpoint->generation;
	int fd, map_fd, r;

	r = wt_replica_add(f->writer, block->name, block->length, &fd, err);
	if (!r)
		r = wt_replica_add_file(f->writer, WT_REPLICA_MAP, number, &map_fd, err);
	if (!r)
		r = wt_page_map_create(
			map_fd, block->length >> WT_PAGE_SHIFT, generation, &f->maps[number], err);
	if (r)
		return r;
	f->saved[number] = (struct wt_save_block){ .name = block->name,
		.base = block->base,
		.fd = fd,
		.map = f->maps[number].entries,
		.old = f->base ? f->base->blocks[number].map.entries : NULL };
	return 0;
}

static int open_save(struct wt_checkpoint_files *f, struct wt_error *err)
{
	const struct wt_replica_checkpoint *c = wt_replica_writer_index(f->writer)->checkpoint;
	const struct wt_save_options options = { .blocks = f->saved,
		.count = f->count,
		.layer = c->layers[c->layer_count - 1].id,
		.seed = c->seed,
		.kind = c->layers[c->layer_count - 1].kind,
		.level = f->options->level };

	return wt_save_open(&options, &f->save, err);
}

static int open_all(struct wt_checkpoint_files *f, const char *vm, struct wt_error *err)
{
	const struct wt_checkpoint_options *o = f->options;
	struct wt_replica_base base = { .frames = o->level, .blocks = f->blocks, .count = f->count };
	int r = wt_replica_create(o->directory, vm, &f->writer, err);

	if (!r && !o->full)
		base.directory = o->base                                       ? o->base
				 : wt_replica_writer_had_checkpoint(f->writer) ? o->directory
									       : NULL;
	if (!r)
		r = wt_replica_checkpoint_begin(f->writer, &base, &f->base, err);
	for (unsigned i = 0; i < f->count && !r; i++)
		r = add_block(f, i, err);
	if (!r)
		r = wt_replica_add_file(f->writer, WT_REPLICA_STATE, 0, &f->state_fd, err);
	return r ? r : open_save(f, err);
}

int wt_checkpoint_files_open(const struct wt_checkpoint_options *options, const char *vm,
	const struct wt_guest_ram *ram, struct wt_checkpoint_files **ret_files, struct wt_error *err)
{
	struct wt_checkpoint_files *f = calloc(1, sizeof *f);
	int r;

	if (!f)
		return wt_error_set(err, ENOMEM, "no memory for a checkpoint");
	f->options = options;
	f->state_digest = XXH3_createState();
	r = f->state_digest ? list_blocks(f, ram, err)
			    : wt_error_set(err, ENOMEM, "no memory for a checkpoint");
	if (!r) {
		XXH3_128bits_reset(f->state_digest);
		r = open_all(f, vm, err);
	}
	if (r) {
		wt_checkpoint_files_close(f);
		return r;
	}
	*ret_files = f;
	return 0;
}

void wt_checkpoint_files_close(struct wt_checkpoint_files *f)
{
	if (!f)
		return;
	wt_save_close(f->save);
	for (unsigned i = 0; f->maps && i < f->count; i++)
		wt_page_map_close(&f->maps[i]);
	wt_replica_abandon(f->writer);
	wt_replica_close(f->base);
	XXH3_freeState(f->state_digest);
	free(f->held);
	free(f->saved);
	free(f->maps);
	free(f->blocks);
	free(f);
}

struct wt_save *wt_checkpoint_save(struct wt_checkpoint_files *f)
{
	return f->save;
}

bool wt_checkpoint_has_base(const struct wt_checkpoint_files *f)
{
	return f->base;
}

const struct wt_ram_block *const *wt_checkpoint_blocks(const struct wt_checkpoint_files *f)
{
	return f->blocks;
}

struct wt_replica_checkpoint *wt_checkpoint_facts(struct wt_checkpoint_files *f)
{
	return wt_replica_writer_index(f->writer)->checkpoint;
}

/* ---- device state ---- */

static void hold(struct wt_checkpoint_files *f, const uint8_t *bytes, size_t length)
{
	if (f->held_length + length > f->held_room) {
		size_t room = 2 * (f->held_length + length);
		uint8_t *grown = realloc(f->held, room);

		if (!grown) {
			wt_error_set(&f->failure, ENOMEM, "no memory for the guest's device state");
			return;
		}
		f->held = grown;
		f->held_room = room;
	}
	memcpy(f->held + f->held_length, bytes, length);
	f->held_length += length;
	f->tail_changed = f->in_tail;
}

/* Behind what the file has. */
static void write_state(struct wt_checkpoint_files *f, const uint8_t *from, size_t left)
{
	while (left) {
		ssize_t n = pwrite(f->state_fd, from, left, (off_t)f->state_length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			wt_error_set(&f->failure, errno, "the guest's device state cannot be written: %s",
				strerror(errno));
			return;
		}
		from += n;
		left -= (size_t)n;
		f->state_length += (uint64_t)n;
	}
}

void wt_checkpoint_pass(struct wt_checkpoint_files *f, const uint8_t *bytes, size_t length)
{
	if (f->failure.code)
		return;
	if (f->state_length + f->held_length + length > WT_FEED_MAX) {
		wt_error_set(&f->failure, EFBIG,
			"the guest has more than %u MiB of state beside its shared memory; that is more than a restore takes",
			WT_FEED_MAX >> 20);
		return;
	}
	XXH3_128bits_update(f->state_digest, bytes, length);
	if (f->holding)
		hold(f, bytes, length);
	else
		write_state(f, bytes, length);
}

void wt_checkpoint_hold(struct wt_checkpoint_files *f)
{
	f->holding = true;
}

void wt_checkpoint_tail(struct wt_checkpoint_files *f)
{
	f->holding = f->in_tail = true;
	f->tail_at = f->held_length;
}

int wt_checkpoint_state_status(const struct wt_checkpoint_files *f, struct wt_error *err)
{
	return f->failure.code ? wt_error_set(err, f->failure.code, "%s", f->failure.text) : 0;
}

bool wt_checkpoint_complete(struct wt_checkpoint_files *f)
{
	if (f->tail_changed && !f->complete)
		f->complete = wt_stream_tail_complete(f->held + f->tail_at, f->held_length - f->tail_at);
	f->tail_changed = false;
	return f->complete;
}

uint64_t wt_checkpoint_state_bytes(const struct wt_checkpoint_files *f)
{
	return f->state_length + f->held_length;
}

/* ---- the end ---- */

/* Drops layers of which no page is used, but never the newest. */
static void drop_layers(struct wt_checkpoint_files *f)
{
	struct wt_replica_checkpoint *c = wt_checkpoint_facts(f);
	bool used[256] = { false };
	unsigned kept = 0;

	for (unsigned i = 0; i < f->count; i++)
		for (uint64_t page = 0; page < f->maps[i].pages; page++)
			used[wt_place_layer(f->maps[i].entries[page].place)] = true;
	used[c->layers[c->layer_count - 1].id] = true;
	for (unsigned i = 0; i < c->layer_count; i++)
		if (used[c->layers[i].id])
			c->layers[kept++] = c->layers[i];
	c->layer_count = kept;
}

static int finish_state(struct wt_checkpoint_files *f, struct wt_error *err)
{
	struct wt_replica_checkpoint *c = wt_checkpoint_facts(f);
	XXH128_canonical_t canonical;

	write_state(f, f->held, f->held_length);
	f->held_length = 0;
	if (f->failure.code)
		return wt_checkpoint_state_status(f, err);
	XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(f->state_digest));
	memcpy(c->state_digest, canonical.digest, sizeof c->state_digest);
	c->state_length = f->state_length;
	return 0;
}

int wt_checkpoint_commit(struct wt_checkpoint_files *f, struct wt_error *err)
{
	struct wt_replica_index *index = wt_replica_writer_index(f->writer);
	int r = wt_save_status(f->save, err);

	drop_layers(f);
	if (!r)
		r = finish_state(f, err);
	for (unsigned i = 0; i < f->count && !r; i++)
		r = wt_page_map_finish(&f->maps[i], index->images[i].map_digest, err);
	if (r)
		return r;
	r = wt_replica_commit(f->writer, err);
	f->writer = NULL;
	f->replaced = r >= 0;
	return r > 0 ? -err->code : r;
}

bool wt_checkpoint_replaced(const struct wt_checkpoint_files *f)
{
	return f->replaced;
}

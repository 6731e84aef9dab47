/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * load.c - threads that read a checkpoint. See load.h.
 *
 *   1. Threads take granules of GRANULE_PAGES pages, in order; each page is written by the thread that has
 * its granule.
 *   2. Layers of a granule are read in this order: raw ones with what lies between their runs, then all else.
 * At last every page with content is digested where it has come to lie, and compared with the map. Pages of
 * zeros are holes in a raw image that is read without its map, too: bytes that stand there are compared with
 * zero.
 *   3. Guest RAM that is not there yet is asked of the kernel before it is touched, so that a full memory is
 * an error and no signal. Holes of guest RAM stay holes where zeros belong.
 *   4. The first error wins, and ends all threads.
 */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "frame.h"
#include "holes.h"
#include "read_pages.h"

#define GRANULE_PAGES 256u
#define GRANULE_BYTES ((size_t)GRANULE_PAGES * WT_PAGE_SIZE)
#define FRAME_BYTES (3 * (size_t)WT_FRAME_PAGES * WT_PAGE_SIZE) /* for its pages, and for itself */
#define GAP_PAGES 32u /* of others between runs of a raw layer that are read at once */
#define THREADS 4u
#define DIRECT_BYTES (64u << 10) /* from so many on a run is read past the page cache */

struct loaded_block {
	struct wt_load_block block;
	uint64_t first;                        /* number of its first granule */
	int direct[WT_REPLICA_LAYERS_MAX + 1]; /* layers of pages past the page cache; -1: cannot be */
};

struct loader {
	struct wt_load *load;
	pthread_t thread;
	bool read[GRANULE_PAGES]; /* out of a raw layer, of the present granule */
	uint8_t *room;            /* for a granule of what is only looked at; and behind that: */
	uint8_t *packed, *pages;  /* a granule of a packed layer; a frame's pages, and a frame */
};

struct wt_load {
	struct loaded_block *blocks;
	unsigned count, thread_count, started;
	uint64_t seed, granules;
	struct loader *loaders;
	int event_fd;
	_Atomic uint64_t next, read_pages, zero_pages;
	atomic_uint ended;
	atomic_bool stop;
	pthread_mutex_t lock;
	struct wt_error error; /* under the lock */
};

static int fail(struct wt_load *l, const struct loaded_block *b, uint64_t page, int code)
{
	pthread_mutex_lock(&l->lock);
	if (code == EBADMSG || code == ENODATA)
		wt_error_set(&l->error, code,
			"page %" PRIu64
			" of block %s is damaged: its bytes do not have the digest that was kept",
			page, b->block.from->name);
	else if (code == EFAULT || code == ENOMEM)
		wt_error_set(&l->error, code,
			"there is no memory for block %s: what holds it (a tmpfs, huge pages) is full",
			b->block.from->name);
	else
		wt_error_set(&l->error, code, "page %" PRIu64 " of block %s cannot be read: %s", page,
			b->block.from->name, strerror(code));
	pthread_mutex_unlock(&l->lock);
	atomic_store(&l->stop, true);
	return -code;
}

/* Where a page of the granule has to come: guest RAM, or the room for one. */
static uint8_t *place_of(const struct loader *w, const struct loaded_block *b, uint64_t page)
{
	return b->block.to ? b->block.to + (page << WT_PAGE_SHIFT)
			   : w->room + ((page % GRANULE_PAGES) << WT_PAGE_SHIFT);
}

/* Guest RAM is there. */
static int populate(struct loader *w, const struct loaded_block *b, uint64_t page, uint32_t pages)
{
	if (!b->block.to ||
		!madvise(place_of(w, b, page), (size_t)pages << WT_PAGE_SHIFT, MADV_POPULATE_WRITE) ||
		errno == EINVAL)
		return 0;
	return fail(w->load, b, page, errno == EHWPOISON ? EIO : ENOMEM);
}

/* ---- zeros ---- */

/* Memory that is there and is not zero becomes so. (Of huge pages the file system says that all are there, so
 * they are asked for.) Whole pages, whatever the blocks of the file system. */
static int clear(struct loader *w, const struct loaded_block *b, uint64_t offset, uint64_t end)
{
	uint64_t first = b->block.fd_offset, stop;

	while ((offset = wt_hole_end(b->block.fd, first + offset, first + end) - first) < end) {
		stop = wt_data_end(b->block.fd, first + offset, first + end) - first;
		offset -= offset % WT_PAGE_SIZE;
		stop += -stop % WT_PAGE_SIZE;
		if (populate(w, b, offset >> WT_PAGE_SHIFT, (uint32_t)((stop - offset) >> WT_PAGE_SHIFT)))
			return -ENOMEM;
		for (; offset < stop; offset += WT_PAGE_SIZE)
			if (!wt_page_is_zero(b->block.to + offset))
				memset(b->block.to + offset, 0, WT_PAGE_SIZE);
	}
	return 0;
}

/* The image has no bytes there, or they are zero. */
static int check_hole(struct loader *w, const struct loaded_block *b, uint64_t offset, uint64_t end)
{
	int fd = b->block.from->fd;

	while ((offset = wt_hole_end(fd, offset, end)) < end) {
		uint64_t stop = wt_data_end(fd, offset, end), first = offset - offset % WT_PAGE_SIZE;
		ssize_t n;

		for (; first < stop; first += WT_PAGE_SIZE) {
			n = pread(fd, w->pages, WT_PAGE_SIZE, (off_t)first);
			if (n != WT_PAGE_SIZE || !wt_page_is_zero(w->pages))
				return fail(w->load, b, first >> WT_PAGE_SHIFT, n < 0 ? errno : EBADMSG);
		}
		offset = stop;
	}
	return 0;
}

/* What a raw layer has there was read already, and is zero. */
static int check_read(struct loader *w, const struct loaded_block *b, uint64_t page, uint64_t end)
{
	for (; page < end; page++)
		if (!wt_page_is_zero(place_of(w, b, page)))
			return fail(w->load, b, page, EBADMSG);
	return 0;
}

static int load_zeros(struct loader *w, const struct loaded_block *b, const struct wt_replica_run *run)
{
	uint64_t end = run->page + run->pages;
	bool flat = b->block.from->fd >= 0;
	int r = 0;

	for (uint64_t page = run->page, stop; flat && page < end && !r; page = stop) {
		bool read = w->read[page % GRANULE_PAGES];

		for (stop = page + 1; stop < end && w->read[stop % GRANULE_PAGES] == read; stop++)
			;
		r = read ? check_read(w, b, page, stop)
			 : check_hole(w, b, page << WT_PAGE_SHIFT, stop << WT_PAGE_SHIFT);
	}
	if (!r && b->block.to)
		r = clear(w, b, run->page << WT_PAGE_SHIFT, end << WT_PAGE_SHIFT);
	atomic_fetch_add(&w->load->zero_pages, run->pages);
	return r;
}

/* ---- content ---- */

/* Past the page cache, if it is much. */
static int read_out(struct loaded_block *b, const struct wt_replica_part *part, uint8_t *to, size_t length,
	uint64_t offset)
{
	int direct = b->direct[part - b->block.from->parts], r;

	if (length >= DIRECT_BYTES && direct >= 0) {
		r = wt_read_at(direct, to, length, offset);
		if (r != -EINVAL && r != -EFAULT && r != -EOPNOTSUPP)
			return r;
	}
	return wt_read_at(part->fd, to, length, offset);
}

/* Raw layers: runs that lie near each other are read at once; what comes between them is written anew
 * afterwards. */
static int load_raw(
	struct loader *w, struct loaded_block *b, const struct wt_replica_run *runs, unsigned count)
{
	for (unsigned i = 0, next; i < count; i = next) {
		const struct wt_replica_part *part = runs[i].part;
		uint64_t page = runs[i].page, end = page + runs[i].pages;
		int r;

		next = i + 1;
		if (!part || part->kind != WT_REPLICA_RAW)
			continue;
		for (unsigned k = next; k < count && runs[k].page <= end + GAP_PAGES; k++)
			if (runs[k].part == part) {
				end = runs[k].page + runs[k].pages;
				next = k + 1;
			}
		r = populate(w, b, page, (uint32_t)(end - page));
		if (r)
			return r;
		r = read_out(b, part, place_of(w, b, page), (size_t)(end - page) << WT_PAGE_SHIFT,
			page << WT_PAGE_SHIFT);
		if (r)
			return fail(w->load, b, page, -r);
		memset(w->read + page % GRANULE_PAGES, true, (size_t)(end - page));
	}
	return 0;
}

/* A packed layer has the pages of a granule side by side, unless they were written at different times: then a
 * run at a time is read. */
static int load_packed(struct loader *w, struct loaded_block *b, const struct wt_replica_run *runs,
	unsigned count, const struct wt_replica_part *part)
{
	uint64_t first = UINT64_MAX, end = 0;
	bool together;
	int r = 0;

	for (unsigned i = 0; i < count; i++) {
		uint64_t run_end = runs[i].offset + ((uint64_t)runs[i].pages << WT_PAGE_SHIFT);

		if (runs[i].part != part)
			continue;
		first = runs[i].offset < first ? runs[i].offset : first;
		end = run_end > end ? run_end : end;
	}
	together = end - first <= GRANULE_BYTES;
	if (together)
		r = read_out(b, part, w->packed, end - first, first);
	for (unsigned i = 0; i < count && !r; i++) {
		size_t length = (size_t)runs[i].pages << WT_PAGE_SHIFT;

		if (runs[i].part != part)
			continue;
		r = populate(w, b, runs[i].page, runs[i].pages);
		if (r)
			return r;
		if (together)
			memcpy(place_of(w, b, runs[i].page), w->packed + (runs[i].offset - first), length);
		else
			r = read_out(b, part, place_of(w, b, runs[i].page), length, runs[i].offset);
	}
	return r ? fail(w->load, b, runs[0].page, -r) : 0;
}

static int load_frame(struct loader *w, struct loaded_block *b, const struct wt_replica_run *run)
{
	uint8_t *scratch = w->pages + (size_t)WT_FRAME_PAGES * WT_PAGE_SIZE;
	const uint8_t *bytes;
	int r = populate(w, b, run->page, run->pages);

	if (r)
		return r;
	r = wt_replica_frame(run, scratch, w->pages, &bytes);
	if (r)
		return fail(w->load, b, run->page, -r);
	memcpy(place_of(w, b, run->page), bytes, (size_t)run->pages << WT_PAGE_SHIFT);
	return 0;
}

static int check(struct loader *w, const struct loaded_block *b, const struct wt_replica_run *run)
{
	uint8_t digest[WT_PAGE_DIGEST_BYTES];

	for (uint64_t page = run->page; page < run->page + run->pages; page++) {
		wt_page_digest(place_of(w, b, page), w->load->seed, digest);
		if (memcmp(digest, b->block.from->map.entries[page].digest, sizeof digest) != 0)
			return fail(w->load, b, page, EBADMSG);
	}
	atomic_fetch_add(&w->load->read_pages, run->pages);
	return 0;
}

/* What no raw layer has: over what was read between its runs. */
static int load_others(
	struct loader *w, struct loaded_block *b, const struct wt_replica_run *runs, unsigned count)
{
	bool seen[WT_REPLICA_LAYERS_MAX + 1] = { false };
	int r = 0;

	for (unsigned i = 0; i < count && !r; i++) {
		const struct wt_replica_part *part = runs[i].part;

		if (!part) {
			r = load_zeros(w, b, &runs[i]);
		} else if (part->kind == WT_REPLICA_FRAMES) {
			r = load_frame(w, b, &runs[i]);
		} else if (part->kind == WT_REPLICA_PACKED && !seen[part - b->block.from->parts]) {
			seen[part - b->block.from->parts] = true;
			r = load_packed(w, b, runs + i, count - i, part);
		}
	}
	return r;
}

static int load_granule(struct loader *w, struct loaded_block *b, uint64_t page)
{
	uint64_t end = page + GRANULE_PAGES, all = b->block.from->map.pages;
	struct wt_replica_run runs[GRANULE_PAGES];
	unsigned count = 0;
	int r = 0;

	for (end = end < all ? end : all; page < end; page += runs[count++].pages) {
		r = wt_replica_run_at(b->block.from, page, end, &runs[count]);
		if (r)
			return fail(w->load, b, page, -r);
	}
	memset(w->read, false, sizeof w->read);
	r = load_raw(w, b, runs, count);
	if (!r)
		r = load_others(w, b, runs, count);
	for (unsigned i = 0; i < count && !r; i++)
		if (runs[i].part)
			r = check(w, b, &runs[i]);
	return r;
}

static struct loaded_block *block_of(struct wt_load *l, uint64_t granule)
{
	unsigned i = l->count - 1;

	while (l->blocks[i].first > granule)
		i--;
	return &l->blocks[i];
}

static void *run_loader(void *arg)
{
	struct loader *w = arg;
	struct wt_load *l = w->load;
	uint64_t granule, one = 1;
	int r = 0;

	while (!r && !atomic_load(&l->stop) && (granule = atomic_fetch_add(&l->next, 1)) < l->granules) {
		struct loaded_block *b = block_of(l, granule);

		r = load_granule(w, b, (granule - b->first) * GRANULE_PAGES);
	}
	if (atomic_fetch_add(&l->ended, 1) + 1 == l->thread_count)
		while (write(l->event_fd, &one, sizeof one) < 0 && errno == EINTR)
			;
	return NULL;
}

/* ---- the loop's thread ---- */

int wt_load_fd(const struct wt_load *l)
{
	return l->event_fd;
}

int wt_load_status(struct wt_load *l, struct wt_error *err)
{
	if (atomic_load(&l->ended) < l->thread_count)
		return -EAGAIN;
	return l->error.code ? wt_error_set(err, l->error.code, "%s", l->error.text) : 0;
}

void wt_load_stats(struct wt_load *l, struct wt_load_stats *ret_stats)
{
	ret_stats->read_pages = atomic_load(&l->read_pages);
	ret_stats->zero_pages = atomic_load(&l->zero_pages);
}

static void open_direct(struct loaded_block *b)
{
	char path[64];

	for (unsigned i = 0; i <= WT_REPLICA_LAYERS_MAX; i++) {
		const struct wt_replica_part *part = &b->block.from->parts[i];

		b->direct[i] = -1;
		if (part->fd < 0 || part->kind == WT_REPLICA_FRAMES)
			continue;
		snprintf(path, sizeof path, "/proc/self/fd/%d", part->fd);
		b->direct[i] = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	}
}

static int start_loader(struct wt_load *l, struct loader *w)
{
	w->load = l;
	/* What is read past the page cache goes to whole pages. */
	w->room = aligned_alloc(WT_PAGE_SIZE, 2 * GRANULE_BYTES + FRAME_BYTES);
	if (!w->room)
		return -ENOMEM;
	w->packed = w->room + GRANULE_BYTES;
	w->pages = w->packed + GRANULE_BYTES;
	return -pthread_create(&w->thread, NULL, run_loader, w);
}

int wt_load_open(const struct wt_load_block *blocks, unsigned count, uint64_t seed, unsigned threads,
	struct wt_load **ret_load, struct wt_error *err)
{
	struct wt_load *l = calloc(1, sizeof *l);
	int r = 0;

	if (!l)
		return wt_error_set(err, ENOMEM, "no memory to load the guest's");
	l->seed = seed;
	l->thread_count = threads ? threads : THREADS;
	pthread_mutex_init(&l->lock, NULL);
	l->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	l->blocks = calloc(count + 1, sizeof *l->blocks);
	l->loaders = calloc(l->thread_count, sizeof *l->loaders);
	if (!l->blocks || !l->loaders || l->event_fd < 0)
		r = -ENOMEM;
	for (; !r && l->count < count; l->count++) {
		struct loaded_block *b = &l->blocks[l->count];

		b->block = blocks[l->count];
		b->first = l->granules;
		l->granules += (b->block.from->map.pages + GRANULE_PAGES - 1) / GRANULE_PAGES;
		open_direct(b);
	}
	for (unsigned i = 0; !r && i < l->thread_count; i++) {
		r = start_loader(l, &l->loaders[i]);
		l->started += !r;
	}
	if (r) {
		wt_load_close(l);
		return wt_error_set(
			err, -r, "cannot start threads to load the guest's memory: %s", strerror(-r));
	}
	*ret_load = l;
	return 0;
}

void wt_load_close(struct wt_load *l)
{
	if (!l)
		return;
	atomic_store(&l->stop, true);
	for (unsigned i = 0; i < l->started; i++)
		pthread_join(l->loaders[i].thread, NULL);
	for (unsigned i = 0; l->loaders && i < l->thread_count; i++)
		free(l->loaders[i].room);
	for (unsigned i = 0; i < l->count; i++)
		for (unsigned k = 0; k <= WT_REPLICA_LAYERS_MAX; k++)
			if (l->blocks[i].direct[k] >= 0)
				close(l->blocks[i].direct[k]);
	if (l->event_fd >= 0)
		close(l->event_fd);
	free(l->loaders);
	free(l->blocks);
	free(l);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * save.c - threads that write announced extents to a checkpoint's newest layer. See save.h.
 *
 *   1. Each granule of GRANULE_PAGES pages belongs to one thread, and each thread does its work in order: so
 * one writer at most is at a page, and what was announced later is written later.
 *   2. A page may change while it is digested, written or compared: then it is announced again. The last
 * announcement is of memory that does not change any more, so in the end entry and content fit.
 *   3. An entry is written after the bytes that it speaks of, by the thread that owns the granule.
 *   4. Of each thread at most WORK_BYTES are waiting: what QEMU may have left when the guest stops is
 * bounded.
 *   5. A page of a raw layer goes into the file from where the guest has it, without a copy of ours. What is
 * compressed is copied first: a compressor must not see its input change.
 *
 * Large runs bypass the page cache while the guest runs, so that the disk is busy from the beginning and the
 * cache is left to others; what is small, or comes while the guest is stopped, goes through it.
 */
#include "save.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "frame.h"

#define GRANULE_PAGES 256u
#define THREADS 4u
#define WORK_MAX 512u
#define WORK_BYTES (8u << 20)
#define DIRECT_BYTES (64u << 10)               /* from so many on a run bypasses the page cache */
#define PAGE_FRAME_BYTES (WT_PAGE_SIZE + 256u) /* of a frame, at most, for each of its pages */

struct work {
	struct wt_extent extent; /* in one granule */
	bool zero;
};

struct worker {
	struct wt_save *save;
	pthread_t thread;
	pthread_mutex_t lock; /* all below up to the blank line */
	pthread_cond_t more;
	struct work ring[WORK_MAX];
	unsigned first, count;
	size_t bytes;
	bool stop;
	struct wt_save_stats stats;

	uint8_t *pages, *frames; /* of the thread; with frames only: a granule, and what becomes of it */
};

struct saved_block {
	struct wt_save_block block;
	int direct_fd;        /* the same file past the page cache; -1: cannot be */
	_Atomic uint64_t end; /* of a file of frames */
};

struct wt_save {
	struct wt_save_options options;
	struct saved_block *blocks;
	unsigned started; /* workers */
	struct worker *workers;
	int event_fd;
	atomic_bool waiting; /* somebody was told -EAGAIN */
	atomic_bool final, direct, failed;
	pthread_mutex_t lock;
	struct wt_error error; /* under the lock; set once, before `failed` */
};

static void notify(struct wt_save *s)
{
	uint64_t one = 1;

	while (write(s->event_fd, &one, sizeof one) < 0 && errno == EINTR)
		;
}

static void fail(struct wt_save *s, const struct saved_block *block, int code)
{
	pthread_mutex_lock(&s->lock);
	wt_error_set(&s->error, code, "the memory of block %s cannot be written: %s", block->block.name,
		strerror(code));
	pthread_mutex_unlock(&s->lock);
	atomic_store(&s->failed, true);
	notify(s);
}

/* ---- a thread: files ---- */

static int write_all(int fd, const uint8_t *bytes, size_t length, uint64_t offset)
{
	while (length) {
		ssize_t n = pwrite(fd, bytes, length, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		bytes += n;
		offset += (uint64_t)n;
		length -= (size_t)n;
	}
	return 0;
}

/* Through the page cache, which is told to begin writing. */
static int write_cached(struct wt_save *s, int fd, const uint8_t *bytes, size_t length, uint64_t offset)
{
	int r = write_all(fd, bytes, length, offset);

	if (!r && length >= DIRECT_BYTES && !atomic_load(&s->final))
		sync_file_range(fd, (off_t)offset, (off_t)length, SYNC_FILE_RANGE_WRITE);
	return r;
}

static int write_run(struct worker *w, const struct saved_block *b, uint64_t page, uint32_t pages)
{
	struct wt_save *s = w->save;
	size_t length = (size_t)pages << WT_PAGE_SHIFT;
	uint64_t offset = page << WT_PAGE_SHIFT;
	int r;

	if (length >= DIRECT_BYTES && b->direct_fd >= 0 && !atomic_load(&s->final) &&
		atomic_load(&s->direct)) {
		r = write_all(b->direct_fd, b->block.base + offset, length, offset);
		if (r != -EINVAL && r != -EFAULT && r != -EOPNOTSUPP)
			return r;
		atomic_store(&s->direct, false); /* this memory, or this file system, cannot do it */
	}
	return write_cached(s, b->block.fd, b->block.base + offset, length, offset);
}

/* ---- a thread: extents ---- */

static bool same(const struct wt_page_entry *old, const uint8_t *digest)
{
	return old && old->place && !memcmp(old->digest, digest, WT_PAGE_DIGEST_BYTES);
}

static const struct wt_page_entry *old_of(const struct saved_block *b, uint64_t page)
{
	return b->block.old ? &b->block.old[page] : NULL;
}

static void add(uint64_t *figure, uint64_t more)
{
	__atomic_fetch_add(figure, more, __ATOMIC_RELAXED);
}

/* Digests pages of an extent, from *from on; entries of those that the base has become its own. Answers how
 * many that follow one another it has not, and where they begin; the one behind them was looked at, too. */
static uint32_t changed(struct worker *w, const struct saved_block *b, const struct wt_extent *e,
	const uint8_t *bytes, uint32_t *from, struct wt_page_entry *ret_entries)
{
	uint32_t at = *from, count = 0;

	for (; at < e->pages; at++) {
		const struct wt_page_entry *old = old_of(b, e->page + at);

		wt_page_digest(
			bytes + ((size_t)at << WT_PAGE_SHIFT), w->save->options.seed, ret_entries[at].digest);
		if (!same(old, ret_entries[at].digest)) {
			count++;
			continue;
		}
		b->block.map[e->page + at] = *old;
		add(&w->stats.same_pages, 1);
		if (count)
			break;
		*from = at + 1;
	}
	return count;
}

static int save_raw(struct worker *w, struct saved_block *b, const struct wt_extent *e)
{
	struct wt_page_entry entries[GRANULE_PAGES];
	const uint8_t *bytes = b->block.base + (e->page << WT_PAGE_SHIFT);
	uint32_t at = 0, count;
	int r = 0;

	while (at < e->pages && !r && (count = changed(w, b, e, bytes, &at, entries))) {
		r = write_run(w, b, e->page + at, count);
		for (uint32_t i = at; i < at + count && !r; i++) {
			entries[i].place = wt_place(w->save->options.layer, 0, 0);
			b->block.map[e->page + i] = entries[i];
		}
		add(&w->stats.written_pages, count);
		add(&w->stats.written_bytes, (uint64_t)count << WT_PAGE_SHIFT);
		at += count + 1;
	}
	return r;
}

/* Frames of one granule stand together in the file. */
static int save_frames(struct worker *w, struct saved_block *b, const struct wt_extent *e)
{
	const struct wt_save_options *o = &w->save->options;
	struct wt_page_entry entries[GRANULE_PAGES];
	size_t length = 0;
	uint64_t offset;
	uint32_t at = 0, count;
	int n, r;

	memset(entries, 0, sizeof entries);
	memcpy(w->pages, b->block.base + (e->page << WT_PAGE_SHIFT), (size_t)e->pages << WT_PAGE_SHIFT);
	while (at < e->pages && (count = changed(w, b, e, w->pages, &at, entries))) {
		for (uint32_t end = at + count; at < end; at += count) {
			count = end - at < WT_FRAME_PAGES ? end - at : WT_FRAME_PAGES;
			n = wt_frame_write(e->page + at, count, w->pages + ((size_t)at << WT_PAGE_SHIFT),
				o->level, w->frames + length, wt_frame_bound());
			if (n < 0)
				return n;
			for (uint32_t i = 0; i < count; i++)
				entries[at + i].place = wt_place(o->layer, i, length);
			length += (size_t)n;
			add(&w->stats.written_pages, count);
		}
		at++;
	}
	if (!length)
		return 0;
	offset = atomic_fetch_add(&b->end, length);
	if (offset + length > WT_PLACE_OFFSET_MAX)
		return -EFBIG;
	r = write_cached(w->save, b->block.fd, w->frames, length, offset);
	for (uint32_t i = 0; i < e->pages && !r; i++)
		if (entries[i].place) {
			entries[i].place += offset;
			b->block.map[e->page + i] = entries[i];
		}
	add(&w->stats.written_bytes, length);
	return r;
}

/* What this layer had of the pages is no part of the guest any more. In a raw layer it must not stay: such an
 * image is read without its map, too. */
static int save_zero(struct worker *w, struct saved_block *b, const struct wt_extent *e)
{
	bool ours = false;

	for (uint32_t i = 0; i < e->pages; i++) {
		struct wt_page_entry *entry = &b->block.map[e->page + i];

		ours |= wt_place_layer(entry->place) == w->save->options.layer;
		memset(entry, 0, sizeof *entry);
	}
	add(&w->stats.zero_pages, e->pages);
	if (!ours || w->save->options.frames)
		return 0;
	if (!fallocate(b->block.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		    (off_t)(e->page << WT_PAGE_SHIFT), (off_t)e->pages << WT_PAGE_SHIFT))
		return 0;
	if (errno != EOPNOTSUPP)
		return -errno;
	for (uint32_t i = 0; i < e->pages; i++) {
		static const uint8_t zeros[WT_PAGE_SIZE];
		int r = write_all(b->block.fd, zeros, sizeof zeros, (e->page + i) << WT_PAGE_SHIFT);

		if (r)
			return r;
	}
	return 0;
}

static void save(struct worker *w, const struct work *work)
{
	struct wt_save *s = w->save;
	struct saved_block *b = &s->blocks[work->extent.block];
	int r;

	if (atomic_load(&s->failed))
		return;
	if (work->zero)
		r = save_zero(w, b, &work->extent);
	else
		r = s->options.frames ? save_frames(w, b, &work->extent) : save_raw(w, b, &work->extent);
	if (r)
		fail(s, b, -r);
}

static size_t weight(const struct work *work)
{
	return work->zero ? 0 : (size_t)work->extent.pages << WT_PAGE_SHIFT;
}

static void *run(void *arg)
{
	struct worker *w = arg;
	struct work work;
	bool tell;

	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		if (!w->count) {
			pthread_cond_wait(&w->more, &w->lock);
			continue;
		}
		work = w->ring[w->first];
		pthread_mutex_unlock(&w->lock);
		save(w, &work);
		pthread_mutex_lock(&w->lock);
		w->first = (w->first + 1) % WORK_MAX;
		w->count--;
		w->bytes -= weight(&work);
		tell = !w->count && atomic_load(&w->save->final);
		if (w->count < WORK_MAX / 2 && w->bytes <= WORK_BYTES / 2)
			tell |= atomic_exchange(&w->save->waiting, false);
		if (tell)
			notify(w->save);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* ---- the loop's thread ---- */

static struct worker *worker_of(struct wt_save *s, const struct wt_extent *e)
{
	return &s->workers[(e->page / GRANULE_PAGES + e->block) % s->options.threads];
}

static bool give(struct worker *w, const struct work *work)
{
	bool room;

	pthread_mutex_lock(&w->lock);
	room = w->count < WORK_MAX && (!w->count || w->bytes + weight(work) <= WORK_BYTES);
	if (room) {
		w->ring[(w->first + w->count++) % WORK_MAX] = *work;
		w->bytes += weight(work);
		pthread_cond_signal(&w->more);
	} else {
		atomic_store(&w->save->waiting, true);
	}
	pthread_mutex_unlock(&w->lock);
	return room;
}

int wt_save_announce(struct wt_save *s, struct wt_extent *extent, enum wt_content content)
{
	while (extent->pages) {
		uint32_t left = GRANULE_PAGES - (uint32_t)(extent->page % GRANULE_PAGES);
		struct work work = { .extent = *extent, .zero = content == WT_CONTENT_ZERO };

		if (work.extent.pages > left)
			work.extent.pages = left;
		if (!give(worker_of(s, extent), &work))
			return -EAGAIN;
		extent->page += work.extent.pages;
		extent->pages -= work.extent.pages;
	}
	return 0;
}

int wt_save_fd(const struct wt_save *s)
{
	return s->event_fd;
}

void wt_save_news(struct wt_save *s)
{
	uint64_t count;

	while (read(s->event_fd, &count, sizeof count) < 0 && errno == EINTR)
		;
}

void wt_save_final(struct wt_save *s)
{
	atomic_store(&s->final, true);
}

bool wt_save_idle(struct wt_save *s)
{
	bool idle = true;

	for (unsigned i = 0; i < s->started; i++) {
		pthread_mutex_lock(&s->workers[i].lock);
		idle &= !s->workers[i].count;
		pthread_mutex_unlock(&s->workers[i].lock);
	}
	return idle;
}

int wt_save_status(struct wt_save *s, struct wt_error *err)
{
	if (!atomic_load(&s->failed))
		return 0;
	return wt_error_set(err, s->error.code, "%s", s->error.text);
}

/* Of work that is under way some may be in it, and some not. */
void wt_save_stats(struct wt_save *s, struct wt_save_stats *ret_stats)
{
	struct wt_save_stats sum = { 0 };

	for (unsigned i = 0; i < s->started; i++) {
		const struct wt_save_stats *stats = &s->workers[i].stats;

		sum.written_pages += __atomic_load_n(&stats->written_pages, __ATOMIC_RELAXED);
		sum.written_bytes += __atomic_load_n(&stats->written_bytes, __ATOMIC_RELAXED);
		sum.same_pages += __atomic_load_n(&stats->same_pages, __ATOMIC_RELAXED);
		sum.zero_pages += __atomic_load_n(&stats->zero_pages, __ATOMIC_RELAXED);
	}
	*ret_stats = sum;
}

/* ---- life ---- */

static int open_direct(int fd)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
}

static int start_worker(struct wt_save *s, struct worker *w)
{
	w->save = s;
	if (s->options.frames) {
		w->pages = malloc((size_t)GRANULE_PAGES * WT_PAGE_SIZE);
		w->frames = malloc(GRANULE_PAGES * PAGE_FRAME_BYTES + wt_frame_bound());
		if (!w->pages || !w->frames) {
			free(w->pages);
			free(w->frames);
			return -ENOMEM;
		}
	}
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->more, NULL);
	return -pthread_create(&w->thread, NULL, run, w);
}

int wt_save_open(const struct wt_save_options *options, struct wt_save **ret_save, struct wt_error *err)
{
	struct wt_save *s = calloc(1, sizeof *s);
	int r = 0;

	if (!s)
		return wt_error_set(err, ENOMEM, "no memory to save the guest's");
	s->options = *options;
	s->options.threads = options->threads ? options->threads : THREADS;
	atomic_store(&s->direct, true);
	pthread_mutex_init(&s->lock, NULL);
	s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->blocks = calloc(options->count + 1, sizeof *s->blocks);
	s->workers = calloc(s->options.threads, sizeof *s->workers);
	if (!s->blocks || !s->workers || s->event_fd < 0)
		r = -ENOMEM;
	for (unsigned i = 0; s->blocks && i < options->count; i++) {
		s->blocks[i].block = options->blocks[i];
		s->blocks[i].direct_fd = options->frames ? -1 : open_direct(options->blocks[i].fd);
	}
	for (unsigned i = 0; i < s->options.threads && !r; i++) {
		r = start_worker(s, &s->workers[i]);
		s->started += !r;
	}
	if (r) {
		wt_save_close(s);
		return wt_error_set(
			err, -r, "cannot start threads to save the guest's memory: %s", strerror(-r));
	}
	*ret_save = s;
	return 0;
}

void wt_save_close(struct wt_save *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < s->started; i++) {
		pthread_mutex_lock(&s->workers[i].lock);
		s->workers[i].stop = true;
		pthread_cond_signal(&s->workers[i].more);
		pthread_mutex_unlock(&s->workers[i].lock);
	}
	for (unsigned i = 0; i < s->started; i++) {
		pthread_join(s->workers[i].thread, NULL);
		free(s->workers[i].pages);
		free(s->workers[i].frames);
	}
	for (unsigned i = 0; s->blocks && i < s->options.count; i++)
		if (s->blocks[i].direct_fd >= 0)
			close(s->blocks[i].direct_fd);
	if (s->event_fd >= 0)
		close(s->event_fd);
	free(s->workers);
	free(s->blocks);
	free(s);
}

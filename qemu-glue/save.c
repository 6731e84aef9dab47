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
 *   5. A page that is not compressed goes into the file from where the guest has it, without a copy of ours.
 * What is compressed is copied first: a compressor must not see its input change.
 *
 * The disk is busy from the beginning, so that little is left to be waited for in the end: large runs bypass
 * the page cache while the guest runs, and what goes through it, since it is small or nothing may wait for
 * the disk, is handed to the disk whenever it has become much.
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
#include <sys/uio.h>
#include <unistd.h>

#include "frame.h"

#define GRANULE_PAGES 256u
#define THREADS 4u
#define WORK_MAX 512u
#define WORK_BYTES (8u << 20)
#define FILL_PAGES 16u                         /* so few zeros between content are written with it */
#define DIRECT_BYTES (64u << 10)               /* from so many on a run bypasses the page cache */
#define CACHED_BYTES (1u << 20)                /* so many of a thread wait in the page cache for the disk */
#define PAGE_FRAME_BYTES (WT_PAGE_SIZE + 256u) /* of a frame, at most, for each of its pages */

struct work {
	struct wt_extent extent; /* in one granule */
	bool zero;
};

enum { PAGE_ZERO, PAGE_CONTENT, PAGE_SAME };

/* Consecutive pages of one granule, that are saved at once. */
struct batch {
	uint32_t block, pages;
	uint64_t page;
	uint8_t what[GRANULE_PAGES];
	struct wt_page_entry entries[GRANULE_PAGES]; /* of what is content */
};

/* What a thread has left in the page cache of one block's file. */
struct cached {
	const struct saved_block *block;
	uint64_t from, end; /* in the file; others' bytes are between */
	size_t bytes;
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

	struct batch batch; /* of the thread, like what follows */
	struct cached cached;
	uint8_t *pages, *frames; /* with frames only: a granule, and what becomes of it */
};

struct saved_block {
	struct wt_save_block block;
	int direct_fd;        /* the same file past the page cache; -1: cannot be */
	_Atomic uint64_t end; /* of a file to which is appended */
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

static const uint8_t zero_page[WT_PAGE_SIZE] __attribute__((aligned(WT_PAGE_SIZE)));

/* Writes all of it; the vector is used up. */
static int write_all(int fd, struct iovec *iov, unsigned count, uint64_t offset)
{
	while (count) {
		ssize_t n = pwritev(fd, iov, (int)count, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		offset += (uint64_t)n;
		for (; count && (size_t)n >= iov->iov_len; iov++, count--)
			n -= (ssize_t)iov->iov_len;
		if (count) {
			iov->iov_base = (uint8_t *)iov->iov_base + n;
			iov->iov_len -= (size_t)n;
		}
	}
	return 0;
}

static void hand_to_disk(struct cached *cached)
{
	if (cached->bytes)
		sync_file_range(cached->block->block.fd, (off_t)cached->from,
			(off_t)(cached->end - cached->from), SYNC_FILE_RANGE_WRITE);
	cached->bytes = 0;
}

/* The disk shall begin with what is in the cache, in pieces that are worth its while. */
static void leave_in_cache(
	struct cached *cached, const struct saved_block *block, uint64_t offset, size_t length)
{
	if (cached->block != block)
		hand_to_disk(cached);
	if (!cached->bytes)
		*cached = (struct cached){ block, offset, offset, 0 };
	cached->from = offset < cached->from ? offset : cached->from;
	cached->end = offset + length > cached->end ? offset + length : cached->end;
	cached->bytes += length;
	if (cached->bytes >= CACHED_BYTES)
		hand_to_disk(cached);
}

/* Past the page cache if it is much, and the guest runs. */
static int write_out(struct worker *w, const struct saved_block *b, struct iovec *iov, unsigned count,
	size_t length, uint64_t offset)
{
	struct wt_save *s = w->save;
	struct iovec copy[GRANULE_PAGES];
	int r;

	if (length >= DIRECT_BYTES && b->direct_fd >= 0 && atomic_load(&s->direct) &&
		!atomic_load(&s->final)) {
		memcpy(copy, iov, count * sizeof *iov);
		r = write_all(b->direct_fd, copy, count, offset);
		if (r != -EINVAL && r != -EFAULT && r != -EOPNOTSUPP)
			return r;
		atomic_store(&s->direct, false); /* this memory, or this file system, cannot do it */
	}
	r = write_all(b->block.fd, iov, count, offset);
	if (!r)
		leave_in_cache(&w->cached, b, offset, length);
	return r;
}

/* Where to put what is appended to a file. -EFBIG: no place can say so. */
static int64_t append_at(struct saved_block *b, size_t length)
{
	uint64_t offset = atomic_fetch_add(&b->end, length);

	return offset + length > WT_PLACE_OFFSET_MAX ? -EFBIG : (int64_t)offset;
}

/* ---- a thread: batches ---- */

static void add(uint64_t *figure, uint64_t more)
{
	__atomic_fetch_add(figure, more, __ATOMIC_RELAXED);
}

/* Digests the content; what the base has gets the base's entry, and is not to be written. */
static uint32_t digest(struct worker *w, struct saved_block *b, struct batch *batch, const uint8_t *bytes)
{
	uint32_t count = 0, same = 0;

	for (uint32_t i = 0; i < batch->pages; i++) {
		const struct wt_page_entry *old = b->block.old ? &b->block.old[batch->page + i] : NULL;

		if (batch->what[i] != PAGE_CONTENT)
			continue;
		wt_page_digest(bytes + ((size_t)i << WT_PAGE_SHIFT), w->save->options.seed,
			batch->entries[i].digest);
		if (!old || !old->place ||
			memcmp(old->digest, batch->entries[i].digest, WT_PAGE_DIGEST_BYTES) != 0) {
			count++;
			continue;
		}
		b->block.map[batch->page + i] = *old;
		batch->what[i] = PAGE_SAME;
		same++;
	}
	add(&w->stats.same_pages, same);
	return count;
}

/* All content was written: entries become those of the map. */
static void enter(
	struct worker *w, struct saved_block *b, const struct batch *batch, uint32_t count, uint64_t bytes)
{
	for (uint32_t i = 0; i < batch->pages; i++)
		if (batch->what[i] == PAGE_CONTENT)
			b->block.map[batch->page + i] = batch->entries[i];
	add(&w->stats.written_pages, count);
	add(&w->stats.written_bytes, bytes);
}

/* What of a raw layer is written at once: from content to content, with the few zeros between. */
static uint32_t segment(const struct batch *batch, uint32_t *from)
{
	uint32_t at = *from, end;

	while (at < batch->pages && batch->what[at] != PAGE_CONTENT)
		at++;
	*from = end = at;
	for (; at < batch->pages && at - end < FILL_PAGES; at++)
		if (batch->what[at] == PAGE_CONTENT)
			end = at + 1;
	return end - *from;
}

static int save_raw(struct worker *w, struct saved_block *b, struct batch *batch)
{
	const uint8_t *bytes = b->block.base + (batch->page << WT_PAGE_SHIFT);
	uint32_t count = digest(w, b, batch, bytes), at = 0, pages;
	struct iovec iov[GRANULE_PAGES];
	int r = 0;

	for (; !r && (pages = segment(batch, &at)); at += pages) {
		for (uint32_t i = at; i < at + pages; i++) {
			bool content = batch->what[i] == PAGE_CONTENT;

			iov[i - at].iov_base =
				content ? (void *)(bytes + ((size_t)i << WT_PAGE_SHIFT)) : (void *)zero_page;
			iov[i - at].iov_len = WT_PAGE_SIZE;
			if (content)
				batch->entries[i].place = wt_place(w->save->options.layer, 0, 0);
		}
		r = write_out(w, b, iov, pages, (size_t)pages << WT_PAGE_SHIFT,
			(batch->page + at) << WT_PAGE_SHIFT);
	}
	if (!r)
		enter(w, b, batch, count, (uint64_t)count << WT_PAGE_SHIFT);
	return r;
}

static int save_packed(struct worker *w, struct saved_block *b, struct batch *batch)
{
	const uint8_t *bytes = b->block.base + (batch->page << WT_PAGE_SHIFT);
	uint32_t count = digest(w, b, batch, bytes), n = 0;
	size_t length = (size_t)count << WT_PAGE_SHIFT;
	struct iovec iov[GRANULE_PAGES];
	int64_t offset = count ? append_at(b, length) : 0;
	int r;

	if (!count || offset < 0)
		return (int)offset;
	for (uint32_t i = 0; i < batch->pages; i++) {
		if (batch->what[i] != PAGE_CONTENT)
			continue;
		batch->entries[i].place = wt_place(
			w->save->options.layer, 0, (uint64_t)offset + ((uint64_t)n << WT_PAGE_SHIFT));
		iov[n++] = (struct iovec){ (void *)(bytes + ((size_t)i << WT_PAGE_SHIFT)), WT_PAGE_SIZE };
	}
	r = write_out(w, b, iov, n, length, (uint64_t)offset);
	if (!r)
		enter(w, b, batch, count, length);
	return r;
}

/* Compresses the pages [from, end) of a batch, which are all content. */
static int compress(struct worker *w, struct batch *batch, uint32_t from, uint32_t end, size_t *length)
{
	const struct wt_save_options *o = &w->save->options;
	uint32_t count;
	int n;

	for (; from < end; from += count) {
		count = end - from < WT_FRAME_PAGES ? end - from : WT_FRAME_PAGES;
		n = wt_frame_write(batch->page + from, count, w->pages + ((size_t)from << WT_PAGE_SHIFT),
			o->level, w->frames + *length, wt_frame_bound());
		if (n < 0)
			return n;
		for (uint32_t i = 0; i < count; i++)
			batch->entries[from + i].place = wt_place(o->layer, i, *length);
		*length += (size_t)n;
	}
	return 0;
}

/* Frames of one batch stand together in the file. */
static int save_frames(struct worker *w, struct saved_block *b, struct batch *batch)
{
	uint32_t count, at = 0, end;
	struct iovec iov;
	size_t length = 0;
	int64_t offset;
	int r = 0;

	for (uint32_t i = 0; i < batch->pages; i++)
		if (batch->what[i] == PAGE_CONTENT)
			memcpy(w->pages + ((size_t)i << WT_PAGE_SHIFT),
				b->block.base + ((batch->page + i) << WT_PAGE_SHIFT), WT_PAGE_SIZE);
	count = digest(w, b, batch, w->pages);
	for (; at < batch->pages && !r; at = end) {
		for (end = at; end < batch->pages && batch->what[end] == PAGE_CONTENT; end++)
			;
		r = compress(w, batch, at, end, &length);
		end += end == at;
	}
	offset = !r && length ? append_at(b, length) : 0;
	if (r || !length || offset < 0)
		return r ? r : (int)offset;
	iov = (struct iovec){ w->frames, length };
	r = write_out(w, b, &iov, 1, length, (uint64_t)offset);
	for (uint32_t i = 0; i < batch->pages; i++)
		batch->entries[i].place += (uint64_t)offset;
	if (!r)
		enter(w, b, batch, count, length);
	return r;
}

/* What a raw layer had of pages that are zero now must not stay: such an image is read without its map, too.
 */
static int clear(const struct saved_block *b, uint64_t page, uint32_t pages)
{
	int r = 0;

	if (!fallocate(b->block.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		    (off_t)(page << WT_PAGE_SHIFT), (off_t)pages << WT_PAGE_SHIFT))
		return 0;
	if (errno != EOPNOTSUPP)
		return -errno;
	for (uint32_t i = 0; i < pages && !r; i++) {
		struct iovec iov = { (void *)zero_page, WT_PAGE_SIZE };

		r = write_all(b->block.fd, &iov, 1, (page + i) << WT_PAGE_SHIFT);
	}
	return r;
}

static int save_zeros(struct worker *w, struct saved_block *b, const struct batch *batch)
{
	bool raw = w->save->options.kind == WT_REPLICA_RAW;
	uint32_t count = 0;
	int r = 0;

	for (uint32_t i = 0; i < batch->pages && !r; i++) {
		struct wt_page_entry *entry = &b->block.map[batch->page + i];

		if (batch->what[i] != PAGE_ZERO)
			continue;
		if (raw && entry->place)
			r = clear(b, batch->page + i, 1);
		memset(entry, 0, sizeof *entry);
		count++;
	}
	add(&w->stats.zero_pages, count);
	return r;
}

static void save(struct worker *w)
{
	struct wt_save *s = w->save;
	struct batch *batch = &w->batch;
	struct saved_block *b = &s->blocks[batch->block];
	int r;

	if (atomic_load(&s->failed))
		return;
	r = save_zeros(w, b, batch);
	if (!r && s->options.kind == WT_REPLICA_RAW)
		r = save_raw(w, b, batch);
	else if (!r)
		r = s->options.kind == WT_REPLICA_PACKED ? save_packed(w, b, batch)
							 : save_frames(w, b, batch);
	if (r)
		fail(s, b, -r);
}

static size_t weight(const struct work *work)
{
	return work->zero ? 0 : (size_t)work->extent.pages << WT_PAGE_SHIFT;
}

/* What waits and follows in the same granule is done at once; answers how many works that are. Under the
 * lock. */
static unsigned take(struct worker *w, size_t *ret_bytes)
{
	struct batch *batch = &w->batch;
	unsigned n = 0;

	batch->pages = 0;
	*ret_bytes = 0;
	for (; n < w->count; n++) {
		const struct work *work = &w->ring[(w->first + n) % WORK_MAX];
		const struct wt_extent *e = &work->extent;

		if (!n) {
			batch->block = e->block;
			batch->page = e->page;
		} else if (e->block != batch->block || e->page != batch->page + batch->pages ||
			   e->page / GRANULE_PAGES != batch->page / GRANULE_PAGES) {
			break;
		}
		memset(batch->what + batch->pages, work->zero ? PAGE_ZERO : PAGE_CONTENT, e->pages);
		batch->pages += e->pages;
		*ret_bytes += weight(work);
	}
	return n;
}

static void *run(void *arg)
{
	struct worker *w = arg;
	unsigned works;
	size_t bytes;
	bool tell;

	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		if (!w->count) {
			pthread_cond_wait(&w->more, &w->lock);
			continue;
		}
		works = take(w, &bytes);
		pthread_mutex_unlock(&w->lock);
		save(w);
		pthread_mutex_lock(&w->lock);
		w->first = (w->first + works) % WORK_MAX;
		w->count -= works;
		w->bytes -= bytes;
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

void wt_save_final(struct wt_save *s, bool stopped)
{
	atomic_store(&s->final, stopped);
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
	if (s->options.kind == WT_REPLICA_FRAMES) {
		w->pages = malloc((size_t)GRANULE_PAGES * WT_PAGE_SIZE);
		w->frames = malloc((size_t)GRANULE_PAGES * PAGE_FRAME_BYTES + wt_frame_bound());
		if (!w->pages || !w->frames)
			return -ENOMEM;
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
		s->blocks[i].direct_fd =
			options->kind == WT_REPLICA_FRAMES ? -1 : open_direct(options->blocks[i].fd);
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
	for (unsigned i = 0; i < s->started; i++)
		pthread_join(s->workers[i].thread, NULL);
	for (unsigned i = 0; s->workers && i < s->options.threads; i++) { /* of one that did not start, too */
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

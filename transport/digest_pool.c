/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * digest_pool.c - a ring of runs, and threads that digest them. See digest_pool.h.
 *
 *   1. given <= taken <= submitted <= given + WT_DIGEST_RUNS_MAX; run n lies in slot n % WT_DIGEST_RUNS_MAX.
 *   2. A run in [given, taken) that is not ready is being digested by exactly one worker, without the lock.
 *   3. Run `given` is ready => the descriptor is readable: it is made so when that run becomes ready, or was
 * so when an earlier one did, and only a next that answers 0 empties it.
 *
 * The lock guards the numbers and the slots. A worker has digesters of its own. Workers get no signals.
 */
#include "digest_pool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct slot {
	struct wt_digest_run run;
	int status;
	bool ready;
};

struct worker {
	struct wt_digest_pool *pool;
	struct wt_digester *digesters[WT_DIGEST_KEYS_MAX];
	pthread_t thread;
};

struct wt_digest_pool {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct slot slots[WT_DIGEST_RUNS_MAX];
	uint64_t submitted, taken, given;
	bool stop;
	int fd;
	unsigned workers, keys;
	struct worker worker[WT_DIGEST_WORKERS_MAX];
};

/* One page under each key. What may change between the keys is copied first. */
static int digest_page(const struct worker *worker, const struct wt_digest_run *run, uint32_t i)
{
	const uint8_t *bytes = (const uint8_t *)run->bytes + (size_t)i * WT_PAGE_SIZE;
	unsigned keys = worker->pool->keys;
	uint8_t copy[WT_PAGE_SIZE];
	int r = 0;

	if (keys > 1)
		bytes = memcpy(copy, bytes, sizeof copy);
	for (unsigned key = 0; key < keys && !r; key++)
		r = wt_digester_page(worker->digesters[key], run->block, run->page + i, bytes,
			run->digests + ((size_t)i * keys + key) * WT_DIGEST_BYTES);
	return r;
}

static int digest_run(const struct worker *worker, const struct wt_digest_run *run)
{
	int r = run->fill ? run->fill(run->fill_arg, run) : 0;

	for (uint32_t i = 0; i < run->pages && !r; i++)
		r = digest_page(worker, run, i);
	return r;
}

/* Called with the lock. */
static void say_ready(struct wt_digest_pool *pool)
{
	ssize_t n = eventfd_write(pool->fd, 1);

	assert(n == 0); /* next empties the counter long before it could overflow */
	(void)n;
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;
	struct wt_digest_pool *pool = worker->pool;
	struct wt_digest_run run;
	struct slot *slot;
	int status;

	pthread_mutex_lock(&pool->lock);
	while (!pool->stop) {
		if (pool->taken == pool->submitted) {
			pthread_cond_wait(&pool->work, &pool->lock);
			continue;
		}
		slot = &pool->slots[pool->taken++ % WT_DIGEST_RUNS_MAX];
		run = slot->run;
		pthread_mutex_unlock(&pool->lock);
		status = digest_run(worker, &run);
		pthread_mutex_lock(&pool->lock);
		slot->status = status;
		slot->ready = true;
		if (slot == &pool->slots[pool->given % WT_DIGEST_RUNS_MAX])
			say_ready(pool);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

static unsigned default_workers(void)
{
	cpu_set_t cores;
	unsigned half;

	if (sched_getaffinity(0, sizeof cores, &cores))
		return 1;
	half = (unsigned)CPU_COUNT(&cores) / 2;
	return half ? half : 1;
}

static void close_digesters(struct worker *worker)
{
	for (unsigned key = 0; key < WT_DIGEST_KEYS_MAX; key++)
		wt_digester_close(worker->digesters[key]);
}

static int start_worker(struct wt_digest_pool *pool, const uint8_t *keys, struct wt_error *err)
{
	struct worker *worker = &pool->worker[pool->workers];
	sigset_t all, before;
	int r = 0;

	worker->pool = pool;
	for (unsigned key = 0; key < pool->keys && !r; key++)
		r = wt_digester_open(keys + (size_t)key * WT_DIGEST_KEY_BYTES, &worker->digesters[key], err);
	if (r) {
		close_digesters(worker);
		return r;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&worker->thread, NULL, worker_main, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r) {
		close_digesters(worker);
		return wt_error_set(err, r, "cannot start a thread to digest pages: %s", strerror(r));
	}
	pool->workers++;
	return 0;
}

int wt_digest_pool_open(const uint8_t *keys, unsigned key_count, unsigned workers,
	struct wt_digest_pool **ret_pool, struct wt_error *err)
{
	struct wt_digest_pool *pool = calloc(1, sizeof *pool);
	int r = 0;

	assert(key_count && key_count <= WT_DIGEST_KEYS_MAX);
	if (!pool)
		return wt_error_set(err, ENOMEM, "no memory to digest pages");
	pool->keys = key_count;
	pool->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (pool->fd < 0) {
		r = wt_error_set(err, errno, "cannot digest pages: eventfd: %s", strerror(errno));
		free(pool);
		return r;
	}
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	if (!workers)
		workers = default_workers();
	if (workers > WT_DIGEST_WORKERS_MAX)
		workers = WT_DIGEST_WORKERS_MAX;
	while (!r && pool->workers < workers)
		r = start_worker(pool, keys, err);
	if (r) {
		wt_digest_pool_close(pool);
		return r;
	}
	*ret_pool = pool;
	return 0;
}

void wt_digest_pool_close(struct wt_digest_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->stop = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->workers; i++) {
		pthread_join(pool->worker[i].thread, NULL);
		close_digesters(&pool->worker[i]);
	}
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
	close(pool->fd);
	free(pool);
}

int wt_digest_pool_submit(struct wt_digest_pool *pool, const struct wt_digest_run *run)
{
	int r = 0;

	if (!run->pages || run->pages > WT_DIGEST_RUN_PAGES)
		return -EINVAL;
	pthread_mutex_lock(&pool->lock);
	if (pool->submitted - pool->given == WT_DIGEST_RUNS_MAX) {
		r = -EAGAIN;
	} else {
		pool->slots[pool->submitted++ % WT_DIGEST_RUNS_MAX] = (struct slot){ .run = *run };
		pthread_cond_signal(&pool->work);
	}
	pthread_mutex_unlock(&pool->lock);
	return r;
}

int wt_digest_pool_next(struct wt_digest_pool *pool, struct wt_digest_run *ret_run, int *ret_status)
{
	struct slot *slot;
	eventfd_t count;
	int ready;

	pthread_mutex_lock(&pool->lock);
	slot = &pool->slots[pool->given % WT_DIGEST_RUNS_MAX];
	ready = pool->given < pool->taken && slot->ready;
	if (ready) {
		*ret_run = slot->run;
		*ret_status = slot->status;
		pool->given++;
	} else if (eventfd_read(pool->fd, &count) < 0) {
		assert(errno == EAGAIN);
	}
	pthread_mutex_unlock(&pool->lock);
	return ready;
}

int wt_digest_pool_fd(const struct wt_digest_pool *pool)
{
	return pool->fd;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake_pool.c - digests of pages as a fuzzer has them, in place of digest_pool.c: made at once, by the thread
 * that asks for them, so that an input does the same each time.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "digest_pool.h"
#include "promise.h"

struct wt_digest_pool {
	unsigned keys, first, count;
	struct wt_digester *digesters[WT_DIGEST_KEYS_MAX];
	int fd;
	struct {
		struct wt_digest_run run;
		int status;
	} done[WT_DIGEST_RUNS_MAX];
};

int wt_digest_pool_open(const uint8_t *keys, unsigned key_count, unsigned workers,
	struct wt_digest_pool **ret_pool, struct wt_error *err)
{
	struct wt_digest_pool *pool = calloc(1, sizeof *pool);

	if (!pool)
		return wt_error_set(err, ENOMEM, "no memory for digests");
	pool->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (; pool->keys < key_count; pool->keys++)
		if (wt_digester_open(keys + (size_t)pool->keys * WT_DIGEST_KEY_BYTES,
			    &pool->digesters[pool->keys], err)) {
			wt_digest_pool_close(pool);
			return -err->code;
		}
	*ret_pool = pool;
	return 0;
}

void wt_digest_pool_close(struct wt_digest_pool *pool)
{
	if (!pool)
		return;
	while (pool->keys)
		wt_digester_close(pool->digesters[--pool->keys]);
	close(pool->fd);
	free(pool);
}

static int make(struct wt_digest_pool *pool, const struct wt_digest_run *run)
{
	int r = run->fill ? run->fill(run->fill_arg, run) : 0;

	for (uint32_t i = 0; i < run->pages && !r; i++)
		for (unsigned key = 0; key < pool->keys && !r; key++)
			r = wt_digester_page(pool->digesters[key], run->block, run->page + i,
				(const uint8_t *)run->bytes + (size_t)i * WT_PAGE_SIZE,
				run->digests + ((size_t)i * pool->keys + key) * WT_DIGEST_BYTES);
	return r;
}

int wt_digest_pool_submit(struct wt_digest_pool *pool, const struct wt_digest_run *run)
{
	unsigned at = (pool->first + pool->count) % WT_DIGEST_RUNS_MAX;
	uint64_t one = 1;

	if (!run->pages || run->pages > WT_DIGEST_RUN_PAGES)
		return -EINVAL;
	if (pool->count == WT_DIGEST_RUNS_MAX)
		return -EAGAIN;
	pool->done[at].run = *run;
	pool->done[at].status = make(pool, run);
	pool->count++;
	PROMISE(write(pool->fd, &one, sizeof one) == sizeof one);
	return 0;
}

int wt_digest_pool_next(struct wt_digest_pool *pool, struct wt_digest_run *ret_run, int *ret_status)
{
	uint64_t count;

	if (!pool->count) {
		PROMISE(read(pool->fd, &count, sizeof count) == sizeof count || errno == EAGAIN);
		return 0;
	}
	*ret_run = pool->done[pool->first].run;
	*ret_status = pool->done[pool->first].status;
	pool->first = (pool->first + 1) % WT_DIGEST_RUNS_MAX;
	pool->count--;
	return 1;
}

int wt_digest_pool_fd(const struct wt_digest_pool *pool)
{
	return pool->fd;
}

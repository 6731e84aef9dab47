/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_digest_pool.c - digests of pages, made by the loop: at any moment between submit and next. Replaces
 * transport's digest_pool.c, which makes them in threads.
 */
#include "sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "digest_pool.h"

struct slot {
	struct wt_digest_run run;
	bool made;
	int status;
};

struct wt_digest_pool {
	unsigned keys;
	struct wt_digester *digesters[WT_DIGEST_KEYS_MAX];
	int fd;
	uint64_t submitted, given;
	struct slot slots[WT_DIGEST_RUNS_MAX];
};

int wt_digest_pool_open(const uint8_t *keys, unsigned key_count, unsigned workers,
	struct wt_digest_pool **ret_pool, struct wt_error *err)
{
	struct wt_digest_pool *pool = calloc(1, sizeof *pool);

	pool->keys = key_count;
	for (unsigned key = 0; key < key_count; key++)
		sim_check(wt_digester_open(
				  keys + (size_t)key * WT_DIGEST_KEY_BYTES, &pool->digesters[key], err) == 0,
			"no digests here: %s", wt_error_text(err));
	pool->fd = sim_fd_new();
	*ret_pool = pool;
	return 0;
}

void wt_digest_pool_close(struct wt_digest_pool *pool)
{
	if (!pool)
		return;
	for (unsigned key = 0; key < pool->keys; key++)
		wt_digester_close(pool->digesters[key]);
	sim_fd_free(pool->fd);
	free(pool);
}

static void make(struct wt_digest_pool *pool, struct slot *slot)
{
	const struct wt_digest_run *run = &slot->run;
	int r = run->fill ? run->fill(run->fill_arg, run) : 0;

	for (uint32_t i = 0; i < run->pages && !r; i++)
		for (unsigned key = 0; key < pool->keys && !r; key++)
			r = wt_digester_page(pool->digesters[key], run->block, run->page + i,
				(uint8_t *)run->bytes + (size_t)i * WT_PAGE_SIZE,
				run->digests + ((size_t)i * pool->keys + key) * WT_DIGEST_BYTES);
	slot->status = r;
	slot->made = true;
}

int wt_digest_pool_submit(struct wt_digest_pool *pool, const struct wt_digest_run *run)
{
	struct slot *slot = &pool->slots[pool->submitted % WT_DIGEST_RUNS_MAX];

	if (!run->pages || run->pages > WT_DIGEST_RUN_PAGES)
		return -EINVAL;
	if (pool->submitted - pool->given == WT_DIGEST_RUNS_MAX)
		return -EAGAIN;
	*slot = (struct slot){ .run = *run };
	pool->submitted++;
	if (sim_one_in(2))
		make(pool, slot);
	sim_fd_ready(pool->fd, true);
	return 0;
}

int wt_digest_pool_next(struct wt_digest_pool *pool, struct wt_digest_run *ret_run, int *ret_status)
{
	struct slot *slot = &pool->slots[pool->given % WT_DIGEST_RUNS_MAX];

	if (pool->given == pool->submitted) {
		sim_fd_ready(pool->fd, false);
		return 0;
	}
	if (!slot->made)
		make(pool, slot);
	pool->given++;
	*ret_run = slot->run;
	*ret_status = slot->status;
	return 1;
}

int wt_digest_pool_fd(const struct wt_digest_pool *pool)
{
	return pool->fd;
}

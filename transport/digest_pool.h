/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * digest_pool.h - digests of many pages, by worker threads.
 *
 * Runs of pages go in, and come out in the order in which they went in. Whoever opened a pool calls
 * everything here, from one thread. The memory of a run (pages and room for the digests) belongs to the pool
 * from submit until next gives the run back, or until close has returned.
 */
#ifndef WATARI_DIGEST_POOL_H
#define WATARI_DIGEST_POOL_H

#include <watari/digest.h>

#define WT_DIGEST_RUNS_MAX 64u   /* submitted and not given back */
#define WT_DIGEST_RUN_PAGES 256u /* of one run; a large one would keep the others waiting */
#define WT_DIGEST_WORKERS_MAX 64u
#define WT_DIGEST_KEYS_MAX 2u

struct wt_digest_run {
	uint32_t block;
	uint32_t pages; /* 1 .. WT_DIGEST_RUN_PAGES */
	uint64_t page;  /* the first one's number in its block */
	void *bytes;
	/* NULL: they are there. Otherwise the worker brings them first; -errno becomes the run's status. */
	int (*fill)(void *arg, const struct wt_digest_run *run);
	void *fill_arg;
	uint8_t *digests; /* for each page WT_DIGEST_BYTES under each key; filled when the run is given back
			     with status 0 */
	uint64_t tag;     /* the caller's */
};

struct wt_digest_pool;

/*
 * keys: 1 to WT_DIGEST_KEYS_MAX times WT_DIGEST_KEY_BYTES. With two, both digests of a page are of the same
 * bytes, also while it changes. workers 0: half of the cores that this process may use, at least one.
 */
int wt_digest_pool_open(const uint8_t *keys, unsigned key_count, unsigned workers,
	struct wt_digest_pool **ret_pool, struct wt_error *err);
/* Waits for the runs that are being digested; the others are dropped. */
void wt_digest_pool_close(struct wt_digest_pool *pool);

/* -EAGAIN: WT_DIGEST_RUNS_MAX are under way, take some back first. -EINVAL: the number of pages. */
int wt_digest_pool_submit(struct wt_digest_pool *pool, const struct wt_digest_run *run);
/* The next run, in order: 1, and 0, -EIO or what fill said in *ret_status; 0: it is not ready. */
int wt_digest_pool_next(struct wt_digest_pool *pool, struct wt_digest_run *ret_run, int *ret_status);
/* Becomes readable when a run is ready; call next until it answers 0. */
int wt_digest_pool_fd(const struct wt_digest_pool *pool);

#endif

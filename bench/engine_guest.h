/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine_guest.h - the memory of a guest that is not there: some blocks, a thread that writes into them, and
 * which pages it has written.
 *
 * The thread marks a page after it has written it, and who takes a run of marks clears them: so what is read
 * after that is at least as new as what was marked, and what is written later is marked again. One thread
 * besides that one may use this.
 */
#ifndef WATARI_BENCH_ENGINE_GUEST_H
#define WATARI_BENCH_ENGINE_GUEST_H

#include <pthread.h>
#include <stdatomic.h>

#include <watari/block.h>

#include "engine.h"

#define WT_BENCH_BLOCKS_MAX 16u

struct wt_bench_guest {
	unsigned block_count;
	struct wt_bench_memory blocks[WT_BENCH_BLOCKS_MAX];
	uint64_t first[WT_BENCH_BLOCKS_MAX + 1]; /* the page, of all, with which a block begins */
	_Atomic uint64_t *dirty;                 /* a bit for each page of all; NULL: nobody writes */
	uint64_t rate;                           /* pages per second */
	bool runs;
	atomic_bool stop;
	uint64_t cpu_ns; /* of the thread, once it has stopped */
	pthread_t thread;
	uint64_t hash, hashed; /* pages of all that are in it */
};

/* Blocks of `bytes` in all: the first has most of them. fill: full of a pattern, no page is zero, all are
 * marked. */
int wt_bench_guest_open(uint64_t bytes, unsigned blocks, bool huge, bool fill, struct wt_bench_guest *ret,
	struct wt_error *err);
void wt_bench_guest_close(struct wt_bench_guest *guest);
/* Bytes of a block; the name is static. */
uint64_t wt_bench_guest_block(uint64_t bytes, unsigned blocks, unsigned index, const char **ret_name);

int wt_bench_guest_run(struct wt_bench_guest *guest, uint64_t pages_per_s, struct wt_error *err);
/* Returns when it writes no more. */
void wt_bench_guest_stop(struct wt_bench_guest *guest);

/* The first run of marked pages from *at on, a page of all, of one block and at most `max`; clears the marks.
 * False: there is none any more. *at is then behind it. */
bool wt_bench_guest_take(
	struct wt_bench_guest *guest, uint64_t *at, uint32_t max, struct wt_extent *ret_extent);
uint64_t wt_bench_guest_marked(const struct wt_bench_guest *guest);

/* Hashes a part of the memory; answers whether all of it is in guest->hash now. */
bool wt_bench_guest_hash_some(struct wt_bench_guest *guest);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine_guest.c - the memory of a guest that is not there. See engine_guest.h.
 *
 *   1. The writer writes a page and then sets its bit (release); take clears the bits of a word (acquire) and
 *      only then answers them. So no write is lost: it is seen by who reads after take, or its bit is set
 * again.
 *   2. Bits are taken a word at a time, and those that are not answered are put back.
 */
#include "engine_guest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TICK_NS 1000000ull /* the writer's pace */
#define LINES 8u           /* places of a page that are written */
#define HASH_PAGES 16384u  /* at once */
#define SMALL_PART 16u     /* a block but the first has this part of what there is */

uint64_t wt_bench_guest_block(uint64_t bytes, unsigned blocks, unsigned index, const char **ret_name)
{
	static const char *const names[WT_BENCH_BLOCKS_MAX] = { "ram", "b1", "b2", "b3", "b4", "b5", "b6",
		"b7", "b8", "b9", "b10", "b11", "b12", "b13", "b14", "b15" };
	uint64_t pages = bytes >> WT_PAGE_SHIFT, small = pages / SMALL_PART / blocks;

	if (!small)
		small = 1;
	*ret_name = names[index];
	return (index ? small : pages - small * (blocks - 1)) << WT_PAGE_SHIFT;
}

static uint64_t words_of(const struct wt_bench_guest *guest)
{
	return (guest->first[guest->block_count] + 63) / 64;
}

static int fill(struct wt_bench_guest *guest, struct wt_error *err)
{
	uint64_t pages = guest->first[guest->block_count], words = words_of(guest);

	guest->dirty = calloc(words, sizeof *guest->dirty);
	if (!guest->dirty)
		return wt_error_set(err, ENOMEM, "no memory for a bit for each page");
	for (uint64_t i = 0; i < words; i++)
		guest->dirty[i] = i + 1 < words || pages % 64 == 0 ? UINT64_MAX : (1ull << pages % 64) - 1;
	for (unsigned i = 0; i < guest->block_count; i++) {
		wt_bench_pattern_fill(guest->blocks[i].base, guest->blocks[i].length);
		memset(guest->blocks[i].base, (int)i + 1, 8); /* no two blocks are equal */
	}
	return 0;
}

int wt_bench_guest_open(uint64_t bytes, unsigned blocks, bool huge, bool filled, struct wt_bench_guest *ret,
	struct wt_error *err)
{
	struct wt_bench_guest *guest = ret;
	int status = 0;

	memset(guest, 0, sizeof *guest);
	while (status >= 0 && guest->block_count < blocks) {
		unsigned i = guest->block_count;
		const char *name;
		uint64_t length = wt_bench_guest_block(bytes, blocks, i, &name);

		status = wt_bench_memory_open(length, huge, &guest->blocks[i], err);
		guest->first[i + 1] = guest->first[i] + (length >> WT_PAGE_SHIFT);
		guest->block_count += status >= 0;
	}
	if (status >= 0 && filled)
		status = fill(guest, err);
	if (status < 0)
		wt_bench_guest_close(guest);
	return status;
}

void wt_bench_guest_close(struct wt_bench_guest *guest)
{
	wt_bench_guest_stop(guest);
	while (guest->block_count)
		wt_bench_memory_close(&guest->blocks[--guest->block_count]);
	free((void *)guest->dirty);
	guest->dirty = NULL;
}

/* ---- the writer ---- */

static unsigned block_of(const struct wt_bench_guest *guest, uint64_t page)
{
	unsigned block = 0;

	while (page >= guest->first[block + 1])
		block++;
	return block;
}

static void write_page(struct wt_bench_guest *guest, uint64_t page, uint64_t value)
{
	unsigned block = block_of(guest, page);
	uint8_t *base = guest->blocks[block].base + ((page - guest->first[block]) << WT_PAGE_SHIFT);

	for (unsigned line = 0; line < LINES; line++)
		__atomic_store_n(
			(uint64_t *)(base + line * WT_PAGE_SIZE / LINES), value + line, __ATOMIC_RELAXED);
	atomic_fetch_or_explicit(&guest->dirty[page / 64], 1ull << page % 64, memory_order_release);
}

static void *writer_main(void *arg)
{
	struct wt_bench_guest *guest = arg;
	uint64_t start_ns = wt_bench_now_ns(), written = 0, random = 88172645463325252ull;
	struct timespec tick = { .tv_nsec = TICK_NS }, cpu;

	while (!atomic_load(&guest->stop)) {
		uint64_t due = (uint64_t)((double)(wt_bench_now_ns() - start_ns) / 1e9 * (double)guest->rate);

		for (; written < due && !atomic_load(&guest->stop); written++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			write_page(guest, random % guest->first[guest->block_count], random | 1);
		}
		nanosleep(&tick, NULL);
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
	guest->cpu_ns = (uint64_t)cpu.tv_sec * WT_BENCH_SECOND_NS + (uint64_t)cpu.tv_nsec;
	return NULL;
}

int wt_bench_guest_run(struct wt_bench_guest *guest, uint64_t pages_per_s, struct wt_error *err)
{
	int code;

	guest->rate = pages_per_s;
	if (!pages_per_s)
		return 0;
	code = pthread_create(&guest->thread, NULL, writer_main, guest);
	if (code)
		return wt_error_set(err, code, "cannot start a thread that writes: %s", strerror(code));
	guest->runs = true;
	return 0;
}

void wt_bench_guest_stop(struct wt_bench_guest *guest)
{
	if (!guest->runs)
		return;
	atomic_store(&guest->stop, true);
	pthread_join(guest->thread, NULL);
	guest->runs = false;
}

/* ---- what it has written ---- */

/* The bits of a word from `from` on that belong together, as a mask. */
static uint64_t run_of(uint64_t word, unsigned from, unsigned *ret_count)
{
	uint64_t rest = ~(word >> from);
	unsigned count = rest ? (unsigned)__builtin_ctzll(rest) : 64;

	if (count > 64 - from)
		count = 64 - from;
	*ret_count = count;
	return (count == 64 ? UINT64_MAX : ((1ull << count) - 1) << from);
}

/* The first marked page from `at` on; UINT64_MAX: none. */
static uint64_t find(const struct wt_bench_guest *guest, uint64_t at)
{
	uint64_t words = words_of(guest);

	for (uint64_t i = at / 64; i < words; i++) {
		uint64_t word = atomic_load_explicit(&guest->dirty[i], memory_order_relaxed);

		if (i == at / 64)
			word &= UINT64_MAX << at % 64;
		if (word)
			return i * 64 + (unsigned)__builtin_ctzll(word);
	}
	return UINT64_MAX;
}

bool wt_bench_guest_take(
	struct wt_bench_guest *guest, uint64_t *at, uint32_t max, struct wt_extent *ret_extent)
{
	uint64_t page = find(guest, *at), end;
	unsigned block, count;

	if (page == UINT64_MAX)
		return false;
	block = block_of(guest, page);
	end = page;
	do {
		_Atomic uint64_t *word = &guest->dirty[end / 64];
		uint64_t run = run_of(atomic_load_explicit(word, memory_order_relaxed), end % 64, &count),
			 limit;

		limit = guest->first[block + 1] - end;
		if (limit > max - (end - page))
			limit = max - (end - page);
		if (count > limit) {
			count = (unsigned)limit;
			run = ((1ull << count) - 1) << end % 64;
		}
		atomic_fetch_and_explicit(word, ~run, memory_order_acquire);
		end += count;
	} while (count && end % 64 == 0 && end < guest->first[block + 1] && end - page < max);
	*ret_extent = (struct wt_extent){
		.block = block, .page = page - guest->first[block], .pages = (uint32_t)(end - page)
	};
	*at = end;
	return true;
}

uint64_t wt_bench_guest_marked(const struct wt_bench_guest *guest)
{
	uint64_t marked = 0;

	for (uint64_t i = 0; i < words_of(guest); i++)
		marked += (unsigned)__builtin_popcountll(
			atomic_load_explicit(&guest->dirty[i], memory_order_relaxed));
	return marked;
}

/* ---- is it the same at both ends? ---- */

bool wt_bench_guest_hash_some(struct wt_bench_guest *guest)
{
	uint64_t pages = guest->first[guest->block_count];

	for (unsigned i = 0; i < HASH_PAGES && guest->hashed < pages; i++, guest->hashed++) {
		unsigned block = block_of(guest, guest->hashed);
		const uint8_t *page =
			guest->blocks[block].base + ((guest->hashed - guest->first[block]) << WT_PAGE_SHIFT);

		for (unsigned at = 0; at < WT_PAGE_SIZE; at += 8) {
			uint64_t word;

			memcpy(&word, page + at, 8);
			guest->hash = (guest->hash ^ word) * 0x9e3779b97f4a7c15ull;
			guest->hash ^= guest->hash >> 29;
		}
	}
	return guest->hashed == pages;
}

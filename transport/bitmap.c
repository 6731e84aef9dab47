/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * bitmap.c - page bitmaps: 64 bits a word, ranges a word at a time. See bitmap.h.
 *
 * The words are allocated by calloc, so that an untouched part of a terabyte guest's map costs no memory.
 */
#include "bitmap.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define WORD_BITS 64

int wt_bitmap_open(struct wt_bitmap *map, uint64_t bits)
{
	map->words = calloc((bits + WORD_BITS - 1) / WORD_BITS + 1, sizeof *map->words);
	if (!map->words)
		return -ENOMEM;
	map->bits = bits;
	return 0;
}

void wt_bitmap_close(struct wt_bitmap *map)
{
	free(map->words);
	map->words = NULL;
	map->bits = 0;
}

/* The bits of a word from position `low` on, `count` of them (1 to 64). */
static uint64_t word_mask(unsigned low, unsigned count)
{
	return (~0ull >> (WORD_BITS - count)) << low;
}

static void range_apply(struct wt_bitmap *map, uint64_t first, uint64_t count, bool set)
{
	assert(first <= map->bits && count <= map->bits - first);
	while (count) {
		unsigned low = first % WORD_BITS;
		unsigned n = count < WORD_BITS - low ? (unsigned)count : WORD_BITS - low;
		uint64_t mask = word_mask(low, n);

		if (set)
			map->words[first / WORD_BITS] |= mask;
		else
			map->words[first / WORD_BITS] &= ~mask;
		first += n;
		count -= n;
	}
}

void wt_bitmap_set(struct wt_bitmap *map, uint64_t first, uint64_t count)
{
	range_apply(map, first, count, true);
}

void wt_bitmap_clear(struct wt_bitmap *map, uint64_t first, uint64_t count)
{
	range_apply(map, first, count, false);
}

void wt_bitmap_and_not(struct wt_bitmap *map, const struct wt_bitmap *a, const struct wt_bitmap *b)
{
	assert(map->bits == a->bits && map->bits == b->bits);
	for (uint64_t i = 0; i < (map->bits + WORD_BITS - 1) / WORD_BITS; i++) {
		uint64_t word = a->words[i] & ~b->words[i];

		if (map->words[i] != word) /* so that what was never touched stays so */
			map->words[i] = word;
	}
}

bool wt_bitmap_test(const struct wt_bitmap *map, uint64_t bit)
{
	assert(bit < map->bits);
	return map->words[bit / WORD_BITS] >> (bit % WORD_BITS) & 1;
}

/* The first bit in [from, end) that is set in words ^ flip. */
static uint64_t next_bit(const struct wt_bitmap *map, uint64_t from, uint64_t end, uint64_t flip)
{
	assert(end <= map->bits);
	while (from < end) {
		uint64_t word = (map->words[from / WORD_BITS] ^ flip) >> (from % WORD_BITS);

		if (word) {
			from += __builtin_ctzll(word);
			return from < end ? from : end;
		}
		from = (from / WORD_BITS + 1) * WORD_BITS;
	}
	return end;
}

uint64_t wt_bitmap_next_set(const struct wt_bitmap *map, uint64_t from, uint64_t end)
{
	return next_bit(map, from, end, 0);
}

uint64_t wt_bitmap_next_clear(const struct wt_bitmap *map, uint64_t from, uint64_t end)
{
	return next_bit(map, from, end, ~0ull);
}

uint64_t wt_bitmap_count(const struct wt_bitmap *map)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < (map->bits + WORD_BITS - 1) / WORD_BITS; i++)
		count += __builtin_popcountll(map->words[i]);
	return count;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pageset.c - a bit per page with a summary, a word at a time. See pageset.h.
 *
 * Allocated by calloc, so that an untouched part of a terabyte guest's set costs no memory.
 */
#include "pageset.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define WORD 64

static uint64_t word_count(const struct wt_pageset *set)
{
	return (set->bits + WORD - 1) / WORD;
}

int wt_pageset_open(struct wt_pageset *set, uint64_t bits)
{
	*set = (struct wt_pageset){ .bits = bits };
	set->words = calloc(word_count(set) + 1, sizeof *set->words);
	set->summary = calloc(word_count(set) / WORD + 1, sizeof *set->summary);
	if (set->words && set->summary)
		return 0;
	wt_pageset_close(set);
	return -ENOMEM;
}

void wt_pageset_close(struct wt_pageset *set)
{
	free(set->words);
	free(set->summary);
	*set = (struct wt_pageset){ 0 };
}

/* The bits of word i that lie in [first, end). */
static uint64_t mask_of(uint64_t i, uint64_t first, uint64_t end)
{
	uint64_t mask = ~0ull;

	if (first > i * WORD)
		mask &= ~0ull << (first - i * WORD);
	if (end < (i + 1) * WORD)
		mask &= ~0ull >> ((i + 1) * WORD - end);
	return mask;
}

/* Answers how many bits changed. */
static unsigned word_put(struct wt_pageset *set, uint64_t i, uint64_t word)
{
	uint64_t bit = 1ull << (i % WORD);
	unsigned changed = (unsigned)__builtin_popcountll(set->words[i] ^ word);

	set->words[i] = word;
	if (word)
		set->summary[i / WORD] |= bit;
	else
		set->summary[i / WORD] &= ~bit;
	return changed;
}

uint64_t wt_pageset_add(struct wt_pageset *set, uint64_t first, uint64_t count)
{
	uint64_t end = first + count, changed = 0;

	assert(first <= set->bits && count <= set->bits - first);
	for (uint64_t i = first / WORD; i * WORD < end; i++)
		changed += word_put(set, i, set->words[i] | mask_of(i, first, end));
	set->count += changed;
	return changed;
}

/* The first word at or after i, below end, that the summary says is not 0. */
static uint64_t next_word(const struct wt_pageset *set, uint64_t i, uint64_t end)
{
	uint64_t s = i / WORD, bits = set->summary[s] & ~0ull << (i % WORD);

	while (!bits) {
		if (++s * WORD >= end)
			return end;
		bits = set->summary[s];
	}
	i = s * WORD + (unsigned)__builtin_ctzll(bits);
	return i < end ? i : end;
}

uint64_t wt_pageset_remove(struct wt_pageset *set, uint64_t first, uint64_t count)
{
	uint64_t end = first + count, end_word = (end + WORD - 1) / WORD, changed = 0;

	assert(first <= set->bits && count <= set->bits - first);
	if (!set->count || !count)
		return 0;
	for (uint64_t i = next_word(set, first / WORD, end_word); i < end_word;
		i = i + 1 < end_word ? next_word(set, i + 1, end_word) : end_word)
		changed += word_put(set, i, set->words[i] & ~mask_of(i, first, end));
	set->count -= changed;
	return changed;
}

uint64_t wt_pageset_add_words(struct wt_pageset *set, uint64_t first, uint64_t count, const uint64_t *words)
{
	uint64_t end = first + count, changed = 0;

	assert(first % WORD == 0 && first <= set->bits && count <= set->bits - first);
	for (uint64_t i = first / WORD; i * WORD < end; i++, words++)
		changed += word_put(set, i, set->words[i] | (*words & mask_of(i, first, end)));
	set->count += changed;
	return changed;
}

bool wt_pageset_has(const struct wt_pageset *set, uint64_t page)
{
	assert(page < set->bits);
	return set->words[page / WORD] >> (page % WORD) & 1;
}

uint64_t wt_pageset_next(const struct wt_pageset *set, uint64_t from, uint64_t end)
{
	struct wt_pageset_query query = { .in = { set }, .ins = 1 };
	uint64_t run_end;

	return wt_pageset_run(&query, from, end, 1, &run_end);
}

uint64_t wt_pageset_next_gap(const struct wt_pageset *set, uint64_t from, uint64_t end)
{
	assert(end <= set->bits);
	for (uint64_t i = from / WORD; i * WORD < end; i++) {
		uint64_t gaps = ~set->words[i] & mask_of(i, from, end);

		if (gaps)
			return i * WORD + (unsigned)__builtin_ctzll(gaps);
	}
	return end;
}

static uint64_t query_word(const struct wt_pageset_query *query, uint64_t i)
{
	uint64_t word = query->in[0]->words[i];

	if (query->ins > 1)
		word &= query->in[1]->words[i];
	for (unsigned n = 0; n < query->outs; n++)
		word &= ~query->out[n]->words[i];
	return word;
}

/* The first word at or after i, below end, that is in the summaries of all of `in`. */
static uint64_t query_next(const struct wt_pageset_query *query, uint64_t i, uint64_t end)
{
	for (;;) {
		uint64_t next = i < end ? next_word(query->in[0], i, end) : end;

		i = query->ins > 1 && next < end ? next_word(query->in[1], next, end) : next;
		if (i == next || i == end)
			return i;
	}
}

uint64_t wt_pageset_run(const struct wt_pageset_query *query, uint64_t from, uint64_t end, uint64_t max,
	uint64_t *ret_run_end)
{
	uint64_t end_word = (end + WORD - 1) / WORD, first, last, word;

	assert(end <= query->in[0]->bits && query->ins && max);
	*ret_run_end = end;
	if (from >= end || !query->in[0]->count || (query->ins > 1 && !query->in[1]->count))
		return end;
	for (uint64_t i = query_next(query, from / WORD, end_word);; i = query_next(query, i + 1, end_word)) {
		if (i == end_word)
			return end;
		word = query_word(query, i) & mask_of(i, from, end);
		if (word) {
			first = i * WORD + (unsigned)__builtin_ctzll(word);
			break;
		}
	}
	if (max < end - first)
		end = first + max;
	for (uint64_t i = first / WORD; i * WORD < end; i++) {
		word = ~query_word(query, i) & mask_of(i, first, end);
		if (word) {
			last = i * WORD + (unsigned)__builtin_ctzll(word);
			*ret_run_end = last;
			return first;
		}
	}
	*ret_run_end = end;
	return first;
}

void wt_pageset_words(const struct wt_pageset *set, uint64_t first, uint64_t count, uint64_t *ret_words)
{
	assert(first % WORD == 0 && first <= set->bits && count <= set->bits - first);
	for (uint64_t i = first / WORD; i * WORD < first + count; i++)
		*ret_words++ = set->words[i] & mask_of(i, first, first + count);
}

bool wt_pageset_valid(const struct wt_pageset *set)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < word_count(set); i++) {
		count += (unsigned)__builtin_popcountll(set->words[i]);
		if ((set->words[i] != 0) != (set->summary[i / WORD] >> (i % WORD) & 1))
			return false;
	}
	return count == set->count;
}

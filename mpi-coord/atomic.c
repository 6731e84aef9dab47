/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * atomic.c - atomic operations by the processor's instructions, sequentially consistent. Pure but for the
 * memory.
 */
#include "atomic.h"

#include <stdbool.h>

/* The value that goes in place of `old`. */
static uint64_t next(const struct wt_frame_word *word, uint64_t old)
{
	bool less =
		word->bytes == 4 ? (int32_t)word->value < (int32_t)old : (int64_t)word->value < (int64_t)old;

	uint64_t expected = word->bytes == 4 ? (uint32_t)word->other : word->other;

	switch (word->tag) {
	case WT_ATOMIC_ADD:
		return old + word->value;
	case WT_ATOMIC_AND:
		return old & word->value;
	case WT_ATOMIC_OR:
		return old | word->value;
	case WT_ATOMIC_XOR:
		return old ^ word->value;
	case WT_ATOMIC_SWAP:
		return word->value;
	case WT_ATOMIC_MIN:
		return less ? word->value : old;
	case WT_ATOMIC_MAX:
		return less ? old : word->value;
	case WT_ATOMIC_CSWAP:
		return old == expected ? word->value : old;
	default:
		return old;
	}
}

static uint64_t apply_32(const struct wt_frame_word *word, uint32_t *memory)
{
	uint32_t old = __atomic_load_n(memory, __ATOMIC_SEQ_CST);

	while (!__atomic_compare_exchange_n(
		memory, &old, (uint32_t)next(word, old), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
	return old;
}

static uint64_t apply_64(const struct wt_frame_word *word, uint64_t *memory)
{
	uint64_t old = __atomic_load_n(memory, __ATOMIC_SEQ_CST);

	while (!__atomic_compare_exchange_n(
		memory, &old, next(word, old), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
	return old;
}

uint64_t wt_atomic_apply(const struct wt_frame_word *word, void *memory)
{
	return word->bytes == 4 ? apply_32(word, memory) : apply_64(word, memory);
}

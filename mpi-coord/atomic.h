/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * atomic.h - atomic operations that another rank asks for, on our memory.
 */
#ifndef WATARI_MPI_ATOMIC_H
#define WATARI_MPI_ATOMIC_H

#include "frame.h"

enum wt_atomic_op {
	WT_ATOMIC_INVALID = 0,
	WT_ATOMIC_ADD,
	WT_ATOMIC_AND,
	WT_ATOMIC_OR,
	WT_ATOMIC_XOR,
	WT_ATOMIC_SWAP,
	WT_ATOMIC_MIN, /* signed */
	WT_ATOMIC_MAX,
	WT_ATOMIC_CSWAP, /* value replaces `other` */
};

/*
 * Does word's operation (tag, value, other) on the word->bytes (4 or 8) bytes at memory, which are aligned;
 * answers what was there before. An unknown operation changes nothing.
 */
uint64_t wt_atomic_apply(const struct wt_frame_word *word, void *memory);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * skip_plan.c - see skip_plan.h.
 *
 * Both functions walk the write in the same pieces: the longest runs within one iovec that are either sent or
 * left out as a whole.
 */
#include "skip_plan.h"

#include <stdbool.h>

/* A place in a write. */
struct walk {
	struct skip_ranges ranges;
	const struct iovec *list;
	size_t count, index, offset;
};

struct piece {
	uint8_t *base;
	size_t length;
	bool skip;
};

/* The run that begins at address: its length, at most `length`, and whether it is left out. */
static struct piece piece_at(struct skip_ranges ranges, uint8_t *base, size_t length)
{
	const uint64_t address = (uint64_t)(uintptr_t)base;

	for (unsigned i = 0; i < ranges.count; i++) {
		const struct skip_range *r = &ranges.list[i];
		bool inside = address >= r->address;
		uint64_t left;

		if (inside && address - r->address >= r->length)
			continue; /* behind it */
		left = inside ? r->length - (address - r->address) : r->address - address;
		return (struct piece){ base, left < length ? (size_t)left : length, inside };
	}
	return (struct piece){ base, length, false };
}

/* false: the write has ended. */
static bool next(struct walk *w, struct piece *ret_piece)
{
	while (w->index < w->count && w->offset == w->list[w->index].iov_len) {
		w->index++;
		w->offset = 0;
	}
	if (w->index == w->count)
		return false;
	*ret_piece = piece_at(w->ranges, (uint8_t *)w->list[w->index].iov_base + w->offset,
		w->list[w->index].iov_len - w->offset);
	w->offset += ret_piece->length;
	return true;
}

void skip_plan_make(struct skip_ranges ranges, const struct iovec *list, size_t count, uint64_t budget,
	struct skip_plan *ret_plan)
{
	struct walk w = { .ranges = ranges, .list = list, .count = count };
	struct piece piece;

	ret_plan->send_count = 0;
	ret_plan->send_bytes = ret_plan->skip_bytes = 0;
	ret_plan->page = NULL;
	while (next(&w, &piece)) {
		if (!piece.skip) {
			if (ret_plan->send_count == SKIP_PIECES_MAX)
				return;
			ret_plan->send[ret_plan->send_count++] =
				(struct iovec){ .iov_base = piece.base, .iov_len = piece.length };
			ret_plan->send_bytes += piece.length;
			continue;
		}
		if (piece.length > budget - ret_plan->skip_bytes) {
			ret_plan->skip_bytes = (size_t)budget;
			return;
		}
		if (!ret_plan->page && piece.length >= SKIP_PAGE_BYTES &&
			(uintptr_t)piece.base % SKIP_PAGE_BYTES == 0)
			ret_plan->page = piece.base;
		ret_plan->skip_bytes += piece.length;
	}
}

size_t skip_plan_done(struct skip_ranges ranges, const struct iovec *list, size_t count,
	const struct skip_plan *plan, size_t sent, size_t *ret_skipped)
{
	struct walk w = { .ranges = ranges, .list = list, .count = count };
	size_t left = sent, skip_left = plan->skip_bytes;
	struct piece piece;

	while (next(&w, &piece)) {
		size_t *budget = piece.skip ? &skip_left : &left;
		size_t n = piece.length < *budget ? piece.length : *budget;

		*budget -= n;
		if (n < piece.length)
			break;
	}
	*ret_skipped = plan->skip_bytes - skip_left;
	return sent - left + *ret_skipped;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica_guest.h - the guest of transfer_guest.h, of whose memory there is an old copy.
 */
#ifndef WT_TEST_REPLICA_GUEST_H
#define WT_TEST_REPLICA_GUEST_H

#include "transfer_guest.h"

/* The old copy. */
static struct {
	uint8_t *blocks[WORLD_BLOCKS]; /* NULL: there is no copy of this one */
} copy;

/* A guest whose memory is not zero, a copy of it as it is, and a session. */
static inline void begin_with_copy(uint64_t first_mib)
{
	world_open(&w, first_mib, 20 * SECOND_NS);
	for (unsigned b = 0; b < WORLD_BLOCKS; b++) {
		uint64_t pages = w.blocks[b].length >> WT_PAGE_SHIFT;

		for (uint64_t page = 0; page < pages; page += 100)
			write_pages(&(struct wt_extent){ .block = b,
					    .page = page,
					    .pages = pages - page < 100 ? (uint32_t)(pages - page) : 100 },
				seed_below(8) == 0);
		copy.blocks[b] = malloc(w.blocks[b].length);
		memcpy(copy.blocks[b], w.blocks[b].source, w.blocks[b].length);
	}
}

/* As QEMU's first pass: each page once, as it is now. */
static inline void announce_as_it_is(void)
{
	static const uint8_t zero[WT_PAGE_SIZE];

	for (unsigned b = 0; b < WORLD_BLOCKS; b++)
		for (uint64_t page = 0, end; page < w.blocks[b].length >> WT_PAGE_SHIFT; page = end) {
			const uint8_t *base = w.blocks[b].source;
			bool is_zero = !memcmp(base + (page << WT_PAGE_SHIFT), zero, WT_PAGE_SIZE);

			for (end = page;
				end < w.blocks[b].length >> WT_PAGE_SHIFT && end < page + 900 &&
				!memcmp(base + (end << WT_PAGE_SHIFT), zero, WT_PAGE_SIZE) == is_zero;)
				end++;
			announce(b, page, (uint32_t)(end - page),
				is_zero ? WT_CONTENT_ZERO : WT_CONTENT_IN_PLACE);
			while (!announce_rest()) {
				wt_server_flush(w.server);
				check(world_until(&w, has_room));
			}
		}
}

static struct wt_puller_stats puller_stats;

static inline void ask_stats(struct world *u)
{
	wt_puller_stats(u->puller, &puller_stats);
}

static inline void end_equal(void)
{
	check(world_until(&w, guest_is_done));
	check_equal();
	world_call(&w, ask_stats);
	world_close(&w);
	for (unsigned b = 0; b < WORLD_BLOCKS; b++) {
		free(copy.blocks[b]);
		copy.blocks[b] = NULL;
	}
}

#endif

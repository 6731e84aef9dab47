/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transfer_guest.h - the guest of transfer_world.h: writes pages, announces them, and the conditions that
 * tests wait for. Include it in one file of a program, after cmocka.h.
 */
#ifndef WT_TEST_TRANSFER_GUEST_H
#define WT_TEST_TRANSFER_GUEST_H

#include <errno.h>
#include <string.h>

#include "transfer_world.h"

#define EXTENT_BYTES_MAX MIB /* of one announcement with content */
#define ANNOUNCE_PAGES_MAX 1500u
#define PAGE_WORDS (WT_PAGE_SIZE / sizeof(uint64_t))

static struct world w;

/* ---- conditions ---- */

static inline bool is_ready(struct world *u)
{
	return u->ready || u->server_failed;
}

static inline bool has_room(struct world *u)
{
	return wt_server_room(u->server) || u->server_failed;
}

static inline bool has_failed(struct world *u)
{
	return u->server_failed;
}

static inline bool both_failed(struct world *u)
{
	return u->server_failed && u->failed;
}

static inline bool puller_failed(struct world *u)
{
	return u->failed;
}

static inline bool has_landed_all(struct world *u)
{
	wt_server_flush(u->server);
	return wt_server_all_landed(u->server) || u->server_failed;
}

static inline bool is_done(struct world *u)
{
	return u->done || u->server_failed;
}

static inline bool is_back(struct world *u)
{
	return (u->server_back && u->back) || u->server_failed;
}

/* ---- the guest ---- */

/* Races with the server's reads, as a guest does; what is torn is announced again. */
__attribute__((no_sanitize_thread)) static inline void write_pages(const struct wt_extent *e, bool zero)
{
	uint64_t *at = (uint64_t *)(w.blocks[e->block].source + (e->page << WT_PAGE_SHIFT));

	w.version++;
	for (uint64_t i = 0; i < e->pages * PAGE_WORDS; i++)
		at[i] = zero ? 0 : w.version << 32 | i;
}

/* By a buffer that holds other bytes as soon as the server has said what it took. */
static inline int announce_copy(void)
{
	static uint8_t bytes[ANNOUNCE_PAGES_MAX * WT_PAGE_SIZE];
	uint64_t length = (uint64_t)w.rest.pages << WT_PAGE_SHIFT;
	int r;

	check(length <= sizeof bytes);
	memcpy(bytes, w.blocks[w.rest.block].source + (w.rest.page << WT_PAGE_SHIFT), length);
	r = wt_server_announce_copy(w.server, &w.rest, bytes);
	memset(bytes, 0xee, length);
	return r;
}

/* Announces as much of w.rest as there is room for. The bound is checked after every announcement. */
static inline bool announce_rest(void)
{
	struct wt_server_stats stats;
	uint32_t before = w.rest.pages;
	int r;

	r = w.rest_content == WT_CONTENT_STAGED ? announce_copy()
						: wt_server_announce(w.server, &w.rest, w.rest_content);
	check(r == 0 || r == -EAGAIN);
	w.back_pressure += r != 0;
	wt_server_stats(w.server, &stats);
	check(w.rest.pages == before || stats.pending_bytes < stats.pending_limit + EXTENT_BYTES_MAX);
	return r == 0;
}

static inline void announce(uint32_t block, uint64_t page, uint32_t pages, enum wt_content content)
{
	check(w.rest.pages == 0);
	w.rest = (struct wt_extent){ .block = block, .page = page, .pages = pages };
	w.rest_content =
		content == WT_CONTENT_IN_PLACE && w.hidden >> block & 1 ? WT_CONTENT_STAGED : content;
}

static inline void count_message(void)
{
	unsigned number = w.messages_sent + 1;

	if (wt_server_send(w.server, MESSAGE_COUNTED, &number, sizeof number) == 0)
		w.messages_sent = number;
}

static inline void random_write(void)
{
	struct wt_extent e = { .block = (uint32_t)seed_below(WORLD_BLOCKS) };
	uint64_t pages = w.blocks[e.block].length >> WT_PAGE_SHIFT;
	bool zero = seed_below(4) == 0;

	e.page = seed_below(pages);
	e.pages = 1 + (uint32_t)seed_below(seed_below(4) ? 8 : 700);
	if (e.pages > pages - e.page)
		e.pages = (uint32_t)(pages - e.page);
	write_pages(&e, zero);
	announce(e.block, e.page, e.pages, zero ? WT_CONTENT_ZERO : WT_CONTENT_IN_PLACE);
}

/* Runs in every turn of the server's loop: writes and announces while there is room, then says END once. */
static inline bool guest_is_done(struct world *u)
{
	for (unsigned i = 0; i < 64 && !u->done && !u->server_failed; i++) {
		if (u->rest.pages && !announce_rest())
			break;
		if (u->writes_left == 0)
			break;
		if (--u->writes_left == 0) {
			if (wt_server_send(u->server, MESSAGE_END, NULL, 0))
				u->writes_left++;
			break;
		}
		random_write();
		if (seed_below(16) == 0)
			count_message();
	}
	wt_server_flush(u->server);
	return is_done(u);
}

/* All memory once, as the first round of a migration; zero extents over dirty destination memory too. */
static inline void announce_all(bool first)
{
	for (uint32_t b = 0; b < WORLD_BLOCKS; b++) {
		uint64_t pages = w.blocks[b].length >> WT_PAGE_SHIFT;

		for (uint64_t page = 0; page < pages;) {
			uint32_t n = 1 + (uint32_t)seed_below(ANNOUNCE_PAGES_MAX);
			bool zero = seed_below(3) == 0;
			struct wt_extent e = { .block = b, .page = page, .pages = n };

			if (e.pages > pages - page)
				e.pages = (uint32_t)(pages - page);
			page += e.pages;
			if (!zero || !first)
				write_pages(&e, zero);
			if (first && seed_below(2)) /* old content at the destination */
				memset(w.blocks[b].mine + (e.page << WT_PAGE_SHIFT), 0x5a,
					(uint64_t)e.pages << WT_PAGE_SHIFT);
			announce(b, e.page, e.pages, zero ? WT_CONTENT_ZERO : WT_CONTENT_IN_PLACE);
			while (!announce_rest()) {
				wt_server_flush(w.server);
				check(world_until(&w, has_room));
			}
		}
	}
}

static inline void check_equal(void)
{
	if (w.server_failed)
		print_error("the server failed: %s\n", wt_error_text(&w.server_error));
	check(!w.server_failed && !w.failed);
	check(wt_server_all_landed(w.server));
	for (unsigned b = 0; b < WORLD_BLOCKS; b++)
		check(memcmp(w.blocks[b].source, w.blocks[b].mine, w.blocks[b].length) == 0);
}

static inline void begin(uint64_t first_mib, uint64_t give_up_ns)
{
	world_open(&w, first_mib, give_up_ns);
	world_serve(&w, "vm");
	check(world_until(&w, is_ready));
	if (w.server_failed)
		print_error("the server failed: %s\n", wt_error_text(&w.server_error));
	check(w.ready == 1);
}

/* A test that failed leaves its threads and sockets behind: the next ones would not mean anything. */
static inline int abandon(void **state)
{
	if (!w.loop)
		return 0;
	print_error(
		"server: ready %u lost %u back %u failed %u %s; puller: lost %u back %u failed %u %s; done %u\n",
		w.ready, w.server_lost, w.server_back, w.server_failed, w.server_error.text, w.lost, w.back,
		w.failed, w.puller_error.text, w.done);
	print_error("%s: the tests behind this one are left out\n", __FILE__);
	_exit(1);
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_server_warm.c - page server and puller together: memory that was pulled before anybody tracked what
 * changes. What it is worth afterwards is decided by digests alone, and memory is equal in the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* A page may be pulled again while it is digested ahead: such a digest is thrown away. */
#define WORLD_RACES "race:all_zero\n"
#include "replica_guest.h"

/* The old copy is the puller's own memory. */
static int read_own(void *arg, uint32_t block, uint64_t page, uint32_t pages, void *ret_bytes)
{
	size_t length = (size_t)pages << WT_PAGE_SHIFT;

	return pread(w.blocks[block].mine_fd, ret_bytes, length, (off_t)(page << WT_PAGE_SHIFT)) ==
			       (ssize_t)length
		       ? 0
		       : -EIO;
}

static const struct wt_puller_replica own = { .read = read_own, .in_place = true };

/* A guest with content in its memory, and a session that is warming up. */
static void warm_up(uint64_t first_mib)
{
	world_open(&w, first_mib, 20 * SECOND_NS);
	for (unsigned b = 0; b < WORLD_BLOCKS; b++) {
		uint64_t pages = w.blocks[b].length >> WT_PAGE_SHIFT;

		for (uint64_t page = 0; page < pages; page += 50)
			write_pages(&(struct wt_extent){ .block = b,
					    .page = page,
					    .pages = pages - page < 40 ? (uint32_t)(pages - page) : 40 },
				false);
	}
	w.replica = &own;
	world_serve(&w, "vm");
	check(world_until(&w, is_ready));
	check(w.ready == 1);
	assert_int_equal(wt_server_warm(w.server, false), -EINVAL);
	assert_int_equal(wt_server_warm(w.server, true), 0);
	announce_as_it_is();
	w.writes_left = 0;
}

static void cool_down(void)
{
	check(world_until(&w, has_landed_all));
	assert_int_equal(wt_server_warm(w.server, false), 0);
}

static uint64_t ahead_wanted;
static struct wt_puller_stats ahead_stats;

static void look_at_puller(struct world *u)
{
	wt_puller_stats(u->puller, &ahead_stats);
}

static bool is_digested_ahead(struct world *u)
{
	world_call(u, look_at_puller);
	return ahead_stats.ahead_pages >= ahead_wanted;
}

static uint64_t content_pages(const struct wt_server_stats *stats)
{
	return stats->announced_pages - stats->zero_pages;
}

/* Among what the guest has written meanwhile are zeros where content was, and content where zeros were. */
static void test_only_what_has_changed_is_pulled_again(void **state)
{
	uint64_t pages = 48 * MIB >> WT_PAGE_SHIFT, changed = 0, zeroed = 0;
	struct wt_server_stats warm, stats;

	seed_start(1);
	warm_up(48);
	wt_server_stats(w.server, &warm);
	assert_int_equal(warm.warm_pages, 0);
	assert_int_equal(wt_server_warm(w.server, false), -EAGAIN); /* not all of it has landed */
	cool_down();
	ahead_wanted = content_pages(&warm); /* in idle time, each page once */
	check(world_until(&w, is_digested_ahead));
	for (uint64_t page = 3; page < pages; page += 50, changed++)
		write_pages(&(struct wt_extent){ .page = page, .pages = 1 }, false);
	for (uint64_t page = 49; page < pages; page += 100, changed++)
		write_pages(&(struct wt_extent){ .page = page, .pages = 1 }, false);
	for (uint64_t page = 5; page < pages; page += 100, zeroed++)
		write_pages(&(struct wt_extent){ .page = page, .pages = 1 }, true);
	announce_as_it_is();
	w.writes_left = 1;
	check(world_until(&w, guest_is_done));
	wt_server_stats(w.server, &stats);
	end_equal();
	assert_int_equal(stats.warm_pages, content_pages(&warm));
	assert_int_equal(stats.digested_pages, content_pages(&stats));
	assert_int_equal(puller_stats.pulled_pages, stats.warm_pages + changed);
	assert_int_equal(puller_stats.replica_pages, content_pages(&stats) - changed);
	assert_int_equal(puller_stats.ahead_pages, stats.warm_pages);
	check(puller_stats.ahead_used > stats.warm_pages / 2);
	check(changed > 100 && zeroed > 100 && !w.replica_lost);
}

/* What changed since, and is announced by nobody, is not there: the warm-up is believed nowhere, and repaired
 * by nothing but an announcement. */
static void test_a_page_that_changed_must_be_announced(void **state)
{
	const uint64_t at = 7 * WT_PAGE_SIZE;

	seed_start(2);
	warm_up(16);
	cool_down();
	announce_as_it_is();
	check(world_until(&w, has_landed_all));
	write_pages(&(struct wt_extent){ .page = 7, .pages = 1 }, false);
	check(memcmp(w.blocks[0].source, w.blocks[0].mine, at) == 0);
	check(memcmp(w.blocks[0].source + at, w.blocks[0].mine + at, WT_PAGE_SIZE) != 0);
	announce(0, 7, 1, WT_CONTENT_IN_PLACE);
	check(announce_rest());
	w.writes_left = 1;
	end_equal();
}

/* As write_pages does. */
__attribute__((no_sanitize_thread)) static void write_page(uint64_t page, const uint8_t *bytes)
{
	volatile uint64_t *at = (volatile uint64_t *)(w.blocks[0].source + (page << WT_PAGE_SHIFT));

	for (uint64_t i = 0; i < PAGE_WORDS; i++)
		at[i] = ((const uint64_t *)bytes)[i];
}

/* Writes page and announces it, until it has landed. */
static void put(uint64_t page, const uint8_t *bytes)
{
	static const uint8_t zero[WT_PAGE_SIZE];

	write_page(page, bytes);
	announce(0, page, 1, memcmp(bytes, zero, sizeof zero) ? WT_CONTENT_IN_PLACE : WT_CONTENT_ZERO);
	check(announce_rest());
	check(world_until(&w, has_landed_all));
}

/* A digest that was made ahead is of what was there before: it must not be found right once the guest has
 * written the same bytes again, over others that were pulled. */
static void test_back_to_what_it_was(void **state)
{
	static _Alignas(uint64_t) uint8_t before[WT_PAGE_SIZE], other[WT_PAGE_SIZE], zero[WT_PAGE_SIZE];
	struct wt_server_stats warm;

	seed_start(4);
	warm_up(16);
	cool_down();
	wt_server_stats(w.server, &warm);
	ahead_wanted = content_pages(&warm);
	check(world_until(&w, is_digested_ahead));
	announce_as_it_is();
	check(world_until(&w, has_landed_all));
	memset(other, 0x77, sizeof other);
	for (uint64_t page = 3; page < 30; page++) {
		memcpy(before, w.blocks[0].source + (page << WT_PAGE_SHIFT), sizeof before);
		put(page, page & 1 ? other : zero);
		put(page, before);
	}
	w.writes_left = 1;
	end_equal();
	check(puller_stats.ahead_used > warm.announced_pages / 3);
}

/* The guest writes all the time, unseen as long as it is warming up; and connections are cut. */
static void random_run(void)
{
	warm_up(32);
	if (seed_below(2))
		proxy_rule(&w.proxy, PROXY_CONTROL, true, false, false);
	for (unsigned i = 0; i < 300; i++) {
		random_write();
		w.rest.pages = 0;
	}
	cool_down();
	for (unsigned i = 0; i < 100; i++) {
		random_write();
		w.rest.pages = 0;
	}
	announce_as_it_is();
	w.writes_left = 1000;
	end_equal();
	check(puller_stats.replica_pages > 100);
}

static void test_while_the_guest_writes(void **state)
{
	seed_runs(4, random_run);
}

static void test_without_digests(void **state)
{
	struct wt_server_stats stats;

	seed_start(3);
	world_open(&w, 16, 20 * SECOND_NS);
	w.replica = &own;
	world_serve(&w, "vm");
	check(world_until(&w, is_ready));
	wt_server_stats(w.server, &stats);
	check(stats.digests);
	wt_server_no_digests(w.server);
	announce_all(true);
	assert_int_equal(wt_server_warm(w.server, true), -EINVAL); /* too late */
	w.writes_left = 500;
	check(world_until(&w, guest_is_done));
	wt_server_stats(w.server, &stats);
	end_equal();
	check(!stats.digests && !stats.digested_pages && !puller_stats.replica_pages);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_only_what_has_changed_is_pulled_again, abandon),
		cmocka_unit_test_teardown(test_a_page_that_changed_must_be_announced, abandon),
		cmocka_unit_test_teardown(test_back_to_what_it_was, abandon),
		cmocka_unit_test_teardown(test_while_the_guest_writes, abandon),
		cmocka_unit_test_teardown(test_without_digests, abandon),
	};

	cmocka_set_test_filter(getenv("WATARI_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}

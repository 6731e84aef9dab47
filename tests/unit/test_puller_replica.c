/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_puller_replica.c - page server and puller together, and the puller has an old copy: what is the same
 * there is not pulled, memory is equal in the end, whatever the copy is worth.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "transfer_guest.h"

/* The old copy. */
static struct {
	uint8_t *blocks[WORLD_BLOCKS]; /* NULL: there is no copy of this one */
	atomic_int reads, reads_max;   /* then it cannot be read any more; 0: for ever */
} copy;

static int read_copy(void *arg, uint32_t block, uint64_t page, uint32_t pages, void *ret_bytes)
{
	int reads = ++copy.reads;

	if (!copy.blocks[block])
		return -ENOENT;
	if (copy.reads_max && reads > copy.reads_max)
		return -EIO;
	memcpy(ret_bytes, copy.blocks[block] + (page << WT_PAGE_SHIFT), (size_t)pages << WT_PAGE_SHIFT);
	return 0;
}

static const struct wt_puller_replica replica = { .read = read_copy };

/* A guest whose memory is not zero, a copy of it as it is, and a session. */
static void begin_with_copy(uint64_t first_mib)
{
	copy.reads = 0;
	copy.reads_max = 0;
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

static void serve(void)
{
	w.replica = &replica;
	world_serve(&w, "vm");
	check(world_until(&w, is_ready));
	check(w.ready == 1);
}

/* As QEMU's first pass: each page once, as it is now. */
static void announce_as_it_is(void)
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

static void ask_stats(struct world *u)
{
	wt_puller_stats(u->puller, &puller_stats);
}

static void end_equal(void)
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

static void test_only_what_differs_is_pulled(void **state)
{
	uint64_t pages = 48 * MIB >> WT_PAGE_SHIFT, changed = 0;
	struct wt_server_stats stats;

	seed_start(1);
	begin_with_copy(48);
	for (uint64_t page = 7; page < pages; page += 100, changed++)
		write_pages(&(struct wt_extent){ .page = page, .pages = 1 }, false);
	serve();
	announce_as_it_is();
	wt_server_flush(w.server);
	w.writes_left = 1;
	check(world_until(&w, guest_is_done));
	wt_server_stats(w.server, &stats);
	end_equal();
	assert_int_equal(puller_stats.pulled_pages, changed);
	assert_int_equal(stats.digested_pages, stats.announced_pages - stats.zero_pages);
	assert_int_equal(puller_stats.digested_pages, stats.digested_pages);
	assert_int_equal(puller_stats.replica_pages, stats.digested_pages - changed);
	check(!w.replica_lost);
	print_message("%llu pages, %llu pulled, %llu bytes of control\n",
		(unsigned long long)stats.announced_pages, (unsigned long long)puller_stats.pulled_pages,
		(unsigned long long)stats.control_bytes);
	check(stats.control_bytes < stats.announced_pages * 4096 / 100);
}

/* The guest writes all the time, and the connections are cut. */
static void random_run(void)
{
	begin_with_copy(32);
	for (unsigned i = 0; i < 300; i++) {
		random_write();
		w.rest.pages = 0;
	}
	serve();
	announce_as_it_is();
	w.writes_left = 1000;
	if (seed_below(2))
		proxy_rule(&w.proxy, PROXY_CONTROL, true, false, false);
	end_equal();
	check(puller_stats.replica_pages > 100);
}

static void test_while_the_guest_writes(void **state)
{
	seed_runs(4, random_run);
}

/* Nothing of it is right; one block has none. */
static void test_a_copy_of_another_guest(void **state)
{
	seed_start(3);
	begin_with_copy(16);
	free(copy.blocks[1]);
	copy.blocks[1] = NULL;
	for (uint64_t i = 0; i < w.blocks[0].length; i += 512)
		copy.blocks[0][i] ^= 0x80;
	memset(copy.blocks[2], 0x77, w.blocks[2].length);
	serve();
	announce_as_it_is();
	w.writes_left = 500;
	end_equal();
	assert_int_equal(puller_stats.replica_pages, 0);
	check(!w.replica_lost && puller_stats.digested_pages > 100);
}

static void test_a_copy_that_cannot_be_read(void **state)
{
	seed_start(4);
	begin_with_copy(64);
	copy.reads_max = 20;
	serve();
	announce_as_it_is();
	w.writes_left = 500;
	end_equal();
	check(puller_stats.replica_pages > 0 && puller_stats.pulled_pages > 4000);
	assert_int_equal(w.replica_lost, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_only_what_differs_is_pulled, abandon),
		cmocka_unit_test_teardown(test_while_the_guest_writes, abandon),
		cmocka_unit_test_teardown(test_a_copy_of_another_guest, abandon),
		cmocka_unit_test_teardown(test_a_copy_that_cannot_be_read, abandon),
	};

	cmocka_set_test_filter(getenv("WATARI_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}

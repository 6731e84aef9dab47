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

#include "replica_guest.h"

static atomic_int copy_reads, copy_reads_max; /* then it cannot be read any more; 0: for ever */

static int read_copy(void *arg, uint32_t block, uint64_t page, uint32_t pages, void *ret_bytes)
{
	int reads = ++copy_reads;

	if (!copy.blocks[block])
		return -ENOENT;
	if (copy_reads_max && reads > copy_reads_max)
		return -EIO;
	memcpy(ret_bytes, copy.blocks[block] + (page << WT_PAGE_SHIFT), (size_t)pages << WT_PAGE_SHIFT);
	return 0;
}

static const struct wt_puller_replica replica = { .read = read_copy };

static void serve(void)
{
	w.replica = &replica;
	world_serve(&w, "vm");
	check(world_until(&w, is_ready));
	check(w.ready == 1);
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
	copy_reads = 0;
	copy_reads_max = 20;
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

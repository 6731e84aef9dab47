/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_announce.c - the announce log: numbering, the pending queue out of order, the bounds, the maps, the
 * ring's free end, the rate; small cases and random runs against a list.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "announce.h"
#include "seed.h"

#define MS 1000000ull
#define BLOCKS 3
#define PAGES_MAX 6000
#define SEQS_MAX 30000

static const uint64_t block_pages[BLOCKS] = { 6000, 1, 130 };

static struct {
	struct wt_announcement what[SEQS_MAX];
	bool landed[SEQS_MAX];
	uint64_t next_seq, oldest, pending_bytes, staged_free, staged_next;
	bool announced[BLOCKS][PAGES_MAX], zero[BLOCKS][PAGES_MAX];
} m;

static struct wt_memory *memory;

static struct wt_announce_log *open_log(void)
{
	struct wt_error err = { 0 };
	struct wt_announce_log *log;

	memset(&m, 0, sizeof m);
	m.next_seq = m.oldest = 1;
	check(wt_memory_open(&memory, &err) == 0);
	for (int i = 0; i < BLOCKS; i++)
		check(wt_memory_block_add(memory, "b", NULL, block_pages[i] * WT_PAGE_SIZE, -1, 0, &err) ==
			i);
	check(wt_announce_open(memory, &log) == 0);
	return log;
}

static void close_log(struct wt_announce_log *log)
{
	wt_announce_close(log);
	wt_memory_close(memory);
}

static uint64_t bytes_of(const struct wt_announcement *what)
{
	return what->content == WT_CONTENT_ZERO ? 0 : (uint64_t)what->extent.pages * WT_PAGE_SIZE;
}

static void check_log(const struct wt_announce_log *log)
{
	while (m.oldest < m.next_seq && m.landed[m.oldest]) {
		const struct wt_announcement *what = &m.what[m.oldest++];

		if (what->content == WT_CONTENT_STAGED)
			m.staged_free = what->staged_offset + bytes_of(what);
	}
	check(wt_announce_oldest(log) == m.oldest);
	check(wt_announce_next_seq(log) == m.next_seq);
	check(wt_announce_pending_bytes(log) == m.pending_bytes);
	check(wt_announce_staged_free(log) == m.staged_free);
	check(wt_announce_pending_limit(log) >= WT_PENDING_MIN);
	check(wt_announce_pending_limit(log) <= WT_LIMIT_PENDING_BYTES);
	check(wt_announce_room(log) == (m.next_seq - m.oldest < WT_LIMIT_PENDING_ENTRIES &&
					       m.pending_bytes < wt_announce_pending_limit(log)));
}

/* What is kept of announcements that are not all landed. */
static void check_entries(const struct wt_announce_log *log)
{
	for (uint64_t seq = m.oldest; seq < m.next_seq; seq++) {
		struct wt_announcement what;

		check(wt_announce_entry(log, seq, &what) == !m.landed[seq]);
		check(what.extent.block == m.what[seq].extent.block &&
			what.extent.page == m.what[seq].extent.page &&
			what.extent.pages == m.what[seq].extent.pages && what.content == m.what[seq].content);
	}
}

static void check_maps(void)
{
	for (unsigned b = 0; b < BLOCKS; b++)
		for (uint64_t p = 0; p < block_pages[b]; p++) {
			check(wt_bitmap_test(wt_memory_announced(memory, b), p) == m.announced[b][p]);
			check(wt_bitmap_test(wt_memory_zero(memory, b), p) == m.zero[b][p]);
		}
}

static void add_random(struct wt_announce_log *log, uint64_t now_ns)
{
	struct wt_announcement what = { .content = (enum wt_content)(1 + seed_below(3)) };
	struct wt_extent *e = &what.extent;
	bool room = wt_announce_room(log);
	uint64_t seq = 0;
	int r;

	e->block = (uint32_t)seed_below(BLOCKS);
	e->page = seed_below(block_pages[e->block]);
	e->pages = 1 + (uint32_t)seed_below(block_pages[e->block] - e->page);
	if (e->pages > 256)
		e->pages = 256;
	what.staged_offset = m.staged_next;
	r = wt_announce_add(log, &what, now_ns, &seq);
	check(r == (room ? 0 : -EAGAIN));
	if (r) {
		check(seq == 0);
		return;
	}
	check(seq == m.next_seq && m.next_seq < SEQS_MAX);
	m.what[m.next_seq++] = what;
	m.pending_bytes += bytes_of(&what);
	if (what.content == WT_CONTENT_STAGED)
		m.staged_next += bytes_of(&what);
	memset(&m.announced[e->block][e->page], 1, e->pages);
	memset(&m.zero[e->block][e->page], what.content == WT_CONTENT_ZERO, e->pages);
}

static void land_random(struct wt_announce_log *log, uint64_t now_ns)
{
	uint64_t first = m.oldest, count = 0;

	if (m.oldest == m.next_seq)
		return;
	first += seed_below(m.next_seq - m.oldest < 40 ? m.next_seq - m.oldest : 40);
	while (first + count < m.next_seq && !m.landed[first + count] && seed_below(4))
		m.landed[first + count++] = true;
	for (uint64_t i = 0; i < count; i++)
		m.pending_bytes -= bytes_of(&m.what[first + i]);
	check(wt_announce_landed(log, first, count, now_ns) == 0);
}

static void random_run(void)
{
	struct wt_announce_log *log = open_log();
	uint64_t now_ns = seed_below(1000) * MS;
	unsigned adds = 1 + (unsigned)seed_below(4);

	for (unsigned step = 0; step < 4000; step++) {
		now_ns += seed_below(2 * MS);
		if (seed_below(5) < adds)
			add_random(log, now_ns);
		else
			land_random(log, now_ns);
		check_log(log);
	}
	check_maps();
	check_entries(log);
	close_log(log);
}

static void test_random_against_a_list(void **state)
{
	seed_runs(60, random_run);
}

static int add(struct wt_announce_log *log, uint64_t page, uint32_t pages, enum wt_content content)
{
	struct wt_announcement what = { .extent = { .page = page, .pages = pages }, .content = content };
	uint64_t seq;

	return wt_announce_add(log, &what, 0, &seq);
}

/* A late acknowledgement of a page's first announcement leaves its second one pending. */
static void test_landed_goes_by_number_not_by_page(void **state)
{
	struct wt_announce_log *log = open_log();

	assert_int_equal(add(log, 7, 1, WT_CONTENT_IN_PLACE), 0);
	assert_int_equal(add(log, 7, 1, WT_CONTENT_IN_PLACE), 0);
	assert_int_equal(wt_announce_landed(log, 2, 1, MS), 0);
	assert_int_equal(wt_announce_oldest(log), 1);
	assert_int_equal(wt_announce_pending_bytes(log), WT_PAGE_SIZE);
	assert_int_equal(wt_announce_landed(log, 1, 1, MS), 0);
	assert_int_equal(wt_announce_oldest(log), 3);
	close_log(log);
}

static void test_hostile_acknowledgements(void **state)
{
	static const struct {
		uint64_t first, count;
	} bad[] = { { 0, 1 }, { 1, 5 }, { 5, 1 }, { 6, 0 }, { 4, 2 }, { 2, UINT64_MAX }, { UINT64_MAX, 1 },
		{ UINT64_MAX, UINT64_MAX }, { 3, UINT64_MAX - 2 } };
	struct wt_announce_log *log = open_log();

	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(add(log, i, 1, WT_CONTENT_IN_PLACE), 0);
	assert_int_equal(wt_announce_landed(log, 2, 1, 0), 0);
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(wt_announce_landed(log, bad[i].first, bad[i].count, 0), -EPROTO);
		assert_int_equal(wt_announce_oldest(log), 1);
	}
	assert_int_equal(wt_announce_landed(log, 2, 1, 0), -EPROTO); /* twice */
	assert_int_equal(wt_announce_landed(log, 5, 0, 0), 0);
	assert_int_equal(wt_announce_landed(log, 1, 1, 0), 0);
	assert_int_equal(wt_announce_landed(log, 1, 1, 0), -EPROTO); /* gone */
	assert_int_equal(wt_announce_oldest(log), 3);
	close_log(log);
}

static void test_extents_outside_are_refused(void **state)
{
	struct wt_announce_log *log = open_log();
	struct wt_announcement what = { .extent = { .block = BLOCKS, .pages = 1 },
		.content = WT_CONTENT_ZERO };
	uint64_t seq;

	assert_int_equal(wt_announce_add(log, &what, 0, &seq), -EINVAL);
	what.extent.block = UINT32_MAX;
	assert_int_equal(wt_announce_add(log, &what, 0, &seq), -EINVAL);
	assert_int_equal(add(log, 0, 0, WT_CONTENT_ZERO), -EINVAL);
	assert_int_equal(add(log, 6000, 1, WT_CONTENT_ZERO), -EINVAL);
	assert_int_equal(add(log, 5999, 2, WT_CONTENT_ZERO), -EINVAL);
	assert_int_equal(add(log, 1, UINT32_MAX, WT_CONTENT_ZERO), -EINVAL);
	assert_int_equal(add(log, UINT64_MAX, 2, WT_CONTENT_ZERO), -EINVAL);
	assert_int_equal(wt_announce_next_seq(log), 1);
	close_log(log);
}

static void test_both_bounds(void **state)
{
	struct wt_announce_log *log = open_log();
	unsigned count = 0;

	while (add(log, 0, 256, WT_CONTENT_IN_PLACE) == 0)
		count++;
	assert_int_equal(count, WT_PENDING_MIN / (256 * WT_PAGE_SIZE));
	assert_int_equal(add(log, 0, 1, WT_CONTENT_ZERO), -EAGAIN);
	close_log(log);

	log = open_log();
	for (count = 0; add(log, 0, 256, WT_CONTENT_ZERO) == 0; count++)
		;
	assert_int_equal(count, WT_LIMIT_PENDING_ENTRIES);
	assert_int_equal(wt_announce_landed(log, 2, WT_LIMIT_PENDING_ENTRIES - 1, MS), 0);
	assert_false(wt_announce_room(log)); /* the oldest one keeps its slot, and with it all others */
	assert_int_equal(wt_announce_landed(log, 1, 1, MS), 0);
	assert_true(wt_announce_room(log));
	assert_int_equal(wt_announce_oldest(log), WT_LIMIT_PENDING_ENTRIES + 1);
	close_log(log);
}

/*
 * Lands at a steady rate while something is pending, each after took_ms, with pauses of idle_ms in which
 * nothing is (took_ms 1 then); answers the limit that results.
 */
static uint64_t limit_at(uint64_t pages_per_ms, uint64_t idle_ms, unsigned took_ms)
{
	struct wt_announce_log *log = open_log();
	uint64_t now_ns = 5000 * MS, seq, limit, at_ns[4001];
	struct wt_announcement what = { .content = WT_CONTENT_IN_PLACE,
		.extent = { .pages = (uint32_t)pages_per_ms } };

	for (unsigned i = 0; i < 4000; i++) {
		if (wt_announce_room(log)) {
			assert_int_equal(wt_announce_add(log, &what, now_ns, &seq), 0);
			at_ns[seq] = now_ns;
		}
		now_ns += MS;
		seq = wt_announce_oldest(log);
		if (seq < wt_announce_next_seq(log) && now_ns - at_ns[seq] >= took_ms * MS)
			assert_int_equal(wt_announce_landed(log, seq, 1, now_ns), 0);
		now_ns += idle_ms * MS;
	}
	limit = wt_announce_pending_limit(log);
	close_log(log);
	return limit;
}

static void test_limit_follows_the_rate(void **state)
{
	assert_int_equal(limit_at(1, 0, 1), WT_PENDING_MIN); /* 4 MB/s */
	/* 1000 pages in a ms: 4.1 GB/s, 20 ms of it: 81.9 MB; idle time does not count */
	assert_in_range(limit_at(1000, 0, 1), 81700000, 82200000);
	assert_in_range(limit_at(1000, 50, 1), 81700000, 82200000);
	assert_in_range(limit_at(200, 3, 1), 16300000, 16450000);
	assert_int_equal(limit_at(5000, 0, 1), WT_LIMIT_PENDING_BYTES);
}

/* What a long round trip needs is allowed, up to 60 ms of the rate. */
static void test_limit_follows_the_round_trip(void **state)
{
	assert_in_range(limit_at(100, 0, 8), 8150000, 8250000);
	assert_in_range(limit_at(100, 0, 20), 16300000, 16450000);
	assert_in_range(limit_at(100, 0, 50), 24500000, 24650000);
}

/* Zeros that land say nothing of the link. */
static void test_zeros_do_not_lower_the_limit(void **state)
{
	struct wt_announce_log *log = open_log();
	struct wt_announcement what = { .content = WT_CONTENT_IN_PLACE, .extent = { .pages = 500 } };
	uint64_t now_ns = MS, seq, limit;

	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(wt_announce_add(log, &what, now_ns, &seq), 0);
		assert_int_equal(wt_announce_landed(log, seq, 1, now_ns += MS), 0);
	}
	limit = wt_announce_pending_limit(log);
	assert_true(limit > 2 * WT_PENDING_MIN);
	what.content = WT_CONTENT_ZERO;
	for (unsigned i = 0; i < 1000; i++) {
		assert_int_equal(wt_announce_add(log, &what, now_ns, &seq), 0);
		assert_int_equal(wt_announce_landed(log, seq, 1, now_ns += MS), 0);
	}
	assert_int_equal(wt_announce_pending_limit(log), limit);
	close_log(log);
}

static void test_priority_of_what_comes_again(void **state)
{
	struct wt_announce_log *log = open_log();
	struct wt_extent e = { .page = 100, .pages = 50 };

	assert_int_equal(wt_announce_priority(log, &e), WT_PRIORITY_BULK);
	assert_int_equal(add(log, 150, 10, WT_CONTENT_ZERO), 0);
	assert_int_equal(wt_announce_priority(log, &e), WT_PRIORITY_BULK);
	assert_int_equal(add(log, 149, 1, WT_CONTENT_ZERO), 0);
	assert_int_equal(wt_announce_priority(log, &e), WT_PRIORITY_DIRTY);
	e = (struct wt_extent){ .block = 2, .page = 100, .pages = 30 };
	assert_int_equal(wt_announce_priority(log, &e), WT_PRIORITY_BULK);
	close_log(log);
}

/* Announces pieces of so many pages as fast as allowed until end_ns; answers the bytes. */
static uint64_t announce_until(
	struct wt_announce_log *log, uint32_t pages, uint64_t *now_ns, uint64_t end_ns, bool precise)
{
	struct wt_announcement what = { .content = WT_CONTENT_IN_PLACE, .extent = { .pages = pages } };
	uint64_t bytes = 0, seq;

	while (*now_ns < end_ns) {
		uint64_t wait_ns = wt_announce_wait_ns(log, *now_ns);

		if (wait_ns) {
			check(wt_announce_add(log, &what, *now_ns, &seq) == -EAGAIN);
			*now_ns += precise ? wait_ns : seed_below(2 * wait_ns) + 1;
			continue;
		}
		check(wt_announce_add(log, &what, *now_ns, &seq) == 0);
		check(wt_announce_landed(log, seq, 1, *now_ns) == 0);
		bytes += bytes_of(&what);
	}
	return bytes;
}

static void rate_run(void)
{
	uint64_t rate = 1 + seed_below(seed_below(2) ? 100000 : 3000000000), now_ns = seed_below(1000) * MS;
	uint64_t start_ns, t_ns = (100 + seed_below(2000)) * MS, bytes, most;
	uint32_t pages = 1 + (uint32_t)seed_below(256);
	struct wt_announce_log *log = open_log();
	bool precise = seed_below(2);

	wt_announce_rate_limit(log, rate, now_ns);
	check(wt_announce_wait_ns(log, now_ns) == 0);
	if (seed_below(2))
		now_ns += 10000 * MS; /* saves up no more than one burst */
	start_ns = now_ns;
	bytes = announce_until(log, pages, &now_ns, start_ns + t_ns, precise);
	most = (uint64_t)((double)rate * (double)(now_ns - start_ns + WT_RATE_BURST_NS) / 1e9) +
	       pages * WT_PAGE_SIZE;
	check((double)bytes <=
		(double)most * 1.001 + 1); /* a nanosecond of each announcement is rounded off */
	if (precise)
		check((double)bytes * 1e9 >= (double)rate * (double)(now_ns - start_ns) * 0.999 - 1e9);
	close_log(log);
}

static void test_rate_limit_is_kept(void **state)
{
	seed_runs(300, rate_run);
}

static void test_rate_limit_changes(void **state)
{
	struct wt_announce_log *log = open_log();
	struct wt_announcement what = { .content = WT_CONTENT_IN_PLACE, .extent = { .pages = 256 } };
	uint64_t now_ns = 7 * MS, seq;

	assert_int_equal(wt_announce_wait_ns(log, now_ns), 0);
	wt_announce_rate_limit(log, MS, now_ns); /* 1 MB/s */
	assert_int_equal(wt_announce_add(log, &what, now_ns, &seq), 0);
	assert_int_equal(wt_announce_wait_ns(log, now_ns), 1048576000);
	assert_int_equal(wt_announce_add(log, &what, now_ns + 1048575999, &seq), -EAGAIN);
	assert_int_equal(wt_announce_wait_ns(log, now_ns + 1048576000), 0);
	what.content = WT_CONTENT_ZERO; /* costs nothing, and need not wait */
	assert_int_equal(wt_announce_add(log, &what, now_ns, &seq), 0);
	assert_int_equal(wt_announce_wait_ns(log, now_ns), 1048576000);
	what.content = WT_CONTENT_STAGED;
	assert_int_equal(wt_announce_add(log, &what, now_ns, &seq), -EAGAIN);
	wt_announce_rate_limit(log, 0, now_ns); /* lifted */
	assert_int_equal(wt_announce_add(log, &what, now_ns, &seq), 0);
	assert_int_equal(wt_announce_wait_ns(log, now_ns), 0);
	wt_announce_rate_limit(log, 1, now_ns); /* no debt of before, and no overflow with the longest extent
						 */
	assert_int_equal(wt_announce_wait_ns(log, now_ns), 0);
	assert_int_equal(wt_announce_add(log, &what, now_ns, &seq), 0);
	assert_int_equal(wt_announce_wait_ns(log, now_ns), 1048576 * 1000000000ull);
	close_log(log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_landed_goes_by_number_not_by_page),
		cmocka_unit_test(test_hostile_acknowledgements),
		cmocka_unit_test(test_extents_outside_are_refused),
		cmocka_unit_test(test_both_bounds),
		cmocka_unit_test(test_limit_follows_the_rate),
		cmocka_unit_test(test_limit_follows_the_round_trip),
		cmocka_unit_test(test_priority_of_what_comes_again),
		cmocka_unit_test(test_rate_limit_is_kept),
		cmocka_unit_test(test_rate_limit_changes),
		cmocka_unit_test(test_zeros_do_not_lower_the_limit),
		cmocka_unit_test(test_random_against_a_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

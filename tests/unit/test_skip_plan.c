/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_skip_plan.c - which bytes of a write are left out, against a model that looks at each byte.
 *
 * Writes are of random pieces inside, outside and across ranges. Each is planned with every sort of budget,
 * and each plan ends after every number of bytes that a socket may take: what is done and what is sent must
 * be what the model says, and going on from there until the write is done must send its bytes, each once and
 * in order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "seed.h"
#include "skip_plan.h"

#define PAGE ((size_t)SKIP_PAGE_BYTES)
#define RAM_BYTES 600u
#define IOVECS_MAX 12u
#define WRITE_MAX (IOVECS_MAX * RAM_BYTES)

static uint8_t ram[RAM_BYTES];
static struct skip_range list[4];
static struct skip_ranges ranges = { .list = list };
static struct iovec write_list[IOVECS_MAX];
static size_t write_count;

static bool left_out(const uint8_t *byte)
{
	for (unsigned i = 0; i < ranges.count; i++)
		if ((uintptr_t)byte >= list[i].address && (uintptr_t)byte - list[i].address < list[i].length)
			return true;
	return false;
}

/* The write as addresses of its bytes. */
static size_t flatten(const struct iovec *iov, size_t count, uint8_t **ret_bytes)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < iov[i].iov_len; k++)
			ret_bytes[n++] = (uint8_t *)iov[i].iov_base + k;
	return n;
}

static void make_write(void)
{
	uint64_t at = (uintptr_t)ram;

	ranges.count = (unsigned)seed_below(5);
	for (unsigned i = 0; i < ranges.count; i++) {
		at += seed_below(60);
		list[i] = (struct skip_range){ at, 1 + seed_below(80) };
		at += list[i].length;
	}
	for (unsigned i = 0; i < RAM_BYTES; i++)
		ram[i] = (uint8_t)seed_next();
	write_count = seed_below(IOVECS_MAX + 1);
	for (size_t i = 0; i < write_count; i++) {
		size_t offset = seed_below(RAM_BYTES);

		write_list[i] = (struct iovec){ ram + offset,
			seed_below(3) ? seed_below(1 + (RAM_BYTES - offset) / 8) : 0 };
	}
}

/* The model: of so many bytes, how many are left out. */
static size_t skipped_of(uint8_t *const *bytes, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += left_out(bytes[i]);
	return n;
}

static void check_plan(const struct skip_plan *plan, uint8_t *const *bytes, size_t length, uint64_t budget)
{
	uint8_t *sent[WRITE_MAX];
	size_t planned = plan->send_bytes + plan->skip_bytes, n = 0;

	check(planned <= length);
	check(plan->skip_bytes == skipped_of(bytes, planned));
	check(plan->skip_bytes <= budget);
	/* It ends where it must. */
	check(planned == length || (left_out(bytes[planned]) && plan->skip_bytes == budget));
	check(flatten(plan->send, plan->send_count, sent) == plan->send_bytes);
	for (size_t i = 0; i < planned; i++)
		if (!left_out(bytes[i]))
			check(sent[n++] == bytes[i]);
	check(n == plan->send_bytes);
}

/* For every number of bytes that may be taken. */
static void check_done(const struct skip_plan *plan, uint8_t *const *bytes)
{
	size_t planned = plan->send_bytes + plan->skip_bytes;

	for (size_t taken = 0; taken <= plan->send_bytes; taken++) {
		size_t skipped, done, sent = 0, expected = 0;

		while (expected < planned && (left_out(bytes[expected]) || sent < taken))
			sent += !left_out(bytes[expected++]);
		done = skip_plan_done(ranges, write_list, write_count, plan, taken, &skipped);
		check(done == expected);
		check(skipped == expected - taken);
	}
}

static void one_write(void)
{
	uint8_t *bytes[WRITE_MAX];
	struct skip_plan plan;
	size_t length, skips;

	make_write();
	length = flatten(write_list, write_count, bytes);
	skips = skipped_of(bytes, length);
	for (uint64_t budget = 0; budget <= skips + 1; budget++) {
		skip_plan_make(ranges, write_list, write_count, budget, &plan);
		check_plan(&plan, bytes, length, budget);
		check_done(&plan, bytes);
	}
	skip_plan_make(ranges, write_list, write_count, UINT64_MAX, &plan);
	check_plan(&plan, bytes, length, UINT64_MAX);
}

static void test_model(void **state)
{
	seed_runs(600, one_write);
}

/* Takes `n` bytes off the front, as a caller does whose write was done in part. */
static void go_on(struct iovec **iov, size_t *count, size_t n)
{
	while (*count && n >= (*iov)->iov_len) {
		n -= (*iov)->iov_len;
		(*iov)++;
		(*count)--;
	}
	if (!n)
		return;
	(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + n;
	(*iov)->iov_len -= n;
}

/* A writer, a socket that takes what it likes and a reader that gives credit when it likes. */
static void one_conversation(void)
{
	uint8_t *bytes[WRITE_MAX], out[WRITE_MAX];
	size_t length, out_length = 0, done_all = 0, skipped_all = 0, expected = 0, count;
	struct iovec copy[IOVECS_MAX], *iov = copy;
	uint64_t granted = 0;
	unsigned turns = 0;

	make_write();
	length = flatten(write_list, write_count, bytes);
	memcpy(copy, write_list, sizeof copy);
	count = write_count;
	while (done_all < length && turns++ < 100000) {
		struct skip_plan plan;
		size_t taken, left, skipped, done;

		granted += seed_below(3) ? 0 : seed_below(100);
		skip_plan_make(ranges, iov, count, granted - skipped_all, &plan);
		taken = left = seed_below(plan.send_bytes + 1);
		for (unsigned i = 0; left; i++) {
			size_t n = plan.send[i].iov_len < left ? plan.send[i].iov_len : left;

			memcpy(out + out_length, plan.send[i].iov_base, n);
			out_length += n;
			left -= n;
		}
		done = skip_plan_done(ranges, iov, count, &plan, taken, &skipped);
		go_on(&iov, &count, done);
		done_all += done;
		skipped_all += skipped;
		check(skipped_all <= granted);
	}
	check(done_all == length);
	for (size_t i = 0; i < length; i++)
		if (!left_out(bytes[i]))
			check(out[expected++] == *bytes[i]);
	check(out_length == expected && skipped_all == length - expected);
}

static void test_conversation(void **state)
{
	seed_runs(2000, one_conversation);
}

/* More pieces than a plan has room for: it ends there, and goes on. */
static void test_many_pieces(void **state)
{
	static uint8_t page[SKIP_PAGE_BYTES];
	struct skip_range one = { (uintptr_t)page, sizeof page };
	struct iovec iov[2 * SKIP_PIECES_MAX + 20];
	const size_t count = sizeof iov / sizeof *iov;
	struct skip_plan plan;
	uint8_t head[8];
	size_t skipped;

	for (size_t i = 0; i < count; i++)
		iov[i] = i % 2 ? (struct iovec){ page, sizeof page } : (struct iovec){ head, sizeof head };
	skip_plan_make((struct skip_ranges){ &one, 1 }, iov, count, UINT64_MAX, &plan);
	assert_int_equal(plan.send_count, SKIP_PIECES_MAX);
	assert_int_equal(plan.send_bytes, 8 * SKIP_PIECES_MAX);
	assert_int_equal(plan.skip_bytes, sizeof page * SKIP_PIECES_MAX);
	assert_int_equal(
		skip_plan_done((struct skip_ranges){ &one, 1 }, iov, count, &plan, plan.send_bytes, &skipped),
		plan.send_bytes + plan.skip_bytes);
	assert_int_equal(skipped, plan.skip_bytes);
}

/* A sample is a whole page that is left out. */
static void test_sample(void **state)
{
	static _Alignas(SKIP_PAGE_BYTES) uint8_t pages[4 * PAGE];
	struct skip_range two = { (uintptr_t)pages + PAGE, 2 * PAGE };
	struct iovec iov[3] = { { pages, PAGE }, { pages + PAGE + 1, 100 }, { pages + 2 * PAGE, PAGE } };
	struct skip_plan plan;

	skip_plan_make((struct skip_ranges){ &two, 1 }, iov, 3, UINT64_MAX, &plan);
	assert_ptr_equal(plan.page, pages + 2 * PAGE);
	skip_plan_make((struct skip_ranges){ &two, 1 }, iov, 3, 200, &plan);
	assert_null(plan.page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_conversation),
		cmocka_unit_test(test_many_pieces),
		cmocka_unit_test(test_sample),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

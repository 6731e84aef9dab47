/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_ram_walk.c - every page is told once and in order; what holds something is never told as zero; holes
 * stay holes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ram_walk.h"
#include "seed.h"

#define PAGES 4096u
#define FIRST 3u        /* the block's first page in its file */
#define ISLAND 16u      /* so many zero pages in a row are always seen */
#define ZEROS_MAX 64    /* in a row */
#define HUGE (2u << 20) /* allocated at once, if so */

enum kind { HOLE, ZEROS, BYTES };

struct memory {
	struct wt_ram_block block;
	uint8_t *base;
	enum kind kinds[PAGES];
};

static void open_memory(struct memory *m)
{
	int fd = memfd_create("ram-walk", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)(FIRST + PAGES) * WT_PAGE_SIZE), 0);
	m->base = mmap(NULL, (size_t)PAGES * WT_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		(off_t)FIRST * WT_PAGE_SIZE);
	assert_true(m->base != MAP_FAILED);
	m->block = (struct wt_ram_block){ .base = m->base,
		.fd = fd,
		.fd_offset = (uint64_t)FIRST * WT_PAGE_SIZE,
		.length = (uint64_t)PAGES * WT_PAGE_SIZE };
}

static void close_memory(struct memory *m)
{
	munmap(m->base, (size_t)PAGES * WT_PAGE_SIZE);
	close(m->block.fd);
}

/* What a page holds may be anywhere in it. */
static void fill(struct memory *m, unsigned page, enum kind kind, uint32_t value)
{
	uint8_t *bytes = m->base + (size_t)page * WT_PAGE_SIZE;

	m->kinds[page] = kind;
	if (kind == ZEROS)
		memset(bytes, 0, WT_PAGE_SIZE);
	else if (kind == BYTES)
		bytes[value % 3 == 0 ? value % WT_PAGE_SIZE : value % 8] = 1 + value % 255;
}

static off_t allocated(const struct memory *m)
{
	struct stat file;

	assert_int_equal(fstat(m->block.fd, &file), 0);
	return file.st_blocks;
}

static void check_run(const struct memory *m, const struct wt_ram_run *run)
{
	unsigned zeros = 0;

	for (uint32_t i = 0; i < run->extent.pages; i++) {
		bool bytes = m->kinds[run->extent.page + i] == BYTES;

		if (run->zero)
			assert_false(bytes);
		zeros = bytes || run->zero ? 0 : zeros + 1;
		assert_true(zeros < ISLAND);
	}
}

/* Walks over blocks, of which only `at` is m's; answers the bytes that were looked at. */
static uint64_t walk_all(const struct memory *m, const struct wt_ram_block *const *blocks, unsigned at)
{
	struct wt_ram_walk walk = { .blocks = blocks };
	struct wt_ram_run run;
	uint64_t next = 0;

	assert_int_equal(wt_ram_walk_left(&walk), m->block.length);
	while (wt_ram_walk_next(&walk, &run)) {
		assert_int_equal(run.extent.block, at);
		assert_int_equal(run.extent.page, next);
		assert_true(run.extent.pages > 0 && run.extent.pages <= PAGES - next);
		check_run(m, &run);
		next += run.extent.pages;
		assert_int_equal(wt_ram_walk_left(&walk), m->block.length - next * WT_PAGE_SIZE);
	}
	assert_int_equal(next, PAGES);
	return walk.looked;
}

static void random_run(void)
{
	struct wt_ram_block none = { .length = 7 * WT_PAGE_SIZE };
	struct memory m = { 0 };
	const struct wt_ram_block *const blocks[] = { &none, &m.block, NULL };
	bool holes = seed_below(3) != 0;
	off_t before;

	open_memory(&m);
	for (unsigned page = 0; page < PAGES;) {
		enum kind kind = (enum kind)seed_below(3);
		unsigned count = 1 + (unsigned)seed_below(kind == BYTES ? 700 : ZEROS_MAX);

		for (; count-- && page < PAGES; page++)
			fill(&m, page, kind == HOLE && !holes ? ZEROS : kind, (uint32_t)seed_next());
	}
	for (unsigned page = 0; !holes && page < FIRST; page++)
		assert_int_equal(pwrite(m.block.fd, "x", 1, (off_t)page * WT_PAGE_SIZE), 1);
	before = allocated(&m);
	walk_all(&m, blocks, 1);
	assert_int_equal(allocated(&m), before);
	close_memory(&m);
}

static void test_random(void **state)
{
	seed_runs(60, random_run);
}

/* A hole is told at once, and not looked at; nor is it allocated. */
static void test_hole(void **state)
{
	struct memory m = { 0 };
	const struct wt_ram_block *const blocks[] = { &m.block, NULL };
	off_t before;

	open_memory(&m);
	assert_int_equal(walk_all(&m, blocks, 0), 0);
	fill(&m, 1000, BYTES, 5);
	before = allocated(&m);
	assert_true(walk_all(&m, blocks, 0) <= HUGE);
	assert_int_equal(allocated(&m), before);
	close_memory(&m);
}

/* The rest of a block is left out, and the next one begins with its first page. */
static void test_skip(void **state)
{
	struct memory m = { 0 };
	const struct wt_ram_block *const blocks[] = { &m.block, &m.block, NULL };
	struct wt_ram_walk walk = { .blocks = blocks };
	struct wt_ram_run run;

	open_memory(&m);
	fill(&m, 0, BYTES, 1);
	assert_true(wt_ram_walk_next(&walk, &run));
	assert_false(run.zero);
	wt_ram_walk_skip(&walk);
	assert_int_equal(wt_ram_walk_left(&walk), m.block.length);
	assert_true(wt_ram_walk_next(&walk, &run));
	assert_int_equal(run.extent.block, 1);
	assert_int_equal(run.extent.page, 0);
	assert_false(run.zero);
	close_memory(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_hole),
		cmocka_unit_test(test_skip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_verify.c - digests of blocks: holes count as zeros wherever they lie, and are not filled.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../qemu-glue/verify.h"
#include "seed.h"

#define PAGES 64u
#define LENGTH ((uint64_t)PAGES * WT_PAGE_SIZE)

/* A block of holes that lies behind `before` bytes of its file. */
static struct wt_ram_block make_block(uint64_t before)
{
	struct wt_ram_block block = {
		.length = LENGTH, .shared = true, .fd_offset = before, .backing_page_size = WT_PAGE_SIZE
	};

	block.fd = memfd_create("block", MFD_CLOEXEC);
	assert_true(block.fd >= 0);
	assert_int_equal(ftruncate(block.fd, (off_t)(before + LENGTH)), 0);
	block.base = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, block.fd, (off_t)before);
	assert_ptr_not_equal(block.base, MAP_FAILED);
	return block;
}

static blkcnt_t allocated(const struct wt_ram_block *block)
{
	struct stat st;

	assert_int_equal(fstat(block->fd, &st), 0);
	return st.st_blocks;
}

/* Some pages are filled in both, the others are holes in one and zeros in the other. */
static void random_holes(void)
{
	struct wt_ram_block holes = make_block(seed_below(3) * WT_PAGE_SIZE), zeros = make_block(0);
	uint8_t here[WT_RELAY_DIGEST_BYTES], there[WT_RELAY_DIGEST_BYTES];
	blkcnt_t before;

	memset(zeros.base, 0, LENGTH);
	for (uint64_t i = 0; i < PAGES; i++) {
		if (seed_below(3))
			continue;
		memset((uint8_t *)holes.base + i * WT_PAGE_SIZE + 9, (int)i + 1, 1);
		memset((uint8_t *)zeros.base + i * WT_PAGE_SIZE + 9, (int)i + 1, 1);
	}
	before = allocated(&holes);
	for (unsigned i = 0; i < 50; i++) {
		uint64_t page = seed_below(PAGES);
		uint32_t pages = (uint32_t)(1 + seed_below(PAGES - page));

		check(!wt_verify_digest(&holes, page, pages, here));
		check(!wt_verify_digest(&zeros, page, pages, there));
		check(!memcmp(here, there, sizeof here));
		((uint8_t *)zeros.base)[(page + seed_below(pages)) * WT_PAGE_SIZE + 10] ^= 1;
		check(!wt_verify_digest(&zeros, page, pages, there));
		check(memcmp(here, there, sizeof here) != 0);
		for (uint64_t k = page; k < page + pages; k++)
			((uint8_t *)zeros.base)[k * WT_PAGE_SIZE + 10] = 0;
	}
	check(allocated(&holes) == before);
	wt_ram_block_unmap(&holes);
	wt_ram_block_unmap(&zeros);
}

static void test_holes(void **state)
{
	seed_runs(50, random_holes);
}

static void test_bounds(void **state)
{
	struct wt_ram_block block = make_block(0), nothing = { .length = LENGTH, .fd = -1 };
	uint8_t digest[WT_RELAY_DIGEST_BYTES];

	assert_int_equal(wt_verify_digest(&block, 0, PAGES, digest), 0);
	assert_int_equal(wt_verify_digest(&block, 1, PAGES, digest), -EINVAL);
	assert_int_equal(wt_verify_digest(&block, UINT64_MAX, 1, digest), -EINVAL);
	assert_int_equal(wt_verify_digest(&block, 0, WT_VERIFY_PAGES + 1, digest), -EINVAL);
	assert_int_equal(wt_verify_digest(&nothing, 0, 1, digest), -EINVAL);
	wt_ram_block_unmap(&block);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_holes),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

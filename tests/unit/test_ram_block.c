/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_ram_block.c - reading a block through its file: the right pages, holes stay holes, no SIGBUS.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ram_block.h"

#define PAGES 64u
#define FIRST 3u /* pages before the block in its file */

static void test_read(void **state)
{
	struct wt_ram_block block = {
		.length = PAGES * WT_PAGE_SIZE, .shared = true, .fd_offset = FIRST * WT_PAGE_SIZE
	};
	static const uint8_t zero[WT_PAGE_SIZE];
	static uint8_t bytes[PAGES * WT_PAGE_SIZE], page[WT_PAGE_SIZE];
	struct stat st;

	block.fd = memfd_create("block", MFD_CLOEXEC);
	assert_true(block.fd >= 0);
	assert_int_equal(ftruncate(block.fd, (FIRST + PAGES) * WT_PAGE_SIZE), 0);
	for (unsigned i = 0; i < PAGES; i += 4) {
		memset(page, (int)i + 1, sizeof page);
		assert_int_equal(
			pwrite(block.fd, page, sizeof page, (FIRST + i) * WT_PAGE_SIZE), WT_PAGE_SIZE);
	}
	assert_int_equal(wt_ram_block_read(&block, 0, PAGES, bytes), 0);
	for (unsigned i = 0; i < PAGES; i++) {
		memset(page, i % 4 ? 0 : (int)i + 1, sizeof page);
		assert_memory_equal(bytes + i * WT_PAGE_SIZE, page, sizeof page);
	}
	assert_int_equal(fstat(block.fd, &st), 0);
	assert_int_equal(st.st_blocks * 512, PAGES / 4 * WT_PAGE_SIZE);
	assert_int_equal(wt_ram_block_read(&block, 5, 1, bytes), 0);
	assert_memory_equal(bytes, zero, sizeof zero);
	assert_int_equal(wt_ram_block_read(&block, PAGES, 1, bytes), -EINVAL);
	assert_int_equal(wt_ram_block_read(&block, PAGES - 1, 2, bytes), -EINVAL);
	assert_int_equal(wt_ram_block_read(&block, UINT64_MAX, 1, bytes), -EINVAL);
	assert_int_equal(ftruncate(block.fd, 10 * WT_PAGE_SIZE), 0);
	assert_int_equal(wt_ram_block_read(&block, 0, PAGES, bytes), -ENODATA);
	close(block.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_read) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_page_map.c - maps of pages are the same files on a file system that has no shared mappings to be
 * written, and a descriptor more is given back; others of mmap's errors stay errors.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "page_map.h"

#define PAGES 1000u
#define GENERATION 7

void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);
void *__real_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset);

static int refusal; /* of shared mappings to be written; 0: none */

void *__wrap_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	if (refusal && flags & MAP_SHARED && protection & PROT_WRITE) {
		errno = refusal;
		return MAP_FAILED;
	}
	return __real_mmap(address, length, protection, flags, fd, offset);
}

static int next_fd(void)
{
	int fd = dup(0);

	close(fd);
	return fd;
}

/* Answers the digest of a map with these entries, and checks that it can be read. */
static void write_map(uint8_t ret_digest[WT_PAGE_DIGEST_BYTES])
{
	int fd = memfd_create("map", MFD_CLOEXEC), before = next_fd();
	struct wt_page_map map, again;
	struct wt_error err = { 0 };
	struct stat st;

	assert_int_equal(wt_page_map_create(fd, PAGES, GENERATION, &map, &err), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, map.length);
	for (unsigned i = 0; i < PAGES; i++)
		map.entries[i] =
			(struct wt_page_entry){ .digest = { (uint8_t)i }, .place = wt_place(1, 0, i) };
	assert_int_equal(wt_page_map_finish(&map, ret_digest, &err), 0);
	assert_int_equal(wt_page_map_open(fd, "map", PAGES, GENERATION, ret_digest, &again, &err), 0);
	assert_memory_equal(again.file, map.file, map.length);
	wt_page_map_close(&again);
	wt_page_map_close(&map);
	assert_int_equal(next_fd(), before);
	close(fd);
}

static void test_without_shared_mappings(void **state)
{
	const int refusals[] = { EINVAL, ENODEV };
	uint8_t mapped[WT_PAGE_DIGEST_BYTES], apart[WT_PAGE_DIGEST_BYTES];

	refusal = 0;
	write_map(mapped);
	for (unsigned i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		refusal = refusals[i];
		write_map(apart);
		assert_memory_equal(apart, mapped, sizeof apart);
	}
}

static void test_other_errors_stay(void **state)
{
	int fd = memfd_create("map", MFD_CLOEXEC), before = next_fd();
	struct wt_page_map map = { 0 };
	struct wt_error err = { 0 };

	refusal = ENOMEM;
	assert_int_equal(wt_page_map_create(fd, PAGES, GENERATION, &map, &err), -ENOMEM);
	assert_non_null(strstr(wt_error_text(&err), "cannot make the map of 1000 pages"));
	assert_null(map.file);
	assert_int_equal(next_fd(), before);
	close(fd);
}

/* What cannot be written is said, and not taken for written. */
static void test_a_file_that_takes_nothing(void **state)
{
	int fd = memfd_create("map", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	uint8_t digest[WT_PAGE_DIGEST_BYTES];
	struct wt_error err = { 0 };
	struct wt_page_map map;

	refusal = EINVAL;
	assert_int_equal(wt_page_map_create(fd, PAGES, GENERATION, &map, &err), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	assert_int_equal(wt_page_map_finish(&map, digest, &err), -EPERM);
	assert_non_null(strstr(wt_error_text(&err), "cannot bring the map of pages to disk"));
	wt_page_map_close(&map);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_shared_mappings),
		cmocka_unit_test(test_other_errors_stay),
		cmocka_unit_test(test_a_file_that_takes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

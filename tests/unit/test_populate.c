/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_populate.c - memory is made present in the background, and only what was named.
 */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "populate.h"

#define PAGE 4096u
#define PAGES 4096u
#define PATIENCE_S 20

static int fd;
static uint8_t *base;

static int setup(void **state)
{
	fd = memfd_create("populated", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, PAGES * PAGE))
		return -1;
	base = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return base == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
	munmap(base, PAGES * PAGE);
	close(fd);
	return 0;
}

static unsigned present(void)
{
	struct stat file;

	assert_int_equal(fstat(fd, &file), 0);
	return (unsigned)(file.st_blocks * 512 / PAGE);
}

static void expect_present(unsigned pages)
{
	time_t deadline = time(NULL) + PATIENCE_S;

	while (present() < pages && time(NULL) < deadline)
		sched_yield();
	assert_int_equal(present(), pages);
}

static void only_what_was_named(void **state)
{
	struct wt_populate *populate;

	assert_int_equal(wt_populate_open(&populate), 0);
	wt_populate_add(populate, base, 10 * PAGE);
	expect_present(10);
	wt_populate_add(populate, base + 100 * PAGE, PAGE);
	wt_populate_add(populate, base + 101 * PAGE, PAGE); /* follows the one before */
	wt_populate_add(populate, base + 5 * PAGE, 10 * PAGE);
	expect_present(17);
	wt_populate_close(populate);
	assert_int_equal(present(), 17);
}

/* More runs than there is room for are forgotten; those that are taken are whole. */
static void too_many(void **state)
{
	struct wt_populate *populate;

	assert_int_equal(wt_populate_open(&populate), 0);
	for (unsigned page = 0; page < PAGES; page += 2)
		wt_populate_add(populate, base + (size_t)page * PAGE, PAGE);
	wt_populate_close(populate);
	assert_in_range(present(), 0, PAGES / 2);
}

/* What cannot be is left to whoever writes it. */
static void no_memory(void **state)
{
	struct wt_populate *populate;

	assert_int_equal(ftruncate(fd, 8 * PAGE), 0);
	assert_int_equal(wt_populate_open(&populate), 0);
	wt_populate_add(populate, base + 20 * PAGE, 4 * PAGE);
	wt_populate_add(populate, base, 4 * PAGE);
	expect_present(4);
	wt_populate_close(populate);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(only_what_was_named, setup, teardown),
		cmocka_unit_test_setup_teardown(too_many, setup, teardown),
		cmocka_unit_test_setup_teardown(no_memory, setup, teardown),
	};

	return cmocka_run_group_tests_name("populate", tests, NULL, NULL);
}

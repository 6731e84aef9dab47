/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_proc_maps.c - reading /proc/PID/maps, from fixed text and from our own process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../../qemu-glue/proc_maps.h"

static struct wt_proc_maps *parse(const char *text)
{
	struct wt_proc_maps *maps = NULL;
	struct wt_error err = { 0 };

	assert_int_equal(wt_proc_maps_parse(text, strlen(text), &maps, &err), 0);
	assert_non_null(maps);
	return maps;
}

static void test_lines(void **state)
{
	struct wt_proc_maps *maps = parse(
		"55d0c0a00000-55d0c0a01000 r--p 00001000 fe:01 1234                       /usr/bin/x y (deleted)\n"
		"7fdf2ffff000-7fdf37fff000 rw-s 00200000 00:01 1031                       /memfd:m\\012 (deleted)\n"
		"7fdf38000000-7fdf38001000 ---p 00000000 00:00 0 \n"
		"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]");

	assert_int_equal(maps->count, 4);
	assert_true(maps->maps[0].start == 0x55d0c0a00000 && maps->maps[0].end == 0x55d0c0a01000);
	assert_true(maps->maps[0].readable && !maps->maps[0].writable && !maps->maps[0].shared);
	assert_int_equal(maps->maps[0].dev_major, 0xfe);
	assert_int_equal(maps->maps[0].inode, 1234);
	assert_true(maps->maps[1].shared && maps->maps[1].writable);
	assert_int_equal(maps->maps[1].offset, 0x200000);
	assert_int_equal(maps->maps[1].dev_minor, 1);
	assert_int_equal(maps->maps[3].inode, 0);
	wt_proc_maps_free(maps);

	maps = parse("");
	assert_int_equal(maps->count, 0);
	wt_proc_maps_free(maps);
}

static void test_bad_lines(void **state)
{
	static const char *const bad[] = {
		"\n",
		"1000\n",
		"1000-\n",
		"1000-2000\n",
		"1000-2000 \n",
		"1000-2000 rw-\n",
		"1000-2000 rw-s\n",
		"1000-2000 rw-s 0 00:01\n",
		"1000-2000 rw-s 0 0001 5\n",
		"1000-2000 rw-s 0 00:01 x\n",
		"1000-2000 rw-s 0 00:01 5x\n",
		"1000-2000 rwxx 0 00:01 5\n",
		"2000-1000 rw-s 0 00:01 5\n",
		"1000-1000 rw-s 0 00:01 5\n",
		"1000-2000 rw-s fffffffffffff001 00:01 5\n",
		"1000-2000 rw-s 0 100000000:01 5\n",
		"11112222333344445-2000 rw-s 0 00:01 5\n",
		"1000-2000 rw-s 0 00:01 5\n1fff-3000 rw-s 0 00:01 5\n",
		"1000-2000 rw-s 0 00:01 5\n\n",
	};
	struct wt_proc_maps *maps = NULL;
	struct wt_error err;
	size_t i;

	for (i = 0; i < sizeof bad / sizeof *bad; i++) {
		wt_error_clear(&err);
		assert_int_equal(wt_proc_maps_parse(bad[i], strlen(bad[i]), &maps, &err), -EPROTO);
		assert_int_equal(err.code, EPROTO);
		assert_non_null(strstr(err.text, "line "));
		assert_null(maps);
	}
}

static const char spans[] = "1000-3000 rw-s 00004000 00:01 7 /a\n"
			    "3000-5000 rw-s 00006000 00:01 7 /a\n"
			    "5000-6000 rw-s 00009000 00:01 7 /a (skips a page of the file)\n"
			    "7000-8000 rw-s 00008000 00:01 7 /a (skips an address)\n"
			    "8000-9000 rw-p 00009000 00:01 7 /a (private)\n"
			    "9000-a000 r--s 0000a000 00:01 7 /a (read only)\n"
			    "a000-b000 rw-s 00000000 00:01 8 /b\n"
			    "b000-c000 rw-s 00001000 00:02 8 /b (another device)\n"
			    "c000-d000 rw-s 00000000 00:00 0\n";

static void test_span(void **state)
{
	struct wt_proc_maps *maps = parse(spans);
	struct wt_proc_span span;

	assert_int_equal(wt_proc_maps_span(maps, 0x2000, 0x3000, &span), 0);
	assert_int_equal(span.inode, 7);
	assert_int_equal(span.offset, 0x5000);
	assert_true(span.map_start == 0x1000 && span.map_end == 0x3000);
	assert_int_equal(wt_proc_maps_span(maps, 0x4fff, 1, &span), 0);
	assert_int_equal(span.offset, 0x7fff);
	assert_int_equal(wt_proc_maps_span(maps, 0xa000, 0x1000, &span), 0);
	wt_proc_maps_free(maps);
}

static void test_no_span(void **state)
{
	static const struct {
		uint64_t address, length;
	} none[] = {
		{ 0, 0x1000 },
		{ 0xfff, 2 },
		{ 0x1000, 0 },
		{ 0x4000, 0x1001 },
		{ 0x5000, 0x1001 },
		{ 0x6000, 0x1000 },
		{ 0x7000, 0x1001 },
		{ 0x8000, 0x1000 },
		{ 0x9000, 0x1000 },
		{ 0xa000, 0x1001 },
		{ 0xc000, 0x1000 },
		{ 0xd000, 1 },
		{ 0x1000, UINT64_MAX },
		{ 0x1000, UINT64_MAX - 0x1000 },
		{ UINT64_MAX, 1 },
	};
	struct wt_proc_maps *maps = parse(spans), *empty = parse("");
	struct wt_proc_span span = { .inode = 99 };
	size_t i;

	for (i = 0; i < sizeof none / sizeof *none; i++) {
		assert_int_equal(wt_proc_maps_span(maps, none[i].address, none[i].length, &span), -ENOENT);
		assert_int_equal(wt_proc_maps_span(empty, none[i].address, none[i].length, &span), -ENOENT);
	}
	assert_int_equal(span.inode, 99);
	wt_proc_maps_free(maps);
	wt_proc_maps_free(empty);
}

static void test_own_process(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), length = 8 * page;
	int fd = memfd_create("maps", MFD_CLOEXEC);
	struct wt_proc_maps *maps = NULL;
	struct wt_error err = { 0 };
	struct wt_proc_span span;
	struct stat file;
	char *base, *private;

	assert_true(fd >= 0 && !ftruncate(fd, (off_t)(length + page)) && !fstat(fd, &file));
	base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)page);
	private = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	assert_true(base != MAP_FAILED && private != MAP_FAILED);
	/* Splits the mapping in three, as a memory policy would. */
	assert_int_equal(madvise(base + 2 * page, page, MADV_DONTFORK), 0);

	assert_int_equal(wt_proc_maps_read(getpid(), &maps, &err), 0);
	assert_int_equal(wt_proc_maps_span(maps, (uintptr_t)base, length, &span), 0);
	assert_int_equal(span.inode, file.st_ino);
	assert_int_equal(span.dev_major, major(file.st_dev));
	assert_int_equal(span.dev_minor, minor(file.st_dev));
	assert_int_equal(span.offset, page);
	assert_true(span.map_end == (uintptr_t)base + 2 * page);
	assert_int_equal(wt_proc_maps_span(maps, (uintptr_t) private, length, &span), -ENOENT);
	wt_proc_maps_free(maps);
	munmap(base, length);
	munmap(private, length);
	close(fd);
}

static void test_no_process(void **state)
{
	struct wt_proc_maps *maps = NULL;
	struct wt_error err = { 0 };

	assert_int_equal(wt_proc_maps_read(0x7ffffff0, &maps, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/proc/2147483632/maps"));
}

static void test_runs(void **state)
{
	struct wt_proc_maps *maps = parse("1000-2000 rw-s 0 00:01 5\n"    /* one file, */
					  "2000-4000 rw-s 1000 00:01 5\n" /* goes on, */
					  "4000-5000 rw-s 9000 00:01 5\n" /* jumps */
					  "5000-6000 rw-p a000 00:01 5\n" /* private */
					  "6000-7000 r--s b000 00:01 5\n" /* not writable */
					  "7000-9000 rw-s 2000 00:01 6\n" /* another file */
					  "a000-b000 rw-s 0 00:00 0\n");  /* no file */
	static const struct wt_proc_run expected[] = { { 0x1000, 0x3000 }, { 0x4000, 0x1000 },
		{ 0x7000, 0x2000 } };
	struct wt_proc_run run;
	size_t index = 0;

	for (unsigned i = 0; i < sizeof expected / sizeof expected[0]; i++) {
		assert_true(wt_proc_maps_run(maps, &index, &run));
		assert_int_equal(run.address, expected[i].address);
		assert_int_equal(run.length, expected[i].length);
	}
	assert_false(wt_proc_maps_run(maps, &index, &run));
	wt_proc_maps_free(maps);
}

#define CHURN_PAGES 64u

static atomic_bool enough;

/* Mappings that grow, shrink, and become one. */
static void *churn(void *arg)
{
	for (unsigned i = 0; !enough; i++) {
		unsigned page = i * 2654435761u % (CHURN_PAGES - 4), pages = 1 + i / 3 % 4;

		mprotect((char *)arg + page * 4096, pages * 4096, i % 2 ? PROT_READ | PROT_WRITE : PROT_NONE);
	}
	return NULL;
}

static void test_while_it_changes(void **state)
{
	void *memory = mmap(NULL, CHURN_PAGES * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct wt_proc_maps *maps;
	struct wt_error err = { 0 };
	pthread_t thread;

	assert_ptr_not_equal(memory, MAP_FAILED);
	assert_int_equal(pthread_create(&thread, NULL, churn, memory), 0);
	for (unsigned i = 0; i < (getenv("WATARI_FAULTS") ? 500 : 10000); i++) {
		if (wt_proc_maps_read(getpid(), &maps, &err) < 0)
			fail_msg("%u: %s", i, err.text);
		wt_proc_maps_free(maps);
	}
	enough = true;
	pthread_join(thread, NULL);
	munmap(memory, CHURN_PAGES * 4096);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_bad_lines),
		cmocka_unit_test(test_span),
		cmocka_unit_test(test_no_span),
		cmocka_unit_test(test_own_process),
		cmocka_unit_test(test_no_process),
		cmocka_unit_test(test_runs),
		cmocka_unit_test(test_while_it_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_overlay.c - qcow2 images that hold nothing of their own, and those that do.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../qemu-glue/disk_info.h"
#include "../../qemu-glue/overlay.h"

#define TABLE 0x30000u
#define ENTRIES 20000u /* the table takes more than one piece */

static char path[64];

static int make_file(void **state)
{
	int fd;

	strcpy(path, "/tmp/test-overlay-XXXXXX");
	fd = mkstemp(path);
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

static int remove_file(void **state)
{
	return unlink(path);
}

static void put(unsigned offset, uint64_t value, unsigned bytes)
{
	FILE *file = fopen(path, "r+");

	assert_non_null(file);
	assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
	while (bytes--)
		assert_int_not_equal(fputc((int)(value >> 8 * bytes & 0xff), file), EOF);
	assert_int_equal(fclose(file), 0);
}

/* As qemu-img makes it. */
static void make_image(void)
{
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(truncate(path, TABLE + 8 * ENTRIES), 0);
	put(0, 0x514649fb, 4);
	put(4, 3, 4);
	put(36, ENTRIES, 4);
	put(40, TABLE, 8);
}

static void test_new(void **state)
{
	make_image();
	assert_int_equal(wt_overlay_is_new(path), 1);
	put(36, 0, 4);
	assert_int_equal(wt_overlay_is_new(path), 1);
}

static void test_used(void **state)
{
	static const unsigned entries[] = { 0, 1, 9000, ENTRIES - 1 };

	for (unsigned i = 0; i < sizeof entries / sizeof entries[0]; i++) {
		make_image();
		put(TABLE + 8 * entries[i], 0x8000000000050000, 8);
		assert_int_equal(wt_overlay_is_new(path), 0);
	}
}

/* What is no image, and what its header lies about. */
static void test_damaged(void **state)
{
	make_image();
	put(0, 0x514649fa, 4);
	assert_int_equal(wt_overlay_is_new(path), -EINVAL);
	make_image();
	put(36, UINT32_MAX, 4);
	assert_int_equal(wt_overlay_is_new(path), -EINVAL);
	make_image();
	put(40, UINT64_MAX, 8);
	assert_int_equal(wt_overlay_is_new(path), -EINVAL);
	make_image();
	assert_int_equal(truncate(path, TABLE + 8 * ENTRIES - 1), 0);
	assert_int_equal(wt_overlay_is_new(path), -EINVAL);
	assert_int_equal(truncate(path, 71), 0);
	assert_int_equal(wt_overlay_is_new(path), -EINVAL);
	assert_int_equal(wt_overlay_is_new("/tmp"), -EISDIR);
	assert_int_equal(wt_overlay_is_new("/no/such"), -ENOENT);
}

/* ---- what query-block says ---- */

static void expect_place(const char *text, const char *place)
{
	json_t *disk = json_loads(text, 0, NULL);

	assert_non_null(disk);
	assert_string_equal(wt_disk_place(disk), place);
	json_decref(disk);
}

static void test_place(void **state)
{
	expect_place("{\"qdev\":\"/machine/peripheral/d0/virtio-backend\",\"device\":\"disk\"}",
		"/machine/peripheral/d0/virtio-backend");
	expect_place("{\"qdev\":\"/machine/unattached/device[13]\",\"device\":\"ide0-hd0\"}", "ide0-hd0");
	expect_place("{\"qdev\":\"/machine/unattached/device[13]\",\"device\":\"\"}",
		"/machine/unattached/device[13]");
	expect_place("{\"device\":\"disk\"}", "disk");
	expect_place("{\"device\":\"\",\"inserted\":{\"node-name\":\"n1\"}}", "n1");
}

static void test_names(void **state)
{
	int64_t before, after;

	assert_true(wt_disk_name_is_whole("/images/web1.qcow2"));
	assert_true(wt_disk_name_is_whole("nbd://host/web1"));
	assert_false(wt_disk_name_is_whole("web1.qcow2"));
	assert_false(wt_disk_name_is_whole("images/nbd:1"));
	make_image();
	assert_true(wt_disk_same_file(getpid(), path, path));
	assert_false(wt_disk_same_file(getpid(), path, "/tmp"));
	assert_false(wt_disk_same_file(getpid(), path, "nbd://host/web1"));
	assert_int_equal(wt_disk_written(getpid(), "/no/such", &before), -ENOENT);
	assert_int_equal(wt_disk_written(getpid(), "nbd://host/web1", &before), 0);
	assert_int_equal(before, 0);
	assert_int_equal(wt_disk_written(getpid(), "/dev/null", &before), 0);
	assert_int_equal(before, 0);
	assert_int_equal(wt_disk_written(0, path, &before), 0);
	assert_true(before > 0);
	assert_int_equal(utimensat(0, path,
				 (const struct timespec[2]){
					 { .tv_nsec = UTIME_OMIT }, { .tv_sec = 7, .tv_nsec = 5 } },
				 0),
		0);
	assert_int_equal(wt_disk_written(getpid(), path, &after), 0);
	assert_int_equal(after, 7000000005);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_new, make_file, remove_file),
		cmocka_unit_test_setup_teardown(test_used, make_file, remove_file),
		cmocka_unit_test_setup_teardown(test_damaged, make_file, remove_file),
		cmocka_unit_test(test_place),
		cmocka_unit_test_setup_teardown(test_names, make_file, remove_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

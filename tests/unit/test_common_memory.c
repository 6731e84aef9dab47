/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_common_memory.c - memory that two ends have in common: the mark that proves it, and words that are not
 * it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common_memory.h"

#define RAM_BYTES ((uint64_t)8 * WT_PAGE_SIZE)

/* One end: a QEMU's list of blocks, of which the first one is shared. */
struct end {
	struct wt_ram_block blocks[2];
	struct wt_guest_ram ram;
	struct wt_common_memory *memory;
};

static int file_of(uint64_t bytes)
{
	int fd = memfd_create("ram", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

static void describe(struct end *end, int fd)
{
	*end = (struct end){ .ram = { .count = 2 } };
	end->blocks[0] = (struct wt_ram_block){ .name = "mem",
		.length = RAM_BYTES,
		.shared = true,
		.fd = fd,
		.backing_page_size = WT_PAGE_SIZE };
	end->blocks[1] = (struct wt_ram_block){ .name = "vga", .length = RAM_BYTES, .fd = -1 };
	end->ram.blocks = end->blocks;
}

static void open_end(struct end *end, int fd)
{
	struct wt_error err = { 0 };

	describe(end, fd);
	assert_int_equal(wt_common_memory_open(&end->ram, &end->memory, &err), 0);
}

/* The source's judgement of what the other end says. */
static int judge(const struct end *source, json_t *said, struct wt_error *err)
{
	int r;

	*err = (struct wt_error){ 0 };
	r = wt_common_memory_compare(source->memory, said, err);
	json_decref(said);
	return r;
}

static void test_same_memory(void **state)
{
	int fd = file_of(RAM_BYTES + WT_PAGE_SIZE);
	struct wt_error err = { 0 };
	struct end source, destination;

	open_end(&source, fd);
	open_end(&destination, fd);
	assert_int_equal(wt_common_memory_bytes(source.memory), RAM_BYTES);
	for (unsigned i = 0; i < 2; i++) { /* an old mark is ours to write over */
		assert_int_equal(wt_common_memory_mark(source.memory, &err), 0);
		assert_int_equal(judge(&source, wt_common_memory_json(destination.memory), &err), 0);
	}
	wt_common_memory_close(source.memory);
	wt_common_memory_close(destination.memory);
	close(fd);
}

/* Nothing but the last page is written. */
static void test_ram_is_left_alone(void **state)
{
	int fd = file_of(RAM_BYTES + 2 * WT_PAGE_SIZE);
	uint8_t bytes[WT_PAGE_SIZE], zeros[WT_PAGE_SIZE] = { 0 };
	struct wt_error err = { 0 };
	struct end source;

	open_end(&source, fd);
	assert_int_equal(wt_common_memory_mark(source.memory, &err), 0);
	for (uint64_t at = 0; at < RAM_BYTES + 2 * WT_PAGE_SIZE; at += WT_PAGE_SIZE) {
		assert_int_equal(pread(fd, bytes, sizeof bytes, (off_t)at), sizeof bytes);
		assert_int_equal(memcmp(bytes, zeros, sizeof bytes) == 0, at != RAM_BYTES + WT_PAGE_SIZE);
	}
	wt_common_memory_close(source.memory);
	close(fd);
}

static void test_other_memory(void **state)
{
	int fds[2] = { file_of(RAM_BYTES + WT_PAGE_SIZE), file_of(RAM_BYTES + WT_PAGE_SIZE) };
	struct wt_error err = { 0 };
	struct end source, destination;

	open_end(&source, fds[0]);
	open_end(&destination, fds[1]);
	assert_int_equal(wt_common_memory_mark(source.memory, &err), 0);
	assert_int_equal(judge(&source, wt_common_memory_json(destination.memory), &err), -EPERM);
	assert_non_null(strstr(err.text, "not the same memory"));
	assert_int_equal(wt_common_memory_mark(destination.memory, &err), 0); /* another guest's */
	assert_int_equal(judge(&source, wt_common_memory_json(destination.memory), &err), -EPERM);
	assert_non_null(strstr(err.text, "another guest's"));
	wt_common_memory_close(source.memory);
	wt_common_memory_close(destination.memory);
	close(fds[0]);
	close(fds[1]);
}

/* What the other end says, with one thing changed. */
static json_t *changed(const struct end *end, const char *key, json_t *value)
{
	json_t *said = wt_common_memory_json(end->memory);
	json_t *block = json_array_get(json_object_get(said, "blocks"), 0);

	if (value)
		json_object_set_new(block, key, value);
	else
		json_object_del(block, key);
	return said;
}

static void test_other_words(void **state)
{
	int fd = file_of(RAM_BYTES + WT_PAGE_SIZE);
	struct wt_error err = { 0 };
	struct end source;

	open_end(&source, fd);
	assert_int_equal(wt_common_memory_mark(source.memory, &err), 0);
	assert_int_equal(judge(&source, changed(&source, "bytes", json_integer(4096)), &err), -EPERM);
	assert_non_null(strstr(err.text, "has 32768 bytes here and 4096"));
	assert_int_equal(judge(&source, changed(&source, "bytes", json_integer(-1)), &err), -EPERM);
	assert_int_equal(judge(&source, changed(&source, "offset", json_integer(4096)), &err), -EPERM);
	assert_int_equal(judge(&source, changed(&source, "file_bytes", NULL), &err), -EPERM);
	assert_int_equal(judge(&source, changed(&source, "name", json_string("ram")), &err), -EPERM);
	assert_int_equal(judge(&source, changed(&source, "name", json_true()), &err), -EPERM);
	assert_int_equal(judge(&source, changed(&source, "mark", NULL), &err), -EPERM);
	assert_int_equal(judge(&source, changed(&source, "mark", json_string("")), &err), -EPERM);
	assert_int_equal(judge(&source, json_null(), &err), -EPERM);
	assert_int_equal(judge(&source, json_pack("{s:{}}", "blocks"), &err), -EPERM);
	assert_int_equal(judge(&source, json_pack("{s:[n]}", "blocks"), &err), -EPERM);
	assert_int_equal(judge(&source, json_pack("{s:[n,n]}", "blocks"), &err), -EPERM);
	assert_int_equal(judge(&source, json_pack("{s:s}", "error", "no\nthanks"), &err), -EPERM);
	assert_null(strchr(err.text, '\n'));
	wt_common_memory_close(source.memory);
	close(fd);
}

static void expect_refusal(struct end *end, const char *text)
{
	struct wt_error err = { 0 };

	assert_int_equal(wt_common_memory_open(&end->ram, &end->memory, &err), -EPERM);
	assert_non_null(strstr(err.text, text));
}

static void test_no_place_for_a_mark(void **state)
{
	int fd = file_of(RAM_BYTES + WT_PAGE_SIZE - 1);
	struct end end;

	describe(&end, fd);
	expect_refusal(&end, "must be behind the guest's RAM");
	assert_int_equal(ftruncate(fd, (off_t)RAM_BYTES), 0);
	expect_refusal(&end, "must be behind the guest's RAM");
	assert_int_equal(ftruncate(fd, (off_t)(RAM_BYTES + WT_PAGE_SIZE)), 0);
	assert_int_equal(pwrite(fd, "somebody's", 10, (off_t)(RAM_BYTES + 100)), 10);
	expect_refusal(&end, "is in use");
	end.blocks[0].shared = false;
	expect_refusal(&end, "is private to its QEMU");
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_memory),
		cmocka_unit_test(test_ram_is_left_alone),
		cmocka_unit_test(test_other_memory),
		cmocka_unit_test(test_other_words),
		cmocka_unit_test(test_no_place_for_a_mark),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

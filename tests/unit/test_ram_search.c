/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_ram_search.c - which block is main memory, and finding it in the memory of a process: our own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ram_search.h"

#define LENGTH (7u << 20) /* of no other mapping here */

static void test_main_memory(void **state)
{
	static const char *const main_memory[] = { "pc.ram", "mach-virt.ram", "mem", "mem0", "ram-node0",
		"/objects/mem0", "my.memory_1", "ppc_spapr.ram", "s390.ram" };
	static const char *const others[] = { "vga.vram", "0000:00:02.0/vga.vram", "pc.rom", "pc.bios",
		"/rom@etc/acpi/tables", "/rom@etc/table-loader", "0000:00:03.0/e1000.rom",
		"0000:00:03.0/virtio-net-pci.rom", "system.flash0", "system.flash1", "virt.flash0",
		"0000:00:04.0/qxl.vram", "0000:00:05.0/ivshmem" };

	for (unsigned i = 0; i < sizeof main_memory / sizeof main_memory[0]; i++)
		assert_true(wt_ram_is_main(main_memory[i], 1u << 30));
	for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++)
		assert_false(wt_ram_is_main(others[i], 1u << 30));
	assert_false(wt_ram_is_main("tpm-ppi", 4096));
	assert_false(wt_ram_is_main("mem", WT_RAM_MAIN_MIN - 4096));
}

struct memory {
	int fd;
	uint8_t *base;
};

static struct memory open_memory(void)
{
	struct memory memory = { .fd = memfd_create("ram", MFD_CLOEXEC) };

	assert_true(memory.fd >= 0);
	assert_int_equal(ftruncate(memory.fd, LENGTH), 0);
	memory.base = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd, 0);
	assert_true(memory.base != MAP_FAILED);
	return memory;
}

static void close_memory(struct memory *memory)
{
	munmap(memory->base, LENGTH);
	close(memory->fd);
}

static void test_one_candidate(void **state)
{
	struct memory memory = open_memory();
	struct wt_ram_search search = { .pid = getpid() };
	struct wt_ram_block *block = NULL;
	struct wt_error err = { 0 };
	uint8_t *again;

	assert_int_equal(wt_ram_search_block(&search, "mem", 5u << 20, &block, &err), -ENOENT);
	assert_non_null(strstr(err.text, "share=on"));
	/* The same place mapped twice is one candidate. */
	again = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd, 0);
	assert_true(again != MAP_FAILED);
	wt_error_clear(&err);
	assert_int_equal(wt_ram_search_block(&search, "mem", LENGTH, &block, &err), 0);
	memory.base[4096] = 77;
	assert_true(block->shared && block->base != memory.base);
	assert_int_equal(((uint8_t *)block->base)[4096], 77);
	assert_string_equal(block->name, "mem");
	wt_ram_search_close(&search);
	munmap(again, LENGTH);
	close_memory(&memory);
}

static void test_two_candidates(void **state)
{
	struct memory first = open_memory(), second = open_memory();
	char path[64];
	struct wt_ram_hint hints[] = { { "n1", path }, { "n2", "/etc/passwd" }, { "n3", "/nonexistent" } };
	struct wt_ram_search search = { .pid = getpid(), .hints = hints, .hint_count = 3 };
	struct wt_ram_block *block = NULL;
	struct wt_error err = { 0 };

	snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), second.fd);
	assert_int_equal(wt_ram_search_block(&search, "n0", LENGTH, &block, &err), -ENOTUNIQ);
	assert_non_null(strstr(err.text, "--ram n0=PATH"));
	wt_error_clear(&err);
	assert_int_equal(wt_ram_search_block(&search, "n2", LENGTH, &block, &err), -EINVAL);
	wt_error_clear(&err);
	assert_int_equal(wt_ram_search_block(&search, "n3", LENGTH, &block, &err), -EINVAL);
	assert_non_null(strstr(err.text, "/nonexistent"));
	wt_error_clear(&err);
	assert_int_equal(wt_ram_search_block(&search, "n1", LENGTH, &block, &err), 0);
	second.base[0] = 5;
	first.base[0] = 6;
	assert_int_equal(((uint8_t *)block->base)[0], 5);
	wt_ram_search_close(&search);
	close_memory(&first);
	close_memory(&second);
}

static void test_no_process(void **state)
{
	struct wt_ram_search search = { 0 };
	struct wt_ram_block *block = NULL;
	struct wt_error err = { 0 };

	assert_int_equal(wt_ram_search_block(&search, "mem", LENGTH, &block, &err), -ESRCH);
	assert_non_null(strstr(err.text, "--pid"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_main_memory),
		cmocka_unit_test(test_one_candidate),
		cmocka_unit_test(test_two_candidates),
		cmocka_unit_test(test_no_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

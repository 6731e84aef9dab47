/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_hmp_text.c - the human monitor's texts, as QEMU 7.2.22 and 10.0.2 print them, and texts that are
 * wrong.
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

#include "../../qemu-glue/hmp_text.h"

#define HEADER_7 \
	"              Block Name    PSize              Offset               Used              Total\r\n"
#define HEADER_10                                                                                            \
	"              Block Name    PSize              Offset               Used              Total       " \
	"         HVA  RO\r\n"

static const char ramblock_7[] = HEADER_7
	"                    mem0    4 KiB  0x0000000000000000 0x0000000008000000 0x0000000008000000\r\n"
	"   0000:00:01.0/vga.vram    4 KiB  0x0000000008080000 0x0000000001000000 0x0000000001000000\r\n"
	"    /rom@etc/acpi/tables    4 KiB  0x0000000009100000 0x0000000000020000 0x0000000000200000\r\n"
	"                            4 KiB  0x0000000009180000 0x0000000000020000 0x0000000000020000\r\n"
	"               odd  name    2 MiB  0x0000000009180000 0x0000000000200000 0x0000000000200000\r\n"
	"                    huge    1 GiB  0x0000000009180000 0x0000000040000000 0x0000000040000000\r\n";

static const char ramblock_10[] = HEADER_10
	"                  pc.ram    4 KiB  0x0000000000100000 0x0000000004000000 0x0000000004000000 "
	"0x00007f244be00000  rw\r\n"
	"    /rom@etc/acpi/tables    4 KiB  0x0000000004180000 0x0000000000020000 0x0000000000200000 "
	"0x00007f249d200000  ro\r\n";

static void test_ramblock(void **state)
{
	struct wt_hmp_block *blocks = NULL;
	struct wt_error err = { 0 };
	unsigned count = 0;

	assert_int_equal(wt_hmp_parse_ramblock(ramblock_7, strlen(ramblock_7), &blocks, &count, &err), 0);
	assert_int_equal(count, 5);
	assert_string_equal(blocks[0].name, "mem0");
	assert_int_equal(blocks[0].page_size, 4096);
	assert_int_equal(blocks[0].used_length, 0x8000000);
	assert_int_equal(blocks[0].host, 0);
	assert_string_equal(blocks[1].name, "0000:00:01.0/vga.vram");
	assert_int_equal(blocks[2].used_length, 0x20000);
	assert_int_equal(blocks[2].max_length, 0x200000);
	assert_string_equal(blocks[3].name, "odd  name");
	assert_int_equal(blocks[3].page_size, 2 << 20);
	assert_int_equal(blocks[4].page_size, 1 << 30);
	free(blocks);

	assert_int_equal(wt_hmp_parse_ramblock(ramblock_10, strlen(ramblock_10), &blocks, &count, &err), 0);
	assert_int_equal(count, 2);
	assert_string_equal(blocks[0].name, "pc.ram");
	assert_true(blocks[0].host == 0x7f244be00000);
	assert_true(blocks[1].host == 0x7f249d200000);
	assert_int_equal(blocks[1].used_length, 0x20000);
	free(blocks);

	assert_int_equal(wt_hmp_parse_ramblock(HEADER_7, strlen(HEADER_7), &blocks, &count, &err), 0);
	assert_int_equal(count, 0);
	free(blocks);
}

static void test_bad_ramblock(void **state)
{
	static const char *const bad[] = {
		"",
		"unknown command: 'info ramblock'\r\n",
		HEADER_7 "x\n",
		HEADER_7 "x 4 KiB 0x0 0x1000\n",
		HEADER_7 "x 4 KiB 0x0 0x1000 0x1000 rw\n",
		HEADER_7 "x 4 KiB 0x0 0x1000 0x1000 0x5000\n",
		HEADER_7 "x 4 KiB 0x0 0x1000 1000\n",
		HEADER_7 "x 4 KiB 0x0 0x1000 0x11112222333344445\n",
		HEADER_7 "x 4 KiX 0x0 0x1000 0x1000\n",
		HEADER_7 "x 4096 KiB 0x0 0x1000 0x1000\n",
		HEADER_7 "x 3 KiB 0x0 0x1000 0x1000\n",
		HEADER_7 "x 1 B 0x0 0x1000 0x1000\n",
		HEADER_7 "x 4 KiB 0x0 0x0 0x1000\n",
		HEADER_7 "x 4 KiB 0x0 0x1001 0x2000\n",
		HEADER_7 "x 4 KiB 0x0 0x2000 0x1000\n",
		HEADER_7 "x 4 KiB 0x0 0xfffffffffffff000 0xfffffffffffff000\n",
		HEADER_7 "x 4 KiB 0x0 0x1000 0x1000\nx 4 KiB 0x0 0x1000 0x1000\n",
	};
	struct wt_hmp_block *blocks = NULL;
	struct wt_error err;
	unsigned count = 0;
	size_t i;

	for (i = 0; i < sizeof bad / sizeof *bad; i++) {
		wt_error_clear(&err);
		assert_int_equal(
			wt_hmp_parse_ramblock(bad[i], strlen(bad[i]), &blocks, &count, &err), -EPROTO);
		assert_true(err.text[0]);
		assert_null(blocks);
	}
}

static void test_ramblock_limits(void **state)
{
	size_t room = 1 << 20, length;
	char *text = malloc(room), name[WT_BLOCK_NAME_MAX + 2];
	struct wt_hmp_block *blocks = NULL;
	struct wt_error err = { 0 };
	unsigned count = 0, i;

	memset(name, 'n', sizeof name);
	name[WT_BLOCK_NAME_MAX] = '\0';
	length = (size_t)snprintf(text, room, HEADER_7 "%s 4 KiB 0x0 0x1000 0x1000\n", name);
	assert_int_equal(wt_hmp_parse_ramblock(text, length, &blocks, &count, &err), 0);
	assert_string_equal(blocks[0].name, name);
	free(blocks);
	blocks = NULL;
	length = (size_t)snprintf(text, room, HEADER_7 "%sn 4 KiB 0x0 0x1000 0x1000\n", name);
	assert_int_equal(wt_hmp_parse_ramblock(text, length, &blocks, &count, &err), -EPROTO);

	length = (size_t)snprintf(text, room, HEADER_7);
	for (i = 0; i <= WT_BLOCKS_MAX; i++)
		length += (size_t)snprintf(text + length, room - length, "b%u 4 KiB 0x0 0x1000 0x1000\n", i);
	wt_error_clear(&err);
	assert_int_equal(wt_hmp_parse_ramblock(text, length, &blocks, &count, &err), -E2BIG);
	assert_null(blocks);
	free(text);
}

#define ALL "0000000000000000-ffffffffffffffff (prio 0, i/o): "

static const char mtree[] =
	"address-space: VGA\r\n"
	"  " ALL "bus master container\r\n"
	"\r\n"
	"address-space: cpu-memory-0\r\n"
	"address-space: memory\r\n"
	"address-space: cpu-memory-1\r\n"
	"  " ALL "system\r\n"
	"    0000000000000000-00000000bfffffff (prio 0, i/o): alias ram-below-4g @pc ram "
	"0000000000000000-00000000bfffffff\r\n"
	"    0000000000000000-ffffffffffffffff (prio -1, i/o): pci\r\n"
	"      0000000000000000-0000000000000000 (prio 1, i/o): alias pci_bridge_mem @pci_bridge_pci "
	"0000000000000000-0000000000000000\r\n"
	"      00000000000a0000-00000000000bffff (prio 1, i/o): vga-lowmem\r\n"
	"      00000000000c0000-00000000000dffff (prio 1, rom): pc.rom\r\n"
	"      00000000000e0000-00000000000fffff (prio 1, rom): alias isa-bios @pc.bios "
	"0000000000020000-000000000003ffff\r\n"
	"      00000000fd000000-00000000fdffffff (prio 1, ram): vga.vram\r\n"
	"      0000000020000000-00000000200fffff (prio 0, ramd): 0000:00:03.0 BAR 0 mmaps[0]\r\n"
	"[DETECTED OVERFLOW!]       fffffffffffff000-0000000000000fff (prio 0, ram): odd\r\n"
	"    0000000100000000-000000023fffffff (prio 0, i/o): alias ram-above-4g @pc ram "
	"00000000c0000000-00000001ffffffff\r\n"
	"      0000000240000000-0000000247ffffff (prio 0, nv-ram): nv\r\n"
	"\r\n"
	"address-space: I/O\r\n"
	"  0000000000000000-0000000000000007 (prio 0, ram): not-this\r\n"
	"\r\n"
	"memory-region: smram\r\n"
	"    00000000000a0000-00000000000bffff (prio 0, ram): not-this\r\n"
	"\r\n"
	"memory-region: pc ram\r\n"
	"  0000000000001000-0000000200000fff (prio 0, i/o): pc ram\r\n"
	"    0000000000001000-0000000080000fff (prio 0, ram): mem0\r\n"
	"    0000000080001000-0000000200000fff (prio 0, ram): mem1\r\n"
	"\r\n"
	"memory-region: pc.bios\r\n"
	"  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios\r\n";

/* Two blocks in one region, of which the CPUs see parts at two places; a region that lies elsewhere itself.
 */
static void test_mtree(void **state)
{
	static const struct wt_hmp_range wanted[] = {
		{ 0, 0x80000000, 0, "mem0" },
		{ 0x80000000, 0x40000000, 0, "mem1" },
		{ 0xfd000000, 0x1000000, 0, "vga.vram" },
		{ 0x100000000, 0x140000000, 0x40000000, "mem1" },
		{ 0x240000000, 0x8000000, 0, "nv" },
	};
	struct wt_hmp_range *ranges = NULL;
	struct wt_error err = { 0 };
	unsigned count = 0;

	assert_int_equal(wt_hmp_parse_mtree(mtree, strlen(mtree), &ranges, &count, &err), 0);
	assert_int_equal(count, sizeof wanted / sizeof *wanted);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(ranges[i].address, wanted[i].address);
		assert_int_equal(ranges[i].length, wanted[i].length);
		assert_int_equal(ranges[i].region_offset, wanted[i].region_offset);
		assert_string_equal(ranges[i].region, wanted[i].region);
	}
	free(ranges);
}

static void test_bad_mtree(void **state)
{
#define MEMORY "address-space: memory\n"
	static const char *const bad[] = {
		"",
		"unknown command\n",
		"address-space: I/O\n  " ALL "io\n",
		MEMORY,
		MEMORY "  what\n",
		MEMORY "  0-ff\n",
		MEMORY "  0-ff (prio x, ram): a\n",
		MEMORY "  0-ff (prio 0, ram) a\n",
		MEMORY "  ff-0 (prio 0, ram): a\n",
		MEMORY "  0-ffffffffffffffff (prio 0, ram): a\n",
		MEMORY "  0-ff (prio 0, ram): alias a\n",
		MEMORY "  0-ff (prio 0, ram): alias a @b ff-0\n",
		MEMORY "  0-ff (prio 0, ram): alias a b 0-ff\n",
		MEMORY "  " ALL "a\n\nmemory-region: b\n what\n",
	};
	struct wt_hmp_range *ranges = NULL;
	struct wt_error err;
	unsigned count = 0;
	size_t i;

	for (i = 0; i < sizeof bad / sizeof *bad; i++) {
		wt_error_clear(&err);
		assert_int_equal(wt_hmp_parse_mtree(bad[i], strlen(bad[i]), &ranges, &count, &err), -EPROTO);
		assert_true(err.text[0]);
		assert_null(ranges);
	}
}

static void test_gpa2hva(void **state)
{
	static const char *const none[] = {
		"",
		"No memory is mapped at address 0xfffffffffff\r\n",
		"Memory at address 0xfec00000 is not RAM\r\n",
		"Host virtual address for 0x0 (mem0) is \r\n",
		"Host virtual address for 0x0 (mem0) is 0x0\r\n",
		"Host virtual address for 0x0 (mem0) is 7fdf2ffff000\r\n",
		"Host virtual address for 0x0 (mem0) at 0x7fdf2ffff000\r\n",
		"Host virtual address for 0x0 mem0 is 0x7fdf2ffff000\r\n",
		"Host virtual address for 0x0 ( is 0x7fdf2ffff000\r\n",
	};
	const char *text = "Host virtual address for 0xa0000 (a (b) c) is 0x7fdf2ffff000\r\n";
	char name[WT_BLOCK_NAME_MAX + 1] = "untouched";
	uint64_t host = 5;
	size_t i;

	for (i = 0; i < sizeof none / sizeof *none; i++)
		assert_int_equal(wt_hmp_parse_gpa2hva(none[i], strlen(none[i]), name, &host), -ENOENT);
	assert_string_equal(name, "untouched");
	assert_int_equal(host, 5);
	assert_int_equal(wt_hmp_parse_gpa2hva(text, strlen(text), name, &host), 0);
	assert_string_equal(name, "a (b) c");
	assert_true(host == 0x7fdf2ffff000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ramblock),
		cmocka_unit_test(test_bad_ramblock),
		cmocka_unit_test(test_ramblock_limits),
		cmocka_unit_test(test_mtree),
		cmocka_unit_test(test_bad_mtree),
		cmocka_unit_test(test_gpa2hva),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

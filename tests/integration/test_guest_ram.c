/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_guest_ram.c - guest RAM of real QEMUs is found, mapped, and really is the guest's.
 *
 * Proof in both directions: what is written through the mapping is what QEMU's monitor prints at that guest
 * address (`xp`), and what QEMU dumps (`pmemsave`) is what the mapping holds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../../qemu-glue/guest_ram.h"
#include "qemu_process.h"

#define MIB (1ull << 20)
#define TIMEOUT 60000000000ull

struct guest {
	struct wt_qemu_process process;
	struct wt_loop *loop;
	struct wt_qmp *qmp;
	struct wt_guest_ram *ram;
};

static void guest_start(struct guest *guest, const char *const *arguments)
{
	struct wt_error err = { 0 };

	memset(guest, 0, sizeof *guest);
	assert_int_equal(wt_qemu_process_start(arguments, &guest->process), 0);
	assert_int_equal(wt_loop_open(&guest->loop), 0);
	if (wt_qmp_open(guest->loop, guest->process.qmp_path, TIMEOUT, NULL, NULL, &guest->qmp, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(wt_qmp_pid(guest->qmp), guest->process.pid);
	if (wt_guest_ram_open(guest->qmp, &guest->ram, &err) < 0)
		fail_msg("%s", err.text);
}

static void guest_stop(struct guest *guest)
{
	wt_guest_ram_close(guest->ram);
	wt_qmp_close(guest->qmp);
	wt_loop_close(guest->loop);
	wt_qemu_process_stop(&guest->process);
}

static const struct wt_ram_block *find(const struct guest *guest, const char *name, uint64_t length)
{
	const struct wt_ram_block *block = wt_guest_ram_find(guest->ram, name);

	assert_non_null(block);
	assert_int_equal(block->length, length);
	assert_int_equal(block->shared, block->base != NULL);
	assert_int_equal(block->shared, block->fd >= 0);
	return block;
}

/* Eight bytes of guest physical memory, as QEMU sees them. */
static uint64_t guest_read(const struct guest *guest, uint64_t address)
{
	struct wt_error err = { 0 };
	char command[64], *text = NULL;
	unsigned long long value = 0;

	snprintf(command, sizeof command, "xp /1xg 0x%llx", (unsigned long long)address);
	if (wt_qmp_human(guest->qmp, command, TIMEOUT, &text, &err) < 0)
		fail_msg("%s", err.text);
	assert_non_null(strchr(text, ':'));
	assert_int_equal(sscanf(strchr(text, ':') + 1, "%llx", &value), 1);
	free(text);
	return value;
}

/* The block's bytes at `offset` are the guest's at `address`. */
static void check_same(
	const struct guest *guest, const struct wt_ram_block *block, uint64_t offset, uint64_t address)
{
	static uint64_t mark = 0x1122334455667788;
	uint64_t old;

	assert_true(block->shared);
	memcpy(&old, (char *)block->base + offset, sizeof old);
	assert_true(guest_read(guest, address) == old);
	mark = mark * 6364136223846793005u + 1442695040888963407u;
	memcpy((char *)block->base + offset, &mark, sizeof mark);
	assert_true(guest_read(guest, address) == mark);
	memcpy((char *)block->base + offset, &old, sizeof old);
}

/* What QEMU dumps is what the mapping holds. */
static void check_dump(
	const struct guest *guest, const struct wt_ram_block *block, uint64_t address, size_t length)
{
	char path[80], *dumped = malloc(length);
	struct wt_error err = { 0 };
	int fd;

	snprintf(path, sizeof path, "%s/dump", guest->process.directory);
	memset((char *)block->base + address, 0x5a, length / 2);
	if (wt_qmp_call(guest->qmp, "pmemsave",
		    json_pack("{s:I,s:I,s:s}", "val", (json_int_t)address, "size", (json_int_t)length,
			    "filename", path),
		    TIMEOUT, NULL, &err) < 0)
		fail_msg("%s", err.text);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, dumped, length), length);
	assert_memory_equal(dumped, (char *)block->base + address, length);
	close(fd);
	unlink(path);
	free(dumped);
}

/* The kernel says that our descriptor is the guest's file: size, and the place of the block in it. */
static void check_file(const struct wt_ram_block *block, uint64_t offset, uint64_t page_size)
{
	struct stat file;

	assert_int_equal(fstat(block->fd, &file), 0);
	assert_int_equal(block->fd_offset, offset);
	assert_true((uint64_t)file.st_size >= offset + block->length);
	assert_int_equal(block->backing_page_size, page_size);
}

static void check_others_private(const struct guest *guest, unsigned shared)
{
	unsigned i;

	for (i = 0; i < guest->ram->count; i++)
		shared -= guest->ram->blocks[i].shared;
	assert_int_equal(shared, 0);
	assert_null(wt_guest_ram_find(guest->ram, ""));
	assert_null(wt_guest_ram_find(guest->ram, "no such block"));
}

static void one_memfd(const char *machine)
{
	const char *arguments[] = { "-M", machine, "-m", "128M", "-S", "-object",
		"memory-backend-memfd,id=mem0,size=128M,share=on", "-device", "VGA,addr=07", NULL };
	const struct wt_ram_block *block;
	struct guest guest;

	guest_start(&guest, arguments);
	block = find(&guest, "mem0", 128 * MIB);
	check_file(block, 0, 4096);
	check_same(&guest, block, 0, 0);
	check_same(&guest, block, 0x9fff8, 0x9fff8);
	check_same(&guest, block, 128 * MIB - 8, 128 * MIB - 8);
	check_dump(&guest, block, MIB, MIB);
	assert_false(find(&guest, "0000:00:07.0/vga.vram", 16 * MIB)->shared ||
		     find(&guest, "pc.rom", 0x20000)->shared);
	check_others_private(&guest, 1);
	guest_stop(&guest);
}

static void test_one_memfd(void **state)
{
	one_memfd("q35,memory-backend=mem0");
	one_memfd("pc,memory-backend=mem0");
}

/* Two blocks of one size: which is which cannot be guessed. */
static void test_two_nodes(void **state)
{
	static const char *const orders[][2] = { { "n0", "n1" }, { "n1", "n0" } };
	char path[] = "/dev/shm/watari-test-XXXXXX", file[128], node0[64], node1[64];
	const char *arguments[] = { "-M", "q35", "-m", "128M", "-S", "-smp", "2", "-object",
		"memory-backend-memfd,id=n0,size=64M,share=on", "-object", file, "-numa", node0, "-numa",
		node1, NULL };
	struct guest guest;
	int i, fd = mkstemp(path);

	assert_true(fd >= 0);
	snprintf(file, sizeof file, "memory-backend-file,id=n1,size=64M,share=on,mem-path=%s", path);
	for (i = 0; i < 2; i++) {
		snprintf(node0, sizeof node0, "node,nodeid=0,cpus=0,memdev=%s", orders[i][0]);
		snprintf(node1, sizeof node1, "node,nodeid=1,cpus=1,memdev=%s", orders[i][1]);
		guest_start(&guest, arguments);
		check_same(&guest, find(&guest, orders[i][0], 64 * MIB), 0x12345678 % (64 * MIB), 0x2345678);
		check_same(&guest, find(&guest, orders[i][0], 64 * MIB), 64 * MIB - 8, 64 * MIB - 8);
		check_same(&guest, find(&guest, orders[i][1], 64 * MIB), 0, 64 * MIB);
		check_same(&guest, find(&guest, orders[i][1], 64 * MIB), 64 * MIB - 8, 128 * MIB - 8);
		check_others_private(&guest, 2);
		guest_stop(&guest);
	}
	close(fd);
	unlink(path);
}

/* RAM above 4 GiB is a second view of the same block. */
static void test_above_4_gib(void **state)
{
	static const char *const arguments[] = { "-M", "q35,memory-backend=mem0", "-m", "4G", "-S", "-object",
		"memory-backend-memfd,id=mem0,size=4G,share=on", NULL };
	const struct wt_ram_block *block;
	struct guest guest;

	guest_start(&guest, arguments);
	block = find(&guest, "mem0", 4096 * MIB);
	check_same(&guest, block, 2048 * MIB - 8, 2048 * MIB - 8);
	check_same(&guest, block, 2048 * MIB, 4096 * MIB);
	check_same(&guest, block, 4096 * MIB - 8, 6144 * MIB - 8);
	guest_stop(&guest);
}

static void test_private(void **state)
{
	static const char *const arguments[] = { "-M", "q35,memory-backend=mem0", "-m", "64M", "-S",
		"-object", "memory-backend-memfd,id=mem0,size=64M,share=off", NULL };
	static const char *const plain[] = { "-M", "pc", "-m", "64M", "-S", NULL };
	struct guest guest;

	guest_start(&guest, arguments);
	assert_false(find(&guest, "mem0", 64 * MIB)->shared);
	check_others_private(&guest, 0);
	guest_stop(&guest);
	guest_start(&guest, plain);
	assert_false(find(&guest, "pc.ram", 64 * MIB)->shared);
	check_others_private(&guest, 0);
	guest_stop(&guest);
}

/* Of two nodes one is private: only the other is mapped. */
static void test_half_private(void **state)
{
	static const char *const arguments[] = { "-M", "q35", "-m", "128M", "-S", "-smp", "2", "-object",
		"memory-backend-memfd,id=n0,size=64M,share=off", "-object",
		"memory-backend-memfd,id=n1,size=64M,share=on", "-numa", "node,nodeid=0,cpus=0,memdev=n0",
		"-numa", "node,nodeid=1,cpus=1,memdev=n1", NULL };
	struct guest guest;

	guest_start(&guest, arguments);
	assert_false(find(&guest, "n0", 64 * MIB)->shared);
	check_same(&guest, find(&guest, "n1", 64 * MIB), 8, 64 * MIB + 8);
	check_others_private(&guest, 1);
	guest_stop(&guest);
}

/* A hot-pluggable module, and block names in the long form of old machine types. */
static void test_dimm_and_long_names(void **state)
{
	static const char *const dimm[] = { "-M", "q35,memory-backend=mem0", "-m", "64M,slots=2,maxmem=1G",
		"-S", "-object", "memory-backend-memfd,id=mem0,size=64M,share=on", "-object",
		"memory-backend-memfd,id=more,size=128M,share=on", "-device", "pc-dimm,id=d0,memdev=more",
		NULL };
	static const char *const old[] = { "-M", "pc-q35-3.1,memory-backend=mem0", "-m", "64M", "-S",
		"-object",
		"memory-backend-memfd,id=mem0,size=64M,share=on,x-use-canonical-path-for-ramblock-id=on",
		NULL };
	struct guest guest;

	guest_start(&guest, dimm);
	check_same(&guest, find(&guest, "mem0", 64 * MIB), 16, 16);
	check_same(&guest, find(&guest, "more", 128 * MIB), 24, 4096 * MIB + 24);
	guest_stop(&guest);
	guest_start(&guest, old);
	check_same(&guest, find(&guest, "/objects/mem0", 64 * MIB), 16, 16);
	guest_stop(&guest);
}

/* QEMU before 10 keeps no descriptor of this kind; root finds it through the mapping itself. */
static void test_shared_without_descriptor(void **state)
{
	static const char *const arguments[] = { "-M", "q35,memory-backend=mem0", "-m", "64M", "-S",
		"-object", "memory-backend-ram,id=mem0,size=64M,share=on", NULL };
	const struct wt_ram_block *block;
	struct guest guest;

	guest_start(&guest, arguments);
	block = find(&guest, "mem0", 64 * MIB);
	if (block->shared)
		check_same(&guest, block, 64 * MIB - 8, 64 * MIB - 8);
	else
		assert_int_not_equal(geteuid(), 0);
	guest_stop(&guest);
}

static void test_huge_pages(void **state)
{
	static const char *const arguments[] = { "-M", "q35,memory-backend=mem0", "-m", "16M", "-S",
		"-object", "memory-backend-memfd,id=mem0,size=16M,share=on,hugetlb=on,hugetlbsize=2M", NULL };
	const struct wt_ram_block *block;
	struct guest guest;
	void *probe;
	int fd = memfd_create("probe", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);

	if (fd < 0 || ftruncate(fd, 16 * MIB))
		skip();
	probe = mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (probe == MAP_FAILED) {
		print_message(
			"skipped: fewer than 8 huge pages of 2 MiB are free (sysctl vm.nr_hugepages=16)\n");
		skip();
	}
	munmap(probe, 16 * MIB);
	guest_start(&guest, arguments);
	block = find(&guest, "mem0", 16 * MIB);
	check_file(block, 0, 2 * MIB);
	check_same(&guest, block, 16 * MIB - 8, 16 * MIB - 8);
	guest_stop(&guest);
}

/* A destination that waits for its migration. */
static void test_destination(void **state)
{
	static const char *const arguments[] = { "-M", "q35,memory-backend=mem0", "-m", "64M", "-incoming",
		"defer", "-S", "-object", "memory-backend-memfd,id=mem0,size=64M,share=on", NULL };
	struct guest guest;

	guest_start(&guest, arguments);
	check_same(&guest, find(&guest, "mem0", 64 * MIB), 0x1000, 0x1000);
	guest_stop(&guest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_memfd),
		cmocka_unit_test(test_two_nodes),
		cmocka_unit_test(test_above_4_gib),
		cmocka_unit_test(test_private),
		cmocka_unit_test(test_half_private),
		cmocka_unit_test(test_dimm_and_long_names),
		cmocka_unit_test(test_shared_without_descriptor),
		cmocka_unit_test(test_huge_pages),
		cmocka_unit_test(test_destination),
	};

	if (!wt_qemu_process_available()) {
		print_message("skipped: no QEMU (set WATARI_QEMU to qemu-system-x86_64's path)\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

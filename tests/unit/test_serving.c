/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_serving.c - what is registered of a memory with holes: over tcp all, over verbs long runs with a ring
 * beside them, whole chunks without one. The fabric is a stub that only remembers.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "serving.h"

#define MIB (1ull << 20)
#define LENGTH (100 * MIB)

struct wt_endpoint {
	unsigned regions;
};

struct wt_region {
	struct wt_endpoint *endpoint;
	uint8_t *base;
	size_t length;
};

static int endpoint_open(
	const char *device, const char *peer_host, struct wt_endpoint **ret_endpoint, struct wt_error *err)
{
	*ret_endpoint = calloc(1, sizeof **ret_endpoint);
	return 0;
}

static void endpoint_close(struct wt_endpoint *endpoint)
{
	assert_int_equal(endpoint->regions, 0);
	free(endpoint);
}

static int region_add(struct wt_endpoint *endpoint, void *base, size_t length, unsigned access,
	struct wt_region **ret_region, struct wt_error *err)
{
	*ret_region = malloc(sizeof **ret_region);
	**ret_region = (struct wt_region){ .endpoint = endpoint, .base = base, .length = length };
	endpoint->regions++;
	return 0;
}

static void region_key(const struct wt_region *region, struct wt_key *ret_key)
{
	*ret_key = (struct wt_key){ .address = (uintptr_t)region->base, .length = region->length };
}

static atomic_bool unpinning_waits;
static sem_t gate;

static void region_remove(struct wt_region *region)
{
	while (unpinning_waits && sem_wait(&gate))
		;
	region->endpoint->regions--;
	free(region);
}

static struct wt_fabric_ops ops = { .endpoint_open = endpoint_open,
	.endpoint_close = endpoint_close,
	.region_add = region_add,
	.region_key = region_key,
	.region_remove = region_remove };

static struct wt_memory *memory;
static struct wt_serving *serving;
static uint8_t *base;
static int fd;
static struct wt_error err;

static void exist(uint64_t offset, uint64_t length)
{
	memset(base + offset, 1, length);
}

static int setup(void **state)
{
	fd = memfd_create("ram", MFD_CLOEXEC);
	base = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	wt_error_clear(&err);
	if (fd < 0 || ftruncate(fd, LENGTH) || base == MAP_FAILED || wt_memory_open(&memory, &err))
		return -1;
	if (wt_memory_block_add(memory, "rom", NULL, MIB, -1, 0, &err) != 0 ||
		wt_memory_block_add(memory, "ram", base, LENGTH, fd, 0, &err) != 1)
		return -1;
	exist(20 * MIB, WT_PAGE_SIZE); /* a short run */
	exist(33 * MIB, MIB);
	exist(LENGTH - WT_PAGE_SIZE, WT_PAGE_SIZE);
	return 0;
}

static int teardown(void **state)
{
	wt_serving_close(serving);
	serving = NULL;
	wt_memory_close(memory);
	munmap(base, LENGTH);
	close(fd);
	return 0;
}

static int serve(enum wt_fabric fabric, bool pin, struct wt_ring *ring)
{
	static const atomic_bool stop;
	struct wt_served_memory served = { .memory = memory, .pin = pin, .ring = ring };

	ops.fabric = fabric;
	assert_int_equal(wt_serving_open(&ops, NULL, NULL, &serving, &err), 0);
	return wt_serving_register(serving, &served, &stop, &err);
}

static void expect_region(unsigned index, uint64_t offset, uint64_t length)
{
	struct wt_wire_region region;

	assert_int_equal(wt_serving_region(serving, index, &region), 0);
	assert_int_equal(region.block, 1);
	assert_int_equal(region.offset, offset);
	assert_int_equal(region.key.length, length);
	assert_ptr_equal((void *)(uintptr_t)region.key.address, base + offset);
}

static void expect_ring(unsigned index)
{
	struct wt_wire_region region;

	assert_int_equal(wt_serving_region(serving, index, &region), 0);
	assert_int_equal(region.block, WT_WIRE_RING);
}

static void expect_end(unsigned index)
{
	struct wt_wire_region region;

	assert_int_equal(wt_serving_region(serving, index, &region), -ENOENT);
}

static void test_tcp_serves_all(void **state)
{
	assert_int_equal(serve(WT_FABRIC_TCP, false, NULL), 0);
	expect_region(0, 0, LENGTH);
	expect_end(1);
}

static void test_verbs_pins_long_runs_beside_a_ring(void **state)
{
	struct wt_ring *ring;

	assert_int_equal(wt_ring_open(MIB, &ring), 0);
	assert_int_equal(serve(WT_FABRIC_VERBS, true, ring), 0);
	expect_region(0, 33 * MIB, MIB);
	expect_ring(1);
	expect_end(2);
	wt_serving_close(serving);
	assert_int_equal(serve(WT_FABRIC_VERBS, false, ring), 0);
	expect_ring(0);
	expect_end(1);
	wt_ring_release(ring);
}

/* Nothing that exists is left out, however short; neighbours are one region. */
static void test_verbs_pins_whole_chunks_without_a_ring(void **state)
{
	struct wt_extent e = { .block = 1, .page = 20 * MIB / WT_PAGE_SIZE, .pages = 1 };
	uint32_t copy;

	assert_int_equal(serve(WT_FABRIC_VERBS, true, NULL), 0);
	expect_region(0, 16 * MIB, 32 * MIB);
	expect_region(1, 96 * MIB, 4 * MIB);
	expect_end(2);
	assert_int_equal(wt_serving_in_place(serving, &e, &copy), 1);
	wt_serving_void(serving);
	expect_end(0);
}

static void test_verbs_pins_nothing_that_may_be_discarded(void **state)
{
	assert_int_equal(serve(WT_FABRIC_VERBS, false, NULL), 0);
	expect_end(0);
}

static atomic_bool memory_closed;

static void *close_memory(void *arg)
{
	wt_memory_close(memory);
	memory_closed = true;
	return NULL;
}

/* Unpinning may take long: nobody waits for it but who gives up the memory. */
static void test_release_does_not_wait(void **state)
{
	pthread_t thread;

	assert_int_equal(serve(WT_FABRIC_VERBS, true, NULL), 0);
	sem_init(&gate, 0, 0);
	unpinning_waits = true;
	wt_serving_release(serving); /* or it would wait here for ever */
	serving = NULL;
	memory_closed = false;
	pthread_create(&thread, NULL, close_memory, NULL);
	sem_post(&gate);
	assert_false(memory_closed); /* two regions */
	sem_post(&gate);
	pthread_join(thread, NULL);
	unpinning_waits = false;
	memory = NULL;
}

/* What holds the memory is full, or was cut short: a sentence, not a signal. */
static void test_no_memory_for_the_holes_of_a_chunk(void **state)
{
	assert_int_equal(ftruncate(fd, 40 * MIB), 0);
	assert_int_equal(serve(WT_FABRIC_VERBS, true, NULL), -ENOSPC);
	assert_non_null(strstr(err.text, "there is no memory of block ram"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_tcp_serves_all, setup, teardown),
		cmocka_unit_test_setup_teardown(test_verbs_pins_long_runs_beside_a_ring, setup, teardown),
		cmocka_unit_test_setup_teardown(test_verbs_pins_whole_chunks_without_a_ring, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_verbs_pins_nothing_that_may_be_discarded, setup, teardown),
		cmocka_unit_test_setup_teardown(test_release_does_not_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_memory_for_the_holes_of_a_chunk, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

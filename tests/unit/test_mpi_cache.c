/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_mpi_cache.c - registrations that are kept without a user, over fabrics that only count: found again,
 * evicted, gone with their memory, and across attaches; and the notes of memory that went away.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "gone.h"
#include "seed.h"

#define PAGE ((size_t)4096)
#define PAGES 64u
#define RW (WT_ACCESS_SERVE | WT_ACCESS_SINK | WT_ACCESS_TARGET)
#define MANY (1u << 30)

struct wt_endpoint {
	unsigned regions;
	size_t bytes;
	size_t bytes_max; /* as much may be registered */
	int refuses;      /* with this status, if it is one */
	uint64_t last_key;
};

struct wt_region {
	struct wt_endpoint *endpoint;
	size_t length;
	uint64_t key;
};

static struct wt_registry registry;
static struct wt_cache cache;
static struct wt_endpoint tcp, verbs;
static uint8_t *memory; /* PAGES */

static int region_add(struct wt_endpoint *endpoint, void *base, size_t length, unsigned access,
	struct wt_region **ret_region, struct wt_error *err)
{
	struct wt_region *region;

	if (endpoint->refuses)
		return endpoint->refuses;
	if (length > endpoint->bytes_max - endpoint->bytes)
		return -ENOMEM;
	region = calloc(1, sizeof *region);
	assert_non_null(region);
	*region = (struct wt_region){ endpoint, length, ++endpoint->last_key };
	endpoint->regions++;
	endpoint->bytes += length;
	*ret_region = region;
	return 0;
}

static void region_remove(struct wt_region *region)
{
	region->endpoint->regions--;
	region->endpoint->bytes -= region->length;
	free(region);
}

static void region_key(const struct wt_region *region, struct wt_key *ret_key)
{
	*ret_key = (struct wt_key){ .length = region->length, .key = region->key };
}

static const struct wt_fabric_ops fabric = {
	.region_add = region_add, .region_remove = region_remove, .region_key = region_key
};

static void attach(bool with_verbs)
{
	static uint32_t epoch;

	wt_cache_clear(&cache);
	epoch++;
	assert_int_equal(wt_registry_attach(&registry, WT_LINK_TCP, &fabric, &tcp, epoch, NULL), 0);
	if (with_verbs)
		assert_int_equal(
			wt_registry_attach(&registry, WT_LINK_VERBS, &fabric, &verbs, epoch, NULL), 0);
}

static void detach(void)
{
	wt_cache_clear(&cache);
	wt_registry_attach(&registry, WT_LINK_VERBS, &fabric, NULL, 0, NULL);
	wt_registry_attach(&registry, WT_LINK_TCP, &fabric, NULL, 0, NULL);
}

static void begin(size_t idle_bytes_max)
{
	memory = aligned_alloc(PAGE, PAGES * PAGE);
	registry = (struct wt_registry){ 0 };
	tcp = (struct wt_endpoint){ .bytes_max = SIZE_MAX };
	verbs = (struct wt_endpoint){ .bytes_max = SIZE_MAX };
	wt_cache_open(&cache, &registry, idle_bytes_max);
	attach(true);
}

static void end(void)
{
	detach();
	wt_cache_close(&cache);
	wt_registry_close(&registry);
	assert_int_equal(tcp.regions + verbs.regions, 0);
	free(memory);
}

static struct wt_registration *take(size_t at, size_t length, unsigned access)
{
	struct wt_error err = { 0 };
	struct wt_registration *found = wt_cache_take(&cache, memory + at, length, access, &err);

	assert_non_null(found);
	assert_true(found->handle.base <= (uintptr_t)memory + at);
	assert_true((uintptr_t)memory + at + length <= found->handle.base + found->handle.length);
	assert_int_equal(found->access & access, access);
	assert_int_equal(found->handle.epoch, registry.epoch);
	return found;
}

static void give(struct wt_registration *registration)
{
	wt_cache_give(&cache, registration);
}

/* Takes, gives back, and answers whether it was there. */
static bool hits(size_t at, size_t length, unsigned access)
{
	uint64_t before = cache.figures.found;

	give(take(at, length, access));
	return cache.figures.found > before;
}

static void test_found(void **state)
{
	struct wt_registration *first, *second;

	begin(MANY);
	first = take(PAGE + 100, 3 * PAGE, WT_ACCESS_SERVE);
	assert_int_equal(first->handle.length, 4 * PAGE); /* whole pages */
	second = take(2 * PAGE, 10, WT_ACCESS_SERVE);
	assert_ptr_equal(first, second);
	give(first);
	assert_int_equal(verbs.regions, 1);
	give(second);
	assert_int_equal(verbs.regions, 1); /* kept */
	assert_true(hits(PAGE, 4 * PAGE, WT_ACCESS_SERVE));
	assert_false(hits(4 * PAGE, 2 * PAGE, WT_ACCESS_SERVE)); /* a part of it only */
	assert_int_equal(verbs.regions, 2);
	assert_true(hits(PAGE, 4 * PAGE, WT_ACCESS_SERVE));
	end();
}

static void test_access(void **state)
{
	begin(MANY);
	assert_false(hits(0, PAGE, WT_ACCESS_SERVE));
	assert_false(hits(0, PAGE, WT_ACCESS_SERVE | WT_ACCESS_TARGET));
	assert_true(hits(0, PAGE, WT_ACCESS_SERVE | WT_ACCESS_SINK));
	assert_true(hits(0, PAGE, WT_ACCESS_SERVE));
	end();
}

/* One that holds others takes their place; who has one of those keeps it. */
static void test_larger(void **state)
{
	struct wt_registration *used;
	uint64_t id;

	begin(MANY);
	used = take(PAGE, PAGE, RW);
	id = used->handle.id;
	give(take(2 * PAGE, PAGE, RW));
	give(take(0, 4 * PAGE, RW));
	assert_int_equal(verbs.regions, 2);
	assert_ptr_equal(wt_registry_find(&registry, id), used);
	assert_true(hits(PAGE, PAGE, RW));
	give(used);
	assert_null(wt_registry_find(&registry, id));
	assert_int_equal(verbs.regions, 1);
	end();
}

static void test_not_kept(void **state)
{
	struct wt_registration *registration;

	begin(0);
	registration = take(100, 50, RW);
	assert_int_equal(registration->handle.base, (uintptr_t)memory + 100);
	assert_int_equal(registration->handle.length, 50);
	give(registration);
	assert_int_equal(tcp.regions, 0);
	end();
}

static void test_evict(void **state)
{
	struct wt_registration *used;
	size_t i;

	begin(4 * PAGE);
	for (i = 0; i < 4; i++)
		assert_false(hits(2 * i * PAGE, PAGE, RW));
	assert_true(hits(0, PAGE, RW)); /* now the second is the oldest */
	assert_false(hits(20 * PAGE, PAGE, RW));
	assert_int_equal(verbs.regions, 4);
	assert_true(hits(0, PAGE, RW));
	assert_false(hits(2 * PAGE, PAGE, RW));
	assert_int_equal(cache.idle_bytes, 4 * PAGE);
	used = take(30 * PAGE, 10 * PAGE, RW); /* in use: not counted */
	assert_int_equal(cache.idle, 4);
	give(used); /* larger than all that may be kept */
	assert_int_equal(cache.idle, 0);
	assert_int_equal(verbs.regions, 0);
	end();
}

static void test_evict_by_number(void **state)
{
	uint8_t *many;
	size_t i;

	begin(MANY);
	many = aligned_alloc(PAGE, (WT_CACHE_IDLE_MAX + 1) * PAGE);
	for (i = 0; i <= WT_CACHE_IDLE_MAX; i++)
		give(wt_cache_take(&cache, many + i * PAGE, 1, RW, NULL));
	assert_int_equal(cache.idle, WT_CACHE_IDLE_MAX);
	assert_int_equal(cache.figures.evicted, 1);
	detach();
	free(many);
	end();
}

/* A device that takes no more gets room, oldest first; one that refuses for another reason does not. */
static void test_device_is_full(void **state)
{
	struct wt_registration *used, *refused;

	begin(MANY);
	verbs.bytes_max = 4 * PAGE;
	give(take(0, PAGE, RW));
	give(take(2 * PAGE, PAGE, RW));
	used = take(4 * PAGE, 2 * PAGE, RW);
	give(take(8 * PAGE, PAGE, RW));
	assert_int_equal(cache.figures.evicted, 1);
	assert_true(hits(2 * PAGE, PAGE, RW));
	refused = take(10 * PAGE, 3 * PAGE, RW); /* there is no room for that: reached over tcp */
	assert_null(refused->regions[WT_LINK_VERBS]);
	assert_non_null(refused->regions[WT_LINK_TCP]);
	assert_int_equal(cache.idle, 0);
	give(used);
	give(refused);
	assert_int_equal(tcp.regions, 1); /* what was refused is tried anew the next time */
	verbs.refuses = -EFAULT;
	give(take(20 * PAGE, PAGE, WT_ACCESS_SERVE));
	assert_int_equal(cache.idle, 1);
	assert_int_equal(verbs.regions, 1);
	end();
}

static void test_memory_gone(void **state)
{
	struct wt_registration *used, *again;
	uint64_t id;

	begin(MANY);
	give(take(0, 2 * PAGE, RW));
	give(take(0, 2 * PAGE, WT_ACCESS_SERVE));
	give(take(PAGE, 2 * PAGE, WT_ACCESS_SERVE));
	give(take(4 * PAGE, PAGE, RW));
	used = take(6 * PAGE, 2 * PAGE, RW);
	id = used->handle.id;
	wt_cache_gone(&cache, (uintptr_t)memory + 2 * PAGE, PAGE); /* the third only */
	assert_true(hits(0, 2 * PAGE, RW));
	assert_true(hits(4 * PAGE, PAGE, RW));
	assert_false(hits(PAGE, 2 * PAGE, WT_ACCESS_SERVE));
	wt_cache_gone(&cache, (uintptr_t)memory + 7 * PAGE, 10 * PAGE);
	assert_ptr_equal(wt_registry_find(&registry, id), used); /* until it is given back */
	again = take(6 * PAGE, 2 * PAGE, RW);
	assert_ptr_not_equal(again, used);
	give(used);
	assert_null(wt_registry_find(&registry, id));
	give(again);
	assert_true(hits(6 * PAGE, 2 * PAGE, RW));
	wt_cache_gone(&cache, 0, SIZE_MAX);
	assert_int_equal(verbs.regions, 0);
	end();
}

/* Keys that are in use outlive a re-attach under their id; those that nobody has do not, and nobody is given
 * a handle with keys of another attach. */
static void test_attach(void **state)
{
	struct wt_registration *used, *again;
	struct wt_handle handle;
	uint64_t idle_id;

	begin(MANY);
	used = take(0, PAGE, RW);
	handle = used->handle;
	again = take(2 * PAGE, PAGE, RW);
	idle_id = again->handle.id;
	give(again);
	detach();
	assert_int_equal(tcp.regions + verbs.regions, 0);
	assert_null(wt_registry_find(&registry, idle_id)); /* a stale key is an error */
	assert_ptr_equal(wt_registry_find(&registry, handle.id), used);
	again = wt_cache_take(&cache, memory, PAGE, RW, NULL); /* while there is no fabric */
	assert_int_equal(again->handle.epoch, WT_REGISTRY_NO_EPOCH);
	give(again);
	assert_int_equal(cache.idle, 0);
	attach(true);
	assert_int_equal(tcp.regions, 1);
	assert_int_equal(verbs.regions, 1);
	assert_memory_equal(&used->handle, &handle, sizeof handle);
	assert_int_not_equal(used->keys[WT_LINK_VERBS].key, handle.keys[WT_LINK_VERBS].key);
	again = take(0, PAGE, RW);
	assert_ptr_not_equal(again, used);
	assert_memory_equal(again->handle.keys, again->keys, sizeof again->keys);
	give(used);
	assert_null(wt_registry_find(&registry, handle.id));
	give(again);
	assert_true(hits(0, PAGE, RW));
	detach();
	attach(false);
	assert_int_equal(tcp.regions, 0);
	assert_false(hits(0, PAGE, RW));
	assert_true(hits(0, PAGE, RW)); /* over tcp alone it is whole as well */
	end();
}

/* The invariants of cache.c. */
static void check_cache(void)
{
	uint32_t i, idle = 0;
	size_t bytes = 0;
	unsigned which;

	for (which = 0; which < 2; which++) {
		const struct wt_cache_map *map = &cache.maps[which];

		for (i = 0; i < map->count; i++) {
			const struct wt_handle *at = &map->entries[i]->handle, *before = at;

			if (i)
				before = &map->entries[i - 1]->handle;
			check(!i || (before->base < at->base &&
					    before->base + before->length < at->base + at->length));
			check(map->entries[i]->kept && map->entries[i]->regions[WT_LINK_TCP]);
			check(at->epoch == registry.epoch);
			idle += !map->entries[i]->users;
			bytes += map->entries[i]->users ? 0 : at->length;
		}
	}
	check(idle == cache.idle && bytes == cache.idle_bytes && bytes <= cache.idle_bytes_max);
}

#define HELD 12u

/* Each page has a generation; a registration is right for the generations that it was made with. */
static void random_run(void)
{
	struct held {
		struct wt_registration *registration;
		uint64_t first, count;
	} held[HELD] = { 0 };
	uint64_t made_at[PAGES] = { 0 }, now = 0, serial_of_change = 0;
	unsigned i, step;

	begin(seed_below(3) ? 10 * PAGE : MANY);
	if (!seed_below(3))
		verbs.bytes_max = 20 * PAGE;
	for (step = 0; step < 300; step++) {
		struct held *one = &held[seed_below(HELD)];
		uint64_t first = seed_below(PAGES), count = seed_below(PAGES - first) % 9 + 1, k;

		now++;
		if (one->registration) {
			check(wt_registry_find(&registry, one->registration->handle.id) == one->registration);
			give(one->registration);
			one->registration = NULL;
		} else if (seed_below(8) == 0) {
			wt_cache_gone(&cache, (uintptr_t)memory + first * PAGE, count * PAGE);
			for (k = 0; k < count; k++)
				made_at[first + k] = registry.serial;
		} else if (seed_below(20) == 0) {
			detach();
			attach(seed_below(2));
			serial_of_change = registry.serial;
		} else {
			one->registration = take(first * PAGE, count * PAGE,
				seed_below(2) ? WT_ACCESS_SERVE : WT_ACCESS_SERVE | WT_ACCESS_SINK);
			/* made after the memory, and after the attach */
			check(one->registration->handle.id >> 32 > serial_of_change);
			for (k = 0; k < count; k++)
				check(one->registration->handle.id >> 32 > made_at[first + k]);
		}
		check_cache();
	}
	for (i = 0; i < HELD; i++)
		if (held[i].registration)
			give(held[i].registration);
	end();
}

static void test_random(void **state)
{
	seed_runs(200, random_run);
}

static void test_notes(void **state)
{
	struct wt_gone gone = WT_GONE_INITIALIZER;
	struct wt_gone_range ranges[WT_GONE_MAX];
	bool all = true;
	unsigned i;

	assert_int_equal(wt_gone_take(&gone, ranges, &all), 0);
	assert_false(all);
	wt_gone_put(&gone, (void *)0x1000, 7);
	wt_gone_put(&gone, (void *)0x5000, 9);
	assert_int_equal(wt_gone_take(&gone, ranges, &all), 2);
	assert_false(all);
	assert_int_equal(ranges[1].base, 0x5000);
	assert_int_equal(ranges[1].length, 9);
	assert_int_equal(wt_gone_take(&gone, ranges, &all), 0);
	for (i = 0; i <= WT_GONE_MAX; i++)
		wt_gone_put(&gone, (void *)0x1000, 1);
	assert_int_equal(wt_gone_take(&gone, ranges, &all), WT_GONE_MAX);
	assert_true(all);
	pthread_mutex_lock(&gone.lock); /* somebody takes, or was here when the process forked */
	wt_gone_put(&gone, (void *)0x1000, 1);
	pthread_mutex_unlock(&gone.lock);
	assert_int_equal(wt_gone_take(&gone, ranges, &all), 0);
	assert_true(all);
	assert_int_equal(wt_gone_take(&gone, ranges, &all), 0);
	assert_false(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found),
		cmocka_unit_test(test_access),
		cmocka_unit_test(test_larger),
		cmocka_unit_test(test_not_kept),
		cmocka_unit_test(test_evict),
		cmocka_unit_test(test_evict_by_number),
		cmocka_unit_test(test_device_is_full),
		cmocka_unit_test(test_memory_gone),
		cmocka_unit_test(test_attach),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_notes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

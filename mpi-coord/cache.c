/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cache.c - registrations that outlive their use; see cache.h.
 *
 *   1. In a map no entry holds the memory of another: so they are in the order of their ends, too, and if any
 *      holds a range, then it is the last one that begins before it.
 *   2. What is in a map is registered over every fabric there is, with the keys of this attach in its handle.
 *   3. Without a user a registration is in a map, and in the list from oldest to newest; out of the map it is
 *      removed with its last user.
 *   4. Whenever the caller is not in here, idle_bytes <= idle_bytes_max and idle <= WT_CACHE_IDLE_MAX.
 * Knows nothing of how memory goes away: gone.h.
 */
#include "cache.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum map {
	READ = 0,
	READ_AND_WRITTEN,
};

static uint64_t begin_of(const struct wt_registration *registration)
{
	return registration->handle.base;
}

static uint64_t end_of(const struct wt_registration *registration)
{
	return registration->handle.base + registration->handle.length;
}

static enum map map_of(unsigned access)
{
	return access == WT_ACCESS_SERVE ? READ : READ_AND_WRITTEN;
}

/* How many entries begin before this address; with `also`: or at it. */
static uint32_t begin_before(const struct wt_cache_map *map, uint64_t address, bool also)
{
	uint32_t low = 0, high = map->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		uint64_t begin = begin_of(map->entries[middle]);

		if (begin < address || (also && begin == address))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void idle_add(struct wt_cache *cache, struct wt_registration *registration)
{
	registration->older = cache->newest;
	registration->newer = NULL;
	if (cache->newest)
		cache->newest->newer = registration;
	else
		cache->oldest = registration;
	cache->newest = registration;
	cache->idle++;
	cache->idle_bytes += registration->handle.length;
}

static void idle_remove(struct wt_cache *cache, struct wt_registration *registration)
{
	if (registration->older)
		registration->older->newer = registration->newer;
	else
		cache->oldest = registration->newer;
	if (registration->newer)
		registration->newer->older = registration->older;
	else
		cache->newest = registration->older;
	cache->idle--;
	cache->idle_bytes -= registration->handle.length;
}

/* Out of the map, from this place on so many; those without a user are removed. */
static void forget(struct wt_cache *cache, struct wt_cache_map *map, uint32_t at, uint32_t count)
{
	uint32_t i;

	if (!count)
		return;
	for (i = at; i < at + count; i++) {
		struct wt_registration *registration = map->entries[i];

		registration->kept = false;
		if (registration->users)
			continue;
		idle_remove(cache, registration);
		wt_registry_remove(cache->registry, registration);
	}
	map->count -= count;
	memmove(map->entries + at, map->entries + at + count, (map->count - at) * sizeof *map->entries);
}

static bool evict(struct wt_cache *cache)
{
	struct wt_registration *registration = cache->oldest;
	struct wt_cache_map *map;

	if (!registration)
		return false;
	map = &cache->maps[map_of(registration->access)];
	forget(cache, map, begin_before(map, begin_of(registration), false), 1);
	cache->figures.evicted++;
	return true;
}

static bool make_room(void *arg)
{
	return evict(arg);
}

void wt_cache_open(struct wt_cache *cache, struct wt_registry *registry, size_t idle_bytes_max)
{
	*cache = (struct wt_cache){ .registry = registry, .idle_bytes_max = idle_bytes_max };
	registry->make_room = make_room;
	registry->make_room_arg = cache;
}

void wt_cache_close(struct wt_cache *cache)
{
	wt_cache_clear(cache);
	free(cache->maps[READ].entries);
	free(cache->maps[READ_AND_WRITTEN].entries);
	*cache = (struct wt_cache){ 0 };
}

static struct wt_registration *find(struct wt_cache *cache, enum map which, uint64_t begin, uint64_t end)
{
	const struct wt_cache_map *map = &cache->maps[which];
	uint32_t place = begin_before(map, begin, true);

	if (!place || end_of(map->entries[place - 1]) < end)
		return NULL;
	return map->entries[place - 1];
}

/* If it can: what is not kept goes with its last user. */
static void keep(struct wt_cache *cache, struct wt_registration *registration)
{
	struct wt_cache_map *map = &cache->maps[map_of(registration->access)];
	uint32_t at, inside = 0;

	if (map->count == map->room) {
		uint32_t room = map->room ? 2 * map->room : 64;
		struct wt_registration **entries = realloc(map->entries, room * sizeof *entries);

		if (!entries)
			return;
		map->entries = entries;
		map->room = room;
	}
	at = begin_before(map, begin_of(registration), false);
	while (at + inside < map->count && end_of(map->entries[at + inside]) <= end_of(registration))
		inside++;
	forget(cache, map, at, inside);
	memmove(map->entries + at + 1, map->entries + at, (map->count - at) * sizeof *map->entries);
	map->entries[at] = registration;
	map->count++;
	registration->kept = true;
}

static struct wt_registration *take_new(
	struct wt_cache *cache, uint64_t begin, uint64_t end, unsigned access, struct wt_error *err)
{
	struct wt_registration *registration =
		wt_registry_add(cache->registry, (void *)(uintptr_t)begin, end - begin, access, err);

	if (!registration)
		return NULL;
	cache->figures.made++;
	registration->users = 1;
	if (cache->idle_bytes_max && wt_registry_whole(cache->registry, registration))
		keep(cache, registration);
	return registration;
}

struct wt_registration *wt_cache_take(
	struct wt_cache *cache, void *base, size_t length, unsigned access, struct wt_error *err)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t begin = (uint64_t)(uintptr_t)base, end = begin + length;
	struct wt_registration *registration;

	if (!cache->idle_bytes_max || !length)
		return take_new(cache, begin, end, access, err);
	begin &= ~(page - 1);
	end = (end + page - 1) & ~(page - 1);
	/* who may write may read as well, and then one registration does for both */
	if (map_of(access) == READ_AND_WRITTEN)
		access = WT_ACCESS_SERVE | WT_ACCESS_SINK | WT_ACCESS_TARGET;
	registration = find(cache, READ_AND_WRITTEN, begin, end);
	if (!registration && map_of(access) == READ)
		registration = find(cache, READ, begin, end);
	if (!registration)
		return take_new(cache, begin, end, access, err);
	if (!registration->users++)
		idle_remove(cache, registration);
	cache->figures.found++;
	return registration;
}

void wt_cache_give(struct wt_cache *cache, struct wt_registration *registration)
{
	assert(registration->users);
	if (--registration->users)
		return;
	if (!registration->kept) {
		wt_registry_remove(cache->registry, registration);
		return;
	}
	idle_add(cache, registration);
	while (cache->idle_bytes > cache->idle_bytes_max || cache->idle > WT_CACHE_IDLE_MAX)
		evict(cache);
}

void wt_cache_gone(struct wt_cache *cache, uintptr_t base, size_t length)
{
	uint64_t end = length > UINT64_MAX - base ? UINT64_MAX : base + length;
	unsigned i;

	for (i = 0; i < 2; i++) {
		struct wt_cache_map *map = &cache->maps[i];
		uint32_t at = begin_before(map, base, false), until = begin_before(map, end, false);

		while (at && end_of(map->entries[at - 1]) > base)
			at--;
		cache->figures.gone += until - at;
		forget(cache, map, at, until - at);
	}
}

void wt_cache_clear(struct wt_cache *cache)
{
	forget(cache, &cache->maps[READ], 0, cache->maps[READ].count);
	forget(cache, &cache->maps[READ_AND_WRITTEN], 0, cache->maps[READ_AND_WRITTEN].count);
}

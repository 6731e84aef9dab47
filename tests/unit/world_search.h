/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * world_search.h - every world that can be reached, breadth first: a set of structs that are compared byte by
 * byte, for the tests of switchovers. A world has no padding, or it is zeroed.
 */
#ifndef WATARI_TESTS_WORLD_SEARCH_H
#define WATARI_TESTS_WORLD_SEARCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct world_search {
	size_t size; /* of a world */
	uint8_t *worlds;
	uint32_t *table; /* index + 1 */
	uint32_t count, done, room, table_size;
};

static inline uint32_t world_hash(const uint8_t *world, size_t size)
{
	uint64_t h = 1469598103934665603ull;

	for (size_t i = 0; i < size; i++)
		h = (h ^ world[i]) * 1099511628211ull;
	return (uint32_t)(h ^ h >> 32);
}

/* The table has room for so many worlds; table_size: a power of two, larger. */
static inline bool world_search_open(struct world_search *s, size_t size, uint32_t room, uint32_t table_size)
{
	*s = (struct world_search){ .size = size, .room = room, .table_size = table_size };
	s->worlds = calloc(room, size);
	s->table = calloc(table_size, sizeof *s->table);
	return s->worlds && s->table;
}

static inline void world_search_close(struct world_search *s)
{
	free(s->worlds);
	free(s->table);
}

static inline void world_search_clear(struct world_search *s)
{
	s->count = s->done = 0;
	memset(s->table, 0, s->table_size * sizeof *s->table);
}

/* Adds a world, unless it is known. */
static inline void world_search_add(struct world_search *s, const void *world)
{
	uint32_t at = world_hash(world, s->size) & (s->table_size - 1);

	for (; s->table[at]; at = (at + 1) & (s->table_size - 1))
		if (!memcmp(s->worlds + (s->table[at] - 1) * s->size, world, s->size))
			return;
	if (s->count == s->room)
		abort(); /* more worlds than there is room for */
	memcpy(s->worlds + s->count * s->size, world, s->size);
	s->table[at] = ++s->count;
}

/* The next world whose successors are unknown; false: there is none. */
static inline bool world_search_next(struct world_search *s, void *ret_world)
{
	if (s->done == s->count)
		return false;
	memcpy(ret_world, s->worlds + s->done++ * s->size, s->size);
	return true;
}

#endif

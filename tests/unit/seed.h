/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * seed.h - random runs that can be repeated: a small generator, and a check that says the seed when it fails.
 *
 * Runs take the seeds 1, 2, 3, ...; WATARI_SEED in the environment makes a run of that one alone,
 * WATARI_RUNS=N makes N times as many runs. Include it behind cmocka.h, in one file of a program. Checks
 * belong to the thread of the test.
 */
#ifndef WT_TEST_SEED_H
#define WT_TEST_SEED_H

#include <stdint.h>
#include <stdlib.h>

static uint64_t seed_now, seed_state;

static inline void seed_start(uint64_t seed)
{
	seed_now = seed;
	seed_state = seed * 0x9e3779b97f4a7c15ull + 1;
}

/* splitmix64 */
static inline uint64_t seed_next(void)
{
	uint64_t x = seed_state += 0x9e3779b97f4a7c15ull;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

static inline uint64_t seed_below(uint64_t limit)
{
	return seed_next() % limit;
}

#define check(holds)                                                                                \
	do {                                                                                        \
		if (!(holds)) {                                                                     \
			print_error("%s:%d: not so: %s; WATARI_SEED=%llu repeats this\n", __FILE__, \
				__LINE__, #holds, (unsigned long long)seed_now);                    \
			fail();                                                                     \
		}                                                                                   \
	} while (0)

/* for each seed 1 .. count (times WATARI_RUNS), or the one of the environment */
static inline void seed_runs(uint64_t count, void (*run)(void))
{
	const char *one = getenv("WATARI_SEED"), *times = getenv("WATARI_RUNS");

	if (times)
		count *= strtoull(times, NULL, 0);
	for (uint64_t seed = 1; seed <= count; seed++) {
		seed_start(one ? strtoull(one, NULL, 0) : seed);
		run();
		if (one)
			break;
	}
}

#endif

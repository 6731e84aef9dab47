/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_multifd_seeds.c - writes the seed corpus of fuzz_multifd: packets from eight bytes each (flags, pages
 * with content, zero pages, room, block, where), for one channel and for several, with everything that is
 * refused.
 */
#include "seed_file.h"
#include "stream_writer.h"

#define SYNC 1

/* The second byte of an input: how it is cut. */
static void write_packets(const char *name, int choice, const uint8_t (*packets)[8], size_t count)
{
	struct stream_writer w = { 0 };

	sw_be(&w, 255, 1);
	sw_bytes(&w, packets, count * 8);
	seed_bytes(name, choice, w.data, w.length);
	sw_free(&w);
}

/* Both channels have the same bytes. */
static void write_channels(const char *name, int choice, const uint8_t (*packets)[8], size_t count)
{
	struct stream_writer w = { 0 };

	sw_be(&w, 63, 1);
	sw_bytes(&w, packets, count * 8);
	sw_bytes(&w, packets, count * 8);
	seed_bytes(name, choice, w.data, w.length);
	sw_free(&w);
}

int main(int argc, char **argv)
{
	static const uint8_t good[][8] = { { SYNC, 0, 0, 0, 0, 0, 0, 0 }, { 0, 3, 2, 0, 0, 1, 7, 9 },
		{ 0, 2, 1, 0, 1, 0, 1, 9 }, { SYNC, 1, 0, 0, 0, 4, 15, 9 }, { 0, 0, 0, 0, 0, 0, 0, 0 },
		{ SYNC, 0, 0, 0, 0, 0, 0, 0 }, { SYNC, 0, 0, 0, 0, 0, 0, 0 } };
	static const uint8_t bad[][2][8] = { { { SYNC }, { 0, 1, 0, 0, 3, 0, 0, 0 } }, /* no such block */
		{ { SYNC }, { 0, 1, 0, 0, 1, 9, 19, 0 } },                             /* no such page */
		{ { SYNC }, { 0, 1, 0, 255, 0, 0, 0, 0 } },                            /* no such room */
		{ { SYNC }, { 202, 1, 0, 0, 0, 0, 0, 0 } },                            /* compressed */
		{ { SYNC }, { 0, 1, 0, 249, 0, 0, 0, 0 } },                            /* too few bytes */
		{ { SYNC }, { 201, 1 } }, { { SYNC }, { 203, 1 } }, { { SYNC }, { 223, 1 } },
		{ { 0, 1 }, { SYNC } } }; /* before RAM's start has ended */
	char name[16];

	if (!seeds_begin(argc, argv))
		return 2;
	for (int way = 0; way < 4; way++) { /* with flush words or without, with bytes or without */
		int choice = 8 | (way & 1 ? 4 : 0) | (way & 2 ? 16 : 0);

		snprintf(name, sizeof name, "good%d", way);
		write_packets(name, choice, good, sizeof good / sizeof *good);
		snprintf(name, sizeof name, "two%d", way);
		write_channels(name, choice | 1, good, sizeof good / sizeof *good);
	}
	write_channels("one_number", 8 | 4 | 1 | 32, good, sizeof good / sizeof *good);
	write_channels("two_machines", 8 | 4 | 1 | 64, good, sizeof good / sizeof *good);
	write_channels("many", 8 | 4 | 1 | 128, good, sizeof good / sizeof *good);
	write_channels("bytes", 1, good, sizeof good / sizeof *good);
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		snprintf(name, sizeof name, "bad%u", i);
		write_packets(name, 8 | 4, bad[i], 2);
	}
	return seeds_failed ? 1 : 0;
}

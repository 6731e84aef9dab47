/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * engine_memory.c - memory to read from and into, and the pattern by which a read is judged.
 *
 * Every page is there before anything is measured. The word at offset o of the pattern is a hash of o, so
 * what came from a wrong place, or not at all, is seen.
 */
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096u
#define HUGE_PAGE (2u << 20)

/* The kernel promises more than it has, and then ends processes: so it is asked before. */
static uint64_t available_bytes(void)
{
	unsigned long long kib = 0;
	char line[128];
	FILE *file = fopen("/proc/meminfo", "re");

	while (file && !kib && fgets(line, sizeof line, file))
		sscanf(line, "MemAvailable: %llu", &kib);
	if (file)
		fclose(file);
	return (uint64_t)kib * 1024;
}

static int shortage(struct wt_error *err, int code, uint64_t length, bool huge)
{
	return wt_error_set(err, code, "there is no memory of %llu bytes%s: %s", (unsigned long long)length,
		huge ? " in huge pages of 2 MiB (see /proc/sys/vm/nr_hugepages)" : "", strerror(code));
}

int wt_bench_memory_open(uint64_t length, bool huge, struct wt_bench_memory *ret, struct wt_error *err)
{
	uint64_t unit = huge ? HUGE_PAGE : PAGE;
	unsigned flags = MFD_CLOEXEC | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0);
	void *base = MAP_FAILED;
	int fd, code;

	if (!huge && length > available_bytes())
		return shortage(err, ENOMEM, length, huge);
	length = (length + unit - 1) / unit * unit;
	fd = memfd_create("bench", flags);
	/* Populated by writing: a huge page that is missing is then an error, and not a signal. */
	if (fd >= 0 && !ftruncate(fd, (off_t)length) && !fallocate(fd, 0, 0, (off_t)length))
		base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (base == MAP_FAILED) {
		code = errno;
		if (fd >= 0)
			close(fd);
		return shortage(err, code, length, huge);
	}
	*ret = (struct wt_bench_memory){ .base = base, .length = length, .fd = fd };
	return 0;
}

void wt_bench_memory_close(struct wt_bench_memory *memory)
{
	if (!memory->base)
		return;
	munmap(memory->base, memory->length);
	close(memory->fd);
	memory->base = NULL;
}

static uint64_t word_at(uint64_t index)
{
	index = (index + 1) * 0x9e3779b97f4a7c15ull;
	index ^= index >> 32;
	return index * 0xd6e8feb86659fd93ull;
}

void wt_bench_pattern_fill(uint8_t *base, uint64_t length)
{
	for (uint64_t at = 0; at < length; at += 8) {
		uint64_t word = word_at(at / 8);

		memcpy(base + at, &word, length - at < 8 ? length - at : 8);
	}
}

uint64_t wt_bench_pattern_compare(const uint8_t *base, uint64_t offset, uint64_t length)
{
	for (uint64_t i = 0; i < length; i++) {
		uint64_t at = offset + i, word = word_at(at / 8);

		if (at % 8 == 0 && length - i >= 8 && !memcmp(base + i, &word, 8))
			i += 7;
		else if (base[i] != (uint8_t)(word >> (at % 8 * 8)))
			return i;
	}
	return length;
}

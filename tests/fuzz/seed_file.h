/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * seed_file.h - what programs that write a seed corpus share: `NAME_seeds DIRECTORY`. A seed is a byte that
 * chooses the reader, and what it reads.
 */
#ifndef WT_TEST_SEED_FILE_H
#define WT_TEST_SEED_FILE_H

#include <stdio.h>
#include <string.h>

static const char *seed_directory;
static int seeds_failed;

static inline void seed_bytes(const char *name, int choice, const void *bytes, size_t length)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", seed_directory, name);
	file = fopen(path, "wbe");
	if (!file) {
		perror(path);
		seeds_failed = 1;
		return;
	}
	fputc(choice, file);
	fwrite(bytes, 1, length, file);
	seeds_failed |= fclose(file);
}

static inline void seed_text(const char *name, int choice, const char *text)
{
	seed_bytes(name, choice, text, strlen(text));
}

/* Answers whether the arguments are right. */
static inline int seeds_begin(int argc, char **argv)
{
	if (argc != 2)
		fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
	else
		seed_directory = argv[1];
	return argc == 2;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * overlay.c - see overlay.h. The format: docs/interop/qcow2.txt of QEMU.
 *
 *   1. What an image holds is found through its L1 table. An entry of that is 0 until something was written,
 * or discarded, in the part of the disk (512 MiB with clusters of 64 KiB) that it speaks of; and QEMU writes
 * it to the file before the guest is told that its write is done.
 *   2. The file is only read. Its header is hostile: a table of more than TABLE_MAX is none.
 */
#include "overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "read_pages.h"

#define HEADER_BYTES 72u        /* of version 2; later ones have more behind it */
#define TABLE_MAX (32u << 20)   /* bytes; QEMU allows no more */
#define PIECE_BYTES (64u << 10) /* read at once */
#define AT_TABLE_ENTRIES 36
#define AT_TABLE_OFFSET 40

static const uint8_t magic[4] = { 'Q', 'F', 'I', 0xfb };

static uint64_t big_endian(const uint8_t *bytes, unsigned count)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < count; i++)
		value = value << 8 | bytes[i];
	return value;
}

static bool is_zero(const uint8_t *bytes, size_t length)
{
	return !bytes[0] && !memcmp(bytes, bytes + 1, length - 1);
}

static int table_is_zero(int fd, uint64_t offset, uint64_t length)
{
	uint8_t piece[PIECE_BYTES];

	while (length) {
		size_t n = length < sizeof piece ? (size_t)length : sizeof piece;
		int r = wt_read_at(fd, piece, n, offset);

		if (r)
			return r;
		if (!is_zero(piece, n))
			return 0;
		offset += n;
		length -= n;
	}
	return 1;
}

int wt_overlay_is_new(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	uint8_t header[HEADER_BYTES];
	uint64_t length;
	int r;

	if (fd < 0)
		return -errno;
	r = wt_read_at(fd, header, sizeof header, 0);
	if (!r && memcmp(header, magic, sizeof magic) != 0)
		r = -EINVAL;
	if (!r) {
		length = 8 * big_endian(header + AT_TABLE_ENTRIES, 4);
		r = length <= TABLE_MAX ? table_is_zero(fd, big_endian(header + AT_TABLE_OFFSET, 8), length)
					: -EINVAL;
	}
	close(fd);
	return r == -ENODATA ? -EINVAL : r;
}

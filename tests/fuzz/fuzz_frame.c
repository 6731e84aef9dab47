/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_frame.c - libFuzzer harness of compressed frames, and of maps of pages: files of a checkpoint. Checked
 * besides memory safety:
 *   1. a frame that is accepted has 1 to WT_FRAME_PAGES pages, and nothing is written behind them;
 *   2. pages that are compressed come back as they were;
 *   3. a map that is accepted has as many pages as were asked for; one that is written is read again, and any
 * changed bit of it is found.
 * The first byte says what the rest is: a frame as it is, one whose header is made right, pages, a map, its
 * entries, or a page.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../qemu-glue/frame.h"
#include "../../qemu-glue/page_map.h"
#include "promise.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_file(int fd, const void *bytes, size_t length)
{
	PROMISE(!ftruncate(fd, 0));
	PROMISE(pwrite(fd, bytes, length, 0) == (ssize_t)length);
}

/* Answers what wt_frame_read does; the pages are in a buffer of their own size. */
static int read_frame(int fd, uint8_t *pages, uint32_t *ret_count)
{
	uint8_t *scratch = malloc(wt_frame_bound());
	uint64_t first;
	int r = wt_frame_read(fd, 0, scratch, &first, ret_count, pages);

	free(scratch);
	PROMISE(r || (*ret_count && *ret_count <= WT_FRAME_PAGES));
	return r;
}

static void try_frame(int fd, const uint8_t *data, size_t size, int right)
{
	uint8_t *pages = malloc(WT_FRAME_PAGES * WT_PAGE_SIZE), *frame = malloc(WT_FRAME_HEADER + size);
	struct wt_frame_header header = { 0 };
	uint32_t count;

	if (right && size) {
		header.length = (uint32_t)(size - 1);
		header.pages = data[0] % (WT_FRAME_PAGES + 2);
		header.checksum = wt_frame_checksum(header, data + 1);
		memcpy(frame, &header, sizeof header);
		memcpy(frame + sizeof header, data + 1, size - 1);
		write_file(fd, frame, sizeof header + size - 1);
	} else {
		write_file(fd, data, size);
	}
	read_frame(fd, pages, &count);
	free(frame);
	free(pages);
}

static void try_pages(int fd, const uint8_t *data, size_t size)
{
	uint32_t count = 1 + (uint32_t)(size % WT_FRAME_PAGES), again = 0;
	size_t length = (size_t)count * WT_PAGE_SIZE, bound = wt_frame_bound();
	uint8_t *pages = calloc(1, length), *frame = malloc(bound),
		*back = malloc(WT_FRAME_PAGES * WT_PAGE_SIZE);
	int n;

	for (size_t at = 0; size && at < length; at += size)
		memcpy(pages + at, data, length - at < size ? length - at : size);
	n = wt_frame_write(5, count, pages, 1, frame, bound);
	PROMISE(n > 0);
	write_file(fd, frame, (size_t)n);
	PROMISE(!read_frame(fd, back, &again) && again == count && !memcmp(pages, back, length));
	free(pages);
	free(frame);
	free(back);
}

/* As it is: with its own digest, and as many pages as the file has room for. */
static void try_map(int fd, const uint8_t *data, size_t size)
{
	uint64_t pages =
		size < WT_PAGE_MAP_HEADER ? 0 : (size - WT_PAGE_MAP_HEADER) / sizeof(struct wt_page_entry);
	uint8_t digest[WT_PAGE_DIGEST_BYTES];
	struct wt_page_map map = { 0 };
	struct wt_error err = { 0 };

	write_file(fd, data, size);
	wt_bytes_digest(data, size, digest);
	if (wt_page_map_open(fd, "fuzz", pages, 0, digest, &map, &err)) {
		PROMISE(err.text[0] && !map.file);
		return;
	}
	PROMISE(map.pages == pages && map.length == size);
	wt_page_map_close(&map);
}

/* A map that is written is read again, until a bit of it changes. */
static void try_entries(int fd, const uint8_t *data, size_t size)
{
	uint64_t pages = size / sizeof(struct wt_page_entry);
	uint8_t digest[WT_PAGE_DIGEST_BYTES], bit = size ? (uint8_t)(1u << data[0] % 8) : 1;
	struct wt_page_map map = { 0 }, again = { 0 };
	struct wt_error err = { 0 };

	write_file(fd, "", 0);
	PROMISE(!wt_page_map_create(fd, pages, 7, &map, &err));
	memcpy(map.entries, data, pages * sizeof(struct wt_page_entry));
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t place = map.entries[i].place;

		PROMISE(wt_place(wt_place_layer(place), wt_place_index(place), wt_place_offset(place)) ==
			place);
	}
	PROMISE(!wt_page_map_finish(&map, digest, &err));
	PROMISE(!wt_page_map_open(fd, "fuzz", pages, 7, digest, &again, &err) && again.pages == pages);
	PROMISE(!memcmp(again.entries, map.entries, pages * sizeof(struct wt_page_entry)));
	wt_page_map_close(&again);
	((uint8_t *)map.file)[size % map.length] ^= bit;
	PROMISE(wt_page_map_open(fd, "fuzz", pages, 7, digest, &again, &err) == -EBADMSG && !again.file);
	wt_page_map_close(&map);
}

/* Of a page: the same bytes, the same digest; another seed, another digest. */
static void try_digest(const uint8_t *data, size_t size)
{
	uint8_t page[WT_PAGE_SIZE] = { 0 }, one[WT_PAGE_DIGEST_BYTES], two[WT_PAGE_DIGEST_BYTES];

	memcpy(page, data, size < sizeof page ? size : sizeof page);
	wt_page_digest(page, 1, one);
	wt_page_digest(page, 2, two);
	PROMISE(memcmp(one, two, sizeof one) != 0);
	wt_page_digest(page, 1, two);
	PROMISE(!memcmp(one, two, sizeof one));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;

	if (fd < 0)
		fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (!size)
		return 0;
	switch (data[0] % 6) {
	case 0:
	case 1:
		try_frame(fd, data + 1, size - 1, data[0] % 6);
		break;
	case 2:
		try_pages(fd, data + 1, size - 1);
		break;
	case 3:
		try_map(fd, data + 1, size - 1);
		break;
	case 4:
		try_entries(fd, data + 1, size - 1);
		break;
	default:
		try_digest(data + 1, size - 1);
	}
	return 0;
}

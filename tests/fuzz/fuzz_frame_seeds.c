/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_frame_seeds.c - writes the seed corpus of fuzz_frame: frames of one page and of many, a map, entries.
 */
#include <stdint.h>
#include <stdlib.h>

#include "../../qemu-glue/frame.h"
#include "../../qemu-glue/page_map.h"
#include "seed_file.h"

static void write_frame(const char *name, uint32_t pages, int level)
{
	uint8_t *bytes = calloc(pages, WT_PAGE_SIZE), *frame = malloc(wt_frame_bound());
	int n;

	for (uint32_t i = 0; bytes && i < pages; i++)
		memset(bytes + i * WT_PAGE_SIZE, (int)i, WT_PAGE_SIZE / 2);
	n = bytes && frame ? wt_frame_write(3, pages, bytes, level, frame, wt_frame_bound()) : -1;
	seeds_failed |= n <= 0;
	if (n > 0) {
		char made[64];

		seed_bytes(name, 0, frame, (size_t)n);
		snprintf(made, sizeof made, "%s_right", name);
		frame[WT_FRAME_HEADER - 1] =
			(uint8_t)pages; /* the byte before the compressed ones says how many */
		seed_bytes(made, 1, frame + WT_FRAME_HEADER - 1, (size_t)n - WT_FRAME_HEADER + 1);
	}
	free(bytes);
	free(frame);
}

int main(int argc, char **argv)
{
	struct {
		struct wt_page_map_header header;
		struct wt_page_entry entries[2];
	} map = { .header = { .magic = WT_PAGE_MAP_MAGIC, .pages = 2 } };

	if (!seeds_begin(argc, argv))
		return 2;
	map.entries[1].place = wt_place(1, 2, 3);
	write_frame("one", 1, 1);
	write_frame("many", WT_FRAME_PAGES, 3);
	seed_bytes("map", 3, &map, sizeof map);
	map.header.pages = 3;
	seed_bytes("other", 3, &map, sizeof map);
	seed_bytes("entries", 4, map.entries, sizeof map.entries);
	seed_text("page", 5, "page");
	seed_text("pages", 2, "pages");
	return seeds_failed ? 1 : 0;
}

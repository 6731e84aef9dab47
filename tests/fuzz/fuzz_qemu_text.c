/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_qemu_text.c - libFuzzer harness of everything that reads text about QEMU: /proc/PID/maps, the human
 * monitor, QMP's lines.
 *
 * The first byte chooses the reader (and how QMP's input is cut). Checked besides memory safety:
 *   1. a refused text has a sentence, an accepted one keeps the promises of its header;
 *   2. QMP: cut in pieces or whole, the same messages.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../qemu-glue/hmp_text.h"
#include "../../qemu-glue/proc_maps.h"
#include "../../qemu-glue/qmp_reader.h"

#define PROMISE(truth) ((truth) ? (void)0 : (fprintf(stderr, "broken: %s\n", #truth), abort()))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_maps(const char *text, size_t length)
{
	struct wt_proc_maps *maps = NULL;
	struct wt_error err = { 0 };
	struct wt_proc_span span;
	size_t i;

	if (wt_proc_maps_parse(text, length, &maps, &err) < 0) {
		PROMISE(err.code && !maps);
		return;
	}
	for (i = 0; i < maps->count; i++) {
		const struct wt_proc_map *map = &maps->maps[i];
		uint64_t whole = map->end - map->start;

		PROMISE(map->start < map->end && (!i || map[-1].end <= map->start));
		if (!wt_proc_maps_span(maps, map->start, whole, &span))
			PROMISE(map->shared && span.offset == map->offset && span.inode == map->inode);
		wt_proc_maps_span(maps, map->start + whole / 2, whole, &span);
		wt_proc_maps_span(maps, map->start, UINT64_MAX - map->start, &span);
	}
	wt_proc_maps_free(maps);
}

static void try_monitor(const char *text, size_t length)
{
	char name[WT_BLOCK_NAME_MAX + 1];
	struct wt_hmp_block *blocks = NULL;
	struct wt_hmp_range *ranges = NULL;
	struct wt_error err = { 0 };
	unsigned count = 0, i;
	uint64_t host;

	if (wt_hmp_parse_ramblock(text, length, &blocks, &count, &err) < 0)
		PROMISE(err.code && !blocks);
	for (i = 0; blocks && i < count; i++)
		PROMISE(blocks[i].name[0] && strlen(blocks[i].name) <= WT_BLOCK_NAME_MAX &&
			blocks[i].used_length && blocks[i].used_length <= blocks[i].max_length);
	free(blocks);
	wt_error_clear(&err);
	if (wt_hmp_parse_mtree(text, length, &ranges, &count, &err) < 0)
		PROMISE(err.code && !ranges);
	for (i = 0; ranges && i < count; i++)
		PROMISE(ranges[i].length && ranges[i].address + (ranges[i].length - 1) >= ranges[i].address);
	free(ranges);
	if (!wt_hmp_parse_gpa2hva(text, length, name, &host))
		PROMISE(host && strlen(name) <= WT_BLOCK_NAME_MAX);
}

/* Answers a number that depends on every message, in order, and on the error. */
static uint64_t read_qmp(const char *text, size_t length, size_t piece)
{
	struct wt_qmp_reader reader = { 0 };
	struct wt_qmp_message message;
	struct wt_error err = { 0 };
	uint64_t sum = 1;
	size_t room, n;
	char *buffer;
	int r = 0;

	while (length && r >= 0) {
		PROMISE(!wt_qmp_reader_buffer(&reader, &buffer, &room) && room >= 65536);
		n = length < piece ? length : piece;
		n = n < room ? n : room;
		memcpy(buffer, text, n);
		wt_qmp_reader_advance(&reader, n);
		text += n;
		length -= n;
		while ((r = wt_qmp_reader_next(&reader, &message, &err)) > 0) {
			PROMISE(message.json && message.kind);
			PROMISE(message.kind != WT_QMP_EVENT || message.event);
			PROMISE(message.kind != WT_QMP_REFUSAL ||
				(message.error_class && message.error_text));
			sum = sum * 31 + (unsigned)message.kind * 7 + message.id + message.bytes;
			wt_qmp_message_clear(&message);
		}
	}
	PROMISE(r >= 0 || err.code);
	wt_qmp_reader_clear(&reader);
	return sum * 31 + (unsigned)-r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;

	if (size < 1)
		return 0;
	if (data[0] % 3 == 0)
		try_maps(text, size - 1);
	else if (data[0] % 3 == 1)
		try_monitor(text, size - 1);
	else
		PROMISE(read_qmp(text, size - 1, SIZE_MAX) == read_qmp(text, size - 1, 1 + data[0]));
	return 0;
}

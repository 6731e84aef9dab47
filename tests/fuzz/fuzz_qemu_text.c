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
#include <sys/mman.h>
#include <unistd.h>

#include "../../qemu-glue/hmp_text.h"
#include "../../qemu-glue/proc_maps.h"
#include "../../qemu-glue/qmp_reader.h"
#include "json_mutator.h"
#include "promise.h"

static const char *const words[] = { "QMP", "version", "qemu", "major", "minor", "micro", "event",
	"timestamp", "seconds", "microseconds", "data", "id", "watari-1", "error", "class", "desc", "return",
	"GenericError" };
static const unsigned word_count = sizeof words / sizeof *words;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_maps(const char *text, size_t length)
{
	struct wt_proc_maps *maps = NULL;
	struct wt_error err = { 0 };
	struct wt_proc_span span;
	struct wt_proc_run run;
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
	for (i = 0; wt_proc_maps_run(maps, &i, &run);)
		PROMISE(run.length && !wt_proc_maps_span(maps, run.address, run.length, &span));
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

/* What the kernel says of this process is understood. */
static void try_own_maps(void)
{
	struct wt_proc_maps *maps = NULL;
	struct wt_error err = { 0 };
	const size_t page = 4096, pages = 4000;
	char *many = mmap(NULL, pages * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	PROMISE(many != MAP_FAILED);
	for (size_t i = 0; i < pages; i += 2) /* a long text */
		PROMISE(!mprotect(many + i * page, page, PROT_NONE));
	PROMISE(!wt_proc_maps_read(getpid(), &maps, &err) && maps->count);
	wt_proc_maps_free(maps);
	munmap(many, pages * page);
	wt_proc_maps_free(NULL);
	PROMISE(wt_proc_maps_read(-1, &maps, &err) < 0 && err.text[0]);
}

/* A command is one line, and the id in its answer is read as it was given. */
static void try_command(const char *name, uint64_t id)
{
	static const char greeting[] =
		"{\"QMP\":{\"version\":{\"qemu\":{\"major\":7,\"minor\":2,\"micro\":0}}}}\n";
	char *line = wt_qmp_format_command(name, NULL, id), *answer = NULL, *buffer;
	struct wt_qmp_reader reader = { 0 };
	struct wt_qmp_message message;
	struct wt_error err = { 0 };
	size_t room;
	int length;

	if (!line)
		return; /* no UTF-8 */
	PROMISE(strchr(line, '\n') == line + strlen(line) - 1);
	length = asprintf(&answer, "%s{\"return\":{},%s", greeting, strstr(line, "\"id\":\""));
	PROMISE(length > 0 && !wt_qmp_reader_buffer(&reader, &buffer, &room) && room > (size_t)length);
	memcpy(buffer, answer, (size_t)length);
	wt_qmp_reader_advance(&reader, (size_t)length);
	PROMISE(wt_qmp_reader_next(&reader, &message, &err) == 1 && message.kind == WT_QMP_GREETING);
	wt_qmp_message_clear(&message);
	PROMISE(wt_qmp_reader_next(&reader, &message, &err) == 1 && message.id == id);
	wt_qmp_message_clear(&message);
	wt_qmp_reader_clear(&reader);
	free(answer);
	free(line);
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
	static bool first = true;

	if (first)
		try_own_maps();
	first = false;
	if (size < 1)
		return 0;
	if (data[0] == 255 && size > 1 && memchr(text, '\0', size - 1))
		try_command(text, (uint64_t)size * 1000003);
	else if (data[0] % 3 == 0)
		try_maps(text, size - 1);
	else if (data[0] % 3 == 1)
		try_monitor(text, size - 1);
	else
		PROMISE(read_qmp(text, size - 1, SIZE_MAX) == read_qmp(text, size - 1, 1 + data[0]));
	return 0;
}

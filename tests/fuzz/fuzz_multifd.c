/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_multifd.c - libFuzzer harness of the reader's multifd channels.
 *
 * The first byte chooses how many channels there are, how QEMU synchronises and whether pages have bytes, the
 * second how the input is cut. The main channel is a good one; the rest of the input is dealt to the channels
 * in pieces. Checked, besides the sanitizers: a reported page lies in its block, a failure is told with a
 * sentence and stays, and what one channel says never stalls the reader within its own bytes.
 */
#include <errno.h>
#include <stdio.h>

#include "stream.h"
#include "stream_writer.h"

#define CHANNELS_MAX 4u
#define PROMISE(condition)                                                                              \
	do {                                                                                            \
		if (!(condition)) {                                                                     \
			fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                                        \
		}                                                                                       \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct wt_stream *absent_in; /* NULL: pages have bytes */
static const uint64_t block_pages[] = { 16, 4, 2 };

static int on_block(void *arg, uint32_t index, const char *name, uint64_t length, bool *ret_in_place,
	struct wt_error *err)
{
	*ret_in_place = index == 0;
	if (index == 0 && absent_in)
		wt_stream_block_absent(absent_in, index);
	return 0;
}

static int nothing(void *arg, struct wt_error *err)
{
	return 0;
}

static int on_ping(void *arg, uint32_t value, struct wt_error *err)
{
	return 0;
}

static int on_page(void *arg, uint32_t block, uint64_t page, const uint8_t *bytes, struct wt_error *err)
{
	volatile uint8_t first = bytes ? bytes[0] : 0, last = bytes ? bytes[WT_PAGE_SIZE - 1] : 0;

	(void)first;
	(void)last;
	PROMISE(!bytes == !!absent_in);
	PROMISE(block == 0 && page < block_pages[block]);
	return ++*(unsigned *)arg % 3 == 0 ? -EAGAIN : 0;
}

static int on_zero(void *arg, uint32_t block, uint64_t page, struct wt_error *err)
{
	PROMISE(block == 0 && page < block_pages[block]);
	return 0;
}

static int on_pass(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err)
{
	return 0;
}

static int on_kept(void *arg, uint32_t block, uint64_t page, const uint8_t *bytes, struct wt_error *err)
{
	PROMISE(block > 0 && page < block_pages[block]);
	return 0;
}

static const struct wt_stream_events events = { on_block, nothing, on_page, on_zero, nothing, nothing,
	nothing, on_ping, on_kept, on_pass, on_pass };

static void write_main(struct stream_writer *w, bool flush_words)
{
	sw_header(w);
	sw_ram_start(w);
	if (flush_words) {
		w->length -= 8 + 5; /* the word goes before the section's end */
		sw_word(w, 0, 0x200);
		sw_eos(w);
	}
	for (unsigned i = 0; i < 3; i++) {
		sw_section(w, i < 2 ? SW_PART : SW_END, SW_RAM_ID, NULL, 0);
		if (flush_words)
			sw_word(w, 0, 0x200);
		sw_eos(w);
	}
}

/* Packets from 8 bytes each: flags, pages, the block and where its pages are. */
static void write_packets(
	struct stream_writer *w, unsigned id, const char *uuid, const uint8_t *data, size_t size)
{
	static const char *const names[] = { "pc.ram", "vga.vram", "/rom@etc/acpi/tables", "" };

	sw_be(w, 0x11223344, 4);
	sw_be(w, 1, 4);
	sw_bytes(w, uuid, 16);
	sw_be(w, id, 1);
	sw_bytes(w, (uint8_t[39]){ 0 }, 39);
	for (size_t at = 0; at + 8 <= size; at += 8) {
		const uint8_t *p = data + at;
		uint32_t normal = p[1] % 8, zero = p[2] % 8;
		char name[256] = { 0 };

		sw_be(w, 0x11223344, 4);
		sw_be(w, 1, 4);
		sw_be(w, p[0] < 200 ? p[0] & 1u : 1u << p[0] % 32, 4);
		sw_be(w, p[3] < 250 ? 128 : p[3], 4);
		sw_be(w, normal, 4);
		sw_be(w, normal * (p[3] == 249 ? 1 : WT_PAGE_SIZE), 4);
		sw_be(w, 0, 8);
		sw_be(w, zero, 4);
		sw_bytes(w, (uint8_t[28]){ 0 }, 28);
		strcpy(name, names[p[4] & 3]);
		sw_bytes(w, name, sizeof name);
		for (unsigned i = 0; i < 128; i++)
			sw_be(w, (uint64_t)((p[5] + i) % (1u + p[6] % 20)) << WT_PAGE_SHIFT, 8);
		for (unsigned i = 0; i < normal; i++)
			sw_bytes(w, (uint8_t[WT_PAGE_SIZE]){ p[7] }, WT_PAGE_SIZE);
	}
}

static int feed(
	struct wt_multifd *channel, const uint8_t **data, size_t *left, size_t piece, struct wt_error *err)
{
	uint8_t *buffer;
	size_t room;

	if (wt_multifd_waits(channel) != WT_STREAM_WAIT_INPUT)
		return wt_multifd_advance(channel, 0, err);
	wt_multifd_buffer(channel, &buffer, &room);
	PROMISE(room >= WT_PAGE_SIZE);
	piece = piece < *left ? piece : *left;
	if (!piece)
		return 0;
	memcpy(buffer, *data, piece);
	*data += piece;
	*left -= piece;
	return wt_multifd_advance(channel, piece, err);
}

/* Pages for a section of their own, from the input: two bytes each. */
struct pages {
	const uint8_t *data;
	size_t left;
};

static bool next_page(void *arg, struct wt_stream_page *ret_page)
{
	static const uint8_t bytes[WT_PAGE_SIZE];
	struct pages *pages = arg;

	if (pages->left < 2)
		return false;
	*ret_page = (struct wt_stream_page){ .block = pages->data[0] % 3,
		.page = pages->data[1] % 2,
		.bytes = pages->data[1] & 2 ? bytes : NULL };
	pages->data += 2;
	pages->left -= 2;
	return true;
}

static int add_bytes(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err)
{
	sw_bytes(arg, bytes, length);
	return 0;
}

/* What is written is a section: its type, pages, the word that ends RAM, its footer. */
static void write_section(const struct wt_stream *stream, const uint8_t *data, size_t size)
{
	struct pages pages = { data, size < 64 ? size : 64 };
	bool any = pages.left >= 2;
	struct stream_writer w = { 0 };
	struct wt_error err = { 0 };

	PROMISE(!wt_stream_part_section(stream, next_page, &pages, add_bytes, &w, &err));
	PROMISE(any ? w.length > 5 + 8 + 8 + 5 && w.data[0] == SW_PART && w.data[w.length - 5] == 0x7e
		    : !w.length);
	sw_free(&w);
}

/* There is a limit to how many channels there are. */
static void open_all(struct wt_stream *stream)
{
	struct wt_multifd *channels[1024];
	struct wt_error err = { 0 };
	unsigned count = 0;

	while (count < 1024 && !wt_multifd_open(stream, &channels[count], &err))
		count++;
	PROMISE(count < 1024 && err.text[0]);
	while (count)
		wt_multifd_close(channels[--count]);
}

/* None comes when the migration has begun. */
static void open_late(struct wt_stream *stream, const uint8_t *bytes)
{
	struct wt_multifd *channel = NULL;
	struct wt_error err = { 0 };

	PROMISE(wt_multifd_open(stream, &channel, &err) < 0 ? err.text[0] != 0 : channel != NULL);
	wt_multifd_close(channel);
	PROMISE(!wt_multifd_magic(bytes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wt_multifd *channels[CHANNELS_MAX];
	struct stream_writer main = { 0 }, input[CHANNELS_MAX] = { 0 };
	const uint8_t *next[CHANNELS_MAX];
	size_t left[CHANNELS_MAX], room, piece, share;
	struct wt_stream *stream = NULL;
	struct wt_error err = { 0 };
	unsigned count, offers = 0, idle = 0;
	uint8_t *buffer;
	int rc;

	if (size < 2)
		return 0;
	count = 1 + (data[0] & 3);
	piece = 1 + (data[1] + 1u) * 64u;
	share = (size - 2) / count;
	write_main(&main, data[0] & 4);
	if (wt_stream_open(&events, &offers, &stream))
		abort();
	absent_in = data[0] & 16 ? stream : NULL;
	wt_multifd_close(NULL);
	if (data[0] & 128)
		open_all(stream);
	for (unsigned c = 0; c < count; c++) {
		PROMISE(wt_multifd_open(stream, &channels[c], &err) == 0);
		if (absent_in)
			wt_multifd_absent(channels[c]);
		if (data[0] & 8)
			write_packets(&input[c], data[0] & 32 ? 1 : c,
				data[0] & 64 && c ? "another machine!" : "0123456789abcdef",
				data + 2 + c * share, share);
		else
			sw_bytes(&input[c], data + 2 + c * share, share);
		next[c] = input[c].data;
		left[c] = input[c].length;
	}
	wt_stream_buffer(stream, &buffer, &room);
	memcpy(buffer, main.data, main.length);
	rc = wt_stream_advance(stream, main.length, &err);
	for (unsigned turn = 0; rc == 0 && idle < 4 * CHANNELS_MAX; turn++) {
		unsigned c = turn % count;
		size_t before = left[c];

		rc = feed(channels[c], &next[c], &left[c], piece, &err);
		if (rc == 0 && wt_stream_waits(stream) != WT_STREAM_WAIT_INPUT)
			rc = wt_stream_advance(stream, 0, &err);
		idle = left[c] == before ? idle + 1 : 0;
	}
	open_late(stream, main.data);
	PROMISE(rc == 0 || (err.code == -rc && err.text[0]));
	PROMISE(rc == 0 || wt_stream_advance(stream, 0, NULL) == rc);
	write_section(stream, data, size);
	PROMISE(wt_stream_break(stream, NULL) == rc);
	for (unsigned c = 0; c < count; c++) {
		PROMISE(wt_multifd_offset(channels[c]) <= input[c].length);
		PROMISE(absent_in || !wt_multifd_absent_bytes(channels[c]));
		rc = wt_multifd_finish(channels[c], &err);
		PROMISE(rc == 0 || err.text[0]);
	}
	for (unsigned c = 0; c < count; c++) {
		wt_multifd_close(channels[c]);
		sw_free(&input[c]);
	}
	wt_stream_close(stream);
	sw_free(&main);
	return 0;
}

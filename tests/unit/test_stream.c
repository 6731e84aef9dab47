/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_stream.c - the migration stream reader over streams written by hand.
 *
 *   - events and the stripped stream are exactly as expected;
 *   - however the input is cut into pieces, and however often a page is turned down, both are the same;
 *   - what was stripped once is not changed by stripping it again;
 *   - every malformed or refused input gives its own sentence, with the byte where it was seen;
 *   - a callback's failure stops the reader with the callback's sentence.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stream_recorder.h"

static void test_events(void **state)
{
	static const char *const expected[] = { "open_return_path", "ping 1", "block 0 pc.ram 65536",
		"block 1 vga.vram 16384", "block 2 /rom@etc/acpi/tables 8192", "blocks_end", "page 0 0 11 ",
		"page 0 15 12 ", "zero 0 3", "ram_part", "ram_part", "page 0 4 21 ", "zero 0 0", "ram_part",
		"page 0 1 32 ", "ram_part", "page 0 2 41 ", "ram_end" };
	struct stream_recorder r = { .in_place = "pc." };
	struct stream_writer w = { 0 };
	char *line, *save = NULL;
	unsigned i;

	sw_full_stream(&w, NULL);
	sr_run(&r, w.data, w.length, 0, 0);
	assert_string_equal(r.err.text, "");
	assert_int_equal(r.status, 0);
	sw_bytes(&r.log, "", 1);
	line = strtok_r((char *)r.log.data, "\n", &save);
	for (i = 0; i < sizeof expected / sizeof *expected; i++) {
		assert_non_null(line);
		line = strchr(line, ' ') + 1;
		assert_int_equal(strncmp(line, expected[i], strlen(expected[i])), 0);
		line = strtok_r(NULL, "\n", &save);
	}
	assert_null(line);
	sw_free(&w);
	sr_free(&r);
}

static void test_stripped_is_exact(void **state)
{
	struct stream_recorder r = { .in_place = "pc." }, again = { .in_place = "pc." };
	struct stream_writer w = { 0 }, expected = { 0 };

	sw_full_stream(&w, &expected);
	sr_run(&r, w.data, w.length, 0, 0);
	assert_int_equal(r.stripped.length, expected.length);
	assert_memory_equal(r.stripped.data, expected.data, expected.length);
	sr_run(&again, r.stripped.data, r.stripped.length, 0, 0);
	assert_int_equal(again.status, 0);
	assert_int_equal(again.stripped.length, expected.length);
	assert_memory_equal(again.stripped.data, expected.data, expected.length);
	sw_free(&w);
	sw_free(&expected);
	sr_free(&r);
	sr_free(&again);
}

/* Nothing in place: only return path, pings and empty parts go; CONTINUE is renamed across sections. */
static void test_nothing_in_place(void **state)
{
	struct stream_recorder r = { .in_place = NULL };
	struct stream_writer w = { 0 };

	sw_full_stream(&w, NULL);
	sr_run(&r, w.data, w.length, 0, 0);
	assert_int_equal(r.status, 0);
	/* open return path 5, ping 9, empty part 5 + 8 + 5; named anew: pc.ram 2 x 7, the ROM once 21; the
	 * page of RAM's end section is in a part of its own, 5 + 8 + 5 */
	assert_int_equal(r.stripped.length, w.length - 5 - 9 - 18 + 2 * 7 + 21 + 18);
	sw_free(&w);
	sr_free(&r);
}

/* QEMU leaves the pages of pc.ram out: the same events without their bytes, and the same stripped stream. */
static void test_absent(void **state)
{
	static const size_t pieces[] = { 0, 1, 7, 100, 5000 };
	struct stream_writer w = { .absent = true }, expected = { 0 };

	sw_full_stream(&w, &expected);
	for (unsigned i = 0; i < 4 * sizeof pieces / sizeof *pieces; i++) {
		struct stream_recorder r = { .in_place = "pc.", .absent = true, .again = i % 4 };

		sr_run(&r, w.data, w.length, pieces[i / 4], i);
		assert_int_equal(r.status, 0);
		assert_int_equal(r.absent_bytes, 5 * WT_PAGE_SIZE);
		assert_int_equal(r.pages, 7);
		assert_int_equal(r.stripped.length, expected.length);
		assert_memory_equal(r.stripped.data, expected.data, expected.length);
		sr_free(&r);
	}
	sw_free(&w);
	sw_free(&expected);
}

/* Bytes where none should be are no stream any more, and so are none where some should be. */
static void test_absent_or_not(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct stream_writer w = { .absent = i };
		struct stream_recorder r = { .in_place = "pc.", .absent = !i };

		sw_full_stream(&w, NULL);
		sr_run(&r, w.data, w.length, 0, 0);
		assert_true(r.status < 0);
		sw_free(&w);
		sr_free(&r);
	}
}

static void test_any_pieces(void **state)
{
	static const size_t pieces[] = { 1, 2, 7, 100, 5000, 20000 };
	struct stream_recorder whole = { .in_place = "pc." };
	struct stream_writer w = { 0 };
	uint32_t seed;
	unsigned i;

	sw_full_stream(&w, NULL);
	sr_run(&whole, w.data, w.length, 0, 0);
	for (i = 0; i < sizeof pieces / sizeof *pieces; i++) {
		for (seed = 1; seed <= (pieces[i] == 1 ? 1 : 20); seed++) {
			struct stream_recorder r = { .in_place = "pc.", .again = seed % 4 };

			sr_run(&r, w.data, w.length, pieces[i], seed);
			if (!sr_equal(&whole, &r))
				fail_msg("pieces of up to %zu bytes, seed %u, differ", pieces[i], seed);
			sr_free(&r);
		}
	}
	sw_free(&w);
	sr_free(&whole);
}

/* Longer than the buffer, so that left-overs move. */
static void test_longer_than_the_buffer(void **state)
{
	struct stream_recorder whole = { .in_place = "pc." }, odd = { .in_place = "pc." };
	struct stream_writer w = { 0 };
	unsigned i;

	sw_prologue(&w);
	sw_section(&w, SW_PART, SW_RAM_ID, NULL, 0);
	sw_page(&w, "pc.ram", 0, 1);
	for (i = 0; i < 1500; i++) {
		if (i % 3 == 0)
			sw_zero(&w, NULL, i % 16);
		sw_page(&w, i % 100 == 0 ? "pc.ram" : NULL, i % 16, (uint8_t)i);
	}
	sw_eos(&w);
	sw_section(&w, SW_END, SW_RAM_ID, NULL, 0);
	sw_eos(&w);
	sr_run(&whole, w.data, w.length, 0, 0);
	assert_int_equal(whole.status, 0);
	assert_int_equal(whole.events, 6 + 1 + 1500 + 500 + 2);
	sr_run(&odd, w.data, w.length, 70001, 3);
	assert_true(sr_equal(&whole, &odd));
	sw_free(&w);
	sr_free(&whole);
	sr_free(&odd);
}

/* Configurations that a QEMU may send. */
static void test_configuration(void **state)
{
	struct stream_recorder r = { 0 }, none = { 0 };
	struct stream_writer w = { 0 }, body = { 0 };

	sw_header(&w);
	sw_config(&w, "pc-q35-10.0");
	sw_subsection(&w, "configuration/target-page-bits");
	sw_be(&w, 12, 4);
	sw_subsection(&w, "configuration/x-uuid");
	sw_bytes(&w, "0123456789abcdef", 16);
	sw_subsection(&w, "configuration/capabilities");
	sw_be(&w, 0, 4);
	sw_ram_start(&body);
	sw_section(&body, SW_END, SW_RAM_ID, NULL, 0);
	sw_eos(&body);
	sw_bytes(&w, body.data, body.length);
	sr_run(&r, w.data, w.length, 1, 0);
	assert_string_equal(r.err.text, "");
	assert_int_equal(r.stripped.length, w.length);
	assert_memory_equal(r.stripped.data, w.data, w.length);
	w.length = 0;
	sw_header(&w); /* machine types before 2.4 send no configuration */
	sw_bytes(&w, body.data, body.length);
	sr_run(&none, w.data, w.length, 0, 0);
	assert_int_equal(none.status, 0);
	sw_free(&w);
	sw_free(&body);
	sr_free(&r);
	sr_free(&none);
}

static void write_listed_block(struct stream_writer *w, const char *name, uint64_t pages, bool shared)
{
	sw_block(w, name, pages * WT_PAGE_SIZE);
	if (shared)
		sw_be(w, 0x100000000u, 8);
}

/* A guest whose block pc.ram has no pages in the stream, of a QEMU with x-ignore-shared, or without. */
static void write_without_ram(struct stream_writer *w, bool shared)
{
	sw_header(w);
	sw_config(w, "pc-q35-10.0");
	if (shared) {
		sw_subsection(w, "configuration/capabilities");
		sw_be(w, 1, 4);
		sw_name(w, "x-ignore-shared");
	}
	sw_section(w, SW_START, SW_RAM_ID, "ram", 4);
	sw_word(w, 20, SW_MEM_SIZE);
	write_listed_block(w, "pc.ram", 16, shared);
	write_listed_block(w, "vga.vram", 4, shared);
	sw_eos(w);
	sw_section(w, SW_PART, SW_RAM_ID, NULL, 0);
	sw_page(w, "vga.vram", 3, 7);
	sw_eos(w);
	sw_section(w, SW_END, SW_RAM_ID, NULL, 0);
	sw_eos(w);
}

/* With x-ignore-shared each block of the list has an address; pages of other blocks come as ever. */
static void test_ignore_shared(void **state)
{
	struct stream_recorder r = { .in_place = "pc.", .shared = true }, refused = { .in_place = "pc." };
	struct stream_writer w = { 0 };

	write_without_ram(&w, true);
	sr_run(&r, w.data, w.length, 1, 0);
	assert_string_equal(r.err.text, "");
	assert_int_equal(r.blocks, 2);
	assert_int_equal(r.block_pages[1], 4);
	assert_int_equal(r.pages, 0);
	assert_int_equal(r.stripped.length, w.length);
	assert_memory_equal(r.stripped.data, w.data, w.length);
	sr_run(&refused, w.data, w.length, 0, 0);
	assert_non_null(strstr(refused.err.text, "capability 'x-ignore-shared'"));
	sw_free(&w);
	sr_free(&r);
	sr_free(&refused);
}

/* Stripped of the capability too, it is the stream of a QEMU that does not have it. */
static void test_ignore_shared_stripped(void **state)
{
	struct stream_writer w = { 0 }, plain = { 0 };

	write_without_ram(&w, true);
	write_without_ram(&plain, false);
	for (size_t piece = 0; piece < 40; piece++) {
		struct stream_recorder r = { .in_place = "pc.", .shared = true, .strip = true };

		sr_run(&r, w.data, w.length, piece, (uint32_t)piece);
		assert_string_equal(r.err.text, "");
		assert_int_equal(r.pages, 0);
		assert_int_equal(r.stripped.length, plain.length);
		assert_memory_equal(r.stripped.data, plain.data, plain.length);
		sr_free(&r);
	}
	sw_free(&w);
	sw_free(&plain);
}

enum prefix {
	AT_BEGIN,
	AT_CONFIG, /* behind the machine type's name */
	AT_TOP,    /* behind RAM's start section */
	IN_LIST,   /* in the list of blocks, 22 pages to come */
	AT_TAIL,   /* behind the list of blocks */
	IN_PART,   /* behind a part's header */
	IN_PAGES,  /* behind a page of pc.ram */
	AT_FOOTER, /* behind a part's EOS */
};

static void write_prefix(struct stream_writer *w, enum prefix prefix)
{
	if (prefix == AT_BEGIN)
		return;
	if (prefix == AT_CONFIG) {
		sw_header(w);
		sw_config(w, "pc");
		return;
	}
	if (prefix == IN_LIST || prefix == AT_TAIL) {
		sw_header(w);
		sw_section(w, SW_START, SW_RAM_ID, "ram", 4);
		sw_word(w, 22, SW_MEM_SIZE);
		if (prefix == AT_TAIL)
			sw_block(w, "pc.ram", 22 * WT_PAGE_SIZE);
		return;
	}
	sw_prologue(w);
	if (prefix == AT_TOP)
		return;
	sw_section(w, SW_PART, SW_RAM_ID, NULL, 0);
	if (prefix == IN_PAGES)
		sw_page(w, "pc.ram", 1, 1);
	if (prefix == AT_FOOTER)
		sw_word(w, 0, SW_EOS);
}

#define BYTES(literal) literal, sizeof literal - 1

static const struct {
	enum prefix prefix;
	const char *bytes;
	size_t length;
	unsigned at; /* where it is seen, counted from the end of the prefix */
	const char *says;
} bad[] = {
	{ AT_BEGIN, BYTES("GET / HTTP/1.1"), 0, "0x47455420 is not how a migration stream of QEMU begins" },
	{ AT_BEGIN, BYTES("QEVM\0\0\0\2"), 0, "version 2" },
	{ AT_BEGIN, BYTES("\x11\x22\x33\x44\0\0\0\1"), 0, "multifd" },
	{ AT_BEGIN, BYTES("QEVM\0\0\0\3\7\0\0\1\0"), 8, "machine type has 256 bytes" },
	{ AT_BEGIN, BYTES("QEVM\0\0\0\3\2\0\0\0\0"), 8, "section 0 goes on, but never started" },
	{ AT_BEGIN, BYTES("QEVM\0\0\0\3\1\0\0\0\1\3ram\0\0\0\0\0\0\0\3"), 8, "RAM's section has version 3" },
	{ AT_BEGIN, BYTES("QEVM\0\0\0\3\1\0\0\0\1\3ram\0\0\0\0\0\0\0\4\0\0\0\0\0\0\x10\2"), 25,
		"0x1002 where its size" },
	{ AT_BEGIN, BYTES("QEVM\0\0\0\3\1\0\0\0\1\3ram\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0\4"), 25,
		"have 0 bytes" },
	{ AT_BEGIN, BYTES("QEVM\0\0\0\3\1\0\0\0\1\3ram\0\0\0\0\0\0\0\4\xff\0\0\0\0\0\0\4"), 25,
		"are accepted" },
	{ AT_CONFIG, BYTES("\5\7what/is\0\0\0\1"), 0, "'what/is' whose length is not known" },
	{ AT_CONFIG,
		BYTES("\5\x1e"
		      "configuration/target-page-bits\0\0\0\1\0\0\0\x10"),
		0, "2^16 bytes" },
	{ AT_CONFIG,
		BYTES("\5\x1a"
		      "configuration/capabilities\0\0\0\1\0\0\0\x41"),
		0, "65 capabilities" },
	{ AT_CONFIG,
		BYTES("\5\x1a"
		      "configuration/capabilities\0\0\0\1\0\0\0\1\x0fx-ignore-shared"),
		36, "capability 'x-ignore-shared'" },
	{ AT_CONFIG, BYTES("\7\0\0\0\0"), 0, "out of its place" },
	{ AT_TOP, BYTES("\1\0\0\0\1\3ram\0\0\0\0\0\0\0\4"), 0, "RAM starts a second time" },
	{ AT_TOP,
		BYTES("\1\0\0\0\1\x0c"
		      "dirty-bitmap\0\0\0\0\0\0\0\1"),
		0,
		"'dirty-bitmap' has state that is sent piece by piece, only RAM may; turn the capability dirty-bitmaps" },
	{ AT_TOP, BYTES("\1\0\0\0\1\3a\nb\0\0\0\0\0\0\0\1"), 0, "'a?b' has state" },
	{ AT_TOP, BYTES("\4\0\0\0\1\x11virtio-mem-device\0\0\0\0\0\0\0\1"), 0,
		"device 'virtio-mem-device' puts its state before RAM" },
	{ AT_TOP, BYTES("\2\0\0\0\3"), 0, "section 3 goes on, but never started" },
	{ AT_TOP, BYTES("\0"), 0, "ends before RAM's end section" },
	{ AT_TOP, BYTES("\6"), 0, "ends before RAM's end section" },
	{ AT_TOP, BYTES("\x7e\0\0\0\2"), 0, "0x7e begins no section" },
	{ AT_TOP, BYTES("\x0b\0\0\0\2"), 0, "0x0b begins no section" },
	{ AT_TOP, BYTES("\x08\0\x03\0\x10"), 0, "capability postcopy-ram" },
	{ AT_TOP, BYTES("\x08\0\x07\0\x04"), 0, "capability postcopy-ram" },
	{ AT_TOP, BYTES("\x08\0\x08\0\0"), 0, "capability x-colo" },
	{ AT_TOP, BYTES("\x08\0\x0c\0\0"), 0, "command 12, which is not known" },
	{ AT_TOP, BYTES("\x08\0\x02\0\x05"), 0, "command 2 has 5 bytes, 4 belong to it" },
	{ AT_TOP, BYTES("\x08\0\x01\0\x01"), 0, "command 1 has 1 bytes, 0 belong to it" },
	{ IN_LIST, BYTES("\0\0\0\0\0\0\0\x10\0"), 0, "a name of 0 bytes" },
	{ IN_LIST, BYTES("\2a\0\0\0\0\0\0\0\x10\0"), 0,
		"(a name of 2 bytes, 'a?'); if the source has x-ignore-shared" },
	{ IN_LIST, BYTES("\1a\0\0\0\0\0\0\x10\1"), 0, "'a' has 4097 bytes, no multiple" },
	{ IN_LIST, BYTES("\1a\0\0\0\0\0\0\0\0"), 0, "'a' has 0 bytes" },
	{ IN_LIST, BYTES("\1a\0\0\0\0\0\1\x70\0"), 0, "only 90112 of 90112 bytes of RAM are left" },
	{ IN_LIST, BYTES("\1a\xff\xff\xff\xff\xff\xff\xf0\0"), 0, "are left to list" },
	{ IN_LIST, BYTES("\1a\0\0\0\0\0\0\x10\0\1a\0\0\0\0\0\0\x10\0"), 10, "'a' is listed twice" },
	{ AT_TAIL, BYTES("\0\0\0\0\0\0\2\0"), 0, "no channel of it has come" },
	{ AT_TAIL, BYTES("\0\0\0\0\0\0\0\x80"), 0, "RDMA" },
	{ AT_TAIL, BYTES("\0\0\0\0\0\x20\0\0"), 0,
		"0x200000 follows the list of RAM blocks where it should end" },
	{ AT_TAIL, BYTES("\0\0\0\0\0\0\0\x10\2\0\0\0\2"), 8, "0x02 where a section's footer belongs" },
	{ IN_PART, BYTES("\0\0\0\0\0\0\0\x28"), 0, "continues a RAM block, but none was named" },
	{ IN_PART, BYTES("\0\0\0\0\0\0\0\x22"), 0, "continues a RAM block, but none was named" },
	{ IN_PART, BYTES("\0\0\0\0\0\0\0\x08\4nope"), 0, "'nope', which was not listed" },
	{ IN_PART, BYTES("\0\0\0\0\0\1\0\x08\6pc.ram"), 0,
		"page 16 lies behind the end of RAM block 'pc.ram'" },
	{ IN_PAGES, BYTES("\0\0\0\0\0\1\0\x28."), 0, "page 16 lies behind the end of RAM block 'pc.ram'" },
	{ IN_PAGES, BYTES("\0\0\0\0\0\1\0\x22\0"), 0, "page 16 lies behind the end of RAM block" },
	{ IN_PAGES, BYTES("\xff\xff\xff\xff\xff\xff\xf0\x22\0"), 0, "lies behind the end" },
	{ IN_PAGES, BYTES("\0\0\0\0\0\0\0\x22\7"), 0, "filled with the byte 0x07" },
	{ IN_PAGES, BYTES("\0\0\0\0\0\0\0\x60"), 0, "capability xbzrle" },
	{ IN_PAGES, BYTES("\0\0\0\0\0\0\1\x20"), 0, "capability compress" },
	{ IN_PAGES, BYTES("\0\0\0\0\0\0\0\x80"), 0, "RDMA" },
	{ IN_PAGES, BYTES("\0\0\0\0\0\0\2\0"), 0, "no channel of it has come" },
	{ IN_PAGES, BYTES("\0\0\0\0\0\1\0\4"), 0, "listed a second time" },
	{ IN_PAGES, BYTES("\0\0\0\0\0\0\0\x0a"), 0, "flags 0xa mean nothing" },
	{ IN_PAGES, BYTES("\0\0\0\0\0\0\x10\x10"), 0, "0x1010 is no word of a RAM section" },
	{ AT_FOOTER, BYTES("\x7e\0\0\0\3"), 0, "the footer of section 3 closes section 2" },
	{ AT_FOOTER, BYTES("\2"), 0, "0x02 where a section's footer belongs" },
	{ AT_FOOTER, BYTES(""), 0, "the input ended before RAM's end section" },
	{ AT_BEGIN, BYTES(""), 0, "the input ended before RAM's end section" },
};

static void test_bad(void **state)
{
	char at[64];
	unsigned i, piece;

	for (i = 0; i < sizeof bad / sizeof *bad; i++) {
		for (piece = 0; piece <= 1; piece++) {
			struct stream_recorder r = { .in_place = "pc." };
			struct stream_writer w = { 0 };

			write_prefix(&w, bad[i].prefix);
			snprintf(at, sizeof at, "at byte %zu:", w.length + bad[i].at);
			sw_bytes(&w, bad[i].bytes, bad[i].length);
			sr_run(&r, w.data, w.length, piece, 0);
			if (!r.status || !strstr(r.err.text, bad[i].says) || !strstr(r.err.text, at))
				fail_msg("case %u: '%s' is not '%s' %s", i, r.err.text, bad[i].says, at);
			sw_free(&w);
			sr_free(&r);
		}
	}
}

static void test_too_many_blocks(void **state)
{
	struct stream_recorder r = { 0 };
	struct stream_writer w = { 0 };
	char name[16];
	unsigned i;

	sw_header(&w);
	sw_section(&w, SW_START, SW_RAM_ID, "ram", 4);
	sw_word(&w, WT_BLOCKS_MAX + 1, SW_MEM_SIZE);
	for (i = 0; i <= WT_BLOCKS_MAX; i++) {
		snprintf(name, sizeof name, "b%u", i);
		sw_block(&w, name, WT_PAGE_SIZE);
	}
	sr_run(&r, w.data, w.length, 0, 0);
	assert_int_equal(r.status, -EPROTO);
	assert_non_null(strstr(r.err.text, "more than 1024 RAM blocks"));
	assert_int_equal(r.blocks, WT_BLOCKS_MAX);
	sw_free(&w);
	sr_free(&r);
}

/* Each event fails once in turn. */
static void test_callback_fails(void **state)
{
	struct stream_writer w = { 0 };
	char says[64];
	int i;

	sw_full_stream(&w, NULL);
	for (i = 1; i <= 18; i++) {
		struct stream_recorder r = { .in_place = "pc.", .fail_at = i };

		snprintf(says, sizeof says, "event %d was told to fail", i);
		sr_run(&r, w.data, w.length, i % 2, 0);
		assert_int_equal(r.status, -ENOSPC);
		assert_string_equal(r.err.text, says);
		assert_int_equal(r.events, i);
		sr_free(&r);
	}
	sw_free(&w);
}

static int silent_failure(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err)
{
	return -EPIPE;
}

/* A callback that fails without a sentence gets one. */
static void test_callback_says_nothing(void **state)
{
	static const struct wt_stream_events events = { .pass = silent_failure };
	struct wt_stream *stream = NULL;
	struct wt_error err = { 0 };
	uint8_t *buffer;
	size_t room;

	assert_int_equal(wt_stream_open(&events, NULL, &stream), 0);
	wt_stream_buffer(stream, &buffer, &room);
	memcpy(buffer, "QEVM\0\0\0\3", 8);
	assert_int_equal(wt_stream_advance(stream, 8, &err), -EPIPE);
	assert_int_equal(err.code, EPIPE);
	assert_non_null(strstr(err.text, "Broken pipe"));
	wt_stream_close(stream);
	wt_stream_close(NULL);
}

static void test_return_path_messages(void **state)
{
	uint8_t bytes[8];

	assert_int_equal(wt_return_path_pong(bytes, 0x01020304), 8);
	assert_memory_equal(bytes, "\0\2\0\4\1\2\3\4", 8);
	assert_int_equal(wt_return_path_shut(bytes, 0), 8);
	assert_memory_equal(bytes, "\0\1\0\4\0\0\0\0", 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_stripped_is_exact),
		cmocka_unit_test(test_nothing_in_place),
		cmocka_unit_test(test_absent),
		cmocka_unit_test(test_absent_or_not),
		cmocka_unit_test(test_any_pieces),
		cmocka_unit_test(test_longer_than_the_buffer),
		cmocka_unit_test(test_configuration),
		cmocka_unit_test(test_ignore_shared),
		cmocka_unit_test(test_ignore_shared_stripped),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_too_many_blocks),
		cmocka_unit_test(test_callback_fails),
		cmocka_unit_test(test_callback_says_nothing),
		cmocka_unit_test(test_return_path_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

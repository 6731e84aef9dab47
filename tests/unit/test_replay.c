/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_replay.c - the stripped stream is handed to other destinations at any byte of QEMU's stream.
 *
 *   - what each destination got is accepted by a reader and has the same effect as the whole stream, whoever
 *     took over, at whatever byte, and also when an earlier destination comes back and goes on where it
 * stood;
 *   - the newest content of a page counts, zero as well;
 *   - what is kept is bounded, and when it cannot be kept the migration goes on.
 * How multifd's channels mix with that is test_multifd.c's.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "replay.h"
#include "seed.h"
#include "stream_writer.h"

#define BLOCKS 3u /* those of sw_ram_start; pc.ram, the first, is in place */
#define PAGES_MAX 16u
#define DESTINATIONS 3u

static const char *const names[BLOCKS] = { "pc.ram", "vga.vram", "/rom@etc/acpi/tables" };
static const unsigned block_pages[BLOCKS] = { 16, 4, 2 };

/* ---- a reader, and where its stripped stream goes ---- */

struct sender {
	struct wt_stream *stream;
	struct wt_replay *replay;
	struct stream_writer got[DESTINATIONS];
	uint64_t left_at[DESTINATIONS]; /* 0: it has had nothing */
	unsigned now;
	struct wt_error err;
};

static int on_block(void *arg, uint32_t index, const char *name, uint64_t length, bool *ret_in_place,
	struct wt_error *err)
{
	*ret_in_place = index == 0;
	wt_replay_block(((struct sender *)arg)->replay, index, length);
	return 0;
}

static int on_blocks_end(void *arg, struct wt_error *err)
{
	wt_replay_blocks_end(((struct sender *)arg)->replay);
	return 0;
}

static int on_page(void *arg, uint32_t block, uint64_t page, const uint8_t *bytes, struct wt_error *err)
{
	return 0;
}

static int on_zero(void *arg, uint32_t block, uint64_t page, struct wt_error *err)
{
	return 0;
}

static int nothing(void *arg, struct wt_error *err)
{
	return 0;
}

static int on_ram_end(void *arg, struct wt_error *err)
{
	wt_replay_ram_end(((struct sender *)arg)->replay);
	return 0;
}

static int on_ping(void *arg, uint32_t value, struct wt_error *err)
{
	return 0;
}

static int on_kept(void *arg, uint32_t block, uint64_t page, const uint8_t *bytes, struct wt_error *err)
{
	wt_replay_kept(((struct sender *)arg)->replay, block, page, bytes);
	return 0;
}

static int on_part(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err)
{
	struct sender *s = arg;

	sw_bytes(&s->got[s->now], bytes, length);
	return 0;
}

static int on_pass(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err)
{
	wt_replay_pass(((struct sender *)arg)->replay, bytes, length);
	return on_part(arg, bytes, length, err);
}

static const struct wt_stream_events sender_events = { on_block, on_blocks_end, on_page, on_zero, nothing,
	on_ram_end, nothing, on_ping, on_kept, on_part, on_pass };

static void open_sender(struct sender *s, size_t pages_max)
{
	*s = (struct sender){ 0 };
	assert_int_equal(wt_replay_open(pages_max, &s->replay), 0);
	assert_int_equal(wt_stream_open(&sender_events, s, &s->stream), 0);
}

static void close_sender(struct sender *s)
{
	wt_stream_close(s->stream);
	wt_replay_close(s->replay);
	for (unsigned i = 0; i < DESTINATIONS; i++)
		sw_free(&s->got[i]);
}

static void feed(struct wt_stream *stream, const uint8_t *bytes, size_t length, struct wt_error *err)
{
	while (length) {
		uint8_t *buffer;
		size_t room;

		wt_stream_buffer(stream, &buffer, &room);
		room = room < length ? room : length;
		memcpy(buffer, bytes, room);
		if (wt_stream_advance(stream, room, err))
			return;
		bytes += room;
		length -= room;
	}
}

/* Hands over to destination `to`, if that is possible now. */
static void hand_over(struct sender *s, unsigned to)
{
	if (to == s->now || wt_replay_check(s->replay, NULL))
		return;
	assert_int_equal(wt_stream_break(s->stream, &s->err), 0);
	s->left_at[s->now] = wt_replay_position(s->replay);
	s->now = to;
	assert_int_equal(wt_replay_write(s->replay, s->stream, s->left_at[to], on_part, s, &s->err), 0);
}

/* ---- a destination, and what the stream makes of it ---- */

struct loaded {
	uint8_t content[BLOCKS][PAGES_MAX];
	bool known[BLOCKS][PAGES_MAX];
	bool ended;
	struct stream_writer rest; /* what is no page */
};

static int load_block(void *arg, uint32_t index, const char *name, uint64_t length, bool *ret_in_place,
	struct wt_error *err)
{
	assert_true(index < BLOCKS && length == (uint64_t)block_pages[index] * WT_PAGE_SIZE);
	*ret_in_place = true;
	return 0;
}

static int load_page(void *arg, uint32_t block, uint64_t page, const uint8_t *bytes, struct wt_error *err)
{
	struct loaded *l = arg;

	l->content[block][page] = bytes ? bytes[WT_PAGE_SIZE / 2] : 0;
	l->known[block][page] = true;
	return 0;
}

static int load_zero(void *arg, uint32_t block, uint64_t page, struct wt_error *err)
{
	return load_page(arg, block, page, NULL, err);
}

static int load_end(void *arg, struct wt_error *err)
{
	((struct loaded *)arg)->ended = true;
	return 0;
}

static int load_rest(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err)
{
	sw_bytes(&((struct loaded *)arg)->rest, bytes, length);
	return 0;
}

static int load_kept(void *arg, uint32_t block, uint64_t page, const uint8_t *bytes, struct wt_error *err)
{
	return -EINVAL;
}

static const struct wt_stream_events load_events = { load_block, nothing, load_page, load_zero, nothing,
	load_end, nothing, on_ping, load_kept, load_rest, load_rest };

static void load(const struct stream_writer *bytes, struct loaded *ret_loaded)
{
	struct wt_stream *stream = NULL;
	struct wt_error err = { 0 };

	*ret_loaded = (struct loaded){ .ended = false };
	assert_int_equal(wt_stream_open(&load_events, ret_loaded, &stream), 0);
	feed(stream, bytes->data, bytes->length, &err);
	if (err.code)
		fail_msg("seed %llu: %s", (unsigned long long)seed_now, err.text);
	wt_stream_close(stream);
}

static void check_equal(const struct loaded *a, const struct loaded *b)
{
	check(a->ended && b->ended);
	/* Pages of pc.ram are not in a stripped stream. */
	check(!memcmp(a->content[1], b->content[1], sizeof a->content - sizeof a->content[0]));
	check(!memcmp(a->known[1], b->known[1], sizeof a->known - sizeof a->known[0]));
	check(a->rest.length == b->rest.length && !memcmp(a->rest.data, b->rest.data, a->rest.length));
}

/* ---- any stream, any handing over ---- */

static void write_section(struct stream_writer *w, unsigned type)
{
	unsigned last = BLOCKS;

	sw_section(w, type, SW_RAM_ID, NULL, 0);
	for (unsigned n = seed_below(12); n > 0; n--) {
		unsigned block = (unsigned)seed_below(BLOCKS);
		uint64_t page = seed_below(block_pages[block]);
		const char *name = block == last ? NULL : names[block];

		if (seed_below(3))
			sw_page(w, name, page, (uint8_t)(1 + seed_below(255)));
		else
			sw_zero(w, name, page);
		last = block;
	}
	sw_eos(w);
}

static void write_stream(struct stream_writer *w)
{
	sw_prologue(w);
	for (unsigned n = 1 + (unsigned)seed_below(8); n > 0; n--) {
		write_section(w, SW_PART);
		if (!seed_below(6))
			sw_command(w, 11, NULL, 0);
	}
	write_section(w, SW_END);
	sw_bytes(w, "\4device state\0", 14);
}

static void one_stream(void)
{
	struct stream_writer w = { 0 };
	struct loaded whole, last;
	struct sender s;
	size_t at = 0;

	write_stream(&w);
	load(&w, &whole);
	open_sender(&s, WT_REPLAY_PAGES_MAX);
	while (at < w.length) {
		size_t piece = 1 + seed_below(w.length / 4);

		piece = piece < w.length - at ? piece : w.length - at;
		feed(s.stream, w.data + at, piece, &s.err);
		at += piece;
		hand_over(&s, (unsigned)seed_below(DESTINATIONS));
	}
	check(!s.err.code);
	load(&s.got[s.now], &last);
	check_equal(&whole, &last);
	close_sender(&s);
	sw_free(&whole.rest);
	sw_free(&last.rest);
	sw_free(&w);
}

static void test_any_moment(void **state)
{
	seed_runs(2000, one_stream);
}

/* ---- what is kept ---- */

static struct loaded replayed(struct sender *s)
{
	struct loaded loaded;

	hand_over(s, s->now + 1);
	load(&s->got[s->now], &loaded);
	sw_free(&loaded.rest);
	return loaded;
}

/* Exactly the bytes: the beginning, one section, each page once, zeros without a copy. */
static void test_newest(void **state)
{
	struct stream_writer w = { 0 }, expected = { 0 };
	struct loaded loaded;
	struct sender s;

	sw_prologue(&w);
	sw_section(&w, SW_PART, SW_RAM_ID, NULL, 0);
	sw_page(&w, "vga.vram", 3, 0x11);
	sw_page(&w, NULL, 0, 0x12);
	sw_zero(&w, NULL, 1);
	sw_page(&w, "pc.ram", 1, 0x13);
	sw_eos(&w);
	sw_section(&w, SW_PART, SW_RAM_ID, NULL, 0);
	sw_page(&w, "vga.vram", 3, 0x21);
	sw_zero(&w, NULL, 0);
	sw_page(&w, NULL, 1, 0x22);
	open_sender(&s, WT_REPLAY_PAGES_MAX);
	feed(s.stream, w.data, w.length, &s.err);
	loaded = replayed(&s);
	assert_true(loaded.known[1][0] && loaded.known[1][1] && !loaded.known[1][2] && loaded.known[1][3]);

	sw_header(&expected);
	sw_config(&expected, "pc-q35-7.2");
	sw_ram_start(&expected);
	sw_section(&expected, SW_PART, SW_RAM_ID, NULL, 0);
	sw_zero(&expected, "vga.vram", 0);
	sw_page(&expected, NULL, 1, 0x22);
	sw_page(&expected, NULL, 3, 0x21);
	sw_eos(&expected);
	assert_int_equal(s.got[1].length, expected.length);
	assert_memory_equal(s.got[1].data, expected.data, expected.length);
	close_sender(&s);
	sw_free(&w);
	sw_free(&expected);
}

/* Before anything was kept a replay is just the beginning; before that it is too early, and in the end too
 * late. */
static void test_when(void **state)
{
	struct stream_writer w = { 0 };
	struct wt_error err = { 0 };
	struct loaded loaded;
	struct sender s;
	size_t listed, i;

	sw_full_stream(&w, NULL);
	open_sender(&s, WT_REPLAY_PAGES_MAX);
	for (listed = 0; wt_replay_check(s.replay, NULL) == -ENODATA; listed++)
		feed(s.stream, w.data + listed, 1, &s.err);
	assert_int_equal(wt_replay_check(s.replay, &err), 0);
	/* The footer of RAM's start section has not been read: it is passed on with the rest of its section.
	 */
	assert_int_equal(w.data[listed], 0x7e);
	loaded = replayed(&s);
	assert_false(loaded.known[1][0]);
	for (i = listed; i < w.length && !wt_replay_check(s.replay, NULL); i++)
		feed(s.stream, w.data + i, 1, &s.err);
	assert_true(wt_stream_ram_ended(s.stream));
	assert_int_equal(wt_replay_check(s.replay, &err), -ESTALE);
	assert_non_null(strstr(err.text, "the guest is stopped"));
	assert_int_equal(wt_replay_write(s.replay, s.stream, 0, on_part, &s, NULL), -ESTALE);
	assert_int_equal(wt_replay_check(NULL, NULL), -EOPNOTSUPP);
	assert_int_equal(s.err.code, 0);
	close_sender(&s);
	sw_free(&w);
}

/* Room for two pages (and their tables): pages that change or become zero take none, a third one does. */
static void test_bound(void **state)
{
	struct wt_replay *r = NULL;
	struct wt_error err = { 0 };
	uint8_t bytes[WT_PAGE_SIZE] = { 1 };

	assert_int_equal(wt_replay_open(2 * WT_PAGE_SIZE + WT_PAGE_SIZE + 8, &r), 0);
	wt_replay_block(r, 0, 4ull * WT_PAGE_SIZE);
	wt_replay_pass(r, bytes, 100);
	wt_replay_blocks_end(r);
	for (unsigned i = 0; i < 100; i++) {
		wt_replay_kept(r, 0, i % 2, bytes);
		wt_replay_kept(r, 0, 2, NULL);
	}
	wt_replay_kept(r, 0, 0, NULL);
	wt_replay_kept(r, 0, 2, bytes);
	assert_int_equal(wt_replay_check(r, &err), 0);
	wt_replay_kept(r, 0, 3, bytes);
	assert_int_equal(wt_replay_check(r, &err), -ENOBUFS);
	assert_non_null(strstr(err.text, "not shared"));
	/* It stays so, and nothing is wrong with feeding on. */
	wt_replay_kept(r, 0, 3, NULL);
	wt_replay_pass(r, bytes, 100);
	wt_replay_blocks_end(r);
	assert_int_equal(wt_replay_check(r, NULL), -ENOBUFS);
	wt_replay_close(r);
}

/* A block so large that its table alone is too much, and a stream with too much that is no page. */
static void test_bound_of_the_rest(void **state)
{
	static uint8_t bytes[WT_REPLAY_VERBATIM_MAX];
	struct wt_replay *r = NULL;
	struct wt_error err = { 0 };

	assert_int_equal(wt_replay_open(1 << 20, &r), 0);
	wt_replay_block(r, 0, 1ull << 52);
	wt_replay_kept(r, 0, (1ull << 40) - 1, bytes);
	assert_int_equal(wt_replay_check(r, NULL), -ENOBUFS);
	wt_replay_close(r);

	assert_int_equal(wt_replay_open(1 << 20, &r), 0);
	wt_replay_pass(r, bytes, sizeof bytes);
	wt_replay_blocks_end(r);
	assert_int_equal(wt_replay_check(r, NULL), 0);
	wt_replay_pass(r, bytes, 1);
	assert_int_equal(wt_replay_check(r, &err), -E2BIG);
	wt_replay_close(r);
	wt_replay_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_moment),
		cmocka_unit_test(test_newest),
		cmocka_unit_test(test_when),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_bound_of_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

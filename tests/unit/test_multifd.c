/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_multifd.c - the reader of a stream with multifd, over channels written by a small model of QEMU.
 *
 * The model walks over memory that changes, page by page, in the two ways in which QEMUs synchronise (per
 * section, per round) and in the two ways in which they send zero pages (main channel, packets). What it
 * wrote is fed in any order and in any pieces, and the owner turns pages down now and then. Then:
 *   1. the last content reported of every page is its newest, whatever channel it came on;
 *   2. pages that stay are in the stripped stream, which one channel can carry, with their newest content
 * last;
 *   3. that is so, too, if other destinations take over on the way (replay.h);
 *   4. nothing stalls: when all bytes were given, all were taken.
 * And every malformed channel gives its own sentence.
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
#include "stream.h"
#include "stream_writer.h"

#define CHANNELS_MAX 5u
#define PC_PAGES 16u
#define VGA_PAGES 4u
#define PACKET_PAGES 128u
#define SW_FLUSH 0x200u

struct model {
	unsigned channels;
	bool flush_words;     /* syncs are where MULTIFD_FLUSH stands; otherwise at the end of each section */
	bool zero_in_packets; /* as from 9.0 on */
	bool absent;          /* pages of pc.ram have no bytes; their content is not known then (CONTENT) */
	struct stream_writer main, channel[CHANNELS_MAX];
	/* Content is a version, 0: zeros. By stream block: 0 pc.ram, 1 vga.vram. */
	uint32_t now[2][PC_PAGES];
	uint32_t next_version;
};

/* What was reported, or loaded from the stripped stream. */
struct seen {
	uint32_t version[2][PC_PAGES];
	bool known[2][PC_PAGES];
	bool only_one_block; /* pc.ram is in place, nothing else is */
	bool absent;         /* and its pages have no bytes */
	uint64_t contents;   /* so many pages that had none */
	struct wt_stream *stream;
	unsigned again, offers;
	struct stream_writer stripped;
	struct wt_replay *replay; /* NULL: no other destination takes over */
	bool blocks_ended, ram_ended;
};

/* ---- writing ---- */

static void introduction(struct stream_writer *w, unsigned id)
{
	sw_be(w, 0x11223344, 4);
	sw_be(w, 1, 4);
	sw_bytes(w, "0123456789abcdef", 16);
	sw_be(w, id, 1);
	for (unsigned i = 0; i < 39; i++)
		sw_be(w, 0, 1);
}

#define CONTENT UINT32_MAX

struct packet {
	bool absent;
	uint32_t flags, alloc, normal, zero, size;
	const char *block;
	uint64_t pages[PACKET_PAGES];
	uint32_t versions[PACKET_PAGES];
};

static void page_bytes(struct stream_writer *w, uint32_t version)
{
	for (unsigned i = 0; i < WT_PAGE_SIZE / 4; i++)
		sw_bytes(w, &version, 4);
}

static void packet(struct stream_writer *w, const struct packet *p)
{
	char name[256] = { 0 };

	sw_be(w, 0x11223344, 4);
	sw_be(w, 1, 4);
	sw_be(w, p->flags, 4);
	sw_be(w, p->alloc, 4);
	sw_be(w, p->normal, 4);
	sw_be(w, p->size, 4);
	sw_be(w, 77, 8);
	sw_be(w, p->zero, 4);
	for (unsigned i = 0; i < 28; i++)
		sw_be(w, 0, 1);
	if (p->block)
		strcpy(name, p->block);
	sw_bytes(w, name, sizeof name);
	for (unsigned i = 0; i < PACKET_PAGES; i++)
		sw_be(w, p->pages[i] << WT_PAGE_SHIFT, 8);
	for (unsigned i = 0; i < p->normal && !p->absent; i++)
		page_bytes(w, p->versions[i]);
}

static void sync_channels(struct model *m)
{
	for (unsigned c = 0; c < m->channels; c++)
		packet(&m->channel[c], &(struct packet){ .flags = 1, .alloc = c % 2 ? PACKET_PAGES : 0 });
}

static void end_section(struct model *m)
{
	if (!m->flush_words)
		sync_channels(m);
	sw_eos(&m->main);
}

/* Sends a page as QEMU would: which channel carries it is chance. */
static void send_page(struct model *m, unsigned block, uint64_t page)
{
	static const char *const names[] = { "pc.ram", "vga.vram" };
	uint32_t version = m->now[block][page];
	struct packet p = { .absent = m->absent && block == 0,
		.alloc = PACKET_PAGES,
		.block = names[block],
		.pages = { page },
		.versions = { version } };

	if (!version && !m->zero_in_packets) {
		sw_zero(&m->main, names[block], page);
		return;
	}
	p.normal = version != 0;
	p.zero = !version;
	p.size = p.normal * WT_PAGE_SIZE;
	packet(&m->channel[seed_below(m->channels)], &p);
}

/* A round: every page once, changed or not, in a few sections. */
static void send_round(struct model *m, unsigned type)
{
	sw_section(&m->main, type, SW_RAM_ID, NULL, 0);
	for (unsigned block = 0; block < 2; block++)
		for (uint64_t page = 0; page < (block ? VGA_PAGES : PC_PAGES); page++) {
			if (seed_below(2))
				m->now[block][page] = seed_below(3) ? ++m->next_version : 0;
			else if (m->next_version > 20)
				continue;
			send_page(m, block, page);
			if (type == SW_PART && seed_below(8) == 0) {
				end_section(m);
				sw_section(&m->main, SW_PART, SW_RAM_ID, NULL, 0);
			}
		}
	if (m->flush_words) {
		sync_channels(m);
		sw_word(&m->main, 0, SW_FLUSH);
	}
	end_section(m);
}

static void write_model(struct model *m)
{
	sw_header(&m->main);
	sw_config(&m->main, "pc-q35-10.0");
	for (unsigned c = 0; c < m->channels; c++)
		introduction(&m->channel[c], c);
	sw_section(&m->main, SW_START, SW_RAM_ID, "ram", 4);
	sw_word(&m->main, PC_PAGES + VGA_PAGES, SW_MEM_SIZE);
	sw_block(&m->main, "pc.ram", PC_PAGES * WT_PAGE_SIZE);
	sw_block(&m->main, "vga.vram", VGA_PAGES * WT_PAGE_SIZE);
	if (m->flush_words) {
		sync_channels(m);
		sw_word(&m->main, 0, SW_FLUSH);
	}
	end_section(m);
	for (unsigned round = 1 + seed_below(4); round-- > 0;)
		send_round(m, SW_PART);
	send_round(m, SW_END);
	sw_bytes(&m->main, "\4tail", 5);
}

static void free_model(struct model *m)
{
	sw_free(&m->main);
	for (unsigned c = 0; c < m->channels; c++)
		sw_free(&m->channel[c]);
}

/* ---- reading ---- */

static int on_block(void *arg, uint32_t index, const char *name, uint64_t length, bool *ret_in_place,
	struct wt_error *err)
{
	*ret_in_place = index == 0 || !((struct seen *)arg)->only_one_block;
	if (index == 0 && ((struct seen *)arg)->absent)
		wt_stream_block_absent(((struct seen *)arg)->stream, index);
	wt_replay_block(((struct seen *)arg)->replay, index, length);
	return 0;
}

static int on_blocks_end(void *arg, struct wt_error *err)
{
	((struct seen *)arg)->blocks_ended = true;
	wt_replay_blocks_end(((struct seen *)arg)->replay);
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

static int see(struct seen *seen, uint32_t block, uint64_t page, uint32_t version)
{
	assert_true(block < 2 && page < (block ? VGA_PAGES : PC_PAGES));
	assert_true(seen->blocks_ended && !seen->ram_ended);
	if (seen->again > 1 && ++seen->offers % seen->again == 0)
		return -EAGAIN;
	seen->version[block][page] = version;
	seen->contents += version == CONTENT;
	seen->known[block][page] = true;
	return 0;
}

static int on_page(void *arg, uint32_t block, uint64_t page, const uint8_t *bytes, struct wt_error *err)
{
	uint32_t first, last;

	if (!bytes)
		return see(arg, block, page, CONTENT);
	memcpy(&first, bytes, sizeof first);
	memcpy(&last, bytes + WT_PAGE_SIZE - sizeof last, sizeof last);
	assert_int_equal(first, last);
	return see(arg, block, page, first);
}

static int on_zero(void *arg, uint32_t block, uint64_t page, struct wt_error *err)
{
	return see(arg, block, page, 0);
}

static int on_ram_end(void *arg, struct wt_error *err)
{
	((struct seen *)arg)->ram_ended = true;
	wt_replay_ram_end(((struct seen *)arg)->replay);
	return 0;
}

static int on_kept(void *arg, uint32_t block, uint64_t page, const uint8_t *bytes, struct wt_error *err)
{
	assert_int_equal(block, 1);
	wt_replay_kept(((struct seen *)arg)->replay, block, page, bytes);
	return 0;
}

static int on_part(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err)
{
	sw_bytes(&((struct seen *)arg)->stripped, bytes, length);
	return 0;
}

static int on_pass(void *arg, const uint8_t *bytes, size_t length, struct wt_error *err)
{
	wt_replay_pass(((struct seen *)arg)->replay, bytes, length);
	return on_part(arg, bytes, length, err);
}

static const struct wt_stream_events events = { on_block, on_blocks_end, on_page, on_zero, nothing,
	on_ram_end, nothing, on_ping, on_kept, on_part, on_pass };

struct reading {
	struct wt_stream *stream;
	struct seen *seen;
	struct wt_multifd *channel[CHANNELS_MAX];
	unsigned channels;
	size_t fed[CHANNELS_MAX + 1]; /* by channel; the last: the main one */
	struct wt_error err;
	int status;
};

static void open_reading(struct reading *r, unsigned channels, struct seen *seen)
{
	*r = (struct reading){ .seen = seen, .channels = channels };
	assert_int_equal(wt_stream_open(&events, seen, &r->stream), 0);
	seen->stream = r->stream;
	if (seen->absent)
		wt_stream_absent(r->stream);
	for (unsigned c = 0; c < channels; c++) {
		assert_int_equal(wt_multifd_open(r->stream, &r->channel[c], &r->err), 0);
		if (seen->absent)
			wt_multifd_absent(r->channel[c]);
	}
}

static void close_reading(struct reading *r)
{
	for (unsigned c = 0; c < r->channels; c++)
		wt_multifd_close(r->channel[c]);
	wt_stream_close(r->stream);
}

static enum wt_stream_wait waits(const struct reading *r, unsigned c)
{
	return c < r->channels ? wt_multifd_waits(r->channel[c]) : wt_stream_waits(r->stream);
}

/* Gives channel c up to `most` bytes of w, or lets it go on with what it has. Answers whether it could. */
static bool step(struct reading *r, unsigned c, const struct stream_writer *w, size_t most)
{
	uint64_t before;
	uint8_t *buffer;
	size_t room, piece = 0;

	before = c < r->channels ? wt_multifd_offset(r->channel[c]) : wt_stream_offset(r->stream);
	if (waits(r, c) == WT_STREAM_WAIT_INPUT) {
		piece = w->length - r->fed[c] < most ? w->length - r->fed[c] : most;
		if (!piece)
			return false;
		if (c < r->channels)
			wt_multifd_buffer(r->channel[c], &buffer, &room);
		else
			wt_stream_buffer(r->stream, &buffer, &room);
		piece = piece < room ? piece : room;
		memcpy(buffer, w->data + r->fed[c], piece);
		r->fed[c] += piece;
	}
	r->status = c < r->channels ? wt_multifd_advance(r->channel[c], piece, &r->err)
				    : wt_stream_advance(r->stream, piece, &r->err);
	return piece ||
	       (c < r->channels ? wt_multifd_offset(r->channel[c]) : wt_stream_offset(r->stream)) != before ||
	       waits(r, c) == WT_STREAM_WAIT_INPUT;
}

/* Another destination takes over: what the former one had is not seen any more. */
static void retarget(struct reading *r)
{
	if (wt_replay_check(r->seen->replay, NULL))
		return;
	assert_int_equal(wt_stream_break(r->stream, &r->err), 0);
	r->seen->stripped.length = 0;
	assert_int_equal(wt_replay_write(r->seen->replay, r->stream, 0, on_part, r->seen, &r->err), 0);
}

/* Feeds everything in random order; stops at a failure. */
static void read_all(struct reading *r, const struct model *m, size_t piece_max)
{
	unsigned idle = 0;

	while (!r->status && idle < 200) {
		unsigned c = seed_below(m->channels + 1);
		const struct stream_writer *w = c < m->channels ? &m->channel[c] : &m->main;

		idle = step(r, c, w, 1 + seed_below(piece_max)) ? 0 : idle + 1;
		if (!r->status && r->seen->replay && !seed_below(50))
			retarget(r);
	}
}

/* ---- the model ---- */

static void check_newest(const struct model *m, const struct seen *seen, unsigned block)
{
	const bool absent = m->absent && block == 0;

	for (unsigned page = 0; page < (block ? VGA_PAGES : PC_PAGES); page++) {
		uint32_t newest = absent && m->now[block][page] ? CONTENT : m->now[block][page];

		if (!seen->known[block][page] || seen->version[block][page] != newest)
			fail_msg("seed %llu: block %u page %u has version %u, its newest is %u",
				(unsigned long long)seed_now, block, page, seen->version[block][page],
				newest);
	}
}

/* One channel carries the stripped stream: what does it bring? */
static void check_stripped(const struct model *m, struct seen *first)
{
	struct seen loaded = { .only_one_block = false };
	struct model single = { .channels = 0, .main = first->stripped };
	struct reading r;

	open_reading(&r, 0, &loaded);
	read_all(&r, &single, 100000);
	assert_string_equal(r.err.text, "");
	assert_true(loaded.ram_ended);
	check_newest(m, &loaded, 1);
	for (unsigned page = 0; page < PC_PAGES; page++)
		assert_false(loaded.known[0][page]);
	close_reading(&r);
	sw_free(&loaded.stripped);
}

static void one_model(void)
{
	struct model m = { .channels = 1 + seed_below(CHANNELS_MAX),
		.flush_words = seed_below(2),
		.zero_in_packets = seed_below(2),
		.absent = seed_below(2) };
	struct seen seen = { .only_one_block = true, .absent = m.absent, .again = seed_below(5) };
	struct reading r;
	uint64_t absent_bytes = 0;

	write_model(&m);
	if (seed_below(2))
		assert_int_equal(wt_replay_open(WT_REPLAY_PAGES_MAX, &seen.replay), 0);
	open_reading(&r, m.channels, &seen);
	read_all(&r, &m, seed_below(2) ? 300 : 40000);
	if (r.status)
		fail_msg("seed %llu: %s", (unsigned long long)seed_now, r.err.text);
	for (unsigned c = 0; c < m.channels; c++) {
		assert_int_equal(wt_multifd_offset(r.channel[c]), m.channel[c].length);
		assert_int_equal(wt_multifd_finish(r.channel[c], &r.err), 0);
		absent_bytes += wt_multifd_absent_bytes(r.channel[c]);
	}
	assert_int_equal(absent_bytes, seen.contents * WT_PAGE_SIZE);
	assert_int_equal(wt_stream_offset(r.stream), m.main.length);
	assert_int_equal(wt_stream_finish(r.stream, &r.err), 0);
	check_newest(&m, &seen, 0);
	check_stripped(&m, &seen);
	close_reading(&r);
	wt_replay_close(seen.replay);
	sw_free(&seen.stripped);
	free_model(&m);
}

static void test_any_order(void **state)
{
	seed_runs(400, one_model);
}

/* ---- what is malformed ---- */

static int refused(struct reading *r, const struct stream_writer *channel, bool begun, const char *says)
{
	struct seen seen = { .only_one_block = true };
	struct model m = { .channels = 1, .flush_words = true };
	unsigned spins = 0;

	introduction(&m.channel[0], 0);
	sw_header(&m.main);
	sw_ram_start(&m.main);
	m.main.length -= 8 + 5; /* without its end */
	sw_word(&m.main, 0, SW_FLUSH);
	sw_eos(&m.main);
	if (begun)
		sync_channels(&m);
	sw_bytes(&m.channel[0], channel->data, channel->length);
	open_reading(r, 1, &seen);
	while (!r->status && spins++ < 1000) {
		step(r, 1, &m.main, 100000);
		if (!r->status)
			step(r, 0, &m.channel[0], 100000);
	}
	if (!r->status || !strstr(r->err.text, says))
		fail_msg("'%s' is not '%s'", r->err.text, says);
	assert_int_equal(wt_stream_advance(r->stream, 0, NULL), r->status);
	close_reading(r);
	free_model(&m);
	sw_free(&seen.stripped);
	return 0;
}

static void test_bad_packets(void **state)
{
	static const struct {
		struct packet packet;
		bool begun;
		const char *says;
	} bad[] = {
		{ { .flags = 1 << 6 }, true, "device state" },
		{ { .flags = 1 << 1 }, true, "compressed" },
		{ { .flags = 1 << 7 }, true, "flags 0x80" },
		{ { .alloc = 129 }, true, "room for 129 pages" },
		{ { .alloc = 0, .normal = 1 }, true, "1 with content" },
		{ { .alloc = 128, .normal = 100, .zero = 29 }, true, "29 of zeros" },
		{ { .alloc = 128, .zero = UINT32_MAX }, true, "of zeros" },
		{ { .alloc = 128, .normal = 1, .size = 1, .block = "pc.ram" }, true, "said to have 1 bytes" },
		{ { .alloc = 128, .normal = 1, .size = 4096, .block = "nope" }, true,
			"'nope', which was not listed" },
		{ { .alloc = 128, .zero = 1 }, true, "'', which was not listed" },
		{ { .alloc = 128, .zero = 1, .block = "pc.ram", .pages = { 16 } }, true,
			"is no page of RAM block 'pc.ram'" },
		{ { .alloc = 128, .zero = 1, .block = "pc.ram" }, false,
			"before RAM's start section has ended" },
	};
	struct stream_writer w = { 0 };
	struct reading r;

	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		w.length = 0;
		packet(&w, &bad[i].packet);
		refused(&r, &w, bad[i].begun, bad[i].says);
	}
	w.length = 0;
	introduction(&w, 1); /* where a packet belongs */
	sw_bytes(&w, (char[1400]){ 0 }, 1400);
	refused(&r, &w, true, "compressed");
	w.length = 0;
	sw_bytes(&w, (char[1400]){ 0 }, 1400);
	refused(&r, &w, true, "begins no packet");
	sw_free(&w);
}

/* A channel's number and the machine's id must fit to the others'; a late one is turned away. */
static void test_introductions(void **state)
{
	struct seen seen = { .only_one_block = true };
	struct stream_writer w = { 0 }, other = { 0 }, main = { 0 };
	struct wt_multifd *late = NULL;
	struct reading r;

	introduction(&w, 3);
	open_reading(&r, 2, &seen);
	step(&r, 0, &w, 100);
	step(&r, 1, &w, 100);
	assert_non_null(strstr(r.err.text, "two channels 3"));
	close_reading(&r);

	introduction(&other, 4);
	other.data[10] ^= 1;
	open_reading(&r, 2, &seen);
	step(&r, 0, &w, 100);
	step(&r, 1, &other, 100);
	assert_non_null(strstr(r.err.text, "two machines"));
	close_reading(&r);

	w.data[7] = 9;
	open_reading(&r, 1, &seen);
	step(&r, 0, &w, 100);
	assert_non_null(strstr(r.err.text, "version 9"));
	close_reading(&r);

	sw_header(&main);
	sw_ram_start(&main);
	open_reading(&r, 0, &seen);
	step(&r, 0, &main, 100000);
	assert_string_equal(r.err.text, "");
	assert_int_equal(wt_multifd_open(r.stream, &late, &r.err), -EPROTO);
	assert_non_null(strstr(r.err.text, "after the migration has begun"));
	close_reading(&r);
	sw_free(&w);
	sw_free(&other);
	sw_free(&main);
	sw_free(&seen.stripped);
}

/* A channel that ends keeps the main one from waiting for ever; in the middle of a packet it is an error. */
static void test_channel_ends(void **state)
{
	struct seen seen = { .only_one_block = true };
	struct model m = { .channels = 2, .flush_words = true };
	struct reading r;

	write_model(&m);
	open_reading(&r, 2, &seen);
	step(&r, 0, &m.channel[0], 64);
	step(&r, 1, &m.channel[1], 100000);
	assert_int_equal(wt_multifd_finish(r.channel[0], &r.err), 0);
	while (!r.status && step(&r, 2, &m.main, 100000))
		;
	assert_non_null(strstr(r.err.text, "multifd channel 0 has ended before RAM's end section"));
	close_reading(&r);

	open_reading(&r, 2, &seen);
	step(&r, 0, &m.channel[0], 100);
	assert_int_equal(wt_multifd_finish(r.channel[0], &r.err), -EPROTO);
	assert_non_null(strstr(r.err.text, "ended within a packet"));
	close_reading(&r);
	free_model(&m);
	sw_free(&seen.stripped);
}

/* QEMU writes the start section's footer late: the list of blocks is known, and pages flow, before it comes.
 */
static void test_footer_is_late(void **state)
{
	for (unsigned flush_words = 0; flush_words < 2; flush_words++) {
		struct seen seen = { .only_one_block = true };
		struct model m = { .channels = 1, .flush_words = flush_words, .zero_in_packets = true };
		struct reading r;

		introduction(&m.channel[0], 0);
		sw_header(&m.main);
		sw_section(&m.main, SW_START, SW_RAM_ID, "ram", 4);
		sw_word(&m.main, PC_PAGES + VGA_PAGES, SW_MEM_SIZE);
		sw_block(&m.main, "pc.ram", PC_PAGES * WT_PAGE_SIZE);
		sw_block(&m.main, "vga.vram", VGA_PAGES * WT_PAGE_SIZE);
		sync_channels(&m);
		if (flush_words)
			sw_word(&m.main, 0, SW_FLUSH);
		sw_word(&m.main, 0, SW_EOS);
		m.now[0][3] = 7;
		send_page(&m, 0, 3);
		open_reading(&r, 1, &seen);
		seed_start(1);
		read_all(&r, &m, 100000);
		assert_string_equal(r.err.text, "");
		assert_true(seen.blocks_ended && seen.known[0][3]);
		close_reading(&r);
		sw_free(&seen.stripped);
		free_model(&m);
	}
}

/* Pages that stay in the stream cannot come before the list of blocks is at its end. */
static void test_pages_in_the_start_section(void **state)
{
	struct seen seen = { .only_one_block = true };
	struct model m = { .channels = 1, .flush_words = true };
	struct reading r;

	introduction(&m.channel[0], 0);
	m.now[1][2] = 7;
	send_page(&m, 1, 2);
	sync_channels(&m);
	sw_header(&m.main);
	sw_section(&m.main, SW_START, SW_RAM_ID, "ram", 4);
	sw_word(&m.main, PC_PAGES + VGA_PAGES, SW_MEM_SIZE);
	sw_block(&m.main, "pc.ram", PC_PAGES * WT_PAGE_SIZE);
	sw_block(&m.main, "vga.vram", VGA_PAGES * WT_PAGE_SIZE);
	sw_word(&m.main, 0, SW_FLUSH);
	sw_eos(&m.main);
	open_reading(&r, 1, &seen);
	seed_start(1);
	read_all(&r, &m, 100000);
	assert_non_null(strstr(r.err.text, "before RAM's start section has ended"));
	close_reading(&r);
	sw_free(&seen.stripped);
	free_model(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_any_order),
		cmocka_unit_test(test_bad_packets),
		cmocka_unit_test(test_introductions),
		cmocka_unit_test(test_channel_ends),
		cmocka_unit_test(test_footer_is_late),
		cmocka_unit_test(test_pages_in_the_start_section),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

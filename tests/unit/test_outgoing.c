/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_outgoing.c - QEMU's connections as the loop sees them: which one is heard first is chance; and what
 * goes to which page server when another destination takes over; and a QEMU that leaves guest RAM out.
 *
 * The page server is replaced (wt_server_* below): it notes what it is told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "messages.h"
#include "outgoing.h"
#include "stream_writer.h"

static struct wt_error trouble;
static unsigned blocks_ended;
static struct wt_loop *loop;

/* ---- the page server ---- */

struct wt_server {
	struct stream_writer stream;
	unsigned announced; /* pages */
	uint64_t ram_end;
	bool full; /* takes nothing */
};

int wt_server_announce(struct wt_server *server, struct wt_extent *extent, enum wt_content content)
{
	if (server->full)
		return -EAGAIN;
	server->announced += extent->pages;
	extent->pages = 0;
	return 0;
}

int wt_server_announce_copy(struct wt_server *server, struct wt_extent *extent, const uint8_t *bytes)
{
	return wt_server_announce(server, extent, WT_CONTENT_IN_PLACE);
}

void wt_server_flush(struct wt_server *server)
{
}

int wt_server_defer(struct wt_server *server, const struct wt_server_deferral *deferral)
{
	return 0;
}

int wt_server_send(struct wt_server *server, unsigned type, const void *payload, size_t length)
{
	if (server->full)
		return -EAGAIN;
	if (type == WT_RELAY_STREAM)
		sw_bytes(&server->stream, payload, length);
	else
		server->ram_end++;
	return 0;
}

size_t wt_server_unsent(const struct wt_server *server)
{
	return 0;
}

uint64_t wt_server_heard_ns(const struct wt_server *server)
{
	return wt_loop_now_ns(loop) - 1000000;
}

bool wt_server_room(const struct wt_server *server)
{
	return !server->full;
}

void wt_server_stats(const struct wt_server *server, struct wt_server_stats *ret_stats)
{
	*ret_stats = (struct wt_server_stats){ .next_seq = 1 };
}

/* ---- its owner ---- */

static int on_block(void *arg, const char *name, uint64_t length, int *ret_number, const uint8_t **ret_base,
	struct wt_error *err)
{
	return 0;
}

static int on_blocks_end(void *arg, struct wt_error *err)
{
	blocks_ended++;
	return 0;
}

static void on_stopped(void *arg)
{
}

static void on_trouble(void *arg, const struct wt_error *err)
{
	trouble = *err;
}

static const struct wt_outgoing_events events = {
	.block = on_block, .blocks_end = on_blocks_end, .guest_stopped = on_stopped, .trouble = on_trouble
};

static unsigned turns;

static bool on_turn(void *arg, uint64_t now_ns)
{
	if (!turns--)
		wt_loop_stop(loop, 0);
	return true; /* never sleeps */
}

/* Exactly so many looks at the descriptors. */
static void run(unsigned count)
{
	struct wt_busy busy = { 0 };

	turns = count;
	wt_loop_busy_set(loop, &busy, on_turn, NULL);
	wt_loop_run(loop);
	wt_loop_busy_clear(loop, &busy);
}

static int dial(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

static void say(int fd, const void *bytes, size_t length)
{
	assert_int_equal(write(fd, bytes, length), length);
}

static size_t put32(uint8_t *at, uint32_t value)
{
	value = htobe32(value);
	memcpy(at, &value, 4);
	return 4;
}

static size_t put64(uint8_t *at, uint64_t value)
{
	value = htobe64(value);
	memcpy(at, &value, 8);
	return 8;
}

static void say_header(int fd)
{
	say(fd, "QEVM\0\0\0\3", 8);
}

static void say_open_return_path(int fd)
{
	say(fd, "\x08\0\1\0\0", 5);
}

static void say_start_section(int fd)
{
	uint8_t bytes[128];
	size_t n = 0;

	bytes[n++] = 1;
	n += put32(bytes + n, 2);
	bytes[n++] = 3;
	memcpy(bytes + n, "ram", 3);
	n += 3;
	n += put32(bytes + n, 0);
	n += put32(bytes + n, 4);
	n += put64(bytes + n, 4096 | 4);
	bytes[n++] = 1;
	bytes[n++] = 'a';
	n += put64(bytes + n, 4096);
	n += put64(bytes + n, 0x200); /* MULTIFD_FLUSH */
	n += put64(bytes + n, 0x10);
	bytes[n++] = 0x7e;
	n += put32(bytes + n, 2);
	say(fd, bytes, n);
}

/* A packet of multifd with pages 5 and 6 of pc.ram, both absent, and a SYNC. */
static void say_absent_packet(int fd)
{
	uint8_t bytes[320 + 8 * 128] = { 0 };

	put32(bytes, 0x11223344);
	put32(bytes + 4, 1);
	put32(bytes + 8, 1);
	put32(bytes + 12, 128);
	put32(bytes + 16, 2);
	put32(bytes + 20, 2 * WT_PAGE_SIZE);
	memcpy(bytes + 64, "pc.ram", 6);
	put64(bytes + 320, 5 * WT_PAGE_SIZE);
	put64(bytes + 328, 6 * WT_PAGE_SIZE);
	say(fd, bytes, sizeof bytes);
}

static void say_channel(int fd, uint8_t id)
{
	uint8_t bytes[64 + 320 + 8 * 128] = { 0 };

	put32(bytes, 0x11223344);
	put32(bytes + 4, 1);
	bytes[24] = id;
	put32(bytes + 64, 0x11223344);
	put32(bytes + 68, 1);
	put32(bytes + 72, 1); /* SYNC */
	say(fd, bytes, sizeof bytes);
}

/*
 * A channel of multifd is accepted before it has introduced itself, and then both it and the main channel
 * have something to say; the main one, which spoke a moment ago, is the first that epoll reports.
 */
static void test_channel_that_is_known_late(void **state)
{
	char path[64];
	struct wt_outgoing *o = NULL;
	struct wt_outgoing_stats stats;
	struct wt_error err = { 0 };
	static const uint8_t switchover_ack[] = { 0, 7, 0, 0 };
	uint8_t said[sizeof switchover_ack + 1];
	int main_channel, channel;

	snprintf(path, sizeof path, "/tmp/watari-test-outgoing-%d", (int)getpid());
	assert_int_equal(wt_loop_open(&loop), 0);
	assert_int_equal(wt_outgoing_open(loop, &events, NULL, &o, &err), 0);
	assert_int_equal(wt_outgoing_listen(o, path, &err), 0);
	main_channel = dial(path);
	say_header(main_channel);
	run(5);
	assert_false(wt_outgoing_switchover_ack(o));
	say_open_return_path(main_channel);
	channel = dial(path);
	run(1);
	assert_true(wt_outgoing_has_return_path(o));
	assert_true(wt_outgoing_switchover_ack(o));
	assert_int_equal(recv(main_channel, said, sizeof said, 0), sizeof switchover_ack);
	assert_memory_equal(said, switchover_ack, sizeof switchover_ack);
	say_channel(channel, 0);
	say_start_section(main_channel);
	run(5);
	wt_outgoing_stats(o, &stats);
	if (trouble.code)
		print_error("%s\n", trouble.text);
	assert_int_equal(trouble.code, 0);
	assert_int_equal(stats.channels, 1);
	assert_int_equal(blocks_ended, 1);
	wt_outgoing_close(o);
	close(main_channel);
	close(channel);
	wt_loop_close(loop);
}

/* ---- another destination ---- */

static uint8_t guest_ram[16 * WT_PAGE_SIZE];

/* pc.ram is in place, the others are not. */
static int on_shared_block(void *arg, const char *name, uint64_t length, int *ret_number,
	const uint8_t **ret_base, struct wt_error *err)
{
	*ret_number = strcmp(name, "pc.ram") == 0 ? 0 : -1;
	*ret_base = *ret_number == 0 ? guest_ram : NULL;
	return 0;
}

static const struct wt_outgoing_events shared_events = {
	.block = on_shared_block, .guest_stopped = on_stopped, .trouble = on_trouble
};

struct source {
	struct wt_outgoing *o;
	int qemu; /* QEMU's end */
};

static struct source open_source_of(
	struct wt_server *server, const struct wt_outgoing_events *wanted, bool keep)
{
	struct wt_error err = { 0 };
	struct source s;
	int ends[2];

	wt_error_clear(&trouble);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(wt_loop_open(&loop), 0);
	assert_int_equal(wt_outgoing_open(loop, wanted, NULL, &s.o, &err), 0);
	if (keep)
		assert_int_equal(wt_outgoing_keep(s.o, &err), 0);
	assert_int_equal(wt_outgoing_take(s.o, ends[0], &err), 0);
	wt_outgoing_start(s.o, server);
	s.qemu = ends[1];
	return s;
}

static struct source open_source(struct wt_server *server, bool keep)
{
	return open_source_of(server, &shared_events, keep);
}

static void close_source(struct source *s)
{
	wt_outgoing_close(s->o);
	close(s->qemu);
	wt_loop_close(loop);
}

static void write_and_run(struct source *s, struct stream_writer *w)
{
	say(s->qemu, w->data, w->length);
	sw_free(w);
	run(5);
}

static void expect_stream(struct wt_server *server, struct stream_writer *expected)
{
	assert_int_equal(server->stream.length, expected->length);
	assert_memory_equal(server->stream.data, expected->data, expected->length);
	sw_free(&server->stream);
	sw_free(expected);
}

/* Up to the middle of a part section, in a page that stays. */
static void write_first_half(struct stream_writer *w)
{
	sw_prologue(w);
	sw_section(w, SW_PART, SW_RAM_ID, NULL, 0);
	sw_page(w, "pc.ram", 1, 0);
	sw_page(w, "vga.vram", 1, 0x11);
	sw_page(w, NULL, 2, 0x12);
	w->length -= 1000;
}

static void expect_head(struct stream_writer *w)
{
	sw_header(w);
	sw_config(w, "pc-q35-7.2");
	sw_ram_start(w);
}

/* The rest of the page, a newer one, and the end. */
static void write_second_half(struct stream_writer *w)
{
	for (unsigned i = 0; i < 1000; i++)
		sw_be(w, 0x12, 1);
	sw_page(w, NULL, 1, 0x21);
	sw_page(w, "pc.ram", 2, 0);
	sw_eos(w);
	sw_section(w, SW_END, SW_RAM_ID, NULL, 0);
	sw_eos(w);
	sw_bytes(w, "tail", 4);
}

static void expect_second_half(struct stream_writer *w)
{
	sw_section(w, SW_PART, SW_RAM_ID, NULL, 0);
	sw_page(w, "vga.vram", 2, 0x12);
	sw_page(w, NULL, 1, 0x21);
	sw_eos(w);
	sw_section(w, SW_END, SW_RAM_ID, NULL, 0);
	sw_eos(w);
	sw_bytes(w, "tail", 4);
}

/* Held, QEMU is not read; the old destination is left between two sections, the new one has everything. */
static void test_retarget(void **state)
{
	struct stream_writer w = { 0 }, expected = { 0 };
	struct wt_server old = { 0 }, new = { 0 };
	struct source s = open_source(&old, true);
	struct wt_error err = { 0 };

	assert_int_equal(wt_outgoing_check(s.o, NULL), -ENODATA);
	write_first_half(&w);
	write_and_run(&s, &w);
	assert_int_equal(wt_outgoing_check(s.o, NULL), 0);
	wt_outgoing_hold(s.o, true);
	write_second_half(&w);
	write_and_run(&s, &w);
	assert_true(wt_outgoing_settled(s.o));
	assert_int_equal(old.announced, 1);
	expect_head(&expected);
	sw_section(&expected, SW_PART, SW_RAM_ID, NULL, 0);
	sw_page(&expected, "vga.vram", 1, 0x11);
	sw_eos(&expected);
	expect_stream(&old, &expected);

	assert_int_equal(wt_outgoing_retarget(s.o, &new, 0, &err), 0);
	wt_outgoing_hold(s.o, false);
	run(5);
	assert_int_equal(trouble.code, 0);
	expect_head(&expected);
	sw_section(&expected, SW_PART, SW_RAM_ID, NULL, 0);
	sw_page(&expected, "vga.vram", 1, 0x11);
	sw_eos(&expected);
	expect_second_half(&expected);
	expect_stream(&new, &expected);
	assert_int_equal(old.announced, 1);
	assert_int_equal(new.announced, 1);
	assert_int_equal(old.ram_end, 0);
	assert_int_equal(new.ram_end, 1);
	assert_int_equal(wt_outgoing_check(s.o, NULL), -ESTALE);
	close_source(&s);
}

/* The next page of RAM waits for its turn, and all behind it; pages that stay in the stream do not count. */
static void test_allowance(void **state)
{
	struct stream_writer w = { 0 };
	struct wt_server server = { 0 };
	struct source s = open_source(&server, true);
	struct wt_outgoing_stats stats;

	wt_outgoing_allow(s.o, 1);
	write_first_half(&w);
	write_second_half(&w);
	write_and_run(&s, &w);
	assert_int_equal(server.announced, 1);
	assert_int_equal(server.ram_end, 0);
	wt_outgoing_stats(s.o, &stats);
	assert_int_equal(stats.read_pages, 1);
	wt_outgoing_allow(s.o, 0);
	run(5);
	assert_int_equal(server.announced, 1);
	wt_outgoing_allow(s.o, UINT64_MAX);
	run(5);
	assert_int_equal(server.announced, 2);
	assert_int_equal(server.ram_end, 1);
	assert_int_equal(trouble.code, 0);
	sw_free(&server.stream);
	close_source(&s);
}

/* An old destination that takes nothing loses nothing: what waited for it goes to the new one. Back at a
 * destination that stands behind the beginning, only the pages are repeated. */
static void test_retarget_unsent(void **state)
{
	struct stream_writer w = { 0 }, expected = { 0 };
	struct wt_server first = { 0 }, second = { 0 };
	struct source s = open_source(&first, true);
	struct wt_error err = { 0 };
	uint64_t position;

	sw_prologue(&w);
	write_and_run(&s, &w);
	wt_outgoing_hold(s.o, true);
	assert_true(wt_outgoing_settled(s.o));
	position = wt_outgoing_position(s.o);
	assert_int_equal(wt_outgoing_retarget(s.o, &second, 0, &err), 0);
	wt_outgoing_hold(s.o, false);
	run(5);
	sw_free(&second.stream);
	second.full = true;
	sw_section(&w, SW_PART, SW_RAM_ID, NULL, 0);
	sw_page(&w, "pc.ram", 1, 0);
	sw_page(&w, "vga.vram", 1, 0x11);
	write_and_run(&s, &w);
	wt_outgoing_hold(s.o, true);
	assert_false(wt_outgoing_settled(s.o));
	assert_int_equal(second.stream.length, 0);
	expect_head(&expected);
	expect_stream(&first, &expected);

	assert_int_equal(wt_outgoing_retarget(s.o, &first, position, &err), 0);
	wt_outgoing_hold(s.o, false);
	sw_page(&w, NULL, 1, 0x21);
	sw_eos(&w);
	sw_section(&w, SW_END, SW_RAM_ID, NULL, 0);
	sw_eos(&w);
	write_and_run(&s, &w);
	assert_int_equal(trouble.code, 0);
	sw_section(&expected, SW_PART, SW_RAM_ID, NULL, 0);
	sw_page(&expected, "vga.vram", 1, 0x11);
	sw_eos(&expected);
	sw_section(&expected, SW_PART, SW_RAM_ID, NULL, 0);
	sw_page(&expected, "vga.vram", 1, 0x21);
	sw_eos(&expected);
	sw_section(&expected, SW_END, SW_RAM_ID, NULL, 0);
	sw_eos(&expected);
	expect_stream(&first, &expected);
	assert_int_equal(first.announced, 1);
	assert_int_equal(second.announced, 0);
	close_source(&s);
}

static void test_retarget_needs_what_was_kept(void **state)
{
	struct stream_writer w = { 0 };
	struct wt_server server = { 0 };
	struct source s = open_source(&server, false);
	struct wt_error err = { 0 };

	sw_prologue(&w);
	write_and_run(&s, &w);
	wt_outgoing_hold(s.o, true);
	assert_int_equal(wt_outgoing_retarget(s.o, NULL, 0, &err), -EOPNOTSUPP);
	sw_free(&server.stream);
	close_source(&s);
}

/* ---- what is announced when RAM has ended ---- */

static struct {
	struct wt_outgoing *o;
	int answer;
	unsigned asked;
	bool left_out; /* pc.ram, as it was told when it was asked */
} rest;

static int on_rest(void *arg, struct wt_error *err)
{
	rest.asked++;
	rest.left_out = wt_outgoing_left_out(rest.o, 0);
	assert_false(wt_outgoing_left_out(rest.o, 7));
	return rest.answer == -EIO ? wt_error_set(err, EIO, "no rest") : rest.answer;
}

static const struct wt_outgoing_events rest_events = {
	.block = on_shared_block, .rest = on_rest, .guest_stopped = on_stopped, .trouble = on_trouble
};

/* A whole stream, but for its tail; came: with a page of pc.ram. */
static void write_until_tail(struct source *s, bool came)
{
	struct stream_writer w = { 0 };

	sw_prologue(&w);
	if (came) {
		sw_section(&w, SW_PART, SW_RAM_ID, NULL, 0);
		sw_zero(&w, "pc.ram", 3);
		sw_eos(&w);
	}
	assert_int_equal(rest.asked, 0);
	sw_section(&w, SW_END, SW_RAM_ID, NULL, 0);
	sw_eos(&w);
	write_and_run(s, &w);
}

static struct source open_rest(struct wt_server *server, int answer, bool came)
{
	struct source s = open_source_of(server, &rest_events, false);

	memset(&rest, 0, sizeof rest);
	rest.o = s.o;
	rest.answer = answer;
	write_until_tail(&s, came);
	return s;
}

/* Until the rest is announced the destination does not hear that RAM has ended, nor of anything behind that;
 * QEMU does not notice. */
static void test_rest(void **state)
{
	struct stream_writer w = { 0 }, expected = { 0 };
	struct wt_server server = { 0 };
	struct source s = open_rest(&server, -EAGAIN, false);
	unsigned asked = rest.asked;

	assert_true(asked > 0 && rest.left_out);
	sw_bytes(&w, "tail", 4);
	write_and_run(&s, &w);
	assert_int_equal(server.stream.length, 0);
	assert_int_equal(server.ram_end, 0);
	wt_outgoing_pump(s.o);
	assert_true(rest.asked > asked);
	rest.answer = 0;
	wt_outgoing_pump(s.o);
	asked = rest.asked;
	wt_outgoing_pump(s.o);
	assert_int_equal(rest.asked, asked);
	assert_int_equal(server.ram_end, 1);
	assert_int_equal(trouble.code, 0);
	expect_head(&expected);
	sw_section(&expected, SW_END, SW_RAM_ID, NULL, 0);
	sw_eos(&expected);
	sw_bytes(&expected, "tail", 4);
	expect_stream(&server, &expected);
	close_source(&s);
}

/* One page that came, and be it of zeros, and QEMU has sent the block. */
static void test_rest_that_came(void **state)
{
	struct wt_server server = { 0 };
	struct source s = open_rest(&server, 0, true);

	assert_int_equal(rest.asked, 1);
	assert_false(rest.left_out);
	assert_int_equal(server.ram_end, 1);
	sw_free(&server.stream);
	close_source(&s);
}

static void test_rest_that_fails(void **state)
{
	struct wt_server server = { 0 };
	struct source s = open_rest(&server, -EIO, false);

	assert_string_equal(trouble.text, "no rest");
	assert_int_equal(rest.asked, 1);
	assert_int_equal(server.ram_end, 0);
	assert_int_equal(server.stream.length, 0);
	close_source(&s);
}

/* ---- a QEMU that leaves guest RAM out ---- */

static uint8_t qemu_ram[16 * WT_PAGE_SIZE];

struct feed_world {
	char path[64], file[80];
	struct wt_outgoing *o;
	struct skip_page *page; /* QEMU's mapping of the offer */
	int qemu;
};

static void say_hello(int fd, uint32_t channel)
{
	struct skip_hello hello = { .version = SKIP_VERSION, .channel = channel };

	memcpy(hello.magic, skip_magic, sizeof hello.magic);
	say(fd, &hello, sizeof hello);
}

static void open_feed(struct feed_world *f, struct wt_server *server)
{
	const struct wt_skip_block block = { (uintptr_t)qemu_ram, sizeof qemu_ram, guest_ram };
	struct wt_error err = { 0 };
	int fd;

	wt_error_clear(&trouble);
	snprintf(f->path, sizeof f->path, "/tmp/watari-test-outgoing-%d", (int)getpid());
	snprintf(f->file, sizeof f->file, "%s%s", f->path, SKIP_SUFFIX);
	assert_int_equal(wt_loop_open(&loop), 0);
	assert_int_equal(wt_outgoing_open(loop, &shared_events, NULL, &f->o, &err), 0);
	assert_int_equal(wt_outgoing_listen(f->o, f->path, &err), 0);
	assert_int_equal(wt_outgoing_offer(f->o, &block, 1, &err), 0);
	wt_outgoing_start(f->o, server);
	fd = open(f->file, O_RDWR);
	f->page = mmap(NULL, sizeof *f->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	f->qemu = dial(f->path);
	say_hello(f->qemu, 3);
}

static void close_feed(struct feed_world *f)
{
	wt_outgoing_close(f->o);
	assert_int_equal(access(f->file, F_OK), -1);
	munmap(f->page, sizeof *f->page);
	close(f->qemu);
	wt_loop_close(loop);
}

/* The whole stream without pc.ram's pages, of which QEMU says that it left out so many bytes. */
static void run_feed(struct feed_world *f, uint64_t skipped, struct stream_writer *expected)
{
	struct stream_writer w = { .absent = true };

	sw_full_stream(&w, expected);
	atomic_store(&f->page->channels[3].skipped, skipped);
	say(f->qemu, w.data, w.length);
	sw_free(&w);
	run(8);
}

static void test_feed(void **state)
{
	struct stream_writer expected = { 0 };
	struct wt_server server = { 0 };
	struct wt_outgoing_stats stats;
	struct feed_world f;
	uint8_t pong[8];

	open_feed(&f, &server);
	run_feed(&f, 5 * WT_PAGE_SIZE, &expected);
	assert_string_equal(trouble.text, "");
	assert_int_equal(server.announced, 7);
	assert_int_equal(server.ram_end, 1);
	expect_stream(&server, &expected);
	wt_outgoing_stats(f.o, &stats);
	assert_true(stats.feed);
	assert_int_equal(stats.skipped_bytes, 5 * WT_PAGE_SIZE);
	assert_int_equal(read(f.qemu, pong, sizeof pong), sizeof pong);
	/* Credit comes back, on this channel only. */
	assert_int_equal(f.page->channels[3].granted, 5 * WT_PAGE_SIZE + SKIP_AHEAD_BYTES);
	assert_int_equal(f.page->channels[2].granted, SKIP_AHEAD_BYTES);
	/* Who hangs up lets QEMU go on to its error. */
	wt_outgoing_hang_up(f.o);
	assert_true(f.page->channels[3].granted == UINT64_MAX);
	close_feed(&f);
}

/* What is not taken now is not given credit for: so QEMU stands still. */
static void test_feed_back_pressure(void **state)
{
	struct wt_server server = { 0 };
	struct stream_writer expected = { 0 };
	struct feed_world f;

	open_feed(&f, &server);
	wt_outgoing_allow(f.o, 1);
	run_feed(&f, 5 * WT_PAGE_SIZE, &expected);
	assert_string_equal(trouble.text, "");
	assert_int_equal(f.page->channels[3].granted, WT_PAGE_SIZE + SKIP_AHEAD_BYTES);
	wt_outgoing_allow(f.o, UINT64_MAX);
	run(8);
	assert_int_equal(server.announced, 7);
	assert_int_equal(f.page->channels[3].granted, 5 * WT_PAGE_SIZE + SKIP_AHEAD_BYTES);
	expect_stream(&server, &expected);
	close_feed(&f);
}

/*
 * The main channel waits at a sync for a channel whose absent pages have met back-pressure. When there is
 * room, one look takes both on and announces all, though the channel's pages are no bytes of its stream.
 */
static void test_feed_goes_on_at_once(void **state)
{
	struct stream_writer w = { .absent = true };
	struct wt_server server = { 0 };
	struct feed_world f;
	int channel;

	open_feed(&f, &server);
	wt_outgoing_allow(f.o, 1);
	channel = dial(f.path);
	say_hello(channel, 4);
	say_channel(channel, 0);
	say_absent_packet(channel);
	run(5);
	sw_prologue(&w);
	sw_section(&w, SW_PART, SW_RAM_ID, NULL, 0);
	sw_zero(&w, "pc.ram", 3); /* all that is allowed */
	sw_eos(&w);
	sw_section(&w, SW_PART, SW_RAM_ID, NULL, 0);
	sw_zero(&w, "pc.ram", 9);
	say(f.qemu, w.data, w.length);
	sw_free(&w);
	run(8);
	assert_string_equal(trouble.text, "");
	assert_int_equal(server.announced, 1);
	assert_int_equal(f.page->channels[4].granted, SKIP_AHEAD_BYTES);
	wt_outgoing_allow(f.o, UINT64_MAX);
	assert_string_equal(trouble.text, "");
	assert_int_equal(server.announced, 4);
	assert_int_equal(f.page->channels[4].granted, 2 * WT_PAGE_SIZE + SKIP_AHEAD_BYTES);
	sw_free(&server.stream);
	close(channel);
	close_feed(&f);
}

/* A page that was sent where none should be, or not where one should, is found at RAM's end. */
static void test_feed_miscounted(void **state)
{
	struct wt_server server = { 0 };
	struct feed_world f;

	open_feed(&f, &server);
	run_feed(&f, 6 * WT_PAGE_SIZE, NULL);
	assert_non_null(strstr(trouble.text, "has left out 24576 bytes"));
	assert_int_equal(server.ram_end, 0);
	sw_free(&server.stream);
	close_feed(&f);
}

static void open_feed_in_part(struct feed_world *f, struct wt_server *server)
{
	struct stream_writer w = { .absent = true };

	open_feed(f, server);
	sw_prologue(&w);
	sw_section(&w, SW_PART, SW_RAM_ID, NULL, 0);
	sw_page(&w, "pc.ram", 1, 0);
	say(f->qemu, w.data, w.length);
	sw_free(&w);
	run(5);
}

/* One more page goes by, and QEMU says that page 5 is full of `fill`. Answers whether another sample is
 * wanted. */
static bool give_sample(struct feed_world *f, uint8_t fill)
{
	struct stream_writer w = { .absent = true, .in_absent = true };

	memset(f->page->sample, fill, WT_PAGE_SIZE);
	f->page->sample_address = (uintptr_t)qemu_ram + 5 * WT_PAGE_SIZE;
	atomic_store(&f->page->sample_state, SKIP_SAMPLE_FULL);
	sw_page(&w, NULL, 5, 0);
	say(f->qemu, w.data, w.length);
	sw_free(&w);
	run(2);
	return atomic_load(&f->page->sample_state) == SKIP_SAMPLE_EMPTY;
}

/* Is the memory that is served QEMU's? One equal page is enough; pages that all differ are not its. */
static void test_feed_samples(void **state)
{
	struct wt_server server = { 0 };
	struct feed_world f;

	open_feed_in_part(&f, &server);
	assert_true(give_sample(&f, 0x77));
	assert_false(give_sample(&f, 0));
	assert_int_equal(trouble.code, 0);
	sw_free(&server.stream);
	close_feed(&f);

	open_feed_in_part(&f, &server);
	for (unsigned i = 0; i < 31; i++)
		assert_true(give_sample(&f, 0x77));
	assert_int_equal(trouble.code, 0);
	give_sample(&f, 0x77);
	assert_non_null(strstr(trouble.text, "not the guest's RAM"));
	sw_free(&server.stream);
	close_feed(&f);
}

/* RAM ends after so many samples that all differ, and the last one, which is full of `last`. */
static void end_after_samples(unsigned count, uint8_t last, bool good)
{
	struct stream_writer w = { 0 };
	struct wt_server server = { 0 };
	struct feed_world f;

	open_feed_in_part(&f, &server);
	for (unsigned i = 1; i < count; i++)
		assert_true(give_sample(&f, 0x77));
	give_sample(&f, last);
	assert_int_equal(trouble.code, 0);
	atomic_store(&f.page->channels[3].skipped, (1 + count) * (uint64_t)WT_PAGE_SIZE);
	sw_eos(&w);
	sw_section(&w, SW_END, SW_RAM_ID, NULL, 0);
	sw_eos(&w);
	say(f.qemu, w.data, w.length);
	sw_free(&w);
	run(5);
	assert_int_equal(server.ram_end, good);
	assert_int_equal(trouble.code, good ? 0 : EIO);
	assert_int_equal(strstr(trouble.text, "not the guest's RAM") == NULL, good);
	sw_free(&server.stream);
	close_feed(&f);
}

/* Of a small block there are few samples when RAM ends. */
static void test_feed_samples_at_the_end(void **state)
{
	end_after_samples(15, 0x77, true); /* too few to say */
	end_after_samples(16, 0x77, false);
	end_after_samples(31, 0x77, false);
	end_after_samples(31, 0, true);
}

/* A hello that nobody offered anything for. */
static void test_feed_not_offered(void **state)
{
	const struct skip_hello hello = { .magic = { 'W', 'T', 'F', 'E', 'E', 'D', 0, 1 },
		.version = SKIP_VERSION };
	struct wt_outgoing *o = NULL;
	struct wt_error err = { 0 };
	char path[64];
	int qemu;

	wt_error_clear(&trouble);
	snprintf(path, sizeof path, "/tmp/watari-test-outgoing-%d", (int)getpid());
	assert_int_equal(wt_loop_open(&loop), 0);
	assert_int_equal(wt_outgoing_open(loop, &events, NULL, &o, &err), 0);
	assert_int_equal(wt_outgoing_listen(o, path, &err), 0);
	qemu = dial(path);
	say(qemu, &hello, sizeof hello);
	run(5);
	assert_non_null(strstr(trouble.text, "nobody has offered"));
	wt_outgoing_close(o);
	close(qemu);
	wt_loop_close(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_channel_that_is_known_late),
		cmocka_unit_test(test_retarget),
		cmocka_unit_test(test_allowance),
		cmocka_unit_test(test_retarget_unsent),
		cmocka_unit_test(test_retarget_needs_what_was_kept),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_rest_that_came),
		cmocka_unit_test(test_rest_that_fails),
		cmocka_unit_test(test_feed),
		cmocka_unit_test(test_feed_back_pressure),
		cmocka_unit_test(test_feed_goes_on_at_once),
		cmocka_unit_test(test_feed_miscounted),
		cmocka_unit_test(test_feed_samples),
		cmocka_unit_test(test_feed_samples_at_the_end),
		cmocka_unit_test(test_feed_not_offered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_outgoing.c - QEMU's connections as the loop sees them: which one is heard first is chance; and what
 * goes to which page server when another destination takes over.
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
#include <stdio.h>
#include <string.h>
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
	unsigned announcements;
	uint64_t pending_bytes;
	uint64_t ram_end;
	bool full; /* takes nothing */
};

int wt_server_announce(struct wt_server *server, struct wt_extent *extent, enum wt_content content)
{
	if (server->full)
		return -EAGAIN;
	server->announced += extent->pages;
	server->announcements++;
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
	*ret_stats = (struct wt_server_stats){ .next_seq = 1, .pending_bytes = server->pending_bytes };
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
	int main_channel, channel;

	snprintf(path, sizeof path, "/tmp/watari-test-outgoing-%d", (int)getpid());
	assert_int_equal(wt_loop_open(&loop), 0);
	assert_int_equal(wt_outgoing_open(loop, &events, NULL, &o, &err), 0);
	assert_int_equal(wt_outgoing_listen(o, path, &err), 0);
	main_channel = dial(path);
	say_header(main_channel);
	run(5);
	say_open_return_path(main_channel);
	channel = dial(path);
	run(1);
	assert_true(wt_outgoing_has_return_path(o));
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

static struct source open_source(struct wt_server *server, bool keep)
{
	struct wt_error err = { 0 };
	struct source s;
	int ends[2];

	wt_error_clear(&trouble);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(wt_loop_open(&loop), 0);
	assert_int_equal(wt_outgoing_open(loop, &shared_events, NULL, &s.o, &err), 0);
	if (keep)
		assert_int_equal(wt_outgoing_keep(s.o, &err), 0);
	assert_int_equal(wt_outgoing_take(s.o, ends[0], &err), 0);
	wt_outgoing_start(s.o, server);
	s.qemu = ends[1];
	return s;
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

/* While the puller has enough to do, pages that follow each other are announced together, however they come.
 */
static void test_extents_grow(void **state)
{
	struct wt_server server = { .pending_bytes = 4 << 20 };
	struct source s = open_source(&server, false);
	struct stream_writer w = { 0 };

	sw_prologue(&w);
	sw_section(&w, SW_PART, SW_RAM_ID, NULL, 0);
	sw_page(&w, "pc.ram", 1, 0);
	write_and_run(&s, &w);
	sw_page(&w, NULL, 2, 0);
	write_and_run(&s, &w);
	assert_int_equal(server.announced, 0);
	server.pending_bytes = 0; /* it has landed */
	wt_outgoing_pump(s.o);
	assert_int_equal(server.announced, 2);
	assert_int_equal(server.announcements, 1);
	sw_page(&w, NULL, 3, 0); /* nobody has anything to do: at once */
	write_and_run(&s, &w);
	assert_int_equal(server.announced, 3);
	server.pending_bytes = 4 << 20;
	sw_page(&w, NULL, 4, 0);
	write_and_run(&s, &w);
	sw_page(&w, NULL, 5, 0);
	sw_eos(&w);
	write_and_run(&s, &w);
	assert_int_equal(server.announced, 5);
	assert_int_equal(server.announcements, 3);
	sw_section(&w, SW_PART, SW_RAM_ID, NULL, 0);
	sw_page(&w, NULL, 6, 0);
	write_and_run(&s, &w);
	assert_int_equal(server.announced, 5);
	wt_outgoing_hold(s.o, true);
	assert_int_equal(server.announced, 6);
	assert_true(wt_outgoing_settled(s.o));
	assert_int_equal(trouble.code, 0);
	sw_free(&server.stream);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_channel_that_is_known_late),
		cmocka_unit_test(test_retarget),
		cmocka_unit_test(test_allowance),
		cmocka_unit_test(test_extents_grow),
		cmocka_unit_test(test_retarget_unsent),
		cmocka_unit_test(test_retarget_needs_what_was_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

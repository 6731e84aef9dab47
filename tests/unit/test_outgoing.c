/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_outgoing.c - QEMU's connections as the loop sees them: which one is heard first is chance.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "outgoing.h"

static struct wt_error trouble;
static unsigned blocks_ended;
static struct wt_loop *loop;

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

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_channel_that_is_known_late) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

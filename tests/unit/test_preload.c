/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_preload.c - libwatari-feed.so as QEMU meets it, with the relay's half of the agreement at the other
 * end.
 *
 * The library is opened, not preloaded, and its three functions are called by their addresses: so everything
 * else in this program, and every sanitizer, calls those of the C library.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "skip_offer.h"

#define PAGES 2048u
#define PAGE ((size_t)SKIP_PAGE_BYTES)

static int (*feed_connect)(int fd, const struct sockaddr *address, socklen_t length);
static ssize_t (*feed_sendmsg)(int fd, const struct msghdr *message, int flags);
static int (*feed_close)(int fd);

static uint8_t *ram;    /* as in QEMU */
static uint8_t here[1]; /* where the relay has it; not looked at */

/* ---- a relay that listens ---- */

static char directory[64], path[96];
static int listener;
static struct wt_skip_offer *offer;

static void relay_listen(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(directory, sizeof directory, "/tmp/watari-preload-XXXXXX");
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/stream.sock", directory);
	strcpy(address.sun_path, path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(listener, 16), 0);
}

static void relay_offer(void)
{
	const struct wt_skip_block block = { (uintptr_t)ram, PAGES * PAGE, here };
	struct wt_error err = { 0 };

	assert_int_equal(wt_skip_offer_open(path, &block, 1, &offer, &err), 0);
}

static int set_up(void **state)
{
	relay_listen();
	return 0;
}

static int tear_down(void **state)
{
	wt_skip_offer_close(offer);
	offer = NULL;
	close(listener);
	unlink(path);
	return rmdir(directory);
}

/* QEMU connects: *ret_relay is the relay's end. */
static int dial(int *ret_relay)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	errno = EDOM;
	assert_int_equal(feed_connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(errno, EDOM);
	*ret_relay = accept(listener, NULL, NULL);
	assert_true(*ret_relay >= 0);
	return fd;
}

/* ... and says hello. */
static int dial_channel(int *ret_relay, unsigned *ret_channel)
{
	struct wt_error err = { 0 };
	struct skip_hello hello;
	int fd = dial(ret_relay);

	assert_int_equal(recv(*ret_relay, &hello, sizeof hello, MSG_DONTWAIT), sizeof hello);
	assert_int_equal(wt_skip_offer_hello(offer, &hello, ret_channel, &err), 0);
	return fd;
}

static ssize_t write_list(int fd, struct iovec *list, size_t count, int flags)
{
	const struct msghdr message = { .msg_iov = list, .msg_iovlen = count };

	return feed_sendmsg(fd, &message, flags);
}

static void expect_bytes(int fd, const void *bytes, size_t length)
{
	uint8_t got[3 * PAGE];

	assert_true(length < sizeof got);
	assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), length);
	assert_memory_equal(got, bytes, length);
}

static void expect_nothing(int fd)
{
	uint8_t byte;

	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

/* A header, a page of guest RAM, and what follows it. */
static ssize_t write_page(int fd, unsigned page, int flags)
{
	struct iovec list[3] = { { "header", 6 }, { ram + page * PAGE, PAGE }, { "end", 3 } };

	return write_list(fd, list, 3, flags);
}

/* All of it crosses. */
static void expect_ordinary(int fd, int relay)
{
	uint8_t whole[6 + PAGE + 3];

	assert_int_equal(write_page(fd, 1, 0), sizeof whole);
	memcpy(whole, "header", 6);
	memcpy(whole + 6, ram + PAGE, PAGE);
	memcpy(whole + 6 + PAGE, "end", 3);
	expect_bytes(relay, whole, sizeof whole);
}

/* ---- cases ---- */

static void test_left_out(void **state)
{
	const uint8_t *base, *bytes;
	unsigned channel;
	uint64_t page;
	int relay, fd;

	relay_offer();
	fd = dial_channel(&relay, &channel);
	assert_int_equal(write_page(fd, 7, 0), 6 + PAGE + 3);
	expect_bytes(relay, "headerend", 9);
	assert_int_equal(wt_skip_offer_skipped(offer, channel), PAGE);
	assert_true(wt_skip_offer_sample(offer, &base, &page, &bytes));
	assert_ptr_equal(base, here);
	assert_int_equal(page, 7);
	assert_memory_equal(bytes, ram + 7 * PAGE, PAGE);
	feed_close(fd);
	close(relay);
}

/* Nobody offers: nothing is said, nothing left out; nor where the offer is not one that we understand. */
static void test_no_offer(void **state)
{
	char file[128];
	int relay, fd, at;
	unsigned spoiled;

	fd = dial(&relay);
	expect_nothing(relay);
	expect_ordinary(fd, relay);
	feed_close(fd);
	close(relay);
	snprintf(file, sizeof file, "%s%s", path, SKIP_SUFFIX);
	for (spoiled = 0; spoiled < 5; spoiled++) {
		const uint32_t version = SKIP_VERSION + 1, count = SKIP_RANGES_MAX + 1;
		const uint64_t address = UINT64_MAX;

		relay_offer();
		at = open(file, O_RDWR);
		if (spoiled == 0)
			assert_int_equal(pwrite(at, "x", 1, 0), 1);
		else if (spoiled == 1)
			assert_int_equal(pwrite(at, &version, 4, offsetof(struct skip_page, version)), 4);
		else if (spoiled == 2)
			assert_int_equal(pwrite(at, &count, 4, offsetof(struct skip_page, range_count)), 4);
		else if (spoiled == 3)
			assert_int_equal(pwrite(at, &address, 8, offsetof(struct skip_page, ranges)), 8);
		else
			assert_int_equal(ftruncate(at, sizeof(struct skip_page) + 1), 0);
		close(at);
		fd = dial(&relay);
		expect_nothing(relay);
		expect_ordinary(fd, relay);
		feed_close(fd);
		close(relay);
		wt_skip_offer_close(offer);
		offer = NULL;
	}
}

/* Other sockets send the same memory whole: connected elsewhere, or given the number of a closed channel. */
static void test_other_sockets(void **state)
{
	int relay, fd, other[2];
	unsigned channel;

	relay_offer();
	fd = dial_channel(&relay, &channel);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, other), 0);
	expect_ordinary(other[0], other[1]);

	/* Closed behind the library's back, the number goes to another socket. */
	close(fd);
	assert_int_equal(dup2(other[0], fd), fd);
	expect_ordinary(fd, other[1]);
	feed_close(fd);
	close(relay);

	fd = dial_channel(&relay, &channel);
	feed_close(fd);
	assert_int_equal(dup2(other[0], fd), fd);
	expect_ordinary(fd, other[1]);
	close(fd);
	close(other[0]);
	close(other[1]);
	close(relay);
}

/* A duplicate is the same channel; a child that closes what it inherited changes nothing. */
static void test_duplicates(void **state)
{
	unsigned channel;
	int relay, fd, twin, status;
	pid_t child;

	relay_offer();
	fd = dial_channel(&relay, &channel);
	twin = dup(fd);
	assert_int_equal(write_page(twin, 3, 0), 6 + PAGE + 3);
	expect_bytes(relay, "headerend", 9);
	child = fork();
	if (!child) {
		feed_close(fd);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	child = vfork(); /* NOLINT: what glib may do */
	if (!child) {
		feed_close(fd); /* NOLINT */
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(write_page(fd, 3, 0), 6 + PAGE + 3);
	expect_bytes(relay, "headerend", 9);
	close(twin);
	feed_close(fd);
	close(relay);
}

/* So many channels as there may be, each with its own account; then no more. */
static void test_channels(void **state)
{
	int fds[SKIP_CHANNELS_MAX], relays[SKIP_CHANNELS_MAX], fd, relay;
	unsigned channel;

	relay_offer();
	for (unsigned i = 0; i < SKIP_CHANNELS_MAX; i++) {
		fds[i] = dial_channel(&relays[i], &channel);
		assert_int_equal(channel, i);
	}
	fd = dial(&relay);
	expect_ordinary(fd, relay);
	for (unsigned i = 0; i < SKIP_CHANNELS_MAX; i++) {
		if (i % 2)
			assert_int_equal(write_page(fds[i], i, 0), 6 + PAGE + 3);
		assert_int_equal(wt_skip_offer_skipped(offer, i), i % 2 ? PAGE : 0);
	}
	for (unsigned i = 0; i < SKIP_CHANNELS_MAX; i++) {
		feed_close(fds[i]);
		close(relays[i]);
	}
	feed_close(fd);
	close(relay);
}

/* Writes until there is no credit; answers the pages that were left out. */
static uint64_t spend(int fd, int relay, unsigned channel)
{
	struct iovec list[1] = { { ram, PAGES * PAGE } };

	assert_int_equal(write_list(fd, list, 1, 0), SKIP_AHEAD_BYTES);
	expect_nothing(relay);
	return wt_skip_offer_skipped(offer, channel);
}

static void test_credit(void **state)
{
	unsigned channel;
	int relay, fd;

	relay_offer();
	fd = dial_channel(&relay, &channel);
	assert_int_equal(spend(fd, relay, channel), SKIP_AHEAD_BYTES);
	/* What stands before the page is still written. */
	assert_int_equal(write_page(fd, 0, MSG_DONTWAIT), 6);
	expect_bytes(relay, "header", 6);
	assert_int_equal(write_list(fd, &(struct iovec){ ram, PAGE }, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
	assert_int_equal(write_list(fd, &(struct iovec){ ram, PAGE }, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(write_list(fd, &(struct iovec){ "end", 3 }, 1, 0), 3);
	expect_bytes(relay, "end", 3);

	wt_skip_offer_taken(offer, channel, 100);
	assert_int_equal(write_list(fd, &(struct iovec){ ram, PAGE }, 1, 0), 100);
	assert_int_equal(write_list(fd, NULL, 0, 0), 0);
	assert_int_equal(wt_skip_offer_skipped(offer, channel), SKIP_AHEAD_BYTES + 100);
	feed_close(fd);
	close(relay);
}

/* A thread of QEMU that waits for credit. */
struct waiter {
	pthread_t thread;
	int fd;
	ssize_t wrote;
	int code;
};

static void *wait_and_write(void *arg)
{
	struct waiter *w = arg;

	w->wrote = write_list(w->fd, &(struct iovec){ ram, PAGE }, 1, MSG_NOSIGNAL);
	w->code = errno;
	return NULL;
}

static void waiter_start(struct waiter *w, int fd)
{
	w->fd = fd;
	assert_int_equal(pthread_create(&w->thread, NULL, wait_and_write, w), 0);
}

/* Until it sleeps, or is about to. */
static void waiter_waits(unsigned channel)
{
	char file[128];
	struct skip_page *page;
	int at;

	snprintf(file, sizeof file, "%s%s", path, SKIP_SUFFIX);
	at = open(file, O_RDWR);
	page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, at, 0);
	close(at);
	while (!atomic_load(&page->channels[channel].waiting))
		sched_yield();
	munmap(page, sizeof *page);
}

static void test_waiting(void **state)
{
	struct waiter w;
	unsigned channel;
	int relay, fd;

	relay_offer();
	fd = dial_channel(&relay, &channel);
	spend(fd, relay, channel);
	waiter_start(&w, fd);
	waiter_waits(channel);
	wt_skip_offer_taken(offer, channel, PAGE);
	pthread_join(w.thread, NULL);
	assert_int_equal(w.wrote, PAGE);

	/* The relay goes away. */
	waiter_start(&w, fd);
	waiter_waits(channel);
	close(relay);
	pthread_join(w.thread, NULL);
	assert_int_equal(w.wrote, -1);
	assert_int_equal(w.code, EPIPE);
	feed_close(fd);

	/* QEMU cancels. */
	fd = dial_channel(&relay, &channel);
	spend(fd, relay, channel);
	waiter_start(&w, fd);
	waiter_waits(channel);
	shutdown(fd, SHUT_RDWR);
	pthread_join(w.thread, NULL);
	assert_int_equal(w.wrote, -1);
	assert_int_equal(w.code, EPIPE);
	feed_close(fd);
	close(relay);
}

/* The socket takes a part, and then nothing: what was not written was not left out either. */
static void test_full_socket(void **state)
{
	static uint8_t fill[1 << 20]; /* more than the socket holds */
	struct iovec list[3] = { { ram, PAGE }, { fill, sizeof fill }, { ram + PAGE, PAGE } };
	const int room = 100000;
	unsigned channel;
	int relay, fd;
	ssize_t n, m, got = 0;

	relay_offer();
	fd = dial_channel(&relay, &channel);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
	n = write_list(fd, list, 3, MSG_DONTWAIT);
	assert_true(n > (ssize_t)PAGE && n < (ssize_t)(PAGE + sizeof fill));
	assert_int_equal(wt_skip_offer_skipped(offer, channel), PAGE);
	assert_int_equal(write_list(fd, list + 1, 2, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(wt_skip_offer_skipped(offer, channel), PAGE);
	/* What is left out at the beginning needs no room. */
	assert_int_equal(write_list(fd, list, 2, MSG_DONTWAIT), PAGE);
	assert_int_equal(wt_skip_offer_skipped(offer, channel), 2 * PAGE);
	while ((m = recv(relay, fill, sizeof fill, MSG_DONTWAIT)) > 0)
		got += m;
	assert_int_equal(got, n - (ssize_t)PAGE);
	feed_close(fd);
	close(relay);
}

/* QEMU would send pages while they change: that is none of our ways. */
static void test_no_zero_copy(void **state)
{
	unsigned channel;
	int relay, fd;

	relay_offer();
	fd = dial_channel(&relay, &channel);
	assert_int_equal(write_page(fd, 0, MSG_ZEROCOPY), -1);
	assert_int_equal(errno, EOPNOTSUPP);
	expect_nothing(relay);
	feed_close(fd);
	close(relay);
}

/* A relay that died leaves its offer; another one comes with the same name. */
static void test_another_relay(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	unsigned channel;
	int relay, fd;

	relay_offer();
	close(listener);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(feed_connect(fd, (struct sockaddr *)&address, sizeof address), -1);
	assert_int_equal(errno, ECONNREFUSED);
	feed_close(fd);
	tear_down(state);
	relay_listen();
	relay_offer();
	fd = dial_channel(&relay, &channel);
	assert_int_equal(channel, 0);
	assert_int_equal(write_page(fd, 0, 0), 6 + PAGE + 3);
	expect_bytes(relay, "headerend", 9);
	feed_close(fd);
	close(relay);
}

static void refuse_hello(struct wt_skip_offer *to, uint32_t version, uint32_t channel, const char *says)
{
	struct skip_hello hello = { .version = version, .channel = channel };
	struct wt_error err = { 0 };
	unsigned number;

	memcpy(hello.magic, skip_magic, sizeof hello.magic);
	assert_int_equal(wt_skip_offer_hello(to, &hello, &number, &err), -EPROTO);
	assert_non_null(strstr(err.text, says));
}

static void test_bad_hello(void **state)
{
	unsigned channel;
	int relay, fd;

	refuse_hello(NULL, SKIP_VERSION, 0, "nobody has offered");
	relay_offer();
	refuse_hello(offer, SKIP_VERSION + 1, 0, "has version 2");
	refuse_hello(offer, SKIP_VERSION, SKIP_CHANNELS_MAX, "there is not");
	fd = dial_channel(&relay, &channel);
	refuse_hello(offer, SKIP_VERSION, channel, "a second time");
	feed_close(fd);
	close(relay);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(test_left_out),
		CASE(test_no_offer),
		CASE(test_other_sockets),
		CASE(test_duplicates),
		CASE(test_channels),
		CASE(test_credit),
		CASE(test_waiting),
		CASE(test_full_socket),
		CASE(test_no_zero_copy),
		CASE(test_another_relay),
		CASE(test_bad_hello),
	};
	void *library = dlopen(WATARI_FEED_LIBRARY, RTLD_NOW | RTLD_LOCAL);

	if (!library) {
		print_error("%s\n", dlerror());
		return 1;
	}
	*(void **)&feed_connect = dlsym(library, "connect");
	*(void **)&feed_sendmsg = dlsym(library, "sendmsg");
	*(void **)&feed_close = dlsym(library, "close");
	ram = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (size_t i = 0; i < PAGES * PAGE / 8; i++)
		((uint64_t *)ram)[i] = i * 0x9e3779b97f4a7c15ull;
	return cmocka_run_group_tests(tests, NULL, NULL);
}

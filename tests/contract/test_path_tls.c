/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_path_tls.c - the tls fabric against those who have no token, or a wrong one, and against who changes
 * what is on its way; and against served memory that goes away.
 *
 * A wiretap stands between the two ends where the bytes on the wire matter: it keeps them, and can change
 * one.
 */
#include "test_path.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "path_tcp.h"

#define WIRE (4u << 20)

static const struct wt_fabric_ops *ops;
static const char *host;

/* ---- who may come in ---- */

static int dial(uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(inet_pton(AF_INET, host, &address.sin_addr), 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	return fd;
}

/* Lets the listener work until it has turned so many away; nobody may be let in. */
static void turned_away(struct pair *pair, unsigned count)
{
	uint64_t deadline = test_now_ns() + TEST_DEADLINE_NS;
	struct pollfd wait = { .fd = ops->listener_fd(pair->listener), .events = POLLIN };
	uint8_t hello[WT_PATH_HELLO_BYTES];
	struct wt_request *request;

	while (count) {
		unsigned dropped;

		assert_true(test_now_ns() < deadline);
		assert_true(poll(&wait, 1, 100) >= 0);
		assert_int_equal(ops->listener_accept(pair->listener, &request, hello), -EAGAIN);
		dropped = ops->listener_dropped(pair->listener);
		assert_true(dropped <= count);
		count -= dropped;
	}
}

static void connects_in_vain(struct pair *pair)
{
	struct dial dial = { 0 };

	test_dial_start(&dial, pair->server_endpoint, pair->port, WT_ROLE_SERVE);
	turned_away(pair, 1);
	pthread_join(dial.thread, NULL);
	assert_int_equal(dial.status, -ECONNREFUSED);
	assert_null(dial.path);
}

static uint8_t known[WT_PATH_HELLO_BYTES];

static bool find_known(
	void *arg, const uint8_t id[WT_PATH_HELLO_ID_BYTES], uint8_t ret_hello[WT_PATH_HELLO_BYTES])
{
	memcpy(ret_hello, known, WT_PATH_HELLO_BYTES);
	return memcmp(known, id, WT_PATH_HELLO_ID_BYTES) == 0;
}

/* The end that dials has the hello of test_hello. */
static void tokens_differ(void **state)
{
	struct pair pair;

	test_pair_open(&pair, WT_ROLE_INVALID);
	ops->listener_find(pair.listener, find_known, NULL);
	test_hello(known);
	known[WT_PATH_HELLO_BYTES - 1] ^= 1;
	connects_in_vain(&pair);
	known[WT_PATH_HELLO_BYTES - 1] ^= 1;
	known[0] ^= 1;
	connects_in_vain(&pair);
	ops->listener_find(pair.listener, NULL, NULL);
	connects_in_vain(&pair);
	test_listener_find(pair.listener);
	test_pair_path(&pair, WT_ROLE_SERVE, &pair.serving, &pair.pulling);
	test_read_ok(&pair, 0, 5000);
	test_pair_close(&pair);
}

static void strangers(void **state)
{
	static const struct {
		const char *bytes;
		size_t length;
	} says[] = {
		{ "WTTH\1\0\0\0", 8 }, /* what the fabric in the clear says */
		{ "GET / HTTP/1.1\r\n\r\n", 18 },
		{ "\x16\x03\x01\x00\x01\x01", 6 },
		{ "\x15\x03\x03\x00\x02\x02\x28", 7 }, /* an alert */
		{ "\x17\x03\x03\x40\x01\x00\x00\x00", 8 },
	};
	struct pair pair;
	uint8_t rubbish[4096];
	int fd;

	test_pair_open(&pair, WT_ROLE_SERVE);
	for (size_t i = 0; i < sizeof says / sizeof *says; i++) {
		fd = dial(pair.port);
		assert_int_equal(send(fd, says[i].bytes, says[i].length, MSG_NOSIGNAL), says[i].length);
		shutdown(fd, SHUT_WR);
		turned_away(&pair, 1);
		close(fd);
	}
	memset(rubbish, 0x16, sizeof rubbish);
	fd = dial(pair.port);
	send(fd, rubbish, sizeof rubbish, MSG_NOSIGNAL);
	turned_away(&pair, 1);
	close(fd);
	close(dial(pair.port)); /* a port scan */
	turned_away(&pair, 1);
	test_read_ok(&pair, 4096, 100000); /* and the path that there is goes on */
	test_pair_close(&pair);
}

/* More of them than there are places, who say nothing: the oldest make room, and an honest one comes in. */
static void many_who_say_nothing(void **state)
{
	int fds[WT_TCP_HALF_OPEN_MAX + 8];
	struct pair pair;

	test_pair_open(&pair, WT_ROLE_INVALID);
	for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++)
		fds[i] = dial(pair.port);
	turned_away(&pair, 8);
	test_pair_path(&pair, WT_ROLE_SERVE, &pair.serving, &pair.pulling);
	test_read_ok(&pair, 0, 70000);
	for (unsigned i = 0; i < sizeof fds / sizeof *fds; i++)
		close(fds[i]);
	test_pair_close(&pair);
}

/* An encrypting end does not talk to one in the clear, whichever listens. */
static void no_downgrade(void **state)
{
	const struct wt_fabric_ops *plain = wt_fabric_ops(WT_FABRIC_TCP);
	struct wt_endpoint *endpoint;
	struct wt_listener *listener;
	uint8_t hello[WT_PATH_HELLO_BYTES];
	struct wt_error err = { 0 };
	struct dial dial = { 0 };
	struct wt_path *path = NULL;
	struct wt_request *request;
	struct pair pair;
	uint16_t port;
	uint64_t deadline = test_now_ns() + TEST_DEADLINE_NS;

	test_pair_open(&pair, WT_ROLE_INVALID);
	assert_int_equal(plain->listener_open(host, 0, &listener, &port, &err), 0);
	test_dial_start(&dial, pair.server_endpoint, port, WT_ROLE_SERVE);
	for (unsigned dropped = 0; !dropped; dropped = plain->listener_dropped(listener)) {
		struct pollfd wait = { .fd = plain->listener_fd(listener), .events = POLLIN };

		assert_true(test_now_ns() < deadline);
		assert_true(poll(&wait, 1, 100) >= 0);
		assert_int_equal(plain->listener_accept(listener, &request, hello), -EAGAIN);
	}
	pthread_join(dial.thread, NULL);
	assert_true(dial.status < 0);
	plain->listener_close(listener);

	test_hello(hello);
	assert_int_equal(plain->endpoint_open(NULL, NULL, &endpoint, &err), 0);
	wt_error_clear(&err);
	assert_true(plain->connect(endpoint, host, pair.port, hello, WT_ROLE_SERVE, TEST_SECOND / 5, &path,
			    &err) < 0);
	turned_away(&pair, 1);
	plain->endpoint_close(endpoint);
	test_pair_close(&pair);
}

static void no_peers(void **state)
{
	uint8_t hello[WT_PATH_HELLO_BYTES];
	struct wt_path *path = NULL;
	struct wt_error err = { 0 };
	struct pair pair;

	test_hello(hello);
	test_pair_open(&pair, WT_ROLE_INVALID);
	assert_int_equal(ops->connect(pair.server_endpoint, host, pair.port, hello, WT_ROLE_PEER, TEST_SECOND,
				 &path, &err),
		-EOPNOTSUPP);
	test_pair_close(&pair);
}

/* ---- what is on the wire ---- */

struct tap {
	pthread_t thread;
	int listener, out; /* where the dialling end comes in; to the real listener */
	uint16_t port;     /* the tap's */
	uint16_t to;
	atomic_size_t kept; /* bytes of what the serving end said */
	size_t change_at;   /* of those; 0: none */
	uint8_t *bytes;     /* WIRE */
};

static void tap_carry(struct tap *tap, int from, int to, bool keep, bool *open)
{
	uint8_t bytes[16384];
	ssize_t got = recv(from, bytes, sizeof bytes, 0);
	size_t kept = atomic_load(&tap->kept);

	if (got <= 0) {
		shutdown(to, SHUT_WR);
		*open = false;
		return;
	}
	if (keep && kept + (size_t)got <= WIRE) {
		if (tap->change_at && tap->change_at >= kept && tap->change_at < kept + (size_t)got)
			bytes[tap->change_at - kept] ^= 1;
		memcpy(tap->bytes + kept, bytes, (size_t)got);
		atomic_store(&tap->kept, kept + (size_t)got);
	}
	send(to, bytes, (size_t)got, MSG_NOSIGNAL);
}

static void *tap_main(void *arg)
{
	struct tap *tap = arg;
	int in = accept(tap->listener, NULL, NULL);
	bool first = true, second = true;

	while (first || second) {
		struct pollfd wait[2] = { { .fd = first ? in : -1, .events = POLLIN },
			{ .fd = second ? tap->out : -1, .events = POLLIN } };

		if (poll(wait, 2, 20000) <= 0)
			break;
		if (wait[0].revents)
			tap_carry(tap, in, tap->out, true, &first);
		if (wait[1].revents)
			tap_carry(tap, tap->out, in, false, &second);
	}
	close(in);
	close(tap->out);
	close(tap->listener);
	return NULL;
}

static void tap_open(struct tap *tap, uint16_t to, size_t change_at)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof address;

	memset(tap, 0, sizeof *tap);
	tap->bytes = malloc(WIRE);
	tap->change_at = change_at;
	tap->to = to;
	tap->listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(inet_pton(AF_INET, host, &address.sin_addr), 1);
	assert_int_equal(bind(tap->listener, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(tap->listener, 1), 0);
	assert_int_equal(getsockname(tap->listener, (struct sockaddr *)&address, &length), 0);
	tap->port = ntohs(address.sin_port);
	tap->out = dial(to);
	assert_int_equal(pthread_create(&tap->thread, NULL, tap_main, tap), 0);
}

/* A pair whose serving end dials through the tap. */
static void tapped(struct pair *pair, struct tap *tap, size_t change_at)
{
	uint16_t port;

	test_pair_open(pair, WT_ROLE_INVALID);
	port = pair->port;
	tap_open(tap, port, change_at);
	pair->port = tap->port;
	test_pair_path(pair, WT_ROLE_SERVE, &pair->serving, &pair->pulling);
}

static void tap_close(struct tap *tap)
{
	pthread_join(tap->thread, NULL);
	free(tap->bytes);
}

static bool holds(const uint8_t *bytes, size_t length, const void *what, size_t what_length)
{
	return memmem(bytes, length, what, what_length) != NULL;
}

static void nothing_to_read_on_the_wire(void **state)
{
	uint8_t hello[WT_PATH_HELLO_BYTES];
	struct pair pair;
	struct tap tap;

	test_hello(hello);
	tapped(&pair, &tap, 0);
	test_read_ok(&pair, 0, 300000);
	assert_true(atomic_load(&tap.kept) > 300000);
	assert_false(holds(tap.bytes, tap.kept, pair.served + 1000, 16));
	assert_false(holds(tap.bytes, tap.kept, hello + WT_PATH_HELLO_ID_BYTES, 16)); /* the token */
	test_pair_close(&pair);
	tap_close(&tap);
}

/* One bit, somewhere in the bytes of an answer: the path fails, and nobody takes them for good. */
static void changes_are_noticed(void **state)
{
	struct wt_completion done;
	struct wt_op op;
	struct pair pair;
	struct tap tap;
	int last = 0;

	tapped(&pair, &tap, 100000);
	op = test_op_read(&pair, 1, 0, 300000);
	assert_int_equal(ops->post(pair.pulling, &op, 1), 1);
	assert_int_equal(test_collect(pair.pulling, &done, 1, &last), 1);
	assert_int_equal(done.status, -EPROTO);
	assert_false(ops->alive(pair.pulling));
	test_pair_close(&pair);
	tap_close(&tap);
}

/* What was said on one connection, word for word on another: it is not let in. */
static void replay(void **state)
{
	struct pair pair;
	struct tap tap;
	int fd;

	tapped(&pair, &tap, 0);
	test_read_ok(&pair, 0, 5000);
	ops->close(pair.serving);
	ops->close(pair.pulling);
	pair.serving = pair.pulling = NULL;
	pthread_join(tap.thread, NULL);
	fd = dial(tap.to);
	assert_int_equal(send(fd, tap.bytes, tap.kept, MSG_NOSIGNAL), tap.kept);
	turned_away(&pair, 1);
	close(fd);
	free(tap.bytes);
	test_pair_close(&pair);
}

/* ---- memory ---- */

static void memory_that_is_gone(void **state)
{
	struct wt_region *region, *sink;
	struct wt_error err = { 0 };
	struct pair pair;
	struct wt_key key;
	struct wt_op op;
	uint8_t *memory;
	int fd = memfd_create("served", 0), status = 0;

	test_pair_open(&pair, WT_ROLE_SERVE);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(memory != MAP_FAILED);
	assert_int_equal(
		ops->region_add(pair.server_endpoint, memory, 1 << 20, WT_ACCESS_SERVE, &region, &err), 0);
	ops->region_key(region, &key);
	sink = pair.sink_region;
	op = (struct wt_op){ .kind = WT_OP_READ,
		.length = 1 << 19,
		.local = pair.sink,
		.local_region = sink,
		.remote_address = key.address + (1 << 18),
		.remote_key = key.key };
	assert_int_equal(test_transfer(pair.pulling, &op, 1, &status), 1);
	assert_int_equal(status, 0);
	assert_int_equal(ftruncate(fd, 1 << 19), 0); /* a touch would be a signal */
	test_transfer(pair.pulling, &op, 1, &status);
	assert_int_equal(status, -EFAULT);
	ops->region_remove(region);
	test_transfer(pair.pulling, &op, 1, &status);
	assert_int_equal(status, -EACCES);
	test_read_ok(&pair, 0, 100000);
	munmap(memory, 1 << 20);
	close(fd);
	test_pair_close(&pair);
}

/* Keys that are renewed all the time. */
static void keys_are_renewed(void **state)
{
	struct pair pair;

	test_pair_open(&pair, WT_ROLE_INVALID);
	wt_tcp_tls_context_update(pair.server_endpoint->dialling, 10000);
	test_pair_path(&pair, WT_ROLE_SERVE, &pair.serving, &pair.pulling);
	for (unsigned i = 0; i < 40; i++)
		test_read_ok(&pair, i * 1000, 100000 + i * 3000);
	test_pair_close(&pair);
}

int test_path_tls(const struct wt_fabric_ops *fabric, const char *address)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokens_differ),
		cmocka_unit_test(strangers),
		cmocka_unit_test(many_who_say_nothing),
		cmocka_unit_test(no_downgrade),
		cmocka_unit_test(no_peers),
		cmocka_unit_test(nothing_to_read_on_the_wire),
		cmocka_unit_test(changes_are_noticed),
		cmocka_unit_test(replay),
		cmocka_unit_test(memory_that_is_gone),
		cmocka_unit_test(keys_are_renewed),
	};

	ops = fabric;
	host = address;
	return cmocka_run_group_tests_name("path over tls: strangers, the wire, memory", tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_path_tcp.c - the tcp fabric against peers that misbehave, and against served memory that goes away.
 *
 * Speaks the fabric's bytes by hand over plain sockets, in its own words: what is written here is what goes
 * over the wire, so that an accidental change of the format is found.
 */
#include "test_path.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SERVED (1u << 20)
#define CRUMBS 1000000u

static const struct wt_fabric_ops *ops;
static const char *host;

/* A serving end with real objects; the other end is a plain socket. */
struct bench {
	struct wt_endpoint *endpoint;
	struct wt_listener *listener;
	uint16_t port;
	int memfd;
	uint8_t *memory;
	struct wt_region *region;
	struct wt_key key;
	struct wt_path *path;
	int socket;
	int narrow; /* the socket's receive buffer is small */
};

static const uint8_t greeting_head[8] = { 'W', 'T', 'T', 'H', 1, 0, 0, 0 };

static int dial_through(uint16_t port, int receive_bytes)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST };
	struct timeval limit = { .tv_sec = 20 };
	struct addrinfo *address;
	char service[8];
	int fd;

	snprintf(service, sizeof service, "%u", port);
	assert_int_equal(getaddrinfo(host, service, &hints, &address), 0);
	fd = socket(address->ai_family, SOCK_STREAM, 0);
	assert_true(fd >= 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
	if (receive_bytes)
		assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(int)), 0);
	assert_int_equal(connect(fd, address->ai_addr, address->ai_addrlen), 0);
	freeaddrinfo(address);
	return fd;
}

static int dial(uint16_t port)
{
	return dial_through(port, 0);
}

static void put(int fd, const void *data, size_t length)
{
	assert_int_equal(send(fd, data, length, MSG_NOSIGNAL), length);
}

static void get(int fd, void *data, size_t length)
{
	assert_int_equal(recv(fd, data, length, MSG_WAITALL), length);
}

/* The peer has ended the connection (both kinds of end count). */
static void expect_end(int fd)
{
	uint8_t byte;
	ssize_t got;

	do
		got = recv(fd, &byte, 1, 0);
	while (got > 0);
	assert_true(got == 0 || errno == ECONNRESET);
}

static struct wt_request *request_next(struct bench *bench)
{
	uint8_t hello[WT_PATH_HELLO_BYTES];
	struct wt_request *request = NULL;
	struct pollfd wait = { .fd = ops->listener_fd(bench->listener), .events = POLLIN };
	int status;

	while ((status = ops->listener_accept(bench->listener, &request, hello)) == -EAGAIN)
		assert_int_equal(poll(&wait, 1, 20000), 1);
	assert_int_equal(status, 0);
	return request;
}

/* Nothing acceptable has come: accept says so, after having dealt with what there is. */
static void no_request(struct bench *bench)
{
	struct pollfd wait = { .fd = ops->listener_fd(bench->listener), .events = POLLIN };
	uint8_t hello[WT_PATH_HELLO_BYTES];
	struct wt_request *request;

	do
		assert_int_equal(ops->listener_accept(bench->listener, &request, hello), -EAGAIN);
	while (poll(&wait, 1, 0) == 1);
}

static void bench_open(struct bench *bench)
{
	struct wt_error err = { 0 };

	memset(bench, 0, sizeof *bench);
	bench->socket = -1;
	bench->memfd = memfd_create("served", 0);
	assert_int_equal(ftruncate(bench->memfd, SERVED), 0);
	bench->memory = mmap(NULL, SERVED, PROT_READ | PROT_WRITE, MAP_SHARED, bench->memfd, 0);
	assert_true(bench->memory != MAP_FAILED);
	memset(bench->memory, 0x5c, SERVED);
	assert_int_equal(ops->endpoint_open(NULL, NULL, &bench->endpoint, &err), 0);
	assert_int_equal(ops->region_add(bench->endpoint, bench->memory, SERVED, WT_ACCESS_SERVE,
				 &bench->region, &err),
		0);
	ops->region_key(bench->region, &bench->key);
	assert_int_equal(ops->listener_open(host, 0, &bench->listener, &bench->port, &err), 0);
}

static void bench_connect(struct bench *bench)
{
	uint8_t hello[WT_PATH_HELLO_BYTES] = { 1 };
	struct wt_error err = { 0 };
	uint8_t verdict[8];

	bench->socket = dial_through(bench->port, bench->narrow ? 4096 : 0);
	put(bench->socket, greeting_head, sizeof greeting_head);
	put(bench->socket, hello, sizeof hello);
	assert_int_equal(
		ops->request_admit(request_next(bench), bench->endpoint, WT_ROLE_SERVE, &bench->path, &err),
		0);
	get(bench->socket, verdict, sizeof verdict);
	assert_memory_equal(verdict, "WTTV\1\0\0\0", 8);
}

static void bench_close(struct bench *bench)
{
	ops->close(bench->path);
	if (bench->socket >= 0)
		close(bench->socket);
	ops->listener_close(bench->listener);
	ops->region_remove(bench->region);
	ops->endpoint_close(bench->endpoint);
	munmap(bench->memory, SERVED);
	close(bench->memfd);
}

static void request_make(const struct bench *bench, uint64_t id, uint64_t offset, uint32_t length,
	const char *magic, uint8_t ret_request[32])
{
	uint64_t words[3] = { htole64(id), htole64(bench->key.address + offset), htole64(bench->key.key) };
	uint32_t count = htole32(length);

	memcpy(ret_request, words, 24);
	memcpy(ret_request + 24, &count, 4);
	memcpy(ret_request + 28, magic, 4);
}

static void ask(struct bench *bench, uint64_t id, uint64_t offset, uint32_t length, const char *magic)
{
	uint8_t request[32];

	request_make(bench, id, offset, length, magic, request);
	put(bench->socket, request, sizeof request);
}

/* Takes one answer; its status as on the wire. */
static uint32_t answer(struct bench *bench, uint64_t id, uint8_t *bytes, uint32_t length)
{
	uint8_t trailer[16];
	uint64_t word;
	uint32_t status;

	get(bench->socket, bytes, length);
	get(bench->socket, trailer, sizeof trailer);
	memcpy(&word, trailer, 8);
	memcpy(&status, trailer + 8, 4);
	assert_true(le64toh(word) == id);
	assert_memory_equal(trailer + 12, "WTTT", 4);
	return le32toh(status);
}

static void wire_format(void **state)
{
	uint8_t bytes[10000];
	struct bench bench;
	uint32_t i;

	bench_open(&bench);
	bench_connect(&bench);
	ask(&bench, 77, 4096, 10000, "WTTR");
	assert_int_equal(answer(&bench, 77, bytes, 10000), 1);
	for (i = 0; i < 10000; i++)
		assert_int_equal(bytes[i], 0x5c);
	bench.key.key++;
	ask(&bench, 78, 0, 10, "WTTR");
	assert_int_equal(answer(&bench, 78, bytes, 10), 2);
	bench.key.key--;
	ask(&bench, 79, SERVED - 9, 10, "WTTR");
	assert_int_equal(answer(&bench, 79, bytes, 10), 3);
	for (i = 0; i < 10; i++)
		assert_int_equal(bytes[i], 0); /* no byte of ours in a refusal */
	bench_close(&bench);
}

static void wrong_requests_end_the_connection(void **state)
{
	static const struct {
		uint32_t length;
		const char *magic;
	} wrong[] = { { 0, "WTTR" }, { WT_PATH_READ_MAX + 1, "WTTR" }, { UINT32_MAX, "WTTR" },
		{ 8, "XTTR" } };
	struct bench bench;
	unsigned i;

	for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct wt_completion completion;
		struct pollfd wait = { .events = POLLIN };

		bench_open(&bench);
		bench_connect(&bench);
		ask(&bench, 0, 0, wrong[i].length, wrong[i].magic);
		expect_end(bench.socket);
		wait.fd = ops->fd(bench.path);
		assert_int_equal(poll(&wait, 1, 20000), 1);
		assert_int_equal(ops->poll(bench.path, &completion, 1), -EPROTO);
		assert_false(ops->alive(bench.path));
		bench_close(&bench);
	}
}

/* Requests in crumbs, many at once, and a puller that reads nothing for a while. */
static void requests_in_pieces(void **state)
{
	uint8_t *bytes = malloc(SERVED);
	struct bench bench;
	uint8_t request[32];
	unsigned i;

	assert_non_null(bytes);
	bench_open(&bench);
	bench_connect(&bench);
	for (i = 0; i < 40; i++) {
		request_make(&bench, i, 0, SERVED, "WTTR", request);
		put(bench.socket, request, 1 + i % 31);
		put(bench.socket, request + 1 + i % 31, 32 - (1 + i % 31));
	}
	for (i = 0; i < 40; i++) {
		assert_int_equal(answer(&bench, i, bytes, SERVED), 1);
		assert_int_equal(bytes[SERVED - 1], 0x5c);
	}
	bench_close(&bench);
	free(bytes);
}

/* Asks for a few bytes as often as the sockets take it, at most `count` times; answers how often. */
static unsigned ask_until_full(struct bench *bench, unsigned count)
{
	unsigned asked = 0;
	size_t at = 0;
	uint8_t request[32];

	while (asked < count) {
		struct pollfd wait = { .fd = bench->socket, .events = POLLOUT };
		ssize_t sent;

		request_make(bench, asked, asked, 1 + asked % 7, "WTTR", request);
		sent = send(bench->socket, request + at, sizeof request - at, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent > 0) {
			at = (at + (size_t)sent) % sizeof request;
			asked += at == 0;
			continue;
		}
		assert_int_equal(errno, EAGAIN);
		/* Full, also after a while: the server is stuck behind its own answers. */
		if (poll(&wait, 1, 200) == 0)
			break;
	}
	return asked; /* and perhaps a part of one more, which nobody waits for */
}

/* Far more answers than fit, of a few bytes each: they are cut everywhere, also within trailers. */
static void answers_in_pieces(void **state)
{
	struct bench bench;
	uint8_t bytes[7];
	unsigned asked;
	unsigned i;

	bench_open(&bench);
	bench.narrow = 1;
	bench_connect(&bench);
	asked = ask_until_full(&bench, CRUMBS);
	for (i = 0; i < asked; i++)
		assert_int_equal(answer(&bench, i, bytes, 1 + i % 7), 1);
	bench_close(&bench);
}

/* The same at the pulling end, byte by byte. */
static void answers_byte_by_byte(void **state)
{
	uint8_t hello[WT_PATH_HELLO_BYTES] = { 2 };
	struct wt_completion completion;
	struct wt_error err = { 0 };
	struct wt_region *sink;
	struct bench bench;
	uint8_t memory[16] = { 0 };
	uint8_t answers[4 * (3 + 16)] = { 0 };
	uint8_t requests[4 * 32];
	struct wt_op list[4];
	unsigned done = 0;
	unsigned i;

	bench_open(&bench);
	bench.socket = dial(bench.port);
	put(bench.socket, greeting_head, sizeof greeting_head);
	put(bench.socket, hello, sizeof hello);
	assert_int_equal(
		ops->request_admit(request_next(&bench), bench.endpoint, WT_ROLE_PULL, &bench.path, &err), 0);
	get(bench.socket, requests, 8);
	assert_int_equal(
		ops->region_add(bench.endpoint, memory, sizeof memory, WT_ACCESS_SINK, &sink, &err), 0);
	for (i = 0; i < 4; i++) {
		uint8_t *answer_at = answers + i * 19;

		list[i] = (struct wt_op){ .kind = WT_OP_READ,
			.length = 3,
			.cookie = i,
			.local = memory + 3 * i,
			.local_region = sink };
		memset(answer_at, 'a' + (int)i, 3);
		answer_at[3] = (uint8_t)i; /* id */
		answer_at[11] = 1;         /* status */
		memcpy(answer_at + 15, "WTTT", 4);
	}
	assert_int_equal(ops->post(bench.path, list, 4), 4);
	get(bench.socket, requests, sizeof requests);
	for (i = 0; i < sizeof answers; i++) {
		struct pollfd wait = { .fd = ops->fd(bench.path), .events = POLLIN };
		int n;

		put(bench.socket, &answers[i], 1);
		assert_int_equal(poll(&wait, 1, 20000), 1);
		n = ops->poll(bench.path, &completion, 1);
		assert_int_equal(n, i % 19 == 18);
		if (n) {
			assert_int_equal(completion.cookie, done++);
			assert_int_equal(completion.status, 0);
		}
	}
	assert_memory_equal(memory, "aaabbbcccddd", 13);
	ops->close(bench.path);
	bench.path = NULL;
	ops->region_remove(sink);
	bench_close(&bench);
}

/* The served file shrinks: a fault, not a signal; what is left of it is still served. */
static void served_file_truncated(void **state)
{
	uint8_t *bytes = malloc(SERVED);
	struct bench bench;

	assert_non_null(bytes);
	bench_open(&bench);
	bench_connect(&bench);
	assert_int_equal(ftruncate(bench.memfd, SERVED / 2), 0);
	ask(&bench, 0, 0, 4096, "WTTR");
	ask(&bench, 1, SERVED / 2 - 8192, 65536, "WTTR"); /* half of it is there */
	ask(&bench, 2, SERVED - 4096, 4096, "WTTR");
	ask(&bench, 3, 4096, 100, "WTTR");
	assert_int_equal(answer(&bench, 0, bytes, 4096), 1);
	assert_int_equal(answer(&bench, 1, bytes, 65536), 4);
	assert_int_equal(answer(&bench, 2, bytes, 4096), 4);
	assert_int_equal(answer(&bench, 3, bytes, 100), 1);
	assert_int_equal(bytes[99], 0x5c);
	bench_close(&bench);
	free(bytes);
}

/* The region goes while its answer is stuck half way: the rest is padding, and the trailer says so. */
static void removed_half_way(void **state)
{
	uint8_t *bytes = malloc(SERVED);
	struct bench bench;
	unsigned i;

	assert_non_null(bytes);
	bench_open(&bench);
	bench_connect(&bench);
	for (i = 0; i < 30; i++)
		ask(&bench, i, 0, SERVED, "WTTR");
	get(bench.socket, bytes, 1000); /* the first one has begun, and 30 MiB do not fit into buffers */
	ops->region_remove(bench.region);
	bench.region = NULL;
	memset(bench.memory, 0x77, SERVED);
	get(bench.socket, bytes + 1000, SERVED - 1000);
	get(bench.socket, bytes, 16);
	for (i = 1; i < 30; i++) {
		uint32_t status = answer(&bench, i, bytes, SERVED);
		unsigned k;

		assert_true(status == 1 || status == 2);
		for (k = 0; k < SERVED; k += 511)
			assert_true(bytes[k] == 0x5c || (status == 2 && bytes[k] == 0));
		if (i == 29)
			assert_int_equal(status, 2);
	}
	bench_close(&bench);
	free(bytes);
}

/* ---- memory that is a file ---- */

/* The memory is the file from its second half on, in which each page holds its own number. */
static void bench_open_file(struct bench *bench, int fd)
{
	bench_open(bench);
	assert_int_equal(ftruncate(bench->memfd, 2 * SERVED), 0);
	assert_int_equal(munmap(bench->memory, SERVED), 0);
	bench->memory = mmap(
		bench->memory, SERVED, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, bench->memfd, SERVED);
	assert_true(bench->memory != MAP_FAILED);
	for (uint32_t at = 0; at < SERVED; at += 4096)
		memset(bench->memory + at, (int)(at / 4096 % 251), 4096);
	ops->region_file(bench->region, fd < 0 ? bench->memfd : fd, SERVED);
	bench_connect(bench);
}

static void expect_pages(const uint8_t *bytes, uint32_t first_byte, uint32_t length)
{
	for (uint32_t at = first_byte; at < first_byte + length; at++)
		if (bytes[at - first_byte] != at / 4096 % 251)
			fail_msg("byte %u is %u", at, bytes[at - first_byte]);
}

/* Long and short answers in turn, from odd places: in order and whole, whichever way they went. */
static void long_and_short_from_a_file(void **state)
{
	static const uint32_t lengths[] = { SERVED, 1, 65536, 4096, 65535, 700000, 200001, 3 };
	uint8_t *bytes = malloc(SERVED);
	struct bench bench;

	assert_non_null(bytes);
	bench_open_file(&bench, -1);
	for (unsigned i = 0; i < 8; i++)
		ask(&bench, i, lengths[i] == SERVED ? 0 : 77 * i, lengths[i], "WTTR");
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(answer(&bench, i, bytes, lengths[i]), 1);
		expect_pages(bytes, lengths[i] == SERVED ? 0 : 77 * i, lengths[i]);
	}
	bench_close(&bench);
	free(bytes);
}

/* Reading a hole through the mapping would fill it. */
static void holes_stay_holes(void **state)
{
	uint8_t *bytes = malloc(SERVED);
	struct bench bench;
	struct stat before, after;

	assert_non_null(bytes);
	bench_open_file(&bench, -1);
	assert_int_equal(
		fallocate(bench.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, SERVED, SERVED / 2), 0);
	assert_int_equal(fstat(bench.memfd, &before), 0);
	ask(&bench, 0, 0, SERVED, "WTTR");
	assert_int_equal(answer(&bench, 0, bytes, SERVED), 1);
	assert_int_equal(bytes[0] | bytes[SERVED / 2 - 1], 0);
	expect_pages(bytes + SERVED / 2, SERVED / 2, SERVED / 2);
	assert_int_equal(fstat(bench.memfd, &after), 0);
	assert_int_equal(before.st_blocks, after.st_blocks);
	bench_close(&bench);
	free(bytes);
}

static void served_file_ends(void **state)
{
	uint8_t *bytes = malloc(SERVED);
	struct bench bench;

	assert_non_null(bytes);
	bench_open_file(&bench, -1);
	assert_int_equal(ftruncate(bench.memfd, SERVED + SERVED / 2), 0);
	ask(&bench, 0, 0, 100000, "WTTR");
	ask(&bench, 1, SERVED / 2 - 100000, 200000, "WTTR"); /* half of it is there */
	ask(&bench, 2, SERVED - 100000, 100000, "WTTR");
	ask(&bench, 3, 4096, 100000, "WTTR");
	assert_int_equal(answer(&bench, 0, bytes, 100000), 1);
	assert_int_equal(answer(&bench, 1, bytes, 200000), 4);
	expect_pages(bytes, SERVED / 2 - 100000, 100000);
	assert_int_equal(bytes[100000] | bytes[199999], 0);
	assert_int_equal(answer(&bench, 2, bytes, 100000), 4);
	assert_int_equal(answer(&bench, 3, bytes, 100000), 1);
	expect_pages(bytes, 4096, 100000);
	bench_close(&bench);
	free(bytes);
}

/* A file system that cannot send from its files, as that of huge pages: the memory is copied. */
static void file_that_cannot_be_sent(void **state)
{
	uint8_t *bytes = malloc(SERVED);
	int directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct bench bench;

	assert_true(bytes && directory >= 0);
	bench_open_file(&bench, directory);
	for (unsigned i = 0; i < 3; i++) {
		ask(&bench, i, 0, SERVED, "WTTR");
		assert_int_equal(answer(&bench, i, bytes, SERVED), 1);
		expect_pages(bytes, 0, SERVED);
	}
	bench_close(&bench);
	close(directory);
	free(bytes);
}

/* After region_remove nothing more of the file is sent; what the socket had taken before may be newer than
 * that. */
static void file_removed_half_way(void **state)
{
	uint8_t *bytes = malloc(SERVED);
	struct bench bench;
	uint32_t status;

	assert_non_null(bytes);
	bench_open_file(&bench, -1);
	for (unsigned i = 0; i < 30; i++)
		ask(&bench, i, 0, SERVED, "WTTR");
	get(bench.socket, bytes, 1000);
	ops->region_remove(bench.region);
	bench.region = NULL;
	memset(bench.memory, 253, SERVED);
	get(bench.socket, bytes + 1000, SERVED - 1000);
	get(bench.socket, bytes, 16);
	for (unsigned i = 1; i < 30; i++) {
		status = answer(&bench, i, bytes, SERVED);
		assert_true(status == 1 || status == 2);
		for (uint32_t k = 0; k < SERVED; k += 511)
			assert_true(bytes[k] == k / 4096 % 251 || bytes[k] == 253 ||
				    (status == 2 && bytes[k] == 0));
	}
	assert_int_equal(status, 2);
	for (uint32_t k = 0; k < SERVED; k += 511)
		assert_int_equal(bytes[k], 0);
	bench_close(&bench);
	free(bytes);
}

static void silent_and_foreign_clients(void **state)
{
	uint8_t hello[WT_PATH_HELLO_BYTES] = { 1 };
	struct bench bench;
	int silent[80];
	int foreign;
	unsigned i;

	bench_open(&bench);
	for (i = 0; i < 80; i++) {
		silent[i] = dial(bench.port);
		no_request(&bench);
	}
	foreign = dial(bench.port);
	put(foreign, "GET / HTTP/1.1\r\n\r\n", 18);
	no_request(&bench);
	expect_end(foreign);
	close(foreign);
	expect_end(silent[0]); /* pushed out: 80 silent ones are more than 64 */
	/* Slow but right, piece by piece. */
	put(silent[79], greeting_head, 3);
	no_request(&bench);
	put(silent[79], greeting_head + 3, 5);
	put(silent[79], hello, 10);
	no_request(&bench);
	bench_connect(&bench);
	put(silent[79], hello + 10, sizeof hello - 10);
	ops->request_refuse(request_next(&bench));
	expect_end(silent[79]);
	for (i = 0; i < 80; i++)
		close(silent[i]);
	bench_close(&bench);
}

/* The listener wakes its owner to drop a client that has said nothing for too long. */
static void silent_client_ages_out(void **state)
{
	struct timespec before;
	struct timespec after;
	struct bench bench;
	uint8_t byte;
	int silent;

	bench_open(&bench);
	clock_gettime(CLOCK_MONOTONIC, &before);
	silent = dial(bench.port);
	no_request(&bench);
	for (;;) {
		struct pollfd wait = { .fd = ops->listener_fd(bench.listener), .events = POLLIN };

		assert_int_equal(poll(&wait, 1, 15000), 1);
		no_request(&bench);
		if (recv(silent, &byte, 1, MSG_DONTWAIT) == 0)
			break;
	}
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_in_range(after.tv_sec - before.tv_sec, 9, 12);
	close(silent);
	bench_close(&bench);
}

/* Where a server of ours would be: says what the case wants. */
static void lying_server(void **state)
{
	uint8_t hello[WT_PATH_HELLO_BYTES] = { 0 };
	struct sockaddr_in name = { .sin_family = AF_INET };
	socklen_t length = sizeof name;
	struct wt_endpoint *endpoint;
	struct wt_path *path = NULL;
	struct wt_error err = { 0 };
	int one = socket(AF_INET, SOCK_STREAM, 0);

	/* A listener whose owner never accepts: the kernel does, and then nothing comes. */
	name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(one, (struct sockaddr *)&name, sizeof name), 0);
	assert_int_equal(listen(one, 1), 0);
	assert_int_equal(getsockname(one, (struct sockaddr *)&name, &length), 0);
	assert_int_equal(ops->endpoint_open(NULL, NULL, &endpoint, &err), 0);
	assert_int_equal(ops->connect(endpoint, "127.0.0.1", ntohs(name.sin_port), hello, WT_ROLE_PULL,
				 300000000, &path, &err),
		-ETIMEDOUT);
	assert_null(path);
	ops->endpoint_close(endpoint);
	close(one);
}

/* A server that answers with the wrong id, or that talks unasked: the path fails, nothing is lost. */
static void wrong_answers(void **state)
{
	static const char *const unasked = "surprise";
	uint8_t verdict[8] = { 'W', 'T', 'T', 'V', 1, 0, 0, 0 };
	uint8_t hello[WT_PATH_HELLO_BYTES] = { 2 };
	unsigned kind;

	for (kind = 0; kind < 2; kind++) {
		struct wt_completion completion = { 0 };
		struct wt_region *sink;
		struct wt_error err = { 0 };
		struct bench bench;
		uint8_t memory[64];
		uint8_t bytes[32 + 16] = { 0 };
		struct pollfd wait = { .events = POLLIN };
		int n;

		bench_open(&bench);
		bench.socket = dial(bench.port);
		put(bench.socket, greeting_head, sizeof greeting_head);
		put(bench.socket, hello, sizeof hello);
		assert_int_equal(ops->request_admit(request_next(&bench), bench.endpoint, WT_ROLE_PULL,
					 &bench.path, &err),
			0);
		get(bench.socket, bytes, 8);
		assert_memory_equal(bytes, verdict, 8);
		assert_int_equal(
			ops->region_add(bench.endpoint, memory, sizeof memory, WT_ACCESS_SINK, &sink, &err),
			0);
		wait.fd = ops->fd(bench.path);
		if (kind == 0) {
			struct wt_op op = { .kind = WT_OP_READ,
				.length = 32,
				.cookie = 9,
				.local = memory,
				.local_region = sink };

			assert_int_equal(ops->post(bench.path, &op, 1), 1);
			get(bench.socket, bytes, 32);
			memset(bytes, 0, sizeof bytes);
			bytes[32] = 1; /* id 1 where 0 was asked */
			bytes[40] = 1;
			memcpy(bytes + 44, "WTTT", 4);
			put(bench.socket, bytes, sizeof bytes);
		} else {
			put(bench.socket, unasked, strlen(unasked));
		}
		assert_int_equal(poll(&wait, 1, 20000), 1);
		n = ops->poll(bench.path, &completion, 1);
		if (kind == 0) {
			assert_int_equal(n, 1);
			assert_int_equal(completion.cookie, 9);
			assert_int_equal(completion.status, -EPROTO);
			n = ops->poll(bench.path, &completion, 1);
		}
		assert_int_equal(n, -EPROTO);
		ops->close(bench.path);
		bench.path = NULL;
		ops->region_remove(sink);
		bench_close(&bench);
	}
}

int test_path_tcp(const struct wt_fabric_ops *fabric, const char *address)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wire_format),
		cmocka_unit_test(wrong_requests_end_the_connection),
		cmocka_unit_test(requests_in_pieces),
		cmocka_unit_test(answers_in_pieces),
		cmocka_unit_test(answers_byte_by_byte),
		cmocka_unit_test(served_file_truncated),
		cmocka_unit_test(removed_half_way),
		cmocka_unit_test(long_and_short_from_a_file),
		cmocka_unit_test(holes_stay_holes),
		cmocka_unit_test(served_file_ends),
		cmocka_unit_test(file_that_cannot_be_sent),
		cmocka_unit_test(file_removed_half_way),
		cmocka_unit_test(silent_and_foreign_clients),
		cmocka_unit_test(silent_client_ages_out),
		cmocka_unit_test(lying_server),
		cmocka_unit_test(wrong_answers),
	};

	ops = fabric;
	host = address;
	return cmocka_run_group_tests_name("path over tcp, misbehaving peers", tests, NULL, NULL);
}

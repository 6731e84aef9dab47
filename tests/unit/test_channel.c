/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_channel.c - channels over real sockets: TLS and in the clear, tcp and unix, right keys and wrong ones,
 * peers that are not ours, back-pressure, and closing from every callback.
 *
 * Both ends run on one loop. wait_for() runs it until a condition holds; a deadline fails the test.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include <watari/channel.h>

#include "credentials.h"

#define SECOND 1000000000ull
#define MS 1000000ull
#define BIG ((size_t)64 << 20)
#define PATTERN ((1u << 20) + 7) /* prime to every buffer size: a shifted or lost piece never fits */
#define QUEUE_MAX ((size_t)1 << 20)

enum closes { CLOSE_NEVER, CLOSE_IN_OPEN, CLOSE_IN_BYTES, CLOSE_IN_DRAINED, CLOSE_IN_CLOSED };

struct world;

/* One end of a connection, and what happened to it. */
struct end {
	struct world *world;
	struct wt_channel *channel;
	enum closes closes;
	unsigned opened, drained, closed;
	struct wt_error err;
	size_t received, sent, to_send;
	size_t pause_every; /* bytes; 0: never */
	size_t paused_at;
	bool paused;
	bool unchecked; /* what arrives is not the pattern */
	size_t queued_max;
	struct wt_timer unpause;
	char text[64]; /* the first bytes received */
};

struct world {
	struct wt_loop *loop;
	struct wt_channel_listener *listener;
	struct wt_address address;
	uint16_t port;
	struct end client, server;
	unsigned accepted, refused;
	bool close_listener; /* in the next accepted or refused */
	enum closes accepted_closes;
	struct wt_error refusal;
	char dir[32], path[64];
};

static const struct wt_credentials key = { .psk = { "alice", { 1, 2, 3 }, 32 } };
static const struct wt_credentials other_key = { .psk = { "alice", { 1, 2, 4 }, 32 } };
static const struct wt_credentials other_identity = { .psk = { "bob", { 1, 2, 3 }, 32 } };
static const struct wt_credentials long_key = { .psk = { "alice", { 9, 8, 7 }, 64 } };
static uint8_t pattern[2 * PATTERN];

static void close_end(struct end *end)
{
	struct wt_channel *channel = end->channel;

	end->channel = NULL;
	wt_loop_timer_clear(end->world->loop, &end->unpause);
	wt_channel_close(channel);
}

static void fill(struct end *end)
{
	size_t length, queued;

	while (end->sent < end->to_send && (queued = wt_channel_queued(end->channel)) < QUEUE_MAX) {
		length = end->to_send - end->sent;
		if (length > 100003)
			length = 100003;
		assert_int_equal(wt_channel_send(end->channel, pattern + end->sent % PATTERN, length), 0);
		end->sent += length;
		if (wt_channel_queued(end->channel) > end->queued_max)
			end->queued_max = wt_channel_queued(end->channel);
	}
}

static void on_open(void *arg)
{
	struct end *end = arg;

	assert_int_equal(end->opened++ + end->closed, 0);
	if (end->closes == CLOSE_IN_OPEN)
		close_end(end);
	else
		fill(end);
}

static void on_unpause(void *arg, uint64_t now_ns)
{
	struct end *end = arg;

	assert_int_equal(end->received, end->paused_at);
	end->paused = false;
	wt_channel_pause(end->channel, 0);
}

static void on_bytes(void *arg, const uint8_t *data, size_t length)
{
	struct end *end = arg;
	size_t text_have = end->received < sizeof end->text - 1 ? end->received : sizeof end->text - 1;
	size_t copy = sizeof end->text - 1 - text_have < length ? sizeof end->text - 1 - text_have : length;

	assert_false(end->paused);
	assert_int_equal(end->closed, 0);
	assert_true(length > 0 && length < PATTERN);
	if (end->to_send && !end->unchecked)
		assert_memory_equal(data, pattern + end->received % PATTERN, length);
	memcpy(end->text + text_have, data, copy);
	if (end->pause_every &&
		(end->received + length) / end->pause_every > end->received / end->pause_every) {
		end->paused = true;
		end->paused_at = end->received + length;
		wt_channel_pause(end->channel, 1);
		wt_loop_timer_set(end->world->loop, &end->unpause, wt_loop_now_ns(end->world->loop) + 3 * MS,
			on_unpause, end);
	}
	end->received += length;
	if (end->closes == CLOSE_IN_BYTES)
		close_end(end);
}

static void on_drained(void *arg)
{
	struct end *end = arg;

	end->drained++;
	assert_int_equal(wt_channel_queued(end->channel), 0);
	if (end->closes == CLOSE_IN_DRAINED)
		close_end(end);
	else
		fill(end);
}

static void on_closed(void *arg, const struct wt_error *err)
{
	struct end *end = arg;

	assert_int_equal(end->closed++, 0);
	assert_true(err->code > 0);
	end->err = *err;
	assert_int_equal(wt_channel_send(end->channel, "x", 1), -EPIPE);
	if (end->closes == CLOSE_IN_CLOSED)
		close_end(end);
}

static const struct wt_channel_events events = { on_open, on_bytes, on_drained, on_closed };

static void on_accepted(void *arg, struct wt_channel *channel)
{
	struct world *w = arg;

	w->accepted++;
	assert_null(w->server.channel);
	w->server.channel = channel;
	wt_channel_set_events(channel, &events, &w->server);
	if (w->close_listener) {
		wt_channel_listener_close(w->listener);
		w->listener = NULL;
	}
	if (w->accepted_closes)
		close_end(&w->server);
	else
		fill(&w->server);
}

static void on_refused(void *arg, const struct wt_error *err)
{
	struct world *w = arg;

	w->refused++;
	w->refusal = *err;
	if (w->close_listener) {
		wt_channel_listener_close(w->listener);
		w->listener = NULL;
	}
}

static const struct wt_channel_listener_events listener_events = { on_accepted, on_refused };

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	assert_non_null(w);
	strcpy(w->dir, "/tmp/wt-test-channel-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof w->path, "%s/sock", w->dir);
	w->client.world = w->server.world = w;
	*state = w;
	return wt_loop_open(&w->loop);
}

static int teardown(void **state)
{
	struct world *w = *state;

	close_end(&w->client);
	close_end(&w->server);
	wt_channel_listener_close(w->listener);
	wt_loop_close(w->loop);
	unlink(w->path);
	rmdir(w->dir);
	free(w);
	return 0;
}

/* ---- waiting ---- */

struct waiting {
	struct world *world;
	bool (*holds)(const struct world *w);
};

static void on_late(void *arg, uint64_t now_ns)
{
	wt_loop_stop(arg, -ETIMEDOUT);
}

static bool look(void *arg, uint64_t now_ns)
{
	struct waiting *waiting = arg;

	if (waiting->holds(waiting->world))
		wt_loop_stop(waiting->world->loop, 0);
	return false;
}

static int run_until(struct world *w, bool (*holds)(const struct world *w), uint64_t limit_ns)
{
	struct waiting waiting = { w, holds };
	struct wt_timer late = { 0 };
	struct wt_busy busy = { 0 };
	int result;

	wt_loop_timer_set(w->loop, &late, wt_loop_now_ns(w->loop) + limit_ns, on_late, w->loop);
	wt_loop_busy_set(w->loop, &busy, look, &waiting);
	result = wt_loop_run(w->loop);
	wt_loop_busy_clear(w->loop, &busy);
	wt_loop_timer_clear(w->loop, &late);
	return result;
}

#define wait_for(w, holds) assert_int_equal(run_until(w, holds, 20 * SECOND), 0)

static bool both_open(const struct world *w)
{
	return w->client.opened && w->accepted;
}

static bool client_opened(const struct world *w)
{
	return w->client.opened;
}

static bool client_closed(const struct world *w)
{
	return w->client.closed;
}

static bool server_closed(const struct world *w)
{
	return w->server.closed;
}

static bool refused(const struct world *w)
{
	return w->refused;
}

static bool client_closed_and_refused(const struct world *w)
{
	return w->client.closed && w->refused;
}

static bool all_received(const struct world *w)
{
	return w->client.received == w->server.to_send && w->server.received == w->client.to_send;
}

static bool never(const struct world *w)
{
	return false;
}

/* ---- steps ---- */

static void listen_here(struct world *w, const char *host, const struct wt_credentials *credentials)
{
	struct wt_error err = { 0 };

	w->address = (struct wt_address){ .host = host, .unix_path = host ? NULL : w->path };
	if (wt_channel_listen(
		    w->loop, &w->address, credentials, &listener_events, w, &w->listener, &w->port, &err))
		fail_msg("listen: %s", err.text);
	w->address.port = w->port;
}

static void connect_there(struct world *w, const struct wt_credentials *credentials, uint64_t timeout_ns)
{
	struct wt_error err = { 0 };

	if (wt_channel_connect(w->loop, &w->address, credentials, timeout_ns, &events, &w->client,
		    &w->client.channel, &err))
		fail_msg("connect: %s", err.text);
	assert_int_equal(w->client.opened + w->client.closed, 0); /* never out of the call itself */
}

/* A plain socket of the test itself that listens; its port goes into the world's address. */
static int raw_listen(struct world *w, int backlog)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof in;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &length), 0);
	w->address = (struct wt_address){ .host = "127.0.0.1", .port = ntohs(in.sin_port) };
	return fd;
}

static int raw_connect(const struct world *w, int flags)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
		.sin_port = htons(w->address.port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

	assert_true(fd >= 0);
	assert_true(connect(fd, (struct sockaddr *)&in, sizeof in) == 0 || errno == EINPROGRESS);
	return fd;
}

static void expect_error(const struct wt_error *err, int code, const char *text)
{
	if (err->code != code || !strstr(err->text, text))
		fail_msg("expected %d \"...%s...\", got %d \"%s\"", code, text, err->code, err->text);
}

/* ---- moving bytes ---- */

static void transfer(struct world *w, const char *host, const struct wt_credentials *credentials)
{
	listen_here(w, host, credentials);
	w->client.to_send = BIG;
	w->server.to_send = BIG + 12345;
	w->client.pause_every = 3000017;
	w->server.pause_every = 5000011;
	connect_there(w, credentials, 10 * SECOND);
	wait_for(w, all_received);
	assert_true(w->client.drained > 0 && w->server.drained > 0);
	assert_true(w->client.queued_max < QUEUE_MAX + 200000);
	assert_int_equal(w->client.closed + w->server.closed + w->refused, 0);
	/* What was handed to the kernel arrives although we close right away; then the peer says goodbye. */
	wt_loop_timer_clear(w->loop, &w->server.unpause);
	if (w->server.paused)
		on_unpause(&w->server, 0);
	close_end(&w->client);
	wait_for(w, server_closed);
	expect_error(&w->server.err, ESHUTDOWN, "closed the connection");
	assert_int_equal(w->client.closed, 0);
}

static void test_transfer_tls_tcp(void **state)
{
	struct world *w = *state;

	transfer(w, "127.0.0.1", &key);
	assert_string_equal(wt_channel_peer_host(w->server.channel), "127.0.0.1");
	assert_non_null(strstr(wt_channel_peer(w->server.channel), "127.0.0.1:"));
}

static void test_transfer_tls_unix(void **state)
{
	transfer(*state, NULL, &long_key);
}

static void test_transfer_clear_tcp(void **state)
{
	transfer(*state, "localhost", NULL);
}

static void test_transfer_clear_unix(void **state)
{
	struct world *w = *state;

	transfer(w, NULL, NULL);
	assert_string_equal(wt_channel_peer_host(w->server.channel), "");
	assert_non_null(strstr(wt_channel_peer(w->server.channel), w->path));
}

static void test_listen_everywhere(void **state)
{
	struct world *w = *state;
	struct wt_error err = { 0 };

	assert_int_equal(wt_channel_listen(w->loop, &w->address, &key, &listener_events, w, &w->listener,
				 &w->address.port, &err),
		0);
	w->address.host = "127.0.0.1";
	connect_there(w, &key, 10 * SECOND);
	wait_for(w, both_open);
	assert_string_equal(wt_channel_peer_host(w->server.channel), "127.0.0.1");
}

static bool greeted(const struct world *w)
{
	return w->server.received >= 5;
}

static void test_bytes_sent_before_open_arrive(void **state)
{
	struct world *w = *state;

	listen_here(w, "127.0.0.1", &key);
	connect_there(w, &key, 10 * SECOND);
	assert_int_equal(wt_channel_send(w->client.channel, "hel", 3), 0);
	assert_int_equal(wt_channel_send(w->client.channel, "", 0), 0);
	assert_int_equal(wt_channel_send(w->client.channel, "lo", 2), 0);
	assert_int_equal(wt_channel_queued(w->client.channel), 5);
	wait_for(w, greeted);
	assert_string_equal(w->server.text, "hello");
}

/* ---- keys ---- */

static void test_wrong_key(void **state)
{
	struct world *w = *state;

	listen_here(w, "127.0.0.1", &key);
	connect_there(w, &other_key, 10 * SECOND);
	wait_for(w, client_closed_and_refused);
	expect_error(&w->client.err, EKEYREJECTED, "has another key for the identity \"alice\"");
	expect_error(&w->refusal, EKEYREJECTED, "has another key for the identity \"alice\"");
	assert_int_equal(w->accepted + w->client.opened, 0);
}

static void test_unknown_identity(void **state)
{
	struct world *w = *state;

	listen_here(w, "127.0.0.1", &key);
	connect_there(w, &other_identity, 10 * SECOND);
	wait_for(w, client_closed_and_refused);
	expect_error(&w->client.err, EKEYREJECTED, "has no key for the identity \"bob\"");
	expect_error(&w->refusal, EKEYREJECTED, "identity \"bob\", ours is \"alice\"");
}

static void test_tls_to_a_peer_in_the_clear(void **state)
{
	struct world *w = *state;

	listen_here(w, NULL, NULL);
	w->server.to_send = 100;
	w->server.unchecked = true;
	connect_there(w, &key, 10 * SECOND);
	wait_for(w, client_closed);
	expect_error(&w->client.err, EPROTO, "does not speak TLS");
	assert_int_equal(w->client.opened, 0);
}

static void test_clear_to_a_peer_with_tls(void **state)
{
	struct world *w = *state;

	listen_here(w, NULL, &key);
	connect_there(w, NULL, 10 * SECOND);
	assert_int_equal(wt_channel_send(w->client.channel, "hello", 5), 0);
	wait_for(w, client_closed_and_refused);
	expect_error(&w->refusal, EPROTO, "does not speak TLS");
	assert_int_equal(w->accepted, 0);
}

/* ---- peers that are not ours ---- */

static void test_garbage_from_the_listener(void **state)
{
	struct world *w = *state;
	int listener = raw_listen(w, 1), fd;

	connect_there(w, &key, 10 * SECOND);
	fd = accept(listener, NULL, NULL);
	assert_int_equal(write(fd, "SSH-2.0-OpenSSH\r\n", 17), 17);
	wait_for(w, client_closed);
	expect_error(&w->client.err, EPROTO, "does not speak TLS (byte 1 of what it sent is 0x53)");
	close(fd);
	close(listener);
}

static void test_garbage_to_the_listener(void **state)
{
	/* Not TLS; a record of an absurd length; a hello that is none; an old TLS 1.0 hello, cut. */
	static const struct {
		const char *data;
		size_t length;
	} cases[] = {
		{ "GET / HTTP/1.0\r\n\r\n", 18 },
		{ "\x16\x03\x01\xff\xff\x01", 6 },
		{ "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", 10 },
		{ "\x16\x99", 2 },
		{ "\x15\x03\x03\x00\x02\x02\x28", 7 },
	};
	struct world *w = *state;
	size_t i;
	int fd;

	listen_here(w, "127.0.0.1", &key);
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		w->refused = 0;
		fd = raw_connect(w, 0);
		assert_int_equal(write(fd, cases[i].data, cases[i].length), cases[i].length);
		wait_for(w, refused);
		assert_true(w->refusal.text[0]);
		assert_int_equal(w->refusal.code, EPROTO);
		close(fd);
	}
	fd = raw_connect(w, 0);
	close(fd);
	w->refused = 0;
	wait_for(w, refused);
	expect_error(&w->refusal, ECONNRESET, "closed the connection during the TLS handshake");
	assert_int_equal(w->accepted, 0);
	connect_there(w, &key, 10 * SECOND); /* and it still works for those that are ours */
	wait_for(w, both_open);
}

static void test_silence(void **state)
{
	struct world *w = *state;
	int listener = raw_listen(w, 1);

	connect_there(w, &key, 100 * MS);
	wait_for(w, client_closed);
	expect_error(&w->client.err, ETIMEDOUT, "did not finish the TLS handshake within 0.1 s");
	close(listener);
}

static void test_peer_closes_in_the_handshake(void **state)
{
	struct world *w = *state;
	int listener = raw_listen(w, 1), fd;

	connect_there(w, &key, 10 * SECOND);
	fd = accept(listener, NULL, NULL);
	close(fd);
	wait_for(w, client_closed);
	expect_error(&w->client.err, ECONNRESET, "during the TLS handshake");
	close(listener);
}

static void test_no_answer_to_connect(void **state)
{
	struct world *w = *state;
	int listener = raw_listen(w, 0), fds[3], i;

	for (i = 0; i < 3; i++) /* the kernel's queue is full: it drops the next request */
		fds[i] = raw_connect(w, SOCK_NONBLOCK);
	connect_there(w, &key, 100 * MS);
	wait_for(w, client_closed);
	expect_error(&w->client.err, ETIMEDOUT, "no answer within 0.1 s");
	for (i = 0; i < 3; i++)
		close(fds[i]);
	close(listener);
}

static bool six_refused(const struct world *w)
{
	return w->refused >= 6;
}

static void test_too_many_handshakes_drop_the_oldest(void **state)
{
	struct world *w = *state;
	int fds[70], i;
	char c;

	listen_here(w, "127.0.0.1", &key);
	for (i = 0; i < 70; i++)
		fds[i] = raw_connect(w, SOCK_NONBLOCK);
	wait_for(w, refused);
	expect_error(&w->refusal, EBUSY, "was dropped");
	connect_there(w, &key, 10 * SECOND);
	wait_for(w, both_open);
	wait_for(w, six_refused); /* the kernel may have made some of them wait */
	assert_in_range(w->refused, 6, 7);
	assert_int_equal(read(fds[0], &c, 1), 0);
	assert_int_equal(read(fds[69], &c, 1), -1);
	for (i = 0; i < 70; i++)
		close(fds[i]);
}

/* ---- addresses ---- */

static void test_connection_refused(void **state)
{
	struct world *w = *state;
	int listener = raw_listen(w, 1);

	close(listener);
	connect_there(w, &key, 10 * SECOND);
	wait_for(w, client_closed);
	expect_error(&w->client.err, ECONNREFUSED, "connection refused");
	close_end(&w->client);
	memset(&w->client, 0, sizeof w->client);
	w->client.world = w;
	w->address = (struct wt_address){ .unix_path = w->path };
	connect_there(w, NULL, 10 * SECOND);
	wait_for(w, client_closed);
	expect_error(&w->client.err, ENOENT, "no such socket");
}

static void test_bad_addresses_are_refused(void **state)
{
	char path[200];
	const struct {
		struct wt_address address;
		const struct wt_credentials *credentials;
		int code;
		const char *text;
		bool listen;
	} cases[] = {
		{ { .host = "192.0.2.1", .port = 1 }, NULL, EPERM, "nothing is encrypted", false },
		{ { .host = "2001:db8::1", .port = 1 }, NULL, EPERM, "nothing is encrypted", false },
		{ { .host = "::ffff:192.0.2.1", .port = 1 }, NULL, EPERM, "nothing is encrypted", false },
		{ { .host = "0.0.0.0", .port = 1 }, NULL, EPERM, "nothing is encrypted", false },
		{ { .host = NULL, .port = 1 }, &key, EINVAL, "a host and a port", false },
		{ { .host = "127.0.0.1", .port = 0 }, &key, EINVAL, "a host and a port", false },
		{ { .unix_path = path }, NULL, ENAMETOOLONG, "at most 107 bytes", false },
		{ { .unix_path = "" }, NULL, EINVAL, "empty", false },
		{ { .host = NULL }, NULL, EPERM, "every address", true },
		{ { .host = "0.0.0.0" }, NULL, EPERM, "nothing is encrypted", true },
		{ { .host = "192.0.2.1" }, &key, EADDRNOTAVAIL, "not an address of this host", true },
		{ { .unix_path = path }, NULL, ENAMETOOLONG, "at most 107 bytes", true },
	};
	struct world *w = *state;
	struct wt_channel_listener *listener = NULL;
	struct wt_channel *channel = NULL;
	struct wt_error err;
	size_t i;
	int result;

	memset(path, 'p', sizeof path);
	path[sizeof path - 1] = '\0';
	for (i = 0; i < sizeof cases / sizeof *cases; i++) {
		wt_error_clear(&err);
		if (cases[i].listen)
			result = wt_channel_listen(w->loop, &cases[i].address, cases[i].credentials,
				&listener_events, w, &listener, NULL, &err);
		else
			result = wt_channel_connect(w->loop, &cases[i].address, cases[i].credentials, SECOND,
				&events, &w->client, &channel, &err);
		expect_error(&err, cases[i].code, cases[i].text);
		assert_int_equal(result, -cases[i].code);
	}
	assert_null(listener);
	assert_null(channel);
}

static void test_port_in_use(void **state)
{
	struct world *w = *state;
	struct wt_channel_listener *second = NULL;
	struct wt_error err = { 0 };

	listen_here(w, "127.0.0.1", &key);
	assert_int_equal(
		wt_channel_listen(w->loop, &w->address, &key, &listener_events, w, &second, NULL, &err),
		-EADDRINUSE);
	expect_error(&err, EADDRINUSE, "another process does already");
	assert_null(second);
}

static void test_unix_file(void **state)
{
	struct world *w = *state;
	struct wt_channel_listener *second = NULL;
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct wt_error err = { 0 };
	struct stat st;
	int fd;

	/* A stale one is replaced. */
	memcpy(un.sun_path, w->path, sizeof w->path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
	close(fd);
	listen_here(w, NULL, NULL);
	assert_int_equal(stat(w->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	/* One that is listened on is not. */
	assert_int_equal(
		wt_channel_listen(w->loop, &w->address, NULL, &listener_events, w, &second, NULL, &err),
		-EADDRINUSE);
	connect_there(w, NULL, 10 * SECOND);
	wait_for(w, both_open);
	wt_channel_listener_close(w->listener);
	w->listener = NULL;
	assert_int_equal(access(w->path, F_OK), -1);
	/* What is not a socket is not touched. */
	fd = open(w->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	close(fd);
	wt_error_clear(&err);
	assert_int_equal(
		wt_channel_listen(w->loop, &w->address, NULL, &listener_events, w, &second, NULL, &err),
		-EEXIST);
	assert_int_equal(access(w->path, F_OK), 0);
}

/* ---- ends ---- */

static void test_reset_is_told(void **state)
{
	struct world *w = *state;
	struct linger linger = { .l_onoff = 1 };
	int listener = raw_listen(w, 1), fd;

	connect_there(w, NULL, 10 * SECOND);
	fd = accept(listener, NULL, NULL);
	wait_for(w, client_opened);
	wt_channel_send(w->client.channel, "hello", 5);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
	close(fd);
	wait_for(w, client_closed);
	expect_error(&w->client.err, ECONNRESET, "reset the connection");
	close(listener);
}

/* The peer says why and hangs up without reading: we hear the reason before we hear of the end. */
static void test_last_words_arrive_although_sending_fails(void **state)
{
	struct world *w = *state;
	int fd, listener;
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	memcpy(un.sun_path, w->path, sizeof w->path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&un, sizeof un), 0);
	assert_int_equal(listen(listener, 1), 0);
	w->address = (struct wt_address){ .unix_path = w->path };
	connect_there(w, NULL, 10 * SECOND);
	fd = accept(listener, NULL, NULL);
	wait_for(w, client_opened);
	assert_int_equal(write(fd, "the disk is full", 16), 16);
	close(fd);
	assert_int_equal(wt_channel_send(w->client.channel, "hello", 5), 0); /* will fail with EPIPE */
	wait_for(w, client_closed);
	assert_string_equal(w->client.text, "the disk is full");
	expect_error(&w->client.err, ECONNRESET, "reset the connection");
	close(listener);
}

/* A peer that pauses long enough to close its window lives; one that vanished is noticed. */
static void test_vanished_peer_is_told_from_a_slow_one(void **state)
{
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog filter = { 1, &nothing };
	struct world *w = *state;
	struct end slow = { .world = w, .to_send = 16 << 20 };
	int listener = raw_listen(w, 2), slow_fd, fd;
	struct wt_error err = { 0 };
	uint64_t start_ns = wt_loop_now_ns(w->loop);

	assert_int_equal(
		wt_channel_connect(w->loop, &w->address, NULL, SECOND, &events, &slow, &slow.channel, &err),
		0);
	slow_fd = accept(listener, NULL, NULL);
	connect_there(w, NULL, SECOND);
	fd = accept(listener, NULL, NULL);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter), 0);
	wt_channel_send(w->client.channel, "hello", 5);
	wait_for(w, client_closed);
	expect_error(&w->client.err, ETIMEDOUT, "does not answer any more");
	assert_in_range((wt_loop_now_ns(w->loop) - start_ns) / MS, 3000, 15000);
	run_until(w, never, 2 * SECOND);
	assert_int_equal(slow.opened, 1);
	assert_int_equal(slow.closed, 0);
	assert_true(wt_channel_queued(slow.channel) > 0);
	close_end(&slow);
	close(slow_fd);
	close(fd);
	close(listener);
}

static bool server_hung(const struct world *w)
{
	return w->server.closed || w->server.received == w->client.to_send;
}

/* While paused nothing is delivered, not even the end; afterwards everything is. */
static void test_pause_keeps_the_end_back(void **state)
{
	struct world *w = *state;

	listen_here(w, NULL, NULL);
	w->client.to_send = w->server.to_send = 0;
	connect_there(w, NULL, 10 * SECOND);
	wait_for(w, both_open);
	wt_channel_pause(w->server.channel, 1);
	w->server.paused = true;
	w->client.closes = CLOSE_IN_DRAINED;
	w->client.to_send = w->server.to_send = 50000;
	fill(&w->client);
	assert_int_equal(run_until(w, server_hung, 50 * MS), -ETIMEDOUT);
	assert_null(w->client.channel);
	w->server.paused = false;
	wt_channel_pause(w->server.channel, 0);
	wait_for(w, server_closed);
	assert_int_equal(w->server.received, 50000);
	expect_error(&w->server.err, ESHUTDOWN, "closed the connection");
}

/* A paused owner with bytes to send must not wait for ever for a peer that is gone. */
static void test_paused_sender_hears_of_the_end(void **state)
{
	struct world *w = *state;

	listen_here(w, NULL, NULL);
	connect_there(w, NULL, 10 * SECOND);
	wait_for(w, both_open);
	wt_channel_pause(w->client.channel, 1);
	close_end(&w->server);
	assert_int_equal(run_until(w, client_closed, 50 * MS), -ETIMEDOUT);
	wt_channel_send(w->client.channel, "hello", 5);
	wait_for(w, client_closed);
	expect_error(&w->client.err, ECONNRESET, "reset the connection");
}

static bool nobody_left(const struct world *w)
{
	return (!w->client.channel || w->client.closed) && w->accepted + w->refused &&
	       (!w->server.channel || w->server.closed);
}

static void close_in(void **state, const struct wt_credentials *credentials, enum closes client,
	enum closes server, bool accepted, bool listener)
{
	struct world *w;

	assert_int_equal(setup(state), 0);
	w = *state;
	w->client.closes = client;
	w->server.closes = server;
	w->accepted_closes = accepted ? CLOSE_IN_OPEN : CLOSE_NEVER;
	w->close_listener = listener;
	w->client.to_send = w->server.to_send = 300000;
	listen_here(w, "127.0.0.1", credentials);
	connect_there(w, credentials, 10 * SECOND);
	wait_for(w, nobody_left);
	teardown(state);
}

static void test_close_in_every_callback(void **state)
{
	static const struct wt_credentials *const psks[] = { NULL, &key };
	size_t i;
	int where;

	for (i = 0; i < 2; i++) {
		for (where = CLOSE_IN_OPEN; where <= CLOSE_IN_DRAINED; where++)
			close_in(state, psks[i], (enum closes)where, CLOSE_IN_CLOSED, false, false);
		for (where = CLOSE_IN_BYTES; where <= CLOSE_IN_DRAINED; where++)
			close_in(state, psks[i], CLOSE_IN_CLOSED, (enum closes)where, false, false);
		close_in(state, psks[i], CLOSE_IN_CLOSED, CLOSE_NEVER, true, false);
		close_in(state, psks[i], CLOSE_IN_CLOSED, CLOSE_NEVER, true, true);
		close_in(state, psks[i], CLOSE_IN_BYTES, CLOSE_IN_BYTES, false, true);
	}
}

static void test_close_listener_in_refused(void **state)
{
	struct world *w = *state;
	int fds[3], i;

	listen_here(w, "127.0.0.1", &key);
	w->close_listener = true;
	w->client.closes = CLOSE_IN_CLOSED;
	for (i = 0; i < 3; i++)
		fds[i] = raw_connect(w, 0);
	connect_there(w, &other_key, 10 * SECOND);
	wait_for(w, refused);
	assert_null(w->listener);
	wait_for(w, client_closed);
	for (i = 0; i < 3; i++)
		close(fds[i]);
}

static void test_close_while_connecting(void **state)
{
	struct world *w = *state;

	listen_here(w, "127.0.0.1", &key);
	connect_there(w, &key, 10 * SECOND);
	close_end(&w->client);
	connect_there(w, &key, 10 * SECOND);
	wait_for(w, refused);
	wait_for(w, both_open);
	wt_channel_close(NULL);
	wt_channel_listener_close(NULL);
}

static int make_pattern(void **state)
{
	uint64_t x = 88172645463325252ull;
	size_t i;

	for (i = 0; i < PATTERN; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		pattern[i] = pattern[PATTERN + i] = (uint8_t)x;
	}
	return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_transfer_tls_tcp),
		T(test_transfer_tls_unix),
		T(test_transfer_clear_tcp),
		T(test_transfer_clear_unix),
		T(test_listen_everywhere),
		T(test_bytes_sent_before_open_arrive),
		T(test_wrong_key),
		T(test_unknown_identity),
		T(test_tls_to_a_peer_in_the_clear),
		T(test_clear_to_a_peer_with_tls),
		T(test_garbage_from_the_listener),
		T(test_garbage_to_the_listener),
		T(test_silence),
		T(test_peer_closes_in_the_handshake),
		T(test_no_answer_to_connect),
		T(test_too_many_handshakes_drop_the_oldest),
		T(test_connection_refused),
		T(test_bad_addresses_are_refused),
		T(test_port_in_use),
		T(test_unix_file),
		T(test_reset_is_told),
		T(test_last_words_arrive_although_sending_fails),
		T(test_vanished_peer_is_told_from_a_slow_one),
		T(test_pause_keeps_the_end_back),
		T(test_paused_sender_hears_of_the_end),
		cmocka_unit_test(test_close_in_every_callback),
		T(test_close_listener_in_refused),
		T(test_close_while_connecting),
	};

	return cmocka_run_group_tests(tests, make_pattern, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transfer_world.h - a page server and a puller in one process, with a proxy between them.
 *
 * The server lives in the test's thread; the puller in a second one, as in two processes. Both have loops of
 * their own. The puller's events only count
 * and wake the test, which waits for a condition with a deadline and looks at nothing else.
 *
 * The guest is played by the test: it writes pages, then announces them.
 */
#ifndef WT_TEST_TRANSFER_WORLD_H
#define WT_TEST_TRANSFER_WORLD_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <watari/puller.h>
#include <watari/server.h>

#include "cut_proxy.h"
#include "seed.h"

#define MIB (1ull << 20)
#define SECOND_NS 1000000000ull
#define DEADLINE_NS (40 * SECOND_NS)
#define WORLD_BLOCKS 3
#ifndef WORLD_FABRICS
#define WORLD_FABRICS WT_FABRIC_BIT(WT_FABRIC_TCP)
#endif
#ifndef WORLD_DATA_HOST
#define WORLD_DATA_HOST NULL
#endif
#ifndef WORLD_RACES
#define WORLD_RACES ""
#endif
#define MESSAGE_COUNTED 70
#define MESSAGE_END 71
#define MESSAGE_DONE 72

struct world_block {
	const char *name;
	uint64_t length;
	int source_fd, mine_fd;
	uint8_t *source, *mine;
};

struct world {
	struct wt_loop *loop, *puller_loop;
	struct wt_memory *memory;
	struct wt_server *server;
	struct wt_puller *puller;
	struct proxy proxy;
	struct world_block blocks[WORLD_BLOCKS];
	unsigned hidden; /* bits of blocks whose memory the server cannot read */
	uint16_t port;
	uint64_t give_up_ns, rate_limit;
	const struct wt_puller_replica *replica; /* of the puller, NULL: none */
	bool remote;                             /* it wants one of another host, of this session and key */
	uint8_t remote_id[WT_SERVER_SESSION_ID_BYTES], remote_key[WT_DIGEST_KEY_BYTES];

	/* The waiting test. */
	bool (*until)(struct world *w);
	struct wt_busy busy;
	struct wt_timer deadline;
	int news;

	/* The server's side. */
	char note[400];
	unsigned notes, ready, rooms, server_lost, server_back, server_failed, answers, done, messages_sent;
	struct wt_error server_error;
	/* A replica that the server has the puller expect; 0: none. Number, key and state as they were told.
	 */
	unsigned replica_number, expected_number;
	uint16_t expected_port;
	uint8_t expected_key[WT_DIGEST_KEY_BYTES];
	enum wt_helper_state helper_state;
	char helper_text[300];

	/* The puller's side; written by its thread. */
	pthread_t thread;
	bool running;
	int command;
	void (*call)(struct world *w);
	sem_t called;
	atomic_uint replica_wanted, replica_joined, replica_lost;
	struct wt_error replica_error;
	atomic_uint connected, landed, lost, back, failed, refused, messages, disorder;
	bool end_seen;
	const char *refuse_block;
	struct wt_error puller_error, refused_error;

	/* The guest. */
	struct wt_extent rest;
	enum wt_content rest_content;
	uint64_t version, writes_left;
	unsigned back_pressure;
};

/*
 * A place in the ring is written again only after its copy has landed: the acknowledgement comes over a
 * socket, by the puller, which ThreadSanitizer cannot follow.
 */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
	return "race:announce_copy\n" WORLD_RACES;
}

static inline void world_news(struct world *w)
{
	uint64_t one = 1;

	if (write(w->news, &one, sizeof one) < 0)
		abort();
}

/* ---- the puller's thread ---- */

static void on_connected(void *arg, const char *peer)
{
	((struct world *)arg)->connected++;
	world_news(arg);
}

static int on_block(
	void *arg, const char *name, uint64_t length, struct wt_puller_block *ret_block, struct wt_error *err)
{
	struct world *w = arg;

	for (unsigned i = 0; i < WORLD_BLOCKS; i++) {
		const struct world_block *b = &w->blocks[i];

		if (strcmp(b->name, name) || b->length != length)
			continue;
		if (w->refuse_block && strcmp(w->refuse_block, name) == 0)
			break;
		*ret_block = (struct wt_puller_block){ .base = b->mine, .fd = b->mine_fd };
		return 0;
	}
	return wt_error_set(
		err, EINVAL, "block %s is not wanted here; give both guests the same memory", name);
}

static int on_blocks_end(void *arg, struct wt_error *err)
{
	struct world *w = arg;

	int r = w->replica  ? wt_puller_replica(w->puller, w->replica, err)
		: w->remote ? wt_puller_replica_remote(w->puller, "third", w->remote_id, w->remote_key, err)
			    : 0;

	w->replica_wanted++;
	world_news(w);
	return r;
}

static void on_replica_joined(void *arg, const char *label)
{
	((struct world *)arg)->replica_joined++;
	world_news(arg);
}

static void on_replica_lost(void *arg, const struct wt_error *err)
{
	struct world *w = arg;

	w->replica_error = *err;
	w->replica_lost++;
	world_news(w);
}

static void answer_end(struct world *w)
{
	if (!w->end_seen || !wt_puller_all_landed(w->puller))
		return;
	w->end_seen = false;
	if (wt_puller_send(w->puller, MESSAGE_DONE, NULL, 0))
		abort();
}

static void on_landed(void *arg)
{
	struct world *w = arg;

	w->landed++;
	answer_end(w);
	world_news(w);
}

static int on_message(void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct world *w = arg;
	unsigned number = 0;

	if (type == MESSAGE_END) {
		w->end_seen = true;
		answer_end(w);
		return 0;
	}
	if (type != MESSAGE_COUNTED || length < sizeof number)
		return wt_error_set(err, EPROTO, "a strange message");
	memcpy(&number, payload, sizeof number);
	if (number != ++w->messages)
		w->disorder++;
	world_news(w);
	return 0;
}

static void on_lost(void *arg, const struct wt_error *err)
{
	((struct world *)arg)->lost++;
	world_news(arg);
}

static void on_back(void *arg)
{
	((struct world *)arg)->back++;
	world_news(arg);
}

static void on_failed(void *arg, const struct wt_error *err)
{
	struct world *w = arg;

	w->puller_error = *err;
	w->failed++;
	world_news(w);
}

static void on_refused(void *arg, const struct wt_error *err)
{
	struct world *w = arg;

	w->refused_error = *err;
	w->refused++;
	world_news(w);
}

static const struct wt_puller_events puller_events = { .connected = on_connected,
	.block = on_block,
	.blocks_end = on_blocks_end,
	.landed = on_landed,
	.message = on_message,
	.lost = on_lost,
	.back = on_back,
	.failed = on_failed,
	.refused = on_refused,
	.replica_joined = on_replica_joined,
	.replica_lost = on_replica_lost };

static void on_command(void *arg, uint32_t events)
{
	struct world *w = arg;
	uint64_t count;

	if (read(w->command, &count, sizeof count) < 0)
		abort();
	w->call(w);
	sem_post(&w->called);
}

static void *puller_main(void *arg)
{
	struct world *w = arg;

	wt_loop_run(w->puller_loop);
	return NULL;
}

/* Runs fn in the puller's thread. */
static inline void world_call(struct world *w, void (*fn)(struct world *w))
{
	uint64_t one = 1;

	w->call = fn;
	if (write(w->command, &one, sizeof one) < 0)
		abort();
	while (sem_wait(&w->called))
		;
}

static void close_puller(struct world *w)
{
	wt_puller_close(w->puller);
	w->puller = NULL;
}

static void stop_puller(struct world *w)
{
	close_puller(w);
	wt_loop_stop(w->puller_loop, 0);
}

/* ---- the server's side ---- */

static void on_ready(void *arg)
{
	((struct world *)arg)->ready++;
}

static void on_room(void *arg)
{
	((struct world *)arg)->rooms++;
}

static void on_note(void *arg, const char *text)
{
	struct world *w = arg;

	w->notes++;
	snprintf(w->note, sizeof w->note, "%s", text);
}

static int on_answer(void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct world *w = arg;

	if (type == MESSAGE_DONE)
		w->done++;
	else
		w->answers++;
	return 0;
}

static void on_server_lost(void *arg, const struct wt_error *err)
{
	((struct world *)arg)->server_lost++;
}

static void on_server_back(void *arg)
{
	((struct world *)arg)->server_back++;
}

static void on_server_failed(void *arg, const struct wt_error *err)
{
	struct world *w = arg;

	w->server_failed++;
	w->server_error = *err;
}

static void on_expected_replica(void *arg, unsigned number, uint16_t port, const uint8_t *digest_key)
{
	struct world *w = arg;

	w->expected_number = number;
	w->expected_port = port;
	memcpy(w->expected_key, digest_key, sizeof w->expected_key);
}

static void on_helper(void *arg, unsigned number, enum wt_helper_state state, const char *text)
{
	struct world *w = arg;

	w->helper_state = state;
	snprintf(w->helper_text, sizeof w->helper_text, "%u %s", number, text);
}

static const struct wt_server_events server_events = { .ready = on_ready,
	.room = on_room,
	.message = on_answer,
	.lost = on_server_lost,
	.back = on_server_back,
	.failed = on_server_failed,
	.note = on_note,
	.expected_replica = on_expected_replica,
	.helper = on_helper };

static bool on_busy(void *arg, uint64_t now_ns)
{
	struct world *w = arg;

	if (w->until && w->until(w))
		wt_loop_stop(w->loop, 1);
	return false;
}

static void on_news(void *arg, uint32_t events)
{
	struct world *w = arg;
	uint64_t count;

	if (read(w->news, &count, sizeof count) < 0)
		abort();
}

static void on_deadline(void *arg, uint64_t now_ns)
{
	wt_loop_stop(((struct world *)arg)->loop, 0);
}

/* Lets the server run until the condition holds; false: it did not in time. */
static inline bool world_until(struct world *w, bool (*until)(struct world *w))
{
	int r;

	w->until = until;
	wt_loop_timer_set(w->loop, &w->deadline, wt_loop_now_ns(w->loop) + DEADLINE_NS, on_deadline, w);
	r = wt_loop_run(w->loop);
	wt_loop_timer_clear(w->loop, &w->deadline);
	w->until = NULL;
	return r == 1;
}

/* ---- opening and closing ---- */

static inline uint8_t *world_memory(uint64_t length, int *ret_fd)
{
	uint8_t *base;

	*ret_fd = memfd_create("block", MFD_CLOEXEC);
	if (*ret_fd < 0 || ftruncate(*ret_fd, (off_t)length))
		abort();
	base = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, *ret_fd, 0);
	if (base == MAP_FAILED)
		abort();
	return base;
}

/* Both ends' memory, a puller that waits for "vm", and a proxy before it. */
static inline void world_open(struct world *w, uint64_t first_mib, uint64_t give_up_ns)
{
	static const char *const names[WORLD_BLOCKS] = { "pc.ram", "vram", "rom" };
	const uint64_t lengths[WORLD_BLOCKS] = { first_mib * MIB, 20 * MIB, 12 * WT_PAGE_SIZE };
	struct wt_puller_config config = { .listen = { .host = "127.0.0.1" },
		.name = "vm",
		.fabrics = WORLD_FABRICS,
		.data_host = WORLD_DATA_HOST,
		.give_up_ns = give_up_ns };
	struct wt_error err = { 0 };

	memset(w, 0, sizeof *w);
	w->give_up_ns = give_up_ns;
	for (unsigned i = 0; i < WORLD_BLOCKS; i++) {
		struct world_block *b = &w->blocks[i];

		b->name = names[i];
		b->length = lengths[i];
		b->source = world_memory(b->length, &b->source_fd);
		b->mine = world_memory(b->length, &b->mine_fd);
	}
	w->news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->command = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	sem_init(&w->called, 0, 0);
	assert_int_equal(wt_loop_open(&w->loop), 0);
	assert_int_equal(wt_loop_open(&w->puller_loop), 0);
	assert_int_equal(wt_loop_fd_set(w->loop, w->news, EPOLLIN, on_news, w), 0);
	assert_int_equal(wt_loop_fd_set(w->puller_loop, w->command, EPOLLIN, on_command, w), 0);
	wt_loop_busy_set(w->loop, &w->busy, on_busy, w);
	assert_int_equal(
		wt_puller_open(w->puller_loop, &config, &puller_events, w, &w->puller, &w->port, &err), 0);
	pthread_create(&w->thread, NULL, puller_main, w);
	proxy_open(&w->proxy, w->port);
}

/* What all servers of this world share. */
static inline void world_memory_open(struct world *w)
{
	struct wt_error err = { 0 };

	assert_int_equal(wt_memory_open(&w->memory, &err), 0);
	for (unsigned i = 0; i < WORLD_BLOCKS; i++) {
		bool hidden = w->hidden >> i & 1;

		assert_int_equal(
			wt_memory_block_add(w->memory, w->blocks[i].name, hidden ? NULL : w->blocks[i].source,
				w->blocks[i].length, hidden ? -1 : w->blocks[i].source_fd, 0, &err),
			i);
	}
}

static inline void world_serve(struct world *w, const char *name)
{
	struct wt_server_config config = { .peer = { .host = "127.0.0.1",
						   .port = w->proxy.ports[PROXY_CONTROL] },
		.name = name,
		.fabrics = WORLD_FABRICS,
		.paths = 3,
		.rate_limit = w->rate_limit,
		.connect_timeout_ns = SECOND_NS,
		.give_up_ns = w->give_up_ns };
	struct wt_error err = { 0 };

	w->ready = w->server_failed = 0;
	if (!w->memory)
		world_memory_open(w);
	config.memory = w->memory;
	assert_int_equal(wt_server_open(w->loop, &config, &server_events, w, &w->server, &err), 0);
	if (w->replica_number)
		assert_int_equal(
			wt_server_expect_replica(w->server, w->replica_number, w->remote_id, "old"), 0);
	assert_int_equal(wt_server_start(w->server, &err), 0);
}

static inline void world_close(struct world *w)
{
	wt_server_close(w->server);
	wt_memory_close(w->memory);
	world_call(w, stop_puller);
	pthread_join(w->thread, NULL);
	proxy_close(&w->proxy);
	wt_loop_busy_clear(w->loop, &w->busy);
	wt_loop_close(w->loop);
	wt_loop_close(w->puller_loop);
	sem_destroy(&w->called);
	close(w->news);
	close(w->command);
	for (unsigned i = 0; i < WORLD_BLOCKS; i++) {
		munmap(w->blocks[i].source, w->blocks[i].length);
		munmap(w->blocks[i].mine, w->blocks[i].length);
		close(w->blocks[i].source_fd);
		close(w->blocks[i].mine_fd);
	}
	w->loop = NULL;
}

#endif

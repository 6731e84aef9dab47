/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server_world.h - a page server, and pullers that say what the test wants: two pullers, one after the other,
 * of the same memory, of which one block can be read and the other cannot. What they have heard is checked
 * here to be in order.
 */
#ifndef WATARI_TESTS_SERVER_WORLD_H
#define WATARI_TESTS_SERVER_WORLD_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_puller.h"
#include "server_internal.h"

#define SECOND_NS 1000000000ull
#define MS_NS 1000000ull
#define RAM 0 /* can be read */
#define ROM 1 /* cannot: its content comes with its announcement */
#define BLOCKS 2
#define PAGES_MAX 300

static const uint64_t block_pages[BLOCKS] = { PAGES_MAX, 100 };

/* One page server and its puller. */
struct side {
	struct wt_server *server;
	struct fake fake;
	unsigned ready, drained, base_sent, failed, expected, helpers;
	uint64_t base_left;
	uint16_t port;
	char text[300];
};

static struct wt_loop *loop;
static struct wt_memory *memory;
static uint8_t *ram;
static int ram_fd;
static struct side o, n;
static bool may_discard;
static const uint8_t *replica_key;             /* servers are replicas with this one; NULL: they are not */
static struct wt_wire_digest_keys digest_keys; /* with which pullers ask for digests; count 0: they do not */

/* ---- events and waiting ---- */

static inline void on_ready(void *arg)
{
	((struct side *)arg)->ready++;
}

static inline void on_drained(void *arg)
{
	((struct side *)arg)->drained++;
}

static inline void on_base_sent(void *arg)
{
	((struct side *)arg)->base_sent++;
}

static inline void on_base_left(void *arg, uint64_t pages)
{
	((struct side *)arg)->base_left = pages;
}

static inline void on_expected(void *arg, unsigned number, uint16_t port)
{
	((struct side *)arg)->expected = number;
	((struct side *)arg)->port = port;
}

static inline void on_helper(void *arg, unsigned number, enum wt_helper_state state, const char *text)
{
	struct side *side = arg;

	side->helpers++;
	snprintf(side->text, sizeof side->text, "%u %d %s", number, (int)state, text);
}

static inline void on_failed(void *arg, const struct wt_error *err)
{
	struct side *side = arg;

	side->failed++;
	snprintf(side->text, sizeof side->text, "%s", wt_error_text(err));
}

static const struct wt_server_events server_events = { .ready = on_ready,
	.failed = on_failed,
	.drained = on_drained,
	.base_sent = on_base_sent,
	.base_left = on_base_left,
	.expected = on_expected,
	.helper = on_helper };

static bool (*condition)(void);

static inline bool look(void *arg, uint64_t now_ns)
{
	if (condition())
		wt_loop_stop(loop, 0);
	return false;
}

static inline void late(void *arg, uint64_t now_ns)
{
	wt_loop_stop(loop, -ETIMEDOUT);
}

static inline bool runs_until(bool (*holds)(void), uint64_t limit_ns)
{
	struct wt_timer timer = { 0 };
	struct wt_busy busy = { 0 };
	int r;

	condition = holds;
	wt_loop_timer_set(loop, &timer, wt_loop_now_ns(loop) + limit_ns, late, NULL);
	wt_loop_busy_set(loop, &busy, look, NULL);
	r = wt_loop_run(loop);
	wt_loop_busy_clear(loop, &busy);
	wt_loop_timer_clear(loop, &timer);
	return r == 0;
}

static inline bool until(bool (*holds)(void))
{
	return runs_until(holds, 20 * SECOND_NS);
}

static inline bool never(void)
{
	return false;
}

static struct side *waiting_for;
static unsigned awaited, awaited_count;

static inline bool has_come(void)
{
	return fake_heard(&waiting_for->fake, awaited) >= awaited_count;
}

/* The puller has got so many of them. */
static inline void hear(struct side *side, unsigned type, unsigned count)
{
	waiting_for = side;
	awaited = type;
	awaited_count = count;
	check(until(has_come));
}

static inline bool all_is_said(void)
{
	return wt_session_retained(waiting_for->fake.link.session) == 0;
}

/* The server has got all that the puller said, and the puller what came of it at once. */
static inline void settle(struct side *side)
{
	waiting_for = side;
	check(until(all_is_said));
}

static inline bool is_ready(void)
{
	return waiting_for->ready > 0 || waiting_for->failed;
}

static inline bool has_failed(void)
{
	return waiting_for->failed > 0;
}

static inline bool is_drained(void)
{
	return waiting_for->drained > 0;
}

static inline bool is_base_sent(void)
{
	return waiting_for->base_sent > 0;
}

static inline void wait_for(struct side *side, bool (*holds)(void))
{
	waiting_for = side;
	check(until(holds));
}

/* ---- opening and closing ---- */

static inline void open_world(void)
{
	struct wt_error err = { 0 };

	check(wt_loop_open(&loop) == 0);
	ram_fd = memfd_create("ram", MFD_CLOEXEC);
	check(ram_fd >= 0 && ftruncate(ram_fd, PAGES_MAX * WT_PAGE_SIZE) == 0);
	ram = mmap(NULL, PAGES_MAX * WT_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ram_fd, 0);
	check(ram != MAP_FAILED);
	check(wt_memory_open(&memory, &err) == 0);
	check(wt_memory_block_add(memory, "ram", ram, block_pages[RAM] * WT_PAGE_SIZE, ram_fd, 0, &err) ==
		RAM);
	check(wt_memory_block_add(memory, "rom", NULL, block_pages[ROM] * WT_PAGE_SIZE, -1, 0, &err) == ROM);
	o = n = (struct side){ .server = NULL };
}

static inline void serve(struct side *side, bool passive, const uint8_t *id)
{
	struct wt_server_config config = { .memory = memory,
		.name = "vm",
		.fabrics = WT_FABRIC_BIT(WT_FABRIC_TCP),
		.paths = 1,
		.passive = passive,
		.may_discard = may_discard,
		.session_id = id,
		.digest_key = replica_key,
		.connect_timeout_ns = 10 * SECOND_NS,
		.give_up_ns = 10 * SECOND_NS };
	struct wt_error err = { 0 };

	uint8_t bytes[sizeof digest_keys];

	fake_open(&side->fake, loop);
	config.peer = (struct wt_address){ .host = "127.0.0.1", .port = side->fake.port };
	check(wt_server_open(loop, &config, &server_events, side, &side->server, &err) == 0);
	check(wt_server_start(side->server, &err) == 0);
	hear(side, WT_MESSAGE_BLOCKS_END, 1);
	if (digest_keys.count)
		fake_say(&side->fake, WT_MESSAGE_DIGEST_KEY, bytes,
			wt_wire_digest_keys_encode(&digest_keys, bytes));
	fake_ready(&side->fake);
	wait_for(side, is_ready);
	check(side->ready == 1);
}

static inline void close_side(struct side *side)
{
	if (!side->server)
		return;
	wt_server_close(side->server);
	fake_close(&side->fake);
	side->server = NULL;
}

static inline void close_world(void)
{
	close_side(&n);
	close_side(&o);
	wt_memory_close(memory);
	munmap(ram, PAGES_MAX * WT_PAGE_SIZE);
	close(ram_fd);
	wt_loop_close(loop);
}

/* ---- what was announced, as the puller has heard it ---- */

struct heard {
	uint64_t next_seq;
	struct wt_announcement list[20000];
};

static struct heard heard;

/* All ANNOUNCE messages of this puller behind its last RESTART. */
static inline void hear_announcements(struct side *side)
{
	static struct wt_announcement list[WT_WIRE_ANNOUNCEMENTS_MAX];
	unsigned count;

	heard.next_seq = 1;
	for (unsigned i = 0; i < side->fake.count; i++) {
		const struct fake_message *message = &side->fake.messages[i];
		uint64_t first;

		if (message->type == WT_MESSAGE_RESTART)
			heard.next_seq = 1;
		if (message->type != WT_MESSAGE_ANNOUNCE)
			continue;
		check(wt_wire_announce_decode(message->payload, message->length, &first, list, &count) == 0);
		check(first == heard.next_seq);
		for (unsigned k = 0; k < count; k++)
			heard.list[heard.next_seq++] = list[k];
	}
}

static inline bool all_is_heard(void)
{
	hear_announcements(waiting_for);
	return heard.next_seq == wt_announce_next_seq(waiting_for->server->log);
}

static inline int announce(
	struct side *side, uint32_t block, uint64_t page, uint32_t pages, enum wt_content content)
{
	static uint8_t bytes[PAGES_MAX * WT_PAGE_SIZE];
	struct wt_extent e = { .block = block, .page = page, .pages = pages };
	int r;

	if (block == ROM && content == WT_CONTENT_IN_PLACE)
		r = wt_server_announce_copy(side->server, &e, bytes);
	else
		r = wt_server_announce(side->server, &e, content);
	wt_server_flush(side->server);
	return r;
}

/* ---- base, as the puller has heard it ---- */

static struct {
	bool zero[BLOCKS][PAGES_MAX], need[BLOCKS][PAGES_MAX], has[BLOCKS][PAGES_MAX];
} base;

static inline void hear_base_piece(const struct fake_message *message)
{
	static uint64_t words[WT_WIRE_WORDS_MAX];
	struct wt_wire_base piece;

	check(wt_wire_base_decode(message->payload, message->length, &piece, words) == 0);
	for (uint32_t i = 0; i < piece.pages.extent.pages; i++) {
		bool set = piece.pages.all || words[i / 64] >> i % 64 & 1;
		uint64_t page = piece.pages.extent.page + i;
		uint32_t block = piece.pages.extent.block;

		check(block < BLOCKS && page < block_pages[block]);
		if (piece.kind == WT_WIRE_BASE_ZERO)
			base.zero[block][page] |= set;
		else if (piece.kind == WT_WIRE_BASE_NEED)
			base.need[block][page] |= set;
		else
			base.has[block][page] |= set;
		check(piece.server == (piece.kind == WT_WIRE_BASE_HAS ? 1 : 0));
	}
}

/* What came behind message `from`; nothing is announced before its end. */
static inline void hear_base(struct side *side, unsigned from)
{
	bool ended = false;

	memset(&base, 0, sizeof base);
	for (unsigned i = from; i < side->fake.count; i++) {
		const struct fake_message *message = &side->fake.messages[i];

		check(message->type != WT_MESSAGE_ANNOUNCE || ended);
		check(message->type != WT_MESSAGE_BASE || !ended);
		if (message->type == WT_MESSAGE_BASE)
			hear_base_piece(message);
		ended |= message->type == WT_MESSAGE_BASE_END;
	}
	check(ended);
}

static inline void send_base(struct side *to, const struct side *before, const struct side *helper)
{
	unsigned ends = fake_heard(&to->fake, WT_MESSAGE_BASE_END);
	struct wt_server_base what = { .before = before ? before->server : NULL, .policy = WT_BASE_FASTEST };
	struct wt_error err = { 0 };

	if (helper) {
		what.helpers = 1;
		what.helper[0].number = 1;
		what.helper[0].server = helper->server;
	}
	to->base_sent = 0;
	check(wt_server_base(to->server, &what, &err) == 0);
	check(wt_server_base(to->server, &what, &err) == -EINVAL);
	check(announce(to, RAM, 0, 1, WT_CONTENT_ZERO) == -EAGAIN);
	wait_for(to, is_base_sent);
	hear(to, WT_MESSAGE_BASE_END, ends + 1);
}

static inline void drain(struct side *side)
{
	unsigned before = fake_heard(&side->fake, WT_MESSAGE_DRAIN);

	check(wt_server_drain(side->server) == 0);
	check(announce(side, RAM, 0, 1, WT_CONTENT_IN_PLACE) == -EAGAIN);
	check(!wt_server_room(side->server));
	hear(side, WT_MESSAGE_DRAIN, before + 1);
	fake_hang_up(&side->fake);
}

static inline void say_drained(struct side *side, uint32_t epoch)
{
	side->drained = 0;
	fake_epoch(&side->fake, WT_MESSAGE_DRAINED, epoch);
	wait_for(side, is_drained);
	check(!wt_rails_serving(side->server->rails));
	hear(side, WT_MESSAGE_REGIONS_CLEAR, 1);
}

static inline bool valid(const struct side *side, uint32_t block, uint64_t page)
{
	return wt_bitmap_test(wt_memory_valid(memory, side->server->former, block), page);
}

/* ---- digests ---- */

static const uint8_t some_keys[2][WT_DIGEST_KEY_BYTES] = { { 1, 2, 3 }, { 4, 5, 6 } };

static inline void want_digests(unsigned keys)
{
	digest_keys.count = keys;
	memcpy(digest_keys.key, some_keys, sizeof some_keys);
}

#endif

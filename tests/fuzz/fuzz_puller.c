/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_puller.c - libFuzzer harness of a puller whose servers are hostile: they speak the protocol of the
 * session, and send any messages in any order. It takes the place of channel*.c; all else is the puller as it
 * is. Checked besides memory safety:
 *   1. what the caller is asked for is within what it has said;
 *   2. memory beside the blocks is not touched;
 *   3. a session that has failed says why, once.
 * The first byte chooses how the session begins; then come messages: type (its high bit: of a second server),
 * length, bytes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <watari/puller.h>

#include "wire.h"

#define PROMISE(truth) ((truth) ? (void)0 : (fprintf(stderr, "broken: %s\n", #truth), abort()))
#define BLOCK_PAGES 64u
#define BLOCK_BYTES ((size_t)BLOCK_PAGES * WT_PAGE_SIZE)
#define BLOCKS 2u
#define GUARD 0x5a

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the first byte says. */
enum { LISTS_BLOCKS = 1, HAS_REPLICA = 2, REPLICA_REMOTE = 4, REPLICA_IN_PLACE = 8 };

/* ---- channels ---- */

struct wt_channel {
	struct wt_channel_events events;
	void *arg;
};

static struct wt_channel_listener_events listener_events;
static void *listener_arg;
static unsigned channels;

int wt_channel_listen(struct wt_loop *loop, const struct wt_address *address,
	const struct wt_credentials *credentials, const struct wt_channel_listener_events *events, void *arg,
	struct wt_channel_listener **ret_listener, uint16_t *ret_port, struct wt_error *err)
{
	listener_events = *events;
	listener_arg = arg;
	*ret_listener = (struct wt_channel_listener *)&listener_events;
	*ret_port = 1;
	return 0;
}

void wt_channel_listener_close(struct wt_channel_listener *listener)
{
	listener_events.accepted = NULL;
}

int wt_channel_connect(struct wt_loop *loop, const struct wt_address *address,
	const struct wt_credentials *credentials, uint64_t timeout_ns, const struct wt_channel_events *events,
	void *arg, struct wt_channel **ret_channel, struct wt_error *err)
{
	return wt_error_set(err, ECONNREFUSED, "nobody is there");
}

static struct wt_channel *current[2]; /* the ends that the puller has; NULL: closed */

void wt_channel_close(struct wt_channel *channel)
{
	for (unsigned i = 0; i < 2; i++)
		if (current[i] == channel)
			current[i] = NULL;
	channels--;
	free(channel);
}

int wt_channel_send(struct wt_channel *channel, const void *data, size_t length)
{
	volatile uint8_t ends = ((const uint8_t *)data)[0] ^ ((const uint8_t *)data)[length - 1];

	(void)ends;
	return 0;
}

const char *wt_channel_peer(const struct wt_channel *channel)
{
	return "peer";
}

const char *wt_channel_peer_host(const struct wt_channel *channel)
{
	return "127.0.0.1";
}

void wt_channel_set_events(struct wt_channel *channel, const struct wt_channel_events *events, void *arg)
{
	channel->events = *events;
	channel->arg = arg;
}

/* ---- who pulls ---- */

static struct {
	struct wt_loop *loop;
	struct wt_timer stop;
	struct wt_puller *puller;
	uint8_t choice;
	uint8_t *memory; /* guard, block, guard, block, guard */
	unsigned failed;
} world;

static uint8_t *block_at(unsigned number)
{
	return world.memory + (2 * number + 1) * BLOCK_BYTES;
}

static int on_block(
	void *arg, const char *name, uint64_t length, struct wt_puller_block *ret_block, struct wt_error *err)
{
	unsigned number = (unsigned)(name[0] - 'a');

	if (number >= BLOCKS || name[1] || length != BLOCK_BYTES)
		return wt_error_set(err, EINVAL, "no such block");
	*ret_block = (struct wt_puller_block){ .base = block_at(number), .fd = -1 };
	return 0;
}

static int read_replica(void *arg, uint32_t block, uint64_t page, uint32_t pages, void *ret_bytes)
{
	PROMISE(block < BLOCKS && page < BLOCK_PAGES && pages <= BLOCK_PAGES - page);
	memset(ret_bytes, 0, (size_t)pages * WT_PAGE_SIZE);
	return block ? 0 : -ENOENT;
}

static int on_blocks_end(void *arg, struct wt_error *err)
{
	const struct wt_puller_replica replica = { .read = read_replica,
		.in_place = world.choice & REPLICA_IN_PLACE };
	uint8_t id[WT_SERVER_SESSION_ID_BYTES], key[WT_DIGEST_KEY_BYTES];
	struct wt_error why = { 0 };

	if (world.choice & HAS_REPLICA)
		wt_puller_replica(world.puller, &replica, &why);
	else if (world.choice & REPLICA_REMOTE)
		wt_puller_replica_remote(world.puller, "replica", id, key, &why);
	return 0;
}

static int on_message(void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err)
{
	PROMISE(type >= WT_MESSAGE_APPLICATION);
	return length && payload[0] == 255 ? wt_error_set(err, EPROTO, "the application minds") : 0;
}

static void on_failed(void *arg, const struct wt_error *err)
{
	PROMISE(err->code && err->text[0]);
	world.failed++;
}

static void on_refused(void *arg, const struct wt_error *err)
{
	PROMISE(err->code && err->text[0]);
}

static void on_helper_lost(void *arg, unsigned number, const char *label, const struct wt_error *err)
{
	PROMISE(number && number < WT_SERVERS_MAX && err->code);
}

static void on_helper_joined(void *arg, unsigned number, const char *label)
{
	PROMISE(number && number < WT_SERVERS_MAX);
}

static void on_serve(void *arg, const struct wt_server_order *order)
{
	PROMISE(order->host && order->name && order->number && order->number < WT_SERVERS_MAX);
}

static void on_serve_end(void *arg, unsigned number)
{
	PROMISE(number && number < WT_SERVERS_MAX);
}

static const struct wt_puller_events puller_events = { .block = on_block,
	.blocks_end = on_blocks_end,
	.message = on_message,
	.failed = on_failed,
	.refused = on_refused,
	.helper_joined = on_helper_joined,
	.helper_lost = on_helper_lost,
	.serve = on_serve,
	.serve_end = on_serve_end };

/* ---- the servers ---- */

static uint64_t sent[2];

static void put(unsigned server, const uint8_t *bytes, size_t length)
{
	if (current[server])
		current[server]->events.bytes(current[server]->arg, bytes, length);
}

/* The first message of a session is its hello; the second server has the id of all 2s. */
static void connect_one(unsigned server)
{
	struct wt_hello hello = {
		.version_min = WT_WIRE_VERSION, .version_max = WT_WIRE_VERSION, .name = "vm"
	};
	uint8_t bytes[WT_WIRE_HELLO_BYTES];
	struct wt_channel *channel = calloc(1, sizeof *channel);

	PROMISE(channel && listener_events.accepted);
	memset(hello.session_id, 1 + (int)server, sizeof hello.session_id);
	wt_wire_hello_encode(&hello, bytes);
	channels++;
	current[server] = channel;
	sent[server] = 0;
	listener_events.accepted(listener_arg, channel);
	put(server, bytes, 40);
	put(server, bytes + 40, sizeof bytes - 40);
}

static void say(unsigned server, unsigned type, const uint8_t *payload, size_t length)
{
	struct wt_frame frame = { .type = (uint16_t)type, .length = (uint32_t)length };
	uint8_t head[WT_WIRE_FRAME_HEADER];

	if (type != WT_MESSAGE_KEEPALIVE && type != WT_MESSAGE_BYE)
		frame.number = ++sent[server];
	wt_wire_frame_encode(&frame, head);
	put(server, head, sizeof head);
	if (length)
		put(server, payload, length);
}

static void list_blocks(unsigned server)
{
	uint8_t payload[512];

	for (unsigned i = 0; i < BLOCKS; i++) {
		struct wt_wire_block block = {
			.block = i, .length = BLOCK_BYTES, .name = { (char)('a' + i) }
		};

		say(server, WT_MESSAGE_BLOCK, payload, wt_wire_block_encode(&block, payload));
	}
	say(server, WT_MESSAGE_BLOCKS_END, NULL, 0);
}

/* ---- turns of the loop ---- */

static void stop(void *arg, uint64_t now_ns)
{
	wt_loop_stop(world.loop, 0);
}

static void turn(void)
{
	wt_loop_timer_set(world.loop, &world.stop, wt_loop_now_ns(world.loop), stop, NULL);
	PROMISE(!wt_loop_run(world.loop));
}

static void run(const uint8_t *data, size_t size)
{
	bool second = false;

	connect_one(0);
	if (world.choice & LISTS_BLOCKS)
		list_blocks(0);
	turn();
	for (size_t at = 0; size - at >= 3 && !world.failed;) {
		size_t length = data[at + 1] | (size_t)data[at + 2] << 8;
		unsigned server = data[at] >> 7;

		if (length > size - at - 3)
			length = size - at - 3;
		if (server && !second) {
			connect_one(1);
			second = true;
			if (world.choice & LISTS_BLOCKS)
				list_blocks(1);
		}
		say(server, data[at] & 127, data + at + 3, length);
		at += 3 + length;
		turn();
	}
	turn();
}

static void check_guards(void)
{
	static uint8_t guard[BLOCK_BYTES];

	if (!guard[0])
		memset(guard, GUARD, sizeof guard);
	for (unsigned i = 0; i <= BLOCKS; i++)
		PROMISE(!memcmp(world.memory + 2 * i * BLOCK_BYTES, guard, BLOCK_BYTES));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct wt_puller_config config = { .listen = { .unix_path = "/nowhere" },
		.name = "vm",
		.fabrics = WT_FABRIC_BIT(WT_FABRIC_TCP),
		.give_up_ns = 1000000000 };
	struct wt_puller_stats stats;
	struct wt_error err = { 0 };
	uint16_t port;

	if (size < 1)
		return 0;
	if (!world.memory) {
		world.memory = mmap(NULL, (2 * BLOCKS + 1) * BLOCK_BYTES, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		PROMISE(world.memory != MAP_FAILED);
		memset(world.memory, GUARD, (2 * BLOCKS + 1) * BLOCK_BYTES);
	}
	world.choice = data[0];
	world.failed = 0;
	PROMISE(!wt_loop_open(&world.loop));
	PROMISE(!wt_puller_open(world.loop, &config, &puller_events, NULL, &world.puller, &port, &err));
	run(data + 1, size - 1);
	PROMISE(world.failed <= 1);
	wt_puller_stats(world.puller, &stats);
	PROMISE(stats.paths == 0 && stats.zero_pages <= stats.pulled_pages + UINT32_MAX);
	wt_puller_close(world.puller);
	wt_loop_timer_clear(world.loop, &world.stop);
	wt_loop_close(world.loop);
	PROMISE(!channels);
	check_guards();
	return 0;
}

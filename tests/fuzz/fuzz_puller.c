/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_puller.c - libFuzzer harness of a puller whose servers are hostile: they speak the protocol of the
 * session, and send any messages in any order; connect for data, or not; come and go; while time passes and
 * calls fail. Control connections, fabrics, digests and the clock are the harness's (fake_*.h); all else is
 * the puller as it is. Inputs: fuzz_puller.h. Checked besides memory safety:
 *   1. what the caller is asked for is within what it has said;
 *   2. memory beside the blocks is not touched;
 *   3. a session that has failed says why, once;
 *   4. no two reads are under way into the same memory (fake_fabric.c);
 *   5. what was opened is closed at the end.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>

#include <watari/puller.h>

#include "failing.h"
#include "fake_channel.h"
#include "fuzz_puller.h"
#include "promise.h"
#include "wire.h"

#define BLOCK_PAGES 64u
#define BLOCK_BYTES ((size_t)BLOCK_PAGES * WT_PAGE_SIZE)
#define BLOCKS 2u
#define GUARD 0x5a
#define EVENTS_MAX 256u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

FAILING(FAIL_CALLOC, void *, calloc, (size_t count, size_t size), (count, size), NULL, ENOMEM)
FAILING(FAIL_MALLOC, void *, malloc, (size_t size), (size), NULL, ENOMEM)
FAILING(FAIL_REALLOC, void *, realloc, (void *old, size_t size), (old, size), NULL, ENOMEM)
FAILING(FAIL_REALLOCARRAY, void *, reallocarray, (void *old, size_t count, size_t size), (old, count, size),
	NULL, ENOMEM)
FAILING(FAIL_ALIGNED_ALLOC, void *, aligned_alloc, (size_t alignment, size_t size), (alignment, size), NULL,
	ENOMEM)
FAILING(FAIL_EPOLL_CTL, int, epoll_ctl, (int epoll, int how, int fd, struct epoll_event *event),
	(epoll, how, fd, event), -1, ENOMEM)

ssize_t __wrap_getrandom(void *bytes, size_t length, unsigned flags);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now);

ssize_t __wrap_getrandom(void *bytes, size_t length, unsigned flags)
{
	if (failing_now(FAIL_GETRANDOM))
		return -1;
	memset(bytes, RANDOM_FILL, length);
	return (ssize_t)length;
}

/* ---- who pulls ---- */

static struct {
	struct wt_loop *loop;
	struct wt_busy stop;
	unsigned rounds; /* until the loop stops */
	uint64_t now_ns;
	struct wt_puller *puller;
	uint8_t choice;
	uint8_t *memory; /* guard, block, guard, block, guard */
	unsigned failed;
	bool full;
	uint8_t replica_id[WT_SESSION_ID_BYTES];
	struct wt_digester *digester; /* under the one key that there is */
} world;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now)
{
	ret_now->tv_sec = (time_t)(world.now_ns / 1000000000);
	ret_now->tv_nsec = (long)(world.now_ns % 1000000000);
	return 0;
}

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
	memset(ret_bytes, PAGE_FILL, (size_t)pages * WT_PAGE_SIZE);
	return page < 48 ? 0 : page < 56 ? -ENOENT : -EIO;
}

static int on_blocks_end(void *arg, struct wt_error *err)
{
	const struct wt_puller_replica replica = { .read = read_replica,
		.in_place = world.choice & REPLICA_IN_PLACE };
	uint8_t key[WT_DIGEST_KEY_BYTES];
	struct wt_error why = { 0 };

	if (world.choice & HAS_REPLICA)
		wt_puller_replica(world.puller, &replica, &why);
	else if (world.choice & REPLICA_REMOTE)
		wt_puller_replica_remote(world.puller, "replica", world.replica_id, key, &why);
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

static void on_event(void *arg)
{
}

static void on_connected(void *arg, const char *peer)
{
	PROMISE(peer);
}

static void on_replica_joined(void *arg, const char *label)
{
	PROMISE(label[0]);
}

static const struct wt_puller_events all_events = { .connected = on_connected,
	.block = on_block,
	.blocks_end = on_blocks_end,
	.landed = on_event,
	.message = on_message,
	.lost = on_refused,
	.back = on_event,
	.failed = on_failed,
	.refused = on_refused,
	.helper_joined = on_helper_joined,
	.helper_lost = on_helper_lost,
	.drained = on_event,
	.undrained = on_event,
	.restarted = on_event,
	.serve = on_serve,
	.serve_end = on_serve_end,
	.release = on_event,
	.replica_joined = on_replica_joined,
	.replica_lost = on_refused };
static const struct wt_puller_events few_events = { .block = on_block, .failed = on_failed };

/* ---- turns of the loop ---- */

static bool stop(void *arg, uint64_t now_ns)
{
	if (!--world.rounds)
		wt_loop_stop(world.loop, 0);
	return true;
}

/* Timers that are due, and some rounds of what there is to do. */
static void turn(void)
{
	world.rounds = 3;
	wt_loop_busy_set(world.loop, &world.stop, stop, NULL);
	PROMISE(!wt_loop_run(world.loop));
}

/* ---- the servers: control connections ---- */

static struct {
	unsigned channel; /* 0: there is none */
	uint64_t sent;
} servers[2];

static int sent(unsigned channel, const void *data, size_t length)
{
	volatile uint8_t ends = ((const uint8_t *)data)[0] ^ ((const uint8_t *)data)[length - 1];

	(void)ends;
	return world.full ? -ENOMEM : 0;
}

static void put(unsigned server, const void *bytes, size_t length)
{
	fake_channel_bytes(servers[server].channel, bytes, length);
}

/* The second server has the id of all 2s, or that of the replica. */
static const uint8_t *id_of(unsigned server)
{
	static uint8_t ids[2][WT_SESSION_ID_BYTES];

	memset(ids[server], 1 + (int)server, sizeof ids[server]);
	return server && world.choice & REPLICA_REMOTE ? world.replica_id : ids[server];
}

static void connect_one(unsigned server, unsigned how)
{
	struct wt_hello hello = {
		.version_min = WT_WIRE_VERSION, .version_max = WT_WIRE_VERSION, .name = "vm"
	};
	uint8_t bytes[WT_WIRE_HELLO_BYTES];

	memcpy(hello.session_id, id_of(server), sizeof hello.session_id);
	if (how & CONNECT_OTHER)
		memset(hello.session_id, 9, sizeof hello.session_id);
	if (how & CONNECT_AGAIN)
		hello.received = servers[server].sent & 1;
	else
		servers[server].sent = 0;
	hello.version_min += (how & CONNECT_VERSION) != 0;
	hello.name[0] += (how & CONNECT_NAME) != 0;
	wt_wire_hello_encode(&hello, bytes);
	bytes[1] ^= how & CONNECT_MAGIC;
	for (unsigned n = how & CONNECT_CROWD ? 17 : 1; n; n--)
		servers[server].channel = fake_channel_accept();
	if (how & CONNECT_SILENT)
		return;
	put(server, bytes, how & CONNECT_MAGIC ? 8 : 40);
	if (!(how & CONNECT_HALF))
		put(server, bytes + 40, sizeof bytes - 40);
	put(server, bytes, how & CONNECT_MAGIC ? 1 : 0);
}

static void say(unsigned server, unsigned type, const uint8_t *payload, size_t length)
{
	struct wt_frame frame = { .type = (uint16_t)type, .length = (uint32_t)length };
	uint8_t head[WT_WIRE_FRAME_HEADER];

	if (type != WT_MESSAGE_KEEPALIVE && type != WT_MESSAGE_BYE)
		frame.number = ++servers[server].sent;
	wt_wire_frame_encode(&frame, head);
	put(server, head, sizeof head);
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

static void begin(unsigned server)
{
	connect_one(server, 0);
	if (world.choice & LISTS_BLOCKS)
		list_blocks(server);
}

/* ---- ... digests ---- */

/* The table key is the judging key here: random numbers are all the same. */
static unsigned digest_pages(
	const uint8_t *how, size_t length, unsigned keys, uint8_t ret_digests[16 * 2 * WT_DIGEST_BYTES])
{
	uint8_t page[WT_PAGE_SIZE], *at = ret_digests;
	unsigned pages = 0;

	memset(page, PAGE_FILL, sizeof page);
	for (; pages + 2 < length && pages < 16; pages++)
		for (unsigned key = 0; key < keys; key++, at += WT_DIGEST_BYTES) {
			PROMISE(!wt_digester_page(world.digester, how[0], how[1] + pages, page, at));
			at[0] ^= !(how[2 + pages] >> key & 1);
		}
	return pages;
}

static void say_digests(unsigned server, const uint8_t *how, size_t length)
{
	uint8_t digests[16 * 2 * WT_DIGEST_BYTES], payload[2048];
	struct wt_wire_digests message = { .digests = digests, .keys = world.choice & HAS_REPLICA ? 1 : 2 };

	if (length < 3)
		return;
	message.first_seq = how[0];
	message.pages = digest_pages(how + 1, length - 1, message.keys, digests);
	say(server, WT_MESSAGE_DIGESTS, payload, wt_wire_digests_encode(&message, payload));
}

static void say_answer(unsigned server, const uint8_t *how, size_t length)
{
	uint8_t digests[16 * 2 * WT_DIGEST_BYTES], payload[2048];
	struct wt_wire_answer message = { .digests = digests, .status = WT_WIRE_ANSWER_DIGESTS };

	if (length < 3)
		return;
	message.tag = how[0];
	message.pages = digest_pages(how + 1, length - 1, 1, digests);
	say(server, WT_MESSAGE_REPLICA_ANSWER, payload, wt_wire_answer_encode(&message, payload));
}

/* ---- ... data connections ---- */

static void connect_data(unsigned server, const uint8_t *how)
{
	static const uint8_t token[WT_PATH_TOKEN_BYTES] = { [0 ... WT_PATH_TOKEN_BYTES - 1] = RANDOM_FILL };
	uint8_t hello[WT_PATH_HELLO_BYTES], found[WT_PATH_HELLO_BYTES];

	wt_wire_path_hello_encode(id_of(server), token, hello);
	PROMISE(!fake_find(hello, found) || !memcmp(hello, found, sizeof hello));
	hello[WT_PATH_HELLO_BYTES - 1] ^= how[1];
	fake_request(how[0], hello, server);
}

static int status_of(uint8_t how)
{
	static const int list[] = { 0, -EACCES, -ERANGE, -EFAULT, -EIO };

	return list[how % (sizeof list / sizeof list[0])];
}

/* ---- what its owner calls ---- */

static void call_replica(unsigned how)
{
	const struct wt_puller_replica replica = { .read = read_replica };
	uint8_t id[WT_SERVER_SESSION_ID_BYTES], key[WT_DIGEST_KEY_BYTES];
	struct wt_error err = { 0 };
	int r = how ? wt_puller_replica_remote(world.puller, "late", id, key, &err)
		    : wt_puller_replica(world.puller, &replica, &err);

	PROMISE(r < 0 && err.code); /* it is too late */
}

static void ask(void)
{
	struct wt_puller_stats stats;

	wt_puller_stats(world.puller, &stats);
	PROMISE(wt_puller_next_seq(world.puller) || !wt_puller_all_landed(world.puller));
	PROMISE(wt_puller_base_left(world.puller) <= BLOCKS * BLOCK_PAGES);
	wt_puller_heard_ns(world.puller);
	wt_puller_unsent(world.puller);
}

static void call(const uint8_t *how)
{
	const struct wt_extent range = { .block = how[2], .page = how[3], .pages = how[4] };
	static const uint64_t words[4] = { 0x5555, ~0ull, 1, 0 };
	struct wt_puller *p = world.puller;

	switch ((enum call)(how[0] % CALL_COUNT)) {
	case CALL_EXPECT:
		wt_puller_expect(p, how[1], id_of(1), "helper");
		break;
	case CALL_NEED:
		wt_puller_need(p, &range, how[1] & 1 && range.page % 64 == 0 ? words : NULL);
		break;
	case CALL_HAS:
		wt_puller_has(p, how[1], &range, NULL);
		break;
	case CALL_BASE_END:
		wt_puller_base_end(p, WT_BASE_FASTEST + how[1] % 2);
		break;
	case CALL_RATE:
		wt_puller_rate_limit(p, how[1] % WT_SERVERS_MAX, how[2] * 100000ull);
		break;
	case CALL_NO_REPLICA:
		wt_puller_no_replica(p, "is not there");
		break;
	case CALL_REPLICA:
	case CALL_REPLICA_REMOTE:
		call_replica(how[0] % CALL_COUNT == CALL_REPLICA_REMOTE);
		break;
	case CALL_SEND:
		wt_puller_send(p, how[1], how, 3);
		break;
	case CALL_TELL_HELPER:
		wt_puller_tell_helper(p, how[1] % WT_SERVERS_MAX, WT_HELPER_JOINED + how[2] % 3, "text");
		break;
	case CALL_ASK:
	case CALL_FIND:
	case CALL_COUNT:
		ask();
		break;
	}
}

/* ---- what happens ---- */

static void happen(unsigned server, enum event event, const uint8_t *bytes, size_t length)
{
	uint8_t how[5] = { 0 };

	memcpy(how, bytes, length < sizeof how ? length : sizeof how);
	switch (event) {
	case EVENT_CONNECT:
		connect_one(server, how[0]);
		break;
	case EVENT_HANG_UP:
		fake_channel_end(servers[server].channel, ECONNRESET);
		break;
	case EVENT_TIME:
		world.now_ns += how[0] * 10000000ull;
		break;
	case EVENT_DATA:
		connect_data(server, how);
		break;
	case EVENT_COMPLETE:
		fake_complete(server, how[0], status_of(how[1]), how[2]);
		break;
	case EVENT_ALWAYS:
		fake_complete_always(server, how[0]);
		break;
	case EVENT_BREAK:
		fake_break(server, EIO);
		break;
	case EVENT_DROPPED:
		fake_drop(how[0]);
		break;
	case EVENT_CALL:
		call(how);
		break;
	case EVENT_FAIL:
		failing_set(how[0] % FAIL_COUNT, how[1]);
		break;
	case EVENT_DIGESTS:
		say_digests(server, bytes, length);
		break;
	case EVENT_ANSWER:
		say_answer(server, bytes, length);
		break;
	case EVENT_FULL:
		world.full = how[0] & 1;
		break;
	case EVENT_REFUSED:
		fake_channel_refused();
		break;
	}
}

static void run(const uint8_t *data, size_t size)
{
	unsigned events = 0;

	servers[0].channel = servers[1].channel = 0;
	if (!(world.choice & STRANGERS))
		begin(0);
	turn();
	for (size_t at = 0; size - at >= 3 && !world.failed && events < EVENTS_MAX; events++) {
		size_t length = data[at + 1] | (size_t)data[at + 2] << 8;
		unsigned server = data[at] >> 7, type = data[at] & 127;

		if (length > size - at - 3)
			length = size - at - 3;
		if (server && !servers[1].channel && !(world.choice & STRANGERS))
			begin(1);
		if (type >= EVENT_FIRST && type <= EVENT_REFUSED)
			happen(server, (enum event)type, data + at + 3, length);
		else
			say(server, type, data + at + 3, length);
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

static void begin_world(uint8_t choice)
{
	static const uint8_t key[WT_DIGEST_KEY_BYTES] = { [0 ... WT_DIGEST_KEY_BYTES - 1] = RANDOM_FILL };
	struct wt_error err = { 0 };

	if (!world.memory) {
		world.memory = mmap(NULL, (2 * BLOCKS + 1) * BLOCK_BYTES, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		PROMISE(world.memory != MAP_FAILED);
		memset(world.memory, GUARD, (2 * BLOCKS + 1) * BLOCK_BYTES);
		PROMISE(!wt_digester_open(key, &world.digester, &err));
		fake_channel_watch(sent);
	}
	for (unsigned i = 0; i < BLOCKS; i++) /* what the old copy is, where it is in place */
		memset(block_at(i), PAGE_FILL, BLOCK_BYTES);
	world.choice = choice;
	world.failed = 0;
	world.full = false;
	world.now_ns = 1000000000000;
	memset(world.replica_id, 3, sizeof world.replica_id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wt_puller_config config = { .listen = { .unix_path = "/nowhere" },
		.name = "vm",
		.fabrics = WT_FABRIC_BIT(WT_FABRIC_TCP),
		.give_up_ns = 1000000000 };
	struct wt_puller_stats stats;
	struct wt_error err = { 0 };
	uint16_t port;

	if (size < 1)
		return 0;
	begin_world(data[0]);
	if (world.choice & SEVERAL_HOSTS) {
		config.fabrics = 0;
		config.credentials = (const struct wt_credentials *)&world; /* nobody looks at them */
		config.data_host = "192.0.2.1,192.0.2.2,192.0.2.3,192.0.2.4,192.0.2.5";
	}
	if (world.choice & BAD_HOST)
		config.data_host = "";
	PROMISE(!wt_loop_open(&world.loop));
	PROMISE(!wt_puller_open(world.loop, &config, world.choice & FEW_EVENTS ? &few_events : &all_events,
		NULL, &world.puller, &port, &err));
	run(data + 1, size - 1);
	failing_set(0, 0);
	PROMISE(world.failed <= 1);
	wt_puller_stats(world.puller, &stats);
	PROMISE(!world.failed || stats.paths == 0);
	wt_puller_close(world.puller);
	wt_loop_busy_clear(world.loop, &world.stop);
	wt_loop_close(world.loop);
	PROMISE(!fake_channel_count() && !fake_open_count());
	check_guards();
	return 0;
}

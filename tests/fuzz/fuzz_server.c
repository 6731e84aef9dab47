/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_server.c - libFuzzer harness of page servers whose pullers are hostile: they speak the protocol of the
 * session, and send any messages in any order, while memory is announced, time passes, connections come and
 * go, and calls fail. Control connections, fabrics, digests, threads and the clock are the harness's
 * (fake_*.h); all else is the page server as it is. Inputs: fuzz_server.h. Checked besides memory safety:
 *   1. nothing is offered but the blocks and the ring, and each part of a block as what it is;
 *   2. what is announced lies in a block, and has the number that is due;
 *   3. digests of a replica are sent only if they were asked for;
 *   4. a session that has failed says why, once;
 *   5. the memory is only read, and what was opened is closed at the end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <watari/limits.h>
#include <watari/server.h>

#include "failing.h"
#include "fake_channel.h"
#include "fuzz_server.h"
#include "promise.h"
#include "wire.h"

#define BLOCK_BYTES ((size_t)BLOCK_PAGES * WT_PAGE_SIZE)
#define FILL 7
#define EVENTS_MAX 256u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

FAILING(FAIL_CALLOC, void *, calloc, (size_t count, size_t size), (count, size), NULL, ENOMEM)
FAILING(FAIL_MALLOC, void *, malloc, (size_t size), (size), NULL, ENOMEM)
FAILING(FAIL_REALLOC, void *, realloc, (void *old, size_t size), (old, size), NULL, ENOMEM)
FAILING(FAIL_REALLOCARRAY, void *, reallocarray, (void *old, size_t count, size_t size), (old, count, size),
	NULL, ENOMEM)
FAILING(FAIL_EPOLL_CTL, int, epoll_ctl, (int epoll, int how, int fd, struct epoll_event *event),
	(epoll, how, fd, event), -1, ENOMEM)
FAILING(FAIL_PREAD, ssize_t, pread, (int fd, void *bytes, size_t length, off_t at), (fd, bytes, length, at),
	-1, EIO, EINTR)
FAILING(FAIL_MMAP, void *, mmap, (void *at, size_t length, int access, int flags, int fd, off_t from),
	(at, length, access, flags, fd, from), MAP_FAILED, ENOMEM)

ssize_t __wrap_getrandom(void *bytes, size_t length, unsigned flags);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now);

ssize_t __wrap_getrandom(void *bytes, size_t length, unsigned flags)
{
	static uint8_t next; /* sessions have different ids */

	if (failing_now(FAIL_GETRANDOM))
		return -1;
	memset(bytes, ++next, length);
	return (ssize_t)length;
}

/* ---- what is served ---- */

struct served {
	struct wt_server *server; /* NULL: not opened */
	unsigned channel;         /* 0: there is none */
	uint64_t said, heard;     /* messages of the puller, of the server */
	uint64_t announced;       /* the highest number */
	uint64_t landed;
	uint32_t epoch;
	unsigned asked, answered;
	unsigned failed;
	bool drained, left;
};

static struct {
	struct wt_loop *loop;
	struct wt_busy stop;
	unsigned rounds; /* until the loop stops */
	uint64_t now_ns;
	struct wt_memory *memory;
	uint8_t choice;
	bool full;
	uint8_t *blocks[BLOCKS];
	int fd; /* of the second */
} world;

static struct served servers[2];

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now)
{
	ret_now->tv_sec = (time_t)(world.now_ns / 1000000000);
	ret_now->tv_nsec = (long)(world.now_ns % 1000000000);
	return 0;
}

/* A part of a block, or a ring, of which nothing is known but its length. */
static bool may_serve(const void *base, size_t length)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		uintptr_t offset = (uintptr_t)base - (uintptr_t)world.blocks[i];

		if (world.blocks[i] && offset < BLOCK_BYTES)
			return length <= BLOCK_BYTES - offset;
	}
	return length == WT_LIMIT_RING_BYTES && !(world.choice & (PASSIVE | REPLICA));
}

/* ---- what the servers say ---- */

static bool in_block(const struct wt_extent *extent)
{
	return extent->block < BLOCKS && extent->pages && extent->page < BLOCK_PAGES &&
	       extent->pages <= BLOCK_PAGES - extent->page;
}

static void check_region(const uint8_t *payload, size_t length)
{
	struct wt_wire_region region;

	PROMISE(!wt_wire_region_decode(payload, length, &region));
	if (region.block == WT_WIRE_RING)
		return;
	PROMISE(region.block < BLOCKS && world.blocks[region.block]);
	PROMISE(region.key.address == (uintptr_t)world.blocks[region.block] + region.offset);
	PROMISE(region.offset <= BLOCK_BYTES && region.key.length <= BLOCK_BYTES - region.offset);
}

static void check_announced(struct served *s, const uint8_t *payload, size_t length)
{
	static struct wt_announcement list[WT_WIRE_ANNOUNCEMENTS_MAX];
	uint64_t first;
	unsigned count;

	PROMISE(!wt_wire_announce_decode(payload, length, &first, list, &count));
	PROMISE(first == s->announced + 1 && !(world.choice & (PASSIVE | REPLICA)));
	for (unsigned i = 0; i < count; i++) {
		PROMISE(in_block(&list[i].extent));
		PROMISE(list[i].content == WT_CONTENT_ZERO || list[i].content == WT_CONTENT_STAGED ||
			world.blocks[list[i].extent.block]);
		PROMISE(list[i].content != WT_CONTENT_STAGED ||
			list[i].staged_offset % WT_LIMIT_RING_BYTES +
					((uint64_t)list[i].extent.pages << WT_PAGE_SHIFT) <=
				WT_LIMIT_RING_BYTES);
	}
	s->announced += count;
}

static void check_base(const uint8_t *payload, size_t length)
{
	static uint64_t words[WT_WIRE_WORDS_MAX];
	struct wt_wire_base base;

	PROMISE(!wt_wire_base_decode(payload, length, &base, words) && in_block(&base.pages.extent));
}

static void hear(struct served *s, const struct wt_frame *frame, const uint8_t *payload)
{
	switch (frame->type) {
	case WT_MESSAGE_REGION:
		check_region(payload, frame->length);
		break;
	case WT_MESSAGE_ANNOUNCE:
		check_announced(s, payload, frame->length);
		break;
	case WT_MESSAGE_BASE:
		check_base(payload, frame->length);
		break;
	case WT_MESSAGE_DRAIN:
		PROMISE(!wt_wire_epoch_decode(payload, frame->length, &s->epoch));
		break;
	case WT_MESSAGE_RESTART:
		s->announced = s->landed = 0;
		break;
	case WT_MESSAGE_REPLICA_ANSWER:
		PROMISE(++s->answered <= s->asked);
		break;
	default:
		break;
	}
}

/* Frames come in one piece each, but for that of a BYE. What is sent again was heard before. */
static int sent(unsigned channel, const void *data, size_t length)
{
	struct wt_frame frame;

	for (unsigned i = 0; i < 2; i++) {
		if (servers[i].channel != channel || length < WT_WIRE_FRAME_HEADER ||
			wt_wire_frame_decode(data, &frame) || length != WT_WIRE_FRAME_HEADER + frame.length)
			continue;
		if (!frame.number || frame.number != servers[i].heard + 1)
			continue;
		servers[i].heard++;
		hear(&servers[i], &frame, (const uint8_t *)data + WT_WIRE_FRAME_HEADER);
	}
	return world.full ? -ENOMEM : 0;
}

/* ---- who serves ---- */

static void on_event(void *arg)
{
}

static int on_message(void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err)
{
	PROMISE(type >= WT_MESSAGE_APPLICATION);
	return length && payload[0] == 255 ? wt_error_set(err, EPROTO, "the application minds") : 0;
}

static void on_error(void *arg, const struct wt_error *err)
{
	PROMISE(err->code && err->text[0]);
}

static void on_failed(void *arg, const struct wt_error *err)
{
	struct served *s = arg;

	PROMISE(err->code && err->text[0] && !s->failed);
	s->failed++;
}

static void on_note(void *arg, const char *text)
{
	PROMISE(text[0]);
}

static void on_drained(void *arg)
{
	struct served *s = arg;

	s->drained = true;
}

static void on_base_left(void *arg, uint64_t pages)
{
}

static void on_expected(void *arg, unsigned number, uint16_t port)
{
	PROMISE(number && number < WT_SERVERS_MAX && port);
}

static void on_expected_replica(void *arg, unsigned number, uint16_t port, const uint8_t *key)
{
	PROMISE(number == 1 && port && key && world.choice & EXPECTS_REPLICA);
}

static void on_helper(void *arg, unsigned number, enum wt_helper_state state, const char *text)
{
	PROMISE(number && number < WT_SERVERS_MAX && state >= WT_HELPER_JOINED &&
		state <= WT_HELPER_UNREACHABLE && text);
}

static const struct wt_server_events all_events = { .ready = on_event,
	.room = on_event,
	.message = on_message,
	.lost = on_error,
	.back = on_event,
	.failed = on_failed,
	.note = on_note,
	.drained = on_drained,
	.base_sent = on_event,
	.base_left = on_base_left,
	.expected = on_expected,
	.expected_replica = on_expected_replica,
	.helper = on_helper };
static const struct wt_server_events few_events = { .ready = on_event, .failed = on_failed };

/* ---- turns of the loop ---- */

static bool stop(void *arg, uint64_t now_ns)
{
	if (!--world.rounds)
		wt_loop_stop(world.loop, 0);
	return true;
}

static void turn(void)
{
	world.rounds = 3;
	wt_loop_busy_set(world.loop, &world.stop, stop, NULL);
	PROMISE(!wt_loop_run(world.loop));
}

/* ---- the pullers ---- */

static void put(struct served *s, const void *bytes, size_t length)
{
	fake_channel_bytes(s->channel, bytes, length);
}

static void say(struct served *s, unsigned type, const void *payload, size_t length)
{
	struct wt_frame frame = { .type = (uint16_t)type, .length = (uint32_t)length, .ack = s->heard };
	uint8_t head[WT_WIRE_FRAME_HEADER];

	if (type != WT_MESSAGE_KEEPALIVE && type != WT_MESSAGE_BYE)
		frame.number = ++s->said;
	s->asked += type == WT_MESSAGE_REPLICA_ASK;
	wt_wire_frame_encode(&frame, head);
	put(s, head, sizeof head);
	put(s, payload, length);
}

static void welcome(struct served *s, unsigned how)
{
	struct wt_welcome welcome = { .version = WT_WIRE_VERSION, .received = s->heard };
	uint8_t bytes[WT_WIRE_WELCOME_BYTES];
	unsigned channel = fake_channel_open();

	if (channel)
		s->channel = channel;
	if (!channel || how & WELCOME_NOT)
		return;
	if (how & WELCOME_REFUSED)
		welcome.version = 0;
	if (how & WELCOME_VERSION)
		welcome.version++;
	if (how & WELCOME_LOST)
		welcome.received = 0;
	wt_wire_welcome_encode(&welcome, bytes);
	bytes[1] ^= how & WELCOME_MAGIC;
	put(s, bytes, 20);
	put(s, bytes + 20, sizeof bytes - 20);
}

static void say_ready(struct served *s, unsigned fabrics, unsigned each)
{
	struct wt_wire_ready ready = { .token = { 1 } };
	uint8_t payload[1024];

	for (unsigned fabric = 1; fabric < WT_FABRIC_COUNT; fabric++)
		for (unsigned i = 0; i < each && fabrics & WT_FABRIC_BIT(fabric); i++)
			if (ready.listeners < WT_WIRE_LISTENERS_MAX)
				ready.listener[ready.listeners++] = (struct wt_wire_listener){
					.fabric = (enum wt_fabric)fabric, .port = 4711, .host = "192.0.2.1"
				};
	say(s, WT_MESSAGE_READY, payload, wt_wire_ready_encode(&ready, payload));
}

static void say_landed(struct served *s, unsigned less)
{
	struct wt_seq_range range = { .first = s->landed + 1, .count = s->announced - s->landed };
	uint8_t payload[64];

	if (range.count <= less)
		return;
	range.count -= less;
	s->landed += range.count;
	say(s, WT_MESSAGE_LANDED, payload, wt_wire_landed_encode(&range, 1, payload));
}

static void say_drained(struct served *s)
{
	uint8_t payload[8];

	say(s, WT_MESSAGE_DRAINED, payload, wt_wire_epoch_encode(s->epoch, payload));
}

/* ---- what their owner does ---- */

static void open_server(struct served *s)
{
	static const uint8_t id[WT_SERVER_SESSION_ID_BYTES] = { 1 }, key[WT_DIGEST_KEY_BYTES] = { 2 };
	struct wt_server_config config = { .memory = world.memory,
		.peer = { .host = "192.0.2.2", .port = 4711 },
		.name = "vm",
		.fabrics = world.choice & EVERY_FABRIC ? 0 : WT_FABRIC_BIT(WT_FABRIC_TCP),
		.may_discard = world.choice & MAY_DISCARD,
		.passive = world.choice & (PASSIVE | REPLICA),
		.session_id = world.choice & PASSIVE ? id : NULL,
		.digest_key = world.choice & REPLICA ? key : NULL,
		.rate_limit = world.choice & RATE_LIMITED ? 1000000 : 0,
		.connect_timeout_ns = 1000000000,
		.give_up_ns = 2000000000 };
	struct wt_error err = { 0 };

	*s = (struct served){ 0 };
	if (wt_server_open(world.loop, &config, world.choice & FEW_EVENTS ? &few_events : &all_events, s,
		    &s->server, &err)) {
		PROMISE(err.code && err.text[0]);
		s->server = NULL;
		return;
	}
	if (world.choice & EXPECTS_REPLICA)
		PROMISE(!wt_server_expect_replica(s->server, 1, id, "replica"));
	if (wt_server_start(s->server, &err)) {
		PROMISE(err.code && err.text[0]);
		wt_server_close(s->server);
		s->server = NULL;
	}
}

static void begin(struct served *s)
{
	open_server(s);
	if (world.choice & SILENT || !s->server)
		return;
	welcome(s, 0);
	say_ready(s, ~0u, 1);
	turn();
}

static void announce(struct served *s, enum call what, const uint8_t *how)
{
	struct wt_extent extent = { .block = how[2], .page = how[3], .pages = how[4] };

	if (what == CALL_ANNOUNCE)
		wt_server_announce(s->server, &extent, WT_CONTENT_IN_PLACE);
	else if (what == CALL_ANNOUNCE_ZERO)
		wt_server_announce(s->server, &extent, WT_CONTENT_ZERO);
	else if (extent.pages <= BLOCK_PAGES)
		wt_server_announce_copy(s->server, &extent, world.blocks[0]);
	if (how[1] & 1)
		wt_server_flush(s->server);
}

/* The other one was left before, or it has drained. */
static void give_base(struct served *s, const struct served *other, unsigned how)
{
	struct wt_server_base base = { .policy = how & 1 ? WT_BASE_FASTEST : WT_BASE_SPARE_SOURCE };
	struct wt_error err = { 0 };

	if (other->server && (other->drained || other->left))
		base.before = other->server;
	if (other->server && other->drained && how & 2) {
		base.helpers = 1;
		base.helper[0].number = 1;
		base.helper[0].server = other->server;
	}
	if (how & 4)
		base.policy = WT_BASE_INVALID;
	PROMISE(!wt_server_base(s->server, &base, &err) || err.code);
}

static void leave(struct served *s, enum call what)
{
	struct wt_error err = { 0 };

	if (what == CALL_DRAIN)
		wt_server_drain(s->server);
	else if (what == CALL_UNDRAIN)
		wt_server_undrain(s->server);
	else if (what == CALL_LEAVE)
		s->left |= wt_server_leave(s->server) == 0;
	else if (!wt_server_restart(s->server, &err))
		s->drained = false;
}

static void ask(struct served *s)
{
	struct wt_server_stats stats;

	wt_server_stats(s->server, &stats);
	PROMISE(stats.wanted_pages <= BLOCKS * BLOCK_PAGES);
	PROMISE(stats.landed_seq <= stats.next_seq);
	wt_server_room(s->server);
	wt_server_all_landed(s->server);
	wt_server_unsent(s->server);
	wt_server_heard_ns(s->server);
}

static void order(struct served *s, const uint8_t *how)
{
	static const uint8_t key[WT_DIGEST_KEY_BYTES] = { 3 };
	const struct wt_server_order order = { .host = "192.0.2.3",
		.port = 1,
		.name = "vm",
		.number = 1,
		.digest_key = how[1] & 1 ? key : NULL };

	if (s->drained)
		wt_server_serve(s->server, &order);
}

static void call(struct served *s, const struct served *other, const uint8_t *how)
{
	static const uint8_t id[WT_SERVER_SESSION_ID_BYTES] = { 4 };
	enum call what = (enum call)(how[0] % CALL_COUNT);

	switch (what) {
	case CALL_ANNOUNCE:
	case CALL_ANNOUNCE_ZERO:
	case CALL_ANNOUNCE_COPY:
		announce(s, what, how);
		break;
	case CALL_FLUSH:
		wt_server_flush(s->server);
		break;
	case CALL_WARM:
		wt_server_warm(s->server, how[1] & 1);
		break;
	case CALL_NO_DIGESTS:
		wt_server_no_digests(s->server);
		break;
	case CALL_DEFER:
		wt_server_defer(s->server, &(struct wt_server_deferral){ how[1] & 31, 1000000, how[1] % 3 });
		break;
	case CALL_FINAL:
		wt_server_final(s->server);
		break;
	case CALL_RATE:
		wt_server_rate_limit(s->server, how[1] * 1000000ull);
		break;
	case CALL_SEND:
		wt_server_send(s->server, how[1], how, 3);
		break;
	case CALL_DRAIN:
	case CALL_UNDRAIN:
	case CALL_LEAVE:
	case CALL_RESTART:
		leave(s, what);
		break;
	case CALL_BASE:
		give_base(s, other, how[1]);
		break;
	case CALL_HAND_OVER:
		if (other->server && (other->drained || other->left))
			wt_server_hand_over(s->server, other->server);
		break;
	case CALL_AHEAD:
		wt_server_ahead(s->server, how[1]);
		break;
	case CALL_EXPECT:
		wt_server_expect(s->server, 1 + how[1] % 7, id, "helper");
		break;
	case CALL_NO_HELPER:
		wt_server_no_helper(s->server, 1 + how[1] % 7, "is not there");
		break;
	case CALL_SERVE:
		order(s, how);
		break;
	case CALL_SERVE_END:
		wt_server_serve_end(s->server, 1 + how[1] % 7);
		break;
	case CALL_RELEASE:
		wt_server_release(s->server);
		break;
	case CALL_ASK:
	case CALL_COUNT:
		ask(s);
		break;
	}
}

/* ---- what happens ---- */

static void happen(struct served *s, enum event event, const uint8_t *bytes, size_t length)
{
	uint8_t how[5] = { 0 };

	memcpy(how, bytes, length < sizeof how ? length : sizeof how);
	switch (event) {
	case EVENT_CONNECT:
		welcome(s, how[0]);
		break;
	case EVENT_HANG_UP:
		fake_channel_end(s->channel, ECONNRESET);
		break;
	case EVENT_TIME:
		world.now_ns += how[0] * 10000000ull;
		break;
	case EVENT_READY:
		say_ready(s, how[0], how[1]);
		break;
	case EVENT_LANDED:
		say_landed(s, how[0]);
		break;
	case EVENT_DRAINED:
		say_drained(s);
		break;
	case EVENT_BREAK:
		fake_break(0, EIO);
		break;
	case EVENT_CALL:
		call(s, &servers[s == &servers[0]], how);
		break;
	case EVENT_FAIL:
		failing_set(how[0] % FAIL_COUNT, how[1]);
		break;
	case EVENT_FULL:
		world.full = how[0] & 1;
		break;
	case EVENT_REFUSE:
		fake_channel_refuse_connects(how[0] & 1);
		break;
	case EVENT_LAST:
		break;
	}
}

static void run(const uint8_t *data, size_t size)
{
	unsigned events = 0;

	begin(&servers[0]);
	turn();
	for (size_t at = 0; size - at >= 3 && events < EVENTS_MAX; events++) {
		size_t length = data[at + 1] | (size_t)data[at + 2] << 8;
		struct served *s = &servers[data[at] >> 7];
		unsigned type = data[at] & 127;

		if (length > size - at - 3)
			length = size - at - 3;
		if (type == EVENT_FAIL) /* also of what opens a server */
			happen(s, EVENT_FAIL, data + at + 3, length);
		else if (!s->server && s == &servers[1])
			begin(s);
		if (s->server && !s->failed && type != EVENT_FAIL) {
			if (type >= EVENT_FIRST && type < EVENT_LAST)
				happen(s, (enum event)type, data + at + 3, length);
			else
				say(s, type, data + at + 3, length);
		}
		at += 3 + length;
		turn();
	}
	turn();
}

static void open_blocks(void)
{
	world.fd = memfd_create("fuzz", MFD_CLOEXEC);
	PROMISE(world.fd >= 0 && !ftruncate(world.fd, (off_t)BLOCK_BYTES));
	for (unsigned i = 0; i < 2; i++) {
		world.blocks[i] = mmap(NULL, BLOCK_BYTES, PROT_READ | PROT_WRITE,
			i ? MAP_SHARED : MAP_SHARED | MAP_ANONYMOUS, i ? world.fd : -1, 0);
		PROMISE(world.blocks[i] != MAP_FAILED);
		memset(world.blocks[i], FILL, i ? BLOCK_BYTES / 2 : BLOCK_BYTES); /* the file has a hole */
		PROMISE(!mprotect(world.blocks[i], BLOCK_BYTES, PROT_READ));
	}
	fake_channel_watch(sent);
	fake_serve_only(may_serve);
}

static void begin_world(uint8_t choice)
{
	struct wt_error err = { 0 };

	if (!world.blocks[0])
		open_blocks();
	world.choice = choice;
	world.full = false;
	world.now_ns = 1000000000000;
	memset(servers, 0, sizeof servers);
	fake_channel_refuse_connects(false);
	PROMISE(!wt_loop_open(&world.loop));
	PROMISE(!wt_memory_open(&world.memory, &err));
	for (unsigned i = 0; i < BLOCKS; i++)
		PROMISE(wt_memory_block_add(world.memory, (const char[2]){ (char)('a' + i), 0 },
				world.blocks[i], BLOCK_BYTES, i == 1 ? world.fd : -1, 0, &err) == (int)i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	begin_world(data[0]);
	run(data + 1, size - 1);
	failing_set(0, 0);
	for (unsigned i = 2; i-- > 0;)
		wt_server_close(servers[i].server);
	wt_memory_close(world.memory);
	wt_loop_busy_clear(world.loop, &world.stop);
	wt_loop_close(world.loop);
	PROMISE(!fake_channel_count() && !fake_open_count());
	return 0;
}

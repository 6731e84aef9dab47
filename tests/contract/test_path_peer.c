/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_path_peer.c - the contract of path.h: two equal ends that send messages, write and read.
 *
 * Both ends run in this thread, so every wait polls both. Where fabrics may differ (after a key that was
 * refused tcp goes on, and a queue pair is broken) the cases say so.
 */
#include "test_path.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ENDS 2
#define MESSAGES 8192

struct end {
	struct wt_path *path;
	struct wt_region *region;
	struct wt_key key; /* of the other end's region */
	uint8_t *memory;
	unsigned posted;
	unsigned completed;
	int statuses[MESSAGES];
	bool seen[MESSAGES];
	uint32_t lengths[MESSAGES]; /* of messages that came */
	uint32_t firsts[MESSAGES];
	unsigned messages;
	int last; /* poll's last answer */
};

struct peers {
	struct pair pair;
	struct end ends[ENDS];
};

static void peers_join(struct peers *peers)
{
	struct pair *pair = &peers->pair;

	test_pair_path(pair, WT_ROLE_PEER, &peers->ends[0].path, &peers->ends[1].path);
}

static void peers_open(struct peers *peers)
{
	struct pair *pair = &peers->pair;
	struct wt_endpoint *endpoints[ENDS];
	uint8_t *memories[ENDS];
	unsigned i;

	memset(peers, 0, sizeof *peers);
	test_pair_open(pair, WT_ROLE_INVALID);
	endpoints[0] = pair->server_endpoint;
	endpoints[1] = pair->puller_endpoint;
	memories[0] = pair->served;
	memories[1] = pair->sink;
	for (i = 0; i < ENDS; i++) {
		struct wt_error err = { 0 };

		peers->ends[i].memory = memories[i];
		if (test_ops->region_add(endpoints[i], memories[i], TEST_MEMORY,
			    WT_ACCESS_SERVE | WT_ACCESS_SINK | WT_ACCESS_TARGET, &peers->ends[i].region,
			    &err) < 0)
			fail_msg("region_add: %s", wt_error_text(&err));
		test_ops->region_key(peers->ends[i].region, &peers->ends[1 - i].key);
	}
	peers_join(peers);
}

static void peers_close(struct peers *peers)
{
	unsigned i;

	for (i = 0; i < ENDS; i++) {
		test_ops->close(peers->ends[i].path);
		test_ops->region_remove(peers->ends[i].region);
	}
	test_pair_close(&peers->pair);
}

static void turn(struct end *end)
{
	struct wt_completion completions[16];
	int i;

	end->last = test_ops->poll(end->path, completions, 16);
	for (i = 0; i < end->last; i++) {
		const struct wt_completion *done = &completions[i];

		if (done->message) {
			assert_true(end->messages < MESSAGES);
			memcpy(&end->firsts[end->messages], done->message,
				done->length < 4 ? done->length : 4);
			end->lengths[end->messages++] = done->length;
			continue;
		}
		assert_true(done->cookie < MESSAGES && !end->seen[done->cookie]);
		end->seen[done->cookie] = true;
		end->statuses[done->cookie] = done->status;
		end->completed++;
	}
}

static void wait_until(struct peers *peers, unsigned end, unsigned completed, unsigned other_messages)
{
	uint64_t deadline = test_now_ns() + TEST_DEADLINE_NS;
	struct end *ours = &peers->ends[end];
	struct end *other = &peers->ends[1 - end];

	while (ours->completed < completed || other->messages < other_messages) {
		turn(ours);
		turn(other);
		assert_true(ours->last >= 0 && other->last >= 0);
		assert_true(test_now_ns() < deadline);
	}
}

static void post(struct peers *peers, unsigned end, struct wt_op op)
{
	uint64_t deadline = test_now_ns() + TEST_DEADLINE_NS;
	struct end *ours = &peers->ends[end];
	int status;

	op.cookie = ours->posted++;
	while ((status = test_ops->post(ours->path, &op, 1)) == -EAGAIN) {
		turn(ours);
		turn(&peers->ends[1 - end]);
		assert_true(test_now_ns() < deadline);
	}
	assert_int_equal(status, 1);
}

static struct wt_op op_send(const void *head, uint32_t head_length, void *local, uint32_t length)
{
	return (struct wt_op){
		.kind = WT_OP_SEND, .head = head, .head_length = head_length, .local = local, .length = length
	};
}

static struct wt_op op_move(
	const struct end *end, enum wt_op_kind kind, size_t from, size_t to, uint32_t length)
{
	return (struct wt_op){ .kind = kind,
		.local = end->memory + (kind == WT_OP_WRITE ? from : to),
		.length = length,
		.local_region = end->region,
		.remote_address = end->key.address + (kind == WT_OP_WRITE ? to : from),
		.remote_key = end->key.key };
}

/* Every length once or so, head and bytes in any proportion, both ways at once. */
static void messages_in_order(void **state)
{
	static uint32_t heads[ENDS][1200];
	struct peers *peers = calloc(1, sizeof *peers);
	uint32_t lengths[1200];
	unsigned i;
	unsigned e;

	peers_open(peers);
	for (i = 0; i < 1200; i++) {
		uint32_t rest = i < 1000 ? i : WT_PATH_MESSAGE_MAX - 4 - (i - 1000) * 331;

		lengths[i] = rest + 4;
		for (e = 0; e < ENDS; e++) {
			heads[e][i] = i * 7 + e;
			post(peers, e, op_send(&heads[e][i], 4, peers->ends[e].memory, rest));
		}
	}
	wait_until(peers, 0, 1200, 1200);
	wait_until(peers, 1, 1200, 1200);
	for (e = 0; e < ENDS; e++) {
		for (i = 0; i < 1200; i++) {
			assert_int_equal(peers->ends[e].lengths[i], lengths[i]);
			assert_int_equal(peers->ends[e].firsts[i], i * 7 + 1 - e);
			assert_int_equal(peers->ends[e].statuses[i], 0);
		}
	}
	peers_close(peers);
	free(peers);
}

/* A message that is to go now is sent or refused; false: refused. Its bytes are ours at once. */
static bool goes_now(struct end *end, uint32_t number, uint32_t length)
{
	uint8_t bytes[WT_PATH_NOW_MAX];
	bool gone;

	memset(bytes, (int)number, sizeof bytes);
	memcpy(bytes, &number, 4);
	gone = test_ops->send_now(end->path, bytes, length);
	memset(bytes, 0xee, sizeof bytes);
	return gone;
}

/* What goes now keeps its place behind what was posted, whatever is full; and there is an end to it. */
static void messages_now(void **state)
{
	static uint32_t numbers[MESSAGES / 2];
	struct peers *peers = calloc(1, sizeof *peers);
	struct end *end = &peers->ends[0];
	uint32_t lengths[MESSAGES / 2];
	uint32_t number = 0;
	unsigned now = 0;

	peers_open(peers);
	assert_false(goes_now(end, 0, 0));
	assert_false(test_ops->send_now(end->path, end->memory, WT_PATH_NOW_MAX + 1));
	while (number < MESSAGES / 2) {
		lengths[number] = 4 + number % (WT_PATH_NOW_MAX - 3);
		numbers[number] = number;
		if (number % 128 >= 4 && goes_now(end, number, lengths[number])) {
			now++;
		} else {
			lengths[number] = number % 128 < 4 ? 60004 : 4;
			post(peers, 0, op_send(&numbers[number], 4, end->memory, lengths[number] - 4));
		}
		if (++number % 32 == 0)
			wait_until(peers, 0, end->posted, 0);
	}
	wait_until(peers, 0, end->posted, number);
	for (uint32_t i = 0; i < number; i++) {
		assert_int_equal(peers->ends[1].firsts[i], i);
		assert_int_equal(peers->ends[1].lengths[i], lengths[i]);
	}
	/* soft-RoCE can send inline, so every fabric here can do it. */
	assert_true(now > 100);
	test_ops->quiesce(end->path);
	assert_false(goes_now(end, 0, 4));
	peers_close(peers);
	free(peers);
}

static void message_bytes(void **state)
{
	struct peers *peers = calloc(1, sizeof *peers);
	uint64_t deadline = test_now_ns() + TEST_DEADLINE_NS;
	struct wt_completion done[4];
	static const char head[] = "in front";
	int n = 0;

	peers_open(peers);
	post(peers, 0, op_send(head, sizeof head, peers->ends[0].memory + 5, 60000));
	while ((n = test_ops->poll(peers->ends[1].path, done, 4)) == 0) {
		turn(&peers->ends[0]);
		assert_true(test_now_ns() < deadline);
	}
	assert_int_equal(n, 1);
	assert_non_null(done[0].message);
	assert_int_equal(done[0].length, 60000 + sizeof head);
	assert_memory_equal(done[0].message, head, sizeof head);
	assert_memory_equal((const uint8_t *)done[0].message + sizeof head, peers->ends[0].memory + 5, 60000);
	peers_close(peers);
	free(peers);
}

/* Random writes and reads both ways, with messages between; the memories are compared with models of them. */
static void writes_and_reads(void **state)
{
	struct peers *peers = calloc(1, sizeof *peers);
	const size_t half = TEST_MEMORY / 2;
	uint32_t seed = 1;
	unsigned i;
	unsigned e;

	peers_open(peers);
	memset(peers->ends[1].memory, 0, TEST_MEMORY);
	for (i = 0; i < 400; i++) {
		struct end *end = &peers->ends[0];
		uint32_t length;

		seed = seed * 1664525u + 1013904223u;
		length = 1 + seed % (i % 3 ? 5000u : WT_PATH_READ_MAX);
		/* A reads from the first half of B what it has written there just before. */
		post(peers, 0, op_move(end, WT_OP_WRITE, i, half / 2 + i * 16, length));
		if (i % 5 == 0)
			post(peers, 0, op_send("mark", 4, end->memory, 0));
		wait_until(peers, 0, end->posted, 0);
		assert_memory_equal(peers->ends[1].memory + half / 2 + i * 16, end->memory + i, length);
		post(peers, 0, op_move(end, WT_OP_READ, half / 2 + i * 16, half + i, length));
		post(peers, 1, op_move(&peers->ends[1], WT_OP_READ, i, 0, 1000));
		wait_until(peers, 0, end->posted, 0);
		wait_until(peers, 1, peers->ends[1].posted, 0);
		assert_memory_equal(end->memory + half + i, end->memory + i, length);
		assert_memory_equal(peers->ends[1].memory, end->memory + i, 1000);
	}
	wait_until(peers, 0, 0, 80);
	for (e = 0; e < ENDS; e++)
		for (i = 0; i < peers->ends[e].posted; i++)
			assert_int_equal(peers->ends[e].statuses[i], 0);
	peers_close(peers);
	free(peers);
}

/* An operation that the other end's key does not grant: it fails, and the path goes on, or fails with it. */
static void refused(struct peers *peers, struct wt_op op, int over_tcp)
{
	uint64_t deadline = test_now_ns() + TEST_DEADLINE_NS;
	struct end *end = &peers->ends[0];
	unsigned before = end->completed;

	post(peers, 0, op);
	while (end->completed == before) {
		turn(end);
		turn(&peers->ends[1]);
		assert_true(test_now_ns() < deadline);
	}
	if (test_ops->fabric == WT_FABRIC_TCP) {
		assert_int_equal(end->statuses[before], over_tcp);
		assert_true(test_ops->alive(end->path));
		return;
	}
	assert_true(end->statuses[before] < 0);
	test_ops->close(end->path);
	test_ops->close(peers->ends[1].path);
	peers_join(peers);
}

static void keys_refused(void **state)
{
	struct peers *peers = calloc(1, sizeof *peers);
	struct wt_error err = { 0 };
	struct wt_region *readable;
	struct wt_key key;
	struct end *end;
	struct wt_op op;
	unsigned i;

	peers_open(peers);
	end = &peers->ends[0];
	memset(peers->ends[1].memory, 0x5a, TEST_MEMORY);
	assert_int_equal(test_ops->region_add(peers->pair.puller_endpoint, peers->ends[1].memory, 4096,
				 WT_ACCESS_SERVE, &readable, &err),
		0);
	test_ops->region_key(readable, &key);
	for (i = 0; i < 8; i++) {
		op = op_move(end, i % 2 ? WT_OP_WRITE : WT_OP_READ, 0, 0, i % 3 ? 70000 : 100);
		if (i < 4)
			op.remote_key ^= 1;
		else
			op.remote_address += TEST_MEMORY - 50;
		refused(peers, op, i < 4 ? -EACCES : -ERANGE);
	}
	op = op_move(end, WT_OP_WRITE, 0, 0, 100);
	op.remote_key = key.key; /* not a target */
	refused(peers, op, -EACCES);
	op.kind = WT_OP_READ;
	op.local = end->memory;
	post(peers, 0, op);
	wait_until(peers, 0, end->posted, 0);
	assert_int_equal(end->statuses[end->posted - 1], 0);
	/* A region that is gone. */
	test_ops->region_remove(peers->ends[1].region);
	peers->ends[1].region = NULL;
	memset(peers->ends[1].memory, 0x5a, TEST_MEMORY);
	refused(peers, op_move(end, WT_OP_WRITE, 0, 0, WT_PATH_READ_MAX), -EACCES);
	refused(peers, op_move(end, WT_OP_READ, 0, 0, 1), -EACCES);
	for (i = 0; i < TEST_MEMORY; i++)
		assert_int_equal(peers->ends[1].memory[i], 0x5a);
	test_ops->region_remove(readable);
	peers_close(peers);
	free(peers);
}

/* A region that goes while a write into it is under way: not a byte is written afterwards. */
static void region_goes(void **state)
{
	struct peers *peers = calloc(1, sizeof *peers);
	uint64_t deadline = test_now_ns() + TEST_DEADLINE_NS;
	struct end *end;
	unsigned i;

	peers_open(peers);
	end = &peers->ends[0];
	for (i = 0; i < 16; i++)
		post(peers, 0, op_move(end, WT_OP_WRITE, 0, 0, WT_PATH_READ_MAX));
	turn(&peers->ends[1]);
	test_ops->region_remove(peers->ends[1].region);
	peers->ends[1].region = NULL;
	memset(peers->ends[1].memory, 0x33, TEST_MEMORY);
	while (end->completed < 16) {
		turn(end);
		turn(&peers->ends[1]);
		assert_true(test_now_ns() < deadline);
	}
	assert_true(end->statuses[15] < 0);
	for (i = 0; i < TEST_MEMORY; i++)
		assert_int_equal(peers->ends[1].memory[i], 0x33);
	peers_close(peers);
	free(peers);
}

static void bad_posts(void **state)
{
	struct peers *peers = calloc(1, sizeof *peers);
	struct end *end;
	struct wt_op op;

	peers_open(peers);
	end = &peers->ends[0];
	op = op_send("", 1, end->memory, WT_PATH_MESSAGE_MAX);
	assert_int_equal(test_ops->post(end->path, &op, 1), -EINVAL);
	op = op_send("", 0, end->memory, 0);
	assert_int_equal(test_ops->post(end->path, &op, 1), -EINVAL);
	op = op_move(end, WT_OP_WRITE, 0, 0, WT_PATH_READ_MAX + 1);
	assert_int_equal(test_ops->post(end->path, &op, 1), -EINVAL);
	op = op_move(end, WT_OP_READ, 0, TEST_MEMORY - 10, 11);
	assert_int_equal(test_ops->post(end->path, &op, 1), -EINVAL);
	op = op_move(end, WT_OP_WRITE, TEST_MEMORY - 10, 0, 11);
	assert_int_equal(test_ops->post(end->path, &op, 1), -EINVAL);
	op.local_region = NULL;
	assert_int_equal(test_ops->post(end->path, &op, 1), -EINVAL);
	peers_close(peers);
	free(peers);
}

/* One end has quiesced, and leaves: its last messages are heard, what the other end had outstanding fails,
 * each once. */
static void peer_leaves(void **state)
{
	struct peers *peers = calloc(1, sizeof *peers);
	uint64_t deadline = test_now_ns() + TEST_DEADLINE_NS;
	struct end *end;
	unsigned i;

	peers_open(peers);
	end = &peers->ends[0];
	for (i = 0; i < 50; i++)
		post(peers, 1, op_send("bye", 3, peers->ends[1].memory, 100));
	while (test_ops->quiesce(peers->ends[1].path)) {
		turn(&peers->ends[1]);
		if (!peers->ends[0].messages)
			turn(&peers->ends[0]);
		assert_true(test_now_ns() < deadline);
	}
	for (i = 0; i < 20; i++)
		post(peers, 0, op_move(end, WT_OP_READ, 0, 0, WT_PATH_READ_MAX));
	test_ops->close(peers->ends[1].path);
	peers->ends[1].path = NULL;
	do {
		turn(end);
		assert_true(test_now_ns() < deadline);
	} while (end->last >= 0);
	assert_int_equal(end->messages, 50);
	assert_int_equal(end->completed, 20);
	/* A device may have answered all of it by itself. */
	assert_true(end->statuses[19] < 0 || test_ops->fabric != WT_FABRIC_TCP);
	assert_int_equal(test_ops->post(end->path, &(struct wt_op){ .kind = WT_OP_SEND }, 1), end->last);
	assert_false(test_ops->alive(end->path));
	peers_close(peers);
	free(peers);
}

/* Both ends quiesce, drain, detach, and are joined anew with everything intact. */
static void peers_quiesce(void **state)
{
	struct peers *peers = calloc(1, sizeof *peers);
	uint64_t deadline = test_now_ns() + TEST_DEADLINE_NS;
	unsigned round;
	unsigned e;

	peers_open(peers);
	for (round = 1; round <= 5; round++) {
		for (e = 0; e < ENDS; e++) {
			struct end *end = &peers->ends[e];

			while (end->posted < round * 60)
				post(peers, e,
					end->posted % 3
						? op_send("x", 1, end->memory, 30000)
						: op_move(end, WT_OP_READ, 0, TEST_MEMORY / 2, 300000));
			test_ops->quiesce(end->path);
			assert_int_equal(test_ops->post(end->path, &(struct wt_op){ .kind = WT_OP_SEND }, 1),
				-ESHUTDOWN);
		}
		while (test_ops->quiesce(peers->ends[0].path) || test_ops->quiesce(peers->ends[1].path)) {
			turn(&peers->ends[0]);
			turn(&peers->ends[1]);
			assert_true(test_now_ns() < deadline);
		}
		wait_until(peers, 0, round * 60, round * 40);
		wait_until(peers, 1, round * 60, round * 40);
		if (round % 2) {
			assert_int_equal(test_ops->resume(peers->ends[0].path), 0);
			assert_int_equal(test_ops->resume(peers->ends[1].path), 0);
			continue;
		}
		for (e = 0; e < ENDS; e++) {
			assert_int_equal(test_ops->detach(peers->ends[e].path), 0);
			test_ops->close(peers->ends[e].path);
		}
		peers_join(peers);
	}
	peers_close(peers);
	free(peers);
}

/* One end lets its device go and comes back by another endpoint; the other end gets a new path. */
static void peers_attach(void **state)
{
	struct peers *peers = calloc(1, sizeof *peers);
	uint64_t deadline = test_now_ns() + TEST_DEADLINE_NS;
	struct pair *pair = &peers->pair;
	struct end *dialler = &peers->ends[1];
	struct wt_error err = { 0 };
	struct dial dial = { 0 };
	int status;

	peers_open(peers);
	post(peers, 0, op_send("before", 6, NULL, 0));
	post(peers, 1, op_send("before", 6, NULL, 0));
	wait_until(peers, 0, 1, 1);
	wait_until(peers, 1, 1, 1);
	while (test_ops->quiesce(dialler->path)) {
		turn(dialler);
		assert_true(test_now_ns() < deadline);
	}
	status = test_ops->detach(dialler->path);
	if (status == -EOPNOTSUPP)
		skip();
	assert_int_equal(status, 0);
	test_ops->close(peers->ends[0].path);
	test_ops->region_remove(dialler->region);
	test_ops->region_remove(pair->sink_region);
	test_ops->endpoint_close(pair->puller_endpoint);
	assert_int_equal(test_ops->endpoint_open(NULL, test_host, &pair->puller_endpoint, &err), 0);
	assert_int_equal(test_ops->region_add(pair->puller_endpoint, pair->sink, TEST_MEMORY, WT_ACCESS_SINK,
				 &pair->sink_region, &err),
		0);
	assert_int_equal(test_ops->region_add(pair->puller_endpoint, dialler->memory, TEST_MEMORY,
				 WT_ACCESS_SINK | WT_ACCESS_TARGET, &dialler->region, &err),
		0);
	test_ops->region_key(dialler->region, &peers->ends[0].key);
	dial.attach = dialler->path;
	test_dial_start(&dial, pair->puller_endpoint, pair->port, WT_ROLE_PEER);
	assert_int_equal(test_ops->request_admit(test_request_next(pair, dial.hello), pair->server_endpoint,
				 WT_ROLE_PEER, &peers->ends[0].path, &err),
		0);
	pthread_join(dial.thread, NULL);
	assert_int_equal(dial.status, 0);
	assert_int_equal(test_ops->resume(dialler->path), 0);
	post(peers, 0, op_send("after", 5, NULL, 0));
	post(peers, 1, op_move(dialler, WT_OP_READ, 0, 0, 100000));
	post(peers, 0, op_move(&peers->ends[0], WT_OP_WRITE, 0, 200000, 100000));
	wait_until(peers, 0, 3, 0);
	wait_until(peers, 1, 2, 0);
	wait_until(peers, 0, 3, 2);
	assert_memory_equal(dialler->memory, peers->ends[0].memory, 100000);
	assert_memory_equal(dialler->memory + 200000, peers->ends[0].memory, 100000);
	peers_close(peers);
	free(peers);
}

/* Polls until there is nothing, and the descriptor will tell of what comes. */
static void asleep(struct end *end)
{
	uint64_t deadline = test_now_ns() + TEST_DEADLINE_NS;
	unsigned before;

	do {
		before = end->messages + end->completed;
		turn(end);
		assert_true(end->last >= 0 && test_now_ns() < deadline);
	} while (end->messages + end->completed != before || test_ops->arm(end->path));
}

static void wakes(struct end *end)
{
	struct pollfd wait = { .fd = test_ops->fd(end->path), .events = POLLIN };

	assert_int_equal(poll(&wait, 1, 20000), 1);
}

static void message_wakes(void **state)
{
	struct peers *peers = calloc(1, sizeof *peers);
	unsigned i;

	peers_open(peers);
	for (i = 0; i < 100; i++) {
		post(peers, 0, op_send("x", 1, NULL, 0));
		wait_until(peers, 0, i * 2 + 1, i * 2 + 1);
		asleep(&peers->ends[1]);
		post(peers, 0, op_send("y", 1, NULL, 0));
		wakes(&peers->ends[1]);
		wait_until(peers, 0, i * 2 + 2, i * 2 + 2);
	}
	peers_close(peers);
	free(peers);
}

/* Who waits for the other end to read is woken when it has. */
static void room_wakes(void **state)
{
	struct peers *peers = calloc(1, sizeof *peers);
	uint64_t deadline = test_now_ns() + TEST_DEADLINE_NS;
	unsigned depth;

	peers_open(peers);
	depth = test_ops->depth(peers->ends[0].path);
	post(peers, 0, op_send("x", 1, NULL, 0));
	wait_until(peers, 0, 1, 1);
	while (peers->ends[0].posted <= depth)
		post(peers, 0, op_send("x", 1, peers->ends[0].memory, 60000));
	asleep(&peers->ends[0]);
	while (peers->ends[0].completed <= depth) { /* perhaps the fabric has taken all at once */
		while (peers->ends[1].messages < peers->ends[0].completed) {
			turn(&peers->ends[1]);
			assert_true(test_now_ns() < deadline);
		}
		turn(&peers->ends[1]); /* what was handed out is read */
		wakes(&peers->ends[0]);
		asleep(&peers->ends[0]);
	}
	wait_until(peers, 0, depth + 1, depth + 1);
	peers_close(peers);
	free(peers);
}

/* A peer over tcp that writes its own bytes: ends[0] is the path under test, the socket is the other end. */
static int raw_open(struct peers *peers)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	uint8_t greeting[8 + WT_PATH_HELLO_BYTES] = { 'W', 'T', 'T', 'H', 1 };
	struct wt_error err = { 0 };
	uint8_t verdict[8];
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	memset(peers, 0, sizeof *peers);
	test_pair_open(&peers->pair, WT_ROLE_INVALID);
	address.sin_port = htons(peers->pair.port);
	assert_int_equal(inet_pton(AF_INET, test_host, &address.sin_addr), 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(send(fd, greeting, sizeof greeting, 0), sizeof greeting);
	assert_int_equal(test_ops->request_admit(test_request_next(&peers->pair, greeting + 8),
				 peers->pair.server_endpoint, WT_ROLE_PEER, &peers->ends[0].path, &err),
		0);
	assert_int_equal(recv(fd, verdict, sizeof verdict, MSG_WAITALL), sizeof verdict);
	return fd;
}

static void raw_frame(uint8_t frame[32], uint16_t kind, uint32_t length, const struct wt_key *key)
{
	memset(frame, 0, 32);
	memcpy(frame, "WTTF", 4);
	memcpy(frame + 4, &kind, 2);
	frame[6] = 1; /* status: good */
	memcpy(frame + 8, &length, 4);
	memcpy(frame + 16, &key->address, 8);
	memcpy(frame + 24, &key->key, 8);
}

static void raw_ends(struct peers *peers, int fd)
{
	uint64_t deadline = test_now_ns() + TEST_DEADLINE_NS;

	do {
		turn(&peers->ends[0]);
		assert_true(test_now_ns() < deadline);
	} while (peers->ends[0].last >= 0);
	assert_int_equal(peers->ends[0].last, -EPROTO);
	assert_int_equal(peers->ends[0].messages, 0);
	close(fd);
	test_ops->close(peers->ends[0].path);
	test_pair_close(&peers->pair);
}

static void wrong_frames(void **state)
{
	static const struct {
		uint16_t kind;
		uint32_t length;
	} cases[] = { { 0, 1 }, { 9, 1 }, { 1, 0 }, { 1, WT_PATH_MESSAGE_MAX + 1 }, { 1, UINT32_MAX },
		{ 2, 0 }, { 2, WT_PATH_READ_MAX + 1 }, { 3, 0 }, { 3, UINT32_MAX }, { 4, 0 }, { 5, 1 } };
	struct peers *peers = calloc(1, sizeof *peers);
	uint8_t frame[32];
	unsigned i;
	int fd;

	for (i = 0; i < sizeof cases / sizeof cases[0] + 2; i++) {
		bool many = i == sizeof cases / sizeof cases[0];
		unsigned count = many ? 140 : 1;

		fd = raw_open(peers);
		raw_frame(
			frame, 3, WT_PATH_READ_MAX, &peers->pair.key); /* more than one may ask for at once */
		if (i < sizeof cases / sizeof cases[0])
			raw_frame(frame, cases[i].kind, cases[i].length, &peers->pair.key);
		else if (!many)
			frame[0] = 'X';
		while (count--)
			assert_int_equal(send(fd, frame, sizeof frame, MSG_NOSIGNAL), sizeof frame);
		raw_ends(peers, fd);
	}
	free(peers);
}

/* A message and a write whose bytes come one at a time. */
static void frames_in_pieces(void **state)
{
	struct peers *peers = calloc(1, sizeof *peers);
	uint64_t deadline = test_now_ns() + TEST_DEADLINE_NS;
	struct wt_error err = { 0 };
	struct wt_region *target;
	struct wt_key key;
	uint8_t bytes[2 * 32 + 10];
	uint8_t answer[32];
	int fd = raw_open(peers);
	unsigned i;

	assert_int_equal(test_ops->region_add(peers->pair.server_endpoint, peers->pair.served, 5,
				 WT_ACCESS_TARGET, &target, &err),
		0);
	test_ops->region_key(target, &key);
	raw_frame(bytes, 2, 5, &key);
	memcpy(bytes + 32, "write", 5);
	raw_frame(bytes + 37, 1, 5, &key);
	memcpy(bytes + 69, "speak", 5);
	for (i = 0; i < sizeof bytes; i++) {
		assert_int_equal(peers->ends[0].messages, 0);
		assert_int_equal(send(fd, bytes + i, 1, MSG_NOSIGNAL), 1);
		turn(&peers->ends[0]);
		assert_true(peers->ends[0].last >= 0);
	}
	while (!peers->ends[0].messages) {
		turn(&peers->ends[0]);
		assert_true(test_now_ns() < deadline);
	}
	assert_memory_equal(peers->pair.served, "write", 5);
	assert_memory_equal(&peers->ends[0].firsts[0], "spea", 4);
	assert_int_equal(recv(fd, answer, sizeof answer, MSG_WAITALL), sizeof answer);
	assert_int_equal(answer[4], 4);
	assert_int_equal(answer[6], 1);
	test_ops->region_remove(target);
	close(fd);
	test_ops->close(peers->ends[0].path);
	test_pair_close(&peers->pair);
	free(peers);
}

/* Appends what has come to the socket; answers how much. */
static size_t raw_read(int fd, uint8_t *bytes, size_t size)
{
	ssize_t n = recv(fd, bytes, size, MSG_DONTWAIT);

	return n > 0 ? (size_t)n : 0;
}

/* Of a message that goes now the socket takes a part only: the rest goes with the next polls. */
static void now_in_parts(void **state)
{
	enum { SIZE = 32 + WT_PATH_NOW_MAX, ROOM = 64 << 20 };
	struct peers *peers = calloc(1, sizeof *peers);
	uint64_t deadline = test_now_ns() + TEST_DEADLINE_NS;
	uint8_t *bytes = malloc(ROOM);
	int fd = raw_open(peers);
	uint32_t sent = 0, parts = 0;
	size_t got = 0;

	while (parts < 3) {
		bool part;

		while (goes_now(&peers->ends[0], sent, WT_PATH_NOW_MAX))
			assert_true(++sent < ROOM / SIZE);
		/* Until the path is polled there comes only what the socket has. */
		for (unsigned quiet = 0; quiet < 200; quiet++) {
			size_t n = raw_read(fd, bytes + got, ROOM - got);

			got += n;
			quiet = n ? 0 : quiet;
			usleep(100);
		}
		part = got < (size_t)sent * SIZE;
		parts += part;
		while (got < (size_t)sent * SIZE) {
			turn(&peers->ends[0]);
			got += raw_read(fd, bytes + got, ROOM - got);
			assert_true(test_now_ns() < deadline);
		}
		if (!part) /* the next one begins elsewhere */
			assert_true(goes_now(&peers->ends[0], sent++, WT_PATH_NOW_MAX));
	}
	for (uint32_t i = 0; i < sent; i++) {
		uint32_t number;

		memcpy(&number, bytes + (size_t)i * SIZE + 32, 4);
		assert_int_equal(number, i);
		assert_memory_equal(bytes + (size_t)i * SIZE, "WTTF", 4);
		assert_int_equal(bytes[(size_t)(i + 1) * SIZE - 1], (uint8_t)i);
	}
	assert_int_equal(peers->ends[0].completed, 0);
	close(fd);
	free(bytes);
	test_ops->close(peers->ends[0].path);
	test_pair_close(&peers->pair);
	free(peers);
}

int test_path_peer(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_in_order),
		cmocka_unit_test(messages_now),
		cmocka_unit_test(message_bytes),
		cmocka_unit_test(writes_and_reads),
		cmocka_unit_test(keys_refused),
		cmocka_unit_test(region_goes),
		cmocka_unit_test(bad_posts),
		cmocka_unit_test(peer_leaves),
		cmocka_unit_test(peers_quiesce),
		cmocka_unit_test(peers_attach),
		cmocka_unit_test(message_wakes),
		cmocka_unit_test(room_wakes),
	};
	const struct CMUnitTest bytes[] = {
		cmocka_unit_test(wrong_frames),
		cmocka_unit_test(frames_in_pieces),
		cmocka_unit_test(now_in_parts),
	};
	int failed;
	char name[64];

	snprintf(name, sizeof name, "path over %s: peers", test_ops->name);
	failed = cmocka_run_group_tests_name(name, tests, NULL, NULL);
	if (test_ops->fabric == WT_FABRIC_TCP)
		failed += cmocka_run_group_tests_name("path over tcp: bytes of peers", bytes, NULL, NULL);
	return failed;
}

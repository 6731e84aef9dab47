/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_mpi_mesh.c - four ranks in one process, over tcp, with real control threads and a real coordinator:
 * every message comes once and in order, writes, reads and atomics are right, across quiesce, detach, attach
 * and resume, of all of them or of a part. Half of the ranks keep registrations that nobody uses.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "atomic.h"
#include "coordinator.h"
#include "mesh.h"
#include "rank.h"

#define RANKS 4
#define ANY (WT_ACCESS_SERVE | WT_ACCESS_SINK | WT_ACCESS_TARGET)
#define WORDS (64u << 10)
#define PATIENCE_NS 40000000000ull

struct node;

/* A message, write, read or atomic under way; `sequence` is what the message says. */
struct work {
	struct wt_mesh_item item;
	struct node *node;
	int to;
	uint64_t *bytes;
	int expected; /* status */
	atomic_bool ended;
	struct {
		uint8_t head[WT_FRAME_HEAD_BYTES];
		uint64_t from;
		uint64_t sequence;
	} head;
};

struct node {
	int rank;
	struct wt_mesh *mesh;
	struct wt_rank *control;
	struct wt_mesh_peer *peers[RANKS];
	pthread_t thread;
	uint64_t sent[RANKS];
	uint64_t got[RANKS];
	uint64_t counted;
	atomic_uint outstanding;
	atomic_uint rounds; /* with writes and reads, that were answered */
	atomic_uint turns;
	uint64_t *memory; /* others write and read it: a part for each */
	uint64_t *source; /* what it writes to others */
	uint64_t counter;
	struct wt_registration *memory_registration;
	struct wt_registration *source_registration;
	struct wt_gone gone;
	struct wt_registration *counter_registration;
	bool broken;
};

static struct node nodes[RANKS];
static atomic_bool stop;
static atomic_bool quiet;  /* errors are expected */
static atomic_uint moving; /* a bit for each rank: those begin nothing with the others, nor these with them */
static atomic_int failures;
static atomic_uint at_once;   /* messages that went so */
static atomic_uint right_now; /* ... and so */
static atomic_int working;    /* nodes that may still need an answer of the others */
static char directory[] = "/tmp/watari-mesh-XXXXXX";

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void wrong(const struct node *node, const char *what)
{
	if (!quiet)
		fprintf(stderr, "rank %d: %s\n", node->rank, what);
	atomic_fetch_add(&failures, 1);
}

static void message(void *arg, uint8_t tag, const void *bytes, size_t length)
{
	struct node *node = arg;
	uint64_t words[2];
	size_t i;

	memcpy(words, bytes, sizeof words);
	if (tag != 7 || words[0] >= RANKS || words[1] != node->got[words[0]]++)
		wrong(node, "a message out of order, twice, or not at all");
	for (i = sizeof words; i < length; i++) {
		if (((const uint8_t *)bytes)[i] != (uint8_t)(words[1] + i)) {
			wrong(node, "a message with wrong bytes");
			return;
		}
	}
}

static void broken(void *arg, struct wt_mesh_name peer, const char *text)
{
	struct node *node = arg;

	node->broken = true;
	fprintf(stderr, "rank %d: %s\n", node->rank, text);
}

static void done(struct wt_mesh_item *item, int status)
{
	struct work *work = (struct work *)item;

	work->node->outstanding--;
	if (status != work->expected)
		wrong(work->node, "an item ended with another status");
	if (item->work == WT_MESH_ATOMIC && item->result % 3)
		wrong(work->node, "an atomic fetched what never was");
	if (item->work == WT_MESH_SEND) {
		free(work->bytes);
		free(work);
		return;
	}
	atomic_store(&work->ended, true);
}

static struct work *work_new(struct node *node, int to, enum wt_mesh_work kind)
{
	struct work *work = calloc(1, sizeof *work);

	if (!work)
		abort();
	work->node = node;
	work->to = to;
	work->item.work = kind;
	work->item.done = done;
	node->outstanding++;
	return work;
}

static bool send_now(struct node *node, const struct work *work, size_t length)
{
	uint8_t bytes[WT_MESH_NOW_MAX];
	bool gone;

	memcpy(bytes, &work->head, sizeof work->head);
	memcpy(bytes + sizeof work->head, work->bytes, length);
	gone = wt_mesh_send_now(node->mesh, node->peers[work->to], 7, bytes, sizeof work->head + length);
	memset(bytes, 0xee, sizeof bytes);
	return gone;
}

static void send_one(struct node *node, int to)
{
	struct work *work = work_new(node, to, WT_MESH_SEND);
	size_t length = (size_t)(node->sent[to] * 7919 % 60000);
	size_t i;

	if (node->sent[to] % 3 == 2)
		length %= WT_MESH_NOW_MAX - sizeof work->head + 1;
	work->bytes = malloc(length + 1);
	if (!work->bytes)
		abort();
	work->head.from = (uint64_t)node->rank;
	work->head.sequence = node->sent[to]++;
	for (i = 0; i < length; i++)
		((uint8_t *)work->bytes)[i] = (uint8_t)(work->head.sequence + i + 16);
	work->item.tag = 7;
	work->item.op = (struct wt_op){ .head = &work->head,
		.head_length = sizeof work->head,
		.local = work->bytes,
		.length = (uint32_t)length };
	if (work->head.sequence % 3 == 2 && send_now(node, work, length)) {
		atomic_fetch_add(&right_now, 1);
		done(&work->item, 0);
	} else if (work->head.sequence % 2 && wt_mesh_submit_now(node->mesh, node->peers[to], &work->item))
		atomic_fetch_add(&at_once, 1);
	else
		wt_mesh_submit(node->mesh, node->peers[to], &work->item);
}

static void finish(struct node *node, struct work *work)
{
	uint64_t deadline = now_ns() + PATIENCE_NS;

	while (!atomic_load(&work->ended) && !node->broken) {
		wt_mesh_progress(node->mesh);
		if (now_ns() > deadline) {
			wrong(node, "an item never ended");
			abort();
		}
	}
	free(work);
}

/* Writes into its own part of the other's memory, and reads it back. */
static void write_and_read(struct node *node, int to, uint64_t round)
{
	uint32_t words = (uint32_t)(round * 977 % (WORDS / 2)) + 1;
	uint64_t *back = node->source + WORDS / 2;
	uint64_t *target = nodes[to].memory + (size_t)node->rank * WORDS;
	struct work *work = work_new(node, to, WT_MESH_WRITE);
	struct wt_registration *source = wt_mesh_register(node->mesh, node->source, WORDS * 8, ANY, NULL);
	uint32_t i;

	if (!source)
		abort();

	for (i = 0; i < words; i++)
		node->source[i] = round * 1000003 + i + (uint64_t)node->rank;
	work->item.op.local = node->source;
	work->item.local = source;
	work->item.op.length = words * 8;
	work->item.remote = nodes[to].memory_registration->handle;
	work->item.remote_address = (uint64_t)(uintptr_t)target;
	if (round % 3)
		work->item.remote.epoch = 0; /* an old handle, as Open MPI keeps them */
	wt_mesh_submit(node->mesh, node->peers[to], &work->item);
	finish(node, work);
	work = work_new(node, to, WT_MESH_READ);
	memset(back, 0, words * 8);
	work->item.op.local = back;
	work->item.op.length = words * 8;
	work->item.local = source;
	work->item.remote = nodes[to].memory_registration->handle;
	work->item.remote_address = (uint64_t)(uintptr_t)target;
	wt_mesh_submit(node->mesh, node->peers[to], &work->item);
	finish(node, work);
	if (memcmp(back, node->source, words * 8))
		wrong(node, "what was written is not what is read");
	if (round % 64 == 0)
		wt_gone_put(&node->gone, node->source, 1);
	wt_mesh_deregister(node->mesh, source);
}

static void count_up(struct node *node)
{
	struct work *work = work_new(node, 0, WT_MESH_ATOMIC);

	work->item.word.tag = WT_ATOMIC_ADD;
	work->item.word.bytes = 8;
	work->item.word.value = 3;
	work->item.remote = nodes[0].counter_registration->handle;
	work->item.remote_address = (uint64_t)(uintptr_t)&nodes[0].counter;
	wt_mesh_submit(node->mesh, node->peers[0], &work->item);
	finish(node, work);
	node->counted++;
}

static bool apart(int one, int other)
{
	unsigned moves = atomic_load(&moving);

	return (moves >> one & 1) != (moves >> other & 1);
}

static void *node_main(void *arg)
{
	struct node *node = arg;
	uint64_t round;

	for (round = 0; !atomic_load(&stop) && !node->broken; round++) {
		int to = (node->rank + 1 + (int)(round % (RANKS - 1))) % RANKS;

		node->turns++;
		if (node->outstanding < 200 && !apart(node->rank, to))
			send_one(node, to);
		if (round % 16 == 0 && !apart(node->rank, to)) {
			write_and_read(node, to, round);
			node->rounds++;
		}
		if (round % 8 == 0 && !atomic_load(&moving))
			count_up(node);
		wt_mesh_progress(node->mesh);
	}
	atomic_fetch_sub(&working, 1);
	while (atomic_load(&working))
		wt_mesh_progress(node->mesh);
	return NULL;
}

static int attach(struct wt_mesh *mesh, uint32_t epoch, struct wt_error *err)
{
	return wt_mesh_attach(mesh, WT_FABRIC_TCP, "127.0.0.1", epoch, err);
}

static void node_open(struct node *node, int rank)
{
	struct wt_mesh_name self = { 1, (uint32_t)rank };
	const struct wt_mesh_events events = { .message = message, .broken = broken, .arg = node };
	const struct wt_rank_options options = {
		.name = self, .size = RANKS, .directory = directory, .attach = attach
	};
	struct wt_error err = { 0 };

	memset(node, 0, sizeof *node);
	node->rank = rank;
	node->memory = calloc(RANKS * WORDS, 8);
	node->source = calloc(WORDS, 8);
	assert_int_equal(wt_mesh_open(self, &events, &node->mesh, &err), 0);
	pthread_mutex_init(&node->gone.lock, NULL);
	if (rank % 2 == 0)
		wt_mesh_cache(node->mesh, &node->gone, 1u << 20);
	assert_int_equal(wt_mesh_attach(node->mesh, WT_FABRIC_TCP, "127.0.0.1", 0, &err), 0);
	if (wt_rank_open(node->mesh, &options, &node->control, &err) < 0)
		fail_msg("%s", wt_error_text(&err));
	node->memory_registration = wt_mesh_register(node->mesh, node->memory, RANKS * WORDS * 8, ANY, &err);
	node->source_registration = wt_mesh_register(node->mesh, node->source, WORDS * 8, ANY, &err);
	node->counter_registration = wt_mesh_register(node->mesh, &node->counter, 8, ANY, &err);
	assert_non_null(node->counter_registration);
}

static void world_open(void)
{
	int i;
	int k;

	atomic_store(&stop, false);
	atomic_store(&failures, 0);
	atomic_store(&working, RANKS);
	for (i = 0; i < RANKS; i++)
		node_open(&nodes[i], i);
	for (i = 0; i < RANKS; i++) {
		for (k = 0; k < RANKS; k++) {
			struct wt_mesh_address address;

			wt_mesh_address(nodes[k].mesh, &address);
			nodes[i].peers[k] =
				wt_mesh_peer(nodes[i].mesh, (struct wt_mesh_name){ 1, (uint32_t)k });
			wt_mesh_peer_address(nodes[i].mesh, nodes[i].peers[k], &address);
		}
	}
	for (i = 0; i < RANKS; i++)
		assert_int_equal(pthread_create(&nodes[i].thread, NULL, node_main, &nodes[i]), 0);
}

/* Everything that was sent has come. */
static bool all_came(void)
{
	int i;
	int k;

	for (i = 0; i < RANKS; i++) {
		if (!wt_mesh_settle(nodes[i].mesh) || nodes[i].outstanding)
			return false;
		for (k = 0; k < RANKS; k++)
			if (nodes[i].sent[k] != nodes[k].got[i])
				return false;
	}
	return true;
}

static void nodes_close(void)
{
	int i;

	for (i = 0; i < RANKS; i++) {
		wt_rank_close(nodes[i].control);
		wt_mesh_deregister(nodes[i].mesh, nodes[i].memory_registration);
	}
	for (i = 0; i < RANKS; i++) {
		wt_mesh_close(nodes[i].mesh);
		free(nodes[i].memory);
		free(nodes[i].source);
	}
}

static void nodes_stop(void)
{
	int i;

	atomic_store(&stop, true);
	for (i = 0; i < RANKS; i++)
		pthread_join(nodes[i].thread, NULL);
}

/* Until every item of every node has ended. */
static void nodes_finish(void)
{
	uint64_t deadline = now_ns() + PATIENCE_NS;
	unsigned left;
	int i;

	do {
		for (i = 0, left = 0; i < RANKS; i++) {
			wt_mesh_progress(nodes[i].mesh);
			left += atomic_load(&nodes[i].outstanding);
		}
		assert_true(now_ns() < deadline);
	} while (left);
}

static void world_close(void)
{
	uint64_t deadline = now_ns() + PATIENCE_NS;
	uint64_t counted = 0;
	int i;

	nodes_stop();
	while (!all_came()) {
		for (i = 0; i < RANKS; i++)
			wt_mesh_progress(nodes[i].mesh);
		assert_true(now_ns() < deadline);
	}
	for (i = 0; i < RANKS; i++)
		counted += nodes[i].counted;
	assert_int_equal(nodes[0].counter, 3 * counted);
	assert_true(counted > 0);
	assert_int_equal(atomic_load(&failures), 0);
	for (i = 0; i < RANKS; i++)
		assert_false(nodes[i].broken);
	nodes_close();
}

/* Every rank that keeps registrations has found some, and has lost some with their memory. */
static bool kept_were_used(void)
{
	bool all = true;
	int i;

	for (i = 0; i < RANKS; i++) {
		struct wt_cache_figures figures;

		wt_mesh_cache_figures(nodes[i].mesh, &figures);
		all &= i % 2 ? !figures.found : figures.found > 1 && figures.gone > 1;
	}
	return all;
}

static void test_talk(void **state)
{
	uint64_t start;

	world_open();
	start = now_ns();
	while (now_ns() < start + 300000000 || !kept_were_used()) {
		assert_true(now_ns() < start + PATIENCE_NS);
		sched_yield();
	}
	world_close();
	assert_true(at_once > 0 && right_now > 0);
}

/* moves: a bit for each rank; 0: all. */
static void reach_part(enum wt_barrier_goal goal, unsigned moves)
{
	uint32_t ranks[RANKS];
	size_t count = 0;
	struct wt_coordinator_times times;
	struct wt_coordinator *coordinator = NULL;
	struct wt_reach *here = NULL;
	struct wt_error err = { 0 };

	if (wt_reach_directory_open(directory, &here, &err) < 0 ||
		wt_coordinator_open(&here, 1, goal, PATIENCE_NS, &coordinator, &err) < 0)
		fail_msg("%s", wt_error_text(&err));
	assert_int_equal(wt_coordinator_count(coordinator), RANKS);
	for (uint32_t rank = 0; rank < RANKS; rank++)
		if (moves >> rank & 1)
			ranks[count++] = rank;
	if (count && wt_coordinator_part(coordinator, ranks, count, &err) < 0)
		fail_msg("%s", wt_error_text(&err));
	if (wt_coordinator_run(coordinator, goal, PATIENCE_NS, &times, &err) < 0)
		fail_msg("%s", wt_error_text(&err));
	wt_coordinator_close(coordinator);
	wt_reach_close(here);
}

static void reach(enum wt_barrier_goal goal)
{
	reach_part(goal, 0);
}

/* Memory that is not registered any more: accepted, and ended with an error, with keys of this epoch and of
 * others. */
static void test_gone_memory(void **state)
{
	static uint64_t memory[512];
	struct wt_error err = { 0 };
	struct wt_registration *registration;
	struct wt_handle handle;
	unsigned i;

	world_open();
	registration = wt_mesh_register(nodes[1].mesh, memory, sizeof memory, ANY, &err);
	assert_non_null(registration);
	handle = registration->handle;
	wt_mesh_deregister(nodes[1].mesh, registration);
	for (i = 0; i < 12; i++) {
		struct work *work = work_new(&nodes[0], 1, i % 3 ? WT_MESH_WRITE : WT_MESH_READ);

		if (i == 6) {
			reach(WT_BARRIER_QUIESCE);
			reach(WT_BARRIER_RESUME);
		}
		work->expected = i == 5 ? -ERANGE : -EACCES;
		work->item.op.local = nodes[0].source + WORDS - 1;
		work->item.op.length = 8;
		work->item.local = nodes[0].source_registration;
		work->item.remote = handle;
		work->item.remote.epoch += i % 2 ? 77 : 0;
		work->item.remote_address = (uint64_t)(uintptr_t)memory + (i == 5 ? sizeof memory : 0);
		wt_mesh_submit(nodes[0].mesh, nodes[0].peers[1], &work->item);
		while (!atomic_load(&work->ended))
			sched_yield();
		free(work);
	}
	world_close();
}

/* Errors made on purpose are seen: so these checks can fail. */
static void test_sabotage(void **state)
{
	static const char *const ways[] = { "mpi_drop", "mpi_double", "mpi_corrupt" };
	uint64_t deadline;
	unsigned i;

#ifndef WATARI_SABOTAGE
	skip();
#endif
	for (i = 0; i < 3; i++) {
		quiet = true;
		setenv("WATARI_SABOTAGE", ways[i], 1);
		world_open();
		deadline = now_ns() + PATIENCE_NS;
		while (!atomic_load(&failures))
			assert_true(now_ns() < deadline);
		nodes_stop();
		nodes_finish();
		unsetenv("WATARI_SABOTAGE");
		nodes_close();
		quiet = false;
	}
}

static void test_cycles(void **state)
{
	unsigned i;
	int k;

	world_open();
	for (i = 0; i < 25; i++) {
		reach(WT_BARRIER_QUIESCE);
		for (k = 0; k < RANKS; k++) {
			assert_int_equal(wt_mesh_paths(nodes[k].mesh), 0);
			assert_string_equal(wt_mesh_fabric(nodes[k].mesh), "-");
		}
		reach(WT_BARRIER_RESUME);
	}
	world_close();
}

static void wait_more(const atomic_uint *count, unsigned more)
{
	unsigned before = *count;
	uint64_t start = now_ns();

	while (*count < before + more) {
		assert_true(now_ns() < start + PATIENCE_NS);
		sched_yield();
	}
}

/* Some let go of everything; the others go on with each other meanwhile. */
static void test_parts(void **state)
{
	static const unsigned parts[] = { 0xc, 0x3, 0x5, 0x8, 0x1 };
	unsigned i;
	int k;

	world_open();
	for (i = 0; i < 10; i++) {
		unsigned moves = parts[i % (sizeof parts / sizeof parts[0])];

		atomic_store(&moving, moves);
		for (k = 0; k < RANKS; k++)
			wait_more(&nodes[k].turns, 2); /* nobody waits for the other ones any more */
		reach_part(WT_BARRIER_QUIESCE, moves);
		for (k = 0; k < RANKS; k++) {
			assert_int_equal(wt_mesh_paths(nodes[k].mesh) == 0, moves >> k & 1);
			assert_string_equal(wt_mesh_fabric(nodes[k].mesh), moves >> k & 1 ? "-" : "tcp");
			if (!(moves >> k & 1))
				wait_more(&nodes[k].rounds, 2);
		}
		reach(WT_BARRIER_RESUME);
		atomic_store(&moving, 0);
		for (k = 0; k < RANKS; k++)
			wait_more(&nodes[k].rounds, 2);
		if (i % 4 == 0) {
			reach(WT_BARRIER_QUIESCE);
			reach(WT_BARRIER_RESUME);
		}
	}
	world_close();
}

/* A coordinator that comes back in the midst: goals in any order. */
static void test_goals_in_any_order(void **state)
{
	world_open();
	reach(WT_BARRIER_RESUME); /* of what runs: nothing */
	reach(WT_BARRIER_QUIESCE);
	reach(WT_BARRIER_QUIESCE); /* again: nothing */
	reach(WT_BARRIER_RESUME);
	reach(WT_BARRIER_RESUME);
	world_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_talk),
		cmocka_unit_test(test_sabotage),
		cmocka_unit_test(test_cycles),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_goals_in_any_order),
		cmocka_unit_test(test_gone_memory),
	};
	int failed;

	if (!mkdtemp(directory))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(directory);
	return failed;
}

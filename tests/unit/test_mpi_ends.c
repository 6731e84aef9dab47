/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_mpi_ends.c - what ends at a bad time: ranks that leave in a quiesce, or stop answering; connections
 * that break; dials that fail. Two meshes, driven by hand from one thread.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "atomic.h"
#include "coordinator.h"
#include "mesh_internal.h"
#include "rank.h"

#define PATIENCE_NS 20000000000ull

/* Two ranks, and what rank 0 has heard. */
static struct wt_mesh *meshes[2];
static struct wt_mesh_peer *peers[2][2]; /* [of][to] */
static unsigned messages;
static int last_status; /* of those that failed */
static char said[512];

static const char *host_now = "127.0.0.1";
static char directory[] = "/tmp/watari-ends-XXXXXX";
static struct wt_reach *ranks_reach;

struct letter {
	struct wt_mesh_item item;
	uint8_t head[WT_FRAME_HEAD_BYTES + 8];
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void message(void *arg, uint8_t tag, const void *bytes, size_t length)
{
	if (arg == &meshes[0])
		messages++;
}

static void broken(void *arg, struct wt_mesh_name peer, const char *text)
{
	snprintf(said, sizeof said, "%s", text);
}

static void done(struct wt_mesh_item *item, int status)
{
	if (status)
		last_status = status;
}

static void letter_send(struct letter *letter, int from, int to, void *bytes, uint32_t length)
{
	memset(letter, 0, sizeof *letter);
	letter->item.work = WT_MESH_SEND;
	letter->item.tag = 7;
	letter->item.done = done;
	letter->item.op = (struct wt_op){
		.head = letter->head, .head_length = sizeof letter->head, .local = bytes, .length = length
	};
	wt_mesh_submit(meshes[from], peers[from][to], &letter->item);
}

static void addresses_tell(void)
{
	struct wt_mesh_address address;
	int i;

	for (i = 0; i < 2; i++) {
		wt_mesh_address(meshes[i], &address);
		wt_mesh_peer_address(meshes[!i], peers[!i][i], &address);
	}
}

/* One turn of both ranks. */
static void turn(void)
{
	int i;

	for (i = 0; i < 2; i++) {
		if (!meshes[i])
			continue;
		wt_mesh_accept(meshes[i], false);
		wt_mesh_progress(meshes[i]);
	}
	sched_yield();
}

#define TURN_UNTIL(condition)                               \
	do {                                                \
		uint64_t deadline = now_ns() + PATIENCE_NS; \
		while (!(condition)) {                      \
			assert_true(now_ns() < deadline);   \
			turn();                             \
		}                                           \
	} while (0)

static void pair_open(void)
{
	struct wt_error err = { 0 };
	uint32_t i;
	uint32_t k;

	messages = 0;
	said[0] = 0;
	for (i = 0; i < 2; i++) {
		const struct wt_mesh_events events = {
			.message = message, .broken = broken, .arg = &meshes[i]
		};

		assert_int_equal(wt_mesh_open((struct wt_mesh_name){ 1, i }, &events, &meshes[i], &err), 0);
		assert_int_equal(wt_mesh_attach(meshes[i], WT_FABRIC_TCP, "127.0.0.1", 0, &err), 0);
		for (k = 0; k < 2; k++)
			peers[i][k] = wt_mesh_peer(meshes[i], (struct wt_mesh_name){ 1, k });
	}
	addresses_tell();
}

/* Both have a path, and nothing is under way. */
static void pair_talk(void)
{
	static struct letter letter;

	pair_open();
	letter_send(&letter, 1, 0, NULL, 0);
	TURN_UNTIL(messages == 1 && wt_mesh_settle(meshes[0]) && wt_mesh_settle(meshes[1]));
}

static void pair_close(void)
{
	int i;

	for (i = 0; i < 2; i++) {
		if (meshes[i])
			wt_mesh_close(meshes[i]);
		meshes[i] = NULL;
	}
}

static void pair_drain(void)
{
	bool drained[2] = { false, false };
	int i;

	for (i = 0; i < 2; i++)
		wt_mesh_quiesce(meshes[i], 1, false);
	TURN_UNTIL((drained[0] |= wt_mesh_drain(meshes[0]), drained[1] |= wt_mesh_drain(meshes[1]),
		drained[0] && drained[1]));
}

static void detach_and_attach(int i)
{
	struct wt_error err = { 0 };

	wt_mesh_detach(meshes[i]);
	assert_int_equal(wt_mesh_attach(meshes[i], WT_FABRIC_TCP, "127.0.0.1", 1, &err), 0);
}

/* A rank leaves that took QUIESCE at the last moment: the other one does not wait for it after that. */
static void test_leaves_quiesced(void **state)
{
	pair_talk();
	pair_drain();
	wt_mesh_close(meshes[1]);
	meshes[1] = NULL;
	TURN_UNTIL((wt_mesh_drain(meshes[0]), wt_mesh_paths(meshes[0]) == 0));
	detach_and_attach(0);
	wt_mesh_join(meshes[0]);
	assert_true(wt_mesh_drain(meshes[0]));
	wt_mesh_go(meshes[0]);
	turn();
	assert_string_equal(said, "");
	pair_close();
}

/* A rank that answers HELLO, and nothing after. */
static void *mute_main(void *arg)
{
	const struct wt_order report = { .kind = WT_REPORT_RANK,
		.version = WT_ORDER_VERSION,
		.job = 1,
		.size = 1,
		.state = WT_RANK_RUNNING };
	char line[WT_ORDER_LINE_MAX];
	size_t length = wt_order_encode(&report, line);
	int fd = accept(*(int *)arg, NULL, NULL);

	if (fd < 0 || send(fd, line, length, MSG_NOSIGNAL) != (ssize_t)length)
		abort();
	while (recv(fd, line, sizeof line, 0) > 0)
		;
	close(fd);
	return NULL;
}

/* Nobody has detached: that is a quiesce given up, not a job that somebody must resume. */
static void test_does_not_answer(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct wt_coordinator_times times;
	struct wt_coordinator *coordinator;
	struct wt_error err = { 0 };
	pthread_t thread;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_int_equal(wt_rank_socket_path(directory, (struct wt_mesh_name){ 1, 0 }, address.sun_path,
				 sizeof address.sun_path),
		0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(pthread_create(&thread, NULL, mute_main, &fd), 0);
	assert_int_equal(
		wt_coordinator_open(&ranks_reach, 1, WT_BARRIER_QUIESCE, PATIENCE_NS, &coordinator, &err), 0);
	assert_int_equal(
		wt_coordinator_run(coordinator, WT_BARRIER_QUIESCE, 50000000, &times, &err), -ECANCELED);
	assert_non_null(strstr(wt_error_text(&err), "rank 0 has not answered"));
	wt_coordinator_close(coordinator);
	pthread_join(thread, NULL);
	close(fd);
	/* And a socket that nobody listens at is no rank. */
	assert_int_equal(
		wt_coordinator_open(&ranks_reach, 1, WT_BARRIER_RESUME, PATIENCE_NS, &coordinator, &err), 0);
	assert_int_equal(
		wt_coordinator_run(coordinator, WT_BARRIER_RESUME, PATIENCE_NS, &times, &err), -ENOENT);
	wt_coordinator_close(coordinator);
	unlink(address.sun_path);
}

static int attach(struct wt_mesh *mesh, uint32_t epoch, struct wt_error *err)
{
	return wt_mesh_attach(mesh, WT_FABRIC_TCP, host_now, epoch, err);
}

static int reach(enum wt_barrier_goal goal, struct wt_error *err)
{
	struct wt_coordinator_times times;
	struct wt_coordinator *coordinator;
	int status = wt_coordinator_open(&ranks_reach, 1, goal, PATIENCE_NS, &coordinator, err);

	if (status < 0)
		return status;
	status = wt_coordinator_run(coordinator, goal, PATIENCE_NS, &times, err);
	wt_coordinator_close(coordinator);
	return status;
}

static void ranks_open(uint32_t size, struct wt_rank *ret_ranks[2])
{
	struct wt_rank_options options = { .size = size, .directory = directory, .attach = attach };
	struct wt_error err = { 0 };
	uint32_t i;

	for (i = 0; i < 2; i++) {
		options.name = (struct wt_mesh_name){ 1, i };
		assert_int_equal(wt_rank_open(meshes[i], &options, &ret_ranks[i], &err), 0);
	}
}

/* A host has another address after the move. */
static void test_moves(void **state)
{
	static struct letter letter;
	struct wt_mesh_address address;
	struct wt_error err = { 0 };
	struct wt_rank *ranks[2];

	pair_talk();
	ranks_open(2, ranks);
	assert_int_equal(reach(WT_BARRIER_QUIESCE, &err), 0);
	host_now = "127.0.0.2";
	assert_int_equal(reach(WT_BARRIER_RESUME, &err), 0);
	wt_mesh_address(meshes[0], &address);
	assert_string_equal(address.host, "127.0.0.2");
	letter_send(&letter, 1, 0, NULL, 0);
	while (messages < 2) {
		wt_mesh_progress(meshes[0]);
		wt_mesh_progress(meshes[1]);
	}
	host_now = "127.0.0.1";
	wt_rank_close(ranks[0]);
	wt_rank_close(ranks[1]);
	pair_close();
}

/* A connection that broke is no drained one: the quiesce is refused, with the sentence. */
static void test_broken_is_not_drained(void **state)
{
	struct wt_error err = { 0 };
	struct wt_rank *ranks[2];

	pair_talk();
	pthread_mutex_lock(&meshes[0]->lock);
	wt_mesh_break(meshes[0], peers[0][1], "the connection to rank 1 has ended");
	pthread_mutex_unlock(&meshes[0]->lock);
	ranks_open(2, ranks);
	assert_int_equal(reach(WT_BARRIER_QUIESCE, &err), -ECANCELED);
	assert_non_null(strstr(wt_error_text(&err), "rank 0: the connection to rank 1 has ended"));
	wt_rank_close(ranks[0]);
	wt_rank_close(ranks[1]);
	pair_close();
}

/* A path that cannot be dialled in a resume is dialled until it can: first nothing leads there. */
static void test_dials_until_joined(void **state)
{
	struct wt_mesh_address address;
	uint64_t pause;
	int i;

	pair_talk();
	pair_drain();
	for (i = 0; i < 2; i++)
		detach_and_attach(i);
	addresses_tell();
	wt_mesh_address(meshes[1], &address);
	strcpy(address.host, "224.0.0.1");
	wt_mesh_peer_address(meshes[0], peers[0][1], &address);
	wt_mesh_join(meshes[0]);
	wt_mesh_join(meshes[1]);
	pause = now_ns() + 3 * WT_MESH_DIAL_PAUSE_NS;
	while (now_ns() < pause)
		assert_false(wt_mesh_drain(meshes[0]));
	addresses_tell();
	TURN_UNTIL(wt_mesh_drain(meshes[0]) && wt_mesh_drain(meshes[1]));
	assert_string_equal(said, "");
	pair_close();
}

/* A detach ends a dial that would go on for ever. */
static void test_detach_ends_dials(void **state)
{
	struct wt_mesh_address address;

	pair_talk();
	pair_drain();
	detach_and_attach(0);
	wt_mesh_address(meshes[1], &address);
	strcpy(address.host, "224.0.0.1");
	address.epoch = 1;
	wt_mesh_peer_address(meshes[0], peers[0][1], &address);
	wt_mesh_join(meshes[0]);
	wt_mesh_detach(meshes[0]);
	assert_int_equal(meshes[0]->dials, 0);
	pair_close();
}

static long times_slept(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw;
}

/* A rank that asks again and again is no load while it is detached. */
static void test_away_is_no_load(void **state)
{
	struct wt_error err = { 0 };
	long before;
	int i;

	pair_talk();
	pair_drain();
	for (i = 0; i < 2; i++)
		wt_mesh_detach(meshes[i]);
	before = times_slept();
	for (i = 0; i < 10; i++)
		assert_int_equal(wt_mesh_progress(meshes[0]), 0);
	assert_true(times_slept() >= before + 10);
	for (i = 0; i < 2; i++)
		assert_int_equal(wt_mesh_attach(meshes[i], WT_FABRIC_TCP, "127.0.0.1", 1, &err), 0);
	addresses_tell();
	for (i = 0; i < 2; i++)
		wt_mesh_join(meshes[i]);
	TURN_UNTIL(wt_mesh_drain(meshes[0]) && wt_mesh_drain(meshes[1]));
	pair_close();
}

/* Who does nothing but spin on its own memory still hears of the others. */
static void test_spins_on_itself(void **state)
{
	static struct letter own;
	static struct letter letter;
	uint64_t deadline;

	pair_talk();
	letter_send(&letter, 1, 0, NULL, 0);
	deadline = now_ns() + PATIENCE_NS;
	for (messages = 0; !messages;) {
		own.item = (struct wt_mesh_item){ .work = WT_MESH_ATOMIC, .done = done };
		own.item.word.bytes = 8;
		wt_mesh_submit(meshes[0], peers[0][0], &own.item); /* of no memory; it ends at once */
		wt_mesh_progress(meshes[0]);
		wt_mesh_progress(meshes[1]);
		assert_true(now_ns() < deadline);
	}
	pair_close();
}

/* The sentence comes before any send is said to have failed: Open MPI ends the job at the first of them. */
static void test_lost_is_said_first(void **state)
{
	static struct letter letters[300];
	static uint8_t much[60000];
	unsigned i;

	pair_talk();
	for (i = 0; i < 300; i++) { /* more than goes into a socket */
		letter_send(&letters[i], 0, 1, much, sizeof much);
		wt_mesh_progress(meshes[0]);
	}
	last_status = 0;
	/* Rank 1 goes without a goodbye. */
	pthread_mutex_lock(&meshes[1]->lock);
	meshes[1]->closing = true;
	wt_mesh_bond_event(peers[1][0], WT_BOND_LOST);
	pthread_mutex_unlock(&meshes[1]->lock);
	TURN_UNTIL(said[0]);
	turn();
	assert_int_equal(last_status, 0);
	assert_non_null(strstr(said, "the connection to rank 1 has ended"));
	pair_close();
}

/* One of three has left: what is there is resumed, and not quiesced. */
static void test_fewer_than_the_job(void **state)
{
	struct wt_rank *ranks[2];
	struct wt_coordinator *coordinator;
	struct wt_error err = { 0 };
	uint32_t i;

	pair_open();
	ranks_open(3, ranks);
	assert_int_equal(
		wt_coordinator_open(&ranks_reach, 1, WT_BARRIER_QUIESCE, 1, &coordinator, &err), -ETIMEDOUT);
	assert_int_equal(reach(WT_BARRIER_RESUME, &err), 0);
	for (i = 0; i < 2; i++)
		wt_rank_close(ranks[i]);
	pair_close();
}

/* Open MPI hands over 32 bits with their sign. */
static void test_negative_compare(void **state)
{
	const struct wt_frame_word word = {
		.tag = WT_ATOMIC_CSWAP, .bytes = 4, .value = 5, .other = (uint64_t)(int64_t)-3
	};
	int32_t memory = -3;

	assert_int_equal((int32_t)wt_atomic_apply(&word, &memory), -3);
	assert_int_equal(memory, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_leaves_quiesced),
		cmocka_unit_test(test_does_not_answer),
		cmocka_unit_test(test_fewer_than_the_job),
		cmocka_unit_test(test_moves),
		cmocka_unit_test(test_broken_is_not_drained),
		cmocka_unit_test(test_dials_until_joined),
		cmocka_unit_test(test_detach_ends_dials),
		cmocka_unit_test(test_away_is_no_load),
		cmocka_unit_test(test_spins_on_itself),
		cmocka_unit_test(test_lost_is_said_first),

		cmocka_unit_test(test_negative_compare),
	};
	struct wt_error err = { 0 };
	int failed;

	if (!mkdtemp(directory) || wt_reach_directory_open(directory, &ranks_reach, &err) < 0)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	wt_reach_close(ranks_reach);
	rmdir(directory);
	return failed;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_puller_replica_remote.c - page server and puller together, and a third one with an old copy: what is
 * the same there is read from it, memory is equal in the end, whatever the copy and who serves it are worth.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "replica_guest.h"

#define NUMBER 1 /* the first that is free */

/* The third host: a passive server, in a thread of its own. */
static struct {
	struct wt_loop *loop;
	struct wt_memory *memory;
	struct wt_server *server;
	pthread_t thread;
	bool running;
	struct proxy proxy; /* before the puller, for this host */
	int command, fds[WORLD_BLOCKS];
	uint8_t *blocks[WORLD_BLOCKS];
	uint64_t lengths[WORLD_BLOCKS];
	atomic_uint ready, failed;
	struct wt_error error;
} third;

static void on_third_ready(void *arg)
{
	third.ready++;
	world_news(&w);
}

static void on_third_failed(void *arg, const struct wt_error *err)
{
	third.error = *err;
	third.failed++;
	world_news(&w);
}

static const struct wt_server_events third_events = { .ready = on_third_ready, .failed = on_third_failed };

static void on_third_command(void *arg, uint32_t events)
{
	wt_loop_stop(third.loop, 0);
}

static void *third_main(void *arg)
{
	wt_loop_run(third.loop);
	return NULL;
}

/* Its memory, which is the copy. */
static void third_prepare(void)
{
	memset(&third, 0, sizeof third);
	proxy_open(&third.proxy, w.port);
	for (unsigned b = 0; b < WORLD_BLOCKS; b++) {
		third.lengths[b] = w.blocks[b].length;
		third.blocks[b] = world_memory(third.lengths[b], &third.fds[b]);
		memcpy(third.blocks[b], copy.blocks[b], third.lengths[b]);
	}
}

static void third_open(const uint8_t *id, const uint8_t *key)
{
	struct wt_server_config config = { .peer = { .host = "127.0.0.1" },
		.name = "vm",
		.fabrics = WORLD_FABRICS,
		.paths = 2,
		.passive = true,
		.session_id = id,
		.digest_key = key,
		.connect_timeout_ns = SECOND_NS,
		.give_up_ns = 20 * SECOND_NS };
	struct wt_error err = { 0 };

	third.command = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	check(wt_loop_open(&third.loop) == 0 && wt_memory_open(&third.memory, &err) == 0);
	check(wt_loop_fd_set(third.loop, third.command, EPOLLIN, on_third_command, NULL) == 0);
	for (unsigned b = 0; b < WORLD_BLOCKS; b++)
		check(wt_memory_block_add(third.memory, w.blocks[b].name, third.blocks[b], third.lengths[b],
			      third.fds[b], 0, &err) == (int)b);
	config.memory = third.memory;
	config.peer.port = third.proxy.ports[PROXY_CONTROL];
	check(wt_server_open(third.loop, &config, &third_events, NULL, &third.server, &err) == 0);
	check(wt_server_start(third.server, &err) == 0);
	third.running = true;
	pthread_create(&third.thread, NULL, third_main, NULL);
}

/* It hears and says nothing any more; who reads its memory is answered. */
static void third_freeze(void)
{
	uint64_t one = 1;

	if (!third.running)
		return;
	check(write(third.command, &one, sizeof one) == sizeof one);
	pthread_join(third.thread, NULL);
	third.running = false;
}

static void third_close(void)
{
	third_freeze();
	wt_server_close(third.server);
	wt_memory_close(third.memory);
	third.server = NULL;
	third.memory = NULL;
}

static void third_end(void)
{
	third_close();
	proxy_close(&third.proxy);
	wt_loop_close(third.loop);
	close(third.command);
	for (unsigned b = 0; b < WORLD_BLOCKS; b++) {
		if (third.blocks[b])
			munmap(third.blocks[b], third.lengths[b]);
		close(third.fds[b]);
	}
}

/* ---- a migration ---- */

static bool is_wanted(struct world *u)
{
	return u->replica_wanted;
}

static bool is_joined(struct world *u)
{
	return u->replica_joined;
}

static bool is_lost(struct world *u)
{
	return u->replica_lost;
}

static bool third_has_failed(struct world *u)
{
	return third.failed;
}

/* The puller waits for the third one. */
static void serve(void)
{
	w.remote = true;
	world_serve(&w, "vm");
	check(world_until(&w, is_wanted) && world_until(&w, is_ready));
	check(w.ready == 1);
}

static void serve_with_third(void)
{
	serve();
	third_open(w.remote_id, w.remote_key);
	check(world_until(&w, is_joined));
}

static struct wt_server_stats stats;

static void end(unsigned writes)
{
	w.writes_left = writes;
	check(world_until(&w, guest_is_done));
	wt_server_stats(w.server, &stats);
	third_end();
	end_equal();
	assert_int_equal(puller_stats.digested_pages, stats.digested_pages);
	assert_int_equal(puller_stats.replica_bytes, puller_stats.server_bytes[NUMBER]);
}

static uint64_t change_some(void)
{
	uint64_t pages = w.blocks[0].length >> WT_PAGE_SHIFT, changed = 0;

	for (uint64_t page = 7; page < pages; page += 100, changed++)
		write_pages(&(struct wt_extent){ .page = page, .pages = 1 }, false);
	return changed;
}

static void test_only_what_differs_comes_from_the_source(void **state)
{
	uint64_t changed;

	seed_start(1);
	begin_with_copy(48);
	third_prepare();
	changed = change_some();
	serve_with_third();
	announce_as_it_is();
	end(1);
	assert_int_equal(puller_stats.pulled_pages, changed);
	assert_int_equal(stats.digested_pages, stats.announced_pages - stats.zero_pages);
	assert_int_equal(puller_stats.replica_pages, stats.digested_pages - changed);
	assert_int_equal(puller_stats.replica_bytes, puller_stats.replica_pages * WT_PAGE_SIZE);
	assert_int_equal(puller_stats.server_bytes[0], changed * WT_PAGE_SIZE);
	check(!w.replica_lost && w.replica_joined == 1);
}

/* The guest writes all the time, and connections are cut. */
static void random_run(void)
{
	begin_with_copy(32);
	third_prepare();
	for (unsigned i = 0; i < 300; i++) {
		random_write();
		w.rest.pages = 0;
	}
	serve_with_third();
	announce_as_it_is();
	if (seed_below(2))
		proxy_rule(&w.proxy, PROXY_CONTROL, true, false, false);
	end(1000);
	check(puller_stats.replica_pages > 100 && !w.replica_lost);
}

static void test_while_the_guest_writes(void **state)
{
	seed_runs(4, random_run);
}

/* Nothing of it is right; of one block there is no copy. */
static void test_a_replica_of_another_guest(void **state)
{
	seed_start(3);
	begin_with_copy(16);
	third_prepare();
	munmap(third.blocks[1], third.lengths[1]);
	close(third.fds[1]);
	third.blocks[1] = NULL;
	third.fds[1] = -1;
	for (uint64_t i = 0; i < third.lengths[0]; i += 512)
		third.blocks[0][i] ^= 0x80;
	memset(third.blocks[2], 0x77, third.lengths[2]);
	serve_with_third();
	announce_as_it_is();
	end(500);
	assert_int_equal(puller_stats.replica_pages, 0);
	assert_int_equal(puller_stats.replica_bytes, 0);
	check(!w.replica_lost && puller_stats.digested_pages > 100);
}

/* Digests under another key than the one that it was given. */
static void test_wrong_digests(void **state)
{
	static const uint8_t key[WT_DIGEST_KEY_BYTES] = { 9 };

	seed_start(4);
	begin_with_copy(16);
	third_prepare();
	serve();
	third_open(w.remote_id, key);
	announce_as_it_is();
	end(1);
	assert_int_equal(puller_stats.replica_bytes, 0);
	check(!w.replica_lost && puller_stats.digested_pages > 100);
}

/*
 * It digests the file, which is right, and lets memory be read that is not that file's: right digests, and
 * wrong bytes in some pages. Without judging what was read the guest would get them. Between pages that the
 * guest has changed there are eleven: what is read at once is short, so that tcp sends it from the memory.
 */
static void test_wrong_bytes_for_right_digests(void **state)
{
	uint64_t pages;
	int file;

	seed_start(5);
	begin_with_copy(48);
	third_prepare();
	munmap(third.blocks[0], third.lengths[0]);
	third.blocks[0] = world_memory(third.lengths[0], &file);
	memcpy(third.blocks[0], copy.blocks[0], third.lengths[0]);
	close(file);
	pages = third.lengths[0] >> WT_PAGE_SHIFT;
	for (uint64_t page = 0; page < pages; page += 12)
		write_pages(&(struct wt_extent){ .page = page, .pages = 1 }, false);
	for (uint64_t page = pages / 2 / 12 * 12 + 5; page < pages; page += 36)
		third.blocks[0][(page << WT_PAGE_SHIFT) + 99] ^= 1;
	serve_with_third();
	announce_as_it_is();
	end(100);
	assert_int_equal(w.replica_lost, 1);
	check(strstr(w.replica_error.text, "the replica third gave other bytes of page ") &&
		strstr(w.replica_error.text, "of block pc.ram"));
	check(puller_stats.replica_pages > 0 && puller_stats.pulled_pages > 1000);
}

static void test_a_copy_that_cannot_be_read(void **state)
{
	seed_start(6);
	begin_with_copy(48);
	third_prepare();
	check(ftruncate(third.fds[0], 0) == 0); /* who reads the mapping now gets a signal */
	serve_with_third();
	announce_as_it_is();
	end(100);
	assert_int_equal(w.replica_lost, 1);
	check(strstr(w.replica_error.text, "the replica third cannot read its own copy any more"));
}

static bool has_landed_some(struct world *u)
{
	wt_server_stats(u->server, &stats);
	return stats.landed_seq > 3;
}

static void announce_some(void)
{
	announce(0, 0, 2000, WT_CONTENT_IN_PLACE);
	while (!announce_rest()) {
		wt_server_flush(w.server);
		check(world_until(&w, has_room));
	}
	wt_server_flush(w.server);
	check(world_until(&w, has_landed_some));
}

static void leave_in_the_middle(void (*leave)(void), const char *text)
{
	begin_with_copy(64);
	third_prepare();
	serve_with_third();
	announce_some();
	leave();
	announce_as_it_is();
	end(100);
	assert_int_equal(w.replica_lost, 1);
	check(strstr(w.replica_error.text, text));
	check(puller_stats.replica_pages > 0);
}

static void test_silent(void **state)
{
	seed_start(7);
	leave_in_the_middle(third_freeze, "the replica third has given nothing for 2 s");
}

static void test_dies(void **state)
{
	seed_start(8);
	leave_in_the_middle(third_close, "the replica third ");
}

static bool all_has_landed(struct world *u)
{
	wt_server_flush(u->server);
	return wt_server_all_landed(u->server);
}

/* Nothing was asked of it, so that it owes nothing: what is asked of it later does not wait for ever. */
static void test_dies_idle(void **state)
{
	seed_start(17);
	begin_with_copy(64);
	third_prepare();
	serve_with_third();
	announce_some();
	check(world_until(&w, all_has_landed));
	third_close();
	announce_as_it_is();
	end(100);
	assert_int_equal(w.replica_lost, 1);
	check(strstr(w.replica_error.text, "no data connection to it for 5 s") ||
		strstr(w.replica_error.text, "has given nothing for 2 s"));
}

/* Its paths are cut, and its session is: what was under way is read again. */
static void test_connections_are_cut(void **state)
{
	seed_start(15);
	begin_with_copy(64);
	third_prepare();
	serve_with_third();
	announce_some();
	proxy_cut_after(&third.proxy, PROXY_DATA, 3 * MIB);
	proxy_rule(&third.proxy, PROXY_CONTROL, true, false, false);
	announce_as_it_is();
	w.writes_left = 1;
	check(world_until(&w, guest_is_done));
	check(proxy_cuts(&third.proxy) >= 2);
	end(1);
	check(!w.replica_lost);
	/* Zeros that were announced with content are not read from it. */
	check(puller_stats.replica_pages > puller_stats.digested_pages / 20 * 19);
}

static void stall_data(void)
{
	proxy_rule(&third.proxy, PROXY_DATA, false, false, true);
}

static void test_paths_stall(void **state)
{
	seed_start(16);
	leave_in_the_middle(stall_data, "the replica third has given nothing for 2 s");
}

static bool has_digested(struct world *u)
{
	wt_server_flush(u->server);
	wt_server_stats(u->server, &stats);
	return stats.digested_pages;
}

/* Comparisons wait for it. */
static void test_late(void **state)
{
	seed_start(9);
	begin_with_copy(16);
	third_prepare();
	serve();
	announce(0, 0, 100, WT_CONTENT_IN_PLACE);
	check(announce_rest());
	check(world_until(&w, has_digested));
	third_open(w.remote_id, w.remote_key);
	announce_as_it_is();
	end(1);
	assert_int_equal(
		puller_stats.pulled_pages, stats.announced_pages - stats.zero_pages - stats.digested_pages);
	check(!w.replica_lost && puller_stats.replica_pages == stats.digested_pages);
}

static void test_never(void **state)
{
	seed_start(10);
	begin_with_copy(16);
	third_prepare();
	serve();
	announce_as_it_is();
	w.writes_left = 100;
	check(world_until(&w, guest_is_done));
	assert_int_equal(w.replica_lost, 1);
	check(strstr(w.replica_error.text, "the replica third has not come for 5 s"));
	third_open(w.remote_id, w.remote_key); /* now nobody waits for it any more */
	check(world_until(&w, third_has_failed));
	third_end();
	end_equal();
	check(puller_stats.replica_pages == 0);
}

static void does_not_come(struct world *u)
{
	wt_puller_no_replica(u->puller, "does not come: it is of another layout");
}

static void twice(struct world *u)
{
	wt_puller_no_replica(u->puller, "twice");
}

/* Whoever asked it to come knows that it does not: nothing waits. */
static void test_does_not_come(void **state)
{
	seed_start(10);
	begin_with_copy(16);
	serve();
	world_call(&w, does_not_come);
	assert_int_equal(w.replica_lost, 1);
	check(strstr(w.replica_error.text, "the replica third does not come: it is of another layout"));
	world_call(&w, twice);
	assert_int_equal(w.replica_lost, 1);
	announce_as_it_is();
	w.writes_left = 1;
	check(world_until(&w, guest_is_done));
	end_equal();
	check(puller_stats.replica_pages == 0);
}

static void test_other_memory(void **state)
{
	seed_start(11);
	begin_with_copy(16);
	third_prepare();
	third.lengths[1] /= 2;
	serve();
	third_open(w.remote_id, w.remote_key);
	check(world_until(&w, is_lost) && world_until(&w, third_has_failed));
	check(strstr(w.replica_error.text, "it has another guest's memory"));
	check(strstr(third.error.text, "it has another guest's memory"));
	announce_as_it_is();
	third.lengths[1] *= 2;
	end(100);
	check(!w.replica_joined && puller_stats.replica_pages == 0);
}

/* ---- the source knows of it ---- */

static bool source_knows(struct world *u)
{
	return u->helper_state;
}

static void serve_and_expect(void)
{
	w.replica_number = 3;
	memset(w.remote_id, 0x33, sizeof w.remote_id);
	world_serve(&w, "vm");
	check(world_until(&w, is_ready) && w.ready == 1);
	check(wt_server_expect_replica(w.server, 3, w.remote_id, "too late") == -EINVAL);
}

static void test_the_source_expects_it(void **state)
{
	seed_start(12);
	begin_with_copy(16);
	third_prepare();
	serve_and_expect();
	check(w.expected_number == 3 && w.expected_port == w.port);
	third_open(w.remote_id, w.expected_key);
	check(world_until(&w, source_knows) && w.helper_state == WT_HELPER_JOINED);
	check(!strcmp(w.helper_text, "3 old") && w.replica_joined == 1);
	w.helper_state = WT_HELPER_INVALID;
	announce_some();
	third_freeze();
	announce_as_it_is();
	w.writes_left = 1;
	check(world_until(&w, guest_is_done));
	check(w.helper_state == WT_HELPER_LOST && w.replica_lost == 1);
	check(strstr(w.helper_text, "3 the replica old has given nothing for 2 s"));
	third_end();
	end_equal();
	check(puller_stats.replica_pages > 0 && puller_stats.pulled_pages > 0);
	check(puller_stats.server_bytes[3] == puller_stats.replica_bytes);
}

static void test_the_source_says_that_it_does_not_come(void **state)
{
	seed_start(13);
	begin_with_copy(16);
	serve_and_expect();
	wt_server_no_helper(w.server, 3, "its host is down");
	announce_as_it_is();
	w.writes_left = 1;
	check(world_until(&w, guest_is_done));
	end_equal();
	check(w.replica_lost == 1 &&
		strstr(w.replica_error.text, "the replica old is gone: its host is down"));
}

/* The puller has one of its own. */
static void test_one_replica_is_enough(void **state)
{
	seed_start(14);
	begin_with_copy(16);
	third_prepare();
	w.remote = true;
	serve_and_expect();
	check(world_until(&w, source_knows) && w.helper_state == WT_HELPER_UNREACHABLE);
	check(!w.expected_number && !strcmp(w.helper_text, "3 this destination has a replica already"));
	third_open(w.remote_id, w.remote_key);
	announce_as_it_is();
	end(1);
	check(puller_stats.pulled_pages == 0 && puller_stats.replica_pages == puller_stats.digested_pages);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_only_what_differs_comes_from_the_source, abandon),
		cmocka_unit_test_teardown(test_while_the_guest_writes, abandon),
		cmocka_unit_test_teardown(test_a_replica_of_another_guest, abandon),
		cmocka_unit_test_teardown(test_wrong_digests, abandon),
		cmocka_unit_test_teardown(test_wrong_bytes_for_right_digests, abandon),
		cmocka_unit_test_teardown(test_a_copy_that_cannot_be_read, abandon),
		cmocka_unit_test_teardown(test_silent, abandon),
		cmocka_unit_test_teardown(test_dies, abandon),
		cmocka_unit_test_teardown(test_dies_idle, abandon),
		cmocka_unit_test_teardown(test_connections_are_cut, abandon),
		cmocka_unit_test_teardown(test_paths_stall, abandon),
		cmocka_unit_test_teardown(test_late, abandon),
		cmocka_unit_test_teardown(test_never, abandon),
		cmocka_unit_test_teardown(test_does_not_come, abandon),
		cmocka_unit_test_teardown(test_other_memory, abandon),
		cmocka_unit_test_teardown(test_the_source_expects_it, abandon),
		cmocka_unit_test_teardown(test_the_source_says_that_it_does_not_come, abandon),
		cmocka_unit_test_teardown(test_one_replica_is_enough, abandon),
	};

	cmocka_set_test_filter(getenv("WATARI_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_puller_messages.c - a server that says what does not fit, or at the wrong time: the puller ends the
 * session with one sentence. And what it answers where it does fit. The server is a bare link, without paths.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include <watari/puller.h>

#include "link.h"
#include "wire.h"

#define SECOND_NS 1000000000ull
#define PAGES 4096u
#define FAILED 1000u
#define SERVED 1001u
#define LOG_MAX 64
#define LENGTH ((uint64_t)PAGES * WT_PAGE_SIZE)

static struct {
	struct wt_loop *loop;
	struct wt_puller *puller;
	uint16_t port;
	struct wt_link link;
	struct wt_timer deadline;
	uint8_t *memory;
	uint8_t payload[WT_WIRE_PAYLOAD_MAX];
	uint64_t words[WT_WIRE_WORDS_MAX];

	unsigned count, seen; /* of the log; seen: what the test has looked at */
	struct said {
		unsigned type; /* or FAILED, SERVED */
		size_t length;
		uint8_t payload[1024];
	} log[LOG_MAX];
	unsigned drained, undrained, restarted, released;
	uint8_t key[WT_DIGEST_KEY_BYTES];
	const uint8_t *got;
	size_t got_length;
	struct wt_error error;
} t;

static void heard(unsigned type, const uint8_t *payload, size_t length)
{
	struct said *said = &t.log[t.count++];

	assert_true(t.count <= LOG_MAX && length <= sizeof said->payload);
	said->type = type;
	said->length = length;
	if (length)
		memcpy(said->payload, payload, length);
	wt_loop_stop(t.loop, 1);
}

/* ---- the puller ---- */

static int on_block(
	void *arg, const char *name, uint64_t length, struct wt_puller_block *ret_block, struct wt_error *err)
{
	*ret_block = (struct wt_puller_block){ .base = t.memory, .fd = -1 };
	return 0;
}

static bool with_copy;   /* the puller has an old copy, of which nothing is right */
static bool with_remote; /* one on another host, which does not come */

static int read_copy(void *arg, uint32_t block, uint64_t page, uint32_t pages, void *ret_bytes)
{
	return -ENOENT;
}

static int on_blocks_end(void *arg, struct wt_error *err)
{
	static const struct wt_puller_replica copy = { .read = read_copy };
	uint8_t id[WT_SERVER_SESSION_ID_BYTES], key[WT_DIGEST_KEY_BYTES];

	if (with_remote)
		return wt_puller_replica_remote(t.puller, "old", id, key, err);
	return with_copy ? wt_puller_replica(t.puller, &copy, err) : 0;
}

static void on_failed(void *arg, const struct wt_error *err)
{
	t.error = *err;
	heard(FAILED, NULL, 0);
}

static void on_drained(void *arg)
{
	t.drained++;
}

static void on_undrained(void *arg)
{
	t.undrained++;
}

static void on_restarted(void *arg)
{
	t.restarted++;
}

static void on_release(void *arg)
{
	t.released++;
}

static void on_serve(void *arg, const struct wt_server_order *order)
{
	memset(t.key, 0, sizeof t.key);
	if (order->digest_key)
		memcpy(t.key, order->digest_key, sizeof t.key);
	heard(SERVED, NULL, 0);
}

static const struct wt_puller_events puller_events = { .block = on_block,
	.blocks_end = on_blocks_end,
	.failed = on_failed,
	.drained = on_drained,
	.undrained = on_undrained,
	.restarted = on_restarted,
	.release = on_release };

static const struct wt_puller_events serving_events = {
	.block = on_block, .blocks_end = on_blocks_end, .failed = on_failed, .serve = on_serve
};

static bool can_serve;       /* the puller */
static bool expects_replica; /* the server has the puller expect one, as number 3 */

/* ---- the server ---- */

static void link_up(void *arg, bool again)
{
}

static void link_over(void *arg, const struct wt_error *err)
{
}

static int link_message(void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err)
{
	heard(type, payload, length);
	return 0;
}

static const struct wt_link_events link_events = {
	.up = link_up, .lost = link_over, .failed = link_over, .message = link_message
};

static void on_deadline(void *arg, uint64_t now_ns)
{
	wt_loop_stop(t.loop, 0);
}

/* Waits for a message of this type; whatever else comes before it is passed over. */
static void wait_for(unsigned type)
{
	int r = 1;

	wt_loop_timer_set(t.loop, &t.deadline, wt_loop_now_ns(t.loop) + 20 * SECOND_NS, on_deadline, NULL);
	for (;;) {
		while (t.seen < t.count) {
			const struct said *said = &t.log[t.seen++];

			if (said->type != type)
				continue;
			wt_loop_timer_clear(t.loop, &t.deadline);
			t.got = said->payload;
			t.got_length = said->length;
			return;
		}
		if (r != 1)
			fail_msg("waited for %u: %s", type, wt_error_text(&t.error));
		r = wt_loop_run(t.loop);
	}
}

static void say(unsigned type, size_t length)
{
	assert_int_equal(wt_link_send(&t.link, type, t.payload, length), 0);
}

static void begin(void)
{
	struct wt_puller_config config = { .listen = { .host = "127.0.0.1" },
		.fabrics = WT_FABRIC_BIT(WT_FABRIC_TCP),
		.give_up_ns = SECOND_NS };
	struct wt_wire_block block = { .length = LENGTH, .name = "pc.ram" };
	struct wt_wire_expect expect = { .server = 3, .replica = true, .label = "old" };
	struct wt_error err = { 0 };

	memset(&t, 0, sizeof t);
	t.memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(wt_loop_open(&t.loop), 0);
	assert_int_equal(wt_puller_open(t.loop, &config, can_serve ? &serving_events : &puller_events, NULL,
				 &t.puller, &t.port, &err),
		0);
	t.link = (struct wt_link){ .loop = t.loop,
		.events = &link_events,
		.peer = { .host = "127.0.0.1", .port = t.port },
		.connect_timeout_ns = SECOND_NS,
		.give_up_ns = SECOND_NS };
	assert_int_equal(wt_link_connect(&t.link, "vm", NULL, &err), 0);
	say(WT_MESSAGE_BLOCK, wt_wire_block_encode(&block, t.payload));
	if (expects_replica)
		say(WT_MESSAGE_EXPECT, wt_wire_expect_encode(&expect, t.payload));
	say(WT_MESSAGE_BLOCKS_END, 0);
	if (expects_replica)
		wait_for(WT_MESSAGE_EXPECTED);
	wait_for(WT_MESSAGE_READY);
}

static void finish(void)
{
	wt_link_close(&t.link);
	wt_puller_close(t.puller);
	wt_loop_close(t.loop);
	munmap(t.memory, LENGTH);
}

static void say_epoch(unsigned type, uint32_t epoch)
{
	say(type, wt_wire_epoch_encode(epoch, t.payload));
}

static void say_base(enum wt_wire_base_kind kind, uint8_t server, struct wt_extent extent)
{
	struct wt_wire_base base = {
		.kind = kind, .server = server, .pages = { .extent = extent, .all = true }
	};

	say(WT_MESSAGE_BASE, wt_wire_base_encode(&base, t.words, t.payload));
}

static void say_base_end(void)
{
	struct wt_wire_base_end end = { .policy = WT_PLAN_FASTEST };

	say(WT_MESSAGE_BASE_END, wt_wire_base_end_encode(&end, t.payload));
}

static void say_expect(uint8_t number)
{
	struct wt_wire_expect expect = { .server = number, .label = "helper" };

	say(WT_MESSAGE_EXPECT, wt_wire_expect_encode(&expect, t.payload));
}

static void bad_expect_replica(void)
{
	struct wt_wire_expect expect = { .server = 1, .replica = true };

	say(WT_MESSAGE_EXPECT, wt_wire_expect_encode(&expect, t.payload)); /* too late */
}

static void bad_answer(void)
{
	struct wt_wire_answer answer = { .status = WT_WIRE_ANSWER_NONE, .digests = t.payload };

	say(WT_MESSAGE_REPLICA_ANSWER, wt_wire_answer_encode(&answer, t.payload));
}

static void say_serve(uint32_t epoch)
{
	struct wt_wire_serve serve = {
		.host = "127.0.0.1", .port = 9, .name = "vm", .server = 1, .epoch = epoch
	};

	say(WT_MESSAGE_SERVE, wt_wire_serve_encode(&serve, t.payload));
}

static void say_zero_announcement(uint64_t seq)
{
	struct wt_announcement what = {
		.extent = { .page = 1, .pages = 1 }, .content = WT_CONTENT_ZERO, .priority = WT_PRIORITY_BULK
	};

	say(WT_MESSAGE_ANNOUNCE, wt_wire_announce_encode(seq, &what, 1, t.payload));
}

static const struct wt_extent some = { .page = 64, .pages = 128 };

/* ---- what does not fit ---- */

static void bad_drain(void)
{
	say_epoch(WT_MESSAGE_DRAIN, 2);
}

static void bad_undrain(void)
{
	say_epoch(WT_MESSAGE_DRAIN, 0);
}

static void bad_second_drain(void)
{
	say_epoch(WT_MESSAGE_DRAIN, 1);
	say_epoch(WT_MESSAGE_DRAIN, 2);
}

static void bad_restart(void)
{
	say_epoch(WT_MESSAGE_RESTART, 1);
}

static void bad_restart_epoch(void)
{
	say_epoch(WT_MESSAGE_DRAIN, 1);
	wait_for(WT_MESSAGE_DRAINED);
	say_epoch(WT_MESSAGE_RESTART, 2);
}

static void bad_base_place(void)
{
	say_base(WT_WIRE_BASE_NEED, 0, (struct wt_extent){ .page = PAGES - 1, .pages = 2 });
}

static void bad_base_block(void)
{
	say_base(WT_WIRE_BASE_ZERO, 0, (struct wt_extent){ .block = 1, .pages = 2 });
}

static void bad_base_late(void)
{
	say_base_end();
	say_base(WT_WIRE_BASE_NEED, 0, some);
}

static void bad_zero_late(void)
{
	say_base_end();
	say_base(WT_WIRE_BASE_ZERO, 0, some);
}

static void bad_zero_behind_announcement(void)
{
	say_zero_announcement(1);
	say_base(WT_WIRE_BASE_ZERO, 0, some);
}

static void bad_base_end_twice(void)
{
	say_base_end();
	say_base_end();
}

static void bad_serve(void)
{
	say_serve(0);
}

static void bad_serve_epoch(void)
{
	say_epoch(WT_MESSAGE_DRAIN, 1);
	wait_for(WT_MESSAGE_DRAINED);
	say_serve(2);
}

static void bad_serve_end(void)
{
	say(WT_MESSAGE_SERVE_END, wt_wire_serve_end_encode(1, t.payload));
}

static void bad_release(void)
{
	say(WT_MESSAGE_RELEASE, 0);
}

static void bad_direction(void)
{
	say_epoch(WT_MESSAGE_DRAINED, 1);
}

static void say_digested(uint64_t seq, uint32_t pages)
{
	struct wt_announcement what = { .extent = { .page = seq * 256, .pages = pages },
		.content = WT_CONTENT_IN_PLACE_DIGESTED,
		.priority = WT_PRIORITY_BULK };

	say(WT_MESSAGE_ANNOUNCE, wt_wire_announce_encode(seq, &what, 1, t.payload));
}

static void say_digests(uint64_t seq, unsigned pages)
{
	static const uint8_t digests[600 * WT_DIGEST_BYTES] = { 1 };

	struct wt_wire_digests message = { .first_seq = seq, .keys = 1, .pages = pages, .digests = digests };

	say(WT_MESSAGE_DIGESTS, wt_wire_digests_encode(&message, t.payload));
}

static void bad_digested(void)
{
	say_digested(1, 10);
}

static void bad_digests(void)
{
	say_digests(1, 1);
}

static void bad_digests_of_nothing(void)
{
	say_zero_announcement(1);
	say_digests(1, 1);
}

static void bad_digests_of_a_part(void)
{
	say_digested(1, 10);
	say_digests(1, 9);
}

static void bad_digests_of_too_much(void)
{
	say_digested(1, 10);
	say_digests(1, 11);
}

static void bad_digests_twice(void)
{
	say_digested(1, 10);
	say_digested(2, 20);
	say_digests(1, 30);
	say_digests(2, 20);
}

static void bad_digests_keys(void)
{
	static const uint8_t digests[2 * WT_DIGEST_BYTES];
	struct wt_wire_digests message = { .first_seq = 1, .keys = 2, .pages = 1, .digests = digests };

	say_digested(1, 1);
	say(WT_MESSAGE_DIGESTS, wt_wire_digests_encode(&message, t.payload));
}

static void bad_digested_length(void)
{
	say_digested(1, 257);
}

static void test_digests_that_do_not_fit(void **state)
{
	static const struct {
		void (*say)(void);
		bool copy;
	} bad[] = { { bad_digested, false }, { bad_digests, false }, { bad_digests, true },
		{ bad_digests_of_nothing, true }, { bad_digests_of_a_part, true },
		{ bad_digests_of_too_much, true }, { bad_digests_twice, true }, { bad_digested_length, true },
		{ bad_digests_keys, true } };

	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		with_copy = bad[i].copy;
		begin();
		with_copy = false;
		bad[i].say();
		wait_for(FAILED);
		if (!strstr(t.error.text, "the server"))
			fail_msg("case %u says: %s", i, t.error.text);
		finish();
	}
}

static void test_what_does_not_fit(void **state)
{
	static void (*const bad[])(void) = { bad_drain, bad_undrain, bad_second_drain, bad_restart,
		bad_restart_epoch, bad_base_place, bad_base_block, bad_base_late, bad_zero_late,
		bad_zero_behind_announcement, bad_base_end_twice, bad_serve, bad_serve_epoch, bad_serve_end,
		bad_release, bad_direction, bad_expect_replica, bad_answer };

	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		begin();
		bad[i]();
		wait_for(FAILED);
		if (!strstr(t.error.text, "the server"))
			fail_msg("case %u says: %s", i, t.error.text);
		finish();
	}
}

/* ---- what does ---- */

static void test_base_is_counted_and_zeros_are_filled(void **state)
{
	uint64_t left;

	begin();
	memset(t.memory, 0xaa, LENGTH);
	say_base(WT_WIRE_BASE_ZERO, 0, some);
	memset(t.words, 0, sizeof t.words);
	t.words[0] = 0xf0;
	t.words[1] = 1;
	t.words[2] = 1ull << 63;
	{
		struct wt_wire_base base = { .kind = WT_WIRE_BASE_ZERO,
			.pages = { .extent = { .page = 256, .pages = 192 } } };

		say(WT_MESSAGE_BASE, wt_wire_base_encode(&base, t.words, t.payload));
	}
	say_base(WT_WIRE_BASE_NEED, 0, (struct wt_extent){ .page = 1000, .pages = 50 });
	say_base(WT_WIRE_BASE_HAS, 3, (struct wt_extent){ .page = 1000, .pages = 20 });
	say_base_end();
	wait_for(WT_MESSAGE_BASE_LEFT);
	assert_int_equal(wt_wire_base_left_decode(t.got, t.got_length, &left), 0);
	assert_int_equal(left, 50);
	for (unsigned page = 0; page < PAGES; page++) {
		bool zero = (page >= 64 && page < 192) || (page >= 260 && page < 264) || page == 320 ||
			    page == 447;

		for (unsigned i = 0; i < WT_PAGE_SIZE; i += 511)
			assert_int_equal(t.memory[page * WT_PAGE_SIZE + i], zero ? 0 : 0xaa);
	}
	assert_false(wt_puller_all_landed(t.puller));
	/* An announcement supersedes it. */
	say_zero_announcement(1);
	finish();
}

static void test_left_and_come_back(void **state)
{
	struct wt_wire_pages pages;
	uint32_t epoch;

	begin();
	say_zero_announcement(1);
	say_epoch(WT_MESSAGE_DRAIN, 1);
	wait_for(WT_MESSAGE_DRAINED);
	say_epoch(WT_MESSAGE_DRAIN, 0);
	say_zero_announcement(2);
	wait_for(WT_MESSAGE_LANDED);
	say_epoch(WT_MESSAGE_DRAIN, 2);
	wait_for(WT_MESSAGE_DRAINED);
	assert_int_equal(wt_wire_epoch_decode(t.got, t.got_length, &epoch), 0);
	assert_int_equal(epoch, 2);
	say_serve(2);
	wait_for(WT_MESSAGE_HELPER); /* this one cannot */
	say_epoch(WT_MESSAGE_RESTART, 2);
	say_base(WT_WIRE_BASE_NEED, 0, some);
	say_base_end();
	say_zero_announcement(1);
	wait_for(WT_MESSAGE_LANDED);
	say_epoch(WT_MESSAGE_DRAIN, 3);
	wait_for(WT_MESSAGE_MISSING);
	assert_int_equal(wt_wire_missing_decode(t.got, t.got_length, &pages, t.words), 0);
	assert_true(!pages.all && t.words[0] == 0 && t.words[1] == ~0ull && t.words[2] == ~0ull &&
		    t.words[3] == 0);
	wait_for(WT_MESSAGE_DRAINED);
	say(WT_MESSAGE_RELEASE, 0);
	say_epoch(WT_MESSAGE_RESTART, 3);
	say_zero_announcement(1);
	wait_for(WT_MESSAGE_LANDED);
	assert_int_equal(t.released, 1);
	assert_true(t.drained == 3 && t.undrained == 1 && t.restarted == 2);
	finish();
}

static void test_a_helper_is_expected_once_it_may_come(void **state)
{
	struct wt_wire_expected expected;

	begin();
	for (unsigned i = 0; i < 2; i++) { /* a second time: another session instead */
		say_expect(3);
		wait_for(WT_MESSAGE_EXPECTED);
		assert_int_equal(wt_wire_expected_decode(t.got, t.got_length, &expected), 0);
		assert_true(expected.server == 3 && expected.port == t.port);
	}
	finish();
}

/* Its session may last a while yet when the puller begins anew; the number is free all the same. */
static void test_a_helper_of_the_time_before(void **state)
{
	static const uint8_t id[WT_SESSION_ID_BYTES];
	struct wt_wire_block block = { .length = LENGTH, .name = "pc.ram" };
	struct wt_error err = { 0 };
	struct wt_link helper;

	begin();
	say_expect(3);
	wait_for(WT_MESSAGE_EXPECTED);
	helper = (struct wt_link){ .loop = t.loop,
		.events = &link_events,
		.peer = t.link.peer,
		.connect_timeout_ns = SECOND_NS,
		.give_up_ns = SECOND_NS };
	assert_int_equal(wt_link_connect(&helper, "vm", id, &err), 0);
	wt_link_send(&helper, WT_MESSAGE_BLOCK, t.payload, wt_wire_block_encode(&block, t.payload));
	wt_link_send(&helper, WT_MESSAGE_BLOCKS_END, NULL, 0);
	wait_for(WT_MESSAGE_HELPER);
	say_epoch(WT_MESSAGE_DRAIN, 1);
	wait_for(WT_MESSAGE_DRAINED);
	say_epoch(WT_MESSAGE_RESTART, 1);
	say_expect(3);
	wait_for(WT_MESSAGE_EXPECTED);
	wt_link_close(&helper);
	finish();
}

/* ---- replicas ---- */

static void test_told_to_serve(void **state)
{
	static const uint8_t key[WT_DIGEST_KEY_BYTES] = { 1, 2, 3 };
	static const uint8_t none[WT_DIGEST_KEY_BYTES];
	struct wt_wire_serve serve = {
		.host = "127.0.0.1", .port = 9, .name = "vm", .server = 1, .epoch = 1
	};

	can_serve = true;
	begin();
	can_serve = false;
	say_epoch(WT_MESSAGE_DRAIN, 1);
	wait_for(WT_MESSAGE_DRAINED);
	say(WT_MESSAGE_SERVE, wt_wire_serve_encode(&serve, t.payload));
	wait_for(SERVED);
	assert_memory_equal(t.key, none, sizeof none);
	serve.replica = true;
	memcpy(serve.key, key, sizeof key);
	say(WT_MESSAGE_SERVE, wt_wire_serve_encode(&serve, t.payload));
	wait_for(SERVED);
	assert_memory_equal(t.key, key, sizeof key);
	finish();
}

/* The keys come before READY, and the replica gets the second one only. */
static void test_a_replica_gets_the_table_key(void **state)
{
	struct wt_wire_expected expected;
	struct wt_wire_digest_keys keys;

	expects_replica = true;
	begin();
	expects_replica = false;
	assert_int_equal(t.log[0].type, WT_MESSAGE_DIGEST_KEY);
	assert_int_equal(t.log[1].type, WT_MESSAGE_EXPECTED);
	assert_int_equal(t.log[2].type, WT_MESSAGE_READY);
	assert_int_equal(wt_wire_digest_keys_decode(t.log[0].payload, t.log[0].length, &keys), 0);
	assert_int_equal(wt_wire_expected_decode(t.log[1].payload, t.log[1].length, &expected), 0);
	assert_true(keys.count == 2 && expected.replica && expected.server == 3 && expected.port == t.port);
	assert_memory_equal(expected.key, keys.key[1], sizeof keys.key[1]);
	assert_memory_not_equal(keys.key[0], keys.key[1], sizeof keys.key[0]);
	finish();
}

/* What a replica does wrong is its end alone. */
static void test_a_replica_that_says_what_does_not_fit(void **state)
{
	static const uint8_t id[WT_SESSION_ID_BYTES];
	const struct wt_wire_answer answer = { .status = WT_WIRE_ANSWER_NONE, .digests = id };
	const struct wt_wire_region region = {
		.offset = LENGTH, .fabric = WT_FABRIC_TCP, .key = { .length = WT_PAGE_SIZE }
	};
	struct wt_wire_block block = { .length = LENGTH, .name = "pc.ram" };

	for (unsigned i = 0; i < 3; i++) {
		struct wt_wire_helper told;
		struct wt_error err = { 0 };
		struct wt_link link;

		expects_replica = true;
		begin();
		expects_replica = false;
		link = (struct wt_link){ .loop = t.loop,
			.events = &link_events,
			.peer = t.link.peer,
			.connect_timeout_ns = SECOND_NS,
			.give_up_ns = SECOND_NS };
		assert_int_equal(wt_link_connect(&link, "vm", id, &err), 0);
		wt_link_send(&link, WT_MESSAGE_BLOCK, t.payload, wt_wire_block_encode(&block, t.payload));
		wt_link_send(&link, WT_MESSAGE_BLOCKS_END, NULL, 0);
		wait_for(WT_MESSAGE_HELPER);
		if (i == 0)
			wt_link_send(&link, WT_MESSAGE_REPLICA_ANSWER, t.payload,
				wt_wire_answer_encode(&answer, t.payload));
		else if (i == 1)
			wt_link_send(&link, WT_MESSAGE_REGION, t.payload,
				wt_wire_region_encode(&region, t.payload));
		else
			wt_link_send(&link, WT_MESSAGE_ANNOUNCE, t.payload, 0);
		wait_for(WT_MESSAGE_HELPER);
		assert_int_equal(wt_wire_helper_decode(t.got, t.got_length, &told), 0);
		assert_true(
			told.state == WT_WIRE_HELPER_LOST && strstr(told.text, "the replica old is gone: "));
		wt_link_close(&link);
		say_zero_announcement(1);
		wait_for(WT_MESSAGE_LANDED);
		finish();
	}
}

/* Numbers are the server's choice: a replica that the puller itself has looked for is in nobody's way. */
static void test_a_replica_gives_way_to_helpers(void **state)
{
	struct wt_wire_expected expected;

	for (unsigned i = 0; i < 2; i++) {
		with_remote = i == 0;
		expects_replica = i == 1;
		begin();
		with_remote = expects_replica = false;
		for (uint8_t number = WT_SERVERS_MAX - 1; number > 0; number--) {
			say_expect(number);
			wait_for(WT_MESSAGE_EXPECTED);
			assert_int_equal(wt_wire_expected_decode(t.got, t.got_length, &expected), 0);
			assert_true(expected.server == number && !expected.replica);
		}
		say_zero_announcement(1);
		wait_for(WT_MESSAGE_LANDED);
		finish();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_does_not_fit),
		cmocka_unit_test(test_digests_that_do_not_fit),
		cmocka_unit_test(test_base_is_counted_and_zeros_are_filled),
		cmocka_unit_test(test_left_and_come_back),
		cmocka_unit_test(test_a_helper_is_expected_once_it_may_come),
		cmocka_unit_test(test_a_helper_of_the_time_before),
		cmocka_unit_test(test_told_to_serve),
		cmocka_unit_test(test_a_replica_gets_the_table_key),
		cmocka_unit_test(test_a_replica_that_says_what_does_not_fit),
		cmocka_unit_test(test_a_replica_gives_way_to_helpers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

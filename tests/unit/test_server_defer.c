/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_server_defer.c - what is written again and again waits to be announced again: how much, how long, and
 * that nobody misses it.
 */
#include "server_world.h"

/* Epochs are ended by the test. */
static void defer(uint64_t pages_max, unsigned epochs)
{
	const struct wt_server_deferral how = { pages_max, 3600 * SECOND_NS, epochs };

	check(wt_server_defer(o.server, &how) == 0);
}

/* RAM's pages up to 100 are announced, as message 1, and those from 10 on so often that they would wait. */
static void serve_written_always(uint32_t pages)
{
	serve(&o, false, NULL);
	check(announce(&o, RAM, 0, 100, WT_CONTENT_IN_PLACE) == 0);
	defer(8, 2);
	for (unsigned i = 0; i < 2; i++) {
		check(announce(&o, RAM, 10, pages, WT_CONTENT_IN_PLACE) == 0);
		wt_server_defer_epoch(o.server);
	}
	check(!wt_server_deferred(o.server));
	wait_for(&o, all_is_heard);
}

/* Written in each epoch, and not announced until it is not; what is written now and then does not wait. */
static void test_what_is_written_always_waits(void **state)
{
	uint64_t said;

	seed_start(1);
	open_world();
	serve_written_always(4);
	said = heard.next_seq;
	for (unsigned i = 0; i < 100; i++) {
		check(announce(&o, RAM, 10 + i % 3, 1 + i % 2, WT_CONTENT_IN_PLACE) == 0);
		check(wt_server_deferred(o.server) <= 4);
	}
	check(wt_server_deferred(o.server) == 4);
	wt_server_flush(o.server);
	check(wt_announce_next_seq(o.server->log) == said);
	check(announce(&o, RAM, 50, 1, WT_CONTENT_IN_PLACE) == 0); /* again, and not always */
	check(announce(&o, RAM, 13, 2, WT_CONTENT_IN_PLACE) == 0); /* in part */
	check(announce(&o, RAM, 200, 8, WT_CONTENT_IN_PLACE) == 0);
	check(announce(&o, RAM, 11, 1, WT_CONTENT_ZERO) == 0);
	check(wt_server_deferred(o.server) == 2);
	wt_server_flush(o.server);
	wait_for(&o, all_is_heard);
	check(heard.next_seq == said + 4);
	fake_landed(&o.fake, 1, (uint32_t)heard.next_seq - 1);
	settle(&o);
	check(!wt_server_all_landed(o.server)); /* two wait */

	check(announce(&o, RAM, 10, 1, WT_CONTENT_IN_PLACE) == 0);
	wt_server_defer_epoch(o.server);
	check(wt_server_deferred(o.server) == 2); /* written in the epoch that has ended */
	check(announce(&o, RAM, 10, 1, WT_CONTENT_IN_PLACE) == 0);
	wt_server_defer_epoch(o.server);
	check(wt_server_deferred(o.server) == 1);
	wait_for(&o, all_is_heard);
	check(heard.next_seq == said + 5 && heard.list[heard.next_seq - 1].extent.page == 12 &&
		heard.list[heard.next_seq - 1].extent.pages == 1);
	wt_server_defer_epoch(o.server);
	check(!wt_server_deferred(o.server));
	close_world();
}

/* No more than may, and nothing new when the guest has stopped; what waits then, until it is ended. */
static void test_what_may_wait(void **state)
{
	uint64_t said;

	seed_start(1);
	open_world();
	serve_written_always(20);
	said = heard.next_seq;
	check(announce(&o, RAM, 10, 5, WT_CONTENT_IN_PLACE) == 0);
	check(announce(&o, RAM, 15, 4, WT_CONTENT_IN_PLACE) == 0);
	check(announce(&o, RAM, 20, 3, WT_CONTENT_IN_PLACE) == 0);
	check(wt_server_deferred(o.server) == 8);
	wt_server_final(o.server);
	check(wt_server_deferred(o.server) == 8);
	check(announce(&o, RAM, 11, 1, WT_CONTENT_IN_PLACE) == 0);
	check(wt_server_deferred(o.server) == 7);
	check(wt_server_defer(o.server, NULL) == 0);
	check(!wt_server_deferred(o.server));
	wait_for(&o, all_is_heard);
	check(heard.next_seq == said + 5); /* 15 to 18, 11, 10, 12 to 14, 20 to 22 */
	check(heard.list[said].extent.page == 15 && heard.list[said + 1].extent.page == 11);
	close_world();
}

static bool nothing_waits(void)
{
	return !wt_server_deferred(o.server);
}

/* Of the few that are written at all, each is announced when it is written no more. */
static void test_whatever_is_written_waits(void **state)
{
	seed_start(1);
	open_world();
	serve(&o, false, NULL);
	check(announce(&o, RAM, 0, 100, WT_CONTENT_IN_PLACE) == 0);
	defer(8, 0);
	check(announce(&o, RAM, 100, 1, WT_CONTENT_IN_PLACE) == 0); /* for the first time */
	for (unsigned i = 0; i < 100; i++)
		check(announce(&o, RAM, 10 + i % 3, 1, WT_CONTENT_IN_PLACE) == 0);
	check(wt_server_deferred(o.server) == 3);
	wt_server_defer_epoch(o.server);
	check(wt_server_deferred(o.server) == 3);
	check(announce(&o, RAM, 11, 1, WT_CONTENT_IN_PLACE) == 0);
	wt_server_defer_epoch(o.server);
	check(wt_server_deferred(o.server) == 1);
	wait_for(&o, all_is_heard);
	check(heard.next_seq == 5 && heard.list[3].extent.page == 10 && heard.list[4].extent.page == 12);
	close_world();
}

/* An epoch ends by itself. */
static void test_epochs_end(void **state)
{
	seed_start(1);
	open_world();
	serve(&o, false, NULL);
	check(announce(&o, RAM, 0, 100, WT_CONTENT_IN_PLACE) == 0);
	check(wt_server_defer(o.server, &(struct wt_server_deferral){ 8, MS_NS, 2 }) == 0);
	while (nothing_waits()) {
		check(announce(&o, RAM, 10, 1, WT_CONTENT_IN_PLACE) == 0);
		wt_server_defer_epoch(o.server);
	}
	wait_for(&o, nothing_waits);
	close_world();
}

/* Without room it waits on, and goes first when there is some. */
static void test_what_waits_waits_for_room(void **state)
{
	for (unsigned ended = 0; ended < 2; ended++) {
		seed_start(1);
		open_world();
		serve_written_always(2);
		check(announce(&o, RAM, 10, 2, WT_CONTENT_IN_PLACE) == 0);
		while (announce(&o, RAM, 200, 1, WT_CONTENT_ZERO) == 0)
			;
		if (ended) {
			check(wt_server_defer(o.server, NULL) == -EAGAIN);
		} else {
			wt_server_defer_epoch(o.server);
			wt_server_defer_epoch(o.server);
		}
		check(wt_server_deferred(o.server) == 2);
		wait_for(&o, all_is_heard);
		fake_landed(&o.fake, 1, (uint32_t)heard.next_seq - 1);
		wait_for(&o, nothing_waits);
		wait_for(&o, all_is_heard);
		check(heard.list[heard.next_seq - 1].extent.page == 10 &&
			heard.list[heard.next_seq - 1].extent.pages == 2);
		close_world();
	}
}

/* A puller that is left, drained or not, has not got what waits. */
static void test_what_waits_is_handed_over(void **state)
{
	for (unsigned drained = 0; drained < 2; drained++) {
		seed_start(1);
		open_world();
		serve(&o, false, NULL);
		check(announce(&o, RAM, 0, 100, WT_CONTENT_IN_PLACE) == 0);
		defer(8, 2);
		for (unsigned i = 0; i < 2; i++) {
			check(announce(&o, RAM, 50, 2, WT_CONTENT_IN_PLACE) == 0);
			wt_server_defer_epoch(o.server);
		}
		wait_for(&o, all_is_heard);
		fake_landed(&o.fake, 1, (uint32_t)heard.next_seq - 1);
		settle(&o);
		check(announce(&o, RAM, 50, 2, WT_CONTENT_IN_PLACE) == 0);
		check(wt_server_deferred(o.server) == 2);
		if (drained) {
			drain(&o);
			say_drained(&o, 1);
			check(valid(&o, RAM, 49) && !valid(&o, RAM, 50) && !valid(&o, RAM, 51));
		} else {
			check(wt_server_leave(o.server) == 0);
		}
		serve(&n, false, NULL);
		send_base(&n, &o, drained ? &o : NULL);
		check(wt_server_hand_over(n.server, o.server) == 0);
		wt_server_flush(n.server);
		hear(&n, WT_MESSAGE_ANNOUNCE, 1);
		hear_announcements(&n);
		check(heard.next_seq == 2 && heard.list[1].extent.page == 50 &&
			heard.list[1].extent.pages == 2);
		close_world();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_written_always_waits),
		cmocka_unit_test(test_whatever_is_written_waits),
		cmocka_unit_test(test_what_may_wait),
		cmocka_unit_test(test_epochs_end),
		cmocka_unit_test(test_what_waits_waits_for_room),
		cmocka_unit_test(test_what_waits_is_handed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

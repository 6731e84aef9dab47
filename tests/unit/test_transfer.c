/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_transfer.c - page server and puller together over loopback tcp: memory is equal in the end, whatever
 * is rewritten, zeroed, cut or stalled on the way; and who does not fit is told why. WATARI_TEST in the
 * environment chooses tests by name (* and ? allowed).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "transfer_guest.h"

/* ---- memory ---- */

static void test_memory_is_equal_in_the_end(void **state)
{
	struct wt_server_stats stats;

	seed_start(1);
	begin(64, 10 * SECOND_NS);
	announce_all(true);
	w.writes_left = 4000;
	check(world_until(&w, guest_is_done));
	check_equal();
	wt_server_stats(w.server, &stats);
	check(stats.pending_bytes == 0 && stats.landed_seq + 1 == stats.next_seq && stats.paths == 3);
	check(w.back_pressure > 10);
	check(w.messages == w.messages_sent && w.messages > 50 && !w.disorder);
	check(w.connected == 1 && !w.lost && !w.server_lost);
	world_close(&w);
}

static uint64_t allocated_pages(int fd)
{
	struct stat st;

	check(fstat(fd, &st) == 0);
	return (uint64_t)st.st_blocks * 512 / WT_PAGE_SIZE;
}

/* A block that is empty but for a few pages; the destination has old content in a few others. */
static void test_holes_stay_holes(void **state)
{
	uint64_t pages = 64 * MIB >> WT_PAGE_SHIFT;
	unsigned there = 0;

	seed_start(2);
	begin(64, 10 * SECOND_NS);
	for (uint64_t page = 0; page < pages; page += 100) {
		/* One byte: the first, the last, or another. */
		w.blocks[0].mine[(page << WT_PAGE_SHIFT) + (page / 100 % 3 == 0 ? 0
								   : page / 100 % 3 == 1
									   ? WT_PAGE_SIZE - 1
									   : 1 + seed_below(4094))] = 1;
		there++;
	}
	announce(0, 0, (uint32_t)pages, WT_CONTENT_ZERO);
	check(announce_rest());
	for (uint64_t page = 50; page < pages; page += 100) {
		write_pages(&(struct wt_extent){ .page = page, .pages = 1 }, false);
		announce(0, page, 1, WT_CONTENT_IN_PLACE);
		while (!announce_rest()) {
			wt_server_flush(w.server);
			check(world_until(&w, has_room));
		}
		there++;
	}
	w.writes_left = 1;
	check(world_until(&w, guest_is_done));
	assert_int_equal(allocated_pages(w.blocks[0].mine_fd), there);
	assert_int_equal(allocated_pages(w.blocks[0].source_fd), there / 2);
	check_equal();
	world_close(&w);
}

/* Blocks that the server cannot read, and one that it can but need not. The ring is gone around several
 * times.
 */
static void test_copies(void **state)
{
	static const unsigned hidden[] = { 6, 7 };
	struct wt_server_stats stats;
	struct wt_extent e;

	for (unsigned i = 0; i < 2; i++) {
		seed_start(7);
		world_open(&w, 96, 20 * SECOND_NS);
		w.hidden = hidden[i];
		world_serve(&w, "vm");
		check(world_until(&w, is_ready));
		for (uint32_t b = 0; b < WORLD_BLOCKS; b++) {
			e = (struct wt_extent){ .block = b, .page = 3, .pages = 2 };
			check(!(hidden[i] >> b & 1) ||
				wt_server_announce(w.server, &e, WT_CONTENT_IN_PLACE) == -EINVAL);
			check(e.page == 3 && e.pages == 2);
		}
		announce_all(true);
		announce_all(false);
		w.writes_left = 2000;
		check(world_until(&w, guest_is_done));
		check_equal();
		wt_server_stats(w.server, &stats);
		check(stats.staged_pages > (i ? 128 * MIB : 20 * MIB) >> WT_PAGE_SHIFT);
		check(w.back_pressure > 10);
		world_close(&w);
	}
}

static void test_copy_beside_memory(void **state)
{
	static const uint8_t sevens[2 * WT_PAGE_SIZE] = { [0 ... 2 * WT_PAGE_SIZE - 1] = 7 };
	struct wt_extent e = { .page = 5, .pages = 2 };

	begin(1, 10 * SECOND_NS);
	write_pages(&(struct wt_extent){ .pages = 20 }, false);
	check(wt_server_announce_copy(w.server, &e, sevens) == 0 && e.pages == 0 && e.page == 7);
	check(wt_server_announce_copy(w.server, &(struct wt_extent){ .page = 256, .pages = 1 }, sevens) ==
		-EINVAL);
	w.writes_left = 1;
	check(world_until(&w, guest_is_done));
	check(memcmp(w.blocks[0].mine + 5 * WT_PAGE_SIZE, sevens, sizeof sevens) == 0);
	announce(0, 0, 20, WT_CONTENT_IN_PLACE);
	check(announce_rest());
	w.done = 0;
	w.writes_left = 1;
	check(world_until(&w, guest_is_done));
	check_equal();
	world_close(&w);
}

/* A full ring is back-pressure: `room` says so, and it takes again when the oldest copies have landed. */
static void test_ring_is_full(void **state)
{
	static uint8_t bytes[256 * WT_PAGE_SIZE];
	struct wt_server_stats stats;
	unsigned copies = 0;
	int r = 0;

	world_open(&w, 96, 20 * SECOND_NS);
	w.hidden = 1;
	world_serve(&w, "vm");
	check(world_until(&w, is_ready));
	/* The bound on what is pending grows with the rate: until it is above the ring's size, if ever. */
	do {
		for (uint32_t page = 0; page < 64 * 256 && wt_server_room(w.server); page += 256) {
			struct wt_extent e = { .page = page, .pages = 256 };

			r = wt_server_announce_copy(w.server, &e, bytes);
			check(r == 0);
			copies++;
		}
		check(world_until(&w, has_landed_all) && !w.server_failed);
		wt_server_stats(w.server, &stats);
	} while (copies < 100);
	check(stats.pending_bytes == 0 && wt_server_room(w.server));
	proxy_rule(&w.proxy, PROXY_DATA, false, false, true);
	for (copies = 0; wt_server_room(w.server); copies++) {
		struct wt_extent e = { .page = 256 * (copies % 64), .pages = 256 };

		check(wt_server_announce_copy(w.server, &e, bytes) == 0 && e.pages == 0);
	}
	check(copies <= 64);
	check(wt_server_announce_copy(w.server, &(struct wt_extent){ .pages = 256 }, bytes) == -EAGAIN);
	proxy_rule(&w.proxy, PROXY_DATA, false, false, false);
	check(world_until(&w, has_room));
	check(!w.server_failed);
	check(world_until(&w, has_landed_all));
	check_equal();
	world_close(&w);
}

static bool room_was_called(struct world *u)
{
	return u->rooms || u->server_failed;
}

/* The limit is back-pressure, for copies too, and `room` ends it; zeros pass; a lifted limit lets all go at
 * once.
 */
static void test_rate_limit(void **state)
{
	const uint64_t rate = 4 * MIB;
	uint64_t start_ns;

	for (unsigned i = 0; i < 2; i++) {
		world_open(&w, 16, 10 * SECOND_NS);
		w.hidden = i;
		w.rate_limit = rate;
		world_serve(&w, "vm");
		check(world_until(&w, is_ready));
		start_ns = wt_loop_now_ns(w.loop);
		for (unsigned part = 0; part < 6; part++) {
			write_pages(&(struct wt_extent){ .page = part * 256, .pages = 256 }, false);
			announce(0, part * 256, 256, WT_CONTENT_IN_PLACE);
			while (!announce_rest()) {
				check(!wt_server_room(w.server));
				check(world_until(&w, has_landed_all));
				w.rooms = 0;
				check(wt_server_room(w.server) || world_until(&w, room_was_called));
			}
		}
		/* 6 MiB, of which the last one and a burst need not be waited for. */
		check(wt_loop_now_ns(w.loop) - start_ns > 5 * MIB * SECOND_NS / rate - SECOND_NS / 10);
		check(!wt_server_room(w.server));
		announce(0, 0, 256, WT_CONTENT_ZERO);
		memset(w.blocks[0].source, 0, MIB);
		check(announce_rest());
		wt_server_rate_limit(w.server, 1);
		write_pages(&(struct wt_extent){ .page = 256, .pages = 512 }, false);
		announce(0, 256, 512, WT_CONTENT_IN_PLACE);
		check(!announce_rest() && w.rest.pages == 256); /* the rest would wait for a week */
		check(world_until(&w, has_landed_all));
		w.rooms = 0;
		wt_server_rate_limit(w.server, 0);
		check(!w.rooms);
		check(world_until(&w, room_was_called));
		check(w.rooms == 1);
		w.writes_left = 500;
		check(world_until(&w, guest_is_done));
		check_equal();
		world_close(&w);
	}
}

/* What was announced before a message has been announced when the message arrives. */
static void test_messages_keep_their_place(void **state)
{
	begin(8, 10 * SECOND_NS);
	for (unsigned i = 0; i < 20; i++) {
		write_pages(&(struct wt_extent){ .pages = 700 }, false);
		announce(0, 0, 700, WT_CONTENT_IN_PLACE);
		check(announce_rest());
		check(wt_server_send(w.server, MESSAGE_END, NULL, 0) == 0);
		check(world_until(&w, is_done));
		check_equal();
		w.done = 0;
	}
	world_close(&w);
}

static void test_bad_extents_are_refused(void **state)
{
	static const struct wt_extent bad[] = { { .block = WORLD_BLOCKS, .pages = 1 },
		{ .block = UINT32_MAX, .pages = 1 }, { .block = 2, .page = 12, .pages = 1 },
		{ .block = 2, .page = 11, .pages = 2 }, { .block = 2, .page = UINT64_MAX, .pages = 1 },
		{ .block = 2, .pages = UINT32_MAX } };

	begin(1, SECOND_NS);
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
		for (unsigned content = 0; content < 5; content++) {
			struct wt_extent e = bad[i];

			assert_int_equal(wt_server_announce(w.server, &e, (enum wt_content)content), -EINVAL);
		}
	w.writes_left = 1;
	check(world_until(&w, guest_is_done));
	check_equal();
	world_close(&w);
}

/* ---- lost connections ---- */

static void cut_soon(unsigned turn)
{
	enum proxy_kind kind = turn % 2 ? PROXY_DATA : PROXY_CONTROL;

	if (proxy_cut_after_left(&w.proxy, kind) == 0)
		proxy_cut_after(
			&w.proxy, kind, kind == PROXY_DATA ? 1 + seed_below(6 * MIB) : 1 + seed_below(30000));
}

/* The guest writes on while connections break off after a random number of bytes, on either kind. */
static bool guest_among_cuts(struct world *u)
{
	if (u->writes_left > 100 && seed_below(8) == 0)
		cut_soon((unsigned)seed_below(2));
	return guest_is_done(u);
}

static void run_among_cuts(void)
{
	begin(16, 20 * SECOND_NS);
	announce_all(true);
	w.writes_left = 1500;
	check(world_until(&w, guest_among_cuts));
	check_equal();
	check(proxy_cuts(&w.proxy) > 0);
	check(w.messages == w.messages_sent && !w.disorder);
	world_close(&w);
}

static void test_cuts_at_random(void **state)
{
	seed_runs(3, run_among_cuts);
}

static void test_control_cut_and_resumed(void **state)
{
	seed_start(3);
	begin(32, 10 * SECOND_NS);
	w.writes_left = 2000;
	announce_all(true);
	proxy_rule(&w.proxy, PROXY_CONTROL, true, true, false); /* cut, and nobody is let in */
	for (unsigned i = 0; i < 5; i++)
		count_message(); /* while nobody listens */
	proxy_rule(&w.proxy, PROXY_CONTROL, false, false, false);
	check(world_until(&w, guest_is_done));
	check(world_until(&w, is_back));
	check(w.server_lost == 1 && w.server_back == 1 && w.lost == 1 && w.back == 1 && w.connected == 1);
	check_equal();
	check(w.messages == w.messages_sent && !w.disorder);
	world_close(&w);
}

static void test_data_cut_and_resumed(void **state)
{
	struct wt_server_stats stats;

	seed_start(4);
	begin(32, 10 * SECOND_NS);
	for (unsigned i = 0; i < 3; i++) {
		announce_all(i == 0);
		proxy_rule(&w.proxy, PROXY_DATA, true, i == 1, false);
		announce_rest();
		proxy_rule(&w.proxy, PROXY_DATA, false, false, false);
	}
	w.writes_left = 1000;
	check(world_until(&w, guest_is_done));
	check_equal();
	check(!w.lost && !w.server_lost);
	wt_server_stats(w.server, &stats);
	check(stats.paths >= 1);
	world_close(&w);
}

static bool guest_until_lost(struct world *u)
{
	return guest_is_done(u) || u->server_lost;
}

/* Both kinds stand still, long enough for the session to give its connection up; nothing is lost. */
static void test_stall_and_restore(void **state)
{
	seed_start(5);
	begin(16, 20 * SECOND_NS);
	announce_all(true);
	proxy_rule(&w.proxy, PROXY_DATA, false, false, true);
	proxy_rule(&w.proxy, PROXY_CONTROL, false, false, true);
	w.writes_left = 600;
	check(world_until(&w, guest_until_lost));
	check(w.server_lost == 1 && !w.done);
	proxy_rule(&w.proxy, PROXY_CONTROL, false, false, false);
	proxy_rule(&w.proxy, PROXY_DATA, false, false, false);
	check(world_until(&w, guest_is_done));
	check_equal();
	check(w.server_back >= 1);
	world_close(&w);
}

static void flood_from_puller(struct world *u)
{
	static uint8_t payload[WT_WIRE_PAYLOAD_MAX];

	while (wt_puller_send(u->puller, 80, payload, sizeof payload) == 0)
		u->answers--;
}

static bool all_answers(struct world *u)
{
	return u->answers == 0 && guest_is_done(u);
}

static bool nothing_unsent(struct world *u)
{
	return wt_server_unsent(u->server) == 0;
}

static bool has_landed(struct world *u)
{
	return u->landed;
}

/* The application fills the puller's side of the session: acknowledgements wait for room. */
static void test_full_session_loses_no_acknowledgement(void **state)
{
	begin(16, 20 * SECOND_NS);
	proxy_rule(&w.proxy, PROXY_DATA, false, false, true);
	write_pages(&(struct wt_extent){ .pages = 900 }, false);
	announce(0, 0, 900, WT_CONTENT_IN_PLACE);
	check(announce_rest());
	wt_server_flush(w.server);
	check(world_until(&w, nothing_unsent)); /* the puller knows */
	proxy_rule(&w.proxy, PROXY_CONTROL, false, false, true);
	world_call(&w, flood_from_puller);
	check(w.answers != 0 && !w.landed);
	proxy_rule(&w.proxy, PROXY_DATA, false, false, false);
	check(world_until(&w, has_landed)); /* but cannot say so */
	check(!wt_server_all_landed(w.server));
	proxy_rule(&w.proxy, PROXY_CONTROL, false, false, false);
	w.writes_left = 100;
	check(world_until(&w, guest_is_done));
	check(world_until(&w, all_answers));
	check_equal();
	world_close(&w);
}

/* And the server's side: announcements wait, and messages do not pass them. */
static void test_full_session_loses_no_announcement(void **state)
{
	static uint8_t payload[WT_WIRE_PAYLOAD_MAX];
	unsigned sent = 0, announced = 0;
	int r;

	seed_start(6);
	begin(16, 20 * SECOND_NS);
	proxy_rule(&w.proxy, PROXY_CONTROL, false, false, true);
	do {
		unsigned number = ++sent;

		memcpy(payload, &number, sizeof number);
		r = wt_server_send(w.server, MESSAGE_COUNTED, payload, sizeof payload);
	} while (r == 0);
	check(r == -EAGAIN && sent > 32);
	w.messages_sent = sent - 1;
	for (uint32_t page = 0; page < 2000; page += 2) {
		struct wt_extent e = { .page = page, .pages = 1 };

		write_pages(&e, false);
		w.rest = e;
		w.rest_content = WT_CONTENT_IN_PLACE;
		if (!announce_rest())
			break;
		announced++;
	}
	check(announced >= 512 && w.rest.pages == 1);
	check(!wt_server_room(w.server));
	check(wt_server_send(w.server, MESSAGE_COUNTED, payload, 4) == -EAGAIN);
	proxy_rule(&w.proxy, PROXY_CONTROL, false, false, false);
	w.writes_left = 500;
	check(world_until(&w, guest_is_done));
	check_equal();
	check(w.messages == w.messages_sent && !w.disorder);
	world_close(&w);
}

/* ---- who does not fit ---- */

static void test_wrong_name_is_refused(void **state)
{
	world_open(&w, 1, SECOND_NS);
	world_serve(&w, "another");
	check(world_until(&w, has_failed));
	check(!w.ready && strstr(w.server_error.text, "\"vm\"") &&
		strstr(w.server_error.text, "\"another\""));
	check(w.refused == 1 && strstr(w.refused_error.text, "\"another\""));
	check(!w.failed && !w.connected);
	wt_server_close(w.server);
	world_serve(&w, "vm"); /* and the right one is still welcome */
	check(world_until(&w, is_ready));
	check(w.ready == 1);
	world_close(&w);
}

static void test_wrong_block_is_refused_with_the_pullers_sentence(void **state)
{
	world_open(&w, 1, 5 * SECOND_NS);
	w.refuse_block = "vram";
	world_serve(&w, "vm");
	check(world_until(&w, both_failed));
	check(strstr(w.puller_error.text, "block vram is not wanted here"));
	check(strstr(w.server_error.text, "block vram is not wanted here; give both guests the same memory"));
	check(!w.server_lost && !w.lost && !w.ready);
	wt_server_close(w.server);
	world_serve(&w, "vm"); /* too late, and it says why */
	check(world_until(&w, has_failed));
	check(!w.ready);
	world_close(&w);
}

static void test_second_source_is_refused(void **state)
{
	struct wt_server *first;

	begin(1, SECOND_NS);
	first = w.server;
	world_serve(&w, "vm");
	check(world_until(&w, has_failed));
	check(strstr(w.server_error.text, "from another source already"));
	wt_server_close(w.server);
	w.server = first;
	w.server_failed = 0;
	w.writes_left = 50;
	check(world_until(&w, guest_is_done));
	check_equal();
	world_close(&w);
}

/* ---- ends ---- */

static void test_server_closes(void **state)
{
	begin(1, SECOND_NS / 2);
	announce_all(true);
	wt_server_close(w.server);
	w.server = NULL;
	check(world_until(&w, puller_failed));
	check(w.lost == 1 && !w.back && w.puller_error.text[0]);
	world_close(&w);
}

static void test_puller_closes(void **state)
{
	begin(1, SECOND_NS / 2);
	announce_all(true);
	world_call(&w, close_puller);
	proxy_rule(&w.proxy, PROXY_CONTROL, true, true, false);
	check(world_until(&w, has_failed));
	check(w.server_lost == 1 && w.server_error.text[0]);
	world_close(&w);
}

static void test_close_before_anything(void **state)
{
	world_open(&w, 1, SECOND_NS);
	check(wt_puller_heard_ns(w.puller) == 0);
	world_serve(&w, "vm");
	world_close(&w);
}

/* The source's file is cut short under the server: the reads fail, and both ends say so instead of trying for
 * ever. */
static void test_memory_that_went_away(void **state)
{
	begin(16, 5 * SECOND_NS);
	check(ftruncate(w.blocks[0].source_fd, 0) == 0);
	announce(0, 0, 4096, WT_CONTENT_IN_PLACE);
	announce_rest();
	wt_server_flush(w.server);
	check(world_until(&w, both_failed));
	check(strstr(w.puller_error.text, "refuses") && strstr(w.server_error.text, "refuses"));
	world_close(&w);
}

/* ---- hostile and clumsy peers of the puller ---- */

/* Says hello, then the bytes; collects what comes back until the end; answers whether it contains the text.
 */
static bool talk(const void *bytes, size_t length, const char *text)
{
	struct wt_hello hello = { .version_min = WT_WIRE_VERSION,
		.version_max = WT_WIRE_VERSION,
		.session_id = "hostile",
		.name = "vm" };
	uint8_t greeting[WT_WIRE_HELLO_BYTES], back[8192];
	struct timeval patience = { .tv_sec = 30 };
	int fd = proxy_socket(w.port, false, NULL);
	size_t got = 0;
	ssize_t n;

	check(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	wt_wire_hello_encode(&hello, greeting);
	check(send(fd, greeting, sizeof greeting, MSG_NOSIGNAL) == sizeof greeting);
	if (length)
		check(send(fd, bytes, length, MSG_NOSIGNAL) == (ssize_t)length);
	while (got < sizeof back && (n = recv(fd, back + got, sizeof back - got, 0)) > 0)
		got += (size_t)n;
	close(fd);
	return memmem(back, got, text, strlen(text)) != NULL;
}

static void hostile(unsigned type, const void *payload, size_t length, uint64_t ack, const char *text)
{
	uint8_t bytes[WT_WIRE_FRAME_HEADER + 256];
	struct wt_frame frame = {
		.type = (uint16_t)type, .number = 1, .ack = ack, .length = (uint32_t)length
	};

	world_open(&w, 1, 20 * SECOND_NS);
	wt_wire_frame_encode(&frame, bytes);
	if (payload)
		memcpy(bytes + WT_WIRE_FRAME_HEADER, payload, length);
	check(talk(bytes, WT_WIRE_FRAME_HEADER + (payload ? length : 0), text));
	check(world_until(&w, puller_failed));
	check(strstr(w.puller_error.text, text));
	if (type == WT_MESSAGE_BLOCK)
		check(talk(NULL, 0, text)); /* who comes again is told again */
	world_close(&w);
}

static void test_hostile_server_is_told_why(void **state)
{
	static const uint8_t zeros[64];
	uint8_t announcement[12 + WT_WIRE_ANNOUNCEMENT_BYTES] = {
		1, [8] = 1, [16] = 1, [28] = WT_CONTENT_ZERO, [30] = WT_PRIORITY_BULK
	};

	hostile(WT_MESSAGE_BLOCK, zeros, 20, 0, "list of blocks is malformed");
	hostile(WT_MESSAGE_ANNOUNCE, zeros, 12, 0, "announcement is malformed"); /* before any block */
	hostile(WT_MESSAGE_ANNOUNCE, announcement, sizeof announcement, 0, "announcement is malformed");
	hostile(WT_MESSAGE_REGION, zeros, 38, 0, "region lies in no block");
	hostile(WT_MESSAGE_REGIONS_CLEAR, "\7", 1, 0, "message on regions is malformed");
	hostile(WT_MESSAGE_LANDED, zeros, 4, 0, "unknown type 21");
	hostile(40, zeros, 4, 0, "unknown type 40");
	hostile(80, zeros, 4, 0, "a strange message");
	hostile(80, zeros, 4, 9, "never sent");
	hostile(80, NULL, WT_WIRE_PAYLOAD_MAX + 1, 0, "malformed");
}

/* Peers that say nothing, or anything else, do not keep the server out. */
static void test_silent_guests_do_not_block(void **state)
{
	int fds[40];

	world_open(&w, 1, 5 * SECOND_NS);
	for (unsigned i = 0; i < 40; i++) {
		fds[i] = proxy_socket(w.port, false, NULL);
		check(fds[i] >= 0);
		if (i % 3)
			check(send(fds[i], i % 3 == 1 ? "GET / HTTP/1.1\r\n\r\n" : "\0WAT", 4,
				      MSG_NOSIGNAL) == 4);
	}
	world_serve(&w, "vm");
	check(world_until(&w, is_ready));
	check(w.ready == 1);
	for (unsigned i = 0; i < 40; i++)
		close(fds[i]);
	w.writes_left = 20;
	check(world_until(&w, guest_is_done));
	check_equal();
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_memory_is_equal_in_the_end, abandon),
		cmocka_unit_test_teardown(test_holes_stay_holes, abandon),
		cmocka_unit_test_teardown(test_copies, abandon),
		cmocka_unit_test_teardown(test_copy_beside_memory, abandon),
		cmocka_unit_test_teardown(test_ring_is_full, abandon),
		cmocka_unit_test_teardown(test_rate_limit, abandon),
		cmocka_unit_test_teardown(test_messages_keep_their_place, abandon),
		cmocka_unit_test_teardown(test_bad_extents_are_refused, abandon),
		cmocka_unit_test_teardown(test_cuts_at_random, abandon),
		cmocka_unit_test_teardown(test_control_cut_and_resumed, abandon),
		cmocka_unit_test_teardown(test_data_cut_and_resumed, abandon),
		cmocka_unit_test_teardown(test_stall_and_restore, abandon),
		cmocka_unit_test_teardown(test_full_session_loses_no_acknowledgement, abandon),
		cmocka_unit_test_teardown(test_full_session_loses_no_announcement, abandon),
		cmocka_unit_test_teardown(test_wrong_name_is_refused, abandon),
		cmocka_unit_test_teardown(test_wrong_block_is_refused_with_the_pullers_sentence, abandon),
		cmocka_unit_test_teardown(test_second_source_is_refused, abandon),
		cmocka_unit_test_teardown(test_server_closes, abandon),
		cmocka_unit_test_teardown(test_puller_closes, abandon),
		cmocka_unit_test_teardown(test_close_before_anything, abandon),
		cmocka_unit_test_teardown(test_memory_that_went_away, abandon),
		cmocka_unit_test_teardown(test_hostile_server_is_told_why, abandon),
		cmocka_unit_test_teardown(test_silent_guests_do_not_block, abandon),
	};

	if (getenv("WATARI_TEST"))
		cmocka_set_test_filter(getenv("WATARI_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}

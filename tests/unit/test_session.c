/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_session.c - two sessions over a wire that is cut: at every single byte, and at random; and peers that
 * break the protocol, each refused with a sentence.
 *
 * The wire is two buffers. The listener's part (decoding the hello) is played by the test.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "seed.h"
#include "session.h"

#define WIRE_BYTES (8u << 20)
#define MS 1000000ull

struct side {
	struct wt_session *session;
	struct wire *out;
	uint64_t said, heard; /* numbered messages of the test */
	unsigned ups;
};

static struct wire {
	uint8_t bytes[WIRE_BYTES];
	size_t start, end;
} to_acceptor, to_connector;

static struct side connector, acceptor;
static uint64_t now_ns;
static const uint8_t session_id[WT_SESSION_ID_BYTES] = "0123456789abcde";

static void output(void *arg, const void *bytes, size_t length)
{
	struct side *side = arg;

	check(side->out->end + length <= WIRE_BYTES);
	memcpy(side->out->bytes + side->out->end, bytes, length);
	side->out->end += length;
}

/* A message's length and bytes follow from its number. */
static size_t make_message(uint64_t number, uint8_t *ret_payload)
{
	size_t length = number % 7 == 0 ? 0 : 8 + number * 31 % 90;

	memset(ret_payload, (int)number, length);
	if (length)
		memcpy(ret_payload, &number, sizeof number);
	return length;
}

static int message(void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct side *side = arg;
	uint8_t expected[256];

	side->heard++;
	check(type == WT_MESSAGE_APPLICATION + side->heard % 100);
	check(length == make_message(side->heard, expected));
	check(memcmp(payload, expected, length) == 0);
	return 0;
}

static void up(void *arg)
{
	((struct side *)arg)->ups++;
}

static const struct wt_session_events events = { .output = output, .message = message, .up = up };

static int say(struct side *side)
{
	uint8_t payload[256];
	size_t length = make_message(side->said + 1, payload);
	int r = wt_session_send(side->session, WT_MESSAGE_APPLICATION + (unsigned)((side->said + 1) % 100),
		payload, length, now_ns);

	if (!r)
		side->said++;
	return r;
}

static void open_sides(void)
{
	connector = (struct side){ .out = &to_acceptor };
	acceptor = (struct side){ .out = &to_connector };
	to_acceptor.start = to_acceptor.end = to_connector.start = to_connector.end = 0;
	now_ns = 1000 * MS;
	assert_int_equal(wt_session_open(true, session_id, "vm", &events, &connector, &connector.session), 0);
	assert_int_equal(wt_session_open(false, session_id, "vm", &events, &acceptor, &acceptor.session), 0);
}

static void close_sides(void)
{
	wt_session_close(connector.session);
	wt_session_close(acceptor.session);
}

/* Delivers up to `max` bytes in one direction. The first bytes of a connection are the hello. */
static size_t deliver(struct wire *wire, size_t max)
{
	struct side *to = wire == &to_acceptor ? &acceptor : &connector;
	size_t length = wire->end - wire->start < max ? wire->end - wire->start : max;
	struct wt_error err = { 0 };
	struct wt_hello hello;

	if (to == &acceptor && wt_session_is_down(acceptor.session)) {
		if (length < WT_WIRE_HELLO_BYTES)
			return 0;
		length = WT_WIRE_HELLO_BYTES;
		check(wt_wire_hello_decode(wire->bytes + wire->start, &hello) == 0);
		check(strcmp(hello.name, "vm") == 0);
		check(wt_session_accept(acceptor.session, &hello, now_ns, &err) == 0);
	} else if (length) {
		check(wt_session_input(to->session, wire->bytes + wire->start, length, now_ns, &err) == 0);
	}
	wire->start += length;
	if (wire->start == wire->end)
		wire->start = wire->end = 0;
	return length;
}

static void cut(void)
{
	to_acceptor.start = to_acceptor.end = to_connector.start = to_connector.end = 0;
	wt_session_disconnect(connector.session);
	wt_session_disconnect(acceptor.session);
}

static void settle(void)
{
	if (wt_session_is_down(connector.session))
		wt_session_connect(connector.session, now_ns);
	do {
		now_ns += 150 * MS;
		wt_session_tick(connector.session, now_ns);
		wt_session_tick(acceptor.session, now_ns);
		while (deliver(&to_acceptor, WIRE_BYTES) + deliver(&to_connector, WIRE_BYTES))
			;
	} while (wt_session_retained(connector.session) || wt_session_retained(acceptor.session));
	check(connector.heard == acceptor.said && acceptor.heard == connector.said);
	check(wt_session_is_up(connector.session) && wt_session_is_up(acceptor.session));
}

/* ---- lost connections ---- */

/* A short talk, of which only the first `limit` bytes of one direction arrive before the cut. */
static bool talk_and_cut(struct wire *wire, size_t limit)
{
	struct wire *other = wire == &to_acceptor ? &to_connector : &to_acceptor;
	size_t before = limit;

	open_sides();
	seed_start(limit + 1);
	say(&acceptor);
	say(&connector);
	wt_session_connect(connector.session, now_ns);
	for (unsigned round = 0; round < 6; round++) {
		while (deliver(other, WIRE_BYTES))
			;
		/* The hello is taken as one piece by the listener: in part it does not count. */
		while (limit) {
			size_t n = deliver(wire, limit);

			if (!n)
				break;
			limit -= n;
		}
		say(&connector);
		say(&acceptor);
		now_ns += 201 * MS;
		wt_session_tick(connector.session, now_ns);
	}
	cut();
	say(&connector);
	say(&acceptor);
	settle();
	check(connector.said == 8 && acceptor.said == 8);
	close_sides();
	return limit == 0 || before < WT_WIRE_HELLO_BYTES;
}

static void test_cut_at_every_byte(void **state)
{
	size_t limit;

	for (limit = 0; talk_and_cut(&to_acceptor, limit); limit++)
		;
	assert_true(limit > 600);
	for (limit = 0; talk_and_cut(&to_connector, limit); limit++)
		;
	assert_true(limit > 600);
}

static void random_run(void)
{
	open_sides();
	for (unsigned step = 0; step < 600; step++) {
		switch (seed_below(8)) {
		case 0:
			say(&connector);
			break;
		case 1:
			say(&acceptor);
			break;
		case 2:
			if (seed_below(6) == 0)
				cut();
			break;
		case 3:
			if (wt_session_is_down(connector.session)) {
				cut();
				wt_session_connect(connector.session, now_ns);
			}
			break;
		case 4:
			now_ns += seed_below(250) * MS;
			wt_session_tick(connector.session, now_ns);
			wt_session_tick(acceptor.session, now_ns);
			break;
		case 5:
			deliver(&to_acceptor, WT_WIRE_HELLO_BYTES + seed_below(100));
			break;
		case 6:
			deliver(&to_acceptor, 1 + seed_below(40));
			break;
		default:
			deliver(&to_connector, 1 + seed_below(600));
		}
	}
	settle();
	close_sides();
}

static void test_random_cuts(void **state)
{
	seed_runs(400, random_run);
}

/* Only one end notices that the connection has gone; the other is told by the new hello. */
static void test_new_hello_on_a_session_that_is_up(void **state)
{
	struct wt_error err = { 0 };
	struct wt_hello hello;

	open_sides();
	settle();
	say(&acceptor);
	say(&connector);
	to_acceptor.start = to_acceptor.end = to_connector.start = to_connector.end = 0;
	wt_session_disconnect(connector.session);
	wt_session_connect(connector.session, now_ns);
	assert_int_equal(wt_wire_hello_decode(to_acceptor.bytes, &hello), 0);
	to_acceptor.start = WT_WIRE_HELLO_BYTES;
	assert_int_equal(wt_session_accept(acceptor.session, &hello, now_ns, &err), 0);
	settle();
	close_sides();
}

static void test_retained_is_bounded(void **state)
{
	static uint8_t payload[WT_WIRE_PAYLOAD_MAX];
	size_t before;
	unsigned count = 0;

	open_sides();
	while (wt_session_send(connector.session, 64, payload, sizeof payload, now_ns) == 0)
		assert_true(++count < 100);
	before = wt_session_retained(connector.session);
	assert_true(before >= WT_SESSION_RETAINED_MAX);
	assert_true(before <= WT_SESSION_RETAINED_MAX + sizeof payload + WT_WIRE_FRAME_HEADER);
	assert_int_equal(wt_session_send(connector.session, 64, payload, 1, now_ns), -EAGAIN);
	assert_int_equal(wt_session_retained(connector.session), before);
	close_sides();
}

static int count_only(void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err)
{
	((struct side *)arg)->heard++;
	return 0;
}

/* Whoever waits for his last word waits for that only: a peer that has gone acknowledges no more. */
static void test_words_that_are_owed(void **state)
{
	static const struct wt_session_events listening = {
		.output = output, .message = count_only, .up = up
	};

	open_sides();
	wt_session_close(acceptor.session);
	wt_session_open(false, session_id, "vm", &listening, &acceptor, &acceptor.session);
	settle();
	assert_int_equal(wt_session_send(connector.session, WT_MESSAGE_PATHS_LOST, "\1", 1, now_ns), 0);
	assert_true(wt_session_retained(connector.session) > 0);
	assert_false(wt_session_owes_word(connector.session));
	assert_int_equal(wt_session_send(connector.session, WT_MESSAGE_APPLICATION, NULL, 0, now_ns), 0);
	assert_true(wt_session_owes_word(connector.session));
	while (wt_session_retained(connector.session)) {
		wt_session_tick(acceptor.session, now_ns += WT_SESSION_KEEPALIVE_NS);
		deliver(&to_acceptor, WIRE_BYTES);
		deliver(&to_connector, WIRE_BYTES);
	}
	assert_false(wt_session_owes_word(connector.session));
	close_sides();
}

/* A side that only listens acknowledges after a megabyte, without waiting for its clock. */
static void test_bulk_is_acknowledged_without_a_tick(void **state)
{
	static const struct wt_session_events listening = {
		.output = output, .message = count_only, .up = up
	};
	static uint8_t payload[300000];

	open_sides();
	settle();
	wt_session_close(acceptor.session);
	wt_session_close(connector.session);
	wt_session_open(true, session_id, "vm", &events, &connector, &connector.session);
	wt_session_open(false, session_id, "vm", &listening, &acceptor, &acceptor.session);
	settle();
	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal(wt_session_send(connector.session, 64, payload, sizeof payload, now_ns), 0);
		while (deliver(&to_acceptor, 65536) + deliver(&to_connector, WIRE_BYTES))
			;
		assert_true(wt_session_retained(connector.session) < (2u << 20));
	}
	assert_int_equal(acceptor.heard, 40);
	close_sides();
}

static void test_keepalive_only_when_silent(void **state)
{
	open_sides();
	settle();
	wt_session_tick(connector.session, now_ns += WT_SESSION_KEEPALIVE_NS);
	deliver(&to_acceptor, WIRE_BYTES);
	wt_session_tick(connector.session, now_ns += WT_SESSION_KEEPALIVE_NS - 1);
	assert_int_equal(to_acceptor.end, 0);
	wt_session_tick(connector.session, now_ns += 1);
	assert_int_equal(to_acceptor.end, WT_WIRE_FRAME_HEADER);
	deliver(&to_acceptor, WIRE_BYTES);
	assert_int_equal(wt_session_heard_ns(acceptor.session), now_ns);
	close_sides();
}

/* ---- hostile peers ---- */

/* Feeds the acceptor's session one frame, whole and byte by byte; answers the code of the refusal. */
static int feed(struct wt_frame frame, const void *payload, size_t length)
{
	static uint8_t bytes[WT_WIRE_FRAME_HEADER + 1024];
	struct wt_error err = { 0 };
	int r = 0, whole;

	wt_wire_frame_encode(&frame, bytes);
	if (length)
		memcpy(bytes + WT_WIRE_FRAME_HEADER, payload, length);
	length += WT_WIRE_FRAME_HEADER;
	for (unsigned piecewise = 0; piecewise < 2; piecewise++) {
		open_sides();
		settle();
		wt_error_clear(&err);
		whole = r;
		if (!piecewise)
			r = wt_session_input(acceptor.session, bytes, length, now_ns, &err);
		else
			for (size_t i = 0, bad = r = 0; i < length && !bad; i++)
				bad = (r = wt_session_input(acceptor.session, bytes + i, 1, now_ns, &err)) !=
				      0;
		assert_int_equal(-r, err.code);
		assert_true(!r || strlen(err.text) > 10);
		if (piecewise)
			assert_int_equal(r, whole);
		if (!r)
			assert_int_equal(acceptor.heard, 1);
		else
			assert_int_equal(acceptor.heard, 0);
		close_sides();
	}
	return r;
}

static void test_hostile_frames(void **state)
{
	struct wt_frame good = { .type = WT_MESSAGE_APPLICATION + 1, .number = 1, .length = 39 }, f;
	uint8_t payload[256];
	char long_text[900];

	assert_int_equal(make_message(1, payload), 39);
	assert_int_equal(feed(good, payload, 39), 0);
	f = good;
	f.ack = 1;
	assert_int_equal(feed(f, payload, 39), -EPROTO);
	f.ack = UINT64_MAX;
	assert_int_equal(feed(f, payload, 39), -EPROTO);
	f = good;
	f.number = 0;
	assert_int_equal(feed(f, payload, 39), -EPROTO);
	f.number = 2;
	assert_int_equal(feed(f, payload, 39), -EPROTO);
	f.number = UINT64_MAX;
	assert_int_equal(feed(f, payload, 39), -EPROTO);
	f = good;
	f.length = WT_WIRE_PAYLOAD_MAX + 1;
	assert_int_equal(feed(f, NULL, 0), -EPROTO);
	f.length = UINT32_MAX;
	assert_int_equal(feed(f, NULL, 0), -EPROTO);
	f = good;
	f.type = 0;
	assert_int_equal(feed(f, payload, 39), -EPROTO);
	memset(long_text, 'x', sizeof long_text);
	f = (struct wt_frame){ .type = WT_MESSAGE_BYE, .length = sizeof long_text };
	assert_int_equal(feed(f, long_text, sizeof long_text), -ECONNABORTED);
	f.length = 0;
	assert_int_equal(feed(f, NULL, 0), -ECONNABORTED);
}

static void test_bye_carries_its_sentence(void **state)
{
	struct wt_error err = { 0 };

	open_sides();
	wt_session_bye(acceptor.session, "nobody listens"); /* no connection: no harm */
	settle();
	wt_session_bye(acceptor.session, "block pc.ram differs; start it with 2 GiB");
	assert_int_equal(
		wt_session_input(connector.session, to_connector.bytes, to_connector.end, now_ns, &err),
		-ECONNABORTED);
	assert_non_null(strstr(err.text, "block pc.ram differs; start it with 2 GiB"));
	close_sides();
}

static int welcome(struct wt_welcome w, bool broken, struct wt_error *err)
{
	uint8_t bytes[WT_WIRE_WELCOME_BYTES];

	wt_error_clear(err);
	open_sides();
	wt_session_connect(connector.session, now_ns);
	wt_wire_welcome_encode(&w, bytes);
	if (broken)
		bytes[0] ^= 1;
	return wt_session_input(connector.session, bytes, sizeof bytes, now_ns, err);
}

static void test_hostile_greetings(void **state)
{
	struct wt_hello hello = { .received = 0 };
	struct wt_error err = { 0 };
	uint8_t refusal[WT_WIRE_WELCOME_BYTES];
	char text[600];

	assert_int_equal(welcome((struct wt_welcome){ .version = WT_WIRE_VERSION }, false, &err), 0);
	close_sides();
	assert_int_equal(welcome((struct wt_welcome){ .version = WT_WIRE_VERSION }, true, &err), -EPROTO);
	close_sides();
	assert_int_equal(
		welcome((struct wt_welcome){ .version = WT_WIRE_VERSION + 1 }, false, &err), -ECONNABORTED);
	close_sides();
	assert_int_equal(
		welcome((struct wt_welcome){ .version = WT_WIRE_VERSION, .received = 1 }, false, &err),
		-ECONNABORTED);
	assert_non_null(strstr(err.text, "cannot go on"));
	close_sides();

	open_sides();
	wt_session_connect(connector.session, now_ns);
	memset(text, 'y', sizeof text);
	text[sizeof text - 1] = 0;
	wt_session_refusal(text, refusal); /* cut, not overrun */
	wt_error_clear(&err);
	assert_int_equal(
		wt_session_input(connector.session, refusal, sizeof refusal, now_ns, &err), -ECONNABORTED);
	assert_non_null(strstr(err.text, "refuses: yyy"));
	close_sides();

	open_sides();
	wt_error_clear(&err);
	assert_int_equal(wt_session_accept(acceptor.session, &hello, now_ns, &err), -EPROTO); /* other id */
	memcpy(hello.session_id, session_id, sizeof session_id);
	for (unsigned i = 0; i < 2; i++) {
		hello.received = i ? UINT64_MAX : 7;
		wt_error_clear(&err);
		assert_int_equal(wt_session_accept(acceptor.session, &hello, now_ns, &err), -ECONNABORTED);
	}
	assert_false(wt_session_is_up(acceptor.session));
	close_sides();
}

/* A peer that was started anew and has forgotten what it had acknowledged. */
static void test_peer_that_forgot(void **state)
{
	struct wt_hello hello = { .received = 0 };
	struct wt_error err = { 0 };

	open_sides();
	say(&acceptor);
	settle();
	memcpy(hello.session_id, session_id, sizeof session_id);
	cut();
	wt_session_connect(connector.session, now_ns);
	assert_int_equal(wt_session_accept(acceptor.session, &hello, now_ns, &err), -ECONNABORTED);
	assert_non_null(strstr(err.text, "start again"));
	/* And the forgetful one is told in place of a welcome. */
	wt_error_clear(&err);
	assert_int_equal(
		wt_session_input(connector.session, to_connector.bytes, to_connector.end, now_ns, &err),
		-ECONNABORTED);
	assert_non_null(strstr(err.text, "start again"));
	close_sides();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cut_at_every_byte),
		cmocka_unit_test(test_random_cuts),
		cmocka_unit_test(test_new_hello_on_a_session_that_is_up),
		cmocka_unit_test(test_retained_is_bounded),
		cmocka_unit_test(test_words_that_are_owed),
		cmocka_unit_test(test_bulk_is_acknowledged_without_a_tick),
		cmocka_unit_test(test_keepalive_only_when_silent),
		cmocka_unit_test(test_hostile_frames),
		cmocka_unit_test(test_bye_carries_its_sentence),
		cmocka_unit_test(test_hostile_greetings),
		cmocka_unit_test(test_peer_that_forgot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

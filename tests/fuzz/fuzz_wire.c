/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_wire.c - hostile bytes into every decoder of wire.h and into both sides of a session.
 *
 * The first byte chooses: a decoder, a session fed with the rest, or one whose peer does what the rest says.
 * Whatever decodes is encoded and decoded again: both must agree.
 */
#include <stdlib.h>
#include <string.h>

#include "session.h"
#include "wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t payload[WT_WIRE_PAYLOAD_MAX];
static struct wt_announcement announcements[WT_WIRE_ANNOUNCEMENTS_MAX];
static struct wt_seq_range ranges[WT_WIRE_RANGES_MAX];
static uint64_t words[WT_WIRE_WORDS_MAX];
static struct wt_extent extents[WT_WIRE_WANTED_MAX];

static void check(int holds)
{
	if (!holds)
		abort();
}

static void fuzz_payloads(const uint8_t *data, size_t size)
{
	struct wt_wire_block block;
	struct wt_wire_ready ready;
	struct wt_wire_region region;
	uint64_t first;
	unsigned count;
	size_t length;

	if (wt_wire_block_decode(data, size, &block) == 0) {
		length = wt_wire_block_encode(&block, payload);
		check(length == size && memcmp(payload, data, size) == 0);
	}
	if (wt_wire_ready_decode(data, size, &ready) == 0) {
		length = wt_wire_ready_encode(&ready, payload);
		check(length == size && memcmp(payload, data, size) == 0);
	}
	if (wt_wire_region_decode(data, size, &region) == 0) {
		length = wt_wire_region_encode(&region, payload);
		check(length == size && memcmp(payload, data, size) == 0);
	}
	if (wt_wire_announce_decode(data, size, &first, announcements, &count) == 0) {
		length = wt_wire_announce_encode(first, announcements, count, payload);
		check(length == size && memcmp(payload, data, size) == 0);
	}
	if (wt_wire_landed_decode(data, size, ranges, &count) == 0) {
		length = wt_wire_landed_encode(ranges, count, payload);
		check(length == size && memcmp(payload, data, size) == 0);
	}
}

/* What was encoded again is what was decoded. */
static void check_same(const uint8_t *data, size_t size, size_t length)
{
	check(length == size && memcmp(payload, data, size) == 0);
}

static void fuzz_base(const uint8_t *data, size_t size)
{
	struct wt_wire_pages pages;
	struct wt_wire_base base;
	struct wt_wire_base_end end;
	uint64_t left;
	uint32_t epoch;

	if (wt_wire_epoch_decode(data, size, &epoch) == 0)
		check_same(data, size, wt_wire_epoch_encode(epoch, payload));
	if (wt_wire_missing_decode(data, size, &pages, words) == 0)
		check_same(data, size, wt_wire_missing_encode(&pages, words, payload));
	if (wt_wire_base_decode(data, size, &base, words) == 0)
		check_same(data, size, wt_wire_base_encode(&base, words, payload));
	if (wt_wire_base_end_decode(data, size, &end) == 0)
		check_same(data, size, wt_wire_base_end_encode(&end, payload));
	if (wt_wire_base_left_decode(data, size, &left) == 0)
		check_same(data, size, wt_wire_base_left_encode(left, payload));
}

static void fuzz_helpers(const uint8_t *data, size_t size)
{
	struct wt_wire_expect expect;
	struct wt_wire_expected expected;
	struct wt_wire_serve serve;
	struct wt_wire_helper helper;
	uint8_t server;
	enum wt_priority priority;
	unsigned count;

	if (wt_wire_expect_decode(data, size, &expect) == 0)
		check_same(data, size, wt_wire_expect_encode(&expect, payload));
	if (wt_wire_expected_decode(data, size, &expected) == 0)
		check_same(data, size, wt_wire_expected_encode(&expected, payload));
	if (wt_wire_serve_decode(data, size, &serve) == 0)
		check_same(data, size, wt_wire_serve_encode(&serve, payload));
	if (wt_wire_serve_end_decode(data, size, &server) == 0)
		check_same(data, size, wt_wire_serve_end_encode(server, payload));
	if (wt_wire_helper_decode(data, size, &helper) == 0)
		check_same(data, size, wt_wire_helper_encode(&helper, payload));
	if (wt_wire_want_decode(data, size, &priority, extents, &count) == 0)
		check_same(data, size, wt_wire_want_encode(priority, extents, count, payload));
}

static void fuzz_digests(const uint8_t *data, size_t size)
{
	struct wt_wire_digest_keys keys;
	struct wt_wire_digests digests;
	struct wt_wire_ask ask;
	struct wt_wire_answer answer;

	if (wt_wire_digest_keys_decode(data, size, &keys) == 0)
		check_same(data, size, wt_wire_digest_keys_encode(&keys, payload));
	if (wt_wire_digests_decode(data, size, &digests) == 0)
		check_same(data, size, wt_wire_digests_encode(&digests, payload));
	if (wt_wire_ask_decode(data, size, &ask) == 0)
		check_same(data, size, wt_wire_ask_encode(&ask, payload));
	if (wt_wire_answer_decode(data, size, &answer) == 0)
		check_same(data, size, wt_wire_answer_encode(&answer, payload));
}

static void fuzz_greetings(const uint8_t *data, size_t size)
{
	uint8_t bytes[WT_WIRE_HELLO_BYTES] = { 0 };
	struct wt_hello hello;
	struct wt_welcome welcome;

	memcpy(bytes, data, size < sizeof bytes ? size : sizeof bytes);
	if (wt_wire_hello_decode(bytes, &hello) == 0)
		wt_wire_hello_encode(&hello, bytes);
	if (wt_wire_welcome_decode(bytes, &welcome) == 0)
		wt_wire_welcome_encode(&welcome, bytes);
}

static void output(void *arg, const void *bytes, size_t length)
{
}

static int message(void *arg, unsigned type, const uint8_t *bytes, size_t length, struct wt_error *err)
{
	check(type != 0 && length <= WT_WIRE_PAYLOAD_MAX);
	(*(unsigned *)arg)++;
	return 0;
}

static const struct wt_session_events session_events = { .output = output, .message = message };
static const uint8_t session_id[WT_SESSION_ID_BYTES];

/* Whatever comes, in pieces. */
static void fuzz_session(const uint8_t *data, size_t size, bool connector)
{
	struct wt_hello hello = { .version_min = WT_WIRE_VERSION, .version_max = WT_WIRE_VERSION };
	struct wt_error err = { 0 };
	struct wt_session *session;
	unsigned messages = 0;

	if (wt_session_open(connector, session_id, "fuzz", &session_events, &messages, &session))
		return;
	if (connector)
		wt_session_connect(session, 1);
	else
		wt_session_accept(session, &hello, 1, &err);
	wt_session_send(session, 64, "x", 1, 1);
	for (size_t at = 0; at < size;) {
		size_t n = 1 + data[at] % 61;

		if (n > size - at)
			n = size - at;
		if (wt_session_input(session, data + at, n, at, &err)) {
			check(err.code != 0);
			break;
		}
		at += n;
	}
	wt_session_close(session);
}

/* A peer that knows the protocol, and breaks it now and then. */
struct peer {
	struct wt_session *session;
	bool connector;
	unsigned messages; /* that the session has passed on */
	uint64_t now_ns, sent;
	struct wt_error err;
};

static int put_frame(struct peer *p, struct wt_frame frame, const uint8_t *bytes)
{
	uint8_t head[WT_WIRE_FRAME_HEADER];
	int r;

	wt_wire_frame_encode(&frame, head);
	r = wt_session_input(p->session, head, sizeof head, p->now_ns, &p->err);
	return r ? r : wt_session_input(p->session, bytes, frame.length, p->now_ns, &p->err);
}

/* A connection; `received` is what the peer says that it has. */
static int renew(struct peer *p, uint64_t received, unsigned version)
{
	struct wt_hello hello = {
		.version_min = WT_WIRE_VERSION, .version_max = WT_WIRE_VERSION, .received = received
	};
	struct wt_welcome welcome = { .version = (uint16_t)version, .received = received, .text = "why" };
	uint8_t bytes[WT_WIRE_WELCOME_BYTES];

	hello.session_id[0] = version == 1;
	wt_session_disconnect(p->session);
	check(wt_session_is_down(p->session) && !wt_session_is_up(p->session));
	if (!p->connector)
		return wt_session_accept(p->session, &hello, p->now_ns, &p->err);
	wt_session_connect(p->session, p->now_ns);
	if (version)
		wt_wire_welcome_encode(&welcome, bytes);
	else
		wt_session_refusal("no", bytes);
	return wt_session_input(p->session, bytes, sizeof bytes, p->now_ns, &p->err);
}

static int speak(struct peer *p, uint8_t verb, uint8_t value, const uint8_t *bytes, size_t length)
{
	struct wt_frame frame = { .length = (uint32_t)length,
		.type = (uint16_t)(16 + value),
		.number = p->messages + 1,
		.ack = p->sent < value ? p->sent : value };

	switch (verb % 9) {
	case 0:
		frame.type = WT_MESSAGE_KEEPALIVE;
		frame.number = frame.length = 0;
		return put_frame(p, frame, bytes);
	case 1:
		frame.ack = value;
		return put_frame(p, frame, bytes);
	case 2:
		frame.number += value % 2;
		return put_frame(p, frame, bytes);
	case 3:
		if (!wt_session_send(p->session, 64 + value, bytes, length, p->now_ns))
			p->sent++;
		return 0;
	case 4:
		p->now_ns += (uint64_t)value * 100000000;
		wt_session_tick(p->session, p->now_ns);
		return 0;
	case 5:
		return renew(p, value < p->sent ? value : p->sent, WT_WIRE_VERSION - value % 8 / 7);
	case 6:
		wt_session_bye(p->session, "enough");
		return 0;
	case 7:
		frame.type = value ? WT_MESSAGE_BYE : value;
		frame.number = 0;
		return put_frame(p, frame, bytes);
	default:
		return put_frame(p, frame, bytes);
	}
}

static void fuzz_talk(const uint8_t *data, size_t size, bool connector)
{
	struct peer p = { .connector = connector, .now_ns = 1 };
	size_t at = 0;

	if (wt_session_open(connector, session_id, "fuzz", &session_events, &p.messages, &p.session))
		return;
	check(!memcmp(wt_session_id(p.session), session_id, sizeof session_id));
	if (renew(&p, 0, size % 11 ? WT_WIRE_VERSION : size % 3))
		check(p.err.code != 0);
	while (!p.err.code && size - at >= 3) {
		size_t length = data[at + 2] < size - at - 3 ? data[at + 2] : size - at - 3;
		int r = speak(&p, data[at], data[at + 1], data + at + 3, length);

		check(!r == !p.err.code && wt_session_heard_ns(p.session) <= p.now_ns);
		check(p.sent || !wt_session_retained(p.session));
		at += 3 + length;
	}
	wt_session_close(p.session);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	switch (data[0] % 6) {
	case 0:
		fuzz_payloads(data + 1, size - 1);
		fuzz_base(data + 1, size - 1);
		fuzz_helpers(data + 1, size - 1);
		fuzz_digests(data + 1, size - 1);
		break;
	case 1:
		fuzz_greetings(data + 1, size - 1);
		break;
	case 2:
	case 3:
		fuzz_session(data + 1, size - 1, data[0] % 2);
		break;
	default:
		fuzz_talk(data + 1, size - 1, data[0] % 2);
		break;
	}
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_wire.c - hostile bytes into every decoder of wire.h and into both sides of a session.
 *
 * The first byte chooses: a decoder, or a session fed with the rest. Whatever decodes is encoded and decoded
 * again: both must agree.
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

static void fuzz_session(const uint8_t *data, size_t size, bool connector)
{
	static const struct wt_session_events events = { .output = output, .message = message };
	static const uint8_t id[WT_SESSION_ID_BYTES];
	struct wt_hello hello = { .version_min = WT_WIRE_VERSION, .version_max = WT_WIRE_VERSION };
	struct wt_error err = { 0 };
	struct wt_session *session;
	unsigned messages = 0;

	if (wt_session_open(connector, id, "fuzz", &events, &messages, &session))
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	switch (data[0] % 4) {
	case 0:
		fuzz_payloads(data + 1, size - 1);
		fuzz_base(data + 1, size - 1);
		fuzz_helpers(data + 1, size - 1);
		fuzz_digests(data + 1, size - 1);
		break;
	case 1:
		fuzz_greetings(data + 1, size - 1);
		break;
	default:
		fuzz_session(data + 1, size - 1, data[0] % 2);
		break;
	}
	return 0;
}

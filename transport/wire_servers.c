/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wire_servers.c - encode and decode, pair by pair: several servers, and the change of the destination. See
 * wire.h.
 */
#include "wire_cursor.h"

_Static_assert(WT_WIRE_WORDS_MAX * 8 + 19 <= WT_WIRE_PAYLOAD_MAX, "payload");

enum pages_form { PAGES_ALL = 1, PAGES_BITS = 2 };

/* The number of a helper: every message that names one is about a real one. */
static uint8_t get_helper(struct cursor *c)
{
	uint8_t server = (uint8_t)get(c, 1);

	if (!server || server >= WT_WIRE_SERVERS)
		c->bad = true;
	return server;
}

static uint8_t *put_pages(uint8_t *at, const struct wt_wire_pages *pages, const uint64_t *words)
{
	at = put_extent(at, &pages->extent);
	at = put(at, pages->all ? PAGES_ALL : PAGES_BITS, 1);
	if (pages->all)
		return at;
	for (uint32_t i = 0; i < (pages->extent.pages + 63) / 64; i++)
		at = put(at, words[i], 8);
	return at;
}

static void get_pages(struct cursor *c, struct wt_wire_pages *ret_pages, uint64_t *ret_words)
{
	uint32_t pages, words;
	uint64_t form;

	get_extent(c, &ret_pages->extent);
	form = get(c, 1);
	ret_pages->all = form == PAGES_ALL;
	pages = ret_pages->extent.pages;
	if (c->bad || pages > WT_WIRE_PAGES_MAX || (form != PAGES_ALL && form != PAGES_BITS)) {
		c->bad = true;
		return;
	}
	if (ret_pages->all)
		return;
	words = (pages + 63) / 64;
	for (uint32_t i = 0; i < words; i++)
		ret_words[i] = get(c, 8);
	if (ret_pages->extent.page % 64 || (pages % 64 && ret_words[words - 1] >> (pages % 64)))
		c->bad = true;
}

size_t wt_wire_epoch_encode(uint32_t epoch, uint8_t *ret_bytes)
{
	return put(ret_bytes, epoch, 4) - ret_bytes;
}

int wt_wire_epoch_decode(const uint8_t *bytes, size_t length, uint32_t *ret_epoch)
{
	struct cursor c = { bytes, length, false };

	*ret_epoch = (uint32_t)get(&c, 4);
	return finish(&c);
}

size_t wt_wire_missing_encode(const struct wt_wire_pages *pages, const uint64_t *words, uint8_t *ret_bytes)
{
	return put_pages(ret_bytes, pages, words) - ret_bytes;
}

int wt_wire_missing_decode(const uint8_t *bytes, size_t length, struct wt_wire_pages *ret_pages,
	uint64_t ret_words[WT_WIRE_WORDS_MAX])
{
	struct cursor c = { bytes, length, false };

	get_pages(&c, ret_pages, ret_words);
	return finish(&c);
}

size_t wt_wire_base_encode(const struct wt_wire_base *base, const uint64_t *words, uint8_t *ret_bytes)
{
	uint8_t *at = put(ret_bytes, base->kind, 1);

	at = put(at, base->server, 1);
	return put_pages(at, &base->pages, words) - ret_bytes;
}

int wt_wire_base_decode(const uint8_t *bytes, size_t length, struct wt_wire_base *ret_base,
	uint64_t ret_words[WT_WIRE_WORDS_MAX])
{
	struct cursor c = { bytes, length, false };
	uint64_t kind = get(&c, 1);

	if (kind < WT_WIRE_BASE_NEED || kind > WT_WIRE_BASE_ZERO)
		return -EPROTO;
	ret_base->kind = (enum wt_wire_base_kind)kind;
	if (kind == WT_WIRE_BASE_HAS)
		ret_base->server = get_helper(&c);
	else
		c.bad |= (ret_base->server = (uint8_t)get(&c, 1)) != 0;
	get_pages(&c, &ret_base->pages, ret_words);
	if (kind == WT_WIRE_BASE_ZERO && ret_base->pages.extent.pages > WT_WIRE_ZERO_PAGES_MAX)
		return -EPROTO;
	return finish(&c);
}

size_t wt_wire_base_end_encode(const struct wt_wire_base_end *end, uint8_t *ret_bytes)
{
	return put(put(ret_bytes, end->policy, 1), end->rate_limit, 8) - ret_bytes;
}

int wt_wire_base_end_decode(const uint8_t *bytes, size_t length, struct wt_wire_base_end *ret_end)
{
	struct cursor c = { bytes, length, false };

	ret_end->policy = (uint8_t)get(&c, 1);
	ret_end->rate_limit = get(&c, 8);
	if (!ret_end->policy || ret_end->policy > 2)
		return -EPROTO;
	return finish(&c);
}

size_t wt_wire_base_left_encode(uint64_t pages, uint8_t *ret_bytes)
{
	return put(ret_bytes, pages, 8) - ret_bytes;
}

int wt_wire_base_left_decode(const uint8_t *bytes, size_t length, uint64_t *ret_pages)
{
	struct cursor c = { bytes, length, false };

	*ret_pages = get(&c, 8);
	return finish(&c);
}

static bool get_bool(struct cursor *c)
{
	uint64_t value = get(c, 1);

	c->bad |= value > 1;
	return value == 1;
}

/* A key that may be there or not; zeros if not. */
static uint8_t *put_key(uint8_t *at, bool there, const uint8_t key[WT_DIGEST_KEY_BYTES])
{
	at = put(at, there, 1);
	return there ? put_bytes(at, key, WT_DIGEST_KEY_BYTES) : at;
}

static bool get_key(struct cursor *c, uint8_t ret_key[WT_DIGEST_KEY_BYTES])
{
	bool there = get_bool(c);

	memset(ret_key, 0, WT_DIGEST_KEY_BYTES);
	if (there)
		get_bytes(c, ret_key, WT_DIGEST_KEY_BYTES);
	return there;
}

size_t wt_wire_expect_encode(const struct wt_wire_expect *expect, uint8_t *ret_bytes)
{
	uint8_t *at = put(ret_bytes, expect->server, 1);

	at = put_bytes(at, expect->session_id, WT_SESSION_ID_BYTES);
	at = put(at, expect->replica, 1);
	return put_text(at, expect->label) - ret_bytes;
}

int wt_wire_expect_decode(const uint8_t *bytes, size_t length, struct wt_wire_expect *ret_expect)
{
	struct cursor c = { bytes, length, false };

	ret_expect->server = get_helper(&c);
	get_bytes(&c, ret_expect->session_id, WT_SESSION_ID_BYTES);
	ret_expect->replica = get_bool(&c);
	get_text(&c, ret_expect->label, sizeof ret_expect->label);
	return finish(&c);
}

size_t wt_wire_expected_encode(const struct wt_wire_expected *expected, uint8_t *ret_bytes)
{
	uint8_t *at = put(put(ret_bytes, expected->server, 1), expected->port, 2);

	return put_key(at, expected->replica, expected->key) - ret_bytes;
}

int wt_wire_expected_decode(const uint8_t *bytes, size_t length, struct wt_wire_expected *ret_expected)
{
	struct cursor c = { bytes, length, false };

	ret_expected->server = get_helper(&c);
	ret_expected->port = (uint16_t)get(&c, 2);
	ret_expected->replica = get_key(&c, ret_expected->key);
	return finish(&c);
}

size_t wt_wire_serve_encode(const struct wt_wire_serve *serve, uint8_t *ret_bytes)
{
	uint8_t *at = put_text(ret_bytes, serve->host);

	at = put(at, serve->port, 2);
	at = put_text(at, serve->name);
	at = put_bytes(at, serve->session_id, WT_SESSION_ID_BYTES);
	at = put(at, serve->server, 1);
	at = put(at, serve->epoch, 4);
	return put_key(at, serve->replica, serve->key) - ret_bytes;
}

int wt_wire_serve_decode(const uint8_t *bytes, size_t length, struct wt_wire_serve *ret_serve)
{
	struct cursor c = { bytes, length, false };

	get_text(&c, ret_serve->host, sizeof ret_serve->host);
	ret_serve->port = (uint16_t)get(&c, 2);
	get_text(&c, ret_serve->name, sizeof ret_serve->name);
	get_bytes(&c, ret_serve->session_id, WT_SESSION_ID_BYTES);
	ret_serve->server = get_helper(&c);
	ret_serve->epoch = (uint32_t)get(&c, 4);
	ret_serve->replica = get_key(&c, ret_serve->key);
	return finish(&c);
}

size_t wt_wire_serve_end_encode(uint8_t server, uint8_t *ret_bytes)
{
	return put(ret_bytes, server, 1) - ret_bytes;
}

int wt_wire_serve_end_decode(const uint8_t *bytes, size_t length, uint8_t *ret_server)
{
	struct cursor c = { bytes, length, false };

	*ret_server = get_helper(&c);
	return finish(&c);
}

size_t wt_wire_helper_encode(const struct wt_wire_helper *helper, uint8_t *ret_bytes)
{
	uint8_t *at = put(ret_bytes, helper->server, 1);

	at = put(at, helper->state, 1);
	return put_text(at, helper->text) - ret_bytes;
}

int wt_wire_helper_decode(const uint8_t *bytes, size_t length, struct wt_wire_helper *ret_helper)
{
	struct cursor c = { bytes, length, false };

	ret_helper->server = get_helper(&c);
	ret_helper->state = (enum wt_wire_helper_state)get(&c, 1);
	get_text(&c, ret_helper->text, sizeof ret_helper->text);
	if (!ret_helper->state || ret_helper->state > WT_WIRE_HELPER_UNREACHABLE)
		return -EPROTO;
	return finish(&c);
}

size_t wt_wire_want_encode(
	enum wt_priority priority, const struct wt_extent *list, unsigned count, uint8_t *ret_bytes)
{
	uint8_t *at = put(put(ret_bytes, priority, 1), count, 4);

	for (unsigned i = 0; i < count; i++)
		at = put_extent(at, &list[i]);
	return at - ret_bytes;
}

int wt_wire_want_decode(const uint8_t *bytes, size_t length, enum wt_priority *ret_priority,
	struct wt_extent ret_list[WT_WIRE_WANTED_MAX], unsigned *ret_count)
{
	struct cursor c = { bytes, length, false };
	unsigned priority = (unsigned)get(&c, 1), count = (unsigned)get(&c, 4);

	if (!priority || priority > WT_PRIORITY_FAULT || count > WT_WIRE_WANTED_MAX)
		return -EPROTO;
	for (unsigned i = 0; i < count; i++)
		get_extent(&c, &ret_list[i]);
	*ret_priority = (enum wt_priority)priority;
	*ret_count = count;
	return finish(&c);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wire.c - encode and decode, pair by pair. See wire.h.
 *
 * Reading goes through a cursor that turns sour on the first short read and stays so; a decoder checks it
 * once, at its end, together with "nothing is left over".
 */
#include "wire.h"

#include <errno.h>
#include <string.h>

_Static_assert(
	WT_SESSION_ID_BYTES + WT_PATH_TOKEN_BYTES == WT_PATH_HELLO_BYTES, "a path hello is id and token");
_Static_assert(WT_WIRE_ANNOUNCEMENTS_MAX *WT_WIRE_ANNOUNCEMENT_BYTES + 12 <= WT_WIRE_PAYLOAD_MAX, "payload");
_Static_assert(WT_WIRE_DIGESTS_MAX *WT_WIRE_KEYS_MAX *WT_DIGEST_BYTES + 13 <= WT_WIRE_PAYLOAD_MAX, "payload");
_Static_assert(WT_WIRE_WORDS_MAX * 8 + 19 <= WT_WIRE_PAYLOAD_MAX, "payload");

#define BLOCK_PAGES_MAX (1ull << 40) /* as the length of a block is bounded */
enum pages_form { PAGES_ALL = 1, PAGES_BITS = 2 };

struct cursor {
	const uint8_t *at;
	size_t left;
	bool bad;
};

static uint64_t get(struct cursor *c, unsigned bytes)
{
	uint64_t value = 0;

	if (c->left < bytes) {
		c->bad = true;
		c->left = 0;
		return 0;
	}
	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)c->at[i] << (8 * i);
	c->at += bytes;
	c->left -= bytes;
	return value;
}

static void get_bytes(struct cursor *c, void *ret, size_t bytes)
{
	if (c->left < bytes) {
		c->bad = true;
		c->left = 0;
		memset(ret, 0, bytes);
		return;
	}
	memcpy(ret, c->at, bytes);
	c->at += bytes;
	c->left -= bytes;
}

/* A text with its length before it, without zero bytes; size is that of ret, its terminator included. */
static void get_text(struct cursor *c, char *ret, size_t size)
{
	size_t length = get(c, 2);

	if (length >= size || length > c->left) {
		c->bad = true;
		length = 0;
	}
	get_bytes(c, ret, length);
	ret[length] = '\0';
	if (strlen(ret) != length)
		c->bad = true;
}

static int finish(const struct cursor *c)
{
	return c->bad || c->left ? -EPROTO : 0;
}

static uint8_t *put(uint8_t *at, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		*at++ = (uint8_t)(value >> (8 * i));
	return at;
}

static uint8_t *put_bytes(uint8_t *at, const void *bytes, size_t length)
{
	memcpy(at, bytes, length);
	return at + length;
}

static uint8_t *put_text(uint8_t *at, const char *text)
{
	size_t length = strlen(text);

	return put_bytes(put(at, length, 2), text, length);
}

void wt_wire_hello_encode(const struct wt_hello *hello, uint8_t ret_bytes[WT_WIRE_HELLO_BYTES])
{
	uint8_t *at = ret_bytes;

	memset(ret_bytes, 0, WT_WIRE_HELLO_BYTES);
	at = put(at, WT_WIRE_MAGIC, 8);
	at = put(at, hello->version_min, 2);
	at = put(at, hello->version_max, 2);
	at = put_bytes(at, hello->session_id, WT_SESSION_ID_BYTES);
	at = put(at, hello->received, 8);
	put_text(at, hello->name);
}

int wt_wire_hello_decode(const uint8_t bytes[WT_WIRE_HELLO_BYTES], struct wt_hello *ret_hello)
{
	struct cursor c = { bytes, WT_WIRE_HELLO_BYTES, false };

	if (get(&c, 8) != WT_WIRE_MAGIC)
		return -EPROTO;
	ret_hello->version_min = (uint16_t)get(&c, 2);
	ret_hello->version_max = (uint16_t)get(&c, 2);
	get_bytes(&c, ret_hello->session_id, WT_SESSION_ID_BYTES);
	ret_hello->received = get(&c, 8);
	get_text(&c, ret_hello->name, sizeof ret_hello->name);
	return c.bad ? -EPROTO : 0;
}

void wt_wire_welcome_encode(const struct wt_welcome *welcome, uint8_t ret_bytes[WT_WIRE_WELCOME_BYTES])
{
	uint8_t *at = ret_bytes;

	memset(ret_bytes, 0, WT_WIRE_WELCOME_BYTES);
	at = put(at, WT_WIRE_MAGIC, 8);
	at = put(at, welcome->version, 2);
	at = put(at, welcome->received, 8);
	put_text(at, welcome->text);
}

int wt_wire_welcome_decode(const uint8_t bytes[WT_WIRE_WELCOME_BYTES], struct wt_welcome *ret_welcome)
{
	struct cursor c = { bytes, WT_WIRE_WELCOME_BYTES, false };

	if (get(&c, 8) != WT_WIRE_MAGIC)
		return -EPROTO;
	ret_welcome->version = (uint16_t)get(&c, 2);
	ret_welcome->received = get(&c, 8);
	get_text(&c, ret_welcome->text, sizeof ret_welcome->text);
	return c.bad ? -EPROTO : 0;
}

void wt_wire_frame_encode(const struct wt_frame *frame, uint8_t ret_bytes[WT_WIRE_FRAME_HEADER])
{
	uint8_t *at = put(ret_bytes, frame->length, 4);

	at = put(at, frame->type, 2);
	at = put(at, 0, 2);
	at = put(at, frame->number, 8);
	put(at, frame->ack, 8);
}

int wt_wire_frame_decode(const uint8_t bytes[WT_WIRE_FRAME_HEADER], struct wt_frame *ret_frame)
{
	struct cursor c = { bytes, WT_WIRE_FRAME_HEADER, false };

	ret_frame->length = (uint32_t)get(&c, 4);
	ret_frame->type = (uint16_t)get(&c, 2);
	if (get(&c, 2) != 0)
		return -EPROTO;
	ret_frame->number = get(&c, 8);
	ret_frame->ack = get(&c, 8);
	return ret_frame->length > WT_WIRE_PAYLOAD_MAX || !ret_frame->type ? -EPROTO : 0;
}

size_t wt_wire_block_encode(const struct wt_wire_block *block, uint8_t *ret_bytes)
{
	uint8_t *at = put(ret_bytes, block->block, 4);

	at = put(at, block->length, 8);
	at = put_bytes(at, block->memory, WT_MEMORY_ID_BYTES);
	return put_text(at, block->name) - ret_bytes;
}

int wt_wire_block_decode(const uint8_t *bytes, size_t length, struct wt_wire_block *ret_block)
{
	struct cursor c = { bytes, length, false };

	ret_block->block = (uint32_t)get(&c, 4);
	ret_block->length = get(&c, 8);
	get_bytes(&c, ret_block->memory, WT_MEMORY_ID_BYTES);
	get_text(&c, ret_block->name, sizeof ret_block->name);
	if (!ret_block->length || ret_block->length % WT_PAGE_SIZE || ret_block->length >> 52)
		return -EPROTO;
	return finish(&c);
}

size_t wt_wire_ready_encode(const struct wt_wire_ready *ready, uint8_t *ret_bytes)
{
	uint8_t *at = put_bytes(ret_bytes, ready->token, WT_PATH_TOKEN_BYTES);

	at = put(at, ready->listeners, 2);
	for (unsigned i = 0; i < ready->listeners; i++) {
		at = put(at, ready->listener[i].fabric, 2);
		at = put(at, ready->listener[i].port, 2);
		at = put_text(at, ready->listener[i].host);
	}
	return at - ret_bytes;
}

int wt_wire_ready_decode(const uint8_t *bytes, size_t length, struct wt_wire_ready *ret_ready)
{
	struct cursor c = { bytes, length, false };

	get_bytes(&c, ret_ready->token, WT_PATH_TOKEN_BYTES);
	ret_ready->listeners = (unsigned)get(&c, 2);
	if (ret_ready->listeners > sizeof ret_ready->listener / sizeof ret_ready->listener[0])
		return -EPROTO;
	for (unsigned i = 0; i < ret_ready->listeners; i++) {
		struct wt_wire_listener *listener = &ret_ready->listener[i];

		listener->fabric = (enum wt_fabric)get(&c, 2);
		listener->port = (uint16_t)get(&c, 2);
		get_text(&c, listener->host, sizeof listener->host);
	}
	return finish(&c);
}

size_t wt_wire_region_encode(const struct wt_wire_region *region, uint8_t *ret_bytes)
{
	uint8_t *at = put(ret_bytes, region->block, 4);

	at = put(at, region->offset, 8);
	at = put(at, region->fabric, 2);
	at = put(at, region->key.address, 8);
	at = put(at, region->key.length, 8);
	return put(at, region->key.key, 8) - ret_bytes;
}

int wt_wire_region_decode(const uint8_t *bytes, size_t length, struct wt_wire_region *ret_region)
{
	struct cursor c = { bytes, length, false };

	ret_region->block = (uint32_t)get(&c, 4);
	ret_region->offset = get(&c, 8);
	ret_region->fabric = (enum wt_fabric)get(&c, 2);
	ret_region->key.address = get(&c, 8);
	ret_region->key.length = get(&c, 8);
	ret_region->key.key = get(&c, 8);
	if (ret_region->offset % WT_PAGE_SIZE || ret_region->key.length % WT_PAGE_SIZE ||
		!ret_region->key.length)
		return -EPROTO;
	if (ret_region->offset >> 52 || ret_region->key.length >> 52)
		return -EPROTO;
	return finish(&c);
}

size_t wt_wire_announce_encode(
	uint64_t first_seq, const struct wt_announcement *list, unsigned count, uint8_t *ret_bytes)
{
	uint8_t *at = put(ret_bytes, first_seq, 8);

	at = put(at, count, 4);
	for (unsigned i = 0; i < count; i++) {
		at = put(at, list[i].extent.block, 4);
		at = put(at, list[i].extent.pages, 4);
		at = put(at, list[i].extent.page, 8);
		at = put(at, list[i].content, 2);
		at = put(at, list[i].priority, 2);
		at = put(at, list[i].staged_offset, 8);
	}
	return at - ret_bytes;
}

int wt_wire_announce_decode(const uint8_t *bytes, size_t length, uint64_t *ret_first_seq,
	struct wt_announcement ret_list[WT_WIRE_ANNOUNCEMENTS_MAX], unsigned *ret_count)
{
	struct cursor c = { bytes, length, false };
	uint64_t first_seq = get(&c, 8);
	unsigned count = (unsigned)get(&c, 4);

	if (count > WT_WIRE_ANNOUNCEMENTS_MAX)
		return -EPROTO;
	for (unsigned i = 0; i < count; i++) {
		ret_list[i].extent.block = (uint32_t)get(&c, 4);
		ret_list[i].extent.pages = (uint32_t)get(&c, 4);
		ret_list[i].extent.page = get(&c, 8);
		ret_list[i].content = (enum wt_content)get(&c, 2);
		ret_list[i].priority = (enum wt_priority)get(&c, 2);
		ret_list[i].staged_offset = get(&c, 8);
	}
	*ret_first_seq = first_seq;
	*ret_count = count;
	return finish(&c);
}

size_t wt_wire_landed_encode(const struct wt_seq_range *ranges, unsigned count, uint8_t *ret_bytes)
{
	uint8_t *at = put(ret_bytes, count, 4);

	for (unsigned i = 0; i < count; i++) {
		at = put(at, ranges[i].first, 8);
		at = put(at, ranges[i].count, 8);
	}
	return at - ret_bytes;
}

int wt_wire_landed_decode(const uint8_t *bytes, size_t length,
	struct wt_seq_range ret_ranges[WT_WIRE_RANGES_MAX], unsigned *ret_count)
{
	struct cursor c = { bytes, length, false };
	unsigned count = (unsigned)get(&c, 4);

	if (count > WT_WIRE_RANGES_MAX)
		return -EPROTO;
	for (unsigned i = 0; i < count; i++) {
		ret_ranges[i].first = get(&c, 8);
		ret_ranges[i].count = get(&c, 8);
	}
	*ret_count = count;
	return finish(&c);
}

/* ---- several servers ---- */

/* The number of a helper: every message that names one is about a real one. */
static uint8_t get_helper(struct cursor *c)
{
	uint8_t server = (uint8_t)get(c, 1);

	if (!server || server >= WT_WIRE_SERVERS)
		c->bad = true;
	return server;
}

static void get_extent(struct cursor *c, struct wt_extent *ret_extent)
{
	ret_extent->block = (uint32_t)get(c, 4);
	ret_extent->page = get(c, 8);
	ret_extent->pages = (uint32_t)get(c, 4);
	if (!ret_extent->pages || ret_extent->page >= BLOCK_PAGES_MAX ||
		ret_extent->pages > BLOCK_PAGES_MAX - ret_extent->page)
		c->bad = true;
}

static uint8_t *put_extent(uint8_t *at, const struct wt_extent *extent)
{
	at = put(at, extent->block, 4);
	at = put(at, extent->page, 8);
	return put(at, extent->pages, 4);
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

size_t wt_wire_digest_keys_encode(const struct wt_wire_digest_keys *keys, uint8_t *ret_bytes)
{
	return put_bytes(put(ret_bytes, keys->count, 1), keys->key, keys->count * sizeof keys->key[0]) -
	       ret_bytes;
}

int wt_wire_digest_keys_decode(const uint8_t *bytes, size_t length, struct wt_wire_digest_keys *ret_keys)
{
	struct cursor c = { bytes, length, false };

	*ret_keys = (struct wt_wire_digest_keys){ .count = (unsigned)get(&c, 1) };
	if (!ret_keys->count || ret_keys->count > WT_WIRE_KEYS_MAX)
		return -EPROTO;
	get_bytes(&c, ret_keys->key, ret_keys->count * sizeof ret_keys->key[0]);
	return finish(&c);
}

size_t wt_wire_digests_encode(const struct wt_wire_digests *digests, uint8_t *ret_bytes)
{
	uint8_t *at = put(put(ret_bytes, digests->first_seq, 8), digests->pages, 4);

	at = put(at, digests->keys, 1);
	return put_bytes(at, digests->digests, (size_t)digests->pages * digests->keys * WT_DIGEST_BYTES) -
	       ret_bytes;
}

int wt_wire_digests_decode(const uint8_t *bytes, size_t length, struct wt_wire_digests *ret_digests)
{
	struct cursor c = { bytes, length, false };

	ret_digests->first_seq = get(&c, 8);
	ret_digests->pages = (unsigned)get(&c, 4);
	ret_digests->keys = (unsigned)get(&c, 1);
	ret_digests->digests = c.at;
	if (!ret_digests->pages || ret_digests->pages > WT_WIRE_DIGESTS_MAX || !ret_digests->keys ||
		ret_digests->keys > WT_WIRE_KEYS_MAX)
		return -EPROTO;
	return c.bad || c.left != (size_t)ret_digests->pages * ret_digests->keys * WT_DIGEST_BYTES ? -EPROTO
												   : 0;
}

size_t wt_wire_ask_encode(const struct wt_wire_ask *ask, uint8_t *ret_bytes)
{
	return put_extent(put(ret_bytes, ask->tag, 8), &ask->extent) - ret_bytes;
}

int wt_wire_ask_decode(const uint8_t *bytes, size_t length, struct wt_wire_ask *ret_ask)
{
	struct cursor c = { bytes, length, false };

	ret_ask->tag = get(&c, 8);
	get_extent(&c, &ret_ask->extent);
	c.bad |= ret_ask->extent.pages > WT_WIRE_ASK_PAGES_MAX;
	return finish(&c);
}

size_t wt_wire_answer_encode(const struct wt_wire_answer *answer, uint8_t *ret_bytes)
{
	uint8_t *at = put(put(put(ret_bytes, answer->tag, 8), answer->status, 1), answer->pages, 4);

	return put_bytes(at, answer->digests, (size_t)answer->pages * WT_DIGEST_BYTES) - ret_bytes;
}

int wt_wire_answer_decode(const uint8_t *bytes, size_t length, struct wt_wire_answer *ret_answer)
{
	struct cursor c = { bytes, length, false };

	ret_answer->tag = get(&c, 8);
	ret_answer->status = (enum wt_wire_answer_status)get(&c, 1);
	ret_answer->pages = (unsigned)get(&c, 4);
	ret_answer->digests = c.at;
	if (c.bad || ret_answer->pages > WT_WIRE_ASK_PAGES_MAX ||
		c.left != (size_t)ret_answer->pages * WT_DIGEST_BYTES)
		return -EPROTO;
	if (ret_answer->status == WT_WIRE_ANSWER_DIGESTS)
		return ret_answer->pages ? 0 : -EPROTO;
	return ret_answer->status && ret_answer->status <= WT_WIRE_ANSWER_NONE && !ret_answer->pages
		       ? 0
		       : -EPROTO;
}

void wt_wire_path_hello_encode(const uint8_t session_id[WT_SESSION_ID_BYTES],
	const uint8_t token[WT_PATH_TOKEN_BYTES], uint8_t ret_bytes[WT_PATH_HELLO_BYTES])
{
	put_bytes(put_bytes(ret_bytes, session_id, WT_SESSION_ID_BYTES), token, WT_PATH_TOKEN_BYTES);
}

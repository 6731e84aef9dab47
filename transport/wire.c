/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wire.c - encode and decode, pair by pair: greetings, frames, blocks, regions and announcements. See wire.h;
 * wire_servers.c has the messages of several servers, wire_digest.c those of content that may be there.
 */
#include "wire_cursor.h"

_Static_assert(
	WT_SESSION_ID_BYTES + WT_PATH_TOKEN_BYTES == WT_PATH_HELLO_BYTES, "a path hello is id and token");
_Static_assert(WT_WIRE_ANNOUNCEMENTS_MAX *WT_WIRE_ANNOUNCEMENT_BYTES + 12 <= WT_WIRE_PAYLOAD_MAX, "payload");

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

void wt_wire_path_hello_encode(const uint8_t session_id[WT_SESSION_ID_BYTES],
	const uint8_t token[WT_PATH_TOKEN_BYTES], uint8_t ret_bytes[WT_PATH_HELLO_BYTES])
{
	put_bytes(put_bytes(ret_bytes, session_id, WT_SESSION_ID_BYTES), token, WT_PATH_TOKEN_BYTES);
}

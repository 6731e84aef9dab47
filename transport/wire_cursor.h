/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * wire_cursor.h - how the wire*.c files read and write values; nobody else includes it.
 *
 * Reading goes through a cursor that turns sour on the first short read and stays so; a decoder checks it
 * once, at its end, together with "nothing is left over".
 */
#ifndef WT_WIRE_CURSOR_H
#define WT_WIRE_CURSOR_H

#include <errno.h>
#include <string.h>

#include "wire.h"

#define BLOCK_PAGES_MAX (1ull << 40) /* as the length of a block is bounded */

struct cursor {
	const uint8_t *at;
	size_t left;
	bool bad;
};

static inline uint64_t get(struct cursor *c, unsigned bytes)
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

static inline void get_bytes(struct cursor *c, void *ret, size_t bytes)
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
static inline void get_text(struct cursor *c, char *ret, size_t size)
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

static inline int finish(const struct cursor *c)
{
	return c->bad || c->left ? -EPROTO : 0;
}

static inline uint8_t *put(uint8_t *at, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		*at++ = (uint8_t)(value >> (8 * i));
	return at;
}

static inline uint8_t *put_bytes(uint8_t *at, const void *bytes, size_t length)
{
	memcpy(at, bytes, length);
	return at + length;
}

static inline uint8_t *put_text(uint8_t *at, const char *text)
{
	size_t length = strlen(text);

	return put_bytes(put(at, length, 2), text, length);
}

static inline void get_extent(struct cursor *c, struct wt_extent *ret_extent)
{
	ret_extent->block = (uint32_t)get(c, 4);
	ret_extent->page = get(c, 8);
	ret_extent->pages = (uint32_t)get(c, 4);
	if (!ret_extent->pages || ret_extent->page >= BLOCK_PAGES_MAX ||
		ret_extent->pages > BLOCK_PAGES_MAX - ret_extent->page)
		c->bad = true;
}

static inline uint8_t *put_extent(uint8_t *at, const struct wt_extent *extent)
{
	at = put(at, extent->block, 4);
	at = put(at, extent->page, 8);
	return put(at, extent->pages, 4);
}

#endif

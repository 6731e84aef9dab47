/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * frame.c - encoding and decoding of what ranks say to each other; see frame.h. Pure.
 *
 * What decodes has a known kind and the length of that kind; fields are the caller's to judge.
 */
#include "frame.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

static void swap(struct wt_frame_word *word)
{
	word->epoch = le32toh(word->epoch);
	word->id = le64toh(word->id);
	word->cookie = le64toh(word->cookie);
	word->address = le64toh(word->address);
	word->value = le64toh(word->value);
	word->other = le64toh(word->other);
	word->key.address = le64toh(word->key.address);
	word->key.length = le64toh(word->key.length);
	word->key.key = le64toh(word->key.key);
}

void wt_frame_data_encode(uint8_t tag, uint8_t head[WT_FRAME_HEAD_BYTES])
{
	memset(head, 0, WT_FRAME_HEAD_BYTES);
	head[0] = WT_FRAME_DATA;
	head[1] = tag;
}

int wt_frame_decode(const void *message, size_t length, struct wt_frame_word *ret_word)
{
	const uint8_t *head = message;
	struct wt_frame_word word = { 0 };

	if (length < WT_FRAME_HEAD_BYTES || head[0] == WT_FRAME_INVALID || head[0] >= WT_FRAME_KINDS)
		return -EPROTO;
	if (head[0] == WT_FRAME_DATA) {
		word.kind = WT_FRAME_DATA;
		word.tag = head[1];
	} else {
		if (length < sizeof word || (length > sizeof word) != (head[0] >= WT_FRAME_WRITE))
			return -EPROTO;
		memcpy(&word, message, sizeof word);
		swap(&word);
	}
	*ret_word = word;
	return 0;
}

void wt_frame_encode(const struct wt_frame_word *word, struct wt_frame_word *ret_bytes)
{
	*ret_bytes = *word;
	swap(ret_bytes); /* its own inverse */
}

void wt_frame_hello_encode(const struct wt_frame_hello *hello, uint8_t bytes[WT_PATH_HELLO_BYTES])
{
	struct wt_frame_hello wire = {
		.magic = htole32(WT_FRAME_MAGIC),
		.version = htole32(hello->version),
		.job = htole32(hello->job),
		.rank = htole32(hello->rank),
		.token = htole64(hello->token),
		.epoch = htole32(hello->epoch),
	};

	memcpy(bytes, &wire, sizeof wire);
}

int wt_frame_hello_decode(const uint8_t bytes[WT_PATH_HELLO_BYTES], struct wt_frame_hello *ret_hello)
{
	struct wt_frame_hello wire;

	memcpy(&wire, bytes, sizeof wire);
	if (le32toh(wire.magic) != WT_FRAME_MAGIC)
		return -EPROTO;
	*ret_hello = (struct wt_frame_hello){
		.magic = WT_FRAME_MAGIC,
		.version = le32toh(wire.version),
		.job = le32toh(wire.job),
		.rank = le32toh(wire.rank),
		.token = le64toh(wire.token),
		.epoch = le32toh(wire.epoch),
	};
	return 0;
}

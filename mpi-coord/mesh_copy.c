/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mesh_copy.c - writes and reads of memory that one of the two devices does not take: by messages, which the
 * owner's processor carries out.
 *
 * A device may refuse what tcp takes: no memory may be locked any more, or it is mapped read-only. Such
 * memory has no key over that fabric, which its owner says when the key is asked for.
 *   1. The item waits in `asked` until the answer to its last piece, which speaks for all: pieces are in
 *      order, and memory that is gone never comes back under its id.
 *   2. What is written is read from the caller's memory, which is unchanged until the item is done; what is
 *      read is copied by its owner when it is asked, because it may be gone when it is sent.
 * Under the mesh's lock; calls nobody back.
 */
#include "mesh_internal.h"

#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES (64u << 10)
_Static_assert(
	PIECE_BYTES + sizeof(struct wt_frame_word) <= WT_PATH_MESSAGE_MAX, "a piece fits into a message");

static uint32_t piece_at(uint64_t length, uint64_t offset)
{
	return length - offset < PIECE_BYTES ? (uint32_t)(length - offset) : PIECE_BYTES;
}

void wt_mesh_copy_begin(struct wt_mesh_peer *peer, struct wt_mesh_item *item)
{
	bool read = item->work == WT_MESH_READ;
	struct wt_frame_word word = { .kind = read ? WT_FRAME_READ : WT_FRAME_WRITE,
		.id = item->remote.id,
		.address = item->remote_address,
		.value = item->op.length,
		.cookie = ++peer->mesh->cookie };
	uint32_t offset, piece;

	item->word = word;
	wt_mesh_queue_put(&peer->asked, item);
	if (read) {
		wt_mesh_say(peer, &word, false);
		return;
	}
	for (offset = 0; offset < item->op.length; offset += piece) {
		piece = piece_at(item->op.length, offset);
		word.address = item->remote_address + offset;
		word.other = offset + piece == item->op.length;
		wt_mesh_say_bytes(peer, &word, (uint8_t *)item->op.local + offset, piece, false);
	}
}

/* Our memory, if whoever knows the id may do this with it. */
static void *memory_of(
	const struct wt_mesh *mesh, const struct wt_frame_word *word, uint64_t length, unsigned access)
{
	const struct wt_registration *registration = wt_registry_find(&mesh->registry, word->id);

	if (!registration || !(registration->access & access))
		return NULL;
	return wt_registry_locate(&mesh->registry, word->id, word->address, length);
}

static void answer(struct wt_mesh_peer *peer, const struct wt_frame_word *word, bool good)
{
	const struct wt_frame_word done = { .kind = WT_FRAME_DONE, .cookie = word->cookie, .status = !good };

	wt_mesh_say(peer, &done, false);
}

static void write_heard(
	struct wt_mesh_peer *peer, const struct wt_frame_word *word, const void *bytes, size_t length)
{
	void *memory = memory_of(peer->mesh, word, length, WT_ACCESS_TARGET);

	if (memory)
		memcpy(memory, bytes, length);
	if (word->other)
		answer(peer, word, memory);
}

static bool read_heard(struct wt_mesh_peer *peer, const struct wt_frame_word *word)
{
	uint8_t *memory = memory_of(peer->mesh, word, word->value, WT_ACCESS_SERVE);
	struct wt_frame_word bytes = { .kind = WT_FRAME_BYTES, .cookie = word->cookie };
	uint32_t piece;

	if (word->value - 1 >= WT_PATH_READ_MAX)
		return false;
	if (!memory) {
		answer(peer, word, false);
		return true;
	}
	for (bytes.value = 0; bytes.value < word->value; bytes.value += piece) {
		piece = piece_at(word->value, bytes.value);
		bytes.other = bytes.value + piece == word->value;
		wt_mesh_say_bytes(peer, &bytes, memory + bytes.value, piece, true);
	}
	return true;
}

/* Of a read that waits here. Answers false for bytes that nobody has asked for. */
static bool bytes_heard(
	struct wt_mesh_peer *peer, const struct wt_frame_word *word, const void *bytes, size_t length)
{
	struct wt_mesh_item *item = peer->asked.first;

	while (item && item->word.cookie != word->cookie)
		item = item->next;
	if (!item || item->work != WT_MESH_READ || word->value > item->op.length ||
		length > item->op.length - word->value)
		return false;
	memcpy((uint8_t *)item->op.local + word->value, bytes, length);
	return !word->other || wt_mesh_answered(peer, word->cookie, 0, 0);
}

bool wt_mesh_copy_hear(
	struct wt_mesh_peer *peer, const struct wt_frame_word *word, const void *bytes, size_t length)
{
	switch (word->kind) {
	case WT_FRAME_WRITE:
		write_heard(peer, word, bytes, length);
		return true;
	case WT_FRAME_READ:
		return read_heard(peer, word);
	default:
		return bytes_heard(peer, word, bytes, length);
	}
}

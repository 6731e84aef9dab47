/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mesh_work.c - what items become: messages, writes and reads with the peer's present key, atomics; and the
 * words that meshes say to each other.
 *
 *   1. A write or read is posted only with a key of the epoch of the path that takes it. Without one it is
 *      parked, and the key asked for. Where a device does not have the memory it is copied (mesh_copy.c).
 *   2. An atomic waits in `asked` from its request until its answer; its request is a word of our own, so
 * it does not matter which of the two is heard of first.
 *   3. Atomics on our memory are done here, by the processor's own atomic instructions, so they mix with
 * those of local ranks. Under the mesh's lock; calls nobody back.
 */
#include "mesh_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "atomic.h"
#include "fatal.h"
#include "sabotage.h"

static struct wt_mesh_key *key_slot(struct wt_mesh_peer *peer, uint64_t id)
{
	if (!peer->keys)
		peer->keys = calloc(WT_MESH_KEYS, sizeof *peer->keys);
	return peer->keys ? &peer->keys[(id ^ id >> 32) % WT_MESH_KEYS] : NULL;
}

#define COPY 1

/* 0, and the operation is complete with address and key; COPY: not that way; -EAGAIN: it must wait; else it
 * has failed. */
static int aim(struct wt_mesh_peer *peer, struct wt_mesh_item *item)
{
	const struct wt_handle *handle = &item->remote;
	const struct wt_mesh_key *known;
	const struct wt_key *key = &handle->keys[peer->kind];
	uint64_t offset = item->remote_address - handle->base;

	if (item->remote_address < handle->base || offset > handle->length ||
		item->op.length > handle->length - offset)
		return -ERANGE;
	if (!peer->greeted)
		return -EAGAIN;
	if (item->local && !item->local->regions[peer->kind])
		return COPY;
	if ((WT_MESH_QUIESCES && handle->epoch != peer->epoch) || !key->length) {
		known = key_slot(peer, handle->id);
		if (!known || known->id != handle->id || known->epoch != peer->epoch ||
			known->kind != peer->kind)
			return -EAGAIN;
		if (known->none)
			return COPY;
		key = &known->key;
	}
	if (!key->length)
		return -EACCES;
	item->op.remote_address = key->address + offset;
	item->op.remote_key = key->key;
	return 0;
}

static void park(struct wt_mesh_peer *peer, struct wt_mesh_item *item)
{
	const struct wt_frame_word word = { .kind = WT_FRAME_KEY_ASK, .id = item->remote.id };

	wt_mesh_queue_put(&peer->parked, item);
	if (peer->greeted)
		wt_mesh_say(peer, &word, false);
}

bool wt_mesh_aim(struct wt_mesh_peer *peer)
{
	struct wt_mesh_item *item = peer->queue.first;
	int status = item->work == WT_MESH_WRITE || item->work == WT_MESH_READ ? aim(peer, item) : 0;

	if (status == 0)
		return true;
	wt_mesh_queue_take(&peer->queue);
	if (status == -EAGAIN)
		park(peer, item);
	else if (status == COPY)
		wt_mesh_copy_begin(peer, item);
	else
		wt_mesh_keep_done(peer->mesh, item, status);
	return false;
}

/* What was parked tries anew: a key came, or another path. */
static void unpark(struct wt_mesh_peer *peer)
{
	struct wt_mesh_item *item;

	while ((item = wt_mesh_queue_take(&peer->parked)))
		wt_mesh_queue_put(&peer->queue, item);
	wt_mesh_flush(peer);
}

static void atomic_begin(struct wt_mesh_peer *peer, struct wt_mesh_item *item)
{
	item->word.kind = WT_FRAME_ATOMIC;
	item->word.id = item->remote.id;
	item->word.address = item->remote_address;
	item->word.cookie = ++peer->mesh->cookie;
	wt_mesh_queue_put(&peer->asked, item);
	wt_mesh_say(peer, &item->word, false);
}

static void self_send(struct wt_mesh *mesh, struct wt_mesh_item *item)
{
	const struct iovec parts[] = {
		{ (uint8_t *)item->op.head + WT_FRAME_HEAD_BYTES,
			item->op.head_length - WT_FRAME_HEAD_BYTES },
		{ item->op.local, item->op.length },
	};

	wt_mesh_keep_message(mesh, item->tag, parts, 2);
	wt_mesh_keep_done(mesh, item, 0);
}

/* What this rank does to its own memory needs no path. */
static void self_begin(struct wt_mesh *mesh, struct wt_mesh_item *item)
{
	void *memory = wt_registry_locate(&mesh->registry, item->remote.id, item->remote_address,
		item->work == WT_MESH_ATOMIC ? item->word.bytes : item->op.length);

	if (item->work == WT_MESH_SEND) {
		self_send(mesh, item);
		return;
	}
	if (!memory) {
		wt_mesh_keep_done(mesh, item, -EACCES);
		return;
	}
	if (item->work == WT_MESH_ATOMIC)
		item->result = wt_atomic_apply(&item->word, memory);
	else if (item->work == WT_MESH_WRITE)
		memcpy(memory, item->op.local, item->op.length);
	else
		memcpy(item->op.local, memory, item->op.length);
	wt_mesh_keep_done(mesh, item, 0);
}

void wt_mesh_work_begin(struct wt_mesh_peer *peer, struct wt_mesh_item *item)
{
	if (peer->self) {
		self_begin(peer->mesh, item);
		return;
	}
	switch (item->work) {
	case WT_MESH_SEND:
		item->op.kind = WT_OP_SEND;
		wt_frame_data_encode(item->tag, (uint8_t *)item->op.head);
		if (wt_sabotage_message(peer, item))
			return;
		wt_mesh_queue_put(&peer->queue, item);
		break;
	case WT_MESH_ATOMIC:
		atomic_begin(peer, item);
		break;
	default:
		item->op.kind = item->work == WT_MESH_WRITE ? WT_OP_WRITE : WT_OP_READ;
		wt_mesh_queue_put(&peer->queue, item);
	}
	if (peer->bond.state == WT_BOND_IDLE)
		wt_mesh_bond_event(peer, WT_BOND_WANT);
	wt_mesh_flush(peer);
}

/* A word of our own, with room behind it. */
static struct wt_mesh_item *word_new(struct wt_mesh_peer *peer, const struct wt_frame_word *word, size_t room)
{
	struct wt_mesh_item *item = calloc(1, sizeof *item + room);

	if (!item)
		wt_fatal("no memory for a message");
	item->internal = true;
	item->work = WT_MESH_SEND;
	item->peer = peer;
	wt_frame_encode(word, &item->word);
	item->op =
		(struct wt_op){ .kind = WT_OP_SEND, .head = &item->word, .head_length = sizeof item->word };
	return item;
}

void wt_mesh_say(struct wt_mesh_peer *peer, const struct wt_frame_word *word, bool urgent)
{
	struct wt_mesh_item *item = word_new(peer, word, 0);

	item->urgent = urgent;
	wt_mesh_queue_put(urgent ? &peer->urgent : &peer->queue, item);
	wt_mesh_flush(peer);
}

void wt_mesh_say_bytes(struct wt_mesh_peer *peer, const struct wt_frame_word *word, void *bytes,
	uint32_t length, bool copied)
{
	struct wt_mesh_item *item = word_new(peer, word, copied ? length : 0);

	item->op.local = copied ? memcpy(item + 1, bytes, length) : bytes;
	item->op.length = length;
	wt_mesh_queue_put(&peer->queue, item);
	wt_mesh_flush(peer);
}

static void tell_key(struct wt_mesh_peer *peer, uint64_t id)
{
	const struct wt_registration *registration = wt_registry_find(&peer->mesh->registry, id);
	struct wt_frame_word word = {
		.kind = WT_FRAME_KEY_TELL, .id = id, .epoch = peer->mesh->registry.epoch
	};

	if (registration)
		word.key = registration->keys[peer->kind];
	word.status = registration && !word.key.length;
	wt_mesh_say(peer, &word, false);
}

static void learn_key(struct wt_mesh_peer *peer, const struct wt_frame_word *word)
{
	struct wt_mesh_key *slot = key_slot(peer, word->id);

	if (!slot)
		wt_fatal("no memory for a key");
	*slot = (struct wt_mesh_key){ .id = word->id,
		.epoch = word->epoch,
		.kind = peer->kind,
		.none = word->status,
		.key = word->key };
	unpark(peer);
}

static void do_atomic(struct wt_mesh_peer *peer, const struct wt_frame_word *word)
{
	struct wt_frame_word answer = { .kind = WT_FRAME_DONE, .cookie = word->cookie, .status = 1 };
	void *memory = NULL;

	if (word->bytes == 4 || word->bytes == 8)
		memory = wt_registry_locate(&peer->mesh->registry, word->id, word->address, word->bytes);
	if (memory && word->address % word->bytes == 0) {
		answer.value = wt_atomic_apply(word, memory);
		answer.status = 0;
	}
	wt_mesh_say(peer, &answer, false);
}

bool wt_mesh_answered(struct wt_mesh_peer *peer, uint64_t cookie, uint64_t value, int status)
{
	struct wt_mesh_queue rest;
	struct wt_mesh_item *item;
	bool found = false;

	wt_mesh_queue_init(&rest);
	while ((item = wt_mesh_queue_take(&peer->asked))) {
		if (item->word.cookie != cookie) {
			wt_mesh_queue_put(&rest, item);
			continue;
		}
		found = true;
		item->result = value;
		wt_mesh_keep_done(peer->mesh, item, status);
	}
	peer->asked = rest;
	if (!rest.first)
		wt_mesh_queue_init(&peer->asked);
	return found;
}

bool wt_mesh_hear(
	struct wt_mesh_peer *peer, const struct wt_frame_word *word, const void *bytes, size_t length)
{
	switch (word->kind) {
	case WT_FRAME_GREET:
		if (word->value != WT_FRAME_VERSION)
			return false;
		peer->greeted = true;
		peer->epoch = word->epoch;
		unpark(peer);
		return true;
	case WT_FRAME_MARKER:
		peer->bond.marker_epoch = word->epoch;
		return true;
	case WT_FRAME_GOODBYE:
		wt_mesh_bond_event(peer, WT_BOND_GOODBYE);
		return true;
	case WT_FRAME_KEY_ASK:
		tell_key(peer, word->id);
		return true;
	case WT_FRAME_KEY_TELL:
		learn_key(peer, word);
		return true;
	case WT_FRAME_ATOMIC:
		do_atomic(peer, word);
		return true;
	case WT_FRAME_DONE:
		return wt_mesh_answered(peer, word->cookie, word->value, word->status ? -EACCES : 0);
	case WT_FRAME_READ:
	case WT_FRAME_WRITE:
	case WT_FRAME_BYTES:
		return wt_mesh_copy_hear(peer, word, bytes, length);
	default:
		return false;
	}
}

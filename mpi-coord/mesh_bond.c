/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mesh_bond.c - paths: what the bond machine says is done here; items are posted, completions and messages
 * taken.
 *
 *   1. mesh->up holds exactly the peers that have a path, each once.
 *   2. `posted` counts what the path has not completed; every completion's cookie is the item.
 *   3. A greeting is the first message on every path, both ways.
 *   4. A path over verbs that ends before anything has passed was none: the end that dialled gave up, or a
 *      device connects and does not carry. What it has not sent is sent on the next one.
 * Under the mesh's lock; calls nobody back.
 */
#include "mesh_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

static void path_keep(struct wt_mesh_peer *peer, enum wt_link_kind kind, struct wt_path *path)
{
	struct wt_mesh *mesh = peer->mesh;
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = peer };
	const struct wt_frame_word greeting = {
		.kind = WT_FRAME_GREET, .epoch = mesh->attaches, .value = WT_FRAME_VERSION
	};

	peer->path = path;
	peer->kind = kind;
	peer->greeted = false;
	peer->ready = true;
	peer->fresh = true;
	peer->posted = 0;
	mesh->up[mesh->up_count++] = peer;
	if (epoll_ctl(mesh->epoll, EPOLL_CTL_ADD, wt_mesh_ops(peer)->fd(path), &event) < 0)
		wt_mesh_break(
			mesh, peer, "cannot watch the path to rank %u: %s", peer->name.rank, strerror(errno));
	wt_mesh_say(peer, &greeting, true);
}

static void path_close(struct wt_mesh_peer *peer)
{
	struct wt_mesh *mesh = peer->mesh;
	size_t i;

	for (i = 0; mesh->up[i] != peer; i++)
		;
	mesh->up[i] = mesh->up[--mesh->up_count];
	epoll_ctl(mesh->epoll, EPOLL_CTL_DEL, wt_mesh_ops(peer)->fd(peer->path), NULL);
	/* Let go before a detach is answered, waiting for the device if need be. */
	if (peer->bond.mode == WT_BOND_AWAY && wt_mesh_ops(peer)->quiesce(peer->path) == 0)
		wt_mesh_ops(peer)->detach(peer->path);
	wt_mesh_ops(peer)->close(peer->path);
	peer->path = NULL;
	peer->greeted = false;
}

/* What an UNMADE path had comes first on the next one; greeting and marker are said anew there. */
static void take_back(struct wt_mesh_peer *peer)
{
	struct wt_mesh_item *item;

	while ((item = wt_mesh_queue_take(&peer->urgent)))
		free(item); /* these are all the mesh's own */
	if (!peer->back.first)
		return;
	*peer->back.last = peer->queue.first;
	if (peer->queue.first)
		peer->back.last = peer->queue.last;
	peer->queue = peer->back;
	wt_mesh_queue_init(&peer->back);
}

static void marker_say(struct wt_mesh_peer *peer)
{
	const struct wt_frame_word marker = { .kind = WT_FRAME_MARKER, .epoch = peer->mesh->epoch };

	wt_mesh_say(peer, &marker, true);
}

void wt_mesh_bond_event(struct wt_mesh_peer *peer, enum wt_bond_event event)
{
	wt_mesh_bond_path(peer, event, WT_LINK_TCP, NULL);
}

void wt_mesh_bond_path(
	struct wt_mesh_peer *peer, enum wt_bond_event event, enum wt_link_kind kind, struct wt_path *path)
{
	unsigned actions;

	/* Without an address nobody can be dialled; who has one will dial, or its address will come. */
	if (event == WT_BOND_WANT && (!peer->known || peer->mesh->closing))
		return;
	actions = wt_bond_step(&peer->bond, event);
	if (actions & WT_BOND_KEEP)
		path_keep(peer, kind, path);
	else if (path)
		peer->mesh->links[kind].ops->close(path);
	if (actions & WT_BOND_DIAL)
		wt_mesh_dial(peer);
	if (actions & WT_BOND_MARK)
		marker_say(peer);
	if (actions & WT_BOND_CLOSE)
		path_close(peer);
	if (actions & WT_BOND_BROKEN && !peer->mesh->closing)
		wt_mesh_break(peer->mesh, peer, "the connection to rank %u has ended in the midst of the job",
			peer->name.rank);
	if (event == WT_BOND_RESUME || event == WT_BOND_ABORT)
		wt_mesh_flush(peer);
}

/* The path of a peer has ended. */
static void path_ended(struct wt_mesh_peer *peer)
{
	if (!peer->fresh || peer->kind != WT_LINK_VERBS) {
		wt_mesh_bond_event(peer, WT_BOND_LOST);
		return;
	}
	peer->verbs_failed++;
	wt_mesh_bond_event(peer, WT_BOND_UNMADE);
	take_back(peer);
	if (peer->queue.first)
		wt_mesh_bond_event(peer, WT_BOND_WANT);
}

/* Answers false when the path takes no more now. */
static bool post(struct wt_mesh_peer *peer, struct wt_mesh_queue *queue)
{
	struct wt_mesh_item *item = queue->first;
	int status;

	item->op.cookie = (uint64_t)(uintptr_t)item;
	if (item->local)
		item->op.local_region = item->local->regions[peer->kind];
	status = wt_mesh_ops(peer)->post(peer->path, &item->op, 1);
	if (status == -EINVAL) {
		wt_mesh_queue_take(queue);
		wt_mesh_keep_done(peer->mesh, item, status);
		return true;
	}
	if (status != 1)
		return false; /* full; or failed, which poll will say */
	wt_mesh_queue_take(queue);
	peer->posted++;
	return true;
}

static bool sends(const struct wt_mesh_peer *peer)
{
	return WT_MESH_QUIESCES ? wt_bond_sends(&peer->bond) : peer->bond.state == WT_BOND_UP;
}

bool wt_mesh_idle(const struct wt_mesh_peer *peer)
{
	return peer->path && !peer->urgent.first && !peer->queue.first && sends(peer);
}

void wt_mesh_flush(struct wt_mesh_peer *peer)
{
	if (!peer->path)
		return;
	while (peer->urgent.first)
		if (!post(peer, &peer->urgent))
			return;
	while (peer->queue.first && sends(peer))
		if (wt_mesh_aim(peer) && !post(peer, &peer->queue))
			return;
}

/* Answers 1 if there is an event to deliver. */
static unsigned completed(
	struct wt_mesh_peer *peer, const struct wt_completion *completion, struct wt_mesh_event *ret_event)
{
	struct wt_mesh_item *item = (struct wt_mesh_item *)(uintptr_t)completion->cookie;
	/* To one who has said goodbye nothing needs to be delivered any more. */
	int status = peer->bond.gone ? 0 : completion->status;

	peer->posted--;
	peer->fresh &= completion->status < 0;
	if (peer->fresh && peer->kind == WT_LINK_VERBS && !item->urgent) {
		wt_mesh_queue_put(&peer->back, item);
		return 0;
	}
	if (item->internal) {
		free(item);
		return 0;
	}
	/* Nobody must act on it before `broken` is told; after that nobody needs it. */
	if (item->work == WT_MESH_SEND && status < 0) {
		wt_mesh_break(peer->mesh, peer, "the connection to rank %u has ended in the midst of the job",
			peer->name.rank);
		return 0;
	}
	if (!ret_event) {
		wt_mesh_keep_done(peer->mesh, item, status);
		return 0;
	}
	item->status = status;
	*ret_event = (struct wt_mesh_event){ .item = item };
	return 1;
}

static unsigned heard(
	struct wt_mesh_peer *peer, const struct wt_completion *completion, struct wt_mesh_event *ret_event)
{
	const uint8_t *bytes = completion->message;
	struct wt_frame_word word;

	peer->fresh = false;
	peer->verbs_failed = 0;
	if (wt_frame_decode(bytes, completion->length, &word) < 0) {
		wt_mesh_break(peer->mesh, peer, "rank %u said something that is not of this protocol",
			peer->name.rank);
		return 0;
	}
	if (word.kind != WT_FRAME_DATA) {
		if (!wt_mesh_hear(peer, &word, bytes + sizeof word, completion->length - sizeof word))
			wt_mesh_break(peer->mesh, peer,
				"rank %u breaks the protocol; do all ranks have the same version of btl/watari?",
				peer->name.rank);
		return 0;
	}
	bytes += WT_FRAME_HEAD_BYTES;
	if (!ret_event) {
		wt_mesh_keep_message(peer->mesh, word.tag,
			&(struct iovec){ (void *)bytes, completion->length - WT_FRAME_HEAD_BYTES }, 1);
		return 0;
	}
	*ret_event = (struct wt_mesh_event){
		.tag = word.tag, .bytes = bytes, .length = completion->length - WT_FRAME_HEAD_BYTES
	};
	return 1;
}

unsigned wt_mesh_poll(struct wt_mesh_peer *peer, struct wt_mesh_event *ret_events)
{
	struct wt_completion completions[WT_MESH_BATCH];
	unsigned events = 0;
	int count;
	int i;

	count = wt_mesh_ops(peer)->poll(peer->path, completions, WT_MESH_BATCH);
	peer->ready = count == (int)WT_MESH_BATCH;
	if (count < 0) {
		path_ended(peer);
		return 0;
	}
	for (i = 0; i < count; i++) {
		struct wt_mesh_event *event = ret_events ? &ret_events[events] : NULL;

		events += completions[i].message ? heard(peer, &completions[i], event)
						 : completed(peer, &completions[i], event);
	}
	if (count)
		wt_mesh_flush(peer);
	return events;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mesh.c - all connections of one rank: opening, closing, peers, and delivery.
 *
 * Owns the peers, and what is kept for delivery.
 *   1. Kept events are delivered before anything that is polled later: messages of one peer stay in order.
 *   2. A path's buffer is read only by who has set `delivering`, or, if it rests, by wt_mesh_drain, which
 * has waited for that to end: so a message that is being delivered is not overwritten.
 *   3. The endpoints are closed only when no dial uses them.
 */
#include "mesh_internal.h"
#include "fatal.h"
#include "sabotage.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

void wt_mesh_queue_init(struct wt_mesh_queue *queue)
{
	queue->first = NULL;
	queue->last = &queue->first;
}

void wt_mesh_queue_put(struct wt_mesh_queue *queue, struct wt_mesh_item *item)
{
	item->next = NULL;
	*queue->last = item;
	queue->last = &item->next;
}

struct wt_mesh_item *wt_mesh_queue_take(struct wt_mesh_queue *queue)
{
	struct wt_mesh_item *item = queue->first;

	if (!item)
		return NULL;
	queue->first = item->next;
	if (!queue->first)
		queue->last = &queue->first;
	return item;
}

void wt_mesh_break(struct wt_mesh *mesh, struct wt_mesh_peer *peer, const char *format, ...)
{
	va_list args;

	if (mesh->broken[0])
		return;
	mesh->broken_peer = peer->name;
	va_start(args, format);
	vsnprintf(mesh->broken, sizeof mesh->broken, format, args);
	va_end(args);
}

static void keep(struct wt_mesh *mesh, struct wt_mesh_event *event)
{
	*mesh->kept_last = event;
	mesh->kept_last = &event->next;
}

void wt_mesh_keep_done(struct wt_mesh *mesh, struct wt_mesh_item *item, int status)
{
	struct wt_mesh_event *event = calloc(1, sizeof *event);

	if (!event)
		wt_fatal("no memory for a completion");
	item->status = status;
	event->item = item;
	keep(mesh, event);
}

void wt_mesh_keep_message(struct wt_mesh *mesh, uint8_t tag, const struct iovec *parts, unsigned count)
{
	struct wt_mesh_event *event;
	size_t length = 0;
	uint8_t *to;
	unsigned i;

	for (i = 0; i < count; i++)
		length += parts[i].iov_len;
	event = malloc(sizeof *event + length);
	if (!event)
		wt_fatal("no memory for a message");
	to = (uint8_t *)(event + 1);
	*event = (struct wt_mesh_event){ .tag = tag, .length = length, .bytes = to };
	for (i = 0; i < count; to += parts[i++].iov_len)
		if (parts[i].iov_len)
			memcpy(to, parts[i].iov_base, parts[i].iov_len);
	keep(mesh, event);
}

int wt_mesh_open(struct wt_mesh_name self, const struct wt_mesh_events *events, struct wt_mesh **ret_mesh,
	struct wt_error *err)
{
	struct wt_mesh *mesh = calloc(1, sizeof *mesh);

	if (!mesh)
		return wt_error_set(err, ENOMEM, "out of memory for the connections of rank %u", self.rank);
	mesh->self = self;
	mesh->events = *events;
	mesh->kept_last = &mesh->kept;
	wt_cache_open(&mesh->cache, &mesh->registry, 0);
	mesh->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (mesh->epoll < 0) {
		free(mesh);
		return wt_error_set(err, errno, "cannot make an epoll descriptor: %s", strerror(errno));
	}
	pthread_mutex_init(&mesh->lock, NULL);
	pthread_cond_init(&mesh->delivered, NULL);
	pthread_cond_init(&mesh->dial_ended, NULL);
	*ret_mesh = mesh;
	return 0;
}

static struct wt_mesh_peer *peer_new(struct wt_mesh *mesh, struct wt_mesh_name name)
{
	struct wt_mesh_peer *peer = calloc(1, sizeof *peer);

	if (!peer)
		return NULL;
	peer->mesh = mesh;
	peer->name = name;
	peer->self = name.job == mesh->self.job && name.rank == mesh->self.rank;
	peer->bond.lower =
		mesh->self.job != name.job ? mesh->self.job < name.job : mesh->self.rank < name.rank;
	peer->bond.mode = mesh->mode;
	peer->bond.epoch = mesh->parted ? 0 : mesh->epoch;
	wt_mesh_queue_init(&peer->urgent);
	wt_mesh_queue_init(&peer->queue);
	wt_mesh_queue_init(&peer->back);
	wt_mesh_queue_init(&peer->parked);
	wt_mesh_queue_init(&peer->asked);
	return peer;
}

static bool peers_grow(struct wt_mesh *mesh)
{
	size_t room = mesh->peer_room ? 2 * mesh->peer_room : 16;
	struct wt_mesh_peer **peers;
	struct wt_mesh_peer **up;

	if (mesh->peer_count < mesh->peer_room)
		return true;
	peers = realloc(mesh->peers, room * sizeof *peers);
	if (!peers)
		return false;
	mesh->peers = peers;
	up = realloc(mesh->up, room * sizeof *up);
	if (!up)
		return false;
	mesh->up = up;
	mesh->peer_room = room;
	return true;
}

struct wt_mesh_peer *wt_mesh_peer(struct wt_mesh *mesh, struct wt_mesh_name name)
{
	struct wt_mesh_peer *peer = NULL;
	size_t i;

	pthread_mutex_lock(&mesh->lock);
	for (i = 0; i < mesh->peer_count && !peer; i++)
		if (mesh->peers[i]->name.rank == name.rank && mesh->peers[i]->name.job == name.job)
			peer = mesh->peers[i];
	if (!peer && peers_grow(mesh)) {
		peer = peer_new(mesh, name);
		if (peer)
			mesh->peers[mesh->peer_count++] = peer;
	}
	pthread_mutex_unlock(&mesh->lock);
	return peer;
}

void wt_mesh_peer_address(
	struct wt_mesh *mesh, struct wt_mesh_peer *peer, const struct wt_mesh_address *address)
{
	pthread_mutex_lock(&mesh->lock);
	if (!peer->known || address->epoch >= peer->address.epoch) {
		if (peer->address.token != address->token)
			peer->verbs_failed = 0;
		peer->address = *address;
	}
	peer->known = true;
	pthread_mutex_unlock(&mesh->lock);
}

/* Answers false, and does nothing, where the item would wait and must not. */
static bool submit(struct wt_mesh *mesh, struct wt_mesh_peer *peer, struct wt_mesh_item *item, bool may_wait)
{
	bool begins;

	item->peer = peer;
	item->internal = false;
	item->urgent = false;
	pthread_mutex_lock(&mesh->lock);
	begins = may_wait || wt_mesh_idle(peer);
	if (begins)
		wt_mesh_work_begin(peer, item);
	pthread_mutex_unlock(&mesh->lock);
	return begins;
}

void wt_mesh_submit(struct wt_mesh *mesh, struct wt_mesh_peer *peer, struct wt_mesh_item *item)
{
	submit(mesh, peer, item, true);
}

bool wt_mesh_submit_now(struct wt_mesh *mesh, struct wt_mesh_peer *peer, struct wt_mesh_item *item)
{
	return submit(mesh, peer, item, false);
}

bool wt_mesh_send_now(
	struct wt_mesh *mesh, struct wt_mesh_peer *peer, uint8_t tag, void *message, size_t length)
{
	bool gone;

	wt_frame_data_encode(tag, message);
	pthread_mutex_lock(&mesh->lock);
	/* What has gone on a path that is fresh might be needed for the next one. */
	gone = wt_mesh_idle(peer) && !peer->fresh && !wt_sabotage_messages() &&
	       wt_mesh_ops(peer)->send_now(peer->path, message, (uint32_t)length);
	pthread_mutex_unlock(&mesh->lock);
	return gone;
}

static void deliver(struct wt_mesh *mesh, const struct wt_mesh_event *event)
{
	if (event->item)
		event->item->done(event->item, event->item->status);
	else
		mesh->events.message(mesh->events.arg, event->tag, event->bytes, event->length);
}

/* Once. Called and left with `lock` held. */
static void tell_broken(struct wt_mesh *mesh)
{
	if (!mesh->broken[0] || mesh->broken_told)
		return;
	mesh->broken_told = true;
	pthread_mutex_unlock(&mesh->lock);
	mesh->events.broken(mesh->events.arg, mesh->broken_peer, mesh->broken);
	pthread_mutex_lock(&mesh->lock);
}

/* Answers false when somebody else delivers. Called and left with `lock` held, and so is its end. */
static bool deliver_begin(struct wt_mesh *mesh)
{
	if (mesh->delivering || mesh->awaited)
		return false;
	__atomic_store_n(&mesh->delivering, true, __ATOMIC_RELAXED);
	return true;
}

static void deliver_end(struct wt_mesh *mesh)
{
	__atomic_store_n(&mesh->delivering, false, __ATOMIC_RELAXED);
	if (mesh->awaited)
		pthread_cond_broadcast(&mesh->delivered);
}

/* Called and left with `lock` held. */
static int deliver_kept(struct wt_mesh *mesh)
{
	struct wt_mesh_event *event;
	struct wt_mesh_event *next;
	int count = 0;

	if (!mesh->kept && !mesh->broken[0])
		return 0;
	tell_broken(mesh);
	event = mesh->kept;
	mesh->kept = NULL;
	mesh->kept_last = &mesh->kept;
	if (!event)
		return 0;
	pthread_mutex_unlock(&mesh->lock);
	for (; event; event = next, count++) {
		next = event->next;
		deliver(mesh, event);
		free(event);
	}
	pthread_mutex_lock(&mesh->lock);
	return count;
}

/* Which paths may have something: all of few and all over verbs, where to ask costs less than to be told;
 * else those that the kernel names and those with posts. */
static void mark_ready(struct wt_mesh *mesh)
{
	struct epoll_event ready[WT_MESH_BATCH];
	int count;
	int i;

	count = epoll_wait(mesh->epoll, ready, WT_MESH_BATCH, 0);
	for (i = 0; i < count; i++)
		((struct wt_mesh_peer *)ready[i].data.ptr)->ready = true;
}

/* Polls one path after the other, and delivers what each had; but those not that rest in this epoch. Called
 * and left with `lock` held. */
static int poll_and_deliver(struct wt_mesh *mesh, uint32_t resting)
{
	struct wt_mesh_event events[WT_MESH_BATCH];
	bool all = mesh->up_count <= WT_MESH_POLL_ALL;
	int total = 0;
	unsigned count;
	unsigned k;
	size_t i;

	if (!all)
		mark_ready(mesh);
	for (i = 0; i < mesh->up_count && !(WT_MESH_QUIESCES && mesh->draining && !resting); i++) {
		struct wt_mesh_peer *peer = mesh->up[i];

		if (WT_MESH_QUIESCES && resting && peer->bond.epoch == resting)
			continue;
		if (!all && !peer->ready && !peer->posted && peer->kind == WT_LINK_TCP)
			continue;
		count = wt_mesh_poll(peer, events);
		if (!count)
			continue;
		tell_broken(mesh);
		pthread_mutex_unlock(&mesh->lock);
		for (k = 0; k < count; k++)
			deliver(mesh, &events[k]);
		total += (int)count;
		pthread_mutex_lock(&mesh->lock);
	}
	return total;
}

/* Who is detached hears of nothing until its control thread has brought it back. Its VM is perhaps being
 * moved: it does not turn, and writes nothing. */
static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = WT_MESH_NAP_NS }, NULL);
}

int wt_mesh_progress(struct wt_mesh *mesh)
{
	uint32_t resting;
	bool away;
	int count;

	if (WT_MESH_QUIESCES && __atomic_load_n(&mesh->delivering, __ATOMIC_RELAXED))
		return 0;
	pthread_mutex_lock(&mesh->lock);
	if (WT_MESH_QUIESCES && !deliver_begin(mesh)) {
		pthread_mutex_unlock(&mesh->lock);
		return 0;
	}
	/* Draining can end, but not come to its first poll, during `delivering`: so of what does not rest now
	 * no message is kept behind the back of what is polled. */
	resting = WT_MESH_QUIESCES && mesh->draining ? mesh->epoch : 0;
	count = deliver_kept(mesh);
	count += poll_and_deliver(mesh, resting);
	count += deliver_kept(mesh);
	away = WT_MESH_QUIESCES && mesh->mode == WT_BOND_AWAY;
	if (WT_MESH_QUIESCES)
		deliver_end(mesh);
	pthread_mutex_unlock(&mesh->lock);
	if (away && !count)
		nap();
	return count;
}

static bool peer_settled(const struct wt_mesh_peer *peer)
{
	return peer->bond.gone || (!peer->queue.first && !peer->urgent.first && !peer->parked.first &&
					  !peer->asked.first && !peer->posted);
}

bool wt_mesh_settle(struct wt_mesh *mesh)
{
	bool settled;
	size_t i;

	pthread_mutex_lock(&mesh->lock);
	if (!deliver_begin(mesh)) {
		pthread_mutex_unlock(&mesh->lock);
		return false;
	}
	for (i = mesh->up_count; i-- > 0 && !mesh->draining;)
		wt_mesh_poll(mesh->up[i], NULL);
	settled = !mesh->draining;
	for (i = 0; i < mesh->peer_count && settled; i++)
		settled = peer_settled(mesh->peers[i]);
	settled |= mesh->broken[0] != 0;
	deliver_end(mesh);
	pthread_mutex_unlock(&mesh->lock);
	return settled;
}

static void queue_drop(struct wt_mesh_queue *queue)
{
	struct wt_mesh_item *item;

	while ((item = wt_mesh_queue_take(queue)))
		if (item->internal)
			free(item);
}

static void peer_free(struct wt_mesh_peer *peer)
{
	if (peer->path)
		wt_mesh_ops(peer)->close(peer->path);
	queue_drop(&peer->urgent);
	queue_drop(&peer->queue);
	queue_drop(&peer->back);
	queue_drop(&peer->parked);
	queue_drop(&peer->asked);
	free(peer->keys);
	free(peer);
}

/* Every goodbye has left; or its path is gone. */
static bool said_all(struct wt_mesh *mesh)
{
	bool all = true;
	size_t i;

	pthread_mutex_lock(&mesh->lock);
	for (i = mesh->up_count; i-- > 0;) {
		struct wt_mesh_peer *peer = mesh->up[i];

		wt_mesh_poll(peer, NULL);
		all &= !peer->path ||
		       (!peer->urgent.first && wt_mesh_ops(peer)->quiesce(peer->path) != -EAGAIN);
	}
	pthread_mutex_unlock(&mesh->lock);
	return all;
}

void wt_mesh_close(struct wt_mesh *mesh)
{
	const struct wt_frame_word goodbye = { .kind = WT_FRAME_GOODBYE };
	const struct timespec pause = { .tv_nsec = 100000 };
	struct wt_mesh_event *event;
	size_t i;

	pthread_mutex_lock(&mesh->lock);
	mesh->closing = true;
	while (mesh->dials)
		pthread_cond_wait(&mesh->dial_ended, &mesh->lock);
	wt_mesh_dials_join(mesh);
	for (i = mesh->up_count; i-- > 0;) {
		/* or the goodbye would not go out of a quiesce */
		wt_mesh_ops(mesh->up[i])->resume(mesh->up[i]->path);
		wt_mesh_say(mesh->up[i], &goodbye, true);
	}
	pthread_mutex_unlock(&mesh->lock);
	for (i = 0; i < WT_MESH_LEAVE_TURNS && !said_all(mesh); i++)
		nanosleep(&pause, NULL);
	for (i = 0; i < mesh->peer_count; i++)
		peer_free(mesh->peers[i]);
	wt_mesh_links_close(mesh);
	wt_cache_close(&mesh->cache);
	wt_registry_close(&mesh->registry);
	while ((event = mesh->kept)) {
		mesh->kept = event->next;
		free(event);
	}
	close(mesh->epoll);
	free(mesh->peers);
	free(mesh->up);
	pthread_mutex_destroy(&mesh->lock);
	pthread_cond_destroy(&mesh->delivered);
	pthread_cond_destroy(&mesh->dial_ended);
	free(mesh);
}

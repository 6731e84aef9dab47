/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mesh_dial.c - how paths come: dialling, each in a thread of its own because it may block, and admitting.
 *
 *   1. A dial uses the endpoint without the lock; mesh->dials counts such threads, of each peer peer->dials,
 *      and the endpoint outlives them.
 *   2. Threads that have ended are joined by the next dial, or by close.
 *   3. A refusal is repeated after a pause for as long as the bond wants: the other end may be dialling us,
 * or just be about to listen.
 *   4. Over verbs if both ends have it; if that cannot be, over tcp, with all the time that a dial has.
 *   5. Who dials shows the token of the rank that it dials, which is another one after each attach; without
 * it nobody is admitted.
 */
#include "mesh_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fatal.h"
#include "thread.h"

struct wt_mesh_dial {
	struct wt_mesh_dial *next; /* of those that have ended */
	pthread_t thread;
	struct wt_mesh_peer *peer;
	uint64_t deadline_ns; /* of this fabric and address */
	enum wt_link_kind kind;
	struct wt_mesh_link link;
	struct wt_mesh_address address;
	struct wt_frame_hello hello;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* In a resume every failure may pass: an address, a link or a neighbour comes late; the coordinator has the
 * deadline. */
static enum wt_bond_event event_of(enum wt_bond_mode mode, int status, bool late)
{
	if (status >= 0)
		return WT_BOND_DIALLED;
	if (mode == WT_BOND_JOINING)
		return WT_BOND_DIAL_REFUSED;
	return (status == -ECONNREFUSED || status == -ECONNRESET) && !late ? WT_BOND_DIAL_REFUSED
									   : WT_BOND_DIAL_FAILED;
}

/* At the address of now. Under the lock. */
static void aim(struct wt_mesh_dial *dial)
{
	const struct wt_mesh *mesh = dial->peer->mesh;
	bool other = dial->address.token != dial->peer->address.token;
	enum wt_link_kind before = dial->kind;

	dial->address = dial->peer->address;
	dial->kind = dial->address.verbs_port && mesh->links[WT_LINK_VERBS].ops &&
				     dial->peer->verbs_failed < WT_MESH_VERBS_TRIES
			     ? WT_LINK_VERBS
			     : WT_LINK_TCP;
	if (other || dial->kind != before)
		dial->deadline_ns = now_ns() + WT_MESH_DIAL_NS;
	dial->link = mesh->links[dial->kind];
	dial->hello = (struct wt_frame_hello){ .version = WT_FRAME_VERSION,
		.job = mesh->self.job,
		.rank = mesh->self.rank,
		.token = dial->address.token,
		.epoch = dial->address.epoch };
}

/* The bond's word on what the dial gave; answers true to dial again. Under the lock. */
static bool dial_told(
	struct wt_mesh_dial *dial, int status, bool late, struct wt_path *path, const struct wt_error *err)
{
	struct wt_mesh_peer *peer = dial->peer;
	enum wt_bond_event event = event_of(peer->bond.mode, status, late);

	if (peer->mesh->closing) {
		if (status >= 0)
			dial->link.ops->close(path);
		return false;
	}
	if (dial->kind == WT_LINK_VERBS && status < 0 && status != -ECONNREFUSED && status != -ECONNRESET) {
		peer->verbs_failed++;
		event = WT_BOND_DIAL_REFUSED;
	}
	if (event == WT_BOND_DIAL_REFUSED) {
		aim(dial); /* there may be a newer address */
		return wt_bond_step(&peer->bond, event) & WT_BOND_DIAL;
	}
	if (event == WT_BOND_DIAL_FAILED && peer->bond.state == WT_BOND_DIALLING &&
		peer->bond.mode == WT_BOND_RUNNING)
		wt_mesh_break(peer->mesh, peer, "rank %u cannot be reached: %.300s", peer->name.rank,
			wt_error_text(err));
	wt_mesh_bond_path(peer, event, dial->kind, path);
	wt_mesh_flush(peer);
	return false;
}

static int connect_to(struct wt_mesh_dial *dial, const uint8_t hello[WT_PATH_HELLO_BYTES],
	struct wt_path **ret_path, struct wt_error *err)
{
	bool verbs = dial->kind == WT_LINK_VERBS;

	return dial->link.ops->connect(dial->link.endpoint,
		verbs ? dial->address.verbs_host : dial->address.host,
		verbs ? dial->address.verbs_port : dial->address.port, hello, WT_ROLE_PEER,
		verbs ? WT_MESH_VERBS_DIAL_NS : WT_MESH_DIAL_NS, ret_path, err);
}

static void *dial_main(void *arg)
{
	const struct timespec pause = { .tv_nsec = WT_MESH_DIAL_PAUSE_NS };
	struct wt_mesh_dial *dial = arg;
	struct wt_mesh *mesh = dial->peer->mesh;
	uint8_t hello[WT_PATH_HELLO_BYTES];
	bool again;

	do {
		struct wt_error err = { 0 };
		struct wt_path *path = NULL;
		int status;

		wt_frame_hello_encode(&dial->hello, hello);
		status = connect_to(dial, hello, &path, &err);

		pthread_mutex_lock(&mesh->lock);
		again = dial_told(dial, status, now_ns() >= dial->deadline_ns, path, &err);
		if (!again) {
			mesh->dials--;
			dial->peer->dials--;
			dial->next = mesh->ended;
			mesh->ended = dial;
			pthread_cond_broadcast(&mesh->dial_ended);
		}
		pthread_mutex_unlock(&mesh->lock);
		if (again)
			nanosleep(&pause, NULL);
	} while (again);
	return NULL;
}

/* Threads are joined, not detached: this code may be unloaded. Under the lock, which they do not need any
 * more. */
void wt_mesh_dials_join(struct wt_mesh *mesh)
{
	struct wt_mesh_dial *dial;

	while ((dial = mesh->ended)) {
		mesh->ended = dial->next;
		pthread_join(dial->thread, NULL);
		free(dial);
	}
}

void wt_mesh_dial(struct wt_mesh_peer *peer)
{
	struct wt_mesh *mesh = peer->mesh;
	struct wt_mesh_dial *dial = calloc(1, sizeof *dial);
	int status;

	if (!dial)
		wt_fatal("no memory for a connection");
	dial->peer = peer;
	dial->deadline_ns = now_ns() + WT_MESH_DIAL_NS;
	aim(dial);
	wt_mesh_dials_join(mesh);
	status = wt_thread_start(dial_main, dial, &dial->thread);
	if (status < 0) {
		free(dial);
		wt_mesh_break(mesh, peer, "cannot start a thread to reach rank %u: %s", peer->name.rank,
			strerror(-status));
		return;
	}
	mesh->dials++;
	peer->dials++;
}

/* Who dials, if it may. */
static struct wt_mesh_peer *dialler(struct wt_mesh *mesh, const uint8_t bytes[WT_PATH_HELLO_BYTES])
{
	struct wt_frame_hello hello;

	if (wt_frame_hello_decode(bytes, &hello) < 0 || hello.version != WT_FRAME_VERSION)
		return NULL;
	if (hello.token != mesh->address.token)
		return NULL;
	return wt_mesh_peer(mesh, (struct wt_mesh_name){ .job = hello.job, .rank = hello.rank });
}

/* Under the lock. */
static void admit(struct wt_mesh *mesh, struct wt_mesh_peer *peer, enum wt_link_kind kind,
	struct wt_request *request, bool closed)
{
	const struct wt_mesh_link *link = &mesh->links[kind];
	struct wt_bond after;
	struct wt_path *path = NULL;

	if (!peer || (closed && wt_mesh_rests(mesh, peer)) || mesh->closing) {
		link->ops->request_refuse(request);
		return;
	}
	after = peer->bond;
	if (!(wt_bond_step(&after, WT_BOND_REQUEST) & WT_BOND_KEEP)) {
		link->ops->request_refuse(request);
		return;
	}
	/* One that left meanwhile is no path: the bond never hears of it. */
	if (link->ops->request_admit(request, link->endpoint, WT_ROLE_PEER, &path, NULL) < 0)
		return;
	wt_mesh_bond_path(peer, WT_BOND_REQUEST, kind, path);
	wt_mesh_flush(peer);
}

static void accept_all(struct wt_mesh *mesh, enum wt_link_kind kind, bool closed)
{
	for (;;) {
		/* Only this thread attaches and detaches. */
		const struct wt_mesh_link *link = &mesh->links[kind];
		uint8_t hello[WT_PATH_HELLO_BYTES];
		struct wt_request *request = NULL;
		struct wt_mesh_peer *peer;

		if (!link->ops || link->ops->listener_accept(link->listener, &request, hello) < 0)
			return;
		peer = dialler(mesh, hello);
		pthread_mutex_lock(&mesh->lock);
		admit(mesh, peer, kind, request, closed);
		pthread_mutex_unlock(&mesh->lock);
	}
}

void wt_mesh_accept(struct wt_mesh *mesh, bool closed)
{
	accept_all(mesh, WT_LINK_TCP, closed);
	accept_all(mesh, WT_LINK_VERBS, closed);
}

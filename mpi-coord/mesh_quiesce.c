/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mesh_quiesce.c - a rank's connections come to rest, go, come back, and go on.
 *
 * Called by the rank's control thread alone, which holds nothing and delivers nothing.
 *   1. From wt_mesh_quiesce to wt_mesh_go only wt_mesh_drain polls the paths that rest; what comes is kept.
 *   2. Drained: on every such path both markers have passed and every post of ours is complete, no dial is
 * under way. Then no byte of the job is on a wire.
 *   3. Detached: no path, no listener, no endpoint, no region.
 *   4. In a quiesce of a part, only bonds to the ranks that move take part in any of this. The rank itself
 * stays attached: its paths to others, its listeners, its device and its keys are what they were.
 */
#include "mesh_internal.h"

#include <errno.h>
#include <stdio.h>

static void all(struct wt_mesh *mesh, enum wt_bond_event event, enum wt_bond_mode mode)
{
	size_t i;

	if (!mesh->parted)
		mesh->mode = mode; /* of peers that are made from now on */
	for (i = 0; i < mesh->peer_count; i++)
		if (wt_mesh_rests(mesh, mesh->peers[i]))
			wt_mesh_bond_event(mesh->peers[i], event);
}

int wt_mesh_listener_fd(struct wt_mesh *mesh, enum wt_link_kind kind)
{
	const struct wt_mesh_link *link = &mesh->links[kind];

	return link->ops ? link->ops->listener_fd(link->listener) : -1;
}

int wt_mesh_paths_fd(struct wt_mesh *mesh)
{
	return mesh->parted ? -1 : mesh->epoll; /* what does not rest is not the control thread's */
}

bool wt_mesh_paths_arm(struct wt_mesh *mesh)
{
	bool quiet = true;
	size_t i;

	pthread_mutex_lock(&mesh->lock);
	for (i = 0; i < mesh->up_count && !mesh->parted; i++)
		quiet &= wt_mesh_ops(mesh->up[i])->arm(mesh->up[i]->path) == 0;
	pthread_mutex_unlock(&mesh->lock);
	return quiet;
}

int wt_mesh_part(struct wt_mesh *mesh, struct wt_mesh_name name, bool first)
{
	struct wt_mesh_peer *named = wt_mesh_peer(mesh, name);
	size_t i;

	if (!named)
		return -ENOMEM;
	pthread_mutex_lock(&mesh->lock);
	for (i = 0; i < mesh->peer_count && first; i++)
		mesh->peers[i]->named = false;
	named->named = true;
	pthread_mutex_unlock(&mesh->lock);
	return 0;
}

unsigned wt_mesh_part_count(struct wt_mesh *mesh)
{
	unsigned count = 0;
	size_t i;

	pthread_mutex_lock(&mesh->lock);
	for (i = 0; i < mesh->peer_count; i++)
		count += mesh->peers[i]->named;
	pthread_mutex_unlock(&mesh->lock);
	return count;
}

/* From now on wt_mesh_progress leaves alone what rests. */
static void begin(struct wt_mesh *mesh, uint32_t epoch, bool parted)
{
	size_t i;

	mesh->draining = true;
	mesh->parted = parted;
	mesh->epoch = epoch;
	for (i = 0; i < mesh->peer_count; i++)
		if (wt_mesh_rests(mesh, mesh->peers[i]))
			mesh->peers[i]->bond.epoch = epoch;
}

void wt_mesh_quiesce(struct wt_mesh *mesh, uint32_t epoch, bool parted)
{
	pthread_mutex_lock(&mesh->lock);
	begin(mesh, epoch, parted);
	/* Who is delivering may read in a path's buffer. */
	mesh->awaited = true;
	while (mesh->delivering)
		pthread_cond_wait(&mesh->delivered, &mesh->lock);
	mesh->awaited = false;
	all(mesh, WT_BOND_QUIESCE, WT_BOND_QUIESCED);
	pthread_mutex_unlock(&mesh->lock);
}

/* The path takes nothing new from us, and has nothing left. Only once the marker is in it. */
static bool path_idle(struct wt_mesh_peer *peer)
{
	if (!peer->path || peer->urgent.first || !peer->bond.marked)
		return false;
	return wt_mesh_ops(peer)->quiesce(peer->path) == 0 && !peer->posted;
}

static bool at_rest(struct wt_mesh *mesh, struct wt_mesh_peer *peer)
{
	if (peer->self || !wt_mesh_rests(mesh, peer))
		return true;
	if (peer->bond.mode == WT_BOND_QUIESCED)
		return wt_bond_drained(&peer->bond, path_idle(peer));
	return wt_bond_joined(&peer->bond);
}

/* Of those that rest. */
static unsigned dials(const struct wt_mesh *mesh)
{
	unsigned count = 0;
	size_t i;

	if (!mesh->parted)
		return mesh->dials;
	for (i = 0; i < mesh->peer_count; i++)
		count += wt_mesh_rests(mesh, mesh->peers[i]) ? mesh->peers[i]->dials : 0;
	return count;
}

bool wt_mesh_drain(struct wt_mesh *mesh)
{
	bool rest;
	size_t i;

	pthread_mutex_lock(&mesh->lock);
	for (i = 0; i < mesh->up_count; i++) {
		struct wt_mesh_peer *peer = mesh->up[i];

		if (!wt_mesh_rests(mesh, peer))
			continue;
		do
			wt_mesh_poll(peer, NULL);
		while (peer->path && peer->ready);
		if (!peer->path)
			i--; /* the last one took its place */
	}
	rest = dials(mesh) == 0 && !mesh->broken[0];
	for (i = 0; i < mesh->peer_count && rest; i++)
		rest = at_rest(mesh, mesh->peers[i]);
	pthread_mutex_unlock(&mesh->lock);
	return rest;
}

bool wt_mesh_broken(struct wt_mesh *mesh, char *ret_text, size_t size)
{
	bool broken;

	pthread_mutex_lock(&mesh->lock);
	broken = mesh->broken[0] != 0;
	snprintf(ret_text, size, "%s", mesh->broken);
	pthread_mutex_unlock(&mesh->lock);
	return broken;
}

/* Posts that were quiesced at the path go on. */
static void paths_resume(struct wt_mesh *mesh)
{
	size_t i;

	for (i = 0; i < mesh->up_count; i++)
		if (wt_mesh_rests(mesh, mesh->up[i]))
			wt_mesh_ops(mesh->up[i])->resume(mesh->up[i]->path);
}

void wt_mesh_detach(struct wt_mesh *mesh)
{
	pthread_mutex_lock(&mesh->lock);
	all(mesh, WT_BOND_DETACH, WT_BOND_AWAY); /* ends the dials, too; a path that still comes is closed */
	while (dials(mesh))
		pthread_cond_wait(&mesh->dial_ended, &mesh->lock);
	if (!mesh->parted)
		wt_mesh_links_close(mesh);
	pthread_mutex_unlock(&mesh->lock);
}

void wt_mesh_join(struct wt_mesh *mesh)
{
	pthread_mutex_lock(&mesh->lock);
	all(mesh, WT_BOND_JOIN, WT_BOND_JOINING);
	pthread_mutex_unlock(&mesh->lock);
}

/* What waited for a path, or was refused before, dials now. */
static void wants(struct wt_mesh *mesh)
{
	size_t i;

	for (i = 0; i < mesh->peer_count; i++) {
		struct wt_mesh_peer *peer = mesh->peers[i];

		if (peer->queue.first || peer->parked.first)
			wt_mesh_bond_event(peer, WT_BOND_WANT);
	}
}

void wt_mesh_go(struct wt_mesh *mesh)
{
	pthread_mutex_lock(&mesh->lock);
	paths_resume(mesh);
	all(mesh, WT_BOND_RESUME, WT_BOND_RUNNING);
	wants(mesh);
	mesh->draining = false;
	mesh->parted = false;
	pthread_mutex_unlock(&mesh->lock);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * mesh_memory.c - the memory of a mesh's caller: registered, kept registered, given back.
 *
 *   1. Before anybody is given a registration that was kept, every note of memory that went away is taken.
 * Notes are written by whoever gives memory back, also by the control thread under the mesh's lock: gone.h
 * never waits for that lock.
 */
#include "mesh_internal.h"

#include "sabotage.h"

static void take_notes(struct wt_mesh *mesh)
{
	struct wt_gone_range ranges[WT_GONE_MAX];
	unsigned count, i;
	bool all;

	if (!mesh->gone)
		return;
	count = wt_gone_take(mesh->gone, ranges, &all);
	if (wt_sabotage_gone())
		return;
	for (i = 0; i < count; i++)
		wt_cache_gone(&mesh->cache, ranges[i].base, ranges[i].length);
	if (all)
		wt_cache_gone(&mesh->cache, 0, SIZE_MAX);
}

struct wt_registration *wt_mesh_register(
	struct wt_mesh *mesh, void *base, size_t length, unsigned access, struct wt_error *err)
{
	struct wt_registration *registration;

	pthread_mutex_lock(&mesh->lock);
	take_notes(mesh);
	registration = wt_cache_take(&mesh->cache, base, length, access, err);
	pthread_mutex_unlock(&mesh->lock);
	return registration;
}

void wt_mesh_deregister(struct wt_mesh *mesh, struct wt_registration *registration)
{
	pthread_mutex_lock(&mesh->lock);
	take_notes(mesh);
	wt_cache_give(&mesh->cache, registration);
	pthread_mutex_unlock(&mesh->lock);
}

void wt_mesh_cache(struct wt_mesh *mesh, struct wt_gone *gone, size_t idle_bytes_max)
{
	pthread_mutex_lock(&mesh->lock);
	mesh->gone = gone;
	mesh->cache.idle_bytes_max = idle_bytes_max;
	pthread_mutex_unlock(&mesh->lock);
}

void wt_mesh_cache_figures(struct wt_mesh *mesh, struct wt_cache_figures *ret_figures)
{
	pthread_mutex_lock(&mesh->lock);
	*ret_figures = mesh->cache.figures;
	pthread_mutex_unlock(&mesh->lock);
}

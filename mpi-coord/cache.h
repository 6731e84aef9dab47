/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cache.h - registrations that outlive their use: who needs the same memory again finds it registered.
 *
 * To register memory with a device is a system call that pins every page; a program sends from the same
 * buffers again and again. So a registration that is given back stays, until others need its room, its memory
 * goes away, or the fabrics change. Pages are registered whole.
 */
#ifndef WATARI_MPI_CACHE_H
#define WATARI_MPI_CACHE_H

#include "registry.h"

#define WT_CACHE_IDLE_MAX 1024u /* registrations without a user */

/* Sorted by base. */
struct wt_cache_map {
	struct wt_registration **entries;
	uint32_t count;
	uint32_t room;
};

struct wt_cache_figures {
	uint64_t found;   /* asked for, and there */
	uint64_t made;    /* asked for, and registered */
	uint64_t evicted; /* to make room */
	uint64_t gone;    /* because their memory went away */
};

/* Zeroed at first: it keeps nothing. One thread at a time. */
struct wt_cache {
	struct wt_registry *registry;
	size_t idle_bytes_max;
	size_t idle_bytes; /* of registrations without a user */
	uint32_t idle;
	struct wt_cache_map maps[2]; /* only read by others; read and written */
	struct wt_registration *oldest;
	struct wt_registration *newest;
	struct wt_cache_figures figures;
};

/* idle_bytes_max 0: keeps nothing, and registers exactly what it is asked for. */
void wt_cache_open(struct wt_cache *cache, struct wt_registry *registry, size_t idle_bytes_max);
void wt_cache_close(struct wt_cache *cache);

/* A registration that covers this memory, with at least this access (of enum wt_access). NULL: *err says why.
 * Each is to be given back once. */
struct wt_registration *wt_cache_take(
	struct wt_cache *cache, void *base, size_t length, unsigned access, struct wt_error *err);
void wt_cache_give(struct wt_cache *cache, struct wt_registration *registration);

/* This memory is not what it was: nobody finds its registrations any more; who has one keeps it. */
void wt_cache_gone(struct wt_cache *cache, uintptr_t base, size_t length);
/* The same for everything: before a fabric comes or goes. */
void wt_cache_clear(struct wt_cache *cache);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * registry.h - memory that other ranks may read and write, under names that outlive the device.
 *
 * Open MPI keeps the handle of a registration in its own queues, and one-sided windows keep it for ever. So a
 * handle names memory by an id, and carries the fabric's key only as a shortcut that is good as long as the
 * endpoint is the one that gave it (`epoch`); afterwards the other end asks for the present key. There is one
 * key for each fabric over which the memory can be reached: tcp takes all, a device of another may refuse.
 */
#ifndef WATARI_MPI_REGISTRY_H
#define WATARI_MPI_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/path.h>

/* The fabrics over which memory can be reached at once; the better one comes last. */
enum wt_link_kind {
	WT_LINK_TCP = 0,
	WT_LINK_VERBS,
	WT_LINKS,
};

#define WT_REGISTRY_NO_EPOCH UINT32_MAX /* registered while there was no endpoint */

/* Travels between ranks of the same kind of machine, inside Open MPI's messages. */
struct wt_handle {
	uint64_t id;
	uint64_t base; /* address in the process that registered it */
	uint64_t length;
	struct wt_key keys[WT_LINKS]; /* length 0: none when it was registered */
	uint32_t epoch;               /* in which they are good */
	uint32_t reserved;
};

/*
 * One registration; the handle comes first, its address is what Open MPI holds. It reads the handle without a
 * lock, so the handle never changes: its shortcut stays that of the attach in which the memory was
 * registered.
 */
struct wt_registration {
	struct wt_handle handle;
	unsigned access;                     /* of enum wt_access */
	struct wt_key keys[WT_LINKS];        /* the present ones; length 0: none */
	struct wt_region *regions[WT_LINKS]; /* NULL: no endpoint now, or it does not take this memory */
	uint32_t slot;
	/* cache.c's own */
	uint32_t users;
	bool kept;                     /* may be found by the next one who asks */
	struct wt_registration *older; /* than this one; while there is no user */
	struct wt_registration *newer;
};

/* Zeroed at first. One thread at a time. */
struct wt_registry {
	struct wt_registration **slots;
	uint32_t count; /* of slots */
	uint32_t free_hint;
	uint32_t serial;
	struct wt_registry_link {
		const struct wt_fabric_ops *ops;
		struct wt_endpoint *endpoint; /* NULL: none now */
	} links[WT_LINKS];
	uint32_t epoch;
	/* NULL, or asked when a device takes no more memory: true, something was given back, it may try again
	 */
	bool (*make_room)(void *arg);
	void *make_room_arg;
};

/* access: of enum wt_access. NULL: no memory; *err says so. */
struct wt_registration *wt_registry_add(
	struct wt_registry *registry, void *base, size_t length, unsigned access, struct wt_error *err);
void wt_registry_remove(struct wt_registry *registry, struct wt_registration *registration);
/* Whether every fabric that there is has taken the memory; while there is none: false. */
bool wt_registry_whole(const struct wt_registry *registry, const struct wt_registration *registration);
/* The registration that has this id, or NULL. */
const struct wt_registration *wt_registry_find(const struct wt_registry *registry, uint64_t id);
/* Where `length` bytes at `address` lie, if the registration with this id covers them; else NULL. */
void *wt_registry_locate(const struct wt_registry *registry, uint64_t id, uint64_t address, size_t length);
/* Every registration anew under this endpoint; NULL: from every region of this kind. */
int wt_registry_attach(struct wt_registry *registry, enum wt_link_kind kind, const struct wt_fabric_ops *ops,
	struct wt_endpoint *endpoint, uint32_t epoch, struct wt_error *err);
void wt_registry_close(struct wt_registry *registry);

#endif

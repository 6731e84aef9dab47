/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * registry.c - registrations and their ids; see registry.h.
 *
 *   1. id = serial << 32 | slot, and no serial comes twice: an old id never names other memory.
 *   2. While there is an endpoint of tcp, every registration has a region of it; without one, none has.
 *      There is no endpoint of another kind without that, and a registration which that one refuses has
 *      tcp's region only.
 * The memory belongs to Open MPI's caller and stays mapped until the registration is removed.
 */
#include "registry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int region_add(struct wt_registry *registry, struct wt_registration *registration,
	enum wt_link_kind kind, struct wt_error *err)
{
	const struct wt_registry_link *link = &registry->links[kind];
	int status;

	if (!link->endpoint)
		return 0;
	do
		status = link->ops->region_add(link->endpoint, (void *)(uintptr_t)registration->handle.base,
			registration->handle.length, registration->access, &registration->regions[kind],
			kind == WT_LINK_TCP ? err : NULL);
	while (status == -ENOMEM && registry->make_room && registry->make_room(registry->make_room_arg));
	if (status >= 0)
		link->ops->region_key(registration->regions[kind], &registration->keys[kind]);
	return kind == WT_LINK_TCP ? status : 0;
}

static void region_remove(
	struct wt_registry *registry, struct wt_registration *registration, enum wt_link_kind kind)
{
	if (registration->regions[kind])
		registry->links[kind].ops->region_remove(registration->regions[kind]);
	registration->regions[kind] = NULL;
	registration->keys[kind] = (struct wt_key){ 0 };
}

static void regions_remove(struct wt_registry *registry, struct wt_registration *registration)
{
	for (unsigned kind = 0; kind < WT_LINKS; kind++)
		region_remove(registry, registration, kind);
}

static int regions_add(
	struct wt_registry *registry, struct wt_registration *registration, struct wt_error *err)
{
	int status = 0;

	for (unsigned kind = 0; kind < WT_LINKS && status >= 0; kind++)
		status = region_add(registry, registration, kind, err);
	if (status < 0)
		regions_remove(registry, registration);
	return status;
}

static int slot_find(struct wt_registry *registry, uint32_t *ret_slot)
{
	struct wt_registration **grown;
	uint32_t count = registry->count ? 2 * registry->count : 64;
	uint32_t i;

	for (i = registry->free_hint; i < registry->count; i++) {
		if (!registry->slots[i]) {
			*ret_slot = i;
			return 0;
		}
	}
	grown = realloc(registry->slots, count * sizeof *grown);
	if (!grown)
		return -ENOMEM;
	*ret_slot = registry->count;
	for (i = registry->count; i < count; i++)
		grown[i] = NULL;
	registry->slots = grown;
	registry->count = count;
	return 0;
}

struct wt_registration *wt_registry_add(
	struct wt_registry *registry, void *base, size_t length, unsigned access, struct wt_error *err)
{
	struct wt_registration *registration = calloc(1, sizeof *registration);
	uint32_t slot;

	if (!registration) {
		wt_error_set(err, ENOMEM, "out of memory for a registration");
		return NULL;
	}
	registration->handle.base = (uint64_t)(uintptr_t)base;
	registration->handle.length = length;
	registration->access = access;
	if (regions_add(registry, registration, err) < 0) {
		free(registration);
		return NULL;
	}
	/* Only now: to make room for a region others may be removed. */
	if (slot_find(registry, &slot) < 0) {
		wt_error_set(err, ENOMEM, "out of memory for a registration");
		regions_remove(registry, registration);
		free(registration);
		return NULL;
	}
	registration->slot = slot;
	registration->handle.id = (uint64_t)++registry->serial << 32 | slot;
	memcpy(registration->handle.keys, registration->keys, sizeof registration->keys);
	registration->handle.epoch =
		registration->regions[WT_LINK_TCP] ? registry->epoch : WT_REGISTRY_NO_EPOCH;
	registry->slots[slot] = registration;
	registry->free_hint = slot + 1;
	return registration;
}

void wt_registry_remove(struct wt_registry *registry, struct wt_registration *registration)
{
	registry->slots[registration->slot] = NULL;
	if (registration->slot < registry->free_hint)
		registry->free_hint = registration->slot;
	regions_remove(registry, registration);
	free(registration);
}

bool wt_registry_whole(const struct wt_registry *registry, const struct wt_registration *registration)
{
	bool whole = registration->regions[WT_LINK_TCP];

	for (unsigned kind = 0; kind < WT_LINKS; kind++)
		whole &= !registry->links[kind].endpoint || registration->regions[kind];
	return whole;
}

const struct wt_registration *wt_registry_find(const struct wt_registry *registry, uint64_t id)
{
	uint32_t slot = (uint32_t)id;

	if (slot >= registry->count || !registry->slots[slot] || registry->slots[slot]->handle.id != id)
		return NULL;
	return registry->slots[slot];
}

void *wt_registry_locate(const struct wt_registry *registry, uint64_t id, uint64_t address, size_t length)
{
	const struct wt_registration *registration = wt_registry_find(registry, id);
	uint64_t offset;

	if (!registration || address < registration->handle.base)
		return NULL;
	offset = address - registration->handle.base;
	if (offset > registration->handle.length || length > registration->handle.length - offset)
		return NULL;
	return (void *)(uintptr_t)address;
}

int wt_registry_attach(struct wt_registry *registry, enum wt_link_kind kind, const struct wt_fabric_ops *ops,
	struct wt_endpoint *endpoint, uint32_t epoch, struct wt_error *err)
{
	uint32_t i;
	int status;

	for (i = 0; i < registry->count; i++)
		if (registry->slots[i])
			region_remove(registry, registry->slots[i], kind);
	registry->links[kind] = (struct wt_registry_link){ ops, endpoint };
	registry->epoch = epoch;
	for (i = 0; endpoint && i < registry->count; i++) {
		status = registry->slots[i] ? region_add(registry, registry->slots[i], kind, err) : 0;
		if (status < 0)
			return status;
	}
	return 0;
}

void wt_registry_close(struct wt_registry *registry)
{
	uint32_t i;

	for (i = 0; i < registry->count; i++)
		if (registry->slots[i])
			wt_registry_remove(registry, registry->slots[i]);
	free(registry->slots);
	registry->slots = NULL;
	registry->count = 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device_map.h - the device map: what each host has for a device of the guest that cannot move with it. Pure.
 *
 * A JSON file that an operator writes and that all hosts may share; docs/DEVICES.md describes it. It is
 * hostile until parsed: an accepted map keeps these promises.
 *   1. There is a device, and at most WT_DEVICES_MAX. Names, ids, ports and hosts are words of letters,
 *      digits, '_', '.' and '-'. No two devices have one id, or one port.
 *   2. A host has exactly one kind of thing for a device; a vfio one has 1 to WT_DEVICE_POOL_MAX addresses,
 *      each written in full (0000:81:00.1), none twice; an emulated one has a driver.
 *   3. A command has 1 to WT_DEVICE_WORDS_MAX words, the first one an absolute path.
 *   4. Properties are texts, numbers and booleans, and never id, bus, driver or host.
 *   5. Every deadline is between 1 ms and an hour.
 */
#ifndef WATARI_QEMU_DEVICE_MAP_H
#define WATARI_QEMU_DEVICE_MAP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/error.h>

#define WT_DEVICE_MAP_BYTES_MAX (1u << 20)
#define WT_DEVICES_MAX 16
#define WT_DEVICE_HOSTS_MAX 256
#define WT_DEVICE_POOL_MAX 64
#define WT_DEVICE_WORDS_MAX 32
#define WT_DEVICE_NAME_MAX 63
#define WT_DEVICE_ADDRESS_MAX 12 /* 0000:81:00.1 */

enum wt_device_kind {
	WT_DEVICE_INVALID = 0,
	WT_DEVICE_VFIO,     /* a PCI device of the host, passed through */
	WT_DEVICE_EMULATED, /* one of QEMU's own */
	WT_DEVICE_NONE,
};

/* How long each step may take, in ms. */
struct wt_device_deadlines {
	uint32_t prepare; /* a command of the map */
	uint32_t detach;  /* the guest's hooks let go */
	uint32_t unplug;  /* device_del to DEVICE_DELETED */
	uint32_t plug;    /* device_add is answered */
	uint32_t attach;  /* the guest's hooks, and the link */
	uint32_t recall;  /* an unplug that came too late is waited for so long behind its deadline */
};

/* argv, ending with NULL; count 0: there is no such command. */
struct wt_device_command {
	unsigned count;
	char *words[WT_DEVICE_WORDS_MAX + 1];
};

/* What one host has for one device. */
struct wt_device_place {
	char host[WT_DEVICE_NAME_MAX + 1];
	enum wt_device_kind kind;
	unsigned address_count;
	char (*addresses)[WT_DEVICE_ADDRESS_MAX + 1]; /* of the pool; one for a fixed device */
	char driver[WT_DEVICE_NAME_MAX + 1];          /* QEMU's name of an emulated one */
	char link_mac[18];                            /* of the NIC whose link is awaited; "": none is */
	json_t *properties;                           /* for device_add; NULL: none */
	struct wt_device_command prepare, check, release;
};

struct wt_device {
	char name[WT_DEVICE_NAME_MAX + 1];
	char id[WT_DEVICE_NAME_MAX + 1];  /* in QEMU */
	char bus[WT_DEVICE_NAME_MAX + 1]; /* id of the hot-plug port in QEMU */
	bool agent;                       /* the guest must be told, or nothing is touched */
	unsigned place_count;
	struct wt_device_place *places;
};

struct wt_device_map {
	struct wt_device_deadlines deadlines;
	unsigned count;
	struct wt_device devices[WT_DEVICES_MAX];
};

/* The word: letters, digits, '_', '.', '-', not more than WT_DEVICE_NAME_MAX. */
bool wt_device_name_good(const char *text);
/* -EINVAL with the sentence; origin names the text in it. wt_device_map_free frees the map. */
int wt_device_map_parse(const char *text, size_t length, const char *origin, struct wt_device_map **ret_map,
	struct wt_error *err);
int wt_device_map_read(const char *path, struct wt_device_map **ret_map, struct wt_error *err);
/* NULL is allowed. */
void wt_device_map_free(struct wt_device_map *map);

/* What the host has; NULL: the map does not say. */
const struct wt_device_place *wt_device_place_of(const struct wt_device *device, const char *host);
/* NULL: there is none. */
const struct wt_device *wt_device_named(const struct wt_device_map *map, const char *name);
/* "vfio 0000:81:00.1", "vfio, one of 4", "virtio-net-pci", "nothing" */
const char *wt_device_place_text(const struct wt_device_place *place, char *ret_text, size_t size);
/* Arguments of device_add, a new object; address: which one of the pool, if it is a vfio one. */
json_t *wt_device_arguments(
	const struct wt_device *device, const struct wt_device_place *place, const char *address);

#endif

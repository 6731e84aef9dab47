/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device_inventory.c - see device_inventory.h.
 *
 * QEMU is asked what it has and what blocks its migration, the kernel which IOMMU groups that touches and how
 * much memory is pinned for it. Whether the guest may go with the map is judged by the same questions that
 * `send --devices` and `receive --devices` ask.
 */
#include "device_inventory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device_qemu.h"
#include "vfio_host.h"

#define QUERY_TIMEOUT_NS 10000000000ull

static json_t *text_or_null(const char *text)
{
	return text[0] ? json_string(text) : json_null();
}

/* What the kernel says of a device's IOMMU group. */
static void add_group(json_t *object, const char *root, const char *address)
{
	struct wt_error ignored = { 0 };
	struct wt_vfio_device device;
	json_t *members;

	if (wt_vfio_look(root, address, &device, &ignored))
		return;
	json_object_set_new(
		object, "iommu_group", device.group < 0 ? json_null() : json_integer(device.group));
	members = json_array();
	for (unsigned i = 0; i < device.member_count; i++)
		json_array_append_new(members, json_pack("{s:s,s:o}", "address", device.members[i].address,
						       "driver", text_or_null(device.members[i].driver)));
	json_object_set_new(object, "group", members);
}

static const char *name_in_map(const struct wt_device_map *map, const char *id)
{
	for (unsigned i = 0; map && i < map->count; i++)
		if (strcmp(map->devices[i].id, id) == 0)
			return map->devices[i].name;
	return "";
}

static void add_device(json_t *inventory, const struct wt_device_map *map, const char *root,
	const struct wt_qemu_device *found)
{
	json_t *object = json_pack("{s:s,s:s,s:s,s:s,s:o,s:o}", "id", found->id, "driver", found->type, "bus",
		found->bus, "slot", found->slot, "host", text_or_null(found->host), "name",
		text_or_null(name_in_map(map, found->id)));

	if (found->host[0])
		add_group(object, root, found->host);
	json_array_append_new(json_object_get(inventory, "devices"), object);
}

static int add_port(struct wt_qmp *qmp, json_t *inventory, const char *id, struct wt_error *err)
{
	bool is_free;
	int r = wt_qemu_port(qmp, id, &is_free, err);

	if (r < 0)
		return r;
	json_array_append_new(
		json_object_get(inventory, "ports"), json_pack("{s:s,s:b}", "id", id, "free", (int)is_free));
	return 0;
}

static void add_problem(json_t *inventory, const char *format, const char *first, const char *second)
{
	char text[WT_ERROR_TEXT_MAX + 128];

	snprintf(text, sizeof text, format, first, second);
	json_array_append_new(json_object_get(inventory, "problems"), json_string(text));
}

/* Devices that are passed through and that the map does not take away keep the guest where it is. */
static void check_known(
	json_t *inventory, const struct wt_device_map *map, const struct wt_qemu_device *found)
{
	if (!map || !found->host[0] || name_in_map(map, found->id)[0])
		return;
	add_problem(inventory,
		found->anonymous
			? "device %s (%s) is passed through and has no id; start QEMU with id=NAME in its "
			  "-device, and name it in the device map"
			: "device %s (%s) is passed through and not in the device map; name it there",
		found->id, found->host);
}

static int add_devices(struct wt_qmp *qmp, const struct wt_device_map *map, const char *root,
	json_t *inventory, bool *ret_passed_through, struct wt_error *err)
{
	struct wt_qemu_device *found = NULL;
	unsigned count = 0;
	int r = wt_qemu_devices(qmp, &found, &count, err);

	*ret_passed_through = false;
	for (unsigned i = 0; !r && i < count; i++) {
		if (wt_qemu_is_port(found[i].type)) {
			if (!found[i].anonymous)
				r = add_port(qmp, inventory, found[i].id, err);
			continue;
		}
		*ret_passed_through |= found[i].host[0] != '\0';
		add_device(inventory, map, root, &found[i]);
		check_known(inventory, map, &found[i]);
	}
	free(found);
	return r;
}

/* What is not about VFIO stays when its devices have left. */
static int add_blocked(struct wt_qmp *qmp, bool source, json_t *inventory, struct wt_error *err)
{
	json_t *answer = NULL, *reasons, *item;
	size_t i;
	int r = wt_qmp_call(qmp, "query-migrate", NULL, QUERY_TIMEOUT_NS, &answer, err);

	if (r)
		return r;
	reasons = json_object_get(answer, "blocked-reasons");
	json_object_set_new(
		inventory, "blocked", json_is_array(reasons) ? json_deep_copy(reasons) : json_array());
	json_array_foreach(reasons, i, item)
	{
		const char *reason = json_string_value(item);

		if (source && reason && !strcasestr(reason, "vfio"))
			add_problem(inventory, "QEMU itself refuses to migrate this guest: %s%s", reason, "");
	}
	json_decref(answer);
	return 0;
}

/* Bytes of a line such as "VmPin:     1024 kB"; 0 if there is none. */
static json_int_t status_bytes(pid_t pid, const char *key)
{
	char path[64], line[256];
	json_int_t bytes = 0;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof line, file))
		if (strncmp(line, key, strlen(key)) == 0)
			bytes = strtoll(line + strlen(key), NULL, 10) * 1024;
	if (file)
		fclose(file);
	return bytes;
}

static int ask_destination(struct wt_qmp *qmp, bool *ret_destination, struct wt_error *err)
{
	json_t *answer = NULL;
	const char *status;
	int r = wt_qmp_call(qmp, "query-status", NULL, QUERY_TIMEOUT_NS, &answer, err);

	if (r)
		return r;
	status = json_string_value(json_object_get(answer, "status"));
	*ret_destination = status && strcmp(status, "inmigrate") == 0;
	json_decref(answer);
	return 0;
}

/* ---- with a map ---- */

/* Whether one of the devices that it may be can be used now; the sentence is that of the last one. */
static int usable(const struct wt_device_place *place, const char *root, struct wt_error *err)
{
	int r = 0;

	if (place->kind != WT_DEVICE_VFIO || place->prepare.count)
		return 0;
	for (unsigned i = 0; i < place->address_count; i++) {
		wt_error_clear(err);
		r = wt_vfio_usable(root, place->addresses[i], err);
		if (!r)
			return 0;
	}
	return r;
}

static json_t *elsewhere(const struct wt_device *device, const char *host)
{
	json_t *list = json_array();
	char text[WT_DEVICE_NAME_MAX + 32];

	for (unsigned i = 0; i < device->place_count; i++)
		if (strcmp(device->places[i].host, host) != 0)
			json_array_append_new(
				list, json_pack("{s:s,s:s}", "host", device->places[i].host, "becomes",
					      wt_device_place_text(&device->places[i], text, sizeof text)));
	return list;
}

static int judge(struct wt_qmp *qmp, const struct wt_device *device, const char *host, const char *root,
	bool destination, json_t *inventory, struct wt_error *err)
{
	const struct wt_device_place *place = wt_device_place_of(device, host);
	char text[WT_DEVICE_NAME_MAX + 32];
	struct wt_error why = { 0 };
	json_t *entry;
	int r = 0;

	entry = json_pack("{s:s,s:s,s:o,s:o}", "id", device->id, "bus", device->bus, "here",
		place ? json_string(wt_device_place_text(place, text, sizeof text)) : json_null(),
		"elsewhere", elsewhere(device, host));
	json_object_set_new(json_object_get(inventory, "map"), device->name, entry);
	if (!place) {
		add_problem(inventory,
			"the device map does not say what host %s has for %s; add it, or give --host", host,
			device->name);
		return 0;
	}
	r = destination ? wt_qemu_can_plug(qmp, device, place, &why)
			: wt_qemu_can_unplug(qmp, device, place, &why);
	if (!r && destination)
		r = usable(place, root, &why);
	if (r == -ETIMEDOUT || r == -ECONNRESET || r == -EPROTO)
		return wt_error_set(err, -r, "%s", why.text);
	json_object_set_new(entry, "plugged", json_boolean(r == 1));
	if (r < 0)
		add_problem(inventory, "%s: %s", device->name, why.text);
	return 0;
}

int wt_device_inventory(struct wt_qmp *qmp, const struct wt_device_map *map, const char *host,
	const char *root, json_t **ret_inventory, struct wt_error *err)
{
	bool destination = false, passed_through = false;
	json_t *inventory;
	int r = ask_destination(qmp, &destination, err);

	if (r)
		return r;
	inventory = json_pack("{s:s,s:s,s:s,s:[],s:[],s:o,s:[]}", "qemu", wt_qmp_version(qmp), "host", host,
		"role", destination ? "destination" : "source", "devices", "ports", "map",
		map ? json_object() : json_null(), "problems");
	if (!inventory)
		return wt_error_set(err, ENOMEM, "no memory for an inventory");
	r = add_devices(qmp, map, root, inventory, &passed_through, err);
	if (!r)
		r = add_blocked(qmp, !destination, inventory, err);
	for (unsigned i = 0; !r && map && i < map->count; i++)
		r = judge(qmp, &map->devices[i], host, root, destination, inventory, err);
	if (r) {
		json_decref(inventory);
		return r;
	}
	json_object_set_new(inventory, "passed_through", json_boolean(passed_through));
	json_object_set_new(inventory, "pinned_bytes", json_integer(status_bytes(wt_qmp_pid(qmp), "VmPin:")));
	json_object_set_new(inventory, "locked_bytes", json_integer(status_bytes(wt_qmp_pid(qmp), "VmLck:")));
	*ret_inventory = inventory;
	return 0;
}

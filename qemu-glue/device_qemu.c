/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device_qemu.c - see device_qemu.h. QEMU's object tree is walked with qom-list and qom-get: devices with an
 * id are in /machine/peripheral, others in /machine/peripheral-anon. A question that QEMU refuses counts as
 * "no such thing".
 */
#include "device_qemu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUERY_TIMEOUT_NS 10000000000ull
#define PERIPHERAL "/machine/peripheral"

/* *ret_result is NULL where QEMU refuses. arguments is stolen. */
static int ask(
	struct wt_qmp *qmp, const char *command, json_t *arguments, json_t **ret_result, struct wt_error *err)
{
	struct wt_error why = { 0 };
	json_t *result = NULL;
	int r = wt_qmp_call(qmp, command, arguments, QUERY_TIMEOUT_NS, &result, &why);

	if (r < 0 && r != -EREMOTEIO && r != -ENOSYS && r != -ENODEV)
		return wt_error_set(err, -r, "%s", why.text);
	*ret_result = result;
	return 0;
}

/* A text property; "": there is none. */
static int get_text(struct wt_qmp *qmp, const char *path, const char *property, char *ret_text, size_t size,
	struct wt_error *err)
{
	json_t *value = NULL;
	const char *text;
	int r = ask(qmp, "qom-get", json_pack("{s:s,s:s}", "path", path, "property", property), &value, err);

	if (r < 0)
		return r;
	text = json_string_value(value);
	snprintf(ret_text, size, "%s", text ? text : "");
	json_decref(value);
	return 0;
}

/* "child<vfio-pci>" */
static bool take_type(json_t *item, char *ret_type, size_t size)
{
	const char *type = json_string_value(json_object_get(item, "type"));
	size_t length = type ? strlen(type) : 0;

	if (length < 8 || strncmp(type, "child<", 6) != 0 || type[length - 1] != '>')
		return false;
	snprintf(ret_type, size, "%.*s", (int)(length - 7), type + 6);
	return true;
}

/* Fills what is asked of QEMU; answers 1 if it is a PCI device, 0 if not. */
static int look(struct wt_qmp *qmp, const char *path, struct wt_qemu_device *device, struct wt_error *err)
{
	char bus[256] = "";
	const char *slash;
	int r = get_text(qmp, path, "legacy-addr", device->slot, sizeof device->slot, err);

	if (r < 0 || !device->slot[0])
		return r;
	r = get_text(qmp, path, "parent_bus", bus, sizeof bus, err);
	if (r < 0)
		return r;
	slash = strrchr(bus, '/');
	snprintf(device->bus, sizeof device->bus, "%.*s", (int)sizeof device->bus - 1,
		slash ? slash + 1 : bus);
	if (strncmp(device->type, "vfio-", 5) == 0)
		r = get_text(qmp, path, "host", device->host, sizeof device->host, err);
	return r < 0 ? r : 1;
}

static int add_all(struct wt_qmp *qmp, const char *parent, bool anonymous, struct wt_qemu_device **devices,
	unsigned *count, struct wt_error *err)
{
	json_t *list = NULL, *item;
	char path[256];
	size_t i;
	int r = ask(qmp, "qom-list", json_pack("{s:s}", "path", parent), &list, err);

	json_array_foreach(list, i, item)
	{
		const char *name = json_string_value(json_object_get(item, "name"));
		struct wt_qemu_device device = { .anonymous = anonymous }, *grown;

		if (r < 0 || !name || !take_type(item, device.type, sizeof device.type))
			continue;
		snprintf(path, sizeof path, "%s/%s", parent, name);
		snprintf(device.id, sizeof device.id, "%.*s", (int)sizeof device.id - 1,
			anonymous ? path : name);
		r = look(qmp, path, &device, err);
		if (r <= 0)
			continue;
		grown = realloc(*devices, (*count + 1) * sizeof *grown);
		if (!grown) {
			r = wt_error_set(err, ENOMEM, "no memory for a list of devices");
			continue;
		}
		*devices = grown;
		grown[(*count)++] = device;
	}
	json_decref(list);
	return r < 0 ? r : 0;
}

int wt_qemu_devices(
	struct wt_qmp *qmp, struct wt_qemu_device **ret_devices, unsigned *ret_count, struct wt_error *err)
{
	struct wt_qemu_device *devices = NULL;
	unsigned count = 0;
	int r = add_all(qmp, PERIPHERAL, false, &devices, &count, err);

	if (!r)
		r = add_all(qmp, PERIPHERAL "-anon", true, &devices, &count, err);
	if (r) {
		free(devices);
		return r;
	}
	*ret_devices = devices;
	*ret_count = count;
	return 0;
}

int wt_qemu_device(
	struct wt_qmp *qmp, const char *id, struct wt_qemu_device *ret_device, struct wt_error *err)
{
	struct wt_qemu_device device = { 0 };
	json_t *list = NULL, *item;
	char path[256];
	size_t i;
	int r = ask(qmp, "qom-list", json_pack("{s:s}", "path", PERIPHERAL), &list, err);

	json_array_foreach(list, i, item)
	{
		const char *name = json_string_value(json_object_get(item, "name"));

		if (name && strcmp(name, id) == 0 && take_type(item, device.type, sizeof device.type))
			snprintf(device.id, sizeof device.id, "%s", id);
	}
	json_decref(list);
	if (r < 0)
		return r;
	if (!device.id[0])
		return -ENOENT;
	snprintf(path, sizeof path, PERIPHERAL "/%s", id);
	r = look(qmp, path, &device, err);
	if (r < 0)
		return r;
	*ret_device = device;
	return 0;
}

bool wt_qemu_is_port(const char *type)
{
	static const char *const ports[] = { "pcie-root-port", "ioh3420", "xio3130-downstream",
		"pcie-pci-bridge", "pci-bridge" };

	for (unsigned i = 0; i < sizeof ports / sizeof *ports; i++)
		if (strcmp(type, ports[i]) == 0)
			return true;
	return false;
}

int wt_qemu_port(struct wt_qmp *qmp, const char *bus, bool *ret_free, struct wt_error *err)
{
	struct wt_qemu_device port;
	json_t *list = NULL, *item;
	char path[256];
	size_t i;
	int r = wt_qemu_device(qmp, bus, &port, err);

	if (r < 0 && r != -ENOENT)
		return r;
	if (r || !wt_qemu_is_port(port.type))
		return wt_error_set(err, ENOENT,
			"this QEMU has no hot-plug port %s; start it with -device pcie-root-port,id=%s", bus,
			bus);
	snprintf(path, sizeof path, PERIPHERAL "/%s/%s", bus, bus);
	r = ask(qmp, "qom-list", json_pack("{s:s}", "path", path), &list, err);
	if (r < 0)
		return r;
	*ret_free = true;
	json_array_foreach(list, i, item)
	{
		const char *name = json_string_value(json_object_get(item, "name"));

		if (name && strncmp(name, "child[", 6) == 0)
			*ret_free = false;
	}
	json_decref(list);
	return 0;
}

static bool in_pool(const struct wt_device_place *place, const char *address)
{
	for (unsigned i = 0; i < place->address_count; i++)
		if (strcmp(place->addresses[i], address) == 0)
			return true;
	return false;
}

int wt_qemu_can_unplug(struct wt_qmp *qmp, const struct wt_device *device,
	const struct wt_device_place *place, struct wt_error *err)
{
	const char *wanted = place->kind == WT_DEVICE_VFIO ? "vfio-pci" : place->driver;
	struct wt_qemu_device found;
	bool is_free;
	int r = wt_qemu_device(qmp, device->id, &found, err);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	if (place->kind == WT_DEVICE_NONE)
		return wt_error_set(err, EPERM,
			"this QEMU has it (%s), and the device map says that host %s has none; correct the map",
			found.type, place->host);
	if (strcmp(found.type, wanted) != 0)
		return wt_error_set(err, EPERM,
			"in this QEMU it is %s, and the device map says %s for host %s; correct the map",
			found.type, wanted, place->host);
	if (place->kind == WT_DEVICE_VFIO && !in_pool(place, found.host))
		return wt_error_set(err, EPERM,
			"in this QEMU it is %s of the host, which the device map does not name for host %s; "
			"correct the map",
			found.host, place->host);
	if (strcmp(found.bus, device->bus) != 0)
		return wt_error_set(err, EPERM,
			"it is on bus %s of this QEMU, and the device map says %s; correct the map",
			found.bus, device->bus);
	r = wt_qemu_port(qmp, device->bus, &is_free, err);
	return r < 0 ? r : 1;
}

int wt_qemu_can_plug(struct wt_qmp *qmp, const struct wt_device *device, const struct wt_device_place *place,
	struct wt_error *err)
{
	struct wt_qemu_device found;
	bool is_free = false;
	int r = wt_qemu_device(qmp, device->id, &found, err);

	if (!r)
		return wt_error_set(err, EEXIST,
			"this QEMU already has a device %s (%s); start the destination without it, watari plugs it in",
			device->id, found.type);
	if (r != -ENOENT)
		return r;
	if (place->kind == WT_DEVICE_NONE)
		return 0;
	r = wt_qemu_port(qmp, device->bus, &is_free, err);
	if (r < 0)
		return r;
	return is_free ? 0
		       : wt_error_set(err, EBUSY,
				 "hot-plug port %s of this QEMU is taken; it needs one that is free",
				 device->bus);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * upgrade_devices.c - see upgrade_devices.h.
 *
 *   1. A device is known by its id: without one it can be plugged in, but not out.
 *   2. A device that was plugged in is described by all its properties that differ from their default, as
 * QEMU tells them, and its bus.
 *   3. What it refers to (drive, netdev, chardev, object) must be on the command line, or is added by the
 * caller (memory backends); anything else is refused, as QEMU does not tell how it was made.
 */
#include "upgrade_devices.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "preflight.h"
#include "upgrade_command.h"

#define QUERY_NS 10000000000ull
#define PERIPHERAL "/machine/peripheral"

static const char *text_of(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static int append(char ***list, size_t *count, const char *text, struct wt_error *err)
{
	char **grown = realloc(*list, (*count + 2) * sizeof *grown);

	if (!grown)
		return wt_error_set(err, ENOMEM, "no memory for a list of devices");
	*list = grown;
	grown[*count] = strdup(text);
	if (!grown[*count])
		return wt_error_set(err, ENOMEM, "no memory for a list of devices");
	grown[++*count] = NULL;
	return 0;
}

int wt_upgrade_devices_add(
	struct wt_upgrade_devices *d, const char *option, const char *argument, struct wt_error *err)
{
	int r = append(&d->extra, &d->extra_count, option, err);

	return r ? r : append(&d->extra, &d->extra_count, argument, err);
}

/* The value of a property; NULL where it has none. */
static json_t *get(struct wt_qmp *qmp, const char *id, const char *property)
{
	struct wt_error ignored = { 0 };
	json_t *value = NULL;
	char path[320];

	snprintf(path, sizeof path, PERIPHERAL "/%.256s", id);
	wt_qmp_call(qmp, "qom-get", json_pack("{s:s,s:s}", "path", path, "property", property), QUERY_NS,
		&value, &ignored);
	return value;
}

/* A link as an option has it: the last part of its path. */
static json_t *link_name(json_t *value)
{
	const char *path = json_string_value(value), *slash = path ? strrchr(path, '/') : NULL;

	return slash && slash[1] ? json_string(slash + 1) : NULL;
}

static bool text_is(json_t *value, const char *start)
{
	const char *text = json_string_value(value);

	return text && !strncmp(text, start, strlen(start));
}

static bool refers(const char *name)
{
	return !strcmp(name, "drive") || !strcmp(name, "netdev") || !strcmp(name, "chardev");
}

/* A memory backend: wt_handover's check knows it, and the caller describes it. */
static bool is_memory(const char *type)
{
	return strstr(type, "memory-backend") != NULL;
}

/* Told, but not taken: QEMU does not say so of itself. One that is missing here keeps the new QEMU from
 * starting. */
static bool is_read_only(const char *type, const char *driver, const char *name)
{
	return !strncmp(type, "child<", 6) || !strcmp(name, "busnr") ||
	       (strstr(driver, "dimm") != NULL && !strcmp(name, "size"));
}

/* Sets one property in `device`, if it differs from its default. */
static int take_property(struct wt_qmp *qmp, const char *id, json_t *property, char *const *argv,
	json_t *device, struct wt_error *err)
{
	const char *name = text_of(property, "name"), *type = text_of(property, "type");
	json_t *value = get(qmp, id, name), *standard = json_object_get(property, "default-value");
	bool is_link = !strncmp(type, "link<", 5);
	const char *text;

	if (is_link) { /* what is no object of the operator's, the device has made for itself */
		bool is_object = text_is(value, "/objects/");
		json_t *last = is_object ? link_name(value) : NULL;

		json_decref(value);
		value = last;
	}
	text = json_string_value(value);
	if (!value || is_read_only(type, text_of(device, "driver"), name) || json_is_null(value) ||
		json_is_object(value) || json_is_array(value) || (text && !*text) ||
		(standard && json_equal(value, standard))) {
		json_decref(value);
		return 0;
	}
	if ((refers(name) || (is_link && !is_memory(type))) && text && !wt_upgrade_defines(argv, text)) {
		wt_error_set(err, EPERM,
			"device '%s' was plugged in after QEMU's start, and its %s '%s' is not on QEMU's command line either; "
			"start the new QEMU with both yourself and use watari handover, or give --command FILE",
			id, name, text);
		json_decref(value);
		return -EPERM;
	}
	json_object_set_new(device, name, value);
	return 0;
}

static int describe(struct wt_qmp *qmp, const char *id, const char *driver, char *const *argv,
	struct wt_upgrade_devices *devices, struct wt_error *err)
{
	json_t *device = json_pack("{s:s,s:s}", "driver", driver, "id", id), *list = NULL, *property, *bus;
	json_t *parent = get(qmp, id, "parent_bus");
	char *text;
	size_t i;
	int r = wt_qmp_call(
		qmp, "device-list-properties", json_pack("{s:s}", "typename", driver), QUERY_NS, &list, err);

	json_array_foreach(list, i, property)
	{
		if (!r)
			r = take_property(qmp, id, property, argv, device, err);
	}
	bus = link_name(parent);
	if (bus)
		json_object_set_new(device, "bus", bus);
	json_decref(parent);
	json_decref(list);
	text = r ? NULL : json_dumps(device, JSON_COMPACT);
	json_decref(device);
	if (!r)
		r = text ? wt_upgrade_devices_add(devices, "-device", text, err)
			 : wt_error_set(err, ENOMEM, "no memory for device %s", id);
	free(text);
	return r;
}

/* The device of an argument of -device has an id, and is not there. */
static bool is_gone(const char *argument, json_t *present, char *ret_id, size_t size)
{
	json_t *item;
	size_t i;

	if (!wt_upgrade_option(argument, "driver", "id", ret_id, size))
		return false;
	json_array_foreach(present, i, item)
	{
		if (!strcmp(text_of(item, "name"), ret_id))
			return false;
	}
	return true;
}

static int find_gone(
	char *const *argv, json_t *present, struct wt_upgrade_devices *devices, struct wt_error *err)
{
	char id[256];
	int r = 0;

	for (size_t i = 1; !r && argv[i]; i++)
		if ((!strcmp(argv[i], "-device") || !strcmp(argv[i], "--device")) && argv[i + 1] &&
			is_gone(argv[i + 1], present, id, sizeof id))
			r = append(&devices->gone, &devices->gone_count, id, err);
	return r;
}

/* Takes them off the list of what is there. */
static void leave_out(json_t *list, const char *const *leaving)
{
	for (size_t i = json_array_size(list); i-- > 0;)
		if (wt_preflight_leaves(leaving, text_of(json_array_get(list, i), "name")))
			json_array_remove(list, i);
}

int wt_upgrade_devices_find(struct wt_qmp *qmp, char *const *argv, const char *const *leaving,
	struct wt_upgrade_devices *devices, struct wt_error *err)
{
	json_t *list = NULL, *item;
	char type[128];
	size_t i;
	int r = wt_qmp_call(qmp, "qom-list", json_pack("{s:s}", "path", PERIPHERAL), QUERY_NS, &list, err);

	leave_out(list, leaving);
	if (!r)
		r = find_gone(argv, list, devices, err);
	json_array_foreach(list, i, item)
	{
		if (r || sscanf(text_of(item, "type"), "child<%127[^>]", type) != 1 ||
			wt_upgrade_defines(argv, text_of(item, "name")))
			continue;
		r = describe(qmp, text_of(item, "name"), type, argv, devices, err);
	}
	json_decref(list);
	return r;
}

void wt_upgrade_devices_close(struct wt_upgrade_devices *d)
{
	wt_upgrade_free(d->gone);
	wt_upgrade_free(d->extra);
	*d = (struct wt_upgrade_devices){ 0 };
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * device_map.c - see device_map.h. Owns what a map points to until it is freed.
 *
 * A key that is not known is refused: a misspelt "release" would otherwise be found when it is needed.
 */
#include "device_map.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "printable.h"

#define DEADLINE_MAX_MS 3600000
#define WORD_MAX 1024

struct reader {
	const char *origin;
	char where[2 * WT_DEVICE_NAME_MAX + 32]; /* ", device ib0, host h1" */
	struct wt_error *err;
};

__attribute__((format(printf, 2, 3))) static int refuse(struct reader *r, const char *format, ...)
{
	char text[WT_ERROR_TEXT_MAX / 2];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof text, format, list);
	va_end(list);
	return wt_error_set(r->err, EINVAL, "device map %s%s: %s", r->origin, r->where, text);
}

bool wt_device_name_good(const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t length = text ? strlen(text) : 0;

	return length && length <= WT_DEVICE_NAME_MAX && strspn(text, letters) == length && text[0] != '-' &&
	       text[0] != '.';
}

static bool hex_digits(const char *text, unsigned count)
{
	return strspn(text, "0123456789abcdef") >= count;
}

/* 0000:81:00.1 */
static bool address_good(const char *text)
{
	return text && strlen(text) == WT_DEVICE_ADDRESS_MAX && hex_digits(text, 4) && text[4] == ':' &&
	       hex_digits(text + 5, 2) && text[7] == ':' && hex_digits(text + 8, 2) && text[10] == '.' &&
	       text[11] >= '0' && text[11] <= '7';
}

static bool mac_good(const char *text)
{
	if (!text || strlen(text) != 17)
		return false;
	for (size_t i = 0; i < 6; i++)
		if (!hex_digits(text + 3 * i, 2) || (i < 5 && text[3 * i + 2] != ':'))
			return false;
	return true;
}

/* keys: the allowed ones, ending with NULL. */
static int check_keys(struct reader *r, json_t *object, const char *const *keys)
{
	char quoted[64];
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		unsigned i = 0;

		while (keys[i] && strcmp(keys[i], key) != 0)
			i++;
		if (!keys[i])
			return refuse(r, "there is no \"%s\" here; see docs/DEVICES.md",
				wt_printable(key, strlen(key), quoted, sizeof quoted));
	}
	return 0;
}

static int take_word(struct reader *r, json_t *object, const char *key, const char *otherwise, char *ret_word)
{
	json_t *value = json_object_get(object, key);
	const char *text = value ? json_string_value(value) : otherwise;

	if (!text)
		return refuse(r, value ? "\"%s\" must be a text" : "\"%s\" is missing", key);
	if (!wt_device_name_good(text))
		return refuse(r, "\"%s\" must be 1 to %d letters, digits, _ . or -", key, WT_DEVICE_NAME_MAX);
	strcpy(ret_word, text);
	return 0;
}

/* ---- deadlines ---- */

static int take_deadline(struct reader *r, json_t *object, const char *key, uint32_t *deadline_ms)
{
	json_t *value = json_object_get(object, key);
	json_int_t ms = json_integer_value(value);

	if (!value)
		return 0;
	if (ms < 1 || ms > DEADLINE_MAX_MS)
		return refuse(r, "deadline \"%s\" must be 1 to %d ms", key, DEADLINE_MAX_MS);
	*deadline_ms = (uint32_t)ms;
	return 0;
}

static int take_deadlines(struct reader *r, json_t *object, struct wt_device_deadlines *d)
{
	static const char *const keys[] = { "prepare", "detach", "unplug", "plug", "attach", "recall", NULL };
	uint32_t *const values[] = { &d->prepare, &d->detach, &d->unplug, &d->plug, &d->attach, &d->recall };
	int code = 0;

	*d = (struct wt_device_deadlines){ 30000, 10000, 10000, 120000, 30000, 15000 };
	if (object && !json_is_object(object))
		return refuse(r, "\"deadlines_ms\" must be an object");
	if (object)
		code = check_keys(r, object, keys);
	for (unsigned i = 0; object && !code && keys[i]; i++)
		code = take_deadline(r, object, keys[i], values[i]);
	return code;
}

/* ---- what a host has ---- */

static int take_command(struct reader *r, json_t *object, const char *key, struct wt_device_command *command)
{
	json_t *list = json_object_get(object, key), *item;
	size_t i;

	if (!list)
		return 0;
	if (!json_array_size(list) || json_array_size(list) > WT_DEVICE_WORDS_MAX)
		return refuse(r, "\"%s\" must be a list of 1 to %d words", key, WT_DEVICE_WORDS_MAX);
	json_array_foreach(list, i, item)
	{
		const char *word = json_string_value(item);

		if (!word || strlen(word) > WORD_MAX)
			return refuse(r, "\"%s\" must be a list of words of at most %d bytes", key, WORD_MAX);
		if (!i && word[0] != '/')
			return refuse(r, "\"%s\" must begin with the full path of a program", key);
		command->words[i] = strdup(word);
		if (!command->words[i])
			return wt_error_set(r->err, ENOMEM, "no memory for a device map");
		command->count++;
	}
	return 0;
}

static int add_address(struct reader *r, struct wt_device_place *place, json_t *item)
{
	const char *text = json_string_value(item);

	if (!address_good(text))
		return refuse(r, "\"vfio\" must be a PCI address such as 0000:81:00.1, or a list of them");
	for (unsigned i = 0; i < place->address_count; i++)
		if (strcmp(place->addresses[i], text) == 0)
			return refuse(r, "%s is there twice", text);
	strcpy(place->addresses[place->address_count++], text);
	return 0;
}

static int take_addresses(struct reader *r, json_t *vfio, struct wt_device_place *place)
{
	size_t i, count = json_is_array(vfio) ? json_array_size(vfio) : 1;
	json_t *item;
	int code = 0;

	if (!count || count > WT_DEVICE_POOL_MAX)
		return refuse(r, "\"vfio\" must have 1 to %d addresses", WT_DEVICE_POOL_MAX);
	place->addresses = calloc(count, sizeof *place->addresses);
	if (!place->addresses)
		return wt_error_set(r->err, ENOMEM, "no memory for a device map");
	if (!json_is_array(vfio))
		return add_address(r, place, vfio);
	json_array_foreach(vfio, i, item) if (!code) code = add_address(r, place, item);
	return code;
}

static int take_properties(struct reader *r, json_t *properties, struct wt_device_place *place)
{
	static const char *const ours[] = { "id", "bus", "driver", "host" };
	const char *key;
	json_t *value;

	if (!properties)
		return 0;
	if (!json_is_object(properties))
		return refuse(r, "\"properties\" must be an object");
	json_object_foreach(properties, key, value)
	{
		if (!wt_device_name_good(key))
			return refuse(r, "the name of a property must be letters, digits, _ . or -");
		for (unsigned i = 0; i < sizeof ours / sizeof *ours; i++)
			if (strcmp(key, ours[i]) == 0)
				return refuse(r, "property \"%s\" is watari's to set", key);
		if (!json_is_string(value) && !json_is_integer(value) && !json_is_boolean(value))
			return refuse(
				r, "property \"%s\" must be a text, a whole number, true or false", key);
	}
	place->properties = json_deep_copy(properties);
	return place->properties ? 0 : wt_error_set(r->err, ENOMEM, "no memory for a device map");
}

static int take_kind(struct reader *r, json_t *object, struct wt_device_place *place)
{
	json_t *vfio = json_object_get(object, "vfio"), *driver = json_object_get(object, "device");
	json_t *none = json_object_get(object, "none");

	if (!!vfio + !!driver + !!none != 1)
		return refuse(r, "give one of \"vfio\", \"device\" and \"none\"");
	if (vfio) {
		place->kind = WT_DEVICE_VFIO;
		return take_addresses(r, vfio, place);
	}
	if (driver) {
		place->kind = WT_DEVICE_EMULATED;
		return take_word(r, object, "device", NULL, place->driver);
	}
	place->kind = WT_DEVICE_NONE;
	return json_is_true(none) ? 0 : refuse(r, "\"none\" must be true");
}

static int take_place(struct reader *r, json_t *object, struct wt_device_place *place)
{
	static const char *const keys[] = { "vfio", "device", "none", "link_mac", "properties", "prepare",
		"check", "release", NULL };
	json_t *mac = json_object_get(object, "link_mac");
	int code;

	if (!json_is_object(object))
		return refuse(r, "it must be an object");
	code = check_keys(r, object, keys);
	if (!code)
		code = take_kind(r, object, place);
	if (!code && mac && !mac_good(json_string_value(mac)))
		code = refuse(r, "\"link_mac\" must be an address such as 52:54:00:12:34:56, in lower case");
	if (!code && mac)
		strcpy(place->link_mac, json_string_value(mac));
	if (!code)
		code = take_properties(r, json_object_get(object, "properties"), place);
	if (!code)
		code = take_command(r, object, "prepare", &place->prepare);
	if (!code)
		code = take_command(r, object, "check", &place->check);
	if (!code)
		code = take_command(r, object, "release", &place->release);
	return code;
}

/* ---- devices ---- */

static int take_places(struct reader *r, json_t *hosts, struct wt_device *device)
{
	const char *key;
	json_t *value;
	int code;

	if (!json_object_size(hosts) || json_object_size(hosts) > WT_DEVICE_HOSTS_MAX)
		return refuse(r, "\"hosts\" must be an object of 1 to %d hosts", WT_DEVICE_HOSTS_MAX);
	device->places = calloc(json_object_size(hosts), sizeof *device->places);
	if (!device->places)
		return wt_error_set(r->err, ENOMEM, "no memory for a device map");
	json_object_foreach(hosts, key, value)
	{
		struct wt_device_place *place = &device->places[device->place_count];

		if (!wt_device_name_good(key))
			return refuse(r, "the name of a host must be 1 to %d letters, digits, _ . or -",
				WT_DEVICE_NAME_MAX);
		device->place_count++;
		strcpy(place->host, key);
		snprintf(r->where, sizeof r->where, ", device %s, host %s", device->name, key);
		code = take_place(r, value, place);
		if (code)
			return code;
	}
	return 0;
}

static int take_device(struct reader *r, json_t *object, struct wt_device *device)
{
	static const char *const keys[] = { "id", "bus", "agent", "hosts", NULL };
	json_t *agent = json_object_get(object, "agent");
	int code;

	snprintf(r->where, sizeof r->where, ", device %s", device->name);
	if (!json_is_object(object))
		return refuse(r, "it must be an object");
	code = check_keys(r, object, keys);
	if (!code)
		code = take_word(r, object, "id", device->name, device->id);
	if (!code)
		code = take_word(r, object, "bus", NULL, device->bus);
	if (!code && agent && !json_is_boolean(agent))
		code = refuse(r, "\"agent\" must be true or false");
	device->agent = json_is_true(agent);
	if (!code)
		code = take_places(r, json_object_get(object, "hosts"), device);
	return code;
}

/* Two devices in one port, or of one id, are none. */
static int check_apart(struct reader *r, const struct wt_device_map *map)
{
	r->where[0] = '\0';
	for (unsigned i = 0; i < map->count; i++)
		for (unsigned k = 0; k < i; k++) {
			const struct wt_device *a = &map->devices[k], *b = &map->devices[i];

			if (strcmp(a->id, b->id) == 0)
				return refuse(
					r, "devices %s and %s have the same id %s", a->name, b->name, a->id);
			if (strcmp(a->bus, b->bus) == 0)
				return refuse(r, "devices %s and %s have the same bus %s", a->name, b->name,
					a->bus);
		}
	return 0;
}

static int take_devices(struct reader *r, json_t *devices, struct wt_device_map *map)
{
	const char *key;
	json_t *value;
	int code;

	if (!json_object_size(devices) || json_object_size(devices) > WT_DEVICES_MAX)
		return refuse(r, "\"devices\" must be an object of 1 to %d devices", WT_DEVICES_MAX);
	json_object_foreach(devices, key, value)
	{
		struct wt_device *device = &map->devices[map->count];

		r->where[0] = '\0';
		if (!wt_device_name_good(key))
			return refuse(r, "the name of a device must be 1 to %d letters, digits, _ . or -",
				WT_DEVICE_NAME_MAX);
		strcpy(device->name, key);
		map->count++;
		code = take_device(r, value, device);
		if (code)
			return code;
	}
	return check_apart(r, map);
}

int wt_device_map_parse(const char *text, size_t length, const char *origin, struct wt_device_map **ret_map,
	struct wt_error *err)
{
	static const char *const keys[] = { "version", "deadlines_ms", "devices", NULL };
	struct reader r = { .origin = origin, .err = err };
	struct wt_device_map *map = NULL;
	json_error_t where;
	char quoted[160];
	json_t *root;
	int code;

	root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &where);
	if (!root)
		return refuse(&r, "line %d is no JSON: %s", where.line,
			wt_printable(where.text, strlen(where.text), quoted, sizeof quoted));
	if (!json_is_object(root))
		code = refuse(&r, "it must be an object");
	else
		code = check_keys(&r, root, keys);
	if (!code && json_integer_value(json_object_get(root, "version")) != 1)
		code = refuse(&r, "\"version\" must be 1");
	if (!code && !(map = calloc(1, sizeof *map)))
		code = wt_error_set(err, ENOMEM, "no memory for a device map");
	if (!code)
		code = take_deadlines(&r, json_object_get(root, "deadlines_ms"), &map->deadlines);
	if (!code)
		code = take_devices(&r, json_object_get(root, "devices"), map);
	json_decref(root);
	if (code) {
		wt_device_map_free(map);
		return code;
	}
	*ret_map = map;
	return 0;
}

int wt_device_map_read(const char *path, struct wt_device_map **ret_map, struct wt_error *err)
{
	FILE *file = fopen(path, "re");
	size_t length;
	char *text;
	int r;

	if (!file)
		return wt_error_set(err, errno, "device map %s cannot be opened: %s", path, strerror(errno));
	text = malloc(WT_DEVICE_MAP_BYTES_MAX + 1);
	length = text ? fread(text, 1, WT_DEVICE_MAP_BYTES_MAX + 1, file) : 0;
	if (!text)
		r = wt_error_set(err, ENOMEM, "no memory for a device map");
	else if (ferror(file))
		r = wt_error_set(err, EIO, "device map %s cannot be read", path);
	else if (length > WT_DEVICE_MAP_BYTES_MAX)
		r = wt_error_set(
			err, EINVAL, "device map %s has more than %u bytes", path, WT_DEVICE_MAP_BYTES_MAX);
	else
		r = wt_device_map_parse(text, length, path, ret_map, err);
	fclose(file);
	free(text);
	return r;
}

static void command_clear(struct wt_device_command *command)
{
	for (unsigned i = 0; i < command->count; i++)
		free(command->words[i]);
}

void wt_device_map_free(struct wt_device_map *map)
{
	if (!map)
		return;
	for (unsigned i = 0; i < map->count; i++) {
		struct wt_device *device = &map->devices[i];

		for (unsigned k = 0; k < device->place_count; k++) {
			struct wt_device_place *place = &device->places[k];

			free(place->addresses);
			json_decref(place->properties);
			command_clear(&place->prepare);
			command_clear(&place->check);
			command_clear(&place->release);
		}
		free(device->places);
	}
	free(map);
}

/* ---- questions ---- */

const struct wt_device_place *wt_device_place_of(const struct wt_device *device, const char *host)
{
	for (unsigned i = 0; i < device->place_count; i++)
		if (strcmp(device->places[i].host, host) == 0)
			return &device->places[i];
	return NULL;
}

const struct wt_device *wt_device_named(const struct wt_device_map *map, const char *name)
{
	for (unsigned i = 0; i < map->count; i++)
		if (strcmp(map->devices[i].name, name) == 0)
			return &map->devices[i];
	return NULL;
}

const char *wt_device_place_text(const struct wt_device_place *place, char *ret_text, size_t size)
{
	if (place->kind == WT_DEVICE_VFIO && place->address_count > 1)
		snprintf(ret_text, size, "vfio, one of %u", place->address_count);
	else if (place->kind == WT_DEVICE_VFIO)
		snprintf(ret_text, size, "vfio %s", place->addresses[0]);
	else
		snprintf(ret_text, size, "%s", place->kind == WT_DEVICE_EMULATED ? place->driver : "nothing");
	return ret_text;
}

json_t *wt_device_arguments(
	const struct wt_device *device, const struct wt_device_place *place, const char *address)
{
	json_t *arguments = json_pack("{s:s,s:s,s:s}", "driver",
		place->kind == WT_DEVICE_VFIO ? "vfio-pci" : place->driver, "id", device->id, "bus",
		device->bus);

	if (place->kind == WT_DEVICE_VFIO)
		json_object_set_new(arguments, "host", json_string(address));
	if (place->properties)
		json_object_update(arguments, place->properties);
	return arguments;
}

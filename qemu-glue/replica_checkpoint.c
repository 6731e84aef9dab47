/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica_checkpoint.c - the checkpoint in an index: layers, device state, disks. See replica_checkpoint.h.
 *
 *   1. As in replica_index.c: what is in the text is hostile, and each refusal names it.
 *   2. The index of a checkpoint is as it was written, byte by byte, or it is refused: its digest covers all
 * bytes before the line that holds it, and behind that nothing stands but the closing brace.
 *   3. Layers have different ids and generations; a raw one is the first; the last one is that of the
 * checkpoint itself.
 */
#include "replica_checkpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "page_map.h"

#define DIGEST_KEY ",\n  \"digest\": \""
#define DIGEST_END "\"\n}"
#define DIGEST_HEX ((size_t)2 * WT_REPLICA_DIGEST_BYTES)

static const char *const suffixes[] = { ".raw", ".pgs", ".zst", ".map", ".bin" };

/* What layers may be, as in the index. */
static const char *const kinds[] = { "raw", "packed", "zstd" };

/* ---- files ---- */

void wt_replica_file_name(
	enum wt_replica_kind kind, unsigned number, uint64_t generation, char ret_name[WT_REPLICA_FILE_MAX])
{
	snprintf(ret_name, WT_REPLICA_FILE_MAX, "%s-%u-%016" PRIx64 "%s",
		kind == WT_REPLICA_STATE ? "state" : "ram", number, generation, suffixes[kind]);
}

bool wt_replica_is_file_name(const char *name, size_t length)
{
	static const char hex[] = "0123456789abcdef";
	bool state = !strncmp(name, "state-", 6);
	const char *at = name + (state ? 6 : 4);

	if (!state && strncmp(name, "ram-", 4) != 0)
		return false;
	if (!strspn(at, "0123456789"))
		return false;
	at += strspn(at, "0123456789");
	if (*at != '-' || strspn(at + 1, hex) != 16)
		return false;
	at += 17;
	for (unsigned i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++)
		if (!strncmp(at, suffixes[i], 4))
			return state == (i == WT_REPLICA_STATE) && at + 4 == name + length;
	return false;
}

static bool checkpoint_names(const struct wt_replica_index *index, const char *file)
{
	const struct wt_replica_checkpoint *c = index->checkpoint;
	char name[WT_REPLICA_FILE_MAX];

	wt_replica_file_name(WT_REPLICA_STATE, 0, c->generation, name);
	if (!strcmp(name, file))
		return true;
	for (unsigned i = 0; i < index->count; i++) {
		wt_replica_file_name(WT_REPLICA_MAP, i, c->generation, name);
		if (!strcmp(name, file))
			return true;
		for (unsigned l = 0; l < c->layer_count; l++) {
			wt_replica_file_name(c->layers[l].kind, i, c->layers[l].generation, name);
			if (!strcmp(name, file))
				return true;
		}
	}
	return false;
}

bool wt_replica_index_names(const struct wt_replica_index *index, const char *file)
{
	for (unsigned i = 0; i < index->count; i++)
		if (!strcmp(index->images[i].file, file))
			return true;
	return index->checkpoint && checkpoint_names(index, file);
}

bool wt_replica_index_flat(const struct wt_replica_index *index)
{
	const struct wt_replica_checkpoint *c = index->checkpoint;

	return !c || (c->layer_count == 1 && c->layers[0].kind == WT_REPLICA_RAW);
}

const struct wt_replica_layer *wt_replica_layer(const struct wt_replica_checkpoint *c, unsigned id)
{
	for (unsigned i = 0; i < c->layer_count; i++)
		if (c->layers[i].id == id)
			return &c->layers[i];
	return NULL;
}

/* ---- numbers ---- */

static bool from_hex(const char *text, uint8_t *ret_bytes, size_t count)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < 2 * count; i++) {
		const char *digit = text[i] ? strchr(digits, text[i]) : NULL;

		if (!digit)
			return false;
		ret_bytes[i / 2] = (uint8_t)(ret_bytes[i / 2] << 4 | (digit - digits));
	}
	return !text[2 * count];
}

static void to_hex(const uint8_t *bytes, size_t count, char *ret_text)
{
	for (size_t i = 0; i < count; i++)
		sprintf(ret_text + 2 * i, "%02x", bytes[i]);
}

void wt_replica_put_digest(json_t *object, const char *key, const uint8_t *digest)
{
	char text[DIGEST_HEX + 1];

	to_hex(digest, WT_REPLICA_DIGEST_BYTES, text);
	json_object_set_new(object, key, json_string(text));
}

static bool take_digest(const json_t *object, const char *key, uint8_t *ret_digest)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text && from_hex(text, ret_digest, WT_REPLICA_DIGEST_BYTES);
}

static void put_number(json_t *object, const char *key, uint64_t number)
{
	char text[17];

	snprintf(text, sizeof text, "%016" PRIx64, number);
	json_object_set_new(object, key, json_string(text));
}

static bool take_number(const json_t *object, const char *key, uint64_t *ret_number)
{
	const char *text = json_string_value(json_object_get(object, key));
	uint8_t bytes[8] = { 0 };

	if (!text || !from_hex(text, bytes, sizeof bytes))
		return false;
	*ret_number = 0;
	for (unsigned i = 0; i < sizeof bytes; i++)
		*ret_number = *ret_number << 8 | bytes[i];
	return true;
}

/* ---- reading ---- */

static int damaged(const char *from, const char *what, struct wt_error *err)
{
	return wt_error_set(
		err, EINVAL, "%s: the checkpoint's %s is missing or wrong; the index is damaged", from, what);
}

static bool take_kind(const char *text, enum wt_replica_kind *ret_kind)
{
	for (unsigned i = 0; text && i < sizeof kinds / sizeof kinds[0]; i++)
		if (!strcmp(text, kinds[i])) {
			*ret_kind = (enum wt_replica_kind)i;
			return true;
		}
	return false;
}

static bool take_layer(const json_t *value, struct wt_replica_checkpoint *c)
{
	struct wt_replica_layer *layer = &c->layers[c->layer_count];
	json_int_t id = json_integer_value(json_object_get(value, "id"));

	layer->id = (unsigned)id;
	if (id < 1 || id > WT_REPLICA_LAYERS_MAX || wt_replica_layer(c, (unsigned)id) ||
		!take_number(value, "generation", &layer->generation) ||
		!take_kind(json_string_value(json_object_get(value, "kind")), &layer->kind))
		return false;
	for (unsigned i = 0; i < c->layer_count; i++)
		if (c->layers[i].generation == layer->generation)
			return false;
	c->layer_count++;
	return true;
}

static bool take_layers(const json_t *list, struct wt_replica_checkpoint *c)
{
	size_t count = json_array_size(list);

	if (!count || count > WT_REPLICA_LAYERS_MAX)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!take_layer(json_array_get(list, i), c) || (i && c->layers[i].kind == WT_REPLICA_RAW))
			return false;
	return c->layers[count - 1].generation == c->generation;
}

static bool take_disk_files(const json_t *list, struct wt_replica_disk *disk)
{
	size_t count = json_array_size(list);

	if (!count || count > WT_REPLICA_DISK_FILES_MAX)
		return false;
	disk->files = calloc(count, sizeof *disk->files);
	for (; disk->files && disk->file_count < count; disk->file_count++) {
		const json_t *value = json_array_get(list, disk->file_count);
		const json_t *written = json_object_get(value, "written_ns");
		struct wt_replica_disk_file *file = &disk->files[disk->file_count];

		if (!wt_replica_take_string(value, "file", file->name, sizeof file->name) ||
			!wt_replica_take_string(value, "format", file->format, sizeof file->format) ||
			!json_is_integer(written))
			return false;
		file->written_ns = json_integer_value(written);
	}
	return disk->files;
}

static bool take_disks(const json_t *list, struct wt_replica_checkpoint *c)
{
	size_t count = json_array_size(list);

	if (count > WT_REPLICA_DISKS_MAX)
		return false;
	c->disks = calloc(count + 1, sizeof *c->disks);
	while (c->disks && c->disk_count < count) {
		const json_t *value = json_array_get(list, c->disk_count);
		struct wt_replica_disk *disk = &c->disks[c->disk_count++];

		if (!wt_replica_take_string(value, "device", disk->device, sizeof disk->device) ||
			!wt_replica_take_string(value, "place", disk->place, sizeof disk->place) ||
			!wt_replica_take_string(value, "overlay", disk->overlay, sizeof disk->overlay) ||
			!take_disk_files(json_object_get(value, "files"), disk))
			return false;
	}
	return c->disks;
}

void wt_replica_disks_free(struct wt_replica_disk *disks, unsigned count)
{
	for (unsigned i = 0; disks && i < count; i++)
		free(disks[i].files);
	free(disks);
}

static int take_state(
	const json_t *value, const char *from, struct wt_replica_checkpoint *c, struct wt_error *err)
{
	json_int_t length = json_integer_value(json_object_get(value, "state_length"));

	if (!take_number(value, "generation", &c->generation))
		return damaged(from, "`generation`", err);
	if (!take_number(value, "seed", &c->seed))
		return damaged(from, "`seed`", err);
	if (length <= 0 || !take_digest(value, "state_digest", c->state_digest))
		return damaged(from, "`state_length` or `state_digest`", err);
	c->state_length = (uint64_t)length;
	c->running = json_is_true(json_object_get(value, "running"));
	if (!wt_replica_take_string(value, "machine", c->machine, sizeof c->machine) ||
		!wt_replica_take_string(value, "qemu", c->version, sizeof c->version))
		return damaged(from, "`machine` or `qemu`", err);
	if (!take_layers(json_object_get(value, "layers"), c))
		return damaged(from, "list of `layers`", err);
	if (!take_disks(json_object_get(value, "disks"), c))
		return damaged(from, "list of `disks`", err);
	return 0;
}

/* Images have the names that the newest layer gives them, and maps their digests. */
static int take_maps(
	const json_t *blocks, const char *from, struct wt_replica_index *index, struct wt_error *err)
{
	const struct wt_replica_checkpoint *c = index->checkpoint;
	const struct wt_replica_layer *newest = &c->layers[c->layer_count - 1];
	char name[WT_REPLICA_FILE_MAX];

	for (unsigned i = 0; i < index->count; i++) {
		struct wt_replica_image *image = &index->images[i];

		wt_replica_file_name(newest->kind, i, newest->generation, name);
		if (strcmp(name, image->file) != 0 ||
			!take_digest(json_array_get(blocks, i), "map_digest", image->map_digest))
			return damaged(from, "`file` or `map_digest` of a block", err);
	}
	return 0;
}

int wt_replica_checkpoint_take(const json_t *root, const char *from, bool layers,
	struct wt_replica_index *index, struct wt_error *err)
{
	const json_t *value = json_object_get(root, "checkpoint");
	int r;

	if (!value)
		return layers ? damaged(from, "description", err) : 0;
	if (!json_object_get(root, "digest"))
		return damaged(from, "`digest`", err);
	index->checkpoint = calloc(1, sizeof *index->checkpoint);
	if (!index->checkpoint)
		return wt_error_set(err, ENOMEM, "no memory to read %s", from);
	r = take_state(value, from, index->checkpoint, err);
	if (!r)
		r = take_maps(json_object_get(root, "blocks"), from, index, err);
	if (!r && layers == wt_replica_index_flat(index))
		r = damaged(from, "`requires`", err);
	return r;
}

/* ---- writing ---- */

/* NULL: a name is no UTF-8. */
static json_t *render_disk(const struct wt_replica_disk *disk)
{
	json_t *files = json_array();
	bool good = true;

	for (unsigned i = 0; i < disk->file_count; i++)
		good &= !json_array_append_new(files,
			json_pack("{s:s,s:s,s:I}", "file", disk->files[i].name, "format",
				disk->files[i].format, "written_ns", (json_int_t)disk->files[i].written_ns));
	if (!good) {
		json_decref(files);
		return NULL;
	}
	return json_pack("{s:s,s:s,s:s,s:o}", "device", disk->device, "place", disk->place, "overlay",
		disk->overlay, "files", files);
}

bool wt_replica_checkpoint_put(json_t *root, const struct wt_replica_index *index)
{
	const struct wt_replica_checkpoint *c = index->checkpoint;
	json_t *value, *layers, *disks;
	bool good = true;

	if (!c)
		return true;
	layers = json_array();
	disks = json_array();
	for (unsigned i = 0; i < c->layer_count; i++) {
		json_t *layer =
			json_pack("{s:i,s:s}", "id", (int)c->layers[i].id, "kind", kinds[c->layers[i].kind]);

		put_number(layer, "generation", c->layers[i].generation);
		json_array_append_new(layers, layer);
	}
	for (unsigned i = 0; i < c->disk_count; i++)
		good &= !json_array_append_new(disks, render_disk(&c->disks[i]));
	value = json_pack("{s:s,s:s,s:b,s:I,s:o,s:o}", "machine", c->machine, "qemu", c->version, "running",
		(int)c->running, "state_length", (json_int_t)c->state_length, "layers", layers, "disks",
		disks);
	if (!value)
		return false;
	put_number(value, "generation", c->generation);
	put_number(value, "seed", c->seed);
	wt_replica_put_digest(value, "state_digest", c->state_digest);
	if (!wt_replica_index_flat(index))
		json_array_append_new(json_object_get(root, "requires"), json_string(WT_REPLICA_LAYERS));
	return !json_object_set_new(root, "checkpoint", value) && good;
}

/* ---- the digest of the index ---- */

char *wt_replica_digest_add(char *text)
{
	size_t length = strlen(text);
	uint8_t digest[WT_REPLICA_DIGEST_BYTES];
	char *longer = realloc(text, length + sizeof DIGEST_KEY + DIGEST_HEX + sizeof DIGEST_END);

	if (!longer) {
		free(text);
		return NULL;
	}
	length -= 2; /* the closing brace, on a line of its own */
	wt_bytes_digest(longer, length, digest);
	memcpy(longer + length, DIGEST_KEY, sizeof DIGEST_KEY - 1);
	to_hex(digest, sizeof digest, longer + length + sizeof DIGEST_KEY - 1);
	memcpy(longer + length + sizeof DIGEST_KEY - 1 + DIGEST_HEX, DIGEST_END, sizeof DIGEST_END);
	return longer;
}

int wt_replica_digest_check(
	const char *text, size_t length, const json_t *root, const char *from, struct wt_error *err)
{
	static const size_t tail = sizeof DIGEST_KEY - 1 + DIGEST_HEX + sizeof DIGEST_END - 1;
	uint8_t here[WT_REPLICA_DIGEST_BYTES], there[WT_REPLICA_DIGEST_BYTES] = { 0 };
	char hex[DIGEST_HEX + 1] = { 0 };
	const char *at = text + (length > tail ? length - tail : 0);

	if (!json_object_get(root, "digest"))
		return 0;
	if (length > tail && !memcmp(at, DIGEST_KEY, sizeof DIGEST_KEY - 1) &&
		!memcmp(text + length - sizeof DIGEST_END + 1, DIGEST_END, sizeof DIGEST_END - 1)) {
		memcpy(hex, at + sizeof DIGEST_KEY - 1, DIGEST_HEX);
		wt_bytes_digest(text, (size_t)(at - text), here);
		if (from_hex(hex, there, sizeof there) && !memcmp(here, there, sizeof here))
			return 0;
	}
	return wt_error_set(err, EBADMSG, "%s is damaged: it is not what its own `digest` says", from);
}

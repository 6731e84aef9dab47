/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica_index.c - reads and writes index.json. See replica_index.h; what a checkpoint adds is
 * replica_checkpoint.c's.
 *
 *   1. Everything in the text is hostile: each field is checked before it is copied, each refusal names it.
 *   2. What parse accepts, render writes so that parse accepts it with the same meaning.
 *   3. Fields that are not known are passed over, unless `requires` names what they are for: then the index
 * is refused. So later versions can add what readers may ignore, and what they must not.
 */
#include "replica_index.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "printable.h"
#include "replica_checkpoint.h"

#define SHOWN 80 /* bytes of a foreign name in a message */

static const char *shown(const char *name, char text[SHOWN])
{
	return wt_printable(name, strlen(name), text, SHOWN);
}

/* Copies a string that is there, is not empty and fits. */
bool wt_replica_take_string(const json_t *object, const char *key, char *ret_text, size_t size)
{
	const json_t *value = json_object_get(object, key);
	size_t length = json_string_length(value);

	if (!length || length >= size)
		return false;
	memcpy(ret_text, json_string_value(value), length + 1);
	return true;
}

/* One component of a path, not hidden, of characters that mean nothing to anybody. */
static bool plain_file_name(const char *file)
{
	for (const char *c = file; *c; c++)
		if (*c == '/' || (unsigned char)*c <= ' ' || *c == 0x7f)
			return false;
	return file[0] != '.';
}

static int take_image(const json_t *object, const char *from, unsigned number, struct wt_replica_index *index,
	struct wt_error *err)
{
	struct wt_replica_image *image = &index->images[number];
	json_int_t length = json_integer_value(json_object_get(object, "length"));
	char text[SHOWN];

	if (!wt_replica_take_string(object, "name", image->name, sizeof image->name))
		return wt_error_set(err, EINVAL,
			"%s: block %u has no `name` of 1 to %d bytes; the index is damaged", from, number,
			WT_BLOCK_NAME_MAX);
	if (!wt_replica_take_string(object, "file", image->file, sizeof image->file) ||
		!plain_file_name(image->file))
		return wt_error_set(err, EINVAL,
			"%s: the `file` of block \"%s\" is not the plain name of a file in the same directory; "
			"the index is damaged or forged",
			from, shown(image->name, text));
	if (length <= 0 || length % WT_PAGE_SIZE)
		return wt_error_set(err, EINVAL,
			"%s: the `length` of block \"%s\" is not a number of whole pages of %u bytes; the index is "
			"damaged",
			from, shown(image->name, text), WT_PAGE_SIZE);
	image->length = (uint64_t)length;
	for (unsigned i = 0; i < number; i++)
		if (!strcmp(index->images[i].name, image->name) ||
			!strcmp(index->images[i].file, image->file))
			return wt_error_set(err, EINVAL,
				"%s: block \"%s\" has the name or the file of an earlier block; the index is "
				"damaged",
				from, shown(image->name, text));
	return 0;
}

static int take_images(
	const json_t *blocks, const char *from, struct wt_replica_index *index, struct wt_error *err)
{
	size_t count = json_array_size(blocks);
	uint64_t total = 0;
	int r = 0;

	if (!count || count > WT_BLOCKS_MAX)
		return wt_error_set(err, EINVAL,
			"%s has no list `blocks` of 1 to %d blocks; the index is damaged", from,
			WT_BLOCKS_MAX);
	index->images = calloc(count, sizeof *index->images);
	if (!index->images)
		return wt_error_set(err, ENOMEM, "no memory to read %s", from);
	for (; index->count < count && !r; index->count++) {
		r = take_image(json_array_get(blocks, index->count), from, index->count, index, err);
		total += index->images[index->count].length;
		if (!r && total > INT64_MAX)
			r = wt_error_set(err, EINVAL,
				"%s: its blocks together have more bytes than files can; the index is damaged",
				from);
	}
	return r;
}

/* One thing is known that could be required: maps and layers (replica_checkpoint.c). */
static int check_requires(const json_t *requires, const char *from, bool *ret_layers, struct wt_error *err)
{
	const char *what;
	char text[SHOWN];

	*ret_layers = false;
	if (!requires || (json_is_array(requires) && !json_array_size(requires)))
		return 0;
	what = json_string_value(json_array_get(requires, 0));
	*ret_layers = json_array_size(requires) == 1 && what && !strcmp(what, WT_REPLICA_LAYERS);
	if (*ret_layers)
		return 0;
	if (what && !strcmp(what, WT_REPLICA_LAYERS))
		what = json_string_value(json_array_get(requires, 1));
	return wt_error_set(err, ENOTSUP,
		"%s needs \"%s\" to be understood, and this watari (%s) has not got that; use "
		"the version that wrote it",
		from, what ? shown(what, text) : "?", WATARI_VERSION);
}

static int take_index(
	const json_t *root, const char *from, struct wt_replica_index *index, struct wt_error *err)
{
	const json_t *format = json_object_get(root, "format");
	bool layers;
	int r;

	if (!json_is_integer(format))
		return wt_error_set(
			err, EINVAL, "%s has no number `format`; it is not the index of a replica", from);
	if (json_integer_value(format) != WT_REPLICA_FORMAT)
		return wt_error_set(err, ENOTSUP,
			"%s has format %" JSON_INTEGER_FORMAT
			", and this watari (%s) reads format %d; use the "
			"version that wrote it",
			from, json_integer_value(format), WATARI_VERSION, WT_REPLICA_FORMAT);
	r = check_requires(json_object_get(root, "requires"), from, &layers, err);
	if (r)
		return r;
	if (!wt_replica_take_string(root, "vm", index->vm, sizeof index->vm))
		return wt_error_set(err, EINVAL, "%s has no `vm` of 1 to %d bytes; the index is damaged",
			from, WT_REPLICA_VM_MAX);
	r = take_images(json_object_get(root, "blocks"), from, index, err);
	return r ? r : wt_replica_checkpoint_take(root, from, layers, index, err);
}

int wt_replica_index_parse(const char *text, size_t length, const char *from,
	struct wt_replica_index **ret_index, struct wt_error *err)
{
	struct wt_replica_index *index;
	json_error_t why = { .line = -1 };
	json_t *root;
	int r;

	if (length > WT_REPLICA_INDEX_MAX)
		return wt_error_set(err, EFBIG,
			"%s has %zu bytes, and no index of a replica has more than %u", from, length,
			WT_REPLICA_INDEX_MAX);
	root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return wt_error_set(err, EINVAL,
			"%s, line %d, is not JSON; is the index damaged, or cut short?", from, why.line);
	r = wt_replica_digest_check(text, length, root, from, err);
	if (r) {
		json_decref(root);
		return r;
	}
	index = calloc(1, sizeof *index);
	r = index ? take_index(root, from, index, err)
		  : wt_error_set(err, ENOMEM, "no memory to read %s", from);
	json_decref(root);
	if (r) {
		wt_replica_index_free(index);
		return r;
	}
	*ret_index = index;
	return 0;
}

void wt_replica_index_free(struct wt_replica_index *index)
{
	if (!index)
		return;
	free(index->images);
	if (index->checkpoint)
		wt_replica_disks_free(index->checkpoint->disks, index->checkpoint->disk_count);
	free(index->checkpoint);
	free(index);
}

/* NULL: a name is no UTF-8. */
static json_t *render_block(const struct wt_replica_index *index, const struct wt_replica_image *image)
{
	json_t *block = json_pack("{s:s,s:I,s:s}", "name", image->name, "length", (json_int_t)image->length,
		"file", image->file);

	if (block && index->checkpoint)
		wt_replica_put_digest(block, "map_digest", image->map_digest);
	return block;
}

int wt_replica_index_render(const struct wt_replica_index *index, char **ret_text, struct wt_error *err)
{
	json_t *blocks = json_array(), *root;
	char *text = NULL;

	for (unsigned i = 0; i < index->count; i++) {
		json_t *block = render_block(index, &index->images[i]);

		if (!block || json_array_append_new(blocks, block)) {
			json_decref(blocks);
			return wt_error_set(err, EINVAL,
				"the name of a block cannot be written to the index of a replica: it is no UTF-8");
		}
	}
	root = json_pack("{s:i,s:[],s:s,s:o}", "format", WT_REPLICA_FORMAT, "requires", "vm", index->vm,
		"blocks", blocks);
	if (root && wt_replica_checkpoint_put(root, index))
		text = json_dumps(root, JSON_INDENT(2));
	json_decref(root);
	if (text && index->checkpoint)
		text = wt_replica_digest_add(text);
	if (!text)
		return wt_error_set(err, EINVAL,
			"the name of the VM, or of a disk, cannot be written to the index of a replica: it is no UTF-8");
	if (strlen(text) > WT_REPLICA_INDEX_MAX) {
		free(text);
		return wt_error_set(err, E2BIG,
			"the list of memory blocks and disks is longer than the %u bytes that an index may have; make the chains of "
			"the disks' images shorter",
			WT_REPLICA_INDEX_MAX);
	}
	*ret_text = text;
	return 0;
}

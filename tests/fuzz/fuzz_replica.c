/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz_replica.c - libFuzzer harness of the index of a replica, and of what asks for one. Checked besides
 * memory safety:
 *   1. a refused index has a sentence; an accepted one keeps the promises of its header;
 *   2. written again and read again, an accepted index is the same;
 *   3. so is a request;
 *   4. of a checkpoint: layers have different ids and generations, and the newest is its own.
 * Of a text that is JSON the digest is made right, so that not every change is one of the digest. The first
 * byte says whether the rest is the text, or lines (VM, then name, file and length of each block) of which a
 * text is made: few random texts are JSON.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "../../qemu-glue/replica_checkpoint.h"
#include "../../qemu-glue/replica_index.h"
#include "../../qemu-glue/replica_request.h"
#include "json_mutator.h"
#include "promise.h"

static const char *const words[] = { "format", "requires", "layers", "vm", "blocks", "name", "length", "file",
	"map_digest", "checkpoint", "generation", "seed", "running", "state_length", "state_digest",
	"machine", "qemu", "id", "kind", "raw", "packed", "zstd", "disks", "device", "place", "overlay",
	"files", "written_ns", "digest", "replica", "port", "session", "key", "ok", "error",
	"0123456789abcdef", "0123456789abcdef0123456789abcdef", "ram-0-0123456789abcdef.raw",
	"ram-1-0123456789abcdef.zst", "pc.ram", "../x" };
static const unsigned word_count = sizeof words / sizeof *words;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(enum wt_replica_kind kind, unsigned number, uint64_t generation)
{
	char name[WT_REPLICA_FILE_MAX];

	wt_replica_file_name(kind, number, generation, name);
	PROMISE(wt_replica_is_file_name(name, strlen(name)));
	PROMISE(!wt_replica_is_file_name(name, strlen(name) - 1));
}

static void check_checkpoint(const struct wt_replica_checkpoint *c)
{
	PROMISE(c->layer_count && c->layer_count <= WT_REPLICA_LAYERS_MAX);
	PROMISE(c->layers[c->layer_count - 1].generation == c->generation && c->state_length);
	PROMISE(c->machine[0] && c->version[0] && c->disk_count <= WT_REPLICA_DISKS_MAX);
	for (unsigned i = 0; i < c->disk_count; i++) {
		const struct wt_replica_disk *disk = &c->disks[i];

		PROMISE(disk->device[0] && disk->place[0] && disk->overlay[0]);
		PROMISE(disk->file_count && disk->file_count <= WT_REPLICA_DISK_FILES_MAX);
		for (unsigned k = 0; k < disk->file_count; k++)
			PROMISE(disk->files[k].name[0] && disk->files[k].format[0]);
	}
	for (unsigned i = 0; i < c->layer_count; i++) {
		PROMISE(c->layers[i].id && c->layers[i].id <= WT_REPLICA_LAYERS_MAX);
		check_name(c->layers[i].kind, i, c->layers[i].generation);
		for (unsigned k = 0; k < i; k++)
			PROMISE(c->layers[i].id != c->layers[k].id &&
				c->layers[i].generation != c->layers[k].generation);
	}
}

static void check_promises(const struct wt_replica_index *index)
{
	uint64_t total = 0;

	if (index->checkpoint) {
		check_checkpoint(index->checkpoint);
		check_name(WT_REPLICA_STATE, 0, index->checkpoint->generation);
		PROMISE(!wt_replica_index_names(index, "ram-9-.raw"));
	}
	PROMISE(index->vm[0] && index->count && index->count <= WT_BLOCKS_MAX);
	for (unsigned i = 0; i < index->count; i++) {
		const struct wt_replica_image *image = &index->images[i];

		PROMISE(image->name[0] && image->file[0] && image->file[0] != '.' &&
			!strchr(image->file, '/'));
		PROMISE(wt_replica_index_names(index, image->file));
		PROMISE(image->length && image->length % WT_PAGE_SIZE == 0);
		total += image->length;
		PROMISE(total <= INT64_MAX);
		for (unsigned k = 0; k < i; k++)
			PROMISE(strcmp(index->images[k].name, image->name) != 0 &&
				strcmp(index->images[k].file, image->file) != 0);
	}
}

static void check_again(const struct wt_replica_index *index)
{
	struct wt_replica_index *again = NULL;
	struct wt_error err = { 0 };
	char *text = NULL;

	PROMISE(!wt_replica_index_render(index, &text, &err));
	PROMISE(!wt_replica_index_parse(text, strlen(text), "again", &again, &err));
	PROMISE(!strcmp(index->vm, again->vm) && index->count == again->count);
	for (unsigned i = 0; i < index->count; i++)
		PROMISE(!strcmp(index->images[i].name, again->images[i].name) &&
			!strcmp(index->images[i].file, again->images[i].file) &&
			index->images[i].length == again->images[i].length);
	PROMISE(!index->checkpoint == !again->checkpoint);
	if (index->checkpoint)
		PROMISE(index->checkpoint->seed == again->checkpoint->seed &&
			index->checkpoint->state_length == again->checkpoint->state_length &&
			index->checkpoint->layer_count == again->checkpoint->layer_count &&
			index->checkpoint->disk_count == again->checkpoint->disk_count);
	wt_replica_index_free(again);
	free(text);
}

static void try_text(const char *text, size_t length)
{
	struct wt_replica_index *index = NULL;
	struct wt_error err = { 0 };

	if (wt_replica_index_parse(text, length, "fuzz", &index, &err) < 0) {
		PROMISE(err.code && err.text[0] && !index);
		return;
	}
	check_promises(index);
	check_again(index);
	wt_replica_index_free(index);
}

/* As a writer would have written it, with a digest. */
static void try_digested(const char *text, size_t length)
{
	json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
	char *made;

	json_object_del(root, "digest");
	made = json_object_size(root) ? json_dumps(root, JSON_INDENT(2)) : NULL;
	json_decref(root);
	if (!made)
		return;
	made = wt_replica_digest_add(made);
	PROMISE(made);
	try_text(made, strlen(made));
	free(made);
}

static json_t *next_line(const char **text, const char *end)
{
	const char *newline = memchr(*text, '\n', (size_t)(end - *text)), *begin = *text;
	size_t length = (size_t)((newline ? newline : end) - begin);

	*text = newline ? newline + 1 : end;
	return json_stringn(begin, length);
}

static void try_lines(const char *text, const char *end, unsigned unit)
{
	json_t *blocks = json_array(), *root;
	char *made;

	root = json_pack("{s:i,s:o*,s:o}", "format", 1, "vm", next_line(&text, end), "blocks", blocks);
	while (text < end) {
		json_t *name = next_line(&text, end), *file = next_line(&text, end);
		json_t *digits = next_line(&text, end);
		uint64_t length = digits ? strtoull(json_string_value(digits), NULL, 0) * unit : 0;

		json_array_append_new(blocks, json_pack("{s:o*,s:o*,s:I}", "name", name, "file", file,
						      "length", (json_int_t)length));
		json_decref(digits);
	}
	made = json_dumps(root, JSON_COMPACT);
	PROMISE(made);
	try_text(made, strlen(made));
	free(made);
	json_decref(root);
}

static void request_again(const struct wt_replica_request *request)
{
	struct wt_replica_request again = { 0 };
	struct wt_error err = { 0 };
	char *line = NULL;

	PROMISE(!wt_replica_request_render(request, &line, &err));
	PROMISE(!wt_replica_request_parse(line, strlen(line), &again, &err));
	PROMISE(!strcmp(request->vm, again.vm) && request->port == again.port &&
		request->count == again.count && !memcmp(request->key, again.key, sizeof again.key) &&
		!memcmp(request->session_id, again.session_id, sizeof again.session_id));
	for (unsigned i = 0; i < request->count; i++)
		PROMISE(!strcmp(request->blocks[i].name, again.blocks[i].name) &&
			request->blocks[i].length == again.blocks[i].length);
	wt_replica_request_free(&again);
	free(line);
}

/* A refusal comes as it was sent, printable. */
static void try_answer(const char *text, size_t length)
{
	struct wt_error refusal = { 0 };
	int r = wt_replica_answer_parse(text, length, &refusal);
	char *line = wt_replica_answer_render(r ? refusal.text : NULL);

	PROMISE(line && wt_replica_answer_parse(line, strlen(line), NULL) == (r ? -ECONNREFUSED : 0));
	free(line);
	wt_replica_is_file_name(refusal.text, strlen(refusal.text));
}

static void try_request(const char *text, size_t length)
{
	struct wt_replica_request request = { 0 };
	struct wt_error err = { 0 };

	try_answer(text, length);
	if (wt_replica_request_parse(text, length, &request, &err) < 0) {
		PROMISE(err.code && err.text[0] && !request.blocks);
		return;
	}
	PROMISE(request.vm[0] && request.port && request.count && request.count <= WT_BLOCKS_MAX);
	request_again(&request);
	wt_replica_request_free(&request);
}

/* What cannot be written to an index, and one that is too long. */
static void try_limits(void)
{
	struct wt_replica_image image = { .name = "\xff", .file = "f", .length = WT_PAGE_SIZE };
	struct wt_replica_index index = { .vm = "vm", .count = 1, .images = &image }, *read = NULL;
	struct wt_error err = { 0 };
	char *text = NULL;

	PROMISE(wt_replica_index_render(&index, &text, &err) == -EINVAL && !text);
	strcpy(image.name, "m");
	strcpy(index.vm, "\xff");
	PROMISE(wt_replica_index_render(&index, &text, &err) == -EINVAL && !text);
	PROMISE(wt_replica_index_parse("", WT_REPLICA_INDEX_MAX + 1, "fuzz", &read, &err) == -EFBIG && !read);
	wt_replica_index_free(NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;
	static bool first = true;

	if (first)
		try_limits();
	first = false;

	if (size < 1)
		return 0;
	if (data[0] % 2)
		try_lines(text, text + size - 1, data[0] & 2 ? WT_PAGE_SIZE : 1);
	else if (data[0] & 2)
		try_request(text, size - 1);
	else if (data[0] & 4)
		try_digested(text, size - 1);
	else
		try_text(text, size - 1);
	return 0;
}

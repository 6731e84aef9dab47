/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica_request.c - see replica_request.h. Either end may be hostile: types, lengths and ranges are
 * checked, and what is quoted was made printable. Owns what it answers until it is freed.
 */
#include "replica_request.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "printable.h"

/* ---- bytes as hexadecimal digits ---- */

static json_t *hex(const uint8_t *bytes, size_t count)
{
	char text[2 * WT_DIGEST_KEY_BYTES + 1];

	for (size_t i = 0; i < count; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	return json_string(text);
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool unhex(json_t *object, const char *key, uint8_t *ret_bytes, size_t count)
{
	const char *text = json_string_value(json_object_get(object, key));

	if (!text || strlen(text) != 2 * count)
		return false;
	for (size_t i = 0; i < count; i++) {
		int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		ret_bytes[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

/* ---- the request ---- */

static json_t *render_blocks(const struct wt_replica_request *request)
{
	json_t *blocks = json_array();

	for (unsigned i = 0; blocks && i < request->count; i++)
		if (json_array_append_new(blocks, json_pack("{s:s,s:I}", "name", request->blocks[i].name,
							  "length", (json_int_t)request->blocks[i].length))) {
			json_decref(blocks);
			return NULL;
		}
	return blocks;
}

/* Its text and a newline. */
static char *line_of(json_t *object)
{
	char *text = object ? json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	size_t length = text ? strlen(text) : 0;
	char *line = text ? realloc(text, length + 2) : NULL;

	json_decref(object);
	if (!line) {
		free(text);
		return NULL;
	}
	strcpy(line + length, "\n");
	return line;
}

int wt_replica_request_render(const struct wt_replica_request *request, char **ret_line, struct wt_error *err)
{
	char *line = line_of(json_pack("{s:i,s:s,s:i,s:o,s:o,s:o}", "replica", WT_REPLICA_REQUEST, "vm",
		request->vm, "port", (int)request->port, "session",
		hex(request->session_id, sizeof request->session_id), "key",
		hex(request->key, sizeof request->key), "blocks", render_blocks(request)));

	if (!line)
		return wt_error_set(err, EINVAL,
			"the request to the replica cannot be written: a name is no UTF-8, or memory is out");
	*ret_line = line;
	return 0;
}

static bool take_text(json_t *object, const char *key, char *ret_text, size_t size)
{
	const char *text = json_string_value(json_object_get(object, key));
	size_t length = text ? strlen(text) : 0;

	if (!length || length >= size)
		return false;
	memcpy(ret_text, text, length + 1);
	return true;
}

static bool take_block(json_t *object, struct wt_replica_wanted *ret_block)
{
	json_t *length = json_object_get(object, "length");

	if (!take_text(object, "name", ret_block->name, sizeof ret_block->name) || !json_is_integer(length) ||
		json_integer_value(length) <= 0 || json_integer_value(length) % WT_PAGE_SIZE)
		return false;
	ret_block->length = (uint64_t)json_integer_value(length);
	return true;
}

static bool take_port(json_t *object, uint16_t *ret_port)
{
	json_int_t port = json_integer_value(json_object_get(object, "port"));

	if (port < 1 || port > UINT16_MAX)
		return false;
	*ret_port = (uint16_t)port;
	return true;
}

static int take_blocks(json_t *list, struct wt_replica_request *request)
{
	size_t count = json_array_size(list);

	if (!count || count > WT_BLOCKS_MAX)
		return -EPROTO;
	request->blocks = calloc(count, sizeof *request->blocks);
	if (!request->blocks)
		return -ENOMEM;
	for (; request->count < count; request->count++)
		if (!take_block(json_array_get(list, request->count), &request->blocks[request->count]))
			return -EPROTO;
	return 0;
}

static int take_request(json_t *object, struct wt_replica_request *request)
{
	if (!take_text(object, "vm", request->vm, sizeof request->vm) || !take_port(object, &request->port) ||
		!unhex(object, "session", request->session_id, sizeof request->session_id) ||
		!unhex(object, "key", request->key, sizeof request->key))
		return -EPROTO;
	return take_blocks(json_object_get(object, "blocks"), request);
}

int wt_replica_request_parse(
	const char *line, size_t length, struct wt_replica_request *ret_request, struct wt_error *err)
{
	json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
	json_t *version = json_object_get(object, "replica");
	struct wt_replica_request request = { 0 };
	int r;

	if (json_is_integer(version) && json_integer_value(version) != WT_REPLICA_REQUEST)
		r = wt_error_set(err, EPROTO,
			"this watari replica is asked in a way that it does not know (%" JSON_INTEGER_FORMAT
			"); use the same version on both hosts",
			json_integer_value(version));
	else if (!json_is_integer(version))
		r = wt_error_set(
			err, EPROTO, "a request for a replica makes no sense; is it a watari receive?");
	else if ((r = take_request(object, &request)))
		wt_error_set(err, -r,
			r == -ENOMEM ? "no memory for a request for a replica"
				     : "a request for a replica is malformed");
	json_decref(object);
	if (r)
		wt_replica_request_free(&request);
	else
		*ret_request = request;
	return r;
}

void wt_replica_request_free(struct wt_replica_request *request)
{
	free(request->blocks);
	request->blocks = NULL;
	request->count = 0;
}

/* ---- the answer ---- */

char *wt_replica_answer_render(const char *refusal)
{
	char shown[WT_PRINTABLE_MAX];

	if (!refusal)
		return line_of(json_pack("{s:b}", "ok", 1));
	return line_of(
		json_pack("{s:s}", "error", wt_printable(refusal, strlen(refusal), shown, sizeof shown)));
}

int wt_replica_answer_parse(const char *line, size_t length, struct wt_error *err)
{
	json_t *answer = json_loadb(line, length, 0, NULL);
	const char *error = json_string_value(json_object_get(answer, "error"));
	char shown[WT_PRINTABLE_MAX];
	int r = 0;

	if (error)
		r = wt_error_set(
			err, ECONNREFUSED, "%s", wt_printable(error, strlen(error), shown, sizeof shown));
	else if (!json_is_true(json_object_get(answer, "ok")))
		r = wt_error_set(err, EPROTO, "its answer makes no sense; is it a watari replica?");
	json_decref(answer);
	return r;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent_message.c - see agent_message.h. Types, lengths and ranges of everything that comes are checked;
 * texts that are shown are made printable.
 */
#include "agent_message.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "printable.h"

#define ID_MAX (1ull << 53)

static const char *const verbs[] = { NULL, "ping", "detach", "attach", "message", "ranks", "look", "tell" };

const char *wt_agent_verb_name(enum wt_agent_verb verb)
{
	const char *name = (unsigned)verb < sizeof verbs / sizeof *verbs ? verbs[verb] : NULL;

	return name ? name : "invalid";
}

/* ---- rendering ---- */

/* Its text and a newline; object is stolen. */
static int line_of(json_t *object, char **ret_line, struct wt_error *err)
{
	char *text = object ? json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	size_t length = text ? strlen(text) : 0;
	char *line = text && length + 1 < WT_AGENT_LINE_MAX ? realloc(text, length + 2) : NULL;

	json_decref(object);
	if (!line) {
		free(text);
		return wt_error_set(err, EINVAL,
			"a message for the guest's agent cannot be written: a text is no UTF-8, or it is longer than %d "
			"bytes",
			WT_AGENT_LINE_MAX);
	}
	strcpy(line + length, "\n");
	*ret_line = line;
	return 0;
}

/* Omitted when empty; a text that is no UTF-8 spoils the object. */
static void add_text(json_t **object, const char *key, const char *text)
{
	if (!text || !text[0] || !*object || !json_object_set_new(*object, key, json_string(text)))
		return;
	json_decref(*object);
	*object = NULL;
}

int wt_agent_request_render(const struct wt_agent_request *request, char **ret_line, struct wt_error *err)
{
	json_t *object = json_pack(
		"{s:I,s:s}", "id", (json_int_t)request->id, "do", wt_agent_verb_name(request->verb));

	add_text(&object, "name", request->name);
	if (request->timeout_ms && object)
		json_object_set_new(object, "timeout_ms", json_integer((json_int_t)request->timeout_ms));
	add_text(&object, "what", request->what);
	add_text(&object, "link_mac", request->link_mac);
	add_text(&object, "data", request->data);
	return line_of(object, ret_line, err);
}

int wt_agent_answer_render(const struct wt_agent_answer *answer, char **ret_line, struct wt_error *err)
{
	json_t *object = json_pack("{s:I,s:b,s:I}", "id", (json_int_t)answer->id, "ok", (int)answer->ok, "ms",
		(json_int_t)answer->ms);

	if (answer->busy && object)
		json_object_set_new(object, "busy", json_true());
	add_text(&object, "version", answer->version);
	add_text(&object, "error", answer->error);
	add_text(&object, "output", answer->output);
	add_text(&object, "rank", answer->rank);
	if (answer->pid && object)
		json_object_set_new(object, "pid", json_integer((json_int_t)answer->pid));
	return line_of(object, ret_line, err);
}

/* ---- parsing ---- */

static int malformed(struct wt_error *err, const char *what)
{
	return wt_error_set(err, EPROTO, "a message of the guest's agent is malformed: %s", what);
}

static int load(const char *line, size_t length, json_t **ret_object, uint64_t *ret_id, struct wt_error *err)
{
	json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
	json_int_t id = json_integer_value(json_object_get(object, "id"));

	if (json_is_object(object) && id > 0 && (uint64_t)id <= ID_MAX) {
		*ret_object = object;
		*ret_id = (uint64_t)id;
		return 0;
	}
	json_decref(object);
	return malformed(err, "it is no object with an id");
}

/* Optional; false: it is there and wrong. An allocated copy. */
static bool take_data(json_t *object, const char *key, char **ret_text)
{
	json_t *value = json_object_get(object, key);

	if (!value)
		return true;
	if (!json_is_string(value) || json_string_length(value) > WT_AGENT_DATA_MAX)
		return false;
	*ret_text = strdup(json_string_value(value));
	return *ret_text != NULL;
}

static bool take_mac(json_t *object, char ret_mac[18])
{
	json_t *value = json_object_get(object, "link_mac");
	const char *text = json_string_value(value);

	if (!value)
		return true;
	if (!text || strlen(text) != 17 || strspn(text, "0123456789abcdef:") != 17)
		return false;
	strcpy(ret_mac, text);
	return true;
}

static bool take_attach(json_t *object, struct wt_agent_request *request)
{
	const char *what = json_string_value(json_object_get(object, "what"));

	if (!wt_device_name_good(what) || !take_mac(object, request->link_mac))
		return false;
	strcpy(request->what, what);
	return true;
}

static bool has_name(enum wt_agent_verb verb)
{
	return verb != WT_AGENT_PING && verb != WT_AGENT_LOOK;
}

static bool has_timeout(enum wt_agent_verb verb)
{
	return verb == WT_AGENT_DETACH || verb == WT_AGENT_ATTACH || verb == WT_AGENT_MESSAGE;
}

static bool take_name(json_t *object, struct wt_agent_request *request)
{
	const char *name = json_string_value(json_object_get(object, "name"));
	json_int_t timeout_ms = json_integer_value(json_object_get(object, "timeout_ms"));

	if (!wt_device_name_good(name))
		return false;
	strcpy(request->name, name);
	if (!has_timeout(request->verb))
		return true;
	if (timeout_ms < 1 || timeout_ms > WT_AGENT_TIMEOUT_MAX_MS)
		return false;
	request->timeout_ms = (uint32_t)timeout_ms;
	return true;
}

int wt_agent_request_parse(
	const char *line, size_t length, struct wt_agent_request *ret_request, struct wt_error *err)
{
	struct wt_agent_request request = { 0 };
	json_t *object;
	const char *verb;
	int r = load(line, length, &object, &request.id, err);

	if (r)
		return r;
	verb = json_string_value(json_object_get(object, "do"));
	for (unsigned i = 1; verb && i < sizeof verbs / sizeof *verbs; i++)
		if (strcmp(verb, verbs[i]) == 0)
			request.verb = (enum wt_agent_verb)i;
	if (!request.verb)
		r = malformed(err, "it asks for what this agent does not know");
	else if (has_name(request.verb) && !take_name(object, &request))
		r = malformed(err, "its name or its timeout");
	else if (request.verb == WT_AGENT_ATTACH && !take_attach(object, &request))
		r = malformed(err, "what there is, or its link_mac");
	else if ((request.verb == WT_AGENT_MESSAGE || request.verb == WT_AGENT_TELL) &&
		 !take_data(object, "data", &request.data))
		r = malformed(err, "its data");
	json_decref(object);
	if (r)
		return r;
	*ret_request = request;
	return 0;
}

static void take_shown(json_t *object, const char *key, char *ret_text, size_t size)
{
	const char *text = json_string_value(json_object_get(object, key));

	if (text)
		wt_printable(text, strlen(text), ret_text, size);
}

/* Optional; false: it is there and wrong. */
static bool take_rank(json_t *object, char ret_rank[WT_DEVICE_NAME_MAX + 1])
{
	const char *rank = json_string_value(json_object_get(object, "rank"));

	if (!rank)
		return true;
	if (!wt_device_name_good(rank))
		return false;
	strcpy(ret_rank, rank);
	return true;
}

int wt_agent_answer_parse(
	const char *line, size_t length, struct wt_agent_answer *ret_answer, struct wt_error *err)
{
	struct wt_agent_answer answer = { 0 };
	json_int_t ms, pid;
	json_t *object;
	int r = load(line, length, &object, &answer.id, err);

	if (r)
		return r;
	pid = json_integer_value(json_object_get(object, "pid"));
	answer.pid = pid > 0 && pid <= INT32_MAX ? (uint32_t)pid : 0;
	ms = json_integer_value(json_object_get(object, "ms"));
	answer.ms = ms > 0 && ms <= WT_AGENT_TIMEOUT_MAX_MS ? (uint32_t)ms : 0;
	answer.ok = json_is_true(json_object_get(object, "ok"));
	answer.busy = json_is_true(json_object_get(object, "busy"));
	take_shown(object, "version", answer.version, sizeof answer.version);
	take_shown(object, "error", answer.error, sizeof answer.error);
	if (!answer.ok && !answer.error[0])
		strcpy(answer.error, "it gives no reason");
	if (!take_rank(object, answer.rank))
		r = malformed(err, "its rank");
	else if (!take_data(object, "output", &answer.output))
		r = malformed(err, "its output");
	json_decref(object);
	if (r)
		return r;
	*ret_answer = answer;
	return 0;
}

void wt_agent_request_clear(struct wt_agent_request *request)
{
	free(request->data);
	request->data = NULL;
}

void wt_agent_answer_clear(struct wt_agent_answer *answer)
{
	free(answer->output);
	answer->output = NULL;
}

/* ---- lines ---- */

char *wt_agent_lines_room(struct wt_agent_lines *lines, size_t *ret_room)
{
	if (lines->length == sizeof lines->bytes) {
		lines->length = 0;
		lines->skipping = true;
	}
	*ret_room = sizeof lines->bytes - lines->length;
	return lines->bytes + lines->length;
}

void wt_agent_lines_add(struct wt_agent_lines *lines, size_t count,
	void (*told)(void *arg, const char *line, size_t length), void *arg)
{
	char *begin = lines->bytes, *newline;
	size_t left = lines->length + count;

	while ((newline = memchr(begin, '\n', left))) {
		size_t length = (size_t)(newline - begin);

		if (!lines->skipping && length)
			told(arg, begin, length);
		lines->skipping = false;
		left -= length + 1;
		begin = newline + 1;
	}
	memmove(lines->bytes, begin, left);
	lines->length = left;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * qmp_reader.c - lines out of bytes, messages out of lines.
 *
 *   1. taken <= scanned <= length <= room.
 *   2. What is kept between calls is at most one line, WT_QMP_LINE_MAX, and what was read with it.
 *   3. Each byte is searched for a newline once, however the input is cut.
 *   4. The first message is the greeting; no other is.
 *
 * A message is a JSON object on one line (QEMU never breaks lines in its control mode). Ids are strings,
 * "wt-" and a number: a number alone could come back as a real. Pure; the caller's thread. Which commands are
 * outstanding it does not know.
 */
#include "qmp_reader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scan.h"

#define NS_PER_S 1000000000ll
#define QMP_ROOM_MIN ((size_t)65536)
#define QMP_ID_PREFIX "wt-"

int wt_qmp_reader_buffer(struct wt_qmp_reader *reader, char **ret_buffer, size_t *ret_room)
{
	size_t more = reader->room ? reader->room : QMP_ROOM_MIN;
	char *grown;

	if (reader->taken) {
		reader->length -= reader->taken;
		reader->scanned -= reader->taken;
		memmove(reader->bytes, reader->bytes + reader->taken, reader->length);
		reader->taken = 0;
	}
	while (more - reader->length < QMP_ROOM_MIN)
		more *= 2;
	if (more != reader->room) {
		grown = realloc(reader->bytes, more);
		if (!grown)
			return -ENOMEM;
		reader->bytes = grown;
		reader->room = more;
	}
	*ret_buffer = reader->bytes + reader->length;
	*ret_room = reader->room - reader->length;
	return 0;
}

void wt_qmp_reader_advance(struct wt_qmp_reader *reader, size_t length)
{
	reader->length += length;
}

static int read_greeting(json_t *json, struct wt_qmp_message *message, struct wt_error *err)
{
	int major, minor, micro;

	if (json_unpack(json, "{s:{s:{s:{s:i,s:i,s:i}}}}", "QMP", "version", "qemu", "major", &major, "minor",
		    &minor, "micro", &micro) ||
		major < 0 || major > 9999 || minor < 0 || minor > 99 || micro < 0 || micro > 99)
		return wt_error_set(err, EPROTO,
			"the socket does not begin with QMP's greeting; is it QEMU's -qmp socket?");
	message->kind = WT_QMP_GREETING;
	message->major = (unsigned)major;
	message->minor = (unsigned)minor;
	message->micro = (unsigned)micro;
	return 0;
}

static uint64_t read_id(json_t *id)
{
	const char *text = json_string_value(id);
	struct wt_scan scan;
	uint64_t value;

	if (!text)
		return 0;
	scan.begin = text;
	scan.end = text + strlen(text);
	if (!wt_scan_literal(&scan, QMP_ID_PREFIX) || !wt_scan_number(&scan, 10, &value) ||
		scan.begin != scan.end)
		return 0;
	return value;
}

static uint64_t read_time(const json_t *timestamp)
{
	json_int_t seconds = json_integer_value(json_object_get(timestamp, "seconds"));
	json_int_t us = json_integer_value(json_object_get(timestamp, "microseconds"));

	if (seconds <= 0 || seconds > INT64_MAX / NS_PER_S || us < 0 || us >= 1000000)
		return 0;
	return (uint64_t)seconds * NS_PER_S + (uint64_t)us * 1000;
}

static int read_message(json_t *json, struct wt_qmp_message *message, struct wt_error *err)
{
	json_t *error = json_object_get(json, "error"), *result = json_object_get(json, "return");

	message->event = json_string_value(json_object_get(json, "event"));
	if (message->event) {
		message->kind = WT_QMP_EVENT;
		message->time_ns = read_time(json_object_get(json, "timestamp"));
		message->data = json_object_get(json, "data");
		return 0;
	}
	message->id = read_id(json_object_get(json, "id"));
	if (json_is_object(error)) {
		message->kind = WT_QMP_REFUSAL;
		message->error_class = json_string_value(json_object_get(error, "class"));
		message->error_text = json_string_value(json_object_get(error, "desc"));
		if (!message->error_class)
			message->error_class = "";
		if (!message->error_text)
			message->error_text = "it gave no reason";
		return 0;
	}
	if (!result)
		return wt_error_set(err, EPROTO, "QEMU sent a QMP message that is neither event nor answer");
	message->kind = WT_QMP_RESULT;
	message->data = result;
	return 0;
}

static int read_line(struct wt_qmp_reader *reader, const char *text, size_t length,
	struct wt_qmp_message *ret_message, struct wt_error *err)
{
	struct wt_qmp_message message = { .bytes = length };
	json_error_t error;
	int r;

	message.json = json_loadb(text, length, 0, &error);
	/* Unsigned 64-bit numbers do not fit jansson's integers; as reals they are near enough. */
	if (!message.json && json_error_code(&error) == json_error_numeric_overflow)
		message.json = json_loadb(text, length, JSON_DECODE_INT_AS_REAL, &error);
	if (!message.json || !json_is_object(message.json))
		r = wt_error_set(err, EPROTO, "%s",
			reader->greeted ? "QEMU sent a QMP line that is not a JSON object"
					: "the socket does not speak QMP; is it QEMU's -qmp socket?");
	else if (!reader->greeted)
		r = read_greeting(message.json, &message, err);
	else
		r = read_message(message.json, &message, err);
	if (r < 0) {
		json_decref(message.json);
		return r;
	}
	reader->greeted = true;
	*ret_message = message;
	return 1;
}

int wt_qmp_reader_next(struct wt_qmp_reader *reader, struct wt_qmp_message *ret_message, struct wt_error *err)
{
	char *newline, *begin;
	size_t length;

	while (reader->length > reader->scanned) {
		newline = memchr(reader->bytes + reader->scanned, '\n', reader->length - reader->scanned);
		reader->scanned = newline ? (size_t)(newline + 1 - reader->bytes) : reader->length;
		if (reader->scanned - reader->taken > WT_QMP_LINE_MAX)
			return wt_error_set(err, EPROTO, "QEMU sent a QMP line of more than %zu MiB",
				WT_QMP_LINE_MAX >> 20);
		if (!newline)
			break;
		begin = reader->bytes + reader->taken;
		length = (size_t)(newline - begin);
		reader->taken = reader->scanned;
		while (length && (begin[length - 1] == '\r' || begin[length - 1] == ' '))
			length--;
		if (length)
			return read_line(reader, begin, length, ret_message, err);
	}
	return 0;
}

void wt_qmp_message_clear(struct wt_qmp_message *message)
{
	json_decref(message->json);
	memset(message, 0, sizeof *message);
}

void wt_qmp_reader_clear(struct wt_qmp_reader *reader)
{
	free(reader->bytes);
	memset(reader, 0, sizeof *reader);
}

char *wt_qmp_format_command(const char *command, json_t *arguments, uint64_t id)
{
	char id_text[32], *text, *line;
	json_t *json;
	size_t length;

	snprintf(id_text, sizeof id_text, QMP_ID_PREFIX "%llu", (unsigned long long)id);
	json = json_pack("{s:s,s:s,s:o*}", "execute", command, "id", id_text, "arguments", arguments);
	text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	if (!text)
		return NULL;
	length = strlen(text);
	line = realloc(text, length + 2);
	if (!line) {
		free(text);
		return NULL;
	}
	memcpy(line + length, "\n", 2);
	return line;
}

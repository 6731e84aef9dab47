/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * qmp_reader.h - turns the bytes that a QMP server sends into messages. Pure.
 */
#ifndef WATARI_QEMU_QMP_READER_H
#define WATARI_QEMU_QMP_READER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/error.h>

#define WT_QMP_LINE_MAX ((size_t)16 << 20) /* bytes */

enum wt_qmp_kind {
	WT_QMP_GREETING = 1,
	WT_QMP_EVENT = 2,
	WT_QMP_RESULT = 3,
	WT_QMP_REFUSAL = 4,
};

/* Pointers live as long as `json`. */
struct wt_qmp_message {
	enum wt_qmp_kind kind;
	json_t *json;            /* the whole message; owned: wt_qmp_message_clear */
	size_t bytes;            /* of its line */
	const char *event;       /* name of an event */
	uint64_t time_ns;        /* of an event, since 1970; 0: it does not say, or makes no sense */
	json_t *data;            /* of an event (or NULL), or a result */
	const char *error_class; /* of a refusal, never NULL there */
	const char *error_text;
	uint64_t id; /* of a result or a refusal; 0: none of ours */
	unsigned major, minor, micro;
};

/* Zeroed before first use. */
struct wt_qmp_reader {
	char *bytes; /* length of them; no newline among the first `scanned`; the first `taken` are done with
		      */
	size_t length, scanned, taken, room;
	bool greeted;
};

/* Where to put input: at least 64 KiB until the next call. -ENOMEM. */
int wt_qmp_reader_buffer(struct wt_qmp_reader *reader, char **ret_buffer, size_t *ret_room);
void wt_qmp_reader_advance(struct wt_qmp_reader *reader, size_t length);
/* 1: a message; 0: more input is needed; -EPROTO: the input is not QMP, the reader must not be used further.
 */
int wt_qmp_reader_next(
	struct wt_qmp_reader *reader, struct wt_qmp_message *ret_message, struct wt_error *err);
void wt_qmp_message_clear(struct wt_qmp_message *message);
void wt_qmp_reader_clear(struct wt_qmp_reader *reader);

/* The line that executes a command; allocated, newline included. arguments (or NULL) is stolen. NULL: no
 * memory. */
char *wt_qmp_format_command(const char *command, json_t *arguments, uint64_t id);

#endif

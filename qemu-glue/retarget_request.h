/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * retarget_request.h - what `watari retarget` asks a job for, and what a job says of it: the JSON of both,
 * and every reason to refuse that is known at once. Pure.
 *
 * A request is {"command": "retarget", "to": HOST:PORT/NAME, "prefer": "old-destination"}, the last one if
 * wanted. It is answered, when it was taken, with {"number": N, "text": SENTENCE}. What comes of it is told
 * by `status`: {"retarget": {"number": N, "state": STATE, "to": ADDRESS, "text": SENTENCE, "base_left_bytes":
 * N}}, null before the first request. STATE is that of source_retarget.h while it is under way; then "done"
 * or "failed". If the guest was stopped when it was asked for: "restarting"; then "restarted" (a new
 * migration has begun), or "aborted". text: why it has failed, or null.
 */
#ifndef WATARI_QEMU_RETARGET_REQUEST_H
#define WATARI_QEMU_RETARGET_REQUEST_H

#include <jansson.h>

#include "source_retarget.h"
#include "target.h"

struct wt_retarget_request {
	char text[WT_TARGET_TEXT_MAX]; /* what address and name point into */
	struct wt_address address;
	const char *name;
	bool spare_source; /* what the old destination has is not pulled from the source */
};

/* What a job knows when it is asked. */
struct wt_retarget_facts {
	const struct wt_source_retarget *machine;
	enum wt_source_state state;
	const char *name;                                   /* of the VM */
	const struct wt_address *addresses[WT_TARGETS_MAX]; /* of the machine's targets that are not free */
	const struct wt_error *replay; /* why the stream cannot be replayed now; NULL, or code 0: it can */
};

struct wt_retarget_report {
	unsigned number; /* of the request; 0: none yet */
	enum wt_retarget_state state;
	bool over, good;          /* over: whether it came to a good end */
	bool restarts;            /* the guest was stopped: a new migration begins */
	const char *to;           /* the address */
	const char *text;         /* NULL: nothing to say */
	uint64_t base_left_bytes; /* that the new destination still lacks of what others have */
};

/* -EINVAL with the sentence. */
int wt_retarget_request_take(json_t *object, struct wt_retarget_request *ret_request, struct wt_error *err);
/* Answers the target's number, which is free or retired; or -errno with the sentence. */
int wt_retarget_request_check(const struct wt_retarget_request *request,
	const struct wt_retarget_facts *facts, struct wt_error *err);
/* A new object. */
json_t *wt_retarget_status(const struct wt_retarget_report *report);

/* What the answer to `status` says of request `number`: 2 it is under way, 1 a new migration has begun, 0
 * done, -errno with the sentence. */
int wt_retarget_outcome(json_t *status, json_int_t number, struct wt_error *err);

/* The command of jobs that cannot change the destination. */
int wt_retarget_elsewhere(void *arg, json_t *request, json_t **ret_result, struct wt_error *err);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * job.h - the control socket of a job, that is of a `watari send` or `watari receive`.
 *
 * A client writes one JSON object per line, {"command": NAME, ...}, and reads one per line, in order:
 * {"return": OBJECT} or {"error": SENTENCE}. A command is answered as soon as it has been taken; what comes
 * of it is told by `status`. Never waits for a client.
 *
 * One thread: the loop's.
 */
#ifndef WATARI_QEMU_JOB_H
#define WATARI_QEMU_JOB_H

#include <jansson.h>

#include <watari/error.h>
#include <watari/limits.h>
#include <watari/loop.h>

#define WT_JOB_LINE_MAX 4096 /* bytes of a request, newline included */

struct wt_job;

/* A table of these ends with name NULL. */
struct wt_job_command {
	const char *name;
	/* request: the whole object, borrowed. Answers 0 and a new object, or -errno with the sentence. Must
	 * not call wt_job_close, and must not wait. */
	int (*run)(void *arg, json_t *request, json_t **ret_result, struct wt_error *err);
};

/* Takes the name and listens. commands is borrowed. -EEXIST: a living job has that name. */
int wt_job_open(struct wt_loop *loop, const char *name, const struct wt_job_command *commands, void *arg,
	struct wt_job **ret_job, struct wt_error *err);
/* Closes all clients, removes the socket. NULL is allowed. */
void wt_job_close(struct wt_job *job);

/* The client's side (job_client.c); waits at most some seconds. request is stolen. *ret_result is a new
 * object. -ENOENT: no such job here; -EREMOTEIO: the job refuses, the sentence is its own. */
int wt_job_ask(const char *name, json_t *request, json_t **ret_result, struct wt_error *err);
/* Asks every job that lives. One that does not answer is given with result NULL and err filled. */
void wt_job_ask_all(const char *command,
	void (*fn)(void *arg, const char *name, json_t *result, const struct wt_error *err), void *arg);

#endif

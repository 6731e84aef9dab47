/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * qmp.h - a client of QEMU's machine protocol (QMP) over its unix socket.
 *
 * Asynchronous on a loop; wt_qmp_call waits, for the time before and after a migration when nothing else has
 * to run (events and other replies that arrive meanwhile are kept, and delivered by the loop later). Replies
 * are matched by id. What QEMU sends is hostile until parsed: lines over 16 MiB, bad JSON and unknown ids end
 * the connection with one sentence.
 *
 * Error codes: EREMOTEIO QEMU refused the command (the text is QEMU's), ENOSYS it does not know the command,
 * ENODEV it has no such device; ETIMEDOUT; ECONNRESET the connection ended; EPROTO it was broken off because
 * of what came. The first three leave the connection intact.
 */
#ifndef WATARI_QEMU_QMP_H
#define WATARI_QEMU_QMP_H

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

#include <watari/error.h>
#include <watari/loop.h>

struct wt_qmp;

struct wt_qmp_events {
	/* An asynchronous event; data may be NULL. Both are borrowed for the call. */
	void (*event)(void *arg, const char *name, json_t *data);
	/* QEMU closed the socket (it ended), or broke the protocol. Called once, from the loop, after the
	 * outstanding commands were answered with an error. wt_qmp_close is still to be called. */
	void (*closed)(void *arg, const struct wt_error *err);
};

/* result is borrowed; NULL when err->code is set (QEMU's own error text is in err->text, with the command's
 * name). err is never NULL. The callback may call everything here, wt_qmp_close too. */
typedef void wt_qmp_reply_fn(void *arg, json_t *result, const struct wt_error *err);

/* Connects, reads the greeting, negotiates capabilities; waits at most timeout_ns. events (copied, or NULL)
 * and its members may be NULL. */
int wt_qmp_open(struct wt_loop *loop, const char *socket_path, uint64_t timeout_ns,
	const struct wt_qmp_events *events, void *arg, struct wt_qmp **ret_qmp, struct wt_error *err);
/* Nothing is called back any more: commands that are outstanding are forgotten. NULL is allowed. */
void wt_qmp_close(struct wt_qmp *qmp);

/* Sends a command; arguments (or NULL) is stolen. reply may be NULL: errors are then ignored. On failure
 * (-ENOTCONN: the connection has ended) reply is not called; otherwise exactly once, unless wt_qmp_close
 * comes first. */
int wt_qmp_execute(
	struct wt_qmp *qmp, const char *command, json_t *arguments, wt_qmp_reply_fn *reply, void *arg);
/* Sends a command and waits. *ret_result (may be NULL) is a new reference. arguments is stolen. */
int wt_qmp_call(struct wt_qmp *qmp, const char *command, json_t *arguments, uint64_t timeout_ns,
	json_t **ret_result, struct wt_error *err);
/* `human-monitor-command`; *ret_text is allocated. */
int wt_qmp_human(
	struct wt_qmp *qmp, const char *line, uint64_t timeout_ns, char **ret_text, struct wt_error *err);

/* The process that sent the greeting (SCM_CREDENTIALS: right also where a manager made the listening socket
 * and QEMU inherited it), else the one that listens (SO_PEERCRED); 0 if unknown. */
pid_t wt_qmp_pid(const struct wt_qmp *qmp);
/* How long ago the event that is being told happened, by QEMU's own word: while a migration ends QEMU tells
 * late. 0: not known. */
uint64_t wt_qmp_event_age_ns(const struct wt_qmp *qmp);
/* "7.2.22", and as major * 10000 + minor * 100 + micro. */
const char *wt_qmp_version(const struct wt_qmp *qmp);
unsigned wt_qmp_version_number(const struct wt_qmp *qmp);

#endif

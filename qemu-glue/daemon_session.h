/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon_session.h - one send or receive in a thread of a daemon.
 *
 * A session shares nothing with another one but the process: it has its loop, its QEMU, its job's socket, its
 * files, and its working directory.
 */
#ifndef WATARI_QEMU_DAEMON_SESSION_H
#define WATARI_QEMU_DAEMON_SESSION_H

#include <jansson.h>

#include <watari/error.h>
#include <watari/loop.h>

#include "daemon.h"

struct wt_daemon_session;

/* Called once from the loop; the session is no more. */
typedef void wt_daemon_ended_fn(void *arg, int code);

/* Takes the descriptors, also if it fails. argv is borrowed for the call. In the loop's thread, as all here.
 */
int wt_daemon_session_start(struct wt_loop *loop, json_t *argv, const int fds[WT_DAEMON_FDS],
	wt_daemon_ended_fn *ended, void *arg, struct wt_daemon_session **ret_session, struct wt_error *err);
/* As a signal would: it ends when it may. */
void wt_daemon_session_end(struct wt_daemon_session *session);

#endif

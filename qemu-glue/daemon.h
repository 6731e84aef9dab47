/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * daemon.h - `watari daemon`: one process in which many sends and receives of a host run.
 *
 * `watari send --daemon ...` reads its options as ever, and gives its words, its standard output and error,
 * and its directory to the daemon over a unix socket (SOCK_SEQPACKET) beside those of jobs (job_place.h),
 * under a name that no job can have. There a thread is the relay: it prints to those files, looks up names
 * from that directory, and its exit code is the answer. When the command ends or is interrupted, its session
 * is told as if by a signal.
 *
 * A request is one message, {"argv": ["send", ...]}, with three descriptors: output, error, directory. The
 * answer is {"error": SENTENCE} if nothing was begun, else {"begun": true}, and at the end {"code": N}.
 */
#ifndef WATARI_QEMU_DAEMON_H
#define WATARI_QEMU_DAEMON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define WT_DAEMON_PLACE ".daemon" /* among jobs */
#define WT_DAEMON_BEGUN "{\"begun\":true}"
#define WT_DAEMON_REQUEST_MAX (64u << 10) /* bytes */
#define WT_DAEMON_FDS 3                   /* output, error, directory */

struct wt_daemon_options {
	unsigned sessions_max;
	uint64_t memory_max; /* bytes of its own; 0: no limit */
	uint64_t pinned_max; /* bytes of all sessions together; 0: as the process is limited */
	bool json;
};

/* Runs until a signal, and then until the last session has ended; answers an exit code (relay.h). */
int wt_daemon_run(const struct wt_daemon_options *options);

/* The client's side (daemon_client.c). The words of a command, before its options are read; a new object. */
json_t *wt_daemon_words(int argc, char **argv);
/* Has the daemon of this host run them, and waits; answers the command's exit code. */
int wt_daemon_ask(json_t *words);

#endif

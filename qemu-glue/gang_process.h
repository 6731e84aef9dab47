/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang_process.h - a command that outlives who has started it: in a session of its own, with its output in a
 * file.
 *
 *   1. While it runs it holds a lock on that file; so anybody who knows the file's name can tell, without its
 * process id, and there is no moment in which it runs and nobody could know.
 *   2. What it prints is read as whole lines, from the beginning, by whoever has started it and by whoever
 * comes later.
 *   3. There is never more than one for a file.
 *
 * What it says on standard error is in a file of the same name with ".err".
 */
#ifndef WATARI_QEMU_GANG_PROCESS_H
#define WATARI_QEMU_GANG_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <watari/error.h>

#define WT_GANG_LINE_MAX 65536u

struct wt_gang_process {
	char *path, *error_path;
	int fd;               /* of the output, for reading; -1: it was never started */
	pid_t pid;            /* 0: somebody else has started it */
	bool over;            /* it has ended, and all that it has printed was read */
	bool ended;           /* it has ended */
	int code;             /* its exit code; -1: killed, or not known */
	char *buffer;         /* what was read */
	size_t length, taken; /* in it, and of that the line that was answered last */
};

/* path is copied. */
int wt_gang_process_init(struct wt_gang_process *process, const char *path);
/* words end with NULL. -EBUSY: one still runs with that file. A process that was over may be started again.
 */
int wt_gang_process_start(struct wt_gang_process *process, char *const *words, struct wt_error *err);
/* One that was started by somebody who is gone. It is over at once if there is no such file. */
void wt_gang_process_find(struct wt_gang_process *process);
bool wt_gang_process_begun(const struct wt_gang_process *process);
/* The next line, without its end, in the process's buffer until the next call; NULL: none yet, or it is over.
 */
const char *wt_gang_process_line(struct wt_gang_process *process);
/* The last line of its standard error, made printable; "": none. */
const char *wt_gang_process_said(const struct wt_gang_process *process, char *ret_text, size_t size);
/* Ends one that was started here and has not ended yet: it is over when that was noticed. */
void wt_gang_process_kill(const struct wt_gang_process *process);
/* Removes the files of one of before. -EBUSY: it still runs. */
int wt_gang_process_forget(struct wt_gang_process *process, struct wt_error *err);
/* ... of one that may run on: it does not matter what it prints. */
int wt_gang_process_drop(struct wt_gang_process *process, struct wt_error *err);
/* Does not end it. */
void wt_gang_process_close(struct wt_gang_process *process);

#endif

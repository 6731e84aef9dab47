/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * task.h - something that blocks, done by a thread while the loop goes on, and that may be abandoned.
 *
 *   1. Of `done` and `drop` exactly one is called, once, after `run` has returned; it owns arg from then on.
 *   2. `done` is called from the loop. `drop` is called, for a task that was abandoned, by its thread; or out
 *      of wt_task_abandon, if the thread had ended already.
 *   3. Nothing here waits for a thread. What `run` uses has to last until `done` or `drop`.
 *
 * Started and abandoned in the loop's thread.
 */
#ifndef WT_TASK_H
#define WT_TASK_H

#include <watari/error.h>
#include <watari/loop.h>

struct wt_task;

typedef void wt_task_fn(void *arg);

/* what: for the error, "cannot start a thread to ..." */
int wt_task_start(struct wt_loop *loop, const char *what, wt_task_fn *run, wt_task_fn *done, wt_task_fn *drop,
	void *arg, struct wt_task **ret_task, struct wt_error *err);
/* `done` will not be called. The task is the thread's. */
void wt_task_abandon(struct wt_task *task);

#endif

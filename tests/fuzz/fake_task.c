/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fake_task.c - what blocks, as a fuzzer has it, in place of task.c: done by the loop, in its next turn, so
 * that an input does the same each time. One that is abandoned before is done then, for nothing.
 */
#include "task.h"

#include <errno.h>
#include <stdlib.h>

struct wt_task {
	struct wt_loop *loop;
	struct wt_timer timer;
	wt_task_fn *run, *done, *drop;
	void *arg;
};

static void finish(void *arg, uint64_t now_ns)
{
	struct wt_task task = *(struct wt_task *)arg;

	free(arg);
	task.run(task.arg);
	task.done(task.arg);
}

int wt_task_start(struct wt_loop *loop, const char *what, wt_task_fn *run, wt_task_fn *done, wt_task_fn *drop,
	void *arg, struct wt_task **ret_task, struct wt_error *err)
{
	struct wt_task *task = calloc(1, sizeof *task);

	if (!task)
		return wt_error_set(err, ENOMEM, "no memory for a thread to %s", what);
	*task = (struct wt_task){ .loop = loop, .run = run, .done = done, .drop = drop, .arg = arg };
	wt_loop_timer_set(loop, &task->timer, wt_loop_now_ns(loop), finish, task);
	*ret_task = task;
	return 0;
}

void wt_task_abandon(struct wt_task *task)
{
	if (!task)
		return;
	wt_loop_timer_clear(task->loop, &task->timer);
	task->run(task->arg);
	task->drop(task->arg);
	free(task);
}

void wt_task_leave(wt_task_fn *run, void *arg)
{
	run(arg);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * task.c - a thread whose end the loop hears of, unless it has lost interest. See task.h.
 *
 * Owns the eventfd by which the thread tells its end. Both sides hold the task until they are through with
 * it; which of them may have arg after `run`, an atomic exchange of the phase settles: the thread makes it
 * ENDED, the loop ABANDONED, and who finds the other's mark there came last.
 */
#include "task.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum phase { RUNNING, ENDED, ABANDONED };

struct wt_task {
	struct wt_loop *loop;
	wt_task_fn *run, *done, *drop;
	void *arg;
	int ended;
	atomic_int phase;
	atomic_uint holders; /* thread and loop */
};

static void let_go(struct wt_task *task)
{
	if (atomic_fetch_sub(&task->holders, 1) > 1)
		return;
	if (task->ended >= 0)
		close(task->ended);
	free(task);
}

static void *task_main(void *arg)
{
	struct wt_task *task = arg;
	uint64_t one = 1;

	task->run(task->arg);
	if (atomic_exchange(&task->phase, ENDED) == ABANDONED)
		task->drop(task->arg);
	else
		while (write(task->ended, &one, sizeof one) < 0 && errno == EINTR)
			;
	let_go(task);
	return NULL;
}

static void on_ended(void *arg, uint32_t events)
{
	struct wt_task *task = arg;
	wt_task_fn *done = task->done;
	void *done_arg = task->arg;
	int phase = atomic_load(&task->phase);

	assert(phase == ENDED);
	(void)phase;
	wt_loop_fd_clear(task->loop, task->ended);
	let_go(task);
	done(done_arg);
}

/* 0, or why not, positive. */
static int thread_start(void *(*main_fn)(void *), void *arg)
{
	pthread_attr_t attr;
	sigset_t all, before;
	pthread_t thread;
	int r;

	r = pthread_attr_init(&attr);
	if (r)
		return r;
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&thread, &attr, main_fn, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return r;
}

int wt_task_start(struct wt_loop *loop, const char *what, wt_task_fn *run, wt_task_fn *done, wt_task_fn *drop,
	void *arg, struct wt_task **ret_task, struct wt_error *err)
{
	struct wt_task *task = calloc(1, sizeof *task);
	int r;

	if (!task)
		return wt_error_set(err, ENOMEM, "no memory for a thread to %s", what);
	*task = (struct wt_task){ .loop = loop, .run = run, .done = done, .drop = drop, .arg = arg };
	task->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = task->ended < 0 ? -errno : wt_loop_fd_set(loop, task->ended, EPOLLIN, on_ended, task);
	if (!r) {
		task->holders = 2;
		r = -thread_start(task_main, task);
		if (r)
			wt_loop_fd_clear(loop, task->ended);
	}
	if (r) {
		task->holders = 1;
		let_go(task);
		return wt_error_set(err, -r, "cannot start a thread to %s: %s", what, strerror(-r));
	}
	*ret_task = task;
	return 0;
}

void wt_task_abandon(struct wt_task *task)
{
	if (!task)
		return;
	wt_loop_fd_clear(task->loop, task->ended);
	if (atomic_exchange(&task->phase, ABANDONED) == ENDED)
		task->drop(task->arg);
	let_go(task);
}

struct left {
	wt_task_fn *run;
	void *arg;
};

static void *left_main(void *arg)
{
	struct left left = *(struct left *)arg;

	free(arg);
	left.run(left.arg);
	return NULL;
}

void wt_task_leave(wt_task_fn *run, void *arg)
{
	struct left *left = malloc(sizeof *left);

	if (left)
		*left = (struct left){ .run = run, .arg = arg };
	if (left && thread_start(left_main, left) == 0)
		return;
	free(left);
	run(arg);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * populate.c - a ring of runs, and the thread that populates them in order. See populate.h.
 *
 *   1. taken <= added <= taken + RUNS_MAX; run n lies in slot n % RUNS_MAX. Runs in [taken, added) wait.
 *   2. A run that waits may grow, up to RUN_BYTES_MAX: how long close has to wait.
 *   3. The thread is woken only while it sleeps.
 *
 * Populated for reading: of memory that is shared the kernel then maps several pages at once, and for
 * writing, too. The lock guards everything but the thread.
 */
#include "populate.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#define RUNS_MAX 1024u
#define RUN_BYTES_MAX (8u << 20)

struct run {
	uint8_t *base;
	size_t length;
};

struct wt_populate {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work;
	bool sleeping, stop;
	uint64_t added, taken;
	struct run runs[RUNS_MAX];
};

static void *populate_main(void *arg)
{
	struct wt_populate *p = arg;

	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		struct run run;

		if (p->taken == p->added) {
			p->sleeping = true;
			pthread_cond_wait(&p->work, &p->lock);
			p->sleeping = false;
			continue;
		}
		run = p->runs[p->taken++ % RUNS_MAX];
		pthread_mutex_unlock(&p->lock);
		while (madvise(run.base, run.length, MADV_POPULATE_READ) && errno == EINTR)
			;
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

int wt_populate_open(struct wt_populate **ret_populate)
{
	struct wt_populate *p = calloc(1, sizeof *p);
	sigset_t all, before;
	int r;

	if (!p)
		return -ENOMEM;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&p->thread, NULL, populate_main, p);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r) {
		pthread_cond_destroy(&p->work);
		pthread_mutex_destroy(&p->lock);
		free(p);
		return -r;
	}
	*ret_populate = p;
	return 0;
}

void wt_populate_close(struct wt_populate *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

void wt_populate_add(struct wt_populate *p, uint8_t *base, size_t length)
{
	struct run *last;

	pthread_mutex_lock(&p->lock);
	last = p->added > p->taken ? &p->runs[(p->added - 1) % RUNS_MAX] : NULL;
	if (last && last->base + last->length == base && last->length + length <= RUN_BYTES_MAX)
		last->length += length;
	else if (p->added - p->taken < RUNS_MAX)
		p->runs[p->added++ % RUNS_MAX] = (struct run){ base, length };
	if (p->sleeping)
		pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thread.c - threads of ours inside somebody else's program; see thread.h.
 */
#include "thread.h"

#include <signal.h>
#include <stddef.h>

int wt_thread_start(void *(*main)(void *arg), void *arg, pthread_t *ret_thread)
{
	sigset_t before;
	sigset_t all;
	int status;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	status = pthread_create(ret_thread, NULL, main, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -status;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thread.c - threads of ours inside somebody else's program; see thread.h.
 */
#include "thread.h"

#include <signal.h>
#include <stddef.h>

int wt_thread_start(void *(*main)(void *arg), void *arg, pthread_t *ret_thread)
{
	pthread_t thread;
	sigset_t before;
	sigset_t all;
	int status;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	status = pthread_create(&thread, NULL, main, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (status)
		return -status;
	if (ret_thread)
		*ret_thread = thread;
	else
		pthread_detach(thread);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thread.h - threads of ours inside somebody else's program.
 */
#ifndef WATARI_MPI_THREAD_H
#define WATARI_MPI_THREAD_H

#include <pthread.h>

/*
 * Starts a thread that takes no signal: those are the program's. ret_thread NULL: nobody joins it. 0 or
 * -errno.
 */
int wt_thread_start(void *(*main)(void *arg), void *arg, pthread_t *ret_thread);

#endif

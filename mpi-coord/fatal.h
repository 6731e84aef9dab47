/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fatal.h - the end of a rank that cannot go on.
 */
#ifndef WATARI_MPI_FATAL_H
#define WATARI_MPI_FATAL_H

/*
 * Says on standard error what is missing, and ends the process by SIGABRT, as Open MPI does itself: a message
 * or a completion that cannot be kept would be lost in silence. Any thread.
 */
_Noreturn void wt_fatal(const char *what);

#endif

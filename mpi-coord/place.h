/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * place.h - where the sockets of a job's ranks are on this host.
 */
#ifndef WATARI_MPI_PLACE_H
#define WATARI_MPI_PLACE_H

#include <stdbool.h>
#include <stddef.h>

#include <watari/error.h>

#define WT_PLACE_MAX 80 /* so that a socket in it fits into the kernel's limit */

/*
 * The directory of the job: $XDG_RUNTIME_DIR/watari/mpi/NAME, or /run/watari/mpi/NAME. make: it is made,
 * private to this user, with what is missing above it.
 */
int wt_place_find(const char *name, bool make, char ret_path[WT_PLACE_MAX], struct wt_error *err);

/* Makes the directory, private to this user, with what is missing above it, or sees that it is private. */
int wt_place_make(const char *directory, struct wt_error *err);

#endif

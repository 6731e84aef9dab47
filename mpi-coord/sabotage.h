/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sabotage.h - errors made on purpose, in test builds only, to prove that the checks find them.
 *
 * WATARI_SABOTAGE=HOW in the environment of a rank, for one in 13 messages that it sends:
 *
 *   mpi_drop: never sent, mpi_double: sent twice, mpi_corrupt: one bit of it is wrong
 *
 * mpi_stale: registrations of memory that has gone away are used on.
 * WATARI_DIE_BEFORE=POINT in the environment of `watari-mpi migrate`, `checkpoint` and `restart`: it is
 * killed there (command_migrate.c, command_checkpoint.c).
 *
 * Without the CMake option WATARI_SABOTAGE there is nothing.
 */
#ifndef WATARI_MPI_SABOTAGE_H
#define WATARI_MPI_SABOTAGE_H

#include "mesh_internal.h"

#ifdef WATARI_SABOTAGE
/* true: the item needs no sending any more. Under the mesh's lock. */
bool wt_sabotage_message(struct wt_mesh_peer *peer, struct wt_mesh_item *item);
/* Whether it does that to some: no message is sent but by way of it. */
bool wt_sabotage_messages(void);
/* true: notes of memory that went away are to be lost. */
bool wt_sabotage_gone(void);
void wt_sabotage_before(const char *point);
#else
static inline bool wt_sabotage_message(struct wt_mesh_peer *peer, struct wt_mesh_item *item)
{
	return false;
}

static inline bool wt_sabotage_messages(void)
{
	return false;
}

static inline bool wt_sabotage_gone(void)
{
	return false;
}

static inline void wt_sabotage_before(const char *point)
{
}
#endif

#endif

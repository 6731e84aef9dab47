/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rank.h - a rank's control thread: takes the coordinator's orders on a unix socket, admits other ranks'
 * connections, and moves the bytes while the rank is quiesced.
 */
#ifndef WATARI_MPI_RANK_H
#define WATARI_MPI_RANK_H

#include <watari/error.h>

#include "mesh.h"

struct wt_rank;

struct wt_rank_options {
	struct wt_mesh_name name;
	uint32_t size;         /* of the job */
	const char *directory; /* of the control socket; NULL: no orders are taken */
	/* Attaches the mesh, at the addresses at which other ranks reach this one; they may have changed. */
	int (*attach)(struct wt_mesh *mesh, uint32_t epoch, struct wt_error *err);
};

/* The mesh is attached already. It, and what options points to, must outlive the rank. */
int wt_rank_open(struct wt_mesh *mesh, const struct wt_rank_options *options, struct wt_rank **ret_rank,
	struct wt_error *err);
/* Tells the coordinator that this rank leaves, and ends the thread. */
void wt_rank_close(struct wt_rank *rank);

/* DIRECTORY/JOB.RANK.sock; -ENAMETOOLONG if that is longer than the kernel's limit. */
int wt_rank_socket_path(const char *directory, struct wt_mesh_name name, char *ret_path, size_t size);

#endif

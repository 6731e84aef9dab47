/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fabrics.h - over which fabrics, and at which of this host's addresses, a rank is reached.
 */
#ifndef WATARI_MPI_FABRICS_H
#define WATARI_MPI_FABRICS_H

#include <watari/error.h>

#include "mesh.h"

/*
 * As the user gives them; NULL or empty: the default. An address, or a network (10.1.0.0/16, fd00:1::/64):
 * this host's address in it, so that one word is right on all hosts.
 */
struct wt_fabrics {
	const char *host;       /* default: the first that is up and not loopback, else loopback */
	const char *verbs_host; /* of an RDMA device; default: the first that has one */
	const char *fabrics;    /* "verbs,tcp" (default), "tcp", "verbs" */
};

/*
 * Attaches the mesh: over tcp, and over verbs too if it may and there is a device. *ret_note is set if it is
 * without one that was named. An error, and nothing is attached, if there is none and only verbs is wanted.
 */
int wt_fabrics_attach(struct wt_mesh *mesh, const struct wt_fabrics *wanted, uint32_t epoch,
	struct wt_error *ret_note, struct wt_error *err);

#endif

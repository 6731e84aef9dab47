/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * replica_server.h - `watari replica`: serves guest RAM in a directory (docs/REPLICA.md) to destinations on
 * other hosts, which read what is still right of it.
 */
#ifndef WATARI_QEMU_REPLICA_SERVER_H
#define WATARI_QEMU_REPLICA_SERVER_H

#include "relay.h"

struct wt_replica_server_options {
	struct wt_relay_options common; /* no QMP, no job */
	struct wt_address listen;
	const char *directory;
	unsigned paths; /* to each destination; 0: a default */
};

/* Serves until it is told to end (SIGINT, SIGTERM); answers an exit code (relay.h). */
int wt_replica_server_run(const struct wt_replica_server_options *options);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination.h - `watari receive`: awaits a guest for a QEMU that was started with `-incoming defer -S`.
 */
#ifndef WATARI_QEMU_DESTINATION_H
#define WATARI_QEMU_DESTINATION_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/channel.h>

#include "relay.h"

struct wt_destination_options {
	struct wt_relay_options common;
	struct wt_address listen;
	const char *data_host;          /* where data connections are awaited; NULL: where `listen` says */
	const char *replica;            /* directory with an old copy of the guest's RAM, or NULL */
	struct wt_address replica_peer; /* of a watari replica; port 0: none */
	const char *replica_vm;         /* ... and whose memory it has */
	bool reuse_memory;              /* this QEMU's RAM itself has old content of the guest */
	bool common_memory;             /* the source's memory is this QEMU's, too */
	uint64_t wait_ns;               /* for a source to come; 0: for ever */
};

/* Receives one guest; answers an exit code (relay.h). */
int wt_destination_run(const struct wt_destination_options *options);

#endif

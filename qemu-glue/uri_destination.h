/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uri_destination.h - `watari receive` as QEMU's `-incoming exec:...`, and `watari relay --incoming`: awaits
 * a guest for a QEMU of which nothing is known but its stream's end and its memory.
 */
#ifndef WATARI_QEMU_URI_DESTINATION_H
#define WATARI_QEMU_URI_DESTINATION_H

#include <stdint.h>

#include <watari/channel.h>

#include "ram_search.h"
#include "relay.h"

struct wt_uri_destination_options {
	struct wt_relay_options common;
	struct wt_address listen;
	const char *data_host;
	uint64_t wait_ns;         /* for a source to come; 0: for ever */
	uint64_t load_timeout_ns; /* from COMMIT until QEMU has loaded the guest */
	const char
		*incoming_path; /* the unix socket on which QEMU listens; NULL: the feed is standard output */
	pid_t pid;              /* QEMU; 0: the parent process, or who listens at incoming_path */
	struct wt_ram_hint hints[WT_RAM_HINTS_MAX];
	unsigned hint_count;
};

/* Receives one guest; answers an exit code (relay.h). */
int wt_uri_destination_run(const struct wt_uri_destination_options *options);

#endif

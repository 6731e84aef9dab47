/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * uri_source.h - `watari send` as QEMU's `migrate "exec:..."`, and `watari relay --listen`: moves the guest
 * of a QEMU that was told to migrate to us, and of which nothing is known but its stream and its memory.
 */
#ifndef WATARI_QEMU_URI_SOURCE_H
#define WATARI_QEMU_URI_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/channel.h>

#include "ram_search.h"
#include "relay.h"

struct wt_uri_source_options {
	struct wt_relay_options common;
	struct wt_address peer;
	unsigned paths;                 /* data connections; 0: a default */
	uint64_t switchover_timeout_ns; /* from RAM's end until the destination holds everything */
	uint64_t confirm_timeout_ns;    /* from COMMIT until the destination's word */
	bool verify;
	const char *listen_path; /* a unix socket to make for QEMU; NULL: the stream is standard input */
	pid_t pid;               /* QEMU; 0: the parent process, or who connects to listen_path */
	struct wt_ram_hint hints[WT_RAM_HINTS_MAX];
	unsigned hint_count;
};

/* Moves one guest; answers an exit code (relay.h). *ret_over (or NULL): no use to try another one (a signal
 * came, or it could not even begin). */
int wt_uri_source_run(const struct wt_uri_source_options *options, bool *ret_over);

#endif

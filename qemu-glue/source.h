/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * source.h - `watari send`: drives a source QEMU over QMP and moves its guest to a destination relay.
 */
#ifndef WATARI_QEMU_SOURCE_H
#define WATARI_QEMU_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include <watari/channel.h>

#include "relay.h"

#define WT_SOURCE_CHANNELS_MAX 255 /* QEMU's own limit */

/* How often QEMU is made to ask which pages a guest that writes much has written (convergence.h). */
enum wt_dirty_sync {
	WT_DIRTY_SYNC_AUTO, /* often where QEMU's log of them is exact */
	WT_DIRTY_SYNC_OFTEN,
	WT_DIRTY_SYNC_SELDOM, /* once in each pass over RAM */
};

struct wt_source_options {
	struct wt_relay_options common;
	struct wt_address peer;
	unsigned paths;    /* data connections; 0: a default */
	unsigned channels; /* that QEMU writes its stream to; above 1: multifd */
	uint64_t downtime_limit_ms;
	uint64_t switchover_timeout_ns; /* from the guest's stop to READY */
	uint64_t max_rate;              /* bytes per second that QEMU may send; 0: no limit */
	uint64_t give_up_ns;            /* from the start to the guest's stop; 0: for ever */
	enum wt_dirty_sync dirty_sync;
	const char *keep_replica; /* directory to keep the guest's RAM in when it has moved; NULL: not */
	bool verify, keep_source, shared_storage, auto_converge;
	bool no_warm_up;    /* memory is not pulled before devices leave */
	bool common_memory; /* both hosts have the guest's memory mapped: none of it is moved */
	bool continuable;   /* QEMU sends the RAM of a paused guest, too */
	bool no_feed;       /* QEMU writes all of guest RAM, whatever is preloaded */
};

/* Runs one migration to its end; answers an exit code. */
int wt_source_run(const struct wt_source_options *options);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * handover.h - `watari handover`: a guest goes from one QEMU to another on the same host, and its RAM stays
 * where it is.
 *
 * Both QEMUs have the same RAM mapped, which is proven before anything begins. The old one migrates into the
 * new one through this process; pages of that RAM are left out. Who runs is decided by the machines of
 * source_switch.h and destination_switch.h, which here are two ends of one process.
 */
#ifndef WATARI_QEMU_HANDOVER_H
#define WATARI_QEMU_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "relay.h"

#define WT_HANDOVER_TIMEOUT_NS 2000000000ull /* a default for switchover_timeout_ns */

struct wt_handover_options {
	struct wt_relay_options common; /* qmp_path: of the old QEMU */
	const char *new_qmp_path;
	const char *new_agent;          /* the agent's socket of the new QEMU, with common.agent; or NULL */
	uint64_t switchover_timeout_ns; /* from the guest's stop until the new QEMU has loaded it */
	bool keep_old;                  /* leave the old QEMU, stopped */
};

/* Runs one handover to its end; answers an exit code. */
int wt_handover_run(const struct wt_handover_options *options);

#endif

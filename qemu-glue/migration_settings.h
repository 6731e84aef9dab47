/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * migration_settings.h - what a driven migration changes at the source QEMU: some migration capabilities and
 * parameters. Read before, written, and after an abort written as they were.
 */
#ifndef WATARI_QEMU_MIGRATION_SETTINGS_H
#define WATARI_QEMU_MIGRATION_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "qmp.h"

struct wt_migration_settings {
	bool return_path, events, pause_before_switchover, multifd, auto_converge, ignore_shared,
		switchover_ack;
	bool has_switchover_ack;    /* QEMU knows it (8.1 and later) */
	uint64_t max_bandwidth;     /* bytes per second */
	uint64_t downtime_limit_ms; /* QEMU stops the guest when the rest fits into it */
	uint64_t multifd_channels;  /* 1 to 255, also while multifd is off */
};

/* Both wait for QEMU's answer; errors are those of wt_qmp_call. */
int wt_migration_settings_read(
	struct wt_qmp *qmp, struct wt_migration_settings *ret_settings, struct wt_error *err);
int wt_migration_settings_write(
	struct wt_qmp *qmp, const struct wt_migration_settings *settings, struct wt_error *err);

#endif

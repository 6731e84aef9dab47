/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * gang.h - `watari gang`: several guests move together.
 */
#ifndef WATARI_QEMU_GANG_H
#define WATARI_QEMU_GANG_H

#include <stdbool.h>

struct wt_gang_options {
	const char *plan, *journal; /* paths */
	bool resume, json;
};

/* Runs, or goes on with, a gang to its end; answers an exit code (relay.h). */
int wt_gang_run(const struct wt_gang_options *options);

#endif

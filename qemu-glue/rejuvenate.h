/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rejuvenate.h - `watari rejuvenate`: hosts are renewed, one after the other, and their guests run on.
 */
#ifndef WATARI_QEMU_REJUVENATE_H
#define WATARI_QEMU_REJUVENATE_H

#include <stdbool.h>

#include "rejuvenate_order.h"

struct wt_rejuvenate_options {
	const char *plan, *journal; /* paths */
	bool resume, homeward, json;
	unsigned found_count;
	char *found[WT_REJUVENATE_GUESTS_MAX]; /* GUEST=home, GUEST=away */
};

/* Runs, or goes on with, a rejuvenation until its end, or until it must stop; answers an exit code (relay.h).
 */
int wt_rejuvenate_run(const struct wt_rejuvenate_options *options);

#endif

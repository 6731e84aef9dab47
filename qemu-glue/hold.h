/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * hold.h - a relay waits before a step until `watari proceed` says go on, or a deadline has passed: so that
 * several migrations keep in step. See gang_order.h.
 *
 * A relay holds once at most. Embedded in its owner, zeroed before first use; the loop's thread.
 */
#ifndef WATARI_QEMU_HOLD_H
#define WATARI_QEMU_HOLD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include <watari/error.h>
#include <watari/loop.h>

#include "report.h"

#define WT_HOLD_DEFAULT_NS 60000000000ull

struct wt_hold {
	struct wt_loop *loop;
	struct wt_timer timer;
	bool held; /* now */
	bool was;  /* it was, or is */
	/* told: by the operator; otherwise the deadline has passed. */
	void (*ended)(void *arg, bool told);
	void *arg;
};

/*
 * Holds for timeout_ns at most, and says so as an event "held" of the report; text is for people. False: it
 * has held already, or timeout_ns is 0, and ended will not be called.
 */
bool wt_hold_begin(struct wt_hold *hold, struct wt_loop *loop, struct wt_report *report, uint64_t timeout_ns,
	const char *text, void (*ended)(void *arg, bool told), void *arg);
/* The job's command: ended is called. -EBUSY: it does not hold. */
int wt_hold_proceed(struct wt_hold *hold, json_t **ret_result, struct wt_error *err);
/* It holds no more, if it did: ended is called as at the deadline; or is not. */
void wt_hold_end(struct wt_hold *hold);
void wt_hold_clear(struct wt_hold *hold);

#endif

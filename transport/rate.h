/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rate.h - a limit on bytes per second: a token bucket that may get into debt.
 *
 * Bytes may go while the bucket is not in debt, and each portion takes its bytes out of it, whole. So over
 * any time t at most rate x (t + WT_RATE_BURST_NS) bytes go, and one portion more.
 *
 * Pure: no clock.
 */
#ifndef WT_RATE_H
#define WT_RATE_H

#include <stdint.h>

#define WT_RATE_BURST_NS 50000000ull /* what the bucket holds after a pause */

struct wt_rate {
	uint64_t bytes_per_s; /* 0: no limit */
	uint64_t paid_ns;     /* when the bucket is out of debt; long ago: it is full */
};

/* What an earlier limit left of debt is forgiven. */
void wt_rate_limit(struct wt_rate *rate, uint64_t bytes_per_s, uint64_t now_ns);
/* How long the next portion has to wait; 0: it may go now. */
uint64_t wt_rate_wait_ns(const struct wt_rate *rate, uint64_t now_ns);
void wt_rate_pay(struct wt_rate *rate, uint64_t bytes, uint64_t now_ns);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rate.c - the token bucket. See rate.h. What is kept is not the bytes in it but the time at which the debt
 * is paid: each byte puts that off by the time in which it is earned.
 */
#include "rate.h"

void wt_rate_limit(struct wt_rate *rate, uint64_t bytes_per_s, uint64_t now_ns)
{
	rate->bytes_per_s = bytes_per_s;
	rate->paid_ns = now_ns;
}

uint64_t wt_rate_wait_ns(const struct wt_rate *rate, uint64_t now_ns)
{
	return rate->bytes_per_s && rate->paid_ns > now_ns ? rate->paid_ns - now_ns : 0;
}

void wt_rate_pay(struct wt_rate *rate, uint64_t bytes, uint64_t now_ns)
{
	uint64_t full_ns = now_ns > WT_RATE_BURST_NS ? now_ns - WT_RATE_BURST_NS : 0;

	if (!rate->bytes_per_s)
		return;
	if (rate->paid_ns < full_ns)
		rate->paid_ns = full_ns;
	rate->paid_ns += (uint64_t)((double)bytes / (double)rate->bytes_per_s * 1e9);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* spin.c - see spin.h. */
#include "spin.h"

#define BUDGET_MIN_NS 1000ull /* less is not worth looking at the clock */

bool wt_spin_again(struct wt_spin *spin, uint64_t now_ns)
{
	if (!spin->since_ns)
		spin->since_ns = now_ns;
	return now_ns - spin->since_ns < spin->budget_ns;
}

void wt_spin_news(struct wt_spin *spin, uint64_t now_ns)
{
	uint64_t wait_ns = now_ns - spin->since_ns, wanted_ns = 2 * wait_ns;

	if (!spin->since_ns)
		return;
	spin->since_ns = 0;
	if (wait_ns > WT_SPIN_MAX_NS)
		wanted_ns = 0;
	else if (wanted_ns > WT_SPIN_MAX_NS)
		wanted_ns = WT_SPIN_MAX_NS;
	spin->budget_ns = (3 * spin->budget_ns + wanted_ns) / 4;
	if (spin->budget_ns < BUDGET_MIN_NS && !wanted_ns)
		spin->budget_ns = 0;
}

void wt_spin_rest(struct wt_spin *spin)
{
	spin->since_ns = 0;
}

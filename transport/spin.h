/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * spin.h - how long to poll before sleeping: as long as it has paid of late. Pure.
 *
 * A wait that ended within WT_SPIN_MAX_NS could have been polled through; the budget follows twice the length
 * of such waits. A longer one could not, and takes a part of the budget away. Waits are told also when they
 * were slept through, so a budget that has gone comes back when waits become short. What is polled in vain is
 * never more than the budget for each sleep.
 */
#ifndef WT_SPIN_H
#define WT_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#define WT_SPIN_MAX_NS 50000ull /* about what a sleep and a wake-up cost, several times over */

/* Zeroed before first use. */
struct wt_spin {
	uint64_t budget_ns;
	uint64_t since_ns; /* nothing has come since then; 0: something has */
};

/* Nothing has come. True: look again; false: sleep. */
bool wt_spin_again(struct wt_spin *spin, uint64_t now_ns);
/* Something has come. */
void wt_spin_news(struct wt_spin *spin, uint64_t now_ns);
/* Nothing is awaited any more: what follows is no wait. */
void wt_spin_rest(struct wt_spin *spin);

#endif

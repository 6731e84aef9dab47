/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * convergence.h - a guest that writes nearly as fast as its pages get across: how QEMU comes to stop it all
 * the same.
 *
 * QEMU goes over RAM in passes, and asks which pages have become dirty when one ends. A page that is written
 * before the pass comes to it is sent, and once more in the next pass, for nothing: half of all that is
 * written. But when what is left fits into its limit on downtime QEMU asks at each of its turns, of 50 ms at
 * most, and what is left is a set of pages: each is sent once after it was written, however often that was.
 *
 * A QEMU that waits for an acknowledgement before it stops the guest (capability switchover-ack, from 8.1 on)
 * can be told a limit without end, and asks at each turn: always, of a guest known as hard; a few times in
 * each pass that takes long, so that a hard guest is known before it ends. When what is left fits into the
 * true limit, that is told, and then the acknowledgement is given. An easy guest gets it as soon as it has
 * little to go: QEMU asks without a pause where it has nothing to send and must not stop the guest.
 *
 *   1. The acknowledgement is given once, when QEMU has had the true limit for WT_CONVERGENCE_TOLD_NS: what
 *      happens from then on is between QEMU and that limit.
 *   2. What is little fits, whatever the rate is taken for: nobody waits for ever.
 *
 * Pure.
 */
#ifndef WATARI_QEMU_CONVERGENCE_H
#define WATARI_QEMU_CONVERGENCE_H

#include <stdbool.h>
#include <stdint.h>

#define WT_CONVERGENCE_LITTLE_BYTES (64u << 10)
#define WT_CONVERGENCE_PARTS 16u                      /* of a long pass: QEMU asks so often in it */
#define WT_CONVERGENCE_LONG_NS 2000000000ull          /* ... that takes at least so long */
#define WT_CONVERGENCE_ASSUMED_BYTES_PER_S 100000000u /* while no rate is known */
#define WT_CONVERGENCE_ASK_NS 150000000ull            /* QEMU takes a new limit within 100 ms */
#define WT_CONVERGENCE_TOLD_NS 200000000ull
#define WT_CONVERGENCE_EPOCH_MIN_NS 50000000ull
#define WT_CONVERGENCE_NO_LIMIT_MS 2000000u /* the most that QEMU takes */

struct wt_convergence {
	bool able;        /* QEMU waits for the acknowledgement, or did */
	bool waits;       /* ... and does now */
	bool turns;       /* QEMU is to ask at each turn */
	bool telling;     /* turns has changed in the step before this one */
	uint64_t told_ns; /* when QEMU had been told for sure */
};

struct wt_convergence_figures {
	bool hard;                 /* the guest writes more than half of what gets across */
	uint64_t remaining_bytes;  /* in QEMU */
	uint64_t deferred_bytes;   /* of pages that wait to be announced, see wt_server_defer */
	uint64_t rate_bytes_per_s; /* of all pages, zero or not; 0: not known */
	uint64_t limit_ms;         /* the true one */
};

enum wt_convergence_do {
	WT_CONVERGENCE_DO_LIMIT = 1, /* turns has changed: QEMU's limit is told anew */
	WT_CONVERGENCE_DO_ACKNOWLEDGE = 2,
};

/* Before QEMU begins; waits: it was told to. */
void wt_convergence_init(struct wt_convergence *convergence, bool waits);
/*
 * Answers what is to be done. One step for each of QEMU's answers: it answers in the order in which it is
 * asked, so whatever the step before this one wanted told was taken.
 */
unsigned wt_convergence_step(
	struct wt_convergence *convergence, const struct wt_convergence_figures *figures, uint64_t now_ns);
/* For wt_server_defer: what the guest always writes, which a pass has over again each time. It is pulled in
 * the downtime, of which it may take half; an epoch is longer than QEMU's way over all that is dirty. */
uint64_t wt_convergence_defer_bytes(
	const struct wt_convergence *convergence, const struct wt_convergence_figures *figures);
uint64_t wt_convergence_epoch_ns(const struct wt_convergence_figures *figures);
/* When to look at QEMU's figures again, at the latest. */
uint64_t wt_convergence_wait_ns(
	const struct wt_convergence *convergence, const struct wt_convergence_figures *figures);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * digest_gate.h - whether QEMU may judge the link by how fast its pages land.
 *
 * Pages that the destination has already land by their digests, faster than the link carries pages. QEMU
 * takes that for bandwidth and would stop the guest with far more left than fits into the downtime limit. So
 * while digests are sent, and until QEMU has forgotten that time, the gate is closed: its limit is next to
 * nothing. What QEMU has left then is dirty pages, which are not digested, and what it measures is the link
 * again.
 *
 * Pure.
 */
#ifndef WATARI_QEMU_DIGEST_GATE_H
#define WATARI_QEMU_DIGEST_GATE_H

#include <stdbool.h>
#include <stdint.h>

/* QEMU judges by the last 100 ms. */
#define WT_DIGEST_GATE_NS 300000000ull

struct wt_digest_gate {
	bool closed;
	uint64_t pages;   /* whose digests were sent */
	uint64_t last_ns; /* when there were more */
};

/* Before QEMU begins; closed: the destination wants digests. */
void wt_digest_gate_init(struct wt_digest_gate *gate, bool closed, uint64_t now_ns);
/* So many pages' digests were sent until now; answers whether the gate has opened or closed. */
bool wt_digest_gate_step(struct wt_digest_gate *gate, uint64_t pages, uint64_t now_ns);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * digest_gate.c - closed while digests are sent and for WT_DIGEST_GATE_NS after. See digest_gate.h.
 */
#include "digest_gate.h"

void wt_digest_gate_init(struct wt_digest_gate *gate, bool closed, uint64_t now_ns)
{
	*gate = (struct wt_digest_gate){ .closed = closed, .last_ns = now_ns };
}

bool wt_digest_gate_step(struct wt_digest_gate *gate, uint64_t pages, uint64_t now_ns)
{
	bool before = gate->closed;

	if (pages > gate->pages) {
		gate->pages = pages;
		gate->last_ns = now_ns;
		gate->closed = true;
	} else if (now_ns - gate->last_ns >= WT_DIGEST_GATE_NS) {
		gate->closed = false;
	}
	return gate->closed != before;
}

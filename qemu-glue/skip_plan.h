/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * skip_plan.h - which bytes of a write are left out. Pure: no I/O, no memory of its own; async-signal-safe.
 *
 * A write is the bytes of its iovecs, one after the other. Those whose address lies in a range are left out,
 * the others are sent.
 */
#ifndef WATARI_QEMU_SKIP_PLAN_H
#define WATARI_QEMU_SKIP_PLAN_H

#include <stddef.h>
#include <sys/uio.h>

#include "skip_page.h"

#define SKIP_PIECES_MAX 256u /* iovecs of one plan */

/* What writes are compared with: ranges sorted by address, apart from each other. */
struct skip_ranges {
	const struct skip_range *list;
	unsigned count;
};

struct skip_plan {
	struct iovec send[SKIP_PIECES_MAX]; /* not the bytes left out */
	unsigned send_count;
	size_t send_bytes, skip_bytes; /* of a beginning of the write */
	const uint8_t *page;           /* the first whole page of it that is left out; NULL: none */
};

/*
 * The longest beginning of the write of which no more than budget bytes are left out and that fits into a
 * plan. send_bytes + skip_bytes == 0: the write is empty, or the budget is, and its first byte is left out.
 */
void skip_plan_make(struct skip_ranges ranges, const struct iovec *list, size_t count, uint64_t budget,
	struct skip_plan *ret_plan);

/*
 * `sent` of the plan's send_bytes were taken: how many bytes of the write are done then, and how many of
 * those were left out. What is left out belongs to what stands before it: behind a byte that was taken it is
 * done, too.
 */
size_t skip_plan_done(struct skip_ranges ranges, const struct iovec *list, size_t count,
	const struct skip_plan *plan, size_t sent, size_t *ret_skipped);

#endif

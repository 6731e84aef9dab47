/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_monitor.c - reads along what the two transports say to each other (wrapping wt_session_send), and what
 * is written into the destination's memory.
 *
 *   1. A number is said to have landed only after every page of its announcement was written since.
 *   2. What is pending is bounded: by the limit of this run and one extent more.
 *   3. The plan holds its invariants (wt_plan_valid), now and then.
 *   4. Zeros are never written into a page that a read is under way into.
 */
#include <stdlib.h>
#include <string.h>

#include "plan.h"
#include "session.h"
#include "sim_qemu.h"
#include "sim_world.h"
#include "sink.h"

#define NUMBERS_MAX 16384
#define EXTENT_BYTES_MAX (1u << 20)

static struct {
	struct wt_extent extent;
	uint64_t stamp;
	uint64_t bytes; /* pending */
} announced[NUMBERS_MAX];
static uint64_t stamp, pending_bytes, written[SIM_BLOCKS][SIM_PAGES_MAX];
static unsigned plan_looks;
static unsigned here[SIM_BLOCKS]; /* the destination's block, by the server's number */

void sim_monitor_reset(void)
{
	stamp = pending_bytes = 0;
	memset(announced, 0, sizeof announced);
	memset(written, 0, sizeof written);
}

void sim_monitor_written(const void *base, size_t length)
{
	unsigned count;
	const struct sim_block *blocks = sim_qemu_blocks(sim_world_qemu(1), &count);

	for (unsigned i = 0; i < count; i++) {
		size_t offset = (size_t)((const uint8_t *)base - blocks[i].bytes);

		if ((const uint8_t *)base < blocks[i].bytes || offset >= (size_t)blocks[i].pages
										 << WT_PAGE_SHIFT)
			continue;
		stamp++;
		for (size_t page = 0; page < length >> WT_PAGE_SHIFT; page++)
			written[i][(offset >> WT_PAGE_SHIFT) + page] = stamp;
	}
}

static void saw_block(const uint8_t *payload, size_t length)
{
	unsigned count;
	const struct sim_block *blocks = sim_qemu_blocks(sim_world_qemu(1), &count);
	struct wt_wire_block block;

	sim_check(!wt_wire_block_decode(payload, length, &block), "a block message is malformed");
	for (unsigned i = 0; i < count && block.block < SIM_BLOCKS; i++)
		if (strcmp(blocks[i].name, block.name) == 0)
			here[block.block] = i;
}

static void saw_announce(const uint8_t *payload, size_t length)
{
	static struct wt_announcement list[WT_WIRE_ANNOUNCEMENTS_MAX];
	uint64_t seq;
	unsigned count;

	sim_check(!wt_wire_announce_decode(payload, length, &seq, list, &count),
		"an announcement is malformed");
	stamp++;
	for (unsigned i = 0; i < count; i++) {
		sim_check(seq + i < NUMBERS_MAX, "more announcements than are watched");
		if (announced[seq + i].stamp)
			continue; /* it was tried before, and there was no room for it */
		announced[seq + i].extent = list[i].extent;
		announced[seq + i].stamp = stamp;
		if (list[i].content != WT_CONTENT_ZERO)
			announced[seq + i].bytes = (uint64_t)list[i].extent.pages << WT_PAGE_SHIFT;
		pending_bytes += announced[seq + i].bytes;
	}
	sim_check(sim_world.pending_limit == UINT64_MAX ||
			  pending_bytes <= sim_world.pending_limit + EXTENT_BYTES_MAX,
		"%llu bytes are pending", (unsigned long long)pending_bytes);
}

static void check_landed(uint64_t seq)
{
	const struct wt_extent *extent = &announced[seq].extent;

	for (uint32_t i = 0; i < extent->pages; i++)
		sim_check(written[here[extent->block]][extent->page + i] > announced[seq].stamp,
			"number %llu is said to have landed, and page %llu of block %u was not written since it was announced",
			(unsigned long long)seq, (unsigned long long)(extent->page + i), extent->block);
	pending_bytes -= announced[seq].bytes;
	announced[seq].bytes = 0;
}

static void saw_landed(const uint8_t *payload, size_t length)
{
	static struct wt_seq_range ranges[WT_WIRE_RANGES_MAX];
	unsigned count;

	sim_check(!wt_wire_landed_decode(payload, length, ranges, &count), "a landed message is malformed");
	for (unsigned i = 0; i < count; i++)
		for (uint64_t seq = ranges[i].first; seq < ranges[i].first + ranges[i].count; seq++)
			check_landed(seq);
}

int __real_wt_session_send(
	struct wt_session *session, unsigned type, const void *payload, size_t length, uint64_t now_ns);
int __wrap_wt_session_send(
	struct wt_session *session, unsigned type, const void *payload, size_t length, uint64_t now_ns);

int __wrap_wt_session_send(
	struct wt_session *session, unsigned type, const void *payload, size_t length, uint64_t now_ns)
{
	if (type == WT_MESSAGE_BLOCK)
		saw_block(payload, length);
	else if (type == WT_MESSAGE_ANNOUNCE)
		saw_announce(payload, length);
	else if (type == WT_MESSAGE_LANDED)
		saw_landed(payload, length);
	sim_fault_message(sim_current, type);
	return __real_wt_session_send(session, type, payload, length, now_ns);
}

int __real_wt_sink_zero(
	const struct wt_sink_block *block, uint64_t offset, uint64_t length, struct wt_error *err);
int __wrap_wt_sink_zero(
	const struct wt_sink_block *block, uint64_t offset, uint64_t length, struct wt_error *err);

int __wrap_wt_sink_zero(
	const struct wt_sink_block *block, uint64_t offset, uint64_t length, struct wt_error *err)
{
	sim_paths_local_write(block->base + offset, length);
	sim_monitor_written(block->base + offset, length);
	return __real_wt_sink_zero(block, offset, length, err);
}

/* Transport's own bound is larger than the memory of these guests: a smaller one makes back-pressure. */
bool __real_wt_announce_room(const struct wt_announce_log *log);
bool __wrap_wt_announce_room(const struct wt_announce_log *log);

bool __wrap_wt_announce_room(const struct wt_announce_log *log)
{
	return wt_announce_pending_bytes(log) < sim_world.pending_limit && __real_wt_announce_room(log);
}

unsigned __real_wt_plan_acks(struct wt_plan *plan, struct wt_seq_range *ret_ranges, unsigned max);
unsigned __wrap_wt_plan_acks(struct wt_plan *plan, struct wt_seq_range *ret_ranges, unsigned max);

unsigned __wrap_wt_plan_acks(struct wt_plan *plan, struct wt_seq_range *ret_ranges, unsigned max)
{
	if (++plan_looks % 16 == 0)
		sim_check(wt_plan_valid(plan), "the plan contradicts itself");
	return __real_wt_plan_acks(plan, ret_ranges, max);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sim_monitor.c - reads along what the two transports say to each other (wrapping wt_session_send), and what
 * is written into the destination's memory.
 *
 *   1. A number is said to have landed only after every page of its announcement was written since.
 *   2. What is pending is bounded: by the limit of this run and one extent more.
 *   3. The plan holds its invariants (wt_plan_valid), now and then.
 *   4. Neither zeros nor what was read into a bounce buffer are written into a page that a read is under way
 * into.
 *   5. Nothing is read into memory of a destination that says it has drained.
 *   6. The end of RAM does not get to a new destination before that one has said what it lacks, unless QEMU
 * had stopped the guest before.
 */
#include <stdlib.h>
#include <string.h>

#include "messages.h"
#include "plan.h"
#include "session.h"
#include "sim_qemu.h"
#include "sim_world.h"
#include "sink.h"

#define NUMBERS_MAX 16384
#define SESSIONS_MAX 64
#define EXTENT_BYTES_MAX (1u << 20)

/* A session between the source and a destination, or a former destination and another one. */
static struct watched {
	uint8_t id[WT_SESSION_ID_BYTES];
	unsigned host; /* of the destination; 0: not known yet */
	uint64_t pending_bytes;
	unsigned numbers; /* below which entries of announced are used */
	bool asked_left;  /* it has a base, and has not said what it lacks */
	bool drained;
	struct {
		struct wt_extent extent;
		uint64_t stamp;
		uint64_t bytes; /* pending */
	} announced[NUMBERS_MAX];
} sessions[SESSIONS_MAX];
static unsigned session_count, current;
static uint64_t stamp, written[SIM_HOSTS][SIM_BLOCKS][SIM_PAGES_MAX];
static unsigned plan_looks;
static unsigned here[SIM_BLOCKS]; /* a destination's block, by the server's number */

static void session_empty(struct watched *s)
{
	memset(s->announced, 0, s->numbers * sizeof s->announced[0]);
	s->pending_bytes = s->numbers = 0;
}

void sim_monitor_reset(void)
{
	while (session_count)
		session_empty(&sessions[--session_count]);
	current = 1;
	stamp = 0;
	memset(written, 0, sizeof written);
}

static struct watched *session_of(const struct wt_session *session)
{
	const uint8_t *id = wt_session_id(session);
	unsigned i = 0;

	while (i < session_count && memcmp(sessions[i].id, id, sizeof sessions[i].id))
		i++;
	if (i < session_count)
		return &sessions[i];
	sim_check(session_count < SESSIONS_MAX, "more sessions than are watched");
	session_count++;
	sessions[i].host = 0;
	sessions[i].asked_left = sessions[i].drained = false;
	memcpy(sessions[i].id, id, sizeof sessions[i].id);
	return &sessions[i];
}

unsigned sim_monitor_current(void)
{
	return current;
}

void sim_monitor_now(unsigned host)
{
	current = host;
}

bool sim_monitor_drained(unsigned host)
{
	for (unsigned i = 0; i < session_count; i++)
		if (sessions[i].drained && sessions[i].host == host)
			return true;
	return false;
}

bool sim_monitor_way_back(void)
{
	for (unsigned i = 0; i < session_count; i++) {
		unsigned host = sessions[i].host;

		if (sessions[i].drained && sim_qemu_alive(sim_world.qemus[host]) &&
			!sim_party_dead(sim_world.relays[host]) && !sim_party_ended(sim_world.relays[host]))
			return true;
	}
	return false;
}

static void written_at(unsigned host, const void *base, size_t length)
{
	unsigned count;
	const struct sim_block *blocks = sim_qemu_blocks(sim_world_qemu(host), &count);

	for (unsigned i = 0; i < count; i++) {
		size_t offset = (size_t)((const uint8_t *)base - blocks[i].bytes);

		if ((const uint8_t *)base < blocks[i].bytes || offset >= (size_t)blocks[i].pages
										 << WT_PAGE_SHIFT)
			continue;
		stamp++;
		for (size_t page = 0; page < length >> WT_PAGE_SHIFT; page++)
			written[host][i][(offset >> WT_PAGE_SHIFT) + page] = stamp;
	}
}

void sim_monitor_written(const void *base, size_t length)
{
	for (unsigned host = 1; host <= sim_world.destinations; host++)
		written_at(host, base, length);
}

static void saw_block(const uint8_t *payload, size_t length)
{
	unsigned count;
	const struct sim_block *blocks = sim_qemu_blocks(sim_world_qemu(0), &count);
	struct wt_wire_block block;

	sim_check(!wt_wire_block_decode(payload, length, &block), "a block message is malformed");
	for (unsigned i = 0; i < count && block.block < SIM_BLOCKS; i++)
		if (strcmp(blocks[i].name, block.name) == 0)
			here[block.block] = i;
}

static void saw_announce(struct watched *s, const uint8_t *payload, size_t length)
{
	static struct wt_announcement list[WT_WIRE_ANNOUNCEMENTS_MAX];
	uint64_t seq;
	unsigned count;

	sim_check(!wt_wire_announce_decode(payload, length, &seq, list, &count),
		"an announcement is malformed");
	stamp++;
	for (unsigned i = 0; i < count; i++) {
		sim_check(seq + i < NUMBERS_MAX, "more announcements than are watched");
		if (s->announced[seq + i].stamp)
			continue; /* it was tried before, and there was no room for it */
		s->announced[seq + i].extent = list[i].extent;
		s->announced[seq + i].stamp = stamp;
		if (list[i].content != WT_CONTENT_ZERO)
			s->announced[seq + i].bytes = (uint64_t)list[i].extent.pages << WT_PAGE_SHIFT;
		s->pending_bytes += s->announced[seq + i].bytes;
		s->numbers = (unsigned)(seq + i + 1);
	}
	sim_check(sim_world.pending_limit == UINT64_MAX ||
			  s->pending_bytes <= sim_world.pending_limit + EXTENT_BYTES_MAX,
		"%llu bytes are pending", (unsigned long long)s->pending_bytes);
}

static void check_landed(struct watched *s, uint64_t seq)
{
	const struct wt_extent *extent = &s->announced[seq].extent;

	for (uint32_t i = 0; i < extent->pages; i++)
		sim_check(written[sim_party_host(sim_current)][here[extent->block]][extent->page + i] >
				  s->announced[seq].stamp,
			"number %llu is said to have landed, and page %llu of block %u was not written since it was announced",
			(unsigned long long)seq, (unsigned long long)(extent->page + i), extent->block);
	s->pending_bytes -= s->announced[seq].bytes;
	s->announced[seq].bytes = 0;
}

static void saw_landed(struct watched *s, const uint8_t *payload, size_t length)
{
	static struct wt_seq_range ranges[WT_WIRE_RANGES_MAX];
	unsigned count;

	sim_check(!wt_wire_landed_decode(payload, length, ranges, &count), "a landed message is malformed");
	for (unsigned i = 0; i < count; i++)
		for (uint64_t seq = ranges[i].first; seq < ranges[i].first + ranges[i].count; seq++)
			check_landed(s, seq);
}

/* Behind the digests of a replica its memory changes, here and there. */
static void lie(unsigned host)
{
	unsigned count;
	const struct sim_block *blocks = sim_qemu_blocks(sim_world_qemu(host), &count);

	for (unsigned i = 0; i < count; i++)
		for (uint32_t page = (uint32_t)sim_below(64); blocks[i].shared && page < blocks[i].pages;
			page += 64)
			blocks[i].bytes[((size_t)page << WT_PAGE_SHIFT) + sim_below(WT_PAGE_SIZE)] ^= 1;
}

static void saw(struct watched *s, unsigned type, const uint8_t *payload, size_t length)
{
	unsigned host = sim_party_host(sim_current);

	sim_trace("%s says %u in the session with host %u", sim_party_name(sim_current), type, s->host);
	if (type == WT_MESSAGE_REPLICA_ANSWER && sim_world.replicas_lie)
		lie(host);
	switch (type) {
	case WT_MESSAGE_BLOCK:
		saw_block(payload, length);
		break;
	case WT_MESSAGE_READY:
		s->host = host;
		break;
	case WT_MESSAGE_ANNOUNCE:
		saw_announce(s, payload, length);
		break;
	case WT_MESSAGE_LANDED:
		saw_landed(s, payload, length);
		break;
	case WT_MESSAGE_DRAINED:
		s->drained = true;
		sim_check(
			sim_paths_silent(host), "a destination says it has drained, and a read is under way");
		break;
	case WT_MESSAGE_RESTART:
		session_empty(s);
		s->drained = false;
		current = s->host;
		break;
	case WT_MESSAGE_BASE_END:
		current = s->host;
		s->asked_left = true;
		break;
	case WT_MESSAGE_BASE_LEFT:
		s->asked_left = false;
		break;
	case WT_RELAY_RAM_END:
		sim_check(!s->asked_left || sim_world.stop_known,
			"the guest is let go before its new destination has said what it lacks");
		break;
	default:
		break;
	}
}

int __real_wt_session_send(
	struct wt_session *session, unsigned type, const void *payload, size_t length, uint64_t now_ns);
int __wrap_wt_session_send(
	struct wt_session *session, unsigned type, const void *payload, size_t length, uint64_t now_ns);

int __wrap_wt_session_send(
	struct wt_session *session, unsigned type, const void *payload, size_t length, uint64_t now_ns)
{
	if (!sim_party_dead(sim_current))
		saw(session_of(session), type, payload, length);
	sim_fault_message(session_of(session)->host, type);
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

/* Before the CPU copies something into place: what was read into a bounce buffer, or a replica had. */
int __real_wt_sink_populate(
	const struct wt_sink_block *block, uint64_t offset, uint64_t length, struct wt_error *err);
int __wrap_wt_sink_populate(
	const struct wt_sink_block *block, uint64_t offset, uint64_t length, struct wt_error *err);

int __wrap_wt_sink_populate(
	const struct wt_sink_block *block, uint64_t offset, uint64_t length, struct wt_error *err)
{
	sim_paths_local_write(block->base + offset, length);
	sim_monitor_written(block->base + offset, length);
	return __real_wt_sink_populate(block, offset, length, err);
}

/* Transport's own bound is larger than the memory of these guests: a smaller one makes back-pressure. */
bool __real_wt_announce_room(const struct wt_announce_log *log);
bool __wrap_wt_announce_room(const struct wt_announce_log *log);

bool __wrap_wt_announce_room(const struct wt_announce_log *log)
{
	return wt_announce_pending_bytes(log) < sim_world.pending_limit && __real_wt_announce_room(log);
}

/* What was read into a bounce buffer is copied in place by the CPU. */
unsigned __real_wt_plan_settle(
	struct wt_plan *plan, unsigned id, struct wt_extent *ret_copies, uint64_t now_ns);
unsigned __wrap_wt_plan_settle(
	struct wt_plan *plan, unsigned id, struct wt_extent *ret_copies, uint64_t now_ns);

unsigned __wrap_wt_plan_settle(
	struct wt_plan *plan, unsigned id, struct wt_extent *ret_copies, uint64_t now_ns)
{
	unsigned copies = __real_wt_plan_settle(plan, id, ret_copies, now_ns), count;
	const struct sim_block *blocks = sim_qemu_blocks(sim_world_qemu(sim_party_host(sim_current)), &count);

	for (unsigned i = 0; i < copies; i++)
		sim_paths_local_write(
			blocks[here[ret_copies[i].block]].bytes + (ret_copies[i].page << WT_PAGE_SHIFT),
			(size_t)ret_copies[i].pages << WT_PAGE_SHIFT);
	return copies;
}

unsigned __real_wt_plan_acks(struct wt_plan *plan, struct wt_seq_range *ret_ranges, unsigned max);
unsigned __wrap_wt_plan_acks(struct wt_plan *plan, struct wt_seq_range *ret_ranges, unsigned max);

unsigned __wrap_wt_plan_acks(struct wt_plan *plan, struct wt_seq_range *ret_ranges, unsigned max)
{
	if (++plan_looks % 16 == 0)
		sim_check(wt_plan_valid(plan), "the plan contradicts itself");
	return __real_wt_plan_acks(plan, ret_ranges, max);
}

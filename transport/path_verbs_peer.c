/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_verbs_peer.c - the sending half of a path of peers over verbs, and its poll and arm.
 *
 * Owns the path's memory, the operations that the device has not got yet, and those that it has.
 *   1. A SEND is copied and is done then: a short one into the place of its work, a longer one into `out` at
 *      the place that it will have in the peer's ring. The peer gives a place back only when it has read it,
 *      so `out` needs no accounts of its own: what the device has not sent was not read.
 *   2. Operations go to the device in the order of their posts. A SEND waits for room in the peer's ring,
 *      and so do those behind it; nothing goes before both openings have passed.
 *   3. sent - sent_freed <= depth messages and WT_VERBS_RING_BYTES: the peer always has a receive for us,
 *      and receiver-not-ready never happens between ends that keep the rules.
 *   4. READs and WRITEs are signalled, and one in SIGNAL_EVERY of what is done already. A completion ends its
 *      work and all older ones. So the device may have messages of which nobody speaks; who wants to know
 *      (quiesce) sends a mark behind them.
 *   5. outstanding == operations in `queue` + in `works` + in `done`, at most the path's depth.
 *   6. What the peer said before the end is heard: only a poll that finds the completion queue empty, and the
 *      path failed before it looked, acts on that. The path is silent when every signalled work was flushed;
 *      some devices tell of the others, too, and these write nothing here. Where no flush may come such a
 *      poll destroys the queue pair, with which a device may drop what it has not told, and the next one
 *      fails what is left.
 * No allocation after start; nothing here blocks.
 */
#include "path_verbs_peer.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

#define SIGNAL_EVERY 16u
_Static_assert(SIGNAL_EVERY <= WT_VERBS_WORDS, "of `works` that are full one is signalled");

static int memory_new(struct wt_verbs_peer *peer)
{
	size_t places = (size_t)(peer->works_max + peer->receives_max) * WT_VERBS_SHORT_MAX;
	size_t bytes = ((size_t)2 * WT_VERBS_RING_BYTES + places + 4095) & ~(size_t)4095;

	peer->memory = aligned_alloc(4096, bytes);
	if (!peer->memory)
		return -ENOMEM;
	memset(peer->memory, 0, bytes);
	peer->in = peer->memory;
	peer->out = peer->in + WT_VERBS_RING_BYTES;
	peer->places_out = peer->out + WT_VERBS_RING_BYTES;
	peer->places_in = peer->places_out + (size_t)peer->works_max * WT_VERBS_SHORT_MAX;
	return (int)bytes;
}

/* What the peer may write, and the rest: nothing is pinned twice. */
static bool memory_register(struct wt_verbs_peer *peer, struct ibv_pd *pd, size_t bytes)
{
	peer->in_mr = ibv_reg_mr(
		pd, peer->in, WT_VERBS_RING_BYTES, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
	if (peer->in_mr)
		peer->mr = ibv_reg_mr(pd, peer->out, bytes - WT_VERBS_RING_BYTES, IBV_ACCESS_LOCAL_WRITE);
	return peer->mr;
}

int wt_verbs_peer_start(struct wt_path *path, struct wt_error *err)
{
	struct ibv_pd *pd = path->endpoint->rails[path->rail].pd;
	struct wt_verbs_peer *peer = calloc(1, sizeof *peer);
	int bytes;

	path->peer = peer;
	if (!peer)
		return wt_error_set(err, ENOMEM, "out of memory for a path of peers");
	peer->works_max = 2 * path->depth + WT_VERBS_WORDS;
	peer->receives_max = path->depth + WT_VERBS_WORDS;
	bytes = memory_new(peer);
	if (bytes < 0)
		return wt_error_set(err, ENOMEM, "out of memory for a path of peers");
	if (!memory_register(peer, pd, (size_t)bytes))
		return wt_verbs_region_error(err, errno ? errno : EIO, (size_t)bytes);
	return 0;
}

void wt_verbs_peer_stop(struct wt_path *path)
{
	struct wt_verbs_peer *peer = path->peer;

	if (!peer)
		return;
	if (peer->in_mr)
		ibv_dereg_mr(peer->in_mr);
	if (peer->mr)
		ibv_dereg_mr(peer->mr);
	free(peer->memory);
	free(peer);
	path->peer = NULL;
}

bool wt_verbs_peer_idle(const struct wt_path *path)
{
	return !path->peer->outstanding && !path->peer->flying;
}

void wt_verbs_peer_done(struct wt_verbs_peer *peer, uint64_t cookie, int status, uint32_t length)
{
	struct wt_completion *done =
		&peer->done[(peer->done_first + peer->done_count++) % (WT_VERBS_DEPTH_MAX + 1)];

	*done = (struct wt_completion){ .cookie = cookie, .status = status, .length = status ? 0 : length };
}

uint32_t wt_verbs_peer_place(struct wt_verbs_mark *mark, uint32_t length)
{
	uint32_t padded = (length + WT_VERBS_RING_ALIGN - 1) & ~(WT_VERBS_RING_ALIGN - 1);
	uint32_t at = mark->bytes % WT_VERBS_RING_BYTES;

	mark->messages++;
	if (length <= WT_VERBS_SHORT_MAX)
		return 0;
	if (padded > WT_VERBS_RING_BYTES - at) {
		mark->bytes += WT_VERBS_RING_BYTES - at;
		at = 0;
	}
	mark->bytes += padded;
	return at;
}

/* See invariant 4. */
static bool signals(struct wt_verbs_peer *peer, enum wt_op_kind kind)
{
	if (kind != WT_OP_READ && kind != WT_OP_WRITE && ++peer->unsignalled < SIGNAL_EVERY)
		return false;
	peer->unsignalled = 0;
	peer->signalled++;
	return true;
}

/* The next place in `works`, and the request that goes with it. */
static struct ibv_send_wr *work_next(
	struct wt_path *path, unsigned n, enum wt_op_kind kind, uint64_t cookie, uint32_t length)
{
	struct wt_verbs_peer *peer = path->peer;
	unsigned slot = (peer->works_first + peer->works_count++) % peer->works_max;
	struct ibv_send_wr *work = &path->work[n];
	bool signalled = signals(peer, kind);

	peer->works[slot] = (struct wt_verbs_work){
		.kind = kind, .signalled = signalled, .length = length, .cookie = cookie
	};
	memset(work, 0, sizeof *work);
	work->wr_id = slot;
	work->sg_list = &path->pieces[n];
	work->num_sge = 1;
	work->send_flags = signalled ? IBV_SEND_SIGNALED : 0;
	path->pieces[n].length = length;
	if (n)
		path->work[n - 1].next = work;
	return work;
}

/* What a work sends from its own place. */
static uint8_t *work_place(struct wt_path *path, unsigned n, struct ibv_send_wr *work)
{
	struct wt_verbs_peer *peer = path->peer;
	uint8_t *place = peer->places_out + work->wr_id * WT_VERBS_SHORT_MAX;

	path->pieces[n].addr = (uintptr_t)place;
	path->pieces[n].lkey = peer->mr->lkey;
	return place;
}

static void work_inline(const struct wt_path *path, struct ibv_send_wr *work, uint32_t length)
{
	if (length <= path->peer->inline_max)
		work->send_flags |= IBV_SEND_INLINE;
}

static bool works_post(struct wt_path *path, unsigned n)
{
	struct ibv_send_wr *bad = NULL;
	int code = n ? ibv_post_send(path->cm.id->qp, path->work, &bad) : 0;

	if (code) { /* of what it did not take the device will not speak */
		wt_verbs_fail(path, code);
		wt_verbs_cut(path);
	}
	return !code;
}

bool wt_verbs_peer_say(struct wt_path *path, enum wt_verbs_word_kind kind, uint32_t number, uint64_t value)
{
	struct wt_verbs_peer *peer = path->peer;
	struct wt_verbs_word *word;
	struct ibv_send_wr *work;

	if (path->error || peer->works_count == peer->works_max)
		return false;
	work = work_next(path, 0, WT_OP_INVALID, 0, sizeof *word);
	word = (struct wt_verbs_word *)work_place(path, 0, work);
	*word = (struct wt_verbs_word){ .kind = htole16(kind),
		.version = htole16(WT_VERBS_WORD_VERSION),
		.number = htole32(number),
		.value = htole64(value) };
	work->opcode = IBV_WR_SEND_WITH_IMM;
	work_inline(path, work, sizeof *word);
	return works_post(path, 1);
}

/* Nothing, written to nowhere, behind all that the device has: it takes no receive, and is signalled. */
static void mark_post(struct wt_path *path)
{
	struct wt_verbs_peer *peer = path->peer;
	struct ibv_send_wr *work;

	peer->unsignalled = SIGNAL_EVERY - 1;
	work = work_next(path, 0, WT_OP_INVALID, 0, 0);
	work->opcode = IBV_WR_RDMA_WRITE;
	work->num_sge = 0;
	work->wr.rdma.remote_addr = peer->ring_address;
	work->wr.rdma.rkey = peer->ring_key;
	works_post(path, 1);
}

bool wt_verbs_peer_rest(struct wt_path *path)
{
	struct wt_verbs_peer *peer = path->peer;

	if (peer->flying && !peer->signalled && !path->error)
		mark_post(path);
	return wt_verbs_peer_idle(path);
}

/* The next message takes its place in the peer's ring. false: the peer has no room for it yet. */
static bool message_place(struct wt_path *path, uint32_t length, uint32_t *ret_at)
{
	struct wt_verbs_peer *peer = path->peer;
	struct wt_verbs_mark after = peer->sent;

	*ret_at = wt_verbs_peer_place(&after, length);
	if (after.messages - peer->sent_freed.messages > path->depth ||
		after.bytes - peer->sent_freed.bytes > WT_VERBS_RING_BYTES)
		return false;
	peer->sent = after;
	peer->flying++;
	return true;
}

/* Copies a message to its place. */
static bool message_prepare(struct wt_path *path, unsigned n, const struct wt_op *op)
{
	struct wt_verbs_peer *peer = path->peer;
	uint32_t length = op->head_length + op->length;
	struct ibv_send_wr *work;
	uint32_t at;
	uint8_t *to;

	if (!message_place(path, length, &at))
		return false;
	to = peer->out + at;
	work = work_next(path, n, WT_OP_SEND, 0, length);
	if (length <= WT_VERBS_SHORT_MAX) {
		work->opcode = IBV_WR_SEND;
		work_inline(path, work, length);
		to = work_place(path, n, work);
	} else {
		work->opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
		work->imm_data = htonl(length);
		work->wr.rdma.remote_addr = peer->ring_address + at;
		work->wr.rdma.rkey = peer->ring_key;
		path->pieces[n].addr = (uintptr_t)to;
		path->pieces[n].lkey = peer->mr->lkey;
	}
	if (op->head_length)
		memcpy(to, op->head, op->head_length);
	if (op->length)
		memcpy(to + op->head_length, op->local, op->length);
	wt_verbs_peer_done(peer, op->cookie, 0, length);
	return true;
}

static void move_prepare(struct wt_path *path, unsigned n, const struct wt_op *op)
{
	struct ibv_send_wr *work = work_next(path, n, op->kind, op->cookie, op->length);

	work->opcode = op->kind == WT_OP_READ ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE;
	work->wr.rdma.remote_addr = op->remote_address;
	work->wr.rdma.rkey = (uint32_t)(op->remote_key >> 32 * path->peer_rail);
	path->pieces[n].addr = (uintptr_t)op->local;
	path->pieces[n].lkey = op->local_region->mr[path->rail]->lkey;
}

/* Whether the device may have anything of ours yet, or still. */
static bool pushes(const struct wt_path *path)
{
	return !path->error && path->peer->opened;
}

/* Gives the device what may go. */
static void push(struct wt_path *path)
{
	struct wt_verbs_peer *peer = path->peer;
	unsigned n;

	if (!pushes(path))
		return;
	for (n = 0; peer->queue_count && n < WT_VERBS_DEPTH_MAX; n++) {
		const struct wt_op *op = &peer->queue[peer->queue_first];

		if (peer->works_count == peer->works_max)
			break;
		if (op->kind != WT_OP_SEND)
			move_prepare(path, n, op);
		else if (!message_prepare(path, n, op))
			break;
		peer->queue_first = (peer->queue_first + 1) % WT_VERBS_DEPTH_MAX;
		peer->queue_count--;
	}
	works_post(path, n);
}

/* The oldest work is over. */
static void work_end(struct wt_verbs_peer *peer, int status)
{
	const struct wt_verbs_work *work = &peer->works[peer->works_first];

	if (work->kind == WT_OP_SEND)
		peer->flying--;
	else if (work->kind != WT_OP_INVALID)
		wt_verbs_peer_done(peer, work->cookie, status, work->length);
	peer->signalled -= work->signalled;
	peer->works_first = (peer->works_first + 1) % peer->works_max;
	peer->works_count--;
}

void wt_verbs_peer_worked(struct wt_path *path, const struct ibv_wc *wc)
{
	struct wt_verbs_peer *peer = path->peer;
	unsigned older = ((unsigned)wc->wr_id + peer->works_max - peer->works_first) % peer->works_max;
	int status = wt_verbs_status(wc->status);

	if (status < 0)
		wt_verbs_fail(path, -status);
	if (wc->status == IBV_WC_WR_FLUSH_ERR)
		status = -path->error; /* flushed for the reason for which the path failed */
	if (older >= peer->works_count)
		return; /* a flush of what was given up already */
	do
		work_end(peer, status); /* of the older ones none needs it: READs and WRITEs are spoken of */
	while (older--);
}

static int op_check(const struct wt_path *path, const struct wt_op *op)
{
	if (op->kind == WT_OP_SEND)
		return (uint64_t)op->head_length + op->length - 1 < WT_PATH_MESSAGE_MAX ? 0 : -EINVAL;
	if (op->kind != WT_OP_READ && op->kind != WT_OP_WRITE)
		return -EINVAL;
	return wt_verbs_local_check(path, op, op->kind == WT_OP_READ ? WT_ACCESS_SINK : 0);
}

int wt_verbs_peer_post(struct wt_path *path, const struct wt_op *ops, unsigned count)
{
	struct wt_verbs_peer *peer = path->peer;
	unsigned taken;
	int status = -EAGAIN;

	for (taken = 0; taken < count && peer->outstanding < path->depth; taken++) {
		status = op_check(path, &ops[taken]);
		if (status < 0)
			break;
		peer->queue[(peer->queue_first + peer->queue_count++) % WT_VERBS_DEPTH_MAX] = ops[taken];
		peer->outstanding++;
	}
	if (taken == 0)
		return count ? status : 0;
	push(path);
	return (int)taken;
}

bool wt_verbs_peer_send_now(struct wt_path *path, const void *bytes, uint32_t length)
{
	struct wt_verbs_peer *peer = path->peer;
	struct ibv_send_wr *work;
	uint32_t at;

	if (!pushes(path) || peer->queue_count || length - 1 >= peer->inline_max ||
		peer->works_count == peer->works_max || !message_place(path, length, &at))
		return false;
	work = work_next(path, 0, WT_OP_SEND, 0, length);
	work->opcode = IBV_WR_SEND;
	work->send_flags |= IBV_SEND_INLINE;
	path->pieces[0].addr = (uintptr_t)bytes;
	path->pieces[0].lkey = 0;
	works_post(path, 1);
	return true;
}

/* What the device will never have, or never speak of: without a queue pair that is all. */
static void fail_rest(struct wt_path *path)
{
	struct wt_verbs_peer *peer = path->peer;

	while (peer->works_count && !(path->cm.id->qp && peer->signalled))
		work_end(peer, -path->error);
	if (peer->works_count)
		return;
	for (; peer->queue_count; peer->queue_count--) {
		wt_verbs_peer_done(peer, peer->queue[peer->queue_first].cookie, -path->error, 0);
		peer->queue_first = (peer->queue_first + 1) % WT_VERBS_DEPTH_MAX;
	}
}

static unsigned hand_out(struct wt_verbs_peer *peer, struct wt_completion *ret_completions, unsigned max)
{
	unsigned n;

	for (n = 0; n < max && peer->done_count; n++) {
		ret_completions[n] = peer->done[peer->done_first];
		if (ret_completions[n].message)
			peer->held = false;
		else
			peer->outstanding--;
		peer->done_first = (peer->done_first + 1) % (WT_VERBS_DEPTH_MAX + 1);
		peer->done_count--;
	}
	return n;
}

int wt_verbs_peer_poll(struct wt_path *path, struct wt_completion *ret_completions, unsigned max)
{
	struct wt_verbs_peer *peer = path->peer;
	bool failed = path->error, more = true;
	unsigned done;

	if (!peer->held && peer->freed.messages != peer->got.messages)
		wt_verbs_peer_free(peer);
	done = peer->done_count ? hand_out(peer, ret_completions, max) : 0;
	while (more && done < max)
		done += wt_verbs_peer_take(path, ret_completions + done, max - done, &more);
	wt_verbs_peer_tell(path);
	if (peer->queue_count)
		push(path);
	if (failed && !more && peer->cut && path->cm.id->qp) {
		rdma_destroy_qp(path->cm.id);
		failed = false;
	}
	if (failed && !more)
		fail_rest(path);
	if (peer->done_count)
		done += hand_out(peer, ret_completions + done, max - done);
	if (!done && ++path->idle % WT_VERBS_IDLE_POLLS == 0)
		wt_verbs_events_take(path);
	if (failed && !more && !done && !peer->outstanding && !peer->works_count)
		return -path->error;
	return (int)done;
}

int wt_verbs_peer_arm(struct wt_path *path)
{
	struct wt_verbs_peer *peer = path->peer;
	struct wt_completion found;
	bool more;

	if (peer->done_count || (path->error && (!peer->signalled || peer->cut)))
		return 1;
	path->armed = true;
	if (ibv_req_notify_cq(path->cq, 0))
		return 1;
	if (!wt_verbs_peer_take(path, &found, 1, &more))
		return more || path->error;
	peer->done[(peer->done_first + peer->done_count++) % (WT_VERBS_DEPTH_MAX + 1)] = found;
	peer->held = found.message != NULL;
	return 1;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_verbs_queue.c - the data half of a verbs path: post, poll, arm. Of a path of peers path_verbs_peer.c
 * does them.
 *
 * Owns the ring of outstanding operations.
 *   1. A reliable queue pair completes in order, and says so of what failed, and of what was signalled: the
 *      last request of every post, and before it one in SIGNAL_EVERY, or of SIGNAL_BYTES. So a completion
 * tells the outcome of its slot, and that every older slot without one of its own succeeded; but a flush only
 * says that all is over: not every device tells of each request that it flushes, so with it those older ones
 * fail, too. `known` counts the oldest slots whose outcome is known and not yet reported.
 *   2. The first error, whether a completion's or the connection's, moves the queue pair to ERROR; the device
 *      then flushes what is outstanding. Only when every flush was polled is the path silent.
 *   3. Where no flush can come (device removed), the queue pair is destroyed first, and only then is the rest
 *      completed with the error. A path of peers hears what has come before that.
 *   4. Before sleeping: notification is requested, then the queue is looked at once more (arm keeps what it
 *      finds for poll). The descriptors of both channels are level-triggered.
 * The connection's events cost a system call to look at: poll does so when no completion has ended a sleep,
 * now and then when idle, and until the path is established. A serving end has nothing to poll but these.
 * Threads: the owner's. No allocation, no logging.
 */
#include "path_verbs_peer.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define POLL_BATCH 32
#define IDLE_POLLS 1024
#define SIGNAL_EVERY 16u
#define SIGNAL_BYTES (256u << 10)

int wt_verbs_status(enum ibv_wc_status status)
{
	switch (status) {
	case IBV_WC_SUCCESS:
		return 0;
	case IBV_WC_REM_ACCESS_ERR:
		return -EACCES;
	case IBV_WC_REM_INV_REQ_ERR:
		return -EINVAL;
	case IBV_WC_RETRY_EXC_ERR:
	case IBV_WC_RNR_RETRY_EXC_ERR:
		return -ETIMEDOUT;
	case IBV_WC_WR_FLUSH_ERR:
		return -ECONNRESET;
	case IBV_WC_LOC_PROT_ERR:
	case IBV_WC_LOC_ACCESS_ERR:
		return -EFAULT;
	default:
		return -EIO;
	}
}

void wt_verbs_cut(struct wt_path *path)
{
	if (path->peer)
		path->peer->cut = true;
	else if (path->cm.id->qp)
		rdma_destroy_qp(path->cm.id);
}

void wt_verbs_fail(struct wt_path *path, int code)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };

	if (path->error)
		return;
	path->error = code;
	if (path->cm.id->qp && ibv_modify_qp(path->cm.id->qp, &attr, IBV_QP_STATE))
		wt_verbs_cut(path);
}

void wt_verbs_events_take(struct wt_path *path)
{
	struct rdma_cm_event event;

	while (path->cm.channel && wt_verbs_event_next(path->cm.channel, &event) >= 0) {
		switch (event.event) {
		case RDMA_CM_EVENT_ESTABLISHED:
			path->established = true;
			break;
		case RDMA_CM_EVENT_DISCONNECTED:
			wt_verbs_fail(path, ECONNRESET);
			break;
		case RDMA_CM_EVENT_CONNECT_ERROR:
		case RDMA_CM_EVENT_UNREACHABLE:
		case RDMA_CM_EVENT_REJECTED:
			wt_verbs_fail(path, ECONNABORTED);
			break;
		case RDMA_CM_EVENT_DEVICE_REMOVAL:
			wt_verbs_fail(path, ENODEV);
			wt_verbs_cut(path);
			break;
		default:
			break;
		}
	}
}

/* After a sleep. What is not looked at keeps the descriptor readable. */
static void channels_look(struct wt_path *path)
{
	struct ibv_cq *cq;
	void *context;

	if (path->role != WT_ROLE_SERVE && ibv_get_cq_event(path->completions, &cq, &context) == 0)
		ibv_ack_cq_events(cq, 1);
	else
		wt_verbs_events_take(path);
}

static void pop(struct wt_path *path, int status, struct wt_completion *ret_completion)
{
	const struct wt_verbs_slot *slot = &path->slots[path->first];

	ret_completion->cookie = slot->cookie;
	ret_completion->status = status;
	ret_completion->length = status ? 0 : slot->length;
	path->first = (path->first + 1) % path->depth;
	path->count--;
}

static void learn(struct wt_path *path, const struct ibv_wc *wc)
{
	unsigned older = ((unsigned)wc->wr_id + path->depth - path->first) % path->depth;
	int status = wt_verbs_status(wc->status);

	assert(wc->wr_id < path->depth && older >= path->known && older < path->count);
	if (status < 0)
		wt_verbs_fail(path, -status);
	/* What is flushed fails for the reason for which the path did; see invariant 1 for what is older. */
	if (wc->status == IBV_WC_WR_FLUSH_ERR)
		for (unsigned i = path->known; i <= older; i++)
			path->slots[(path->first + i) % path->depth].status = -path->error;
	else
		path->slots[wc->wr_id].status = status;
	path->known = older + 1;
}

static unsigned queue_take(struct wt_path *path, struct wt_completion *ret_completions, unsigned max)
{
	struct ibv_wc wc[POLL_BATCH];
	unsigned done = 0;
	int n = POLL_BATCH;

	for (;;) {
		for (; path->known && done < max; path->known--) {
			pop(path, path->slots[path->first].status, &ret_completions[done]);
			done++;
		}
		if (done == max || !path->count || n < POLL_BATCH)
			return done;
		n = ibv_poll_cq(path->cq, POLL_BATCH, wc);
		for (int i = 0; i < n; i++)
			learn(path, &wc[i]);
		if (n < 0) {
			wt_verbs_fail(path, EIO);
			wt_verbs_cut(path);
		}
	}
}

int wt_verbs_poll(struct wt_path *path, struct wt_completion *ret_completions, unsigned max)
{
	unsigned done;

	if (!path->endpoint)
		return path->error ? -path->error : 0;
	if (path->armed) {
		path->armed = false;
		channels_look(path);
	}
	if (path->role == WT_ROLE_PEER)
		return wt_verbs_peer_poll(path, ret_completions, max);
	done = queue_take(path, ret_completions, max);
	if (!done && (!path->established || path->role == WT_ROLE_SERVE || ++path->idle % IDLE_POLLS == 0))
		wt_verbs_events_take(path);
	/* No queue pair, so nothing is written any more, and no flush may come. */
	while (path->error && !path->cm.id->qp && !path->known && path->count && done < max)
		pop(path, -path->error, &ret_completions[done++]);
	if (path->error && !path->count && !done)
		return -path->error;
	return (int)done;
}

int wt_verbs_local_check(const struct wt_path *path, const struct wt_op *op, unsigned access)
{
	const struct wt_region *region = op->local_region;
	uint64_t offset;

	if (op->length - 1 >= WT_PATH_READ_MAX || !region || region->endpoint != path->endpoint ||
		(region->access & access) != access)
		return -EINVAL;
	offset = (uint64_t)((uintptr_t)op->local - (uintptr_t)region->base);
	if ((uintptr_t)op->local < (uintptr_t)region->base || offset > region->length ||
		op->length > region->length - offset)
		return -EINVAL;
	return 0;
}

static int op_check(const struct wt_path *path, const struct wt_op *op)
{
	if (op->kind == WT_OP_SEND || op->kind == WT_OP_WRITE)
		return -EOPNOTSUPP;
	return op->kind == WT_OP_READ ? wt_verbs_local_check(path, op, WT_ACCESS_SINK) : -EINVAL;
}

static void work_prepare(struct wt_path *path, unsigned at, const struct wt_op *op)
{
	struct ibv_send_wr *work = &path->work[at];
	struct ibv_sge *piece = &path->pieces[at];
	unsigned slot = (path->first + path->count + at) % path->depth;

	path->slots[slot].cookie = op->cookie;
	path->slots[slot].length = op->length;
	piece->addr = (uint64_t)(uintptr_t)op->local;
	piece->length = op->length;
	piece->lkey = op->local_region->mr[path->rail]->lkey;
	memset(work, 0, sizeof *work);
	work->wr_id = slot;
	work->sg_list = piece;
	work->num_sge = 1;
	work->opcode = IBV_WR_RDMA_READ;
	work->wr.rdma.remote_addr = op->remote_address;
	work->wr.rdma.rkey = (uint32_t)(op->remote_key >> 32 * path->peer_rail);
	if (at)
		path->work[at - 1].next = work;
}

/* See invariant 1. */
static void work_signal(struct wt_path *path, unsigned n)
{
	unsigned requests = 0;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++) {
		bytes += path->pieces[i].length;
		if (++requests < SIGNAL_EVERY && bytes < SIGNAL_BYTES && i + 1 < n)
			continue;
		path->work[i].send_flags = IBV_SEND_SIGNALED;
		requests = 0;
		bytes = 0;
	}
}

/* Hands over the first n of the prepared work requests; answers like post. */
static int work_post(struct wt_path *path, unsigned n)
{
	struct ibv_send_wr *bad = NULL;
	int code;

	work_signal(path, n);
	code = ibv_post_send(path->cm.id->qp, path->work, &bad);
	if (code && bad)
		n = (unsigned)(bad - path->work);
	else if (code)
		n = 0;
	path->count += n;
	if (code && n && !path->work[n - 1].send_flags) {
		/* Nobody would say when the last one is done: all that is outstanding fails. */
		wt_verbs_fail(path, code);
		wt_verbs_cut(path);
	}
	if (n)
		return (int)n; /* what was not taken is posted, and fails, next time */
	if (code == ENOMEM && path->count)
		return -EAGAIN;
	wt_verbs_fail(path, code);
	return -path->error;
}

int wt_verbs_post(struct wt_path *path, const struct wt_op *ops, unsigned count)
{
	unsigned taken;
	int status = -EAGAIN;

	if (path->role == WT_ROLE_SERVE)
		return -EOPNOTSUPP;
	if (path->error)
		return -path->error;
	if (path->quiesced)
		return -ESHUTDOWN;
	if (path->role == WT_ROLE_PEER)
		return wt_verbs_peer_post(path, ops, count);
	if (!path->established)
		return -EAGAIN;
	for (taken = 0; taken < count && path->count + taken < path->depth; taken++) {
		status = op_check(path, &ops[taken]);
		if (status < 0)
			break;
		work_prepare(path, taken, &ops[taken]);
	}
	if (taken == 0)
		return count ? status : 0;
	return work_post(path, taken);
}

bool wt_verbs_send_now(struct wt_path *path, const void *bytes, uint32_t length)
{
	return path->peer && !path->quiesced && wt_verbs_peer_send_now(path, bytes, length);
}

int wt_verbs_arm(struct wt_path *path)
{
	struct ibv_wc wc;

	if (path->peer)
		return wt_verbs_peer_arm(path);
	if (path->known || (path->error && !(path->count && path->cm.id->qp)))
		return 1;
	if (!path->endpoint)
		return 0;
	path->armed = true;
	if (path->role != WT_ROLE_PULL)
		return 0;
	if (ibv_req_notify_cq(path->cq, 0))
		return 1;
	if (ibv_poll_cq(path->cq, 1, &wc) != 1)
		return 0;
	learn(path, &wc);
	return 1;
}

bool wt_verbs_alive(struct wt_path *path)
{
	if (path->endpoint)
		wt_verbs_events_take(path);
	return path->endpoint && !path->error;
}

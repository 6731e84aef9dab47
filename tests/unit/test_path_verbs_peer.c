/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_path_verbs_peer.c - two ends of a path of peers over verbs, joined by a device that is made up here.
 *
 * The device does an end's requests in order, each when it likes, and keeps to the specification and no more.
 * It has no patience: a message without a receive at the other end, a queue that overflows, a write outside
 * of what a key names is an error at once. What was handed out is looked at only after it went on. Random
 * posts, polls of any size, sleeps; one error, the end of the connection, or of the device, at any moment.
 * Every operation is reported once and truly, messages come whole and in order, all that the device took are
 * heard, and as long as nothing fails everything comes. What is not signalled the device does not tell of,
 * but where it failed; of a flush some devices do and some do not.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>

#include "path_verbs_peer.h"
#include "seed.h"

#define ENDS 2
#define OPS_MAX 4096u
#define SLOTS 256u /* more than may be under way: no two operations touch the same one */
#define SLOT_BYTES 512u
#define QUEUE_MAX (WT_VERBS_WORKS_MAX + WT_VERBS_RECEIVES_MAX)

struct request {
	struct ibv_send_wr work;
	struct ibv_sge piece;
	uint8_t bytes[WT_VERBS_INLINE_MAX]; /* that were inline */
};

struct receive {
	uint64_t id;
	struct ibv_sge piece;
};

struct end {
	struct ibv_context context;
	struct ibv_qp qp;
	struct ibv_cq cq;
	struct rdma_cm_id id;
	struct rdma_event_channel events;
	struct wt_endpoint endpoint;
	struct wt_path path;
	struct ibv_mr mr;
	struct wt_region region;
	uint8_t memory[2 * SLOTS * SLOT_BYTES]; /* written by the other end; read by our reads */
	struct request requests[WT_VERBS_WORKS_MAX];
	unsigned request_count;
	struct receive receives[WT_VERBS_RECEIVES_MAX];
	unsigned receive_count;
	struct ibv_wc wcs[QUEUE_MAX];
	unsigned wc_count;
	bool failed, notify, woken;
	bool dead;                     /* taken away: it says nothing any more */
	bool refuses;                  /* posts */
	enum rdma_cm_event_type event; /* that waits; ADDR_RESOLVED: none */
	unsigned late;                 /* requests of the other end that are done as that event is taken */
	unsigned delivered;            /* messages that its device has taken */
	/* the owner's view */
	unsigned posted, completed, sends, heard;
	enum wt_op_kind kinds[OPS_MAX];
	bool seen[OPS_MAX];
	int last;
};

static struct end ends[ENDS];
static struct ibv_mr mrs[2 * ENDS];
static unsigned mr_count;
static bool posting; /* the owners have something to post */
static bool forgets; /* with a queue pair the devices drop what they have not told of it */
static unsigned sent_now;
static bool tells; /* of what it flushes, signalled or not */
static uint8_t source[WT_PATH_MESSAGE_MAX + OPS_MAX];

/* ---- the device ---- */

static struct end *other(struct end *end)
{
	return &ends[end == ends];
}

static struct end *end_of(const struct ibv_context *context)
{
	return context == &ends[0].context ? &ends[0] : &ends[1];
}

static void told(struct end *end, uint64_t id, enum ibv_wc_status status, enum ibv_wc_opcode opcode)
{
	if (end->dead)
		return;
	check(end->wc_count < end->path.peer->works_max + end->path.peer->receives_max);
	end->wcs[end->wc_count++] = (struct ibv_wc){ .wr_id = id, .status = status, .opcode = opcode };
	end->woken |= end->notify;
	end->notify = false;
}

static void take_out(void *array, unsigned *count, size_t size)
{
	memmove(array, (uint8_t *)array + size, --*count * size);
}

static void device_fail(struct end *end)
{
	end->failed = true;
	for (; end->request_count; take_out(end->requests, &end->request_count, sizeof *end->requests))
		if (tells || end->requests[0].work.send_flags & IBV_SEND_SIGNALED)
			told(end, end->requests[0].work.wr_id, IBV_WC_WR_FLUSH_ERR, IBV_WC_SEND);
	for (; end->receive_count; take_out(end->receives, &end->receive_count, sizeof *end->receives))
		told(end, end->receives[0].id, IBV_WC_WR_FLUSH_ERR, IBV_WC_SEND);
}

static int device_post_send(struct ibv_qp *qp, struct ibv_send_wr *work, struct ibv_send_wr **ret_bad)
{
	struct request *request;
	struct end *end = end_of(qp->context);

	check(qp == end->id.qp);
	*ret_bad = work;
	if (end->refuses)
		return EIO;
	for (; work; work = work->next) {
		check(end->request_count < end->path.peer->works_max && work->num_sge <= 1);
		check(!(work->send_flags & ~(IBV_SEND_SIGNALED | IBV_SEND_INLINE)));
		check(work->num_sge == 1 || work->sg_list->length == 0);
		request = &end->requests[end->request_count++];
		request->work = *work;
		request->piece = *work->sg_list;
		if (work->send_flags & IBV_SEND_INLINE) {
			check(request->piece.length <= end->path.peer->inline_max);
			memcpy(request->bytes, (void *)(uintptr_t)request->piece.addr, request->piece.length);
			memset((void *)(uintptr_t)request->piece.addr, 0xee, request->piece.length);
		}
	}
	if (end->failed)
		device_fail(end);
	return 0;
}

static int device_post_recv(struct ibv_qp *qp, struct ibv_recv_wr *work, struct ibv_recv_wr **ret_bad)
{
	struct end *end = end_of(qp->context);

	for (; work; work = work->next) {
		check(end->receive_count < end->path.peer->receives_max);
		end->receives[end->receive_count++] = (struct receive){ work->wr_id, *work->sg_list };
	}
	if (end->failed)
		device_fail(end);
	return 0;
}

static int device_poll(struct ibv_cq *cq, int max, struct ibv_wc *ret_wcs)
{
	struct end *end = end_of(cq->context);
	int n;

	for (n = 0; n < max && end->wc_count; n++) {
		ret_wcs[n] = end->wcs[0];
		take_out(end->wcs, &end->wc_count, sizeof *end->wcs);
	}
	return n;
}

static int device_notify(struct ibv_cq *cq, int solicited_only)
{
	end_of(cq->context)->notify = true;
	return 0;
}

/* Where an address of this end lies, if the key allows that. */
static uint8_t *place(struct end *end, uint32_t key, uint64_t address, uint32_t length)
{
	struct wt_verbs_peer *peer = end->path.peer;
	bool ring = key == peer->in_mr->rkey;
	uint8_t *base = ring ? peer->in : end->memory;
	size_t size = ring ? WT_VERBS_RING_BYTES : sizeof end->memory;

	check(ring || key == end->mr.rkey);
	check(address >= (uintptr_t)base && address - (uintptr_t)base + length <= size);
	return (uint8_t *)(uintptr_t)address;
}

static void deliver(struct end *to, const struct request *request)
{
	struct receive *receive = &to->receives[0];
	bool word = request->work.opcode == IBV_WR_SEND_WITH_IMM,
	     ring = request->work.opcode == IBV_WR_RDMA_WRITE_WITH_IMM;
	struct ibv_wc *wc;

	check(to->receive_count); /* never receiver-not-ready */
	if (!ring) {
		check(request->piece.length <= receive->piece.length);
		memcpy((void *)(uintptr_t)receive->piece.addr, (void *)(uintptr_t)request->piece.addr,
			request->piece.length);
	}
	told(to, receive->id, IBV_WC_SUCCESS, ring ? IBV_WC_RECV_RDMA_WITH_IMM : IBV_WC_RECV);
	to->delivered += !word;
	wc = &to->wcs[to->wc_count - 1];
	wc->byte_len = request->piece.length;
	wc->imm_data = request->work.imm_data;
	wc->wc_flags = word || ring ? IBV_WC_WITH_IMM : 0;
	take_out(to->receives, &to->receive_count, sizeof *to->receives);
}

/* The oldest request of an end is done, or refused. */
static void device_step(struct end *end, bool refused)
{
	struct end *to = other(end);
	struct request request = end->requests[0];
	uint8_t *local, *there;

	if (!end->request_count)
		return;
	if (request.work.send_flags & IBV_SEND_INLINE)
		request.piece.addr = (uintptr_t)request.bytes;
	local = (uint8_t *)(uintptr_t)request.piece.addr;
	take_out(end->requests, &end->request_count, sizeof *end->requests);
	if (to->failed || refused) {
		told(end, request.work.wr_id, refused ? IBV_WC_REM_ACCESS_ERR : IBV_WC_RETRY_EXC_ERR,
			IBV_WC_SEND);
		device_fail(end);
		device_fail(to);
		return;
	}
	if (request.work.opcode != IBV_WR_SEND && request.work.opcode != IBV_WR_SEND_WITH_IMM) {
		there = place(to, request.work.wr.rdma.rkey, request.work.wr.rdma.remote_addr,
			request.piece.length);
		if (request.work.opcode == IBV_WR_RDMA_READ)
			memcpy(local, there, request.piece.length);
		else
			memcpy(there, local, request.piece.length);
	}
	if (request.work.opcode != IBV_WR_RDMA_READ && request.work.opcode != IBV_WR_RDMA_WRITE)
		deliver(to, &request);
	if (request.work.send_flags & IBV_SEND_SIGNALED)
		told(end, request.work.wr_id, IBV_WC_SUCCESS, IBV_WC_SEND);
}

int __wrap_ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask);
void __wrap_rdma_destroy_qp(struct rdma_cm_id *id);
int __wrap_ibv_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **ret_cq, void **ret_context);
void __wrap_ibv_ack_cq_events(struct ibv_cq *cq, unsigned count);
int __wrap_wt_verbs_event_next(struct rdma_event_channel *channel, struct rdma_cm_event *ret_event);
struct ibv_mr *__wrap_ibv_reg_mr(struct ibv_pd *pd, void *base, size_t length, int access);
int __wrap_ibv_dereg_mr(struct ibv_mr *mr);

int __wrap_ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
	check(attr->qp_state == IBV_QPS_ERR);
	if (end_of(qp->context)->dead)
		return EIO;
	device_fail(end_of(qp->context));
	return 0;
}

void __wrap_rdma_destroy_qp(struct rdma_cm_id *id)
{
	struct end *end = end_of(id->qp->context);

	device_fail(end);
	if (forgets)
		end->wc_count = 0;
	id->qp = NULL;
}

int __wrap_ibv_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **ret_cq, void **ret_context)
{
	return -1;
}

void __wrap_ibv_ack_cq_events(struct ibv_cq *cq, unsigned count)
{
}

int __wrap_wt_verbs_event_next(struct rdma_event_channel *channel, struct rdma_cm_event *ret_event)
{
	struct end *end = channel == &ends[0].events ? &ends[0] : &ends[1];

	if (end->event == RDMA_CM_EVENT_ADDR_RESOLVED)
		return -EAGAIN;
	for (; end->late; end->late--)
		device_step(other(end), false);
	*ret_event = (struct rdma_cm_event){ .event = end->event };
	end->event = RDMA_CM_EVENT_ADDR_RESOLVED;
	return 0;
}

struct ibv_mr *__wrap_ibv_reg_mr(struct ibv_pd *pd, void *base, size_t length, int access)
{
	mrs[mr_count].rkey = mrs[mr_count].lkey = 100 + mr_count;
	return &mrs[mr_count++];
}

int __wrap_ibv_dereg_mr(struct ibv_mr *mr)
{
	return 0;
}

static void end_open(struct end *end, unsigned depth)
{
	memset(end, 0, sizeof *end);
	end->context.ops.post_send = device_post_send;
	end->context.ops.post_recv = device_post_recv;
	end->context.ops.poll_cq = device_poll;
	end->context.ops.req_notify_cq = device_notify;
	end->qp.context = end->cq.context = &end->context;
	end->id.qp = &end->qp;
	end->mr.lkey = end->mr.rkey = (uint32_t)(end - ends) + 1;
	end->region = (struct wt_region){ .endpoint = &end->endpoint,
		.mr = { &end->mr },
		.base = end->memory,
		.length = sizeof end->memory,
		.access = WT_ACCESS_SERVE | WT_ACCESS_SINK | WT_ACCESS_TARGET };
	end->path = (struct wt_path){ .endpoint = &end->endpoint,
		.role = WT_ROLE_PEER,
		.depth = depth,
		.cm = { .channel = &end->events, .id = &end->id },
		.cq = &end->cq,
		.dialled = end == ends };
	assert_int_equal(wt_verbs_peer_start(&end->path, NULL), 0);
	assert_int_equal(wt_verbs_peer_listen(&end->path), 0);
}

static void world_open(unsigned depth)
{
	mr_count = 0;
	end_open(&ends[0], depth);
	end_open(&ends[1], depth);
	ends[1].path.peer->inline_max = WT_VERBS_INLINE_MAX; /* one device can, the other one cannot */
	assert_int_equal(wt_verbs_peer_open(&ends[0].path), 0);
}

static void world_close(void)
{
	wt_verbs_peer_stop(&ends[0].path);
	wt_verbs_peer_stop(&ends[1].path);
}

/* ---- the owners ---- */

/* What message `number` of an end is like. */
static uint32_t message_length(const struct end *end, unsigned number)
{
	uint32_t x = (number * 2654435761u) ^ (uint32_t)(end - ends) * 77;

	return 1 + (x >> 3) % (x % 8 == 0 ? WT_PATH_MESSAGE_MAX : x % 8 < 3 ? 9000 : 200);
}

/* What write `number` writes. */
static uint8_t written(unsigned number)
{
	return (uint8_t)(1 + number + number / SLOTS * 37);
}

/* What was sent is the caller's again. */
static void send_now(struct end *end)
{
	uint8_t bytes[WT_PATH_MESSAGE_MAX];
	uint32_t length = message_length(end, end->sends);
	bool gone;

	memcpy(bytes, source + end->sends, length);
	gone = wt_verbs_send_now(&end->path, bytes, length);
	check(!gone || length <= end->path.peer->inline_max);
	end->sends += gone;
	sent_now += gone;
	memset(bytes, 0xdd, length);
}

static void post(struct end *end)
{
	uint32_t length, slot = end->posted % SLOTS * SLOT_BYTES;
	struct wt_op op = { .cookie = end->posted, .kind = WT_OP_SEND };
	int status;

	if (seed_below(2))
		send_now(end);
	length = message_length(end, end->sends);
	if (end->posted == OPS_MAX || end->sends == OPS_MAX)
		return;
	if (seed_below(3)) {
		op.head_length = (uint32_t)seed_below(length + 1);
		op.head = source + end->sends;
		op.local = source + end->sends + op.head_length;
		op.length = length - op.head_length;
	} else {
		op.kind = seed_below(2) ? WT_OP_WRITE : WT_OP_READ;
		op.local = end->memory + SLOTS * SLOT_BYTES + slot;
		op.length = SLOT_BYTES;
		op.local_region = &end->region;
		op.remote_address = (uintptr_t)other(end)->memory + slot +
				    (op.kind == WT_OP_READ ? SLOTS * SLOT_BYTES : 0);
		op.remote_key = other(end)->mr.rkey;
		if (op.kind == WT_OP_WRITE)
			memset(op.local, written(end->posted), SLOT_BYTES);
	}
	status = wt_verbs_post(&end->path, &op, 1);
	check(status == 1 || status == -EAGAIN || status == -end->path.error);
	if (status != 1)
		return;
	end->kinds[end->posted++] = op.kind;
	end->sends += op.kind == WT_OP_SEND;
}

static void message_look(struct end *end, const struct wt_completion *done)
{
	check(end->heard < other(end)->sends);
	check(done->length == message_length(other(end), end->heard));
	check(memcmp(done->message, source + end->heard, done->length) == 0);
	end->heard++;
}

static void reap(struct end *end);

/* The other end goes on: it must not touch what was handed out. */
static void meanwhile(struct end *end)
{
	static bool within;
	unsigned count = (unsigned)seed_below(60), i;

	if (within || !posting || seed_below(2))
		return;
	within = true;
	for (i = 0; i < count; i++)
		device_step(end, false);
	reap(other(end));
	for (i = 0; i < count; i++) {
		if (i % 8 == 0)
			post(other(end));
		device_step(other(end), false);
	}
	within = false;
}

static void reap(struct end *end)
{
	struct wt_completion done[40];
	unsigned max = 1 + (unsigned)seed_below(40);
	int i, last = wt_verbs_poll(&end->path, done, max);

	end->last = last;
	check(last <= (int)max);
	meanwhile(end);
	for (i = 0; i < last; i++) {
		uint64_t n = done[i].cookie;

		if (done[i].message) {
			message_look(end, &done[i]);
			continue;
		}
		check(n < end->posted && !end->seen[n]);
		check(done[i].status == 0 || (done[i].status < 0 && end->path.error));
		if (done[i].status == 0 && end->kinds[n] == WT_OP_WRITE)
			check(other(end)->memory[n % SLOTS * SLOT_BYTES + 5] == written((unsigned)n));
		end->seen[n] = true;
		end->completed++;
	}
	check(last >= 0 || end->completed == end->posted);
}

static void taken_away(struct end *end)
{
	end->event = RDMA_CM_EVENT_DEVICE_REMOVAL;
	other(end)->event = RDMA_CM_EVENT_DISCONNECTED;
	device_fail(end);
	end->dead = true;
}

static void step(struct end *end, bool unlucky, bool lazy)
{
	switch (seed_below(8)) {
	case 0:
	case 1:
		for (uint64_t n = seed_below(8); n > 0; n--)
			post(end);
		break;
	case 2:
	case 3:
		if (!lazy)
			reap(end);
		break;
	case 4:
		end->woken = false;
		if (lazy)
			break;
		if (!wt_verbs_arm(&end->path) && !end->path.error && end->wc_count == 0) {
			while (other(end)->request_count && !end->wc_count)
				device_step(other(end), false);
			check(!end->wc_count || end->woken);
		}
		break;
	default:
		device_step(end, unlucky && seed_below(400) == 0);
		if (unlucky && seed_below(2000) == 0)
			ends[0].event = ends[1].event = RDMA_CM_EVENT_DISCONNECTED;
		if (unlucky && seed_below(4000) == 0)
			taken_away(end);
	}
}

/* Polls both until nothing happens any more. */
static void settle(void)
{
	unsigned idle;

	for (idle = 0; idle < 3 * WT_VERBS_IDLE_POLLS; idle++) {
		struct end *end = &ends[idle % ENDS];
		unsigned before = end->completed + end->heard;

		reap(end);
		while (end->request_count)
			device_step(end, false);
		if (end->completed + end->heard != before)
			idle = 0;
	}
}

static void random_run(void)
{
	bool unlucky = seed_below(2);
	uint64_t lazy = ENDS;
	unsigned i;

	forgets = seed_below(2);
	tells = seed_below(2);
	world_open(1 + (unsigned)seed_below(WT_VERBS_DEPTH_MAX));
	posting = true;
	for (i = 0; i < 3000; i++) {
		uint64_t e = seed_below(ENDS);

		if (i % 400 == 0)
			lazy = seed_below(ENDS + 1); /* looks at nothing for a while */
		step(&ends[e], unlucky, e == lazy);
	}
	posting = false;
	settle();
	for (i = 0; i < ENDS; i++) {
		struct end *end = &ends[i];

		check(end->completed == end->posted);
		check(end->heard == end->delivered);
		check(unlucky || (end->last == 0 && end->heard == other(end)->sends));
		check(!end->path.error || end->last == -end->path.error);
		check(!end->path.error == !other(end)->path.error);
		wt_verbs_peer_rest(&end->path);
		device_step(end, false);
		reap(end);
		check(wt_verbs_peer_rest(&end->path));
	}
	world_close();
}

static void test_random(void **state)
{
	for (unsigned i = 0; i < sizeof source; i++)
		source[i] = (uint8_t)(i * 2654435761u >> 13);
	seed_runs(150, random_run);
	assert_true(sent_now > 0);
}

/* What breaks the rules ends the path, and nothing is written or read outside. */
static void test_wrong_peer(void **state)
{
	static const struct {
		uint16_t kind, version;
		uint32_t number;
		uint64_t value;
		uint32_t message; /* length that a message in the ring claims; 0: it is a word */
	} cases[] = { { 0, 2, 0, 0, 0 }, { 3, 2, 0, 0, 0 }, { 1, 1, 0, 0, 0 }, { 1, 2, 5, 5, 0 },
		{ 2, 2, 1, 0, 0 }, { 2, 2, 0, 64, 0 }, { 0, 0, 0, 0, WT_PATH_MESSAGE_MAX + 1 },
		{ 0, 0, 0, 0, UINT32_MAX }, { 0, 0, 0, 0, WT_VERBS_SHORT_MAX } };
	struct wt_completion done[8];

	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct wt_verbs_word word = { cases[i].kind, cases[i].version, cases[i].number,
			cases[i].value };
		struct request request = { { .opcode = IBV_WR_SEND_WITH_IMM },
			{ .addr = (uintptr_t)&word, .length = sizeof word } };

		world_open(16);
		settle(); /* the openings */
		if (cases[i].message)
			request.work = (struct ibv_send_wr){ .opcode = IBV_WR_RDMA_WRITE_WITH_IMM,
				.imm_data = htonl(cases[i].message) };
		deliver(&ends[1], &request);
		assert_int_equal(wt_verbs_poll(&ends[1].path, done, 8), 0);
		assert_int_equal(wt_verbs_poll(&ends[1].path, done, 8), -EPROTO);
		world_close();
	}
	/* A message of no bytes. */
	world_open(4);
	settle();
	deliver(&ends[1], &(struct request){ { .opcode = IBV_WR_SEND }, { (uintptr_t)source, 0, 0 } });
	assert_int_equal(wt_verbs_poll(&ends[1].path, done, 8), 0);
	assert_int_equal(wt_verbs_poll(&ends[1].path, done, 8), -EPROTO);
	world_close();
	/* More messages than there is room for, without a word; every second in the ring. */
	world_open(4);
	settle();
	for (unsigned i = 0; i < 5; i++) {
		struct request request = { { .opcode = IBV_WR_SEND }, { (uintptr_t)source, 64, 0 } };

		if (i % 2)
			request = (struct request){ { .opcode = IBV_WR_RDMA_WRITE_WITH_IMM,
							    .imm_data = htonl(300) },
				{ .length = 300 } };
		deliver(&ends[1], &request);
	}
	assert_int_equal(wt_verbs_poll(&ends[1].path, done, 8), 4);
	assert_int_equal(wt_verbs_poll(&ends[1].path, done, 8), -EPROTO);
	world_close();
}

/* A short message of the first end has come to the second one's device. */
static void world_with_message(void)
{
	struct wt_op op = { .kind = WT_OP_SEND, .local = source, .length = 100 };

	world_open(16);
	settle();
	assert_int_equal(wt_verbs_post(&ends[0].path, &op, 1), 1);
	device_step(&ends[0], false);
}

/* Of the last messages nobody speaks; who rests is told all the same, by one mark. */
static void test_rests(void **state)
{
	struct wt_completion done[4];

	world_with_message();
	assert_int_equal(wt_verbs_poll(&ends[0].path, done, 4), 1);
	assert_false(wt_verbs_peer_idle(&ends[0].path));
	for (unsigned i = 0; i < 3; i++)
		assert_false(wt_verbs_peer_rest(&ends[0].path));
	assert_int_equal(ends[0].request_count, 1);
	device_step(&ends[0], false);
	assert_false(wt_verbs_peer_rest(&ends[0].path));
	assert_int_equal(wt_verbs_poll(&ends[0].path, done, 4), 0);
	assert_true(wt_verbs_peer_rest(&ends[0].path));
	assert_true(wt_verbs_peer_idle(&ends[0].path));
	assert_int_equal(ends[0].request_count, 0);
	assert_int_equal(wt_verbs_poll(&ends[1].path, done, 4), 1); /* only the message */
	world_close();
}

/* A message that was found on the way to sleep is not freed before it was handed out and looked at, nor
 * posted anew. */
static void test_found_by_arm(void **state)
{
	struct wt_completion done[4];

	world_with_message();
	assert_int_equal(wt_verbs_arm(&ends[1].path), 1);
	assert_int_equal(wt_verbs_arm(&ends[1].path), 1);
	assert_int_equal(wt_verbs_poll(&ends[1].path, done, 4), 1);
	assert_memory_equal(done[0].message, source, 100);
	assert_int_equal(ends[1].path.peer->freed.messages, 0);
	assert_int_equal(ends[1].receive_count, ends[1].path.peer->receives_max - 1);
	assert_int_equal(wt_verbs_poll(&ends[1].path, done, 4), 0);
	assert_int_equal(ends[1].path.peer->freed.messages, 1);
	assert_int_equal(ends[1].receive_count, ends[1].path.peer->receives_max);
	world_close();
}

/* However a path ends, what has come is heard before poll says so: also what has come after it looked. */
static void test_heard_before_the_end(void **state)
{
	static const struct {
		enum rdma_cm_event_type event;
		unsigned late; /* of the two messages */
		bool forgets, refuses;
		int code;
	} cases[] = { { RDMA_CM_EVENT_DISCONNECTED, 2, true, false, ECONNRESET },
		{ RDMA_CM_EVENT_DISCONNECTED, 0, true, false, ECONNRESET },
		{ RDMA_CM_EVENT_DEVICE_REMOVAL, 0, true, false, ENODEV },
		{ RDMA_CM_EVENT_DEVICE_REMOVAL, 0, false, false, ENODEV },
		{ RDMA_CM_EVENT_ADDR_RESOLVED, 0, true, true, EIO } };
	struct wt_op message = { .kind = WT_OP_SEND, .local = source, .length = 100 };
	struct end *end = &ends[1];

	for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct wt_op read = { .kind = WT_OP_READ, .local_region = &end->region, .length = 8 };
		unsigned heard = 0, failed = 0, polls = 0;
		struct wt_completion done;
		int n;

		forgets = cases[i].forgets;
		world_open(16);
		settle();
		read.local = end->memory;
		for (unsigned k = 0; k < 2; k++)
			assert_int_equal(wt_verbs_post(&ends[0].path, &message, 1), 1);
		while (ends[0].request_count > cases[i].late)
			device_step(&ends[0], false);
		end->refuses = cases[i].refuses;
		assert_int_equal(wt_verbs_post(&end->path, &read, 1), 1);
		if (cases[i].event == RDMA_CM_EVENT_DEVICE_REMOVAL)
			taken_away(end);
		end->event = cases[i].event;
		end->late = cases[i].late;
		end->path.armed = !cases[i].late; /* so the event is taken before the look */
		while ((n = wt_verbs_poll(&end->path, &done, 1)) >= 0) {
			assert_true(++polls < 3 * WT_VERBS_IDLE_POLLS);
			heard += n && done.message;
			failed += n && !done.message && done.status < 0;
		}
		assert_int_equal(n, -cases[i].code);
		assert_int_equal(heard, 2);
		assert_int_equal(failed, 1);
		world_close();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_wrong_peer),
		cmocka_unit_test(test_rests),
		cmocka_unit_test(test_found_by_arm),
		cmocka_unit_test(test_heard_before_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

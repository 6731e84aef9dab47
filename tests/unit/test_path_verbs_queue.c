/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_path_verbs_queue.c - post, poll and arm of a verbs path, over a device that is made up here.
 *
 * The device keeps to the specification and no more: requests complete in order; one that succeeded and was
 * not signalled leaves no trace; one that failed does, and so does each that is flushed after it. A silent
 * device falls short of it: what is flushed leaves a trace only if it was signalled. Random posts,
 * completions, polls, sleeps and failures; every operation must be reported once, in order, and truly.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "path_verbs.h"
#include "seed.h"

#define OPS_MAX 100000u

enum fate { WAITING, DONE, REFUSED, FLUSHED };

static struct {
	struct ibv_context context;
	struct ibv_qp qp;
	struct ibv_cq cq;
	struct ibv_comp_channel channel;
	struct rdma_event_channel events;
	struct rdma_cm_id id;
	struct wt_endpoint endpoint;
	struct ibv_mr mr;
	struct wt_region region;
	struct wt_path path;
	uint8_t memory[WT_PATH_READ_MAX];
	/* the send queue: what was posted and is not done */
	struct ibv_send_wr queue[WT_VERBS_DEPTH_MAX];
	unsigned queued, room; /* room: how many posts the device still takes */
	struct ibv_wc wcs[WT_VERBS_DEPTH_MAX];
	unsigned wc_count;
	bool failed, notify, silent;
	/* operations, by cookie; the device does them in that order */
	enum fate fates[OPS_MAX];
	bool traces[OPS_MAX];
	unsigned posted, done, reported, signals;
} d;

/* ---- the device ---- */

static int device_post(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **ret_bad)
{
	for (; wr; wr = wr->next) {
		if (!d.room) {
			*ret_bad = wr;
			return EIO;
		}
		d.room--;
		check(d.queued < d.path.depth);
		d.signals += wr->send_flags == IBV_SEND_SIGNALED;
		d.queue[d.queued++] = *wr;
	}
	return 0;
}

static int device_poll(struct ibv_cq *cq, int max, struct ibv_wc *ret_wcs)
{
	unsigned n = d.wc_count < (unsigned)max ? d.wc_count : (unsigned)max;

	memcpy(ret_wcs, d.wcs, n * sizeof *ret_wcs);
	d.wc_count -= n;
	memmove(d.wcs, d.wcs + n, d.wc_count * sizeof *d.wcs);
	return (int)n;
}

static int device_notify(struct ibv_cq *cq, int solicited_only)
{
	d.notify = true;
	return 0;
}

/* The oldest request is done. */
static void device_step(enum ibv_wc_status status)
{
	struct ibv_send_wr work = d.queue[0];

	if (d.failed)
		status = IBV_WC_WR_FLUSH_ERR;
	d.fates[d.done++] = status == IBV_WC_SUCCESS        ? DONE
			    : status == IBV_WC_WR_FLUSH_ERR ? FLUSHED
							    : REFUSED;
	d.failed |= status != IBV_WC_SUCCESS;
	memmove(d.queue, d.queue + 1, --d.queued * sizeof *d.queue);
	if (!(work.send_flags & IBV_SEND_SIGNALED) &&
		(status == IBV_WC_SUCCESS || (d.silent && status == IBV_WC_WR_FLUSH_ERR)))
		return;
	d.traces[d.done - 1] = true;
	check(d.wc_count < d.path.depth); /* the completion queue never overflows */
	d.wcs[d.wc_count++] = (struct ibv_wc){ .wr_id = work.wr_id, .status = status };
	if (d.notify)
		check(write(d.channel.fd, &(uint64_t){ 1 }, 8) == 8);
	d.notify = false;
}

int __wrap_ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask);
void __wrap_rdma_destroy_qp(struct rdma_cm_id *id);
int __wrap_ibv_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **ret_cq, void **ret_context);
void __wrap_ibv_ack_cq_events(struct ibv_cq *cq, unsigned count);
int __wrap_wt_verbs_event_next(struct rdma_event_channel *channel, struct rdma_cm_event *ret_event);

int __wrap_ibv_modify_qp(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask)
{
	check(attr->qp_state == IBV_QPS_ERR);
	d.failed = true;
	return 0;
}

/* Takes with it what was not polled. */
void __wrap_rdma_destroy_qp(struct rdma_cm_id *id)
{
	check(id->qp);
	id->qp = NULL;
	d.queued = d.wc_count = 0;
	d.done = d.posted;
}

int __wrap_ibv_get_cq_event(struct ibv_comp_channel *channel, struct ibv_cq **ret_cq, void **ret_context)
{
	uint64_t value;

	*ret_cq = &d.cq;
	return read(channel->fd, &value, sizeof value) == sizeof value ? 0 : -1;
}

void __wrap_ibv_ack_cq_events(struct ibv_cq *cq, unsigned count)
{
}

int __wrap_wt_verbs_event_next(struct rdma_event_channel *channel, struct rdma_cm_event *ret_event)
{
	uint64_t value;

	if (read(channel->fd, &value, sizeof value) != sizeof value)
		return -EAGAIN;
	*ret_event = (struct rdma_cm_event){ .event = RDMA_CM_EVENT_DISCONNECTED };
	return 0;
}

static void watch(int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	check(epoll_ctl(d.path.epoll, EPOLL_CTL_ADD, fd, &event) == 0);
}

static void device_open(unsigned depth)
{
	memset(&d, 0, sizeof d);
	d.context.ops.post_send = device_post;
	d.context.ops.poll_cq = device_poll;
	d.context.ops.req_notify_cq = device_notify;
	d.qp.context = d.cq.context = &d.context;
	d.id.qp = &d.qp;
	d.channel.fd = eventfd(0, EFD_NONBLOCK);
	d.events.fd = eventfd(0, EFD_NONBLOCK);
	d.room = UINT32_MAX;
	d.region = (struct wt_region){ .endpoint = &d.endpoint,
		.mr = { &d.mr },
		.base = d.memory,
		.length = sizeof d.memory,
		.access = WT_ACCESS_SINK };
	d.path = (struct wt_path){ .endpoint = &d.endpoint,
		.role = WT_ROLE_PULL,
		.depth = depth,
		.epoll = epoll_create1(0),
		.cm = { .channel = &d.events, .id = &d.id },
		.completions = &d.channel,
		.cq = &d.cq,
		.established = true };
	watch(d.channel.fd);
	watch(d.events.fd);
}

static void device_close(void)
{
	close(d.path.epoll);
	close(d.channel.fd);
	close(d.events.fd);
}

/* ---- the owner ---- */

static int post(unsigned count, uint32_t length)
{
	struct wt_op ops[WT_VERBS_DEPTH_MAX + 8];
	int n;

	for (unsigned i = 0; i < count; i++)
		ops[i] = (struct wt_op){ .kind = WT_OP_READ,
			.length = length ? length : (uint32_t)seed_below(WT_PATH_READ_MAX) + 1,
			.cookie = d.posted + i,
			.local = d.memory,
			.local_region = &d.region,
			.remote_key = 7 };
	n = wt_verbs_post(&d.path, ops, count);
	check(n <= (int)count && (n > 0 || n == -EAGAIN || d.path.error));
	d.posted += n > 0 ? (unsigned)n : 0;
	if (!d.id.qp)
		d.done = d.posted;
	check(d.posted - d.reported <= d.path.depth);
	return n;
}

/* Is a flush the first that the device said about this operation? */
static bool flush_only(uint64_t cookie)
{
	while (cookie < d.done && !d.traces[cookie])
		cookie++;
	return cookie < d.done && d.fates[cookie] == FLUSHED;
}

static void truly(const struct wt_completion *completion)
{
	enum fate fate = d.fates[completion->cookie];

	check(completion->cookie == d.reported && completion->cookie < d.posted);
	check(completion->status != 0 || (fate == DONE && completion->length));
	check(fate != REFUSED || completion->status == -EACCES || !d.id.qp);
	check(fate != FLUSHED || completion->status == -d.path.error);
	check(fate != DONE || !completion->status || !d.id.qp || flush_only(completion->cookie));
	d.reported++;
}

static int reap(unsigned max)
{
	struct wt_completion completions[64];
	int n = wt_verbs_poll(&d.path, completions, max);

	check(n <= (int)max);
	for (int i = 0; i < n; i++)
		truly(&completions[i]);
	check(n >= 0 || d.reported == d.posted);
	return n;
}

static bool readable(void)
{
	struct pollfd wait = { .fd = d.path.epoll, .events = POLLIN };

	return poll(&wait, 1, 0) == 1;
}

/* If nothing is there to be polled, the next that comes wakes. */
static void sleep_and_wake(void)
{
	unsigned before = d.wc_count;

	if (wt_verbs_arm(&d.path) || d.path.error)
		return;
	check(before == 0);
	while (d.queued && d.wc_count == before)
		device_step(IBV_WC_SUCCESS);
	check(d.wc_count == before || readable());
}

static void misfortune(void)
{
	switch (seed_below(5)) {
	case 0:
		if (d.queued)
			device_step(IBV_WC_REM_ACCESS_ERR);
		break;
	case 1:
		d.room = (unsigned)seed_below(4);
		break;
	case 2:
		check(write(d.events.fd, &(uint64_t){ 1 }, 8) == 8); /* the peer has left */
		break;
	default: /* none after all */
		break;
	}
}

static void random_run(void)
{
	bool unlucky = seed_below(2);

	device_open(1 + (unsigned)seed_below(WT_VERBS_DEPTH_MAX));
	d.silent = seed_below(2);
	for (unsigned i = 0; i < 300; i++) {
		switch (seed_below(unlucky && i > 50 ? 30 : 29) / 5) {
		case 0:
		case 1:
			post(1 + (unsigned)seed_below(d.path.depth + 8), seed_below(2) ? 4096 : 0);
			break;
		case 2:
		case 3:
			for (uint64_t n = seed_below(40); n && d.queued; n--)
				device_step(IBV_WC_SUCCESS);
			break;
		case 4:
			reap(1 + (unsigned)seed_below(64));
			break;
		default:
			if (unlucky && i > 50 && seed_below(8) == 0)
				misfortune();
			sleep_and_wake();
			break;
		}
	}
	while (d.queued)
		device_step(IBV_WC_SUCCESS);
	for (unsigned i = 0; i < 1000 && d.reported < d.posted; i++)
		reap(1 + (unsigned)seed_below(64));
	check(d.reported == d.posted);
	if (d.path.error)
		check(reap(1) == -d.path.error);
	device_close();
}

static void test_random(void **state)
{
	seed_runs(400, random_run);
}

/* A path reads with the keys of its own rails, here and at the peer. */
static void test_keys_of_rails(void **state)
{
	struct ibv_mr second = { .lkey = 22 };
	struct wt_op op = { .kind = WT_OP_READ,
		.length = 4096,
		.local = d.memory,
		.local_region = &d.region,
		.remote_key = 33ull << 32 | 32 };

	device_open(4);
	d.mr.lkey = 21;
	d.region.mr[1] = &second;
	for (unsigned i = 0; i < 4; i++) {
		d.path.rail = i & 1;
		d.path.peer_rail = (uint8_t)(i >> 1);
		assert_int_equal(wt_verbs_post(&d.path, &op, 1), 1);
		assert_int_equal(d.path.pieces[0].lkey, i & 1 ? 22 : 21);
		assert_int_equal(d.queue[i].wr.rdma.rkey, i >> 1 ? 33 : 32);
	}
}

/* Few are signalled, and always the last one. */
static void test_signals(void **state)
{
	device_open(128);
	assert_int_equal(post(128, 4096), 128);
	assert_int_equal(d.signals, 8);
	assert_int_equal(d.queue[127].send_flags, IBV_SEND_SIGNALED);
	for (unsigned i = 0; i < 15; i++)
		device_step(IBV_WC_SUCCESS);
	assert_int_equal(reap(64), 0);
	device_step(IBV_WC_SUCCESS);
	assert_int_equal(reap(10), 10); /* the rest is not forgotten */
	assert_int_equal(wt_verbs_arm(&d.path), 1);
	assert_int_equal(reap(64), 6);
	device_close();
	device_open(128);
	assert_int_equal(post(8, WT_PATH_READ_MAX), 8); /* long ones are each worth a word */
	assert_int_equal(d.signals, 8);
	device_close();
	device_open(128);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(post(1, 64), 1);
	assert_int_equal(d.signals, 5);
	device_close();
}

/* A chain of which the device takes the first part only ends the path, and nothing hangs. */
static void test_cut_chain(void **state)
{
	device_open(16);
	d.room = 3;
	assert_int_equal(post(10, 4096), 3);
	assert_null(d.id.qp);
	assert_int_equal(reap(64), 3);
	assert_int_equal(reap(64), -EIO);
	device_close();
}

/* The end of the connection is seen although completions come first, and although nothing is under way. */
static void test_disconnected(void **state)
{
	device_open(16);
	assert_int_equal(post(4, 4096), 4);
	assert_int_equal(wt_verbs_arm(&d.path), 0);
	for (unsigned i = 0; i < 4; i++)
		device_step(IBV_WC_SUCCESS);
	assert_int_equal(write(d.events.fd, &(uint64_t){ 1 }, 8), 8);
	assert_int_equal(reap(64), 4);
	assert_int_equal(wt_verbs_arm(&d.path), 0);
	assert_true(readable());
	assert_int_equal(reap(64), -ECONNRESET);
	device_close();
}

/* A flush proves nothing about those before it, an error of its own does. */
static void test_silent_flush(void **state)
{
	struct wt_completion completions[8];

	device_open(16);
	d.silent = true;
	assert_int_equal(post(4, 4096), 4);
	device_step(IBV_WC_SUCCESS);
	for (unsigned i = 0; i < 3; i++)
		device_step(IBV_WC_WR_FLUSH_ERR);
	assert_int_equal(wt_verbs_poll(&d.path, completions, 8), 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(completions[i].status, -ECONNRESET);
	device_close();

	device_open(16);
	d.silent = true;
	assert_int_equal(post(6, 4096), 6);
	device_step(IBV_WC_SUCCESS);
	device_step(IBV_WC_SUCCESS);
	for (unsigned i = 0; i < 4; i++)
		device_step(IBV_WC_REM_ACCESS_ERR);
	assert_int_equal(wt_verbs_poll(&d.path, completions, 8), 6);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(completions[i].status, i < 2 ? 0 : -EACCES);
	device_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys_of_rails),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_cut_chain),
		cmocka_unit_test(test_disconnected),
		cmocka_unit_test(test_silent_flush),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

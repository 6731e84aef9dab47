/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * test_path_verbs.c - what a peer with verbs of its own can do with a key: read, and nothing else.
 *
 * The peer here is plain librdmacm, not our fabric: it posts what our fabric never would (RDMA WRITE,
 * atomics) on a queue pair that a serving end has admitted. Built only where verbs are.
 */
#include "test_path.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#define BYTES 8192u

static const struct wt_fabric_ops *ops;
static const char *host;

struct intruder {
	pthread_t thread;
	struct rdma_cm_id *id;
	struct ibv_mr *mr;
	uint8_t memory[BYTES];
	int status;
};

static void *intruder_connect(void *arg)
{
	struct intruder *intruder = arg;
	uint8_t hello[WT_PATH_HELLO_BYTES] = { 3 };
	struct rdma_conn_param param = {
		.private_data = hello,
		.private_data_len = sizeof hello,
		.initiator_depth = 1,
		.responder_resources = 1,
		.retry_count = 7,
	};

	intruder->status = rdma_connect(intruder->id, &param) < 0 ? -errno : 0;
	return NULL;
}

static void intruder_open(struct intruder *intruder, uint16_t port)
{
	struct ibv_qp_init_attr attr = {
		.qp_type = IBV_QPT_RC,
		.sq_sig_all = 1,
		.cap = { .max_send_wr = 4, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1 },
	};
	struct rdma_addrinfo hints = { .ai_port_space = RDMA_PS_TCP };
	struct rdma_addrinfo *address;
	char service[8];

	memset(intruder, 0, sizeof *intruder);
	snprintf(service, sizeof service, "%u", port);
	assert_int_equal(rdma_getaddrinfo(host, service, &hints, &address), 0);
	assert_int_equal(rdma_create_ep(&intruder->id, address, NULL, &attr), 0);
	rdma_freeaddrinfo(address);
	intruder->mr = ibv_reg_mr(intruder->id->pd, intruder->memory, BYTES, IBV_ACCESS_LOCAL_WRITE);
	assert_non_null(intruder->mr);
	assert_int_equal(pthread_create(&intruder->thread, NULL, intruder_connect, intruder), 0);
}

static void intruder_close(struct intruder *intruder)
{
	ibv_dereg_mr(intruder->mr);
	rdma_destroy_ep(intruder->id);
}

/* Posts one work request and waits for what becomes of it. */
static enum ibv_wc_status intruder_try(
	struct intruder *intruder, const struct wt_key *key, enum ibv_wr_opcode opcode, uint32_t length)
{
	struct ibv_sge piece = {
		.addr = (uintptr_t)intruder->memory, .length = length, .lkey = intruder->mr->lkey
	};
	struct ibv_send_wr work = { .sg_list = &piece, .num_sge = 1, .opcode = opcode };
	struct ibv_send_wr *bad;
	struct timespec now;
	struct ibv_wc wc;
	time_t until;
	int n;

	if (opcode == IBV_WR_ATOMIC_FETCH_AND_ADD) {
		work.wr.atomic.remote_addr = (key->address + 7) & ~7ull;
		work.wr.atomic.rkey = (uint32_t)key->key;
		work.wr.atomic.compare_add = 1;
	} else {
		work.wr.rdma.remote_addr = key->address;
		work.wr.rdma.rkey = (uint32_t)key->key;
	}
	assert_int_equal(ibv_post_send(intruder->id->qp, &work, &bad), 0);
	clock_gettime(CLOCK_MONOTONIC, &now);
	until = now.tv_sec + 20;
	while ((n = ibv_poll_cq(intruder->id->send_cq, 1, &wc)) == 0) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		assert_true(now.tv_sec < until);
	}
	assert_int_equal(n, 1);
	return wc.status;
}

static struct wt_request *request_next(struct wt_listener *listener)
{
	struct pollfd wait = { .fd = ops->listener_fd(listener), .events = POLLIN };
	uint8_t hello[WT_PATH_HELLO_BYTES];
	struct wt_request *request = NULL;
	int status;

	while ((status = ops->listener_accept(listener, &request, hello)) == -EAGAIN)
		assert_int_equal(poll(&wait, 1, 20000), 1);
	assert_int_equal(status, 0);
	return request;
}

/* Tries one operation against served memory: may it, and is the memory as it was? */
static void attempt(enum ibv_wr_opcode opcode, uint32_t length, unsigned access, int allowed)
{
	struct wt_endpoint *endpoint;
	struct wt_listener *listener;
	struct wt_region *region;
	struct wt_path *path;
	struct wt_error err = { 0 };
	static struct intruder intruder;
	static uint8_t served[BYTES];
	enum ibv_wc_status status;
	struct wt_key key;
	uint16_t port;
	unsigned i;

	memset(served, 0x5c, BYTES);
	assert_int_equal(ops->endpoint_open(NULL, host, &endpoint, &err), 0);
	assert_int_equal(ops->region_add(endpoint, served, BYTES, access, &region, &err), 0);
	ops->region_key(region, &key);
	assert_int_equal(ops->listener_open(host, 0, &listener, &port, &err), 0);
	intruder_open(&intruder, port);
	assert_int_equal(ops->request_admit(request_next(listener), endpoint, WT_ROLE_SERVE, &path, &err), 0);
	pthread_join(intruder.thread, NULL);
	assert_int_equal(intruder.status, 0);
	status = intruder_try(&intruder, &key, opcode, length);
	if (allowed) {
		assert_int_equal(status, IBV_WC_SUCCESS);
		assert_memory_equal(intruder.memory, served, length);
	} else {
		assert_int_not_equal(status, IBV_WC_SUCCESS);
	}
	for (i = 0; i < BYTES; i++)
		assert_int_equal(served[i], 0x5c);
	intruder_close(&intruder);
	ops->close(path);
	ops->listener_close(listener);
	ops->region_remove(region);
	ops->endpoint_close(endpoint);
}

static void reading_is_allowed(void **state)
{
	attempt(IBV_WR_RDMA_READ, BYTES, WT_ACCESS_SERVE, 1);
}

static void writing_is_not(void **state)
{
	attempt(IBV_WR_RDMA_WRITE, 4096, WT_ACCESS_SERVE, 0);
	attempt(IBV_WR_RDMA_WRITE, 4096, WT_ACCESS_SERVE | WT_ACCESS_SINK, 0);
	attempt(IBV_WR_RDMA_WRITE, 4096, WT_ACCESS_SINK, 0);
}

static void atomics_are_not(void **state)
{
	attempt(IBV_WR_ATOMIC_FETCH_AND_ADD, 8, WT_ACCESS_SERVE, 0);
	attempt(IBV_WR_ATOMIC_FETCH_AND_ADD, 8, WT_ACCESS_SERVE | WT_ACCESS_SINK, 0);
}

/* Who listens would, and cannot: told apart from a refusal, after which another time may be better. */
static void cannot_admit(void **state)
{
	struct wt_error err = { 0 };
	struct dial dial = { 0 };
	struct pair pair;

	test_pair_open(&pair, WT_ROLE_INVALID);
	test_dial_start(&dial, pair.puller_endpoint, pair.port, WT_ROLE_PULL);
	assert_int_equal(test_ops->request_admit(test_request_next(&pair, dial.hello), pair.server_endpoint,
				 WT_ROLE_PULL, &pair.serving, &err),
		-EPROTO);
	pthread_join(dial.thread, NULL);
	assert_int_equal(dial.status, -ENOBUFS);
	assert_non_null(strstr(dial.err.text, "cannot open its end"));
	test_pair_path(&pair, WT_ROLE_PULL, &pair.serving, &pair.pulling);
	test_pair_close(&pair);
}

int test_path_verbs(const struct wt_fabric_ops *fabric, const char *address)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reading_is_allowed),
		cmocka_unit_test(writing_is_not),
		cmocka_unit_test(atomics_are_not),
		cmocka_unit_test(cannot_admit),
	};

	ops = fabric;
	host = address;
	return cmocka_run_group_tests_name("path over verbs, an intruder", tests, NULL, NULL);
}

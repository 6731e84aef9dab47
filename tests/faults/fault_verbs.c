/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fault_verbs.c - what libfault.so stands before in libibverbs and librdmacm.
 *
 * Posting and polling go through a table of the device's: its entries are replaced when a queue pair is made.
 * "FAULT_SHORT" at a post puts the queue pair into the error state, as a peer that is gone does, and what was
 * posted is flushed.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include "fault.h"

#undef ibv_reg_mr

#define HERE __builtin_return_address(0)
#define WRAP(type, name, params, args, failure)                             \
	type name params                                                    \
	{                                                                   \
		static type(*true_one) params;                              \
		struct fault fault;                                         \
                                                                            \
		if (!true_one)                                              \
			true_one = (type(*) params)dlsym(RTLD_NEXT, #name); \
		if (fault_at(#name, HERE, &fault)) {                        \
			failure;                                            \
		}                                                           \
		return true_one args;                                       \
	}
/* answers value, and says why in errno */
#define CALL(type, name, params, args, value) WRAP(type, name, params, args, errno = fault.code; return value)
/* answers the code */
#define CODE(name, params, args) WRAP(int, name, params, args, return fault.code)
/* what takes something away does so, whatever it says */
#define GONE(name, params, args) \
	WRAP(int, name, params, args, true_one args; errno = fault.code; return fault.code)

CALL(struct ibv_device **, ibv_get_device_list, (int *count), (count), NULL)
CALL(struct ibv_pd *, ibv_alloc_pd, (struct ibv_context * context), (context), NULL)
CALL(struct ibv_comp_channel *, ibv_create_comp_channel, (struct ibv_context * context), (context), NULL)
CALL(struct ibv_cq *, ibv_create_cq,
	(struct ibv_context * context, int depth, void *own, struct ibv_comp_channel *channel, int vector),
	(context, depth, own, channel, vector), NULL)
CALL(struct ibv_mr *, ibv_reg_mr, (struct ibv_pd * pd, void *at, size_t length, int access),
	(pd, at, length, access), NULL)
CALL(struct ibv_mr *, ibv_reg_mr_iova2,
	(struct ibv_pd * pd, void *at, size_t length, uint64_t iova, unsigned access),
	(pd, at, length, iova, access), NULL)
CODE(ibv_query_device, (struct ibv_context * context, struct ibv_device_attr *ret), (context, ret))
CODE(ibv_modify_qp, (struct ibv_qp * qp, struct ibv_qp_attr *attr, int mask), (qp, attr, mask))
CALL(int, ibv_get_cq_event, (struct ibv_comp_channel * channel, struct ibv_cq **cq, void **own),
	(channel, cq, own), -1)
CALL(int, ibv_get_device_index, (struct ibv_device * device), (device), -1)
GONE(ibv_dereg_mr, (struct ibv_mr * mr), (mr))
GONE(ibv_destroy_cq, (struct ibv_cq * cq), (cq))
GONE(ibv_destroy_comp_channel, (struct ibv_comp_channel * channel), (channel))
GONE(ibv_dealloc_pd, (struct ibv_pd * pd), (pd))

CALL(struct rdma_event_channel *, rdma_create_event_channel, (void), (), NULL)
CALL(struct ibv_context **, rdma_get_devices, (int *count), (count), NULL)
CALL(int, rdma_create_id,
	(struct rdma_event_channel * channel, struct rdma_cm_id **ret, void *own, enum rdma_port_space space),
	(channel, ret, own, space), -1)
CALL(int, rdma_bind_addr, (struct rdma_cm_id * id, struct sockaddr *address), (id, address), -1)
CALL(int, rdma_listen, (struct rdma_cm_id * id, int backlog), (id, backlog), -1)
CALL(int, rdma_resolve_addr,
	(struct rdma_cm_id * id, struct sockaddr *from, struct sockaddr *to, int timeout),
	(id, from, to, timeout), -1)
CALL(int, rdma_resolve_route, (struct rdma_cm_id * id, int timeout), (id, timeout), -1)
CALL(int, rdma_connect, (struct rdma_cm_id * id, struct rdma_conn_param *param), (id, param), -1)
CALL(int, rdma_accept, (struct rdma_cm_id * id, struct rdma_conn_param *param), (id, param), -1)
CALL(int, rdma_reject, (struct rdma_cm_id * id, const void *data, uint8_t length), (id, data, length), -1)
CALL(int, rdma_disconnect, (struct rdma_cm_id * id), (id), -1)
CALL(int, rdma_get_cm_event, (struct rdma_event_channel * channel, struct rdma_cm_event **ret),
	(channel, ret), -1)
CALL(int, rdma_migrate_id, (struct rdma_cm_id * id, struct rdma_event_channel *channel), (id, channel), -1)
CALL(int, rdma_set_option, (struct rdma_cm_id * id, int level, int name, void *value, size_t length),
	(id, level, name, value, length), -1)

/* ---- the table of the device ---- */

static int (*true_post)(struct ibv_qp *, struct ibv_send_wr *, struct ibv_send_wr **);
static int (*true_poll)(struct ibv_cq *, int, struct ibv_wc *);

static int post(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **ret_bad)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_ERR };
	struct fault fault;

	if (!fault_at("ibv_post_send", HERE, &fault))
		return true_post(qp, wr, ret_bad);
	if (fault.how == FAULT_SHORT) {
		ibv_modify_qp(qp, &attr, IBV_QP_STATE);
		return true_post(qp, wr, ret_bad);
	}
	*ret_bad = wr;
	return fault.code;
}

static int poll_cq(struct ibv_cq *cq, int room, struct ibv_wc *wc)
{
	struct fault fault;

	return fault_at("ibv_poll_cq", HERE, &fault) ? -1 : true_poll(cq, room, wc);
}

int rdma_create_qp(struct rdma_cm_id *id, struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	static int (*true_one)(struct rdma_cm_id *, struct ibv_pd *, struct ibv_qp_init_attr *);
	struct fault fault;
	int result;

	if (!true_one)
		true_one = (int (*)(struct rdma_cm_id *, struct ibv_pd *, struct ibv_qp_init_attr *))dlsym(
			RTLD_NEXT, "rdma_create_qp");
	if (fault_at("rdma_create_qp", HERE, &fault)) {
		errno = fault.code;
		return -1;
	}
	result = true_one(id, pd, attr);
	if (!result && id->qp->context->ops.post_send != post) {
		true_post = id->qp->context->ops.post_send;
		true_poll = id->qp->context->ops.poll_cq;
		id->qp->context->ops.post_send = post;
		id->qp->context->ops.poll_cq = poll_cq;
	}
	return result;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btl_rdma.c - registrations, puts, gets and atomics of Open MPI, as items of the mesh.
 *
 * Owns one struct transfer for each that is under way.
 *   1. A handle that Open MPI holds is the address of a struct wt_handle: of ours, or a copy of another
 * rank's.
 *   2. Every transfer that was taken ends with exactly one callback; with an error if the other rank's memory
 *      is not there any more, upon which Open MPI's point-to-point layer falls back to sending.
 */
#include "btl_watari.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "atomic.h"

struct transfer {
	struct wt_mesh_item item;
	mca_btl_base_rdma_completion_fn_t callback;
	void *local;
	struct mca_btl_base_registration_handle_t *local_handle;
	void *context;
	void *data;
	uint8_t result_bytes; /* of an atomic, into `local` */
};

struct mca_btl_base_registration_handle_t *wt_btl_register(struct mca_btl_base_module_t *btl,
	struct mca_btl_base_endpoint_t *endpoint, void *base, size_t size, uint32_t flags)
{
	struct wt_error err = { 0 };
	struct wt_registration *registration;
	unsigned access = WT_ACCESS_SERVE;

	/* What is only read may be mapped read-only. */
	if (flags & MCA_BTL_REG_FLAG_LOCAL_WRITE)
		access |= WT_ACCESS_SINK;
	if (flags & MCA_BTL_REG_FLAG_REMOTE_WRITE)
		access |= WT_ACCESS_TARGET;
	registration = wt_mesh_register(mca_btl_watari_component.mesh, base, size, access, &err);

	if (!registration)
		wt_btl_say("%s", wt_error_text(&err));
	return (struct mca_btl_base_registration_handle_t *)registration;
}

int wt_btl_deregister(struct mca_btl_base_module_t *btl, struct mca_btl_base_registration_handle_t *handle)
{
	wt_mesh_deregister(mca_btl_watari_component.mesh, (struct wt_registration *)handle);
	return OPAL_SUCCESS;
}

static void transferred(struct wt_mesh_item *item, int status)
{
	struct transfer *transfer = (struct transfer *)item;

	if (transfer->result_bytes && status == 0)
		memcpy(transfer->local, &item->result, transfer->result_bytes);
	transfer->callback(&wt_btl_module.super, (struct mca_btl_base_endpoint_t *)item->peer,
		transfer->local, transfer->local_handle, transfer->context, transfer->data,
		wt_btl_status(status));
	free(transfer);
}

static struct transfer *transfer_new(enum wt_mesh_work work, uint64_t remote, const void *remote_handle,
	mca_btl_base_rdma_completion_fn_t callback, void *context, void *data)
{
	struct transfer *transfer = calloc(1, sizeof *transfer);

	if (!transfer)
		return NULL;
	transfer->item.work = work;
	transfer->item.done = transferred;
	transfer->item.remote_address = remote;
	memcpy(&transfer->item.remote, remote_handle, sizeof transfer->item.remote);
	transfer->callback = callback;
	transfer->context = context;
	transfer->data = data;
	return transfer;
}

static int submit(struct transfer *transfer, struct mca_btl_base_endpoint_t *endpoint)
{
	wt_mesh_submit(mca_btl_watari_component.mesh, (struct wt_mesh_peer *)endpoint, &transfer->item);
	return OPAL_SUCCESS;
}

static int move(enum wt_mesh_work work, struct mca_btl_base_endpoint_t *endpoint, void *local,
	uint64_t remote, struct mca_btl_base_registration_handle_t *local_handle, const void *remote_handle,
	size_t size, mca_btl_base_rdma_completion_fn_t callback, void *context, void *data)
{
	struct transfer *transfer;

	if (size > WT_PATH_READ_MAX)
		return OPAL_ERR_NOT_AVAILABLE;
	transfer = transfer_new(work, remote, remote_handle, callback, context, data);
	if (!transfer)
		return OPAL_ERR_OUT_OF_RESOURCE;
	transfer->local = local;
	transfer->local_handle = local_handle;
	transfer->item.local = (struct wt_registration *)local_handle;
	transfer->item.op.local = local;
	transfer->item.op.length = (uint32_t)size;
	return submit(transfer, endpoint);
}

int wt_btl_put(struct mca_btl_base_module_t *btl, struct mca_btl_base_endpoint_t *endpoint, void *local,
	uint64_t remote, struct mca_btl_base_registration_handle_t *local_handle,
	struct mca_btl_base_registration_handle_t *remote_handle, size_t size, int flags, int order,
	mca_btl_base_rdma_completion_fn_t cbfunc, void *context, void *data)
{
	return move(WT_MESH_WRITE, endpoint, local, remote, local_handle, remote_handle, size, cbfunc,
		context, data);
}

int wt_btl_get(struct mca_btl_base_module_t *btl, struct mca_btl_base_endpoint_t *endpoint, void *local,
	uint64_t remote, struct mca_btl_base_registration_handle_t *local_handle,
	struct mca_btl_base_registration_handle_t *remote_handle, size_t size, int flags, int order,
	mca_btl_base_rdma_completion_fn_t cbfunc, void *context, void *data)
{
	return move(WT_MESH_READ, endpoint, local, remote, local_handle, remote_handle, size, cbfunc, context,
		data);
}

static uint8_t atomic_kind(mca_btl_base_atomic_op_t op)
{
	switch (op) {
	case MCA_BTL_ATOMIC_ADD:
		return WT_ATOMIC_ADD;
	case MCA_BTL_ATOMIC_AND:
		return WT_ATOMIC_AND;
	case MCA_BTL_ATOMIC_OR:
		return WT_ATOMIC_OR;
	case MCA_BTL_ATOMIC_XOR:
		return WT_ATOMIC_XOR;
	case MCA_BTL_ATOMIC_SWAP:
		return WT_ATOMIC_SWAP;
	case MCA_BTL_ATOMIC_MIN:
		return WT_ATOMIC_MIN;
	case MCA_BTL_ATOMIC_MAX:
		return WT_ATOMIC_MAX;
	default:
		return WT_ATOMIC_INVALID;
	}
}

/* Fills the word of an atomic; NULL: not done here, or no memory. */
static struct transfer *atomic_new(uint8_t kind, int flags, uint64_t remote, const void *remote_handle,
	mca_btl_base_rdma_completion_fn_t callback, void *context, void *data)
{
	struct transfer *transfer;

	if (kind == WT_ATOMIC_INVALID || flags & MCA_BTL_ATOMIC_FLAG_FLOAT)
		return NULL;
	transfer = transfer_new(WT_MESH_ATOMIC, remote, remote_handle, callback, context, data);
	if (!transfer)
		return NULL;
	transfer->item.word.tag = kind;
	transfer->item.word.bytes = flags & MCA_BTL_ATOMIC_FLAG_32BIT ? 4 : 8;
	return transfer;
}

int wt_btl_atomic_op(struct mca_btl_base_module_t *btl, struct mca_btl_base_endpoint_t *endpoint,
	uint64_t remote, struct mca_btl_base_registration_handle_t *remote_handle,
	mca_btl_base_atomic_op_t op, uint64_t operand, int flags, int order,
	mca_btl_base_rdma_completion_fn_t cbfunc, void *context, void *data)
{
	struct transfer *transfer =
		atomic_new(atomic_kind(op), flags, remote, remote_handle, cbfunc, context, data);

	if (!transfer)
		return OPAL_ERR_NOT_AVAILABLE;
	transfer->item.word.value = operand;
	return submit(transfer, endpoint);
}

static int fetching(struct transfer *transfer, struct mca_btl_base_endpoint_t *endpoint, void *local,
	struct mca_btl_base_registration_handle_t *local_handle)
{
	transfer->local = local;
	transfer->local_handle = local_handle;
	transfer->result_bytes = transfer->item.word.bytes;
	return submit(transfer, endpoint);
}

int wt_btl_atomic_fop(struct mca_btl_base_module_t *btl, struct mca_btl_base_endpoint_t *endpoint,
	void *local, uint64_t remote, struct mca_btl_base_registration_handle_t *local_handle,
	struct mca_btl_base_registration_handle_t *remote_handle, mca_btl_base_atomic_op_t op,
	uint64_t operand, int flags, int order, mca_btl_base_rdma_completion_fn_t cbfunc, void *context,
	void *data)
{
	struct transfer *transfer =
		atomic_new(atomic_kind(op), flags, remote, remote_handle, cbfunc, context, data);

	if (!transfer)
		return OPAL_ERR_NOT_AVAILABLE;
	transfer->item.word.value = operand;
	return fetching(transfer, endpoint, local, local_handle);
}

int wt_btl_atomic_cswap(struct mca_btl_base_module_t *btl, struct mca_btl_base_endpoint_t *endpoint,
	void *local, uint64_t remote, struct mca_btl_base_registration_handle_t *local_handle,
	struct mca_btl_base_registration_handle_t *remote_handle, uint64_t compare, uint64_t value, int flags,
	int order, mca_btl_base_rdma_completion_fn_t cbfunc, void *context, void *data)
{
	struct transfer *transfer =
		atomic_new(WT_ATOMIC_CSWAP, flags, remote, remote_handle, cbfunc, context, data);

	if (!transfer)
		return OPAL_ERR_NOT_AVAILABLE;
	transfer->item.word.other = compare;
	transfer->item.word.value = value;
	return fetching(transfer, endpoint, local, local_handle);
}

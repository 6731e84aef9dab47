/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btl_watari.h - the inside of the Open MPI component btl/watari.
 *
 * A thin layer over a mesh (mesh.h): btl_component.c opens it and publishes its address, btl_module.c turns
 * Open MPI's sends into items, btl_rdma.c its puts, gets and atomics. Limits and flags are constant: Open MPI
 * fixes them when it first sees a peer, whatever fabric carries the bytes later. btl_memory.c keeps
 * registrations.
 */
#ifndef WATARI_MPI_BTL_WATARI_H
#define WATARI_MPI_BTL_WATARI_H

#include "compat.h"

#include "fabrics.h"
#include "mesh.h"
#include "rank.h"

#define WT_BTL_EAGER_MAX (64u << 10)
#define WT_BTL_SMALL_MAX \
	1024u /* descriptors of three sizes: this, WT_BTL_EAGER_MAX, and no memory of their own */
#define WT_BTL_CACHE_MIB 256u

struct wt_btl_component {
	mca_btl_base_component_t super;
	struct wt_mesh *mesh;
	struct wt_rank *rank;
	char *host; /* MCA parameters */
	char *verbs_host;
	char *fabrics;
	char *directory;
	unsigned cache_mib;
	bool caching; /* memory is watched */
	bool mismatch_told;
};

struct wt_btl_module {
	mca_btl_base_module_t super;
	mca_btl_base_module_error_cb_fn_t error_cb;
};

/* Open MPI looks for this name. */
extern struct wt_btl_component mca_btl_watari_component;
extern struct wt_btl_module wt_btl_module;

/* Open MPI's words for a status. */
static inline int wt_btl_status(int status)
{
	return status == 0 ? OPAL_SUCCESS : status == -ENOMEM ? OPAL_ERR_OUT_OF_RESOURCE : OPAL_ERROR;
}

/* btl_component.c: a sentence to people. */
void wt_btl_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
int wt_btl_add_procs(struct mca_btl_base_module_t *btl, size_t count, struct opal_proc_t **procs,
	struct mca_btl_base_endpoint_t **peers, opal_bitmap_t *reachable);
int wt_btl_del_procs(struct mca_btl_base_module_t *btl, size_t count, struct opal_proc_t **procs,
	struct mca_btl_base_endpoint_t **peers);

/* btl_memory.c: registrations that are kept, from begin to end. The mesh is open. */
void wt_btl_cache_begin(void);
void wt_btl_cache_end(void);

/* btl_module.c */
int wt_btl_finalize(struct mca_btl_base_module_t *btl);
void wt_btl_descriptors_free(void);

/* btl_rdma.c */
struct mca_btl_base_registration_handle_t *wt_btl_register(struct mca_btl_base_module_t *btl,
	struct mca_btl_base_endpoint_t *endpoint, void *base, size_t size, uint32_t flags);
int wt_btl_deregister(struct mca_btl_base_module_t *btl, struct mca_btl_base_registration_handle_t *handle);
int wt_btl_put(struct mca_btl_base_module_t *btl, struct mca_btl_base_endpoint_t *endpoint, void *local,
	uint64_t remote, struct mca_btl_base_registration_handle_t *local_handle,
	struct mca_btl_base_registration_handle_t *remote_handle, size_t size, int flags, int order,
	mca_btl_base_rdma_completion_fn_t cbfunc, void *context, void *data);
int wt_btl_get(struct mca_btl_base_module_t *btl, struct mca_btl_base_endpoint_t *endpoint, void *local,
	uint64_t remote, struct mca_btl_base_registration_handle_t *local_handle,
	struct mca_btl_base_registration_handle_t *remote_handle, size_t size, int flags, int order,
	mca_btl_base_rdma_completion_fn_t cbfunc, void *context, void *data);
int wt_btl_atomic_op(struct mca_btl_base_module_t *btl, struct mca_btl_base_endpoint_t *endpoint,
	uint64_t remote, struct mca_btl_base_registration_handle_t *remote_handle,
	mca_btl_base_atomic_op_t op, uint64_t operand, int flags, int order,
	mca_btl_base_rdma_completion_fn_t cbfunc, void *context, void *data);
int wt_btl_atomic_fop(struct mca_btl_base_module_t *btl, struct mca_btl_base_endpoint_t *endpoint,
	void *local, uint64_t remote, struct mca_btl_base_registration_handle_t *local_handle,
	struct mca_btl_base_registration_handle_t *remote_handle, mca_btl_base_atomic_op_t op,
	uint64_t operand, int flags, int order, mca_btl_base_rdma_completion_fn_t cbfunc, void *context,
	void *data);
int wt_btl_atomic_cswap(struct mca_btl_base_module_t *btl, struct mca_btl_base_endpoint_t *endpoint,
	void *local, uint64_t remote, struct mca_btl_base_registration_handle_t *local_handle,
	struct mca_btl_base_registration_handle_t *remote_handle, uint64_t compare, uint64_t value, int flags,
	int order, mca_btl_base_rdma_completion_fn_t cbfunc, void *context, void *data);

#endif

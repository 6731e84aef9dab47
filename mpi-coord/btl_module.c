/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btl_module.c - the module: descriptors, and sending.
 *
 * Owns the descriptors that Open MPI does not hold, in a list for each size.
 *   1. A descriptor is Open MPI's from alloc to send, the mesh's until its item is done, and then Open MPI's
 *      again, or, if it gave it away (BTL_OWNERSHIP), back in its list.
 *   2. The mesh's head lies right before the first segment, so head and segment are one piece.
 *   3. Nothing is ever refused because the rank is quiesced: Open MPI repeats what was refused only when
 *      something else completes, which then nothing does. send_at_once refuses, but with a descriptor to
 * send. Any thread may call in; the lists have a lock.
 */
#include "btl_watari.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FINALIZE_TELL_NS 2000000000ull

struct descriptor {
	mca_btl_base_descriptor_t base;
	mca_btl_base_segment_t segments[2];
	struct wt_mesh_item item;
	struct descriptor *next;
	size_t room; /* bytes behind `head` */
	uint8_t head[WT_FRAME_HEAD_BYTES] __attribute__((aligned(16)));
	uint8_t first[]; /* the first segment */
};

struct list {
	struct descriptor *first;
	size_t room;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list lists[] = { { NULL, WT_BTL_SMALL_MAX }, { NULL, WT_BTL_EAGER_MAX } };

static struct list *list_for(size_t size)
{
	return &lists[size > WT_BTL_SMALL_MAX];
}

static struct descriptor *descriptor_new(size_t room)
{
	struct descriptor *descriptor = calloc(1, sizeof *descriptor + room);

	if (!descriptor)
		return NULL;
	OBJ_CONSTRUCT(&descriptor->base, mca_btl_base_descriptor_t);
	descriptor->room = room;
	descriptor->base.des_segments = descriptor->segments;
	descriptor->segments[0].seg_addr.pval = descriptor->first;
	return descriptor;
}

static mca_btl_base_descriptor_t *alloc(struct mca_btl_base_module_t *btl,
	struct mca_btl_base_endpoint_t *endpoint, uint8_t order, size_t size, uint32_t flags)
{
	struct list *list = list_for(size);
	struct descriptor *descriptor;

	if (size > WT_BTL_EAGER_MAX)
		return NULL;
	pthread_mutex_lock(&lock);
	descriptor = list->first;
	if (descriptor)
		list->first = descriptor->next;
	pthread_mutex_unlock(&lock);
	if (!descriptor)
		descriptor = descriptor_new(list->room);
	if (!descriptor)
		return NULL;
	descriptor->base.des_segment_count = 1;
	descriptor->base.des_flags = flags;
	descriptor->base.order = MCA_BTL_NO_ORDER;
	descriptor->base.des_cbfunc = NULL;
	descriptor->segments[0].seg_len = size;
	return &descriptor->base;
}

static int give_back(struct mca_btl_base_module_t *btl, mca_btl_base_descriptor_t *base)
{
	struct descriptor *descriptor = (struct descriptor *)base;
	struct list *list = list_for(descriptor->room);

	pthread_mutex_lock(&lock);
	descriptor->next = list->first;
	list->first = descriptor;
	pthread_mutex_unlock(&lock);
	return OPAL_SUCCESS;
}

void wt_btl_descriptors_free(void)
{
	unsigned i;

	for (i = 0; i < 2; i++) {
		struct descriptor *descriptor;

		while ((descriptor = lists[i].first)) {
			lists[i].first = descriptor->next;
			OBJ_DESTRUCT(&descriptor->base);
			free(descriptor);
		}
	}
}

static mca_btl_base_descriptor_t *prepare_src(struct mca_btl_base_module_t *btl,
	struct mca_btl_base_endpoint_t *endpoint, struct opal_convertor_t *convertor, uint8_t order,
	size_t reserve, size_t *size, uint32_t flags)
{
	bool in_place = !opal_convertor_need_buffers(convertor);
	mca_btl_base_descriptor_t *base;
	struct iovec iov;
	uint32_t count = 1;
	size_t bytes;

	if (reserve + *size > WT_BTL_EAGER_MAX)
		*size = WT_BTL_EAGER_MAX - reserve;
	base = alloc(btl, endpoint, order, reserve + (in_place ? 0 : *size), flags);
	if (!base)
		return NULL;
	bytes = *size;
	if (in_place) {
		void *user;

		opal_convertor_get_current_pointer(convertor, &user);
		base->des_segments[1].seg_addr.pval = user;
		base->des_segments[1].seg_len = bytes;
		base->des_segment_count = 2;
		return base;
	}
	iov.iov_base = (uint8_t *)base->des_segments[0].seg_addr.pval + reserve;
	iov.iov_len = bytes;
	if (opal_convertor_pack(convertor, &iov, &count, &bytes) < 0) {
		give_back(btl, base);
		return NULL;
	}
	base->des_segments[0].seg_len = reserve + bytes;
	*size = bytes;
	return base;
}

static void sent(struct wt_mesh_item *item, int status)
{
	struct descriptor *descriptor =
		(struct descriptor *)((char *)item - offsetof(struct descriptor, item));
	mca_btl_base_descriptor_t *base = &descriptor->base;
	bool ours = base->des_flags & MCA_BTL_DES_FLAGS_BTL_OWNERSHIP;

	if (base->des_cbfunc)
		base->des_cbfunc(&wt_btl_module.super, (struct mca_btl_base_endpoint_t *)item->peer, base,
			wt_btl_status(status));
	if (ours)
		give_back(&wt_btl_module.super, base);
}

static struct wt_mesh_item *item_fill(mca_btl_base_descriptor_t *base, mca_btl_base_tag_t tag)
{
	struct descriptor *descriptor = (struct descriptor *)base;
	struct wt_mesh_item *item = &descriptor->item;

	item->work = WT_MESH_SEND;
	item->tag = tag;
	item->local = NULL;
	item->done = sent;
	item->op.head = descriptor->head;
	item->op.head_length = (uint32_t)(WT_FRAME_HEAD_BYTES + base->des_segments[0].seg_len);
	item->op.local = base->des_segment_count > 1 ? base->des_segments[1].seg_addr.pval : NULL;
	item->op.length = base->des_segment_count > 1 ? (uint32_t)base->des_segments[1].seg_len : 0;
	return item;
}

static int send_descriptor(struct mca_btl_base_module_t *btl, struct mca_btl_base_endpoint_t *endpoint,
	mca_btl_base_descriptor_t *base, mca_btl_base_tag_t tag)
{
	wt_mesh_submit(mca_btl_watari_component.mesh, (struct wt_mesh_peer *)endpoint, item_fill(base, tag));
	return OPAL_SUCCESS;
}

/* Header and payload behind each other; false: the payload cannot be had. */
static bool pack(struct opal_convertor_t *convertor, const void *header, size_t header_size,
	size_t payload_size, uint8_t *ret_bytes)
{
	struct iovec iov = { .iov_base = ret_bytes + header_size, .iov_len = payload_size };
	uint32_t count = 1;

	memcpy(ret_bytes, header, header_size);
	return !payload_size || opal_convertor_pack(convertor, &iov, &count, &payload_size) >= 0;
}

/*
 * A small message that is copied, and of which Open MPI keeps no account. Only where nothing is before it: so
 * no more are kept than a path takes, and what must wait waits at Open MPI. Who gets no descriptor instead
 * waits for something else to complete (invariant 3); who wants none sends in the other way. A descriptor
 * that is given out holds the message already: a convertor that has packed once packs nothing more.
 */
static int send_at_once(struct mca_btl_base_module_t *btl, struct mca_btl_base_endpoint_t *endpoint,
	struct opal_convertor_t *convertor, void *header, size_t header_size, size_t payload_size,
	uint8_t order, uint32_t flags, mca_btl_base_tag_t tag, mca_btl_base_descriptor_t **ret_base)
{
	struct wt_mesh *mesh = mca_btl_watari_component.mesh;
	struct wt_mesh_peer *peer = (struct wt_mesh_peer *)endpoint;
	size_t size = header_size + payload_size;
	bool tiny = size <= WT_MESH_NOW_MAX - WT_FRAME_HEAD_BYTES;
	uint8_t now[WT_MESH_NOW_MAX];
	mca_btl_base_descriptor_t *base = NULL;
	bool packed;

	packed = tiny && pack(convertor, header, header_size, payload_size, now + WT_FRAME_HEAD_BYTES);
	if (packed && wt_mesh_send_now(mesh, peer, tag, now, WT_FRAME_HEAD_BYTES + size))
		return OPAL_SUCCESS;
	if (ret_base || size <= WT_BTL_SMALL_MAX)
		base = alloc(btl, endpoint, order, size, flags | MCA_BTL_DES_FLAGS_BTL_OWNERSHIP);
	if (base && size <= WT_BTL_SMALL_MAX) {
		uint8_t *bytes = base->des_segments[0].seg_addr.pval;

		if (packed)
			memcpy(bytes, now + WT_FRAME_HEAD_BYTES, size);
		else if (!tiny)
			packed = pack(convertor, header, header_size, payload_size, bytes);
		if (packed && wt_mesh_submit_now(mesh, peer, item_fill(base, tag)))
			return OPAL_SUCCESS;
	}
	if (ret_base)
		*ret_base = base;
	else if (base)
		give_back(btl, base);
	return OPAL_ERR_OUT_OF_RESOURCE;
}

static int register_error(struct mca_btl_base_module_t *btl, mca_btl_base_module_error_cb_fn_t callback)
{
	wt_btl_module.error_cb = callback;
	return OPAL_SUCCESS;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int wt_btl_finalize(struct mca_btl_base_module_t *btl)
{
	struct wt_btl_component *component = &mca_btl_watari_component;
	uint64_t tell_ns = now_ns() + FINALIZE_TELL_NS;
	const struct timespec pause = { .tv_nsec = 100000 };

	/* Whatever Open MPI still wanted to say goes first; a quiesce is waited for. Who is told of
	 * completions is gone already. */
	while (component->rank && !wt_mesh_settle(component->mesh)) {
		nanosleep(&pause, NULL);
		if (tell_ns && now_ns() > tell_ns) {
			wt_btl_say("rank %u ends when the job goes on; type `watari-mpi resume`",
				OPAL_PROC_MY_NAME.vpid);
			tell_ns = 0;
		}
	}
	if (component->rank)
		wt_rank_close(component->rank);
	wt_btl_cache_end();
	wt_mesh_close(component->mesh);
	component->rank = NULL;
	component->mesh = NULL;
	return OPAL_SUCCESS;
}

struct wt_btl_module wt_btl_module = {
	.super = {
		.btl_component = &mca_btl_watari_component.super,
		.btl_eager_limit = WT_BTL_EAGER_MAX,
		.btl_rndv_eager_limit = 16 << 10,
		.btl_max_send_size = WT_BTL_EAGER_MAX,
		.btl_rdma_pipeline_send_length = 0, /* what can be put is not copied */
		.btl_rdma_pipeline_frag_size = WT_PATH_READ_MAX,
		.btl_min_rdma_pipeline_size = 0,
		.btl_exclusivity = MCA_BTL_EXCLUSIVITY_DEFAULT,
		.btl_latency = 50,
		.btl_bandwidth = 10000,
		.btl_flags = MCA_BTL_FLAGS_SEND | MCA_BTL_FLAGS_SEND_INPLACE | MCA_BTL_FLAGS_PUT |
			MCA_BTL_FLAGS_GET | MCA_BTL_FLAGS_ATOMIC_OPS | MCA_BTL_FLAGS_ATOMIC_FOPS |
			WT_COMPAT_FLAGS,
		.btl_atomic_flags = MCA_BTL_ATOMIC_SUPPORTS_ADD | MCA_BTL_ATOMIC_SUPPORTS_AND |
			MCA_BTL_ATOMIC_SUPPORTS_OR | MCA_BTL_ATOMIC_SUPPORTS_XOR |
			MCA_BTL_ATOMIC_SUPPORTS_SWAP | MCA_BTL_ATOMIC_SUPPORTS_MIN |
			MCA_BTL_ATOMIC_SUPPORTS_MAX | MCA_BTL_ATOMIC_SUPPORTS_32BIT |
			MCA_BTL_ATOMIC_SUPPORTS_CSWAP | MCA_BTL_ATOMIC_SUPPORTS_GLOB,
		.btl_registration_handle_size = sizeof(struct wt_handle),
		.btl_get_limit = WT_PATH_READ_MAX,
		.btl_put_limit = WT_PATH_READ_MAX,
		.btl_get_local_registration_threshold = 0,
		.btl_put_local_registration_threshold = 0, /* a device reads what is put */
		.btl_add_procs = wt_btl_add_procs,
		.btl_del_procs = wt_btl_del_procs,
		.btl_finalize = wt_btl_finalize,
		.btl_alloc = alloc,
		.btl_free = give_back,
		.btl_prepare_src = prepare_src,
		.btl_send = send_descriptor,
		.btl_sendi = send_at_once,
		.btl_put = wt_btl_put,
		.btl_get = wt_btl_get,
		.btl_dump = mca_btl_base_dump,
		.btl_atomic_op = wt_btl_atomic_op,
		.btl_atomic_fop = wt_btl_atomic_fop,
		.btl_atomic_cswap = wt_btl_atomic_cswap,
		.btl_register_mem = wt_btl_register,
		.btl_deregister_mem = wt_btl_deregister,
		.btl_register_error = register_error,
	},
};

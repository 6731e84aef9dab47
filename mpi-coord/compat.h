/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * compat.h - everything in which Open MPI's major versions differ for a BTL, and the only file that sees its
 * headers.
 *
 * A component is bound to one version of Open MPI. This one is built and run with 4.1 (BTL interface 3.1.0).
 * What stands here for 5.0 (3.3.0) compiles, with the rest of the component, against the headers of 5.0.7; it
 * was never linked or run. In 5.0 what comes has a descriptor of its own type, PMIx is used by its own names,
 * and a BTL whose puts are complete at the target when they are complete here says so.
 */
#ifndef WATARI_MPI_COMPAT_H
#define WATARI_MPI_COMPAT_H

#include <stdbool.h>

#include <opal_config.h>

#include <opal/class/opal_bitmap.h>
#include <opal/constants.h>
#include <opal/datatype/opal_convertor.h>
#include <opal/mca/base/mca_base_var.h>
#include <opal/mca/btl/base/base.h>
#include <opal/mca/btl/btl.h>
#include <opal/mca/memory/base/base.h>
#include <opal/memoryhooks/memory.h>
#include <opal/util/output.h>
#include <opal/util/proc.h>

#if OPAL_MAJOR_VERSION == 4
#include <opal/mca/pmix/pmix.h>
#define WT_COMPAT_GLOBAL OPAL_PMIX_GLOBAL
#define WT_COMPAT_JOB_SIZE OPAL_PMIX_JOB_SIZE
#define WT_COMPAT_UINT32 OPAL_UINT32
#define WT_COMPAT_FLAGS 0
#elif OPAL_MAJOR_VERSION == 5
#include <opal/mca/pmix/pmix-internal.h>
#define WT_COMPAT_GLOBAL PMIX_GLOBAL
#define WT_COMPAT_JOB_SIZE PMIX_JOB_SIZE
#define WT_COMPAT_UINT32 PMIX_UINT32
#define WT_COMPAT_FLAGS MCA_BTL_FLAGS_RDMA_REMOTE_COMPLETION
#else
#error "btl/watari knows Open MPI 4 and 5; mpi-coord/compat.h is what another major version needs"
#endif

/* Gives a message that came to whoever registered its tag; false: nobody has. */
static inline bool wt_compat_deliver(
	struct mca_btl_base_module_t *btl, uint8_t tag, const void *bytes, size_t length)
{
	mca_btl_base_segment_t segment = { .seg_addr.pval = (void *)bytes, .seg_len = length };
	const mca_btl_active_message_callback_t *receiver;

	if (tag >= MCA_BTL_TAG_MAX || !mca_btl_base_active_message_trigger[tag].cbfunc)
		return false;
	receiver = &mca_btl_base_active_message_trigger[tag];
#if OPAL_MAJOR_VERSION == 4
	mca_btl_base_descriptor_t descriptor = { .des_segments = &segment, .des_segment_count = 1 };

	receiver->cbfunc(btl, tag, &descriptor, receiver->cbdata);
#else
	const mca_btl_base_receive_descriptor_t descriptor = {
		.des_segments = &segment, .des_segment_count = 1, .tag = tag, .cbdata = receiver->cbdata
	};

	receiver->cbfunc(btl, &descriptor);
#endif
	return true;
}

/* Publishes, and finds, what a component says of itself to the other ranks. */
static inline int wt_compat_publish(const mca_base_component_t *component, void *data, size_t size)
{
	int status;

	OPAL_MODEX_SEND(status, WT_COMPAT_GLOBAL, component, data, size);
	return status;
}

/* *ret_data is to be freed. */
static inline int wt_compat_find(
	const mca_base_component_t *component, opal_process_name_t *name, void **ret_data, size_t *ret_size)
{
	int status;

	OPAL_MODEX_RECV(status, component, name, ret_data, ret_size);
	return status;
}

/* How many ranks this job has; 0: nobody has said. */
static inline uint32_t wt_compat_job_size(void)
{
	opal_process_name_t wildcard = { .jobid = OPAL_PROC_MY_NAME.jobid, .vpid = OPAL_VPID_WILDCARD };
	uint32_t value = 0;
	uint32_t *size = &value;
	int status;

	OPAL_MODEX_RECV_VALUE_OPTIONAL(status, WT_COMPAT_JOB_SIZE, &wildcard, &size, WT_COMPAT_UINT32);
	return status == OPAL_SUCCESS ? value : 0;
}

/*
 * Has `fn` called before memory of this process goes back to the kernel, in any thread, perhaps inside of
 * malloc. false: Open MPI does not see that here.
 */
static inline bool wt_compat_memory_watch(opal_mem_hooks_callback_fn_t *fn)
{
	const int all = OPAL_MEMORY_FREE_SUPPORT | OPAL_MEMORY_MUNMAP_SUPPORT;

	if (mca_base_framework_open(&opal_memory_base_framework, 0) != OPAL_SUCCESS)
		return false;
	if ((opal_mem_hooks_support_level() & all) == all &&
		opal_mem_hooks_register_release(fn, NULL) == OPAL_SUCCESS)
		return true;
	(void)mca_base_framework_close(&opal_memory_base_framework);
	return false;
}

static inline void wt_compat_memory_unwatch(opal_mem_hooks_callback_fn_t *fn)
{
	(void)opal_mem_hooks_unregister_release(fn);
	(void)mca_base_framework_close(&opal_memory_base_framework);
}

#endif

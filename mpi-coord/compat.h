/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * compat.h - everything in which Open MPI's major versions differ for a BTL.
 *
 * Written against 4.1 (BTL interface 3.1.0) and its installed headers. For another major version this file is
 * to be extended, and the component built once more: components are bound to one version anyway. Known of 5.0
 * (interface 3.3.0): the receive callback gets a descriptor of its own type, pmix headers and macros have
 * other names, ft_event is gone.
 */
#ifndef WATARI_MPI_COMPAT_H
#define WATARI_MPI_COMPAT_H

#include <stdbool.h>

#include <opal_config.h>

#if OPAL_MAJOR_VERSION != 4
#error "btl/watari knows Open MPI 4.1 only; mpi-coord/compat.h is what another major version needs"
#endif

#include <opal/class/opal_bitmap.h>
#include <opal/constants.h>
#include <opal/datatype/opal_convertor.h>
#include <opal/mca/base/mca_base_var.h>
#include <opal/mca/btl/base/base.h>
#include <opal/mca/btl/btl.h>
#include <opal/mca/pmix/pmix.h>
#include <opal/util/output.h>
#include <opal/util/proc.h>

/* Gives a message that came to whoever registered its tag; false: nobody has. */
static inline bool wt_compat_deliver(
	struct mca_btl_base_module_t *btl, uint8_t tag, const void *bytes, size_t length)
{
	mca_btl_base_segment_t segment = { .seg_addr.pval = (void *)bytes, .seg_len = length };
	mca_btl_base_descriptor_t descriptor = { .des_segments = &segment, .des_segment_count = 1 };

	const mca_btl_active_message_callback_t *receiver;

	if (tag >= MCA_BTL_TAG_MAX || !mca_btl_base_active_message_trigger[tag].cbfunc)
		return false;
	receiver = &mca_btl_base_active_message_trigger[tag];
	receiver->cbfunc(btl, tag, &descriptor, receiver->cbdata);
	return true;
}

/* Publishes, and finds, what a component says of itself to the other ranks. */
static inline int wt_compat_publish(const mca_base_component_t *component, void *data, size_t size)
{
	int status;

	OPAL_MODEX_SEND(status, OPAL_PMIX_GLOBAL, component, data, size);
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

#endif

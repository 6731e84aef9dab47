/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btl_memory.c - registrations that are kept although nobody uses them, and Open MPI's word of memory that
 * goes away.
 *
 *   1. Registrations are kept only while Open MPI tells us of every munmap and its like.
 *   2. The notes are never freed: a thread may stand in `released` while the module ends.
 */
#include "btl_watari.h"

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gone.h"

#define MIB_MAX (64u << 10)

static struct wt_gone gone = WT_GONE_INITIALIZER;

/* In any thread, perhaps inside of free: no allocation, no lock that is waited for. */
static void released(void *base, size_t length, void *arg, bool from_alloc)
{
	wt_gone_put(&gone, base, length);
}

static bool may_lock_all(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct found[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return syscall(SYS_capget, &head, found) == 0 && found[0].effective & 1u << CAP_IPC_LOCK;
}

/* What is kept leaves room for connections, and for memory that is in use, below the limit of locked memory.
 */
static size_t bytes_max(unsigned mib)
{
	size_t bytes = (size_t)(mib < MIB_MAX ? mib : MIB_MAX) << 20;
	struct rlimit locked;

	if (!may_lock_all() && getrlimit(RLIMIT_MEMLOCK, &locked) == 0 && locked.rlim_cur != RLIM_INFINITY &&
		locked.rlim_cur / 4 < bytes)
		bytes = locked.rlim_cur / 4;
	return bytes;
}

void wt_btl_cache_begin(void)
{
	struct wt_btl_component *component = &mca_btl_watari_component;

	component->caching = component->cache_mib && wt_compat_memory_watch(released);
	if (component->caching)
		wt_mesh_cache(component->mesh, &gone, bytes_max(component->cache_mib));
}

void wt_btl_cache_end(void)
{
	struct wt_btl_component *component = &mca_btl_watari_component;
	struct wt_cache_figures figures;

	if (component->caching)
		wt_compat_memory_unwatch(released);
	component->caching = false;
	wt_mesh_cache_figures(component->mesh, &figures);
	opal_output_verbose(10, opal_btl_base_framework.framework_output,
		"btl/watari: rank %u: registrations: %llu made, %llu found, %llu evicted, %llu of memory that went away",
		OPAL_PROC_MY_NAME.vpid, (unsigned long long)figures.made, (unsigned long long)figures.found,
		(unsigned long long)figures.evicted, (unsigned long long)figures.gone);
}

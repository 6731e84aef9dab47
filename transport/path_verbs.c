/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_verbs.c - the verbs fabric: devices, endpoints and regions. The table is at the end.
 *
 * Owns an endpoint's protection domain and its memory regions.
 *   1. A protection domain is allocated on librdmacm's context of the device, the one that its connections
 *      have; anything else could not be used with them.
 *   2. A SERVE region grants remote reading and nothing else; no region ever grants remote writing.
 *   3. Every endpoint has a protection domain of its own: a key is worthless on another session's path.
 * librdmacm keeps a device's context open as long as the process lives; a guest that lets its device go needs
 * the process to end, or the driver to take the context away.
 * Threads: the owner's.
 */
#include "path_verbs.h"
#include "path_fabrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t wt_verbs_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* By name, or the first. */
static int device_find(struct wt_endpoint *endpoint, const char *device, struct wt_error *err)
{
	int count = 0;
	int i;

	endpoint->devices = rdma_get_devices(&count);
	for (i = 0; endpoint->devices && i < count; i++) {
		if (!device || !strcmp(ibv_get_device_name(endpoint->devices[i]->device), device)) {
			endpoint->verbs = endpoint->devices[i];
			return 0;
		}
	}
	if (!device || !count)
		return wt_error_set(err, ENODEV, "there is no RDMA device here%s%s; see `rdma link`",
			device ? ", so no " : "", device ? device : "");
	return wt_error_set(err, ENODEV, "there is no RDMA device %.64s among the %d here; see `rdma link`",
		device, count);
}

static int device_route(struct wt_endpoint *endpoint, const char *peer_host, struct wt_error *err)
{
	struct wt_verbs_cm cm = { 0 };
	int status;

	status = wt_verbs_resolve(&cm, peer_host, 1, wt_verbs_now_ns() + WT_VERBS_RESOLVE_NS, err);
	if (status < 0)
		return status;
	endpoint->id = cm.id;
	endpoint->channel = cm.channel;
	endpoint->verbs = cm.id->verbs;
	return 0;
}

static uint8_t clamp_u8(int value)
{
	return value < 0 ? 0 : value > UINT8_MAX ? UINT8_MAX : (uint8_t)value;
}

static int device_limits(struct wt_endpoint *endpoint, struct wt_error *err)
{
	struct ibv_device_attr attr;
	int status = ibv_query_device(endpoint->verbs, &attr);

	if (status)
		return wt_error_set(err, status, "the RDMA device %s does not tell its limits: %s",
			ibv_get_device_name(endpoint->verbs->device), strerror(status));
	endpoint->depth = WT_VERBS_DEPTH_MAX;
	if (attr.max_qp_wr > 0 && (unsigned)attr.max_qp_wr < endpoint->depth)
		endpoint->depth = (unsigned)attr.max_qp_wr;
	if (attr.max_cqe > 0 && (unsigned)attr.max_cqe < endpoint->depth)
		endpoint->depth = (unsigned)attr.max_cqe;
	endpoint->initiator_depth = clamp_u8(attr.max_qp_init_rd_atom);
	endpoint->responder_resources = clamp_u8(attr.max_qp_rd_atom);
	return 0;
}

int wt_verbs_endpoint_open(
	const char *device, const char *peer_host, struct wt_endpoint **ret_endpoint, struct wt_error *err)
{
	struct wt_endpoint *endpoint = calloc(1, sizeof *endpoint);
	int status;

	if (!endpoint)
		return wt_error_set(err, ENOMEM, "out of memory for a verbs endpoint");
	if (device || !peer_host)
		status = device_find(endpoint, device, err);
	else
		status = device_route(endpoint, peer_host, err);
	if (status >= 0)
		status = device_limits(endpoint, err);
	if (status >= 0) {
		endpoint->pd = ibv_alloc_pd(endpoint->verbs);
		if (!endpoint->pd)
			status = wt_error_set(err, errno ? errno : ENOMEM,
				"the RDMA device %s gives no protection domain: %s",
				ibv_get_device_name(endpoint->verbs->device), strerror(errno));
	}
	if (status < 0) {
		wt_verbs_endpoint_close(endpoint);
		return status;
	}
	*ret_endpoint = endpoint;
	return 0;
}

void wt_verbs_endpoint_close(struct wt_endpoint *endpoint)
{
	struct wt_verbs_cm cm;

	if (!endpoint)
		return;
	if (endpoint->pd)
		ibv_dealloc_pd(endpoint->pd);
	cm.id = endpoint->id;
	cm.channel = endpoint->channel;
	wt_verbs_cm_close(&cm);
	if (endpoint->devices)
		rdma_free_devices(endpoint->devices);
	free(endpoint);
}

static int region_error(struct wt_error *err, int code, size_t length)
{
	switch (code) {
	case ENOMEM:
		return wt_error_set(err, code,
			"cannot register %zu bytes for RDMA: the locked-memory limit is too low; raise it (`ulimit "
			"-l`, "
			"LimitMEMLOCK=)",
			length);
	case EFAULT:
		return wt_error_set(err, code,
			"cannot register %zu bytes for RDMA: not all of it is mapped, or it is mapped read-only, which "
			"Linux before 6.2 refuses; map it writable",
			length);
	default:
		return wt_error_set(
			err, code, "cannot register %zu bytes for RDMA: %s", length, strerror(code));
	}
}

static int verbs_region_add(struct wt_endpoint *endpoint, void *base, size_t length, unsigned access,
	struct wt_region **ret_region, struct wt_error *err)
{
	struct wt_region *region;
	int flags = IBV_ACCESS_RELAXED_ORDERING; /* optional: dropped where the device or kernel has none */
	int code;

	if (!base || !length || !access || access & ~(unsigned)(WT_ACCESS_SERVE | WT_ACCESS_SINK))
		return wt_error_set(err, EINVAL,
			"a region needs memory and an access (got %zu bytes, access %u)", length, access);
	if (access & WT_ACCESS_SERVE)
		flags |= IBV_ACCESS_REMOTE_READ;
	if (access & WT_ACCESS_SINK)
		flags |= IBV_ACCESS_LOCAL_WRITE;
	region = calloc(1, sizeof *region);
	if (!region)
		return wt_error_set(err, ENOMEM, "out of memory for a region");
	region->mr = ibv_reg_mr(endpoint->pd, base, length, flags);
	if (!region->mr) {
		code = errno ? errno : EIO;
		free(region);
		return region_error(err, code, length);
	}
	region->endpoint = endpoint;
	region->base = base;
	region->length = length;
	region->access = access;
	*ret_region = region;
	return 0;
}

static void verbs_region_key(const struct wt_region *region, struct wt_key *ret_key)
{
	ret_key->address = (uint64_t)(uintptr_t)region->base;
	ret_key->length = region->length;
	ret_key->key = region->mr->rkey;
}

static void verbs_region_remove(struct wt_region *region)
{
	if (!region)
		return;
	ibv_dereg_mr(region->mr);
	free(region);
}

static int verbs_quiesce(struct wt_path *path)
{
	path->quiesced = true;
	return path->count ? -EAGAIN : 0;
}

static int verbs_resume(struct wt_path *path)
{
	if (path->error)
		return -path->error;
	if (!path->endpoint)
		return -ENOTCONN;
	path->quiesced = false;
	return 0;
}

static int verbs_fd(const struct wt_path *path)
{
	return path->epoll;
}

static unsigned verbs_depth(const struct wt_path *path)
{
	return path->depth;
}

const struct wt_fabric_ops wt_path_verbs_ops = {
	.name = "verbs",
	.fabric = WT_FABRIC_VERBS,
	.endpoint_open = wt_verbs_endpoint_open,
	.endpoint_close = wt_verbs_endpoint_close,
	.region_add = verbs_region_add,
	.region_key = verbs_region_key,
	.region_remove = verbs_region_remove,
	.listener_open = wt_verbs_listener_open,
	.listener_close = wt_verbs_listener_close,
	.listener_fd = wt_verbs_listener_fd,
	.listener_accept = wt_verbs_listener_accept,
	.request_admit = wt_verbs_request_admit,
	.request_refuse = wt_verbs_request_refuse,
	.connect = wt_verbs_connect,
	.quiesce = verbs_quiesce,
	.resume = verbs_resume,
	.detach = wt_verbs_detach,
	.attach = wt_verbs_attach,
	.close = wt_verbs_close,
	.post = wt_verbs_post,
	.poll = wt_verbs_poll,
	.arm = wt_verbs_arm,
	.fd = verbs_fd,
	.depth = verbs_depth,
	.alive = wt_verbs_alive,
};

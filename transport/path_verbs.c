/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_verbs.c - the verbs fabric: devices, endpoints and regions. The table is at the end.
 *
 * Owns an endpoint's protection domains, one for each of its devices, and its memory regions.
 *   1. A protection domain is allocated on librdmacm's context of the device, the one that its connections
 *      have; anything else could not be used with them.
 *   2. A SERVE region grants remote reading and nothing else; a TARGET, of which only peers have any, remote
 *      writing.
 *   3. Every endpoint has protection domains of its own: a key is worthless on another session's path.
 * librdmacm keeps a device's context open as long as the process lives; see path_verbs_leave.c.
 * Threads: the owner's; but regions may be added by several threads at once.
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

int wt_verbs_rail_of(const struct wt_endpoint *endpoint, const struct ibv_context *verbs)
{
	for (unsigned i = 0; i < endpoint->rail_count; i++)
		if (endpoint->rails[i].verbs == verbs)
			return (int)i;
	return -1;
}

static int rail_add(struct wt_endpoint *endpoint, struct ibv_context *verbs, struct wt_error *err)
{
	if (wt_verbs_rail_of(endpoint, verbs) >= 0)
		return wt_error_set(
			err, EINVAL, "the RDMA device %s is named twice", ibv_get_device_name(verbs->device));
	if (endpoint->rail_count == WT_VERBS_RAILS_MAX)
		return wt_error_set(err, EINVAL, "more than %u RDMA devices are named", WT_VERBS_RAILS_MAX);
	endpoint->rails[endpoint->rail_count++].verbs = verbs;
	return 0;
}

/* By a name of `length` letters; NULL: the first device that there is. */
static int device_find(
	struct wt_endpoint *endpoint, int count, const char *name, size_t length, struct wt_error *err)
{
	for (int i = 0; i < count; i++) {
		const char *found = ibv_get_device_name(endpoint->devices[i]->device);

		if (!name || (strlen(found) == length && !memcmp(found, name, length)))
			return rail_add(endpoint, endpoint->devices[i], err);
	}
	if (!name || !count)
		return wt_error_set(err, ENODEV, "there is no RDMA device here%s%.*s; see `rdma link`",
			name ? ", so no " : "", (int)length, name ? name : "");
	return wt_error_set(err, ENODEV, "there is no RDMA device %.*s among the %d here; see `rdma link`",
		(int)(length < 64 ? length : 64), name, count);
}

/* names: with commas between them; NULL: the first device that there is. */
static int devices_find(struct wt_endpoint *endpoint, const char *names, struct wt_error *err)
{
	int count = 0, status = 0;

	endpoint->devices = rdma_get_devices(&count);
	if (!endpoint->devices)
		count = 0;
	if (!names)
		return device_find(endpoint, count, NULL, 0, err);
	while (!status && names) {
		const char *comma = strchr(names, ',');

		status = device_find(
			endpoint, count, names, comma ? (size_t)(comma - names) : strlen(names), err);
		names = comma ? comma + 1 : NULL;
	}
	return status;
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
	return rail_add(endpoint, cm.id->verbs, err);
}

static uint8_t clamp_u8(int value)
{
	return value < 0 ? 0 : value > UINT8_MAX ? UINT8_MAX : (uint8_t)value;
}

static void depth_at_most(struct wt_endpoint *endpoint, int most)
{
	if (most > 0 && (unsigned)most < endpoint->depth)
		endpoint->depth = (unsigned)most;
}

static int rail_open(struct wt_endpoint *endpoint, struct wt_verbs_rail *rail, struct wt_error *err)
{
	const char *name = ibv_get_device_name(rail->verbs->device);
	struct ibv_device_attr attr;
	int status = ibv_query_device(rail->verbs, &attr);

	if (status)
		return wt_error_set(err, status, "the RDMA device %s does not tell its limits: %s", name,
			strerror(status));
	depth_at_most(endpoint, attr.max_qp_wr);
	depth_at_most(endpoint, attr.max_cqe);
	rail->initiator_depth = clamp_u8(attr.max_qp_init_rd_atom);
	rail->responder_resources = clamp_u8(attr.max_qp_rd_atom);
	wt_verbs_note(rail->verbs);
	rail->pd = ibv_alloc_pd(rail->verbs);
	if (!rail->pd)
		return wt_error_set(err, errno ? errno : ENOMEM,
			"the RDMA device %s gives no protection domain: %s", name, strerror(errno));
	return 0;
}

int wt_verbs_endpoint_open(
	const char *device, const char *peer_host, struct wt_endpoint **ret_endpoint, struct wt_error *err)
{
	struct wt_endpoint *endpoint = calloc(1, sizeof *endpoint);
	int status;

	if (!endpoint)
		return wt_error_set(err, ENOMEM, "out of memory for a verbs endpoint");
	endpoint->depth = WT_VERBS_DEPTH_MAX;
	if (device || !peer_host)
		status = devices_find(endpoint, device, err);
	else
		status = device_route(endpoint, peer_host, err);
	for (unsigned i = 0; i < endpoint->rail_count && status >= 0; i++)
		status = rail_open(endpoint, &endpoint->rails[i], err);
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
	for (unsigned i = 0; i < endpoint->rail_count; i++)
		if (endpoint->rails[i].pd)
			ibv_dealloc_pd(endpoint->rails[i].pd);
	cm.id = endpoint->id;
	cm.channel = endpoint->channel;
	wt_verbs_cm_close(&cm);
	if (endpoint->devices)
		rdma_free_devices(endpoint->devices);
	free(endpoint);
}

int wt_verbs_region_error(struct wt_error *err, int code, size_t length)
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

static void verbs_region_remove(struct wt_region *region)
{
	if (!region)
		return;
	for (unsigned i = 0; i < WT_VERBS_RAILS_MAX; i++)
		if (region->mr[i])
			ibv_dereg_mr(region->mr[i]);
	free(region);
}

static int verbs_region_add(struct wt_endpoint *endpoint, void *base, size_t length, unsigned access,
	struct wt_region **ret_region, struct wt_error *err)
{
	struct wt_region *region;
	int flags = IBV_ACCESS_RELAXED_ORDERING; /* optional: dropped where the device or kernel has none */
	int code;

	if (!base || !length || !access ||
		access & ~(unsigned)(WT_ACCESS_SERVE | WT_ACCESS_SINK | WT_ACCESS_TARGET))
		return wt_error_set(err, EINVAL,
			"a region needs memory and an access (got %zu bytes, access %u)", length, access);
	if (access & WT_ACCESS_SERVE)
		flags |= IBV_ACCESS_REMOTE_READ;
	if (access & WT_ACCESS_SINK)
		flags |= IBV_ACCESS_LOCAL_WRITE;
	if (access & WT_ACCESS_TARGET)
		flags |= IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
	region = calloc(1, sizeof *region);
	if (!region)
		return wt_error_set(err, ENOMEM, "out of memory for a region");
	for (unsigned i = 0; i < endpoint->rail_count; i++) {
		region->mr[i] = ibv_reg_mr(endpoint->rails[i].pd, base, length, flags);
		if (region->mr[i])
			continue;
		code = errno ? errno : EIO;
		verbs_region_remove(region);
		return wt_verbs_region_error(err, code, length);
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
	ret_key->key = 0;
	for (unsigned i = 0; i < region->endpoint->rail_count; i++)
		ret_key->key |= (uint64_t)region->mr[i]->rkey << 32 * i;
}

static int verbs_quiesce(struct wt_path *path)
{
	path->quiesced = true;
	return path->count || (path->peer && !wt_verbs_peer_rest(path)) ? -EAGAIN : 0;
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
	.let_go = wt_verbs_let_go,
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
	.send_now = wt_verbs_send_now,
	.poll = wt_verbs_poll,
	.arm = wt_verbs_arm,
	.fd = verbs_fd,
	.depth = verbs_depth,
	.alive = wt_verbs_alive,
};

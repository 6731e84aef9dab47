/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_verbs_life.c - how a verbs path comes and goes: admit, connect, detach, attach, close.
 *
 * Owns a path's connection, queue pair, completion queue and channels.
 *   1. A pulling end asks for as many outstanding READs as its device has and answers none; a serving end
 *      the other way round; of peers both do both. The connection manager settles on what both have. The send
 *      queue may hold more than that, the device holds the rest back.
 *   2. An admitted path may be posted to once RDMA_CM_EVENT_ESTABLISHED was seen; until then post says
 *      -EAGAIN, so admitting does not wait. On a path of peers it keeps what is posted before.
 *   3. The queue pair's own rights are cut to what its role needs, besides the regions' keys.
 *   4. Once the queue pair is destroyed nothing is written any more; it goes first.
 * Threads: the owner's.
 */
#include "path_verbs_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Reasons in RDMA_CM_EVENT_REJECTED, of the InfiniBand specification, table "REJ reasons". */
#define REJECT_NOBODY_LISTENS 8
#define REJECT_BY_PEER 28

static struct wt_path *path_new(enum wt_role role, unsigned depth)
{
	struct wt_path *path = calloc(1, sizeof *path);

	if (!path)
		return NULL;
	path->role = role;
	path->depth = depth;
	path->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (path->epoll < 0) {
		free(path);
		return NULL;
	}
	return path;
}

/* Ends the connection, and with it all writing; gives up all of the device's but the connection. */
static void path_disconnect(struct wt_path *path)
{
	if (path->cm.id && path->cm.id->qp) {
		rdma_disconnect(path->cm.id);
		rdma_destroy_qp(path->cm.id);
	}
	if (path->cq)
		ibv_destroy_cq(path->cq);
	if (path->completions) {
		epoll_ctl(path->epoll, EPOLL_CTL_DEL, path->completions->fd, NULL);
		ibv_destroy_comp_channel(path->completions);
	}
	if (path->cm.channel)
		epoll_ctl(path->epoll, EPOLL_CTL_DEL, path->cm.channel->fd, NULL);
	wt_verbs_peer_stop(path);
	path->cq = NULL;
	path->completions = NULL;
	path->endpoint = NULL;
	path->established = false;
	path->known = 0;
	path->armed = false;
}

/* ... and the connection too, whenever the kernel has ended it. */
static void path_hang_up(struct wt_path *path)
{
	path_disconnect(path);
	if (path->cm.id || path->cm.channel)
		wt_verbs_cm_release(&path->cm);
}

void wt_verbs_close(struct wt_path *path)
{
	if (!path)
		return;
	path_hang_up(path);
	close(path->epoll);
	free(path);
}

static int watch(const struct wt_path *path, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(path->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* Peers would like to send short messages inline. */
static int queue_pair_create(struct wt_path *path, struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	struct ibv_qp_init_attr with = *attr;

	if (!path->peer)
		return rdma_create_qp(path->cm.id, pd, attr);
	with.cap.max_inline_data = WT_VERBS_INLINE_MAX;
	if (rdma_create_qp(path->cm.id, pd, &with) < 0)
		return rdma_create_qp(path->cm.id, pd, attr);
	path->peer->inline_max = WT_VERBS_INLINE_MAX;
	return 0;
}

/* The queue pair and its completion queue, on the connection that the path has. */
static int queue_open(struct wt_path *path, struct wt_error *err)
{
	struct ibv_qp_init_attr attr = {
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = path->depth, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1 },
	};
	const struct wt_verbs_rail *rail = &path->endpoint->rails[path->rail];
	const char *device = ibv_get_device_name(rail->verbs->device);
	int status = path->role == WT_ROLE_PEER ? wt_verbs_peer_start(path, err) : 0;
	unsigned entries = path->depth;

	if (status < 0)
		return status;
	if (path->peer) {
		attr.cap.max_send_wr = path->peer->works_max;
		attr.cap.max_recv_wr = path->peer->receives_max;
		entries = path->peer->works_max + path->peer->receives_max;
	}
	path->completions = ibv_create_comp_channel(rail->verbs);
	if (!path->completions || fcntl(path->completions->fd, F_SETFL, O_NONBLOCK) < 0)
		return wt_error_set(
			err, errno, "%s gives no completion channel: %s", device, strerror(errno));
	path->cq = ibv_create_cq(rail->verbs, (int)entries, NULL, path->completions, 0);
	if (!path->cq)
		return wt_error_set(err, errno, "%s gives no completion queue: %s", device, strerror(errno));
	attr.send_cq = path->cq;
	attr.recv_cq = path->cq;
	if (queue_pair_create(path, rail->pd, &attr) < 0)
		return wt_error_set(err, errno, "%s gives no queue pair: %s", device, strerror(errno));
	if (path->peer)
		status = wt_verbs_peer_listen(path);
	if (status >= 0 && path->role != WT_ROLE_SERVE)
		status = watch(path, path->completions->fd);
	if (status >= 0)
		status = watch(path, path->cm.channel->fd);
	if (status < 0)
		return wt_error_set(err, -status, "cannot receive on a verbs path: %s", strerror(-status));
	return 0;
}

/*
 * The kernel's connection manager lets every queue pair be written to; the keys forbid it, and so does this.
 * A device that cannot change it in this state still has the keys.
 */
static void rights_cut(struct wt_path *path)
{
	static const unsigned rights[] = {
		[WT_ROLE_SERVE] = IBV_ACCESS_REMOTE_READ,
		[WT_ROLE_PULL] = 0,
		[WT_ROLE_PEER] = IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE,
	};
	struct ibv_qp_attr attr = { .qp_access_flags = rights[path->role] };

	ibv_modify_qp(path->cm.id->qp, &attr, IBV_QP_ACCESS_FLAGS);
}

static struct rdma_conn_param conn_param(const struct wt_path *path)
{
	struct rdma_conn_param param = { .retry_count = WT_VERBS_RETRIES, .rnr_retry_count = 7 };

	if (path->role == WT_ROLE_PEER)
		param.rnr_retry_count = WT_VERBS_RETRIES; /* happens only with a peer that breaks the rules */
	if (path->role != WT_ROLE_SERVE)
		param.initiator_depth = path->endpoint->rails[path->rail].initiator_depth;
	if (path->role != WT_ROLE_PULL)
		param.responder_resources = path->endpoint->rails[path->rail].responder_resources;
	return param;
}

static const char *const role_does[] = {
	[WT_ROLE_SERVE] = "serves",
	[WT_ROLE_PULL] = "pulls",
	[WT_ROLE_PEER] = "does both",
};

static int admit(struct wt_path *path, const struct wt_request *request, struct wt_error *err)
{
	int rail = wt_verbs_rail_of(path->endpoint, path->cm.id->verbs), status;
	struct rdma_conn_param param;

	if (rail < 0)
		return wt_error_set(err, EXDEV,
			"the peer came in by the RDMA device %s, but the session uses %s%s; name the device",
			path->cm.id->verbs ? ibv_get_device_name(path->cm.id->verbs->device) : "(none)",
			ibv_get_device_name(path->endpoint->rails[0].verbs->device),
			path->endpoint->rail_count > 1 ? " and another one" : "");
	if (rail > 0 && path->role != WT_ROLE_PULL)
		return wt_error_set(err, ENOTSUP,
			"who reads and connects is served by the first RDMA device only, %s",
			ibv_get_device_name(path->endpoint->rails[0].verbs->device));
	path->rail = (uint8_t)rail;
	path->peer_rail = request->rail;
	param = conn_param(path);
	if (param.initiator_depth > request->initiator_depth)
		param.initiator_depth = request->initiator_depth;
	if (param.responder_resources > request->responder_resources)
		param.responder_resources = request->responder_resources;
	if (!(path->role == WT_ROLE_PULL || param.responder_resources) ||
		!(path->role == WT_ROLE_SERVE || param.initiator_depth))
		return wt_error_set(err, EPROTO,
			"the peer neither serves nor pulls what this end needs: this end %s",
			role_does[path->role]);
	status = queue_open(path, err);
	if (status < 0)
		return status;
	if (rdma_accept(path->cm.id, &param) < 0)
		return wt_error_set(err, errno, "the peer left before it was admitted: %s", strerror(errno));
	rights_cut(path);
	return 0;
}

static int role_refuse(enum wt_role role, struct wt_error *err)
{
	if (role == WT_ROLE_SERVE || role == WT_ROLE_PULL || role == WT_ROLE_PEER)
		return 0;
	return wt_error_set(err, EINVAL, "a path either serves or pulls, or is one of peers");
}

int wt_verbs_request_admit(struct wt_request *request, struct wt_endpoint *endpoint, enum wt_role role,
	struct wt_path **ret_path, struct wt_error *err)
{
	struct wt_path *path = NULL;
	int status;

	if (role_refuse(role, NULL) == 0)
		path = path_new(role, endpoint->depth);
	if (!path) {
		wt_verbs_reject(request->cm.id, true);
		wt_verbs_cm_close(&request->cm);
		free(request);
		if (role_refuse(role, err) < 0)
			return role_refuse(role, NULL);
		return wt_error_set(err, ENOMEM, "out of memory or descriptors for a verbs path");
	}
	path->endpoint = endpoint;
	path->cm = request->cm;
	status = admit(path, request, err);
	free(request);
	if (status < 0) {
		wt_verbs_reject(path->cm.id, true);
		wt_verbs_close(path);
		return status;
	}
	*ret_path = path;
	return 0;
}

static int rejected(struct wt_error *err, const struct rdma_cm_event *event, const char *host, uint16_t port)
{
	switch (event->status) {
	case REJECT_NOBODY_LISTENS:
		return wt_error_set(err, ECONNREFUSED,
			"cannot connect to %s port %u over RDMA: nobody listens there; does watari?", host,
			(unsigned)port);
	case REJECT_BY_PEER:
		return wt_error_set(err, ECONNREFUSED,
			"%s port %u refused the path; the session is unknown there or has ended", host,
			(unsigned)port);
	case WT_VERBS_REJECT_CANNOT:
		return wt_error_set(err, ENOBUFS,
			"%s port %u cannot open its end of a path over RDMA; see what limits that host (`ulimit -l`, "
			"its device)",
			host, (unsigned)port);
	default:
		return wt_error_set(err, ECONNABORTED, "%s port %u rejected the RDMA connection, reason %d",
			host, (unsigned)port, event->status);
	}
}

/* Waits for one event of a kind while connecting. */
static int step(struct wt_path *path, enum rdma_cm_event_type wanted, uint64_t deadline_ns, const char *host,
	uint16_t port, struct rdma_cm_event *ret_event, struct wt_error *err)
{
	int status = wt_verbs_event_wait(&path->cm, deadline_ns, ret_event);

	if (status < 0)
		return wt_error_set(err, -status, "%s port %u did not answer over RDMA: %s", host,
			(unsigned)port, strerror(-status));
	if (ret_event->event == wanted)
		return 0;
	if (ret_event->event == RDMA_CM_EVENT_REJECTED)
		return rejected(err, ret_event, host, port);
	return wt_error_set(err, EHOSTUNREACH, "cannot connect to %s port %u over RDMA: %s (%d)", host,
		(unsigned)port, rdma_event_str(ret_event->event), ret_event->status);
}

static int connect_steps(struct wt_path *path, const char *host, uint16_t port, const uint8_t *hello,
	uint64_t deadline_ns, struct wt_error *err)
{
	int rail = wt_verbs_rail_of(path->endpoint, path->cm.id->verbs);
	uint8_t ack_timeout = WT_VERBS_ACK_TIMEOUT, private_data[WT_VERBS_HELLO_BYTES];
	struct rdma_conn_param param;
	struct rdma_cm_event event;
	uint64_t now = wt_verbs_now_ns();
	int left_ms = now < deadline_ns ? (int)((deadline_ns - now) / 1000000 % 600000) + 1 : 1;
	int status;

	if (rail < 0)
		return wt_error_set(err, EXDEV,
			"%s is reached by the RDMA device %s, but the session uses %s%s; name the device or another "
			"address",
			host, ibv_get_device_name(path->cm.id->verbs->device),
			ibv_get_device_name(path->endpoint->rails[0].verbs->device),
			path->endpoint->rail_count > 1 ? " and another one" : "");
	path->rail = (uint8_t)rail;
	path->peer_rail = 0;
	param = conn_param(path);
	/* Best effort: without it the kernel's default notices a vanished peer later. */
	rdma_set_option(
		path->cm.id, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &ack_timeout, sizeof ack_timeout);
	if (rdma_resolve_route(path->cm.id, left_ms) < 0)
		return wt_error_set(err, errno, "no RDMA route to %s: %s", host, strerror(errno));
	status = step(path, RDMA_CM_EVENT_ROUTE_RESOLVED, deadline_ns, host, port, &event, err);
	if (status >= 0)
		status = queue_open(path, err);
	if (status < 0)
		return status;
	memcpy(private_data, hello, WT_PATH_HELLO_BYTES);
	private_data[WT_PATH_HELLO_BYTES] = path->rail;
	param.private_data = private_data;
	param.private_data_len = sizeof private_data;
	if (rdma_connect(path->cm.id, &param) < 0)
		return wt_error_set(err, errno, "cannot connect to %s port %u over RDMA: %s", host,
			(unsigned)port, strerror(errno));
	status = step(path, RDMA_CM_EVENT_ESTABLISHED, deadline_ns, host, port, &event, err);
	if (status < 0)
		return status;
	rights_cut(path);
	path->established = true;
	if (path->peer && wt_verbs_peer_open(path) < 0)
		return wt_error_set(err, path->error, "the path to %s port %u broke at once: %s", host,
			(unsigned)port, strerror(path->error));
	return 0;
}

static int path_dial(struct wt_path *path, struct wt_endpoint *endpoint, const char *host, uint16_t port,
	const uint8_t *hello, uint64_t timeout_ns, struct wt_error *err)
{
	uint64_t now = wt_verbs_now_ns();
	uint64_t deadline_ns = timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX;
	int status;

	status = wt_verbs_resolve(&path->cm, host, port, deadline_ns, err);
	if (status < 0)
		return status;
	path->endpoint = endpoint;
	path->dialled = true;
	status = connect_steps(path, host, port, hello, deadline_ns, err);
	if (status < 0)
		path_hang_up(path);
	return status;
}

int wt_verbs_connect(struct wt_endpoint *endpoint, const char *host, uint16_t port,
	const uint8_t hello[WT_PATH_HELLO_BYTES], enum wt_role role, uint64_t timeout_ns,
	struct wt_path **ret_path, struct wt_error *err)
{
	struct wt_path *path;
	int status;

	status = role_refuse(role, err);
	if (status < 0)
		return status;
	path = path_new(role, endpoint->depth);
	if (!path)
		return wt_error_set(err, ENOMEM, "out of memory or descriptors for a verbs path");
	status = path_dial(path, endpoint, host, port, hello, timeout_ns, err);
	if (status < 0) {
		wt_verbs_close(path);
		return status;
	}
	*ret_path = path;
	return 0;
}

int wt_verbs_detach(struct wt_path *path)
{
	if (!path->quiesced || path->count || (path->peer && !wt_verbs_peer_idle(path)))
		return -EBUSY;
	path_disconnect(path);
	wt_verbs_cm_close(&path->cm); /* waits: afterwards the device may be taken away */
	return 0;
}

int wt_verbs_attach(struct wt_path *path, struct wt_endpoint *endpoint, const char *host, uint16_t port,
	const uint8_t hello[WT_PATH_HELLO_BYTES], uint64_t timeout_ns, struct wt_error *err)
{
	if (path->error)
		return wt_error_set(
			err, path->error, "the path failed (%s); connect another one", strerror(path->error));
	if (path->endpoint)
		return wt_error_set(err, EISCONN, "the path is still attached; detach it first");
	if (endpoint->depth < path->depth)
		return wt_error_set(err, ENOTSUP,
			"the new device takes %u outstanding reads, the path has promised %u; connect another path",
			endpoint->depth, path->depth);
	return path_dial(path, endpoint, host, port, hello, timeout_ns, err);
}

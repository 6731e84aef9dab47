/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_tcp.c - the fabrics tcp and tls: endpoints, regions and the life of a path. Their tables are at the
 * end.
 *
 * Owns an endpoint's regions and a path's socket and epoll descriptor.
 *   1. A region is in its endpoint's table from region_add to region_remove; serving threads touch its memory
 *      only under the endpoint's read lock, for one non-blocking copy. So region_remove, which takes the
 *      write lock, returns when every thread is out, and the key then grants nothing.
 *   2. A key is 64 random bits, looked up only in the endpoint of the path on which it came.
 *   3. A path has a pull half (path_tcp_pull.c, no thread), a serve half (path_tcp_serve.c, one thread) or a
 *      peer half (path_tcp_peer.c, no thread), one of them; none while detached.
 *   4. `error` is set once and never cleared.
 *   5. An endpoint has `dialling`, a listener `accepting`, and a path `tls`, exactly if they are of the
 * fabric "tls". Threads: everything here runs in the owner's thread. Who may connect is decided by the hello,
 * what may be read by the keys, and both come over the control channel. Without TLS bytes travel in the
 * clear, as those of verbs.
 */
#include "path_tcp.h"
#include "path_fabrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

static struct wt_region **bucket_of(struct wt_endpoint *endpoint, uint64_t key)
{
	return &endpoint->buckets[key % WT_TCP_BUCKETS];
}

static int endpoint_open(
	bool encrypts, const char *device, struct wt_endpoint **ret_endpoint, struct wt_error *err)
{
	struct wt_endpoint *endpoint;
	pthread_rwlockattr_t attr;

	if (device && (strlen(device) >= IF_NAMESIZE || if_nametoindex(device) == 0))
		return wt_error_set(
			err, ENODEV, "there is no network interface %.32s here; see `ip link`", device);
	endpoint = calloc(1, sizeof *endpoint);
	if (!endpoint)
		return wt_error_set(err, ENOMEM, "out of memory for a tcp endpoint");
	if (encrypts && wt_tcp_tls_context_open(false, &endpoint->dialling, err) < 0) {
		free(endpoint);
		return -EIO;
	}
	if (device)
		strcpy(endpoint->device, device);
	/* Serving threads take the lock all the time; region_remove must not starve. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&endpoint->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	*ret_endpoint = endpoint;
	return 0;
}

static int tcp_endpoint_open(
	const char *device, const char *peer_host, struct wt_endpoint **ret_endpoint, struct wt_error *err)
{
	(void)peer_host; /* the kernel routes */
	return endpoint_open(false, device, ret_endpoint, err);
}

static int tls_endpoint_open(
	const char *device, const char *peer_host, struct wt_endpoint **ret_endpoint, struct wt_error *err)
{
	(void)peer_host;
	return endpoint_open(true, device, ret_endpoint, err);
}

static void tcp_endpoint_close(struct wt_endpoint *endpoint)
{
	struct wt_region *region;
	unsigned i;

	if (!endpoint)
		return;
	for (i = 0; i < WT_TCP_BUCKETS; i++) {
		while ((region = endpoint->buckets[i])) {
			endpoint->buckets[i] = region->next;
			free(region);
		}
	}
	pthread_rwlock_destroy(&endpoint->lock);
	wt_tcp_tls_context_close(endpoint->dialling);
	free(endpoint);
}

static const struct wt_region *region_find(const struct wt_endpoint *endpoint, uint64_t key, unsigned access)
{
	const struct wt_region *region = endpoint->buckets[key % WT_TCP_BUCKETS];

	while (region && (region->key != key || !(region->access & access)))
		region = region->next;
	return region;
}

int wt_tcp_region_locate(const struct wt_endpoint *endpoint, uint64_t key, enum wt_access access,
	uint64_t address, uint64_t length, const struct wt_region **ret_region, uint8_t **ret_bytes)
{
	const struct wt_region *region = region_find(endpoint, key, access);
	uint64_t offset = address - WT_TCP_ADDRESS;

	if (!region)
		return -EACCES;
	if (address < WT_TCP_ADDRESS || offset > region->length || length > region->length - offset)
		return -ERANGE;
	*ret_bytes = region->base + offset;
	if (ret_region)
		*ret_region = region;
	return 0;
}

int wt_tcp_status_error(uint32_t status)
{
	switch (status) {
	case WT_TCP_STATUS_OK:
		return 0;
	case WT_TCP_STATUS_KEY:
		return -EACCES;
	case WT_TCP_STATUS_RANGE:
		return -ERANGE;
	case WT_TCP_STATUS_FAULT:
		return -EFAULT;
	default:
		return -EPROTO;
	}
}

enum wt_tcp_status wt_tcp_error_status(int error)
{
	switch (error) {
	case 0:
		return WT_TCP_STATUS_OK;
	case -EACCES:
		return WT_TCP_STATUS_KEY;
	case -ERANGE:
		return WT_TCP_STATUS_RANGE;
	default:
		return WT_TCP_STATUS_FAULT;
	}
}

static int tcp_region_add(struct wt_endpoint *endpoint, void *base, size_t length, unsigned access,
	struct wt_region **ret_region, struct wt_error *err)
{
	struct wt_region *region;
	struct wt_region **bucket;

	if (!base || !length || !access ||
		access & ~(unsigned)(WT_ACCESS_SERVE | WT_ACCESS_SINK | WT_ACCESS_TARGET))
		return wt_error_set(err, EINVAL,
			"a region needs memory and an access (got %zu bytes, access %u)", length, access);
	region = calloc(1, sizeof *region);
	if (!region)
		return wt_error_set(err, ENOMEM, "out of memory for a region");
	region->endpoint = endpoint;
	region->base = base;
	region->length = length;
	region->access = access;
	region->file = -1;
	do {
		if (getrandom(&region->key, sizeof region->key, 0) != sizeof region->key) {
			free(region);
			return wt_error_set(err, EIO, "the kernel gave no random bytes for a region's key");
		}
	} while (region_find(endpoint, region->key, ~0u));
	bucket = bucket_of(endpoint, region->key);
	pthread_rwlock_wrlock(&endpoint->lock);
	region->next = *bucket;
	*bucket = region;
	pthread_rwlock_unlock(&endpoint->lock);
	*ret_region = region;
	return 0;
}

static void tcp_region_key(const struct wt_region *region, struct wt_key *ret_key)
{
	ret_key->address = WT_TCP_ADDRESS;
	ret_key->length = region->length;
	ret_key->key = region->key;
}

static void tcp_region_file(struct wt_region *region, int fd, uint64_t offset)
{
	pthread_rwlock_wrlock(&region->endpoint->lock);
	region->file = fd;
	region->file_offset = offset;
	pthread_rwlock_unlock(&region->endpoint->lock);
}

static void tcp_region_remove(struct wt_region *region)
{
	struct wt_region **link;

	if (!region)
		return;
	pthread_rwlock_wrlock(&region->endpoint->lock);
	link = bucket_of(region->endpoint, region->key);
	while (*link != region)
		link = &(*link)->next;
	*link = region->next;
	pthread_rwlock_unlock(&region->endpoint->lock);
	free(region);
}

void wt_tcp_path_fail(struct wt_path *path, int code)
{
	if (!path->error)
		path->error = code;
}

static struct wt_path *path_new(enum wt_role role)
{
	struct wt_path *path = calloc(1, sizeof *path);

	if (!path)
		return NULL;
	path->role = role;
	path->socket = -1;
	path->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (path->epoll < 0) {
		free(path);
		return NULL;
	}
	return path;
}

static void path_hang_up(struct wt_path *path)
{
	if (path->socket < 0)
		return;
	if (path->serve)
		wt_tcp_serve_stop(path);
	if (path->pull)
		wt_tcp_pull_stop(path);
	if (path->peer)
		wt_tcp_peer_stop(path);
	wt_tcp_tls_close(path->tls);
	path->tls = NULL;
	close(path->socket);
	path->socket = -1;
	path->endpoint = NULL;
}

static void tcp_close(struct wt_path *path)
{
	if (!path)
		return;
	path_hang_up(path);
	close(path->epoll);
	free(path);
}

static int half_start(struct wt_path *path)
{
	switch (path->role) {
	case WT_ROLE_PULL:
		return wt_tcp_pull_start(path);
	case WT_ROLE_SERVE:
		return wt_tcp_serve_start(path);
	default:
		return wt_tcp_peer_start(path);
	}
}

static bool path_idle(const struct wt_path *path)
{
	if (path->peer)
		return wt_tcp_peer_idle(path);
	return !path->pull || !wt_tcp_pull_outstanding(path);
}

/* Takes socket and TLS, also when it fails. */
static int path_start(struct wt_path *path, struct wt_endpoint *endpoint, int socket, struct wt_tcp_tls *tls,
	struct wt_error *err)
{
	int status;

	path->endpoint = endpoint;
	path->socket = socket;
	path->tls = tls;
	status = wt_tcp_tune(socket, path->role);
	if (status >= 0)
		status = half_start(path);
	if (status < 0) {
		path_hang_up(path);
		return wt_error_set(err, -status, "cannot start a tcp path: %s", strerror(-status));
	}
	return 0;
}

static bool role_valid(enum wt_role role)
{
	return role == WT_ROLE_SERVE || role == WT_ROLE_PULL || role == WT_ROLE_PEER;
}

static void tcp_request_refuse(struct wt_request *request)
{
	if (!request)
		return;
	wt_tcp_verdict_send(request, WT_TCP_REFUSED);
	wt_tcp_tls_close(request->tls);
	close(request->socket);
	free(request);
}

static int tcp_request_admit(struct wt_request *request, struct wt_endpoint *endpoint, enum wt_role role,
	struct wt_path **ret_path, struct wt_error *err)
{
	struct wt_path *path;
	int status;

	if (request->tls && role == WT_ROLE_PEER) {
		tcp_request_refuse(request);
		return -EOPNOTSUPP;
	}
	path = role_valid(role) ? path_new(role) : NULL;
	if (!path) {
		tcp_request_refuse(request);
		return role_valid(role)
			       ? wt_error_set(err, ENOMEM, "out of memory or descriptors for a tcp path")
			       : wt_error_set(err, EINVAL, "a path serves, pulls, or joins peers");
	}
	status = wt_tcp_verdict_send(request, WT_TCP_ADMITTED);
	if (status < 0) {
		wt_error_set(
			err, -status, "%s left before it was admitted: %s", request->peer, strerror(-status));
		wt_tcp_tls_close(request->tls);
		close(request->socket);
	} else {
		status = path_start(path, endpoint, request->socket, request->tls, err);
	}
	free(request);
	if (status < 0) {
		tcp_close(path);
		return status;
	}
	*ret_path = path;
	return 0;
}

static int path_dial(struct wt_path *path, struct wt_endpoint *endpoint, const char *host, uint16_t port,
	const uint8_t hello[WT_PATH_HELLO_BYTES], uint64_t timeout_ns, struct wt_error *err)
{
	struct wt_tcp_tls *tls = NULL;
	int socket = -1;
	int status = wt_tcp_dial(endpoint, host, port, hello, timeout_ns, &socket, &tls, err);

	if (status < 0)
		return status;
	return path_start(path, endpoint, socket, tls, err);
}

static int tcp_connect(struct wt_endpoint *endpoint, const char *host, uint16_t port,
	const uint8_t hello[WT_PATH_HELLO_BYTES], enum wt_role role, uint64_t timeout_ns,
	struct wt_path **ret_path, struct wt_error *err)
{
	struct wt_path *path;
	int status;

	if (!role_valid(role))
		return wt_error_set(err, EINVAL, "a path serves, pulls, or joins peers");
	if (endpoint->dialling && role == WT_ROLE_PEER)
		return -EOPNOTSUPP;
	path = path_new(role);
	if (!path)
		return wt_error_set(err, ENOMEM, "out of memory or descriptors for a tcp path");
	status = path_dial(path, endpoint, host, port, hello, timeout_ns, err);
	if (status < 0) {
		tcp_close(path);
		return status;
	}
	*ret_path = path;
	return 0;
}

static int tcp_quiesce(struct wt_path *path)
{
	path->quiesced = true;
	return path_idle(path) ? 0 : -EAGAIN;
}

static int tcp_resume(struct wt_path *path)
{
	if (path->error)
		return -path->error;
	if (path->socket < 0)
		return -ENOTCONN;
	path->quiesced = false;
	return 0;
}

static int tcp_detach(struct wt_path *path)
{
	if (!path->quiesced || !path_idle(path))
		return -EBUSY;
	path_hang_up(path);
	return 0;
}

static int tcp_attach(struct wt_path *path, struct wt_endpoint *endpoint, const char *host, uint16_t port,
	const uint8_t hello[WT_PATH_HELLO_BYTES], uint64_t timeout_ns, struct wt_error *err)
{
	if (path->error)
		return wt_error_set(
			err, path->error, "the path failed (%s); connect another one", strerror(path->error));
	if (path->socket >= 0)
		return wt_error_set(err, EISCONN, "the path is still attached; detach it first");
	return path_dial(path, endpoint, host, port, hello, timeout_ns, err);
}

static int tcp_post(struct wt_path *path, const struct wt_op *ops, unsigned count)
{
	if (path->role == WT_ROLE_SERVE)
		return -EOPNOTSUPP;
	if (path->error)
		return -path->error;
	if (path->quiesced)
		return -ESHUTDOWN;
	return path->peer ? wt_tcp_peer_post(path, ops, count) : wt_tcp_pull_post(path, ops, count);
}

static bool tcp_send_now(struct wt_path *path, const void *bytes, uint32_t length)
{
	return path->peer && !path->quiesced && wt_tcp_peer_send_now(path, bytes, length);
}

static int tcp_poll(struct wt_path *path, struct wt_completion *ret_completions, unsigned max)
{
	if (path->pull)
		return wt_tcp_pull_poll(path, ret_completions, max);
	if (path->peer)
		return wt_tcp_peer_poll(path, ret_completions, max);
	if (path->serve && !path->error)
		path->error = wt_tcp_serve_error(path);
	return -path->error;
}

static int tcp_arm(struct wt_path *path)
{
	/* Level-triggered; only what we know already leaves no trace in the descriptor. */
	if (path->error || (path->peer && wt_tcp_peer_ready(path)))
		return 1;
	if (path->pull)
		wt_tcp_pull_arm(path);
	return path->pull && path->tls && wt_tcp_tls_more(path->tls);
}

static int tcp_fd(const struct wt_path *path)
{
	return path->epoll;
}

static unsigned tcp_depth(const struct wt_path *path)
{
	(void)path;
	return WT_TCP_DEPTH;
}

static bool tcp_alive(struct wt_path *path)
{
	if (path->serve && !path->error)
		path->error = wt_tcp_serve_error(path);
	return !path->error && path->socket >= 0;
}

static int tcp_listener_open(const char *host, uint16_t port, struct wt_listener **ret_listener,
	uint16_t *ret_port, struct wt_error *err)
{
	return wt_tcp_listener_open(NULL, host, port, ret_listener, ret_port, err);
}

static int tls_listener_open(const char *host, uint16_t port, struct wt_listener **ret_listener,
	uint16_t *ret_port, struct wt_error *err)
{
	struct wt_tcp_tls_context *accepting;
	int status = wt_tcp_tls_context_open(true, &accepting, err);

	if (status >= 0)
		status = wt_tcp_listener_open(accepting, host, port, ret_listener, ret_port, err);
	return status;
}

/* What both fabrics have in common. */
#define OF_BOTH                                                                                             \
	.endpoint_close = tcp_endpoint_close, .region_add = tcp_region_add, .region_file = tcp_region_file, \
	.region_key = tcp_region_key, .region_remove = tcp_region_remove,                                   \
	.listener_close = wt_tcp_listener_close, .listener_fd = wt_tcp_listener_fd,                         \
	.listener_dropped = wt_tcp_listener_dropped, .listener_accept = wt_tcp_listener_accept,             \
	.request_admit = tcp_request_admit, .request_refuse = tcp_request_refuse, .connect = tcp_connect,   \
	.quiesce = tcp_quiesce, .resume = tcp_resume, .detach = tcp_detach, .attach = tcp_attach,           \
	.close = tcp_close, .post = tcp_post, .send_now = tcp_send_now, .poll = tcp_poll, .arm = tcp_arm,   \
	.fd = tcp_fd, .depth = tcp_depth, .alive = tcp_alive

const struct wt_fabric_ops wt_path_tcp_ops = {
	.name = "tcp",
	.fabric = WT_FABRIC_TCP,
	.endpoint_open = tcp_endpoint_open,
	.listener_open = tcp_listener_open,
	OF_BOTH,
};

const struct wt_fabric_ops wt_path_tls_ops = {
	.name = "tls",
	.fabric = WT_FABRIC_TLS,
	.endpoint_open = tls_endpoint_open,
	.listener_open = tls_listener_open,
	.listener_find = wt_tcp_listener_find,
	OF_BOTH,
};

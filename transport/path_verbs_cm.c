/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_verbs_cm.c - librdmacm: addresses, events, and the listener.
 *
 * Owns a connection's event channel and identifier until they become a path's.
 *   1. Every channel is non-blocking and every event is acknowledged before anything else happens, so
 *      destroying an identifier never waits for us.
 *   2. A request gets a channel of its own at once (rdma_migrate_id): listener and paths are independent.
 *   3. A request whose private data is too short for a hello is rejected and never seen.
 *   4. The kernel ends a connection only when its last message has left the device, and while nothing leaves
 *      it, waits. An owner who cannot wait releases instead of closing: a thread waits, and owns it.
 * Threads: the owner's, and one for each connection that was released.
 */
#include "path_verbs.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct wt_listener {
	struct wt_verbs_cm cm;
};

/* The private data of a rejection, in the form of tcp's verdict; little-endian. Nothing: refused. */
struct verdict {
	uint32_t magic; /* "WTTV" */
	uint32_t admission;
};
#define VERDICT_MAGIC 0x56545457u
#define VERDICT_CANNOT 3u

void wt_verbs_reject(struct rdma_cm_id *id, bool cannot)
{
	const struct verdict verdict = { htole32(VERDICT_MAGIC), htole32(VERDICT_CANNOT) };

	rdma_reject(id, cannot ? &verdict : NULL, cannot ? sizeof verdict : 0);
}

static bool says_cannot(const struct rdma_cm_event *event)
{
	struct verdict verdict;

	if (event->event != RDMA_CM_EVENT_REJECTED || event->param.conn.private_data_len < sizeof verdict)
		return false;
	memcpy(&verdict, event->param.conn.private_data, sizeof verdict);
	return verdict.magic == htole32(VERDICT_MAGIC) && verdict.admission == htole32(VERDICT_CANNOT);
}

int wt_verbs_event_next(struct rdma_event_channel *channel, struct rdma_cm_event *ret_event)
{
	struct rdma_cm_event *event;

	if (rdma_get_cm_event(channel, &event) < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	*ret_event = *event;
	if (says_cannot(event))
		ret_event->status = WT_VERBS_REJECT_CANNOT;
	ret_event->param.conn.private_data = NULL;
	rdma_ack_cm_event(event);
	return 0;
}

int wt_verbs_event_wait(struct wt_verbs_cm *cm, uint64_t deadline_ns, struct rdma_cm_event *ret_event)
{
	int status;

	while ((status = wt_verbs_event_next(cm->channel, ret_event)) == -EAGAIN) {
		struct pollfd wait = { .fd = cm->channel->fd, .events = POLLIN };
		uint64_t now = wt_verbs_now_ns();

		if (now >= deadline_ns)
			return -ETIMEDOUT;
		if (poll(&wait, 1,
			    deadline_ns - now > 1000000000u ? 1000
							    : (int)((deadline_ns - now) / 1000000) + 1) < 0 &&
			errno != EINTR)
			return -errno;
	}
	return status;
}

static int channel_open(struct rdma_event_channel **ret_channel, struct wt_error *err)
{
	struct rdma_event_channel *channel = rdma_create_event_channel();
	int code = errno;

	if (!channel) {
		if (code == ENODEV || code == ENOENT || code == ENOSYS)
			return wt_error_set(err, ENODEV,
				"there is no RDMA device here, or the kernel module rdma_ucm is not loaded");
		return wt_error_set(err, code ? code : EIO, "cannot open the RDMA connection manager: %s",
			strerror(code));
	}
	if (fcntl(channel->fd, F_SETFL, O_NONBLOCK) < 0) {
		code = errno;
		rdma_destroy_event_channel(channel);
		return wt_error_set(
			err, code, "cannot make an RDMA event channel non-blocking: %s", strerror(code));
	}
	fcntl(channel->fd, F_SETFD, FD_CLOEXEC);
	*ret_channel = channel;
	return 0;
}

int wt_verbs_cm_open(struct wt_verbs_cm *cm, struct wt_error *err)
{
	int status;

	cm->id = NULL;
	cm->channel = NULL;
	status = channel_open(&cm->channel, err);
	if (status < 0)
		return status;
	if (rdma_create_id(cm->channel, &cm->id, NULL, RDMA_PS_TCP) < 0) {
		status = wt_error_set(err, errno, "cannot create an RDMA connection: %s", strerror(errno));
		cm->id = NULL;
		wt_verbs_cm_close(cm);
		return status;
	}
	return 0;
}

void wt_verbs_cm_close(struct wt_verbs_cm *cm)
{
	if (cm->id)
		rdma_destroy_id(cm->id);
	if (cm->channel)
		rdma_destroy_event_channel(cm->channel);
	cm->id = NULL;
	cm->channel = NULL;
}

static void *release_main(void *arg)
{
	struct wt_verbs_cm *cm = arg;

	wt_verbs_cm_close(cm);
	free(cm);
	return NULL;
}

void wt_verbs_cm_release(struct wt_verbs_cm *cm)
{
	struct wt_verbs_cm *own = malloc(sizeof *own);
	sigset_t all, before;
	pthread_t thread;
	int status = ENOMEM;

	if (own) {
		*own = *cm;
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &before);
		status = pthread_create(&thread, NULL, release_main, own);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	if (status) {
		free(own);
		wt_verbs_cm_close(cm);
		return;
	}
	pthread_detach(thread);
	cm->id = NULL;
	cm->channel = NULL;
}

static int resolve_one(
	struct wt_verbs_cm *cm, struct sockaddr *address, uint64_t deadline_ns, struct wt_error *err)
{
	struct rdma_cm_event event = { 0 };
	uint64_t now = wt_verbs_now_ns();
	int status;

	status = wt_verbs_cm_open(cm, err);
	if (status < 0)
		return status;
	if (now >= deadline_ns)
		status = -ETIMEDOUT;
	else if (rdma_resolve_addr(cm->id, NULL, address, (int)((deadline_ns - now) / 1000000 % 600000) + 1) <
		 0)
		status = -errno;
	else
		status = wt_verbs_event_wait(cm, deadline_ns, &event);
	if (status >= 0 && event.event != RDMA_CM_EVENT_ADDR_RESOLVED)
		status = event.status < 0 ? event.status : -EHOSTUNREACH;
	if (status >= 0 && !cm->id->verbs)
		status = -ENODEV;
	if (status < 0)
		wt_verbs_cm_close(cm);
	return status;
}

int wt_verbs_resolve(
	struct wt_verbs_cm *cm, const char *host, uint16_t port, uint64_t deadline_ns, struct wt_error *err)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV };
	struct addrinfo *addresses;
	struct addrinfo *address;
	char service[8];
	int status;

	snprintf(service, sizeof service, "%u", (unsigned)port);
	status = getaddrinfo(host, service, &hints, &addresses);
	if (status)
		return wt_error_set(err, EHOSTUNREACH, "cannot resolve %s: %s", host ? host : "(no host)",
			gai_strerror(status));
	status = -EHOSTUNREACH;
	for (address = addresses; address; address = address->ai_next) {
		status = resolve_one(cm, address->ai_addr, deadline_ns, err);
		if (status >= 0)
			break;
	}
	freeaddrinfo(addresses);
	if (status == -ENODEV)
		return wt_error_set(err, ENODEV,
			"no RDMA device here routes to %s; see `rdma link` and `ip route`", host);
	if (status < 0)
		return wt_error_set(err, -status, "cannot reach %s over RDMA: %s", host, strerror(-status));
	return 0;
}

static int bind_one(struct wt_verbs_cm *cm, struct sockaddr *address, struct wt_error *err)
{
	int status = wt_verbs_cm_open(cm, err);

	if (status < 0)
		return status;
	if (rdma_bind_addr(cm->id, address) < 0 || rdma_listen(cm->id, WT_VERBS_BACKLOG) < 0) {
		status = -errno;
		wt_verbs_cm_close(cm);
	}
	return status;
}

static int bind_any(struct wt_verbs_cm *cm, const char *host, uint16_t port, struct wt_error *err)
{
	struct addrinfo hints = {
		.ai_family = host ? AF_UNSPEC : AF_INET6,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | AI_PASSIVE,
	};
	struct addrinfo *addresses;
	struct addrinfo *address;
	char service[8];
	int status;

	snprintf(service, sizeof service, "%u", (unsigned)port);
	for (;;) {
		status = getaddrinfo(host, service, &hints, &addresses);
		if (status)
			return wt_error_set(err, EADDRNOTAVAIL, "cannot resolve %s to listen on it: %s",
				host ? host : "any address", gai_strerror(status));
		status = -EADDRNOTAVAIL;
		for (address = addresses; address && status < 0; address = address->ai_next)
			status = bind_one(cm, address->ai_addr, err);
		freeaddrinfo(addresses);
		if (status >= 0 || host || hints.ai_family == AF_INET || status == -EADDRINUSE)
			break;
		hints.ai_family = AF_INET; /* a host without IPv6 */
	}
	if (status < 0)
		return wt_error_set(err, -status, "cannot listen for RDMA on %s port %u: %s",
			host ? host : "any address", (unsigned)port, strerror(-status));
	return 0;
}

int wt_verbs_listener_open(const char *host, uint16_t port, struct wt_listener **ret_listener,
	uint16_t *ret_port, struct wt_error *err)
{
	struct wt_listener *listener = calloc(1, sizeof *listener);
	int status;

	if (!listener)
		return wt_error_set(err, ENOMEM, "out of memory for a verbs listener");
	status = bind_any(&listener->cm, host, port, err);
	if (status < 0) {
		free(listener);
		return status;
	}
	*ret_port = ntohs(rdma_get_src_port(listener->cm.id));
	*ret_listener = listener;
	return 0;
}

void wt_verbs_listener_close(struct wt_listener *listener)
{
	if (!listener)
		return;
	wt_verbs_cm_close(&listener->cm);
	free(listener);
}

int wt_verbs_listener_fd(const struct wt_listener *listener)
{
	return listener->cm.channel->fd;
}

/* Behind the hello; peers that know of one rail only put zeros there. */
static uint8_t rail_of(const struct rdma_conn_param *param)
{
	return param->private_data_len >= WT_VERBS_HELLO_BYTES
		       ? ((const uint8_t *)param->private_data)[WT_PATH_HELLO_BYTES]
		       : 0;
}

/* Gives a new connection its own channel. The identifier is consumed on failure. */
static int request_make(struct rdma_cm_event *event, struct wt_request **ret_request)
{
	struct wt_request *request = calloc(1, sizeof *request);
	int status = request ? 0 : -ENOMEM;

	if (request) {
		request->cm.id = event->id;
		request->initiator_depth = event->param.conn.initiator_depth;
		request->responder_resources = event->param.conn.responder_resources;
		status = channel_open(&request->cm.channel, NULL);
	}
	if (status >= 0 && rdma_migrate_id(event->id, request->cm.channel) < 0)
		status = -errno;
	if (status < 0) {
		wt_verbs_reject(event->id, true);
		rdma_destroy_id(event->id);
		if (request && request->cm.channel)
			rdma_destroy_event_channel(request->cm.channel);
		free(request);
		return status;
	}
	*ret_request = request;
	return 0;
}

int wt_verbs_listener_accept(
	struct wt_listener *listener, struct wt_request **ret_request, uint8_t ret_hello[WT_PATH_HELLO_BYTES])
{
	uint8_t hello[WT_PATH_HELLO_BYTES], rail = 0;
	struct rdma_cm_event *event;
	struct rdma_cm_event copy;
	int status;

	for (;;) {
		if (rdma_get_cm_event(listener->cm.channel, &event) < 0)
			return errno == EINTR ? -EAGAIN : -errno;
		copy = *event;
		if (event->event == RDMA_CM_EVENT_CONNECT_REQUEST && event->param.conn.private_data &&
			event->param.conn.private_data_len >= sizeof hello &&
			rail_of(&event->param.conn) < WT_VERBS_RAILS_MAX) {
			memcpy(hello, event->param.conn.private_data, sizeof hello);
			rail = rail_of(&event->param.conn);
			rdma_ack_cm_event(event);
			break;
		}
		rdma_ack_cm_event(event);
		if (copy.event == RDMA_CM_EVENT_CONNECT_REQUEST) {
			wt_verbs_reject(copy.id, false);
			rdma_destroy_id(copy.id);
		} else if (copy.event == RDMA_CM_EVENT_DEVICE_REMOVAL) {
			return -ENODEV;
		}
	}
	status = request_make(&copy, ret_request);
	if (status < 0)
		return status;
	(*ret_request)->rail = rail;
	memcpy(ret_hello, hello, sizeof hello);
	return 0;
}

void wt_verbs_request_refuse(struct wt_request *request)
{
	if (!request)
		return;
	wt_verbs_reject(request->cm.id, false);
	wt_verbs_cm_close(&request->cm);
	free(request);
}

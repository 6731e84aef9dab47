/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_verbs.h - the inside of the verbs fabric: reliable queue pairs, connected by librdmacm.
 *
 * Only path_verbs*.c include this, and only they include verbs headers. The hello travels as the private data
 * of the connection request, and behind it, in a byte, by which rail of its endpoint the peer connects;
 * everything else on the wire is the fabric's own.
 *
 * An endpoint has one or two *rails*, each a device with a protection domain of its own. A region is
 * registered on all of them, and its key holds all their keys: that of rail n in the bits from 32 * n on. A
 * path uses one rail here and one at the peer, whichever the connection came by.
 */
#ifndef WATARI_PATH_VERBS_H
#define WATARI_PATH_VERBS_H

#include <watari/path.h>

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include <stdint.h>

#define WT_VERBS_DEPTH_MAX 128u
#define WT_VERBS_BACKLOG 64
#define WT_VERBS_RAILS_MAX 2u /* what a key has room for */
#define WT_VERBS_HELLO_BYTES (WT_PATH_HELLO_BYTES + 1)
/*
 * 4.096 us << 17 is about 0.54 s; lost seven times in a row, a peer is gone after some 4 s. Not 7 retries:
 * soft-RoCE (Linux 6.1, rxe_comp.c) takes 7 to mean for ever, as for receiver-not-ready.
 */
#define WT_VERBS_RETRIES 6
#define WT_VERBS_ACK_TIMEOUT 17
#define WT_VERBS_RESOLVE_NS \
	5000000000ull /* for the device that routes to a peer; ARP may be lost once or twice */

struct wt_region {
	struct wt_endpoint *endpoint;
	struct ibv_mr *mr[WT_VERBS_RAILS_MAX];
	uint8_t *base;
	uint64_t length;
	unsigned access;
};

struct wt_verbs_rail {
	struct ibv_context *verbs; /* librdmacm's own, one per device and process */
	struct ibv_pd *pd;
	uint8_t initiator_depth;     /* RDMA READs that the device may have outstanding, per queue pair */
	uint8_t responder_resources; /* ... and may answer at once */
};

struct wt_endpoint {
	unsigned depth; /* of its paths: what all its devices can do */
	unsigned rail_count;
	struct wt_verbs_rail rails[WT_VERBS_RAILS_MAX];
	/* One of these two keeps the devices open. */
	struct ibv_context **devices;
	struct rdma_cm_id *id;
	struct rdma_event_channel *channel;
};

/* A connection before and while it has a queue pair. */
struct wt_verbs_cm {
	struct rdma_event_channel *channel; /* its own; NULL: none */
	struct rdma_cm_id *id;
};

struct wt_request {
	struct wt_verbs_cm cm;
	uint8_t initiator_depth;     /* what the peer can answer at once */
	uint8_t responder_resources; /* what the peer wants to have outstanding */
	uint8_t rail;                /* of the peer's endpoint */
};

struct wt_verbs_slot {
	uint64_t cookie;
	uint32_t length;
	int status; /* of a request that failed; after that no slot is used again */
};

struct wt_verbs_peer;

struct wt_path {
	struct wt_endpoint *endpoint; /* NULL while detached */
	struct wt_verbs_peer *peer;   /* PEER, while attached; the slots are not used then */
	enum wt_role role;
	uint8_t rail, peer_rail; /* of our endpoint, and of the peer's */
	unsigned depth;
	int epoll; /* what the owner sleeps on; holds both channels' descriptors */
	struct wt_verbs_cm cm;
	struct ibv_comp_channel *completions;
	struct ibv_cq *cq;
	bool established;
	bool dialled; /* by us */
	bool quiesced;
	bool armed; /* slept, or was about to: poll looks at the channels first */
	int error;  /* 0, or the errno with which the path failed */
	unsigned idle;
	/* slots[first .. first + count) are outstanding, oldest first; a work request's id is its slot. */
	unsigned first;
	unsigned count;
	unsigned known; /* ... of which the outcome is known, and not yet reported */
	struct wt_verbs_slot slots[WT_VERBS_DEPTH_MAX];
	/* Scratch of post. */
	struct ibv_send_wr work[WT_VERBS_DEPTH_MAX];
	struct ibv_sge pieces[WT_VERBS_DEPTH_MAX];
};

/* path_verbs.c */
uint64_t wt_verbs_now_ns(void);
int wt_verbs_endpoint_open(
	const char *device, const char *peer_host, struct wt_endpoint **ret_endpoint, struct wt_error *err);
void wt_verbs_endpoint_close(struct wt_endpoint *endpoint);
/* path_verbs_leave.c: a device that an endpoint uses; and see let_go of path.h. */
void wt_verbs_note(const struct ibv_context *verbs);
void wt_verbs_let_go(void);
/* Why so many bytes cannot be registered. */
int wt_verbs_region_error(struct wt_error *err, int code, size_t length);

/* path_verbs_cm.c: addresses, connections, the listener. */
int wt_verbs_cm_open(struct wt_verbs_cm *cm, struct wt_error *err);
void wt_verbs_cm_close(struct wt_verbs_cm *cm);
/* The same without waiting; device and descriptors are free some time later. The queue pair must be gone. */
void wt_verbs_cm_release(struct wt_verbs_cm *cm);
/* Opens cm and finds the device for a host; cm is closed again on failure. */
int wt_verbs_resolve(
	struct wt_verbs_cm *cm, const char *host, uint16_t port, uint64_t deadline_ns, struct wt_error *err);
/* The rail of this device; -1: the endpoint has none. */
int wt_verbs_rail_of(const struct wt_endpoint *endpoint, const struct ibv_context *verbs);
/*
 * Rejects a request. cannot: this end is not able to have the path, by this fabric; else it does not want it,
 * now or ever. The peer sees the first as a status that the specification does not have.
 */
#define WT_VERBS_REJECT_CANNOT 0x10000
void wt_verbs_reject(struct rdma_cm_id *id, bool cannot);
/* Waits for the next event and answers it by value; without private data. */
int wt_verbs_event_wait(struct wt_verbs_cm *cm, uint64_t deadline_ns, struct rdma_cm_event *ret_event);
/* Takes the next event, or answers -EAGAIN. */
int wt_verbs_event_next(struct rdma_event_channel *channel, struct rdma_cm_event *ret_event);
int wt_verbs_listener_open(const char *host, uint16_t port, struct wt_listener **ret_listener,
	uint16_t *ret_port, struct wt_error *err);
void wt_verbs_listener_close(struct wt_listener *listener);
int wt_verbs_listener_fd(const struct wt_listener *listener);
int wt_verbs_listener_accept(struct wt_listener *listener, struct wt_request **ret_request,
	uint8_t ret_hello[WT_PATH_HELLO_BYTES]);
void wt_verbs_request_refuse(struct wt_request *request);

/* path_verbs_life.c: how paths come and go. */
int wt_verbs_request_admit(struct wt_request *request, struct wt_endpoint *endpoint, enum wt_role role,
	struct wt_path **ret_path, struct wt_error *err);
int wt_verbs_connect(struct wt_endpoint *endpoint, const char *host, uint16_t port,
	const uint8_t hello[WT_PATH_HELLO_BYTES], enum wt_role role, uint64_t timeout_ns,
	struct wt_path **ret_path, struct wt_error *err);
int wt_verbs_detach(struct wt_path *path);
int wt_verbs_attach(struct wt_path *path, struct wt_endpoint *endpoint, const char *host, uint16_t port,
	const uint8_t hello[WT_PATH_HELLO_BYTES], uint64_t timeout_ns, struct wt_error *err);
void wt_verbs_close(struct wt_path *path);

/* path_verbs_queue.c: the data half. */
int wt_verbs_post(struct wt_path *path, const struct wt_op *ops, unsigned count);
bool wt_verbs_send_now(struct wt_path *path, const void *bytes, uint32_t length);
int wt_verbs_poll(struct wt_path *path, struct wt_completion *ret_completions, unsigned max);
int wt_verbs_arm(struct wt_path *path);
bool wt_verbs_alive(struct wt_path *path);
/* ... and what it shares with that of peers. */
int wt_verbs_status(enum ibv_wc_status status);
/* The first error counts: moves the queue pair to ERROR, or cuts it. */
void wt_verbs_fail(struct wt_path *path, int code);
/* No flush may come: the queue pair is destroyed, that of peers by a poll. The path has failed. */
void wt_verbs_cut(struct wt_path *path);
/* What the connection manager has to say. */
void wt_verbs_events_take(struct wt_path *path);
/* Does the operation's local region hold its bytes, with this access? 0 or -EINVAL. */
int wt_verbs_local_check(const struct wt_path *path, const struct wt_op *op, unsigned access);

/* path_verbs_peer.c: the data half of a path of peers. */
bool wt_verbs_peer_idle(const struct wt_path *path);
/* The same, of a path that shall become so: the device will speak of all that it has. */
bool wt_verbs_peer_rest(struct wt_path *path);
int wt_verbs_peer_post(struct wt_path *path, const struct wt_op *ops, unsigned count);
bool wt_verbs_peer_send_now(struct wt_path *path, const void *bytes, uint32_t length);
int wt_verbs_peer_poll(struct wt_path *path, struct wt_completion *ret_completions, unsigned max);
int wt_verbs_peer_arm(struct wt_path *path);
/* path_verbs_peer_in.c: says our opening, the first word on a path. */
int wt_verbs_peer_open(struct wt_path *path);

#endif

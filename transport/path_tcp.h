/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_tcp.h - the inside of the tcp fabric: its bytes on the wire, its limits, its objects.
 *
 * A new connection starts with a greeting from the end that connected and a verdict from the end that
 * listened. After that the pulling end sends requests, and the serving end answers each of them, in order,
 * with exactly `length` bytes and then a trailer. The status comes last because only after its bytes were
 * copied is it known whether they were good; a read that fails is padded with zeros to its length. So the
 * layout of the answers is known to the puller before they arrive, and one recvmsg puts many of them
 * straight into place.
 *
 * A path of two peers (path_tcp_peer.c) carries frames both ways after the verdict: a message, a write, or a
 * request to read, each with its bytes behind it; and the answers to the peer's writes and reads, in the
 * order in which those came. An answer that carries bytes ends with a trailer, for the same reason as above.
 *
 * With the fabric "tls" all of this goes through TLS (path_tcp_tls.h). There are no peers there.
 */
#ifndef WATARI_PATH_TCP_H
#define WATARI_PATH_TCP_H

#include <watari/path.h>

#include "path_tcp_tls.h"

#include <net/if.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

/* Limits. */
#define WT_TCP_DEPTH 128u
#define WT_TCP_HALF_OPEN_MAX 64u                  /* connections that have not greeted yet */
#define WT_TCP_GREETING_AGE_MAX_NS 10000000000ull /* how long they may take */
#define WT_TCP_PEER_TIMEOUT_MS 5000               /* a peer that stopped answering is gone */
/* For the serving end, to which a puller that is busy elsewhere (window closed) looks like one that is gone.
 */
#define WT_TCP_STALL_TIMEOUT_MS 20000
#define WT_TCP_BUCKETS 1024u /* of an endpoint's hash table of regions */
/* Where a region starts in remote addresses; not 0, so that a caller who forgets key.address is refused. */
#define WT_TCP_ADDRESS 0x100000000ull

/* On the wire: little-endian, fixed sizes. */
#define WT_TCP_MAGIC_GREETING 0x48545457u /* "WTTH" */
#define WT_TCP_MAGIC_VERDICT 0x56545457u  /* "WTTV" */
#define WT_TCP_MAGIC_REQUEST 0x52545457u  /* "WTTR" */
#define WT_TCP_MAGIC_TRAILER 0x54545457u  /* "WTTT" */
#define WT_TCP_MAGIC_FRAME 0x46545457u    /* "WTTF" */
#define WT_TCP_VERSION 1u

enum wt_tcp_admission {
	WT_TCP_ADMITTED = 1,
	WT_TCP_REFUSED = 2,
};

enum wt_tcp_status {
	WT_TCP_STATUS_OK = 1,
	WT_TCP_STATUS_KEY = 2,   /* no such key: -EACCES */
	WT_TCP_STATUS_RANGE = 3, /* not within the region: -ERANGE */
	WT_TCP_STATUS_FAULT = 4, /* the served memory is gone: -EFAULT */
};

struct wt_tcp_greeting {
	uint32_t magic;
	uint32_t version;
	uint8_t hello[WT_PATH_HELLO_BYTES];
};
_Static_assert(sizeof(struct wt_tcp_greeting) == 56, "wire format");

struct wt_tcp_verdict {
	uint32_t magic;
	uint32_t admission; /* enum wt_tcp_admission */
};
_Static_assert(sizeof(struct wt_tcp_verdict) == 8, "wire format");

struct wt_tcp_request {
	uint64_t id; /* counts up from 0 */
	uint64_t address;
	uint64_t key;
	uint32_t length; /* 1 .. WT_PATH_READ_MAX */
	uint32_t magic;
};
_Static_assert(sizeof(struct wt_tcp_request) == 32, "wire format");

/* Follows the bytes. */
struct wt_tcp_trailer {
	uint64_t id;
	uint32_t status; /* enum wt_tcp_status */
	uint32_t magic;
};
_Static_assert(sizeof(struct wt_tcp_trailer) == 16, "wire format");

enum wt_tcp_frame_kind {
	WT_TCP_FRAME_MESSAGE = 1, /* length bytes follow */
	WT_TCP_FRAME_WRITE = 2,   /* likewise, for address and key */
	WT_TCP_FRAME_READ = 3,
	WT_TCP_FRAME_WRITTEN = 4, /* answers a WRITE: status */
	WT_TCP_FRAME_DATA = 5,    /* answers a READ: length bytes and a trailer follow */
};

struct wt_tcp_frame {
	uint32_t magic;
	uint16_t kind;   /* enum wt_tcp_frame_kind */
	uint16_t status; /* enum wt_tcp_status */
	uint32_t length;
	uint32_t reserved;
	uint64_t address;
	uint64_t key;
};
_Static_assert(sizeof(struct wt_tcp_frame) == 32, "wire format");

/* Objects. */
struct wt_region {
	struct wt_endpoint *endpoint;
	uint8_t *base;
	uint64_t length;
	unsigned access;
	uint64_t key; /* random */
	int file;     /* that the memory is, from file_offset on; -1: not known */
	uint64_t file_offset;
	struct wt_region *next;
};

struct wt_endpoint {
	char device[IF_NAMESIZE];            /* interface that connections are bound to, or "" */
	struct wt_tcp_tls_context *dialling; /* NULL: in the clear */
	/* Write-locked to change the buckets; serving threads copy from regions under the read lock. */
	pthread_rwlock_t lock;
	struct wt_region *buckets[WT_TCP_BUCKETS];
};

struct wt_tcp_pull;
struct wt_tcp_serve;
struct wt_tcp_peer;

struct wt_path {
	struct wt_endpoint *endpoint; /* NULL while detached */
	enum wt_role role;
	int socket;             /* -1 while detached */
	struct wt_tcp_tls *tls; /* NULL: in the clear */
	int epoll;              /* what the owner sleeps on; stays the same across detach and attach */
	bool quiesced;
	int error;                  /* 0, or the errno with which the path failed */
	struct wt_tcp_pull *pull;   /* pulling end */
	struct wt_tcp_serve *serve; /* serving end */
	struct wt_tcp_peer *peer;   /* either end of a path of peers */
};

struct wt_request {
	int socket;
	struct wt_tcp_tls *tls;
	char peer[64];
};

/*
 * path_tcp.c: 0, and *ret_bytes is where these bytes of a region (*ret_region, unless NULL) lie; or -EACCES,
 * -ERANGE: the key does not grant that. The caller holds the endpoint's lock, or no thread serves it.
 */
int wt_tcp_region_locate(const struct wt_endpoint *endpoint, uint64_t key, enum wt_access access,
	uint64_t address, uint64_t length, const struct wt_region **ret_region, uint8_t **ret_bytes);
/* The errno of a status that came over the wire; -EPROTO if there is no such status. */
int wt_tcp_status_error(uint32_t status);
enum wt_tcp_status wt_tcp_error_status(int error); /* and back */
void wt_tcp_path_fail(struct wt_path *path, int code);

/* path_tcp_connect.c */
uint64_t wt_tcp_now_ns(void);
/* Connects, greets and waits for the verdict; answers a connected socket, which does not block, and TLS on
 * it. */
int wt_tcp_dial(const struct wt_endpoint *endpoint, const char *host, uint16_t port,
	const uint8_t hello[WT_PATH_HELLO_BYTES], uint64_t timeout_ns, int *ret_socket,
	struct wt_tcp_tls **ret_tls, struct wt_error *err);
/* Latency and liveness of a connected socket. */
int wt_tcp_tune(int socket, enum wt_role role);

/* path_tcp_listen.c */
/* accepting: NULL: in the clear; otherwise the listener's, unless it fails. */
int wt_tcp_listener_open(struct wt_tcp_tls_context *accepting, const char *host, uint16_t port,
	struct wt_listener **ret_listener, uint16_t *ret_port, struct wt_error *err);
void wt_tcp_listener_close(struct wt_listener *listener);
int wt_tcp_listener_fd(const struct wt_listener *listener);
int wt_tcp_listener_accept(struct wt_listener *listener, struct wt_request **ret_request,
	uint8_t ret_hello[WT_PATH_HELLO_BYTES]);
void wt_tcp_listener_find(struct wt_listener *listener, wt_path_find_fn *find, void *arg);
unsigned wt_tcp_listener_dropped(struct wt_listener *listener);
/* Tells the peer; consumes nothing. */
int wt_tcp_verdict_send(const struct wt_request *request, enum wt_tcp_admission admission);

/* path_tcp_pull.c: start and stop with the connection; the socket stays the path's. */
int wt_tcp_pull_start(struct wt_path *path);
void wt_tcp_pull_stop(struct wt_path *path);
int wt_tcp_pull_post(struct wt_path *path, const struct wt_op *ops, unsigned count);
int wt_tcp_pull_poll(struct wt_path *path, struct wt_completion *ret_completions, unsigned max);
unsigned wt_tcp_pull_outstanding(const struct wt_path *path);
/* The owner is going to sleep. */
void wt_tcp_pull_arm(struct wt_path *path);

/* path_tcp_serve.c: likewise; stop waits for the thread. */
int wt_tcp_serve_start(struct wt_path *path);
void wt_tcp_serve_stop(struct wt_path *path);
/* 0 while the thread serves, otherwise the errno with which it ended. */
int wt_tcp_serve_error(const struct wt_path *path);

/* path_tcp_peer.c: likewise. idle: nothing of ours is outstanding and nothing that we owe is unsent. */
int wt_tcp_peer_start(struct wt_path *path);
void wt_tcp_peer_stop(struct wt_path *path);
int wt_tcp_peer_post(struct wt_path *path, const struct wt_op *ops, unsigned count);
bool wt_tcp_peer_send_now(struct wt_path *path, const void *bytes, uint32_t length);
int wt_tcp_peer_poll(struct wt_path *path, struct wt_completion *ret_completions, unsigned max);
bool wt_tcp_peer_idle(const struct wt_path *path);
/* Whether poll has something to say without hearing from the socket. */
bool wt_tcp_peer_ready(const struct wt_path *path);

#endif

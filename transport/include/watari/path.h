/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path.h - one connection of one fabric between two hosts, whatever the fabric.
 *
 * Objects and owners:
 *   endpoint  this host's end of a fabric for one session: the device and a protection domain of its own
 *             (verbs), or a table of regions (tcp). Owns its regions.
 *   region    local memory that a fabric may touch: to be read by peers (SERVE), written by our own reads
 *             (SINK) or written by peers (TARGET). The memory belongs to the caller and must outlive the
 *             region.
 *   listener  waits for connections. A connection arrives as a request that carries WT_PATH_HELLO_BYTES
 *             opaque bytes, by which the caller decides whether to admit it and to which endpoint.
 *   path      one queue pair, or one socket. A session uses several. A path either serves one way only
 *             (SERVE and PULL), or joins two equal ends (PEER) that send messages, read and write.
 *
 * Rules (the contract suite checks them for every fabric):
 *   1. Every post that was taken completes exactly once, with status 0 or -errno.
 *   2. A completion, also one with an error, means that nothing of that operation will be written any more.
 *   3. A path that failed is failed for ever; all its outstanding posts complete with an error, and only then
 *      does poll return a negative value: the path is silent.
 *   4. post, poll and arm never block, never allocate and never log.
 *   5. A region's key grants reading only, and writing only if it is a TARGET and only to the other end of a
 *      PEER path. After region_remove has returned, the key grants nothing.
 *   6. A remote read returns bytes that the served memory held at some moment after the post; different bytes
 *      of one read may stem from different moments.
 *   7. Messages of a PEER path arrive whole, once, and in the order of their posts. A message completes when
 *      its bytes may be changed, which says nothing of its arrival; all that were posted before a quiesce
 * that answered 0 have left this end, and arrive if the other one polls. A write completes when its bytes are
 *      in place at the other end, or never will be; messages posted after that arrive after them. Nothing
 *      moves for longer than a while unless both ends poll.
 *   8. A key that does not grant what it is used for fails that operation; the path may fail with it (verbs),
 *      or go on (tcp).
 *
 * Threads: an endpoint, its regions and its paths are used by one thread, but for what is said below. Serving
 * happens beside it: in the NIC (verbs), or in a thread of the path (tcp); region_remove waits until that is
 * out of the region.
 *
 * The control half may block for at most the timeout that it is given.
 */
#ifndef WATARI_PATH_H
#define WATARI_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/error.h>

#define WT_PATH_HELLO_BYTES 48
#define WT_PATH_HELLO_ID_BYTES 16       /* its first bytes say whose it is; the rest is secret */
#define WT_PATH_READ_MAX (1u << 20)     /* the longest single read or write, bytes */
#define WT_PATH_MESSAGE_MAX (66u << 10) /* the longest message, head and all, bytes */
#define WT_PATH_NOW_MAX 128u            /* the longest that send_now takes, bytes */

enum wt_fabric {
	WT_FABRIC_INVALID = 0,
	WT_FABRIC_TCP = 1,
	WT_FABRIC_VERBS = 2,
	WT_FABRIC_SIM = 3,
	WT_FABRIC_TLS = 4, /* tcp, encrypted; the hello's token is the key */
	WT_FABRIC_COUNT = 5,
};

/* Sets of fabrics are bit masks of WT_FABRIC_BIT(). */
#define WT_FABRIC_BIT(fabric) (1u << (fabric))

enum wt_access {
	WT_ACCESS_SERVE = 1,  /* peers may read it */
	WT_ACCESS_SINK = 2,   /* our own reads may write it */
	WT_ACCESS_TARGET = 4, /* the other end of a PEER path may write it */
};

enum wt_role {
	WT_ROLE_INVALID = 0,
	WT_ROLE_SERVE = 1, /* this end is read from */
	WT_ROLE_PULL = 2,  /* this end reads */
	WT_ROLE_PEER = 3,  /* both ends send, read and write; -EOPNOTSUPP where a fabric cannot */
};

enum wt_op_kind {
	WT_OP_INVALID = 0,
	WT_OP_READ = 1,
	WT_OP_SEND = 2,  /* PEER paths; elsewhere post answers -EOPNOTSUPP */
	WT_OP_WRITE = 3, /* likewise */
};

/* What a peer needs to read a region. Travels in messages; means something only to the same fabric. */
struct wt_key {
	uint64_t address; /* remote address of the region's first byte */
	uint64_t length;  /* bytes */
	uint64_t key;
};

struct wt_endpoint;
struct wt_region;
struct wt_listener;
struct wt_request;
struct wt_path;

/* Fills in the whole hello that begins with this id; false: there is none. */
typedef bool wt_path_find_fn(
	void *arg, const uint8_t id[WT_PATH_HELLO_ID_BYTES], uint8_t ret_hello[WT_PATH_HELLO_BYTES]);

struct wt_op {
	enum wt_op_kind kind;
	uint32_t length;                /* bytes, 1 .. WT_PATH_READ_MAX; SEND: head_length more, in all
					 * 1 .. WT_PATH_MESSAGE_MAX */
	uint64_t cookie;                /* returned by the completion, otherwise untouched */
	void *local;                    /* Unchanged until the completion */
	struct wt_region *local_region; /* READ: SINK; WRITE: of any access, holds local. SEND: unused */
	uint64_t remote_address;        /* in [key.address, key.address + key.length) */
	uint64_t remote_key;
	const void *head; /* SEND: goes before the bytes at local */
	uint32_t head_length;
};

struct wt_completion {
	uint64_t cookie;
	int status;      /* 0 or -errno */
	uint32_t length; /* bytes that arrived, if status is 0 */
	/* PEER: NULL, or a message that came (then there is no cookie); valid until the next poll. Unset on
	 * other paths. */
	const void *message;
};

struct wt_fabric_ops {
	const char *name; /* "tcp", "verbs" */
	enum wt_fabric fabric;

	/*
	 * endpoint_open: device selects a device by name (NULL: the one that routes to peer_host, or the
	 * first); both may be NULL. -ENODEV where there is none. endpoint_close: after its paths and regions
	 * are gone.
	 */
	int (*endpoint_open)(const char *device, const char *peer_host, struct wt_endpoint **ret_endpoint,
		struct wt_error *err);
	void (*endpoint_close)(struct wt_endpoint *endpoint);
	/*
	 * NULL where a fabric has no use for it. For one who waits, without an endpoint, until a device has
	 * been taken away: called now and then, it lets go whatever of such a device this process still has.
	 */
	void (*let_go)(void);

	/* access is a set of enum wt_access. base and length need no alignment. -ENOMEM: locked-memory limit.
	 * Over verbs several threads may call it at once. */
	int (*region_add)(struct wt_endpoint *endpoint, void *base, size_t length, unsigned access,
		struct wt_region **ret_region, struct wt_error *err);
	/*
	 * NULL where a fabric has no use for it. A region to be served is this file, from an offset on, and
	 * may be sent out of it: what was sent before region_remove has returned, and is not received yet,
	 * then shows what is written to the file meanwhile. The descriptor stays the caller's, and open until
	 * region_remove.
	 */
	void (*region_file)(struct wt_region *region, int fd, uint64_t offset);
	void (*region_key)(const struct wt_region *region, struct wt_key *ret_key);
	/* Also while another thread connects a path of the endpoint. */
	void (*region_remove)(struct wt_region *region);

	/* host NULL: every address. port 0: any; *ret_port is the real one. listener_fd becomes readable. */
	int (*listener_open)(const char *host, uint16_t port, struct wt_listener **ret_listener,
		uint16_t *ret_port, struct wt_error *err);
	void (*listener_close)(struct wt_listener *listener);
	int (*listener_fd)(const struct wt_listener *listener);
	/*
	 * NULL where a fabric has no use for it. An encrypting one asks while it accepts: without the hello
	 * that the other end says it has, nobody is admitted.
	 */
	void (*listener_find)(struct wt_listener *listener, wt_path_find_fn *find, void *arg);
	/* NULL where a fabric does not know. How many have come since the last call and were turned away. */
	unsigned (*listener_dropped)(struct wt_listener *listener);
	/* Takes one request, or answers -EAGAIN. Never blocks; a peer that says nothing is dropped in time.
	 */
	int (*listener_accept)(struct wt_listener *listener, struct wt_request **ret_request,
		uint8_t ret_hello[WT_PATH_HELLO_BYTES]);
	/* Both consume the request, also when they fail. */
	int (*request_admit)(struct wt_request *request, struct wt_endpoint *endpoint, enum wt_role role,
		struct wt_path **ret_path, struct wt_error *err);
	void (*request_refuse)(struct wt_request *request);

	/*
	 * -ECONNREFUSED: nobody listens, or who does has refused; another time may be better. -ENOBUFS
	 * (verbs): the other end would, and is not able to: its request_admit has failed.
	 */
	int (*connect)(struct wt_endpoint *endpoint, const char *host, uint16_t port,
		const uint8_t hello[WT_PATH_HELLO_BYTES], enum wt_role role, uint64_t timeout_ns,
		struct wt_path **ret_path, struct wt_error *err);

	/*
	 * Life cycle. quiesce: takes no new post from now on (post answers -ESHUTDOWN); answers 0 when
	 * nothing is in flight, -EAGAIN while something is: go on polling and ask again. resume: takes posts
	 * again. detach: after a quiesce that answered 0, gives up every resource of the connection and of
	 * the device, keeping the object; attach: gives it a new connection by another endpoint. A fabric
	 * without them answers -EOPNOTSUPP.
	 */
	int (*quiesce)(struct wt_path *path);
	int (*resume)(struct wt_path *path);
	int (*detach)(struct wt_path *path);
	int (*attach)(struct wt_path *path, struct wt_endpoint *endpoint, const char *host, uint16_t port,
		const uint8_t hello[WT_PATH_HELLO_BYTES], uint64_t timeout_ns, struct wt_error *err);
	/* Closes at once. Completions that were not polled are lost; no memory is written afterwards. */
	void (*close)(struct wt_path *path);

	/* Takes the first operations of the array; answers how many (0 < n <= count), or -EAGAIN, or -errno.
	 */
	int (*post)(struct wt_path *path, const struct wt_op *ops, unsigned count);
	/*
	 * PEER paths. A message that goes at once or not at all, behind all that were posted: true, and the
	 * bytes are the caller's again, and no completion will tell of it. false: post it.
	 */
	bool (*send_now)(struct wt_path *path, const void *bytes, uint32_t length);
	/* Answers how many completions it wrote (0: none now), or -errno once the path has failed and is
	 * silent. */
	int (*poll)(struct wt_path *path, struct wt_completion *ret_completions, unsigned max);
	/* Before sleeping on fd: 0, the fd will become readable when poll has news; 1, poll again first. */
	int (*arm)(struct wt_path *path);
	int (*fd)(const struct wt_path *path);
	/* How many operations may be outstanding; constant for a path. */
	unsigned (*depth)(const struct wt_path *path);
	/* false once the connection is known to be gone; a serving end has no other way to see it. */
	bool (*alive)(struct wt_path *path);
};

/* The operations of a fabric; NULL where this build has none. */
const struct wt_fabric_ops *wt_fabric_ops(enum wt_fabric fabric);
const char *wt_fabric_name(enum wt_fabric fabric);

#endif

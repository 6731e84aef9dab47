/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server.h - a page server: announces extents of local memory to one puller and lets it read them.
 *
 * Order of calls: open, block_add for every block, start; after `ready`, announce. A server keeps its session
 * through lost connections: it connects again by itself and calls `lost` and `back`; meanwhile announcements
 * are accepted until the bound on what may be pending is reached.
 *
 * Memory of a block belongs to the caller and must stay mapped until wt_server_close has returned. It is only
 * read. What cannot be mapped can be announced with its bytes (a *staged* copy). One thread: the loop's. No
 * callback may call wt_server_close.
 */
#ifndef WATARI_SERVER_H
#define WATARI_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/block.h>
#include <watari/channel.h>
#include <watari/error.h>
#include <watari/loop.h>
#include <watari/path.h>

struct wt_server;

struct wt_server_config {
	struct wt_address peer;
	const char *name;         /* of the VM, as the puller expects it */
	const struct wt_psk *psk; /* NULL: in the clear, loopback and unix sockets only */
	unsigned fabrics;         /* WT_FABRIC_BIT()s that may be used; 0: all */
	unsigned paths;           /* how many to open; 0: a default */
	const char *device;       /* RDMA device; NULL: the one that routes to the peer */
	bool may_discard;    /* the memory may get holes while it is served: never pin it, serve copies over
				verbs */
	uint64_t rate_limit; /* bytes of content announced per second, on average; 0: no limit */
	uint64_t connect_timeout_ns;
	uint64_t give_up_ns; /* how long a lost connection is tried again */
};

/*
 * All but `ready` and `failed` may be NULL; without `message`, the peer's application may send none. The
 * struct and what it points to outlive the server; so does what the config points to.
 */
struct wt_server_events {
	void (*ready)(void *arg); /* once: the puller can read */
	/* Something landed, or the rate limit allows more: wt_server_room may have become true. */
	void (*room)(void *arg);
	int (*message)(void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err);
	void (*lost)(void *arg, const struct wt_error *err);
	void (*back)(void *arg);
	void (*failed)(void *arg, const struct wt_error *err); /* for good; nothing more follows */
	void (*note)(void *arg, const char *text); /* worth telling the operator, e.g. a fabric not used */
};

struct wt_server_stats {
	enum wt_fabric fabric; /* in use now */
	unsigned used;         /* WT_FABRIC_BIT()s: in use at some time */
	unsigned paths;
	uint64_t announced_pages, zero_pages, staged_pages;
	uint64_t pending_bytes, pending_limit;
	uint64_t landed_seq, next_seq;
};

int wt_server_open(struct wt_loop *loop, const struct wt_server_config *config,
	const struct wt_server_events *events, void *arg, struct wt_server **ret_server,
	struct wt_error *err);
/* Deregisters and disconnects; afterwards no peer can read anything. */
void wt_server_close(struct wt_server *server);

/*
 * Answers the block's number (0, 1, ...). fd (or -1): the file behind base, whose holes are then never
 * touched. base NULL (and fd -1): there is no memory to read, all content comes by wt_server_announce_copy or
 * is zero.
 */
int wt_server_block_add(struct wt_server *server, const char *name, void *base, uint64_t length, int fd,
	uint64_t fd_offset, struct wt_error *err);
int wt_server_start(struct wt_server *server, struct wt_error *err);

/*
 * Says that an extent has new content: IN_PLACE (the server decides whether to serve it in place or as a
 * copy) or ZERO. *extent is moved past what was taken, to 0 pages when all was. -EAGAIN: back-pressure, the
 * rest was not taken; wait for `room` and call again with it. -EINVAL: the extent is not in a block, or
 * IN_PLACE in a block without memory. Announcements are gathered until wt_server_flush.
 */
int wt_server_announce(struct wt_server *server, struct wt_extent *extent, enum wt_content content);
/*
 * The same with the content at hand: takes it from `bytes` (as many as the extent's pages have, in their
 * order; not needed any more afterwards) and keeps a copy until it has landed, whether the block has memory
 * or not. When only a part was taken, `bytes` of the next call are those of the extent as it is then.
 */
int wt_server_announce_copy(struct wt_server *server, struct wt_extent *extent, const uint8_t *bytes);
void wt_server_flush(struct wt_server *server);
/*
 * The memory does not change any more, and somebody waits for the end: what is announced from now on is
 * pulled before what was announced earlier (but never before an earlier announcement of the same page).
 */
void wt_server_final(struct wt_server *server);
/* Changes config.rate_limit; at any time. `room` follows, from the loop. */
void wt_server_rate_limit(struct wt_server *server, uint64_t bytes_per_s);
/* Whether something of the next announcement, of whichever kind, would be taken now. */
bool wt_server_room(const struct wt_server *server);
bool wt_server_all_landed(const struct wt_server *server);

/* Sends a message of the application (type >= 64, payload up to 1 MiB) in order with the announcements. */
int wt_server_send(struct wt_server *server, unsigned type, const void *payload, size_t length);
/* Bytes of messages that the peer has not acknowledged. */
size_t wt_server_unsent(const struct wt_server *server);
/* When the peer was last heard, ns of the loop's clock. */
uint64_t wt_server_heard_ns(const struct wt_server *server);
void wt_server_stats(const struct wt_server *server, struct wt_server_stats *ret_stats);

#endif

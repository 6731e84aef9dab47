/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server.h - a page server: announces extents of local memory to one puller and lets it read them.
 *
 * Order of calls: open, start; after `ready`, announce. A server keeps its session through lost connections:
 * it connects again by itself and calls `lost` and `back`; meanwhile announcements are accepted until the
 * bound on what may be pending is reached. What cannot be mapped can be announced with its bytes (a *staged*
 * copy).
 *
 * A puller that has an old copy of the memory says so, by itself; then digests of what is announced for the
 * first time are made in threads, and follow the announcements.
 *
 * Another puller can take over: wt_server_drain to the one that is left, then wt_server_base and
 * wt_server_hand_over to the server of the new one. The one that is left keeps what it has and may serve it,
 * too (wt_server_serve), as a *helper*: by a server of its own that is *passive*, which announces nothing.
 * Both servers here share one memory.
 *
 * A passive server with a `digest_key` serves an old copy of the memory, whatever it is worth: the puller
 * asks for digests of it and reads only what is right (wt_puller_replica_remote).
 *
 * One thread: the loop's. No callback may call wt_server_close.
 */
#ifndef WATARI_SERVER_H
#define WATARI_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/block.h>
#include <watari/channel.h>
#include <watari/digest.h>
#include <watari/error.h>
#include <watari/loop.h>
#include <watari/memory.h>
#include <watari/path.h>

#define WT_SERVERS_MAX 8 /* of one puller: number 0 announces, 1 to 7 are helpers */
#define WT_SERVER_SESSION_ID_BYTES 16

struct wt_server;

struct wt_server_config {
	struct wt_memory *memory; /* what is served, with all its blocks */
	struct wt_address peer;
	const char *name;                         /* of the VM, as the puller expects it */
	const struct wt_credentials *credentials; /* NULL: in the clear, loopback and unix sockets only */
	unsigned fabrics; /* WT_FABRIC_BIT()s that may be used; 0: all; tcp means tls where data is encrypted
			   */
	bool data_plain;  /* data over tcp is not encrypted, although there are credentials; as at the puller
			   */
	unsigned paths;   /* how many to open; 0: a default */
	const char *device; /* RDMA device; NULL: the one that routes to the peer */
	bool may_discard;   /* the memory may get holes while it is served: never pin it, serve copies over
			       verbs */
	/* A helper: the memory does not change, nothing is announced. The puller expects this session. */
	bool passive;
	const uint8_t *session_id; /* WT_SERVER_SESSION_ID_BYTES; NULL: a random one */
	/* Only with passive, WT_DIGEST_KEY_BYTES: the memory is an old copy, a *replica*. The puller asks for
	 * digests of it under this key, and reads what it finds equal. A block without memory and file is one
	 * of which there is no copy. NULL: it is no replica. */
	const uint8_t *digest_key;
	uint64_t rate_limit; /* bytes of content announced per second, on average; 0: no limit */
	uint64_t connect_timeout_ns;
	uint64_t give_up_ns; /* how long a lost connection is tried again */
};

/* How it goes with a helper, as the puller says. */
enum wt_helper_state {
	WT_HELPER_INVALID = 0,
	WT_HELPER_JOINED = 1,
	WT_HELPER_LOST = 2,
	WT_HELPER_UNREACHABLE = 3,
};

/*
 * All but `ready` and `failed` may be NULL; without `message`, the peer's application may send none. The
 * struct and what it points to outlive the server; so does what the config points to.
 */
struct wt_server_events {
	void (*ready)(void *arg); /* once, and after every wt_server_restart: the puller can read */
	/* Something landed, or the rate limit allows more: wt_server_room may have become true. */
	void (*room)(void *arg);
	int (*message)(void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err);
	void (*lost)(void *arg, const struct wt_error *err);
	void (*back)(void *arg);
	void (*failed)(void *arg, const struct wt_error *err); /* for good; nothing more follows */
	void (*note)(void *arg, const char *text); /* worth telling the operator, e.g. a fabric not used */

	void (*drained)(void *arg);   /* what the puller has does not change any more, and is known */
	void (*base_sent)(void *arg); /* all of wt_server_base; announcements are taken again */
	void (*base_left)(void *arg, uint64_t pages);                /* what the puller lacks of the base */
	void (*expected)(void *arg, unsigned number, uint16_t port); /* the helper may come, to this port */
	/* The replica may come, to this port; digest_key: for wt_server_order, WT_DIGEST_KEY_BYTES, gone
	 * after the call. If the puller takes none, `helper` says so instead: unreachable. */
	void (*expected_replica)(void *arg, unsigned number, uint16_t port, const uint8_t *digest_key);
	void (*helper)(void *arg, unsigned number, enum wt_helper_state state, const char *text);
};

struct wt_server_stats {
	enum wt_fabric fabric; /* in use now */
	unsigned used;         /* WT_FABRIC_BIT()s: in use at some time */
	unsigned paths;
	uint64_t announced_pages, zero_pages, staged_pages;
	uint64_t pending_bytes, pending_limit;
	uint64_t landed_seq, next_seq;
	uint64_t base_pages;     /* that the puller needs of the base */
	uint64_t helper_pages;   /* that helpers have, those of each counted */
	uint64_t wanted_pages;   /* that the puller has asked for and that were not announced again yet */
	bool digests;            /* are made: the puller wants them */
	uint64_t digested_pages; /* whose digests were sent: the puller may have had them */
	uint64_t warm_pages;     /* of a warm-up that has ended, in no other figure of pages */
	uint64_t deferred_pages; /* that wait, see wt_server_defer */
	uint64_t control_bytes;  /* of messages, both ways, without TLS */
};

enum wt_base_policy {
	WT_BASE_INVALID = 0,
	WT_BASE_FASTEST = 1,
	WT_BASE_SPARE_SOURCE = 2, /* what a helper has is not read from here */
};

/* What a puller is given of what was announced before it came. */
struct wt_server_base {
	const struct wt_server *before; /* who was left; what is pending there is not base. NULL: nobody */
	unsigned helpers;
	struct {
		unsigned number;                /* 1 to 7 */
		const struct wt_server *server; /* to a puller that has drained */
	} helper[WT_SERVERS_MAX - 1];
	enum wt_base_policy policy;
	uint64_t rate_limit; /* bytes per second read from here; 0: none */
};

/* Where a helper shall serve. */
struct wt_server_order {
	const char *host;
	uint16_t port;
	const char *name; /* of the VM, as the puller there expects it */
	uint8_t session_id[WT_SERVER_SESSION_ID_BYTES];
	unsigned number;
	const uint8_t
		*digest_key; /* WT_DIGEST_KEY_BYTES: serve as a replica, with this key; NULL: as a helper */
};

int wt_server_open(struct wt_loop *loop, const struct wt_server_config *config,
	const struct wt_server_events *events, void *arg, struct wt_server **ret_server,
	struct wt_error *err);
/* Deregisters and disconnects; afterwards no peer can read anything. Does not wait for attempts to connect
 * that are under way: they end by themselves, wt_memory_close waits for them. */
void wt_server_close(struct wt_server *server);

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
 * Warm-up: while it is on, announcements only bring the puller's memory near to this one. Nobody needs to
 * know what changes meanwhile, and nothing is digested. Off: as if nothing had been announced yet; a puller
 * whose old copy is that memory itself keeps of it what is still right. On before the first announcement, off
 * when all has landed: otherwise -EAGAIN, or -EINVAL if it is not on.
 */
int wt_server_warm(struct wt_server *server, bool on);
/* Before the first announcement: whatever old copy the puller has, it is not worth digesting for. */
void wt_server_no_digests(struct wt_server *server);

/* What waits before it is announced; see wt_server_defer. */
struct wt_server_deferral {
	uint64_t pages_max; /* that may wait; 0: none */
	uint64_t epoch_ns;
	unsigned epochs; /* 0 to WT_SERVER_EPOCHS_MAX */
};
#define WT_SERVER_EPOCHS_MAX 2u

/*
 * What the guest writes all the time need not be pulled all the time: an IN_PLACE extent that was announced
 * before, and in each of the last `epochs` epochs, waits until it was not announced for an epoch, or nothing
 * shall wait any more. At most pages_max do, which is what may be pulled when the guest is stopped; nothing
 * more is taken to wait after wt_server_final. An epoch is at least as long as announcing everything that is
 * dirty takes. NULL, as at first: what waits is announced now; -EAGAIN: call again, not all of it was taken.
 * -ENOMEM: nothing waits. All may change at any time, an epoch's length from the next one on.
 */
int wt_server_defer(struct wt_server *server, const struct wt_server_deferral *deferral);
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

/* ---- another puller ---- */

/*
 * Leaves this puller: it shall start nothing new, and say when all is silent (`drained`). Announcements
 * answer -EAGAIN from now on. -EAGAIN: not now, try again at `room` or a little later.
 */
int wt_server_drain(struct wt_server *server);
/* Takes that back. Nothing happens once `drained` was called; then there is wt_server_restart. */
void wt_server_undrain(struct wt_server *server);
/* There will be no `drained`: what this puller has counts for nothing. -ENOMEM. */
int wt_server_leave(struct wt_server *server);
/*
 * Gives the puller what was announced before it came, in the background; `base_sent` follows. Announcements
 * answer -EAGAIN until then, and nothing may be announced by another server of the memory. To a puller that
 * came back (wt_server_restart) only what it does not have. The servers that base names stay
 * open until then. -ENOMEM.
 */
int wt_server_base(struct wt_server *server, const struct wt_server_base *base, struct wt_error *err);
/*
 * Announces what is pending at `from`, which was drained or left, in its order. -EAGAIN: call again at
 * `room`; 0: all was taken, and copies that `from` held are given up.
 */
int wt_server_hand_over(struct wt_server *server, struct wt_server *from);
/* So many pages will be announced still, as far as is known: for the puller's order, nothing else. */
void wt_server_ahead(struct wt_server *server, uint64_t pages);
/* A puller that has drained begins anew: `ready` follows. Its numbers begin at 1 again. -EINVAL: it has not.
 */
int wt_server_restart(struct wt_server *server, struct wt_error *err);
/* A helper with this session will come; `expected` follows. label: for people. */
void wt_server_expect(struct wt_server *server, unsigned number,
	const uint8_t session_id[WT_SERVER_SESSION_ID_BYTES], const char *label);
/*
 * A replica with this session will come (a passive server with a digest_key); `expected_replica` follows.
 * What it has is compared, and judged by digests under a key that it does not know: it need not be trusted.
 * Before wt_server_start, once; -EINVAL: later, or no such number. `helper` says joined and lost, as of
 * helpers.
 */
int wt_server_expect_replica(struct wt_server *server, unsigned number,
	const uint8_t session_id[WT_SERVER_SESSION_ID_BYTES], const char *label);
/* That helper (or replica) does not come, whatever it has: nobody shall wait for it. Nothing happens if it is
 * there. */
void wt_server_no_helper(struct wt_server *server, unsigned number, const char *why);
/* To a puller that has drained: serve that one; serve nobody as this number any more; it is not needed any
 * more. */
void wt_server_serve(struct wt_server *server, const struct wt_server_order *order);
void wt_server_serve_end(struct wt_server *server, unsigned number);
void wt_server_release(struct wt_server *server);

#endif

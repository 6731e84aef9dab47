/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * puller.h - pulls what a page server announces into local memory; from several servers, where others have
 * it.
 *
 * Listens for a server that offers the expected name, checks its blocks through `block`, then pulls. It keeps
 * its sessions through lost connections, like the servers. Local memory belongs to the caller and must stay
 * mapped, shared and undiscarded until wt_puller_close has returned.
 *
 * The first server that comes is number 0: it announces, and its application may send messages. *Helpers*,
 * numbers 1 to 7, only serve; each is expected by its session id (a server with `passive` and that id) and
 * may come once `blocks_end` has been called. What helpers are good for is the *base*: pages that are missing
 * here, and who has them. Server 0 says that by messages (wt_server_base), or the caller does
 * (wt_puller_need, wt_puller_has, wt_puller_base_end). Each page is pulled from whoever is free first. A
 * helper that fails, or whose blocks are not those of server 0, is lost alone.
 *
 * A puller that has an old copy of the memory (wt_puller_replica) pulls only what differs from it. The copy
 * may lie on another host (wt_puller_replica_remote).
 *
 * One thread: the loop's, but for the reading of a replica. No callback may call wt_puller_close.
 */
#ifndef WATARI_PULLER_H
#define WATARI_PULLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/block.h>
#include <watari/channel.h>
#include <watari/digest.h>
#include <watari/error.h>
#include <watari/loop.h>
#include <watari/path.h>
#include <watari/server.h>

struct wt_puller;

struct wt_puller_config {
	struct wt_address listen;
	const char *name; /* of the VM; another one is refused */
	const struct wt_credentials *credentials;
	unsigned fabrics;      /* WT_FABRIC_BIT()s to offer; 0: all; tcp means tls where data is encrypted */
	bool data_plain;       /* data over tcp is not encrypted, although there are credentials */
	const char *data_host; /* address that servers shall use for data; NULL: that of `listen` */
	const char *device;
	uint64_t give_up_ns;
};

/* Where a block lies here. */
struct wt_puller_block {
	void *base;
	int fd; /* the file behind it, or -1 */
	uint64_t fd_offset;
};

/*
 * All but `block` and `failed` may be NULL; without `message`, the server's application may send none. The
 * struct outlives the puller; so does what the config points to.
 */
struct wt_puller_events {
	void (*connected)(void *arg, const char *peer);
	/* The server has a block of this name and length (bytes). -errno with err filled refuses the session.
	 */
	int (*block)(void *arg, const char *name, uint64_t length, struct wt_puller_block *ret_block,
		struct wt_error *err);
	/* All blocks were accepted. */
	int (*blocks_end)(void *arg, struct wt_error *err);
	/* Everything announced so far has landed, and the base. */
	void (*landed)(void *arg);
	int (*message)(void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err);
	void (*lost)(void *arg, const struct wt_error *err);
	void (*back)(void *arg);
	void (*failed)(void *arg, const struct wt_error *err);
	void (*refused)(
		void *arg, const struct wt_error *err); /* somebody was turned away; we go on listening */

	/* Helpers. label: as expected. */
	void (*helper_joined)(void *arg, unsigned number, const char *label);
	void (*helper_lost)(void *arg, unsigned number, const char *label, const struct wt_error *err);
	/* Server 0 leaves us. drained: nothing writes our memory any more, and it knows what we have.
	 * undrained: it does not leave after all. restarted: it comes back, and announces from 1 on. */
	void (*drained)(void *arg);
	void (*undrained)(void *arg);
	void (*restarted)(void *arg);
	/* Only a drained puller is told these; it becomes a helper of that one, stops being one, or is not
	 * needed any more. What `order` points to is gone after the call. */
	void (*serve)(void *arg, const struct wt_server_order *order);
	void (*serve_end)(void *arg, unsigned number);
	void (*release)(void *arg);
	/* The replica on another host is here: what it has in common with server 0 is read from it. */
	void (*replica_joined)(void *arg, const char *label);
	/* The old copy is given up, for good: it cannot be read, did not come, is gone, or gave wrong bytes;
	 * it goes on without. */
	void (*replica_lost)(void *arg, const struct wt_error *err);
};

/* An old copy of the memory. */
struct wt_puller_replica {
	/* Brings pages of a block. Called by several threads at once, until wt_puller_close. -ENOENT: there
	 * is no copy of these; another -errno: it cannot be read any more. */
	int (*read)(void *arg, uint32_t block, uint64_t page, uint32_t pages, void *ret_bytes);
	/* It is the memory that is pulled into, which nobody but the puller writes; `read` brings the same.
	 */
	bool in_place;
	void *arg;
};

struct wt_puller_stats {
	enum wt_fabric fabric; /* of the last path that was used */
	unsigned paths;
	uint64_t pulled_bytes[WT_FABRIC_COUNT]; /* by enum wt_fabric */
	uint64_t server_bytes[WT_SERVERS_MAX];  /* pulled, by server */
	uint64_t pulled_pages, zero_pages, repeated_pages;
	uint64_t replica_pages;  /* that the old copy had */
	uint64_t replica_bytes;  /* read from the replica on another host; in server_bytes, too */
	uint64_t digested_pages; /* that were compared with it */
	uint64_t ahead_pages;    /* digested before the server's digests came */
	uint64_t ahead_used;     /* ... and compared with them so */
};

int wt_puller_open(struct wt_loop *loop, const struct wt_puller_config *config,
	const struct wt_puller_events *events, void *arg, struct wt_puller **ret_puller, uint16_t *ret_port,
	struct wt_error *err);
void wt_puller_close(struct wt_puller *puller);

/* The number that the next announcement will have; as the server's stats have it when none is on its way. */
uint64_t wt_puller_next_seq(const struct wt_puller *puller);
/* What was announced, and the base. */
bool wt_puller_all_landed(const struct wt_puller *puller);
int wt_puller_send(struct wt_puller *puller, unsigned type, const void *payload, size_t length);
/* Whether the peer has not acknowledged a message of the application's. What transport itself has said behind
 * that (a path is lost, when the peer has gone in peace) nobody need wait for. */
bool wt_puller_unsent(const struct wt_puller *puller);
uint64_t wt_puller_heard_ns(const struct wt_puller *puller);
/*
 * There is an old copy: in `blocks_end` only. The server then digests what it announces, and what is the same
 * here is copied instead of pulled. The copy is not trusted: what is copied are the very bytes that were
 * digested. -errno with err filled: it goes without.
 */
int wt_puller_replica(
	struct wt_puller *puller, const struct wt_puller_replica *replica, struct wt_error *err);

/*
 * The same with an old copy on another host, which serves it (a passive wt_server with `digest_key`): in
 * `blocks_end` only; one replica of either kind. The caller sees to it that somebody comes, to the port of
 * this puller, with the session id and key that are answered here; label: its name for people, copied. The
 * key is no secret of that host, and says nothing about what is accepted: bytes that come from there are
 * judged by digests under a key that only server 0 and this puller have.
 *
 * Until it is here, for 5 s at most, what it may have is not pulled. If it does not come, does not answer for
 * 2 s, is gone, or gives wrong bytes, `replica_lost` says so and all is pulled from server 0. When server 0
 * says that a replica will come (wt_server_expect_replica), the puller does all this by itself.
 */
int wt_puller_replica_remote(struct wt_puller *puller, const char *label,
	uint8_t ret_session_id[WT_SERVER_SESSION_ID_BYTES], uint8_t ret_key[WT_DIGEST_KEY_BYTES],
	struct wt_error *err);

/* The replica on another host does not come: nothing waits for it. why: what follows its name in
 * `replica_lost`, such as "is not there". Nothing happens if it is here. */
void wt_puller_no_replica(struct wt_puller *puller, const char *why);

/* ---- several servers ---- */

/*
 * A helper with this session will come. label: for people, copied. Expecting a number again that is not
 * there (any more) replaces what was said. -EINVAL: no such number; -EEXIST: it is there, or is the
 * replica's. One that has not come give_up_ns after wt_puller_base_end is not waited for: it counts as lost.
 */
int wt_puller_expect(struct wt_puller *puller, unsigned number,
	const uint8_t session_id[WT_SERVER_SESSION_ID_BYTES], const char *label);
/*
 * The base, from `blocks_end` on, once, before server 0 announces anything: pages that are missing here;
 * pages that a helper has as server 0 has them; that this is all. words NULL: all pages of the range,
 * otherwise those whose bit is set, and range->page is a multiple of 64. -EPROTO: not now, or outside of a
 * block.
 */
int wt_puller_need(struct wt_puller *puller, const struct wt_extent *range, const uint64_t *words);
int wt_puller_has(
	struct wt_puller *puller, unsigned number, const struct wt_extent *range, const uint64_t *words);
int wt_puller_base_end(struct wt_puller *puller, enum wt_base_policy policy);
/* Pages of the base that have not landed. */
uint64_t wt_puller_base_left(const struct wt_puller *puller);
/* Bytes per second from one server, or from all (WT_PULLER_ALL) in equal shares; 0: no limit. */
#define WT_PULLER_ALL UINT32_MAX
void wt_puller_rate_limit(struct wt_puller *puller, unsigned number, uint64_t bytes_per_s);
/* Tells server 0 how it goes with serving as helper `number`. */
void wt_puller_tell_helper(
	struct wt_puller *puller, unsigned number, enum wt_helper_state state, const char *text);

void wt_puller_stats(const struct wt_puller *puller, struct wt_puller_stats *ret_stats);

#endif

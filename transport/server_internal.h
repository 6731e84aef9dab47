/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server_internal.h - what the server*.c files share; nobody else includes it.
 */
#ifndef WT_SERVER_INTERNAL_H
#define WT_SERVER_INTERNAL_H

#include <watari/server.h>

#include "announce.h"
#include "digest_pool.h"
#include "link.h"
#include "memory.h"
#include "pageset.h"
#include "rails.h"
#include "ring.h"
#include "wire.h"

enum wt_server_phase {
	WT_SERVER_SERVING = 1,
	WT_SERVER_DRAINING, /* DRAIN was sent; nothing is announced */
	WT_SERVER_DRAINED,  /* the puller is silent, what it has is known; nothing is served */
	WT_SERVER_LEFT,     /* the puller does not matter any more */
};

struct wt_base_job;
struct wt_server_digests;
struct wt_server_answers;

/* Pages that were pending, as they were announced last. */
struct wt_pending_run {
	struct wt_extent extent;
	enum wt_content content;
	uint64_t staged_offset;
};

/* Pages that wait before they are announced again; see server_defer.c. */
struct wt_server_late {
	struct wt_server_deferral how; /* pages_max 0: those that still wait are announced */
	uint64_t pages;                /* that wait, in all blocks */
	bool cooling;                  /* some that wait are not written any more, and go first */
	struct wt_timer timer;         /* of the end of this epoch */
	struct wt_server_late_block {
		struct wt_pageset waits;
		struct wt_pageset epochs[1 + WT_SERVER_EPOCHS_MAX]; /* announced: in this one, before, ... */
	} blocks[];
};

struct wt_server {
	struct wt_loop *loop;
	struct wt_server_config config;
	const struct wt_server_events *events;
	void *arg;
	struct wt_link link;
	struct wt_memory *memory;
	struct wt_wire_ready peer; /* as it said when it was ready */
	bool peer_known;
	struct wt_rails *rails; /* NULL: nothing is served */

	struct wt_ring *ring; /* NULL: passive */
	uint64_t staged_next; /* offset of the next staged byte, since numbers began at 1 */

	struct wt_announce_log *log; /* NULL before the start */
	struct wt_timer rate;        /* set while the rate limit keeps content waiting */
	struct wt_announcement batch[WT_WIRE_ANNOUNCEMENTS_MAX];
	unsigned batch_count;
	uint64_t batch_first_seq;
	bool final; /* the guest has stopped */
	bool warm;  /* a warm-up: nothing is digested */
	uint64_t announced_pages, zero_pages, staged_pages;
	uint64_t base_pages, helper_pages, digested_pages, warm_pages;

	enum wt_server_phase phase;
	uint32_t epoch;                    /* of the last DRAIN */
	int former;                        /* in the memory's history; -1: none */
	struct wt_base_job *base;          /* NULL: none is being sent */
	struct wt_server_digests *digests; /* NULL: none are wanted */
	struct wt_server_answers *answers; /* NULL: this is no replica */
	struct wt_wire_expect replica;     /* that the puller shall expect; server 0: none */

	struct wt_server_late *late; /* NULL: nothing was ever deferred */

	/* What the puller has asked for. */
	struct wt_bitmap *wanted; /* by block; NULL: nothing ever was */
	uint64_t wanted_pages;
	enum wt_priority wanted_priority; /* the highest that it asked with */
	enum wt_priority priority_min;    /* of what is announced now */

	/* What was pending when the puller was left; see server_retarget.c. */
	struct wt_pending_run *runs;
	unsigned run_count, run_room;

	uint8_t payload[WT_WIRE_PAYLOAD_MAX];
};

/* server.c */
int wt_server_batch_flush(struct wt_server *server);
int wt_server_rails_open(struct wt_server *server, struct wt_error *err);
/* Announces as much of the extent as there is room for. bytes: of STAGED content. */
int wt_server_announce_extent(
	struct wt_server *server, struct wt_extent *extent, enum wt_content content, const uint8_t *bytes);

/* server_base.c */
void wt_server_base_stop(struct wt_server *server);

/* server_defer.c: takes the extent, which may wait; announces what waits (0, -EAGAIN for want of room), or
 * what shall not wait any more; an epoch has ended; how many pages wait; the next run of them behind *extent;
 * the extent was announced and does not wait. */
bool wt_server_defer_extent(struct wt_server *server, struct wt_extent *extent);
int wt_server_defer_end(struct wt_server *server);
void wt_server_defer_room(struct wt_server *server);
void wt_server_defer_epoch(struct wt_server *server);
uint64_t wt_server_deferred(const struct wt_server *server);
bool wt_server_deferred_next(const struct wt_server *server, struct wt_extent *extent);
void wt_server_defer_announced(struct wt_server *server, const struct wt_extent *extent);
void wt_server_defer_close(struct wt_server *server);

/* server_digest.c: DIGEST_KEY; digests what was announced, sends what was digested; ends that. */
int wt_server_digest_key(
	struct wt_server *server, const uint8_t *payload, size_t length, struct wt_error *err);
void wt_server_digest_more(struct wt_server *server);
void wt_server_digest_stop(struct wt_server *server);
/* A run's fill, by workers: through the file of the wt_served_block `arg`. */
int wt_server_read_run(void *arg, const struct wt_digest_run *run);

/* server_replica.c: from the start on, if this is a replica; REPLICA_ASK; ends that. */
int wt_server_replica_start(struct wt_server *server, struct wt_error *err);
int wt_server_replica_ask(
	struct wt_server *server, const uint8_t *payload, size_t length, struct wt_error *err);
void wt_server_replica_stop(struct wt_server *server);

/* server_retarget.c */
int wt_server_retarget_message(
	struct wt_server *server, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err);
/* Announces what was asked for, as far as there is room. */
void wt_server_answer_wants(struct wt_server *server);
/* The session is over: nothing of this goes on. */
void wt_server_retarget_stop(struct wt_server *server);
void wt_server_retarget_close(struct wt_server *server);

#endif

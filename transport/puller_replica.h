/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * puller_replica.h - what puller_replica.c (digests of the server against an old copy) and
 * puller_replica_remote.c (a copy on another host) share; nobody else includes it.
 */
#ifndef WT_PULLER_REPLICA_H
#define WT_PULLER_REPLICA_H

#include "ahead.h"
#include "digest_pool.h"
#include "puller_internal.h"
#include "replica_reader.h"

#define SLOTS 32u
#define SLOT_BYTES ((size_t)WT_PLAN_DIGESTED_PAGES << WT_PAGE_SHIFT)

/* The digests of one announcement, and then the slot in which it is compared. */
struct comparison {
	struct comparison *next;
	uint64_t seq;
	struct wt_extent extent;
	uint8_t theirs[]; /* for each page one under each key: the judging key, the table key */
};

enum slot_state {
	SLOT_FREE = 0,
	SLOT_ASKED,   /* remote: the replica digests its pages */
	SLOT_READING, /* remote: those that are alike come from it */
	SLOT_JUDGED,  /* the pool's: the bytes are digested under the judging key */
	SLOT_COPIED,  /* what is equal is copied into place, when the plan says so */
};

struct slot {
	enum slot_state state;
	struct comparison *of;                   /* NULL: free */
	bool in_place;                           /* what is compared are the pages themselves */
	uint32_t left;                           /* equal pages that were not copied yet */
	uint64_t alike[WT_PLAN_DIGESTED_WORDS];  /* pages whose bytes are here, or will be */
	uint64_t unread[WT_PLAN_DIGESTED_WORDS]; /* of them; remote */
	unsigned reads;                          /* under way; remote */
	unsigned turns;                          /* of the watch in which the replica owed it; remote */
	uint8_t ours[WT_PLAN_DIGESTED_PAGES * WT_DIGEST_BYTES];
};

struct puller_replica {
	struct wt_puller *puller;
	struct wt_puller_replica source; /* read NULL: remote */
	struct wt_digest_pool *pool;
	struct wt_ahead *ahead; /* in place; NULL: nothing is digested ahead */
	unsigned keys;
	bool lost;                        /* given up */
	uint64_t told_seq;                /* digests have come up to this announcement */
	struct comparison *first, **last; /* that wait for a slot */
	struct slot slots[SLOTS];
	uint8_t *bytes; /* SLOT_BYTES for each of them */

	/* Remote. */
	unsigned number; /* among the puller's servers */
	char label[WT_WIRE_TEXT_MAX + 1];
	bool announced;           /* server 0 has said that it will come, and is told how it goes */
	struct wt_reader *reader; /* NULL: given up */
	struct wt_timer watch;
	uint64_t due_ns;   /* it is waited for until then; 0: nothing waits for it */
	unsigned quiet;    /* turns of the watch in which it owed something and gave nothing */
	unsigned refusals; /* of reads, in a row */
};

static inline bool wt_slot_bit(const uint64_t *words, uint32_t page)
{
	return words[page / 64] >> (page % 64) & 1;
}

/* puller_replica.c */
/* Opens what both kinds need; keys: for the server, made here. -errno with err filled. */
int wt_compare_open(
	struct wt_puller *puller, unsigned keys, struct wt_wire_digest_keys *ret_keys, struct wt_error *err);
/* Sends the keys; wipes them. */
void wt_compare_begin(struct puller_replica *replica, struct wt_wire_digest_keys *keys);
uint8_t *wt_compare_bytes(struct puller_replica *replica, const struct slot *slot);
/* Digests what is alike under the judging key. */
void wt_compare_judge(struct puller_replica *replica, struct slot *slot);
/* Nothing of this slot is equal. */
void wt_compare_unequal(struct puller_replica *replica, struct slot *slot);
/* It is of no use any more. text: one sentence. */
void wt_compare_give_up(struct puller_replica *replica, int code, const char *text);
/* Takes on comparisons that wait. */
void wt_compare_more(struct puller_replica *replica);

/* puller_replica_remote.c */
/* -EAGAIN: later. */
int wt_compare_ask(struct puller_replica *replica, struct slot *slot, const struct comparison *of);
/* It was given up: nothing comes from it any more, and what was owed is unequal. */
void wt_compare_remote_stop(struct puller_replica *replica, const struct wt_error *why);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_verbs_peer.h - a path of peers over verbs: path_verbs_peer.c sends, path_verbs_peer_in.c receives.
 *
 * A short message is a SEND into the place of a receive. For longer ones each end has a ring in its memory
 * that only the other end writes: such a message is one RDMA WRITE with immediate data, its length, into the
 * next free place of that ring, which follows from all messages before, so nobody needs to say it. What has
 * been read is given back by a word, a SEND with immediate data. WRITEs and READs go straight to the regions
 * that their keys name.
 */
#ifndef WATARI_PATH_VERBS_PEER_H
#define WATARI_PATH_VERBS_PEER_H

#include "path_verbs.h"

#define WT_VERBS_RING_BYTES (256u << 10)
#define WT_VERBS_RING_ALIGN 64u
#define WT_VERBS_SHORT_MAX 256u
#define WT_VERBS_IDLE_POLLS \
	16384u /* between two looks at the connection's events, which cost a system call */
#define WT_VERBS_INLINE_MAX \
	WT_PATH_NOW_MAX /* what goes with its request, which saves the device a read, if it can */
/*
 * Of one end's depth: an end gives back what it has read once that is a quarter of the ring, or of the
 * messages that may be under way. So an end that does not look has at most 4 + 7 such words before it, and
 * the opening.
 */
#define WT_VERBS_WORDS 16u
#define WT_VERBS_WORKS_MAX (2 * WT_VERBS_DEPTH_MAX + WT_VERBS_WORDS)
#define WT_VERBS_RECEIVES_MAX (WT_VERBS_DEPTH_MAX + WT_VERBS_WORDS)
_Static_assert(WT_VERBS_RING_BYTES >= 2 * WT_PATH_MESSAGE_MAX + WT_VERBS_RING_BYTES / 4,
	"the longest message fits, although as much is wasted at the ring's end and a quarter is not given back");

enum wt_verbs_word_kind {
	WT_VERBS_WORD_INVALID = 0,
	WT_VERBS_WORD_OPENING, /* the first on a path, both ways: number: key, value: address of this end's
				  ring */
	WT_VERBS_WORD_FREED,   /* number: messages, value: bytes of the ring that were read, of all time */
};

/* On the wire, little-endian. */
struct wt_verbs_word {
	uint16_t kind;
	uint16_t version;
	uint32_t number;
	uint64_t value;
};
_Static_assert(sizeof(struct wt_verbs_word) == 16, "wire format");
_Static_assert(sizeof(struct wt_verbs_word) <= WT_VERBS_SHORT_MAX, "a receive has room for a word");
#define WT_VERBS_WORD_VERSION 2u

/* How far one direction has come, modulo 2^32: messages of any length, and bytes of the ring. */
struct wt_verbs_mark {
	uint32_t messages;
	uint32_t bytes;
};

/* A work request that the device has. */
struct wt_verbs_work {
	enum wt_op_kind kind; /* SEND: a message; it is done already. INVALID: a word, or a mark */
	bool signalled;
	uint32_t length;
	uint64_t cookie;
};

struct wt_verbs_peer {
	uint8_t *memory;      /* the parts below, in one piece */
	struct ibv_mr *in_mr; /* of `in`, for the peer */
	struct ibv_mr *mr;    /* of the rest, for our own device */
	uint8_t *in;          /* our ring */
	uint8_t *out;         /* a copy of the peer's ring as far as we have written it */
	uint8_t *places_out;  /* WT_VERBS_SHORT_MAX for each work */
	uint8_t *places_in;   /* ... and for each receive */
	unsigned works_max, receives_max;
	unsigned inline_max; /* bytes */
	/* Taken by post, not given to the device yet, oldest first. */
	struct wt_op queue[WT_VERBS_DEPTH_MAX];
	unsigned queue_first, queue_count;
	/* With the device, oldest first; a send's id is its place here. */
	struct wt_verbs_work works[WT_VERBS_WORKS_MAX];
	unsigned works_first, works_count;
	unsigned flying;      /* messages among them */
	unsigned signalled;   /* of them the device will speak */
	unsigned unsignalled; /* since the last one that is */
	/* What poll has not handed out. */
	struct wt_completion done[WT_VERBS_DEPTH_MAX + 1];
	unsigned done_first, done_count;
	unsigned outstanding; /* operations: in `queue`, in `works`, in `done` */
	bool opened;          /* the peer's opening has come, ours has gone */
	bool cut;             /* no flush may come: the queue pair goes once what has come was heard */
	uint64_t ring_address;
	uint32_t ring_key;
	struct wt_verbs_mark sent, sent_freed; /* ours; of these the peer has given back */
	/* path_verbs_peer_in.c's */
	struct wt_verbs_mark got, freed, told;    /* the peer's; may be overwritten; the peer knows that */
	bool held;                                /* a message is in `done` */
	unsigned receives[WT_VERBS_RECEIVES_MAX]; /* to be posted anew */
	unsigned receives_count;
	unsigned lent[WT_VERBS_RECEIVES_MAX]; /* hold a message that is not freed */
	unsigned lent_count;
};

/* path_verbs_peer.c */
/* The memory; before there is a queue pair. */
int wt_verbs_peer_start(struct wt_path *path, struct wt_error *err);
/* After the queue pair is gone. */
void wt_verbs_peer_stop(struct wt_path *path);
void wt_verbs_peer_done(struct wt_verbs_peer *peer, uint64_t cookie, int status, uint32_t length);
/* Gives a word to the device; false: it has no room now, or the path failed. */
bool wt_verbs_peer_say(struct wt_path *path, enum wt_verbs_word_kind kind, uint32_t number, uint64_t value);
/* The device is done with a work, and so with all older ones. */
void wt_verbs_peer_worked(struct wt_path *path, const struct ibv_wc *wc);
/* Advances the mark; where in the ring a message of this length lies, if it is not short. Both ends reckon
 * so. */
uint32_t wt_verbs_peer_place(struct wt_verbs_mark *mark, uint32_t length);

/* path_verbs_peer_in.c */
int wt_verbs_peer_listen(struct wt_path *path);
/* At most max completions and messages; *ret_more: there may be more. */
unsigned wt_verbs_peer_take(
	struct wt_path *path, struct wt_completion *ret_completions, unsigned max, bool *ret_more);
/* What was handed out before is not needed any more. */
void wt_verbs_peer_free(struct wt_verbs_peer *peer);
/* Tells the peer what may be overwritten, once it is worth a word, and the receives are posted anew. */
void wt_verbs_peer_tell(struct wt_path *path);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_tcp_peer.h - a path of peers over tcp: path_tcp_peer.c sends, path_tcp_peer_in.c receives.
 */
#ifndef WATARI_PATH_TCP_PEER_H
#define WATARI_PATH_TCP_PEER_H

#include "path_tcp.h"

#include <sys/uio.h>

#define WT_TCP_OUT_MAX (2 * WT_TCP_DEPTH) /* our operations, and as many answers */
#define WT_TCP_IN_BYTES (4 * WT_PATH_MESSAGE_MAX)

/* A frame that goes out. */
struct wt_tcp_out {
	enum wt_op_kind kind; /* INVALID: an answer to the peer */
	bool answer;          /* has bytes of ours and a trailer */
	bool now;             /* the rest of a message of send_now, whose bytes are in the peer's `now` */
	struct wt_tcp_frame frame;
	const void *head;
	uint32_t head_length;
	uint32_t body_length;
	const void *body;
	uint64_t cookie;
	void *local;
	uint32_t length;
	uint64_t address; /* answer: which bytes */
	uint64_t key;
	struct wt_tcp_trailer trailer;
};

/* An operation of ours that waits for its answer. */
struct wt_tcp_waiting {
	enum wt_op_kind kind;
	uint32_t length;
	uint64_t cookie;
	uint8_t *local;
};

enum wt_tcp_in_state {
	WT_TCP_IN_FRAME = 1, /* a frame comes next */
	WT_TCP_IN_WRITE,     /* bytes of the peer's write */
	WT_TCP_IN_DATA,      /* bytes that we have asked for */
	WT_TCP_IN_TRAILER,   /* what became of those */
};

struct wt_tcp_peer {
	struct wt_tcp_out out[WT_TCP_OUT_MAX];
	unsigned out_first;
	unsigned out_count;
	uint64_t sent;
	bool watching_out;
	struct wt_tcp_waiting waiting[WT_TCP_DEPTH];
	unsigned waiting_first;
	unsigned waiting_count;
	struct wt_completion done[WT_TCP_DEPTH];
	unsigned done_first;
	unsigned done_count;
	unsigned outstanding;
	unsigned owed;  /* answers in `out` */
	int send_error; /* 0, or the errno with which sending ended */
	uint8_t now[WT_PATH_NOW_MAX];
	/* path_tcp_peer_in.c's */
	enum wt_tcp_in_state state;
	struct wt_tcp_frame frame; /* of the bytes that come */
	uint32_t got;              /* of its bytes */
	int status;                /* of the peer's write */
	size_t in_first;           /* in[in_first .. in_end) has come and was not looked at */
	size_t in_end;
	uint8_t in[WT_TCP_IN_BYTES] __attribute__((aligned(16)));
};

/* path_tcp_peer.c: a place for one more frame, at the end; NULL: no room. */
struct wt_tcp_out *wt_tcp_peer_out(struct wt_tcp_peer *peer);
void wt_tcp_peer_done(struct wt_tcp_peer *peer, uint64_t cookie, int status, uint32_t length);
void wt_tcp_peer_flush(struct wt_path *path);
/* Whether the socket has one of events, or an error; asked without the socket's lock, which the kernel's own
 * work on what comes and goes needs. */
bool wt_tcp_peer_may(const struct wt_path *path, short events);

/*
 * path_tcp_peer_in.c: messages that came, at most max; what else came is dealt with. *ret_more: the socket
 * may hold more.
 */
unsigned wt_tcp_peer_receive(
	struct wt_path *path, struct wt_completion *ret_completions, unsigned max, bool *ret_more);
/* Whether bytes wait that were received already. */
bool wt_tcp_peer_buffered(const struct wt_tcp_peer *peer);

#endif

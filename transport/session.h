/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * session.h - ordered messages, each delivered exactly once, across lost and renewed connections.
 *
 * A session outlives its connections. Every message has a number; the sender keeps it until the other side
 * has acknowledged it (each frame carries the highest number received). On a new connection both sides say
 * what they have received, and the rest is sent again.
 *
 *   1. Messages arrive in order, none twice, none missing.
 *   2. What is kept for repetition is bounded by WT_SESSION_RETAINED_MAX: send answers -EAGAIN above.
 *
 * The connector's side begins a connection with its hello; the acceptor's side is given that hello, which the
 * listener has decoded to find the session.
 *
 * No callback may close the session; `message` ends it by answering an error.
 *
 * Pure: bytes and now_ns in, bytes out by `output`; no sockets, clocks, threads.
 */
#ifndef WT_SESSION_H
#define WT_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <watari/error.h>

#include "wire.h"

#define WT_SESSION_RETAINED_MAX (64ull << 20)
#define WT_SESSION_KEEPALIVE_NS 200000000ull /* said when nothing else was said for so long */

struct wt_session;

struct wt_session_events {
	/* Bytes for the current connection. */
	void (*output)(void *arg, const void *bytes, size_t length);
	/* A message of the other side; -errno with err filled ends the connection (and, for the caller, the
	 * session). */
	int (*message)(void *arg, unsigned type, const uint8_t *payload, size_t length, struct wt_error *err);
	/* The connection is up: hello and welcome were exchanged. */
	void (*up)(void *arg);
};

/* The connector chooses id and name; the acceptor takes both from the hello. Both are copied. */
int wt_session_open(bool connector, const uint8_t id[WT_SESSION_ID_BYTES], const char *name,
	const struct wt_session_events *events, void *arg, struct wt_session **ret_session);
void wt_session_close(struct wt_session *session);

/* A new connection. Connector: says hello. */
void wt_session_connect(struct wt_session *session, uint64_t now_ns);
/* Acceptor: answers the hello. -EPROTO with err filled if it does not fit this session. */
int wt_session_accept(
	struct wt_session *session, const struct wt_hello *hello, uint64_t now_ns, struct wt_error *err);
/* The connection is gone. */
void wt_session_disconnect(struct wt_session *session);
bool wt_session_is_up(const struct wt_session *session);
/* No connection at all, not even one that waits for its welcome. */
bool wt_session_is_down(const struct wt_session *session);

/* Bytes of the current connection. -errno with err filled: close it; -ECONNABORTED: the peer has ended the
 * session for good. */
int wt_session_input(struct wt_session *session, const uint8_t *bytes, size_t length, uint64_t now_ns,
	struct wt_error *err);
/* Queues a message; also while there is no connection. */
int wt_session_send(
	struct wt_session *session, unsigned type, const void *payload, size_t length, uint64_t now_ns);
/* Ends the session for good: tells the peer why, if there is a connection. The peer's input answers
 * -ECONNABORTED. */
void wt_session_bye(struct wt_session *session, const char *text);
/* Call it every WT_SESSION_KEEPALIVE_NS / 2 or so. */
void wt_session_tick(struct wt_session *session, uint64_t now_ns);

/* When the last bytes came. */
uint64_t wt_session_heard_ns(const struct wt_session *session);
/* Messages that the other side has not acknowledged; all of them, and in bytes. */
size_t wt_session_retained(const struct wt_session *session);
/* Whether one of the application's is among them. */
bool wt_session_owes_word(const struct wt_session *session);
const uint8_t *wt_session_id(const struct wt_session *session);

/* A refusal as the acceptor sends it, in place of a welcome. */
void wt_session_refusal(const char *text, uint8_t ret_bytes[WT_WIRE_WELCOME_BYTES]);

#endif

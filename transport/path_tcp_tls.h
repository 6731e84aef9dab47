/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_tcp_tls.h - TLS 1.3 on the socket of a tcp path: keyed by the path's hello.
 *
 * The pre-shared key is the token in the hello, its identity the id before it, so who may come in at all is
 * decided by the handshake, and the token never travels. Nothing here blocks. Failures are final.
 */
#ifndef WATARI_PATH_TCP_TLS_H
#define WATARI_PATH_TCP_TLS_H

#include <watari/path.h>

#include <sys/types.h>
#include <sys/uio.h>

struct wt_tcp_tls_context; /* what the connections of an endpoint, or of a listener, share */
struct wt_tcp_tls;         /* one connection */

int wt_tcp_tls_context_open(bool server, struct wt_tcp_tls_context **ret_context, struct wt_error *err);
void wt_tcp_tls_context_close(struct wt_tcp_tls_context *context);
/* Server: who knows the hellos. Without it nobody comes in. */
void wt_tcp_tls_context_find(struct wt_tcp_tls_context *context, wt_path_find_fn *find, void *arg);

/* Keys are renewed after so many bytes; for tests, as it is set well. */
void wt_tcp_tls_context_update(struct wt_tcp_tls_context *context, uint64_t bytes);

/* The socket is borrowed, and must not block. hello: a client's; NULL: a server. NULL: out of memory. The
 * context must outlive its handshake. */
struct wt_tcp_tls *wt_tcp_tls_open(
	struct wt_tcp_tls_context *context, int socket, const uint8_t hello[WT_PATH_HELLO_BYTES]);
void wt_tcp_tls_close(struct wt_tcp_tls *tls);

/* 0: done, the other end has the token. -EAGAIN: when the socket is ready for what it wants. -EACCES: it has
 * not. */
int wt_tcp_tls_handshake(struct wt_tcp_tls *tls);
/* Bytes taken (some may wait here: see unsent), -EAGAIN: nothing was taken, or -errno. */
ssize_t wt_tcp_tls_send(struct wt_tcp_tls *tls, const void *data, size_t length);
/* Bytes taken but not handed to the socket yet. */
bool wt_tcp_tls_unsent(const struct wt_tcp_tls *tls);
/* Hands them over: 0 when none is left, -EAGAIN, or -errno. */
int wt_tcp_tls_flush(struct wt_tcp_tls *tls);
/* As readv: fills as much as there is. 0: the end. */
ssize_t wt_tcp_tls_receive(struct wt_tcp_tls *tls, const struct iovec *parts, unsigned count);
/* Whether the last receive stopped for want of room, so that more may wait here without the socket's saying
 * so. */
bool wt_tcp_tls_more(const struct wt_tcp_tls *tls);

#endif

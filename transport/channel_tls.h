/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * channel_tls.h - TLS 1.3 with certificates or a pre-shared key as a filter between bytes and bytes; no
 * sockets.
 *
 * What came from the peer is fed, plaintext is read; plaintext is written, what goes to the peer is pulled.
 * Failures are final. Every function fills err with a sentence that begins with the peer's name.
 */
#ifndef WATARI_TRANSPORT_CHANNEL_TLS_H
#define WATARI_TRANSPORT_CHANNEL_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <watari/channel.h>
#include <watari/error.h>

#define WT_TLS_RECORD_MAX 16384 /* plaintext bytes in one record */
#define WT_TLS_OVERHEAD 256     /* more than a record's header, tag and type take */

struct wt_tls_context; /* what many connections with one key or certificate share */
struct wt_tls;

/* credentials must outlive the context and every connection made of it. */
int wt_tls_context_open(bool server, const struct wt_credentials *credentials,
	struct wt_tls_context **ret_context, struct wt_error *err);
void wt_tls_context_close(struct wt_tls_context *context);

/*
 * peer is borrowed for messages. host: whom a client means to reach, for its certificate; NULL: over a unix
 * socket. The context may be closed before the connection.
 */
int wt_tls_open(struct wt_tls_context *context, const char *peer, const char *host, struct wt_tls **ret_tls,
	struct wt_error *err);
void wt_tls_close(struct wt_tls *tls);

/* Takes all of it, or answers -ENOMEM, or -EPROTO when the peer's first bytes are not TLS. */
int wt_tls_feed(struct wt_tls *tls, const uint8_t *data, size_t length, struct wt_error *err);
/* 0: done, and the peer has proven that it holds the key, or a certificate that we accept. -EAGAIN: feed
 * more. With certificates a client hears only later, by wt_tls_read, that the server did not accept its own.
 */
int wt_tls_handshake(struct wt_tls *tls, struct wt_error *err);
/* Bytes (> 0), -EAGAIN: feed more, -ESHUTDOWN: the peer said goodbye, or another -errno. */
ssize_t wt_tls_read(struct wt_tls *tls, uint8_t *data, size_t size, struct wt_error *err);
/* length is at most WT_TLS_RECORD_MAX; all of it is taken. */
int wt_tls_write(struct wt_tls *tls, const uint8_t *data, size_t length, struct wt_error *err);
/* Writes our goodbye if there is anybody to read it. */
void wt_tls_goodbye(struct wt_tls *tls);
/* Moves up to size bytes for the peer to data; answers how many. */
size_t wt_tls_pull(struct wt_tls *tls, uint8_t *data, size_t size);

#endif

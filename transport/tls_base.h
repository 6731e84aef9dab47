/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tls_base.h - what TLS is here, of control connections and of data connections alike.
 */
#ifndef WATARI_TRANSPORT_TLS_BASE_H
#define WATARI_TRANSPORT_TLS_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

#include <watari/error.h>

/*
 * TLS 1.3 and nothing else, without tickets, session cache and early data. keyed: only by an external
 * pre-shared key, so a client accepts no certificate at all. NULL: err says why.
 */
SSL_CTX *wt_tls_base_context(bool server, bool keyed, struct wt_error *err);
/* What OpenSSL takes a pre-shared key for: a session that is resumed. NULL: out of memory. */
SSL_SESSION *wt_tls_key_session(SSL *ssl, const uint8_t *key, size_t length);

#endif

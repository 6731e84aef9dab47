/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * channel_tls_internal.h - what channel_tls.c and channel_tls_error.c share: one TLS connection.
 */
#ifndef WATARI_TRANSPORT_CHANNEL_TLS_INTERNAL_H
#define WATARI_TRANSPORT_CHANNEL_TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "channel_tls.h"
#include "channel_x509.h"
#include "credentials.h"

struct wt_tls {
	SSL *ssl;
	BIO *from_peer; /* owned by ssl, like to_peer */
	BIO *to_peer;
	const struct wt_credentials *credentials;
	const char *peer;
	bool server;
	bool failed;
	bool done;             /* handshake */
	unsigned seen;         /* how many of the peer's first two bytes were looked at */
	bool identity_offered; /* server: the peer named a key */
	bool identity_known;   /* server: it is ours */
	char identity[40];     /* server: the one it named, printable and cut */
	char subject[160]; /* of the peer's certificate, or of the one in its chain that was not accepted */
};

/* Says why OpenSSL failed; the connection has. Answers the negative errno value that went into err. */
int wt_tls_error(struct wt_tls *tls, struct wt_error *err);

#endif

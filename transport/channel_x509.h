/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * channel_x509.h - certificates in a folder as QEMU's tls-creds-x509 has it, and whom they admit.
 */
#ifndef WATARI_TRANSPORT_CHANNEL_X509_H
#define WATARI_TRANSPORT_CHANNEL_X509_H

#include <stdbool.h>
#include <stddef.h>

#include <openssl/ssl.h>

#include <watari/error.h>

#define WT_X509_ALLOWED_MAX 1024 /* names */
#define WT_X509_NAME_MAX 1024    /* bytes of one */

struct wt_x509;

/* See wt_credentials_x509 in channel.h. */
int wt_x509_load(const char *directory, const char *const *allowed, unsigned allowed_count,
	struct wt_x509 **ret_x509, struct wt_error *err);
void wt_x509_free(struct wt_x509 *x509);
const char *wt_x509_directory(const struct wt_x509 *x509);

/* Gives ctx the certificate for this role, whom to trust, and what is revoked. -ENOENT: there is none for it.
 */
int wt_x509_use(const struct wt_x509 *x509, bool server, SSL_CTX *ctx, struct wt_error *err);
/*
 * Who is connected to must have a certificate for host, which was asked for; with a list, be in it instead.
 * host NULL: a unix socket, where only a list can tell; -EINVAL without one.
 */
int wt_x509_expect(const struct wt_x509 *x509, SSL *ssl, const char *host, struct wt_error *err);
/* Whether the list has one of this certificate's names, or there is no list. */
bool wt_x509_allows(const struct wt_x509 *x509, X509 *certificate);
/* Its subject as a distinguished name (RFC 2253), printable and cut. */
void wt_x509_subject(X509 *certificate, char *ret_text, size_t size);

#endif

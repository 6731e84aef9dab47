/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * channel_tls.c - TLS 1.3 with certificates of both ends, or with an external pre-shared key (RFC 8446,
 * sections 2.2 and 4.2.11), by OpenSSL.
 *
 * Owns the OpenSSL objects and translates their failures into sentences (channel_tls_error.c). It moves bytes
 * between memory buffers and touches no socket.
 *
 *   1. Only TLS 1.3, always with a (EC)DHE exchange, so that a key that leaks later does not open recorded
 *      sessions. With a key only suites with SHA-256, the hash an external key is bound to.
 *   2. With a key there are no certificates: the server has none, the client accepts none. With certificates
 *      there is no key.
 *   3. wt_tls_handshake answers 0 only if the session was really resumed by our key (SSL_session_reused), or
 *      the peer's certificate was verified, and is one that is expected (channel_x509.h).
 *   4. No tickets, no session cache, no early data, no renegotiation.
 *   5. After a failure OpenSSL is not called again for this connection, except to pull the alert it wrote.
 *
 * One connection is used by one thread.
 */
#include "channel_tls_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>

#include "tls_base.h"

struct wt_tls_context {
	SSL_CTX *ctx;
	const struct wt_credentials *credentials;
	bool server;
};

/* ---- a key ---- */

/* Client: which key to offer. md is set when the server has already chosen a hash. */
static int use_session(SSL *ssl, const EVP_MD *md, const unsigned char **ret_id, size_t *ret_id_length,
	SSL_SESSION **ret_session)
{
	const struct wt_tls *tls = SSL_get_app_data(ssl);

	*ret_session = NULL;
	*ret_id = NULL;
	*ret_id_length = 0;
	if (md && EVP_MD_get_type(md) != NID_sha256)
		return 1;
	*ret_session = wt_tls_key_session(ssl, tls->credentials->psk.key, tls->credentials->psk.key_length);
	if (!*ret_session)
		return 0;
	*ret_id = (const unsigned char *)tls->credentials->psk.identity;
	*ret_id_length = strlen(tls->credentials->psk.identity);
	return 1;
}

/* Server: the key for an identity; none lets the handshake fail for want of a certificate. */
static int find_session(SSL *ssl, const unsigned char *id, size_t id_length, SSL_SESSION **ret_session)
{
	struct wt_tls *tls = SSL_get_app_data(ssl);
	size_t i;

	*ret_session = NULL;
	tls->identity_offered = true;
	for (i = 0; i < id_length && i + 1 < sizeof tls->identity; i++)
		tls->identity[i] = id[i] > 0x20 && id[i] < 0x7f && id[i] != '"' ? (char)id[i] : '?';
	tls->identity[i] = '\0';
	if (id_length != strlen(tls->credentials->psk.identity) ||
		memcmp(id, tls->credentials->psk.identity, id_length) != 0)
		return 1;
	tls->identity_known = true;
	*ret_session = wt_tls_key_session(ssl, tls->credentials->psk.key, tls->credentials->psk.key_length);
	return *ret_session != NULL;
}

static void use_key(SSL_CTX *ctx, bool server)
{
	if (server)
		SSL_CTX_set_psk_find_session_callback(ctx, find_session);
	else
		SSL_CTX_set_psk_use_session_callback(ctx, use_session);
}

/* ---- certificates ---- */

/* OpenSSL has looked at a certificate of the peer's chain; its own, at depth 0, is the last. */
static int judge_certificate(int good, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct wt_tls *tls = SSL_get_app_data(ssl);
	X509 *certificate = X509_STORE_CTX_get_current_cert(store);

	if (certificate && (!good || X509_STORE_CTX_get_error_depth(store) == 0))
		wt_x509_subject(certificate, tls->subject, sizeof tls->subject);
	if (!good || X509_STORE_CTX_get_error_depth(store) > 0 ||
		wt_x509_allows(tls->credentials->x509, certificate))
		return good;
	X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
	return 0;
}

static int use_certificates(
	const struct wt_credentials *credentials, SSL_CTX *ctx, bool server, struct wt_error *err)
{
	SSL_CTX_set_verify(
		ctx, SSL_VERIFY_PEER | (server ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), judge_certificate);
	return wt_x509_use(credentials->x509, server, ctx, err);
}

/* ---- both ---- */

int wt_tls_context_open(bool server, const struct wt_credentials *credentials,
	struct wt_tls_context **ret_context, struct wt_error *err)
{
	struct wt_tls_context *context = calloc(1, sizeof *context);
	SSL_CTX *ctx = NULL;
	int result = 0;

	if (!context)
		return wt_error_set(err, ENOMEM, "out of memory for TLS");
	ctx = wt_tls_base_context(server, !credentials->x509, err);
	if (!ctx) {
		result = -EIO;
		goto fail;
	}
	if (credentials->x509)
		result = use_certificates(credentials, ctx, server, err);
	else
		use_key(ctx, server);
	if (result)
		goto fail;
	context->ctx = ctx;
	context->credentials = credentials;
	context->server = server;
	*ret_context = context;
	return 0;
fail:
	SSL_CTX_free(ctx);
	free(context);
	return result;
}

void wt_tls_context_close(struct wt_tls_context *context)
{
	if (!context)
		return;
	SSL_CTX_free(context->ctx);
	free(context);
}

int wt_tls_open(struct wt_tls_context *context, const char *peer, const char *host, struct wt_tls **ret_tls,
	struct wt_error *err)
{
	struct wt_tls *tls = calloc(1, sizeof *tls);
	int result;

	if (!tls)
		goto fail;
	tls->credentials = context->credentials;
	tls->server = context->server;
	tls->peer = peer;
	tls->ssl = SSL_new(context->ctx);
	tls->from_peer = BIO_new(BIO_s_mem());
	tls->to_peer = BIO_new(BIO_s_mem());
	if (!tls->ssl || !tls->from_peer || !tls->to_peer || !SSL_set_app_data(tls->ssl, tls))
		goto free_parts;
	SSL_set_bio(tls->ssl, tls->from_peer, tls->to_peer);
	if (tls->server)
		SSL_set_accept_state(tls->ssl);
	else
		SSL_set_connect_state(tls->ssl);
	if (tls->credentials->x509 && !tls->server) {
		result = wt_x509_expect(tls->credentials->x509, tls->ssl, host, err);
		if (result) {
			wt_tls_close(tls);
			return result;
		}
	}
	*ret_tls = tls;
	return 0;
free_parts:
	SSL_free(tls->ssl);
	BIO_free(tls->from_peer);
	BIO_free(tls->to_peer);
	free(tls);
fail:
	return wt_error_set(err, ENOMEM, "%s: out of memory for a TLS connection", peer);
}

void wt_tls_close(struct wt_tls *tls)
{
	if (!tls)
		return;
	SSL_free(tls->ssl);
	free(tls);
}

/* A TLS peer's first record is a handshake or an alert, of a version 3.x. */
static int check_first_bytes(struct wt_tls *tls, const uint8_t *data, size_t length, struct wt_error *err)
{
	static const char *const hint = "is it watari, and started with credentials?";

	for (; length && tls->seen < 2; data++, length--, tls->seen++) {
		if (tls->seen == 0 ? *data == 0x16 || *data == 0x15 : *data == 0x03)
			continue;
		tls->failed = true;
		return wt_error_set(err, EPROTO,
			"%s does not speak TLS (byte %u of what it sent is 0x%02x); %s", tls->peer,
			tls->seen + 1, *data, hint);
	}
	return 0;
}

int wt_tls_feed(struct wt_tls *tls, const uint8_t *data, size_t length, struct wt_error *err)
{
	size_t written;
	int result = check_first_bytes(tls, data, length, err);

	if (result)
		return result;
	if (length && (!BIO_write_ex(tls->from_peer, data, length, &written) || written != length)) {
		tls->failed = true;
		return wt_error_set(err, ENOMEM, "%s: out of memory for what it sent", tls->peer);
	}
	return 0;
}

/* The handshake has ended well, as OpenSSL sees it. */
static bool is_proven(const struct wt_tls *tls)
{
	if (SSL_version(tls->ssl) != TLS1_3_VERSION)
		return false;
	if (!tls->credentials->x509)
		return SSL_session_reused(tls->ssl);
	return !SSL_session_reused(tls->ssl) && SSL_get0_peer_certificate(tls->ssl) &&
	       SSL_get_verify_result(tls->ssl) == X509_V_OK;
}

int wt_tls_handshake(struct wt_tls *tls, struct wt_error *err)
{
	int result;

	if (tls->failed)
		return wt_error_set(err, EPIPE, "%s: TLS has failed before", tls->peer);
	ERR_clear_error();
	result = SSL_do_handshake(tls->ssl);
	if (result == 1) {
		if (!is_proven(tls)) {
			tls->failed = true;
			return wt_error_set(err, EKEYREJECTED,
				"%s made a TLS connection without showing who it is; is it watari?",
				tls->peer);
		}
		tls->done = true;
		return 0;
	}
	switch (SSL_get_error(tls->ssl, result)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		tls->failed = true;
		return wt_error_set(err, ECONNRESET, "%s said goodbye during the TLS handshake", tls->peer);
	default:
		return wt_tls_error(tls, err);
	}
}

ssize_t wt_tls_read(struct wt_tls *tls, uint8_t *data, size_t size, struct wt_error *err)
{
	size_t length;
	int result;

	if (tls->failed)
		return wt_error_set(err, EPIPE, "%s: TLS has failed before", tls->peer);
	ERR_clear_error();
	result = SSL_read_ex(tls->ssl, data, size, &length);
	if (result == 1)
		return (ssize_t)length;
	switch (SSL_get_error(tls->ssl, result)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return wt_error_set(err, ESHUTDOWN, "%s closed the connection", tls->peer);
	default:
		return wt_tls_error(tls, err);
	}
}

int wt_tls_write(struct wt_tls *tls, const uint8_t *data, size_t length, struct wt_error *err)
{
	size_t written;

	if (tls->failed)
		return wt_error_set(err, EPIPE, "%s: TLS has failed before", tls->peer);
	ERR_clear_error();
	if (SSL_write_ex(tls->ssl, data, length, &written) != 1 || written != length)
		return wt_tls_error(tls, err);
	return 0;
}

void wt_tls_goodbye(struct wt_tls *tls)
{
	if (!tls->done || tls->failed)
		return;
	ERR_clear_error();
	SSL_shutdown(tls->ssl);
}

size_t wt_tls_pull(struct wt_tls *tls, uint8_t *data, size_t size)
{
	size_t length;

	if (!size || !BIO_read_ex(tls->to_peer, data, size, &length))
		return 0;
	return length;
}

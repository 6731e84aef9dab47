/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * channel_tls.c - TLS 1.3 with an external pre-shared key (RFC 8446, sections 2.2 and 4.2.11), by OpenSSL.
 *
 * Owns the OpenSSL objects and translates their failures into sentences. It moves bytes between memory
 * buffers and touches no socket. The only file that includes OpenSSL's ssl.h.
 *
 *   1. Only TLS 1.3, only suites with SHA-256 (the hash an external key is bound to), always with a
 *      (EC)DHE exchange, so that a key that leaks later does not open recorded sessions.
 *   2. No certificates: the server has none, the client accepts none.
 *   3. wt_tls_handshake answers 0 only if the session was really resumed by our key: SSL_session_reused.
 *   4. No tickets, no session cache, no early data, no renegotiation.
 *   5. After a failure OpenSSL is not called again for this connection, except to pull the alert it wrote.
 *
 * One connection is used by one thread.
 */
#include "channel_tls.h"
#include "psk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

struct wt_tls_context {
	SSL_CTX *ctx;
	const struct wt_psk *psk;
	bool server;
};

struct wt_tls {
	SSL *ssl;
	BIO *from_peer; /* owned by ssl, like to_peer */
	BIO *to_peer;
	const struct wt_psk *psk;
	const char *peer;
	bool server;
	bool failed;
	bool done;             /* handshake */
	unsigned seen;         /* how many of the peer's first two bytes were looked at */
	bool identity_offered; /* server: the peer named a key */
	bool identity_known;   /* server: it is ours */
	char identity[40];     /* server: the one it named, printable and cut */
};

static SSL_SESSION *make_session(SSL *ssl, const struct wt_psk *psk)
{
	static const unsigned char aes_128_gcm_sha256[2] = { 0x13, 0x01 };
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, aes_128_gcm_sha256);
	SSL_SESSION *session = SSL_SESSION_new();

	if (session && cipher && SSL_SESSION_set1_master_key(session, psk->key, psk->key_length) &&
		SSL_SESSION_set_cipher(session, cipher) &&
		SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION))
		return session;
	SSL_SESSION_free(session);
	return NULL;
}

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
	*ret_session = make_session(ssl, tls->psk);
	if (!*ret_session)
		return 0;
	*ret_id = (const unsigned char *)tls->psk->identity;
	*ret_id_length = strlen(tls->psk->identity);
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
	if (id_length != strlen(tls->psk->identity) || memcmp(id, tls->psk->identity, id_length) != 0)
		return 1;
	tls->identity_known = true;
	*ret_session = make_session(ssl, tls->psk);
	return *ret_session != NULL;
}

int wt_tls_context_open(
	bool server, const struct wt_psk *psk, struct wt_tls_context **ret_context, struct wt_error *err)
{
	struct wt_tls_context *context = calloc(1, sizeof *context);
	SSL_CTX *ctx = NULL;
	char reason[128];

	if (!context)
		return wt_error_set(err, ENOMEM, "no memory for TLS");
	ERR_clear_error();
	ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
		!SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) ||
		!SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256") ||
		!SSL_CTX_set_num_tickets(ctx, 0)) {
		ERR_error_string_n(ERR_peek_last_error(), reason, sizeof reason);
		SSL_CTX_free(ctx);
		free(context);
		return wt_error_set(err, EIO,
			"OpenSSL cannot set up TLS 1.3 (%s); does the system's policy forbid it?", reason);
	}
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	if (server) {
		SSL_CTX_set_psk_find_session_callback(ctx, find_session);
	} else {
		SSL_CTX_set_psk_use_session_callback(ctx, use_session);
		SSL_CTX_set_verify(
			ctx, SSL_VERIFY_PEER, NULL); /* trusts nobody: no certificate is accepted */
	}
	context->ctx = ctx;
	context->psk = psk;
	context->server = server;
	*ret_context = context;
	return 0;
}

void wt_tls_context_close(struct wt_tls_context *context)
{
	if (!context)
		return;
	SSL_CTX_free(context->ctx);
	free(context);
}

int wt_tls_open(
	struct wt_tls_context *context, const char *peer, struct wt_tls **ret_tls, struct wt_error *err)
{
	struct wt_tls *tls = calloc(1, sizeof *tls);

	if (!tls)
		goto fail;
	tls->psk = context->psk;
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
	static const char *const hint = "is it watari, and started with the key?";

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

/* What the peer's alert says of our key. */
static int alert_error(const struct wt_tls *tls, int alert, struct wt_error *err)
{
	const char *text = SSL_alert_desc_string_long(alert);

	switch (alert) {
	case SSL_AD_HANDSHAKE_FAILURE:
	case SSL_AD_UNKNOWN_PSK_IDENTITY:
		return wt_error_set(err, EKEYREJECTED,
			"%s has no key for the identity \"%s\" (TLS alert: %s); give both ends the same key "
			"file and identity",
			tls->peer, tls->psk->identity, text);
	case SSL_AD_ILLEGAL_PARAMETER:
	case SSL_AD_DECRYPT_ERROR:
	case SSL_AD_BAD_RECORD_MAC:
		return wt_error_set(err, EKEYREJECTED,
			"%s has another key for the identity \"%s\" (TLS alert: %s); give both ends the same "
			"key file",
			tls->peer, tls->psk->identity, text);
	case SSL_AD_PROTOCOL_VERSION:
		return wt_error_set(err, EPROTO, "%s does not speak TLS 1.3 (TLS alert: %s); is it watari?",
			tls->peer, text);
	default:
		return wt_error_set(
			err, EPROTO, "%s refused the TLS handshake (TLS alert: %s)", tls->peer, text);
	}
}

static int server_error(const struct wt_tls *tls, int reason, const char *text, struct wt_error *err)
{
	if (reason == SSL_R_BINDER_DOES_NOT_VERIFY)
		return wt_error_set(err, EKEYREJECTED,
			"%s has another key for the identity \"%s\"; give both ends the same key file",
			tls->peer, tls->psk->identity);
	if (tls->identity_offered && !tls->identity_known)
		return wt_error_set(err, EKEYREJECTED,
			"%s offered a key with the identity \"%s\", ours is \"%s\"; give both ends the same key "
			"file and identity",
			tls->peer, tls->identity, tls->psk->identity);
	if (reason == SSL_R_UNSUPPORTED_PROTOCOL)
		return wt_error_set(err, EPROTO, "%s offered no TLS 1.3; is it watari?", tls->peer);
	if (!tls->identity_offered)
		return wt_error_set(err, EPROTO,
			"%s offered no pre-shared key (%s); is it watari, and started with the key?",
			tls->peer, text);
	return wt_error_set(err, EPROTO, "%s broke the TLS handshake (%s)", tls->peer, text);
}

/* Says why OpenSSL failed. Answers the negative errno value that went into err. */
static int ssl_error(struct wt_tls *tls, struct wt_error *err)
{
	unsigned long code = ERR_peek_error();
	int reason = ERR_GET_REASON(code);
	const char *text = ERR_reason_error_string(code);
	bool library = ERR_GET_LIB(code) == ERR_LIB_SSL;

	tls->failed = true;
	if (!text)
		text = "no reason given";
	if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE)
		return wt_error_set(err, ENOMEM, "%s: out of memory in TLS", tls->peer);
	if (tls->done)
		return wt_error_set(err, EPROTO, "%s broke the TLS connection (%s)", tls->peer, text);
	if (library && reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256)
		return alert_error(tls, reason - SSL_AD_REASON_OFFSET, err);
	if (tls->server)
		return server_error(tls, library ? reason : 0, text, err);
	if (library && (reason == SSL_R_CERTIFICATE_VERIFY_FAILED || reason == SSL_R_BAD_PSK))
		return wt_error_set(err, EKEYREJECTED,
			"%s answered with a certificate, not with our pre-shared key; is it watari?",
			tls->peer);
	return wt_error_set(err, EPROTO, "%s broke the TLS handshake (%s); is it watari?", tls->peer, text);
}

int wt_tls_handshake(struct wt_tls *tls, struct wt_error *err)
{
	int result;

	if (tls->failed)
		return wt_error_set(err, EPIPE, "%s: TLS has failed before", tls->peer);
	ERR_clear_error();
	result = SSL_do_handshake(tls->ssl);
	if (result == 1) {
		if (!SSL_session_reused(tls->ssl) || SSL_version(tls->ssl) != TLS1_3_VERSION) {
			tls->failed = true;
			return wt_error_set(err, EKEYREJECTED,
				"%s made a TLS connection without our pre-shared key; is it watari?",
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
		return ssl_error(tls, err);
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
		return ssl_error(tls, err);
	}
}

int wt_tls_write(struct wt_tls *tls, const uint8_t *data, size_t length, struct wt_error *err)
{
	size_t written;

	if (tls->failed)
		return wt_error_set(err, EPIPE, "%s: TLS has failed before", tls->peer);
	ERR_clear_error();
	if (SSL_write_ex(tls->ssl, data, length, &written) != 1 || written != length)
		return ssl_error(tls, err);
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

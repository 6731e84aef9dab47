/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tls_base.c - see tls_base.h. Owns nothing.
 */
#include "tls_base.h"

#include <errno.h>

#include <openssl/err.h>

/* Those with SHA-256, the hash that an external key is bound to. */
#define SUITES_OF_KEYS "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"
#define SUITES "TLS_AES_256_GCM_SHA384:" SUITES_OF_KEYS

SSL_CTX *wt_tls_base_context(bool server, bool keyed, struct wt_error *err)
{
	SSL_CTX *ctx;
	char reason[128];

	ERR_clear_error();
	ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
		!SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) ||
		!SSL_CTX_set_ciphersuites(ctx, keyed ? SUITES_OF_KEYS : SUITES) ||
		!SSL_CTX_set_num_tickets(ctx, 0)) {
		ERR_error_string_n(ERR_peek_last_error(), reason, sizeof reason);
		SSL_CTX_free(ctx);
		wt_error_set(err, EIO,
			"OpenSSL cannot set up TLS 1.3 (%s); does the system's policy forbid it?", reason);
		return NULL;
	}
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	if (keyed && !server)
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL); /* and trusts nobody */
	return ctx;
}

SSL_SESSION *wt_tls_key_session(SSL *ssl, const uint8_t *key, size_t length)
{
	static const unsigned char aes_128_gcm_sha256[2] = { 0x13, 0x01 };
	const SSL_CIPHER *cipher = SSL_CIPHER_find(ssl, aes_128_gcm_sha256);
	SSL_SESSION *session = SSL_SESSION_new();

	if (session && cipher && SSL_SESSION_set1_master_key(session, key, length) &&
		SSL_SESSION_set_cipher(session, cipher) &&
		SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION))
		return session;
	SSL_SESSION_free(session);
	return NULL;
}

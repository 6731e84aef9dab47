/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * path_tcp_tls.c - see path_tcp_tls.h.
 *
 * Owns OpenSSL's objects and the records that the socket has not taken yet (out[out_first .. out_end)).
 *   1. Both ends prove that they have the token, with an ephemeral exchange of keys: what is recorded cannot
 * be read later, whoever learns the token then.
 *   2. OpenSSL writes into `out`, and is called only while there is room for all that it could write: so it
 * never has to be asked again with the same bytes.
 *   3. Keys are renewed after UPDATE_BYTES, long before what AES-GCM bears (RFC 8446, 5.5).
 *   4. What is encrypted is the caller's copy, which does not change meanwhile.
 * Not the kernel's TLS, see decision 0047. One connection is used by one thread at a time.
 */
#include "path_tcp_tls.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>

#include "tls_base.h"

#define TAKE_BYTES (128u << 10) /* of one send */
#define OUT_BYTES (160u << 10)  /* as records, and a handshake's rest before them */
#define IN_BYTES (128u << 10)
#define UPDATE_BYTES (64ull << 30)

struct wt_tcp_tls_context {
	SSL_CTX *ctx;
	bool server;
	uint64_t update_bytes;
	wt_path_find_fn *find;
	void *find_arg;
};

struct wt_tcp_tls {
	struct wt_tcp_tls_context *context; /* until the handshake is done */
	SSL *ssl;
	int socket;
	int error; /* of the socket: 0, or a negative errno */
	bool done; /* the handshake */
	bool more;
	uint64_t sent; /* bytes since keys were renewed; at update_bytes they are again */
	uint64_t update_bytes;
	size_t out_first, out_end;
	uint8_t hello[WT_PATH_HELLO_BYTES]; /* client */
	uint8_t out[OUT_BYTES];
};

/* ---- the socket, as OpenSSL sees it ---- */

static int bio_write(BIO *bio, const char *data, int length)
{
	struct wt_tcp_tls *tls = BIO_get_data(bio);

	if ((size_t)length > sizeof tls->out - tls->out_end)
		return -1; /* does not happen: see 2. */
	memcpy(tls->out + tls->out_end, data, (size_t)length);
	tls->out_end += (size_t)length;
	return length;
}

static int bio_read(BIO *bio, char *data, int length)
{
	struct wt_tcp_tls *tls = BIO_get_data(bio);
	ssize_t got;

	BIO_clear_retry_flags(bio);
	do
		got = recv(tls->socket, data, (size_t)length, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got < 0 && errno == EAGAIN)
		BIO_set_retry_read(bio);
	else if (got <= 0)
		tls->error = got < 0 ? -errno : -ECONNRESET;
	return (int)got;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	(void)bio, (void)number, (void)pointer;
	return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method;

static void make_method(void)
{
	method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket of a tcp path");
	if (method && (!BIO_meth_set_write(method, bio_write) || !BIO_meth_set_read(method, bio_read) ||
			      !BIO_meth_set_ctrl(method, bio_ctrl))) {
		BIO_meth_free(method);
		method = NULL;
	}
}

static BIO *bio_open(struct wt_tcp_tls *tls)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	BIO *bio;

	pthread_once(&once, make_method);
	bio = method ? BIO_new(method) : NULL;
	if (bio) {
		BIO_set_data(bio, tls);
		BIO_set_init(bio, 1);
	}
	return bio;
}

/* ---- keys ---- */

static int use_token(SSL *ssl, const EVP_MD *md, const unsigned char **ret_id, size_t *ret_id_length,
	SSL_SESSION **ret_session)
{
	const struct wt_tcp_tls *tls = SSL_get_app_data(ssl);

	*ret_session = NULL;
	*ret_id = NULL;
	*ret_id_length = 0;
	if (md && EVP_MD_get_type(md) != NID_sha256)
		return 1;
	*ret_session = wt_tls_key_session(
		ssl, tls->hello + WT_PATH_HELLO_ID_BYTES, WT_PATH_HELLO_BYTES - WT_PATH_HELLO_ID_BYTES);
	*ret_id = tls->hello;
	*ret_id_length = WT_PATH_HELLO_ID_BYTES;
	return *ret_session != NULL;
}

/* The token for an id; none lets the handshake fail for want of a certificate. */
static int find_token(SSL *ssl, const unsigned char *id, size_t id_length, SSL_SESSION **ret_session)
{
	const struct wt_tcp_tls_context *context = ((struct wt_tcp_tls *)SSL_get_app_data(ssl))->context;
	uint8_t hello[WT_PATH_HELLO_BYTES];

	*ret_session = NULL;
	if (!context->find || id_length != WT_PATH_HELLO_ID_BYTES ||
		!context->find(context->find_arg, id, hello))
		return 1;
	*ret_session = wt_tls_key_session(
		ssl, hello + WT_PATH_HELLO_ID_BYTES, WT_PATH_HELLO_BYTES - WT_PATH_HELLO_ID_BYTES);
	OPENSSL_cleanse(hello, sizeof hello);
	return *ret_session != NULL;
}

/* ---- life ---- */

int wt_tcp_tls_context_open(bool server, struct wt_tcp_tls_context **ret_context, struct wt_error *err)
{
	struct wt_tcp_tls_context *context = calloc(1, sizeof *context);

	if (!context)
		return wt_error_set(err, ENOMEM, "out of memory for TLS");
	context->server = server;
	context->update_bytes = UPDATE_BYTES;
	context->ctx = wt_tls_base_context(server, true, err);
	if (!context->ctx) {
		free(context);
		return -EIO;
	}
	if (server)
		SSL_CTX_set_psk_find_session_callback(context->ctx, find_token);
	else
		SSL_CTX_set_psk_use_session_callback(context->ctx, use_token);
	SSL_CTX_set_read_ahead(context->ctx, 1);
	SSL_CTX_set_default_read_buffer_len(context->ctx, IN_BYTES);
	*ret_context = context;
	return 0;
}

void wt_tcp_tls_context_close(struct wt_tcp_tls_context *context)
{
	if (!context)
		return;
	SSL_CTX_free(context->ctx);
	free(context);
}

void wt_tcp_tls_context_update(struct wt_tcp_tls_context *context, uint64_t bytes)
{
	context->update_bytes = bytes;
}

void wt_tcp_tls_context_find(struct wt_tcp_tls_context *context, wt_path_find_fn *find, void *arg)
{
	context->find = find;
	context->find_arg = arg;
}

struct wt_tcp_tls *wt_tcp_tls_open(
	struct wt_tcp_tls_context *context, int socket, const uint8_t hello[WT_PATH_HELLO_BYTES])
{
	struct wt_tcp_tls *tls = malloc(sizeof *tls);
	BIO *bio;

	if (!tls)
		return NULL;
	memset(tls, 0, offsetof(struct wt_tcp_tls, out)); /* the buffer needs no clearing */
	tls->context = context;
	tls->update_bytes = context->update_bytes;
	tls->socket = socket;
	if (hello)
		memcpy(tls->hello, hello, WT_PATH_HELLO_BYTES);
	tls->ssl = SSL_new(context->ctx);
	bio = tls->ssl && SSL_set_app_data(tls->ssl, tls) ? bio_open(tls) : NULL;
	if (!bio) {
		SSL_free(tls->ssl);
		free(tls);
		return NULL;
	}
	SSL_set_bio(tls->ssl, bio, bio);
	if (context->server)
		SSL_set_accept_state(tls->ssl);
	else
		SSL_set_connect_state(tls->ssl);
	return tls;
}

void wt_tcp_tls_close(struct wt_tcp_tls *tls)
{
	if (!tls)
		return;
	SSL_free(tls->ssl);
	OPENSSL_cleanse(tls->hello, sizeof tls->hello);
	free(tls);
}

/* ---- bytes ---- */

bool wt_tcp_tls_unsent(const struct wt_tcp_tls *tls)
{
	return tls->out_first < tls->out_end;
}

int wt_tcp_tls_flush(struct wt_tcp_tls *tls)
{
	ssize_t sent;

	while (wt_tcp_tls_unsent(tls)) {
		sent = send(tls->socket, tls->out + tls->out_first, tls->out_end - tls->out_first,
			MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -errno;
		tls->out_first += (size_t)sent;
	}
	tls->out_first = tls->out_end = 0;
	return 0;
}

/* What OpenSSL's answer means: -EAGAIN, 0 for the end, or another -errno. */
static int failure(struct wt_tcp_tls *tls, int answer)
{
	switch (SSL_get_error(tls->ssl, answer)) {
	case SSL_ERROR_WANT_READ:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		return tls->error ? tls->error : -EPROTO;
	}
}

int wt_tcp_tls_handshake(struct wt_tcp_tls *tls)
{
	int answer, status, flushed;

	ERR_clear_error();
	answer = SSL_do_handshake(tls->ssl);
	status = answer == 1 ? 0 : failure(tls, answer);
	if (!status && answer != 1)
		status = -ECONNRESET;
	flushed = wt_tcp_tls_flush(tls); /* an alert, too */
	if (flushed < 0 && flushed != -EAGAIN && !status)
		status = flushed;
	if (status == -EPROTO)
		return -EACCES;
	if (!status && (!SSL_session_reused(tls->ssl) || SSL_version(tls->ssl) != TLS1_3_VERSION))
		return -EACCES;
	tls->done = !status;
	return status;
}

ssize_t wt_tcp_tls_send(struct wt_tcp_tls *tls, const void *data, size_t length)
{
	int status = wt_tcp_tls_flush(tls);
	size_t written;

	if (status < 0)
		return status;
	ERR_clear_error();
	if (tls->sent >= tls->update_bytes) {
		if (SSL_key_update(tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1)
			return -EPROTO;
		tls->sent = 0;
	}
	if (length > TAKE_BYTES)
		length = TAKE_BYTES;
	if (SSL_write_ex(tls->ssl, data, length, &written) != 1 || written != length)
		return tls->error ? tls->error : -EPROTO;
	tls->sent += length;
	status = wt_tcp_tls_flush(tls);
	return status < 0 && status != -EAGAIN ? status : (ssize_t)length;
}

ssize_t wt_tcp_tls_receive(struct wt_tcp_tls *tls, const struct iovec *parts, unsigned count)
{
	size_t total = 0, at = 0, got;
	int status = 0;

	ERR_clear_error();
	for (unsigned i = 0; i < count && !status;) {
		if (SSL_read_ex(tls->ssl, (uint8_t *)parts[i].iov_base + at, parts[i].iov_len - at, &got) !=
			1) {
			status = failure(tls, 0);
			status = status ? status : -ESHUTDOWN;
			break;
		}
		total += got;
		at += got;
		if (at == parts[i].iov_len) {
			i++;
			at = 0;
		}
	}
	tls->more = !status;
	if (total || !status)
		return (ssize_t)total; /* what is wrong is said the next time */
	return status == -ESHUTDOWN ? 0 : status;
}

bool wt_tcp_tls_more(const struct wt_tcp_tls *tls)
{
	return tls->more;
}

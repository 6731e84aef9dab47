/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * channel_x509.c - see channel_x509.h.
 *
 * Owns what was read from the folder: `ca-cert.pem`, perhaps `ca-crl.pem`, and for each of the roles server
 * and client a certificate (perhaps with those between it and the authority behind it) and its key. A role
 * whose certificate is not there is missed only when it is needed.
 *
 *   1. What is loaded verifies: each of our certificates was made by an authority that we trust, for its
 * role, is valid today, and fits its key. So a mistake is told here, and not by every peer.
 *   2. Keys are files that others (and, for writing, the group) have no access to.
 *   3. With `ca-crl.pem` every authority in a peer's chain must have a list in it that is not out of date:
 *      who deletes or forgets one locks out, and does not let in.
 *   4. Names of the list are compared as a whole, without wildcards and without regard to case: a name with
 *      `=` with the subject, any other with the subject's CN and the alternative names (DNS, IP).
 *
 * Constant once it was loaded.
 */
#include "channel_x509.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "secret_file.h"

struct identity {
	STACK_OF(X509) * chain; /* ours first; NULL: there is none for this role */
	EVP_PKEY *key;
};

struct wt_x509 {
	char *directory;
	STACK_OF(X509) * authorities;
	STACK_OF(X509_CRL) * revoked; /* NULL: there is no list */
	struct identity client, server;
	char **allowed;
	unsigned allowed_count;
};

static int out_of_memory(struct wt_error *err)
{
	return wt_error_set(err, ENOMEM, "out of memory for certificates");
}

/* ---- files ---- */

static char *path_of(const char *directory, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", directory, name) < 0 ? NULL : path;
}

static int read_file(const char *directory, const char *name, mode_t forbidden, char **ret_text,
	size_t *ret_length, struct wt_error *err)
{
	char *path = path_of(directory, name);
	int result;

	if (!path)
		return out_of_memory(err);
	result = wt_secret_file_read(path, forbidden, ret_text, ret_length, err);
	free(path);
	return result;
}

static bool is_there(const char *directory, const char *name)
{
	char *path = path_of(directory, name);
	bool there = path && access(path, F_OK) == 0;

	free(path);
	return there;
}

/* All certificates (revoked: lists) of a PEM file; at least one. */
static int parse_certificates(BIO *bio, STACK_OF(X509) * certificates, STACK_OF(X509_CRL) * revoked)
{
	int count = 0;

	for (;; count++) {
		X509 *certificate = revoked ? NULL : PEM_read_bio_X509(bio, NULL, NULL, NULL);
		X509_CRL *list = revoked ? PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL) : NULL;

		if (!certificate && !list)
			break;
		if (revoked ? !sk_X509_CRL_push(revoked, list) : !sk_X509_push(certificates, certificate)) {
			X509_free(certificate);
			X509_CRL_free(list);
			return -ENOMEM;
		}
	}
	/* The end of the file is an error, too: no more to begin with. Anything else is damage. */
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE || !count)
		return -EINVAL;
	ERR_clear_error();
	return 0;
}

static int load_certificates(const char *directory, const char *name, STACK_OF(X509) * certificates,
	STACK_OF(X509_CRL) * revoked, struct wt_error *err)
{
	size_t length = 0;
	char *text = NULL;
	BIO *bio = NULL;
	int result = read_file(directory, name, 0, &text, &length, err);

	if (result)
		return result;
	ERR_clear_error();
	bio = BIO_new_mem_buf(text, (int)length);
	if (!bio || (!certificates && !revoked))
		result = out_of_memory(err);
	else if (parse_certificates(bio, certificates, revoked))
		result = wt_error_set(err, EINVAL,
			"%s/%s: there is no %s in it, or a damaged one (PEM is expected)", directory, name,
			revoked ? "list of what is revoked" : "certificate");
	BIO_free(bio);
	wt_secret_file_free(text, length);
	return result;
}

/* Nobody is there to type it. */
static int no_password(char *text, int size, int writing, void *arg)
{
	(void)text, (void)size, (void)writing, (void)arg;
	return -1;
}

static int load_key(const char *directory, const char *name, EVP_PKEY **ret_key, struct wt_error *err)
{
	size_t length = 0;
	char *text = NULL;
	BIO *bio;
	int result = read_file(directory, name, S_IWGRP | S_IRWXO, &text, &length, err);

	if (result)
		return result;
	bio = BIO_new_mem_buf(text, (int)length);
	*ret_key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
	if (!*ret_key)
		result = wt_error_set(err, EINVAL,
			"%s/%s: there is no private key in it that can be read; it must be PEM, without a password",
			directory, name);
	BIO_free(bio);
	wt_secret_file_free(text, length);
	return result;
}

/* ---- ours ---- */

static X509_STORE *make_store(const struct wt_x509 *x509, bool revoked)
{
	X509_STORE *store = X509_STORE_new();
	int i;

	for (i = 0; store && i < sk_X509_num(x509->authorities); i++)
		if (!X509_STORE_add_cert(store, sk_X509_value(x509->authorities, i)))
			goto fail;
	for (i = 0; store && revoked && x509->revoked && i < sk_X509_CRL_num(x509->revoked); i++)
		if (!X509_STORE_add_crl(store, sk_X509_CRL_value(x509->revoked, i)))
			goto fail;
	if (store && revoked && x509->revoked)
		X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return store;
fail:
	X509_STORE_free(store);
	return NULL;
}

static int verify(const struct wt_x509 *x509, const struct identity *identity, bool server, const char *name,
	struct wt_error *err)
{
	X509_STORE *store = make_store(x509, false);
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int result = 0;

	if (!store || !ctx ||
		!X509_STORE_CTX_init(ctx, store, sk_X509_value(identity->chain, 0), identity->chain) ||
		!X509_STORE_CTX_set_default(ctx, server ? "ssl_server" : "ssl_client"))
		result = out_of_memory(err);
	else if (X509_verify_cert(ctx) != 1)
		result = wt_error_set(err, EKEYREJECTED, "%s/%s cannot be used with ca-cert.pem there: %s",
			x509->directory, name, X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	return result;
}

static int load_identity(
	const struct wt_x509 *x509, bool server, struct identity *identity, struct wt_error *err)
{
	const char *certificate = server ? "server-cert.pem" : "client-cert.pem";
	const char *key = server ? "server-key.pem" : "client-key.pem";
	int result;

	if (!is_there(x509->directory, certificate) && !is_there(x509->directory, key))
		return 0;
	identity->chain = sk_X509_new_null();
	result = load_certificates(x509->directory, certificate, identity->chain, NULL, err);
	if (!result)
		result = load_key(x509->directory, key, &identity->key, err);
	if (!result && X509_check_private_key(sk_X509_value(identity->chain, 0), identity->key) != 1)
		result = wt_error_set(
			err, EINVAL, "%s: %s is not the key of %s", x509->directory, key, certificate);
	return result ? result : verify(x509, identity, server, certificate, err);
}

/* ---- whom we allow ---- */

static int allow(struct wt_x509 *x509, const char *name, struct wt_error *err)
{
	if (!name[0] || name[0] == '.' || strlen(name) >= WT_X509_NAME_MAX)
		return wt_error_set(err, EINVAL,
			"the name \"%.80s\" of a peer cannot be allowed: give a host name, an address, a CN, or a whole "
			"distinguished name",
			name);
	if (x509->allowed_count == WT_X509_ALLOWED_MAX)
		return wt_error_set(
			err, E2BIG, "more than %d names of peers are allowed", WT_X509_ALLOWED_MAX);
	x509->allowed[x509->allowed_count] = strdup(name);
	if (!x509->allowed[x509->allowed_count])
		return out_of_memory(err);
	x509->allowed_count++;
	return 0;
}

/* A name on each line; empty ones and those that begin with # are none. */
static int allow_file(struct wt_x509 *x509, const char *file, struct wt_error *err)
{
	size_t length = 0;
	char *text = NULL, *line, *save = NULL, *end;
	int result = wt_secret_file_read(file, S_IWGRP | S_IWOTH, &text, &length, err);

	for (line = result ? NULL : strtok_r(text, "\n", &save); line && !result;
		line = strtok_r(NULL, "\n", &save)) {
		for (end = line + strlen(line); end > line && isspace((unsigned char)end[-1]); end--)
			end[-1] = '\0';
		if (line[0] && line[0] != '#')
			result = allow(x509, line, err);
	}
	if (!result && !x509->allowed_count)
		result = wt_error_set(err, EINVAL, "%s names nobody, so nobody would be allowed", file);
	wt_secret_file_free(text, length);
	return result;
}

static int allow_all(
	struct wt_x509 *x509, const char *const *allowed, unsigned allowed_count, struct wt_error *err)
{
	int result = 0;

	x509->allowed = calloc(WT_X509_ALLOWED_MAX, sizeof *x509->allowed);
	if (!x509->allowed)
		return out_of_memory(err);
	for (unsigned i = 0; i < allowed_count && !result; i++)
		result = allowed[i][0] == '@' ? allow_file(x509, allowed[i] + 1, err)
					      : allow(x509, allowed[i], err);
	return result;
}

bool wt_x509_allows(const struct wt_x509 *x509, X509 *certificate)
{
	static const unsigned flags = X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_ALWAYS_CHECK_SUBJECT;
	char subject[WT_X509_NAME_MAX];

	wt_x509_subject(certificate, subject, sizeof subject);
	for (unsigned i = 0; i < x509->allowed_count; i++) {
		const char *name = x509->allowed[i];

		if (strchr(name, '=') ? strcasecmp(name, subject) == 0
				      : X509_check_host(certificate, name, 0, flags, NULL) == 1 ||
						X509_check_ip_asc(certificate, name, 0) == 1)
			return true;
	}
	return !x509->allowed_count;
}

void wt_x509_subject(X509 *certificate, char *ret_text, size_t size)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int length = 0;

	if (bio && X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0)
		length = BIO_read(bio, ret_text, (int)size - 1);
	ret_text[length > 0 ? length : 0] = '\0';
	for (char *c = ret_text; *c; c++)
		if (*c < 0x20 || *c > 0x7e)
			*c = '?';
	BIO_free(bio);
}

/* ---- all of it ---- */

int wt_x509_load(const char *directory, const char *const *allowed, unsigned allowed_count,
	struct wt_x509 **ret_x509, struct wt_error *err)
{
	struct wt_x509 *x509 = calloc(1, sizeof *x509);
	int result = 0;

	if (!x509)
		return out_of_memory(err);
	x509->directory = strdup(directory);
	x509->authorities = sk_X509_new_null();
	if (!x509->directory || !x509->authorities)
		result = out_of_memory(err);
	if (!result)
		result = load_certificates(directory, "ca-cert.pem", x509->authorities, NULL, err);
	if (!result && is_there(directory, "ca-crl.pem")) {
		x509->revoked = sk_X509_CRL_new_null();
		result = load_certificates(directory, "ca-crl.pem", NULL, x509->revoked, err);
	}
	if (!result)
		result = load_identity(x509, true, &x509->server, err);
	if (!result)
		result = load_identity(x509, false, &x509->client, err);
	if (!result)
		result = allow_all(x509, allowed, allowed_count, err);
	if (result)
		wt_x509_free(x509);
	else
		*ret_x509 = x509;
	return result;
}

static void identity_free(struct identity *identity)
{
	sk_X509_pop_free(identity->chain, X509_free);
	EVP_PKEY_free(identity->key); /* wipes it */
}

void wt_x509_free(struct wt_x509 *x509)
{
	if (!x509)
		return;
	identity_free(&x509->client);
	identity_free(&x509->server);
	sk_X509_pop_free(x509->authorities, X509_free);
	sk_X509_CRL_pop_free(x509->revoked, X509_CRL_free);
	while (x509->allowed_count)
		free(x509->allowed[--x509->allowed_count]);
	free(x509->allowed);
	free(x509->directory);
	free(x509);
}

const char *wt_x509_directory(const struct wt_x509 *x509)
{
	return x509->directory;
}

int wt_x509_use(const struct wt_x509 *x509, bool server, SSL_CTX *ctx, struct wt_error *err)
{
	const struct identity *identity = server ? &x509->server : &x509->client;
	X509_STORE *store;
	int i;

	if (!identity->chain)
		return wt_error_set(err, ENOENT,
			"%s has no %s-cert.pem, and whoever %s needs one; make it, with its %s-key.pem",
			x509->directory, server ? "server" : "client", server ? "listens" : "connects",
			server ? "server" : "client");
	store = make_store(x509, true);
	if (!store)
		return out_of_memory(err);
	SSL_CTX_set_cert_store(ctx, store); /* owns it */
	if (SSL_CTX_use_certificate(ctx, sk_X509_value(identity->chain, 0)) != 1 ||
		SSL_CTX_use_PrivateKey(ctx, identity->key) != 1)
		return wt_error_set(err, EINVAL, "OpenSSL does not take %s/%s-cert.pem (%s)", x509->directory,
			server ? "server" : "client", ERR_reason_error_string(ERR_peek_last_error()));
	for (i = 1; i < sk_X509_num(identity->chain); i++)
		if (!SSL_CTX_add1_chain_cert(ctx, sk_X509_value(identity->chain, i)))
			return out_of_memory(err);
	return 0;
}

int wt_x509_expect(const struct wt_x509 *x509, SSL *ssl, const char *host, struct wt_error *err)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	unsigned char address[sizeof(struct in6_addr)];
	bool numeric;

	if (x509->allowed_count)
		return 0;
	if (!host)
		return wt_error_set(err, EINVAL,
			"a unix socket has no host name that a certificate could have; say with --tls-allow NAME who "
			"is expected there");
	numeric = inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (numeric ? X509_VERIFY_PARAM_set1_ip_asc(param, host)
		    : X509_VERIFY_PARAM_set1_host(param, host, 0))
		return 0;
	return out_of_memory(err);
}

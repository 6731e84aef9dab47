/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * digest.c - GMAC with AES-256 over one page. See digest.h; why GMAC: decision 0016.
 *
 *   1. The IV is the place: block (32 bits), page (64 bits), big-endian. Both ends compute the same.
 *   2. So one IV serves all contents that a place ever has. That is right only because nobody but those who
 * have the key sees a digest: to others, digests of one place would give the key of the hash away.
 *   3. A digest of zero bytes means a page of zeros; another page has it with probability 2^-128.
 *
 * Owns the key schedule, which OpenSSL wipes when it is freed.
 */
#include <watari/digest.h>

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

struct wt_digester {
	EVP_MAC_CTX *context;
};

static EVP_MAC_CTX *open_context(const uint8_t *key)
{
	char cipher[] = "AES-256-GCM";
	OSSL_PARAM params[] = { OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, cipher, 0),
		OSSL_PARAM_construct_end() };
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "GMAC", NULL);
	EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);

	EVP_MAC_free(mac);
	if (!context || EVP_MAC_init(context, key, WT_DIGEST_KEY_BYTES, params))
		return context;
	EVP_MAC_CTX_free(context);
	return NULL;
}

int wt_digester_open(
	const uint8_t key[WT_DIGEST_KEY_BYTES], struct wt_digester **ret_digester, struct wt_error *err)
{
	struct wt_digester *digester = malloc(sizeof *digester);

	if (!digester)
		return wt_error_set(err, ENOMEM, "no memory for digests of pages");
	digester->context = open_context(key);
	if (!digester->context) {
		free(digester);
		return wt_error_set(err, ENOTSUP,
			"OpenSSL has no GMAC with AES-256 here, so pages cannot be compared with a replica; "
			"is its default provider loaded (openssl list -mac-algorithms)?");
	}
	*ret_digester = digester;
	return 0;
}

void wt_digester_close(struct wt_digester *digester)
{
	if (!digester)
		return;
	EVP_MAC_CTX_free(digester->context);
	free(digester);
}

/* The first word differs in most pages, so the rest is seldom looked at. */
static bool all_zero(const uint8_t *bytes)
{
	static const uint8_t zero[WT_PAGE_SIZE];

	return memcmp(bytes, zero, sizeof(uint64_t)) == 0 && memcmp(bytes, zero, sizeof zero) == 0;
}

int wt_digester_page(struct wt_digester *digester, uint32_t block, uint64_t page, const void *bytes,
	uint8_t ret_digest[WT_DIGEST_BYTES])
{
	struct {
		uint32_t block;
		uint64_t page;
	} __attribute__((packed)) place = { htobe32(block), htobe64(page) };
	OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_IV, &place, sizeof place),
		OSSL_PARAM_construct_end() };
	uint8_t digest[WT_DIGEST_BYTES] = { 0 };
	size_t length;

	_Static_assert(sizeof place == 12, "GCM takes 96 bits as they are; other lengths it would hash");
	if (!all_zero(bytes) && (!EVP_MAC_init(digester->context, NULL, 0, params) ||
					!EVP_MAC_update(digester->context, bytes, WT_PAGE_SIZE) ||
					!EVP_MAC_final(digester->context, digest, &length, sizeof digest)))
		return -EIO;
	memcpy(ret_digest, digest, sizeof digest);
	return 0;
}

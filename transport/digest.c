/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * digest.c - GMAC with AES-256 over one page. See digest.h; why GMAC: decision 0016.
 *
 * GMAC is the tag of GCM that encrypts nothing (NIST SP 800-38D). It is asked for as that: OpenSSL's GMAC
 * costs a fifth more for a page, as it looks for its parameters by name.
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

#include <openssl/evp.h>

struct wt_digester {
	EVP_CIPHER_CTX *context;
};

static EVP_CIPHER_CTX *open_context(const uint8_t *key)
{
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	EVP_CIPHER_CTX *context = cipher ? EVP_CIPHER_CTX_new() : NULL;

	_Static_assert(WT_DIGEST_KEY_BYTES == 32, "AES-256");
	if (context && !EVP_EncryptInit_ex2(context, cipher, key, NULL, NULL)) {
		EVP_CIPHER_CTX_free(context);
		context = NULL;
	}
	EVP_CIPHER_free(cipher);
	return context;
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
			"OpenSSL has no AES-256-GCM here, so pages cannot be compared with a replica; "
			"is its default provider loaded (openssl list -cipher-algorithms)?");
	}
	*ret_digester = digester;
	return 0;
}

void wt_digester_close(struct wt_digester *digester)
{
	if (!digester)
		return;
	EVP_CIPHER_CTX_free(digester->context);
	free(digester);
}

/* The first word differs in most pages, so the rest is seldom looked at. */
static bool all_zero(const uint8_t *bytes)
{
	static const uint8_t zero[WT_PAGE_SIZE];

	return memcmp(bytes, zero, sizeof(uint64_t)) == 0 && memcmp(bytes, zero, sizeof zero) == 0;
}

/* Of a page that is not all zero. */
static bool digest(
	EVP_CIPHER_CTX *context, const uint8_t place[12], const uint8_t *bytes, uint8_t *ret_digest)
{
	int length;

	return EVP_EncryptInit_ex2(context, NULL, NULL, place, NULL) &&
	       EVP_EncryptUpdate(context, NULL, &length, bytes, WT_PAGE_SIZE) &&
	       EVP_EncryptFinal_ex(context, ret_digest, &length) &&
	       EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, WT_DIGEST_BYTES, ret_digest);
}

int wt_digester_page(struct wt_digester *digester, uint32_t block, uint64_t page, const void *bytes,
	uint8_t ret_digest[WT_DIGEST_BYTES])
{
	struct {
		uint32_t block;
		uint64_t page;
	} __attribute__((packed)) place = { htobe32(block), htobe64(page) };

	_Static_assert(sizeof place == 12, "GCM takes 96 bits as they are; other lengths it would hash");
	_Static_assert(WT_DIGEST_BYTES == 16, "the tag's");
	if (all_zero(bytes))
		memset(ret_digest, 0, WT_DIGEST_BYTES);
	else if (!digest(digester->context, (const uint8_t *)&place, bytes, ret_digest))
		return -EIO;
	return 0;
}

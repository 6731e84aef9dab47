/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * digest.h - digests of pages that decide *not* to send a page: keyed, 16 bytes.
 *
 * Equal digests of one place (block and page), made with one key, mean equal content: whoever chooses the
 * content of the pages but sees neither key nor digests makes two different pages equal with a probability of
 * about 2^-120 per comparison. Whoever has the key can make such pages at will. So the key is random, new for
 * each session, known to none whose pages are judged by it, and key and digests travel encrypted only
 * (decision 0016).
 *
 * Digests of one content at two places differ. A page of zeros has the digest of zeros at every place and
 * with every key, and costs no more than reading it.
 */
#ifndef WATARI_DIGEST_H
#define WATARI_DIGEST_H

#include <stdint.h>

#include <watari/block.h>
#include <watari/error.h>

#define WT_DIGEST_BYTES 16
#define WT_DIGEST_KEY_BYTES 32

struct wt_digester;

/* The key may be wiped after the call. A digester belongs to one thread at a time. */
int wt_digester_open(
	const uint8_t key[WT_DIGEST_KEY_BYTES], struct wt_digester **ret_digester, struct wt_error *err);
void wt_digester_close(struct wt_digester *digester);

/*
 * The digest of the WT_PAGE_SIZE bytes that lie at that place. They may change meanwhile: then it is the
 * digest of nothing in particular. -EIO: OpenSSL failed.
 */
int wt_digester_page(struct wt_digester *digester, uint32_t block, uint64_t page, const void *bytes,
	uint8_t ret_digest[WT_DIGEST_BYTES]);

#endif

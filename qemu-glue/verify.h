/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * verify.h - digests of guest RAM, to compare both sides while both guests are stopped.
 *
 * Holes count as zeros and are not touched (SEEK_DATA). Blocking; the guest must be stopped.
 */
#ifndef WATARI_QEMU_VERIFY_H
#define WATARI_QEMU_VERIFY_H

#include <stddef.h>
#include <stdint.h>

#include "messages.h"
#include "ram_block.h"

#define WT_VERIFY_PAGES 1024u /* of one digest */

/* XXH3 (128 bits; against errors, not against forgers) of the pages' bytes; -EINVAL: not in the block. */
int wt_verify_digest(const struct wt_ram_block *block, uint64_t page, uint32_t pages,
	uint8_t ret_digest[WT_RELAY_DIGEST_BYTES]);
/* What a source answers to DIGEST_ASK; served: by the server's number, ends with NULL. -EPROTO: it asks for
 * no memory. */
int wt_verify_answer(const struct wt_ram_block *const *served, const uint8_t *payload, size_t length,
	struct wt_relay_digest *ret_answer);

#endif

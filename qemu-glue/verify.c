/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * verify.c - XXH3 over pages and holes. See verify.h.
 */
#include "verify.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <xxhash.h>

#include "holes.h"

static const uint8_t zero_page[WT_PAGE_SIZE];

/* The block's bytes in QEMU, which nobody has mapped here. */
static int digest_foreign(
	const struct wt_ram_block *block, uint64_t offset, uint64_t end, XXH3_state_t *state)
{
	uint8_t bytes[16 * WT_PAGE_SIZE];

	while (offset < end) {
		size_t length = end - offset < sizeof bytes ? end - offset : sizeof bytes;
		struct iovec here = { .iov_base = bytes, .iov_len = length };
		struct iovec there = { .iov_base = (void *)(uintptr_t)(block->host + offset),
			.iov_len = length };
		ssize_t n = process_vm_readv(block->pid, &here, 1, &there, 1, 0);

		if (n != (ssize_t)length)
			return n < 0 ? -errno : -EFAULT;
		XXH3_128bits_update(state, bytes, length);
		offset += length;
	}
	return 0;
}

static void digest_mapped(
	const struct wt_ram_block *block, uint64_t offset, uint64_t end, XXH3_state_t *state)
{
	uint64_t first = block->fd_offset, stop;

	while (offset < end) {
		stop = wt_hole_end(block->fd, first + offset, first + end) - first;
		stop -= stop % WT_PAGE_SIZE;
		for (; offset < stop; offset += WT_PAGE_SIZE)
			XXH3_128bits_update(state, zero_page, sizeof zero_page);
		if (offset == end)
			break;
		stop = wt_data_end(block->fd, first + offset, first + end) - first;
		if (stop <= offset)
			stop = offset + WT_PAGE_SIZE;
		XXH3_128bits_update(state, (uint8_t *)block->base + offset, stop - offset);
		offset = stop;
	}
}

int wt_verify_digest(const struct wt_ram_block *block, uint64_t page, uint32_t pages,
	uint8_t ret_digest[WT_RELAY_DIGEST_BYTES])
{
	uint64_t offset = page << WT_PAGE_SHIFT, end;
	XXH128_canonical_t canonical;
	XXH3_state_t *state;
	int r = 0;

	if ((!block->base && !block->host) || pages > WT_VERIFY_PAGES ||
		page > block->length >> WT_PAGE_SHIFT || pages > (block->length >> WT_PAGE_SHIFT) - page)
		return -EINVAL;
	state = XXH3_createState();
	if (!state)
		return -ENOMEM;
	XXH3_128bits_reset(state);
	end = offset + ((uint64_t)pages << WT_PAGE_SHIFT);
	if (block->base)
		digest_mapped(block, offset, end, state);
	else
		r = digest_foreign(block, offset, end, state);
	XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
	if (!r)
		memcpy(ret_digest, canonical.digest, sizeof canonical.digest);
	XXH3_freeState(state);
	return r;
}

int wt_verify_answer(const struct wt_ram_block *const *served, const uint8_t *payload, size_t length,
	struct wt_relay_digest *ret_answer)
{
	struct wt_relay_digest ask;
	int r;

	if (length != sizeof ask)
		return -EPROTO;
	memcpy(&ask, payload, sizeof ask);
	for (uint32_t i = 0; served[i]; i++) {
		if (i != ask.block)
			continue;
		r = wt_verify_digest(served[i], ask.page, ask.pages, ask.digest);
		if (!r)
			*ret_answer = ask;
		return r;
	}
	return -EPROTO;
}

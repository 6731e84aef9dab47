/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * skip_offer.c - see skip_offer.h.
 *
 * Owns the offer's file and our mapping of it, and a copy of what was written into it: what QEMU's process
 * makes of the file is looked at (skipped, sample), never relied on.
 *   1. granted == what was accounted for + SKIP_AHEAD_BYTES, for every channel that has not ended.
 *   2. Blocks are sorted by their address in QEMU, as ranges must be.
 */
#include "skip_offer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <watari/block.h>

_Static_assert(SKIP_PAGE_BYTES == WT_PAGE_SIZE, "one page");

struct wt_skip_offer {
	char path[128];
	struct skip_page *page;
	struct wt_skip_block blocks[SKIP_RANGES_MAX];
	unsigned count;
	bool come[SKIP_CHANNELS_MAX]; /* has said hello */
};

static int longer_first(const void *a, const void *b)
{
	const struct wt_skip_block *one = a, *other = b;

	return one->length < other->length ? 1 : one->length > other->length ? -1 : 0;
}

static int lower_first(const void *a, const void *b)
{
	const struct wt_skip_block *one = a, *other = b;

	return one->address > other->address ? 1 : one->address < other->address ? -1 : 0;
}

static int choose(struct wt_skip_offer *o, const struct wt_skip_block *blocks, unsigned count)
{
	struct wt_skip_block *all = malloc((count + 1) * sizeof *all);

	if (!all)
		return -ENOMEM;
	if (count)
		memcpy(all, blocks, count * sizeof *all);
	qsort(all, count, sizeof *all, longer_first);
	o->count = count < SKIP_RANGES_MAX ? count : SKIP_RANGES_MAX;
	memcpy(o->blocks, all, o->count * sizeof *all);
	qsort(o->blocks, o->count, sizeof *o->blocks, lower_first);
	free(all);
	return 0;
}

static int file_open(struct wt_skip_offer *o)
{
	int fd = open(o->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int code = 0;

	if (fd < 0) {
		code = errno;
		o->path[0] = '\0';
		return -code;
	}
	/* Not sparse: a full file system is found out here, not by SIGBUS. */
	code = posix_fallocate(fd, 0, sizeof *o->page);
	if (!code) {
		void *page = mmap(NULL, sizeof *o->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		code = page == MAP_FAILED ? errno : 0;
		o->page = code ? NULL : page;
	}
	close(fd);
	return -code;
}

static void fill(struct wt_skip_offer *o)
{
	struct skip_page *page = o->page;

	page->version = SKIP_VERSION;
	page->range_count = o->count;
	for (unsigned i = 0; i < o->count; i++)
		page->ranges[i] = (struct skip_range){ o->blocks[i].address, o->blocks[i].length };
	for (unsigned i = 0; i < SKIP_CHANNELS_MAX; i++)
		atomic_store(&page->channels[i].granted, SKIP_AHEAD_BYTES);
	atomic_thread_fence(memory_order_release);
	memcpy(page->magic, skip_magic, sizeof skip_magic);
}

int wt_skip_offer_open(const char *path, const struct wt_skip_block *blocks, unsigned count,
	struct wt_skip_offer **ret_offer, struct wt_error *err)
{
	struct wt_skip_offer *o = calloc(1, sizeof *o);
	int r = o ? choose(o, blocks, count) : -ENOMEM;

	if (!r) {
		snprintf(o->path, sizeof o->path, "%s%s", path, SKIP_SUFFIX);
		r = file_open(o);
	}
	if (r) {
		wt_skip_offer_close(o);
		return wt_error_set(
			err, -r, "no file %s%s to share with QEMU: %s", path, SKIP_SUFFIX, strerror(-r));
	}
	fill(o);
	*ret_offer = o;
	return 0;
}

void wt_skip_offer_close(struct wt_skip_offer *o)
{
	if (!o)
		return;
	if (o->page)
		munmap(o->page, sizeof *o->page);
	if (o->path[0])
		unlink(o->path);
	free(o);
}

bool wt_skip_offer_has(const struct wt_skip_offer *o, const uint8_t *base)
{
	for (unsigned i = 0; o && base && i < o->count; i++)
		if (o->blocks[i].base == base)
			return true;
	return false;
}

int wt_skip_offer_hello(
	struct wt_skip_offer *o, const struct skip_hello *hello, unsigned *ret_channel, struct wt_error *err)
{
	if (memcmp(hello->magic, skip_magic, sizeof skip_magic) != 0 || hello->version != SKIP_VERSION)
		return wt_error_set(err, EPROTO,
			"QEMU's libwatari-feed.so has version %" PRIu32
			", %u is understood; start QEMU with that of this watari, or say --no-feed",
			hello->version, SKIP_VERSION);
	if (!o)
		return wt_error_set(
			err, EPROTO, "QEMU's libwatari-feed.so leaves out guest RAM that nobody has offered");
	if (hello->channel >= SKIP_CHANNELS_MAX || o->come[hello->channel])
		return wt_error_set(err, EPROTO,
			"QEMU's libwatari-feed.so says hello as channel %" PRIu32 ", %s", hello->channel,
			hello->channel >= SKIP_CHANNELS_MAX ? "which there is not" : "a second time");
	o->come[hello->channel] = true;
	*ret_channel = hello->channel;
	return 0;
}

static void grant(struct wt_skip_offer *o, unsigned channel, uint64_t bytes)
{
	struct skip_channel *c = &o->page->channels[channel];

	atomic_store(&c->granted, bytes);
	if (!atomic_exchange(&c->waiting, 0))
		return;
	atomic_fetch_add(&c->bell, 1);
	syscall(SYS_futex, &c->bell, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void wt_skip_offer_taken(struct wt_skip_offer *o, unsigned channel, uint64_t bytes)
{
	grant(o, channel, bytes + SKIP_AHEAD_BYTES);
}

void wt_skip_offer_ended(struct wt_skip_offer *o, unsigned channel)
{
	grant(o, channel, UINT64_MAX);
}

uint64_t wt_skip_offer_skipped(const struct wt_skip_offer *o, unsigned channel)
{
	return atomic_load(&o->page->channels[channel].skipped);
}

bool wt_skip_offer_sample(const struct wt_skip_offer *o, const uint8_t **ret_base, uint64_t *ret_page,
	const uint8_t **ret_bytes)
{
	uint64_t address;

	if (atomic_load(&o->page->sample_state) != SKIP_SAMPLE_FULL)
		return false;
	address = *(volatile uint64_t *)&o->page->sample_address;
	for (unsigned i = 0; i < o->count; i++) {
		const struct wt_skip_block *block = &o->blocks[i];

		if (address < block->address || address - block->address >= block->length)
			continue;
		*ret_base = block->base;
		*ret_page = (address - block->address) >> WT_PAGE_SHIFT;
		*ret_bytes = o->page->sample;
		return true;
	}
	return false;
}

void wt_skip_offer_sample_next(struct wt_skip_offer *o)
{
	atomic_store(&o->page->sample_state, SKIP_SAMPLE_EMPTY);
}

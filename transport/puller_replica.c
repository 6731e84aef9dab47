/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * puller_replica.c - an old copy of the memory: which of its pages are what the server has announced. See
 * puller.h; server_digest.c says why an equal digest is as good as a read. Where the copy lies on another
 * host, puller_replica_remote.c brings its pages.
 *
 *   1. What is copied into a page are the bytes that were digested, under a key that only the server and this
 * puller have: the old copy comes into a buffer, that is digested, and from it the page is filled. So the old
 * copy may be damaged, or change, or be anybody's.
 *   2. It is filled as work of the plan is done, which sees to it that one transfer at most writes a page.
 *   3. Comparisons begin in the order in which digests come. A buffer is held until all that is equal in it
 * was copied: the plan may let it wait, but only for older announcements, which have had their buffers
 * before.
 *   4. Each announcement is compared once, and the server cannot make it twice.
 *
 * Where the old copy is the memory itself, it is digested in place, as long as nothing else writes there
 * (wt_plan_alone); what is equal then needs no copying. Otherwise it goes by a buffer, like any other.
 * Pages that land before the server's first digests (a warm-up) are digested ahead of them, while there is
 * time (ahead.h): then a comparison is one of 16 bytes a page.
 *
 * An old copy that cannot be read is given up: it is equal nowhere. The loop's thread, but for bring_pages
 * and map_pages.
 */
#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>

#include "puller_replica.h"

_Static_assert(WT_PLAN_DIGESTED_PAGES <= WT_DIGEST_RUN_PAGES && SLOTS <= WT_DIGEST_RUNS_MAX, "pool");

/* A worker's. */
static int bring_pages(void *arg, const struct wt_digest_run *run)
{
	const struct puller_replica *r = arg;

	return r->source.read(r->source.arg, run->block, run->page, run->pages, run->bytes);
}

/* A worker's. The pages are in place; what is missing among them shall be an error, and no signal. */
static int map_pages(void *arg, const struct wt_digest_run *run)
{
	const struct puller_replica *r = arg;
	struct wt_error err = { 0 };

	return wt_sink_map(wt_mover_block(r->puller->mover, run->block), run->page << WT_PAGE_SHIFT,
		(uint64_t)run->pages << WT_PAGE_SHIFT, &err);
}

static struct wt_plan *plan_of(struct puller_replica *r)
{
	return wt_mover_plan(r->puller->mover);
}

static void slot_free(struct slot *slot)
{
	free(slot->of);
	slot->of = NULL;
	slot->state = SLOT_FREE;
}

static struct slot *free_slot(struct puller_replica *r)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (!r->slots[i].of)
			return &r->slots[i];
	return NULL;
}

uint8_t *wt_compare_bytes(struct puller_replica *r, const struct slot *slot)
{
	if (slot->in_place)
		return wt_mover_block(r->puller->mover, slot->of->extent.block)->base +
		       (slot->of->extent.page << WT_PAGE_SHIFT);
	return r->bytes + (size_t)(slot - r->slots) * SLOT_BYTES;
}

static struct comparison *pop(struct puller_replica *r)
{
	struct comparison *c = r->first;

	r->first = c->next;
	if (!r->first)
		r->last = &r->first;
	return c;
}

void wt_compare_judge(struct puller_replica *r, struct slot *slot)
{
	const struct wt_extent *extent = &slot->of->extent;
	uint32_t from = 0, to = extent->pages;
	struct wt_digest_run run;
	int e;

	while (!wt_slot_bit(slot->alike, from))
		from++;
	while (!wt_slot_bit(slot->alike, to - 1))
		to--;
	run = (struct wt_digest_run){ .block = extent->block,
		.page = extent->page + from,
		.pages = to - from,
		.bytes = wt_compare_bytes(r, slot) + ((size_t)from << WT_PAGE_SHIFT),
		.fill = slot->in_place   ? map_pages
			: r->source.read ? bring_pages
					 : NULL,
		.fill_arg = r,
		.digests = slot->ours + (size_t)from * WT_DIGEST_BYTES,
		.tag = (uint64_t)(slot - r->slots) };
	e = wt_digest_pool_submit(r->pool, &run);
	assert(!e); /* it has room for every slot */
	(void)e;
	slot->state = SLOT_JUDGED;
}

/* What has landed, until digests of the server come: from then on they are for those. */
static void look_ahead(struct puller_replica *r)
{
	struct wt_digest_run run = { .fill = map_pages, .fill_arg = r };
	struct wt_extent e;
	unsigned number;

	while (r->ahead && !r->told_seq && !r->lost && wt_ahead_next(r->ahead, &number, &e, &run.digests)) {
		run.block = e.block;
		run.page = e.page;
		run.pages = e.pages;
		run.bytes = wt_mover_block(r->puller->mover, e.block)->base + (e.page << WT_PAGE_SHIFT);
		run.tag = SLOTS + number;
		if (wt_digest_pool_submit(r->pool, &run))
			wt_ahead_done(r->ahead, number, false);
	}
}

void wt_puller_look_ahead(struct wt_puller *p)
{
	if (p->replica)
		look_ahead(p->replica);
}

static void compare(struct puller_replica *r, struct slot *slot, int status);

/* Answers whether the digests of these pages are here already, and were compared. */
static bool compare_ahead(struct puller_replica *r, struct slot *slot)
{
	const uint8_t *ours = r->ahead ? wt_ahead_digests(r->ahead, &slot->of->extent) : NULL;

	if (!ours)
		return false;
	memcpy(slot->ours, ours, (size_t)slot->of->extent.pages * WT_DIGEST_BYTES);
	r->puller->ahead_used += slot->of->extent.pages;
	compare(r, slot, 0);
	return true;
}

/* Begins comparing; -EAGAIN: later. */
static int begin(struct puller_replica *r, struct slot *slot)
{
	slot->left = slot->reads = 0;
	if (!r->source.read && wt_compare_ask(r, slot, r->first))
		return -EAGAIN;
	slot->of = pop(r);
	slot->in_place = r->source.in_place && wt_plan_alone(plan_of(r), slot->of->seq);
	if (r->source.read) {
		memset(slot->alike, 0xff, sizeof slot->alike);
		if (!slot->in_place || !compare_ahead(r, slot))
			wt_compare_judge(r, slot);
	}
	return 0;
}

void wt_compare_more(struct puller_replica *r)
{
	while (r->first) {
		struct slot *slot;

		if (r->lost) {
			struct comparison *c = pop(r);

			wt_plan_digested(plan_of(r), c->seq, NULL);
			free(c);
			continue;
		}
		slot = free_slot(r);
		if (!slot || begin(r, slot))
			return;
	}
}

void wt_compare_give_up(struct puller_replica *r, int code, const char *text)
{
	struct wt_puller *p = r->puller;
	struct wt_error err = { 0 };

	if (r->lost)
		return;
	r->lost = true;
	wt_error_set(&err, code, "%s; all is pulled from now on", text);
	if (!r->source.read)
		wt_compare_remote_stop(r, &err);
	wt_compare_more(r);
	if (p->events->replica_lost && !p->failed)
		p->events->replica_lost(p->arg, &err);
}

void wt_compare_unequal(struct puller_replica *r, struct slot *slot)
{
	wt_plan_digested(plan_of(r), slot->of->seq, NULL);
	slot_free(slot);
}

/* Bytes of a replica that had the right digest under the key that it knows. */
static void blame(struct puller_replica *r, const struct comparison *c, uint32_t page)
{
	char text[sizeof r->label + sizeof r->puller->list[0].name + 200];

	snprintf(text, sizeof text,
		"the replica %s gave other bytes of page %llu of block %s than it has digested: its memory or "
		"disk is broken, or it lies; do not use it again before it was looked at",
		r->label, (unsigned long long)c->extent.page + page, r->puller->list[c->extent.block].name);
	wt_compare_give_up(r, EBADMSG, text);
}

/* Tells the plan which pages of a slot are equal. */
static void compare(struct puller_replica *r, struct slot *slot, int status)
{
	const struct comparison *c = slot->of;
	uint64_t equal[WT_PLAN_DIGESTED_WORDS] = { 0 };
	uint32_t wrong = UINT32_MAX;

	slot->state = SLOT_COPIED;
	for (uint32_t i = 0; !status && i < c->extent.pages; i++) {
		if (!wt_slot_bit(slot->alike, i))
			continue;
		if (!memcmp(slot->ours + (size_t)i * WT_DIGEST_BYTES,
			    c->theirs + (size_t)i * r->keys * WT_DIGEST_BYTES, WT_DIGEST_BYTES)) {
			equal[i / 64] |= 1ull << (i % 64);
			slot->left++;
		} else if (wrong == UINT32_MAX) {
			wrong = i;
		}
	}
	if (!r->source.read && wrong != UINT32_MAX)
		blame(r, c, wrong);
	if (wt_plan_digested(plan_of(r), c->seq, slot->left ? equal : NULL))
		slot->left = 0;
	if (!slot->left)
		slot_free(slot);
}

static void compared(void *arg, uint32_t events)
{
	struct puller_replica *r = arg;
	struct wt_digest_run run;
	char text[200];
	int status;

	while (wt_digest_pool_next(r->pool, &run, &status)) {
		if (run.tag >= SLOTS) {
			wt_ahead_done(r->ahead, (unsigned)run.tag - SLOTS, !status);
			r->puller->ahead_pages += status ? 0 : run.pages;
			continue;
		}
		if (status && status != -ENOENT) {
			snprintf(text, sizeof text, "the replica cannot be read any more: %s",
				strerror(-status));
			wt_compare_give_up(r, -status, text);
		}
		compare(r, &r->slots[run.tag], status);
	}
	wt_compare_more(r);
	look_ahead(r);
}

static int copy(
	void *arg, const struct wt_work *work, const struct wt_sink_block *block, struct wt_error *err)
{
	const uint64_t offset = work->extent.page << WT_PAGE_SHIFT,
		       length = (uint64_t)work->extent.pages << WT_PAGE_SHIFT;
	struct puller_replica *r = arg;

	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *slot = &r->slots[i];

		if (!slot->of || slot->of->seq != work->seq)
			continue;
		if (!slot->in_place) {
			if (wt_sink_populate(block, offset, length, err))
				return -err->code;
			if (r->ahead)
				wt_ahead_written(r->ahead, &work->extent);
			memcpy(block->base + offset,
				wt_compare_bytes(r, slot) + offset - (slot->of->extent.page << WT_PAGE_SHIFT),
				length);
		}
		slot->left -= work->extent.pages;
		if (!slot->left) {
			slot_free(slot);
			wt_compare_more(r);
		}
		return 0;
	}
	return wt_error_set(err, EINVAL, "a page was to be copied that is not here");
}

bool wt_puller_in_place(const struct wt_puller *p)
{
	return p->replica && p->replica->source.in_place;
}

/* One announcement's digests; answers its pages, or -errno. */
static int take_one(struct puller_replica *r, uint64_t seq, const uint8_t *digests, unsigned pages)
{
	struct wt_extent extent;
	struct comparison *c;
	size_t bytes;

	if (seq >= wt_plan_next_seq(plan_of(r)))
		return -EPROTO;
	r->told_seq = seq;
	if (!wt_plan_awaits(plan_of(r), seq, &extent))
		return 0;
	if (extent.pages > pages)
		return -EPROTO;
	bytes = (size_t)extent.pages * r->keys * WT_DIGEST_BYTES;
	c = malloc(sizeof *c + bytes);
	if (!c)
		return -ENOMEM;
	*c = (struct comparison){ .seq = seq, .extent = extent };
	memcpy(c->theirs, digests, bytes);
	*r->last = c;
	r->last = &c->next;
	return (int)extent.pages;
}

int wt_puller_digests(struct wt_puller *p, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct puller_replica *r = p->replica;
	struct wt_wire_digests message;
	const uint8_t *digests;
	unsigned pages;
	uint64_t seq;
	int n = 0;

	if (!r || wt_wire_digests_decode(payload, length, &message) || message.keys != r->keys ||
		message.first_seq <= r->told_seq)
		return wt_error_set(err, EPROTO,
			"the server's message of digests is malformed, or comes at the wrong time");
	p->digested_pages += pages = message.pages;
	digests = message.digests;
	for (seq = message.first_seq; pages; seq++) {
		n = take_one(r, seq, digests, pages);
		if (n < 0)
			return wt_error_set(
				err, -n, "the server's digests are not those of what it announced");
		digests += (size_t)n * r->keys * WT_DIGEST_BYTES;
		pages -= (unsigned)n;
	}
	wt_compare_more(r);
	return 0;
}

void wt_puller_replica_end(struct wt_puller *p)
{
	struct puller_replica *r = p->replica;

	if (!r)
		return;
	wt_loop_timer_clear(p->loop, &r->watch);
	wt_reader_close(r->reader);
	if (r->pool)
		wt_loop_fd_clear(p->loop, wt_digest_pool_fd(r->pool));
	wt_digest_pool_close(r->pool);
	wt_mover_ahead(p->mover, NULL);
	wt_ahead_close(r->ahead);
	while (r->first)
		free(pop(r));
	for (unsigned i = 0; i < SLOTS; i++)
		slot_free(&r->slots[i]);
	free(r->bytes);
	free(r);
	p->replica = NULL;
}

/* Buffers, and a pool that judges. */
static int open_parts(struct puller_replica *r, const struct wt_wire_digest_keys *keys, struct wt_error *err)
{
	int e;

	r->bytes = aligned_alloc(WT_PAGE_SIZE, SLOTS * SLOT_BYTES);
	if (!r->bytes)
		return wt_error_set(err, ENOMEM, "no memory to compare with a replica");
	e = wt_digest_pool_open(keys->key[0], 1, 0, &r->pool, err);
	if (!e && wt_loop_fd_set(r->puller->loop, wt_digest_pool_fd(r->pool), EPOLLIN, compared, r))
		e = wt_error_set(err, ENOMEM, "no memory to compare with a replica");
	return e;
}

int wt_compare_open(
	struct wt_puller *p, unsigned keys, struct wt_wire_digest_keys *ret_keys, struct wt_error *err)
{
	ssize_t length = (ssize_t)(keys * sizeof ret_keys->key[0]);
	struct puller_replica *r;
	int e;

	if (!p->started || p->servers[0].ready || p->replica)
		return wt_error_set(err, EINVAL, "a replica comes when the blocks are known, and once");
	ret_keys->count = keys;
	if (getrandom(ret_keys->key, (size_t)length, 0) != length)
		return wt_error_set(err, EIO, "no random numbers from the kernel");
	r = p->replica = calloc(1, sizeof *r);
	if (!r)
		return wt_error_set(err, ENOMEM, "no memory to compare with a replica");
	r->puller = p;
	r->keys = keys;
	r->last = &r->first;
	e = open_parts(r, ret_keys, err);
	if (e)
		wt_puller_replica_end(p);
	return e;
}

void wt_compare_begin(struct puller_replica *r, struct wt_wire_digest_keys *keys)
{
	struct wt_puller *p = r->puller;

	wt_mover_copies(p->mover, copy, r);
	wt_link_must_send(&p->servers[0].link, WT_MESSAGE_DIGEST_KEY, p->payload,
		wt_wire_digest_keys_encode(keys, p->payload));
	OPENSSL_cleanse(keys, sizeof *keys);
	OPENSSL_cleanse(p->payload, sizeof *keys);
}

/* Without memory for it, nothing is digested ahead. */
static void open_ahead(struct puller_replica *r)
{
	struct wt_puller *p = r->puller;
	uint64_t *pages = calloc(p->blocks + 1, sizeof *pages);

	for (unsigned i = 0; pages && i < p->blocks; i++)
		pages[i] = p->list[i].length >> WT_PAGE_SHIFT;
	if (pages && !wt_ahead_open(p->blocks, pages, &r->ahead))
		wt_mover_ahead(p->mover, r->ahead);
	free(pages);
}

int wt_puller_replica(struct wt_puller *p, const struct wt_puller_replica *source, struct wt_error *err)
{
	struct wt_wire_digest_keys keys = { 0 };
	int e = wt_compare_open(p, 1, &keys, err);

	if (e)
		return e;
	p->replica->source = *source;
	if (source->in_place)
		open_ahead(p->replica);
	wt_compare_begin(p->replica, &keys);
	return 0;
}

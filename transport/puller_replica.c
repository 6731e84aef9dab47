/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * puller_replica.c - an old copy of the memory: which of its pages are what the server has announced. See
 * puller.h; server_digest.c says why an equal digest is as good as a read.
 *
 *   1. What is copied into a page are the bytes that were digested: a worker reads the old copy into a
 * buffer, digests that, and from it the page is filled. So the old copy may be damaged, or change, or be
 * anybody's.
 *   2. It is filled as work of the plan is done, which sees to it that one transfer at most writes a page.
 *   3. Digests are compared in the order in which they come. A buffer is held until all that is equal in it
 * was copied: the plan may let it wait, but only for older announcements, which have had their buffers
 * before.
 *   4. Each announcement is compared once, and the server cannot make it twice.
 *
 * An old copy that cannot be read is given up: it is equal nowhere. The loop's thread, but for bring_pages.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>

#include "digest_pool.h"
#include "puller_internal.h"

#define SLOTS 32u
#define SLOT_BYTES ((size_t)WT_PLAN_DIGESTED_PAGES << WT_PAGE_SHIFT)

_Static_assert(WT_PLAN_DIGESTED_PAGES <= WT_DIGEST_RUN_PAGES && SLOTS <= WT_DIGEST_RUNS_MAX, "pool");

/* The digests of one announcement, and then the place in which it is compared. */
struct comparison {
	struct comparison *next;
	uint64_t seq;
	struct wt_extent extent;
	uint8_t theirs[];
};

struct slot {
	struct comparison *of; /* NULL: free */
	uint32_t left;         /* equal pages that were not copied yet */
	uint8_t ours[WT_PLAN_DIGESTED_PAGES * WT_DIGEST_BYTES];
};

struct puller_replica {
	struct wt_puller *puller;
	struct wt_puller_replica source;
	struct wt_digest_pool *pool;
	bool lost;                        /* it cannot be read */
	uint64_t told_seq;                /* digests have come up to this announcement */
	struct comparison *first, **last; /* that wait for a slot */
	struct slot slots[SLOTS];
	uint8_t *bytes; /* SLOT_BYTES for each of them */
};

/* A worker's. */
static int bring_pages(void *arg, const struct wt_digest_run *run)
{
	const struct puller_replica *r = arg;

	return r->source.read(r->source.arg, run->block, run->page, run->pages, run->bytes);
}

static struct wt_plan *plan_of(struct puller_replica *r)
{
	return wt_mover_plan(r->puller->mover);
}

static void slot_free(struct slot *slot)
{
	free(slot->of);
	slot->of = NULL;
}

static struct slot *free_slot(struct puller_replica *r)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (!r->slots[i].of)
			return &r->slots[i];
	return NULL;
}

static uint8_t *bytes_of(struct puller_replica *r, const struct slot *slot)
{
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

/* Begins comparing, as far as there are slots. */
static void begin(struct puller_replica *r)
{
	while (r->first) {
		struct slot *slot = r->lost ? NULL : free_slot(r);
		const struct wt_extent *extent = &r->first->extent;
		struct wt_digest_run run;

		if (r->lost) {
			struct comparison *c = pop(r);

			wt_plan_digested(plan_of(r), c->seq, NULL);
			free(c);
			continue;
		}
		if (!slot)
			return;
		run = (struct wt_digest_run){ .block = extent->block,
			.page = extent->page,
			.pages = extent->pages,
			.bytes = bytes_of(r, slot),
			.fill = bring_pages,
			.fill_arg = r,
			.digests = slot->ours,
			.tag = (uint64_t)(slot - r->slots) };
		if (wt_digest_pool_submit(r->pool, &run))
			return;
		slot->of = pop(r);
	}
}

static void give_up(struct puller_replica *r, int status)
{
	struct wt_puller *p = r->puller;
	struct wt_error err = { 0 };

	if (r->lost)
		return;
	r->lost = true;
	wt_error_set(&err, -status, "the replica cannot be read any more: %s; all is pulled from now on",
		strerror(-status));
	if (p->events->replica_lost)
		p->events->replica_lost(p->arg, &err);
}

/* Tells the plan which pages of a slot are equal. */
static void compare(struct puller_replica *r, struct slot *slot, int status)
{
	const struct comparison *c = slot->of;
	uint64_t equal[WT_PLAN_DIGESTED_WORDS] = { 0 };

	slot->left = 0;
	for (uint32_t i = 0; !status && i < c->extent.pages; i++)
		if (!memcmp(slot->ours + i * WT_DIGEST_BYTES, c->theirs + i * WT_DIGEST_BYTES,
			    WT_DIGEST_BYTES)) {
			equal[i / 64] |= 1ull << (i % 64);
			slot->left++;
		}
	if (wt_plan_digested(plan_of(r), c->seq, slot->left ? equal : NULL))
		slot->left = 0;
	if (!slot->left)
		slot_free(slot);
}

static void compared(void *arg, uint32_t events)
{
	struct puller_replica *r = arg;
	struct wt_digest_run run;
	int status;

	while (wt_digest_pool_next(r->pool, &run, &status)) {
		if (status && status != -ENOENT)
			give_up(r, status);
		compare(r, &r->slots[run.tag], status);
	}
	begin(r);
}

static int copy(void *arg, const struct wt_work *work, uint8_t *to, struct wt_error *err)
{
	struct puller_replica *r = arg;

	for (unsigned i = 0; i < SLOTS; i++) {
		struct slot *slot = &r->slots[i];

		if (!slot->of || slot->of->seq != work->seq)
			continue;
		memcpy(to, bytes_of(r, slot) + ((work->extent.page - slot->of->extent.page) << WT_PAGE_SHIFT),
			(size_t)work->extent.pages << WT_PAGE_SHIFT);
		slot->left -= work->extent.pages;
		if (!slot->left) {
			slot_free(slot);
			begin(r);
		}
		return 0;
	}
	return wt_error_set(err, EINVAL, "a page was to be copied that is not here");
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
	bytes = (size_t)extent.pages * WT_DIGEST_BYTES;
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

	if (!r || wt_wire_digests_decode(payload, length, &message) || message.keys != 1 ||
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
		digests += (size_t)n * WT_DIGEST_BYTES;
		pages -= (unsigned)n;
	}
	begin(r);
	return 0;
}

void wt_puller_replica_end(struct wt_puller *p)
{
	struct puller_replica *r = p->replica;

	if (!r)
		return;
	if (r->pool)
		wt_loop_fd_clear(p->loop, wt_digest_pool_fd(r->pool));
	wt_digest_pool_close(r->pool);
	while (r->first)
		free(pop(r));
	for (unsigned i = 0; i < SLOTS; i++)
		slot_free(&r->slots[i]);
	free(r->bytes);
	free(r);
	p->replica = NULL;
}

int wt_puller_replica(struct wt_puller *p, const struct wt_puller_replica *source, struct wt_error *err)
{
	struct wt_wire_digest_keys keys = { .count = 1 };
	struct puller_replica *r;
	int e;

	if (!p->started || p->servers[0].ready || p->replica)
		return wt_error_set(err, EINVAL, "a replica comes when the blocks are known, and once");
	r = p->replica = calloc(1, sizeof *r);
	if (!r)
		return wt_error_set(err, ENOMEM, "no memory to compare with a replica");
	r->puller = p;
	r->source = *source;
	r->last = &r->first;
	r->bytes = malloc(SLOTS * SLOT_BYTES);
	if (!r->bytes)
		e = wt_error_set(err, ENOMEM, "no memory to compare with a replica");
	else
		e = getrandom(keys.key[0], WT_DIGEST_KEY_BYTES, 0) == WT_DIGEST_KEY_BYTES
			    ? wt_digest_pool_open(keys.key[0], 1, 0, &r->pool, err)
			    : wt_error_set(err, EIO, "no random numbers from the kernel");
	if (!e) {
		e = wt_loop_fd_set(p->loop, wt_digest_pool_fd(r->pool), EPOLLIN, compared, r);
		if (e)
			wt_error_set(err, -e, "no memory to compare with a replica");
	}
	if (e) {
		wt_puller_replica_end(p);
	} else {
		wt_mover_copies(p->mover, copy, r);
		wt_link_must_send(&p->servers[0].link, WT_MESSAGE_DIGEST_KEY, p->payload,
			wt_wire_digest_keys_encode(&keys, p->payload));
	}
	OPENSSL_cleanse(&keys, sizeof keys);
	OPENSSL_cleanse(p->payload, sizeof keys);
	return e;
}

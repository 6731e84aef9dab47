/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server_digest.c - digests of what is announced, for a puller that may have it already. See server.h;
 * docs/PROTOCOL.md has the messages.
 *
 *   1. A page is digested only after it was announced, and its digest leaves behind its announcement.
 *   2. Digests leave in the order of the numbers. sent <= ready <= submitted <= sent + RUNS; run n lies in
 * slot n % RUNS, those of [ready, submitted) belong to the pool.
 *   3. What is being digested is pending, so the bound on what is pending, by which QEMU judges the link,
 * counts it. Nothing else waits for digests.
 *   4. Only what is announced for the first time is digested: what is announced again was written since, so
 *      that an old copy of it is worth little, and its digest would take time when time matters.
 *
 * Why an equal digest is as good as a read. Let a page be announced at A, digested at D > A, and the puller's
 * copy have the same digest. If the page did not change between A and the end of D, the copy is what was
 * announced. If it did, QEMU announces it again, because its dirty bit was cleared before A; the copy then is
 * content of that time, or a mixture of such contents, which is what a read might have brought, too; and the
 * later announcement supersedes it, in the puller's order of announcements of one page. After the guest has
 * stopped the last announcement of each page speaks of memory that does not change.
 *
 * With two keys (the puller's old copy is a replica's) both digests of a page are of the same bytes, also
 * while the guest writes it: a digest under the one key that is equal, and one under the other that is not,
 * mean that the replica is wrong.
 *
 * Memory that may be discarded is read through its file, into buffers: reading its holes in the mapping would
 * fill them.
 *
 * The loop's thread; the pool's threads read the memory.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "digest_pool.h"
#include "server_internal.h"

#define RUNS WT_DIGEST_RUNS_MAX
#define RUN_BYTES (WT_DIGEST_RUN_PAGES * WT_DIGEST_KEYS_MAX * WT_DIGEST_BYTES)
#define READ_BYTES ((size_t)WT_DIGEST_RUN_PAGES << WT_PAGE_SHIFT)

_Static_assert(RUNS *WT_DIGEST_RUN_PAGES <= WT_WIRE_DIGESTS_MAX, "all runs fit into one message");
_Static_assert(WT_DIGEST_KEYS_MAX == WT_WIRE_KEYS_MAX, "keys");

struct wt_server_digests {
	struct wt_digest_pool *pool;
	size_t page_bytes; /* of digests */
	uint64_t look_at;  /* the announcement that is looked at next */
	uint64_t submitted, ready, sent;
	struct {
		uint64_t seq;
		uint32_t pages;
		uint8_t digests[RUN_BYTES];
	} runs[RUNS];
	uint8_t gathered[RUNS * RUN_BYTES];
	uint8_t *bytes; /* of memory that may be discarded, READ_BYTES for each run; NULL: it may not */
};

int wt_server_read_run(void *arg, const struct wt_digest_run *run)
{
	const struct wt_served_block *block = arg;
	uint64_t offset = run->page << WT_PAGE_SHIFT, length = (uint64_t)run->pages << WT_PAGE_SHIFT,
		 done = 0;
	ssize_t n;

	for (; done < length; done += (uint64_t)n) {
		n = pread(block->fd, (uint8_t *)run->bytes + done, length - done,
			(off_t)(block->fd_offset + offset + done));
		if (n < 0 && errno == EINTR)
			n = 0;
		else if (n <= 0)
			return n ? -errno : -ENODATA;
	}
	return 0;
}

/* Where a run's pages are, or will be. */
static void place(struct wt_server *s, struct wt_digest_run *run, uint64_t slot)
{
	const struct wt_served_block *block = wt_memory_block(s->memory, run->block);

	if (s->digests->bytes && block->fd >= 0) {
		run->bytes = s->digests->bytes + slot * READ_BYTES;
		run->fill = wt_server_read_run;
		run->fill_arg = (void *)block;
	} else {
		run->bytes = block->base + (run->page << WT_PAGE_SHIFT);
	}
}

/* Takes on what was announced, as far as there is room. */
static void submit(struct wt_server *s)
{
	struct wt_server_digests *d = s->digests;
	struct wt_announcement what;

	if (d->look_at < wt_announce_oldest(s->log))
		d->look_at = wt_announce_oldest(s->log);
	while (d->submitted - d->sent < RUNS && d->look_at < wt_announce_next_seq(s->log)) {
		uint64_t seq = d->look_at++, slot = d->submitted % RUNS;
		struct wt_digest_run run;

		if (!wt_announce_entry(s->log, seq, &what) || what.content != WT_CONTENT_IN_PLACE_DIGESTED)
			continue;
		d->runs[slot].seq = seq;
		d->runs[slot].pages = what.extent.pages;
		run = (struct wt_digest_run){ .block = what.extent.block,
			.page = what.extent.page,
			.pages = what.extent.pages,
			.digests = d->runs[slot].digests };
		place(s, &run, slot);
		if (wt_digest_pool_submit(d->pool, &run)) {
			d->look_at = seq; /* the pool has no room; it will */
			return;
		}
		d->submitted++;
	}
}

/* What is ready leaves as one message; it stays if the session is full. */
static void send_ready(struct wt_server *s)
{
	struct wt_server_digests *d = s->digests;
	struct wt_wire_digests message = { .digests = d->gathered,
		.keys = (unsigned)(d->page_bytes / WT_DIGEST_BYTES) };
	uint64_t next = d->sent;
	unsigned pages = 0;

	if (d->sent == d->ready || wt_server_batch_flush(s))
		return;
	for (; next < d->ready; next++) {
		memcpy(d->gathered + pages * d->page_bytes, d->runs[next % RUNS].digests,
			d->runs[next % RUNS].pages * d->page_bytes);
		pages += d->runs[next % RUNS].pages;
	}
	message.first_seq = d->runs[d->sent % RUNS].seq;
	message.pages = pages;
	if (wt_link_send(
		    &s->link, WT_MESSAGE_DIGESTS, s->payload, wt_wire_digests_encode(&message, s->payload)))
		return;
	s->digested_pages += pages;
	d->sent = next;
}

static void digested(void *arg, uint32_t events)
{
	struct wt_server *s = arg;
	struct wt_server_digests *d = s->digests;
	struct wt_digest_run run;
	int status;

	while (wt_digest_pool_next(d->pool, &run, &status)) {
		if (status) /* the digest of nothing: the page will be read */
			memset(run.digests, 0xff, run.pages * d->page_bytes);
		d->ready++;
	}
	wt_server_digest_more(s);
}

void wt_server_digest_more(struct wt_server *s)
{
	if (!s->digests || s->link.failed)
		return;
	send_ready(s);
	submit(s);
}

void wt_server_digest_stop(struct wt_server *s)
{
	if (!s->digests)
		return;
	wt_loop_fd_clear(s->loop, wt_digest_pool_fd(s->digests->pool));
	wt_digest_pool_close(s->digests->pool);
	free(s->digests->bytes);
	free(s->digests);
	s->digests = NULL;
}

/* The puller has an old copy. What is missing here is told, and all is announced as ever. */
static int start(struct wt_server *s, const struct wt_wire_digest_keys *keys, struct wt_error *err)
{
	struct wt_server_digests *d = calloc(1, sizeof *d);
	int r;

	if (d && s->config.may_discard)
		d->bytes = malloc(RUNS * READ_BYTES);
	if (!d || (s->config.may_discard && !d->bytes)) {
		free(d);
		return wt_error_set(err, ENOMEM, "no memory to digest pages");
	}
	d->page_bytes = keys->count * (size_t)WT_DIGEST_BYTES;
	r = wt_digest_pool_open(keys->key[0], keys->count, 0, &d->pool, err);
	if (!r) {
		r = wt_loop_fd_set(s->loop, wt_digest_pool_fd(d->pool), EPOLLIN, digested, s);
		if (r)
			wt_error_set(err, -r, "no memory to digest pages");
	}
	if (r) {
		wt_digest_pool_close(d->pool);
		free(d->bytes);
		free(d);
		return r;
	}
	s->digests = d;
	return 0;
}

int wt_server_digest_key(struct wt_server *s, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_wire_digest_keys keys;
	struct wt_error why = { 0 };

	if (s->peer_known || s->digests || s->config.passive ||
		wt_wire_digest_keys_decode(payload, length, &keys))
		return wt_error_set(err, EPROTO,
			"the puller's message on digests is malformed, or comes at the wrong time");
	if (start(s, &keys, &why) && s->events->note)
		s->events->note(s->arg, wt_error_text(&why));
	OPENSSL_cleanse(&keys, sizeof keys);
	return 0;
}

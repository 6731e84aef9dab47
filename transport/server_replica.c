/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server_replica.c - a passive server whose memory is an old copy: answers what its pages are worth. See
 * server.h; docs/PROTOCOL.md has the messages.
 *
 *   1. Digests are made when they are asked for, and kept until they are sent: the size of the memory costs
 *      nothing.
 *   2. Answers leave in the order of the asks. answered <= asked <= answered + ASKS; ask n lies in slot n %
 * ASKS. Who asks for more than ASKS at once breaks the protocol.
 *   3. The copy is read through its file where there is one: a file that was cut short is an answer then, and
 *      no signal; and what are holes stays so.
 *
 * The loop's thread; the pool's threads read the memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "server_internal.h"

#define ASKS 32u
#define ASK_BYTES ((size_t)WT_WIRE_ASK_PAGES_MAX << WT_PAGE_SHIFT)

_Static_assert(WT_WIRE_ASK_PAGES_MAX <= WT_DIGEST_RUN_PAGES && ASKS <= WT_DIGEST_RUNS_MAX, "pool");

struct wt_server_answers {
	struct wt_digest_pool *pool;
	uint64_t asked, answered;
	uint8_t digests[ASKS][WT_WIRE_ASK_PAGES_MAX * WT_DIGEST_BYTES];
	uint8_t *bytes; /* ASK_BYTES for each of them */
};

static int no_copy(void *arg, const struct wt_digest_run *run)
{
	return -ENOENT;
}

static void digested(void *arg, uint32_t events)
{
	struct wt_server *s = arg;
	struct wt_server_answers *a = s->answers;
	struct wt_digest_run run;
	int status;

	while (wt_digest_pool_next(a->pool, &run, &status)) {
		struct wt_wire_answer answer = { .tag = run.tag,
			.status = status == -ENOENT ? WT_WIRE_ANSWER_NONE
				  : status          ? WT_WIRE_ANSWER_UNREADABLE
						    : WT_WIRE_ANSWER_DIGESTS,
			.pages = status ? 0 : run.pages,
			.digests = run.digests };

		a->answered++;
		if (!s->link.failed)
			wt_link_must_send(&s->link, WT_MESSAGE_REPLICA_ANSWER, s->payload,
				wt_wire_answer_encode(&answer, s->payload));
	}
}

int wt_server_replica_ask(struct wt_server *s, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_server_answers *a = s->answers;
	const struct wt_served_block *block;
	struct wt_digest_run run;
	struct wt_wire_ask ask;
	size_t slot;

	if (!a || wt_wire_ask_decode(payload, length, &ask) || !wt_memory_contains(s->memory, &ask.extent) ||
		a->asked - a->answered == ASKS)
		return wt_error_set(err, EPROTO,
			"the puller asks for digests that there are not, or for too many at once");
	slot = a->asked % ASKS;
	block = wt_memory_block(s->memory, ask.extent.block);
	run = (struct wt_digest_run){ .block = ask.extent.block,
		.page = ask.extent.page,
		.pages = ask.extent.pages,
		.digests = a->digests[slot],
		.tag = ask.tag };
	if (block->fd >= 0) {
		run.bytes = a->bytes + slot * ASK_BYTES;
		run.fill = wt_server_read_run;
		run.fill_arg = (void *)block;
	} else if (!block->base) {
		run.fill = no_copy;
	} else {
		run.bytes = block->base + (ask.extent.page << WT_PAGE_SHIFT);
	}
	if (wt_digest_pool_submit(a->pool, &run))
		return wt_error_set(err, ENOMEM, "no room to digest pages");
	a->asked++;
	return 0;
}

void wt_server_replica_stop(struct wt_server *s)
{
	struct wt_server_answers *a = s->answers;

	if (!a)
		return;
	if (a->pool)
		wt_loop_fd_clear(s->loop, wt_digest_pool_fd(a->pool));
	wt_digest_pool_close(a->pool);
	free(a->bytes);
	free(a);
	s->answers = NULL;
}

int wt_server_replica_start(struct wt_server *s, struct wt_error *err)
{
	struct wt_server_answers *a = s->answers = calloc(1, sizeof *a);
	int r;

	if (a)
		a->bytes = malloc(ASKS * ASK_BYTES);
	if (!a || !a->bytes) {
		wt_server_replica_stop(s);
		return wt_error_set(err, ENOMEM, "no memory to digest pages");
	}
	r = wt_digest_pool_open(s->config.digest_key, 1, 0, &a->pool, err);
	if (!r && wt_loop_fd_set(s->loop, wt_digest_pool_fd(a->pool), EPOLLIN, digested, s))
		r = wt_error_set(err, ENOMEM, "no memory to digest pages");
	if (r)
		wt_server_replica_stop(s);
	return r;
}

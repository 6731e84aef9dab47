/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * server_base.c - gives a puller what was announced before it came. See server.h.
 *
 *   1. Base is sent in the order zero, need, has, end; nothing is announced before the end.
 *   2. need is what was announced, is not zero, is not announced again (what was pending at the puller
 * before), and is not there already (a puller that came back).
 *
 * It takes several turns of the loop, and as long as the session is full it waits. The loop's thread.
 */
#include <errno.h>
#include <stdlib.h>

#include "server_internal.h"

#define BASE_AGAIN_NS 5000000ull /* when the session was full */
#define BASE_PIECES 32u          /* in one turn of the loop */

struct wt_base_job {
	struct wt_server *server;
	struct wt_timer timer;
	struct wt_wire_base_end end;
	unsigned helpers;
	struct {
		uint8_t number;
		int former;
	} helper[WT_FORMERS_MAX];
	struct wt_bitmap *need;

	unsigned part; /* 0 zero, 1 need, then the helpers, then the end */
	unsigned block;
	uint64_t page;
	uint64_t words[WT_WIRE_WORDS_MAX];
};

static void job_free(struct wt_base_job *job)
{
	if (!job)
		return;
	wt_loop_timer_clear(job->server->loop, &job->timer);
	wt_memory_maps_close(job->server->memory, job->need);
	free(job);
}

static uint64_t source_word(const struct wt_base_job *job, uint64_t at)
{
	const struct wt_memory *memory = job->server->memory;

	if (job->part == 0)
		return wt_memory_announced(memory, job->block)->words[at] &
		       wt_memory_zero(memory, job->block)->words[at];
	if (job->part == 1)
		return job->need[job->block].words[at];
	return wt_memory_valid(memory, job->helper[job->part - 2].former, job->block)->words[at];
}

/* The next piece of this part and block into words; answers how many of its pages are set. */
static uint64_t fill_piece(struct wt_base_job *job, struct wt_wire_base *ret_base)
{
	uint64_t left = wt_memory_pages(job->server->memory, job->block) - job->page, set = 0;
	uint32_t max = job->part ? WT_WIRE_PAGES_MAX : WT_WIRE_ZERO_PAGES_MAX;
	uint32_t pages = left < max ? (uint32_t)left : max;

	for (uint32_t i = 0; i < (pages + 63) / 64; i++) {
		job->words[i] = source_word(job, job->page / 64 + i);
		set += (unsigned)__builtin_popcountll(job->words[i]);
	}
	*ret_base = (struct wt_wire_base){ .kind = job->part == 0   ? WT_WIRE_BASE_ZERO
						   : job->part == 1 ? WT_WIRE_BASE_NEED
								    : WT_WIRE_BASE_HAS,
		.server = job->part > 1 ? job->helper[job->part - 2].number : 0,
		.pages = { .extent = { .block = job->block, .page = job->page, .pages = pages },
			.all = set == pages } };
	return set;
}

static int send_piece(struct wt_base_job *job)
{
	struct wt_server *s = job->server;
	struct wt_wire_base base;
	int r = 0;

	if (fill_piece(job, &base))
		r = wt_link_send(&s->link, WT_MESSAGE_BASE, s->payload,
			wt_wire_base_encode(&base, job->words, s->payload));
	if (!r)
		job->page += base.pages.extent.pages;
	return r;
}

static void base_is_sent(struct wt_server *s)
{
	wt_server_base_stop(s);
	wt_memory_former_remove(s->memory, s->former); /* what it had is its business now */
	s->former = -1;
	if (s->events->base_sent)
		s->events->base_sent(s->arg);
}

/* Sends pieces until the session is full, or for this turn enough. */
static void send_base(void *arg, uint64_t now_ns)
{
	struct wt_base_job *job = arg;
	struct wt_server *s = job->server;
	unsigned pieces = 0;
	int r = 0;

	while (!r && job->part < 2 + job->helpers && pieces < BASE_PIECES) {
		if (job->block == wt_memory_block_count(s->memory)) {
			job->part++;
			job->block = 0;
		} else if (job->page == wt_memory_pages(s->memory, job->block)) {
			job->block++;
			job->page = 0;
		} else {
			r = send_piece(job);
			pieces++;
		}
	}
	if (!r && job->part == 2 + job->helpers) {
		r = wt_link_send(&s->link, WT_MESSAGE_BASE_END, s->payload,
			wt_wire_base_end_encode(&job->end, s->payload));
		if (!r) {
			base_is_sent(s);
			return;
		}
	}
	wt_loop_timer_set(s->loop, &job->timer, r ? now_ns + BASE_AGAIN_NS : now_ns, send_base, job);
}

/* What was announced, is not zero, is not announced again, and not there already. */
static struct wt_bitmap *collect_need(const struct wt_server *s, const struct wt_server *before)
{
	struct wt_bitmap *need = wt_memory_maps_open(s->memory);

	for (unsigned i = 0; need && i < wt_memory_block_count(s->memory); i++) {
		wt_bitmap_and_not(&need[i], wt_memory_announced(s->memory, i), wt_memory_zero(s->memory, i));
		if (s->former >= 0)
			wt_bitmap_and_not(&need[i], &need[i], wt_memory_valid(s->memory, s->former, i));
	}
	for (unsigned i = 0; need && before && i < before->run_count; i++) {
		const struct wt_extent *run = &before->runs[i].extent;

		wt_bitmap_clear(&need[run->block], run->page, run->pages);
	}
	return need;
}

static bool is_serving(const struct wt_server *s)
{
	return s->phase == WT_SERVER_SERVING && wt_rails_serving(s->rails);
}

int wt_server_base(struct wt_server *s, const struct wt_server_base *base, struct wt_error *err)
{
	struct wt_base_job *job;

	if (s->link.failed || s->base || !is_serving(s) || wt_announce_next_seq(s->log) != 1)
		return wt_error_set(err, EINVAL,
			"base is sent once, when the puller is ready and before anything is announced");
	if (base->helpers > WT_FORMERS_MAX || base->policy < WT_BASE_FASTEST ||
		base->policy > WT_BASE_SPARE_SOURCE)
		return wt_error_set(err, EINVAL, "base with too many helpers, or without a policy");
	job = calloc(1, sizeof *job);
	if (!job)
		return wt_error_set(err, ENOMEM, "no memory for a list of pages");
	job->server = s;
	job->end =
		(struct wt_wire_base_end){ .policy = (uint8_t)base->policy, .rate_limit = base->rate_limit };
	for (unsigned i = 0; i < base->helpers; i++) {
		if (base->helper[i].server->former < 0)
			continue; /* it has nothing */
		job->helper[job->helpers].number = (uint8_t)base->helper[i].number;
		job->helper[job->helpers++].former = base->helper[i].server->former;
	}
	job->need = collect_need(s, base->before);
	if (!job->need) {
		job_free(job);
		return wt_error_set(err, ENOMEM, "no memory for a list of pages");
	}
	s->base = job;
	wt_loop_timer_set(s->loop, &job->timer, wt_loop_now_ns(s->loop), send_base, job);
	return 0;
}

void wt_server_base_stop(struct wt_server *s)
{
	job_free(s->base);
	s->base = NULL;
}

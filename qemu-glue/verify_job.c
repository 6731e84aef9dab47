/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * verify_job.c - both guests stopped, all landed, nothing loaded: is RAM equal? See verify.h.
 *
 * Asks for digests of WT_VERIFY_PAGES pages each, a few at a time; a range that differs is asked again page
 * by page, so that the message names the page.
 */
#include <errno.h>
#include <string.h>

#include "verify.h"
#include "verify_job.h"

#define OUTSTANDING 8

static bool next_range(struct wt_verify_job *job, struct wt_relay_digest *ask)
{
	uint64_t left;

	while (job->block < job->block_count &&
		job->page == job->blocks[job->block]->length >> WT_PAGE_SHIFT) {
		job->block++;
		job->page = 0;
	}
	if (job->block == job->block_count)
		return false;
	left = (job->blocks[job->block]->length >> WT_PAGE_SHIFT) - job->page;
	*ask = (struct wt_relay_digest){ .block = job->block,
		.page = job->page,
		.pages = left < WT_VERIFY_PAGES ? (uint32_t)left : WT_VERIFY_PAGES };
	job->page += ask->pages;
	return true;
}

static void ask(struct wt_verify_job *job, const struct wt_relay_digest *digest)
{
	job->outstanding++;
	wt_puller_send(job->puller, WT_RELAY_DIGEST_ASK, digest, sizeof *digest);
}

static void ask_more(struct wt_verify_job *job)
{
	struct wt_relay_digest digest;

	while (job->outstanding < OUTSTANDING && next_range(job, &digest))
		ask(job, &digest);
	if (!job->outstanding && job->running) {
		job->running = false;
		job->events->equal(job->arg);
	}
}

void wt_verify_job_start(struct wt_verify_job *job, struct wt_puller *puller,
	const struct wt_ram_block *const *blocks, unsigned block_count, const struct wt_verify_events *events,
	void *arg)
{
	*job = (struct wt_verify_job){ .puller = puller,
		.blocks = blocks,
		.block_count = block_count,
		.events = events,
		.arg = arg,
		.running = true };
	ask_more(job);
}

static void halve(struct wt_verify_job *job, const struct wt_relay_digest *answer)
{
	struct wt_relay_digest half = {
		.block = answer->block, .page = answer->page, .pages = answer->pages / 2
	};

	ask(job, &half);
	half.page += half.pages;
	half.pages = answer->pages - half.pages;
	ask(job, &half);
}

int wt_verify_job_answer(
	struct wt_verify_job *job, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_relay_digest answer;
	uint8_t here[WT_RELAY_DIGEST_BYTES];
	struct wt_error differ = { 0 };

	if (length != sizeof answer || !job->running || !job->outstanding)
		return wt_error_set(err, EPROTO, "the source sent a digest that nobody asked for");
	memcpy(&answer, payload, sizeof answer);
	if (answer.block >= job->block_count || !answer.pages ||
		wt_verify_digest(job->blocks[answer.block], answer.page, answer.pages, here))
		return wt_error_set(err, EPROTO, "the source sent a digest of no memory");
	job->outstanding--;
	if (memcmp(here, answer.digest, sizeof here) == 0) {
		job->compared_pages += answer.pages;
		ask_more(job);
	} else if (answer.pages > 1) {
		halve(job, &answer);
	} else {
		wt_error_set(&differ, EIO, "RAM differs from the source's: block %s, page %llu",
			job->blocks[answer.block]->name, (unsigned long long)answer.page);
		job->running = false;
		job->events->differs(job->arg, &differ);
	}
	return 0;
}

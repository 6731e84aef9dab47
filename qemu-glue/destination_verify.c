/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination_verify.c - both guests stopped, all landed, nothing loaded: is RAM equal? See verify.h.
 *
 * Asks for digests of WT_VERIFY_PAGES pages each, a few at a time; a range that differs is asked again page
 * by page, so that the message names the page.
 */
#include <errno.h>
#include <string.h>

#include "destination_internal.h"
#include "verify.h"

#define OUTSTANDING 8

static bool next_range(struct wt_destination *d, struct wt_relay_digest *ask)
{
	struct wt_verify_job *job = &d->verify;
	uint64_t left;

	while (job->block < d->block_count && job->page == d->blocks[job->block]->length >> WT_PAGE_SHIFT) {
		job->block++;
		job->page = 0;
	}
	if (job->block == d->block_count)
		return false;
	left = (d->blocks[job->block]->length >> WT_PAGE_SHIFT) - job->page;
	*ask = (struct wt_relay_digest){ .block = job->block,
		.page = job->page,
		.pages = left < WT_VERIFY_PAGES ? (uint32_t)left : WT_VERIFY_PAGES };
	job->page += ask->pages;
	return true;
}

static void ask(struct wt_destination *d, const struct wt_relay_digest *digest)
{
	d->verify.outstanding++;
	wt_puller_send(d->puller, WT_RELAY_DIGEST_ASK, digest, sizeof *digest);
}

static void ask_more(struct wt_destination *d)
{
	struct wt_relay_digest digest;

	while (d->verify.outstanding < OUTSTANDING && next_range(d, &digest))
		ask(d, &digest);
	if (!d->verify.outstanding && d->verify.running) {
		d->verify.running = false;
		wt_destination_event(d, WT_DESTINATION_EV_VERIFIED);
	}
}

void wt_destination_verify(struct wt_destination *d)
{
	d->verify = (struct wt_verify_job){ .running = true };
	ask_more(d);
}

static void halve(struct wt_destination *d, const struct wt_relay_digest *answer)
{
	struct wt_relay_digest half = {
		.block = answer->block, .page = answer->page, .pages = answer->pages / 2
	};

	ask(d, &half);
	half.page += half.pages;
	half.pages = answer->pages - half.pages;
	ask(d, &half);
}

int wt_destination_verify_answer(
	struct wt_destination *d, const uint8_t *payload, size_t length, struct wt_error *err)
{
	struct wt_relay_digest answer;
	uint8_t here[WT_RELAY_DIGEST_BYTES];
	struct wt_error differ = { 0 };

	if (length != sizeof answer || !d->verify.running || !d->verify.outstanding)
		return wt_error_set(err, EPROTO, "the source sent a digest that nobody asked for");
	memcpy(&answer, payload, sizeof answer);
	if (answer.block >= d->block_count || !answer.pages ||
		wt_verify_digest(d->blocks[answer.block], answer.page, answer.pages, here))
		return wt_error_set(err, EPROTO, "the source sent a digest of no memory");
	d->verify.outstanding--;
	if (memcmp(here, answer.digest, sizeof here) == 0) {
		d->verify.compared_pages += answer.pages;
		ask_more(d);
	} else if (answer.pages > 1) {
		halve(d, &answer);
	} else {
		wt_error_set(&differ, EIO, "RAM differs from the source's: block %s, page %llu",
			d->blocks[answer.block]->name, (unsigned long long)answer.page);
		d->verify.running = false;
		wt_destination_trouble(d, &differ);
	}
	return 0;
}

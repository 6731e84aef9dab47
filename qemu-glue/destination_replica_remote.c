/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination_replica_remote.c - an old copy of the guest's RAM on another host: asks the `watari replica`
 * there to come (replica_request.h). What comes of that is the puller's.
 *
 * Nothing waits for the answer: until it is here the guest is pulled from the source. Refused, or nobody
 * there, is told to the puller, which then waits for nothing.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "destination_internal.h"
#include "replica_request.h"
#include "target.h"

#define ASK_NS 5000000000ull

void wt_destination_replica_unask(struct wt_destination *d)
{
	struct wt_destination_replica *r = &d->replica;

	if (r->channel)
		wt_channel_close(r->channel);
	r->channel = NULL;
	r->length = 0;
}

static void comes_not(struct wt_destination *d, const char *why)
{
	wt_destination_replica_unask(d);
	if (d->puller)
		wt_puller_no_replica(d->puller, why);
}

static void on_bytes(void *arg, const uint8_t *data, size_t length)
{
	struct wt_destination *d = arg;
	struct wt_destination_replica *r = &d->replica;
	const char *end = memchr(data, '\n', length);
	size_t room = sizeof r->answer - r->length;
	char text[WT_ERROR_TEXT_MAX + 16];
	struct wt_error err = { 0 };

	length = end ? (size_t)(end - (const char *)data) : length;
	if (length > room) {
		comes_not(d, "answers too much; is it a watari replica?");
		return;
	}
	memcpy(r->answer + r->length, data, length);
	r->length += length;
	if (!end)
		return;
	if (wt_replica_answer_parse(r->answer, r->length, &err)) {
		snprintf(text, sizeof text, "does not come: %s", wt_error_text(&err));
		comes_not(d, text);
		return;
	}
	wt_destination_replica_unask(d);
}

static void on_closed(void *arg, const struct wt_error *err)
{
	char text[WT_ERROR_TEXT_MAX + 16];

	snprintf(text, sizeof text, "cannot be asked: %s", wt_error_text(err));
	comes_not(arg, text);
}

static const struct wt_channel_events channel_events = { .bytes = on_bytes, .closed = on_closed };

/* Connects, and says what is wanted. */
static int ask(struct wt_destination *d, const struct wt_replica_request *request, struct wt_error *err)
{
	char *line = NULL;
	int r = wt_replica_request_render(request, &line, err);

	if (!r)
		r = wt_channel_connect(d->relay.loop, &d->options->replica_peer, d->relay.credentials, ASK_NS,
			&channel_events, d, &d->replica.channel, err);
	if (!r)
		r = wt_channel_send(d->replica.channel, line, strlen(line));
	if (line)
		OPENSSL_cleanse(line, strlen(line));
	free(line);
	return r;
}

static int list_blocks(
	const struct wt_destination *d, struct wt_replica_request *request, struct wt_error *err)
{
	request->blocks = calloc(d->block_count + 1, sizeof *request->blocks);
	if (!request->blocks)
		return wt_error_set(err, ENOMEM, "no memory for a list of blocks");
	request->count = d->block_count;
	for (unsigned i = 0; i < d->block_count; i++) {
		snprintf(request->blocks[i].name, sizeof request->blocks[i].name, "%s", d->blocks[i]->name);
		request->blocks[i].length = d->blocks[i]->length;
	}
	return 0;
}

int wt_destination_replica_ask(struct wt_destination *d, struct wt_error *err)
{
	struct wt_replica_request request = { .port = d->port };
	char label[WT_TARGET_TEXT_MAX], text[WT_ERROR_TEXT_MAX + 32];
	struct wt_error why = { 0 };
	int r;

	wt_destination_replica_unask(d);
	snprintf(request.vm, sizeof request.vm, "%s", d->options->common.name);
	r = list_blocks(d, &request, err);
	if (!r)
		r = wt_puller_replica_remote(d->puller, wt_target_text(&d->options->replica_peer, label),
			request.session_id, request.key, err);
	if (!r && ask(d, &request, &why)) {
		snprintf(text, sizeof text, "cannot be asked: %s", wt_error_text(&why));
		comes_not(d, text);
	}
	wt_replica_request_free(&request);
	OPENSSL_cleanse(request.key, sizeof request.key);
	return r;
}

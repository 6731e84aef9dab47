/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * destination_replica.c - an old copy of the guest's RAM, in files (docs/REPLICA.md) or in the memory of this
 * QEMU itself: given to the puller, which pulls only what differs from it. Of one on another host see
 * destination_replica_remote.c.
 *
 * A replica only saves bytes. Whatever is wrong with it is said in one sentence, and the guest comes without.
 * It is open while the relay lives; threads of the puller read it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "destination_internal.h"
#include "printable.h"
#include "relay_peer.h"

static void go_without(struct wt_destination *d, const struct wt_error *why)
{
	char note[WT_ERROR_TEXT_MAX + 64];

	snprintf(note, sizeof note, "%s; the guest is received without the replica", wt_error_text(why));
	wt_relay_told_note(&d->relay, note);
}

void wt_destination_replica_open(struct wt_destination *d)
{
	struct wt_error err = { 0 };

	if (d->options->replica &&
		wt_replica_open(d->options->replica, d->options->common.name, &d->replica.files, &err))
		go_without(d, &err);
}

/* Of a guest whose devices stay behind the memory may come beforehand, and is old then. */
bool wt_destination_replica_warms(const struct wt_destination *d)
{
	return d->devices.passthrough && !d->replica.files && !d->options->replica_peer.port &&
	       !d->options->reuse_memory;
}

/* A thread's. */
static int read_pages(void *arg, uint32_t block, uint64_t page, uint32_t pages, void *ret_bytes)
{
	const struct wt_destination *d = arg;

	if (d->replica.images[block])
		return wt_replica_read(d->replica.images[block], page, pages, ret_bytes);
	return d->replica.own_memory ? wt_ram_block_read(d->blocks[block], page, pages, ret_bytes) : -ENOENT;
}

/* The image of each block, by the server's number; answers how many there are. */
static unsigned find_images(struct wt_destination *d)
{
	unsigned found = 0;

	for (unsigned i = 0; i < d->block_count; i++) {
		if (d->replica.files)
			d->replica.images[i] =
				wt_replica_find(d->replica.files, d->blocks[i]->name, d->blocks[i]->length);
		found += d->replica.images[i] != NULL;
	}
	return found;
}

void wt_destination_replica_offer(struct wt_destination *d)
{
	struct wt_puller_replica source = { .read = read_pages, .arg = d };
	struct wt_error err = { 0 };
	unsigned found;

	if (d->options->replica_peer.port && wt_destination_replica_ask(d, &err))
		go_without(d, &err);
	d->replica.own_memory = d->options->reuse_memory || wt_destination_replica_warms(d);
	if (!d->replica.files && !d->replica.own_memory)
		return;
	source.in_place = !d->replica.files;
	free(d->replica.images);
	d->replica.images = calloc(d->block_count + 1, sizeof(*d->replica.images));
	found = d->replica.images ? find_images(d) : 0;
	if (!d->replica.images)
		wt_error_set(&err, ENOMEM, "no memory for a list of images");
	else if (!found && d->replica.files)
		wt_error_set(&err, EINVAL,
			"the replica in %s has no block of the name and length of this guest's; it is of another layout",
			d->options->replica);
	else
		wt_puller_replica(d->puller, &source, &err);
	if (err.code)
		go_without(d, &err);
}

void wt_destination_replica_joined(void *arg, const char *label)
{
	struct wt_destination *d = arg;
	char text[WT_PRINTABLE_MAX], note[WT_PRINTABLE_MAX + 96];

	snprintf(note, sizeof note,
		"%s has an old copy of the guest's memory: what is still right is read there",
		wt_printable(label, strlen(label), text, sizeof text));
	wt_relay_told_note(&d->relay, note);
}

void wt_destination_replica_lost(void *arg, const struct wt_error *err)
{
	go_without(arg, err);
}

void wt_destination_replica_close(struct wt_destination *d)
{
	wt_destination_replica_unask(d);
	free(d->replica.images);
	wt_replica_close(d->replica.files);
}
